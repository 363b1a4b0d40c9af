//! How old the last complete snapshot of each cluster is: what a monitor asks.

use std::collections::BTreeMap;

use repo_format::id::SnapshotId;

use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::{self, Filter, Snapshot};

/// How far a snapshot's time may lie ahead of this machine's, milliseconds: clocks of servers differ by less.
const AHEAD_MAX: u64 = 10 * 60 * 1000;

/// What the snapshots of each cluster say of its last nights.
#[derive(Debug)]
pub struct Status {
    /// By engine and name.
    pub clusters: Vec<Cluster>,
    /// Snapshots that could not be read, newest first: they may be of any cluster.
    pub unreadable: Vec<(SnapshotInfo, Error)>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// As the operator names it.
    pub name: String,
    /// The engine that decoded it.
    pub engine: String,
    /// The newest snapshot.
    pub newest: Seen,
    /// The newest complete one.
    pub complete: Option<Seen>,
    /// How many incomplete ones were made since then.
    pub incomplete_since: u64,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: SnapshotId,
    /// When it was committed, milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// What it was narrowed to, a line each: `complete` is said of that.
    pub narrowed: Vec<String>,
}

/// Why nobody can rely on the last complete snapshot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// There is none.
    Never,
    /// It is older than was asked for.
    Old,
    /// It is of a time that is still to come, so nobody knows how old it is.
    Ahead,
}

/// Reads the snapshots that fit, the newest first. Of one cluster (`filter.cluster`) no older ones than the last complete one are
/// read, of all clusters each snapshot is. Needs *read*.
pub fn read(repo: &Repo, filter: &Filter) -> Result<Status> {
    let mut by_name: BTreeMap<(String, String), Cluster> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for info in repo.snapshots().into_iter().rev() {
        match snapshot::read(repo, &info.id) {
            Ok(s) if filter.fits(&s) => add(&mut by_name, &info, &s),
            Ok(_) => {}
            Err(e) if e.kind() == Kind::Denied => return Err(e),
            Err(e) => unreadable.push((info, e)),
        }
        if filter.cluster.is_some() && by_name.values().any(|cluster| cluster.complete.is_some()) {
            break;
        }
    }
    Ok(Status { clusters: by_name.into_values().collect(), unreadable })
}

/// Takes note of a snapshot that is older than all before.
fn add(by_name: &mut BTreeMap<(String, String), Cluster>, info: &SnapshotInfo, s: &Snapshot) {
    let seen = || Seen { id: info.id, time_ms: info.time_ms, narrowed: s.narrowed.lines() };
    let cluster = by_name.entry((s.engine.clone(), s.cluster.clone())).or_insert_with(|| Cluster {
        name: s.cluster.clone(),
        engine: s.engine.clone(),
        newest: seen(),
        complete: None,
        incomplete_since: 0,
    });
    match (&cluster.complete, s.complete) {
        (None, true) => cluster.complete = Some(seen()),
        (None, false) => cluster.incomplete_since += 1,
        (Some(_), _) => {}
    }
}

impl Cluster {
    /// Whether its last complete snapshot is too old at `now_ms`, where `age_max` milliseconds are allowed.
    pub fn late(&self, now_ms: u64, age_max: Option<u64>) -> Option<Late> {
        let Some(complete) = &self.complete else { return Some(Late::Never) };
        if complete.time_ms > now_ms.saturating_add(AHEAD_MAX) {
            return Some(Late::Ahead);
        }
        age_max.is_some_and(|max| complete.age(now_ms) > max).then_some(Late::Old)
    }
}

impl Seen {
    /// Milliseconds since it was committed; 0 where that is still to come.
    pub fn age(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_what_nobody_can_rely_on() {
        const HOUR: u64 = 3_600_000;
        let seen = |time_ms| Seen { id: SnapshotId([1; 32]), time_ms, narrowed: vec![] };
        let cluster = |complete: Option<u64>| Cluster {
            name: "c".into(),
            engine: "e".into(),
            newest: seen(100 * HOUR),
            complete: complete.map(seen),
            incomplete_since: 0,
        };
        for (complete, age_max, late) in [
            (None, None, Some(Late::Never)),
            (Some(70), None, None),
            (Some(70), Some(30), None),
            (Some(70), Some(29), Some(Late::Old)),
            (Some(100), Some(0), None),
            (Some(101), None, Some(Late::Ahead)),
            (Some(101), Some(1), Some(Late::Ahead)),
        ] {
            let told = cluster(complete.map(|h| h * HOUR)).late(100 * HOUR, age_max.map(|h| h * HOUR));
            assert_eq!(told, late, "{complete:?} {age_max:?}");
        }
        assert_eq!(cluster(Some(100 * HOUR + AHEAD_MAX)).late(100 * HOUR, Some(0)), None, "clocks differ a little");
    }
}
