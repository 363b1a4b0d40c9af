//! What is seen missing or damaged is remembered on this machine, and after a while declared lost in the log; what was and
//! is whole is declared found.

use std::collections::BTreeSet;

use repo_format::config::Config;
use repo_format::id::WriterId;
use repo_format::log::{Body, LostFrames};
use repo_format::log_state::State;
use repo_format::names::{Name, PackName};

use super::check::Examined;
use super::sightings::{Sightings, may_declare};
use super::verified::Verified;
use super::{Core, Repo, twice};
use crate::error::Result;

impl Repo {
    /// Writes into the log which packs are lost, and which that were are whole again, as far as this credential may and
    /// [`Sightings::due`] says. `told`: somebody says so. Returns a line for each entry, or why there is none.
    pub fn declare(&self, examined: &Examined, told: bool) -> Result<Vec<String>> {
        let lost = self.core.declare_lost(&examined.sightings, &examined.wrong, examined.named.len(), told)?;
        let mut said: Vec<String> = lost.into_iter().collect();
        let ring = &self.core.ring;
        let Some(key) = ring.writer.as_ref().or(ring.admin_key.as_ref()) else { return Ok(said) };
        let own = key.id();
        let found = found(&self.state(), &own, &examined.found).len();
        if found > 0 {
            self.core.append(key, &mut |state| Ok(Body::Found { packs: found_of(state, &own, examined) }))?;
            said.push(format!("{found} packs that were declared lost are whole: declared found"));
        }
        Ok(said)
    }
}

fn found_of(state: &State, own: &WriterId, examined: &Examined) -> Vec<PackName> {
    found(state, own, &examined.found)
}

fn found(state: &State, own: &WriterId, packs: &[PackName]) -> Vec<PackName> {
    let mut found = packs.to_vec();
    found.retain(|p| state.lost().contains_key(p) && may_declare(state, own, p));
    found.sort_unstable();
    found
}

impl Core {
    pub(super) fn sightings(&self) -> Sightings {
        self.cache.as_ref().map(|cache| cache.sightings()).unwrap_or_default()
    }

    /// A full or read-only cache directory must not stop work.
    pub(super) fn remember_sightings(&self, sightings: &Sightings) {
        if let Some(cache) = &self.cache {
            let _ = cache.set_sightings(sightings);
        }
    }

    pub(super) fn verified(&self, now_ms: u64) -> Verified {
        self.cache.as_ref().map(|cache| cache.verified(now_ms)).unwrap_or_default()
    }

    /// A full or read-only cache directory must not stop work: what it forgets is read again.
    pub(super) fn remember_verified(&self, verified: &Verified) {
        if let Some(cache) = &self.cache {
            let _ = cache.set_verified(verified);
        }
    }

    /// Declares packs lost that are due. `wrong` are those that are named and not whole now, `packs` is how many are
    /// named in all. Returns what was done, or why not.
    pub(super) fn declare_lost(
        &self,
        sightings: &Sightings,
        wrong: &BTreeSet<PackName>,
        packs: usize,
        told: bool,
    ) -> Result<Option<String>> {
        let Some(key) = self.ring.writer.as_ref().or(self.ring.admin_key.as_ref()) else { return Ok(None) };
        let due = sightings.due(&self.log.state(), &key.id(), wrong, packs, told);
        if due.withheld > 0 {
            return Ok(Some(format!(
                "{} of {packs} packs are missing or damaged, too many to be declared lost unasked: if the store is \
                 whole and they are gone for good, `onefold check --declare-lost` does it",
                due.withheld
            )));
        }
        if due.packs.is_empty() || !self.config_reads_well() {
            return Ok(None);
        }
        self.append(key, &mut |state| {
            let due = sightings.due(state, &key.id(), wrong, packs, told).packs;
            Ok(Body::Lost { lost: due.into_iter().map(|pack| LostFrames { pack, frames: Vec::new() }).collect() })
        })?;
        Ok(Some(format!("{} packs are declared lost: every writer stores anew what they held", due.packs.len())))
    }

    /// Whether the store is there at all, and is ours.
    fn config_reads_well(&self) -> bool {
        let same = |bytes: &[u8]| Config::parse(bytes).map(|(hash, _)| hash == self.config_hash);
        twice::read(&*self.store, &Name::Config, same).is_ok_and(|found| found.is_some_and(|f| f.value))
    }
}
