//! Rows as text: JSON the way the database prints them, CSV the way `COPY FROM` of cqlsh reads them.

mod all;

use std::io::Write;

use super::select::{self, Selection};
use super::tables::unwritable;
use crate::engine::cassandra::rows::{Layout, Rows, Show};
use crate::engine::cassandra::source::CassandraRule;
use crate::engine::cassandra::types::quote_name;
use crate::error::{Error, Result};
use crate::run::{ChunkSource, RecordBatch};
use crate::snapshot::{Shard, Snapshot};

pub use all::{Report, Request, all};

/// Writes a table's rows to `out`: JSON one object a line, CSV under a line with the names of the columns. Gives their number.
///
/// Errors: what reading gives; `Unsupported` by key and column where a value cannot be written in that form.
pub fn rows(
    s: &Snapshot,
    shard: &Shard,
    selection: &Selection<'_>,
    show: Show,
    chunks: &dyn ChunkSource,
    out: &mut dyn Write,
) -> Result<u64> {
    let table = select::table(shard)?;
    let layout = Layout::of(&table).map_err(unwritable)?;
    let rule = CassandraRule::of(&table);
    let (mut run, predicate) = select::rows(s, shard, selection, &layout, &rule, chunks)?;
    let mut rows = Rows::new(layout, s.cut.seconds, show, predicate);
    let mut write = |text: &mut String| {
        let written = out.write_all(text.as_bytes()).map_err(|e| Error::io("output", e));
        text.clear();
        written
    };
    let mut text = String::new();
    rows.header(&mut text);
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        batch.iter().try_for_each(|r| rows.push(&r, &mut text)).map_err(unwritable)?;
        write(&mut text)?;
    }
    rows.finish(&mut text).map_err(unwritable)?;
    write(&mut text)?;
    Ok(rows.count())
}

/// What brings a file of CSV that [`rows`] wrote back: a command for cqlsh. Column by column, as cqlsh has an order of its own.
pub fn copy_from(shard: &Shard, file: &str) -> Result<String> {
    let table = select::table(shard)?;
    let layout = Layout::of(&table)?;
    let columns: Vec<String> = layout.columns().map(|(c, _)| quote_name(&c.name)).collect();
    let name = format!("{}.{}", quote_name(&table.keyspace), quote_name(&table.name));
    let file = file.replace('\'', "''");
    Ok(format!("COPY {name} ({}) FROM '{file}' WITH HEADER = true AND ESCAPE = '\"'", columns.join(", ")))
}
