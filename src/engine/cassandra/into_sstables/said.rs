//! What is said of a restore to SSTables: before, table by table, and in the end what the operator does next.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::IntoSsTables;
use super::folder::free_bytes;
use super::plan::{ONCE, TablePlan};
use crate::error::Result;
use crate::repo::world::now_ms;
use crate::report::{Report, bytes, time};

/// Bytes of SSTables that are written in a second, for the estimate alone (benches/README.md).
const BYTES_A_SECOND: u64 = 25_000_000;
/// Small SSTables that are written in a second: each is ten files that are synced.
const FILES_A_SECOND: u64 = 40;

impl IntoSsTables<'_> {
    /// Warns of what the target will make of the restore.
    pub(super) fn warn(&self, report: &mut Report) {
        for (keyspace, what) in self.short_of_nodes() {
            let what = format!("{what}: QUORUM and ALL fail there until nodes are added");
            report.warn(format!("keyspace {keyspace}"), what);
        }
        if let [first, rest @ ..] = &self.holding[..] {
            let (subject, hold) = match rest.len() {
                0 => (format!("table {first} of the target"), "holds"),
                more => (format!("{first} and {more} more tables of the target"), "hold"),
            };
            let lose =
                "imported cells lose against newer ones and newer deletions; TRUNCATE first, or restore --into another";
            report.warn(subject, format!("{hold} data: {lose}"));
        }
    }

    /// By keyspace: where the replication asks for more nodes than there are.
    fn short_of_nodes(&self) -> BTreeSet<(&str, String)> {
        let mut short = BTreeSet::new();
        let Some(ring) = &self.request.ring else { return short };
        for plan in self.plans.iter().flatten() {
            let of_plan = ring.short_of_nodes(&plan.replication).into_iter();
            short.extend(of_plan.map(|what| (plan.table.keyspace.as_str(), what)));
        }
        short
    }

    fn is_at_most(&self) -> bool {
        self.asked.condition.is_some()
    }

    /// How exact figures are.
    fn part(&self) -> &'static str {
        if self.is_at_most() { "at most " } else { "about " }
    }

    /// Says what would be written of a table, node by node.
    pub(super) fn would(&self, place: usize, report: &mut Report) {
        let Some(Ok(plan)) = self.plans.get(place) else { return };
        let (name, part) = (plan.name(), self.part());
        for (share, node) in plan.plan.of_nodes().zip(plan.folders.iter()) {
            let (size, files) = (share.bytes, share.files);
            let rows = (plan.stored.rows as f64 * share.share).round() as u64;
            report.object(json!({
                "message_type": "node_table", "table": name, "node": node, "rows": rows, "bytes": size,
                "sstables": files, "at_most": self.is_at_most(), "dry_run": true,
            }));
            report.line(format!("{name}  {node}  {part}{rows}  {part}{}  {part}{files}", bytes(size)));
        }
    }

    /// Says what all of it would come to.
    pub(super) fn would_in_all(&self, report: &mut Report) -> Result<()> {
        let (left, part) = (&self.left, self.part());
        let seconds = left.bytes / BYTES_A_SECOND + left.files / FILES_A_SECOND + 1;
        if let Some(out) = self.asked.out.filter(|_| !self.is_at_most())
            && let Some(short) = left.bytes.checked_sub(free_bytes(out)?).filter(|short| *short > 0)
        {
            report.warn(out.display().to_string(), format!("has about {} too little room", bytes(short)));
        }
        let tables = self.planned().len();
        report.summary(json!({
            "tables": tables, "kept": left.kept, "bytes": left.bytes, "seconds": seconds, "at_most": self.is_at_most(),
        }));
        if left.kept > 0 {
            report.line(format!("{} of the tables are there already", left.kept));
        }
        // What several nodes hold is written once.
        report.line(format!("{tables} tables, {part}{} on disk, {part}{seconds} s", bytes(left.bytes)));
        Ok(())
    }

    /// Says what was written of a table.
    pub(super) fn wrote(&self, place: usize, report: &mut Report) {
        let Some(Ok(plan)) = self.plans.get(place) else { return };
        let name = plan.name();
        let Some(t) = self.done.tables.get(&name) else { return };
        report.object(json!({
            "message_type": "table", "name": name, "sstables": t.sstables, "rows": t.rows, "bytes": t.bytes,
            "capped": t.capped, "newest": t.newest,
        }));
    }

    /// Says what was written in all, and what to do with it.
    pub(super) fn written(&self, report: &mut Report) -> Result<()> {
        let done = &self.done;
        let all = || done.tables.values();
        let (sstables, rows): (u64, u64) = (all().map(|t| t.sstables).sum(), all().map(|t| t.rows).sum());
        let (size, capped): (u64, u64) = (all().map(|t| t.bytes).sum(), all().map(|t| t.capped).sum());
        let (tables, kept) = (done.tables.len(), self.left.kept);
        report.summary(json!({
            "tables": tables, "kept": kept, "again": done.again, "sstables": sstables, "rows": rows, "bytes": size,
            "capped": capped,
        }));
        report.line(format!("{tables} tables, {rows} rows, {sstables} SSTables, {} written", bytes(size)));
        if kept > 0 {
            report.line(format!("{kept} of the tables were there already"));
        }
        for name in &done.again {
            let what =
                "files were imported or removed since an earlier run; the folders of those nodes are written again";
            report.line(format!("{name}: {what}"));
        }
        let filled = |p: &&TablePlan<'_>| done.tables.get(&p.name()).is_some_and(|t| t.sstables > 0);
        let filled: Vec<&TablePlan<'_>> = self.plans.iter().flatten().filter(filled).collect();
        next(&filled, self.request.ring.is_some(), self.out()?, report);
        if capped > 0 {
            report.warn("times", format!("{capped} deletion and expiry times after 2038 were brought forward to it"));
        }
        for what in &done.schema_left_out {
            report.warn("schema", format!("not in schema-1.cql and schema-2.cql: {what}"));
        }
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX).saturating_mul(1000);
        for (name, newest) in done.tables.iter().filter_map(|(name, t)| Some((name, t.newest.filter(|n| *n > now)?))) {
            let when = time(u64::try_from(newest / 1_000_000).unwrap_or(0));
            let what =
                "newer than now: until then, what the target writes without a time of its own loses against them";
            report.warn(name.as_str(), format!("holds write times up to {when}, {what}"));
        }
        Ok(())
    }
}

/// What `next` says of the folders of nodes.
const ON_NODES: [&str; 4] = [
    "Run nodetool on every node, with the folder that has its address for NODE, copied there and readable for Cassandra (`chown -R`);",
    "add --copy-data if the data directory is on another file system. Or stop the node and copy the files into the table's data",
    "directory, with a copy that fails where a name is taken (`cp --update=none-fail`, or `ln` on one file system): one that passes",
    "over it loses an SSTable.",
];

/// What the operator does next with the tables that hold anything.
fn next(plans: &[&TablePlan<'_>], for_nodes: bool, out: &Path, report: &mut Report) {
    let at = |rest: &str| quoted(&format!("{}/{rest}", out.display()));
    report.line("");
    report.line("Next:");
    report.line(format!("  cqlsh -f {}", at("schema-1.cql")));
    for plan in plans {
        let (keyspace, table) = (&plan.table.keyspace, &plan.table.name);
        if for_nodes {
            let level = if plan.plan.level > 0 { "--keep-level " } else { "" };
            let folder = at(&format!("NODE/{keyspace}/{table}"));
            report.line(format!("  nodetool import {level}{keyspace} {table} {folder}"));
        } else {
            report.line(format!("  sstableloader -d HOST {}", at(&format!("{ONCE}/{keyspace}/{table}"))));
        }
    }
    if plans.iter().any(|p| p.captured.counter) {
        report.line("  nodetool invalidatecountercache");
    }
    report.line(format!("  cqlsh -f {}", at("schema-2.cql")));
    if for_nodes {
        ON_NODES.iter().for_each(|line| report.line(*line));
        report.line(
            "The ring must still be the one that was given: one token that a node does not own, and it refuses the folder.",
        );
    }
    report.line("Cells keep their times: they lose against newer writes and deletions in the target. So into empty or truncated tables, or");
    report.line("others (--into).");
    if plans.iter().any(|p| p.captured.counter) {
        report.line("Counters go into empty tables only: anything there already would be counted twice.");
    }
    report
        .line("A restored cluster must never meet the one it was taken from: give it another name and its own seeds.");
}

/// A path for a shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./:-+@%=,".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}
