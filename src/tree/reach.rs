//! Every chunk that hangs under a root. Of leaves, only those are read whose records have blobs or trees under them.

use std::rc::Rc;

use repo_format::leaf::{LeafReader, beside};
use repo_format::reference::{Reference, references};
use repo_format::tree::{Child, read_branch};

use super::Root;
use crate::blob;
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, PackClass, Reached};

/// A record under which something hangs.
#[derive(Debug)]
pub struct Under {
    /// Its key.
    pub key: Vec<u8>,
    /// Its body, as it stands in its leaf: large values are references to blobs there.
    pub body: Vec<u8>,
}

/// Where in the walked tree a chunk hangs.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// The record under which it hangs. The tree's own branches and leaves hang under none.
    pub under: Option<&'a Under>,
    /// The keys of the tree that it speaks of begin with this one.
    pub from: &'a [u8],
    /// They end before this one; where it is empty, with the tree.
    pub to: &'a [u8],
}

/// Chunks that are asked for ahead of the walk, at most. They are asked for once one beside them was walked, and no longer
/// once one was not: what several snapshots share was walked before, and need not be read.
const ASKED_MOST: usize = 32;

/// A subtree to be walked.
struct Open {
    level: u8,
    class: PackClass,
    child: Child,
    /// The first key behind it in its tree; empty: none.
    to: Vec<u8>,
    parent: Option<ChunkId>,
    /// The record of the walked tree under which it hangs, if it is another tree.
    under: Option<Rc<Under>>,
    /// It was asked for.
    asked: bool,
}

impl Open {
    /// Whether others hang under it, so that it is read.
    fn more(&self) -> bool {
        self.level > 0 || self.child.blobs > 0
    }

    fn show(&self, visit: &mut Visit<'_>, reached: Reached) -> Result<bool> {
        match self.under.as_deref() {
            Some(record) => record.show(visit, reached),
            None => visit(Spot { under: None, from: &self.child.first_key, to: &self.to }, reached),
        }
    }
}

impl Under {
    /// What hangs under the record speaks of its key alone.
    fn show(&self, visit: &mut Visit<'_>, reached: Reached) -> Result<bool> {
        let to = [&self.key[..], &[0]].concat();
        visit(Spot { under: Some(self), from: &self.key, to: &to }, reached)
    }
}

/// Is shown each chunk and where it hangs, and says whether to go on below it.
type Visit<'v> = dyn FnMut(Spot<'_>, Reached) -> Result<bool> + 'v;

/// Asks for those that come next, `most` of them at most.
fn ask(stack: &mut [Open], most: usize, chunks: &dyn ChunkSource) {
    let next = stack.iter_mut().rev().filter(|open| open.more()).take(most).filter(|open| !open.asked);
    let ids: Vec<ChunkId> = next.map(|open| (open.asked = true, open.child.id).1).collect();
    if !ids.is_empty() {
        chunks.prefetch(&ids);
    }
}

/// Shows every chunk of a tree: branches, leaves, the blobs of what is too large for a leaf, and the blobs and trees
/// that records refer to. `visit` says
/// whether to go on below a chunk; of one that was walked before, nothing below needs to be shown again. What cannot be
/// read, or is not what refers to it, is shown as broken, and the walk goes on beside it.
///
/// Errors: those of `visit`. Memory: the children of one branch of each level, one leaf and its records.
pub fn reach(root: Root, chunks: &dyn ChunkSource, visit: &mut dyn FnMut(Reached) -> Result<bool>) -> Result<()> {
    reach_by_place(root, chunks, &mut |_, reached| visit(reached))
}

/// Like [`reach`], and says where in the tree each chunk hangs.
pub fn reach_by_place(root: Root, chunks: &dyn ChunkSource, visit: &mut Visit<'_>) -> Result<()> {
    let open = |root: Root, parent, under| Open {
        level: root.level,
        class: root.class,
        child: root.child(),
        to: Vec::new(),
        parent,
        under,
        asked: false,
    };
    let mut stack = vec![open(root, None, None)];
    let mut ahead = 0;
    while let Some(next) = stack.pop() {
        let more = next.more();
        let Open { level, class, parent, .. } = next;
        let kind = if level == 0 { class.leaf() } else { ChunkKind::Branch };
        let wanted = next.show(visit, Reached::Chunk { kind, id: next.child.id, parent, more })?;
        if !wanted || !more {
            ahead = if more { 0 } else { ahead };
            continue;
        }
        ahead = (2 * ahead).clamp(1, ASKED_MOST);
        ask(&mut stack, ahead, chunks);
        if level > 0 {
            match children_of(&next.child, level, class, chunks) {
                Ok(children) => stack.extend(below(next, children).into_iter().rev()),
                Err(e) => {
                    let broken = Reached::Broken(e.within(format!("branch {}", next.child.id)));
                    next.show(visit, broken).map(drop)?;
                }
            }
            continue;
        }
        let parent = Some(next.child.id);
        match hanging(&next.child, class, chunks) {
            Ok(all) => {
                let mut trees = Vec::new();
                for (record, references) in all {
                    let record = next.under.clone().unwrap_or_else(|| Rc::new(record));
                    for reference in references {
                        match reference {
                            Reference::Blob(blob) => {
                                blob::reach(&blob, parent, chunks, &mut |reached| record.show(visit, reached))?
                            }
                            Reference::Chunk(chunk) => {
                                let (kind, id) = (ChunkKind::Data, chunk.root);
                                record.show(visit, Reached::Chunk { kind, id, parent, more: false }).map(drop)?;
                            }
                            Reference::Tree(tree) => trees.push(open(tree.into(), parent, Some(record.clone()))),
                        }
                    }
                }
                stack.extend(trees.into_iter().rev());
            }
            Err(e) => {
                let broken = Reached::Broken(e.within(format!("leaf {}", next.child.id)));
                next.show(visit, broken).map(drop)?;
            }
        }
    }
    Ok(())
}

/// What hangs directly under a branch: each up to where the next begins.
fn below(branch: Open, children: Vec<Child>) -> Vec<Open> {
    let Open { level, class, child, to, under, .. } = branch;
    let ends: Vec<Vec<u8>> = children.iter().skip(1).map(|next| next.first_key.clone()).chain([to]).collect();
    let (level, parent) = (level - 1, Some(child.id));
    let open = |(child, to)| Open { level, class, child, to, parent, under: under.clone(), asked: false };
    children.into_iter().zip(ends).map(open).collect()
}

/// The children of a branch, which together hold what is said of it.
fn children_of(branch: &Child, level: u8, class: PackClass, chunks: &dyn ChunkSource) -> Result<Vec<Child>> {
    let children = read_branch(&chunks.get(ChunkKind::Branch, &branch.id)?, level, class)?;
    let sum = |of: fn(&Child) -> u64| children.iter().try_fold(0u64, |sum, child| sum.checked_add(of(child)));
    fits(branch, sum(|c| c.records), sum(|c| c.blobs))?;
    Ok(children)
}

/// The records of a leaf under which something hangs, which are as many as is said of it, each with what that is.
fn hanging(child: &Child, class: PackClass, chunks: &dyn ChunkSource) -> Result<Vec<(Under, Vec<Reference>)>> {
    let bytes = chunks.get(class.leaf(), &child.id)?;
    let mut leaf = LeafReader::new(&bytes)?;
    let mut found = Vec::new();
    let mut body = Vec::new();
    while leaf.next_key()?.is_some() {
        body.clear();
        let all: Vec<Reference> = if let (_, true) = leaf.body(&mut body)? {
            beside(&body)?.into_iter().map(Reference::Blob).collect()
        } else if leaf.refers() {
            references(&body).map(|found| found.map(|(_, reference)| reference)).collect::<repo_format::Result<_>>()?
        } else {
            continue;
        };
        found.push((Under { key: leaf.key().to_vec(), body: body.clone() }, all));
    }
    fits(child, Some(leaf.count() as u64), Some(found.len() as u64))?;
    Ok(found)
}

fn fits(said: &Child, records: Option<u64>, blobs: Option<u64>) -> Result<()> {
    if (records, blobs) == (Some(said.records), Some(said.blobs)) {
        return Ok(());
    }
    Err(Error::damaged(
        "tree",
        format!(
            "does not hold the {} records, {} of them with blobs or references, said of it",
            said.records, said.blobs
        ),
    ))
}
