//! What most of a merge is: rows that no deletion covers and that pass as they are, in bulk.

use repo_format::record::Traits;

use super::input::Input;
use super::{Merge, insert};
use crate::error::Result;
use crate::run::{Record, RecordBatch};

impl Merge<'_> {
    /// Hands the whole next batch on as it is, if nothing needs doing to it: one run is left, and no deletion is in
    /// force or in sight.
    pub(super) fn pass_whole(&mut self, out: &mut RecordBatch) -> Result<()> {
        let ([i], None, true) = (self.order.as_slice(), &self.across, self.is_uncovered()) else { return Ok(()) };
        let input = &mut self.inputs[*i];
        let next = self.waiting.last().zip(input.batch.last_key());
        if next.is_some_and(|(next, last)| next.reaches(last)) {
            return Ok(());
        }
        if input.at != 0
            || input.batch.coming().is_some()
            || !input.batch.iter().all(|r| r.is_row() && !r.traits.has(Traits::DELETED))
        {
            return Ok(());
        }
        out.swap(&mut input.batch);
        if !input.refill()? {
            let i = *i;
            self.order.clear();
            self.end(i);
        }
        Ok(())
    }

    /// Passes on rows that need nothing done to them; `false` if the next record is none.
    #[inline]
    pub(super) fn pass(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if !self.is_uncovered() {
            return Ok(false);
        }
        if self.across.is_some() { self.pass_agreed(out) } else { self.pass_leading(out) }
    }

    /// No deletion is in force, so that it does not matter where a group ends.
    #[inline]
    fn is_uncovered(&self) -> bool {
        self.group_deletion.is_none() && self.open.is_none() && self.covering == 0
    }

    /// Across nodes: rows that all of them hold alike, key and body compared at once.
    fn pass_agreed(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if self.order.len() != self.inputs.len() {
            return Ok(false);
        }
        let (mut alive, mut passed) = (true, false);
        while alive && !out.is_full() {
            let rows = self.agreed(out);
            let (Some(first), Some(across)) = (self.inputs.first(), &mut self.across) else { break };
            if rows == 0 {
                break;
            }
            out.push_from(&first.batch, first.at, |_| true, rows);
            across.tell_same(rows)?;
            for input in &mut self.inputs {
                alive &= input.advance_to(input.at + rows)?;
            }
            passed = true;
        }
        if passed {
            self.order.clear();
            for i in 0..self.inputs.len() {
                if !self.inputs[i].is_at_end() {
                    insert(&mut self.order, &self.inputs, i);
                }
            }
        }
        Ok(passed)
    }

    /// How many rows come next in the batches of all inputs alike, owned by every node and in normal form, as far as `out` has
    /// room. Goes on to the group of the last.
    fn agreed(&mut self, out: &RecordBatch) -> usize {
        let (Some((first, others)), Some(across)) = (self.inputs.split_first(), &mut self.across) else { return 0 };
        let ahead = |input: &Input<'_>| input.batch.len() - input.at;
        let most = others.iter().map(ahead).fold(ahead(first), usize::min).min(out.room());
        let (mut rows, mut bytes) = (0, out.bytes());
        while rows < most && bytes < out.limit() {
            let record = first.batch.get(first.at + rows);
            let keeps = record.is_row() && self.bodies.keeps(record.traits);
            let same = |other: &Input<'_>| other.batch.is_same(other.at + rows, &first.batch, first.at + rows);
            if !keeps || !others.iter().all(same) {
                break;
            }
            if record.group() != self.group {
                self.group.clear();
                self.group.extend_from_slice(record.group());
                across.enter(&record);
            } else {
                across.within(&record);
            }
            if !across.all_own() {
                break;
            }
            bytes += record.key.len() + record.body.len();
            rows += 1;
        }
        rows
    }

    /// Inside a node: the rows of one file up to the key that the next file stands at.
    fn pass_leading(&mut self, out: &mut RecordBatch) -> Result<bool> {
        let leader = &self.inputs[self.order[0]];
        if leader.is_before_large() {
            return Ok(false);
        }
        let next = self.order.get(1).map(|i| &self.inputs[*i]);
        let waiting = self.waiting.last().filter(|w| leader.batch.last_key().is_some_and(|last| w.reaches(last)));
        let wanted = |r: Record<'_>| {
            r.is_row() && next.is_none_or(|n| n.is_after(r.key)) && waiting.is_none_or(|w| !w.reaches(r.key))
        };
        let to = out.push_from(&leader.batch, leader.at, wanted, usize::MAX);
        if to == leader.at {
            return Ok(false);
        }
        if self.inputs[self.order[0]].advance_to(to)? {
            self.replace_first();
        } else {
            let i = self.order.remove(0);
            self.end(i);
        }
        Ok(true)
    }
}
