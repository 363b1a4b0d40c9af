//! The ring of a live cluster, as one of its nodes knows it.

use std::sync::Arc;

use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Statement;

use super::{Client, Rows, decoded, failed};
use crate::engine::cassandra::read_schema::{SystemRow, address, node_of};
use crate::engine::cassandra::ring::Ring;
use crate::engine::cassandra::schema::statements::Release;
use crate::error::{Error, Kind, Result};

/// What `STATUS` of a node's gossip begins with while it holds other ranges than it will (`VersionedValue`).
const IN_MOTION: [(&str, &str); 5] = [
    ("BOOT", "joining"),
    ("LEAVING", "leaving"),
    ("MOVING", "moving"),
    ("REMOVING", "being removed"),
    ("NEW", "joining"),
];

impl Client {
    /// All nodes with their tokens.
    ///
    /// Errors: a node joins, leaves or moves, as far as the cluster tells (since 4.1: `system_views.gossip_info`);
    /// what a node knows of its peers is not valid.
    pub fn ring(&self) -> Result<Ring> {
        // What each node knows is its own: all of it must come from the same one.
        let state = self.shared.session.get_cluster_state();
        let asked = state.get_nodes_info().iter().find(|n| n.is_enabled() && n.is_connected()).cloned();
        let asked = asked.ok_or_else(|| Error::new(Kind::Io, "cluster", "no node of the contacts is connected"))?;
        let one = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(asked), None);
        let ask = |text: &str| {
            let mut statement = Statement::new(text);
            statement.set_load_balancing_policy(Some(Arc::clone(&one)));
            let sent = self.runtime.block_on(self.shared.session.query_unpaged(statement, &[]));
            decoded(text, sent.map_err(|e| failed(text, &e))?)
        };
        let release = self.release()?;
        if release >= Release::V4_1 {
            settled(&ask("SELECT address, status, status_with_port FROM system_views.gossip_info")?)?;
        }
        let rows = |name: &str| match name {
            "local" => named(ask("SELECT * FROM system.local")?, "key", None),
            "peers_v2" if release < Release::V4_0 => Ok(Vec::new()),
            "peers_v2" => named(ask("SELECT * FROM system.peers_v2")?, "peer", Some("peer_port")),
            _ => named(ask("SELECT * FROM system.peers")?, "peer", None),
        };
        let node = node_of(&rows)?.ok_or_else(|| Error::damaged("system.local", "is empty"))?;
        Ring::of(&node)
    }
}

/// Refuses a ring in motion.
fn settled(gossip: &Rows) -> Result<()> {
    for row in &gossip.rows {
        let text = |at: usize| row.get(at).and_then(|v| v.as_deref()).map(String::from_utf8_lossy).unwrap_or_default();
        let status = if text(2).is_empty() { text(1) } else { text(2) };
        if let Some((_, doing)) = IN_MOTION.iter().find(|(word, _)| status.starts_with(word)) {
            let named = row.first().and_then(|v| address(v.as_deref())).map(|ip| ip.to_string());
            let subject = format!("node {}", named.as_deref().unwrap_or("?"));
            return Err(Error::new(Kind::Usage, subject, format!("is {doing}"))
                .hint("wait until every node is Normal in `nodetool ring`, then repeat the command"));
        }
    }
    Ok(())
}

/// Rows in the terms of captured ones.
fn named(rows: Rows, key: &str, clustering: Option<&str>) -> Result<Vec<SystemRow>> {
    let mut system = Vec::new();
    for values in rows.rows {
        let mut of_key = (Vec::new(), Vec::new());
        let mut columns = Vec::new();
        for (name, value) in rows.names.iter().zip(values) {
            let Some(value) = value else { continue };
            match name.as_str() {
                name if name == key => of_key.0 = value,
                name if Some(name) == clustering => of_key.1.push(value),
                // Nobody asks a live node for it, and it is not in the form of cells.
                "truncated_at" => {}
                _ => columns.push((name.clone(), value)),
            }
        }
        let mut row = SystemRow::new(of_key.0, of_key.1, columns);
        row.expand_set("tokens")?;
        system.push(row);
    }
    Ok(system)
}
