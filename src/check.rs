//! Is everything there that the snapshots need? Objects are verified by the repository; here their trees are walked.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, Kind, Result};
use crate::repo::check::CheckStats;
use crate::repo::{Reader, Repo};
use crate::run::{ChunkId, Reached};
use crate::snapshot::Snapshot;
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
    /// What other chunks hang under and was walked already: snapshots share most of it. Leaves without blobs are not kept.
    seen: HashSet<ChunkId>,
    reached: u64,
}

impl Walk<'_> {
    /// Damage is noted; other errors end the check.
    fn tell(&self, subject: &str, done: Result<()>) -> Result<()> {
        self.watch.check()?;
        match done {
            Err(e) if is_damage(&e) => {
                self.watch.problem(true, subject, e);
                Ok(())
            }
            done => done,
        }
    }

    fn snapshot(&mut self, subject: &str, snapshot: &Snapshot) -> Result<()> {
        let mut broken: BTreeMap<String, (Error, u64)> = BTreeMap::new();
        snapshot.reach(self.reader, &mut |part, reached| {
            self.watch.check()?;
            let e = match reached {
                Reached::Chunk { id, more: true, .. } if !self.seen.insert(id) => return Ok(false),
                Reached::Chunk { id, .. } => {
                    self.reached += 1;
                    match there(self.reader, &id) {
                        Ok(()) => return Ok(true),
                        Err(e) => e,
                    }
                }
                Reached::Broken(e) => e,
            };
            if !is_damage(&e) {
                return Err(e);
            }
            broken.entry(part.to_owned()).or_insert((e, 0)).1 += 1;
            Ok(false)
        })?;
        for (part, (e, chunks)) in broken {
            let others = if chunks > 1 { format!(" (and {} more of its chunks)", chunks - 1) } else { String::new() };
            self.watch.problem(true, format!("{subject}: {part}"), format_args!("{e}{others}"));
        }
        Ok(())
    }
}

/// Whether something stored is not as it should be; other errors end the check.
fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::TooLarge)
}

fn there(reader: &Reader, id: &ChunkId) -> Result<()> {
    if reader.knows(id)? {
        return Ok(());
    }
    Err(Error::damaged(format!("chunk {id}"), "no index object names it"))
}
