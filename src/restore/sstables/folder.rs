//! The folder that a restore writes to: whose it is, how far the restore has come, and that nobody else is at it.
//! `restore.json` says so, and is replaced whole after every table.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::cassandra::target::folders::Totals;
use crate::error::{Error, Kind, Result};

const NAME: &str = "restore.json";
/// Tells ours from any other file of that name.
const WHAT: &str = "onefold restore --to sstables";
const VERSION: u32 = 0;

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not done: do not use what is there.
    Writing,
    /// Everything is there.
    Complete,
}

/// What `restore.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Document {
    what: String,
    version: u32,
    state: State,
    /// Everything that decides what is written, by name.
    arguments: BTreeMap<String, Value>,
    /// Tables that are done.
    tables: BTreeMap<String, Totals>,
}

/// The folder, held by us alone.
pub struct Folder {
    path: PathBuf,
    document: Document,
    /// Holds the lock.
    _lock: File,
}

impl Folder {
    /// Makes the folder, or goes on with what the same restore began there.
    ///
    /// Errors: `Busy` where another process is at it; `AlreadyExists` where the folder holds something else, or another
    /// restore.
    pub fn open(path: &Path, arguments: BTreeMap<String, Value>) -> Result<Folder> {
        let failed = |e| Error::io(path.display(), e);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::open(path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Busy, path.display(), "another restore is writing there"));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let document = match read(path)? {
            Some(before) => {
                same(path, &before.arguments, &arguments)?;
                before
            }
            None => {
                let what = WHAT.to_owned();
                Document { what, version: VERSION, state: State::Writing, arguments, tables: BTreeMap::new() }
            }
        };
        Ok(Folder { path: path.to_path_buf(), document, _lock: lock })
    }

    /// From here on the folder is this restore's, and says so.
    pub fn begin(&self) -> Result<()> {
        self.write()
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.document.state
    }

    /// What was written of a table that is done.
    pub fn table(&self, name: &str) -> Option<Totals> {
        self.document.tables.get(name).copied()
    }

    /// A table is done; its files are on the disk.
    pub fn done(&mut self, name: &str, totals: Totals) -> Result<()> {
        self.document.tables.insert(name.to_owned(), totals);
        self.write()
    }

    /// Everything is done.
    pub fn complete(&mut self) -> Result<()> {
        self.document.state = State::Complete;
        self.write()
    }

    /// Puts a file into the folder, whole or not at all.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let write = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| Error::io(path.display(), e))
    }

    fn write(&self) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(&self.document).map_err(|e| Error::damaged(NAME, e))?;
        bytes.push(b'\n');
        self.put(NAME, &bytes)
    }
}

/// What an earlier restore left. `None` in an empty folder.
fn read(path: &Path) -> Result<Option<Document>> {
    let failed = |e| Error::io(path.display(), e);
    let foreign = |what: String| {
        Error::new(Kind::AlreadyExists, path.display(), what).hint("give --out a folder that is empty or not there yet")
    };
    let name = path.join(NAME);
    let bytes = match fs::read(&name) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A kill may have left the first document half written, under its other name.
            let ours = |entry: &fs::DirEntry| entry.file_name() == format!("{NAME}.new").as_str();
            let mut entries = fs::read_dir(path).map_err(failed)?;
            return match entries.find(|entry| !entry.as_ref().is_ok_and(ours)) {
                None => Ok(None),
                Some(_) => Err(foreign(format!("is not empty, and holds no {NAME} of ours"))),
            };
        }
        Err(e) => return Err(Error::io(name.display(), e)),
    };
    let document: Document =
        serde_json::from_slice(&bytes).map_err(|e| foreign(format!("{NAME} is not one of ours: {e}")))?;
    if document.what != WHAT || document.version > VERSION {
        let what = format!("{NAME} is of another program: {} {}", document.what, document.version);
        return Err(foreign(what));
    }
    Ok(Some(document))
}

/// Fails by the name of what differs.
fn same(path: &Path, before: &BTreeMap<String, Value>, now: &BTreeMap<String, Value>) -> Result<()> {
    let names = before.keys().chain(now.keys()).find(|name| before.get(*name) != now.get(*name));
    let Some(name) = names else { return Ok(()) };
    let brief = |values: &BTreeMap<String, Value>| {
        let text = values.get(name).filter(|v| !v.is_null()).map(Value::to_string);
        let text = text.unwrap_or_else(|| "none".to_owned());
        if text.chars().count() > 80 { "another".to_owned() } else { text }
    };
    let what = format!("holds a restore with other arguments: its {name} is {}, not {}", brief(before), brief(now));
    Err(Error::new(Kind::AlreadyExists, path.display(), what)
        .hint("repeat that restore with its own arguments, or give another --out"))
}

/// Bytes that can be written to the file system that holds `path`, or would hold it.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let absolute = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let there = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let said = rustix::fs::statvfs(there).map_err(|e| Error::io(there.display(), e.into()))?;
    Ok(said.f_bavail.saturating_mul(said.f_frsize))
}
