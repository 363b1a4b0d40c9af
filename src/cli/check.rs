//! `onefold check`

use std::sync::Arc;

use serde_json::json;

use super::access;
use super::args::{Check, Global};
use super::output::bytes;
use super::progress::Progress;
use super::{Outcome, Output};
use crate::check::check;
use crate::error::Result;
use crate::watch::Watch;

/// Verifies the repository; 5 if damage was found.
pub fn run(global: &Global, args: &Check, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let checked = {
        let _progress = Progress::start(&watch, "checking", !global.quiet, output)?;
        check(&repo, args.read_data, &watch)?
    };
    let problems = watch.problems();
    for problem in &problems {
        let (subject, message) = (&problem.subject, &problem.message);
        // What only saves time may be missing: whoever should have written it was killed before.
        let (kind, mark) = if problem.damage { ("error", "") } else { ("warning", "no damage: ") };
        if output.is_json() {
            output.object(&json!({ "message_type": kind, "subject": subject, "message": message }))?;
        } else {
            output.line(&format!("{mark}{subject}: {message}"))?;
        }
    }
    let damaged = problems.iter().filter(|p| p.damage).count();
    let objects = &checked.objects;
    if output.is_json() {
        output.object(&json!({ "message_type": "summary", "problems": damaged, "checked": checked }))?;
    } else {
        let read = if args.read_data { "read and verified" } else { "there (use --read-data to read them)" };
        output.line(&format!(
            "{} snapshots, {} log entries, {} index objects, {} packs of {} {read}, {} chunks reached",
            objects.snapshots,
            objects.log_entries,
            objects.index_objects,
            objects.packs,
            bytes(objects.pack_bytes),
            checked.reached,
        ))?;
        let verdict = if damaged == 0 { "no damage found" } else { "DAMAGE FOUND: see the lines above" };
        output.line(verdict)?;
    }
    Ok(if damaged == 0 { Outcome::Fine } else { Outcome::Damage })
}
