//! Whose a keyspace is: the operator's, the cluster's own data, or each node's own.

use crate::engine::split_name;

/// Keyspaces in which every node has something else, or that only make the node work: kept as files, for reference and for
/// restoring a node as it was. `system` holds batches that were not finished, too; `system_traces` is a log of queries.
pub const LOCAL: [&str; 5] = ["system", "system_schema", "system_traces", "system_views", "system_virtual_schema"];

/// Whether a keyspace is Cassandra's own: the target of a restore has one of its own. Those of them that are not [`LOCAL`]
/// are data as any other: roles and grants (`system_auth`), what repairs and views came to (`system_distributed`).
pub fn is_own(keyspace: &str) -> bool {
    keyspace == "dse" || keyspace == "system" || keyspace.starts_with("system_")
}

/// Whether a keyspace's tables are nobody's data.
pub fn is_local(keyspace: &str) -> bool {
    LOCAL.contains(&keyspace)
}

/// The keyspace of roles and grants.
const ROLES: &str = "system_auth";

/// Whether a restore of everything writes a table, `keyspace.table`: all but Cassandra's own, of which `with_roles` adds
/// roles and grants.
pub fn is_of_everything(table: &str, with_roles: bool) -> bool {
    let (keyspace, _) = split_name(table);
    !is_own(keyspace) || (with_roles && keyspace == ROLES)
}
