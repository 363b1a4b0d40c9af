//! The frozen files of one node, listed: `KEYSPACE/TABLE-ID/` folders with the components of SSTables.
//!
//! Nothing is opened here but `manifest.json`. Index components and the folders of secondary indexes are recognised and
//! left out, because the database rebuilds them; whatever is not recognised is listed, so that it can be kept as bytes.
//! Sources: `Directories`, `Descriptor`, `SnapshotManifest`.

mod freeze;
mod txn;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::engine::cassandra::sstable::{Component, Descriptor};
use crate::error::{Error, Kind, Result};

pub use freeze::Frozen;

/// A file and its length in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFile {
    /// Where it is now.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
}

/// The files of one SSTable that are no indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedSsTable {
    /// Generation, version, format.
    pub descriptor: Descriptor,
    /// By component, unknown ones last. An SSTable may lack any of them: opening it tells.
    pub files: Vec<(Component, CapturedFile)>,
}

impl CapturedSsTable {
    /// Bytes on disk of the files listed.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.length).sum()
    }
}

/// A table's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedTable {
    /// Keyspace, as the folder is named.
    pub keyspace: String,
    /// Table, as the folder is named.
    pub name: String,
    /// 32 hex digits: tables that were dropped and created again under one name differ in it.
    pub id: String,
    /// The folder that holds the files.
    pub directory: PathBuf,
    /// In order of generation.
    pub sstables: Vec<CapturedSsTable>,
    /// `schema.cql`, where the capture has it.
    pub schema_cql: Option<PathBuf>,
    /// Files that belong to no SSTable and are not known by name.
    pub unknown: Vec<CapturedFile>,
    /// Bytes of index components left out.
    pub index_bytes: u64,
}

/// What one node's folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capture {
    /// In order of keyspace, name and id.
    pub tables: Vec<CapturedTable>,
    /// Milliseconds since 1970 of the first and last table's capture: from `manifest.json`, otherwise of its newest
    /// file. `None` where there are no files.
    pub taken: Option<(i64, i64)>,
    /// A live data directory: writes that were only in memory are missing.
    pub unflushed: bool,
    /// What was seen and left aside, in words.
    pub notes: Vec<String>,
}

/// Where in a table's folder the files are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the folder itself.
    Itself,
    /// In `snapshots/TAG/`, as `nodetool snapshot -t TAG` leaves them.
    Snapshot(&'a str),
}

const REMEDY: &str = "give the folder that holds KEYSPACE/TABLE-ID/ folders: a copy of a snapshot, or a data directory";

/// Lists a folder whose files no longer change. `NotFound` or `Io`, naming the folder, where it is missing or not
/// readable; `Usage` where it holds no tables.
pub fn list(root: &Path, place: Place<'_>) -> Result<Capture> {
    let mut capture = Capture::default();
    for (keyspace, path) in folders(root).map_err(|e| e.hint(REMEDY))? {
        for (folder, path) in folders(&path)? {
            match table_folder(&folder) {
                Some((name, id)) => list_table(&keyspace, name, id, &path, place, &mut capture)?,
                None => capture.notes.push(format!("{}: not a table's folder", path.display())),
            }
        }
    }
    if capture.tables.is_empty() {
        return Err(Error::new(Kind::Usage, root.display(), "holds no tables").hint(REMEDY));
    }
    capture.tables.sort_by(|a, b| (&a.keyspace, &a.name, &a.id).cmp(&(&b.keyspace, &b.name, &b.id)));
    Ok(capture)
}

/// Whether `root` is a data directory in use, rather than a copy of snapshots: its tables have no `manifest.json`, and
/// have what only a running node leaves (`backups/`, `snapshots/`, transaction logs).
pub fn is_live(root: &Path) -> Result<bool> {
    for (_, keyspace) in folders(root).map_err(|e| e.hint(REMEDY))? {
        for (folder, table) in folders(&keyspace)? {
            if table_folder(&folder).is_none() || table.join("manifest.json").exists() {
                continue;
            }
            if table.join("backups").is_dir() || table.join("snapshots").is_dir() {
                return Ok(true);
            }
            if files(&table)?.iter().any(|(name, _)| txn::is_log(name)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Lists `root`, and freezes it first where it is live (see [`Frozen`], which must be kept until all was read). `beside`
/// is the folder in which the frozen files are made; by default the one that holds `root`.
pub fn open(root: &Path, beside: Option<&Path>) -> Result<(Capture, Option<Frozen>)> {
    if !is_live(root)? {
        return Ok((list(root, Place::Itself)?, None));
    }
    let frozen = freeze::freeze(root, beside)?;
    let mut capture = list(frozen.as_ref().map_or(root, Frozen::path), Place::Itself)?;
    capture.unflushed = true;
    capture.notes.push(format!("{}: a live data directory; what was only in memory is missing", root.display()));
    for path in frozen.iter().flat_map(freeze::left_behind) {
        capture.notes.push(format!("{}: left by a run that was killed, or of one still at work", path.display()));
    }
    if frozen.is_none() {
        capture.notes.push(format!("{}: on a read-only file system, taken as it stands", root.display()));
    }
    Ok((capture, frozen))
}

/// `name-id` apart.
fn table_folder(folder: &str) -> Option<(&str, &str)> {
    let (name, id) = folder.rsplit_once('-')?;
    let hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && !name.is_empty()).then_some((name, id))
}

fn list_table(
    keyspace: &str,
    name: &str,
    id: &str,
    path: &Path,
    place: Place<'_>,
    capture: &mut Capture,
) -> Result<()> {
    let directory = match place {
        Place::Itself => path.to_path_buf(),
        Place::Snapshot(tag) => path.join("snapshots").join(tag),
    };
    if !directory.is_dir() {
        return Ok(());
    }
    for (folder, path) in folders(&directory)? {
        capture.notes.push(match folder.as_str() {
            "backups" => format!("{}: incremental backups are not read", path.display()),
            "snapshots" => format!("{}: snapshots beside the live files are not read", path.display()),
            hidden if hidden.starts_with('.') => format!("{}: secondary index, left out", path.display()),
            _ => format!("{}: unknown folder, not read", path.display()),
        });
    }
    let mut table = CapturedTable {
        keyspace: keyspace.to_string(),
        name: name.to_string(),
        id: id.to_string(),
        sstables: Vec::new(),
        schema_cql: None,
        unknown: Vec::new(),
        index_bytes: 0,
        directory,
    };
    let mut groups: BTreeMap<Descriptor, Vec<(Component, CapturedFile)>> = BTreeMap::new();
    let mut newest = None;
    let mut created = None;
    for (file, entry) in files(&table.directory)? {
        let found = CapturedFile { path: table.directory.join(&file), length: entry.length };
        newest = newest.max(Some(entry.modified));
        match Descriptor::parse(&file) {
            Some((_, Component::Rebuildable)) => table.index_bytes += found.length,
            Some((descriptor, component)) => groups.entry(descriptor).or_default().push((component, found)),
            None if file == "schema.cql" => table.schema_cql = Some(found.path),
            None if file == "manifest.json" => created = created_at(&found.path),
            None if file.ends_with(".tmp") => capture.notes.push(format!("{}: unfinished", found.path.display())),
            None => table.unknown.push(found),
        }
    }
    for (descriptor, mut files) in groups {
        files.sort_by_key(|(component, _)| *component);
        table.sstables.push(CapturedSsTable { descriptor, files });
    }
    if let Some(time) = created.or(newest) {
        let (first, last) = capture.taken.unwrap_or((time, time));
        capture.taken = Some((first.min(time), last.max(time)));
    }
    capture.tables.push(table);
    Ok(())
}

/// `created_at` of a `manifest.json`, milliseconds since 1970; versions before 4.1 do not write it.
fn created_at(path: &Path) -> Option<i64> {
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let time: jiff::Timestamp = manifest.get("created_at")?.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// What a listing needs to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    length: u64,
    /// Milliseconds since 1970.
    modified: i64,
    /// Tells a file that was replaced under its name.
    inode: u64,
}

/// The folders in `path`, by name.
fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in read_dir(path)? {
        let entry = entry.map_err(|e| Error::io(path.display(), e))?;
        if entry.path().is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The files in `path`, by name. Those that vanish meanwhile are not listed.
fn files(path: &Path) -> Result<Vec<(String, Entry)>> {
    let mut found = Vec::new();
    for entry in read_dir(path)? {
        let entry = entry.map_err(|e| Error::io(path.display(), e))?;
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(entry.path().display(), e)),
        };
        if metadata.is_file() {
            use std::os::unix::fs::MetadataExt;
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified = modified.map_or(0, |since| since.as_millis() as i64);
            let about = Entry { length: metadata.len(), modified, inode: metadata.ino() };
            found.push((entry.file_name().to_string_lossy().into_owned(), about));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn read_dir(path: &Path) -> Result<fs::ReadDir> {
    fs::read_dir(path).map_err(|e| Error::io(path.display(), e))
}

#[cfg(test)]
mod tests;
