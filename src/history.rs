//! The rows that conditions name, over all snapshots of a cluster that hold their table: each version once, oldest first.
//!
//! From one snapshot to the next only what differs is read.

use std::collections::BTreeSet;

use crate::diff::{Change, Counts, Held, Side, Why, compare};
use crate::engine::target::is_of_one_shard;
use crate::engine::{self, Engine};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::run::ChunkSource;
use crate::snapshot::{Filter, Snapshot, read_each};
use crate::view::View;
use crate::watch::Watch;

/// What is asked for.
pub struct Request<'a> {
    /// All that are known.
    pub engines: &'a [&'a dyn Engine],
    /// Which snapshots.
    pub filter: &'a Filter,
    /// The table.
    pub table: &'a str,
    /// Which of its rows.
    pub conditions: &'a str,
    /// Is asked whether to go on.
    pub watch: &'a Watch,
}

/// A snapshot on the way.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// Which.
    pub info: &'a SnapshotInfo,
    /// What it says.
    pub snapshot: &'a Snapshot,
}

/// Why a snapshot says nothing of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nothing {
    /// It does not have the table.
    NotBackedUp(Why),
    /// The conditions do not fit the table as it was then.
    NotNamed(String),
}

/// Is told what became of the rows, oldest first.
pub trait Sink {
    /// A row that is not as it was in the last snapshot that has the table: it appeared, is another, or is gone.
    fn row(&mut self, at: At<'_>, change: &Change<'_>) -> Result<()>;
    /// A snapshot that says nothing of the rows.
    fn nothing(&mut self, at: At<'_>, why: &Nothing) -> Result<()>;
    /// A snapshot that cannot be read: what it holds of the rows is not known.
    fn unreadable(&mut self, info: &SnapshotInfo, why: &Error) -> Result<()>;
}

/// What was gone through.
#[derive(Debug, Default)]
pub struct Report {
    /// Snapshots that have the table.
    pub snapshots: usize,
    /// Of these, those that are incomplete.
    pub incomplete: usize,
    /// Those that say nothing of the rows.
    pub silent: usize,
    /// Those that cannot be read.
    pub unreadable: usize,
    /// What became of rows, from one snapshot to the next.
    pub counts: Counts,
}

/// Shows every version of the rows. A row is followed while conditions name it: from the version with which they begin to, to that
/// with which they cease to. What of it is the same in the next snapshot, write times too, is not shown again.
///
/// Errors: `Usage` where no snapshot has the table, or the snapshots of several clusters do, or the conditions fit it in none of them;
/// what reading gives; those of `sink`.
pub fn history(repo: &Repo, request: &Request<'_>, chunks: &dyn ChunkSource, sink: &mut dyn Sink) -> Result<Report> {
    let infos = repo.snapshots();
    survey(repo, &infos, request)?;
    let mut report = Report::default();
    let mut last: Option<Snapshot> = None;
    let mut at = infos.iter();
    read_each(repo, &infos, &mut |read| {
        request.watch.check()?;
        let Some(info) = at.next() else { return Ok(()) };
        let snapshot = match read {
            Ok(snapshot) if request.filter.fits(&snapshot) => snapshot,
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == Kind::Denied => return Err(e),
            Err(e) => {
                report.unreadable += 1;
                return sink.unreadable(info, &e);
            }
        };
        let here = At { info, snapshot: &snapshot };
        match step(request, last.as_ref(), here, chunks, sink)? {
            Step::Compared(counts) => {
                report.snapshots += 1;
                report.incomplete += usize::from(!snapshot.complete);
                report.counts.add(&counts);
                last = Some(snapshot);
            }
            Step::Silent(why) => {
                report.silent += 1;
                sink.nothing(here, &why)?;
            }
        }
        Ok(())
    })?;
    Ok(report)
}

enum Step {
    Compared(Counts),
    Silent(Nothing),
}

/// What became of the rows since the last snapshot that has them.
fn step(
    request: &Request<'_>,
    last: Option<&Snapshot>,
    here: At<'_>,
    chunks: &dyn ChunkSource,
    sink: &mut dyn Sink,
) -> Result<Step> {
    // What the sink fails with is not of the snapshot.
    let of_snapshot = |e: Error| match is_of_one_shard(&e) {
        true => e.within(format_args!("snapshot {}", here.info.id)),
        false => e,
    };
    let open = |s: &'_ Snapshot| engine::engine(request.engines, &s.engine);
    let shard = match Held::of(here.snapshot, request.table) {
        Held::Backed(shard) => shard,
        Held::Not(why) => return Ok(Step::Silent(Nothing::NotBackedUp(why))),
    };
    let view = View::open(open(here.snapshot)?, here.snapshot, shard, chunks).map_err(of_snapshot)?;
    let selection = match view.select(request.conditions) {
        Ok(selection) => selection,
        Err(e) if e.kind() == Kind::Usage => {
            return Ok(Step::Silent(Nothing::NotNamed(format!("{}: {}", e.subject(), e.message()))));
        }
        Err(e) => return Err(of_snapshot(e)),
    };
    let after = Side { view: &view, selection: Some(&*selection) };
    let mut show = |change: &Change<'_>| sink.row(here, change);
    let counts = match last.and_then(|s| Some((s, Held::of(s, request.table).shard()?))) {
        None => compare(None, Some(after), request.watch, &mut show),
        Some((s, shard)) => {
            let view = View::open(open(s)?, s, shard, chunks)?;
            let selection = view.select(request.conditions)?;
            let before = Side { view: &view, selection: Some(&*selection) };
            compare(Some(before), Some(after), request.watch, &mut show)
        }
    };
    counts.map(Step::Compared).map_err(of_snapshot)
}

/// Looks whether there is anything to be shown, before anything is.
fn survey(repo: &Repo, infos: &[SnapshotInfo], request: &Request<'_>) -> Result<()> {
    let mut clusters = BTreeSet::new();
    let (mut fitting, mut understood) = (0, false);
    let (mut unknown, mut refused) = (None, None);
    read_each(repo, infos, &mut |read| {
        request.watch.check()?;
        let Ok(s) = read else { return Ok(()) };
        if !request.filter.fits(&s) {
            return Ok(());
        }
        fitting += 1;
        let Held::Backed(shard) = Held::of(&s, request.table) else {
            unknown = s.shard(request.table).err().or(unknown.take());
            return Ok(());
        };
        let schema = engine::engine(request.engines, &s.engine)?.schema(&shard.name, &shard.description)?;
        match schema.select(request.conditions, s.cut.seconds) {
            Ok(_) => understood = true,
            Err(e) => refused = Some(e),
        }
        clusters.insert(s.cluster);
        Ok(())
    })?;
    let what = format!("table {}", request.table);
    match (clusters.len(), refused) {
        (0, _) => {
            let advice = unknown.and_then(|e| e.advice().map(str::to_owned));
            let advice = advice.unwrap_or_else(|| "`onefold snapshots` lists what is there".to_owned());
            let message = format!("none of {fitting} snapshots has rows of it");
            Err(Error::new(Kind::Usage, what, message).hint(advice))
        }
        (1, Some(e)) if !understood => Err(e),
        (1, _) => Ok(()),
        _ => {
            let all: Vec<String> = clusters.into_iter().collect();
            let message = format!("several clusters have one: {}", all.join(", "));
            Err(Error::new(Kind::Usage, what, message).hint("choose one with --cluster"))
        }
    }
}
