//! `onefold backup`

use std::sync::Arc;

use serde_json::json;

use super::args::{self, Global};
use super::hooks::{Ended, Hooks};
use super::output::bytes;
use super::progress::Progress;
use super::show::{counted, unread};
use super::{Outcome, Output};
use super::{access, world};
use crate::backup::{self, Done};
use crate::error::Result;
use crate::repo::WriteStats;
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// Backs up what an engine's form captures.
pub fn run(global: &Global, form: &args::Chosen<'_>, hooks: &Hooks, output: &Output) -> Result<Outcome> {
    if form.params.has(backup::DRY_RUN) {
        return Ok(backed_up(global, form, output)?.outcome);
    }
    hooks.around(output, || backed_up(global, form, output))
}

fn backed_up(global: &Global, form: &args::Chosen<'_>, output: &Output) -> Result<Ended> {
    let repo = access::open(global, output)?;
    // From here on a signal ends the work in order: links to live files, made when nodes are opened, are removed.
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "backup", !global.quiet, output)?;
    let env = world::env(&watch);
    let Done { snapshot, stored, same } = backup::run(&repo, form.engine, form.form, &form.params, &env)?;
    drop(progress);
    access::notes(&repo, output);
    let printed = report(&snapshot, stored.as_ref(), same.as_deref(), output);
    match &stored {
        None => printed?,
        // The commit stands, whoever could be told of it.
        Some((id, _)) => output.told(printed, &format!("snapshot {id} was made, see `onefold show`")),
    }
    Ok(Ended { outcome: outcome(&snapshot), snapshot: stored.map(|(id, _)| id) })
}

/// Problems that are no gaps are of files that were not read or not decoded.
pub fn outcome(s: &Snapshot) -> Outcome {
    if s.problems.iter().any(|problem| !problem.gap) {
        return Outcome::SourceUnread;
    }
    if s.complete { Outcome::Fine } else { Outcome::Incomplete }
}

/// What of earlier backups is not whole any more, and what was done about it.
fn doubted(stats: &WriteStats, output: &Output) {
    let WriteStats { packs_doubted: packs, index_objects_doubted: indexes, packs_named_anew: named, .. } = stats;
    if *packs > 0 {
        output.note(&format!(
            "{packs} packs of earlier backups are missing or damaged: what this backup needs of them is stored anew. \
             `onefold check` says what that means for the others"
        ));
    }
    if *indexes > 0 || *named > 0 {
        output.note(&format!(
            "{indexes} index objects of earlier backups are missing or damaged; {named} packs that none named are named anew"
        ));
    }
}

fn report(s: &Snapshot, stored: Option<&(String, WriteStats)>, same: Option<&str>, output: &Output) -> Result<()> {
    if output.is_json() {
        for problem in &s.problems {
            output
                .object(&json!({ "message_type": "error", "subject": problem.subject, "message": problem.message }))?;
        }
        return output.object(&json!({
            "message_type": "summary", "snapshot": stored.map(|s| &s.0), "dry_run": stored.is_none() && same.is_none(), "same_as": same,
            "complete": s.complete, "not_read": unread(s), "narrowed": s.narrowed, "notes": s.notes, "nodes": s.nodes.len(), "tables": s.shards.len(), "rows": rows(s),
            "bytes_read": s.bytes_read, "stored": stored.map(|s| s.1), "files_kept": s.files_kept(),
            "seconds": (s.finished_ms - s.started_ms) as f64 / 1000.0,
        }));
    }
    seen(s, output)?;
    if let Some(id) = same {
        output.line(&format!("nothing changed since snapshot {id}: no other was made"))?;
    }
    if let Some((id, stats)) = stored {
        doubted(stats, output);
        output.line(&format!("{} added, {} of it new plaintext", bytes(stats.bytes_stored), bytes(stats.bytes_new)))?;
        let verdict = if s.complete { "complete" } else { "INCOMPLETE: `onefold show` says why" };
        output.line(&format!("snapshot {id} {verdict}"))?;
    }
    Ok(())
}

/// What was read, and what could not be.
pub fn seen(s: &Snapshot, output: &Output) -> Result<()> {
    for problem in &s.problems {
        output.note(&format!("{}: {}", problem.subject, problem.message));
    }
    for note in &s.notes {
        output.note(&format!("noted: {note}"));
    }
    for line in unread(s) {
        output.note(&format!("not read: {line}"));
    }
    for line in s.narrowed.lines() {
        output.note(&format!("narrowed: {line}"));
    }
    output.line(&counted(s).join(", "))
}

fn rows(s: &Snapshot) -> u64 {
    s.shards.iter().map(|t| t.rows).sum()
}
