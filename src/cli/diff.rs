//! `onefold diff`: what differs between two snapshots.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::access;
use super::args::{Diff, Filter, Global};
use super::output::time;
use super::progress::Progress;
use super::show::load;
use super::versions::{Said, lines};
use super::{Outcome, Output};
use crate::diff::{self, Change, Counts, Held, Of, Report, Request, Sink, Table};
use crate::engine::{Engine, engine};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::{Snapshot, short};
use crate::watch::Watch;

/// Compares two snapshots.
pub fn run(global: &Global, args: &Diff, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    if args.conditions.is_some() && args.table.as_deref().is_some_and(|table| table.contains(['*', '?'])) {
        let message = "fits several tables, and conditions are on one";
        return Err(Error::new(Kind::Usage, "--table", message).hint("name the table that --where is about"));
    }
    let repo = access::open(global, output)?;
    let [(before_info, before), (after_info, after)] = both(&repo, args, output)?;
    let (before_id, after_id) = (before_info.id.to_string(), after_info.id.to_string());
    let engine = engine(engines, &after.engine)?;
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "diff", false, output)?;
    let reader = repo.reader()?;
    if !output.is_json() {
        for (sign, info, s) in [("before", &before_info, &before), ("after", &after_info, &after)] {
            output.line(&headed(sign, info, s))?;
        }
    }
    if before.cluster != after.cluster {
        output.warn("snapshots", &format!("are of two clusters: {} and {}", before.cluster, after.cluster));
    }
    let request = Request {
        engine,
        before: Of { id: &before_id, snapshot: &before },
        after: Of { id: &after_id, snapshot: &after },
        outer: args.outer.as_deref(),
        table: args.table.as_deref(),
        conditions: args.conditions.as_deref(),
        watch: &watch,
    };
    let shared = engine.words().shared;
    let mut face = Face { output, shared, counts: args.counts, asked: args.table.is_some(), not_read: Vec::new() };
    let report = diff::diff(&request, &reader, &mut face);
    drop(progress);
    access::notes(&repo, output);
    let report = report?;
    told(&report, (&before_id, &after_id), output)?;
    ended(&report, &[(&before_id, &before), (&after_id, &after)], output)
}

/// The two snapshots. Options that choose among snapshots choose what `latest` means.
fn both(repo: &Repo, args: &Diff, output: &Output) -> Result<[(SnapshotInfo, Snapshot); 2]> {
    let any = Filter { cluster: None, host: None, tags: Vec::new() };
    let is_latest = |name: &String| name == "latest";
    let names = [&args.before, &args.after];
    if !names.into_iter().any(is_latest) && !args.filter.of().is_empty() {
        let message = "choose among the snapshots that `latest` may mean, and two are named by their ids";
        return Err(Error::new(Kind::Usage, "--cluster, --host and --tag", message).hint("leave the options out"));
    }
    let one = |name: &String| load(repo, name, if is_latest(name) { &args.filter } else { &any }, output);
    Ok([one(&args.before)?, one(&args.after)?])
}

fn headed(sign: &str, info: &SnapshotInfo, s: &Snapshot) -> String {
    let verdict = if s.complete { "complete" } else { "INCOMPLETE" };
    format!("{sign:<6}  {}  {}  {}  {verdict}", short(&info.id.to_string()), time(info.time_ms / 1000), s.cluster)
}

/// Prints what differs.
struct Face<'a> {
    output: &'a Output,
    shared: &'static str,
    counts: bool,
    /// Tables were asked for: also those are named that neither has.
    asked: bool,
    /// What was not read of the table: said where its rows differ.
    not_read: Vec<String>,
}

/// A row as an object.
#[derive(Serialize)]
struct Row<'a> {
    message_type: &'static str,
    table: &'a str,
    #[serde(flatten)]
    said: Said<'a>,
}

impl Sink for Face<'_> {
    fn table(&mut self, table: &Table<'_>) -> Result<()> {
        let (name, output) = (table.name, self.output);
        if output.is_json() {
            let why = |held: &Held<'_>| held.why().map(|why| why.words());
            return output.object(&json!({
                "message_type": "table", "table": name, "compared": table.before.shard().and(table.after.shard()).is_some(),
                "before_not_backed_up": why(&table.before), "after_not_backed_up": why(&table.after), "notes": table.notes,
                "not_read": table.not_read,
            }));
        }
        self.not_read.clone_from(&table.not_read);
        match (table.before.why(), table.after.why()) {
            (Some(one), Some(other)) if self.asked => {
                output.line(&format!("{name}: not backed up in either: {}; {}", one.words(), other.words()))?;
            }
            (Some(_), Some(_)) | (None, None) => {}
            (Some(why), None) => {
                output.line(&format!("{name}: not backed up before ({}): not compared", why.words()))?;
            }
            (None, Some(why)) => {
                output.line(&format!("{name}: not backed up after ({}): not compared", why.words()))?;
            }
        }
        table.notes.iter().try_for_each(|note| output.line(&format!("{name}: {note}")))
    }

    fn row(&mut self, table: &str, change: &Change<'_>) -> Result<()> {
        if self.counts {
            return Ok(());
        }
        if self.output.is_json() {
            let said = Said::of(change, change.what.word(), self.shared)?;
            return self.output.object(&Row { message_type: "row", table, said });
        }
        let mut lines = lines(change, change.what.word(), self.shared).into_iter();
        lines.next().into_iter().try_for_each(|line| self.output.line(&format!("{table}  {line}")))?;
        lines.try_for_each(|line| self.output.line(&line))
    }

    fn counted(&mut self, table: &str, counts: &Counts) -> Result<()> {
        let Counts { added, changed, rewritten, deleted } = counts;
        if self.output.is_json() {
            return self.output.object(&json!({
                "message_type": "counts", "table": table, "added": added, "changed": changed, "rewritten": rewritten,
                "deleted": deleted,
            }));
        }
        if counts.all() == 0 {
            return Ok(());
        }
        self.not_read.iter().try_for_each(|what| self.output.line(&format!("{table}: {what}")))?;
        self.output.line(&format!("{table}: {}", words(counts)))
    }
}

fn words(counts: &Counts) -> String {
    let Counts { added, changed, rewritten, deleted } = counts;
    format!("{added} added, {changed} changed, {rewritten} rewritten, {deleted} deleted")
}

fn told(report: &Report, (before, after): (&str, &str), output: &Output) -> Result<()> {
    let Report { compared, differ, not_compared, counts, refused } = report;
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "before": before, "after": after, "tables": compared, "tables_differ": differ,
            "tables_not_compared": not_compared, "tables_refused": refused.len(), "added": counts.added,
            "changed": counts.changed, "rewritten": counts.rewritten, "deleted": counts.deleted,
        }));
    }
    let not = match not_compared {
        0 => String::new(),
        n => format!(", {n} not compared (not backed up in one or both)"),
    };
    output.line(&format!("total  {compared} compared{not}, {differ} differ: {}", words(counts)))
}

/// Says what could not be compared, and what that means for the exit code.
fn ended(report: &Report, sides: &[(&str, &Snapshot)], output: &Output) -> Result<Outcome> {
    for e in &report.refused {
        let advice = e.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        output.warn(e.subject(), &format!("not compared to its end: {}{advice}", e.message()));
    }
    let mut outcome = Outcome::Fine;
    for (id, _) in sides.iter().filter(|(_, s)| !s.complete) {
        let what = "is incomplete (`onefold show`): what differs may be only what was not read";
        output.warn(&format!("snapshot {}", short(id)), what);
        outcome = Outcome::Incomplete;
    }
    if !report.refused.is_empty() {
        let damage = report.refused.iter().any(|e| e.kind() == Kind::Damaged);
        outcome = if damage { Outcome::Damage } else { Outcome::SourceUnread };
    }
    Ok(outcome)
}
