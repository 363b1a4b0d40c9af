//! Incremental backups (`incremental_backups: true`): Cassandra links every SSTable that was flushed or streamed into
//! `backups/` of its table, and never removes it. Beside a snapshot, those that came after it are what the node wrote
//! since. Those from before it are in the snapshot, perhaps compacted with others, and must not be read again: a deletion
//! that compaction has purged since would be undone.

use super::{CapturedSsTable, Component, Notes};
use crate::volume::Place;
use std::collections::BTreeSet;

/// The folder's name.
pub const FOLDER: &str = "backups";

const OLDER: &str = "incremental backups from before the snapshot, not read: its own files hold what they hold";

/// An SSTable in `backups/`.
pub struct Backup {
    sstable: CapturedSsTable,
    /// Milliseconds since 1970 at which its rows were written.
    modified: i64,
}

impl Backup {
    /// With the time of its file.
    pub fn new(sstable: CapturedSsTable) -> Backup {
        let data = sstable.files.iter().find(|(component, _)| *component == Component::Data);
        // What has no time may be younger.
        let modified = data.and_then(|(_, file)| file.modified).unwrap_or(i64::MAX);
        Backup { sstable: CapturedSsTable { backup: true, ..sstable }, modified }
    }
}

/// Adds to `sstables`, those of a snapshot of the time `taken`, what came after it; milliseconds of the newest, and its place.
///
/// An SSTable is older than the snapshot when both its generation and its time say so. One alone is not enough: a stream
/// may end after the snapshot with a generation from before it, and copying may lose times.
pub fn settle(
    sstables: &mut Vec<CapturedSsTable>,
    backups: Vec<Backup>,
    taken: Option<i64>,
    notes: &mut Notes,
) -> Option<(i64, Place)> {
    let mut known: BTreeSet<_> = sstables.iter().map(|s| s.descriptor.generation.clone()).collect();
    let newest = known.last().cloned();
    let mut last = None;
    for Backup { sstable, modified } in backups {
        let generation = &sstable.descriptor.generation;
        if newest.as_ref().is_some_and(|newest| generation < newest) && taken.is_some_and(|taken| modified <= taken) {
            if !known.contains(generation) {
                notes.entry(OLDER).or_default().push(sstable.data());
            }
        } else if known.insert(generation.clone()) {
            if modified != i64::MAX {
                last = last.max(Some((modified, sstable.data())));
            }
            sstables.push(sstable);
        }
    }
    sstables.sort_by(|a, b| a.descriptor.generation.cmp(&b.descriptor.generation));
    last
}
