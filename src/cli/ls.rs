//! `onefold ls`: a snapshot's tables and kept files.

use serde_json::json;

use super::access;
use super::args::{Global, Ls};
use super::output::bytes;
use super::show::load;
use super::{Outcome, Output};
use crate::engine::{Engine, engine};
use crate::error::Result;
use crate::restore::kept_files;
use crate::snapshot::{File, Shard, Snapshot};

/// Lists what is asked for, and what it comes to.
pub fn run(global: &Global, args: &Ls, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (_, s) = load(&repo, &args.which.snapshot, &args.which.filter, output)?;
    let node = args.node.as_deref().map(|name| s.node(name)).transpose()?;
    let of_node = |t: &&Shard| node.is_none_or(|n| t.nodes.get(n).is_some_and(|part| part.captured));
    let fitting = s.fitting(args.keyspace.as_deref(), args.table.as_deref())?;
    let shards: Vec<&Shard> = fitting.iter().copied().filter(of_node).collect();
    let narrowed = args.keyspace.is_some() || args.table.is_some();
    let files: Vec<&File> = if narrowed {
        let engine = engine(engines, &s.engine)?;
        let fits = |f: &&File| {
            engine.kept_of(&f.name).is_some_and(|of| fitting.iter().any(|t| of.id == t.id && of.shard == t.name))
        };
        kept_files(&s, node).filter(fits).collect()
    } else {
        kept_files(&s, node).collect()
    };
    let shards = if args.files { Vec::new() } else { shards };
    shards.iter().try_for_each(|t| table(&s, t, output))?;
    for f in &files {
        let node = s.nodes.get(f.node).map_or("?", |n| n.name.as_str());
        if output.is_json() {
            output.object(&json!({
                "message_type": "file", "node": node, "name": f.name, "length": f.length, "reason": f.reason,
            }))?;
        } else {
            output.line(&format!("file   {node}  {}  {}  {}", f.name, bytes(f.length), f.reason))?;
        }
    }
    total(args, &shards, &files, output)?;
    Ok(Outcome::Fine)
}

/// Nodes by whether they captured a table.
fn nodes<'s>(s: &'s Snapshot, t: &Shard, captured: bool) -> Vec<&'s str> {
    let of = s.nodes.iter().zip(&t.nodes).filter(|(_, part)| part.captured == captured);
    of.map(|(node, _)| node.name.as_str()).collect()
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

fn total(args: &Ls, shards: &[&Shard], files: &[&File], output: &Output) -> Result<()> {
    let captured = |t: &&&Shard| t.nodes.iter().any(|part| part.captured);
    let (rows, read): (u64, u64) = (shards.iter().map(|t| t.rows).sum(), shards.iter().map(|t| t.bytes_read).sum());
    let not_captured = shards.len() - shards.iter().filter(captured).count();
    let empty = shards.iter().filter(captured).filter(|t| t.rows == 0).count();
    let kept: u64 = files.iter().map(|f| f.length).sum();
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "tables": shards.len(), "empty": empty, "not_captured": not_captured, "rows": rows,
            "bytes_read": read, "files": files.len(), "file_bytes": kept,
        }));
    }
    let (tables, files, kept, read) = (shards.len(), files.len(), bytes(kept), bytes(read));
    if !args.files {
        output.line(&format!(
            "total  {tables} tables, {empty} of them empty, {not_captured} not captured, {rows} rows, {read} read"
        ))?;
    }
    output.line(&format!("total  {files} files, {kept}"))
}
