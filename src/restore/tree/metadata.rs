//! What a record says of a file besides its content, set on what was restored.

use std::io;
use std::os::fd::BorrowedFd;

use repo_format::file_tree::{Attribute, FileRecord};
use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod, fchown, fgetxattr,
    flistxattr, fremovexattr, fsetxattr, futimens, lgetxattr, llistxattr, lremovexattr, lsetxattr, utimensat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use super::place::Place;

/// What could not be set, of how many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unset {
    /// Owners.
    pub owners: u64,
    /// Extended attributes, ACLs among them.
    pub attributes: u64,
    /// Names of files that have several: each is a file of its own here.
    pub links: u64,
}

/// Stands on the folder of a restore that made it, until it is done: where it is repeated after a kill, the folder is its own still, and
/// is set at the end. File systems without attributes lack it.
const UNFINISHED: &str = "user.onefold.unfinished";

/// Marks a folder that a restore made.
pub fn mark(place: &Place) {
    let _ = fsetxattr(place, UNFINISHED, b"", XattrFlags::empty());
}

/// Whether a restore made it that did not come to its end.
pub fn is_marked(place: &Place) -> bool {
    fgetxattr(place, UNFINISHED, &mut [0; 0]).is_ok()
}

/// The restore is at its end.
pub fn unmark(place: &Place) {
    let _ = fremovexattr(place, UNFINISHED);
}

fn times(file: &FileRecord<'_>) -> Timestamps {
    let (seconds, nanoseconds) = file.modified;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// Whether this user could give what is there to whom the record says: only root gives a file away, but who owns it may put it into
/// any of his groups.
fn could_give(stat: &Stat, wanted: (u32, u32)) -> bool {
    let (euid, group) = (geteuid(), Gid::from_raw(wanted.1));
    let is_mine = || getegid() == group || getgroups().is_ok_and(|mine| mine.contains(&group));
    euid.is_root() || stat.st_uid == euid.as_raw() && stat.st_gid != wanted.1 && is_mine()
}

/// Gives what belongs to `now` to whom it belonged, by `chown`; at least to the group, where this user may do that alone.
fn give(
    now: Option<(u32, u32)>,
    wanted: (u32, u32),
    chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    unset: &mut Unset,
) -> io::Result<()> {
    if now == Some(wanted) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(wanted.0), Gid::from_raw(wanted.1));
    let given = chown(Some(user), Some(group));
    if given.is_err() && now.is_none_or(|(_, at)| at != wanted.1) {
        let _ = chown(None, Some(group));
    }
    allowed(given, &mut unset.owners)
}

/// What this user may not do, or this file system does not have, is counted.
fn allowed(done: rustix::io::Result<()>, unset: &mut u64) -> io::Result<()> {
    match done {
        // The last three: there is no room for attributes of that size.
        Err(Errno::PERM | Errno::NOTSUP | Errno::INVAL | Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
            *unset += 1;
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Names of all attributes, each ended by NUL.
fn listed(list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> Vec<u8> {
    // The system gives no more.
    let mut names = vec![0; 64 << 10];
    let n = list(&mut names).unwrap_or_default();
    names.truncate(n);
    names
}

fn is_meant(attributes: &[Attribute<'_>], name: &[u8]) -> bool {
    attributes.iter().any(|attribute| attribute.name == name)
}

fn each(names: &[u8]) -> impl Iterator<Item = &[u8]> {
    names.split(|b| *b == 0).filter(|name| !name.is_empty())
}

/// The mode of what belongs to `owner` here: what somebody else owned lends no rights of whoever owns it now.
fn mode_for(mode: u32, of: (u32, u32), owner: (u32, u32)) -> Mode {
    const LENDS: u32 = 0o6000;
    let mode = mode & 0o7777;
    Mode::from_raw_mode(if owner == of { mode } else { mode & !LENDS })
}

/// A mode where an attribute cannot be set. Beside a list of access the bits of the group are the most that any entry gives: without it
/// they would be the group's, so they become what the list gives to that.
fn without(attribute: &Attribute<'_>, mode: u32) -> u32 {
    const GROUP: [u8; 2] = 4u16.to_le_bytes();
    if !(attribute.name.starts_with(b"system.") && attribute.name.ends_with(b"_acl_access")) {
        return mode;
    }
    // A version, then entries: of whom, what, and which.
    let entries = attribute.value.get(4..).unwrap_or_default().chunks_exact(8);
    let of_group = entries.filter(|entry| entry.starts_with(&GROUP)).filter_map(|entry| entry.get(2));
    let given = of_group.map(|may| u32::from(*may) & 7).next().unwrap_or_default();
    mode & (!0o070 | given << 3)
}

/// Sets each attribute. Gives the mode that is right beside those that could be set.
fn set_each(
    mut mode: u32,
    attributes: &[Attribute<'_>],
    unset: &mut Unset,
    set: impl Fn(&Attribute<'_>) -> rustix::io::Result<()>,
) -> io::Result<u32> {
    for attribute in attributes {
        let before = unset.attributes;
        allowed(set(attribute), &mut unset.attributes)?;
        if unset.attributes != before {
            mode = without(attribute, mode);
        }
    }
    Ok(mode)
}

/// Sets all of it on an open file or folder. The time comes last, and the mode before it: a new owner and lists of access take bits of
/// it, and who may not write to a file sets no attributes.
pub fn set(
    fd: BorrowedFd<'_>,
    file: &FileRecord<'_>,
    attributes: &[Attribute<'_>],
    unset: &mut Unset,
) -> io::Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    give(Some((stat.st_uid, stat.st_gid)), file.owner, |user, group| fchown(fd, user, group), unset)?;
    let names = listed(|names| flistxattr(fd, names));
    if !attributes.is_empty() || !names.is_empty() {
        // Who may not set it may perhaps write all the same.
        let _ = fchmod(fd, Mode::from_raw_mode(stat.st_mode & 0o777) | Mode::WUSR);
    }
    for name in each(&names).filter(|name| !is_meant(attributes, name)) {
        // What the system keeps for itself stays.
        let _ = fremovexattr(fd, name);
    }
    let set = |attribute: &Attribute<'_>| fsetxattr(fd, attribute.name, attribute.value, XattrFlags::empty());
    let mode = set_each(file.mode, attributes, unset, set)?;
    let now = rustix::fs::fstat(fd)?;
    fchmod(fd, mode_for(mode, file.owner, (now.st_uid, now.st_gid)))?;
    Ok(futimens(fd, &times(file))?)
}

/// The same of what cannot be opened: a link, a device, a pipe.
pub fn set_by_name(
    place: &Place,
    name: &[u8],
    file: &FileRecord<'_>,
    attributes: &[Attribute<'_>],
    unset: &mut Unset,
) -> io::Result<()> {
    let now = place.look(name)?.map(|stat| (stat.st_uid, stat.st_gid));
    let chown = |user, group| chownat(place, name, user, group, AtFlags::SYMLINK_NOFOLLOW);
    give(now, file.owner, chown, unset)?;
    let path = place.path(name);
    for other in each(&listed(|names| llistxattr(&path, names))).filter(|name| !is_meant(attributes, name)) {
        let _ = lremovexattr(&path, other);
    }
    let set = |attribute: &Attribute<'_>| lsetxattr(&path, attribute.name, attribute.value, XattrFlags::empty());
    let mode = set_each(file.mode, attributes, unset, set)?;
    // A link has no mode of its own.
    if file.target.is_none() {
        let owner = place.look(name)?.map_or(file.owner, |now| (now.st_uid, now.st_gid));
        rustix::fs::chmodat(place, name, mode_for(mode, file.owner, owner), AtFlags::empty())?;
    }
    Ok(utimensat(place, name, &times(file), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether what is called `name` in a folder, or the folder itself where the name is empty, is as the record says already; but for an
/// owner or a group that this user cannot give it.
pub fn is_set(place: &Place, name: &[u8], file: &FileRecord<'_>, attributes: &[Attribute<'_>]) -> io::Result<bool> {
    let Some(stat) = place.look(name)? else { return Ok(false) };
    let modified = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default());
    let owned = (stat.st_uid, stat.st_gid) == file.owner || !could_give(&stat, file.owner);
    if modified != file.modified
        || stat.st_mode & 0o7777 != mode_for(file.mode, file.owner, (stat.st_uid, stat.st_gid)).bits()
        || stat.st_mode & 0o170_000 != file.mode & 0o170_000
        || !owned
    {
        return Ok(false);
    }
    let path = place.path(name);
    for attribute in attributes {
        let mut value = vec![0; attribute.value.len() + 1];
        if lgetxattr(&path, attribute.name, &mut value).map(|n| &value[..n]) != Ok(attribute.value) {
            return Ok(false);
        }
    }
    Ok(each(&listed(|names| llistxattr(&path, names))).count() == attributes.len())
}
