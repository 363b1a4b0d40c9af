//! What only nodes hold that do not own it: a node that joined without streaming, a replication that was changed, a move that
//! failed leave the newest writes with former owners. The view has them not; they are counted, and stay in these nodes' patches.

use repo_format::record::{Class, Entries, EntryKind};

use super::body::{BodyMerge, Deletion, deletion, equal_but_purgeable, purgeable};
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

/// What `others`, held outside of the ranges of their nodes, add to `merged`, which `shadow` covers. Deletions made before
/// `purge_before` add nothing. Markers are told by what is open ([`Beyond`]).
pub fn adds(
    merged: Option<&Record<'_>>,
    others: &[Record<'_>],
    shadow: Option<Deletion>,
    bodies: &BodyMerge<'_>,
    purge_before: u32,
) -> Result<Option<Unowned>> {
    let Some(first) = others.first() else { return Ok(None) };
    match first.class {
        Class::Marker => return Ok(None),
        Class::Group => {
            let stands = merged.map_or(Ok(None), |m| deletion(m.body))?;
            for other in others {
                let theirs = deletion(other.body)?;
                if theirs > stands && theirs.is_some_and(|d| d.ldt >= purge_before) {
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
    let all: Vec<&[u8]> = merged.iter().map(|m| m.body).chain(others.iter().map(|o| o.body)).collect();
    let mut out = Vec::new();
    if bodies.merge(&all, shadow, &mut out)?.is_none() {
        return Ok(None);
    }
    let nothing_new = match merged {
        Some(merged) => equal_but_purgeable(&out, merged.body, purge_before)?,
        None => purgeable(&out, first.class, purge_before)?,
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
    pub fn step(&mut self, theirs: Option<Deletion>, view: Option<Deletion>, purge_before: u32) -> bool {
        let before = self.open;
        self.open = theirs > view && theirs.is_some_and(|d| d.ldt >= purge_before);
        self.open && !before
    }
}
