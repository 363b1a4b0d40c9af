//! Which tables are asked for, and what of them the snapshot does not hold as rows.

use std::collections::BTreeSet;

use crate::engine::cassandra::sstable::{self, Descriptor};
pub use crate::engine::cassandra::whose::is_own;
use crate::error::{Error, Kind, Result};
use crate::snapshot::{Shard, Snapshot};

/// The keyspace of a table.
pub fn keyspace_of(shard: &Shard) -> &str {
    shard.name.split_once('.').map_or(shard.name.as_str(), |(keyspace, _)| keyspace)
}

/// The keyspace of roles and grants.
const ROLES: &str = "system_auth";

/// One table, `keyspace.table`; for `None` all but Cassandra's own, of which `with_roles` adds `system_auth`.
pub fn chosen<'s>(s: &'s Snapshot, table: Option<&str>, with_roles: bool) -> Result<Vec<&'s Shard>> {
    Ok(match table {
        Some(name) => vec![s.shard(name)?],
        None => s.shards.iter().filter(|t| is_of_everything(keyspace_of(t), with_roles)).collect(),
    })
}

/// Whether a restore of everything writes the tables of a keyspace.
pub fn is_of_everything(keyspace: &str, with_roles: bool) -> bool {
    !is_own(keyspace) || (with_roles && keyspace == ROLES)
}

/// SSTables of one table, or of all whose keyspace is `meant`, that could not be decoded, with the reason: they are not in what is
/// restored. Files of a table that was dropped and made again are no loss, and not among them.
pub fn unread(s: &Snapshot, table: Option<&str>, meant: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = BTreeSet::new();
    for file in s.files.iter().filter(|file| !file.merged) {
        // `keyspace/table-id/…/file`
        let mut parts = file.name.split('/');
        let (Some(keyspace), Some((name, id))) = (parts.next(), parts.next().and_then(|f| f.rsplit_once('-'))) else {
            continue;
        };
        let asked = match table {
            Some(asked) => asked.split_once('.') == Some((keyspace, name)),
            None => meant(keyspace),
        };
        let Some(sstable) = parts.next_back().and_then(sstable_of).filter(|_| asked) else { continue };
        let lost = s.shards.iter().any(|t| t.id == id) || s.problems.iter().any(|p| p.subject.contains(&file.name));
        if lost {
            let node = s.nodes.get(file.node).map_or("?", |n| n.name.as_str());
            found.insert(format!("{keyspace}.{name}: {sstable} of node {node}: {}", file.reason));
        }
    }
    found.into_iter().collect()
}

/// The SSTable that a file belongs to, by its name.
fn sstable_of(file: &str) -> Option<String> {
    let known = Descriptor::parse(file).map(|(descriptor, _)| descriptor.to_string());
    known.or_else(|| Some(sstable::old(file)?.0.to_string()))
}

/// Whether an error is of one table alone, so that the others of several can be had: it is damaged, or cannot be written as asked.
pub fn is_of_one_table(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::Unsupported | Kind::TooLarge)
}

/// The error, which says of which table it is.
pub fn of_table(shard: &Shard, e: Error) -> Error {
    if e.subject().contains(&shard.name) { e } else { e.within(format_args!("table {}", shard.name)) }
}

/// What writing a record failed with. Its bytes are what their hash says, so it is no damage that its values are not understood.
pub fn unwritable(e: Error) -> Error {
    match e.kind() {
        Kind::Damaged => e.of_kind(Kind::Unsupported),
        _ => e,
    }
}
