//! Every chunk that hangs under a root. Of leaves, only those are read whose records have blobs or trees under them.

use repo_format::leaf::{LeafReader, beside};
use repo_format::reference::{Reference, references};
use repo_format::tree::{Child, read_branch};

use super::Root;
use crate::blob;
use crate::error::{Error, Result};
use crate::run::{ChunkKind, ChunkSource, Reached};

/// Shows every chunk of a tree: branches, leaves, the blobs of what is too large for a leaf, and the blobs and trees
/// that records refer to. `visit` says
/// whether to go on below a chunk; of one that was walked before, nothing below needs to be shown again. What cannot be
/// read, or is not what refers to it, is shown as broken, and the walk goes on beside it.
///
/// Errors: those of `visit`. Memory: the children of one branch of each level.
pub fn reach(root: Root, chunks: &dyn ChunkSource, visit: &mut dyn FnMut(Reached) -> Result<bool>) -> Result<()> {
    let mut open = vec![(root.level, root.child(), None)];
    while let Some((level, child, parent)) = open.pop() {
        let kind = if level == 0 { ChunkKind::Leaf } else { ChunkKind::Branch };
        let more = level > 0 || child.blobs > 0;
        if !visit(Reached::Chunk { kind, id: child.id, parent, more })? || !more {
            continue;
        }
        if level == 0 {
            match hanging(&child, chunks) {
                Ok(all) => {
                    let mut trees = Vec::new();
                    for reference in all {
                        match reference {
                            Reference::Blob(blob) => blob::reach(&blob, Some(child.id), chunks, visit)?,
                            Reference::Tree(tree) => trees.push(Root::from(tree)),
                        }
                    }
                    open.extend(trees.iter().rev().map(|tree| (tree.level, tree.child(), Some(child.id))));
                }
                Err(e) => visit(Reached::Broken(e.within(format!("leaf {}", child.id)))).map(drop)?,
            }
            continue;
        }
        match children_of(&child, level, chunks) {
            Ok(children) => open.extend(children.into_iter().rev().map(|below| (level - 1, below, Some(child.id)))),
            Err(e) => visit(Reached::Broken(e.within(format!("branch {}", child.id)))).map(drop)?,
        }
    }
    Ok(())
}

/// The children of a branch, which together hold what is said of it.
fn children_of(branch: &Child, level: u8, chunks: &dyn ChunkSource) -> Result<Vec<Child>> {
    let children = read_branch(&chunks.get(ChunkKind::Branch, &branch.id)?, level)?;
    let sum = |of: fn(&Child) -> u64| children.iter().try_fold(0u64, |sum, child| sum.checked_add(of(child)));
    fits(branch, sum(|c| c.records), sum(|c| c.blobs))?;
    Ok(children)
}

/// What hangs under the records of a leaf, which are as many as is said of it.
fn hanging(child: &Child, chunks: &dyn ChunkSource) -> Result<Vec<Reference>> {
    let bytes = chunks.get(ChunkKind::Leaf, &child.id)?;
    let mut leaf = LeafReader::new(&bytes)?;
    let (mut found, mut records) = (Vec::new(), 0);
    let mut body = Vec::new();
    while leaf.next_key()?.is_some() {
        body.clear();
        if let (_, true) = leaf.body(&mut body)? {
            found.extend(beside(&body)?.into_iter().map(Reference::Blob));
        } else if leaf.refers() {
            for reference in references(&body) {
                found.push(reference?.1);
            }
        } else {
            continue;
        }
        records += 1;
    }
    fits(child, Some(leaf.count() as u64), Some(records))?;
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
