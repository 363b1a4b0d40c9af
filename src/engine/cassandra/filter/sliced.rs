//! A run cut to slices of the rows of each partition.

use std::sync::Arc;

use repo_format::record::Class;

use super::scope::Scope;
use crate::error::Result;
use crate::merge::{self, Deletion};
use crate::run::{Record, RecordBatch, Run};

/// Of each partition only the rows within slices, and the deletions as far as they reach into them: the partition's deletion
/// becomes one of each slice, range deletions are cut at its ends. Static rows pass or not, as a whole.
pub struct Sliced<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    at: usize,
    ended: bool,
    slicer: Slicer,
}

struct Slicer {
    scope: Arc<Scope>,
    statics: bool,
    /// The run shows no markers between slices, but says anew what is in force where each begins.
    restated: bool,
    group: Vec<u8>,
    group_deletion: Option<Deletion>,
    open: Option<Deletion>,
    /// The slice that we are in or before.
    slice: usize,
    inside: bool,
    /// In force by what was shown of the partition.
    said: Option<Deletion>,
}

impl<'a> Sliced<'a> {
    /// Of a run over whole partitions, or (`restated`) over the slices alone.
    pub(super) fn new(run: Box<dyn Run + 'a>, scope: Arc<Scope>, statics: bool, restated: bool) -> Sliced<'a> {
        let slicer = Slicer {
            scope,
            statics,
            restated,
            group: Vec::new(),
            group_deletion: None,
            open: None,
            slice: usize::MAX,
            inside: false,
            said: None,
        };
        Sliced { run, batch: RecordBatch::new(), at: 0, ended: false, slicer }
    }
}

impl Run for Sliced<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() && !self.ended {
            if self.at == self.batch.len() {
                self.at = 0;
                if !self.run.next_batch(&mut self.batch)? {
                    self.ended = true;
                    self.slicer.reach(None, true, out);
                    break;
                }
            }
            while self.at < self.batch.len() && !out.is_full() {
                self.slicer.take(&self.batch.get(self.at), out)?;
                self.at += 1;
            }
        }
        Ok(!out.is_empty())
    }
}

impl Slicer {
    fn take(&mut self, r: &Record<'_>, out: &mut RecordBatch) -> Result<()> {
        if r.group() != self.group {
            self.reach(None, true, out);
            self.group.clear();
            self.group.extend_from_slice(r.group());
            (self.group_deletion, self.open, self.said) = (None, None, None);
            (self.slice, self.inside) = (0, false);
        }
        let place = &r.key[r.group_len..];
        match r.class {
            Class::Group => self.group_deletion = merge::deletion(r.body)?,
            Class::Static if self.statics => out.push(r),
            Class::Static => {}
            Class::Row => {
                self.reach(Some(place), true, out);
                if self.inside {
                    out.push(r);
                }
            }
            Class::Marker => {
                self.reach(Some(place), false, out);
                self.open = merge::deletion(r.body)?;
                self.reach(Some(place), true, out);
                if self.inside {
                    self.say(place, self.in_force(), out);
                }
            }
        }
        Ok(())
    }

    fn in_force(&self) -> Option<Deletion> {
        self.open.max(self.group_deletion)
    }

    /// Begins and ends the slices that do so before `place` (at it, too, if `also_at`), or before the end of the partition.
    fn reach(&mut self, place: Option<&[u8]>, also_at: bool, out: &mut RecordBatch) {
        let scope = Arc::clone(&self.scope);
        let reached = |bound: &[u8]| place.is_none_or(|place| bound < place || (also_at && bound == place));
        while let Some((from, to)) = scope.slices.as_ref().and_then(|slices| slices.get(self.slice)) {
            if !self.inside {
                if !reached(from) {
                    return;
                }
                self.inside = true;
                self.say(from, self.in_force(), out);
            }
            if !reached(to) {
                return;
            }
            self.say(to, None, out);
            self.inside = false;
            self.slice += 1;
            if self.restated {
                self.open = None;
            }
        }
    }

    /// Shows a marker, where it says anything new.
    fn say(&mut self, place: &[u8], deletion: Option<Deletion>, out: &mut RecordBatch) {
        if std::mem::replace(&mut self.said, deletion) == deletion {
            return;
        }
        let key = [&self.group[..], place].concat();
        let (group_len, traits) = (self.group.len(), Default::default());
        merge::push_deletion(out, &Record { key: &key, group_len, class: Class::Marker, traits, body: &[] }, deletion);
    }
}
