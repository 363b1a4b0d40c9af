//! What of a table is meant, and the runs that hold it.

use crate::engine::cassandra::rows::Show;
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::source::{self, ClusterDescription};
use crate::error::{Error, Kind, Result};
use crate::merge::{Merge, Owned, Rule};
use crate::run::{ChunkSource, Run};
use crate::snapshot::{Shard, Snapshot};
use crate::tree::{NodeView, TreeRun};

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

/// The table as it was captured.
pub fn table(shard: &Shard) -> Result<Table> {
    described(&shard.description, &shard.name)
}

fn described<T: serde::de::DeserializeOwned>(value: &serde_json::Value, subject: &str) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::damaged(format!("snapshot: {subject}"), e))
}

/// The reconciled view: the base under its layers.
pub(super) fn view<'a>(
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

/// One node's own view, where the backup kept it.
pub(super) fn node_view<'a>(
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
