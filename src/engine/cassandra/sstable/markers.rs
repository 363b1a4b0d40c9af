//! Range deletions of a partition: bounds in the order of the file become markers where something changes.
//! Source: `ClusteringPrefix.Kind`, `RangeTombstoneBoundMarker`, `RangeTombstoneBoundaryMarker`.

use repo_format::record::{Class, Traits};

use crate::run::RecordBatch;

use super::cells::Deletion;
use super::cursor::{Fault, Parsed};
use super::key::Key;
use super::push::push;

/// Range deletions of the partition: what holds, and a change of it that the next record decides on.
#[derive(Default)]
pub struct Markers {
    pub in_force: Option<Deletion>,
    /// What holds from `position` on, the part of the key after the group.
    pub change: Option<Option<Deletion>>,
    position: Vec<u8>,
}

impl Markers {
    /// Takes in a bound whose position is in `key`: what it closes, if it closes, and what holds from there on.
    pub fn bound(
        &mut self,
        closes: Option<Option<Deletion>>,
        opens: Option<Deletion>,
        key: &mut Key,
        out: &mut RecordBatch,
    ) -> Parsed<()> {
        let before = self.change.unwrap_or(self.in_force);
        if before.is_some() != closes.is_some_and(|closed| closed.is_some()) {
            return Err(Fault::Bad("order of range deletions' bounds"));
        }
        if self.change.is_some() && self.position != key.suffix() {
            let position = key.suffix().to_vec();
            self.flush(key, out)?;
            key.set_suffix(&position);
        }
        self.change = Some(opens);
        self.position.clear();
        self.position.extend_from_slice(key.suffix());
        key.check_order()
    }

    /// Writes the change out, unless nothing changes. Leaves `key` at the position it had.
    pub fn flush(&mut self, key: &mut Key, out: &mut RecordBatch) -> Parsed<()> {
        let Some(change) = self.change.take() else { return Ok(()) };
        if change == self.in_force {
            return Ok(());
        }
        self.in_force = change;
        let now = key.suffix().to_vec();
        key.set_suffix(&self.position);
        push(out, key, Class::Marker, |body| Ok(change.map_or(Traits::default(), |deletion| deletion.write(body))))?;
        key.set_suffix(&now);
        Ok(())
    }
}

/// Whether a bound stands after the rows of its prefix, whether it opens and whether it closes a deletion
/// (source: `ClusteringPrefix.Kind`, by ordinal).
pub fn bound_kind(kind: u8) -> Parsed<(bool, bool, bool)> {
    match kind {
        0 => Ok((false, false, true)),
        1 => Ok((false, true, false)),
        2 => Ok((false, true, true)),
        5 => Ok((true, true, true)),
        6 => Ok((true, false, true)),
        7 => Ok((true, true, false)),
        _ => Err(Fault::Bad("kind of a range deletion's bound")),
    }
}
