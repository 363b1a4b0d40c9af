//! What it is worth that an index object names a pack: index objects are claims (SPEC "Trust").

use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};

use super::Core;

/// By what it is worth, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// Somebody for whom nobody vouches says it of another's pack: it may be invented.
    OfOther,
    /// Whoever stored the pack says it.
    OfOwner,
    /// It is vouched for, or one's own.
    Trusted,
}

impl Core {
    /// What it is worth to this credential that `index` names `pack`.
    pub(super) fn claim(&self, state: &State, index: &IndexName, pack: &PackName) -> Claim {
        match state.indexes().get(index) {
            Some(_) if self.trusts(state, index) => Claim::Trusted,
            Some(i) if pack.session.is_of(&i.writer) => Claim::OfOwner,
            _ => Claim::OfOther,
        }
    }

    /// Whether an index object is vouched for, or one's own.
    pub(super) fn trusts(&self, state: &State, index: &IndexName) -> bool {
        match self.own() {
            Some(own) => state.trusts(&own, index),
            None => state.indexes().get(index).is_some_and(|i| i.vouched),
        }
    }
}
