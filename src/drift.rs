//! How nodes differ, in depth: samples with both sides, counts by range of keys, what a repair would have to move.
//!
//! Patches are read, and of the view the branches and those leaves that patches speak of; where it has layers, all of it.

use std::sync::atomic::Ordering;

use repo_format::record::Class;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Result;
use crate::merge::{Purge, State};
use crate::run::Record;
use crate::tree::{Difference, Drift, NodeSide, differences};
use crate::view::View;
use crate::watch::Watch;

/// How one node differs within a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The counts, as a backup makes them. Of rows that others know to be deleted only what the backup kept is known
    /// (`--keep-node-views`).
    pub drift: Drift,
    /// Of these, stale or a deletion, so many that may be no more than what the node has purged: what it holds was
    /// not kept.
    pub unsure: u64,
    /// Rows that a repair would have to bring to the node, at least: it moves whole ranges of keys.
    pub repair_rows: u64,
    /// Bytes of these rows and of the deletions that the node lacks, before any encoding.
    pub repair_bytes: u64,
}

/// A range of keys, both ends inclusive, and how each node differs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where it begins, as the database says it ([`crate::engine::Schema::place`]).
    pub first: Value,
    /// Where it ends.
    pub last: Value,
    /// By node.
    pub nodes: Vec<Counts>,
}

/// One record in which a node differs.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The node, by its place in the snapshot.
    pub node: usize,
    /// `missing`, `stale` or `extra`.
    pub what: &'static str,
    /// What kind of record.
    pub record: &'static str,
    /// Where its key lies, as the database says it ([`crate::engine::Schema::place`]).
    pub place: Value,
    /// Its key.
    pub key: Box<RawValue>,
    /// What the view holds; `None`: nothing.
    pub view: Option<Box<RawValue>>,
    /// What the node holds, where that is known and not what the view holds.
    pub held: Option<Box<RawValue>>,
    /// Write times of what the node holds and the view has not.
    pub other_times: Vec<i64>,
}

/// Counts what differs in each of `parts` equal parts of all keys.
pub fn ranges(view: &View<'_>, parts: u32, watch: &Watch) -> Result<Vec<Range>> {
    let parts = u128::from(parts.max(1));
    let begin = |i: u128| (i << 64) / parts;
    let schema = view.schema();
    let mut lasts: Vec<u64> = Vec::new();
    let mut ranges: Vec<Range> = Vec::new();
    for i in 0..parts {
        let (first, last) = (begin(i) as u64, (begin(i + 1) - 1) as u64);
        let nodes = vec![Counts::default(); view.snapshot().nodes.len()];
        ranges.push(Range { first: schema.place(first), last: schema.place(last), nodes });
        lasts.push(last);
    }
    survey(view, watch, &mut |d| {
        let Some(record) = d.view.or(d.held) else { return Ok(()) };
        let share = schema.share(record.key)?;
        let at = lasts.partition_point(|last| *last < share);
        if let Some(counts) = ranges.get_mut(at).and_then(|r| r.nodes.get_mut(d.node)) {
            counts.add(d, &record);
        }
        Ok(())
    })?;
    Ok(ranges)
}

impl Counts {
    fn add(&mut self, d: &Difference<'_>, record: &Record<'_>) {
        let row = is_row(record);
        if d.purged == Some(true) {
            self.drift.purged += 1;
            return;
        }
        match (row, d.state) {
            (false, _) => self.drift.deletions += 1,
            (true, State::Missing) => self.drift.missing += 1,
            (true, State::Extra) => self.drift.extra += 1,
            (true, _) => self.drift.stale += 1,
        }
        self.unsure += u64::from(d.purged.is_none());
        if let (Some(view), State::Missing | State::Stale) = (d.view, d.state) {
            self.repair_rows += u64::from(row);
            self.repair_bytes += (view.key.len() + view.body.len()) as u64;
        }
    }
}

fn is_row(record: &Record<'_>) -> bool {
    matches!(record.class, Class::Row | Class::Static)
}

/// At most `wanted` records in which nodes differ, evenly spaced among all of them in the order of keys. What only a purge
/// explains is not among them.
pub fn samples(view: &View<'_>, wanted: usize, watch: &Watch) -> Result<Vec<Sample>> {
    let mut found: Vec<Sample> = Vec::new();
    let (mut seen, mut stride) = (0u64, 1u64);
    survey(view, watch, &mut |d| {
        if d.purged == Some(true) || wanted == 0 {
            return Ok(());
        }
        if seen.is_multiple_of(stride) {
            if found.len() == 2 * wanted {
                // Every other one, and from now on twice as far apart.
                let mut at = 0;
                found.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                stride *= 2;
            }
            if seen.is_multiple_of(stride) {
                found.extend(sample(view, d)?);
            }
        }
        seen += 1;
        Ok(())
    })?;
    let count = found.len();
    let mut at = 0;
    found.retain(|_| {
        at += 1;
        count <= wanted || (at - 1) * wanted / count != at * wanted / count
    });
    Ok(found)
}

fn sample(view: &View<'_>, d: &Difference<'_>) -> Result<Option<Sample>> {
    let (schema, cut) = (view.schema(), view.snapshot().cut.seconds);
    let Some(record) = d.view.or(d.held) else { return Ok(None) };
    let shown = schema.show(&record, cut)?;
    let says = |record: Option<Record<'_>>| record.map(|r| schema.show(&r, cut).map(|shown| shown.says)).transpose();
    Ok(Some(Sample {
        node: d.node,
        what: match d.state {
            State::Missing => "missing",
            State::Extra => "extra",
            _ => "stale",
        },
        record: shown.kind,
        place: schema.place(schema.share(record.key)?),
        key: shown.key,
        view: says(d.view)?,
        held: says(d.held)?,
        other_times: d.others.iter().map(|o| o.time).collect(),
    }))
}

/// Shows every difference of every node.
fn survey(view: &View<'_>, watch: &Watch, each: &mut dyn FnMut(&Difference<'_>) -> Result<()>) -> Result<()> {
    let (s, shard, schema, chunks) = (view.snapshot(), view.shard(), view.schema(), view.chunks());
    let mut nodes = Vec::new();
    for (patch, owned) in s.patches(shard, chunks)?.iter().zip(schema.owned(&s.description, s.nodes.len())?) {
        nodes.push(NodeSide::new(patch, owned, chunks));
    }
    // What a node may have purged by the first capture, as the backup reckoned.
    let purge = Purge::new(schema.rule(), u32::try_from(s.window.0).unwrap_or(u32::MAX));
    watch.bytes_total.store(shard.bytes_read, Ordering::Relaxed);
    differences(view.leaves()?, &mut nodes, purge, &mut |d| {
        watch.check()?;
        if let Some(record) = d.view.or(d.held) {
            // How far along the keys: what lies between is not read.
            let part = schema.share(record.key)? as f64 / 2f64.powi(64);
            watch.bytes_done.store((shard.bytes_read as f64 * part) as u64, Ordering::Relaxed);
        }
        each(d)
    })
}
