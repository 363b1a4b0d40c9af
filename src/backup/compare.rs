//! Tonight against the last complete snapshot: a shard that fell to nothing, or by more than half, without a cause that is known.
//!
//! Known causes are truncation and dropping, as the captures record them, and what merging what the last snapshot held into
//! tonight's run explains: deletions that stand in tonight's run, and expiry by the times that the last snapshot itself holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use repo_format::record::{Class, Entries, EntryKind};

use super::fold::Attempt;
use super::previous::Earlier;
use super::{Options, Target};
use crate::engine::{Source, Without};
use crate::error::{Error, Kind, Result};
use crate::merge::{Across, Held, Merge, Owned, Witness};
use crate::run::{ChunkSource, Record, RecordBatch, Run, ShardKind};
use crate::snapshot::Shard;
use crate::tree::stack;

/// Live rows: tonight's, and of both nights merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Live {
    tonight: u64,
    both: u64,
}

impl Live {
    /// Whether it fell to nothing or by more than half.
    fn fell(self) -> bool {
        self.both > 0 && 2 * self.tonight < self.both
    }
}

/// Refuses names in `--accept-emptied` that neither tonight's schema nor the last snapshot has.
pub fn check_accepted(source: &dyn Source, target: &Target<'_>, options: &Options) -> Result<()> {
    let last = target.before.and_then(|before| before.complete());
    for name in &options.accepted {
        let known = source.shards().iter().any(|s| s.name == *name)
            || last.as_ref().is_some_and(|last| last.shards.values().any(|n| n == name));
        if !known {
            let message = "is neither in the captured schema nor in the last complete snapshot";
            return Err(Error::new(Kind::Usage, format!("--accept-emptied {name}"), message)
                .hint("name it as `onefold ls` does"));
        }
    }
    Ok(())
}

/// How a shard stands against the last complete snapshot that has it.
pub enum Fallen {
    /// As it may.
    No,
    /// So that the snapshot is not complete: why, in words.
    Gap(String),
    /// Perhaps as it may: what is to be said.
    Note(String),
}

/// What is wrong with a shard against the last complete snapshot that has it. `now_rows` is what tonight came to, `without` the parts
/// that were left out.
pub fn fallen(attempt: &Attempt<'_>, without: &Without, now_rows: u64) -> Result<Fallen> {
    // A file that is not there was deleted: nothing else takes one away, and no replica holds it still.
    if attempt.shard.kind == ShardKind::Files {
        return Ok(Fallen::No);
    }
    let Some(before) = attempt.common.target.before else { return Ok(Fallen::No) };
    let Some(last) = before.shard(&attempt.shard.id).filter(|last| last.of.complete) else { return Ok(Fallen::No) };
    if last.shard.rows == 0 || 2 * now_rows >= last.shard.rows {
        return Ok(Fallen::No);
    }
    if attempt.common.source.emptied(attempt.shard).is_some_and(|at| at >= u64::from(last.of.cut)) {
        return Ok(Fallen::No);
    }
    if !before.can_read() {
        // What was deleted or has expired stays as records until it is purged: so nothing left is no common night.
        let what = format!(
            "{}, for the credential does not hold the read role",
            unexplained(&last, now_rows, &format!("snapshot {}", last.of.id))
        );
        return Ok(match now_rows {
            0 => Fallen::Gap(format!("{what}: {HINT}")),
            _ => Fallen::Note(format!("table {}: {what}", attempt.shard.name)),
        });
    }
    let live = match count(attempt, without, &last.shard, before.chunks()?) {
        Ok(live) => live,
        Err(e) if e.kind() == Kind::Damaged => {
            let what = unexplained(&last, now_rows, &format!("snapshot {}: {e}", last.of.id));
            return Ok(Fallen::Gap(format!("{what}: {HINT}")));
        }
        Err(e) => return Err(e),
    };
    if !live.fell() {
        return Ok(Fallen::No);
    }
    let Live { tonight, both } = live;
    Ok(Fallen::Gap(format!(
        "has {tonight} live rows; with those of snapshot {} that nothing deleted and that have not expired it would have {both}: \
         {HINT}",
        last.of.id
    )))
}

const HINT: &str =
    "look for files or nodes that are missing; if it is meant to be so, --accept-emptied TABLE accepts it once";

fn unexplained(last: &Earlier, now_rows: u64, why: &str) -> String {
    format!("fell from {} rows to {now_rows}, and whether that is explained is not known: {why}", last.shard.rows)
}

/// Shards of the last complete snapshot that tonight's schema has not: what was dropped, in words, and what is missing, by name.
pub fn gone(source: &dyn Source, target: &Target<'_>) -> (Vec<String>, Vec<(String, String)>) {
    let (mut notes, mut missing) = (Vec::new(), Vec::new());
    let Some(last) = target.before.and_then(|before| before.complete()) else { return (notes, missing) };
    let ids: BTreeMap<&str, &str> = source.shards().iter().map(|s| (s.id.as_str(), s.name.as_str())).collect();
    let narrowed = source.narrowed();
    for (_, name) in last.shards.iter().filter(|(id, _)| !ids.contains_key(id.as_str())) {
        let of_another_center = narrowed.data_center.is_some() && narrowed.lacks(name);
        if narrowed.leaves_out(name) || of_another_center {
            continue;
        }
        let again = ids.values().any(|there| there == name);
        if source.lists_all() && !narrowed.lacks(name) {
            let what = if again { "was dropped and made again" } else { "was dropped" };
            notes.push(format!("table {name} {what} since snapshot {}", last.of.id));
            continue;
        }
        let what = match (narrowed.lacks(name), again) {
            (true, _) => "was captured of no node, and snapshot",
            (_, true) => {
                "has another id now, and whether it was dropped is not known without `system_schema`; snapshot"
            }
            _ => {
                "is not in the captured schema, and whether it was dropped is not known without `system_schema`; snapshot"
            }
        };
        missing.push((name.clone(), format!("{what} {} holds it: {HINT}", last.of.id)));
    }
    (notes, missing)
}

/// Reads tonight's run again, and what the last snapshot holds beside it.
fn count(attempt: &Attempt<'_>, without: &Without, last: &Shard, chunks: &dyn ChunkSource) -> Result<Live> {
    let tonight = Arc::new(AtomicU64::new(0));
    let both = attempt.merged(without, &mut Nobody, |run| {
        let mut runs: Vec<Box<dyn Run + '_>> =
            vec![Box::new(Counted { run, cut: attempt.common.cut, live: Arc::clone(&tonight) })];
        let everything = (Vec::new(), None);
        runs.push(stack(&last.roots()?, chunks, attempt.rule(), Some(attempt.common.cut), everything));
        let owned = runs.iter().map(|_| Owned::All).collect();
        let mut nobody = Nobody;
        let mut merge = Merge::across(runs, attempt.rule(), attempt.common.cut, Across::new(owned, 0, &mut nobody));
        let (mut batch, mut both) = (RecordBatch::new(), 0);
        while merge.next_batch(&mut batch)? {
            attempt.common.watch.check()?;
            both += live(&batch, attempt.common.cut)?;
        }
        Ok(both)
    })?;
    Ok(Live { tonight: tonight.load(Ordering::Relaxed), both })
}

/// How many rows of a batch hold a value at the cut.
fn live(batch: &RecordBatch, cut: u32) -> Result<u64> {
    let mut count = 0;
    for record in batch.iter().filter(|r| matches!(r.class, Class::Row | Class::Static)) {
        for entry in Entries::new(record.body) {
            let entry = entry?;
            if entry.kind == EntryKind::Cell && !(entry.expires() && entry.ldt <= cut) {
                count += 1;
                break;
            }
        }
    }
    Ok(count)
}

/// Counts the live rows that pass.
struct Counted<'a> {
    run: Merge<'a>,
    cut: u32,
    live: Arc<AtomicU64>,
}

impl Run for Counted<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        let more = self.run.next_batch(out)?;
        self.live.fetch_add(live(out, self.cut)?, Ordering::Relaxed);
        Ok(more)
    }
}

/// Takes no note of how nodes differ.
struct Nobody;

impl Witness for Nobody {
    fn same(&mut self, _: usize) -> Result<()> {
        Ok(())
    }

    fn differs(&mut self, _: &Record<'_>, _: &[Held<'_>]) -> Result<()> {
        Ok(())
    }

    fn alone(&mut self, _: usize, _: &Record<'_>, _: bool) -> Result<()> {
        Ok(())
    }
}
