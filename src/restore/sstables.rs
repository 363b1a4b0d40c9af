//! SSTables for another cluster: for every node of a ring exactly what it holds there, or each row once.

mod folder;
mod plan;
mod schema;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;

use serde_json::json;

use crate::engine::cassandra::Cassandra;
use crate::engine::cassandra::placing::folders::{Folders, Out, Totals, options};
use crate::engine::cassandra::placing::{Cut, Progress, Windows, Writing};
use crate::engine::cassandra::schema::statements::Release;
use crate::error::{Error, Kind, Result};
use crate::merge::ahead;
use crate::repo::world::now_ms;
use crate::run::{ChunkSource, Record, RecordBatch, Run};
use crate::snapshot::Snapshot;
use crate::view::{Side, View, unwritable};
use crate::watch::Watch;

use super::tables::is_of_one_table;
pub use folder::free_bytes;
use folder::{Folder, State};
pub use plan::{ONCE, Plans, Request, TablePlan, left_out, plan, tables, version};

/// What a restore came to.
#[derive(Debug, Default)]
pub struct Report {
    /// What was written of every table, those of earlier runs too.
    pub tables: BTreeMap<String, Totals>,
    /// Tables that an earlier run had done.
    pub kept: usize,
    /// Tables that an earlier run had done, and files of some nodes imported or removed since: these nodes' folders are written again.
    pub again: Vec<String>,
    /// Tables that hold what cannot be written; nothing of them is there.
    pub refused: Vec<Error>,
    /// What of the captured schema `schema-1.cql` and `schema-2.cql` do not make.
    pub schema_left_out: Vec<String>,
}

/// What is still to be written, by table.
pub struct Left {
    /// By the name of the table: whether each node's folder is still to be written.
    missing: BTreeMap<String, Vec<bool>>,
    /// About how many bytes.
    pub bytes: u64,
    /// About how many SSTables.
    pub files: u64,
    /// Tables that are there already.
    pub kept: usize,
}

/// What a restore into `out` finds to do. Nothing is made; errors as those of [`sstables`] before its first byte.
pub fn left(plans: &Plans<'_>, request: &Request<'_>, out: Option<&Path>) -> Result<Left> {
    let look = |out| Folder::look(out, &arguments(plans, request), request.late_times);
    left_of(plans, out.map(look).transpose()?.flatten().as_ref())
}

fn left_of(plans: &Plans<'_>, folder: Option<&Folder>) -> Result<Left> {
    let mut left = Left { missing: BTreeMap::new(), bytes: 0, files: 0, kept: 0 };
    for plan in &plans.tables {
        let missing = match folder {
            Some(folder) => folder.missing(&plan.name(), &plan.table, &plan.folders)?,
            None => vec![true; plan.folders.len()],
        };
        if missing.contains(&true) {
            left.bytes += bytes_of(plan, &missing);
            left.files += plan.plan.files();
            left.missing.insert(plan.name(), missing);
        } else {
            left.kept += 1;
        }
    }
    Ok(left)
}

/// About how many bytes are written for some nodes.
fn bytes_of(plan: &TablePlan<'_>, missing: &[bool]) -> u64 {
    let of_nodes = plan.plan.of_nodes().zip(missing).filter(|(_, missing)| **missing).map(|(node, _)| node.bytes).sum();
    plan.plan.bytes().min(of_nodes)
}

/// Writes the tables of `plans` below `out`, which is empty, not there yet, or holds the same restore, unfinished: then only what is missing
/// is written. Memory: as `placing::files` says, whatever the number of nodes.
///
/// Errors: see `Folder::open`; `Full` before the first byte where the file system has no room for what is estimated (but
/// not under a condition, which makes it less by nobody knows how much), and later where it runs out, with what is still to come;
/// what reading the snapshot gives. What cannot be written of one table alone of several is in [`Report::refused`].
pub fn sstables(
    s: &Snapshot,
    plans: &Plans<'_>,
    request: &Request<'_>,
    out: &Path,
    chunks: &dyn ChunkSource,
    watch: &Watch,
) -> Result<Report> {
    let mut folder = Folder::open(out, arguments(plans, request), request.late_times, now_ms())?;
    let schema = schema::files(&plans.tables, release(s), request.table.is_none())?;
    let mut left = left_of(plans, Some(&folder))?;
    let mut report = Report { schema_left_out: schema.left_out, kept: left.kept, ..Report::default() };
    if request.condition.is_none() {
        enough_room(out, left.bytes)?;
    }
    if folder.state() == State::Writing || !left.missing.is_empty() {
        folder.begin()?;
    }
    let files = [("schema-1.cql", schema.before), ("schema-2.cql", schema.after)];
    files
        .iter()
        .try_for_each(|(name, text)| folder.put(name, text.as_bytes()))
        .map_err(|e| ran_out(e, left.bytes, out))?;
    let missing = plans.tables.iter().filter(|p| left.missing.contains_key(&p.name()));
    watch.bytes_total.store(missing.map(|p| p.shard.bytes_read).sum(), Ordering::Relaxed);
    for plan in &plans.tables {
        let name = plan.name();
        let before = folder.table(&name);
        if let Some(missing) = left.missing.get(&name) {
            let written = write(s, plan, request, folder.out(&plan.folders, missing), chunks, watch);
            match written.map_err(|e| e.within(format_args!("table {name}"))) {
                // The whole table is what was said of it, whoever's folders were written again.
                Ok(totals) => folder.done(&name, &plan.table, &plan.folders, before.unwrap_or(totals))?,
                Err(e) if is_of_one_table(&e) && plans.tables.len() + plans.refused.len() > 1 => report.refused.push(e),
                Err(e) => return Err(ran_out(e, left.bytes, out)),
            }
            left.bytes = left.bytes.saturating_sub(bytes_of(plan, missing));
            report.again.extend(before.map(|_| name.clone()));
        }
        report.tables.extend(folder.table(&name).map(|totals| (name, totals)));
    }
    if report.refused.is_empty() && plans.refused.is_empty() {
        folder.complete()?;
    }
    Ok(report)
}

/// Writes one table, in as many passes over its records as its files take. Of a table that cannot be written nothing is left.
fn write(
    s: &Snapshot,
    plan: &TablePlan<'_>,
    request: &Request<'_>,
    out: Out<'_>,
    chunks: &dyn ChunkSource,
    watch: &Watch,
) -> Result<Totals> {
    let side = if request.unowned { Side::WithUnowned } else { Side::Reconciled };
    let view = View::open(&Cassandra, s, plan.shard, chunks)?.of(side).watched(watch);
    let selection = request.condition.map(|text| view.select(text)).transpose()?;
    let read = |take: &mut dyn FnMut(&Record<'_>) -> Result<()>| {
        thread::scope(|scope| {
            let run = view.records(selection.as_deref())?;
            each(&mut *ahead(scope, &plan.shard.name, run)?, take)
        })
    };
    let again = || watch.bytes_total.fetch_add(plan.shard.bytes_read, Ordering::Relaxed);
    let mut settled = plan.plan.clone();
    if matches!(settled.cut, Cut::Windows { .. }) {
        let mut windows = Windows::new(settled.cut);
        read(&mut |record| windows.push(record))?;
        settled = settled.settled(windows);
        again();
    }
    let options = options(&plan.table, request.version, request.late_times, settled.level)?;
    let mut files = Folders::new(out, &plan.table, &settled.parts, options);
    files.clear()?;
    let mut pass = Some(Progress::default());
    while let Some(before) = pass {
        let mut writing = Writing::new(&settled.parts, settled.cut, before, &mut files);
        let written = read(&mut |record| writing.push(record)).and_then(|()| writing.finish());
        pass = match written {
            Err(e) if is_of_one_table(&e) => return files.clear().and(Err(e)),
            written => written?,
        };
        if pass.is_some() {
            again();
        }
    }
    Ok(files.totals())
}

fn each(run: &mut dyn Run, take: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        batch.iter().try_for_each(|record| take(&record)).map_err(unwritable)?;
    }
    Ok(())
}

/// Everything that decides what is written: a restore goes on only where all of it is the same.
fn arguments(plans: &Plans<'_>, request: &Request<'_>) -> BTreeMap<String, serde_json::Value> {
    let into = request.into.map(|(keyspace, table)| format!("{keyspace}.{table}"));
    // As it comes out: the captured one, and the same in the keyspace that `schema-1.cql` made of it, are no difference.
    let replicated: BTreeMap<_, _> = plans.tables.iter().map(|p| (&p.table.keyspace, &p.replication)).collect();
    let of = [
        ("snapshot", json!(request.snapshot)),
        // All tokens of a large ring are no reading.
        ("ring", json!(request.ring.map(|ring| blake3::hash(json!(ring).to_string().as_bytes()).to_string()))),
        ("replication", json!(replicated)),
        ("table", json!(request.table)),
        ("into", json!(into)),
        ("where", json!(request.condition)),
        ("unowned", json!(request.unowned)),
        ("sstable_version", json!(request.version.to_string())),
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
