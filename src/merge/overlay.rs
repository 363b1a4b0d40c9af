//! A base under its layers: of the records at a key the topmost stands, whole (SPEC "Layers").

use repo_format::record::{Class, Traits};

use super::input::Input;
use crate::error::{Error, Kind, Result};
use crate::run::{Record, RecordBatch, Run};

/// Overlays runs, itself a run. What it gives has no marks of layers.
pub struct Overlay<'a> {
    /// From the top down.
    inputs: Vec<Input<'a>>,
    /// Where the runs begin, inside them; empty: at their start.
    from: Vec<u8>,
    started: bool,
}

impl<'a> Overlay<'a> {
    /// Of a base and the layers above it, in this order. Of a range, all begin at `from`, and say what is in force there; otherwise
    /// it is empty.
    pub fn new(runs: Vec<Box<dyn Run + 'a>>, from: Vec<u8>) -> Overlay<'a> {
        let inputs = runs.into_iter().rev().map(|run| Input::new(run, 0)).collect();
        Overlay { inputs, from, started: false }
    }

    /// The topmost of the runs that stand at the least key.
    fn first(&self) -> Option<usize> {
        let alive = (0..self.inputs.len()).filter(|i| !self.inputs[*i].is_at_end());
        // Of equal ones the first is taken.
        alive.min_by(|a, b| self.inputs[*a].cmp(&self.inputs[*b]))
    }

    /// Gives records of the base as they are, up to the next key of a layer.
    fn pass_base(&mut self, out: &mut RecordBatch) -> Result<()> {
        let Some((base, layers)) = self.inputs.split_last_mut() else { return Ok(()) };
        let next = layers.iter().filter(|layer| !layer.is_at_end()).min_by(|a, b| a.cmp(b));
        let before_next = |r: Record<'_>| next.is_none_or(|next| next.is_after(r.key));
        // Mostly nothing comes in between.
        let all = base.batch.last_key().is_some_and(|last| next.is_none_or(|next| next.is_after(last)));
        if all && base.at == 0 && out.is_empty() && base.batch.coming().is_none() {
            out.swap(&mut base.batch);
            return base.refill().map(drop);
        }
        let to = out.push_from(&base.batch, base.at, before_next, usize::MAX);
        base.advance_to(to).map(drop)
    }

    /// Gives what stands at the least key, which `first` stands at, and steps all on that do.
    fn step(&mut self, first: usize, out: &mut RecordBatch) -> Result<()> {
        let top = self.inputs[first].record();
        for below in &self.inputs[first + 1..] {
            if below.is_at_end() || below.cmp(&self.inputs[first]).is_ne() {
                continue;
            }
            let below = below.record();
            if (below.class == Class::Marker) != (top.class == Class::Marker) {
                let message = "begins at a row, where a deletion of a range is in force below its layers";
                return Err(Error::new(Kind::Unsupported, "range of a tree", message).hint("begin before the row"));
            }
        }
        // A marker that is gone says what is in force behind it: to whom it begins there, it is one.
        let says = top.class == Class::Marker && !top.body.is_empty() && !self.from.is_empty() && top.key == self.from;
        if !top.traits.has(Traits::GONE) || says {
            out.push(&Record { traits: top.traits.without(Traits::MARKS), ..top });
        }
        let (upper, lower) = self.inputs.split_at_mut(first + 1);
        let Some(top) = upper.last_mut() else { return Ok(()) };
        for below in lower {
            if !below.is_at_end() && below.cmp(top).is_eq() {
                below.advance()?;
            }
        }
        top.advance().map(drop)
    }
}

impl Run for Overlay<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if !std::mem::replace(&mut self.started, true) {
            for input in &mut self.inputs {
                input.refill()?;
            }
        }
        while !out.is_full() {
            let Some(first) = self.first() else { break };
            if self.inputs[first].is_before_large() {
                self.inputs[first].refill()?;
            } else if first + 1 == self.inputs.len() {
                self.pass_base(out)?;
            } else {
                self.step(first, out)?;
            }
        }
        Ok(!out.is_empty())
    }
}
