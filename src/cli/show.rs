//! `onefold snapshots` and `show`: what the snapshots say.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::remark::Remark;
use serde_json::json;

use super::access;
use super::args::{Filter, Global, Which};
use super::output::{bytes, time};
use super::{Outcome, Output};
use crate::engine::split_name;
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::restore::tree::trees;
use crate::run::ChunkSource;
use crate::snapshot::{self, Snapshot, short};

/// Finds one snapshot and reads it. Newer ones that cannot be read are named: they may be what was meant.
pub fn load(repo: &Repo, name: &str, filter: &Filter, output: &Output) -> Result<(SnapshotInfo, Snapshot)> {
    snapshot::find(repo, name, &filter.of(), &mut |e| {
        output.note(&format!("passed over, though it may be meant: {}: {}", e.subject(), e.message()))
    })
}

/// A snapshot's name, and the path in it, which begins with `/`, behind a colon.
pub fn split(name: &str) -> (&str, Option<&str>) {
    match name.find(":/") {
        Some(at) => (&name[..at], Some(&name[at + 1..])),
        None => (name, None),
    }
}

/// How much a snapshot holds, in words.
pub fn counted(s: &Snapshot) -> Vec<String> {
    let rows: u64 = s.shards.iter().map(|t| t.rows).sum();
    let read = format!("{} read", bytes(s.bytes_read));
    match trees(s).count() {
        0 => {
            vec![format!("{} nodes", s.nodes.len()), format!("{} tables", s.shards.len()), format!("{rows} rows"), read]
        }
        _ => vec![format!("{rows} files and folders"), read],
    }
}

fn verdict(snapshot: &Snapshot) -> &'static str {
    if snapshot.complete { "complete" } else { "INCOMPLETE" }
}

/// The nodes that were not captured, each with what it owns parts of: what tables lie in, or the tables.
pub fn unread(snapshot: &Snapshot) -> Vec<String> {
    let mut by_node: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for shard in &snapshot.shards {
        let of = match split_name(&shard.name) {
            ("", name) => name,
            (space, _) => space,
        };
        for node in &shard.unread {
            by_node.entry(node).or_default().insert(of);
        }
    }
    let line = |(node, owned): (&str, BTreeSet<&str>)| {
        let owned: Vec<&str> = owned.into_iter().collect();
        format!("{node}: owns parts of {}", owned.join(", "))
    };
    by_node.into_iter().map(line).collect()
}

/// `onefold snapshots`. One that cannot be read is named, and hides no other.
pub fn snapshots(global: &Global, filter: &Filter, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let filter = filter.of();
    let mut outcome = Outcome::Fine;
    let all = repo.snapshots();
    let mut infos = all.iter();
    snapshot::read_each(&repo, &all, &mut |read| {
        let Some(info) = infos.next() else { return Ok(()) };
        match read {
            Ok(s) if filter.fits(&s) => listed(info, &s, &repo.remark(&info.id), output),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == Kind::Denied => Err(e),
            Err(e) => {
                outcome = Outcome::Damage;
                unreadable(info, &e, output)
            }
        }
    })?;
    Ok(outcome)
}

fn listed(info: &SnapshotInfo, s: &Snapshot, remark: &Remark, output: &Output) -> Result<()> {
    let rows: u64 = s.shards.iter().map(|t| t.rows).sum();
    if output.is_json() {
        return output.object(&json!({
            "message_type": "snapshot", "id": info.id.to_string(), "time": info.time_ms / 1000,
            "cluster": s.cluster, "host": s.host, "tags": s.tags, "comment": s.comment, "engine": s.engine, "complete": s.complete,
            "cut": s.cut, "window": s.window, "nodes": s.nodes.len(), "tables": s.shards.len(), "rows": rows,
            "bytes_read": s.bytes_read, "pinned": remark.pinned, "reason": remark.reason,
        }));
    }
    let (id, cluster, counted) = (info.id.to_string(), &s.cluster, counted(s).join("  "));
    let (when, verdict) = (time(info.time_ms / 1000), verdict(s));
    let tags: String = s.tags.iter().map(|tag| format!("  {tag}")).collect();
    let pinned = if remark.pinned { format!("  {}", pinned(remark)) } else { String::new() };
    output.line(&format!("{}  {when}  {cluster}  {counted}  {verdict}{tags}{pinned}", short(&id)))
}

/// That it is pinned, and why.
pub fn pinned(remark: &Remark) -> String {
    match remark.reason.as_str() {
        "" => "pinned".to_owned(),
        reason => format!("pinned: {reason}"),
    }
}

fn unreadable(info: &SnapshotInfo, e: &Error, output: &Output) -> Result<()> {
    if output.is_json() {
        return output.object(&json!({
            "message_type": "error", "id": info.id.to_string(), "time": info.time_ms / 1000, "subject": e.subject(),
            "message": e.message(),
        }));
    }
    output.line(&format!(
        "{}  {}  CANNOT BE READ: {}: {}",
        short(&info.id.to_string()),
        time(info.time_ms / 1000),
        e.subject(),
        e.message()
    ))
}

/// What people said of it.
fn said_of(s: &Snapshot, remark: &Remark, output: &Output) -> Result<()> {
    for tag in &s.tags {
        output.line(&format!("tag        {tag}"))?;
    }
    if let Some(comment) = &s.comment {
        output.line(&format!("comment    {comment}"))?;
    }
    if let Some(given) = &s.given_tags {
        let given = if given.is_empty() { "none".to_owned() } else { given.join(", ") };
        output.line(&format!("tags       are the administrator's; the backup was given {given}"))?;
    }
    if remark.pinned {
        output.line(&format!("pinned     {}", if remark.reason.is_empty() { "-" } else { &remark.reason }))?;
    }
    Ok(())
}

/// `onefold show`
pub fn show(global: &Global, args: &Which, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let (info, s) = load(&repo, &args.snapshot, &args.filter, output)?;
    let remark = repo.remark(&info.id);
    if output.is_json() {
        let mut all = serde_json::to_value(&s).map_err(|e| crate::Error::damaged("snapshot", e))?;
        let shards = serde_json::to_value(&s.shards).map_err(|e| crate::Error::damaged("snapshot", e))?;
        (all["shards"], all["description"]) = (shards, s.description.clone());
        all["message_type"] = "snapshot".into();
        all["id"] = info.id.to_string().into();
        (all["given_tags"], all["pinned"]) = (json!(s.given_tags), remark.pinned.into());
        all["reason"] = remark.reason.into();
        output.object(&all)?;
        return Ok(Outcome::Fine);
    }
    output.line(&format!("snapshot   {}", info.id))?;
    output.line(&format!("cluster    {} ({})", s.cluster, s.engine))?;
    output.line(&format!("host       {}", s.host.as_deref().unwrap_or("-")))?;
    said_of(&s, &remark, output)?;
    output.line(&format!("committed  {}", time(info.time_ms / 1000)))?;
    output.line(&format!("window     {} to {}", time(s.window.0), time(s.window.1)))?;
    output.line(&format!("cut        {}", time(s.cut.seconds.into())))?;
    if let Some(position) = &s.cut.position {
        output.line(&format!("position   {position}"))?;
    }
    output.line(&format!("coverage   {}", verdict(&s)))?;
    for line in s.narrowed.lines() {
        output.line(&format!("narrowed   {line}"))?;
    }
    if trees(&s).next().is_none() {
        output.line(&format!(
            "node views {}",
            if s.node_views { "kept" } else { "not kept (--keep-node-views keeps them)" }
        ))?;
    }
    for n in &s.nodes {
        let (address, id) = (n.address.as_deref().unwrap_or("-"), n.host_id.as_deref().unwrap_or("-"));
        let version = n.version.as_deref().unwrap_or("-");
        output.line(&format!("node       {}  {address}  {id}  {version}  captured {}", n.name, time(n.captured)))?;
    }
    output.line(&match trees(&s).next() {
        None => format!("tables     {}, kept files {}", s.shards.len(), s.files_kept()),
        Some(_) => format!("holds      {}", counted(&s).join(", ")),
    })?;
    for path in s.description["paths"].as_array().into_iter().flatten() {
        output.line(&format!("path       {}", path.as_str().unwrap_or_default()))?;
    }
    for (reason, count) in reasons(&s, &repo.reader()?)? {
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
fn reasons(s: &Snapshot, chunks: &dyn ChunkSource) -> Result<BTreeMap<String, usize>> {
    let mut reasons = BTreeMap::new();
    for file in s.files(None, chunks)? {
        *reasons.entry(file?.about.reason).or_default() += 1;
    }
    Ok(reasons)
}
