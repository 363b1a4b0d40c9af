//! `restore --to json` and `--to csv`: rows as the database and its tools would print them.

use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;

use serde_json::json;

use super::{Context, passed_over};
use crate::cli::Outcome;
use crate::cli::output::of_pipe;
use crate::engine::Show;
use crate::engine::target::is_of_one_shard;
use crate::engine::text::TextForm;
use crate::error::{Error, Result};
use crate::restore::rows::{Report, Request, all};
use crate::restore::tables::of_table;
use crate::restore::{self, forms};
use crate::snapshot::Shard;
use crate::view::{Side, View};
use crate::whole::write_then;

/// Writes rows.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { reader, engine, info, snapshot: s, dry_run, watch, output, .. } = context;
    let params = context.params();
    let side = match params.text("node") {
        Some(name) => Side::Node(s.node(name)?),
        None if params.has("include-unowned") => Side::WithUnowned,
        None => Side::Reconciled,
    };
    let form = match context.form.of.form.name {
        forms::CSV => TextForm::Csv,
        _ => TextForm::Json,
    };
    let show = Show { write_times: params.has("writetime"), ttls: params.has("ttl") };
    let shards: Vec<&Shard> = match params.text("table") {
        Some(name) => vec![s.shard(name)?],
        None => s.shards.iter().collect(),
    };
    watch.bytes_total.store(shards.iter().map(|t| t.bytes_read).sum(), Ordering::Relaxed);
    if dry_run {
        for t in &shards {
            if output.is_json() {
                output.object(&json!({ "message_type": "table", "name": t.name, "rows": t.rows, "dry_run": true }))?;
            } else {
                output.line(&format!("{}: {} rows in the table", t.name, t.rows))?;
            }
        }
        return Ok(Outcome::Fine);
    }
    let of = shards.len();
    let write = |t: &Shard, to: &mut dyn Write| {
        let view = View::open(engine, s, t, reader)?.of(side).watched(watch);
        let selection = params.text("where").map(|text| view.select(text)).transpose()?;
        restore::rows(&view, selection.as_deref(), show, form, to)
    };
    let mut done = Report::default();
    match params.path("out") {
        None => {
            let mut to = BufWriter::with_capacity(1 << 16, output.pipe());
            for t in &shards {
                match write(t, &mut to) {
                    Ok(rows) => done.rows += rows,
                    Err(e) if of > 1 && is_of_one_shard(&e) => done.refused.push(of_table(t, e)),
                    Err(e) => return Err(of_pipe(of_table(t, e))),
                }
            }
            to.flush().map_err(|e| of_pipe(Error::io("output", e)))?;
        }
        Some(path) if params.has("table") => {
            let table = |t: &Shard| write_then(path, |to| write(t, to).map_err(|e| of_table(t, e)), |_| Ok(()));
            done.rows = shards.iter().copied().try_fold(0, |rows, t| table(t).map(|n| rows + n))?;
        }
        Some(folder) => {
            let request = Request { snapshot: info.id.to_string(), engine, side, show, form, watch };
            done = all(s, &request, reader, folder)?;
        }
    }
    told(context, &done, &shards, form)?;
    passed_over(&done.refused, of, output)
}

/// Says how many rows were written, and how CSV comes back.
fn told(context: &Context<'_>, done: &Report, shards: &[&Shard], form: TextForm) -> Result<()> {
    let &Context { repo, engine, output, .. } = context;
    let params = context.params();
    // How many rows, and what was asked of the store for them since the program started.
    let summary = || {
        json!({
            "message_type": "summary", "rows": done.rows, "kept": done.kept, "tables_refused": done.refused.len(),
            "requests": repo.requests(),
        })
    };
    match (params.path("out"), output.is_json()) {
        // Rows are on standard output: what is said of them goes beside.
        (None, true) => output.error_line(&summary()),
        (Some(_), true) => output.object(&summary())?,
        (Some(out), false) => {
            output.line(&format!("{} rows written", done.rows))?;
            if done.kept > 0 {
                output.line(&format!("{} of the tables were there already", done.kept))?;
            }
            if let (TextForm::Csv, true, [t, ..]) = (form, params.has("table"), shards) {
                let schema = engine.schema(&t.name, &t.description)?;
                if let Some(how) = schema.csv_back(&out.display().to_string())? {
                    output.line(&format!("back {how}"))?;
                }
            }
        }
        (None, false) => {}
    }
    Ok(())
}
