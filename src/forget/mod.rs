//! Takes snapshots off the list: those that are named, or those that a policy does not keep.

pub mod dates;
pub mod policy;
pub mod remarks;

use std::collections::BTreeSet;

use repo_format::credential::Sets;
use repo_format::id::SnapshotId;
use repo_format::remark::Remark;

use self::dates::Dates;
use self::policy::{Candidate, Policy, Verdict};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo, world};
use crate::snapshot::{self, Filter, Snapshot};

/// What makes snapshots one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Who committed it.
    Writer,
    /// The cluster and its engine.
    Cluster,
    /// The machine that made it.
    Host,
    /// Its labels.
    Tags,
}

/// Which snapshots are judged, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is kept.
    pub policy: Policy,
    /// What makes them one group.
    pub by: BTreeSet<By>,
    /// Only these are judged.
    pub filter: Filter,
    /// Everything may be forgotten.
    pub allow_nothing: bool,
}

/// A snapshot that was judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The snapshot.
    pub info: SnapshotInfo,
    /// What it says.
    pub says: Snapshot,
    /// What the administrator says of it.
    pub remark: Remark,
    /// The group it is in.
    pub group: String,
    /// When the store says that it was written, milliseconds since 1970, and whether its own time contradicts that; none: it does not say.
    pub stored: Option<(u64, bool)>,
    /// Why it stays; none: it goes.
    pub reasons: Vec<String>,
}

/// What a policy comes to, in the order of the log.
#[derive(Debug)]
pub struct Judgement {
    /// Those that were judged.
    pub judged: Vec<Judged>,
    /// Those that cannot be read: they stay.
    pub unreadable: Vec<(SnapshotInfo, Error)>,
}

impl Judgement {
    /// Those that go.
    pub fn forgotten(&self) -> BTreeSet<SnapshotId> {
        self.judged.iter().filter(|judged| judged.reasons.is_empty()).map(|judged| judged.info.id).collect()
    }
}

/// What a policy comes to. Needs *read*: what a snapshot holds stands in it.
///
/// Errors: `Usage` where the policy keeps nothing by itself, or where no snapshot would be left of a group.
pub fn judge(repo: &Repo, options: &Options) -> Result<Judgement> {
    repo.needs(Sets::READ)?;
    if options.policy.is_empty() {
        return Err(Error::new(Kind::Usage, "forget", "is told neither a snapshot nor a policy")
            .hint("give ids, or what is kept: --keep-daily 7 --keep-weekly 4"));
    }
    let state = repo.refresh()?;
    let dates = Dates::read(repo.store())?;
    let (mut judged, mut unreadable) = (Vec::new(), Vec::new());
    for info in repo.snapshots() {
        match snapshot::read(repo, &info.id) {
            Ok(says) if options.filter.fits(&says) => {
                let writer = state.writer_of(&info.id).map(|writer| writer.to_string()).unwrap_or_default();
                let group = group(&options.by, &writer, &says);
                let remark = repo.remark(&info.id);
                let stored = dates.of(&info.id).map(|date| (date, dates.contradict(&info.id, info.time_ms)));
                judged.push(Judged { info, says, remark, group, stored, reasons: Vec::new() });
            }
            Ok(_) => {}
            Err(e) if e.kind() == Kind::Denied => return Err(e),
            Err(e) => unreadable.push((info, e)),
        }
    }
    let candidates: Vec<Candidate> = judged.iter().map(candidate).collect();
    // A clock that is ahead lets nothing grow old: what was written last says how late it is at least.
    let now_ms = world::now_ms().min(state.time_ms().max(dates.newest()));
    let verdicts = options.policy.judge(&candidates, now_ms);
    for (judged, Verdict { reasons, .. }) in judged.iter_mut().zip(verdicts) {
        judged.reasons = reasons;
    }
    let judgement = Judgement { judged, unreadable };
    let goes = judgement.forgotten();
    let is_all = !goes.is_empty() && state.snapshots().keys().all(|id| goes.contains(id));
    if is_all && !options.allow_nothing {
        return Err(nothing_left());
    }
    Ok(judgement)
}

fn nothing_left() -> Error {
    Error::new(Kind::Usage, "forget", "would leave no snapshot at all")
        .hint("if that is what you want, add --unsafe-allow-remove-all")
}

/// The snapshots that are named, each by the beginning of its id or as `latest`, the newest one that fits `filter`; they may be forgotten.
/// With a filter it needs *read*.
///
/// Errors: one is not there, or is pinned; none would be left; which is the latest is not known.
pub fn named(repo: &Repo, names: &[String], filter: &Filter, allow_nothing: bool) -> Result<Vec<SnapshotInfo>> {
    let state = repo.refresh()?;
    let found = match filter.is_empty() {
        true => remarks::found(repo, names)?,
        false => names.iter().map(|name| fitting(repo, name, filter)).collect::<Result<Vec<_>>>()?,
    };
    if let Some(info) = found.iter().find(|info| state.is_pinned(&info.id)) {
        let why = match repo.remark(&info.id).reason {
            reason if reason.is_empty() => "is pinned".to_owned(),
            reason => format!("is pinned: {reason}"),
        };
        let id = info.id.to_string();
        let id = snapshot::short(&id);
        return Err(Error::new(Kind::Usage, format_args!("snapshot {id}"), why)
            .hint(format_args!("nothing was forgotten; `onefold unpin {id}` first, if it may go")));
    }
    let ids: BTreeSet<SnapshotId> = found.iter().map(|info| info.id).collect();
    if ids.len() == state.snapshots().len() && !allow_nothing {
        return Err(nothing_left());
    }
    Ok(found)
}

/// What `latest` means among those that fit. One that cannot be read may be the one that is meant.
fn fitting(repo: &Repo, name: &str, filter: &Filter) -> Result<SnapshotInfo> {
    let mut unread = None;
    let (info, _) = snapshot::find(repo, name, filter, &mut |e| unread = Some(e.again()))?;
    match unread {
        Some(e) => {
            Err(e.within(format_args!("snapshot {name} may be one that cannot be read")).hint("name it by its id"))
        }
        None => Ok(info),
    }
}

fn candidate(judged: &Judged) -> Candidate {
    let s = &judged.says;
    let shards = s.shards.iter().map(|shard| format!("{} {} {}", s.engine, s.cluster, shard.id)).collect();
    let (id, time_ms) = (judged.info.id, judged.info.time_ms);
    let pinned = judged.remark.pinned.then(|| judged.remark.reason.clone());
    let (group, tags, stored) = (judged.group.clone(), s.tags.clone(), judged.stored);
    Candidate { id, time_ms, stored, group, tags, pinned, complete: s.complete, shards }
}

fn group(by: &BTreeSet<By>, writer: &str, s: &Snapshot) -> String {
    let part = |by: &By| match by {
        By::Writer => format!("writer {}", snapshot::short(writer)),
        By::Cluster => format!("cluster {} ({})", s.cluster, s.engine),
        By::Host => format!("host {}", s.host.as_deref().unwrap_or("-")),
        By::Tags => format!("tags {}", s.tags.join(",")),
    };
    by.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// What a policy would leave of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// The group.
    pub group: String,
    /// Hours between its backups, as they were so far.
    pub every_hours: u64,
    /// Ages of what is left a year from now, in days, the youngest first.
    pub ages_days: Vec<u64>,
}

impl std::fmt::Display for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ages: Vec<String> = self.ages_days.iter().map(u64::to_string).collect();
        let Simulated { group, every_hours, .. } = self;
        let count = ages.len();
        write!(
            f,
            "{group}: with a backup every {every_hours} h, {count} snapshots are left in a year, of ages in days: {}",
            ages.join(" ")
        )
    }
}

const HOUR: u64 = 3_600_000;

/// What is left of each group a year from now, if complete backups go on at the median of the intervals so far (a day, where
/// there is no interval), and the policy is applied after each.
pub fn simulate(judgement: &Judgement, policy: &Policy) -> Vec<Simulated> {
    let mut groups: std::collections::BTreeMap<&str, Vec<Candidate>> = std::collections::BTreeMap::new();
    for judged in &judgement.judged {
        groups.entry(&judged.group).or_default().push(candidate(judged));
    }
    let one = |(group, mut all): (&str, Vec<Candidate>)| {
        let mut gaps: Vec<u64> = all.windows(2).map(|two| two[1].time_ms.saturating_sub(two[0].time_ms)).collect();
        gaps.sort_unstable();
        let every = gaps.get(gaps.len() / 2).map_or(24 * HOUR, |gap| (*gap).max(HOUR));
        let (now, shards) = (world::now_ms(), all.last().map(|c| c.shards.clone()).unwrap_or_default());
        let (mut time, end) = (now, now + 365 * 24 * HOUR);
        let mut number = 0u64;
        while time < end {
            time += every;
            number += 1;
            let mut id = [0xff; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let (group, tags) = (group.to_owned(), Vec::new());
            let (id, shards) = (SnapshotId(id), shards.clone());
            all.push(Candidate { id, time_ms: time, stored: None, group, tags, pinned: None, complete: true, shards });
            let verdicts = policy.judge(&all, time);
            let mut stays = verdicts.iter().map(|verdict| !verdict.reasons.is_empty());
            all.retain(|_| stays.next().unwrap_or(true));
        }
        let ages = all.iter().rev().map(|c| time.saturating_sub(c.time_ms) / (24 * HOUR));
        Simulated { group: group.to_owned(), every_hours: every / HOUR, ages_days: ages.collect() }
    };
    groups.into_iter().map(one).collect()
}
