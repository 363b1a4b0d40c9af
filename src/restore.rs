//! A snapshot out again: files as they were, rows as JSON.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Component, Path};

use crate::blob;
use crate::engine::cassandra::filter::Filter;
use crate::engine::cassandra::rows::{Layout, Rows, Show};
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::source::{self, CassandraRule, ClusterDescription};
use crate::error::{Error, Kind, Result};
use crate::merge::{Merge, Owned, Rule};
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{self, Shard, Snapshot};
use crate::tree::{NodeView, TreeRun};
use crate::watch::Watch;

/// Which rows of a table, and what of them.
#[derive(Debug, Clone, Default)]
pub struct Selection<'a> {
    /// Conditions as in CQL.
    pub condition: Option<&'a str>,
    /// Write times and seconds left.
    pub show: Show,
    /// A node's own view in place of the reconciled one.
    pub node: Option<usize>,
}

/// Writes a table's rows to `out`, one JSON object a line; gives their number.
pub fn json(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'_>,
    chunks: &dyn ChunkSource,
    out: &mut dyn Write,
    watch: &Watch,
) -> Result<u64> {
    let table: Table = described(&shard.description, &shard.name)?;
    let layout = Layout::of(&table)?;
    let filter = selection.condition.map(|text| Filter::parse(text, &table, &layout)).transpose()?;
    let mut rows = Rows::new(layout, s.cut, selection.show, filter.as_ref().map(Filter::predicate));
    let rule = CassandraRule { counter: table.counter };
    let mut runs: Vec<Box<dyn Run + '_>> = Vec::new();
    match (selection.node, &filter) {
        (Some(node), _) => runs.push(node_view(s, shard, &table, node, chunks)?),
        (None, None) => runs.push(view(shard, None, &rule, chunks)?),
        (None, Some(filter)) => {
            for range in filter.ranges() {
                runs.push(view(shard, Some(range.clone()), &rule, chunks)?);
            }
        }
    }
    let (mut text, mut count) = (String::new(), 0);
    let mut batch = RecordBatch::new();
    for run in &mut runs {
        while run.next_batch(&mut batch)? {
            watch.check()?;
            batch.iter().try_for_each(|r| rows.push(&r, &mut text))?;
            count += written(&mut text, out)?;
        }
    }
    rows.finish(&mut text)?;
    Ok(count + written(&mut text, out)?)
}

fn written(text: &mut String, out: &mut dyn Write) -> Result<u64> {
    out.write_all(text.as_bytes()).map_err(|e| Error::io("output", e))?;
    let lines = text.bytes().filter(|b| *b == b'\n').count() as u64;
    text.clear();
    Ok(lines)
}

fn described<T: serde::de::DeserializeOwned>(value: &serde_json::Value, subject: &str) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::damaged(format!("snapshot: {subject}"), e))
}

/// The reconciled view: the base under its layers.
fn view<'a>(
    shard: &Shard,
    range: Option<(Vec<u8>, Vec<u8>)>,
    rule: &'a dyn Rule,
    chunks: &'a dyn ChunkSource,
) -> Result<Box<dyn Run + 'a>> {
    let mut layers: Vec<Box<dyn Run + 'a>> = Vec::new();
    for tree in &shard.layers {
        let (from, to) = range.clone().map_or((Vec::new(), None), |(from, to)| (from, Some(to)));
        layers.push(Box::new(TreeRun::range(Some(tree.root()?), chunks, from, to)));
    }
    if layers.len() == 1 {
        return Ok(layers.remove(0));
    }
    Ok(Box::new(Merge::of(layers, rule)))
}

fn node_view<'a>(
    s: &Snapshot,
    shard: &Shard,
    table: &Table,
    node: usize,
    chunks: &'a dyn ChunkSource,
) -> Result<Box<dyn Run + 'a>> {
    if !s.node_views {
        return Err(Error::new(Kind::Usage, "snapshot", "does not hold the nodes' own views")
            .hint("back up with --keep-node-views"));
    }
    let [base] = shard.layers.as_slice() else {
        return Err(Error::new(Kind::Unsupported, &shard.name, "has layers: a node's view needs a base alone"));
    };
    let cluster: ClusterDescription = described(&s.description, "cluster")?;
    let ranges = cluster.owned.get(&table.keyspace).and_then(|nodes| nodes.get(node));
    let owned = ranges.map_or(Owned::All, |ranges| source::owned(ranges.as_deref()));
    let missing = || Error::damaged("snapshot", format!("says nothing of node {node}"));
    let patch = shard.nodes.get(node).ok_or_else(missing)?.patch()?;
    Ok(Box::new(NodeView::new(Some(base.root()?), &patch, owned, chunks)))
}

/// The files kept of one node, or of all.
pub fn kept_files(s: &Snapshot, node: Option<usize>) -> impl Iterator<Item = &snapshot::File> {
    s.files.iter().filter(move |f| node.is_none_or(|n| n == f.node))
}

/// Writes kept files below `out`, each in a folder of its node's name. Nothing that is there is overwritten.
pub fn files(s: &Snapshot, node: Option<usize>, chunks: &dyn ChunkSource, out: &Path, watch: &Watch) -> Result<u64> {
    let mut count = 0;
    for file in kept_files(s, node) {
        watch.check()?;
        let of = s.nodes.get(file.node).map_or("unknown", |n| n.name.as_str());
        let path = out.join(safe(of)?).join(safe(&file.name)?);
        let failed = |e| Error::io(path.display(), e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let created = File::create_new(&path).map_err(|e| failed(e).hint("restore into an empty folder"))?;
        let mut to = BufWriter::new(created);
        blob::read(&file.blob()?, chunks, &mut to, &path.display().to_string())?;
        to.flush().map_err(failed)?;
        to.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
        watch.advance(file.length);
        count += 1;
    }
    Ok(count)
}

/// A path that stays below the folder it is joined to.
fn safe(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    if path.components().all(|c| matches!(c, Component::Normal(_))) && !name.is_empty() {
        return Ok(path);
    }
    Err(Error::new(Kind::Damaged, format!("file {name}"), "would lie outside the folder"))
}
