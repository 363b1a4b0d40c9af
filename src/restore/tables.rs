//! Which tables are asked for, and what of them the snapshot does not hold as rows.

use std::collections::BTreeSet;

use crate::engine::cassandra::sstable::Descriptor;
use crate::error::Result;
use crate::snapshot::{Shard, Snapshot};

/// The keyspace of a table.
pub fn keyspace_of(shard: &Shard) -> &str {
    shard.name.split_once('.').map_or(shard.name.as_str(), |(keyspace, _)| keyspace)
}

/// Whether a keyspace is Cassandra's own: the target has one of its own, so its tables are restored by name only.
pub fn is_own(keyspace: &str) -> bool {
    keyspace == "dse" || keyspace == "system" || keyspace.starts_with("system_")
}

/// One table, `keyspace.table`; all but Cassandra's own, for `None`.
pub fn chosen<'s>(s: &'s Snapshot, table: Option<&str>) -> Result<Vec<&'s Shard>> {
    Ok(match table {
        Some(name) => vec![s.shard(name)?],
        None => s.shards.iter().filter(|t| !is_own(keyspace_of(t))).collect(),
    })
}

/// SSTables of one table, or of all (`own`: Cassandra's own, too), that could not be decoded, with the reason: they are not in what is
/// restored. Files of a table that was dropped and made again are no loss, and not among them.
pub fn unread(s: &Snapshot, table: Option<&str>, own: bool) -> Vec<String> {
    let mut found = BTreeSet::new();
    for file in &s.files {
        // `keyspace/table-id/…/file`
        let mut parts = file.name.split('/');
        let (Some(keyspace), Some((name, id))) = (parts.next(), parts.next().and_then(|f| f.rsplit_once('-'))) else {
            continue;
        };
        let asked = match table {
            Some(asked) => asked.split_once('.') == Some((keyspace, name)),
            None => own || !is_own(keyspace),
        };
        let Some((descriptor, _)) = parts.next_back().and_then(Descriptor::parse).filter(|_| asked) else { continue };
        let lost = s.shards.iter().any(|t| t.id == id) || s.problems.iter().any(|p| p.subject.contains(&file.name));
        if lost {
            let node = s.nodes.get(file.node).map_or("?", |n| n.name.as_str());
            found.insert(format!("{keyspace}.{name}: {descriptor} of node {node}: {}", file.reason));
        }
    }
    found.into_iter().collect()
}
