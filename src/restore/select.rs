//! What of a table is meant, and the runs that hold it.

use crate::engine::cassandra::filter::{Filter, KeyRange, Reads};
use crate::engine::cassandra::rows::{Layout, Predicate};
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::source::ClusterDescription;
use crate::error::{Error, Kind, Result};
use crate::merge::{Merge, Rule};
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{Shard, Snapshot};
use crate::tree::{NodeView, Root, TreeRun};
use crate::view::proved;
use crate::watch::Watch;

/// What of a table.
#[derive(Clone, Copy, Default)]
pub struct Selection<'a> {
    /// Conditions as in CQL; without, everything.
    pub condition: Option<&'a str>,
    /// A node's own view in place of the reconciled one.
    pub node: Option<usize>,
    /// With what only nodes held that do not own it.
    pub unowned: bool,
    /// Told how far reading is, in bytes of the files that were captured of the table; asked whether to go on.
    pub watch: Option<&'a Watch>,
}

impl Selection<'_> {
    /// Whether what a condition names is looked up; otherwise whole partitions are read.
    fn is_looked_up(&self) -> bool {
        self.node.is_none() && !self.unowned
    }
}

/// The table as it was captured.
pub fn table(shard: &Shard) -> Result<Table> {
    Table::read(&shard.description, &shard.name)
}

/// All records that a selection names, ascending: rows with their tombstones, static rows, deletions of partitions and
/// ranges.
///
/// - Conditions on the partition key alone, `token(…)` among them: partitions with all that is in them.
/// - Conditions on a prefix of the clustering, with a range behind it: the rows of these slices, and every deletion as far
///   as it reaches into them: that of the partition becomes one of the slice, those of ranges are cut at its ends.
///   Static rows are left out: they belong to the rows outside as well, and a restored slice touches nothing but itself.
/// - Conditions on anything else: the rows that satisfy them at the snapshot's cut, and none of the deletions around
///   them. A static row is tested as a row that has nothing but the partition key and static columns.
///
/// The whole partition key given by `=` or `IN` is looked up in the tree, as are slices within it; `token(…)` reads its
/// range, anything else the whole table. Without conditions, and of no node's view, the run fails at its end unless it was what
/// the backup merged ([`proved`]). Errors: conditions that the table does not allow, a node's view that was not
/// kept; what reading the tree gives.
pub fn records<'a>(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'a>,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Result<Box<dyn Run + 'a>> {
    let Some(text) = selection.condition else { return opened(s, shard, selection, None, rule, chunks) };
    let table = table(shard)?;
    let layout = Layout::of(&table)?;
    let filter = Filter::parse(text, &table, &layout)?;
    filter.names_records()?;
    let run = opened(s, shard, selection, Some((&filter, false)), rule, chunks)?;
    Ok(filter.records(run, selection.is_looked_up(), &layout, s.cut.seconds))
}

/// Records that rows can be made of, with static columns, and what tells the rows that are meant: for reading, where
/// [`records`] is for writing.
pub(super) fn rows<'a>(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'a>,
    layout: &Layout,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Result<(Box<dyn Run + 'a>, Option<Predicate<'static>>)> {
    let Some(text) = selection.condition else { return Ok((opened(s, shard, selection, None, rule, chunks)?, None)) };
    let filter = Filter::parse(text, &table(shard)?, layout)?;
    let run = opened(s, shard, selection, Some((&filter, true)), rule, chunks)?;
    Ok((filter.rows(run, selection.is_looked_up()), Some(filter.predicate())))
}

/// What is to be read for a filter (with static rows or not), watched.
fn opened<'a>(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'a>,
    filter: Option<(&Filter, bool)>,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Result<Box<dyn Run + 'a>> {
    let roots: Vec<Root> = shard.layers.iter().map(|tree| tree.root()).collect::<Result<_>>()?;
    let records = roots.iter().map(|root| root.records).sum();
    let run: Box<dyn Run + 'a> = match (selection.node, filter) {
        (Some(node), None) => Box::new(node_view(s, shard, node, chunks)?),
        (Some(node), Some((filter, _))) => Within::of(Box::new(node_view(s, shard, node, chunks)?), filter),
        (None, None) if selection.unowned => with_unowned(s, shard, rule, chunks)?,
        (None, Some((filter, _))) if selection.unowned => Within::of(with_unowned(s, shard, rule, chunks)?, filter),
        (None, None) => proved(view(&roots, (Vec::new(), Vec::new()), rule, chunks), shard, chunks),
        (None, Some((filter, statics))) => {
            Box::new(Chain { roots, rule, chunks, reads: filter.reads(statics), current: None })
        }
    };
    Ok(match selection.watch {
        Some(watch) => Box::new(Watched { run, watch, records, bytes: shard.bytes_read, read: 0, told: 0 }),
        None => run,
    })
}

/// The reconciled view in a range of keys: the base under its layers.
fn view<'a>(
    roots: &[Root],
    (from, to): KeyRange,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Box<dyn Run + 'a> {
    let to = Some(to).filter(|to| !to.is_empty());
    let layer = |root: &Root| TreeRun::range(Some(*root), chunks, from.clone(), to.clone());
    match roots {
        [only] => Box::new(layer(only)),
        all => Box::new(Merge::of(all.iter().map(|root| Box::new(layer(root)) as Box<dyn Run + 'a>).collect(), rule)),
    }
}

/// One node's own view, where the backup kept it.
fn node_view<'a>(s: &Snapshot, shard: &Shard, node: usize, chunks: &'a dyn ChunkSource) -> Result<NodeView<'a>> {
    if !s.node_views {
        return Err(Error::new(Kind::Usage, "snapshot", "does not hold the nodes' own views")
            .hint("back up with --keep-node-views"));
    }
    let [base] = shard.layers.as_slice() else {
        return Err(Error::new(Kind::Unsupported, &shard.name, "has layers: a node's view needs a base alone"));
    };
    let table = table(shard)?;
    let owned = ClusterDescription::read(&s.description)?.owned(node, &table.keyspace);
    let missing = || Error::damaged("snapshot", format!("says nothing of node {node}"));
    let patch = shard.nodes.get(node).ok_or_else(missing)?.patch()?;
    Ok(NodeView::new(Some(base.root()?), &patch, owned, chunks))
}

/// The reconciled view, and what nodes held outside their ranges, merged by the rule.
fn with_unowned<'a>(
    s: &Snapshot,
    shard: &Shard,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Result<Box<dyn Run + 'a>> {
    let base = match shard.layers.as_slice() {
        [] => None,
        [base] => Some(base.root()?),
        _ => return Err(Error::new(Kind::Unsupported, &shard.name, "has layers: what nodes held needs a base alone")),
    };
    let (table, cluster) = (table(shard)?, ClusterDescription::read(&s.description)?);
    let mut others: Vec<Box<dyn Run + 'a>> = Vec::new();
    for (node, part) in shard.nodes.iter().enumerate().filter(|(_, part)| part.held.is_some()) {
        others.push(Box::new(NodeView::outside(base, &part.patch()?, cluster.owned(node, &table.keyspace), chunks)));
    }
    Ok(Box::new(Merge::with_unowned(Box::new(TreeRun::new(base, chunks)), others, rule)))
}

/// One look-up after the other.
struct Chain<'a> {
    roots: Vec<Root>,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
    reads: Reads,
    current: Option<Box<dyn Run + 'a>>,
}

impl Run for Chain<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        loop {
            if let Some(run) = &mut self.current
                && run.next_batch(out)?
            {
                return Ok(true);
            }
            let Some(range) = self.reads.next() else { return Ok(false) };
            self.current = Some(view(&self.roots, range, self.rule, self.chunks));
        }
    }
}

/// What of a run lies in ascending ranges.
struct Within<'a> {
    run: Box<dyn Run + 'a>,
    batch: RecordBatch,
    range: Option<KeyRange>,
    ranges: Reads,
}

impl<'a> Within<'a> {
    /// The partitions that a filter names.
    fn of(run: Box<dyn Run + 'a>, filter: &Filter) -> Box<dyn Run + 'a> {
        Box::new(Within { run, batch: RecordBatch::new(), range: None, ranges: filter.partitions() })
    }
}

impl Run for Within<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            if !self.run.next_batch(&mut self.batch)? {
                return Ok(false);
            }
            for record in self.batch.iter() {
                while self.range.as_ref().is_none_or(|(_, to)| !to.is_empty() && record.key >= &to[..]) {
                    self.range = self.ranges.next();
                    if self.range.is_none() {
                        return Ok(!out.is_empty());
                    }
                }
                if self.range.as_ref().is_some_and(|(from, _)| record.key >= &from[..]) {
                    out.push(&record);
                }
            }
        }
        Ok(true)
    }
}

/// Tells how far a run is, and ends when asked to.
struct Watched<'a> {
    run: Box<dyn Run + 'a>,
    watch: &'a Watch,
    /// In all: of the table, whatever is read of it.
    records: u64,
    bytes: u64,
    /// So far.
    read: u64,
    told: u64,
}

impl Run for Watched<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        self.watch.check()?;
        let more = self.run.next_batch(out)?;
        self.read += out.len() as u64;
        let part = self.read.min(self.records) as f64 / self.records.max(1) as f64;
        let now = if more { (self.bytes as f64 * part) as u64 } else { self.bytes };
        self.watch.advance(now.saturating_sub(self.told));
        self.told = self.told.max(now);
        Ok(more)
    }
}
