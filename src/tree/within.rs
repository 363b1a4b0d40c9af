//! Reads ranges of keys of a run that cannot be entered in its middle.

use super::context::Context;
use crate::error::Result;
use crate::run::{RecordBatch, Run};

/// The records of a run that lie in ascending ranges, each as [`super::TreeRun::range`] gives it: preceded, where it begins
/// inside a group, by records that say which deletions are in force there. All of the run up to the last range is read.
pub struct Within<'a, R> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    ranges: R,
    range: Option<Range>,
    context: Context,
    ended: bool,
}

struct Range {
    from: Vec<u8>,
    /// Empty: the end of the run.
    to: Vec<u8>,
    /// Something of the range was shown.
    begun: bool,
}

impl Range {
    fn ends_before(&self, key: &[u8]) -> bool {
        !self.to.is_empty() && key >= &self.to[..]
    }
}

impl<'a, R: Iterator<Item = (Vec<u8>, Vec<u8>)>> Within<'a, R> {
    /// Reads from `run`, which has all keys. Each range goes from its first key to before its second; an empty second key is the
    /// end of the run.
    pub fn new(run: Box<dyn Run + 'a>, mut ranges: R) -> Within<'a, R> {
        let range = next(&mut ranges);
        Within { run, batch: RecordBatch::new(), ranges, range, context: Context::default(), ended: false }
    }

    /// Leaves the ranges that end before `key`, or all of them; what is in force in one that shows no record is said.
    fn leave(&mut self, key: Option<&[u8]>, out: &mut RecordBatch) -> Result<()> {
        while let Some(range) = self.range.take_if(|range| key.is_none_or(|key| range.ends_before(key))) {
            if !range.begun && self.context.reaches(&range.from) {
                self.context.say(&range.from, None, out)?;
            }
            self.range = next(&mut self.ranges);
        }
        Ok(())
    }
}

fn next(ranges: &mut impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Option<Range> {
    let (from, to) = ranges.find(|(from, to)| to.is_empty() || from < to)?;
    Some(Range { from, to, begun: false })
}

impl<R: Iterator<Item = (Vec<u8>, Vec<u8>)> + Send> Run for Within<'_, R> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        let mut batch = std::mem::take(&mut self.batch);
        while out.is_empty() && !self.ended {
            if self.range.is_none() || !self.run.next_batch(&mut batch)? {
                self.ended = true;
                self.leave(None, out)?;
                break;
            }
            for record in batch.iter() {
                self.leave(Some(record.key), out)?;
                let Some(range) = &mut self.range else { break };
                if record.key >= &range.from[..] {
                    if !std::mem::replace(&mut range.begun, true) && self.context.reaches(&range.from) {
                        self.context.say(&range.from, Some((record.key, record.class)), out)?;
                    }
                    out.push(&record);
                }
                self.context.follow(&record)?;
            }
        }
        self.batch = batch;
        Ok(!out.is_empty())
    }
}
