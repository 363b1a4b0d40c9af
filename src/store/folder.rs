//! A store in a folder, of this machine or of another: an object is a file, its name the path.
//!
//! An object is written to `tmp/`, synced, moved to its name without replacing anything, and then the directory is
//! synced. A crash leaves at most a file in `tmp/`, which no reader looks at and [`Store::sweep`] removes.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::disk::{Disk, Entry, RealDisk};
use super::{Store, exists, lock, missing, short};
use crate::error::{Error, Kind, Result};

const TMP: &str = "tmp";

/// Objects as files below a root.
pub struct Folder<D: Disk = RealDisk> {
    disk: D,
    /// Directories that this process has made, or found, and whose entries it has synced.
    durable: Mutex<HashSet<String>>,
    counter: AtomicU64,
    /// Distinguishes our temporary files from those of other processes.
    tag: u64,
}

impl<D: Disk> Folder<D> {
    /// Touches nothing yet; the root is made by the first `create`.
    pub fn new(disk: D) -> Folder<D> {
        // Only a name: a clash is refused by `write_new` and tried again under the next number.
        #[allow(clippy::disallowed_methods)] // only tells temporary names apart; `repo::world` lies above
        let tag = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Folder { disk, durable: Mutex::default(), counter: AtomicU64::new(0), tag }
    }

    /// The operations below.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Makes `dir` and its parents, and makes sure that their entries survive a loss of power, whoever made them.
    fn ensure_dir(&self, dir: &str) -> io::Result<()> {
        if lock(&self.durable).contains(dir) {
            return Ok(());
        }
        if !dir.is_empty() {
            let parent = parent(dir);
            self.ensure_dir(parent)?;
            self.disk.make_dir(dir)?;
            self.disk.sync_dir(parent)?;
        } else {
            self.disk.make_dir(dir)?;
        }
        lock(&self.durable).insert(dir.to_string());
        Ok(())
    }

    fn try_create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ensure_dir(TMP)?;
        self.ensure_dir(parent(name))?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let tmp = format!("{TMP}/{:016x}-{number}", self.tag);
        let written = self.disk.write_new(&tmp, bytes).and_then(|()| self.disk.publish(&tmp, name));
        match written {
            Ok(()) => self.disk.sync_dir(parent(name)),
            Err(e) => {
                // Best effort: it frees space on a full disk. What stays is a leftover like any other.
                let _ = self.disk.remove(&tmp);
                if e.kind() == io::ErrorKind::AlreadyExists {
                    // The caller will rely on the object that is there, so it has to survive a loss of power too.
                    self.disk.sync_dir(parent(name))?;
                }
                Err(e)
            }
        }
    }

    fn walk(&self, dir: &str, visit: &mut dyn FnMut(&str, &Entry) -> Result<()>) -> Result<()> {
        let entries = match self.disk.entries(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| self.error(dir, e))?,
        };
        // A writer may have been killed between the move and the sync; what we show must last. Read-only media need
        // no sync and may refuse it.
        let _ = self.disk.sync_dir(dir);
        for entry in entries {
            let path = if dir.is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
            match entry.is_dir {
                true if path == TMP => {}
                true => self.walk(&path, visit)?,
                false => visit(&path, &entry)?,
            }
        }
        Ok(())
    }

    fn error(&self, name: &str, e: io::Error) -> Error {
        let error = e.downcast().unwrap_or_else(|e| Error::io(format!("{}/{name}", self.disk.place()), e));
        match error.kind() {
            Kind::Full => {
                error.hint("free some space and run the command again: what a backup has uploaded is used again")
            }
            _ => error,
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl<D: Disk> Store for Folder<D> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.try_create(name, &bytes).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => exists(name),
            // A directory or temporary file vanished under us: may pass if tried again.
            io::ErrorKind::NotFound => {
                lock(&self.durable).clear();
                Error::new(Kind::Io, format!("{}/{name}", self.disk.place()), e)
            }
            _ => self.error(name, e),
        })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.disk.read(name, None).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => missing(name),
            _ => self.error(name, e),
        })
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.disk.read(name, Some(range.clone())).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => missing(name),
            io::ErrorKind::UnexpectedEof => short(name, &range),
            _ => self.error(name, e),
        })
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.walk(folder, &mut |name, entry| visit(name, entry.len))
    }

    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.walk(folder, &mut |name, entry| entry.modified_ms.map_or(Ok(()), |date| visit(name, date)))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let removed = self.disk.remove(name).and_then(|()| self.disk.sync_dir(parent(name)));
        removed.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => missing(name),
            _ => self.error(name, e),
        })
    }

    fn concurrency(&self) -> usize {
        self.disk.concurrency()
    }

    fn place(&self) -> String {
        self.disk.place()
    }

    fn patience(&self) -> Duration {
        self.disk.patience()
    }

    fn sweep(&self) -> Result<()> {
        let leftovers = match self.disk.entries(TMP) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| self.error(TMP, e))?,
        };
        for entry in leftovers.iter().filter(|e| !e.is_dir) {
            let path = format!("{TMP}/{}", entry.name);
            // Another sweep, or the writer itself, may be faster: either way it is gone.
            if matches!(self.disk.is_abandoned(&path), Ok(true)) {
                let _ = self.disk.remove(&path);
            }
        }
        Ok(())
    }
}
