//! `restore --to json` and `--to csv`: rows as the cluster or cqlsh would print them.

use std::io::{BufWriter, Write};
use std::sync::atomic::Ordering;

use serde_json::json;

use super::{Context, passed_over};
use crate::cli::Outcome;
use crate::cli::args::Form;
use crate::cli::output::of_pipe;
use crate::engine::Show;
use crate::engine::text::TextForm;
use crate::error::{Error, Result};
use crate::restore;
use crate::restore::rows::{Report, Request, all};
use crate::restore::tables::{is_of_one_table, of_table};
use crate::restore::whole::write_then;
use crate::snapshot::Shard;
use crate::view::{Side, View};

/// Writes rows.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { repo, engine, info, snapshot: s, args, watch, output } = context;
    let side = match &args.node {
        Some(name) => Side::Node(s.node(name)?),
        None if args.include_unowned => Side::WithUnowned,
        None => Side::Reconciled,
    };
    let form = match args.form {
        Form::Csv => TextForm::Csv,
        _ => TextForm::Json,
    };
    let show = Show { write_times: args.rows.writetime, ttls: args.rows.ttl };
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
    let of = shards.len();
    let write = |t: &Shard, to: &mut dyn Write| {
        let view = View::open(engine, s, t, &reader)?.of(side).watched(watch);
        let selection = args.condition.as_deref().map(|text| view.select(text)).transpose()?;
        restore::rows(&view, selection.as_deref(), show, form, to)
    };
    let mut done = Report::default();
    match &args.out {
        None => {
            let mut to = BufWriter::with_capacity(1 << 16, output.pipe());
            for t in &shards {
                match write(t, &mut to) {
                    Ok(rows) => done.rows += rows,
                    Err(e) if of > 1 && is_of_one_table(&e) => done.refused.push(of_table(t, e)),
                    Err(e) => return Err(of_pipe(of_table(t, e))),
                }
            }
            to.flush().map_err(|e| of_pipe(Error::io("output", e)))?;
        }
        Some(path) if args.table.is_some() => {
            let table = |t: &Shard| write_then(path, |to| write(t, to).map_err(|e| of_table(t, e)), |_| Ok(()));
            done.rows = shards.iter().copied().try_fold(0, |rows, t| table(t).map(|n| rows + n))?;
        }
        Some(folder) => {
            let request = Request { snapshot: info.id.to_string(), engine, side, show, form, watch };
            done = all(s, &request, &reader, folder)?;
        }
    }
    told(context, &done, &shards, form)?;
    passed_over(&done.refused.iter().collect::<Vec<_>>(), of, output)
}

/// Says how many rows were written, and how CSV comes back.
fn told(context: &Context<'_>, done: &Report, shards: &[&Shard], form: TextForm) -> Result<()> {
    let &Context { repo, engine, args, output, .. } = context;
    // How many rows, and what was asked of the store for them since the program started.
    let summary = || {
        json!({
            "message_type": "summary", "rows": done.rows, "kept": done.kept, "tables_refused": done.refused.len(),
            "requests": repo.requests(),
        })
    };
    match (&args.out, output.is_json()) {
        // Rows are on standard output: what is said of them goes beside.
        (None, true) => output.error_line(&summary()),
        (Some(_), true) => output.object(&summary())?,
        (Some(out), false) => {
            output.line(&format!("{} rows written", done.rows))?;
            if done.kept > 0 {
                output.line(&format!("{} of the tables were there already", done.kept))?;
            }
            if let (TextForm::Csv, Some(_), [t, ..]) = (form, &args.table, shards) {
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
