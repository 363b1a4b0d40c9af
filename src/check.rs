//! Is everything there that the snapshots need? Objects are verified by the repository; here their trees are walked.

use std::collections::HashSet;

use repo_format::tree::read_branch;

use crate::blob;
use crate::error::{Error, Kind, Result};
use crate::repo::check::CheckStats;
use crate::repo::{Reader, Repo};
use crate::run::{ChunkId, ChunkKind, ChunkSource};
use crate::snapshot::Snapshot;
use crate::tree::Root;
use crate::watch::Watch;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Checked {
    /// Objects.
    #[serde(flatten)]
    pub objects: CheckStats,
    /// Snapshots whose trees were walked.
    pub trees_of: u64,
    /// Chunks that the snapshots reach, those that several share once for each shard.
    pub reached: u64,
}

/// Verifies the repository. Damage goes into `watch`; an error means that checking itself failed. Without *read* only
/// objects are verified.
pub fn check(repo: &Repo, read_data: bool, watch: &Watch) -> Result<Checked> {
    let mut checked = Checked { objects: repo.check(read_data, watch)?, ..Checked::default() };
    if repo.ring().read.is_empty() {
        return Ok(checked);
    }
    let reader = repo.reader()?;
    let mut walk = Walk { reader: &reader, watch, seen: HashSet::new(), reached: 0 };
    for info in repo.snapshots() {
        let subject = format!("snapshot {}", info.id);
        let read = repo.snapshot(&info.id).and_then(|s| Snapshot::decode(&s.body));
        match read {
            Ok(snapshot) => walk.snapshot(&subject, &snapshot)?,
            Err(e) => walk.tell(&subject, Err(e))?,
        }
        checked.trees_of += 1;
    }
    checked.reached = walk.reached;
    Ok(checked)
}

struct Walk<'a> {
    reader: &'a Reader,
    watch: &'a Watch,
    /// Branches and blobs walked already: snapshots share most of them. Leaves are not kept here.
    seen: HashSet<ChunkId>,
    reached: u64,
}

impl Walk<'_> {
    /// Damage is noted; other errors end the check.
    fn tell(&self, subject: &str, done: Result<()>) -> Result<()> {
        self.watch.check()?;
        match done {
            Err(e) if matches!(e.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::TooLarge) => {
                self.watch.problem(true, subject, e);
                Ok(())
            }
            done => done,
        }
    }

    fn snapshot(&mut self, subject: &str, snapshot: &Snapshot) -> Result<()> {
        for shard in &snapshot.shards {
            let parts = shard.nodes.iter().flat_map(|n| n.bits.iter().chain(&n.held));
            for tree in shard.layers.iter().chain(parts) {
                let done = tree.root().and_then(|root| self.tree(root));
                self.tell(&format!("{subject}: {}", shard.name), done)?;
            }
        }
        for file in &snapshot.files {
            let done = file.blob().and_then(|blob| {
                if !self.seen.insert(blob.root) {
                    return Ok(());
                }
                blob::chunks(&blob, self.reader, &mut |_, id| {
                    self.reached += 1;
                    there(self.reader, &id)
                })
            });
            self.tell(&format!("{subject}: {}", file.name), done)?;
        }
        Ok(())
    }

    /// Every branch is read; leaves must be where the index says that they are.
    fn tree(&mut self, root: Root) -> Result<()> {
        let mut open = vec![(root.level, root.id)];
        while let Some((level, id)) = open.pop() {
            self.watch.check()?;
            if level == 0 {
                self.reached += 1;
                there(self.reader, &id)?;
                continue;
            }
            if !self.seen.insert(id) {
                continue;
            }
            self.reached += 1;
            let bytes = self.reader.get(ChunkKind::Branch, &id)?;
            let children = read_branch(&bytes, level).map_err(|e| Error::from(e).within(format!("branch {id}")))?;
            open.extend(children.iter().map(|c| (level - 1, c.id)));
        }
        Ok(())
    }
}

fn there(reader: &Reader, id: &ChunkId) -> Result<()> {
    if reader.knows(id)? {
        return Ok(());
    }
    Err(Error::damaged(format!("chunk {id}"), "no index object names it"))
}
