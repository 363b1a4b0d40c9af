//! Rows as JSON, the way the database prints them.

use std::io::Write;

use super::select::{self, Selection};
use crate::engine::cassandra::rows::{Layout, Rows, Show};
use crate::engine::cassandra::source::CassandraRule;
use crate::error::{Error, Result};
use crate::run::{ChunkSource, RecordBatch};
use crate::snapshot::{Shard, Snapshot};

/// Writes a table's rows to `out`, one JSON object a line; gives their number.
pub fn json(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'_>,
    show: Show,
    chunks: &dyn ChunkSource,
    out: &mut dyn Write,
) -> Result<u64> {
    let table = select::table(shard)?;
    let layout = Layout::of(&table)?;
    let rule = CassandraRule { counter: table.counter };
    let (mut run, predicate) = select::rows(s, shard, selection, &layout, &rule, chunks)?;
    let mut rows = Rows::new(layout, s.cut, show, predicate);
    let (mut text, mut count) = (String::new(), 0);
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        batch.iter().try_for_each(|r| rows.push(&r, &mut text))?;
        count += written(&mut text, out)?;
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
