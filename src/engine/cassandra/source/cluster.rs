//! What the captures say together about the cluster: its nodes, its ring, who owns what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tables::{DISAGREE, LOCAL};
use super::{Captured, NodeDir, owned};
use crate::engine;
use crate::engine::cassandra::read_schema::{Keyspace, Node, Schema, read_node, read_schema};
use crate::engine::cassandra::ring::{Ring, TokenRange};
use crate::error::{Error, Kind, Result};
use crate::merge::Owned;

/// What a snapshot says of the cluster besides its nodes and tables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClusterDescription {
    /// The cluster's own name for itself.
    pub cluster_name: Option<String>,
    /// Keyspaces with their replication.
    pub keyspaces: Vec<Keyspace>,
    /// The ring, where known.
    pub ring: Option<Ring>,
    /// By keyspace and captured node: the token ranges it answers for; `None` is everything.
    pub owned: BTreeMap<String, Vec<Option<Vec<TokenRange>>>>,
    /// By captured node: table ids and when each was truncated there, milliseconds since 1970.
    pub truncated_at: Vec<BTreeMap<String, i64>>,
    /// Versions of the captured SSTables: `nb`, `oa` and so on.
    #[serde(default)]
    pub sstable_versions: BTreeSet<String>,
}

impl ClusterDescription {
    /// As a snapshot holds it.
    pub fn read(description: &serde_json::Value) -> Result<ClusterDescription> {
        ClusterDescription::deserialize(description).map_err(|e| Error::damaged("snapshot: cluster", e))
    }

    /// The keys of a keyspace that a captured node answers for: all, where that is not known.
    pub fn owned(&self, node: usize, keyspace: &str) -> Owned {
        let of_keyspace = self.owned.get(keyspace);
        owned(of_keyspace.and_then(|nodes| nodes.get(node)).and_then(|ranges| ranges.as_deref()))
    }
}

/// The cluster as captured.
pub struct Cluster {
    /// The nodes, as given.
    pub nodes: Vec<engine::Node>,
    /// The captured schema of each node that has one.
    pub schemas: Vec<Schema>,
    /// What goes into the snapshot.
    pub description: ClusterDescription,
    /// By keyspace: names of ring members that own parts of it and are not captured.
    pub unread: BTreeMap<String, Vec<String>>,
    /// What is wrong with the capture as a whole.
    pub problems: Vec<String>,
}

impl Cluster {
    /// Reads it out of the captures.
    pub fn read(dirs: &[NodeDir], captured: &[Captured], source_ring: Option<&Path>) -> Result<Cluster> {
        let (mut known, mut schemas) = (Vec::new(), Vec::new());
        for c in captured {
            let within = |e: Error| e.within(format!("node {}", c.name));
            known.push(read_node(&c.capture).map_err(within)?);
            schemas.extend(read_schema(&c.capture).map_err(within)?);
        }
        check_identities(dirs, &known)?;
        let ring = read_ring(&known, source_ring)?;
        let mut problems: Vec<String> = Vec::new();
        for c in captured.iter().filter(|c| c.capture.unflushed) {
            problems.push(format!("node {}: a live data directory: writes not yet flushed are missing", c.name));
        }
        for c in captured {
            for (_, path) in c.capture.untagged.iter().filter(|(keyspace, _)| !LOCAL.contains(&keyspace.as_str())) {
                let what = "has files and no snapshot of that tag, as others of its keyspace have: it is not read";
                problems.push(format!("node {}: {} {what}", c.name, path.display()));
            }
        }
        let mut members = Vec::new();
        for (dir, node) in dirs.iter().zip(&known) {
            members.push(member(dir, node.as_ref(), ring.as_ref(), &mut problems));
        }
        let nodes = dirs.iter().zip(captured).zip(&known).zip(&members);
        let nodes =
            nodes.map(|(((dir, c), node), member)| describe(dir, c, node.as_ref(), ring.as_ref(), *member)).collect();
        let sstables = captured.iter().flat_map(|c| &c.capture.tables).flat_map(|t| &t.sstables);
        let mut cluster = Cluster {
            nodes,
            description: ClusterDescription {
                cluster_name: known.iter().flatten().map(|n| n.cluster_name.clone()).next(),
                keyspaces: agreed_keyspaces(&schemas)?,
                ring: None,
                owned: BTreeMap::new(),
                truncated_at: known
                    .iter()
                    .map(|n| n.as_ref().map(|n| n.truncated_at.clone()).unwrap_or_default())
                    .collect(),
                sstable_versions: sstables.map(|s| s.descriptor.version.clone()).collect(),
            },
            schemas,
            unread: BTreeMap::new(),
            problems,
        };
        if let Some(ring) = ring {
            cluster.place(&ring, &members)?;
            cluster.description.ring = Some(ring);
        } else {
            let what = "the ring is not known: every node counts as an owner of everything";
            cluster.problems.push(format!("{what}; capture `system` too, or give --source-ring FILE"));
        }
        if cluster.description.ring.is_some() {
            cluster.name_unplaced();
        }
        Ok(cluster)
    }

    /// Finds out, keyspace by keyspace, what each captured node answers for, and which owners are not captured.
    fn place(&mut self, ring: &Ring, members: &[Option<usize>]) -> Result<()> {
        for keyspace in &self.description.keyspaces {
            let placement = ring.placement(&keyspace.replication).map_err(|e| e.within(&keyspace.name))?;
            let owned = |m: &Option<usize>| match m {
                Some(m) => Some(placement.owned(*m)).filter(|ranges| ranges != &[TokenRange::ALL]),
                None => Some(Vec::new()),
            };
            self.description.owned.insert(keyspace.name.clone(), members.iter().map(owned).collect());
            let absent = ring.members().iter().enumerate();
            let absent = absent.filter(|(m, _)| !members.contains(&Some(*m)) && !placement.owned(*m).is_empty());
            let names: Vec<String> = absent.map(|(_, member)| member.address.clone()).collect();
            self.unread.insert(keyspace.name.clone(), names);
        }
        Ok(())
    }

    /// Names the keyspaces of which it is not known who owns what, although the ring is known.
    fn name_unplaced(&mut self) {
        let named = self.schemas.iter().flat_map(|s| &s.tables).map(|t| t.keyspace.as_str());
        let unplaced: BTreeSet<&str> = named.filter(|k| !self.ring_known(k) && !LOCAL.contains(k)).collect();
        let line = |k| format!("keyspace {k}: how it is replicated is not known; capture `system_schema` too");
        let lines: Vec<String> = unplaced.into_iter().map(line).collect();
        self.problems.extend(lines);
    }

    /// Whether it is known who owns what of a keyspace.
    pub fn ring_known(&self, keyspace: &str) -> bool {
        self.description.owned.contains_key(keyspace)
    }

    /// See [`ClusterDescription::owned`].
    pub fn owned(&self, node: usize, keyspace: &str) -> Owned {
        self.description.owned(node, keyspace)
    }
}

/// As the operator says it, else as the capture does.
fn address(dir: &NodeDir, node: &Option<Node>) -> Option<String> {
    dir.address.clone().or_else(|| node.as_ref()?.this.address.map(|a| a.to_string()))
}

fn host_id(node: &Option<Node>) -> Option<&str> {
    node.as_ref()?.this.host_id.as_deref()
}

fn check_identities(dirs: &[NodeDir], known: &[Option<Node>]) -> Result<()> {
    for (i, (dir, node)) in dirs.iter().zip(known).enumerate() {
        for (other_dir, other) in dirs.iter().zip(known).take(i) {
            let both =
                |what: String| Error::new(Kind::Usage, format!("nodes {} and {}", other_dir.name, dir.name), what);
            if dir.name == other_dir.name {
                return Err(both("have the same name".into()).hint("give every --node a name of its own"));
            }
            let host_ids = (host_id(other), host_id(node));
            if address(other_dir, other).is_some_and(|a| Some(a) == address(dir, node))
                && (host_ids.0.is_none() || host_ids.1.is_none())
            {
                let what = format!("have the same address {}", address(dir, node).unwrap_or_default());
                return Err(
                    both(what).hint("one node was given twice, or a copy of it: leave one out, or mend the address")
                );
            }
            let (Some(a), Some(b)) = (other, node) else { continue };
            if a.cluster_name != b.cluster_name {
                let what = format!("are of different clusters: {} and {}", a.cluster_name, b.cluster_name);
                return Err(both(what).hint("back each cluster up by itself"));
            }
            if a.this.host_id.is_some() && a.this.host_id == b.this.host_id {
                let what = format!("have the same host id {}", a.this.host_id.as_deref().unwrap_or_default());
                return Err(both(what).hint("one node was given twice, or a copy of it: leave one out"));
            }
        }
    }
    Ok(())
}

/// The keyspaces of all nodes' schemas, which must agree where they overlap.
fn agreed_keyspaces(schemas: &[Schema]) -> Result<Vec<Keyspace>> {
    let mut by_name: BTreeMap<&str, &Keyspace> = BTreeMap::new();
    for keyspace in schemas.iter().flat_map(|s| &s.keyspaces) {
        let first = by_name.entry(&keyspace.name).or_insert(keyspace);
        if first.replication != keyspace.replication {
            let subject = format!("keyspace {}", keyspace.name);
            return Err(Error::new(Kind::Usage, subject, "two nodes replicate it differently").hint(DISAGREE));
        }
    }
    Ok(by_name.into_values().cloned().collect())
}

/// The ring as the operator gives it, else as a captured node knows it.
fn read_ring(known: &[Option<Node>], source_ring: Option<&Path>) -> Result<Option<Ring>> {
    if let Some(path) = source_ring {
        let text = fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?;
        return Ring::parse(&text, &path.display().to_string()).map(Some);
    }
    known.iter().flatten().find(|n| !n.this.tokens.is_empty()).map(Ring::of).transpose()
}

/// The place in the ring of a captured node.
fn member(dir: &NodeDir, node: Option<&Node>, ring: Option<&Ring>, problems: &mut Vec<String>) -> Option<usize> {
    let ring = ring?;
    let this = node.map(|n| &n.this);
    let address = this.and_then(|t| t.address).map(|a| a.to_string());
    let names = [dir.address.clone(), this.and_then(|t| t.host_id.clone()), address];
    let found = names.iter().flatten().find_map(|name| ring.find(name));
    if found.is_none() {
        problems.push(format!(
            "node {}: is not in the ring: what it holds counts as outside its ranges; give --node {}@ADDRESS=…",
            dir.name, dir.name
        ));
    }
    found
}

fn describe(
    dir: &NodeDir,
    c: &Captured,
    node: Option<&Node>,
    ring: Option<&Ring>,
    member: Option<usize>,
) -> engine::Node {
    let this = node.map(|n| &n.this);
    let member = member.and_then(|m| ring?.members().get(m));
    let known = |text: &String| (!text.is_empty()).then(|| text.clone());
    let captured = c.capture.taken.map_or(0, |(_, last)| u64::try_from(last).unwrap_or(0) / 1000);
    engine::Node {
        name: dir.name.clone(),
        address: dir.address.clone().or_else(|| member.map(|m| m.address.clone())),
        host_id: this.and_then(|t| t.host_id.clone()),
        data_center: this.and_then(|t| known(&t.data_center)).or_else(|| member.map(|m| m.data_center.clone())),
        rack: this.and_then(|t| known(&t.rack)).or_else(|| member.map(|m| m.rack.clone())),
        version: this.and_then(|t| known(&t.release_version)),
        captured,
    }
}
