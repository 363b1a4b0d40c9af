//! Two views that stand on one base, compared by what their layers say: of the base only what lies at these keys is read.

use std::collections::BTreeSet;

use super::View;
use super::differences::Each;
use crate::engine::KeyRange;
use crate::error::Result;
use crate::run::{Record, RecordBatch, Run};
use crate::tree::{Root, TreeRun, stack_at};
use crate::watch::Watch;

/// Where the keys of layers are fewer than one in so many of the base's records, they are looked up one by one: to look one up takes
/// about as long as to read so many.
const ONE_IN: u64 = 100;
/// Keys that are held in memory at a time.
const KEYS: usize = 4096;

/// The layers of both that are not the same; `None` where the views have to be compared record by record: they do not stand on one base,
/// too much changed, or something of the first one may have expired since.
pub(super) fn own_layers(before: &View<'_>, after: &View<'_>) -> Option<Vec<Root>> {
    let (one, other) = (before.layers.as_slice(), after.layers.as_slice());
    let base = one.first().filter(|base| other.first() == Some(base))?;
    if before.shard.expiring != Some(0) || before.shard.description != after.shard.description {
        return None;
    }
    let shared = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let own: Vec<Root> = one[shared..].iter().chain(&other[shared..]).copied().collect();
    let keys: u64 = own.iter().map(|layer| layer.records).sum();
    (keys.saturating_mul(ONE_IN) < base.records).then_some(own)
}

/// Shows the records of a range in which the views differ, ascending.
pub(super) fn compare(
    (before, after): (&View<'_>, &View<'_>),
    own: &[Root],
    (from, to): KeyRange,
    watch: &Watch,
    each: &mut Each<'_>,
) -> Result<()> {
    let to = Some(to).filter(|to| !to.is_empty());
    let mut from = from;
    loop {
        // The next keys of all of them: what comes behind the last one of a layer that has more is not known yet.
        let (mut keys, mut end) = (BTreeSet::new(), None);
        for layer in own {
            let mut run = TreeRun::range(Some(*layer), before.chunks, from.clone(), to.clone()).of_layer().silent();
            let (mut batch, mut count) = (RecordBatch::new(), 0);
            while count < KEYS && run.next_batch(&mut batch)? {
                keys.extend(batch.iter().map(|record| record.key.to_vec()));
                count += batch.len();
            }
            if count >= KEYS
                && let Some(last) = batch.last_key()
            {
                end = end.into_iter().chain([last.to_vec()]).min();
            }
        }
        for key in keys.iter().filter(|key| end.as_ref().is_none_or(|end| *key <= end)) {
            watch.check()?;
            let (mut one, mut other) = (RecordBatch::new(), RecordBatch::new());
            let (one, other) = (at(before, key, &mut one)?, at(after, key, &mut other)?);
            if one != other {
                each(one, other)?;
            }
        }
        let Some(end) = end else { return Ok(()) };
        from = end;
        from.push(0);
    }
}

/// The record of a view at a key.
fn at<'b>(view: &View<'_>, key: &[u8], batch: &'b mut RecordBatch) -> Result<Option<Record<'b>>> {
    stack_at(&view.layers, view.chunks, view.schema.rule(), view.snapshot.settles_at(), key, batch)?;
    Ok((!batch.is_empty()).then(|| batch.get(0)))
}
