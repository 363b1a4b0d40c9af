//! `onefold backup`

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::access;
use super::args::{Backup, BackupCassandra, BackupEngine, Global};
use super::output::bytes;
use super::progress::Progress;
use super::show::unread;
use super::{Outcome, Output};
use crate::backup::{Options, Previous, Target, backup};
use crate::engine::cassandra::source::{Cassandra, ENGINE, NodeDir};
use crate::engine::{Described, Narrowed, Source};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, WriteOptions, WriteStats};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// Backs captured nodes up.
pub fn run(global: &Global, args: &Backup, output: &Output) -> Result<Outcome> {
    let BackupEngine::Cassandra(args) = &args.engine;
    let nodes = args.nodes.iter().map(|n| node(n, args.snapshot_tag.as_deref())).collect::<Result<Vec<_>>>()?;
    let repo = access::open(global, output)?;
    let narrowed = Narrowed {
        only: args.keyspaces.clone(),
        excluded: args.exclude.clone(),
        data_center: args.data_center.clone(),
        absent: Vec::new(),
    };
    // From here on a signal ends the work in order: links to live files, made when nodes are opened, are removed.
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "backup", !global.quiet, output)?;
    let before = Previous::of(&repo, ENGINE, &args.cluster);
    let describe = |id: &str| before.shard(id).map(|earlier| earlier.shard.description.clone());
    let source = Cassandra::open_narrowed(&nodes, args.source_ring.as_deref(), &Described::by(&describe), narrowed)?;
    watch.check()?;
    watch.bytes_total.store(source.bytes(), std::sync::atomic::Ordering::Relaxed);
    let options = Options {
        cluster: args.cluster.clone(),
        node_views: args.keep_node_views,
        cut: args.cut,
        host: args.host.clone().or_else(host),
        tags: args.tags.clone(),
        accepted: args.accept_emptied.clone(),
    };
    let (snapshot, stored) = if args.dry_run {
        let nowhere = Nowhere(&repo);
        let target = Target::of(&repo, Some(&before), &nowhere)?;
        (backup(&source, &target, &options, &watch)?, None)
    } else {
        store(&repo, &before, &source, args, &options, &watch)?
    };
    drop(progress);
    access::notes(&repo, output);
    let printed = report(&snapshot, stored.as_ref(), output);
    match &stored {
        None => printed?,
        // The commit stands, whoever could be told of it.
        Some((id, _)) => output.told(printed, &format!("snapshot {id} was made, see `onefold show`")),
    }
    Ok(outcome(&snapshot))
}

/// `NAME[@ADDRESS]=DIR[,DIR…]`; a folder whose own name has a comma is one folder.
fn node(text: &OsStr, tag: Option<&str>) -> Result<NodeDir> {
    let bad = |message| {
        Error::new(Kind::Usage, format!("--node {}", text.display()), message).hint("write NAME[@ADDRESS]=DIR[,DIR…]")
    };
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|b| *b == b'=').ok_or_else(|| bad("has no folder"))?;
    // Folders are any bytes; a name is text.
    let name = std::str::from_utf8(&bytes[..at]).map_err(|_| bad("has a name that is not UTF-8"))?;
    let dir = OsStr::from_bytes(&bytes[at + 1..]);
    let (name, address) = match name.split_once('@') {
        Some((name, address)) => (name, Some(address.to_owned())),
        None => (name, None),
    };
    let dirs: Vec<PathBuf> = match Path::new(dir).exists() {
        true => vec![PathBuf::from(dir)],
        false => dir.as_bytes().split(|b| *b == b',').map(|d| PathBuf::from(OsStr::from_bytes(d))).collect(),
    };
    if name.is_empty() || dirs.iter().any(|d| d.as_os_str().is_empty()) || address.as_deref() == Some("") {
        return Err(bad("lacks a name, an address or a folder"));
    }
    Ok(NodeDir { name: name.to_owned(), address, dirs, tag: tag.map(str::to_owned) })
}

/// The name of this machine, where the system tells it.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Writes packs, index objects, snapshot, and the log's entry that makes it one.
fn store(
    repo: &Repo,
    before: &Previous<'_>,
    source: &dyn Source,
    args: &BackupCassandra,
    options: &Options,
    watch: &Watch,
) -> Result<(Snapshot, Option<(String, WriteStats)>)> {
    let options_of_writer =
        WriteOptions { level: args.compression_level, take_over: args.take_over, ..WriteOptions::default() };
    let writer = repo.writer(options_of_writer)?;
    let snapshot = backup(source, &Target::of(repo, Some(before), &writer)?, options, watch)?;
    watch.check()?;
    let (info, stats) = writer.commit(snapshot.roots()?, snapshot.encode()?)?;
    Ok((snapshot, Some((info.id.to_string(), stats))))
}

/// Names chunks and drops them.
struct Nowhere<'a>(&'a Repo);

impl ChunkSink for Nowhere<'_> {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        Ok(self.0.ring().repo.chunk_id.id(kind, plain))
    }
}

/// Problems that are no gaps are of files that were not read or not decoded.
fn outcome(s: &Snapshot) -> Outcome {
    if s.problems.iter().any(|problem| !problem.gap) {
        return Outcome::SourceUnread;
    }
    if s.complete { Outcome::Fine } else { Outcome::Incomplete }
}

/// What of earlier backups is not whole any more, and what was done about it.
fn doubted(stats: &WriteStats, output: &Output) {
    let WriteStats { packs_doubted: packs, index_objects_doubted: indexes, packs_named_anew: named, .. } = stats;
    if *packs > 0 {
        output.note(&format!(
            "{packs} packs of earlier backups are missing or damaged: what this backup needs of them is stored anew. \
             `onefold check` says what that means for the others"
        ));
    }
    if *indexes > 0 || *named > 0 {
        output.note(&format!(
            "{indexes} index objects of earlier backups are missing or damaged; {named} packs that none named are named anew"
        ));
    }
}

fn report(s: &Snapshot, stored: Option<&(String, WriteStats)>, output: &Output) -> Result<()> {
    let rows: u64 = s.shards.iter().map(|t| t.rows).sum();
    if output.is_json() {
        for problem in &s.problems {
            output
                .object(&json!({ "message_type": "error", "subject": problem.subject, "message": problem.message }))?;
        }
        return output.object(&json!({
            "message_type": "summary", "snapshot": stored.map(|s| &s.0), "dry_run": stored.is_none(),
            "complete": s.complete, "not_read": unread(s), "narrowed": s.narrowed, "notes": s.notes, "nodes": s.nodes.len(), "tables": s.shards.len(), "rows": rows,
            "bytes_read": s.bytes_read, "stored": stored.map(|s| s.1), "files_kept": s.files_kept(),
            "seconds": (s.finished_ms - s.started_ms) as f64 / 1000.0,
        }));
    }
    for problem in &s.problems {
        output.note(&format!("{}: {}", problem.subject, problem.message));
    }
    for note in &s.notes {
        output.note(&format!("noted: {note}"));
    }
    for line in unread(s) {
        output.note(&format!("not read: {line}"));
    }
    for line in s.narrowed.lines() {
        output.note(&format!("narrowed: {line}"));
    }
    let (nodes, tables, read) = (s.nodes.len(), s.shards.len(), bytes(s.bytes_read));
    output.line(&format!("{nodes} nodes, {tables} tables, {rows} rows, {read} read"))?;
    if let Some((id, stats)) = stored {
        doubted(stats, output);
        output.line(&format!("{} added, {} of it new plaintext", bytes(stats.bytes_stored), bytes(stats.bytes_new)))?;
        let verdict = if s.complete { "complete" } else { "INCOMPLETE: `onefold show` says why" };
        output.line(&format!("snapshot {id} {verdict}"))?;
    }
    Ok(())
}
