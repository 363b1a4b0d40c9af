//! `onefold find`: a key over tables and snapshots.

use std::sync::Arc;

use serde_json::json;

use super::access;
use super::args::{Find, Global};
use super::output::time;
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::find::{self, At, Found, Report, Request, There};
use crate::snapshot::{self, short};
use crate::watch::Watch;

/// Looks for a key.
pub fn run(global: &Global, args: &Find, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "find", false, output)?;
    let (infos, filter) = match args.snapshot.as_deref() {
        // Which one is meant was chosen by the options already.
        Some(name) => (vec![load(&repo, name, &args.filter, output)?.0], snapshot::Filter::default()),
        None => (repo.snapshots(), args.filter.of()),
    };
    let (outer, table) = (args.outer.as_deref(), args.table.as_deref());
    let request = Request { engines, filter: &filter, outer, table, key: &args.key, watch: &watch };
    let report = find::find(&repo, &infos, &request, &repo.reader()?);
    drop(progress);
    access::notes(&repo, output);
    let report = report?;
    report.found.iter().try_for_each(|found| match output.is_json() {
        true => objects(&report, found, output),
        false => lines(&report, found, output),
    })?;
    for e in &report.unreadable {
        output.warn(e.subject(), &format!("cannot be read: {}", e.message()));
    }
    told(&report, output)?;
    let damage = report.unreadable.iter().any(|e| e.kind() == Kind::Damaged);
    Ok(match (damage, report.unreadable.is_empty()) {
        (true, _) => Outcome::Damage,
        (false, false) => Outcome::SourceUnread,
        (false, true) => Outcome::Fine,
    })
}

/// An object for each snapshot that has the key, and one for the table.
fn objects(report: &Report, found: &Found, output: &Output) -> Result<()> {
    let Found { cluster, table, conditions, there, .. } = found;
    for (at, there) in there.iter().filter_map(|(place, there)| Some((report.snapshots.get(*place)?, there))) {
        if let There::Rows { rows: rows @ 1.., written, changed } = there {
            output.object(&json!({
                "message_type": "found", "cluster": cluster, "table": table, "snapshot": at.info.id.to_string(),
                "time": at.info.time_ms / 1000, "complete": at.complete, "rows": rows, "written": written,
                "changed": changed,
            }))?;
        }
    }
    let count = |wanted: fn(&There) -> bool| there.iter().filter(|(_, there)| wanted(there)).count();
    output.object(&json!({
        "message_type": "table", "cluster": cluster, "table": table, "where": conditions, "refused": found.refused(),
        "found_in": count(|there| matches!(there, There::Rows { rows: 1.., .. })),
        "not_found_in": count(|there| matches!(there, There::Rows { rows: 0, .. })),
        "not_backed_up_in": count(|there| matches!(there, There::NotBackedUp(_))),
        "unreadable_in": count(|there| matches!(there, There::Unread(_))),
    }))
}

/// A line for each stretch of snapshots that say the same.
fn lines(report: &Report, found: &Found, output: &Output) -> Result<()> {
    let name = &found.table;
    if let Some(why) = found.refused() {
        return output.line(&format!("{name}  takes no such key: {why}"));
    }
    if !found.is_there() {
        return Ok(());
    }
    let conditions = found.conditions.as_deref().unwrap_or_default();
    output.line(&format!("{name}  where {conditions}  cluster {}", found.cluster))?;
    let mut stretch: Vec<(&At, &There)> = Vec::new();
    for (place, there) in &found.there {
        let Some(at) = report.snapshots.get(*place) else { continue };
        if stretch.last().is_some_and(|(_, last)| !is_same(last, there)) {
            output.line(&said(&stretch))?;
            stretch.clear();
        }
        stretch.push((at, there));
    }
    output.line(&said(&stretch))
}

/// Whether what is there in one snapshot is there in the next.
fn is_same(last: &There, next: &There) -> bool {
    match (last, next) {
        (There::Rows { .. }, There::Rows { changed, .. }) => !changed,
        _ => last == next,
    }
}

fn said(stretch: &[(&At, &There)]) -> String {
    let (Some((first, there)), Some((last, _))) = (stretch.first(), stretch.last()) else { return String::new() };
    let named = |at: &At| format!("{} {}", time(at.info.time_ms / 1000), short(&at.info.id.to_string()));
    let when = match stretch.len() {
        1 => named(first),
        n => format!("{} to {}, {n} snapshots", named(first), named(last)),
    };
    let incomplete = match stretch.iter().filter(|(at, _)| !at.complete).count() {
        0 => String::new(),
        n => format!(", {n} of them INCOMPLETE"),
    };
    let what = match there {
        There::Rows { rows: 0, .. } => "no row".to_owned(),
        There::Rows { rows, written: Some(written), .. } => format!("{rows} rows, last written {written}"),
        There::Rows { rows, .. } => format!("{rows} rows"),
        There::NotBackedUp(why) => format!("not backed up ({})", why.words()),
        There::Unread(why) => format!("cannot be read: {why}"),
    };
    format!("    {when}{incomplete}  {what}")
}

fn told(report: &Report, output: &Output) -> Result<()> {
    let (tables, snapshots) = (report.found.len(), report.snapshots.len());
    let there = report.found.iter().filter(|found| found.is_there()).count();
    let refused = report.found.iter().filter(|found| found.refused().is_some()).count();
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "snapshots": snapshots, "tables": tables, "found_in": there, "refused_by": refused,
            "unreadable": report.unreadable.len(),
        }));
    }
    let refused = if refused > 0 { format!(", {refused} take no such key") } else { String::new() };
    output.line(&format!("total  found in {there} of {tables} tables{refused}; {snapshots} snapshots"))
}
