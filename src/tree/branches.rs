//! Leaves into branches, up to one root.

use repo_format::tree::{Breaks, Child, LEVEL_MAX, put_branch};

use super::{Root, Shape};
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkKind, ChunkSink, PackClass};

struct Level {
    children: Vec<Child>,
    breaks: Breaks,
    /// Whether a branch of this level was finished already.
    grown: bool,
}

/// The branches above leaves that come in order.
pub(super) struct Branches<'a> {
    sink: &'a dyn ChunkSink,
    secret: [u8; 16],
    branch_children: u32,
    class: PackClass,
    levels: Vec<Level>,
    buffer: Vec<u8>,
    records: u64,
}

impl<'a> Branches<'a> {
    pub(super) fn new(sink: &'a dyn ChunkSink, shape: &Shape) -> Branches<'a> {
        let Shape { secret, branch_children, class, .. } = *shape;
        Branches { sink, secret, branch_children, class, levels: Vec::new(), buffer: Vec::new(), records: 0 }
    }

    /// Adds the next leaf.
    pub(super) fn leaf(&mut self, leaf: Child) -> Result<()> {
        self.records += leaf.records;
        self.add(1, leaf)
    }

    fn add(&mut self, level: u8, child: Child) -> Result<()> {
        if level > LEVEL_MAX {
            return Err(Error::new(Kind::TooLarge, "tree", "too many levels"));
        }
        let at = usize::from(level) - 1;
        if at == self.levels.len() {
            let breaks = Breaks::new(self.secret, level, self.branch_children);
            self.levels.push(Level { children: Vec::new(), breaks, grown: false });
        }
        let here = &mut self.levels[at];
        let ends = here.breaks.ends(&child.first_key, child.first_key.len());
        here.children.push(child);
        if ends { self.end_branch(level) } else { Ok(()) }
    }

    fn end_branch(&mut self, level: u8) -> Result<()> {
        let here = &mut self.levels[usize::from(level) - 1];
        let children = std::mem::take(&mut here.children);
        here.grown = true;
        let Some(first) = children.first() else { return Ok(()) };
        let records = children.iter().map(|c| c.records).sum();
        let blobs = children.iter().map(|c| c.blobs).sum();
        let first_key = first.first_key.clone();
        self.buffer.clear();
        put_branch(&mut self.buffer, level, self.class, &children);
        let id = self.sink.put(ChunkKind::Branch, &self.buffer)?;
        self.add(level + 1, Child { first_key, id, records, blobs })
    }

    /// Ends the tree. `None` if it has no record.
    pub(super) fn finish(mut self) -> Result<Option<Root>> {
        let mut level = 1;
        while usize::from(level) <= self.levels.len() {
            let here = &self.levels[usize::from(level) - 1];
            let top = usize::from(level) == self.levels.len() && !here.grown;
            if let ([only], true) = (here.children.as_slice(), top) {
                let Child { id, blobs, .. } = *only;
                return Ok(Some(Root { id, level: level - 1, records: self.records, blobs, class: self.class }));
            }
            self.end_branch(level)?;
            level += 1;
        }
        Ok(None)
    }
}
