//! `restore --to cassandra`: what is asked for, and what was sent.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;

use super::connect::client;
use super::{Context, into, passed_over};
use crate::cli::access::state_dir;
use crate::cli::args::{ConsistencyArg, ExpiryArg};
use crate::cli::output::bytes;
use crate::cli::{Outcome, Output};
use crate::engine::cassandra::client::{Client, Cluster, Level, Rate, Sent};
use crate::engine::cassandra::placing::ring::parse_replication;
use crate::engine::cassandra::schema::{Keyspace, Table};
use crate::engine::cassandra::source::ClusterDescription;
use crate::engine::cassandra::whose::is_of_everything;
use crate::error::{Error, Kind, Result};
use crate::restore::cassandra::{Expiry, Job, Mode, Order, Report};
use crate::restore::tables::{self, is_of_one_table, of_table};
use crate::snapshot::Shard;

/// Rows sent at once unless told otherwise.
const CONCURRENCY: u16 = 32;

/// Writes into a cluster, or says what would be written.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let started = Instant::now();
    let &Context { repo, snapshot: s, args, watch, output, .. } = context;
    let shards = tables::chosen(s, args.table.as_deref(), &|name| is_of_everything(name, args.with_roles))?;
    watch.bytes_total.store(shards.iter().map(|t| t.bytes_read).sum(), Ordering::Relaxed);
    if args.connect.contact.is_empty() {
        return Err(Error::new(Kind::Usage, "restore --to cassandra", "needs a cluster")
            .hint("give --contact HOST[:PORT] of some of its nodes"));
    }
    let cluster = ClusterDescription::read(&s.description)?;
    let (mut tables, mut orders, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    // One table of several: the others can be had.
    let mut or_refused = |shard: &Shard, done: Result<()>| match done {
        Err(e) if shards.len() > 1 && (is_of_one_table(&e) || e.kind() == Kind::Usage) => {
            refused.push(of_table(shard, e));
            Ok(false)
        }
        done => done.map(|()| true),
    };
    for shard in &shards {
        let described = Table::read(&shard.description, &shard.name)
            .map(|table| tables.push((*shard, with_keyspace(table, &cluster))));
        or_refused(shard, described)?;
    }
    let reader = repo.reader()?;
    for (shard, (table, keyspace)) in &tables {
        let order = order(context, table, keyspace)?;
        // What needs no cluster to be refused does not wait for one.
        if or_refused(shard, order.check(s, shard, &reader))? {
            orders.push((*shard, order));
        }
    }
    let client = connect(context)?;
    let mut all = Sent::default();
    for (shard, order) in &mut orders {
        order.state = state(context, order, client.cluster())?;
        let job = Job::new(&client, s, shard, order, &reader, watch);
        let done = job.and_then(|job| if args.dry_run { job.dry_run() } else { job.run() });
        let told = |report: Report| {
            all.add(report.sent);
            told(&report, order, args.dry_run, output)
        };
        or_refused(shard, done.and_then(told))?;
    }
    if output.is_json() {
        output.object(&json!({
            "message_type": "summary", "tables": shards.len() - refused.len(), "tables_refused": refused.len(), "rows": all.rows,
            "statements": all.statements, "bytes": all.bytes, "dry_run": args.dry_run, "requests": repo.requests(),
            "seconds": started.elapsed().as_secs_f64(),
        }))?;
    }
    passed_over(&refused.iter().collect::<Vec<_>>(), shards.len(), output)
}

fn connect(context: &Context<'_>) -> Result<Client> {
    let args = context.args;
    let level = match args.cassandra.consistency {
        Some(ConsistencyArg::One) => Level::One,
        None | Some(ConsistencyArg::LocalQuorum) => Level::LocalQuorum,
        Some(ConsistencyArg::Quorum) => Level::Quorum,
        Some(ConsistencyArg::All) => Level::All,
    };
    client(&args.connect, level)
}

/// The table, and its keyspace as captured.
fn with_keyspace(table: Table, cluster: &ClusterDescription) -> (Table, Keyspace) {
    let found = cluster.keyspaces.iter().find(|k| k.name == table.keyspace).cloned();
    // A capture without system_schema says nothing of keyspaces: --replication must.
    let keyspace = found.unwrap_or_else(|| Keyspace::unknown(&table.keyspace));
    (table, keyspace)
}

/// What is asked for of one table.
fn order<'a>(context: &Context<'a>, table: &'a Table, keyspace: &'a Keyspace) -> Result<Order<'a>> {
    let (args, of) = (context.args, &context.args.cassandra);
    let into = match args.into.as_deref() {
        Some(name) => into(name)?,
        None => (table.keyspace.as_str(), table.name.as_str()),
    };
    Ok(Order {
        snapshot: context.info.id.to_string(),
        table,
        keyspace,
        into,
        condition: args.condition.as_deref(),
        unowned: args.include_unowned,
        mode: match (of.replace, of.rewrite_times) {
            (true, _) => Mode::Replace,
            (_, Some(_)) => Mode::RewriteTimes,
            _ => Mode::Empty,
        },
        expiry: match of.expiry {
            None | Some(ExpiryArg::Keep) => Expiry::Keep,
            Some(ExpiryArg::Shift) => Expiry::Shift,
            Some(ExpiryArg::Lift) => Expiry::Lift,
        },
        replication: args.replication.as_deref().map(parse_replication).transpose()?,
        rate: of.rate.as_deref().map(rate).transpose()?,
        concurrency: usize::from(of.concurrency.unwrap_or(CONCURRENCY)),
        // Named when the cluster is known.
        state: PathBuf::new(),
    })
}

/// Where to remember what was sent: what names it is the cluster, however it is reached, and what is asked for.
fn state(context: &Context<'_>, order: &Order<'_>, cluster: &Cluster) -> Result<PathBuf> {
    if let Some(path) = &context.args.cassandra.state {
        return Ok(match context.args.table {
            Some(_) => path.clone(),
            None => path.join(format!("{}.{}", order.table.keyspace, order.table.name)),
        });
    }
    let folder = state_dir().ok_or_else(|| {
        Error::new(Kind::Usage, "restore --to cassandra", "has no place to remember what was sent: there is no HOME")
            .hint("give --state FILE")
    })?;
    let name = blake3::hash(json!([cluster.name, order.about()]).to_string().as_bytes()).to_hex();
    Ok(folder.join("restores").join(&name[..32]))
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

fn told(report: &Report, order: &Order<'_>, dry_run: bool, output: &Output) -> Result<()> {
    let name = format!("{}.{}", order.into.0, order.into.1);
    let sent = &report.sent;
    if output.is_json() {
        output.object(&json!({
            "message_type": "table", "table": name, "rows": sent.rows, "statements": sent.statements,
            "bytes": sent.bytes, "rows_before": report.rows_before, "done_before": report.done_before,
            "not_carried": report.not_carried, "schema_left_out": report.left_out, "seconds": report.seconds,
            "dry_run": dry_run, "state": order.state,
        }))?;
        return Ok(());
    }
    if report.done_before {
        let (rows, state) = (report.rows_before, order.state.display());
        return output.line(&format!("{name}: done before, {rows} rows; to restore it again, remove {state}"));
    }
    let done = if dry_run { "would be written" } else { "written" };
    let before = match report.rows_before {
        0 => String::new(),
        n => format!(", {n} rows by an earlier run"),
    };
    let time = report.seconds.map(|s| format!(", in about {s} s")).unwrap_or_default();
    let (rows, statements, size) = (sent.rows, sent.statements, bytes(sent.bytes));
    output.line(&format!("{name}: {rows} rows in {statements} statements, {size} {done}{before}{time}"))?;
    for (what, n) in &report.not_carried {
        output.line(&format!("  not exactly as captured: {n} {what}"))?;
    }
    for what in &report.left_out {
        output.warn(&name, &format!("not made: {what}"));
    }
    Ok(())
}
