//! Which copies of chunks cannot be relied on, because a pack, a frame or an index object is missing or damaged.

use std::collections::{BTreeSet, HashMap, HashSet};

use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};

use super::index::Place;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Unsound {
    /// By pack the offsets of the frames that are not whole; none named: all.
    pub packs: HashMap<PackName, BTreeSet<u32>>,
    /// Index objects that count and cannot be read.
    pub indexes: HashSet<IndexName>,
}

impl Unsound {
    /// Nothing of the pack can be relied on.
    pub fn lose(&mut self, pack: PackName) {
        self.packs.insert(pack, BTreeSet::new());
    }

    /// Whether this copy of a chunk is not to be relied on.
    pub fn covers(&self, place: &Place) -> bool {
        self.harms(place) || self.indexes.contains(&place.source)
    }

    /// Whether the pack or frame itself is not whole.
    pub fn harms(&self, place: &Place) -> bool {
        self.packs.get(&place.pack).is_some_and(|frames| frames.is_empty() || frames.contains(&place.offset))
    }

    /// Whether every reader of the repository finds this copy and can open it.
    pub fn stands(&self, place: &Place, state: &State) -> bool {
        state.indexes().contains_key(&place.source) && !self.covers(place)
    }
}
