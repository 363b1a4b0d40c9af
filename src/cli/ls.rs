//! `onefold ls`: a snapshot's tables and kept files.

use serde_json::json;

use super::access;
use super::args::{Global, Ls};
use super::output::bytes;
use super::show::{load, split};
use super::{Outcome, Output};
use crate::browse;
use crate::engine::{Column, Engine, Row, RowSink, engine};
use crate::error::{Error, Kind, Result};
use crate::repo::Reader;
use crate::restore::tree::trees;
use crate::snapshot::{File, Shard, Snapshot};
use crate::view::View;

/// Lists what is asked for, and what it comes to.
pub fn run(global: &Global, args: &Ls, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (name, path) = split(&args.which.snapshot);
    let (_, s) = load(&repo, name, &args.which.filter, output)?;
    if let Some(path) = path {
        let reader = repo.reader()?;
        let view = tree(engine(engines, &s.engine)?, &s, &reader)?;
        browse::list(&view, path, args.recursive, &mut Lines { output, columns: Vec::new() })?;
        access::notes(&repo, output);
        return Ok(Outcome::Fine);
    }
    let node = args.node.as_deref().map(|name| s.node(name)).transpose()?;
    let of_node = |t: &&Shard| node.is_none_or(|n| !t.not_captured.contains(&n));
    let fitting = s.fitting(args.outer.as_deref(), args.table.as_deref())?;
    let shards: Vec<&Shard> = fitting.iter().copied().filter(of_node).collect();
    let narrowed = args.outer.is_some() || args.table.is_some();
    let narrowed = narrowed.then(|| engine(engines, &s.engine)).transpose()?;
    let shards = if args.files { Vec::new() } else { shards };
    shards.iter().try_for_each(|t| table(&s, t, output))?;
    let (reader, mut files) = (repo.reader()?, (0, 0));
    for f in s.files(node, &reader)? {
        let File { name, content, about, node } = f?;
        let of = |engine: &dyn Engine| engine.kept_of(&name);
        if narrowed.is_some_and(|e| of(e).is_none_or(|of| !fitting.iter().any(|t| of.id == t.id && of.shard == t.name)))
        {
            continue;
        }
        files = (files.0 + 1, files.1 + content.length);
        let node = s.nodes.get(node).map_or("?", |n| n.name.as_str());
        if output.is_json() {
            output.object(&json!({
                "message_type": "file", "node": node, "name": name, "length": content.length, "reason": about.reason,
            }))?;
        } else {
            output.line(&format!("file   {node}  {name}  {}  {}", bytes(content.length), about.reason))?;
        }
    }
    total(&s, args, &shards, files, output)?;
    access::notes(&repo, output);
    Ok(Outcome::Fine)
}

/// The file tree of a snapshot.
///
/// Errors: `Usage` where it has none.
pub fn tree<'a>(engine: &dyn Engine, s: &'a Snapshot, reader: &'a Reader) -> Result<View<'a>> {
    let tree = trees(s).next().ok_or_else(|| {
        Error::new(Kind::Usage, "path", "belongs to file trees, and the snapshot has none")
            .hint("leave it out, or name a snapshot of files")
    })?;
    View::open(engine, s, tree, reader)
}

/// Prints what lies in a folder, one line each.
struct Lines<'a> {
    output: &'a Output,
    columns: Vec<Column>,
}

/// What a line says, and how wide, the path behind it.
const SHOWN: [(&str, usize); 5] = [("mode", 4), ("user", 8), ("group", 8), ("size", 12), ("modified", 30)];

impl Lines<'_> {
    fn value(&self, row: &dyn Row, name: &str) -> Result<String> {
        let mut text = String::new();
        if let Some(place) = self.columns.iter().position(|column| column.name == name) {
            row.text(place, &mut text)?;
        }
        Ok(text)
    }
}

impl RowSink for Lines<'_> {
    fn begin(&mut self, columns: &[Column]) -> Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn row(&mut self, row: &dyn Row) -> Result<()> {
        if self.output.is_json() {
            let mut line = String::from("{\"message_type\":\"file\"");
            for (place, column) in self.columns.iter().enumerate() {
                let mut value = String::new();
                if row.json(place, &mut value)? {
                    line.push_str(&format!(",{}:{value}", column.json));
                }
            }
            return self.output.line(&(line + "}"));
        }
        let mut line = String::new();
        for (name, width) in SHOWN {
            let value = self.value(row, name)?;
            line.push_str(&format!("{:>width$}  ", if value.is_empty() { "-" } else { &value }));
        }
        line.push_str(&self.value(row, "path")?);
        let target = self.value(row, "target")?;
        if !target.is_empty() {
            line.push_str(&format!(" -> {target}"));
        }
        let lacks = self.value(row, "lacks")?;
        if !lacks.is_empty() {
            line.push_str(&format!("  ({lacks})"));
        }
        self.output.line(&line)
    }
}

/// Nodes by whether they captured a table.
fn nodes<'s>(s: &'s Snapshot, t: &Shard, captured: bool) -> Vec<&'s str> {
    let of = s.nodes.iter().enumerate().filter(|(i, _)| t.not_captured.contains(i) != captured);
    of.map(|(_, node)| node.name.as_str()).collect()
}

fn table(s: &Snapshot, t: &Shard, output: &Output) -> Result<()> {
    let (on, not_on) = (nodes(s, t, true), nodes(s, t, false));
    if output.is_json() {
        return output.object(&json!({
            "message_type": "table", "name": t.name, "id": t.id, "rows": t.rows, "bytes_read": t.bytes_read,
            "captured": !on.is_empty(), "captured_on": on,
        }));
    }
    // No rows that were captured are another thing than rows that were not.
    let what = match (on.len(), not_on.len()) {
        (0, _) => "not captured".to_owned(),
        (_, 0) => format!("{} rows  {} read", t.rows, bytes(t.bytes_read)),
        _ => format!("{} rows  {} read  not captured of {}", t.rows, bytes(t.bytes_read), not_on.join(", ")),
    };
    output.line(&format!("table  {}  {what}", t.name))
}

/// `files`: how many, and their bytes.
fn total(s: &Snapshot, args: &Ls, shards: &[&Shard], files: (u64, u64), output: &Output) -> Result<()> {
    let captured = |t: &&&Shard| t.not_captured.len() < s.nodes.len();
    let (rows, read): (u64, u64) = (shards.iter().map(|t| t.rows).sum(), shards.iter().map(|t| t.bytes_read).sum());
    let not_captured = shards.len() - shards.iter().filter(captured).count();
    let empty = shards.iter().filter(captured).filter(|t| t.rows == 0).count();
    let (files, kept) = files;
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "tables": shards.len(), "empty": empty, "not_captured": not_captured, "rows": rows,
            "bytes_read": read, "files": files, "file_bytes": kept,
        }));
    }
    let (tables, kept, read) = (shards.len(), bytes(kept), bytes(read));
    if !args.files {
        output.line(&format!(
            "total  {tables} tables, {empty} of them empty, {not_captured} not captured, {rows} rows, {read} read"
        ))?;
    }
    output.line(&format!("total  {files} files, {kept}"))
}
