//! `onefold snapshots`, `show` and `ls`: what the snapshots say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::access;
use super::args::{Global, Which};
use super::output::{bytes, time};
use super::{Outcome, Output};
use crate::error::Result;
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::Snapshot;

/// Opens the repository and reads one snapshot.
pub fn load(repo: &Repo, name: &str) -> Result<(SnapshotInfo, Snapshot)> {
    let info = repo.find_snapshot(name)?;
    let stored = repo.snapshot(&info.id)?;
    let snapshot = Snapshot::decode(&stored.body).map_err(|e| e.within(format!("snapshot {}", info.id)))?;
    Ok((info, snapshot))
}

/// The first digits of an id, enough to name it.
fn short(info: &SnapshotInfo) -> String {
    info.id.to_string().chars().take(10).collect()
}

fn verdict(snapshot: &Snapshot) -> &'static str {
    if snapshot.complete { "complete" } else { "INCOMPLETE" }
}

/// The nodes that were not captured, each with the keyspaces that it owns parts of.
pub fn unread(snapshot: &Snapshot) -> Vec<String> {
    let mut by_node: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for shard in &snapshot.shards {
        let keyspace = shard.name.split_once('.').map_or(shard.name.as_str(), |(keyspace, _)| keyspace);
        for node in &shard.unread {
            by_node.entry(node).or_default().insert(keyspace);
        }
    }
    let line = |(node, keyspaces): (&str, BTreeSet<&str>)| {
        let keyspaces: Vec<&str> = keyspaces.into_iter().collect();
        format!("{node}: owns parts of {}", keyspaces.join(", "))
    };
    by_node.into_iter().map(line).collect()
}

/// `onefold snapshots`
pub fn snapshots(global: &Global, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    for info in repo.snapshots() {
        let (_, s) = load(&repo, &info.id.to_string())?;
        let rows: u64 = s.shards.iter().map(|t| t.rows).sum();
        if output.is_json() {
            output.object(&json!({
                "message_type": "snapshot", "id": info.id.to_string(), "time": info.time_ms / 1000,
                "cluster": s.cluster, "engine": s.engine, "complete": s.complete, "cut": s.cut, "window": s.window,
                "nodes": s.nodes.len(), "tables": s.shards.len(), "rows": rows, "bytes_read": s.bytes_read,
            }))?;
        } else {
            let (nodes, tables) = (s.nodes.len(), s.shards.len());
            let (when, read) = (time(info.time_ms / 1000), bytes(s.bytes_read));
            output.line(&format!(
                "{}  {when}  {}  {nodes} nodes  {tables} tables  {rows} rows  {read} read  {}",
                short(&info),
                s.cluster,
                verdict(&s)
            ))?;
        }
    }
    Ok(Outcome::Fine)
}

/// `onefold show`
pub fn show(global: &Global, args: &Which, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (info, s) = load(&repo, &args.snapshot)?;
    if output.is_json() {
        let mut all = serde_json::to_value(&s).map_err(|e| crate::Error::damaged("snapshot", e))?;
        all["message_type"] = "snapshot".into();
        all["id"] = info.id.to_string().into();
        output.object(&all)?;
        return Ok(Outcome::Fine);
    }
    output.line(&format!("snapshot   {}", info.id))?;
    output.line(&format!("cluster    {} ({})", s.cluster, s.engine))?;
    output.line(&format!("committed  {}", time(info.time_ms / 1000)))?;
    output.line(&format!("window     {} to {}", time(s.window.0), time(s.window.1)))?;
    output.line(&format!("coverage   {}", verdict(&s)))?;
    for line in s.narrowed.lines() {
        output.line(&format!("narrowed   {line}"))?;
    }
    output.line(&format!(
        "node views {}",
        if s.node_views { "kept" } else { "not kept (--keep-node-views keeps them)" }
    ))?;
    for n in &s.nodes {
        let (address, id) = (n.address.as_deref().unwrap_or("-"), n.host_id.as_deref().unwrap_or("-"));
        let version = n.version.as_deref().unwrap_or("-");
        output.line(&format!("node       {}  {address}  {id}  {version}  captured {}", n.name, time(n.captured)))?;
    }
    output.line(&format!("tables     {}, kept files {}", s.shards.len(), s.files.len()))?;
    for (reason, count) in reasons(&s) {
        output.line(&format!("kept       {count} files: {reason}"))?;
    }
    for note in &s.notes {
        output.line(&format!("noted      {note}"))?;
    }
    for line in unread(&s) {
        output.line(&format!("not read   {line}"))?;
    }
    for p in &s.problems {
        output.line(&format!("problem    {}: {}", p.subject, p.message))?;
    }
    Ok(Outcome::Fine)
}

/// Why files were kept byte for byte, and how many for each reason.
fn reasons(s: &Snapshot) -> BTreeMap<&str, usize> {
    let mut reasons = BTreeMap::new();
    for file in &s.files {
        *reasons.entry(file.reason.as_str()).or_default() += 1;
    }
    reasons
}

/// `onefold ls`
pub fn ls(global: &Global, args: &Which, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (_, s) = load(&repo, &args.snapshot)?;
    for t in &s.shards {
        if output.is_json() {
            output.object(&json!({
                "message_type": "table", "name": t.name, "id": t.id, "rows": t.rows, "bytes_read": t.bytes_read,
            }))?;
        } else {
            output.line(&format!("table  {}  {} rows  {} read", t.name, t.rows, bytes(t.bytes_read)))?;
        }
    }
    for f in &s.files {
        let node = s.nodes.get(f.node).map_or("?", |n| n.name.as_str());
        if output.is_json() {
            output.object(&json!({
                "message_type": "file", "node": node, "name": f.name, "length": f.length, "reason": f.reason,
            }))?;
        } else {
            output.line(&format!("file   {node}  {}  {}  {}", f.name, bytes(f.length), f.reason))?;
        }
    }
    Ok(Outcome::Fine)
}
