//! SSTables for another cluster: for every node of a ring exactly what it holds there, or each row once.

mod folder;
mod plan;
mod schema;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::json;

use crate::engine::cassandra::read_schema::Schema;
use crate::engine::cassandra::schema::statements::Release;
use crate::engine::cassandra::source::CassandraRule;
use crate::engine::cassandra::target::folders::{Folders, Out, Totals, options};
use crate::engine::cassandra::target::{Progress, Writing};
use crate::error::{Error, Kind, Result};
use crate::merge::ahead;
use crate::repo::world::now_ms;
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::Snapshot;
use crate::watch::Watch;

use super::select::{self, Selection};
use folder::Folder;
pub use folder::{State, free_bytes};
pub use plan::{ONCE, Request, TablePlan, left_out, plan, tables, version};

/// What a restore came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was written of every table, those of earlier runs too.
    pub tables: BTreeMap<String, Totals>,
    /// Tables that an earlier run had done.
    pub kept: usize,
    /// Tables that an earlier run had done, and whose files were imported or removed since: they are written again.
    pub again: Vec<String>,
    /// What of the captured schema `schema-1.cql` and `schema-2.cql` do not make.
    pub schema_left_out: Vec<String>,
}

/// Writes the tables of `plans` below `out`, which is empty, not there yet, or holds the same restore, unfinished: then only what is missing
/// is written. Memory: as `target::files` says, whatever the number of nodes.
///
/// Errors: see `Folder::open`; `Full` before the first byte where the file system has no room for what is estimated, and
/// later where it runs out, with what is still to come; what reading the snapshot gives.
pub fn sstables(
    s: &Snapshot,
    plans: &[TablePlan<'_>],
    request: &Request<'_>,
    out: &Path,
    chunks: &dyn ChunkSource,
    watch: &Watch,
) -> Result<Report> {
    let mut folder = Folder::open(out, arguments(request), now_ms())?;
    let schema = schema::files(plans, release(s), request.table.is_none())?;
    let mut report = Report { schema_left_out: schema.left_out, ..Report::default() };
    for plan in plans {
        if folder.forget_moved(&plan.name(), &plan.table, &plan.folders)? {
            report.again.push(plan.name());
        }
    }
    let missing: Vec<&TablePlan<'_>> = plans.iter().filter(|p| folder.table(&p.name()).is_none()).collect();
    let mut left: u64 = missing.iter().map(|p| p.bytes).sum();
    enough_room(out, left)?;
    if !missing.is_empty() {
        folder.begin()?;
    }
    watch.bytes_total.store(missing.iter().map(|p| p.shard.bytes_read).sum(), Ordering::Relaxed);
    if folder.state() == State::Writing {
        let files = [("schema-1.cql", schema.before), ("schema-2.cql", schema.after)];
        files
            .iter()
            .try_for_each(|(name, text)| folder.put(name, text.as_bytes()))
            .map_err(|e| ran_out(e, left, out))?;
    }
    for plan in plans {
        let name = plan.name();
        let totals = match folder.table(&name) {
            Some(totals) => {
                report.kept += 1;
                totals
            }
            None => {
                let written = write(s, plan, request, folder.out(&plan.folders), chunks, watch);
                let totals = written.map_err(|e| ran_out(e, left, out))?;
                folder.done(&name, &plan.table, &plan.folders, totals)?;
                left = left.saturating_sub(plan.bytes);
                totals
            }
        };
        report.tables.insert(name, totals);
    }
    folder.complete()?;
    Ok(report)
}

/// Writes one table, in as many passes over its records as its windows take.
fn write(
    s: &Snapshot,
    plan: &TablePlan<'_>,
    request: &Request<'_>,
    out: Out<'_>,
    chunks: &dyn ChunkSource,
    watch: &Watch,
) -> Result<Totals> {
    let options = options(&plan.table, request.version, request.late_times, plan.plan.level)?;
    let mut files = Folders::new(out, &plan.table, &plan.plan.parts, options);
    files.clear()?;
    let rule = CassandraRule { counter: plan.captured.counter };
    let selection = Selection { condition: request.condition, watch: Some(watch), ..Selection::default() };
    let mut pass = Some(Progress::default());
    while let Some(before) = pass {
        let writing = Writing::new(&plan.plan.parts, plan.plan.cut, before, &mut files);
        pass = thread::scope(|scope| {
            let run = select::records(s, plan.shard, &selection, &rule, chunks)?;
            copy(&mut *ahead(scope, &plan.shard.name, run)?, writing)
        })?;
        if pass.is_some() {
            watch.bytes_total.fetch_add(plan.shard.bytes_read, Ordering::Relaxed);
        }
    }
    Ok(files.totals())
}

fn copy(run: &mut dyn Run, mut writing: Writing<'_>) -> Result<Option<Progress>> {
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        for record in batch.iter() {
            writing.push(&record)?;
        }
    }
    writing.finish()
}

/// Everything that decides what is written: a restore goes on only where all of it is the same.
fn arguments(request: &Request<'_>) -> BTreeMap<String, serde_json::Value> {
    let into = request.into.map(|(keyspace, table)| format!("{keyspace}.{table}"));
    let of_keyspace =
        |(name, schema): (&'_ String, &'_ Schema)| (name.clone(), schema.keyspace(name).map(|k| k.replication.clone()));
    let replicated: BTreeMap<_, _> = request.there.iter().map(of_keyspace).collect();
    let of = [
        ("snapshot", json!(request.snapshot)),
        // All tokens of a large ring are no reading.
        ("ring", json!(request.ring.map(|ring| blake3::hash(json!(ring).to_string().as_bytes()).to_string()))),
        ("replication", json!(request.replication)),
        ("target", json!(replicated)),
        ("table", json!(request.table)),
        ("into", json!(into)),
        ("where", json!(request.condition)),
        ("sstable_version", json!(format!("{:?}", request.version).to_lowercase())),
        ("late_times", json!(format!("{:?}", request.late_times).to_lowercase())),
    ];
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The newest release among the captured nodes, whose options the schema may have.
fn release(s: &Snapshot) -> Release {
    let known = s.nodes.iter().filter_map(|n| Release::parse(n.version.as_deref()?));
    known.max().unwrap_or(Release::NEWEST)
}

fn enough_room(out: &Path, needed: u64) -> Result<()> {
    let free = free_bytes(out)?;
    if free >= needed {
        return Ok(());
    }
    let what = format!("about {needed} bytes are needed, {free} are free, {} more are needed", needed - free);
    Err(Error::new(Kind::Full, out.display(), what).hint("make room, or give --out on another file system"))
}

/// An error that says how much more room is needed, and that nothing done is lost.
fn ran_out(e: Error, left: u64, out: &Path) -> Error {
    if e.kind() != Kind::Full {
        return e;
    }
    let free = free_bytes(out).unwrap_or(0);
    let what = format!("{}: about {} more bytes are needed", e.message(), left.saturating_sub(free).max(1));
    Error::new(Kind::Full, e.subject(), what)
        .hint("make room and repeat the command: tables that are done are kept, restore.json names them")
}
