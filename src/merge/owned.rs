//! Which keys a node answers for.

use std::fmt::Debug;
use std::sync::Arc;

/// The keys a node answers for. It is asked of whole groups, and of each key where groups are not used
/// ([`Record::whose`](crate::run::Record::whose)).
#[derive(Debug, Clone)]
pub enum Owned {
    /// Every key.
    All,
    /// Ascending half-open intervals `[from, to)`; `None` as an end is the end of all keys.
    Ranges(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// Those that it says, where they are no intervals: by the hash of a part of the key.
    By(Arc<dyn Owns>),
}

/// Says which keys a node answers for.
pub trait Owns: Debug + Send + Sync {
    /// Whether it answers for a group, or for a key where groups are not used.
    fn owns(&self, whose: &[u8]) -> bool;
}

impl Owned {
    /// Whether a group, or a key where groups are not used, is among them.
    pub fn holds(&self, whose: &[u8]) -> bool {
        match self {
            Owned::All => true,
            Owned::Ranges(ranges) => {
                let after = ranges.partition_point(|(from, _)| from.as_slice() <= whose);
                let range = after.checked_sub(1).and_then(|i| ranges.get(i));
                range.is_some_and(|(_, to)| to.as_deref().is_none_or(|to| whose < to))
            }
            Owned::By(by) => by.owns(whose),
        }
    }
}

/// A node, and whether it owns what a merge is at.
pub struct Owner {
    owned: Owned,
    /// First interval that does not end before.
    at: usize,
    pub owns: bool,
}

impl Owner {
    pub fn new(owned: Owned) -> Owner {
        Owner { owned, at: 0, owns: true }
    }

    /// Whether there may be keys that it does not own.
    pub fn is_parted(&self) -> bool {
        !matches!(self.owned, Owned::All)
    }

    /// Goes on to a group or key, which comes after those before.
    pub fn go_to(&mut self, whose: &[u8]) {
        self.owns = match &self.owned {
            Owned::All => true,
            Owned::Ranges(ranges) => {
                while ranges.get(self.at).is_some_and(|(_, to)| to.as_deref().is_some_and(|to| to <= whose)) {
                    self.at += 1;
                }
                ranges.get(self.at).is_some_and(|(from, _)| from.as_slice() <= whose)
            }
            Owned::By(by) => by.owns(whose),
        };
    }
}
