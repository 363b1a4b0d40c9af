//! What a repository needs from time to time, in a bounded time: what a policy does not keep is forgotten, what nobody needs is taken
//! away, small index objects are merged, the log is trimmed, and a share of the data is verified.

use std::collections::BTreeSet;

use repo_format::credential::Sets;
use repo_format::id::SnapshotId;

use crate::error::{Error, Kind, Result};
use crate::forget;
use crate::prune::{self, LOG_GRACE, Pruned};
use crate::repo::Repo;
use crate::repo::check::{CheckStats, Reads, Share};
use crate::repo::log::Trimmed;
use crate::watch::Watch;

/// What is done, and how.
#[derive(Debug)]
pub struct Options {
    /// What a policy does not keep is forgotten; none: nothing is.
    pub forget: Option<forget::Options>,
    /// How what nobody needs is taken away; whether all is said only, and not done.
    pub prune: prune::Options,
    /// The share of the packs that is read and opened.
    pub share: Share,
}

/// What was done; of a dry run what would be.
#[derive(Debug, Default, serde::Serialize)]
pub struct Maintained {
    /// Snapshots that were forgotten.
    #[serde(serialize_with = "in_hex")]
    pub forgotten: BTreeSet<SnapshotId>,
    /// What was taken away; none: nothing has changed since the last time, or it is left.
    pub pruned: Option<Pruned>,
    /// Small index objects that were merged where nothing was taken away.
    pub indexes_merged: u64,
    /// What became of the log where nothing was taken away.
    pub log: Option<Trimmed>,
    /// What was verified.
    pub verified: Option<CheckStats>,
    /// What was declared lost, or found again.
    pub declared: Vec<String>,
    /// What is left to be done.
    pub left: Vec<Left>,
    /// The store had no room for a step that is left.
    #[serde(skip)]
    pub full: Option<Error>,
}

/// Something that was not done, or not to its end.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// What.
    pub step: &'static str,
    /// Why.
    pub why: String,
}

/// Does what is due and what this credential may, until the time of `watch` is over. Each step is safe by itself: it may be ended at any
/// moment. Damage goes into `watch`, and does not keep the other steps from being done.
///
/// Errors: somebody ended it; the store.
pub fn maintain(repo: &Repo, options: &Options, watch: &Watch) -> Result<Maintained> {
    let (sets, is_dry) = (repo.ring().sets(), options.prune.dry_run);
    let takes_away = Sets::READ.with(Sets::ADMIN);
    let mut steps = Steps { watch, left: Vec::new(), full: None };
    let mut done = Maintained::default();
    repo.refresh()?;
    if let Some(policy) = &options.forget
        && steps.may("forget", sets, takes_away)
    {
        done.forgotten = steps.step("forget", || forgotten(repo, policy, is_dry))?.unwrap_or_default();
    }
    if steps.may("prune", sets, takes_away) && (repo.is_prune_due() || is_dry && !done.forgotten.is_empty()) {
        done.pruned = steps.step("prune", || match is_dry {
            true => prune::rehearse(repo, &done.forgotten, &options.prune, watch),
            false => prune::prune(repo, &options.prune, watch),
        })?;
        if done.pruned.is_some() && !is_dry {
            repo.remember_prune();
        }
    }
    if done.pruned.is_none() {
        if sets.has(Sets::WRITE) {
            done.indexes_merged = steps.step("index", || repo.merge_indexes(watch, is_dry))?.unwrap_or_default();
        }
        if sets.has(Sets::ADMIN) {
            let grace_ms = options.prune.grace_ms.max(LOG_GRACE);
            done.log = steps.step("log", || repo.trim(grace_ms, is_dry))?;
        }
    }
    if !is_dry && steps.may("verify", sets, Sets::READ) {
        let verified = steps.step("verify", || verify(repo, options.share, watch))?;
        if let Some((stats, declared)) = verified {
            (done.verified, done.declared) = (Some(stats), declared);
        }
    }
    (done.left, done.full) = (steps.left, steps.full);
    Ok(done)
}

fn in_hex<S: serde::Serializer>(ids: &BTreeSet<SnapshotId>, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_seq(ids.iter().map(ToString::to_string))
}

fn forgotten(repo: &Repo, policy: &forget::Options, is_dry: bool) -> Result<BTreeSet<SnapshotId>> {
    let goes = forget::judge(repo, policy)?.forgotten();
    if !is_dry && !goes.is_empty() {
        repo.forget(&goes)?;
    }
    Ok(goes)
}

fn verify(repo: &Repo, share: Share, watch: &Watch) -> Result<(CheckStats, Vec<String>)> {
    let examined = repo.check(Reads::Share(share), watch)?;
    Ok((examined.stats, repo.declare(&examined, false)?))
}

struct Steps<'a> {
    watch: &'a Watch,
    left: Vec<Left>,
    full: Option<Error>,
}

impl Steps<'_> {
    fn leave(&mut self, step: &'static str, why: impl std::fmt::Display) {
        self.left.push(Left { step, why: why.to_string() });
    }

    /// Whether the credential holds what a step needs.
    fn may(&mut self, step: &'static str, sets: Sets, needs: Sets) -> bool {
        let may = sets.has(needs);
        if !may {
            self.leave(step, format_args!("needs {needs}, and this credential holds {sets}"));
        }
        may
    }

    /// Does a step, if there is time; what keeps it from ending, but not the others from being done, is left.
    fn step<T>(&mut self, step: &'static str, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        if self.watch.is_over() {
            self.leave(step, "no time was left");
            return Ok(None);
        }
        match work() {
            Ok(done) => return Ok(Some(done)),
            Err(e) if e.kind() == Kind::Interrupted && self.watch.is_over() => self.leave(step, OVER),
            Err(e) if e.kind() == Kind::Busy => self.leave(step, said(&e)),
            // The others may need no room.
            Err(e) if e.kind() == Kind::Full => {
                self.leave(step, said(&e));
                self.full = self.full.take().or(Some(e));
            }
            Err(e) if e.is_of_bytes() => {
                self.watch.problem(true, e.subject(), e.message());
                self.leave(step, format_args!("damage is in the way: {}", said(&e)));
            }
            Err(e) => return Err(e),
        }
        Ok(None)
    }
}

const OVER: &str = "the time was over before it ended: give more, if this happens again";

fn said(e: &Error) -> String {
    format!("{}: {}", e.subject(), e.message())
}
