//! What an engine says of the versions that its nodes hold.

use repo_format::record::{Entry, EntryKind};

use crate::error::Result;

/// How an engine's versions merge. Deterministic, associative and commutative: applied to the parts of a node first, then across
/// nodes. Each default is harmless: nothing expires, nothing is purged, the later version stands.
pub trait Rule: Send + Sync {
    /// Whether a record replaces an earlier one whole, so that no cell of the earlier one shows through. Of the records at a
    /// key the one with the greatest version (that of its newest entry) stands, then the greatest rank, then the greatest
    /// bytes. By default records merge cell by cell.
    fn replaces(&self) -> bool {
        false
    }

    /// Which of two entries at one path stands: cells and tombstones, or two spellings ([`EntryKind::Raw`]). By default the one
    /// with the greater version, then the greater rank, then a tombstone, then the greater value.
    ///
    /// Errors: a value is not what the engine writes.
    fn stands(&self, a: &Version<'_>, b: &Version<'_>) -> Result<Stands> {
        Ok(if a.order() >= b.order() { Stands::First } else { Stands::Second })
    }

    /// A cell with a time to live as it stands at `cut` (seconds since 1970): expired, it is what every replica is about to
    /// make of it, at the same path. By default it stays as it is.
    fn at_cut<'e>(&self, cell: Entry<'e>, _cut: u32) -> Entry<'e> {
        cell
    }

    /// Whether a node that was captured at `captured` (seconds since 1970) may have dropped the entry, so that lacking it is
    /// no drift. Asked of deletions, tombstones, cells with a time to live, and spellings. By default none is dropped.
    fn purged(&self, _entry: &Entry<'_>, _captured: u32) -> bool {
        false
    }
}

/// An entry, and the rank of the part that it comes from.
#[derive(Debug, Clone, Copy)]
pub struct Version<'e> {
    /// The entry.
    pub entry: Entry<'e>,
    /// The later part has the greater one; 0 where the engine has no ranks.
    pub rank: u64,
}

impl<'e> Version<'e> {
    /// The greater stands, unless a rule says otherwise.
    fn order(&self) -> impl Ord + use<'e> {
        let e = self.entry;
        (e.time, self.rank, e.kind == EntryKind::Tombstone, e.value, e.ldt, e.ttl)
    }
}

/// The outcome of [`Rule::stands`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither: a live cell with this time and value, made of both.
    Made(i64, Vec<u8>),
}
