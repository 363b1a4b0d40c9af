//! What only nodes hold that do not own it: a node that joined without streaming, a replication that was changed, a move that
//! failed leave the newest writes with former owners. The view has them not; they are counted, and stay in these nodes' patches.

use repo_format::record::{Class, Entries, EntryKind};

use super::body::{BodyMerge, Deletion, Ranked, deletion};
use super::purge::Purge;
use crate::error::Result;
use crate::run::Record;

/// A kind of record that no owner holds as others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unowned {
    /// A row with values.
    Row,
    /// A deletion, or a row of tombstones.
    Deletion,
}

/// The rank of what owners hold, and that of what others hold: where records carry no version, an owner's stands.
pub const OWNERS: (u64, u64) = (1, 0);

/// What `others`, held outside of the ranges of their nodes, add to `merged`, which `shadow` covers. What may be dropped
/// adds nothing. Markers are told by what is open ([`Beyond`]).
pub fn adds(
    merged: Option<&Record<'_>>,
    others: &[Record<'_>],
    shadow: Option<Deletion>,
    bodies: &BodyMerge<'_>,
    purge: Purge<'_>,
) -> Result<Option<Unowned>> {
    let Some(first) = others.first() else { return Ok(None) };
    match first.class {
        Class::Marker => return Ok(None),
        Class::Group => {
            let stands = merged.map_or(Ok(None), |m| deletion(m.body))?;
            for other in others {
                let theirs = deletion(other.body)?;
                if theirs > stands && theirs.is_some_and(|d| !purge.entry(&d.entry(0))) {
                    return Ok(Some(Unowned::Deletion));
                }
            }
            return Ok(None);
        }
        Class::Row | Class::Static => {}
    }
    if merged.is_some_and(|m| others.iter().all(|o| o.body == m.body)) {
        return Ok(None);
    }
    let (owners, non_owners) = OWNERS;
    let owned = merged.iter().map(|m| (owners, m.body));
    let all: Vec<Ranked<'_>> = owned.chain(others.iter().map(|o| (non_owners, o.body))).collect();
    let mut out = Vec::new();
    if bodies.merge(&all, shadow, &mut out)?.is_none() {
        return Ok(None);
    }
    let nothing_new = match merged {
        Some(merged) => purge.equal(&out, merged.body)?,
        None => purge.body(&out, first.class)?,
    };
    if nothing_new {
        return Ok(None);
    }
    for other in others {
        for entry in Entries::new(other.body) {
            if entry?.kind == EntryKind::Cell {
                return Ok(Some(Unowned::Row));
            }
        }
    }
    Ok(Some(Unowned::Deletion))
}

/// Follows intervals that only non-owners hold as deleted.
#[derive(Debug, Default)]
pub struct Beyond {
    open: bool,
}

impl Beyond {
    /// A group begins.
    pub fn enter(&mut self) {
        self.open = false;
    }

    /// `theirs` is the greatest deletion that non-owners have open, `view` what is in force in the view. `true` where theirs begins
    /// to reach further.
    pub fn step(&mut self, theirs: Option<Deletion>, view: Option<Deletion>, purge: Purge<'_>) -> bool {
        let before = self.open;
        self.open = theirs > view && theirs.is_some_and(|d| !purge.entry(&d.entry(0)));
        self.open && !before
    }
}
