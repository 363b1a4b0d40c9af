//! One file, link, device or pipe of a tree, restored into the folder that is open.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use repo_format::file_tree::{Attribute, Bytes, FileKind, FileRecord, attributes, parts_of};
use rustix::fs::{FallocateFlags, FileType, Stat, fallocate, major, minor};

use super::content::{Layout, aside, filled, is_same, write};
use super::folders::Way;
use super::place::Place;
use super::{Done, Overwrite, Restore, metadata};
use crate::error::{Error, Kind, Result};

/// A file is written under this name first. No two are written at the same time.
pub(super) const BESIDE: &[u8] = b".onefold-restore.new";

/// What is to be done about a name.
enum Todo {
    /// It is as it should be, or stays as it is.
    Nothing,
    /// Its content is right; what is said of it is not.
    Set,
    /// Its content is right, but here zeros lie where it has holes: from, to.
    Holes(Vec<(u64, u64)>),
    /// It is to be written.
    Write,
}

/// What is to be restored, and where.
struct One<'a> {
    /// The folder that it lies in.
    place: &'a Place,
    key: &'a [u8],
    /// The last part of `key`.
    name: &'a [u8],
    file: &'a FileRecord<'a>,
    attributes: &'a [Attribute<'a>],
    /// As it is shown.
    path: &'a str,
}

impl One<'_> {
    fn failed(&self, e: io::Error) -> Error {
        Error::io(self.path, e)
    }

    fn is_set(&self) -> Result<bool> {
        metadata::is_set(self.place, self.name, self.file, self.attributes).map_err(|e| self.failed(e))
    }
}

impl Restore<'_> {
    /// Restores what is no folder. What is wrong with it alone is noted, and the others go on.
    pub(super) fn one(&mut self, key: &[u8], file: &FileRecord<'_>, path: &str) -> Result<()> {
        let place = self.levels.last_mut().and_then(|level| level.place.take());
        let Some(place) = place else {
            if self.levels.iter().any(|level| level.way == Way::Barred) {
                return Ok(());
            }
            // Its folder would have to be made first.
            self.done.written += 1;
            self.done.rewritten += 1;
            self.done.bytes += file.content.map_or(0, |content| content.length());
            return Ok(());
        };
        let done = self.in_place(&place, key, file, path);
        if let Some(level) = self.levels.last_mut() {
            level.place = Some(place);
        }
        match done {
            Err(e) if is_of_one(&e, path) => {
                self.done.damaged |= e.kind() == Kind::Damaged;
                self.problem(path, e.message());
                Ok(())
            }
            done => done,
        }
    }

    fn in_place(&mut self, place: &Place, key: &[u8], file: &FileRecord<'_>, path: &str) -> Result<()> {
        let name = key.rsplit(|b| *b == 0).next().unwrap_or_default();
        let there = place.look(name).map_err(|e| Error::io(path, e))?;
        if file.kind() == Some(FileKind::File) && file.content.is_none() {
            // Nothing is known of its content: what is there is better than nothing.
            return Ok(());
        }
        let said = aside(file.attributes, self.chunks)?;
        let one = One { place, key, name, file, attributes: &attributes(&said)?, path };
        let todo = match &there {
            None => Todo::Write,
            Some(stat) => self.todo(&one, stat)?,
        };
        match todo {
            Todo::Nothing => Ok(()),
            todo if self.request.dry_run => {
                self.would(&one, &todo);
                Ok(())
            }
            Todo::Set | Todo::Holes(_) => self.set(&one),
            Todo::Write => self.replace(&one, there.as_ref()),
        }
    }

    /// Counts what a dry run leaves undone.
    fn would(&mut self, one: &One<'_>, todo: &Todo) {
        let is_known = |done: &Done| done.problems.iter().any(|(of, _)| of == one.path);
        let is_known = self.request.verifies.is_some_and(is_known);
        self.done.written += 1;
        self.done.rewritten += u64::from(matches!(todo, Todo::Write) && !is_known);
        self.done.bytes += one.file.content.map_or(0, |content| content.length());
    }

    /// Sets what is said of what is there.
    fn set(&mut self, one: &One<'_>) -> Result<()> {
        let unset = &mut self.done.unset;
        self.done.written += 1;
        let done = match one.file.kind() {
            Some(FileKind::File) => {
                let fd = one.place.open(one.name).map_err(|e| one.failed(e))?;
                metadata::set(fd.as_fd(), one.file, one.attributes, unset)
            }
            _ => metadata::set_by_name(one.place, one.name, one.file, one.attributes, unset),
        };
        done.map_err(|e| one.failed(e))
    }

    /// Writes it beside, and puts it in the place of what is there.
    fn replace(&mut self, one: &One<'_>, there: Option<&Stat>) -> Result<()> {
        let place = one.place;
        let is_in_the_way = there.is_some_and(|stat| FileKind::of(stat.st_mode) == Some(FileKind::Folder));
        if is_in_the_way && !self.request.delete {
            return Err(Error::new(Kind::AlreadyExists, one.path, "is a folder here: --delete takes it away"));
        }
        self.done.written += 1;
        self.done.rewritten += 1;
        let mut made = self.beside(one);
        if made.as_ref().is_err_and(|e| e.kind() == Kind::AlreadyExists) {
            // A restore that was killed left it.
            place.remove(BESIDE).map_err(|e| one.failed(e))?;
            made = self.beside(one);
        }
        // What replaces a folder is there whole before that goes.
        let cleared = made.and_then(|()| match is_in_the_way {
            true => place.remove(one.name).map_err(|e| one.failed(e)),
            false => Ok(()),
        });
        let done = cleared.and_then(|()| place.rename(BESIDE, one.name).map_err(|e| one.failed(e)));
        // What failed leaves nothing.
        done.inspect_err(|_| drop(place.remove(BESIDE)))
    }

    /// Whether what is there is also what another name leads to, of which the snapshot says that it is another file: what is set on the
    /// one would be set on the other.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    fn is_anothers(&mut self, one: &One<'_>, stat: &Stat) -> bool {
        // What was left as it was is no fault of what was written.
        let stays = self.request.overwrite == Overwrite::Never || self.request.keeps(stat, one.file.modified);
        if stat.st_nlink as u64 <= 1 || stays {
            return false;
        }
        let first = one.file.first.unwrap_or(one.key);
        let of = (stat.st_dev as u64, stat.st_ino as u64);
        self.met.entry(of).or_insert_with(|| first.to_vec()) != first
    }

    fn beside(&mut self, one: &One<'_>) -> Result<()> {
        match self.linked(one.place, one.file).map_err(|e| one.failed(e))? {
            true => Ok(()),
            false => self.write(one),
        }
    }

    /// What is to be done about what is there.
    fn todo(&mut self, one: &One<'_>, stat: &Stat) -> Result<Todo> {
        Ok(match self.compared(one, stat)? {
            Todo::Write => Todo::Write,
            // Others of its names may lie elsewhere, where nothing is to change. What could not be set just now is no other content.
            Todo::Set | Todo::Holes(_) if stat.st_nlink > 1 && self.request.verifies.is_none() => Todo::Write,
            _ if self.is_anothers(one, stat) => Todo::Write,
            // Without the holes it stays where they cannot be made.
            Todo::Holes(holes) if !self.request.dry_run && !make_holes(one.place, one.name, &holes) => {
                if one.is_set()? { Todo::Nothing } else { Todo::Set }
            }
            todo => todo,
        })
    }

    /// Compares what is there.
    fn compared(&self, one: &One<'_>, stat: &Stat) -> Result<Todo> {
        let One { place, name, file, path, .. } = *one;
        let failed = |e: io::Error| one.failed(e);
        if self.request.keeps(stat, file.modified) {
            return Ok(Todo::Nothing);
        }
        if FileKind::of(stat.st_mode) != file.kind() {
            return Ok(Todo::Write);
        }
        if let Some(first) = file.first {
            // Whether it is the same file as its first name, or could be. What could not be linked just now has the content all the same.
            let is_apart = self.request.verifies.is_some_and(|done| done.unset.links > 0);
            match self.found(first).map_err(failed)?.and_then(|(place, name)| place.look(&name).ok().flatten()) {
                Some(of) if (of.st_dev, of.st_ino) == (stat.st_dev, stat.st_ino) => return Ok(Todo::Nothing),
                Some(of) if is_of(&of, file) && !is_apart => return Ok(Todo::Write),
                _ => {}
            }
        }
        let Some(content) = file.content else {
            let same = match file.target {
                Some(target) => place.target(name).map_err(failed)? == target,
                None => file.device.is_none_or(|device| device == (major(stat.st_rdev), minor(stat.st_rdev))),
            };
            return Ok(match same {
                true if one.is_set()? => Todo::Nothing,
                true => Todo::Set,
                false => Todo::Write,
            });
        };
        let layout = Layout::of(file, self.chunks)?;
        let looks_same =
            (u64::try_from(stat.st_size).unwrap_or_default(), modified(stat)) == (layout.length, file.modified);
        let there = match place.open(name) {
            Ok(there) => File::from(there),
            // His own, which he may not read: it is what it looks like.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(if looks_same && one.is_set()? { Todo::Nothing } else { Todo::Write });
            }
            Err(e) => return Err(failed(e)),
        };
        let looks_same = looks_same && self.request.overwrite == Overwrite::IfChanged;
        if !looks_same && !is_same(content, &layout, self.chunks, &there, path)? {
            return Ok(Todo::Write);
        }
        self.request.watch.advance(content.length());
        let filled = if looks_same { Vec::new() } else { filled(&there, &layout).map_err(failed)? };
        Ok(match filled.is_empty() {
            false => Todo::Holes(filled),
            true if one.is_set()? => Todo::Nothing,
            true => Todo::Set,
        })
    }

    /// Makes a file with several names another name of its first one, where that was restored as it is.
    fn linked(&mut self, place: &Place, file: &FileRecord<'_>) -> io::Result<bool> {
        let Some(first) = file.first else { return Ok(false) };
        let Some((of, name)) = self.found(first)? else { return Ok(false) };
        let Some(stat) = of.look(&name)? else { return Ok(false) };
        if !is_of(&stat, file) {
            return Ok(false);
        }
        match place.link(&of, &name, BESIDE) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
            // It has too many names, or the file system knows no such thing.
            Err(_) => {
                self.done.unset.links += 1;
                Ok(false)
            }
        }
    }

    /// The folder and the name of what has this key, where it lies in what is restored.
    fn found(&self, key: &[u8]) -> io::Result<Option<(Place, Vec<u8>)>> {
        let Some(rest) = key.get(self.base..).filter(|_| key.get(..self.base) == self.request.from.get(..self.base))
        else {
            return Ok(None);
        };
        let Ok(parts) = parts_of(rest) else { return Ok(None) };
        let Some((name, folders)) = parts.split_last() else { return Ok(None) };
        let mut place = match self.levels.first() {
            Some(top) => match &top.place {
                Some(place) => place.enter(b".")?,
                // It is what is written into now.
                None => Place::at(self.request.out)?,
            },
            None => return Ok(None),
        };
        for folder in folders {
            // It is not there, or something else is.
            let Ok(next) = place.enter(folder) else { return Ok(None) };
            place = next;
        }
        Ok(Some((place, name.to_vec())))
    }

    /// Writes it beside, all of it.
    fn write(&mut self, one: &One<'_>) -> Result<()> {
        let One { place, file, attributes, path, .. } = *one;
        let failed = |e: io::Error| one.failed(e);
        let kind = file.kind();
        match (kind, file.content, file.target) {
            (Some(FileKind::File), Some(content), _) => {
                let to = File::from(place.create(BESIDE).map_err(failed)?);
                let layout = Layout::of(file, self.chunks).map_err(|e| e.within(path))?;
                if let Bytes::Blob(blob) = &content {
                    crate::blob::ask(blob, self.chunks)?;
                }
                write(content, &layout, self.chunks, &to, path, self.request.watch)?;
                self.done.bytes += content.length();
                return metadata::set(to.as_fd(), file, attributes, &mut self.done.unset).map_err(failed);
            }
            (Some(FileKind::Link), _, Some(target)) => place.symlink(target, BESIDE).map_err(failed)?,
            (Some(kind), ..) => {
                let of = match kind {
                    FileKind::Fifo => FileType::Fifo,
                    FileKind::Socket => FileType::Socket,
                    FileKind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                let made = place.node(BESIDE, of, file.device.unwrap_or_default());
                made.map_err(|e| match e.kind() {
                    io::ErrorKind::PermissionDenied => {
                        Error::new(Kind::Io, path, "only root makes devices: it is not made")
                    }
                    _ => failed(e),
                })?;
            }
            (None, ..) => return Err(Error::damaged(path, "is of no kind that is known")),
        }
        metadata::set_by_name(place, BESIDE, file, attributes, &mut self.done.unset).map_err(failed)
    }
}

/// Makes holes in a file that is there. Gives whether that may be done here.
fn make_holes(place: &Place, name: &[u8], holes: &[(u64, u64)]) -> bool {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let Ok(file) = place.open_to_write(name) else { return false };
    holes.iter().all(|(from, to)| fallocate(&file, flags, *from, to - from).is_ok())
}

fn modified(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default())
}

/// Whether what is there is as the record says, as far as the system tells without it being read.
fn is_of(stat: &Stat, file: &FileRecord<'_>) -> bool {
    // Bits that lend rights may have been left away.
    stat.st_mode & !0o6000 == file.mode & !0o6000 && is_time(modified(stat), file.modified)
}

/// Whether it is this time, or what a file system keeps of it that counts seconds, or parts of them.
fn is_time(there: (i64, u32), wanted: (i64, u32)) -> bool {
    const TICKS: [u32; 5] = [1, 100, 1000, 1_000_000, 1_000_000_000];
    there.0 == wanted.0 && TICKS.iter().any(|tick| there.1 == wanted.1 - wanted.1 % tick)
}

/// Whether an error is of one file alone.
fn is_of_one(e: &Error, path: &str) -> bool {
    match e.kind() {
        Kind::Damaged | Kind::TooLarge => true,
        Kind::Io | Kind::NotFound | Kind::AlreadyExists => e.subject() == path,
        _ => false,
    }
}
