//! The folder that a restore writes to: whose it is, how far the restore has come, and that nobody else is at it.
//! `restore.json` says so, and is replaced whole after every table.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::cassandra::placing::folders::{Out, Totals, folder};
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::sstable::write::LateTimes;
use crate::error::{Error, Kind, Result};
pub use crate::whole::arguments::State;
use crate::whole::arguments::{Arguments, NAME, lock, other, same};
use crate::whole::replace;

/// Tells ours from any other file of that name.
const WHAT: &str = "onefold restore --to sstables";
const VERSION: u32 = 0;

/// Files are numbered from here on at least: above what a table comes to by itself.
const NUMBERS_FROM: u64 = 1 << 28;
/// So many places may be drawn to begin at. Above them is room for what the table writes afterwards, counting on from the
/// greatest number that it finds, within the 31 bits that Cassandra reads (`SequenceBasedSSTableId`).
const NUMBERS: u64 = (1 << 31) - (1 << 29) - NUMBERS_FROM;

/// What `restore.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Document {
    what: String,
    version: u32,
    state: State,
    /// Everything that decides what is written, by name.
    arguments: Arguments,
    /// Files are numbered from here on.
    first: u64,
    /// Tables that are done.
    tables: BTreeMap<String, Done>,
}

/// A table that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Done {
    #[serde(flatten)]
    totals: Totals,
    /// What the folder of each node holds, where it holds anything.
    folders: BTreeMap<String, Held>,
}

/// What is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Held {
    files: u64,
    bytes: u64,
}

/// The folder, held by us alone.
pub struct Folder {
    path: PathBuf,
    document: Document,
    /// Holds the lock; none where the folder is only looked at.
    _lock: Option<File>,
}

impl Folder {
    /// Makes the folder, or goes on with what the same restore began there.
    ///
    /// Errors: `Busy` where another process is at it; `AlreadyExists` where the folder holds something else, or another
    /// restore.
    pub fn open(path: &Path, arguments: Arguments, late: LateTimes, now_ms: u64) -> Result<Folder> {
        let failed = |e| Error::io(path.display(), e);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = lock(path)?;
        let document = match read(path)? {
            Some(before) => before.same(path, &arguments, late)?,
            None => {
                let first = drawn(&json!([arguments, path, now_ms]));
                let (what, tables) = (WHAT.to_owned(), BTreeMap::new());
                Document { what, version: VERSION, state: State::Writing, arguments, first, tables }
            }
        };
        Ok(Folder { path: path.to_path_buf(), document, _lock: Some(lock) })
    }

    /// What [`Folder::open`] would find, with its errors but `Busy`. Nothing is made; `None` where nothing is there.
    pub fn look(path: &Path, arguments: &Arguments, late: LateTimes) -> Result<Option<Folder>> {
        if !path.try_exists().map_err(|e| Error::io(path.display(), e))? {
            return Ok(None);
        }
        let Some(before) = read(path)? else { return Ok(None) };
        Ok(Some(Folder { path: path.to_path_buf(), document: before.same(path, arguments, late)?, _lock: None }))
    }

    /// Where the folders of `nodes` lie; only those that are `wanted` are written.
    pub fn out<'a>(&'a self, nodes: &'a [String], wanted: &'a [bool]) -> Out<'a> {
        Out { root: &self.path, nodes, first: self.document.first, wanted }
    }

    /// From here on the folder is this restore's, and says that it is not complete.
    pub fn begin(&mut self) -> Result<()> {
        self.document.state = State::Writing;
        self.write()
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.document.state
    }

    /// What was written of a table that is done.
    pub fn table(&self, name: &str) -> Option<Totals> {
        self.document.tables.get(name).map(|done| done.totals)
    }

    /// Which folders of a table are still to be written, by the places of `nodes`: all of a table that is not done; of one that is,
    /// those that no longer hold what was written: files were imported from there, or removed.
    pub fn missing(&self, name: &str, table: &Table, nodes: &[String]) -> Result<Vec<bool>> {
        let Some(done) = self.document.tables.get(name) else { return Ok(vec![true; nodes.len()]) };
        let differs =
            |node: &String| Ok(done.folders.get(node).copied().unwrap_or_default() != self.held(node, table)?);
        nodes.iter().map(differs).collect()
    }

    /// A table is done; its files are on the disk.
    pub fn done(&mut self, name: &str, table: &Table, nodes: &[String], totals: Totals) -> Result<()> {
        let mut folders = BTreeMap::new();
        for node in nodes {
            let held = self.held(node, table)?;
            if held != Held::default() {
                folders.insert(node.clone(), held);
            }
        }
        self.document.tables.insert(name.to_owned(), Done { totals, folders });
        self.write()
    }

    /// What the folder of a node's files holds.
    fn held(&self, node: &str, table: &Table) -> Result<Held> {
        let folder = folder(&self.path, node, table);
        let count = || -> io::Result<Held> {
            let entries = match fs::read_dir(&folder) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Held::default()),
                entries => entries?,
            };
            let mut held = Held::default();
            for entry in entries {
                held.files += 1;
                held.bytes += entry?.metadata()?.len();
            }
            Ok(held)
        };
        count().map_err(|e| Error::io(folder.display(), e))
    }

    /// Everything is done.
    pub fn complete(&mut self) -> Result<()> {
        self.document.state = State::Complete;
        self.write()
    }

    /// Puts a file into the folder unless it is there as it should be, whole or not at all.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        replace(&path, bytes).map(drop).map_err(|e| Error::io(path.display(), e))
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

impl Document {
    /// This, if what is asked for now is the same restore. Fails by the name of what differs.
    ///
    /// What to do with late times is no part of it: a table that is done without such times is the same under either choice.
    fn same(self, path: &Path, now: &Arguments, late: LateTimes) -> Result<Document> {
        same(path, &self.arguments, now)?;
        let capped = self.tables.iter().find(|(_, done)| done.totals.capped > 0);
        if let Some((name, _)) = capped.filter(|_| late == LateTimes::Refuse) {
            return Err(other(path, &format!("late times of {name} are capped there")));
        }
        Ok(self)
    }
}

/// The number of a restore's first file: two restores into one table do not come to the same names, whenever they began,
/// but by a chance of about their number of files in a thousand million.
fn drawn(about: &Value) -> u64 {
    let hash = blake3::hash(about.to_string().as_bytes());
    let number = hash.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    NUMBERS_FROM + number % NUMBERS
}

/// Bytes that can be written to the file system that holds `path`, or would hold it.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let absolute = std::path::absolute(path).map_err(|e| Error::io(path.display(), e))?;
    let there = absolute.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let said = rustix::fs::statvfs(there).map_err(|e| Error::io(there.display(), e.into()))?;
    Ok(said.f_bavail.saturating_mul(said.f_frsize))
}
