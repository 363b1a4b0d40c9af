//! `onefold drift`: how each node differed from the reconciled view.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access;
use super::args::{Drift, Global};
use super::output::bytes;
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::drift::{self, Counts, Range, Sample};
use crate::engine::{Engine, engine};
use crate::error::Result;
use crate::run::ChunkSource;
use crate::snapshot::{Shard, Snapshot};
use crate::tree::{self, NodePatch};
use crate::view::View;
use crate::watch::Watch;

/// Counts by table and node, as stored; of one table also samples and counts by range.
pub fn run(global: &Global, args: &Drift, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (_, s) = load(&repo, &args.snapshot, &args.filter, output)?;
    let reader = repo.reader()?;
    let asked = args.samples.is_some() || args.ranges.is_some();
    let Some(shard) = args.table.as_deref().filter(|_| asked).map(|table| s.shard(table)).transpose()? else {
        let node = args.node.as_deref().map(|name| s.node(name)).transpose()?;
        counts(&s, &s.fitting(args.outer.as_deref(), args.table.as_deref())?, node, &reader, output)?;
        access::notes(&repo, output);
        return Ok(Outcome::Fine);
    };
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "drift", !global.quiet, output)?;
    let engine = engine(engines, &s.engine)?;
    let view = View::open(engine, &s, shard, &reader)?;
    let counted = args.ranges.map(|parts| drift::ranges(&view, parts, &watch)).transpose()?;
    let sampled = args.samples.map(|wanted| drift::samples(&view, wanted, &watch)).transpose()?;
    drop(progress);
    if let Some(counted) = counted {
        if !output.is_json() {
            let place = engine.words().place;
            let counts = "node  missing  stale  extra  deletions  purged  to be repaired";
            output.line(&format!("first {place}  last {place}  {counts}"))?;
        }
        ranges(&s, shard, &s.patches(shard, &reader)?, &counted, output)?;
    }
    if let Some(sampled) = sampled {
        samples(&s, shard, &sampled, output)?;
    }
    access::notes(&repo, output);
    Ok(Outcome::Fine)
}

fn counts(
    s: &Snapshot,
    shards: &[&Shard],
    only: Option<usize>,
    chunks: &dyn ChunkSource,
    output: &Output,
) -> Result<()> {
    if !output.is_json() {
        output.line("table  node  rows  missing  stale  extra  deletions  purged")?;
    }
    let nodes = || s.nodes.iter().enumerate().filter(|(i, _)| only.is_none_or(|only| only == *i));
    let mut totals = vec![tree::Drift::default(); s.nodes.len()];
    for t in shards {
        let patches = s.patches(t, chunks)?;
        totals.iter_mut().zip(&patches).for_each(|(all, patch)| all.add(&patch.drift));
        for (i, node) in nodes() {
            let drift = patches.get(i).map(|patch| patch.drift).unwrap_or_default();
            count("drift", Some(&t.name), &node.name, t.rows, &drift, output)?;
        }
        unowned(t, output)?;
    }
    if shards.len() > 1 {
        let rows = shards.iter().map(|t| t.rows).sum();
        for (i, node) in nodes() {
            let all = totals.get(i).copied().unwrap_or_default();
            count("drift_total", None, &node.name, rows, &all, output)?;
        }
    }
    Ok(())
}

/// A line of a table, or of all that are listed.
fn count(kind: &str, table: Option<&str>, node: &str, rows: u64, d: &tree::Drift, output: &Output) -> Result<()> {
    let (missing, stale, extra, deletions, purged) = (d.missing, d.stale, d.extra, d.deletions, d.purged);
    if output.is_json() {
        let mut counts = json!({
            "message_type": kind, "node": node, "rows": rows, "missing": missing, "stale": stale, "extra": extra,
            "deletions": deletions, "purged": purged,
        });
        if let Some(table) = table {
            counts["table"] = table.into();
        }
        return output.object(&counts);
    }
    let name = table.unwrap_or("total");
    output.line(&format!("{name}  {node}  {rows}  {missing}  {stale}  {extra}  {deletions}  {purged}"))
}

/// What no owner has, where there is any.
fn unowned(t: &Shard, output: &Output) -> Result<()> {
    let (name, rows, deletions) = (&t.name, t.unowned.rows, t.unowned.deletions);
    if rows + deletions == 0 {
        return Ok(());
    }
    if output.is_json() {
        let object = json!({ "message_type": "unowned", "table": name, "rows": rows, "deletions": deletions });
        return output.object(&object);
    }
    output.line(&format!("{name}: {rows} rows and {deletions} deletions are held only by nodes that do not own them"))
}

fn ranges(s: &Snapshot, t: &Shard, patches: &[NodePatch], ranges: &[Range], output: &Output) -> Result<()> {
    for range in ranges {
        for (node, counts) in s.nodes.iter().zip(&range.nodes).filter(|(_, c)| **c != Counts::default()) {
            line(t, range, &node.name, counts, output)?;
        }
    }
    for (i, node) in s.nodes.iter().enumerate() {
        let of_node = || ranges.iter().filter_map(|r| r.nodes.get(i));
        let rows: u64 = of_node().map(|c| c.repair_rows).sum();
        let moved: u64 = of_node().map(|c| c.repair_bytes).sum();
        let unsure: u64 = of_node().map(|c| c.unsure).sum();
        // What is no row of the view and was not kept has a number but no place.
        let all = |d: &tree::Drift| d.stale + d.deletions + d.purged;
        let placed: u64 = of_node().map(|c| all(&c.drift)).sum();
        let unplaced = patches.get(i).map_or(0, |n| all(&n.drift)).saturating_sub(placed);
        if output.is_json() {
            output.object(&json!({
                "message_type": "repair", "table": t.name, "node": node.name, "rows": rows, "bytes": moved,
                "unsure": unsure, "unplaced": unplaced,
            }))?;
        } else {
            let may = if unsure > 0 { format!(" ({unsure} records may only be purged)") } else { String::new() };
            output.line(&format!("a repair would bring {} at least {rows} rows, {}{may}", node.name, bytes(moved)))?;
            if unplaced > 0 {
                let what = "it holds that others know to be deleted: which is kept with backup --keep-node-views";
                output.line(&format!("{}: {unplaced} records {what}", node.name))?;
            }
        }
    }
    Ok(())
}

fn line(t: &Shard, range: &Range, node: &str, c: &Counts, output: &Output) -> Result<()> {
    let d = &c.drift;
    if output.is_json() {
        return output.object(&json!({
            "message_type": "drift_range", "table": t.name, "node": node, "first_place": range.first,
            "last_place": range.last, "missing": d.missing, "stale": d.stale, "extra": d.extra,
            "deletions": d.deletions, "purged": d.purged, "unsure": c.unsure, "repair_rows": c.repair_rows,
            "repair_bytes": c.repair_bytes,
        }));
    }
    let (first, last) = (place(&range.first), place(&range.last));
    let (rows, moved) = (c.repair_rows, bytes(c.repair_bytes));
    let (missing, stale, extra, deletions, purged) = (d.missing, d.stale, d.extra, d.deletions, d.purged);
    output.line(&format!(
        "{first}  {last}  {node}  {missing}  {stale}  {extra}  {deletions}  {purged}  {rows} rows, {moved}"
    ))
}

/// As people write it: text without quotes.
fn place(of: &Value) -> String {
    of.as_str().map_or_else(|| of.to_string(), str::to_owned)
}

fn samples(s: &Snapshot, t: &Shard, samples: &[Sample], output: &Output) -> Result<()> {
    if samples.is_empty() && !output.is_json() {
        return output.line(&format!("{}: no node differs from the view", t.name));
    }
    for sample in samples {
        let node = s.nodes.get(sample.node).map_or("?", |n| n.name.as_str());
        if output.is_json() {
            output.object(&shown(t, node, sample))?;
            continue;
        }
        output.line(&format!("{}  {node}  {} {}  {}", t.name, sample.what, sample.record, sample.key))?;
        output.line(&format!("  view  {}", sample.view.as_ref().map_or("nothing", |v| v.get())))?;
        output.line(&format!("  {node}  {}", held(s, sample)))?;
    }
    Ok(())
}

/// What the node holds, in words where that is not kept.
fn held(s: &Snapshot, sample: &Sample) -> String {
    match (&sample.held, sample.what) {
        (Some(held), _) => held.get().to_owned(),
        (None, "missing") => "nothing".to_owned(),
        (None, "extra") => "the same, outside its ranges".to_owned(),
        (None, _) => {
            let times: Vec<String> = sample.other_times.iter().map(i64::to_string).collect();
            let other =
                if times.is_empty() { "less".to_owned() } else { format!("cells written at {}", times.join(", ")) };
            let kept = if s.node_views { "" } else { " (values are kept with backup --keep-node-views)" };
            format!("{other}{kept}")
        }
    }
}

/// A sample as an object: keys in this order.
#[derive(serde::Serialize)]
struct Shown<'a> {
    message_type: &'static str,
    table: &'a str,
    node: &'a str,
    what: &'a str,
    record: &'a str,
    place: &'a serde_json::Value,
    key: &'a serde_json::value::RawValue,
    view: Option<&'a serde_json::value::RawValue>,
    node_holds: Option<&'a serde_json::value::RawValue>,
    other_write_times: &'a [i64],
}

fn shown<'a>(t: &'a Shard, node: &'a str, sample: &'a Sample) -> Shown<'a> {
    Shown {
        message_type: "drift_sample",
        table: &t.name,
        node,
        what: sample.what,
        record: sample.record,
        place: &sample.place,
        key: &sample.key,
        view: sample.view.as_deref(),
        node_holds: sample.held.as_deref(),
        other_write_times: &sample.other_times,
    }
}
