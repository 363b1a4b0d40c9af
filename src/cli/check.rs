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
    let repo = access::open(global)?;
    let watch = Arc::new(Watch::new());
    let checked = {
        let _progress = Progress::start(&watch, "checking", !global.quiet, output)?;
        check(&repo, args.read_data, &watch)?
    };
    let problems = watch.problems();
    for problem in &problems {
        if output.is_json() {
            output
                .object(&json!({ "message_type": "error", "subject": problem.subject, "message": problem.message }))?;
        } else {
            output.line(&format!("{}: {}", problem.subject, problem.message))?;
        }
    }
    let objects = &checked.objects;
    if output.is_json() {
        output.object(&json!({ "message_type": "summary", "problems": problems.len(), "checked": checked }))?;
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
        let verdict = if problems.is_empty() { "no damage found" } else { "DAMAGE FOUND: see the lines above" };
        output.line(verdict)?;
    }
    Ok(if problems.is_empty() { Outcome::Fine } else { Outcome::Damage })
}
