//! SSTables for another cluster: for every node of a ring exactly what it holds there, or each row once.

mod folder;
mod plan;
mod said;
mod schema;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::forms;
use super::placing::TargetRing;
use super::placing::folders::Totals;
use super::placing::ring::parse_replication;
use super::read_schema::Schema;
use super::schema::statements::Release;
use super::sstable::Version;
use super::sstable::write::LateTimes;
use crate::engine::target::{Asked, Target, is_of_one_shard};
use crate::engine::{Env, Node, Params};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::report::Report;
use folder::{Folder, State, free_bytes};
use plan::{Request, TablePlan};

/// The target.
pub struct IntoSsTables<'a> {
    asked: &'a Asked<'a>,
    env: &'a Env<'a>,
    request: Request,
    /// Tables that are restored into and hold data, as far as a live target was asked.
    holding: Vec<String>,
    /// By the places of the shards.
    plans: Vec<Result<TablePlan<'a>>>,
    left: Left,
    /// None before it is made ready, and where nothing is written.
    folder: Option<Folder>,
    done: Done,
}

/// What a restore came to.
#[derive(Debug, Default)]
struct Done {
    /// What was written of every table, those of earlier runs too.
    tables: BTreeMap<String, Totals>,
    /// Tables that an earlier run had done, and files of some nodes imported or removed since: these nodes' folders are written again.
    again: Vec<String>,
    /// Tables that cannot be written; nothing of them is there.
    refused: usize,
    /// What of the captured schema `schema-1.cql` and `schema-2.cql` do not make.
    schema_left_out: Vec<String>,
}

/// What is still to be written, by table.
#[derive(Debug, Default)]
struct Left {
    /// By the name of the table: whether each node's folder is still to be written.
    missing: BTreeMap<String, Vec<bool>>,
    /// About how many bytes.
    bytes: u64,
    /// About how many SSTables.
    files: u64,
    /// Tables that are there already.
    kept: usize,
}

impl<'a> IntoSsTables<'a> {
    /// By what was given for the form.
    ///
    /// Errors: parameters that say nothing; a live target that cannot be asked.
    pub fn new(params: &Params, asked: &'a Asked<'a>, env: &'a Env<'a>) -> Result<IntoSsTables<'a>> {
        let into = forms::into(params)?.map(|(keyspace, table)| (keyspace.to_owned(), table.to_owned()));
        let there = There::ask(params, asked, into.as_ref(), env)?;
        let request = Request {
            ring: there.ring,
            replication: params.text("replication").map(parse_replication).transpose()?,
            there: there.schemas,
            into,
            version: match params.text("sstable-version") {
                Some("nb") => Version::Nb,
                Some("oa") => Version::Oa,
                _ => plan::version(asked)?,
            },
            late_times: match params.text("late-times") {
                Some("cap") => LateTimes::Cap,
                _ => LateTimes::Refuse,
            },
        };
        let (left, done) = (Left::default(), Done::default());
        Ok(IntoSsTables { asked, env, request, holding: there.holding, plans: Vec::new(), left, folder: None, done })
    }

    /// The tables that can be written.
    fn planned(&self) -> Vec<&TablePlan<'a>> {
        self.plans.iter().flatten().collect()
    }

    fn out(&self) -> Result<&'a Path> {
        let none = || Error::new(Kind::Usage, "restore --to sstables", "needs a folder").hint("give --out DIR");
        self.asked.out.ok_or_else(none)
    }

    /// What is to be done beside what is in `folder`.
    fn left(&self, folder: Option<&Folder>) -> Result<Left> {
        let mut left = Left::default();
        for plan in self.plans.iter().flatten() {
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

    /// Makes the folder, which is empty, not there yet, or holds the same restore, unfinished: then only what is missing is written.
    ///
    /// Errors: see [`Folder::open`]; `Full` before the first byte where the file system has no room for what is estimated, but not
    /// under a condition, which makes it less by nobody knows how much.
    fn begin(&mut self) -> Result<()> {
        let out = self.out()?;
        let mut folder = Folder::open(out, self.arguments(), self.request.late_times, now_ms())?;
        let schema = schema::files(&self.planned(), release(self.asked.nodes), self.asked.only.is_none())?;
        let left = self.left(Some(&folder))?;
        self.done.schema_left_out = schema.left_out;
        if self.asked.condition.is_none() {
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
        let missing = self.plans.iter().flatten().filter(|plan| left.missing.contains_key(&plan.name()));
        self.env.watch.bytes_total.store(missing.map(|plan| plan.stored.bytes).sum(), Ordering::Relaxed);
        (self.left, self.folder) = (left, Some(folder));
        Ok(())
    }

    /// Writes what is missing of a table. Of one that cannot be written nothing is left.
    fn table(&mut self, place: usize) -> Result<()> {
        let out = self.out()?;
        let (Some(Ok(plan)), Some(folder)) = (self.plans.get(place), &mut self.folder) else { return Ok(()) };
        let name = plan.name();
        let before = folder.table(&name);
        if let Some(missing) = self.left.missing.get(&name) {
            let work = table::Work { request: &self.request, watch: self.env.watch };
            let written = work.write(plan, folder.out(&plan.folders, missing));
            let bytes = self.left.bytes;
            let totals = written.map_err(|e| ran_out(e.within(format_args!("table {name}")), bytes, out))?;
            // The whole table is what was said of it, whoever's folders were written again.
            folder
                .done(&name, &plan.table, &plan.folders, before.unwrap_or(totals))
                .map_err(|e| ran_out(e, bytes, out))?;
            self.left.bytes = bytes.saturating_sub(bytes_of(plan, missing));
            self.done.again.extend(before.map(|_| name.clone()));
        }
        self.done.tables.extend(folder.table(&name).map(|totals| (name, totals)));
        Ok(())
    }

    /// Everything that decides what is written: a restore goes on only where all of it is the same.
    fn arguments(&self) -> BTreeMap<String, serde_json::Value> {
        let (asked, request) = (self.asked, &self.request);
        let into = request.into.as_ref().map(|(keyspace, table)| format!("{keyspace}.{table}"));
        // As it comes out: the captured one, and the same in the keyspace that `schema-1.cql` made of it, are no difference.
        let replicated: BTreeMap<_, _> =
            self.plans.iter().flatten().map(|p| (&p.table.keyspace, &p.replication)).collect();
        // All tokens of a large ring are no reading.
        let ring = request.ring.as_ref().map(|ring| blake3::hash(json!(ring).to_string().as_bytes()).to_string());
        let of = [
            ("snapshot", json!(asked.snapshot)),
            ("ring", json!(ring)),
            ("replication", json!(replicated)),
            ("table", json!(asked.only)),
            ("into", json!(into)),
            ("where", json!(asked.condition)),
            ("unowned", json!(asked.unowned)),
            ("sstable_version", json!(request.version.to_string())),
        ];
        of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Target for IntoSsTables<'_> {
    fn plan(&mut self) -> Result<Report> {
        self.plans = plan::plan(self.asked, &self.request, self.env.watch)?;
        let mut report = Report::default();
        self.warn(&mut report);
        if self.asked.dry_run {
            let look = |out| Folder::look(out, &self.arguments(), self.request.late_times);
            let there = self.asked.out.map(look).transpose()?.flatten();
            self.left = self.left(there.as_ref())?;
            report.line("table  node  rows  bytes  SSTables");
        } else {
            self.begin().map_err(|e| goes_on(e, self.asked.out))?;
        }
        Ok(report)
    }

    fn write(&mut self, place: usize) -> Result<Report> {
        let mut report = Report::default();
        if let Some(Err(e)) = self.plans.get(place) {
            self.done.refused += 1;
            return Err(e.again());
        }
        if self.asked.dry_run {
            self.would(place, &mut report);
            return Ok(report);
        }
        self.table(place).map_err(|e| {
            self.done.refused += usize::from(is_of_one_shard(&e));
            goes_on(e, self.asked.out)
        })?;
        self.wrote(place, &mut report);
        Ok(report)
    }

    fn finish(&mut self) -> Result<Report> {
        let mut report = Report::default();
        if self.asked.dry_run {
            self.would_in_all(&mut report)?;
            return Ok(report);
        }
        if let Some(folder) = self.folder.as_mut().filter(|_| self.done.refused == 0) {
            folder.complete().map_err(|e| goes_on(e, self.asked.out))?;
        }
        self.written(&mut report)?;
        Ok(report)
    }
}

/// What is known of the target.
#[derive(Default)]
struct There {
    ring: Option<TargetRing>,
    /// What a live one has of the keyspaces, by name.
    schemas: BTreeMap<String, Schema>,
    /// Tables that are restored into and hold data.
    holding: Vec<String>,
}

impl There {
    /// The ring of a file or of a live target; none for the layout that needs none.
    fn ask(params: &Params, asked: &Asked<'_>, into: Option<&(String, String)>, env: &Env<'_>) -> Result<There> {
        let once = params.text("layout") == Some("once");
        match params.path("ring") {
            _ if params.has("contact") => There::live(params, asked, into, env),
            None if once => Ok(There::default()),
            Some(_) if once => Err(Error::new(Kind::Usage, "--ring", "is of no use with --layout once")
                .hint("sstableloader finds the nodes by itself: leave one of the two out")),
            None => {
                let hint = "give --contact HOST of the live target, or --ring FILE, the output of its `nodetool ring`, or --layout once";
                Err(Error::new(Kind::Usage, "restore --to sstables", "needs the target's ring").hint(hint))
            }
            Some(path) => {
                let subject = path.display().to_string();
                let text = fs::read(path).map_err(|e| Error::io(&subject, e))?;
                let text = String::from_utf8(text).map_err(|_| Error::new(Kind::Usage, &subject, "is no text"))?;
                Ok(There { ring: Some(TargetRing::parse(&text, &subject)?), ..There::default() })
            }
        }
    }

    /// Asks a live target for its ring and for what it has of what is restored.
    #[cfg(feature = "cql")]
    fn live(params: &Params, asked: &Asked<'_>, into: Option<&(String, String)>, env: &Env<'_>) -> Result<There> {
        let client = super::connect::client(params, super::client::Level::One, env)?;
        let mut there = There::default();
        if params.text("layout") != Some("once") {
            there.ring = Some(TargetRing::of(&client.ring()?));
        }
        for table in plan::tables(asked, into) {
            let keyspace = &table.keyspace;
            if !there.schemas.contains_key(keyspace) {
                there.schemas.insert(keyspace.clone(), client.schema(keyspace)?);
            }
            let has = |schema: &Schema| schema.tables.iter().any(|t| t.name == table.name);
            if there.schemas.get(keyspace).is_some_and(has) && client.holds_data(&table, (keyspace, &table.name))? {
                there.holding.push(format!("{keyspace}.{}", table.name));
            }
        }
        Ok(there)
    }

    #[cfg(not(feature = "cql"))]
    fn live(_: &Params, _: &Asked<'_>, _: Option<&(String, String)>, _: &Env<'_>) -> Result<There> {
        Err(Error::new(Kind::Unsupported, "--contact", "is not built in")
            .hint("build with the feature cql, or give --ring FILE"))
    }
}

/// About how many bytes are written for some nodes.
fn bytes_of(plan: &TablePlan<'_>, missing: &[bool]) -> u64 {
    let of_nodes = plan.plan.of_nodes().zip(missing).filter(|(_, missing)| **missing).map(|(node, _)| node.bytes).sum();
    plan.plan.bytes().min(of_nodes)
}

/// The newest release among the captured nodes, whose options the schema may have.
fn release(nodes: &[Node]) -> Release {
    let known = nodes.iter().filter_map(|n| Release::parse(n.version.as_deref()?));
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

/// An interruption that says how to go on.
fn goes_on(e: Error, out: Option<&Path>) -> Error {
    match (e.kind(), out) {
        (Kind::Interrupted, Some(out)) => {
            Error::new(e.kind(), out.display(), e.message()).hint("repeat the command to go on")
        }
        _ => e,
    }
}
