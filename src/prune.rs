//! Taking away what no snapshot needs: snapshots are walked, the repository does the rest ([`crate::repo::prune`]).

use std::collections::{BTreeSet, HashSet};

use repo_format::credential::Sets;
use repo_format::id::SnapshotId;
use repo_format::limits::LOG_LIST_MAX;
use repo_format::names::PackName;

use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::repo::log::Trimmed;
use crate::repo::prune::{Done, Garbage, Limits, Marked, Marks, Survey};
use crate::run::{ChunkId, ChunkSource, Reached};
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// How long entries of the log stay, milliseconds: 30 days, or the grace, if that is longer.
pub const LOG_GRACE: u64 = 30 * 86_400_000;
/// How long readers are given to end, if nothing else is said, milliseconds: 3 days.
pub const GRACE: u64 = 3 * 86_400_000;
/// How often it begins anew because a backup ended meanwhile.
const TRIES: usize = 3;

/// How to prune.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Milliseconds that readers are given to end: what is condemned is deleted after that.
    pub grace_ms: u64,
    /// How much of what lies beside what is needed may stay.
    pub limits: Limits,
    /// Says what would be done.
    pub dry_run: bool,
}

/// What a prune came to. Bytes are lengths of objects.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Pruned {
    /// What was done; of a dry run what would be.
    #[serde(flatten)]
    pub done: Done,
    /// What became of the log.
    #[serde(flatten)]
    pub log: Trimmed,
    /// Packs that are condemned, and wait for the grace to end.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// Bytes of all packs before.
    pub bytes_before: u64,
    /// Bytes of frames that snapshots need.
    pub bytes_needed: u64,
    /// Bytes of frames that nobody needs, beside such as are needed in one pack.
    pub bytes_beside: u64,
    /// Chunks that snapshots need.
    pub chunks: u64,
    /// Those of them that no pack is known to hold.
    pub chunks_lost: u64,
    /// Of a dry run: requests that this would take after those that say what would be done, roughly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
}

/// Requests, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Requests {
    /// Packs that are read.
    pub reads: u64,
    /// Objects that are written: packs, index objects, entries of the log and their second copies.
    pub writes: u64,
    /// Objects that are deleted.
    pub deletes: u64,
}

impl Requests {
    fn of(done: &Done, log: &Trimmed, pack_target: u64) -> Requests {
        let packs = if done.packs_emptied > 0 { done.bytes_moved / pack_target.max(1) + 2 } else { 0 };
        // A session is opened and committed, and names its packs; each entry has a second copy.
        let moved = if packs > 0 { packs + 1 + 2 * 2 } else { 0 };
        let entries =
            done.packs_condemned.div_ceil(LOG_LIST_MAX as u64) + done.packs_deleted.div_ceil(LOG_LIST_MAX as u64);
        let checkpoints = if log.log_checkpoint.is_some() { 2 } else { 0 };
        Requests {
            reads: done.packs_emptied,
            writes: moved + 2 * (entries + done.sessions_ended) + checkpoints,
            deletes: done.packs_deleted + 2 * done.others_deleted + log.log_objects_deleted,
        }
    }
}

/// Takes away what no snapshot needs. Needs *read* and *admin*, and *write* for what is moved and for index objects: without
/// *write* these stay as they are. Damage goes into `watch`.
///
/// Errors: a snapshot cannot be walked, so nobody knows what it needs: nothing is taken away then.
pub fn prune(repo: &Repo, options: &Options, watch: &Watch) -> Result<Pruned> {
    if !options.dry_run {
        repo.needs(Sets::ADMIN)?;
    }
    without(repo, &BTreeSet::new(), options, watch)
}

/// What [`prune`] would do if these snapshots were forgotten.
pub fn rehearse(repo: &Repo, forgotten: &BTreeSet<SnapshotId>, options: &Options, watch: &Watch) -> Result<Pruned> {
    without(repo, forgotten, &Options { dry_run: true, ..*options }, watch)
}

fn without(repo: &Repo, forgotten: &BTreeSet<SnapshotId>, options: &Options, watch: &Watch) -> Result<Pruned> {
    repo.needs(Sets::READ)?;
    let mut tried = 1;
    loop {
        match mark(repo, forgotten, watch).and_then(|marked| of_marked(repo, &marked, options, watch)) {
            Err(e) if e.kind() == Kind::Busy && tried < TRIES => tried += 1,
            other => return other,
        }
    }
}

/// Takes away what nobody needs who was marked.
///
/// Errors: `Busy` where a backup ended meanwhile: what is needed is to be marked anew.
pub fn of_marked(repo: &Repo, marked: &Marked, options: &Options, watch: &Watch) -> Result<Pruned> {
    let writes = repo.ring().sets().has(Sets::WRITE);
    let mut done = Done::default();
    match repo.end_silent(options.dry_run, &mut done) {
        // What is due is deleted first; the next run ends them.
        Err(e) if e.kind() == Kind::Full => {}
        ended => ended?,
    }
    let survey = repo.survey(marked)?;
    let chosen = if writes { survey.worth_emptying(options.limits) } else { Vec::new() };
    let mut pruned = told(&survey, marked, &chosen);
    if options.dry_run {
        pruned.done = Done { sessions_ended: done.sessions_ended, ..would_do(repo, &survey, &chosen, options)? };
    } else {
        let garbage = take_away(repo, marked, &survey, &chosen, options, watch, &mut done)?;
        (pruned.packs_waiting, pruned.bytes_waiting) = (garbage.waiting.len() as u64, garbage.waiting.values().sum());
        pruned.done = done;
    }
    if repo.ring().sets().has(Sets::ADMIN) {
        pruned.log = repo.trim(options.grace_ms.max(LOG_GRACE), options.dry_run)?;
    }
    if options.dry_run {
        pruned.requests = Some(Requests::of(&pruned.done, &pruned.log, u64::from(survey.pack_target)));
    }
    survey.problems.iter().for_each(|e| watch.problem(true, e.subject(), e.message()));
    if survey.lost > 0 {
        let message = format!(
            "{} chunks that snapshots need are not there: `onefold check` says of which; packs that no index object names are kept",
            survey.lost
        );
        watch.problem(true, "repository", message);
    }
    Ok(pruned)
}

/// Condemns what nobody needs and deletes what is due; then empties packs, and does the same once more: a store that is full has room for
/// nothing else before. Returns what was deleted in the end, and what waits.
fn take_away(
    repo: &Repo,
    marked: &Marked,
    survey: &Survey,
    chosen: &[PackName],
    options: &Options,
    watch: &Watch,
    done: &mut Done,
) -> Result<Garbage> {
    let condemned = repo.condemn(survey, marked, done);
    let is_full = condemned.as_ref().is_err_and(|e| e.kind() == Kind::Full);
    if !is_full {
        condemned?;
    }
    let mut garbage = repo.garbage(survey, options.grace_ms)?;
    repo.delete(&garbage, watch, done)?;
    if is_full {
        repo.condemn(survey, marked, done)?;
    }
    let mut anew = None;
    if !chosen.is_empty() {
        repo.empty(survey, chosen, watch, done)?;
        let survey = anew.insert(repo.survey(marked)?);
        repo.condemn(survey, marked, done)?;
        let deleted = std::mem::replace(&mut garbage, repo.garbage(survey, options.grace_ms)?);
        repo.delete(&garbage.besides(&deleted), watch, done)?;
    }
    if repo.ring().sets().has(Sets::WRITE) {
        repo.tidy_up(anew.as_ref().unwrap_or(survey), &garbage, watch, done)?;
    }
    Ok(garbage)
}

fn told(survey: &Survey, marked: &Marked, chosen: &[PackName]) -> Pruned {
    let (bytes_beside, _) = survey.partly(chosen);
    Pruned {
        bytes_before: survey.bytes(),
        bytes_needed: survey.needed_bytes(),
        bytes_beside,
        chunks: marked.chunks(),
        chunks_lost: survey.lost,
        ..Pruned::default()
    }
}

/// What the same command without --dry-run would do, as far as that is known now.
fn would_do(repo: &Repo, survey: &Survey, chosen: &[PackName], options: &Options) -> Result<Done> {
    let garbage = repo.garbage(survey, options.grace_ms)?;
    let (packs, bytes) = survey.condemnable(chosen);
    let (_, bytes_moved) = survey.partly(chosen);
    let others: u64 = garbage.others.values().sum();
    Ok(Done {
        packs_condemned: packs,
        bytes_condemned: bytes,
        packs_deleted: garbage.packs.len() as u64,
        others_deleted: garbage.others.len() as u64,
        bytes_deleted: garbage.packs.values().sum::<u64>() + others,
        packs_emptied: chosen.len() as u64,
        bytes_moved,
        ..Done::default()
    })
}

/// Walks all snapshots that must stay.
///
/// Memory: 50 bytes for each branch and each leaf under which more hangs, besides what [`Marks`] states.
fn mark(repo: &Repo, forgotten: &BTreeSet<SnapshotId>, watch: &Watch) -> Result<Marked> {
    let needed = repo.needed_snapshots()?;
    let reader = repo.reader()?;
    let mut marks = Marks::new(&repo.scratch_dir());
    let mut seen: HashSet<(u16, ChunkId)> = HashSet::new();
    for id in needed {
        watch.check()?;
        if forgotten.contains(&id) {
            marks.pass_over(id);
            continue;
        }
        let cannot = |e: Error| {
            e.within(format_args!("snapshot {id}")).hint(
                "nothing is taken away, for nobody knows what this snapshot needs: `onefold check` says more; \
                 back up again to heal it, or forget it",
            )
        };
        let (writer, stored) = repo.needed_snapshot(&id).map_err(cannot)?;
        let snapshot = Snapshot::decode(&stored.says).map_err(cannot)?;
        let number = marks.snapshot(id, writer)?;
        // What the snapshot object itself names: a document that names less is not to be believed.
        for (_, root) in &stored.roots {
            marks.add(number, root)?;
        }
        walk(&snapshot, &reader, watch, &mut |chunk, more| {
            if more && !seen.insert((number, chunk)) {
                return Ok(false);
            }
            marks.add(number, &chunk)?;
            Ok(true)
        })
        .map_err(|e| if e.kind() == Kind::Interrupted { e } else { cannot(e) })?;
        if let Some((_, root)) = stored.roots.iter().find(|root| !snapshot.roots().is_ok_and(|all| all.contains(root)))
        {
            return Err(cannot(Error::damaged(
                format_args!("chunk {root}"),
                "is a root that its document does not name",
            )));
        }
    }
    marks.finish()
}

fn walk(
    snapshot: &Snapshot,
    chunks: &dyn ChunkSource,
    watch: &Watch,
    visit: &mut dyn FnMut(ChunkId, bool) -> Result<bool>,
) -> Result<()> {
    snapshot.reach(chunks, &mut |part, reached| {
        watch.check()?;
        match reached {
            Reached::Chunk { id, more, .. } => visit(id, more),
            Reached::Broken(e) => Err(e.within(part)),
        }
    })
}
