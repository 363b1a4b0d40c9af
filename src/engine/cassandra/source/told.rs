//! What the captured nodes tell of themselves and of one another: who they are, and the ring.
//!
//! `system.local` and `system.peers_v2` are read each by itself. One that is damaged costs what it alone says: who a node is,
//! its peers tell as well (the member of the ring that is none of them), and the operator by `--node NAME@ADDRESS`; the ring
//! is told by any other node. When the node's tables were truncated nobody else knows. It is a problem in any case.

use std::path::Path;

use super::{Captured, NodeDir};
use crate::engine::cassandra::read_schema::{Node, Peer, read_peers, read_this};
use crate::engine::cassandra::ring::Ring;
use crate::error::{Error, Kind, Result};
use crate::volume::Place;

/// Largest output of `nodetool ring` that is read, bytes: that of a thousand nodes of 256 tokens has some thirty million.
const RING_MAX: u64 = 256 << 20;

/// What one captured node tells.
pub struct Told {
    /// Of itself; `None` where that was not captured, or cannot be read.
    pub node: Option<Node>,
    /// Of the others; `None` where that cannot be read.
    peers: Option<Vec<Peer>>,
}

/// Reads what each node tells. What is damaged or not understood is a problem; what the system refuses is an error.
pub fn read(captured: &[Captured], problems: &mut Vec<String>) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    for c in captured {
        let mut known = |e: Error, lost: &str| {
            let e = e.within(format!("node {}", c.name));
            if !e.is_of_bytes() {
                return Err(e);
            }
            problems.push(format!("{}: {}: {lost}", e.subject(), e.message()));
            Ok(())
        };
        let node = match read_this(&c.capture) {
            Ok(node) => node,
            Err(e) => {
                known(
                    e,
                    "who the node is counts as its peers or --node NAME@ADDRESS tell, and none of its truncations is known",
                )?;
                None
            }
        };
        let peers = match read_peers(&c.capture) {
            Ok(peers) => Some(peers),
            Err(e) => {
                known(e, "the ring that other nodes know counts, or give --source-ring FILE")?;
                None
            }
        };
        let node = node.map(|node| Node { peers: peers.clone().unwrap_or_default(), ..node });
        all.push(Told { node, peers });
    }
    Ok(all)
}

/// The ring as the operator gives it, else as a captured node knows it: the one who knows most of it, where they differ, which
/// is a problem.
pub fn ring(
    dirs: &[NodeDir],
    told: &[Told],
    source_ring: Option<&Path>,
    problems: &mut Vec<String>,
) -> Result<Option<Ring>> {
    if let Some(path) = source_ring {
        let place = Place::local(path);
        let text =
            String::from_utf8(place.read(RING_MAX)?).map_err(|_| Error::new(Kind::Usage, &place, "is no text"))?;
        return Ring::parse(&text, &place.to_string()).map(Some);
    }
    let mut best: Option<(&str, Ring)> = None;
    for (dir, told) in dirs.iter().zip(told).filter(|(_, told)| told.peers.is_some()) {
        let Some(node) = told.node.as_ref().filter(|n| !n.this.tokens.is_empty()) else { continue };
        let ring = match Ring::of(node) {
            Ok(ring) => ring,
            Err(e) => {
                problems.push(format!("node {}: {}: {}: its ring does not count", dir.name, e.subject(), e.message()));
                continue;
            }
        };
        let Some((name, first)) = &best else {
            best = Some((&dir.name, ring));
            continue;
        };
        if !first.has_members_of(&ring) || !ring.has_members_of(first) {
            let (a, b) = (first.members().len(), ring.members().len());
            problems.push(format!(
                "nodes {name} and {}: know different rings, of {a} and {b} nodes; capture `system.local` and `system.peers_v2` \
                 again when the ring has settled, or give --source-ring FILE",
                dir.name
            ));
            if b > a {
                best = Some((&dir.name, ring));
            }
        }
    }
    Ok(best.map(|(_, ring)| ring))
}

/// The place in the ring of each captured node; that it has none is a problem.
pub fn members(dirs: &[NodeDir], told: &[Told], ring: Option<&Ring>, problems: &mut Vec<String>) -> Vec<Option<usize>> {
    let Some(ring) = ring else { return vec![None; dirs.len()] };
    let mut found: Vec<Option<usize>> = dirs.iter().zip(told).map(|(dir, told)| named(dir, told, ring)).collect();
    for i in 0..found.len() {
        if found[i].is_none() && told[i].node.is_none() {
            found[i] = left_by(told[i].peers.as_deref(), ring).filter(|member| !found.contains(&Some(*member)));
        }
        if found[i].is_none() {
            let name = &dirs[i].name;
            problems.push(format!(
                "node {name}: is not in the ring: what it holds counts as outside its ranges; give --node {name}@ADDRESS=…"
            ));
        }
    }
    found
}

/// By the operator's word, else by its own.
fn named(dir: &NodeDir, told: &Told, ring: &Ring) -> Option<usize> {
    let this = told.node.as_ref().map(|n| &n.this);
    let address = this.and_then(|t| t.address).map(|a| a.to_string());
    let names = [dir.address.clone(), this.and_then(|t| t.host_id.clone()), address];
    names.iter().flatten().find_map(|name| ring.find(name))
}

/// The only member that is none of a node's peers, where all of them are members: the node itself.
fn left_by(peers: Option<&[Peer]>, ring: &Ring) -> Option<usize> {
    let peers: Option<Vec<usize>> = peers?
        .iter()
        .filter(|peer| !peer.tokens.is_empty())
        .map(|peer| ring.members().iter().position(|member| member.tokens == peer.tokens))
        .collect();
    let peers = peers.filter(|peers| peers.len() + 1 == ring.members().len())?;
    (0..ring.members().len()).find(|member| !peers.contains(member))
}
