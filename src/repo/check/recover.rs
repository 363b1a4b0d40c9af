//! Brings back what all else hangs on, from second copies: configuration, credentials, log, checkpoints, snapshots. Nothing that is
//! there gives way, but for damaged bytes to their own where their name is the hash of these (SPEC "Second copies").

use std::collections::BTreeSet;

use repo_format::id::{ObjectHash, SnapshotId};
use repo_format::names::{Name, ObjectKind};

use super::super::log::{Log, Start};
use super::super::opened::Opened;
use super::{Check, named};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, may_write, twice, world};
use crate::watch::Watch;

/// A snapshot that is there and whole, and on no list: the entry that lists it is lost with those behind it, or there never was one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unlisted {
    /// Its id, in hex.
    pub id: String,
    /// Number of the entry that opened its session.
    pub opened: u64,
}

impl Repo {
    /// Writes again, under each of its two names, what is proven under the other; and what this machine alone still knows, as far as
    /// the keys go: the configuration, and, with *admin*, the state of a log that others cannot read on. What is still wrong then goes
    /// into `watch`. Opening the repository has brought back a part of it already. Returns snapshots that no entry lists any more. With
    /// `log_ends_here` a log whose last known entry is lost goes on after that, whatever came then.
    ///
    /// Errors: the store cannot be read or written to; without *write* and *admin*, `Denied`.
    pub fn recover(&self, log_ends_here: bool, watch: &Watch) -> Result<Vec<Unlisted>> {
        if !may_write(self.ring()) {
            return Err(self.core.lacks(repo_format::credential::Sets::WRITE));
        }
        // The first time to mend, the second to see what is left.
        let before = self.look_at_copies(&Watch::new())?;
        self.give_back_config()?;
        let reach = self.give_back_log(log_ends_here)?;
        let mut unlisted = self.look_at_copies(watch)?;
        if unlisted.is_empty() {
            // What a log that was given up listed.
            let listed: BTreeSet<String> = self.state().snapshots().keys().map(ToString::to_string).collect();
            unlisted = before.into_iter().filter(|one| !listed.contains(&one.id)).collect();
        }
        if let Some(e) = reach {
            watch.problem(true, e.subject(), e.message());
        }
        Ok(unlisted)
    }

    fn look_at_copies(&self, watch: &Watch) -> Result<Vec<Unlisted>> {
        self.refresh()?;
        let (core, state, now_ms) = (&self.core, self.state(), world::now_ms());
        let (sightings, verified, opened) = (core.sightings(), core.verified(now_ms), Opened::default());
        let check = Check { core, state, watch, opened: &opened, sightings, verified, now_ms };
        let listing = check.list()?;
        check.configuration()?;
        check.credentials(&listing)?;
        core.log.verify(&mut |e| check.problem(&e))?;
        check.checkpoints(&listing)?;
        check.snapshots(&listing, &mut Default::default())?;
        if self.stopped().is_none() {
            return Ok(Vec::new());
        }
        let listed = |id: &SnapshotId| check.state.snapshots().contains_key(id) || check.state.held().contains(id);
        let mut unlisted = Vec::new();
        for name in listing.keys() {
            let Name::Snapshot(id) = name else { continue };
            let of = |bytes: &[u8]| {
                named(*name)(bytes)?;
                repo_format::snapshot::Snapshot::sealed_by(id, bytes).map(|(session, _)| session)
            };
            match twice::read(&*core.store, name, of) {
                Ok(Some(found)) if !listed(id) => {
                    unlisted.push(Unlisted { id: id.to_string(), opened: found.value.opened() });
                }
                Err(e) if !e.is_of_bytes() => return Err(e),
                _ => {}
            }
        }
        unlisted.sort_unstable_by_key(|one| one.opened);
        Ok(unlisted)
    }

    /// A configuration that is gone under both names, and was known to whoever opened.
    fn give_back_config(&self) -> Result<()> {
        let core = &self.core;
        let bytes = match (&core.ring.admin_key, &core.cache) {
            (Some(admin), _) => core.config.encode(admin)?,
            (None, Some(cache)) => match cache.config(&core.ring) {
                Some((bytes, ..)) => bytes,
                None => return Ok(()),
            },
            (None, None) => return Ok(()),
        };
        if ObjectHash::of(&bytes) != core.config_hash {
            return Ok(());
        }
        for name in [Name::Config.to_string(), Name::Config.copy()] {
            match core.store.create(&name, bytes.clone().into()) {
                // What is there stays, and is named where it is not what it must be.
                Err(e) if e.kind() != Kind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Where this machine knows the log beyond an entry that is lost, an administrator gives its state to all.
    fn give_back_log(&self, ends_here: bool) -> Result<Option<Error>> {
        let core = &self.core;
        let state = self.state();
        let own = core.ring.writer.as_ref().map(|key| key.id());
        let start = Start { config: core.config.clone(), hash: core.config_hash, own, mends: true };
        let others = Log::open(core.store.clone(), start, None)?.state();
        let reach = others.n();
        if state.n() == 0 || reach >= state.n() && !ends_here {
            return Ok(None);
        }
        let unknown =
            others.snapshots().keys().filter(|id| !state.snapshots().contains_key(id) && !state.held().contains(id));
        let unknown: Vec<String> = unknown.map(|id| id.to_string()).collect();
        if !unknown.is_empty() && !ends_here {
            let message = format!(
                "the log that others read lists what this machine does not: snapshots {}; they were forgotten behind the entry that is lost, \
                 or made after the repository was rolled back, and giving back what this machine knows takes them off the list",
                unknown.join(", ")
            );
            let hint = "if they may go: `onefold recover --log-ends-here`; else delete this machine's cache directory";
            return Err(Error::damaged(ObjectKind::Log.word(), message).hint(hint));
        }
        let Some(admin) = &core.ring.admin_key else {
            let message = format!(
                "is lost under both its names: this machine knows the log up to entry {}, others only up to here; `onefold recover` on \
                 this machine with a credential that holds admin gives that to all",
                state.n()
            );
            return Ok(Some(Error::damaged(Name::Log(reach + 1), message)));
        };
        core.log.go_on(admin)?;
        Ok(None)
    }
}
