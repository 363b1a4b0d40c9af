//! Which tables are asked for, and what of them the snapshot does not hold as rows.

use std::collections::BTreeSet;

use crate::engine::{Engine, KeptOf};
use crate::error::{Error, Result};
use crate::run::ChunkSource;
use crate::snapshot::{Shard, Snapshot};

/// One table by its name; for `None` all that are `meant`, by name.
pub fn chosen<'s>(s: &'s Snapshot, table: Option<&str>, meant: &dyn Fn(&str) -> bool) -> Result<Vec<&'s Shard>> {
    Ok(match table {
        Some(name) => vec![s.shard(name)?],
        None => s.shards.iter().filter(|t| meant(&t.name)).collect(),
    })
}

/// Parts of the tables that are `meant`, by name, that could not be decoded, with the reason: they are not in what is
/// restored. Files of a table that was dropped and made again are no loss, and not among them. Where the list of kept files
/// cannot be read to its end, that is among them: more may be missing.
pub fn unread(
    engine: &dyn Engine,
    s: &Snapshot,
    meant: &dyn Fn(&str) -> bool,
    chunks: &dyn ChunkSource,
) -> Vec<String> {
    // What could not be decoded is a problem of the snapshot, so a look-up in a complete one need not read the list.
    if s.complete {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    let no_list = |e: Error| format!("what kept files hold, of which the list cannot be read: {e}");
    let files = match s.files(None, chunks) {
        Ok(files) => files,
        Err(e) => return vec![no_list(e)],
    };
    for file in files {
        let file = match file {
            Ok(file) if file.about.merged => continue,
            Ok(file) => file,
            Err(e) => {
                found.insert(no_list(e));
                break;
            }
        };
        let Some(KeptOf { shard, id, part: Some(part) }) = engine.kept_of(&file.name) else { continue };
        let lost = || s.shards.iter().any(|t| t.id == id) || s.problems.iter().any(|p| p.subject.contains(&file.name));
        if meant(&shard) && lost() {
            let node = s.nodes.get(file.node).map_or("?", |n| n.name.as_str());
            found.insert(format!("{shard}: {part} of node {node}: {}", file.about.reason));
        }
    }
    found.into_iter().collect()
}

/// The error, which says of which table it is.
pub fn of_table(shard: &Shard, e: Error) -> Error {
    if e.subject().contains(&shard.name) { e } else { e.within(format_args!("table {}", shard.name)) }
}
