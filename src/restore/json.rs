//! Rows as JSON, the way the database prints them.

use std::io::Write;

use super::select::{self, Selection};
use crate::engine::cassandra::filter::Filter;
use crate::engine::cassandra::rows::{Layout, Rows};
use crate::engine::cassandra::source::CassandraRule;
use crate::error::{Error, Result};
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{Shard, Snapshot};
use crate::watch::Watch;

/// Writes a table's rows to `out`, one JSON object a line; gives their number.
pub fn json(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'_>,
    chunks: &dyn ChunkSource,
    out: &mut dyn Write,
    watch: &Watch,
) -> Result<u64> {
    let table = select::table(shard)?;
    let layout = Layout::of(&table)?;
    let filter = selection.condition.map(|text| Filter::parse(text, &table, &layout)).transpose()?;
    let mut rows = Rows::new(layout, s.cut, selection.show, filter.as_ref().map(Filter::predicate));
    let rule = CassandraRule { counter: table.counter };
    let mut runs: Vec<Box<dyn Run + '_>> = Vec::new();
    match (selection.node, &filter) {
        (Some(node), _) => runs.push(select::node_view(s, shard, &table, node, chunks)?),
        (None, None) => runs.push(select::view(shard, None, &rule, chunks)?),
        (None, Some(filter)) => {
            for range in filter.ranges() {
                runs.push(select::view(shard, Some(range.clone()), &rule, chunks)?);
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
