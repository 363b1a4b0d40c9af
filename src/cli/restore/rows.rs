//! `restore --to json` and `--to csv`: rows as the cluster or cqlsh would print them.

use std::fs;
use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;

use serde_json::json;

use super::Context;
use crate::cli::Outcome;
use crate::cli::args::Form;
use crate::cli::output::of_pipe;
use crate::engine::cassandra::rows::{self, Show};
use crate::error::{Error, Result};
use crate::repo::Repo;
use crate::restore::whole::{unused, write_whole};
use crate::restore::{self, Selection};
use crate::snapshot::Shard;

/// Writes rows.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { repo, snapshot: s, args, watch, output, .. } = context;
    let selection = Selection {
        condition: args.condition.as_deref(),
        node: args.node.as_deref().map(|n| s.node(n)).transpose()?,
        watch: Some(watch),
    };
    let (form, extension) = match args.form {
        Form::Csv => (rows::Form::Csv, "csv"),
        _ => (rows::Form::Json, "jsonl"),
    };
    let show = Show { form, write_times: args.rows.writetime, ttls: args.rows.ttl };
    let shards: Vec<&Shard> = match &args.table {
        Some(name) => vec![s.shard(name)?],
        None => s.shards.iter().collect(),
    };
    watch.bytes_total.store(shards.iter().map(|t| t.bytes_read).sum(), Ordering::Relaxed);
    if args.dry_run {
        for t in &shards {
            if output.is_json() {
                output.object(&json!({ "message_type": "table", "name": t.name, "rows": t.rows, "dry_run": true }))?;
            } else {
                output.line(&format!("{}: {} rows in the table", t.name, t.rows))?;
            }
        }
        return Ok(Outcome::Fine);
    }
    let reader = repo.reader()?;
    let mut count = 0;
    let mut write = |t: &Shard, to: &mut dyn Write| -> Result<()> {
        count += restore::rows(s, t, &selection, show, &reader, to)?;
        to.flush().map_err(|e| Error::io("output", e))
    };
    match &args.out {
        None => {
            let mut to = BufWriter::with_capacity(1 << 16, output.pipe());
            shards.iter().try_for_each(|t| write(t, &mut to)).map_err(of_pipe)?;
        }
        Some(path) if args.table.is_some() => write_whole(path, |to| write(shards[0], to))?,
        Some(folder) => {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder.display(), e))?;
            let path = |t: &Shard| folder.join(format!("{}.{extension}", t.name));
            shards.iter().try_for_each(|t| unused(&path(t)))?;
            shards.iter().try_for_each(|t| write_whole(&path(t), |to| write(t, to)))?;
        }
    }
    match (&args.out, output.is_json()) {
        // Rows are on standard output: what is said of them goes beside.
        (None, true) => output.error_line(&summary(count, repo)),
        (Some(_), true) => output.object(&summary(count, repo))?,
        (Some(out), false) => {
            output.line(&format!("{count} rows written"))?;
            if form == rows::Form::Csv && args.table.is_some() {
                output
                    .line(&format!("back in cqlsh: {}", restore::copy_from(shards[0], &out.display().to_string())?))?;
            }
        }
        (None, false) => {}
    }
    Ok(Outcome::Fine)
}

/// How many rows, and what was asked of the store for them since the program started.
fn summary(rows: u64, repo: &Repo) -> serde_json::Value {
    json!({ "message_type": "summary", "rows": rows, "requests": repo.requests() })
}
