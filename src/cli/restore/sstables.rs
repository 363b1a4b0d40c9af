//! `restore --to sstables`: what is asked for, and what to do with what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::json;

#[cfg(feature = "cql")]
use super::connect::client;
use super::{Context, into, passed_over};
use crate::cli::args::{LateTimesArg, LayoutArg, VersionArg};
use crate::cli::output::{bytes, time};
use crate::cli::{Outcome, Output};
#[cfg(feature = "cql")]
use crate::engine::cassandra::client::Level;
use crate::engine::cassandra::placing::TargetRing;
use crate::engine::cassandra::placing::ring::parse_replication;
use crate::engine::cassandra::read_schema::Schema;
use crate::engine::cassandra::sstable::Version;
use crate::engine::cassandra::sstable::write::LateTimes;
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::restore::sstables::{self, ONCE, Plans, Report, Request, TablePlan};

/// Bytes of SSTables that are written in a second, for the estimate alone (benches/README.md).
const BYTES_A_SECOND: u64 = 25_000_000;
/// Small SSTables that are written in a second: each is ten files that are synced.
const FILES_A_SECOND: u64 = 40;

/// Writes SSTables, or says what would be written.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { repo, info, snapshot: s, args, watch, output, .. } = context;
    let into = args.into.as_deref().map(into).transpose()?;
    let target = target(context, into)?;
    let request = Request {
        snapshot: info.id.to_string(),
        ring: target.ring.as_ref(),
        replication: args.replication.as_deref().map(parse_replication).transpose()?,
        there: target.there,
        table: args.table.as_deref(),
        with_roles: args.with_roles,
        into,
        condition: args.condition.as_deref(),
        unowned: args.include_unowned,
        version: match args.sstables.sstable_version {
            None => sstables::version(s)?,
            Some(VersionArg::Nb) => Version::Nb,
            Some(VersionArg::Oa) => Version::Oa,
        },
        late_times: match args.sstables.late_times {
            None | Some(LateTimesArg::Refuse) => LateTimes::Refuse,
            Some(LateTimesArg::Cap) => LateTimes::Cap,
        },
    };
    let plans = sstables::plan(s, &request, watch)?;
    for (keyspace, what) in short_of_nodes(&plans.tables, request.ring) {
        output
            .warn(&format!("keyspace {keyspace}"), &format!("{what}: QUORUM and ALL fail there until nodes are added"));
    }
    if let [first, rest @ ..] = &target.holding[..] {
        let (subject, hold) = match rest.len() {
            0 => (format!("table {first} of the target"), "holds"),
            more => (format!("{first} and {more} more tables of the target"), "hold"),
        };
        let lose =
            "imported cells lose against newer ones and newer deletions; TRUNCATE first, or restore --into another";
        output.warn(&subject, &format!("{hold} data: {lose}"));
    }
    let mut refused: Vec<&Error> = plans.refused.iter().collect();
    let report;
    if args.dry_run {
        would(&plans, &request, args.out.as_deref(), output)?;
    } else {
        let out = args
            .out
            .as_deref()
            .ok_or_else(|| Error::new(Kind::Usage, "restore --to sstables", "needs a folder").hint("give --out DIR"))?;
        let done = sstables::sstables(s, &plans, &request, out, &repo.reader()?, watch);
        report = done.map_err(|e| match e.kind() {
            Kind::Interrupted => Error::new(e.kind(), out.display(), e.message()).hint("repeat the command to go on"),
            _ => e,
        })?;
        written(&report, &plans, &request, out, output)?;
        refused.extend(&report.refused);
    }
    for name in sstables::left_out(s, &request) {
        let advice = "name it with --table (roles and grants: --with-roles) if you want it";
        output.warn(name, &format!("not restored: a table of Cassandra's own; {advice}"));
    }
    passed_over(&refused, plans.tables.len() + plans.refused.len(), output)
}

/// What is known of the target.
#[derive(Default)]
struct Target {
    ring: Option<TargetRing>,
    /// What a live one has of the keyspaces, by name.
    there: BTreeMap<String, Schema>,
    /// Tables that are restored into and hold data.
    holding: Vec<String>,
}

/// The target; no ring for the layout that needs none.
fn target(context: &Context<'_>, into: Option<(&str, &str)>) -> Result<Target> {
    let (of, contact) = (&context.args.sstables, &context.args.connect.contact);
    let once = of.layout == Some(LayoutArg::Once);
    match &of.ring {
        _ if !contact.is_empty() => live(context, into, once),
        None if once => Ok(Target::default()),
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
            Ok(Target { ring: Some(TargetRing::parse(&text, &subject)?), ..Target::default() })
        }
    }
}

/// Asks a live target for its ring and for what it has of what is restored.
#[cfg(feature = "cql")]
fn live(context: &Context<'_>, into: Option<(&str, &str)>, once: bool) -> Result<Target> {
    let &Context { snapshot: s, args, .. } = context;
    let client = client(&args.connect, Level::One)?;
    let mut target = Target::default();
    if !once {
        target.ring = Some(TargetRing::of(&client.ring()?));
    }
    for table in sstables::tables(s, args.table.as_deref(), args.with_roles, into)? {
        let keyspace = &table.keyspace;
        if !target.there.contains_key(keyspace) {
            target.there.insert(keyspace.clone(), client.schema(keyspace)?);
        }
        let there = target.there.get(keyspace).is_some_and(|has| has.tables.iter().any(|t| t.name == table.name));
        if there && client.holds_data(&table, (keyspace, &table.name))? {
            target.holding.push(format!("{keyspace}.{}", table.name));
        }
    }
    Ok(target)
}

#[cfg(not(feature = "cql"))]
fn live(_: &Context<'_>, _: Option<(&str, &str)>, _: bool) -> Result<Target> {
    Err(Error::new(Kind::Unsupported, "--contact", "is not built in")
        .hint("build with the feature cql, or give --ring FILE"))
}

/// By keyspace: where the replication asks for more nodes than there are.
fn short_of_nodes<'p>(plans: &'p [TablePlan<'_>], ring: Option<&TargetRing>) -> BTreeSet<(&'p str, String)> {
    let of = |p: &'p TablePlan<'_>| {
        let short = ring.map(|ring| ring.short_of_nodes(&p.replication)).unwrap_or_default();
        short.into_iter().map(|what| (p.table.keyspace.as_str(), what))
    };
    plans.iter().flat_map(of).collect()
}

/// Says what would be written, table by table and node by node.
fn would(plans: &Plans<'_>, request: &Request<'_>, out: Option<&Path>, output: &Output) -> Result<()> {
    let left = sstables::left(plans, request, out)?;
    let at_most = request.condition.is_some();
    if !output.is_json() {
        output.line("table  node  rows  bytes  SSTables")?;
    }
    let part = if at_most { "at most " } else { "about " };
    for plan in &plans.tables {
        let name = plan.name();
        for (share, node) in plan.plan.of_nodes().zip(plan.folders.iter()) {
            let (size, files) = (share.bytes, share.files);
            let rows = (plan.shard.rows as f64 * share.share).round() as u64;
            if output.is_json() {
                output.object(&json!({
                    "message_type": "node_table", "table": name, "node": node, "rows": rows, "bytes": size,
                    "sstables": files, "at_most": at_most, "dry_run": true,
                }))?;
            } else {
                output.line(&format!("{name}  {node}  {part}{rows}  {part}{}  {part}{files}", bytes(size)))?;
            }
        }
    }
    let seconds = left.bytes / BYTES_A_SECOND + left.files / FILES_A_SECOND + 1;
    if let Some(out) = out.filter(|_| !at_most)
        && let Some(short) = left.bytes.checked_sub(sstables::free_bytes(out)?).filter(|short| *short > 0)
    {
        output.warn(&out.display().to_string(), &format!("has about {} too little room", bytes(short)));
    }
    let tables = plans.tables.len();
    if output.is_json() {
        return output.object(&json!({
            "message_type": "summary", "tables": tables, "kept": left.kept, "bytes": left.bytes, "seconds": seconds,
            "at_most": at_most, "dry_run": true,
        }));
    }
    if left.kept > 0 {
        output.line(&format!("{} of the tables are there already", left.kept))?;
    }
    // What several nodes hold is written once.
    output.line(&format!("{tables} tables, {part}{} on disk, {part}{seconds} s", bytes(left.bytes)))
}

/// Says what was written, and what to do with it.
fn written(report: &Report, plans: &Plans<'_>, request: &Request<'_>, out: &Path, output: &Output) -> Result<()> {
    let all = || report.tables.values();
    let (sstables, rows): (u64, u64) = (all().map(|t| t.sstables).sum(), all().map(|t| t.rows).sum());
    let (size, capped): (u64, u64) = (all().map(|t| t.bytes).sum(), all().map(|t| t.capped).sum());
    if output.is_json() {
        for (name, t) in &report.tables {
            output.object(&json!({
                "message_type": "table", "name": name, "sstables": t.sstables, "rows": t.rows, "bytes": t.bytes,
                "capped": t.capped, "newest": t.newest,
            }))?;
        }
        output.object(&json!({
            "message_type": "summary", "tables": report.tables.len(),
            "tables_refused": plans.refused.len() + report.refused.len(), "kept": report.kept, "again": report.again, "sstables": sstables,
            "rows": rows, "bytes": size, "capped": capped, "dry_run": false,
        }))?;
    } else {
        let tables = report.tables.len();
        output.line(&format!("{tables} tables, {rows} rows, {sstables} SSTables, {} written", bytes(size)))?;
        if report.kept > 0 {
            output.line(&format!("{} of the tables were there already", report.kept))?;
        }
        for name in &report.again {
            output.line(&format!(
                "{name}: files were imported or removed since an earlier run; the folders of those nodes are written again"
            ))?;
        }
        let filled = |p: &&TablePlan<'_>| report.tables.get(&p.name()).is_some_and(|t| t.sstables > 0);
        next(&plans.tables.iter().filter(filled).collect::<Vec<_>>(), request, out, output)?;
    }
    if capped > 0 {
        output.warn("times", &format!("{capped} deletion and expiry times after 2038 were brought forward to it"));
    }
    for what in &report.schema_left_out {
        output.warn("schema", &format!("not in schema-1.cql and schema-2.cql: {what}"));
    }
    let now = i64::try_from(now_ms()).unwrap_or(i64::MAX).saturating_mul(1000);
    for (name, newest) in report.tables.iter().filter_map(|(name, t)| Some((name, t.newest.filter(|n| *n > now)?))) {
        let when = time(u64::try_from(newest / 1_000_000).unwrap_or(0));
        let what = "newer than now: until then, what the target writes without a time of its own loses against them";
        output.warn(name, &format!("holds write times up to {when}, {what}"));
    }
    Ok(())
}

/// What `next` says of the folders of nodes.
const ON_NODES: [&str; 4] = [
    "Run nodetool on every node, with the folder that has its address for NODE, copied there and readable for Cassandra (`chown -R`);",
    "add --copy-data if the data directory is on another file system. Or stop the node and copy the files into the table's data",
    "directory, with a copy that fails where a name is taken (`cp --update=none-fail`, or `ln` on one file system): one that passes",
    "over it loses an SSTable.",
];

/// What the operator does next.
fn next(plans: &[&TablePlan<'_>], request: &Request<'_>, out: &Path, output: &Output) -> Result<()> {
    let at = |rest: &str| quoted(&format!("{}/{rest}", out.display()));
    output.line("")?;
    output.line("Next:")?;
    output.line(&format!("  cqlsh -f {}", at("schema-1.cql")))?;
    for plan in plans {
        let (keyspace, table) = (&plan.table.keyspace, &plan.table.name);
        if request.ring.is_none() {
            output.line(&format!("  sstableloader -d HOST {}", at(&format!("{ONCE}/{keyspace}/{table}"))))?;
        } else {
            let level = if plan.plan.level > 0 { "--keep-level " } else { "" };
            let folder = at(&format!("NODE/{keyspace}/{table}"));
            output.line(&format!("  nodetool import {level}{keyspace} {table} {folder}"))?;
        }
    }
    if plans.iter().any(|p| p.captured.counter) {
        output.line("  nodetool invalidatecountercache")?;
    }
    output.line(&format!("  cqlsh -f {}", at("schema-2.cql")))?;
    if request.ring.is_some() {
        for line in ON_NODES {
            output.line(line)?;
        }
        output.line("The ring must still be the one that was given: one token that a node does not own, and it refuses the folder.")?;
    }
    output.line("Cells keep their times: they lose against newer writes and deletions in the target. So into empty or truncated tables, or")?;
    output.line("others (--into).")?;
    if plans.iter().any(|p| p.captured.counter) {
        output.line("Counters go into empty tables only: anything there already would be counted twice.")?;
    }
    output.line("A restored cluster must never meet the one it was taken from: give it another name and its own seeds.")
}

/// A path for a shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./:-+@%=,".contains(c);
    if path.chars().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}
