//! One file, folder or link: what the system says of it, and its record.

use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;

use repo_format::file_tree::{Bytes, FileKind, FileRecord, Lacks, put_extents};
use repo_format::limits::{ASIDE_INLINE_MAX, ASIDE_MAX, TARGET_MAX};
use rustix::fs::{Stat, fgetxattr, flistxattr, lgetxattr, llistxattr, major, minor};
use rustix::io::Errno;

use super::attributes::attributes;
use super::content::{Data, Kept, as_read, extents, named};
use super::memory::{Known, Local};
use super::names::Names;
use super::problems::Problems;
use super::stands::{as_before, unread};
use super::walk::Item;
use crate::blob::{self, Stored, Window};
use crate::engine::Contents;
use crate::error::{Error, Kind, Result};
use crate::patterns::path_of;
use crate::repo::world;
use crate::watch::Watch;

/// A file that changed so shortly before it was read may change again and look the same: file systems tell times apart by this much, in
/// seconds, at worst.
const YOUNG: i64 = 2;

/// What is compared with what the system said at the last backup.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compared {
    /// Not the time of change of status.
    pub without_changed: bool,
    /// Not the number of the file, nor its file system's.
    pub without_inode: bool,
}

/// Reads files.
pub struct FileReader<'a> {
    pub contents: Contents<'a>,
    pub watch: &'a Watch,
    pub compared: Compared,
    pub larger_than: Option<u64>,
    pub names: Names,
    pub problems: Arc<Problems<'a>>,
}

/// What came of looking at an item.
pub enum Looked {
    /// It is there, and the system says this of it.
    There(Stat),
    /// It is there no more.
    Gone,
    /// The system says nothing of it.
    Unseen,
}

thread_local! {
    static WINDOW: RefCell<Window> = RefCell::default();
}

/// What a record says beside itself.
#[derive(Default)]
struct Parts {
    content: Option<Kept>,
    target: Option<Vec<u8>>,
    attributes: Vec<u8>,
    extents: Option<Vec<u8>>,
    lacks: Lacks,
    young: bool,
}

/// Of what a file says, as the local state has it.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
pub fn local(stat: &Stat) -> Local {
    Local {
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
    }
}

impl FileReader<'_> {
    /// Looks at an item. Errors: the system lacks what that takes.
    pub fn look(&self, item: &Item) -> Result<Looked> {
        match item.folder.stat(&item.name) {
            Ok(stat) => Ok(Looked::There(stat)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.problems.add(&item.key, true, "vanished while the folder was read");
                Ok(Looked::Gone)
            }
            Err(e) => self.unread(item, e).map(|()| Looked::Unseen),
        }
    }

    fn unread(&self, item: &Item, e: std::io::Error) -> Result<()> {
        let e = Error::io(path_of(&item.key).display(), e);
        if e.kind() == Kind::Full {
            return Err(e);
        }
        self.watch.check()?;
        let kept = match &item.known {
            Some(_) => "what the last backup had of it stands",
            None => "it is not in the snapshot, or without its content",
        };
        self.problems.add(&item.key, false, &format!("cannot be read: {}; {kept}", e.message()));
        Ok(())
    }

    fn is_too_large(&self, stat: &Stat) -> bool {
        let is_file = FileKind::of(stat.st_mode) == Some(FileKind::File);
        is_file && self.larger_than.is_some_and(|most| local(stat).size > most)
    }

    fn is_same(&self, known: &Known, now: &Local) -> bool {
        let Compared { without_changed, without_inode } = self.compared;
        let then = &known.local;
        !known.young
            && (then.size, then.modified) == (now.size, now.modified)
            && (without_changed || then.changed == now.changed)
            && (without_inode || (then.device, then.inode) == (now.device, now.inode))
    }

    /// The record of an item, of which the system says `stat`. Records of files with several names are as if this were the only one.
    pub fn read(&self, item: &Item, stat: &Stat) -> Result<Option<Known>> {
        let is_folder = FileKind::of(stat.st_mode) == Some(FileKind::Folder);
        if is_folder && !item.name.is_empty() && !item.lacks.unread {
            self.problems.add(&item.key, true, "became a folder meanwhile: what lies in it is not there");
            let lacks = Lacks { unread: true, ..item.lacks };
            return self.read(&Item { lacks, ..item.clone() }, stat);
        }
        // What changes from now on may not be in what is read.
        let began = i64::try_from(world::now_ms() / 1000).unwrap_or(i64::MAX);
        let now = local(stat);
        let key = item.key.clone();
        let same = item.known.as_ref().filter(|known| !self.is_too_large(stat) && self.is_same(known, &now));
        if let Some(body) = same.and_then(|known| as_before(known, item.lacks, stat)) {
            // Holes take no time to read.
            self.watch.advance(now.size.min((stat.st_blocks as u64).saturating_mul(512).max(1)));
            return Ok(Some(Known { key, local: now, young: false, body }));
        }
        let Some(kind) = FileKind::of(stat.st_mode) else {
            self.problems.add(
                &key,
                false,
                &format!("is of a kind that is not known (mode {:o}), and is left out", stat.st_mode),
            );
            return Ok(None);
        };
        let (stat, parts) = match self.parts(item, kind, stat) {
            Ok(Some(parts)) => parts,
            Ok(None) => return Ok(None),
            Err(Failed::Ours(e)) => return Err(e),
            Err(Failed::Theirs(e)) => {
                self.unread(item, e)?;
                return Ok(self.stands_in(item, kind, stat));
            }
        };
        let young = parts.young || is_young(&stat, self.compared, began);
        let body = self.record(&stat, kind, &parts)?;
        Ok(Some(Known { key, local: local(&stat), young, body }))
    }

    /// What is kept of an item whose content cannot be read: what is remembered, or what the system says of it.
    fn stands_in(&self, item: &Item, kind: FileKind, stat: &Stat) -> Option<Known> {
        if let Some(known) = &item.known {
            return unread(known.clone());
        }
        let lacks = Lacks { unread: true, ..item.lacks };
        let target = (kind == FileKind::Link).then(Vec::new);
        let body = self.record(stat, kind, &Parts { lacks, target, ..Parts::default() }).ok()?;
        Some(Known { key: item.key.clone(), local: local(stat), young: true, body })
    }

    fn parts(&self, item: &Item, kind: FileKind, stat: &Stat) -> std::result::Result<Option<(Stat, Parts)>, Failed> {
        let mut parts = Parts { lacks: item.lacks, ..Parts::default() };
        let mut stat = *stat;
        match kind {
            FileKind::File => {
                if self.is_too_large(&stat) {
                    parts.lacks.left_out = true;
                    return Ok(Some((stat, parts)));
                }
                let opened = match item.folder.open(&item.name) {
                    Ok(file) => File::from(file),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                        self.problems.add(&item.key, true, "vanished before it could be read");
                        return Ok(None);
                    }
                    Err(e) => return Err(Failed::Theirs(e)),
                };
                stat = rustix::fs::fstat(&opened).map_err(Failed::of)?;
                if FileKind::of(stat.st_mode) != Some(FileKind::File) {
                    self.problems.add(&item.key, true, "became something else before it could be read");
                    return Ok(None);
                }
                parts.attributes =
                    attributes(|buf| flistxattr(&opened, buf), |name, buf| fgetxattr(&opened, name, buf))
                        .map_err(Failed::of)?;
                self.content(item, &opened, &mut stat, &mut parts)?;
            }
            FileKind::Folder if item.name.is_empty() => {
                let folder = &*item.folder;
                parts.attributes = attributes(|buf| flistxattr(folder, buf), |name, buf| fgetxattr(folder, name, buf))
                    .map_err(Failed::of)?;
            }
            _ => {
                if kind == FileKind::Link {
                    let target = item.folder.link(&item.name).map_err(Failed::Theirs)?;
                    if target.len() > TARGET_MAX {
                        return Err(Failed::of(Errno::NAMETOOLONG));
                    }
                    parts.target = Some(target);
                }
                let path = item.folder.path(&item.name);
                parts.attributes = attributes(|buf| llistxattr(&path, buf), |name, buf| lgetxattr(&path, name, buf))
                    .map_err(Failed::of)?;
            }
        }
        Ok(Some((stat, parts)))
    }

    /// Reads and stores the content of a file.
    fn content(&self, item: &Item, file: &File, stat: &mut Stat, parts: &mut Parts) -> std::result::Result<(), Failed> {
        let subject = path_of(&item.key).display().to_string();
        let before = local(stat);
        // A block of `st_blocks` has 512 bytes, whatever those of the file system have. Attributes may have some of them.
        let blocks = (stat.st_blocks as u64).saturating_mul(512);
        let has_holes = blocks < before.size || (!parts.attributes.is_empty() && before.size > 0);
        let pieces = if has_holes { extents(file, before.size).map_err(Failed::Theirs)? } else { None };
        // Of more holes than a record can say the zeros are read.
        let pieces = pieces.filter(|pieces| holes(before.size, pieces).len() <= ASIDE_MAX);
        let mut data = Data::new(file, pieces.as_deref(), self.watch);
        // A small file is read at once, and found to end there.
        let first = usize::try_from(before.size).unwrap_or(usize::MAX).saturating_add(1);
        let kept = WINDOW.with_borrow_mut(|window| {
            window.begin();
            Kept::of(&mut data, &subject, first, self.contents, window)
        });
        parts.content = Some(kept.map_err(|e| match e.kind() {
            Kind::Io | Kind::NotFound if e.subject() == subject => {
                Failed::Theirs(std::io::Error::other(e.message().to_owned()))
            }
            _ => Failed::Ours(e),
        })?);
        let (read, is_cut) = (data.read, data.is_cut);
        let after = rustix::fs::fstat(file).map_err(Failed::of)?;
        if (local(&after).size, local(&after).modified) != (before.size, before.modified) || is_cut {
            self.problems.add(&item.key, true, "changed while it was read: it is stored as it was read");
            parts.young = true;
        }
        let mut length = if pieces.is_some() && !is_cut { before.size } else { read };
        if let Some(mut pieces) = pieces {
            if is_cut {
                pieces = as_read(&pieces, read);
                length = pieces.last().map_or(0, |(at, bytes)| at + bytes);
            }
            let has_holes = length > read;
            parts.extents = has_holes.then(|| holes(length, &pieces));
        }
        *stat = after;
        stat.st_size = i64::try_from(length).unwrap_or(i64::MAX);
        Ok(())
    }

    fn record(&self, stat: &Stat, kind: FileKind, parts: &Parts) -> Result<Vec<u8>> {
        let aside = |bytes: &[u8]| -> Result<Option<Stored>> {
            let Contents { sink, chunker, .. } = self.contents;
            let store = || blob::store(&mut &*bytes, "attributes", chunker, sink, &mut Window::default());
            (bytes.len() > ASIDE_INLINE_MAX).then(store).transpose()
        };
        let (attributes, sparse) = (&parts.attributes, parts.extents.as_deref());
        let (stored_attributes, stored_sparse) = (aside(attributes)?, aside(sparse.unwrap_or_default())?);
        let (user, group) = (self.names.user(stat.st_uid), self.names.group(stat.st_gid));
        let record = FileRecord {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            user: user.as_deref(),
            group: group.as_deref(),
            modified: local(stat).modified,
            content: parts.content.as_ref().map(Kept::bytes),
            target: parts.target.as_deref(),
            device: kind.is_device().then(|| (major(stat.st_rdev), minor(stat.st_rdev))),
            attributes: (!attributes.is_empty()).then(|| here_or(attributes, stored_attributes)),
            sparse: sparse.map(|bytes| here_or(bytes, stored_sparse)),
            first: None,
            lacks: parts.lacks,
        };
        debug_assert!(record.fits(), "{record:?}");
        let mut body = Vec::new();
        record.put(&mut body);
        Ok(body)
    }
}

fn holes(size: u64, pieces: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_extents(&mut bytes, size, pieces);
    bytes
}

fn here_or(bytes: &[u8], stored: Option<Stored>) -> Bytes<'_> {
    stored.map_or(Bytes::Here(bytes), named)
}

/// Whose fault it is.
enum Failed {
    /// The file cannot be read.
    Theirs(std::io::Error),
    /// Nothing can be stored.
    Ours(Error),
}

impl Failed {
    fn of(e: Errno) -> Failed {
        Failed::Theirs(e.into())
    }
}

impl From<Error> for Failed {
    fn from(e: Error) -> Failed {
        Failed::Ours(e)
    }
}

fn is_young(stat: &Stat, compared: Compared, began: i64) -> bool {
    let local = local(stat);
    let (seconds, _) = if compared.without_changed { local.modified } else { local.changed };
    seconds.saturating_add(YOUNG) >= began
}
