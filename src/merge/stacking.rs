//! Two layers, one above the other, as one: what both together change of what lies below them.

use std::cmp::Ordering;

use repo_format::record::{BodyWriter, Class, Traits};

use super::body::{Deletion, deletion};
use super::input::Input;
use crate::error::Result;
use crate::run::{Record, RecordBatch, Run};

/// What a layer's markers say is in force; `None`: what lies below.
type Said = Option<Option<Deletion>>;

/// Joins two layers, itself the run of a layer.
pub struct Stacking<'a> {
    lower: Input<'a>,
    upper: Input<'a>,
    group: Vec<u8>,
    said: (Said, Said),
    started: bool,
}

impl<'a> Stacking<'a> {
    /// Of the runs of two layers, with their marks.
    pub fn new(lower: Box<dyn Run + 'a>, upper: Box<dyn Run + 'a>) -> Stacking<'a> {
        let (lower, upper) = (Input::new(lower, 0), Input::new(upper, 0));
        Stacking { lower, upper, group: Vec::new(), said: (None, None), started: false }
    }

    /// Which of them stand at the least key; `None` at the end.
    fn standing(&self) -> Option<(bool, bool)> {
        match (self.lower.is_at_end(), self.upper.is_at_end()) {
            (true, true) => None,
            (false, true) => Some((true, false)),
            (true, false) => Some((false, true)),
            (false, false) => Some(match self.lower.cmp(&self.upper) {
                Ordering::Less => (true, false),
                Ordering::Greater => (false, true),
                Ordering::Equal => (true, true),
            }),
        }
    }

    fn step(&mut self, (in_lower, in_upper): (bool, bool), out: &mut RecordBatch) -> Result<()> {
        let lower = in_lower.then(|| self.lower.record());
        let upper = in_upper.then(|| self.upper.record());
        let Some(top) = upper.or(lower) else { return Ok(()) };
        if top.group() != self.group {
            self.group.clear();
            self.group.extend_from_slice(top.group());
            self.said = (None, None);
        }
        let is_marker = top.class == Class::Marker;
        if is_marker {
            if let Some(lower) = &lower {
                self.said.0 = said(lower)?;
            }
            if let Some(upper) = &upper {
                self.said.1 = said(upper)?;
            }
        }
        let mut traits = top.traits;
        if let (Some(lower), Some(upper)) = (&lower, &upper) {
            let (was_added, is_gone) = (lower.traits.has(Traits::ADDED), upper.traits.has(Traits::GONE));
            if was_added && is_gone && !is_marker {
                return self.advance(in_lower, in_upper);
            }
            traits = traits.without(Traits::ADDED);
            if was_added && !is_gone {
                traits = traits.with(Traits::ADDED);
            }
        }
        if is_marker && self.said != (None, None) {
            traits = traits.without(Traits::RESUMES);
        }
        match (self.said.1, is_marker && upper.is_none() && top.traits.has(Traits::GONE)) {
            // What the upper one has in force reaches over a marker that the lower one took away.
            (Some(in_force), true) => push_gone(out, &top, in_force),
            _ => out.push(&Record { traits, ..top }),
        }
        self.advance(in_lower, in_upper)
    }

    fn advance(&mut self, lower: bool, upper: bool) -> Result<()> {
        if lower {
            self.lower.advance()?;
        }
        if upper {
            self.upper.advance()?;
        }
        Ok(())
    }
}

/// What a marker says is in force behind it.
fn said(marker: &Record<'_>) -> Result<Said> {
    if marker.traits.has(Traits::RESUMES) { Ok(None) } else { deletion(marker.body).map(Some) }
}

fn push_gone(out: &mut RecordBatch, like: &Record<'_>, in_force: Option<Deletion>) {
    let Ok(()) = out.push_with(like.key, like.group_len, like.class, |buffer| {
        let mut writer = BodyWriter::new(buffer);
        if let Some(deletion) = in_force {
            writer.push(&deletion.entry(0));
        }
        Ok::<Traits, std::convert::Infallible>(writer.traits().with(Traits::GONE))
    });
}

impl Run for Stacking<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if !std::mem::replace(&mut self.started, true) {
            self.lower.refill()?;
            self.upper.refill()?;
        }
        while !out.is_full() {
            if let Some(input) = [&mut self.lower, &mut self.upper].into_iter().find(|input| input.is_before_large()) {
                input.refill()?;
                continue;
            }
            let Some(standing) = self.standing() else { break };
            self.step(standing, out)?;
        }
        Ok(!out.is_empty())
    }
}
