//! What it is worth that an index object names a pack: index objects are claims (SPEC "Trust").

use repo_format::id::WriterId;
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};

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

impl Claim {
    /// What it is worth to `own` that `index` names `pack`; to nobody in particular, where there is none.
    pub(super) fn of(state: &State, index: &IndexName, pack: &PackName, own: Option<&WriterId>) -> Claim {
        match state.indexes().get(index) {
            Some(i) if i.vouched || own == Some(&i.writer) => Claim::Trusted,
            Some(i) if pack.session.is_of(&i.writer) => Claim::OfOwner,
            _ => Claim::OfOther,
        }
    }
}
