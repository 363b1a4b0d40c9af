//! The folders on the way to what is restored next: made and opened when something in them is, set when everything in them is done.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use repo_format::file_tree::{FileKind, FileRecord, attributes};
use rustix::fs::Stat;

use super::content::aside;
use super::place::Place;
use super::{Overwrite, Request, Restore, metadata};
use crate::error::{Error, Result};
use crate::patterns::path_of;

/// What is known of a folder that is not open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing yet.
    Untried,
    /// It would have to be made first.
    Missing,
    /// It cannot be entered: what lies in it is not restored.
    Barred,
}

/// A folder on the way to what comes next.
pub struct Level {
    /// Its key.
    pub key: Vec<u8>,
    /// Its record, where the snapshot has one.
    pub body: Option<Vec<u8>>,
    /// It is set as the record says once everything in it is done.
    pub is_ours: bool,
    /// It is open.
    pub place: Option<Place>,
    /// Where it is not.
    pub way: Way,
    /// Names of what the snapshot has in it, where others are taken away.
    pub names: Ascending,
}

/// Names that ascend, one behind the other.
#[derive(Default)]
pub struct Ascending {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Ascending {
    /// Adds one, which comes after those before it.
    pub fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    /// Whether it is one of them.
    pub fn holds(&self, name: &[u8]) -> bool {
        let one = |n: usize| {
            let from = n.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
            self.ends.get(n).and_then(|to| self.bytes.get(from..*to)).unwrap_or_default()
        };
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match one(middle).cmp(name) {
                Ordering::Equal => return true,
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        false
    }
}

impl Request<'_> {
    /// Whether what is there stays, where the snapshot has something of that time.
    pub fn keeps(&self, there: &Stat, modified: (i64, u32)) -> bool {
        let time = (there.st_mtime, u32::try_from(there.st_mtime_nsec).unwrap_or_default());
        match self.overwrite {
            // What was written just now has the time that it had.
            Overwrite::Never => self.verifies.is_none() || time != modified,
            Overwrite::IfNewer => time > modified,
            Overwrite::Always | Overwrite::IfChanged => false,
        }
    }

    /// Opens the folder of a level, which lies in `place`; of a dry run `None` where it is not there. Gives whether it had to be made.
    fn folder(&self, place: &Place, level: &Level) -> io::Result<(Option<Place>, bool)> {
        let name = level.key.rsplit(|b| *b == 0).next().unwrap_or_default();
        let there = place.look(name)?;
        let is_folder = |stat: &Stat| FileKind::of(stat.st_mode) == Some(FileKind::Folder);
        if let Some(stat) = there.filter(|stat| !is_folder(stat)) {
            let said = level.body.as_deref().and_then(|body| FileRecord::parse(body).ok());
            if said.is_some_and(|file| self.keeps(&stat, file.modified)) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no folder, and stays"));
            }
            if !self.dry_run {
                place.remove(name)?;
            }
        }
        let is_there = there.as_ref().is_some_and(is_folder);
        match (is_there, self.dry_run) {
            (true, true) => Ok((Some(place.enter(name)?), false)),
            (false, true) => Ok((None, true)),
            (_, false) => Ok((Some(place.make(name)?), !is_there)),
        }
    }
}

impl Restore<'_> {
    /// Makes and opens the folders of the first `depth` levels. Where one cannot be, those below stay closed.
    pub(super) fn enter(&mut self, depth: usize) -> Result<()> {
        for i in 1..depth {
            let (before, rest) = self.levels.split_at_mut(i);
            let (Some(above), Some(level)) = (before.last(), rest.first_mut()) else { continue };
            if level.place.is_some() {
                continue;
            }
            let path = path_of(&level.key).display().to_string();
            match (level.way, &above.place) {
                (Way::Barred, _) => return Ok(()),
                (Way::Missing, _) => continue,
                (Way::Untried, Some(place)) => match self.request.folder(place, level) {
                    Ok((opened, made)) => {
                        level.place = opened;
                        self.done.written += u64::from(made);
                    }
                    Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::AlreadyExists) => {
                        level.way = Way::Barred;
                        self.problem(&path, format_args!("{e}: nothing is restored into it"));
                        return Ok(());
                    }
                    Err(e) => return Err(Error::io(path, e)),
                },
                (Way::Untried, None) => self.done.written += 1,
            }
            if let Some(level) = self.levels.get_mut(i).filter(|level| level.place.is_none()) {
                level.way = Way::Missing;
            }
        }
        Ok(())
    }

    /// Ends the last level: everything in it is done.
    pub(super) fn leave(&mut self) -> Result<()> {
        match self.levels.pop() {
            Some(level) => self.close(&level),
            None => Ok(()),
        }
    }

    pub(super) fn close(&mut self, level: &Level) -> Result<()> {
        let Some(place) = &level.place else { return Ok(()) };
        let path = path_of(&level.key);
        let failed = |e: io::Error| Error::io(path.display(), e);
        let Some(body) = &level.body else { return Ok(()) };
        let file = FileRecord::parse(body).map_err(|e| Error::from(e).within(path.display()))?;
        let all_known = !file.lacks.unread && !file.lacks.left_out;
        if self.request.delete && all_known && self.is_meant(&path, true) {
            for name in place.names(|name| !level.names.holds(name)).map_err(failed)? {
                let there = place.look(&name).map_err(failed)?;
                let is_folder = there.is_some_and(|stat| FileKind::of(stat.st_mode) == Some(FileKind::Folder));
                if !self.is_meant(&path.join(OsStr::from_bytes(&name)), is_folder) {
                    continue;
                }
                self.done.removed += 1;
                if !self.request.dry_run {
                    place.remove(&name).map_err(failed)?;
                }
            }
        }
        if self.request.dry_run || !level.is_ours {
            return Ok(());
        }
        let said = aside(file.attributes, self.chunks)?;
        let attributes = attributes(&said).map_err(|e| Error::from(e).within(path.display()))?;
        if metadata::is_set(place, b"", &file, &attributes).map_err(failed)? {
            return Ok(());
        }
        if let Err(e) = metadata::set(place.as_fd(), &file, &attributes, &mut self.done.unset) {
            // Everything in it is restored all the same.
            self.problem(&path.display().to_string(), format_args!("is not set as it was: {e}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Ascending;

    #[test]
    fn names_that_ascend_are_found() {
        let mut names = Ascending::default();
        assert!(!names.holds(b"") && !names.holds(b"a"));
        let all: Vec<Vec<u8>> = (0..300).map(|n| format!("{n:04}").into_bytes()).collect();
        all.iter().step_by(2).for_each(|name| names.push(name));
        for (n, name) in all.iter().enumerate() {
            assert_eq!(names.holds(name), n % 2 == 0, "{n}");
            assert!(!names.holds(&name[..3]) && !names.holds(&[name, &b"x"[..]].concat()));
        }
    }
}
