//! `onefold history`: every version of some rows.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::access;
use super::args::{Global, History};
use super::output::time;
use super::progress::Progress;
use super::show::{load, split};
use super::versions::{Said, lines};
use super::{Outcome, Output};
use crate::diff::{Change, What};
use crate::engine::{Engine, engine};
use crate::error::{Error, Kind, Result};
use crate::history::{self, At, Nothing, Report, Request, Sink};
use crate::repo::{Repo, SnapshotInfo};
use crate::restore::tree::trees;
use crate::snapshot::{Filter, short};
use crate::watch::Watch;

/// Goes through the snapshots.
pub fn run(global: &Global, args: &History, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "history", false, output)?;
    let reader = repo.reader()?;
    let (table, conditions, filter) = meant(&repo, args, output)?;
    let (table, conditions) = (table.as_str(), conditions.as_str());
    let request = Request { engines, filter: &filter, table, conditions, watch: &watch };
    let report = history::history(&repo, &request, &reader, &mut Face { output, engines, table });
    drop(progress);
    access::notes(&repo, output);
    let report = report?;
    told(&report, output)?;
    Ok(if report.unreadable > 0 { Outcome::Damage } else { Outcome::Fine })
}

/// Which table, which of its rows, and over which snapshots.
fn meant(repo: &Repo, args: &History, output: &Output) -> Result<(String, String, Filter)> {
    match (split(&args.table), &args.conditions) {
        ((name, Some(path)), None) => {
            let (_, s) = load(repo, name, &args.filter, output)?;
            let tree = trees(&s).next().ok_or_else(|| {
                Error::new(Kind::Usage, format_args!("snapshot {name}"), "holds no files")
                    .hint("name a table, and its rows by --where")
            })?;
            Ok((tree.name.clone(), path.to_owned(), Filter { cluster: Some(s.cluster.clone()), ..args.filter.of() }))
        }
        (_, Some(conditions)) => Ok((args.table.clone(), conditions.clone(), args.filter.of())),
        (_, None) => Err(Error::new(Kind::Usage, "history", "of which rows?")
            .hint("give --where CONDITIONS, or of files SNAPSHOT:/PATH")),
    }
}

/// Prints what became of the rows.
struct Face<'a> {
    output: &'a Output,
    engines: &'a [&'a dyn Engine],
    table: &'a str,
}

/// A row as an object.
#[derive(Serialize)]
struct Row<'a> {
    message_type: &'static str,
    snapshot: &'a str,
    time: u64,
    cluster: &'a str,
    complete: bool,
    table: &'a str,
    #[serde(flatten)]
    said: Said<'a>,
}

/// The snapshot of a line: when it was committed, which, and whether anything may be missing from it.
fn headed(info: &SnapshotInfo, complete: bool) -> String {
    let mark = if complete { "" } else { "  INCOMPLETE" };
    format!("{}  {}{mark}", time(info.time_ms / 1000), short(&info.id.to_string()))
}

impl Sink for Face<'_> {
    fn row(&mut self, at: At<'_>, change: &Change<'_>) -> Result<()> {
        let shared = engine(self.engines, &at.snapshot.engine)?.words().shared;
        let (output, complete) = (self.output, at.snapshot.complete);
        // Whether it was there before the first snapshot nobody knows.
        let what = match change.what {
            What::Added => "appeared",
            What::Deleted => "gone",
            What::Changed | What::Rewritten => change.what.word(),
        };
        if output.is_json() {
            return output.object(&Row {
                message_type: if change.what == What::Deleted { "gone" } else { "version" },
                snapshot: &at.info.id.to_string(),
                time: at.info.time_ms / 1000,
                cluster: &at.snapshot.cluster,
                complete,
                table: self.table,
                said: Said::of(change, what, shared)?,
            });
        }
        let mut lines = lines(change, what, shared).into_iter();
        let line = lines.next().unwrap_or_default();
        output.line(&format!("{}  {line}", headed(at.info, complete)))?;
        lines.try_for_each(|line| output.line(&line))
    }

    fn nothing(&mut self, at: At<'_>, why: &Nothing) -> Result<()> {
        let (what, why) = match why {
            Nothing::NotBackedUp(why) => ("not_backed_up", format!("not backed up ({})", why.words())),
            Nothing::NotNamed(why) => ("not_named", format!("the conditions name no row: {why}")),
        };
        if self.output.is_json() {
            return self.output.object(&json!({
                "message_type": what, "snapshot": at.info.id.to_string(), "time": at.info.time_ms / 1000,
                "cluster": at.snapshot.cluster, "complete": at.snapshot.complete, "table": self.table, "why": why,
            }));
        }
        self.output.line(&format!("{}  {why}", headed(at.info, at.snapshot.complete)))
    }

    fn unreadable(&mut self, info: &SnapshotInfo, why: &Error) -> Result<()> {
        let (id, seconds) = (info.id.to_string(), info.time_ms / 1000);
        if self.output.is_json() {
            return self.output.object(&json!({
                "message_type": "error", "snapshot": id, "time": seconds, "subject": why.subject(), "message": why.message(),
            }));
        }
        let said = format!("CANNOT BE READ: {}: {}", why.subject(), why.message());
        self.output.line(&format!("{}  {said}", headed(info, true)))
    }
}

fn told(report: &Report, output: &Output) -> Result<()> {
    let Report { snapshots, incomplete, silent, unreadable, counts } = report;
    let versions = counts.added + counts.changed + counts.rewritten;
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "snapshots": snapshots, "incomplete": incomplete, "silent": silent,
            "unreadable": unreadable, "versions": versions, "gone": counts.deleted,
        }));
    }
    let mut more = String::new();
    for (n, what) in [(incomplete, "of them incomplete"), (silent, "say nothing"), (unreadable, "cannot be read")] {
        more.push_str(&if *n > 0 { format!(", {n} {what}") } else { String::new() });
    }
    output.line(&format!("total  {snapshots} snapshots{more}; {versions} versions, {} times gone", counts.deleted))
}
