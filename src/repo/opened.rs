//! Which frames a reader has opened, so that a check need not open them again.
//!
//! Memory: 48 bytes for each frame, up to [`KEPT`] of them; what is opened beyond that is opened again.

use std::collections::{BTreeMap, HashMap};

use repo_format::frame::{Listed, list_hash};
use repo_format::id::{ChunkKind, ObjectHash};
use repo_format::names::PackName;

/// Frames that are remembered: a quarter of a TB at 0.5 MiB each.
const KEPT: usize = 1 << 19;

/// See the module.
#[derive(Debug, Default)]
pub struct Opened {
    /// By pack and offset: how long the frame is, and what it holds.
    packs: HashMap<PackName, BTreeMap<u32, (u32, ObjectHash)>>,
    count: usize,
}

impl Opened {
    /// A frame was opened: each of its chunks has the id that its list says.
    pub fn add(&mut self, pack: &PackName, (offset, length): (u32, u32), kind: ChunkKind, list: &[Listed]) {
        if self.count < KEPT {
            let frames = self.packs.entry(*pack).or_default();
            self.count += usize::from(frames.insert(offset, (length, held(kind, list))).is_none());
        }
    }

    /// Whether this frame was opened and holds these chunks, in this order.
    pub fn holds(&self, pack: &PackName, (offset, length): (u32, u32), kind: ChunkKind, list: &[Listed]) -> bool {
        let frame = self.packs.get(pack).and_then(|frames| frames.get(&offset));
        frame.is_some_and(|frame| *frame == (length, held(kind, list)))
    }
}

fn held(kind: ChunkKind, list: &[Listed]) -> ObjectHash {
    list_hash(&[0; 24], kind, list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_format::id::{ChunkId, SessionId};
    use repo_format::names::PackClass;

    #[test]
    fn a_frame_is_known_by_all_that_is_said_of_it() {
        let pack = |n| PackName { class: PackClass::Content, session: SessionId([n; 16]), hash: ObjectHash([n; 32]) };
        let list = |n, length| [Listed { id: ChunkId([n; 32]), length }];
        let mut opened = Opened::default();
        opened.add(&pack(1), (8, 90), ChunkKind::Leaf, &list(1, 70));
        assert!(opened.holds(&pack(1), (8, 90), ChunkKind::Leaf, &list(1, 70)));
        for (of, place, kind, list) in [
            (pack(2), (8, 90), ChunkKind::Leaf, list(1, 70)),
            (pack(1), (9, 90), ChunkKind::Leaf, list(1, 70)),
            (pack(1), (8, 91), ChunkKind::Leaf, list(1, 70)),
            (pack(1), (8, 90), ChunkKind::Data, list(1, 70)),
            (pack(1), (8, 90), ChunkKind::Leaf, list(2, 70)),
            (pack(1), (8, 90), ChunkKind::Leaf, list(1, 71)),
        ] {
            assert!(!opened.holds(&of, place, kind, &list));
        }
    }
}
