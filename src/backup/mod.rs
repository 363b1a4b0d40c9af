//! Captured nodes in, one snapshot out.
//!
//! Shard by shard: every node's files are merged, then the nodes; the merged run becomes a tree, what the merge says of
//! the nodes their patches. A file that turns out to be damaged or not understood is kept byte for byte, and its
//! shard is done again without it.

mod clocks;
mod compare;
mod fold;
mod previous;
mod run;
pub mod seen;
mod small;
mod state;
mod target;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::thread;

use crate::blob;
use crate::engine::{self, Engine, Source, Without};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::run::{Cut, ShardKind};
use crate::snapshot::{self, About, Patch, Snapshot, Tree};
use crate::tree::UnownedCount;
use crate::volume::Place;
use crate::watch::Watch;
use compare::Fallen;
use fold::{Attempt, Common, Outcome};
use small::Early;

pub use previous::{Earlier, Of, Previous};
pub use run::{DRY_RUN, Done, Planned, TAKES, plan, run, takes};
pub use seen::Seen;
pub use state::State;
pub use target::Target;

/// What the operator chooses.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the cluster.
    pub cluster: String,
    /// Keep what stale rows hold, so that every node's own view reads back.
    pub node_views: bool,
    /// When everything counts as captured, seconds since 1970; otherwise as the captures say.
    pub cut: Option<u32>,
    /// The machine that makes the backup, where known.
    pub host: Option<String>,
    /// Labels of the snapshot.
    pub tags: Vec<String>,
    /// What there is to say of it.
    pub comment: Option<String>,
    /// Shards that may have fallen to nothing, or by more than half, since the last complete snapshot.
    pub accepted: Vec<String>,
    /// Every table is stored anew, whatever snapshots there are.
    pub whole: bool,
}

/// Everything between reading the capture, which is `engine`'s, and committing the snapshot. The caller commits.
pub fn backup(
    engine: &dyn Engine,
    source: &dyn Source,
    target: &Target<'_>,
    options: &Options,
    watch: &Watch,
) -> Result<Snapshot> {
    let started_ms = now_ms();
    if options.cluster.trim().is_empty() {
        let e = Error::new(Kind::Usage, "--cluster", "an empty name");
        return Err(e.hint("give the cluster the name it is known by"));
    }
    if source.nodes().is_empty() {
        return Err(Error::new(Kind::Usage, "backup", "no node was given").hint("give at least one --node NAME=DIR"));
    }
    let newest = target.before.and_then(Previous::newest);
    let times = clocks::believed(source, options.cut, newest.as_deref(), started_ms / 1000)?;
    compare::check_accepted(source, target, options)?;
    let (files, patches) = (BTreeMap::new(), Vec::new());
    let captured = u32::try_from(times.window.0).unwrap_or(u32::MAX);
    let common = Common { engine, source, target, options, captured, cut: times.cut, watch };
    let mut work = Work { common, files, patches, stands: false, notes: Vec::new() };
    let shards = work.shards()?;
    work.kept()?;
    work.notes.extend(source.release());
    for problem in source.problems() {
        watch.gap(&options.cluster, problem);
    }
    let (dropped, missing) = compare::gone(source, target);
    for (name, message) in missing.iter().filter(|(name, _)| !options.accepted.contains(name)) {
        watch.gap(format_args!("table {name}"), message);
    }
    let must = if work.stands { vec![snapshot::LAYERS.to_owned()] } else { Vec::new() };
    let unread = shards.iter().any(|s: &snapshot::Shard| !s.unread.is_empty() || !s.ring_known);
    let problems = watch.problems();
    let files: Vec<_> = std::mem::take(&mut work.files).into_values().collect();
    let kept_bytes = files.iter().map(|f| f.content.length).sum::<u64>();
    let files = snapshot::write_files(&files, source.nodes(), target.sink, &target.shape(snapshot::FILE_BYTES, &[]))?;
    let shape = target.shape(snapshot::PATCH_BYTES, &snapshot::NUMBERS);
    let patches = snapshot::write_patches(&work.patches, source.nodes(), target.sink, &shape)?;
    // What the operator gives is a time; no engine's log was asked where that is.
    let position = if options.cut.is_none() { source.position() } else { None };
    let cut = Cut { seconds: times.cut, position };
    Ok(Snapshot {
        version: snapshot::VERSION,
        must,
        engine: engine.name().to_owned(),
        cluster: options.cluster.clone(),
        host: options.host.clone(),
        tags: options.tags.clone(),
        given_tags: None,
        comment: options.comment.clone(),
        accepted: options.accepted.clone(),
        started_ms,
        finished_ms: now_ms(),
        window: times.window,
        cut,
        complete: problems.is_empty() && !unread,
        node_views: options.node_views,
        nodes: source.nodes().to_vec(),
        bytes_read: shards.iter().map(|s| s.bytes_read).sum::<u64>() + kept_bytes,
        shards,
        patches: patches.map(Tree::from),
        files: files.map(Tree::from),
        problems,
        narrowed: source.narrowed().clone(),
        notes: notes(source, target, options, dropped).into_iter().chain(work.notes).collect(),
        description: source.describe(None)?,
    })
}

/// What was seen and is no loss.
fn notes(source: &dyn Source, target: &Target<'_>, options: &Options, dropped: Vec<String>) -> Vec<String> {
    let mut notes = source.notes().to_vec();
    notes.extend(dropped);
    notes.extend(options.cut.map(|_| "the cut is the operator's (--cut), not the captures'".to_owned()));
    notes.extend(target.before.map(Previous::passed_over).unwrap_or_default());
    notes
}

struct Work<'a> {
    common: Common<'a>,
    /// By node and name.
    files: BTreeMap<(usize, String), snapshot::File>,
    patches: Vec<Patch>,
    /// Some shard stands on what was stored before.
    stands: bool,
    /// What was seen, and is no loss.
    notes: Vec<String>,
}

impl Work<'_> {
    fn subject(&self, node: usize, file: &str) -> String {
        let name = self.common.source.nodes().get(node).map_or("?", |n| n.name.as_str());
        format!("node {name}: {file}")
    }

    /// Merges and stores all shards, in their order.
    fn shards(&mut self) -> Result<Vec<snapshot::Shard>> {
        let (all, next) = (self.common.source.shards(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let mut early = Early::start(scope, self.common, all, &next)?;
            let each = |(at, shard)| self.shard(shard, early.take(at)?);
            all.iter().enumerate().map(each).collect()
        })
    }

    /// Merges and stores one shard, without the files that turn out not to be readable. `first` is what came of the first attempt,
    /// where it was made.
    fn shard(&mut self, shard: &engine::Shard, mut first: Option<Outcome>) -> Result<snapshot::Shard> {
        let mut without = Without::new();
        let description = self.common.source.describe(Some(shard))?;
        let schema = self.common.engine.schema(&shard.name, &description)?;
        let attempt = Attempt { common: self.common, schema: &*schema, shard, alone: false };
        loop {
            self.common.watch.check()?;
            let folded = match first.take().map_or_else(|| attempt.run(&without), Ok)? {
                Ok(folded) => folded,
                Err(refused) => {
                    for refused in refused {
                        self.refuse(shard, &refused)?;
                        if !without.insert((refused.node, refused.name)) {
                            return Err(refused.error.within("left out already, and read all the same"));
                        }
                    }
                    continue;
                }
            };
            self.stands |= folded.stands;
            self.notes.extend(folded.notes.iter().cloned());
            self.compare(&attempt, &without, &folded)?;
            self.found(shard, &without)?;
            let captured = self.common.source.captured(shard).into_iter().enumerate();
            let not_captured = captured.filter(|(_, captured)| !captured).map(|(node, _)| node).collect();
            let patches = folded.patches.iter().enumerate();
            self.patches.extend(patches.map(|(node, patch)| Patch { shard: shard.id.clone(), node, patch: *patch }));
            return Ok(snapshot::Shard {
                name: shard.name.clone(),
                kind: shard.kind,
                id: shard.id.clone(),
                leaf_records: folded.leaf_records,
                rows: folded.rows,
                expiring: Some(folded.expiring),
                digest: snapshot::hex(&folded.digest),
                layers: folded.layers.into_iter().map(Tree::from).collect(),
                not_captured,
                unowned: folded.unowned,
                unread: shard.unread.clone(),
                ring_known: shard.ring_known,
                // Of files it is known only now.
                bytes_read: match shard.kind {
                    ShardKind::Files => self.common.source.bytes(shard),
                    _ => folded.bytes_read,
                },
                description,
            });
        }
    }

    /// Says what is missing in a shard that was read and understood.
    fn compare(&mut self, attempt: &Attempt<'_>, without: &Without, folded: &fold::Folded) -> Result<()> {
        let name = &attempt.shard.name;
        if folded.unowned != UnownedCount::default() {
            let UnownedCount { rows, deletions } = folded.unowned;
            let message = format_args!(
                "{rows} rows and {deletions} deletions are held only by nodes that do not own them: they are not in the view; \
                 repair or decide, restore --include-unowned gives them back"
            );
            self.common.watch.gap(format_args!("table {name}"), message);
        }
        if self.common.options.accepted.contains(name) {
            return Ok(());
        }
        match compare::fallen(attempt, without, folded.rows)? {
            Fallen::No => {}
            Fallen::Gap(message) => self.common.watch.gap(format_args!("table {name}"), message),
            Fallen::Note(message) => self.notes.push(message),
        }
        Ok(())
    }

    /// Keeps what the capture says is to be kept.
    fn kept(&mut self) -> Result<()> {
        for kept in self.common.source.kept() {
            self.common.watch.check()?;
            let subject = self.subject(kept.node, &kept.name);
            if kept.problem {
                self.common.watch.problem(false, &subject, format_args!("kept byte for byte: {}", kept.reason));
            }
            self.keep(kept.node, &kept.place, kept.name.clone(), &kept.reason, false)?;
        }
        Ok(())
    }

    /// Keeps the files of a run that could not be decoded, and says so.
    fn refuse(&mut self, shard: &engine::Shard, refused: &fold::Refused) -> Result<()> {
        let damage = refused.error.kind() == Kind::Damaged;
        let what = match damage {
            true => "the file is damaged: its files are kept byte for byte",
            false => "the file is not understood: its files are kept byte for byte",
        };
        self.common.watch.problem(
            damage,
            self.subject(refused.node, &refused.error.to_string()),
            format_args!("{what}; its rows of {} are not merged", shard.name),
        );
        self.keep_all(shard, refused.node, &refused.files, refused.error.message(), false)
    }

    /// Says what was seen in the files of a shard whose rows are merged. Those that are not as they should be are kept, too.
    fn found(&mut self, shard: &engine::Shard, without: &Without) -> Result<()> {
        for finding in self.common.source.findings(shard) {
            if without.contains(&(finding.node, finding.part.clone())) {
                continue;
            }
            let subject = self.subject(finding.node, &finding.part);
            let Some(damage) = finding.damage else {
                self.notes.push(format!("{subject}: {}", finding.what));
                continue;
            };
            let kept = format_args!(
                "{}: its rows of {} are merged, and the file is kept byte for byte",
                finding.what, shard.name
            );
            self.common.watch.problem(damage, &subject, kept);
            self.keep_all(shard, finding.node, &finding.files, &finding.what, true)?;
        }
        Ok(())
    }

    fn keep_all(
        &mut self,
        shard: &engine::Shard,
        node: usize,
        files: &[Place],
        reason: &str,
        merged: bool,
    ) -> Result<()> {
        for place in files {
            let file = place.file_name().to_string_lossy();
            let name = format!("{}-{}/{file}", shard.name.replacen('.', "/", 1), shard.id);
            self.keep(node, place, name, reason, merged)?;
        }
        Ok(())
    }

    /// Stores a file as it is. What cannot be read is a problem of its own, not the end of the backup.
    fn keep(&mut self, node: usize, place: &Place, name: String, reason: &str, merged: bool) -> Result<()> {
        let subject = self.subject(node, &name);
        if let Some(kept) = self.files.get_mut(&(node, name.clone())) {
            kept.about.reason = format!("{}; {reason}", kept.about.reason);
            kept.about.merged &= merged;
            return Ok(());
        }
        let mut file = match place.reader() {
            Ok(file) => file,
            Err(e) if e.kind() == Kind::Full || self.common.source.is_lost() => return Err(e),
            Err(e) => {
                let message = format!("cannot be read, and is not kept: {}", e.message());
                self.common.watch.problem(true, subject, message);
                return Ok(());
            }
        };
        let blob = match blob::write(&mut file, &subject, &self.common.target.blobs, self.common.target.sink) {
            Ok(blob) => blob,
            Err(e) if e.subject() == subject && e.kind() == Kind::Io && !self.common.source.is_lost() => {
                self.common.watch.problem(
                    true,
                    subject,
                    format_args!("cannot be read, and is not kept: {}", e.message()),
                );
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let about = About { reason: reason.to_owned(), merged };
        self.files.insert((node, name.clone()), snapshot::File { node, name, content: blob, about });
        Ok(())
    }
}
