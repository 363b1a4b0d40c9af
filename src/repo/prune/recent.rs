//! What was taken away of late, and how far back in the log that is.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::id::SnapshotId;
use repo_format::log::{Body, Entry};
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name};

use crate::error::Result;
use crate::repo::log::Trimmed;
use crate::repo::{Core, Repo, twice, world};
use crate::store::fetched::{AT_ONCE, Fetched};

/// Entries of the log that are looked through, at most.
const ENTRIES_MAX: u64 = 100_000;

/// What was taken away so lately that somebody may still read it.
pub(super) struct Recent {
    now_ms: u64,
    grace_ms: u64,
    /// Snapshots that were forgotten.
    pub snapshots: BTreeSet<SnapshotId>,
    /// Index objects that were replaced.
    pub indexes: BTreeSet<IndexName>,
    /// The last entry that is older than the grace, by a clock that is believed; 0: none was found.
    pub old: u64,
    /// Of entries that condemn: whether they are so young that their packs must wait.
    waiting: BTreeMap<u64, bool>,
}

impl Recent {
    /// Looks through the log from its end to an entry of the administrator's or of one's own that is older than the grace: others'
    /// clocks are not believed.
    pub(super) fn read(core: &Core, state: &State, grace_ms: u64) -> Result<Recent> {
        let (snapshots, indexes, waiting) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut recent = Recent { now_ms: world::now_ms(), grace_ms, snapshots, indexes, old: 0, waiting };
        let own = core.ring.writer.as_ref().map(|key| key.id());
        let first = state.n().saturating_sub(ENTRIES_MAX);
        let (mut fetched, mut window, mut latest) = (Fetched::default(), 1, u64::MAX);
        for n in (first + 1..=state.n()).rev() {
            if !fetched.has(&Name::Log(n).to_string()) {
                let names = (first + 1..=n).rev().take(window).map(|n| Name::Log(n).to_string());
                fetched = Fetched::of(&*core.store, names);
                window = (2 * window).min(AT_ONCE);
            }
            let entry = match entry(core, n, &mut fetched) {
                Ok(Some(entry)) => entry,
                // What is trimmed is old.
                Ok(None) if core.log.is_trimmed(n, &mut Fetched::default())? => {
                    recent.old = n;
                    break;
                }
                // What is lost says nothing.
                Ok(None) => continue,
                Err(e) if e.is_of_bytes() => continue,
                Err(e) => return Err(e),
            };
            let is_known = entry.writer == state.admin() || Some(entry.writer) == own;
            // It is not younger than what came after it: a clock that was ahead once does not keep it young for years.
            let time_ms = entry.time_ms.min(latest);
            latest = if is_known { time_ms } else { latest };
            if is_known && recent.is_over(time_ms) {
                recent.old = n;
                break;
            }
            match entry.body {
                Body::Condemn { .. } => drop(recent.waiting.insert(n, !recent.is_over(time_ms))),
                Body::Forget { snapshots } => recent.snapshots.extend(snapshots),
                Body::Commit { replaces, .. } => recent.indexes.extend(replaces),
                _ => {}
            }
        }
        Ok(recent)
    }

    fn is_over(&self, time_ms: u64) -> bool {
        is_over(time_ms, self.grace_ms, self.now_ms)
    }

    /// Whether the packs that entry `n` condemned must wait.
    pub(super) fn condemned(&mut self, core: &Core, n: u64) -> Result<bool> {
        if n <= self.old {
            return Ok(false);
        }
        if let Some(waits) = self.waiting.get(&n) {
            return Ok(*waits);
        }
        let waits = match entry(core, n, &mut Fetched::default()) {
            Ok(entry) => entry.is_none_or(|entry| !self.is_over(entry.time_ms)),
            Err(e) if e.is_of_bytes() => true,
            Err(e) => return Err(e),
        };
        self.waiting.insert(n, waits);
        Ok(waits)
    }
}

/// Whether `grace_ms` milliseconds have passed since a time.
pub(super) fn is_over(time_ms: u64, grace_ms: u64, now_ms: u64) -> bool {
    time_ms.saturating_add(grace_ms) <= now_ms
}

/// An entry of the log; `None` where it was trimmed.
pub(super) fn entry(core: &Core, n: u64, fetched: &mut Fetched) -> Result<Option<Entry>> {
    let parse = |bytes: &[u8]| Entry::parse(bytes, &core.ring.repo_id).map(|(_, entry)| entry);
    let mut read = |name: &str| fetched.read(&*core.store, name);
    Ok(twice::read_by(&mut read, &Name::Log(n), parse)?.map(|found| found.value).filter(|entry| entry.n == n))
}

impl Repo {
    /// Takes away what is older than `grace_ms` milliseconds at the beginning of the log, and writes a checkpoint where one is due; with
    /// `is_dry` says what it would do. An entry stays as long as a pack is condemned by it. Needs *admin*.
    pub fn trim(&self, grace_ms: u64, is_dry: bool) -> Result<Trimmed> {
        let core = &self.core;
        let key = core.ring.admin_key.as_ref().ok_or_else(|| core.lacks(repo_format::credential::Sets::ADMIN))?;
        let state = self.refresh()?;
        let mut below = state.condemned().values().min().copied().unwrap_or(u64::MAX);
        if below.min(state.n()) >= repo_format::limits::TRIM_EVERY {
            below = below.min(Recent::read(core, &state, grace_ms)?.old);
        }
        core.log.trim(key, below, is_dry)
    }
}
