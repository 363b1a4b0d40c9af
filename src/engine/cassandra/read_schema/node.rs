//! The node and its peers, out of `system.local`, `system.peers_v2` and (before 4.0's came into use) `system.peers`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::engine::cassandra::capture::Capture;
use crate::error::{Error, Result};

use super::rows::{self, SystemRow};
use super::{find, hex, number, text};

/// Another node of the cluster, or this one, as `system` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Peer {
    /// Broadcast address.
    pub address: Option<IpAddr>,
    /// Port between nodes; tells nodes on one address apart.
    pub port: Option<u16>,
    /// 32 hex digits.
    pub host_id: Option<String>,
    /// Data center.
    pub data_center: String,
    /// Rack.
    pub rack: String,
    /// Ascending.
    pub tokens: Vec<i64>,
    /// Version of Cassandra.
    pub release_version: String,
    /// 32 hex digits; equal on nodes whose schema agrees.
    pub schema_version: Option<String>,
}

/// The node that was captured.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// The node itself.
    pub this: Peer,
    /// Name of the cluster.
    pub cluster_name: String,
    /// Class name of the partitioner.
    pub partitioner: String,
    /// Table ids (32 hex digits) and when each was truncated on this node, milliseconds since 1970: older rows are gone.
    pub truncated_at: BTreeMap<String, i64>,
    /// The other nodes it knows.
    pub peers: Vec<Peer>,
}

/// Reads what the captured node knows of itself and its peers. `None` where `system.local` was not captured.
pub fn read_node(capture: &Capture) -> Result<Option<Node>> {
    node_of(&|name| captured(capture, name))
}

/// Reads what the captured node knows of itself, without its peers. `None` where `system.local` was not captured.
pub fn read_this(capture: &Capture) -> Result<Option<Node>> {
    this_of(&|name| captured(capture, name))
}

/// Reads what the captured node knows of the others.
pub fn read_peers(capture: &Capture) -> Result<Vec<Peer>> {
    peers_of(&|name| captured(capture, name))
}

fn captured(capture: &Capture, name: &str) -> Result<Vec<SystemRow>> {
    find(capture, "system", name).map_or(Ok(Vec::new()), rows::read)
}

/// A node out of the tables of `system`, whose rows `rows` gives by the table's name. `None` without `local`.
pub fn node_of(rows: &dyn Fn(&str) -> Result<Vec<SystemRow>>) -> Result<Option<Node>> {
    let Some(node) = this_of(rows)? else { return Ok(None) };
    Ok(Some(Node { peers: peers_of(rows)?, ..node }))
}

fn this_of(rows: &dyn Fn(&str) -> Result<Vec<SystemRow>>) -> Result<Option<Node>> {
    let Some(row) = rows("local")?.into_iter().next() else { return Ok(None) };
    let mut this = peer(&row)?;
    this.address = address(row.value("broadcast_address")).or(address(row.value("listen_address")));
    this.port = port(row.value("broadcast_port"));
    let mut node = Node {
        this,
        cluster_name: string(&row, "cluster_name")?,
        partitioner: string(&row, "partitioner")?,
        ..Node::default()
    };
    for (table, value) in row.elements("truncated_at") {
        // Commit log position (i64, i32), then the time.
        let time = value.get(12..20).and_then(|v| v.first_chunk::<8>());
        let time = time.ok_or_else(|| Error::damaged("system.local", "truncated_at is not valid"))?;
        node.truncated_at.insert(hex(table), i64::from_be_bytes(*time));
    }
    Ok(Some(node))
}

fn peers_of(rows: &dyn Fn(&str) -> Result<Vec<SystemRow>>) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for name in ["peers_v2", "peers"] {
        for row in rows(name)? {
            let mut peer = peer(&row)?;
            peer.address = address(Some(&row.key));
            peer.port = row.clustering.first().and_then(|value| port(Some(value)));
            peers.push(peer);
        }
        if !peers.is_empty() {
            break;
        }
    }
    Ok(peers)
}

pub(super) fn peer(row: &SystemRow) -> Result<Peer> {
    let mut tokens = Vec::new();
    for (token, _) in row.elements("tokens") {
        let token = text(token)?;
        tokens.push(token.parse().map_err(|_| Error::damaged("system tables", format_args!("{token} is no token")))?);
    }
    tokens.sort_unstable();
    Ok(Peer {
        address: None,
        port: None,
        host_id: row.value("host_id").map(hex),
        data_center: string(row, "data_center")?,
        rack: string(row, "rack")?,
        tokens,
        release_version: string(row, "release_version")?,
        schema_version: row.value("schema_version").map(hex),
    })
}

fn string(row: &SystemRow, column: &str) -> Result<String> {
    text(row.value(column).unwrap_or_default())
}

/// An address of 4 or 16 bytes, as the type `inet` has it.
pub fn address(value: Option<&[u8]>) -> Option<IpAddr> {
    let value = value?;
    match value.len() {
        4 => Some(Ipv4Addr::from(*value.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*value.first_chunk::<16>()?).into()),
        _ => None,
    }
}

fn port(value: Option<&[u8]>) -> Option<u16> {
    u16::try_from(number(value)?).ok()
}
