//! Which of two entries at one path survives: Cassandra's rules, as functions of the entries alone.
//!
//! Sources: `Cells.resolveRegular` and `resolveCounter`, `LivenessInfo.supersedes`, `DeletionTime.supersedes`,
//! `AbstractCell.isLive` and `purge`, all of 5.0. Other versions break ties otherwise.

mod counter;

use std::cmp::Ordering;

use repo_format::record::{Entry, EntryKind};

use super::schema::Table;
use crate::error::Result;
use crate::merge::{Rule, Stands, Version};
pub use counter::{has_local_shards, merge_contexts, total};

/// The TTL that marks a liveness as a deletion of the key alone: written by materialised views
/// (`LivenessInfo.EXPIRED_LIVENESS_TTL`).
pub const EXPIRED_LIVENESS_TTL: u32 = i32::MAX as u32;

/// What a merge of two entries leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survivor {
    /// The first as it is. Also where both are the same.
    First,
    /// The second as it is.
    Second,
    /// A cell with parts of both: counters only.
    Merged {
        /// The greater write time.
        time: i64,
        /// A context with the shards of both.
        context: Vec<u8>,
    },
}

/// Greater where `a` survives, less where `b` does, equal where they are the same entry. Both stand at one path of one
/// record. Not for counters: see [`resolve_counter`].
#[inline]
pub fn resolve(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    debug_assert_eq!(a.path(), b.path());
    match a.kind {
        EntryKind::Cell | EntryKind::Tombstone if a.column != 0 => resolve_cell(a, b),
        EntryKind::Cell | EntryKind::Tombstone => resolve_liveness(a, b),
        EntryKind::Deletion => (a.time, a.ldt).cmp(&(b.time, b.ldt)),
        EntryKind::Raw => a.value.cmp(&b.value),
    }
}

/// `Cells.resolveRegular`: the later; at equal times what ends over what does not, a tombstone over what expires, the
/// one that ends later, the one with the lower TTL, the greater bytes.
#[inline]
fn resolve_cell(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    a.time.cmp(&b.time).then_with(|| {
        let rank = |e: &Entry<'_>| match (e.kind, e.expires()) {
            (EntryKind::Tombstone, _) => 2,
            (_, true) => 1,
            _ => 0,
        };
        rank(a)
            .cmp(&rank(b))
            .then(a.ldt.cmp(&b.ldt))
            .then(b.ttl.cmp(&a.ttl))
            .then_with(|| a.value.unwrap_or_default().cmp(b.value.unwrap_or_default()))
    })
}

/// `LivenessInfo.supersedes`: the later; at equal times a deleted key, what expires over what does not, the later
/// expiry, the lower TTL.
fn resolve_liveness(a: &Entry<'_>, b: &Entry<'_>) -> Ordering {
    let deleted = |e: &Entry<'_>| e.ttl == EXPIRED_LIVENESS_TTL;
    a.time
        .cmp(&b.time)
        .then(deleted(a).cmp(&deleted(b)))
        .then(a.expires().cmp(&b.expires()))
        .then(a.ldt.cmp(&b.ldt))
        .then(b.ttl.cmp(&a.ttl))
}

/// `Cells.resolveCounter`: a tombstone wins whatever the times; an empty value wins over a context; two contexts are
/// merged shard by shard, with the greater time.
pub fn resolve_counter(a: &Entry<'_>, b: &Entry<'_>) -> Result<Survivor> {
    let survivor = |order: Ordering| if order == Ordering::Less { Survivor::Second } else { Survivor::First };
    let tombstone = |e: &Entry<'_>| e.kind == EntryKind::Tombstone;
    if a.kind == EntryKind::Deletion || a.column == 0 || (tombstone(a) && tombstone(b)) {
        return Ok(survivor(resolve(a, b)));
    }
    if tombstone(a) != tombstone(b) {
        return Ok(survivor(tombstone(a).cmp(&tombstone(b))));
    }
    let [x, y] = [a, b].map(|e| e.value.unwrap_or_default());
    if x.is_empty() || y.is_empty() {
        return Ok(survivor(x.is_empty().cmp(&y.is_empty()).then(a.time.cmp(&b.time))));
    }
    let time = a.time.max(b.time);
    Ok(match merge_contexts(x, y)? {
        Survivor::First if time == a.time => Survivor::First,
        Survivor::Second if time == b.time => Survivor::Second,
        Survivor::First if x == y => Survivor::Second,
        Survivor::First => Survivor::Merged { time, context: x.to_vec() },
        Survivor::Second => Survivor::Merged { time, context: y.to_vec() },
        Survivor::Merged { context, .. } => Survivor::Merged { time, context },
    })
}

/// Whether a deletion of time `deleted` covers the entry (`DeletionTime.deletes`).
#[inline]
pub fn covers(deleted: i64, e: &Entry<'_>) -> bool {
    e.kind != EntryKind::Raw && e.time <= deleted
}

/// Whether a cell or liveness is there for a reader at `now`, seconds since 1970.
#[inline]
pub fn is_live(e: &Entry<'_>, now: u32) -> bool {
    e.kind == EntryKind::Cell && (e.ttl == 0 || now < e.ldt) && !(e.column == 0 && e.ttl == EXPIRED_LIVENESS_TTL)
}

/// What a cell that expired at the cut is about to become: a tombstone made when the cell was written
/// (`AbstractCell.purge`). Liveness has no tombstone and stays. `None` where nothing changes.
#[inline]
pub fn expired<'a>(e: &Entry<'a>, cut: u32) -> Option<Entry<'a>> {
    let expired = e.kind == EntryKind::Cell && e.column != 0 && e.ttl != 0 && e.ldt <= cut;
    let ldt = e.ldt.saturating_sub(e.ttl);
    expired.then_some(Entry { kind: EntryKind::Tombstone, ldt, ttl: 0, value: None, ..*e })
}

/// Cassandra's rules for a table.
#[derive(Debug, Clone, Copy)]
pub struct CassandraRule {
    /// The table's cells are counters.
    pub counter: bool,
    /// `gc_grace_seconds`: deletions older than that may be purged by some nodes.
    pub grace: u32,
}

impl CassandraRule {
    /// As the table's description says.
    pub fn of(table: &Table) -> CassandraRule {
        CassandraRule { counter: table.counter, grace: table.gc_grace }
    }
}

impl Rule for CassandraRule {
    fn stands(&self, a: &Version<'_>, b: &Version<'_>) -> Result<Stands> {
        let (a, b) = (&a.entry, &b.entry);
        if !self.counter || a.kind == EntryKind::Raw {
            return Ok(if resolve(a, b).is_ge() { Stands::First } else { Stands::Second });
        }
        Ok(match resolve_counter(a, b)? {
            Survivor::First => Stands::First,
            Survivor::Second => Stands::Second,
            Survivor::Merged { time, context } => Stands::Made(time, context),
        })
    }

    fn at_cut<'e>(&self, cell: Entry<'e>, cut: u32) -> Entry<'e> {
        expired(&cell, cut).unwrap_or(cell)
    }

    /// `DeletionTime` and tombstones are purged once `gc_grace_seconds` are over; so is a cell, so long after it expired.
    fn purged(&self, entry: &Entry<'_>, captured: u32) -> bool {
        entry.kind == EntryKind::Raw || entry.ldt < captured.saturating_sub(self.grace)
    }
}

#[cfg(test)]
mod tests;
