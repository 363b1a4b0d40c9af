//! How nodes differ, in depth: samples with both sides, counts by range of tokens, what a repair would have to move.
//!
//! Patches are read, and of the view the branches and those leaves that patches speak of.

use std::sync::atomic::Ordering;

use repo_format::record::Class;
use serde_json::value::RawValue;

use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::shown::Shown;
use crate::engine::cassandra::source::ClusterDescription;
use crate::error::{Error, Kind, Result};
use crate::merge::State;
use crate::run::{ChunkSource, Record};
use crate::snapshot::{Shard, Snapshot};
use crate::tree::{Difference, Drift, NodeSide, differences};
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
    /// Rows that a repair would have to bring to the node, at least: it moves whole ranges of partitions.
    pub repair_rows: u64,
    /// Bytes of these rows and of the deletions that the node lacks, before any encoding.
    pub repair_bytes: u64,
}

/// A range of tokens, both ends inclusive, and how each node differs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First token.
    pub first: i64,
    /// Last token.
    pub last: i64,
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
    /// Token of its partition.
    pub token: i64,
    /// The columns of its key.
    pub key: Box<RawValue>,
    /// What the view holds; `None`: nothing.
    pub view: Option<Box<RawValue>>,
    /// What the node holds, where that is known and not what the view holds.
    pub held: Option<Box<RawValue>>,
    /// Write times of what the node holds and the view has not.
    pub other_times: Vec<i64>,
}

/// Counts what differs in each of `parts` equal parts of all tokens.
pub fn ranges(s: &Snapshot, shard: &Shard, parts: u32, chunks: &dyn ChunkSource, watch: &Watch) -> Result<Vec<Range>> {
    let parts = i128::from(parts.max(1));
    let all = 1i128 << 64;
    let begin = |i: i128| (all * i / parts + i128::from(i64::MIN)) as i64;
    let mut ranges: Vec<Range> = (0..parts)
        .map(|i| Range {
            first: begin(i),
            last: if i + 1 == parts { i64::MAX } else { begin(i + 1) - 1 },
            nodes: vec![Counts::default(); s.nodes.len()],
        })
        .collect();
    survey(s, shard, chunks, watch, &mut |d| {
        let Some(record) = d.view.or(d.held) else { return Ok(()) };
        let token = Shown::token(&record)?;
        let at = ranges.partition_point(|r| r.last < token);
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

/// At most `wanted` records in which nodes differ, evenly spaced among all of them in the order of tokens. What only a purge
/// explains is not among them.
pub fn samples(
    s: &Snapshot,
    shard: &Shard,
    wanted: usize,
    chunks: &dyn ChunkSource,
    watch: &Watch,
) -> Result<Vec<Sample>> {
    let mut shown = Shown::new(Layout::of(&Table::read(&shard.description, &shard.name)?)?, s.cut);
    let mut found: Vec<Sample> = Vec::new();
    let (mut seen, mut stride) = (0u64, 1u64);
    survey(s, shard, chunks, watch, &mut |d| {
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
                found.extend(sample(&mut shown, d)?);
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

fn sample(shown: &mut Shown, d: &Difference<'_>) -> Result<Option<Sample>> {
    let Some(record) = d.view.or(d.held) else { return Ok(None) };
    Ok(Some(Sample {
        node: d.node,
        what: match d.state {
            State::Missing => "missing",
            State::Extra => "extra",
            _ => "stale",
        },
        record: Shown::kind(&record),
        token: Shown::token(&record)?,
        key: shown.key(&record)?,
        view: d.view.map(|r| shown.record(&r)).transpose()?,
        held: d.held.map(|r| shown.record(&r)).transpose()?,
        other_times: d.others.iter().map(|o| o.time).collect(),
    }))
}

/// Shows every difference of every node.
fn survey(
    s: &Snapshot,
    shard: &Shard,
    chunks: &dyn ChunkSource,
    watch: &Watch,
    each: &mut dyn FnMut(&Difference<'_>) -> Result<()>,
) -> Result<()> {
    if shard.layers.len() > 1 {
        return Err(Error::new(Kind::Unsupported, &shard.name, "has layers: drift is known of a base alone"));
    }
    let table = Table::read(&shard.description, &shard.name)?;
    let cluster = ClusterDescription::read(&s.description)?;
    let view = shard.layers.first().map(|tree| tree.root()).transpose()?;
    let mut nodes = Vec::new();
    for (i, part) in shard.nodes.iter().enumerate() {
        nodes.push(NodeSide::new(&part.patch()?, cluster.owned(i, &table.keyspace), chunks));
    }
    // What a node may have purged by the first capture, as the backup reckoned.
    let purge_before = u32::try_from(s.window.0.saturating_sub(u64::from(table.gc_grace))).unwrap_or(0);
    watch.bytes_total.store(shard.bytes_read, Ordering::Relaxed);
    differences(view, &mut nodes, purge_before, chunks, &mut |d| {
        watch.check()?;
        if let Some(record) = d.view.or(d.held) {
            // How far along the tokens: what lies between is not read.
            let part = (Shown::token(&record)? as f64 - i64::MIN as f64) / 2f64.powi(64);
            watch.bytes_done.store((shard.bytes_read as f64 * part) as u64, Ordering::Relaxed);
        }
        each(d)
    })
}
