//! The folders of one node's tables, put together out of all its data directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::engine::TimeOf;
use crate::engine::cassandra::sstable::{self, Component, Descriptor};
use crate::error::{Error, Kind, Result};

use super::backups::{self, Backup};
use super::freeze::vanishing;
use super::look::{Looked, look};
use super::{
    BACKUPS, Capture, CapturedFile, CapturedSsTable, CapturedTable, Hole, LIVE_BACKUPS, Manifest, Notes, OldSsTable,
    Place, SNAPSHOTS, Stray, Taken, manifest, table_folder,
};

/// So deep are folders walked that are no table's, to find what they hold.
const DEPTH: usize = 8;

/// Why a folder in a table's folder is left aside.
fn about(folder: &str) -> &'static str {
    match folder {
        "snapshots" => SNAPSHOTS,
        hidden if hidden.starts_with('.') => "secondary indexes, left out",
        _ => "unknown folders, not read",
    }
}

/// What lies beside the live files of data directories: a capture without tables.
pub fn beside(roots: &[PathBuf]) -> Result<Capture> {
    let mut found = Found::default();
    for root in roots {
        let looked = look(root)?;
        found.holes(looked.holes);
        for (keyspace, path) in looked.folders {
            let Some(looked) = found.look(&path) else { continue };
            found.loose(&keyspace, &path, &looked);
            found.holes(looked.holes);
            for (folder, table) in looked.folders {
                if table_folder(&folder).is_none() {
                    found.stray(&keyspace, &folder, table);
                    continue;
                }
                let looked = vanishing(look(&table))?;
                found.holes(looked.holes);
                for (folder, path) in looked.folders {
                    if folder != backups::FOLDER {
                        found.note(about(&folder), path);
                    } else if !vanishing(look(&path))?.files.is_empty() {
                        found.note(LIVE_BACKUPS, path);
                    }
                }
            }
        }
    }
    Ok(Capture { notes: found.notes, strays: found.strays, holes: found.holes, ..Capture::default() })
}

/// What was listed so far.
#[derive(Default)]
pub struct Found {
    tables: BTreeMap<(String, String, String), FoundTable>,
    notes: Notes,
    strays: Vec<Stray>,
    holes: Vec<Hole>,
    /// See [`Capture::untagged`].
    untagged: Vec<(String, String, PathBuf)>,
}

/// A table's folders in all data directories.
#[derive(Default)]
struct FoundTable {
    sstables: Vec<CapturedSsTable>,
    old: BTreeMap<String, OldSsTable>,
    backups: Vec<Backup>,
    schema_cql: Option<PathBuf>,
    manifests: Vec<Manifest>,
    unknown: Vec<CapturedFile>,
    /// Milliseconds since 1970, of the newest file.
    newest: Option<(i64, PathBuf)>,
}

impl Found {
    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Adds what cannot be looked at.
    pub fn holes(&mut self, holes: Vec<Hole>) {
        self.holes.extend(holes);
    }

    fn note(&mut self, why: &'static str, path: PathBuf) {
        self.notes.entry(why).or_default().push(path);
    }

    /// What a folder holds; one that cannot be listed is a hole.
    fn look(&mut self, path: &Path) -> Option<Looked> {
        let looked = look(path);
        looked.map_err(|e| self.hole(path, &e)).ok()
    }

    fn hole(&mut self, path: &Path, error: &Error) {
        self.holes.push(Hole { path: path.to_path_buf(), what: format!("cannot be read: {}", error.message()) });
    }

    /// Lists the folder `path` of a keyspace. A table's folder that cannot be listed, or vanishes meanwhile, is a hole, and
    /// the others go on.
    pub fn keyspace(&mut self, keyspace: &str, path: &Path, place: Place<'_>) {
        // What `mkfs` makes, for root alone.
        if keyspace == "lost+found" {
            return;
        }
        let Some(looked) = self.look(path) else { return };
        self.loose(keyspace, path, &looked);
        self.holes(looked.holes);
        for (folder, path) in looked.folders {
            match table_folder(&folder) {
                Some((name, id)) => {
                    if let Err(e) = self.table(keyspace, name, &id, &path, place) {
                        self.hole(&path, &e);
                    }
                }
                None => self.stray(keyspace, &folder, path),
            }
        }
    }

    /// Files of SSTables in a keyspace's own folder.
    fn loose(&mut self, keyspace: &str, path: &Path, looked: &Looked) {
        let is_sstable = |name: &str| Descriptor::parse(name).is_some() || sstable::old(name).is_some();
        let loose = looked.files.iter().filter(|(name, ..)| is_sstable(name));
        let files: Vec<_> =
            loose.map(|(_, path, entry)| CapturedFile { path: path.clone(), length: entry.length }).collect();
        if !files.is_empty() {
            self.strays.push(Stray { name: keyspace.to_string(), path: path.to_path_buf(), files });
        }
    }

    /// A folder in a keyspace's that is not named as a table's. A hidden one is some tool's.
    fn stray(&mut self, keyspace: &str, folder: &str, path: PathBuf) {
        let mut files = Vec::new();
        if !folder.starts_with('.') {
            self.below(&path, DEPTH, &mut files);
        }
        if files.is_empty() {
            self.note("not a table's folder", path);
        } else {
            self.strays.push(Stray { name: format!("{keyspace}/{folder}"), path, files });
        }
    }

    fn below(&mut self, path: &Path, depth: usize, files: &mut Vec<CapturedFile>) {
        let Some(looked) = self.look(path) else { return };
        self.holes(looked.holes);
        files.extend(looked.files.into_iter().map(|(_, path, entry)| CapturedFile { path, length: entry.length }));
        for (_, folder) in looked.folders {
            if depth == 0 {
                self.holes.push(Hole { path: folder, what: "lies too deep to be kept".to_string() });
            } else {
                self.below(&folder, depth - 1, files);
            }
        }
    }

    /// Lists the folder `path` of a table.
    fn table(&mut self, keyspace: &str, name: &str, id: &str, path: &Path, place: Place<'_>) -> Result<()> {
        let directory = match place {
            Place::Itself => path.to_path_buf(),
            Place::Snapshot(tag) => path.join("snapshots").join(tag),
        };
        let backups = path.join(backups::FOLDER);
        let key = (keyspace.to_string(), name.to_string(), id.to_string());
        if !directory.is_dir() {
            let looked = look(path)?;
            if looked.files.iter().any(|(file, ..)| Descriptor::parse(file).is_some() || sstable::old(file).is_some()) {
                self.untagged.push((keyspace.to_string(), id.to_string(), path.to_path_buf()));
            }
            self.holes(looked.holes);
            return Ok(());
        }
        let looked = look(&directory)?;
        self.subfolders(&looked, place);
        self.tables.entry(key.clone()).or_default().files(&directory, &looked, &mut self.notes);
        self.holes(looked.holes);
        if backups.is_dir() {
            let looked = look(&backups)?;
            self.subfolders(&looked, place);
            let mut further = FoundTable::default();
            further.files(&backups, &looked, &mut self.notes);
            self.holes(looked.holes);
            if !(further.sstables.is_empty() && further.unknown.is_empty() && further.old.is_empty()) {
                self.note(BACKUPS, backups);
                self.tables.entry(key).or_default().add_backups(further);
            }
        }
        Ok(())
    }

    fn subfolders(&mut self, looked: &Looked, place: Place<'_>) {
        for (folder, path) in &looked.folders {
            match folder.as_str() {
                "backups" if place == Place::Itself => {}
                other => self.note(about(other), path.clone()),
            }
        }
    }

    /// The tables of all folders together.
    pub fn finish(mut self) -> Result<Capture> {
        let mut capture = Capture { strays: self.strays, holes: self.holes, ..Capture::default() };
        capture.untagged = self.untagged;
        for ((keyspace, name, id), found) in std::mem::take(&mut self.tables) {
            let table = found.finish(keyspace, name, id, &mut self.notes, &mut capture.times)?;
            capture.tables.push(table);
        }
        // Copying may lose the times of files; where manifests tell, they do.
        if capture.times.iter().any(|t| t.of == TimeOf::Manifest) {
            capture.times.retain(|t| t.of != TimeOf::File);
        }
        let times = || capture.times.iter().map(|t| t.time);
        capture.taken = times().min().zip(times().max());
        capture.notes = self.notes;
        Ok(capture)
    }
}

impl FoundTable {
    /// Adds the files of `directory`.
    fn files(&mut self, directory: &Path, looked: &Looked, notes: &mut Notes) {
        let mut groups: BTreeMap<Descriptor, Vec<(Component, CapturedFile)>> = BTreeMap::new();
        for (file, path, entry) in &looked.files {
            let found = CapturedFile { path: path.clone(), length: entry.length };
            self.newest = self.newest.take().max(Some((entry.modified, path.clone())));
            if let Some((descriptor, component)) = Descriptor::parse(file) {
                groups.entry(descriptor).or_default().push((component, found));
                continue;
            }
            if let Some((prefix, version)) = sstable::old(file) {
                let old = self.old.entry(prefix.to_string()).or_default();
                old.version = version.map(str::to_string);
                old.files.push(found);
                continue;
            }
            match file.as_str() {
                "schema.cql" if self.schema_cql.is_none() => self.schema_cql = Some(found.path),
                manifest::NAME => self.manifests.push(Manifest::read(&found.path)),
                unfinished if unfinished.ends_with(".tmp") => notes.entry("unfinished").or_default().push(found.path),
                _ => self.unknown.push(found),
            }
        }
        for (descriptor, mut files) in groups {
            files.sort_by_key(|(component, _)| *component);
            let directory = directory.to_path_buf();
            self.sstables.push(CapturedSsTable { descriptor, directory, backup: false, files });
        }
    }

    fn add_backups(&mut self, further: FoundTable) {
        self.backups.extend(further.sstables.into_iter().map(Backup::new));
        self.unknown.extend(further.unknown);
        self.old.extend(further.old.into_iter().map(|(prefix, old)| (format!("{}/{prefix}", backups::FOLDER), old)));
    }

    fn finish(
        mut self,
        keyspace: String,
        name: String,
        id: String,
        notes: &mut Notes,
        times: &mut Vec<Taken>,
    ) -> Result<CapturedTable> {
        self.sstables.sort_by(|a, b| a.descriptor.cmp(&b.descriptor));
        if let Some(two) = self.sstables.windows(2).find(|two| two[0].descriptor == two[1].descriptor) {
            let (one, other) = (two[0].directory.display(), two[1].directory.display());
            let message = format_args!("holds {}, and so does {other}", two[0].descriptor);
            return Err(Error::new(Kind::Usage, one, message).hint("give each data directory of a node once"));
        }
        let created = self.manifests.iter().filter_map(|m| Some((m.created?, m.path.clone()))).max();
        let of = if created.is_some() { TimeOf::Manifest } else { TimeOf::File };
        // A manifest of a clock that was ahead would make every backup older than itself: the files' own times count, too.
        let earliest = [&created, &self.newest].into_iter().flatten().map(|(time, _)| *time).min();
        let last = backups::settle(&mut self.sstables, self.backups, earliest, notes);
        if let Some((time, path)) = created.or(self.newest) {
            times.push(Taken { path, time, of });
        }
        times.extend(last.map(|(time, path)| Taken { path, time, of: TimeOf::Addition }));
        let FoundTable { sstables, schema_cql, manifests, old, unknown, .. } = self;
        Ok(CapturedTable { keyspace, name, id, sstables, schema_cql, manifests, old, unknown })
    }
}
