//! Into a live cluster over CQL: tables, a part of one, or a row.

mod job;
mod order;
mod source;
mod state;
mod target;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::client::{Client, Cluster, Level, Rate, Sent};
use super::placing::ring::{Replication, parse_replication};
use super::schema::{Keyspace, Table};
use super::source::ClusterDescription;
use super::{connect, forms};
use crate::engine::target::{Asked, Target, is_of_one_shard};
use crate::engine::{Env, Params};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::report::{Report, bytes};
use job::Job;
use order::{Done, Expiry, Mode, Order};

/// Rows sent at once unless told otherwise.
const CONCURRENCY: i64 = 32;

/// The target.
pub struct IntoCql<'a> {
    params: &'a Params,
    asked: &'a Asked<'a>,
    env: &'a Env<'a>,
    /// Keyspace and table that it goes into, where not its own.
    into: Option<(&'a str, &'a str)>,
    /// How the keyspaces are, or are to be, replicated, where it is said.
    replication: Option<Replication>,
    /// A limit of speed.
    rate: Option<Rate>,
    /// Tables and their keyspaces as captured, by the places of the shards.
    tables: Vec<Result<(Table, Keyspace)>>,
    client: Option<Client>,
    /// Of all tables.
    sent: Sent,
    /// Tables that cannot be written.
    refused: usize,
    started_ms: u64,
}

impl<'a> IntoCql<'a> {
    /// By what was given for the form.
    ///
    /// Errors: parameters that say nothing.
    pub fn new(params: &'a Params, asked: &'a Asked<'a>, env: &'a Env<'a>) -> Result<IntoCql<'a>> {
        if !params.has("contact") {
            return Err(Error::new(Kind::Usage, "restore --to cassandra", "needs a cluster")
                .hint("give --contact HOST[:PORT] of some of its nodes"));
        }
        Ok(IntoCql {
            params,
            asked,
            env,
            into: forms::into(params)?,
            replication: params.text("replication").map(parse_replication).transpose()?,
            rate: params.text("rate").map(rate).transpose()?,
            tables: Vec::new(),
            client: None,
            sent: Sent::default(),
            refused: 0,
            started_ms: now_ms(),
        })
    }

    /// What is asked for of one table; without the place of its state.
    fn order<'o>(&'o self, table: &'o Table, keyspace: &'o Keyspace) -> Order<'o> {
        let (params, asked) = (self.params, self.asked);
        Order {
            snapshot: asked.snapshot.clone(),
            table,
            keyspace,
            into: self.into.unwrap_or((table.keyspace.as_str(), table.name.as_str())),
            condition: asked.condition,
            unowned: asked.unowned,
            mode: match (params.has("replace"), params.has("rewrite-times")) {
                (true, _) => Mode::Replace,
                (_, true) => Mode::RewriteTimes,
                _ => Mode::Empty,
            },
            expiry: match params.text("expiry") {
                Some("shift") => Expiry::Shift,
                Some("lift") => Expiry::Lift,
                _ => Expiry::Keep,
            },
            replication: self.replication.clone(),
            rate: self.rate,
            concurrency: usize::try_from(params.number("concurrency").unwrap_or(CONCURRENCY)).unwrap_or(1),
            state: PathBuf::new(),
        }
    }

    /// Reads a table's description, and refuses what needs no cluster to be refused.
    fn described(&self, place: usize, cluster: &ClusterDescription) -> Result<(Table, Keyspace)> {
        let stored = &self.asked.shards[place];
        let table = Table::read(stored.description, stored.name)?;
        stored.check()?;
        let found = cluster.keyspaces.iter().find(|k| k.name == table.keyspace).cloned();
        // A capture without system_schema says nothing of keyspaces: --replication must.
        let keyspace = found.unwrap_or_else(|| Keyspace::unknown(&table.keyspace));
        self.order(&table, &keyspace).check(self.asked, stored)?;
        Ok((table, keyspace))
    }

    fn connect(&self) -> Result<Client> {
        let level = match self.params.text("consistency") {
            Some("one") => Level::One,
            Some("quorum") => Level::Quorum,
            Some("all") => Level::All,
            _ => Level::LocalQuorum,
        };
        connect::client(self.params, level, self.env)
    }

    /// Where to remember what was sent: what names it is the cluster, however it is reached, and what is asked for.
    fn state(&self, order: &Order<'_>, cluster: &Cluster) -> Result<PathBuf> {
        if let Some(path) = self.params.path("state") {
            return Ok(match self.asked.only {
                Some(_) => path.to_owned(),
                None => path.join(format!("{}.{}", order.table.keyspace, order.table.name)),
            });
        }
        let folder = self.env.state.as_ref().ok_or_else(|| {
            let what = "has no place to remember what was sent: there is no HOME";
            Error::new(Kind::Usage, "restore --to cassandra", what).hint("give --state FILE")
        })?;
        let name = blake3::hash(json!([cluster.name, order.about()]).to_string().as_bytes()).to_hex();
        Ok(folder.join("restores").join(&name[..32]))
    }

    /// Restores a table, or says what would be sent.
    fn restore(&self, place: usize, report: &mut Report) -> Result<Sent> {
        let (Some(planned), Some(client)) = (self.tables.get(place), &self.client) else { return Ok(Sent::default()) };
        let (table, keyspace) = planned.as_ref().map_err(Error::again)?;
        let mut order = self.order(table, keyspace);
        order.state = self.state(&order, client.cluster())?;
        let job = Job::new(client, self.asked, &self.asked.shards[place], &order, self.env.watch);
        let done = if self.asked.dry_run { job.dry_run() } else { job.run() }?;
        told(&done, &order, self.asked.dry_run, report);
        Ok(done.sent)
    }
}

/// Whether an error leaves the other tables to be had: what the target has, or what is asked of it, fits one and not another.
fn is_of_one_table(e: &Error) -> bool {
    is_of_one_shard(e) || e.kind() == Kind::Usage
}

impl Target for IntoCql<'_> {
    fn plan(&mut self) -> Result<Report> {
        let shards = &self.asked.shards;
        self.env.watch.bytes_total.store(shards.iter().map(|stored| stored.bytes).sum(), Ordering::Relaxed);
        let cluster = ClusterDescription::read(self.asked.description)?;
        for place in 0..shards.len() {
            match self.described(place, &cluster) {
                Err(e) if shards.len() == 1 || !is_of_one_table(&e) => return Err(e),
                described => self.tables.push(described),
            }
        }
        self.client = Some(self.connect()?);
        Ok(Report::default())
    }

    fn write(&mut self, place: usize) -> Result<Report> {
        let mut report = Report::default();
        match self.restore(place, &mut report) {
            Ok(sent) => self.sent.add(sent),
            Err(e) => {
                self.refused += 1;
                // What does not fit one of several tables is, as an error of one, passed over.
                return Err(if e.kind() == Kind::Usage && self.asked.shards.len() > 1 {
                    e.of_kind(Kind::Unsupported)
                } else {
                    e
                });
            }
        }
        Ok(report)
    }

    fn finish(&mut self) -> Result<Report> {
        let (mut report, sent) = (Report::default(), &self.sent);
        report.summary(json!({
            "tables": self.asked.shards.len() - self.refused, "rows": sent.rows, "statements": sent.statements,
            "bytes": sent.bytes, "seconds": now_ms().saturating_sub(self.started_ms) as f64 / 1000.0,
        }));
        Ok(report)
    }
}

/// `5000` rows, `10MB` bytes a second.
fn rate(text: &str) -> Result<Rate> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = match text[digits..].to_ascii_lowercase().as_str() {
        "" => None,
        "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        _ => Some(0),
    };
    let number = text[..digits].parse::<u64>().ok().filter(|n| *n > 0);
    match (number, unit) {
        (Some(rows), None) => Ok(Rate::Rows(rows)),
        (Some(n), Some(unit)) if unit > 0 => Ok(Rate::Bytes(n.saturating_mul(unit))),
        _ => {
            Err(Error::new(Kind::Usage, format!("--rate {text}"), "is no rate")
                .hint("give rows (5000) or bytes (10MB)"))
        }
    }
}

fn told(done: &Done, order: &Order<'_>, dry_run: bool, report: &mut Report) {
    let name = format!("{}.{}", order.into.0, order.into.1);
    let sent = &done.sent;
    report.object(json!({
        "message_type": "table", "table": name, "rows": sent.rows, "statements": sent.statements,
        "bytes": sent.bytes, "rows_before": done.rows_before, "done_before": done.done_before,
        "not_carried": done.not_carried, "schema_left_out": done.left_out, "seconds": done.seconds,
        "dry_run": dry_run, "state": order.state,
    }));
    if done.done_before {
        let (rows, state) = (done.rows_before, order.state.display());
        report.line(format!("{name}: done before, {rows} rows; to restore it again, remove {state}"));
        return;
    }
    let what = if dry_run { "would be written" } else { "written" };
    let before = match done.rows_before {
        0 => String::new(),
        n => format!(", {n} rows by an earlier run"),
    };
    let time = done.seconds.map(|s| format!(", in about {s} s")).unwrap_or_default();
    let (rows, statements, size) = (sent.rows, sent.statements, bytes(sent.bytes));
    report.line(format!("{name}: {rows} rows in {statements} statements, {size} {what}{before}{time}"));
    for (what, n) in &done.not_carried {
        report.line(format!("  not exactly as captured: {n} {what}"));
    }
    for what in &done.left_out {
        report.warn(name.as_str(), format!("not made: {what}"));
    }
}
