//! Opened frames that a reader keeps for a while.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use repo_format::names::PackName;

use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind};

/// Plaintext of opened frames that is kept, in bytes.
pub const CACHE_BYTES: usize = 32 << 20;

/// Where a frame lies: pack and offset.
pub(super) type FrameKey = (PackName, u32);

/// An opened frame. Every chunk was checked against its id.
pub(super) struct Frame {
    pub kind: ChunkKind,
    pub chunks: Vec<(ChunkId, Vec<u8>)>,
}

impl Frame {
    /// Its chunk at a position, if it is what the index says.
    pub fn chunk(&self, kind: ChunkKind, id: &ChunkId, position: usize) -> Result<Vec<u8>> {
        match self.chunks.get(position) {
            Some((found, bytes)) if found == id && self.kind == kind => Ok(bytes.clone()),
            _ => Err(Error::damaged("frame", "does not hold the chunk that the index says")),
        }
    }

    /// What it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|(_, bytes)| bytes.len() + 64).sum()
    }
}

/// The frames that are kept.
#[derive(Default)]
pub(super) struct Frames {
    open: HashMap<FrameKey, Arc<Frame>>,
    /// Which open frame holds a chunk, and at which position.
    pub chunks: HashMap<ChunkId, (FrameKey, usize)>,
    /// Least recently used first.
    order: VecDeque<FrameKey>,
    bytes: usize,
    /// Frames that a thread is reading.
    pub loading: HashSet<FrameKey>,
}

impl Frames {
    /// The open frame that holds a chunk, and at which position.
    pub fn find(&mut self, id: &ChunkId) -> Option<(Arc<Frame>, usize)> {
        let (key, position) = *self.chunks.get(id)?;
        Some((self.touch(&key)?, position))
    }

    /// An open frame, which is the last used from now on.
    pub fn touch(&mut self, key: &FrameKey) -> Option<Arc<Frame>> {
        let frame = self.open.get(key)?.clone();
        if self.order.back() != Some(key) {
            self.order.retain(|k| k != key);
            self.order.push_back(*key);
        }
        Some(frame)
    }

    /// Keeps a frame, and forgets those that were not used for longest where there are too many bytes.
    pub fn insert(&mut self, key: FrameKey, frame: Arc<Frame>) {
        for (position, (id, _)) in frame.chunks.iter().enumerate() {
            self.chunks.insert(*id, (key, position));
        }
        self.bytes += frame.bytes();
        self.open.insert(key, frame);
        self.order.push_back(key);
        while self.bytes > CACHE_BYTES && self.order.len() > 1 {
            let Some(frame) = self.order.pop_front().and_then(|oldest| self.open.remove_entry(&oldest)) else { break };
            let (oldest, frame) = frame;
            self.bytes -= frame.bytes();
            for (id, _) in &frame.chunks {
                if self.chunks.get(id).is_some_and(|(key, _)| *key == oldest) {
                    self.chunks.remove(id);
                }
            }
        }
    }
}
