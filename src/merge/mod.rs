//! Many runs, one run: compaction inside a node, reconciliation between nodes. Beside that: a base read under its layers, and what a
//! run changes of another.
//!
//! The merge streams. A run is opened when its first key is reached, where that key is known. Per open input it holds one batch and the deletion its markers have in force; of the group it is in, the
//! deletion of the group and the deletion that the merged markers have in force. Deletions come out in one normal
//! form: a marker stands only where the deletion in force changes, and what a wider, newer deletion covers is left out.

mod across;
mod ahead;
mod body;
mod deletions;
mod input;
mod large;
mod layering;
mod overlay;
mod owned;
mod pass;
mod purge;
mod rule;
mod settled;
mod stacking;
mod unowned;

pub use across::{Across, Held, State, Witness, held};
pub use ahead::ahead;
pub use body::{Deletion, at_cut, deletion, merge_bodies, push_deletion};
pub use input::{Open, Waiting};
pub use layering::{Before, BeforeRun, By, Changed, Known, Layering, Prints};
pub use overlay::Overlay;
pub use owned::{Owned, Owns};
pub use purge::Purge;
pub use rule::{Rule, Stands, Version};
pub use settled::Settled;
pub use stacking::Stacking;
pub use unowned::Unowned;

use repo_format::record::{Class, Traits};

use crate::error::{Error, Result};
use crate::run::{Record, RecordBatch, Run};
use body::{BodyMerge, Merged, Ranked};
use input::Input;

/// A merge of runs, itself a run.
pub struct Merge<'a> {
    /// Not yet opened, the next one last.
    waiting: Vec<Waiting<'a>>,
    inputs: Vec<Input<'a>>,
    /// Places of inputs at their end, for those that are opened next.
    ended: Vec<usize>,
    /// Inputs whose markers have a deletion in force.
    covering: usize,
    /// Inputs not yet at their end, by the key they stand at.
    order: Vec<usize>,
    /// Memory for the inputs that are being stepped on.
    standing: Vec<usize>,
    started: bool,
    /// Whether the batch before said what large record comes.
    announced: bool,
    bodies: BodyMerge<'a>,
    group: Vec<u8>,
    group_deletion: Option<Deletion>,
    open: Option<Deletion>,
    across: Option<Across<'a>>,
    scratch: RecordBatch,
}

impl<'a> Merge<'a> {
    /// Merges runs of equal standing: the files of a node.
    pub fn of(runs: Vec<Box<dyn Run + 'a>>, rule: &'a dyn Rule) -> Merge<'a> {
        Merge {
            waiting: Vec::new(),
            inputs: runs.into_iter().map(|run| Input::new(run, 0)).collect(),
            ended: Vec::new(),
            covering: 0,
            order: Vec::new(),
            standing: Vec::new(),
            started: false,
            announced: false,
            bodies: BodyMerge::new(rule, None),
            group: Vec::new(),
            group_deletion: None,
            open: None,
            across: None,
            scratch: RecordBatch::new(),
        }
    }

    /// The same of runs that are opened when they are reached, and closed at their end.
    pub fn of_waiting(mut runs: Vec<Waiting<'a>>, rule: &'a dyn Rule) -> Merge<'a> {
        runs.sort_by(Waiting::last_first);
        Merge { waiting: runs, ..Merge::of(Vec::new(), rule) }
    }

    /// What owners hold, and what others hold outside of their ranges. Where neither has a version, the owners' stands.
    pub fn with_unowned(view: Box<dyn Run + 'a>, others: Vec<Box<dyn Run + 'a>>, rule: &'a dyn Rule) -> Merge<'a> {
        let (owners, non_owners) = unowned::OWNERS;
        let mut inputs = vec![Input::new(view, owners)];
        inputs.extend(others.into_iter().map(|run| Input::new(run, non_owners)));
        Merge { inputs, ..Merge::of(Vec::new(), rule) }
    }

    /// Merges one run per node. Each cell is brought to how it stands at `cut` (seconds since 1970).
    /// `across` says which keys each node answers for and is told how every node differs.
    pub fn across(runs: Vec<Box<dyn Run + 'a>>, rule: &'a dyn Rule, cut: u32, across: Across<'a>) -> Merge<'a> {
        let mut merge = Merge::of(runs, rule);
        merge.bodies = BodyMerge::new(rule, Some(cut));
        merge.across = Some(across);
        merge
    }

    fn start(&mut self) -> Result<()> {
        self.started = true;
        for i in 0..self.inputs.len() {
            if self.inputs[i].refill()? {
                insert(&mut self.order, &self.inputs, i);
            }
        }
        Ok(())
    }

    /// Opens the runs that may hold the least key or a lesser one.
    #[inline]
    fn open_due(&mut self) -> Result<()> {
        while let Some(next) = self.waiting.last() {
            if self.order.first().is_some_and(|first| !next.reaches(self.inputs[*first].key())) {
                break;
            }
            self.open_next()?;
        }
        Ok(())
    }

    fn open_next(&mut self) -> Result<()> {
        let Some(next) = self.waiting.pop() else { return Ok(()) };
        let mut input = next.open()?;
        if !input.refill()? {
            return Ok(());
        }
        let i = match self.ended.pop() {
            Some(i) => {
                self.inputs[i] = input;
                i
            }
            None => {
                self.inputs.push(input);
                self.inputs.len() - 1
            }
        };
        insert(&mut self.order, &self.inputs, i);
        Ok(())
    }

    /// Takes note that input `i`, which is no longer in order, is at its end.
    fn end(&mut self, i: usize) {
        // Across nodes an input's place is the node's.
        if self.across.is_none() && self.inputs[i].open.is_none() {
            self.ended.push(i);
        }
    }

    /// Merges the records at the least key and steps their inputs on.
    fn step(&mut self, out: &mut RecordBatch) -> Result<()> {
        let mut same = 1;
        let leader = &self.inputs[self.order[0]];
        while same < self.order.len() && leader.cmp(&self.inputs[self.order[same]]).is_eq() {
            same += 1;
        }
        if self.order[..same].iter().any(|i| self.inputs[*i].is_before_large()) {
            return self.read_large(same, out);
        }
        let first = self.inputs[self.order[0]].record();
        if first.group() != self.group {
            self.group.clear();
            self.group.extend_from_slice(first.group());
            self.group_deletion = None;
            self.open = None;
            if let Some(across) = &mut self.across {
                across.enter(&first);
            }
            if std::mem::take(&mut self.covering) > 0 {
                self.inputs.iter_mut().for_each(|input| input.open = None);
            }
        } else if self.across.as_mut().is_some_and(|across| across.within(&first)) && self.covering > 0 {
            self.hand_over()?;
        }
        if same > 1 {
            self.agree_on_class(same)?;
        }
        let before = out.len();
        let class = self.inputs[self.order[0]].record().class;
        let shadow = if class == Class::Row { self.group_deletion.max(self.open) } else { self.group_deletion };
        let mut agree = false;
        match class {
            Class::Row | Class::Static => agree = self.row(same, shadow, out)?,
            Class::Group => self.group_deletion(same, out)?,
            Class::Marker => {
                self.marker(same, out)?;
                self.tell_open()?;
            }
        }
        if let Some(across) = &mut self.across {
            let merged = (out.len() > before).then(|| out.get(before));
            let standing = &self.order[..same];
            if merged.is_some() && agree && across.all_stand(standing) {
                across.tell_same(1)?;
            } else {
                across.tell(merged, standing, |i| self.inputs[i].record(), shadow, &self.bodies, &mut self.scratch)?;
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
        let (mut agree, mut rank) = (shadow.is_none(), 0);
        for &i in &self.order[..same] {
            if !self.takes_part(i) {
                continue;
            }
            let record = self.inputs[i].record();
            rank = rank.max(self.inputs[i].rank());
            match &first {
                None => first = Some(record),
                Some(first) => agree = agree && record.body == first.body,
            }
        }
        let Some(first) = first else { return Ok(false) };
        let start = out.len();
        if agree {
            let keeps = self.bodies.keeps(first.traits);
            if keeps {
                out.push(&first)
            } else {
                self.bodies.normal(&first, out)?
            }
            out.set_rank(start, rank);
            return Ok(keeps);
        }
        let standing = self.order[..same].iter().filter(|i| self.takes_part(**i));
        let ranked = |i: &usize| (self.inputs[*i].rank(), self.inputs[*i].record().body);
        let bodies: Vec<Ranked<'_>> = standing.map(ranked).collect();
        let mut merged: Option<Merged> = None;
        out.push_with(first.key, first.group_len, first.class, |buffer| {
            merged = self.bodies.merge(&bodies, shadow, buffer)?;
            Ok::<Traits, Error>(merged.map(|m| m.traits).unwrap_or_default())
        })?;
        match merged {
            Some(merged) => out.set_rank(start, merged.rank),
            None => out.truncate(start),
        }
        Ok(false)
    }

    fn advance(&mut self, same: usize) -> Result<()> {
        if same == 1 {
            return self.advance_first();
        }
        self.standing.clear();
        self.standing.extend(self.order.drain(..same));
        for k in 0..same {
            let i = self.standing[k];
            if self.inputs[i].advance()? {
                insert(&mut self.order, &self.inputs, i);
            } else {
                self.end(i);
            }
        }
        Ok(())
    }

    /// The common case inside a node: one input stands at the key, and mostly stays first.
    fn advance_first(&mut self) -> Result<()> {
        if self.inputs[self.order[0]].advance()? {
            self.replace_first();
        } else {
            let i = self.order.remove(0);
            self.end(i);
        }
        Ok(())
    }

    /// Puts the first input, which has stepped on, where it belongs now. Mostly that is near; among many it is looked for.
    fn replace_first(&mut self) {
        let i = self.order[0];
        let is_before = |o: &usize| self.inputs[i].cmp(&self.inputs[*o]).is_gt();
        let mut k = 0;
        while k < 4 && self.order.get(k + 1).is_some_and(is_before) {
            k += 1;
        }
        if k == 4 {
            k += self.order[5..].partition_point(is_before);
        }
        self.order[..=k].rotate_left(1);
    }
}

impl Run for Merge<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if !self.started {
            self.start()?;
        }
        self.open_due()?;
        self.pass_whole(out)?;
        while !out.is_full() {
            self.open_due()?;
            if self.order.is_empty() {
                break;
            }
            if self.across.as_ref().is_some_and(Across::is_full) {
                return Ok(true);
            }
            if self.pass(out)? {
                continue;
            }
            self.step(out)?;
        }
        Ok(!out.is_empty() || out.coming().is_some())
    }
}

/// Puts input `i` where its key belongs.
fn insert(order: &mut Vec<usize>, inputs: &[Input<'_>], i: usize) {
    let place = order.partition_point(|o| inputs[i].cmp(&inputs[*o]).is_ge());
    order.insert(place, i);
}
