//! The folders of one node's tables, put together out of all its data directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::cassandra::sstable::{Component, Descriptor};
use crate::error::{Error, Kind, Result};

use super::backups::{self, Backup};
use super::freeze::vanishing;
use super::{
    BACKUPS, Capture, CapturedFile, CapturedSsTable, CapturedTable, LIVE_BACKUPS, Notes, Place, SNAPSHOTS, created_at,
    files, folders, table_folder,
};

/// Why a folder in a table's folder is left aside.
fn about(folder: &str) -> &'static str {
    match folder {
        "snapshots" => SNAPSHOTS,
        hidden if hidden.starts_with('.') => "secondary indexes, left out",
        _ => "unknown folders, not read",
    }
}

/// The folders beside the live files of data directories.
pub fn beside(roots: &[PathBuf]) -> Result<Notes> {
    let mut notes = Notes::new();
    for root in roots {
        for (_, keyspace) in folders(root)? {
            for (folder, table) in vanishing(folders(&keyspace))? {
                if table_folder(&folder).is_none() {
                    continue;
                }
                for (folder, path) in vanishing(folders(&table))? {
                    if folder != backups::FOLDER {
                        notes.entry(about(&folder)).or_default().push(path);
                    } else if !vanishing(files(&path))?.is_empty() {
                        notes.entry(LIVE_BACKUPS).or_default().push(path);
                    }
                }
            }
        }
    }
    Ok(notes)
}

/// What was listed so far.
#[derive(Default)]
pub struct Found {
    tables: BTreeMap<(String, String, String), FoundTable>,
    notes: Notes,
    /// Keyspaces and folders of tables that have files and no snapshot of the tag.
    untagged: Vec<(String, PathBuf)>,
}

/// A table's folders in all data directories.
#[derive(Default)]
struct FoundTable {
    sstables: Vec<CapturedSsTable>,
    backups: Vec<Backup>,
    schema_cql: Option<PathBuf>,
    unknown: Vec<CapturedFile>,
    /// Milliseconds since 1970: by `manifest.json`, and of the newest file.
    created: Option<i64>,
    newest: Option<i64>,
}

impl Found {
    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Notes that something was left aside.
    pub fn note(&mut self, why: &'static str, path: PathBuf) {
        self.notes.entry(why).or_default().push(path);
    }

    /// Lists the folder `path` of a table.
    pub fn table(&mut self, keyspace: &str, name: &str, id: &str, path: &Path, place: Place<'_>) -> Result<()> {
        let directory = match place {
            Place::Itself => path.to_path_buf(),
            Place::Snapshot(tag) => path.join("snapshots").join(tag),
        };
        let backups = path.join(backups::FOLDER);
        let key = (keyspace.to_string(), name.to_string(), id.to_string());
        if !directory.is_dir() {
            if files(path)?.iter().any(|(file, _)| Descriptor::parse(file).is_some()) {
                self.untagged.push((keyspace.to_string(), path.to_path_buf()));
            }
            return Ok(());
        }
        self.subfolders(&directory, place)?;
        self.tables.entry(key.clone()).or_default().files(directory, &mut self.notes)?;
        if backups.is_dir() {
            self.subfolders(&backups, place)?;
            let mut further = FoundTable::default();
            further.files(backups.clone(), &mut self.notes)?;
            if !(further.sstables.is_empty() && further.unknown.is_empty()) {
                self.note(BACKUPS, backups);
                self.tables.entry(key).or_default().add_backups(further);
            }
        }
        Ok(())
    }

    fn subfolders(&mut self, directory: &Path, place: Place<'_>) -> Result<()> {
        for (folder, path) in folders(directory)? {
            match folder.as_str() {
                "backups" if place == Place::Itself => {}
                other => self.note(about(other), path),
            }
        }
        Ok(())
    }

    /// The tables of all folders together.
    pub fn finish(mut self) -> Result<Capture> {
        let mut capture = Capture::default();
        for (keyspace, path) in std::mem::take(&mut self.untagged) {
            if self.tables.keys().any(|(tagged, ..)| *tagged == keyspace) {
                capture.untagged.push((keyspace, path));
            } else {
                self.note("keyspaces without a snapshot of that tag, not read", path);
            }
        }
        for ((keyspace, name, id), found) in std::mem::take(&mut self.tables) {
            let table = found.finish(keyspace, name, id, &mut self.notes, &mut capture.taken)?;
            capture.tables.push(table);
        }
        capture.notes = self.notes;
        Ok(capture)
    }
}

impl FoundTable {
    /// Adds the files of `directory`.
    fn files(&mut self, directory: PathBuf, notes: &mut Notes) -> Result<()> {
        let mut groups: BTreeMap<Descriptor, Vec<(Component, CapturedFile)>> = BTreeMap::new();
        for (file, entry) in files(&directory)? {
            let found = CapturedFile { path: directory.join(&file), length: entry.length };
            self.newest = self.newest.max(Some(entry.modified));
            match Descriptor::parse(&file) {
                Some((descriptor, component)) => groups.entry(descriptor).or_default().push((component, found)),
                None if file == "schema.cql" && self.schema_cql.is_none() => self.schema_cql = Some(found.path),
                None if file == "manifest.json" => self.created = self.created.max(created_at(&found.path)),
                None if file.ends_with(".tmp") => notes.entry("unfinished").or_default().push(found.path),
                None => self.unknown.push(found),
            }
        }
        for (descriptor, mut files) in groups {
            files.sort_by_key(|(component, _)| *component);
            self.sstables.push(CapturedSsTable { descriptor, directory: directory.clone(), backup: false, files });
        }
        Ok(())
    }

    fn add_backups(&mut self, further: FoundTable) {
        self.backups.extend(further.sstables.into_iter().map(Backup::new));
        self.unknown.extend(further.unknown);
    }

    fn finish(
        mut self,
        keyspace: String,
        name: String,
        id: String,
        notes: &mut Notes,
        window: &mut Option<(i64, i64)>,
    ) -> Result<CapturedTable> {
        self.sstables.sort_by(|a, b| a.descriptor.cmp(&b.descriptor));
        if let Some(two) = self.sstables.windows(2).find(|two| two[0].descriptor == two[1].descriptor) {
            let (one, other) = (two[0].directory.display(), two[1].directory.display());
            let message = format_args!("holds {}, and so does {other}", two[0].descriptor);
            return Err(Error::new(Kind::Usage, one, message).hint("give each data directory of a node once"));
        }
        let taken = self.created.or(self.newest);
        let last = backups::settle(&mut self.sstables, self.backups, taken, notes);
        if let Some(first) = taken.or(last) {
            let last = last.unwrap_or(first).max(first);
            let (from, to) = window.unwrap_or((first, last));
            *window = Some((from.min(first), to.max(last)));
        }
        let FoundTable { sstables, schema_cql, unknown, .. } = self;
        Ok(CapturedTable { keyspace, name, id, sstables, schema_cql, unknown })
    }
}
