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
//! What lies where no table is, and what cannot be looked at, is listed too: somebody meant it to be backed up.
//!
//! A node may spread its tables over several data directories; they are listed as one.
//! Sources: `Directories`, `Descriptor`, `SnapshotManifest`.

mod backups;
mod found;
mod freeze;
mod look;
mod manifest;
mod txn;

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::TimeOf;
use crate::engine::cassandra::sstable::{Component, Descriptor};
use crate::error::{Error, Kind, Result};
use crate::volume::{Identity, Place};

pub use freeze::Frozen;
pub use look::{Hole, escaped};
pub use manifest::Manifest;

use look::{look, modified_ms};

/// A file, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedFile {
    /// Where it is now.
    pub place: Place,
    /// Bytes.
    pub length: u64,
    /// When it was last written, milliseconds since 1970, where that is known.
    pub modified: Option<i64>,
}

impl CapturedFile {
    fn new(place: Place, listed: &Identity) -> CapturedFile {
        CapturedFile { place, length: listed.length, modified: modified_ms(listed) }
    }
}

/// The files of one SSTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedSsTable {
    /// Generation, version, format.
    pub descriptor: Descriptor,
    /// The folder that holds its files.
    pub folder: Place,
    /// One of the incremental backups that came after the snapshot.
    pub backup: bool,
    /// By component, unknown ones last. An SSTable may lack any of them: opening it tells.
    pub files: Vec<(Component, CapturedFile)>,
}

impl CapturedSsTable {
    /// The file with its rows.
    pub fn data(&self) -> Place {
        self.folder.join(self.descriptor.file(Component::Data))
    }

    /// Bytes on disk of what is read of it where its rows are: all but indexes.
    pub fn bytes(&self) -> u64 {
        let read = self.files.iter().filter(|(component, _)| *component != Component::Index);
        read.map(|(_, file)| file.length).sum()
    }
}

/// An SSTable whose files have names that no version from 3.0 on gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OldSsTable {
    /// Its version, where the names tell: `ka`, `jb`.
    pub version: Option<String>,
    /// Its files.
    pub files: Vec<CapturedFile>,
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
    pub schema_cql: Option<Place>,
    /// What the snapshot was to hold; one for each of the node's data directories that has one.
    pub manifests: Vec<Manifest>,
    /// SSTables under names that are not understood, by what their names begin with.
    pub old: BTreeMap<String, OldSsTable>,
    /// Files that belong to no SSTable and are not known by name.
    pub unknown: Vec<CapturedFile>,
}

/// When a table was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its manifest, its newest file, or its newest backup that came after it.
    pub place: Place,
    /// Milliseconds since 1970.
    pub time: i64,
    /// What kind of time it is.
    pub of: TimeOf,
}

/// What one node's folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capture {
    /// In order of keyspace, name and id.
    pub tables: Vec<CapturedTable>,
    /// Milliseconds since 1970 of the first and last table's capture: from `manifest.json`; where no table has one, of its
    /// newest file. `None` where there are no files.
    pub taken: Option<(i64, i64)>,
    /// The times that this comes from.
    pub times: Vec<Taken>,
    /// A live data directory: writes that were only in memory are missing.
    pub unflushed: bool,
    /// Tables that have files and no snapshot of the tag: keyspace, table's id, and the folder.
    pub untagged: Vec<(String, String, Place)>,
    /// Folders with files, and SSTables' files, where no table is: in a keyspace's folder.
    pub strays: Vec<Stray>,
    /// What cannot be looked at.
    pub holes: Vec<Hole>,
    /// What was seen and left aside, or needs a word: why, and where.
    pub notes: Notes,
}

/// A folder that is taken for no table, or a keyspace's folder with files of SSTables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// As the capture names it: `KEYSPACE/FOLDER`.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// The files in it, at any depth.
    pub files: Vec<CapturedFile>,
}

/// By what there is to say: the places.
pub type Notes = BTreeMap<&'static str, Vec<Place>>;

/// A note in one line: the reason, the first place and how many more there are.
pub fn line(why: &str, places: &[&Place]) -> String {
    match places {
        [] => why.to_string(),
        [one] => format!("{why}: {one}"),
        [first, more @ ..] => format!("{why}: {first} and {} more", more.len()),
    }
}

const SNAPSHOTS: &str = "snapshots beside the files, not read";
const BACKUPS: &str = "incremental backups beside a snapshot, read along as far as they came after it";
const LIVE_BACKUPS: &str = "incremental backups of a live data directory, not read: its own files hold what they hold";
const REMEDY: &str = "give the folder that holds KEYSPACE/TABLE-ID/ folders: a copy of a snapshot, or a data directory";

/// The folders of one node, in words.
fn named(roots: &[Place]) -> String {
    roots.iter().map(Place::to_string).collect::<Vec<_>>().join(",")
}

/// Looks through `roots`, the data directories of one node, for the tables' own files, or for those of the snapshot `tag`.
fn find(roots: &[Place], tag: Option<&str>) -> Result<found::Found> {
    let mut found = found::Found::default();
    for root in roots {
        found.root(look(root).map_err(|e| e.hint(REMEDY))?, tag);
    }
    Ok(found)
}

/// What was found; errors say the folders that were `given`.
fn listed(found: found::Found, given: &[Place], tag: Option<&str>) -> Result<Capture> {
    if found.is_empty() {
        let error = |what: String| Error::new(Kind::Usage, named(given), what);
        return Err(match tag {
            Some(tag) => error(format!("holds no snapshot {tag} of any table"))
                .hint("the tag is that of `nodetool snapshot -t TAG`; `nodetool listsnapshots` names them"),
            None => error("holds no tables".to_string()).hint(REMEDY),
        });
    }
    found.finish()
}

/// [`open_all`] of one folder.
pub fn open(root: impl Into<Place>, beside: Option<&Path>) -> Result<(Capture, Vec<Frozen>)> {
    open_all(&[root.into()], None, beside)
}

/// Lists `roots`, the data directories of one node: the files themselves, or with `tag` those of the snapshot of this name, as
/// `nodetool snapshot -t TAG` leaves them. Snapshots in live directories do not change; live files are frozen first (see
/// [`Frozen`], which must be kept until all was read). `beside` is the folder in which the frozen files are made; by default
/// the one that holds each root.
///
/// `NotFound` or `Io`, naming the folder, where one is missing or not readable; `Usage` where they hold no tables, or are live
/// and not on this machine.
pub fn open_all(roots: &[Place], tag: Option<&str>, beside: Option<&Path>) -> Result<(Capture, Vec<Frozen>)> {
    let mut left = Notes::new();
    for root in roots.iter().filter_map(Place::local_path) {
        freeze::sweep(root, beside, &mut left)?;
    }
    let found = find(roots, tag)?;
    if tag.is_some() || !found.is_live() {
        let mut capture = listed(found, roots, tag)?;
        capture.notes.extend(left);
        return Ok((capture, Vec::new()));
    }
    let Some(paths) = roots.iter().map(Place::local_path).collect::<Option<Vec<_>>>() else {
        let what = "is a live data directory and not on this machine, so that it cannot be frozen";
        return Err(
            Error::new(Kind::Usage, named(roots), what).hint("say which snapshot counts with --snapshot-tag TAG")
        );
    };
    let frozen = freeze::freeze(&paths, beside)?;
    let frozen_roots: Vec<Place> = frozen.iter().zip(roots).map(|(f, root)| root.at(f.path())).collect();
    let beside = found::beside(roots)?;
    let taken = if frozen.is_empty() { roots } else { &frozen_roots };
    let listed = find(taken, None).and_then(|found| listed(found, roots, None));
    let empty = |capture: &Capture| capture.tables.iter().all(|t| t.sstables.is_empty() && t.old.is_empty());
    if listed.as_ref().map_or_else(|e| e.kind() == Kind::Usage, empty) && beside.notes.contains_key(SNAPSHOTS) {
        let error = Error::new(Kind::Usage, named(roots), "holds snapshots in its tables' folders and no other files");
        return Err(error.hint("say which one with --snapshot-tag TAG"));
    }
    let mut capture = listed?;
    capture.notes.extend(beside.notes);
    capture.unflushed = true;
    capture.strays = beside.strays;
    capture.holes.extend(beside.holes);
    capture.notes.extend(left);
    if frozen.is_empty() {
        capture.notes.insert("on a read-only file system, taken as it stands", roots.to_vec());
    }
    Ok((capture, frozen))
}

/// The same of `roots` in which nothing changes, because a command froze them. A data directory lacks what was only in memory, unless
/// it was `flushed` first, as the operator says; in a snapshot of the database's own nothing is missing.
pub fn open_still(roots: &[Place], tag: Option<&str>, flushed: bool) -> Result<(Capture, Vec<Frozen>)> {
    let mut capture = listed(find(roots, tag)?, roots, tag)?;
    let is_snapshot = tag.is_some() || capture.tables.iter().any(|table| !table.manifests.is_empty());
    capture.unflushed = !is_snapshot && !flushed;
    if !is_snapshot && flushed {
        capture.notes.insert("flushed before it was frozen, as --flushed says", roots.to_vec());
    }
    Ok((capture, Vec::new()))
}

/// `name-id` apart: the id as 32 hex digits, which a copy may have written with dashes, as CQL does.
pub fn table_folder(folder: &str) -> Option<(&str, String)> {
    let dashed = || {
        let (name, id) = folder.split_at_checked(folder.len().checked_sub(36)?)?;
        let groups = id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        groups.then_some((name.strip_suffix('-')?, id.replace('-', "")))
    };
    let plain = || folder.rsplit_once('-').map(|(name, id)| (name, id.to_string()));
    let (name, id) = dashed().or_else(plain)?;
    let hex = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && !name.is_empty()).then(|| (name, id.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests;
