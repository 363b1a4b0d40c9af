//! Two layers, one above the other, as one: what both together change of what lies below them.

use std::cmp::Ordering;

use repo_format::record::{Class, Traits};

use super::body::{Deletion, deletion, put_deletion};
use super::input::Input;
use super::layering::Changed;
use crate::error::Result;
use crate::run::{Record, Run};

/// What a layer's markers say is in force; `None`: what lies below.
type Said = Option<Option<Deletion>>;

/// Puts a layer, record by record, above another.
pub struct Stacking<'a> {
    lower: Input<'a>,
    group: Vec<u8>,
    said: (Said, Said),
    started: bool,
    /// Memory for a body that is made.
    made: Vec<u8>,
}

impl<'a> Stacking<'a> {
    /// Above the layer that is read by `lower`, with its marks.
    pub fn new(lower: Box<dyn Run + 'a>) -> Stacking<'a> {
        let (lower, made) = (Input::new(lower, 0), Vec::new());
        Stacking { lower, group: Vec::new(), said: (None, None), started: false, made }
    }

    /// Takes the next record of the upper layer; gives `out` what both come to up to its key.
    pub fn push(&mut self, upper: &Record<'_>, out: &mut Changed<'_>) -> Result<()> {
        while self.load()? {
            match self.lower.key().cmp(upper.key) {
                Ordering::Less => self.step(None, true, out)?,
                Ordering::Equal => return self.step(Some(upper), true, out),
                Ordering::Greater => break,
            }
        }
        self.step(Some(upper), false, out)
    }

    /// Ends the upper layer.
    pub fn finish(mut self, out: &mut Changed<'_>) -> Result<()> {
        while self.load()? {
            self.step(None, true, out)?;
        }
        Ok(())
    }

    /// Makes the next record of the lower layer visible; `false` at its end.
    fn load(&mut self) -> Result<bool> {
        if !std::mem::replace(&mut self.started, true) || self.lower.is_before_large() {
            self.lower.refill()?;
        }
        Ok(!self.lower.is_at_end())
    }

    /// Gives what both come to at the least key, at which the upper layer has a record, or the lower one, or both.
    fn step(&mut self, upper: Option<&Record<'_>>, in_lower: bool, out: &mut Changed<'_>) -> Result<()> {
        let lower = in_lower.then(|| self.lower.record());
        let Some(top) = upper.copied().or(lower) else { return Ok(()) };
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
            if let Some(upper) = upper {
                self.said.1 = said(upper)?;
            }
        }
        let mut traits = top.traits;
        let mut nothing = false;
        if let (Some(lower), Some(upper)) = (&lower, upper) {
            let (was_added, is_gone) = (lower.traits.has(Traits::ADDED), upper.traits.has(Traits::GONE));
            nothing = was_added && is_gone && !is_marker;
            traits = traits.without(Traits::ADDED);
            if was_added && !is_gone {
                traits = traits.with(Traits::ADDED);
            }
        }
        if is_marker && self.said != (None, None) {
            traits = traits.without(Traits::RESUMES);
        }
        match (self.said.1, is_marker && upper.is_none() && top.traits.has(Traits::GONE)) {
            _ if nothing => {}
            // What the upper one has in force reaches over a marker that the lower one took away.
            (Some(in_force), true) => {
                self.made.clear();
                let traits = put_deletion(&mut self.made, in_force).with(Traits::GONE);
                out(&Record { traits, body: &self.made, ..top })?;
            }
            _ => out(&Record { traits, ..top })?,
        }
        if in_lower {
            self.lower.advance()?;
        }
        Ok(())
    }
}

/// What a marker says is in force behind it.
fn said(marker: &Record<'_>) -> Result<Said> {
    if marker.traits.has(Traits::RESUMES) { Ok(None) } else { deletion(marker.body).map(Some) }
}
