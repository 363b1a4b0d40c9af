//! `onefold stats`: how much is stored, and how much was read for it.

use std::sync::Arc;

use repo_format::names::{COPIES, Name, ObjectKind, PackName};
use serde_json::json;

use super::access;
use super::args::{Global, Stats};
use super::output::{bytes, time};
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::error::{Kind, Result};
use crate::repo::Repo;
use crate::repo::verified::Verification;
use crate::snapshot::short;
use crate::stats;
use crate::store::read_if_exists;
use crate::watch::Watch;

/// Counts the objects of the repository.
pub fn run(global: &Global, args: &Stats, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let Stored { kinds, packs } = stored(&repo)?;
    let total: u64 = kinds.iter().map(|(_, _, size)| size).sum();
    let packs_stored = packs.len();
    let verified = repo.verification(packs.into_iter());
    let snapshots = repo.snapshots().len();
    let read =
        match if snapshots == 0 { None } else { Some(load(&repo, &args.which.snapshot, &args.which.filter, output)) } {
            None => 0,
            Some(Ok((_, snapshot))) => snapshot.bytes_read,
            // What is stored can be counted all the same.
            Some(Err(e)) if e.is_of_bytes() && e.kind() != Kind::Denied => {
                output.damage(&e);
                0
            }
            Some(Err(e)) => return Err(e),
        };
    if output.is_json() {
        let objects: serde_json::Map<String, serde_json::Value> =
            kinds.iter().map(|(k, n, size)| ((*k).to_owned(), json!({ "objects": n, "bytes": size }))).collect();
        output.object(&json!({
            "message_type": "stats", "bytes_stored": total, "objects": objects, "snapshots": snapshots,
            "bytes_read": read, "verified": verified,
        }))?;
        return if args.by_snapshot { by_snapshot(&repo, global, output) } else { Ok(Outcome::Fine) };
    }
    for (kind, objects, size) in kinds.iter().filter(|k| k.1 > 0) {
        output.line(&format!("{kind:<10}  {objects:>6} objects  {}", bytes(*size)))?;
    }
    output.line(&format!("stored      {} for {snapshots} snapshots", bytes(total)))?;
    if packs_stored > 0 {
        output.line(&said_of(&verified))?;
    }
    if read > 0 {
        let share = total as f64 * 100.0 / read as f64;
        output.line(&format!(
            "read        {} by snapshot {}: stored is {share:.1} % of it",
            bytes(read),
            args.which.snapshot
        ))?;
    }
    if args.by_snapshot { by_snapshot(&repo, global, output) } else { Ok(Outcome::Fine) }
}

/// What each snapshot alone needs.
fn by_snapshot(repo: &Repo, global: &Global, output: &Output) -> Result<Outcome> {
    let watch = Arc::new(Watch::new());
    let alone = {
        let _progress = Progress::start(&watch, "walking", !global.quiet, output)?;
        stats::alone(repo, &watch)?
    };
    for (info, alone) in &alone {
        if output.is_json() {
            output.object(&json!({
                "message_type": "snapshot_stats", "id": info.id.to_string(), "time": info.time_ms / 1000,
                "chunks_alone": alone.chunks, "bytes_alone": alone.bytes, "bytes_freed": alone.frees,
            }))?;
            continue;
        }
        let id = info.id.to_string();
        output.line(&format!(
            "{}  {}  alone {} in {} chunks, forgetting it frees {}",
            short(&id),
            time(info.time_ms / 1000),
            bytes(alone.bytes),
            alone.chunks,
            bytes(alone.frees)
        ))?;
    }
    let problems = watch.problems();
    problems.iter().for_each(|problem| output.warn(&problem.subject, &problem.message));
    Ok(if problems.is_empty() { Outcome::Fine } else { Outcome::Damage })
}

/// What lies in the store.
struct Stored {
    /// Of each kind, and of second copies: how many objects, and their bytes.
    kinds: Vec<(&'static str, u64, u64)>,
    /// With their lengths.
    packs: Vec<(PackName, u64)>,
}

fn stored(repo: &Repo) -> Result<Stored> {
    let (mut kinds, mut packs) = (Vec::new(), Vec::new());
    for kind in ObjectKind::ALL {
        let (mut objects, mut size) = (0u64, 0u64);
        if kind == ObjectKind::Config {
            // Where it is lost its second copy, counted below, serves.
            if let Some(bytes) = read_if_exists(repo.store(), &Name::Config.to_string())? {
                (objects, size) = (1, bytes.len() as u64);
            }
        } else {
            repo.store().list(kind.word(), &mut |name, n| {
                objects += 1;
                size += n;
                if let Ok(Name::Pack(pack)) = Name::parse(name) {
                    packs.push((pack, n));
                }
                Ok(())
            })?;
        }
        kinds.push((kind.word(), objects, size));
    }
    let (mut copies, mut size) = (0u64, 0u64);
    repo.store().list(COPIES, &mut |_, n| {
        copies += 1;
        size += n;
        Ok(())
    })?;
    kinds.push((COPIES, copies, size));
    Ok(Stored { kinds, packs })
}

/// What of the packs this machine has read and found whole.
fn said_of(verified: &Verification) -> String {
    match (verified.oldest_ms, verified.packs_never) {
        (None, _) => "verified    nothing by this machine".to_owned(),
        (Some(oldest), 0) => format!("verified    all since {}", time(oldest / 1000)),
        (Some(oldest), _) => format!(
            "verified    {} in {} packs never, the rest since {}",
            bytes(verified.bytes_never),
            verified.packs_never,
            time(oldest / 1000)
        ),
    }
}
