//! The folders of one node's tables, put together out of all its data directories.

use std::collections::BTreeMap;

use crate::engine::TimeOf;
use crate::engine::cassandra::sstable::{self, Component, Descriptor};
use crate::error::{Error, Kind, Result};
use crate::volume::{Place, if_there};

use super::backups::{self, Backup};
use super::freeze::vanishing;
use super::look::{Looked, look};
use super::{
    BACKUPS, Capture, CapturedFile, CapturedSsTable, CapturedTable, Hole, LIVE_BACKUPS, Manifest, Notes, OldSsTable,
    SNAPSHOTS, Stray, Taken, manifest, table_folder, txn,
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
pub fn beside(roots: &[Place]) -> Result<Capture> {
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
    untagged: Vec<(String, String, Place)>,
    /// See [`Found::is_live`].
    live: bool,
    /// The same of the root that is looked through.
    of_root: Signs,
}

/// What tells a data directory in use from a copy of snapshots.
#[derive(Default)]
struct Signs {
    /// A table has `manifest.json`, which a copy of a snapshot has. In one, a table made later may have nothing but `backups/`.
    manifest: bool,
    /// A table has what only a running node leaves: `backups/`, `snapshots/`, transaction logs.
    in_use: bool,
}

/// A table's folders in all data directories.
#[derive(Default)]
struct FoundTable {
    sstables: Vec<CapturedSsTable>,
    old: BTreeMap<String, OldSsTable>,
    backups: Vec<Backup>,
    schema_cql: Option<Place>,
    manifests: Vec<Manifest>,
    unknown: Vec<CapturedFile>,
    /// Milliseconds since 1970, of the newest file.
    newest: Option<(i64, Place)>,
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

    fn note(&mut self, why: &'static str, place: Place) {
        self.notes.entry(why).or_default().push(place);
    }

    /// What a folder holds; one that cannot be listed is a hole.
    fn look(&mut self, place: &Place) -> Option<Looked> {
        let looked = look(place);
        looked.map_err(|e| self.hole(place, &e)).ok()
    }

    fn hole(&mut self, place: &Place, error: &Error) {
        self.holes.push(Hole { place: place.clone(), what: format!("cannot be read: {}", error.message()) });
    }

    /// Whether any root is a data directory in use, rather than a copy of snapshots.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Lists the folders of a root that was looked at: those of its tables, or with `tag` their snapshots of this name.
    pub fn root(&mut self, looked: Looked, tag: Option<&str>) {
        self.of_root = Signs::default();
        self.holes(looked.holes);
        for (keyspace, folder) in looked.folders {
            self.keyspace(&keyspace, &folder, tag);
        }
        self.live |= self.of_root.in_use && !self.of_root.manifest;
    }

    /// Lists the folder of a keyspace. A table's folder that cannot be listed, or vanishes meanwhile, is a hole, and the
    /// others go on.
    fn keyspace(&mut self, keyspace: &str, place: &Place, tag: Option<&str>) {
        // What `mkfs` makes, for root alone.
        if keyspace == "lost+found" {
            return;
        }
        let Some(looked) = self.look(place) else { return };
        self.loose(keyspace, place, &looked);
        self.holes(looked.holes);
        for (folder, place) in looked.folders {
            match table_folder(&folder) {
                Some((name, id)) => {
                    if let Err(e) = self.table((keyspace, name, &id), &place, tag) {
                        self.hole(&place, &e);
                    }
                }
                None => self.stray(keyspace, &folder, place),
            }
        }
    }

    /// Files of SSTables in a keyspace's own folder.
    fn loose(&mut self, keyspace: &str, place: &Place, looked: &Looked) {
        let is_sstable = |name: &str| Descriptor::parse(name).is_some() || sstable::old(name).is_some();
        let loose = looked.files.iter().filter(|(name, ..)| is_sstable(name));
        let files: Vec<_> = loose.map(|(_, place, listed)| CapturedFile::new(place.clone(), listed)).collect();
        if !files.is_empty() {
            self.strays.push(Stray { name: keyspace.to_string(), place: place.clone(), files });
        }
    }

    /// A folder in a keyspace's that is not named as a table's. A hidden one is some tool's.
    fn stray(&mut self, keyspace: &str, folder: &str, place: Place) {
        let mut files = Vec::new();
        if !folder.starts_with('.') {
            self.below(&place, DEPTH, &mut files);
        }
        if files.is_empty() {
            self.note("not a table's folder", place);
        } else {
            self.strays.push(Stray { name: format!("{keyspace}/{folder}"), place, files });
        }
    }

    fn below(&mut self, place: &Place, depth: usize, files: &mut Vec<CapturedFile>) {
        let Some(looked) = self.look(place) else { return };
        self.holes(looked.holes);
        files.extend(looked.files.into_iter().map(|(_, place, listed)| CapturedFile::new(place, &listed)));
        for (_, folder) in looked.folders {
            if depth == 0 {
                self.holes.push(Hole { place: folder, what: "lies too deep to be kept".to_string() });
            } else {
                self.below(&folder, depth - 1, files);
            }
        }
    }

    /// Lists the folder of a table: keyspace, name and id.
    fn table(&mut self, of: (&str, &str, &str), place: &Place, tag: Option<&str>) -> Result<()> {
        let key = (of.0.to_string(), of.1.to_string(), of.2.to_string());
        let looked = match tag {
            None => Some((look(place)?, place.clone())),
            Some(tag) => {
                let snapshot = place.join("snapshots").join(tag);
                if_there(look(&snapshot))?.map(|looked| (looked, snapshot))
            }
        };
        let Some((mut looked, folder)) = looked else {
            let looked = look(place)?;
            if looked.files.iter().any(|(file, ..)| Descriptor::parse(file).is_some() || sstable::old(file).is_some()) {
                self.untagged.push((key.0, key.2, place.clone()));
            }
            self.holes(looked.holes);
            return Ok(());
        };
        self.signs(&looked);
        txn::leave_out(&mut looked)?;
        self.subfolders(&looked, tag);
        let backups = place.join(backups::FOLDER);
        // In the table's own folder the listing tells whether they are there.
        let further = match tag.is_some() || looked.folders.iter().any(|(name, _)| name == backups::FOLDER) {
            true => if_there(look(&backups))?,
            false => None,
        };
        self.tables.entry(key.clone()).or_default().files(&folder, &looked, &mut self.notes);
        self.holes(looked.holes);
        if let Some(looked) = further {
            self.subfolders(&looked, tag);
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

    fn signs(&mut self, table: &Looked) {
        self.of_root.manifest |= table.files.iter().any(|(name, ..)| name == manifest::NAME);
        self.of_root.in_use |= table.folders.iter().any(|(name, _)| name == backups::FOLDER || name == "snapshots");
        self.of_root.in_use |= table.files.iter().any(|(name, ..)| txn::is_log(name));
    }

    fn subfolders(&mut self, looked: &Looked, tag: Option<&str>) {
        for (folder, place) in &looked.folders {
            match folder.as_str() {
                backups::FOLDER if tag.is_none() => {}
                other => self.note(about(other), place.clone()),
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
    /// Adds the files of `folder`.
    fn files(&mut self, folder: &Place, looked: &Looked, notes: &mut Notes) {
        let mut groups: BTreeMap<Descriptor, Vec<(Component, CapturedFile)>> = BTreeMap::new();
        for (file, place, listed) in &looked.files {
            let found = CapturedFile::new(place.clone(), listed);
            self.newest = self.newest.take().max(Some((found.modified.unwrap_or(0), place.clone())));
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
                "schema.cql" if self.schema_cql.is_none() => self.schema_cql = Some(found.place),
                manifest::NAME => self.manifests.push(Manifest::read(&found.place)),
                unfinished if unfinished.ends_with(".tmp") => notes.entry("unfinished").or_default().push(found.place),
                _ => self.unknown.push(found),
            }
        }
        for (descriptor, mut files) in groups {
            files.sort_by_key(|(component, _)| *component);
            self.sstables.push(CapturedSsTable { descriptor, folder: folder.clone(), backup: false, files });
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
            let (one, other) = (&two[0].folder, &two[1].folder);
            let message = format_args!("holds {}, and so does {other}", two[0].descriptor);
            return Err(Error::new(Kind::Usage, one, message).hint("give each data directory of a node once"));
        }
        let created = self.manifests.iter().filter_map(|m| Some((m.created?, m.place.clone()))).max();
        let of = if created.is_some() { TimeOf::Manifest } else { TimeOf::File };
        // A manifest of a clock that was ahead would make every backup older than itself: the files' own times count, too.
        let earliest = [&created, &self.newest].into_iter().flatten().map(|(time, _)| *time).min();
        let last = backups::settle(&mut self.sstables, self.backups, earliest, notes);
        if let Some((time, place)) = created.or(self.newest) {
            times.push(Taken { place, time, of });
        }
        times.extend(last.map(|(time, place)| Taken { place, time, of: TimeOf::Addition }));
        let FoundTable { sstables, schema_cql, manifests, old, unknown, .. } = self;
        Ok(CapturedTable { keyspace, name, id, sstables, schema_cql, manifests, old, unknown })
    }
}
