//! What differs between two views of one shard, or of one and nothing: the one way to compare.

use super::{Side, View, by_layers};
use crate::engine::{KeyRange, KeyRanges};
use crate::error::{Error, Kind, Result};
use crate::run::{Record, RecordBatch, Run};
use crate::tree::{Diff, Root};
use crate::watch::Watch;

/// Is shown what stands at one key before and after: at least one of them, and where there are both, they are not the same.
pub type Each<'e> = dyn FnMut(Option<Record<'_>>, Option<Record<'_>>) -> Result<()> + 'e;

/// Shows the records of `ranges` in which two views differ, ascending. Views of one shard that were stored with the same secret share
/// subtrees where they are equal; these are not read. Without one of the views, all records of the other are shown.
///
/// Errors: views of single nodes; what reading gives, and `each`.
pub fn differences(
    before: Option<&View<'_>>,
    after: Option<&View<'_>>,
    ranges: KeyRanges,
    watch: &Watch,
    each: &mut Each<'_>,
) -> Result<()> {
    for view in before.iter().chain(&after) {
        if view.side != Side::Reconciled {
            return Err(Error::new(Kind::Unsupported, &view.shard.name, "is compared as the reconciled view alone"));
        }
    }
    for range in ranges {
        watch.check()?;
        match (before, after) {
            (Some(before), Some(after)) => match (before.alone(), after.alone()) {
                (Some(one), Some(other)) => by_trees((one, other), after, &range, watch, each)?,
                _ => match by_layers::own_layers(before, after) {
                    Some(own) => by_layers::compare((before, after), &own, range, watch, each)?,
                    None => {
                        let (mut before, mut after) = (before.reconciled(range.clone()), after.reconciled(range));
                        by_records(Stream::of(&mut *before), Stream::of(&mut *after), watch, each)?;
                    }
                },
            },
            (Some(before), None) => one_sided(before, range, watch, &mut |record| each(Some(record), None))?,
            (None, Some(after)) => one_sided(after, range, watch, &mut |record| each(None, Some(record)))?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn by_trees(
    (before, after): (Option<Root>, Option<Root>),
    view: &View<'_>,
    (from, to): &KeyRange,
    watch: &Watch,
    each: &mut Each<'_>,
) -> Result<()> {
    let mut diff = Diff::range(before, after, view.chunks, (from, to));
    while let Some(change) = diff.next_change()? {
        watch.check()?;
        each(change.before, change.after)?;
    }
    Ok(())
}

/// The records of one view: of a whole shard they are what was backed up, or it is an error at their end.
fn one_sided(
    view: &View<'_>,
    range: KeyRange,
    watch: &Watch,
    each: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<()> {
    let is_whole = range == super::ALL;
    let mut run = if is_whole { view.run()? } else { view.reconciled(range) };
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        watch.check()?;
        batch.iter().try_for_each(&mut *each)?;
    }
    Ok(())
}

/// A run, record by record.
struct Stream<'a> {
    run: &'a mut (dyn Run + 'a),
    batch: RecordBatch,
    at: usize,
    ended: bool,
}

impl<'a> Stream<'a> {
    fn of(run: &'a mut (dyn Run + 'a)) -> Stream<'a> {
        Stream { run, batch: RecordBatch::new(), at: 0, ended: false }
    }

    /// Makes sure that [`Stream::record`] is the next one, if there is any.
    fn load(&mut self) -> Result<()> {
        while self.at == self.batch.len() && !self.ended {
            self.at = 0;
            self.ended = !self.run.next_batch(&mut self.batch)?;
        }
        Ok(())
    }

    fn record(&self) -> Option<Record<'_>> {
        (self.at < self.batch.len()).then(|| self.batch.get(self.at))
    }
}

/// Compares what two runs give, all of it.
fn by_records(mut before: Stream<'_>, mut after: Stream<'_>, watch: &Watch, each: &mut Each<'_>) -> Result<()> {
    loop {
        watch.check()?;
        before.load()?;
        after.load()?;
        let (one, other) = (before.record(), after.record());
        let (first, second) = match (one, other) {
            (None, None) => return Ok(()),
            (Some(one), Some(other)) => (one.key <= other.key, other.key <= one.key),
            (one, other) => (one.is_some(), other.is_some()),
        };
        let (one, other) = (one.filter(|_| first), other.filter(|_| second));
        if one != other {
            each(one, other)?;
        }
        before.at += usize::from(first);
        after.at += usize::from(second);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use repo_format::record::{Class, Traits};

    use super::*;

    /// Records of one byte of key and body, in batches of two.
    struct Given(Vec<(u8, u8)>);

    impl Run for Given {
        fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
            out.clear();
            for (key, body) in self.0.drain(..self.0.len().min(2)) {
                let (class, traits) = (Class::Row, Traits::default());
                out.push(&Record { key: &[key], group_len: 0, class, traits, body: &[body] });
            }
            Ok(!out.is_empty())
        }
    }

    proptest! {
        #[test]
        fn runs_differ_as_maps_do(
            one in prop::collection::btree_map(0u8..12, 0u8..3, 0..12),
            other in prop::collection::btree_map(0u8..12, 0u8..3, 0..12),
        ) {
            let run = |map: &BTreeMap<u8, u8>| Given(map.iter().map(|(key, body)| (*key, *body)).collect());
            let (mut before, mut after, mut found) = (run(&one), run(&other), Vec::new());
            by_records(Stream::of(&mut before), Stream::of(&mut after), &Watch::new(), &mut |before, after| {
                let of = |record: Option<Record<'_>>| record.map(|r| (r.key[0], r.body[0]));
                found.push((of(before), of(after)));
                Ok(())
            }).unwrap();
            let at = |map: &BTreeMap<u8, u8>, key: u8| map.get(&key).map(|body| (key, *body));
            let all = (0..12).map(|key| (at(&one, key), at(&other, key)));
            prop_assert_eq!(found, all.filter(|(a, b)| a != b).collect::<Vec<_>>());
        }
    }
}
