//! `onefold maintain`

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::args::{Forget, Global, Maintain};
use super::output::bytes;
use super::profile::Profile;
use super::progress::Progress;
use super::{Outcome, Output, access, prune};
use crate::error::{Error, Kind, Result};
use crate::forget;
use crate::maintain::{Maintained, Options, maintain};
use crate::snapshot::short;
use crate::watch::Watch;

/// Does what is due, in a bounded time; 5 if damage was found.
pub fn run(global: &Global, args: &Maintain, profile: &Profile, output: &Output) -> Result<Outcome> {
    let forget = if args.forget { Some(policy(profile)?) } else { None };
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    end_after(Duration::from_millis(args.time.0), &watch)?;
    let options = Options { forget, prune: args.prune.options(), share: args.read_data_subset };
    let progress = Progress::start(&watch, "maintain", !global.quiet, output)?;
    let done = maintain(&repo, &options, &watch)?;
    drop(progress);
    access::notes(&repo, output);
    let problems = watch.problems();
    for problem in &problems {
        output.warn(&problem.subject, &problem.message);
    }
    let is_damaged = problems.iter().any(|problem| problem.damage);
    report(&done, args.prune.dry_run, is_damaged, output)?;
    if let Some(full) = done.full {
        return Err(full);
    }
    Ok(if is_damaged { Outcome::Damage } else { Outcome::Fine })
}

/// Says so when the time is over, if anybody works then.
fn end_after(time: Duration, watch: &Arc<Watch>) -> Result<()> {
    if time.is_zero() {
        watch.time_is_over();
        return Ok(());
    }
    let watch = Arc::downgrade(watch);
    let wait = move || {
        thread::sleep(time);
        if let Some(watch) = watch.upgrade() {
            watch.time_is_over();
        }
    };
    let spawned = thread::Builder::new().name("time".into()).spawn(wait);
    spawned.map(drop).map_err(|e| Error::io("starting a thread", e))
}

/// The policy that a profile gives.
fn policy(profile: &Profile) -> Result<forget::Options> {
    let policy = profile.forget()?.ok_or_else(|| {
        Error::new(Kind::Usage, profile.name(), "has no [forget]")
            .hint("write a policy there, as `keep-daily = 7`; docs/schedules.md has an example")
    })?;
    Ok(Forget::options(&policy))
}

fn report(done: &Maintained, dry_run: bool, is_damaged: bool, output: &Output) -> Result<()> {
    if output.is_json() {
        let mut all = serde_json::to_value(done).map_err(|e| Error::damaged("report", e))?;
        (all["message_type"], all["dry_run"]) = (json!("summary"), json!(dry_run));
        return output.object(&all);
    }
    let would = if dry_run { "would be " } else { "" };
    for id in &done.forgotten {
        output.line(&format!("snapshot {} {would}forgotten", short(&id.to_string())))?;
    }
    if let Some(pruned) = &done.pruned {
        prune::lines(pruned, dry_run, output)?;
    }
    if done.indexes_merged > 0 {
        output.line(&format!("{} small index objects {would}merged", done.indexes_merged))?;
    }
    if let Some(log) = &done.log {
        prune::log(log, would, output)?;
    }
    if let Some(verified) = &done.verified {
        output.line(&format!(
            "verified: {} snapshots, {} log entries, {} index objects; {} of {} packs read, {} of {}; {} chunks reached",
            verified.snapshots,
            verified.log_entries,
            verified.index_objects,
            verified.packs_read,
            verified.packs,
            bytes(verified.bytes_read),
            bytes(verified.pack_bytes),
            verified.chunks,
        ))?;
    }
    done.declared.iter().try_for_each(|said| output.line(said))?;
    done.left.iter().try_for_each(|left| output.line(&format!("left: {}: {}", left.step, left.why)))?;
    match done.left.is_empty() && !is_damaged {
        true => output.line("nothing is left to be done"),
        false => Ok(()),
    }
}
