//! The frozen files of one node, listed: `KEYSPACE/TABLE-ID/` folders with the components of SSTables.
//!
//! Nothing is opened here but `manifest.json`. The folders of secondary indexes are recognised and left out, because the
//! database rebuilds them; whatever is not recognised is listed, so that it can be kept as bytes.
//!
//! What a table's folder may hold besides files:
//! - `snapshots/TAG/`: read in place of the files where the operator names the tag; otherwise left aside.
//! - `backups/` beside a snapshot: SSTables flushed since count as further ones ([`backups`]). In a live data directory
//!   they are left aside, for what they hold is in the live files.
//! - `.INDEX/`: a secondary index, left out.
//!
//! A node may spread its tables over several data directories; they are listed as one.
//! Sources: `Directories`, `Descriptor`, `SnapshotManifest`.

mod backups;
mod found;
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

/// The files of one SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedSsTable {
    /// Generation, version, format.
    pub descriptor: Descriptor,
    /// The folder that holds its files.
    pub directory: PathBuf,
    /// One of the incremental backups that came after the snapshot.
    pub backup: bool,
    /// By component, unknown ones last. An SSTable may lack any of them: opening it tells.
    pub files: Vec<(Component, CapturedFile)>,
}

impl CapturedSsTable {
    /// Bytes on disk of what is read of it where its rows are: all but indexes.
    pub fn bytes(&self) -> u64 {
        let read = self.files.iter().filter(|(component, _)| *component != Component::Index);
        read.map(|(_, file)| file.length).sum()
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
    /// In order of generation; no generation twice.
    pub sstables: Vec<CapturedSsTable>,
    /// `schema.cql`, where the capture has it.
    pub schema_cql: Option<PathBuf>,
    /// Files that belong to no SSTable and are not known by name.
    pub unknown: Vec<CapturedFile>,
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
    /// Tables without a snapshot of the tag, in keyspaces of which others have one: the keyspace, and the folder.
    pub untagged: Vec<(String, PathBuf)>,
    /// What was seen and left aside, or needs a word: why, and where.
    pub notes: Notes,
}

/// By what there is to say: the places.
pub type Notes = BTreeMap<&'static str, Vec<PathBuf>>;

/// One line for each reason in `notes`: the first place and how many more there are.
pub fn lines(notes: &Notes) -> Vec<String> {
    let line = |(why, places): (&&str, &Vec<PathBuf>)| {
        let first = places.first().map(|path| path.display().to_string()).unwrap_or_default();
        let more = places.len().saturating_sub(1);
        if more == 0 { format!("{why}: {first}") } else { format!("{why}: {first} and {more} more") }
    };
    notes.iter().map(line).collect()
}

/// Where in a table's folder the files are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the folder itself.
    Itself,
    /// In `snapshots/TAG/`, as `nodetool snapshot -t TAG` leaves them.
    Snapshot(&'a str),
}

const SNAPSHOTS: &str = "snapshots beside the files, not read";
const BACKUPS: &str = "incremental backups beside a snapshot, read along as far as they came after it";
const LIVE_BACKUPS: &str = "incremental backups of a live data directory, not read: its own files hold what they hold";
const REMEDY: &str = "give the folder that holds KEYSPACE/TABLE-ID/ folders: a copy of a snapshot, or a data directory";

/// Lists a folder whose files no longer change. `NotFound` or `Io`, naming the folder, where it is missing or not
/// readable; `Usage` where it holds no tables.
pub fn list(root: &Path, place: Place<'_>) -> Result<Capture> {
    list_all(&[root.to_path_buf()], &[root.to_path_buf()], place)
}

/// The folders of one node, in words.
fn named(roots: &[PathBuf]) -> String {
    roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(",")
}

/// Lists `roots`, the data directories of one node; errors say those that were `given`.
fn list_all(roots: &[PathBuf], given: &[PathBuf], place: Place<'_>) -> Result<Capture> {
    let mut found = found::Found::default();
    for root in roots {
        for (keyspace, path) in folders(root).map_err(|e| e.hint(REMEDY))? {
            for (folder, path) in folders(&path)? {
                match table_folder(&folder) {
                    Some((name, id)) => found.table(&keyspace, name, id, &path, place)?,
                    None => found.note("not a table's folder", path),
                }
            }
        }
    }
    if found.is_empty() {
        let error = |what: String| Error::new(Kind::Usage, named(given), what);
        return Err(match place {
            Place::Snapshot(tag) => error(format!("holds no snapshot {tag} of any table"))
                .hint("the tag is that of `nodetool snapshot -t TAG`; `nodetool listsnapshots` names them"),
            Place::Itself => error("holds no tables".to_string()).hint(REMEDY),
        });
    }
    found.finish()
}

/// Whether `root` is a data directory in use, rather than a copy of snapshots: its tables have no `manifest.json`, and
/// some have what only a running node leaves (`backups/`, `snapshots/`, transaction logs).
pub fn is_live(root: &Path) -> Result<bool> {
    let mut live = false;
    for (_, keyspace) in folders(root).map_err(|e| e.hint(REMEDY))? {
        for (folder, table) in folders(&keyspace)? {
            if table_folder(&folder).is_none() {
                continue;
            }
            // In a copy of a snapshot a table made later may have nothing but `backups/`.
            if table.join("manifest.json").exists() {
                return Ok(false);
            }
            live = live || table.join("backups").is_dir() || table.join("snapshots").is_dir();
            live = live || files(&table)?.iter().any(|(name, _)| txn::is_log(name));
        }
    }
    Ok(live)
}

/// [`open_all`] of one folder.
pub fn open(root: &Path, beside: Option<&Path>) -> Result<(Capture, Vec<Frozen>)> {
    open_all(&[root.to_path_buf()], Place::Itself, beside)
}

/// Lists `roots`, the data directories of one node, and freezes them first where they are live (see [`Frozen`], which must
/// be kept until all was read). `beside` is the folder in which the frozen files are made; by default the one that holds
/// each root. Snapshots in live directories do not change and need no freezing.
pub fn open_all(roots: &[PathBuf], place: Place<'_>, beside: Option<&Path>) -> Result<(Capture, Vec<Frozen>)> {
    let mut live = false;
    for root in roots {
        live = live || (place == Place::Itself && is_live(root)?);
    }
    if !live {
        return Ok((list_all(roots, roots, place)?, Vec::new()));
    }
    let frozen = freeze::freeze(roots, beside)?;
    let paths: Vec<_> =
        if frozen.is_empty() { roots.to_vec() } else { frozen.iter().map(|f| f.path().into()).collect() };
    let notes = found::beside(roots)?;
    let listed = list_all(&paths, roots, place);
    if listed.as_ref().is_err_and(|e| e.kind() == Kind::Usage) && notes.contains_key(SNAPSHOTS) {
        let error = Error::new(Kind::Usage, named(roots), "holds snapshots in its tables' folders and no other files");
        return Err(error.hint("say which one with --tag TAG"));
    }
    let mut capture = listed?;
    capture.notes.extend(notes);
    capture.unflushed = true;
    for path in frozen.iter().flat_map(freeze::left_behind) {
        capture.notes.entry("left by a run that was killed, or of one still at work").or_default().push(path);
    }
    if frozen.is_empty() {
        capture.notes.insert("on a read-only file system, taken as it stands", roots.to_vec());
    }
    Ok((capture, frozen))
}

/// `name-id` apart.
fn table_folder(folder: &str) -> Option<(&str, &str)> {
    let (name, id) = folder.rsplit_once('-')?;
    let hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && !name.is_empty()).then_some((name, id))
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
