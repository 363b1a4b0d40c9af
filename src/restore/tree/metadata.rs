//! What a record says of a file besides its content, set on what was restored.

use std::io;
use std::os::fd::BorrowedFd;

use repo_format::file_tree::{Attribute, FileRecord};
use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fchown, flistxattr, fremovexattr,
    fsetxattr, futimens, lgetxattr, llistxattr, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::place::Place;

/// What could not be set, of how many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unset {
    /// Owners.
    pub owners: u64,
    /// Extended attributes, ACLs among them.
    pub attributes: u64,
}

fn times(file: &FileRecord<'_>) -> Timestamps {
    let (seconds, nanoseconds) = file.modified;
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

fn owner(file: &FileRecord<'_>) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(file.owner.0)), Some(Gid::from_raw(file.owner.1)))
}

fn allowed(done: rustix::io::Result<()>, unset: &mut u64) -> io::Result<()> {
    match done {
        Err(Errno::PERM | Errno::NOTSUP | Errno::INVAL) => {
            *unset += 1;
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Sets all of it on an open file or folder. The time comes last, and the owner before the mode, of which a new owner takes bits.
pub fn set(
    fd: BorrowedFd<'_>,
    file: &FileRecord<'_>,
    attributes: &[Attribute<'_>],
    unset: &mut Unset,
) -> io::Result<()> {
    let (user, group) = owner(file);
    let stat = rustix::fs::fstat(fd)?;
    if (stat.st_uid, stat.st_gid) != file.owner {
        allowed(fchown(fd, user, group), &mut unset.owners)?;
    }
    others_removed(fd, attributes);
    fchmod(fd, Mode::from_raw_mode(file.mode & 0o7777))?;
    for attribute in attributes {
        allowed(fsetxattr(fd, attribute.name, attribute.value, XattrFlags::empty()), &mut unset.attributes)?;
    }
    Ok(futimens(fd, &times(file))?)
}

/// Takes away attributes that something has which was there before.
fn others_removed(fd: BorrowedFd<'_>, attributes: &[Attribute<'_>]) {
    let mut names = [0; 4096];
    let Ok(n) = flistxattr(fd, &mut names) else { return };
    for name in names[..n].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if !attributes.iter().any(|attribute| attribute.name == name) {
            // What the system keeps for itself stays.
            let _ = fremovexattr(fd, name);
        }
    }
}

/// The same of what cannot be opened: a link, a device, a pipe.
pub fn set_by_name(
    place: &Place,
    name: &[u8],
    file: &FileRecord<'_>,
    attributes: &[Attribute<'_>],
    unset: &mut Unset,
) -> io::Result<()> {
    let (user, group) = owner(file);
    let there = place.look(name)?;
    if there.is_none_or(|stat| (stat.st_uid, stat.st_gid) != file.owner) {
        allowed(rustix::fs::chownat(place, name, user, group, AtFlags::SYMLINK_NOFOLLOW), &mut unset.owners)?;
    }
    // A link has no mode of its own.
    if file.target.is_none() {
        rustix::fs::chmodat(place, name, Mode::from_raw_mode(file.mode & 0o7777), AtFlags::empty())?;
    }
    for attribute in attributes {
        let path = place.path(name);
        allowed(lsetxattr(&path, attribute.name, attribute.value, XattrFlags::empty()), &mut unset.attributes)?;
    }
    Ok(utimensat(place, name, &times(file), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether what is called `name` in a folder, or the folder itself where the name is empty, is as the record says already; but for the owner
/// of a file where only root can give it away.
pub fn is_set(place: &Place, name: &[u8], file: &FileRecord<'_>, attributes: &[Attribute<'_>]) -> io::Result<bool> {
    let Some(stat) = place.look(name)? else { return Ok(false) };
    let modified = (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default());
    let owned = !rustix::process::geteuid().is_root() || (stat.st_uid, stat.st_gid) == file.owner;
    if modified != file.modified || stat.st_mode != file.mode || !owned {
        return Ok(false);
    }
    let path = place.path(name);
    for attribute in attributes {
        let mut value = vec![0; attribute.value.len() + 1];
        if lgetxattr(&path, attribute.name, &mut value).map(|n| &value[..n]) != Ok(attribute.value) {
            return Ok(false);
        }
    }
    let mut names = [0; 4096];
    let listed = llistxattr(&path, &mut names).unwrap_or_default();
    let there = names[..listed].split(|b| *b == 0).filter(|name| !name.is_empty()).count();
    Ok(there == attributes.len())
}
