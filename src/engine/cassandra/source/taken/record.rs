//! What is written down of snapshots that are to be cleared: a file for each tag, locked as long as the run lives, or a command that
//! it started.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::is_tag;
use crate::error::{Error, Kind, Result};
use crate::whole;

/// Bytes of a file that names nodes, at most.
const FILE_MAX: u64 = 1 << 20;

/// A node that may have a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// How the node is known again.
    pub node: String,
    /// Until when what was asked for may still come, milliseconds since 1970, where nobody knows that it ended.
    pub comes_until: Option<u64>,
}

/// What one run may have left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// How it was taken, and is to be cleared.
    pub way: String,
    /// Where.
    pub owed: Vec<Owed>,
}

/// The folder of records.
pub struct Records(PathBuf);

/// A record, locked.
pub struct Kept {
    path: PathBuf,
    _alive: File,
}

impl Records {
    /// Those of this machine.
    ///
    /// Errors: `Usage`, where it keeps no state.
    pub fn of(state: Option<&Path>) -> Result<Records> {
        let none = || {
            Error::new(Kind::Usage, "backup", "there is no folder to remember what is to be cleared")
                .hint("set XDG_STATE_HOME, or HOME")
        };
        let folder = state.ok_or_else(none)?.join("snapshots");
        fs::create_dir_all(&folder).map_err(|e| Error::io(folder.display(), e))?;
        Ok(Records(folder))
    }

    /// Writes down what a run that lives is about to ask for.
    pub fn begin(&self, tag: &str, record: &Record) -> Result<Kept> {
        let path = self.0.join(tag);
        let io = |e| Error::io(path.display(), e);
        let _alone = self.alone()?;
        let _alive = write(&path, record)?;
        _alive.lock().map_err(io)?;
        // What we start inherits it: should we be killed, a command that still goes on is not cleared after too soon.
        fcntl_setfd(&_alive, FdFlags::empty()).map_err(|e| io(e.into()))?;
        Ok(Kept { path, _alive })
    }

    /// What runs wrote down that live no more, with their tags.
    pub fn ended(&self) -> Result<Vec<(String, Kept)>> {
        let _alone = self.alone()?;
        let io = |e| Error::io(self.0.display(), e);
        let mut ended = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let Some(tag) = name.to_str().filter(|tag| is_tag(tag)) else { continue };
            let path = self.0.join(tag);
            let Ok(file) = File::open(&path) else { continue };
            match file.try_lock() {
                Ok(()) => ended.push((tag.to_owned(), Kept { path, _alive: file })),
                // Its run is at work.
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(Error::io(path.display(), e)),
            }
        }
        Ok(ended)
    }

    /// Keeps others from writing down and from looking, so that whatever is seen is locked if its run lives.
    fn alone(&self) -> Result<File> {
        let lock = File::open(&self.0).and_then(|file| file.lock().map(|()| file));
        lock.map_err(|e| Error::io(self.0.display(), e))
    }
}

impl Kept {
    /// What it says.
    pub fn read(&self) -> Result<Record> {
        let io = |e| Error::io(self.path.display(), e);
        if fs::metadata(&self.path).map_err(io)?.len() > FILE_MAX {
            return Err(Error::damaged(self.path.display(), "is too large for a list of nodes"));
        }
        let hint = "it names nodes that may have a snapshot of this tag: clear it there by hand, then remove the file";
        let text = fs::read(&self.path).map_err(io)?;
        serde_json::from_slice(&text).map_err(|e| Error::damaged(self.path.display(), e).hint(hint))
    }

    /// Writes down what is left; nothing takes the file away.
    pub fn keep(&self, record: &Record) -> Result<()> {
        match (record.owed.is_empty(), self.path.exists()) {
            (true, true) => fs::remove_file(&self.path).map_err(|e| Error::io(self.path.display(), e)),
            (true, false) => Ok(()),
            (false, _) => write(&self.path, record).map(drop),
        }
    }
}

fn write(path: &Path, record: &Record) -> Result<File> {
    let text = serde_json::to_vec(record).map_err(|e| Error::damaged(path.display(), e))?;
    whole::replace(path, &text).map_err(|e| Error::io(path.display(), e))
}
