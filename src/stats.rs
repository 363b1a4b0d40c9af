//! What each snapshot alone needs: snapshots are walked, the repository does the rest ([`crate::repo::alone`]).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::{Error, Kind, Result};
use crate::repo::alone::{Alone, Needs};
use crate::repo::{Repo, SnapshotInfo};
use crate::run::{ChunkId, Reached};
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// What each listed snapshot alone needs, oldest first. Needs *read*. What is shared by two and with no third would be freed by
/// forgetting both; it counts for neither.
///
/// Errors: a snapshot cannot be walked, so nobody knows what it needs. Index objects that cannot be read go into `watch`: there may be
/// more than is said. Memory: 50 bytes for each branch and each leaf under which more hangs, besides what [`crate::repo::alone`] states.
pub fn alone(repo: &Repo, watch: &Watch) -> Result<Vec<(SnapshotInfo, Alone)>> {
    let needed = repo.needed_snapshots()?;
    let reader = repo.reader()?;
    let mut needs = Needs::new(&repo.scratch_dir());
    // By whom a chunk was reached first, and whether another reached it, too: then what lies below was shown to both.
    let mut seen: HashMap<ChunkId, (u32, bool)> = HashMap::new();
    for (number, id) in (0u32..).zip(&needed) {
        let cannot = |e: Error| match e.kind() {
            Kind::Interrupted => e,
            _ => e.within(format_args!("snapshot {id}")).hint("`onefold check` says what is damaged"),
        };
        let (_, stored) = repo.needed_snapshot(id).map_err(cannot)?;
        let snapshot = Snapshot::decode(&stored.says).map_err(cannot)?;
        snapshot
            .reach(&reader, &mut |part, reached| {
                watch.check()?;
                let (id, more) = match reached {
                    Reached::Chunk { id, more, .. } => (id, more),
                    Reached::Broken(e) => return Err(e.within(part)),
                };
                needs.add(number, &id)?;
                Ok(!more || goes_on(&mut seen, number, id))
            })
            .map_err(cannot)?;
    }
    let (alone, problems) = repo.alone(needs, needed.len())?;
    problems.iter().for_each(|e| watch.problem(true, e.subject(), e.message()));
    let own = repo.snapshot_bytes()?;
    let of = |info: SnapshotInfo| {
        let at = needed.iter().position(|id| *id == info.id)?;
        let alone = *alone.get(at)?;
        let frees = alone.frees + own.get(&info.id).copied().unwrap_or(0);
        Some((info, Alone { frees, ..alone }))
    };
    Ok(repo.snapshots().into_iter().filter_map(of).collect())
}

/// Whether to look below a chunk: once for the first snapshot that reaches it, and once more for the second, after which all below is
/// known to be shared.
fn goes_on(seen: &mut HashMap<ChunkId, (u32, bool)>, number: u32, id: ChunkId) -> bool {
    match seen.entry(id) {
        Entry::Vacant(new) => {
            new.insert((number, false));
            true
        }
        Entry::Occupied(mut known) => {
            let (first, shared) = known.get_mut();
            let second = *first != number && !*shared;
            *shared |= second;
            second
        }
    }
}
