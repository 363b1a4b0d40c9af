//! `onefold check`

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::access;
use super::args::{Check, Global};
use super::output::bytes;
use super::progress::Progress;
use super::{Outcome, Output};
use crate::check::ranges::{self, Keys};
use crate::check::{Checked, Harmed, Options, check};
use crate::engine::Engine;
use crate::error::Result;
use crate::repo::check::Reads;
use crate::snapshot::short;
use crate::watch::{Problem, Watch};

/// Problems of one kind that are printed; of the others their number. `--json` has all.
const SHOWN: usize = 5;
/// Harmed snapshots that are printed.
const SNAPSHOTS: usize = 20;

/// Verifies the repository; 5 if damage was found.
pub fn run(global: &Global, args: &Check, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let mut checked = {
        let _progress = Progress::start(&watch, "checking", !global.quiet, output)?;
        check(&repo, engines, Options { reads: args.reads(), declare_lost: args.declare_lost }, &watch)?
    };
    ranges::locate(&repo, engines, &mut checked.harmed)?;
    access::notes(&repo, output);
    let problems = watch.problems();
    let damaged = problems.iter().filter(|p| p.damage).count();
    self::problems(&problems, output)?;
    if output.is_json() {
        output.object(&json!({ "message_type": "summary", "problems": damaged, "checked": checked }))?;
    } else {
        summary(&checked, args.reads(), output)?;
        if repo.ring().read.is_empty() {
            output.line(
                "not opened, for want of the read role: whether every chunk that snapshots need is there is not known",
            )?;
        }
        verdict(&checked, damaged, !repo.ring().read.is_empty(), output)?;
    }
    Ok(if damaged == 0 { Outcome::Fine } else { Outcome::Damage })
}

/// Says what was found: on a terminal some of each kind.
pub fn problems(problems: &[Problem], output: &Output) -> Result<()> {
    if !output.is_json() {
        return some_of_each(problems, output);
    }
    problems.iter().try_for_each(|Problem { damage, subject, message, .. }| {
        let kind = if *damage { "error" } else { "warning" };
        output.object(&json!({ "message_type": kind, "subject": subject, "message": message }))
    })
}

/// What a problem is about: the folder of the object, or `snapshot` for a table that is harmed.
fn about(p: &Problem) -> (bool, &str) {
    (p.damage, p.subject.split(['/', ' ', ':']).next().unwrap_or_default())
}

fn some_of_each(problems: &[Problem], output: &Output) -> Result<()> {
    let mut shown: BTreeMap<(bool, &str), usize> = BTreeMap::new();
    for problem in problems {
        let count = shown.entry(about(problem)).or_default();
        *count += 1;
        if *count <= SHOWN {
            // What only saves time may be missing: whoever should have written it was killed before.
            let mark = if problem.damage { "" } else { "no damage: " };
            output.line(&format!("{mark}{}: {}", problem.subject, problem.message))?;
        }
    }
    for ((damage, what), count) in shown.into_iter().filter(|(_, count)| *count > SHOWN) {
        let mark = if damage { "" } else { "no damage: " };
        output.line(&format!("{mark}… and {} more of {what} (--json lists all)", count - SHOWN))?;
    }
    Ok(())
}

fn summary(checked: &Checked, reads: Reads, output: &Output) -> Result<()> {
    let objects = &checked.objects;
    let read = match reads {
        Reads::All => "read and verified".to_owned(),
        Reads::Share(_) => format!("there, {} of it read and verified", bytes(objects.bytes_read)),
        Reads::None => "there (use --read-data to read them)".to_owned(),
    };
    output.line(&format!(
        "{} snapshots, {} log entries, {} index objects, {} packs of {} {read}, {} chunks reached",
        objects.snapshots,
        objects.log_entries,
        objects.index_objects,
        objects.packs,
        bytes(objects.pack_bytes),
        checked.reached,
    ))?;
    checked.declared.iter().try_for_each(|said| output.line(said))
}

/// Which snapshots can be restored whole, and what of the others cannot.
fn verdict(checked: &Checked, damaged: usize, walked: bool, output: &Output) -> Result<()> {
    if damaged == 0 {
        return output.line("no damage found");
    }
    harmed(checked, output)?;
    output.line("DAMAGE FOUND: see the lines above")?;
    if walked {
        output.line(&format!("{} of {} snapshots can be restored whole", checked.whole, checked.trees_of))?;
    }
    output.line("the next backup stores anew what is lost and still there, `onefold repair` saves what else can be; then check again")
}

/// What of which snapshots cannot be restored.
pub fn harmed(checked: &Checked, output: &Output) -> Result<()> {
    let mut snapshots: Vec<(&str, Vec<&Harmed>)> = Vec::new();
    for harmed in &checked.harmed {
        match snapshots.last_mut() {
            Some((id, parts)) if *id == harmed.snapshot => parts.push(harmed),
            _ => snapshots.push((&harmed.snapshot, vec![harmed])),
        }
    }
    for (id, parts) in snapshots.iter().take(SNAPSHOTS) {
        output.line(&format!("snapshot {}: {}", short(id), of_parts(parts)))?;
    }
    if snapshots.len() > SNAPSHOTS {
        output.line(&format!("… and {} more snapshots (--json lists all)", snapshots.len() - SNAPSHOTS))?;
    }
    Ok(())
}

fn of_parts(parts: &[&Harmed]) -> String {
    let one = |h: &&Harmed| {
        let objects: Vec<&str> = h.objects.iter().map(String::as_str).collect();
        let part = h.part.as_deref()?;
        if h.chunks == 0 {
            return Some(format!("{part} (other records than were backed up)"));
        }
        Some(format!("{part} ({} chunks, {}{})", h.chunks, objects.join(", "), places(&h.ranges)))
    };
    let Some(mut shown) = parts.iter().take(SHOWN).map(one).collect::<Option<Vec<String>>>() else {
        return "cannot be read, and not be restored".to_owned();
    };
    if parts.len() > SHOWN {
        shown.push(format!("and {} more", parts.len() - SHOWN));
    }
    format!("{} parts are harmed: {}", parts.len(), shown.join(", "))
}

/// Where in a table something is lost, as its database says it.
fn places(ranges: &[Keys]) -> String {
    let text = |place: &Value| place.as_str().map_or_else(|| place.to_string(), str::to_owned);
    let known = ranges.iter().filter(|keys| !keys.first.is_null() && !keys.last.is_null());
    let mut said: Vec<String> =
        known.take(SHOWN).map(|keys| format!("{} to {}", text(&keys.first), text(&keys.last))).collect();
    match said.len() {
        0 => return String::new(),
        n if n < ranges.len() => said.push(format!("{} more", ranges.len() - n)),
        _ => {}
    }
    format!("; at {}", said.join(", "))
}
