//! `onefold stats`: how much is stored, and how much was read for it.

use repo_format::names::{COPIES, Name, ObjectKind};
use serde_json::json;

use super::access;
use super::args::{Global, Which};
use super::output::bytes;
use super::show::load;
use super::{Outcome, Output};
use crate::error::{Kind, Result};
use crate::store::read_if_exists;

/// Counts the objects of the repository.
pub fn run(global: &Global, args: &Which, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let mut kinds = Vec::new();
    let mut total = 0;
    for kind in ObjectKind::ALL {
        let (mut objects, mut size) = (0u64, 0u64);
        if kind == ObjectKind::Config {
            // Where it is lost its second copy, counted below, serves.
            if let Some(bytes) = read_if_exists(repo.store(), &Name::Config.to_string())? {
                (objects, size) = (1, bytes.len() as u64);
            }
        } else {
            repo.store().list(kind.word(), &mut |_, n| {
                objects += 1;
                size += n;
                Ok(())
            })?;
        }
        total += size;
        kinds.push((kind.word(), objects, size));
    }
    let (mut copies, mut size) = (0u64, 0u64);
    repo.store().list(COPIES, &mut |_, n| {
        copies += 1;
        size += n;
        Ok(())
    })?;
    total += size;
    kinds.push((COPIES, copies, size));
    let snapshots = repo.snapshots().len();
    let read = match if snapshots == 0 { None } else { Some(load(&repo, &args.snapshot, &args.filter, output)) } {
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
            "bytes_read": read,
        }))?;
        return Ok(Outcome::Fine);
    }
    for (kind, objects, size) in kinds.iter().filter(|k| k.1 > 0) {
        output.line(&format!("{kind:<10}  {objects:>6} objects  {}", bytes(*size)))?;
    }
    output.line(&format!("stored      {} for {snapshots} snapshots", bytes(total)))?;
    if read > 0 {
        let share = total as f64 * 100.0 / read as f64;
        output.line(&format!(
            "read        {} by snapshot {}: stored is {share:.1} % of it",
            bytes(read),
            args.snapshot
        ))?;
    }
    Ok(Outcome::Fine)
}
