//! `onefold prune`

use std::collections::BTreeSet;
use std::sync::Arc;

use repo_format::id::SnapshotId;

use serde_json::json;

use super::access;
use super::args::{Global, Prune};
use super::output::bytes;
use super::progress::Progress;
use super::{Outcome, Output};
use crate::error::Result;
use crate::prune::{self, Pruned, Requests};
use crate::repo::Repo;
use crate::repo::log::Trimmed;
use crate::watch::Watch;

/// Takes away what no snapshot needs.
pub fn run(global: &Global, args: &Prune, output: &Output) -> Result<Outcome> {
    with(&access::open(global, output)?, args, global, output)
}

/// The same, of a repository that is open.
pub fn with(repo: &Repo, args: &Prune, global: &Global, output: &Output) -> Result<Outcome> {
    told(repo, args.dry_run, global, output, &|watch| {
        let pruned = prune::prune(repo, &args.options(), watch)?;
        if !args.dry_run {
            repo.remember_prune();
        }
        Ok(pruned)
    })
}

/// What it would do if these snapshots were forgotten.
pub fn rehearse(
    repo: &Repo,
    forgotten: &BTreeSet<SnapshotId>,
    args: &Prune,
    global: &Global,
    output: &Output,
) -> Result<Outcome> {
    told(repo, true, global, output, &|watch| prune::rehearse(repo, forgotten, &args.options(), watch))
}

fn told(
    repo: &Repo,
    dry_run: bool,
    global: &Global,
    output: &Output,
    work: &dyn Fn(&Watch) -> Result<Pruned>,
) -> Result<Outcome> {
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "prune", !global.quiet, output)?;
    let pruned = work(&watch)?;
    drop(progress);
    access::notes(repo, output);
    let problems = watch.problems();
    for problem in &problems {
        output.warn(&problem.subject, &problem.message);
    }
    report(&pruned, dry_run, output)?;
    Ok(if problems.is_empty() { Outcome::Fine } else { Outcome::Damage })
}

fn report(pruned: &Pruned, dry_run: bool, output: &Output) -> Result<()> {
    if output.is_json() {
        let mut all = serde_json::to_value(pruned).map_err(|e| crate::Error::damaged("report", e))?;
        (all["message_type"], all["dry_run"]) = (json!("summary"), json!(dry_run));
        return output.object(&all);
    }
    lines(pruned, dry_run, output)
}

/// The same for people.
pub fn lines(pruned: &Pruned, dry_run: bool, output: &Output) -> Result<()> {
    let Pruned { done, .. } = pruned;
    let would = if dry_run { "would be " } else { "" };
    output.line(&format!(
        "{} in packs, {} of it needed by {} chunks, {} unneeded beside it",
        bytes(pruned.bytes_before),
        bytes(pruned.bytes_needed),
        pruned.chunks,
        bytes(pruned.bytes_beside)
    ))?;
    if done.packs_emptied > 0 {
        output.line(&format!("{} packs {would}emptied, {} moved", done.packs_emptied, bytes(done.bytes_moved)))?;
    }
    output.line(&format!(
        "{} packs {would}condemned: {}, to be deleted when the grace is over",
        done.packs_condemned,
        bytes(done.bytes_condemned)
    ))?;
    output.line(&format!(
        "{} packs and {} other objects {would}deleted: {}",
        done.packs_deleted,
        done.others_deleted,
        bytes(done.bytes_deleted)
    ))?;
    if done.sessions_ended > 0 {
        let count = done.sessions_ended;
        output
            .line(&format!("{would}given up: {count} backups that were begun more than 30 days ago and never ended"))?;
    }
    log(&pruned.log, would, output)?;
    if let Some(Requests { reads, writes, deletes }) = pruned.requests {
        output.line(&format!("about {reads} objects would be read, {writes} written, {deletes} deleted"))?;
    }
    if pruned.packs_waiting > done.packs_condemned {
        let waiting = pruned.packs_waiting - done.packs_condemned;
        output.line(&format!("{waiting} packs that were condemned before wait for their grace to end"))?;
    }
    Ok(())
}

/// What became of the log.
pub fn log(log: &Trimmed, would: &str, output: &Output) -> Result<()> {
    if let Some(n) = log.log_checkpoint {
        output.line(&format!("checkpoint {would}written after entry {n} of the log"))?;
    }
    if log.log_objects_deleted > 0 {
        let (n, count) = (log.log_trimmed_to, log.log_objects_deleted);
        output.line(&format!("log {would}trimmed to entry {n}: {count} objects"))?;
    }
    Ok(())
}
