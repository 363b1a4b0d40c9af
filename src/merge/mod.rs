//! Many runs, one run: compaction inside a node, reconciliation between nodes, a base read under its layers.
//!
//! The merge streams. Per input it holds one batch and the deletion its markers have in force; of the group it is in, the
//! deletion of the group and the deletion that the merged markers have in force. Deletions come out in one normal
//! form: a marker stands only where the deletion in force changes, and what a wider, newer deletion covers is left out.

mod across;
mod ahead;
mod body;
mod input;
mod pass;

pub use across::{Across, Held, Owned, State, Witness, held};
pub use ahead::ahead;
pub use body::{Deletion, deletion, merge_bodies, push_deletion};

use repo_format::record::{Class, Entry, Traits};

use crate::error::{Error, Result};
use crate::run::{Record, RecordBatch, Run};
use body::BodyMerge;
use input::Input;

/// How an engine's versions merge, cell by cell. Deterministic; applied to the files of a node first, then across nodes.
pub trait Rule: Send + Sync {
    /// Which of two cells or tombstones at one path stands. Fails where a value is not what the engine writes.
    fn cell(&self, a: &Entry<'_>, b: &Entry<'_>) -> Result<Stands>;
    /// The tombstone that an expiring cell has become at `now` (seconds), if it has.
    fn expired(&self, cell: &Entry<'_>, now: u32) -> Option<Deletion>;
}

/// The outcome of [`Rule::cell`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// The first.
    First,
    /// The second.
    Second,
    /// Neither: a live cell with this time and value, made of both (counters).
    Made(i64, Vec<u8>),
}

/// A merge of runs, itself a run.
pub struct Merge<'a> {
    inputs: Vec<Input<'a>>,
    /// Inputs not yet at their end, by the key they stand at.
    order: Vec<usize>,
    /// Memory for the inputs that are being stepped on.
    standing: Vec<usize>,
    started: bool,
    bodies: BodyMerge<'a>,
    group: Vec<u8>,
    group_deletion: Option<Deletion>,
    open: Option<Deletion>,
    across: Option<Across<'a>>,
    scratch: RecordBatch,
}

impl<'a> Merge<'a> {
    /// Merges runs of equal standing: the files of a node, or a base and its layers.
    pub fn of(runs: Vec<Box<dyn Run + 'a>>, rule: &'a dyn Rule) -> Merge<'a> {
        Merge {
            inputs: runs.into_iter().map(Input::new).collect(),
            order: Vec::new(),
            standing: Vec::new(),
            started: false,
            bodies: BodyMerge::new(rule, None),
            group: Vec::new(),
            group_deletion: None,
            open: None,
            across: None,
            scratch: RecordBatch::new(),
        }
    }

    /// Merges one run per node. What expires by `cut` (seconds since 1970) becomes the tombstone it is about to become.
    /// `across` says which keys each node answers for and is told how every node differs.
    pub fn across(runs: Vec<Box<dyn Run + 'a>>, rule: &'a dyn Rule, cut: u32, across: Across<'a>) -> Merge<'a> {
        let mut merge = Merge::of(runs, rule);
        merge.bodies = BodyMerge::new(rule, Some(cut));
        merge.across = Some(across);
        merge
    }

    fn start(&mut self) -> Result<()> {
        self.started = true;
        // The first group may be the empty one, which would otherwise never begin.
        if let Some(across) = &mut self.across {
            across.enter(&self.group);
        }
        for i in 0..self.inputs.len() {
            if self.inputs[i].refill()? {
                insert(&mut self.order, &self.inputs, i);
            }
        }
        Ok(())
    }

    /// Merges the records at the least key and steps their inputs on.
    fn step(&mut self, out: &mut RecordBatch) -> Result<()> {
        let first = self.inputs[self.order[0]].record();
        let mut same = 1;
        let leader = &self.inputs[self.order[0]];
        while same < self.order.len() && leader.cmp(&self.inputs[self.order[same]]).is_eq() {
            same += 1;
        }
        if first.group() != self.group {
            self.group.clear();
            self.group.extend_from_slice(first.group());
            self.group_deletion = None;
            self.open = None;
            self.inputs.iter_mut().for_each(|input| input.open = None);
            if let Some(across) = &mut self.across {
                across.enter(&self.group);
            }
        }
        if same > 1 {
            self.agree_on_class(same)?;
        }
        let before = out.len();
        let mut agree = false;
        match self.inputs[self.order[0]].record().class {
            Class::Row => agree = self.row(same, self.group_deletion.max(self.open), out)?,
            Class::Static => agree = self.row(same, self.group_deletion, out)?,
            Class::Group => self.group_deletion(same, out)?,
            Class::Marker => self.marker(same, out)?,
        }
        if let Some(across) = &mut self.across {
            let merged = (out.len() > before).then(|| out.get(before));
            let standing = &self.order[..same];
            if let (Some(merged), true) = (&merged, agree && across.all_stand(standing)) {
                across.tell_same(merged)?;
            } else {
                across.tell(merged, standing, |i| self.inputs[i].record(), &self.bodies, &mut self.scratch)?;
            }
        }
        self.advance(same)
    }

    fn agree_on_class(&self, same: usize) -> Result<()> {
        let first = self.inputs[self.order[0]].record();
        for i in &self.order[1..same] {
            let other = self.inputs[*i].record();
            if other.class != first.class || other.group_len != first.group_len {
                return Err(Error::damaged("merge", "one key has two meanings in two runs"));
            }
        }
        Ok(())
    }

    /// The inputs standing at the key that take part: all of them, or the owners.
    #[inline]
    fn takes_part(&self, i: usize) -> bool {
        self.across.as_ref().is_none_or(|a| a.owns(i))
    }

    /// Merges rows. `true` if all that take part hold exactly what is merged.
    fn row(&mut self, same: usize, shadow: Option<Deletion>, out: &mut RecordBatch) -> Result<bool> {
        let mut first: Option<Record<'_>> = None;
        let mut agree = shadow.is_none();
        for &i in &self.order[..same] {
            if !self.takes_part(i) {
                continue;
            }
            let record = self.inputs[i].record();
            match &first {
                None => first = Some(record),
                Some(first) => agree = agree && record.body == first.body,
            }
        }
        let Some(first) = first else { return Ok(false) };
        if agree && self.bodies.keeps(first.traits) {
            out.push(&first);
            return Ok(true);
        }
        if agree {
            self.bodies.normal(&first, out)?;
            return Ok(false);
        }
        let standing = self.order[..same].iter().filter(|i| self.takes_part(**i));
        let bodies: Vec<&[u8]> = standing.map(|i| self.inputs[*i].record().body).collect();
        let start = out.len();
        let mut kept = false;
        out.push_with(first.key, first.group_len, first.class, |buffer| {
            let traits = self.bodies.merge(&bodies, shadow, buffer)?;
            kept = traits.is_some();
            Ok::<Traits, Error>(traits.unwrap_or_default())
        })?;
        if !kept {
            out.truncate(start);
        }
        Ok(false)
    }

    fn group_deletion(&mut self, same: usize, out: &mut RecordBatch) -> Result<()> {
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

    fn marker(&mut self, same: usize, out: &mut RecordBatch) -> Result<()> {
        for k in 0..same {
            let i = self.order[k];
            self.inputs[i].open = body::deletion(self.inputs[i].record().body)?;
        }
        let mut now = None;
        for (i, input) in self.inputs.iter().enumerate() {
            if input.open.is_some() && self.takes_part(i) {
                now = now.max(input.open);
            }
        }
        now = now.filter(|d| self.group_deletion.is_none_or(|g| *d > g));
        if now != self.open {
            self.open = now;
            let first = self.inputs[self.order[0]].record();
            body::push_deletion(out, &first, now);
        }
        Ok(())
    }

    fn advance(&mut self, same: usize) -> Result<()> {
        if same == 1 {
            return self.advance_first();
        }
        self.standing.clear();
        self.standing.extend(self.order.drain(..same));
        for i in &self.standing {
            if self.inputs[*i].advance()? {
                insert(&mut self.order, &self.inputs, *i);
            }
        }
        Ok(())
    }

    /// The common case inside a node: one input stands at the key, and mostly stays first.
    fn advance_first(&mut self) -> Result<()> {
        if self.inputs[self.order[0]].advance()? {
            self.replace_first();
        } else {
            self.order.remove(0);
        }
        Ok(())
    }

    /// Puts the first input, which has stepped on, where it belongs now.
    fn replace_first(&mut self) {
        let i = self.order[0];
        let mut k = 0;
        while k + 1 < self.order.len() && self.inputs[i].cmp(&self.inputs[self.order[k + 1]]).is_gt() {
            self.order[k] = self.order[k + 1];
            k += 1;
        }
        self.order[k] = i;
    }
}

impl Run for Merge<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if !self.started {
            self.start()?;
        }
        self.pass_whole(out)?;
        while !self.order.is_empty() && !out.is_full() {
            if self.pass(out)? {
                continue;
            }
            self.step(out)?;
        }
        Ok(!out.is_empty())
    }
}

/// Puts input `i` where its key belongs.
fn insert(order: &mut Vec<usize>, inputs: &[Input<'_>], i: usize) {
    let place = order.iter().position(|o| inputs[i].cmp(&inputs[*o]).is_lt()).unwrap_or(order.len());
    order.insert(place, i);
}
