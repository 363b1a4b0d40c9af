//! What this machine has seen missing or damaged in a repository, and when: kept in its cache, so that a backup knows
//! what an earlier check found, and so that nothing is declared lost on one look alone.
//!
//! A sighting is no proof. Whoever uses one looks again, and strikes it where the object reads well.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::id::WriterId;
use repo_format::log::Roles;
use repo_format::log_state::State;
use repo_format::names::{Name, PackName};
use serde::{Deserialize, Serialize};

/// Objects that are remembered; what is seen beyond is found again by the next check.
const MAX: usize = 10_000;
/// Milliseconds between the first and the last sighting of a pack before it is declared lost: a store that was not
/// mounted, or a copy under way, is well again by then.
pub const APART_MS: u64 = 3_600_000;

/// When an object was seen missing or damaged, in milliseconds since 1970 by this machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The first time.
    pub first_ms: u64,
    /// The last time.
    pub last_ms: u64,
}

/// See the module. By the name of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sightings(BTreeMap<String, Seen>);

/// Which packs are to be declared lost now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// These, ascending.
    pub packs: Vec<PackName>,
    /// So many would be, but are too many to be believed without being told.
    pub withheld: usize,
}

impl Sightings {
    /// Reads what [`Sightings::encode`] kept. Bytes that are not understood give no sightings.
    pub fn decode(bytes: &[u8]) -> Sightings {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// For the cache.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The object was seen missing or damaged.
    pub fn saw(&mut self, name: &Name, now_ms: u64) {
        let name = name.to_string();
        if let Some(seen) = self.0.get_mut(&name) {
            // A clock that was set back must not make the first sighting the later one.
            (seen.first_ms, seen.last_ms) = (seen.first_ms.min(now_ms), now_ms);
        } else if self.0.len() < MAX {
            self.0.insert(name, Seen { first_ms: now_ms, last_ms: now_ms });
        }
    }

    /// The object reads well, or nobody needs it any more.
    pub fn strike(&mut self, name: &Name) {
        self.0.remove(&name.to_string());
    }

    /// Whether it was seen missing or damaged.
    pub fn has(&self, name: &Name) -> bool {
        self.0.contains_key(&name.to_string())
    }

    /// The objects.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.0.keys().filter_map(|name| Name::parse(name).ok())
    }

    /// Which of the packs that are not whole now (`wrong`) `writer` may declare lost: seen twice at least an hour apart,
    /// and with those that are lost already no more than one in a hundred of `packs` (or one). `told`: somebody says so,
    /// then all of them.
    pub fn due(&self, state: &State, writer: &WriterId, wrong: &BTreeSet<PackName>, packs: usize, told: bool) -> Due {
        let apart = |seen: &Seen| seen.last_ms.saturating_sub(seen.first_ms) >= APART_MS;
        let twice = |p: &PackName| told || self.0.get(&p.to_string()).is_some_and(apart);
        let known = |p: &PackName| state.lost().get(p).is_some_and(|frames| frames.is_empty());
        let is_due = |p: &&PackName| twice(p) && !known(p) && may_declare(state, writer, p);
        let due: Vec<PackName> = wrong.iter().filter(is_due).copied().collect();
        if !told && !due.is_empty() && due.len() + state.lost().len() > (packs / 100).max(1) {
            return Due { packs: Vec::new(), withheld: due.len() };
        }
        Due { packs: due, withheld: 0 }
    }
}

/// Whether the log lets `writer` say of this pack that it is lost, or found again.
pub fn may_declare(state: &State, writer: &WriterId, pack: &PackName) -> bool {
    let roles = state.roles(writer);
    let own = pack.session.is_of(writer);
    roles.has(Roles::VOUCH) || *writer == state.admin() || own && roles != Roles::NONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::config::Config;
    use repo_format::id::{ObjectHash, RepoId, SessionId};
    use repo_format::key::{ContentSecret, SignKey};
    use repo_format::names::PackClass;

    fn pack(n: u8) -> PackName {
        PackName { session: SessionId([n; 16]), class: PackClass::Content, hash: ObjectHash([n; 32]) }
    }

    /// The administrator may declare any pack.
    fn state(admin: &SignKey) -> State {
        let content = ContentSecret::from_bytes(1, [1; 32]);
        let config = Config::new(RepoId([2; 32]), content.public(), admin.id(), true);
        State::new(ObjectHash([3; 32]), &config)
    }

    fn due(times: &[(u8, u64)], packs: usize, told: bool) -> (usize, usize) {
        let admin = SignKey::from_bytes(&[4; 32]);
        let mut sightings = Sightings::default();
        times.iter().for_each(|(n, at)| sightings.saw(&Name::Pack(pack(*n)), *at));
        let wrong = times.iter().map(|(n, _)| pack(*n)).collect();
        let due = Sightings::decode(&sightings.encode()).due(&state(&admin), &admin.id(), &wrong, packs, told);
        (due.packs.len(), due.withheld)
    }

    #[test]
    fn a_pack_is_lost_when_seen_twice_an_hour_apart() {
        assert_eq!(due(&[(1, 5)], 10, false), (0, 0));
        assert_eq!(due(&[(1, 5), (1, 5 + APART_MS - 1)], 10, false), (0, 0));
        assert_eq!(due(&[(1, 5), (1, 5 + APART_MS)], 10, false), (1, 0));
        // A clock that goes back does not make an hour.
        assert_eq!(due(&[(1, 2 * APART_MS), (1, 5)], 10, false), (0, 0));
        assert_eq!(due(&[(1, 5)], 10, true), (1, 0));
    }

    #[test]
    fn never_more_than_one_in_a_hundred_without_being_told() {
        let two = [(1, 0), (2, 0), (1, APART_MS), (2, APART_MS)];
        assert_eq!(due(&two, 199, false), (0, 2));
        assert_eq!(due(&two, 200, false), (2, 0));
        assert_eq!(due(&two, 10, true), (2, 0));
    }

    #[test]
    fn a_writer_speaks_for_its_own_packs_only() {
        let (admin, writer) = (SignKey::from_bytes(&[4; 32]), SignKey::from_bytes(&[5; 32]));
        let mut sightings = Sightings::default();
        [0, APART_MS].iter().for_each(|at| sightings.saw(&Name::Pack(pack(1)), *at));
        let wrong = BTreeSet::from([pack(1)]);
        assert_eq!(sightings.due(&state(&admin), &writer.id(), &wrong, 10, false), Due::default());
        sightings.strike(&Name::Pack(pack(1)));
        assert_eq!(sightings.due(&state(&admin), &admin.id(), &wrong, 10, false), Due::default());
    }
}
