//! The folder that a restore writes to: whose it is, how far the restore has come, and that nobody else is at it.
//! `restore.json` says so, and is replaced whole after every table.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::target::folders::{Out, Totals};
use crate::error::{Error, Kind, Result};

const NAME: &str = "restore.json";
/// Tells ours from any other file of that name.
const WHAT: &str = "onefold restore --to sstables";
const VERSION: u32 = 0;

/// Files are numbered from the second in which the restore began, counted from here (2020): above what a table reached
/// by itself, below what an earlier restore wrote, within the 31 bits that Cassandra reads (`SequenceBasedSSTableId`).
const NUMBERS_FROM: u64 = 1_577_836_800;

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
    /// What the folder of each node holds.
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
    /// Holds the lock.
    _lock: File,
}

impl Folder {
    /// Makes the folder, or goes on with what the same restore began there.
    ///
    /// Errors: `Busy` where another process is at it; `AlreadyExists` where the folder holds something else, or another
    /// restore.
    pub fn open(path: &Path, arguments: BTreeMap<String, Value>, now_ms: u64) -> Result<Folder> {
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
                let first = (now_ms / 1000).saturating_sub(NUMBERS_FROM).max(1);
                let (what, tables) = (WHAT.to_owned(), BTreeMap::new());
                Document { what, version: VERSION, state: State::Writing, arguments, first, tables }
            }
        };
        Ok(Folder { path: path.to_path_buf(), document, _lock: lock })
    }

    /// Where the folders of `nodes` lie.
    pub fn out<'a>(&'a self, nodes: &'a [String]) -> Out<'a> {
        Out { root: &self.path, nodes, first: self.document.first }
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

    /// Takes a table that is done for one that is not if its files are not those that were written. `nodes` name its
    /// folders; true where that is so: files were imported from here, or removed.
    pub fn forget_moved(&mut self, name: &str, table: &Table, nodes: &[String]) -> Result<bool> {
        let Some(done) = self.document.tables.get(name) else { return Ok(false) };
        let there = held(self.out(nodes), table)?;
        let moved = done.folders != there;
        if moved {
            self.document.tables.remove(name);
        }
        Ok(moved)
    }

    /// A table is done; its files are on the disk.
    pub fn done(&mut self, name: &str, table: &Table, nodes: &[String], totals: Totals) -> Result<()> {
        let folders = held(self.out(nodes), table)?;
        self.document.tables.insert(name.to_owned(), Done { totals, folders });
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

/// What the folders of a table hold, by node.
fn held(out: Out<'_>, table: &Table) -> Result<BTreeMap<String, Held>> {
    let of_folder = |folder: &Path| -> io::Result<Held> {
        let entries = match fs::read_dir(folder) {
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
    let of_node = |(node, folder): (&str, PathBuf)| match of_folder(&folder) {
        Ok(held) => Ok((node.to_owned(), held)),
        Err(e) => Err(Error::io(folder.display(), e)),
    };
    out.folders(table).map(of_node).collect()
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
