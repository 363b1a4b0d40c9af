//! Deletions of groups and of intervals, of all that take part.

use repo_format::record::Class;

use super::body::{self, Deletion};
use super::{Across, Merge};
use crate::error::{Error, Kind, Result};
use crate::run::RecordBatch;

impl Merge<'_> {
    pub(super) fn group_deletion(&mut self, same: usize, out: &mut RecordBatch) -> Result<()> {
        if self.group.is_empty() && self.across.as_ref().is_some_and(Across::is_parted) {
            let message = "deletes everything at once, and not every node owns everything";
            return Err(Error::new(Kind::Unsupported, "merge", message));
        }
        let mut best = None;
        for &i in &self.order[..same] {
            if self.takes_part(i) {
                best = best.max(body::deletion(self.inputs[i].record().body)?);
            }
        }
        self.group_deletion = best;
        if best.is_some() {
            let first = self.inputs[self.order[0]].record();
            body::push_deletion(out, &first, best);
        }
        Ok(())
    }

    pub(super) fn marker(&mut self, same: usize, out: &mut RecordBatch) -> Result<()> {
        for k in 0..same {
            let i = self.order[k];
            let before = self.inputs[i].open.is_some();
            self.inputs[i].open = body::deletion(self.inputs[i].record().body)?;
            match (before, self.inputs[i].open.is_some()) {
                (false, true) => self.covering += 1,
                (true, false) => self.covering -= 1,
                _ => {}
            }
        }
        let now = self.open_now();
        if now != self.open {
            self.open = now;
            let first = self.inputs[self.order[0]].record();
            body::push_deletion(out, &first, now);
        }
        Ok(())
    }

    /// The deletion that the markers of all that take part have in force.
    fn open_now(&self) -> Option<Deletion> {
        let mut now = None;
        for (i, input) in self.inputs.iter().enumerate() {
            if input.open.is_some() && self.takes_part(i) {
                now = now.max(input.open);
            }
        }
        now.filter(|d| self.group_deletion.is_none_or(|g| *d > g))
    }

    /// Where records have no groups, others may own this one than own those before. A deletion that is in force must
    /// not begin or end with that, because it needs a marker with a key of its own; at a marker it is found anew.
    pub(super) fn hand_over(&mut self) -> Result<()> {
        if self.inputs[self.order[0]].record().class == Class::Marker {
            return Ok(());
        }
        if self.open_now() != self.open {
            let message = "a deletion of an interval reaches over keys of several owners";
            return Err(Error::new(Kind::Unsupported, "merge", message)
                .hint("the engine must state it anew, with a marker, where the keys of an owner begin"));
        }
        self.tell_open()
    }

    /// Tells where a deletion that only non-owners have open begins to reach further than the view's.
    pub(super) fn tell_open(&mut self) -> Result<()> {
        let Some(across) = &mut self.across else { return Ok(()) };
        if across.all_own() {
            return Ok(());
        }
        let others = self.inputs.iter().enumerate().filter(|(i, _)| !across.owns(*i));
        let open = others.map(|(_, input)| input.open).max().flatten();
        across.tell_open(open, self.open.max(self.group_deletion), &self.bodies)
    }
}
