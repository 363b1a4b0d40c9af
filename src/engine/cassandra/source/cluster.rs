//! What the captures say together about the cluster: its nodes, its ring, who owns what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tables::DISAGREE;
use super::{Captured, NodeDir, identity, narrow, owned, told};
use crate::engine;
use crate::engine::cassandra::read_schema::{Keyspace, Node, Schema, read_own_schema, read_schema};
use crate::engine::cassandra::ring::{Ring, TokenRange};
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::whose::is_local;
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
    /// Who answers for what, once for each replication that a keyspace has and that fits the ring.
    pub owned: Vec<Owners>,
    /// By captured node: table ids and when each was truncated there, milliseconds since 1970.
    pub truncated_at: Vec<BTreeMap<String, i64>>,
    /// Versions of the captured SSTables: `nb`, `oa` and so on.
    #[serde(default)]
    pub sstable_versions: BTreeSet<String>,
}

/// The token ranges that a captured node answers for; `None` is everything.
pub type Ranges = Option<Vec<TokenRange>>;

/// Who answers for what of all keyspaces that are replicated alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owners {
    /// How, as [`Keyspace::replication`] has it.
    pub replication: BTreeMap<String, String>,
    /// By captured node.
    pub nodes: Vec<Ranges>,
}

impl ClusterDescription {
    /// As a snapshot holds it.
    pub fn read(description: &serde_json::Value) -> Result<ClusterDescription> {
        ClusterDescription::deserialize(description).map_err(|e| Error::damaged("snapshot: cluster", e))
    }

    /// Who answers for what of a keyspace, by captured node; `None` where nobody knows.
    pub fn owners(&self, keyspace: &str) -> Option<&[Ranges]> {
        let replication = &self.keyspaces.iter().find(|of| of.name == keyspace)?.replication;
        self.owned.iter().find(|of| of.replication == *replication).map(|of| of.nodes.as_slice())
    }

    /// The keys of a keyspace that a captured node answers for: all, where that is not known.
    pub fn owned(&self, node: usize, keyspace: &str) -> Owned {
        owned(self.owners(keyspace).and_then(|nodes| nodes.get(node)).and_then(|ranges| ranges.as_deref()))
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
    /// Keyspaces with tables of data, all of them.
    pub counted: BTreeSet<String>,
    /// See [`engine::Narrowed::absent`].
    pub absent: BTreeSet<String>,
    narrowed: engine::Narrowed,
}

impl Cluster {
    /// Reads it out of the captures.
    pub fn read(
        dirs: &[NodeDir],
        captured: &[Captured],
        source_ring: Option<&Path>,
        narrowed: &engine::Narrowed,
    ) -> Result<Cluster> {
        let mut problems = Vec::new();
        let told = told::read(captured, &mut problems)?;
        let known: Vec<_> = told.iter().map(|t| t.node.clone()).collect();
        problems.extend(identity::check(dirs, &known, captured)?);
        let schemas = read_schemas(captured, &mut problems)?;
        let ring = told::ring(dirs, &told, source_ring, &mut problems)?;
        narrow::check(narrowed, captured, &schemas, ring.as_ref())?;
        for c in captured.iter().filter(|c| c.capture.unflushed) {
            problems.push(format!("node {}: a live data directory: writes not yet flushed are missing", c.name));
        }
        let members = told::members(dirs, &told, ring.as_ref(), &mut problems);
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
                owned: Vec::new(),
                truncated_at: known
                    .iter()
                    .map(|n| n.as_ref().map(|n| n.truncated_at.clone()).unwrap_or_default())
                    .collect(),
                sstable_versions: sstables.map(|s| s.descriptor.version.clone()).collect(),
            },
            schemas,
            unread: BTreeMap::new(),
            problems,
            counted: BTreeSet::new(),
            absent: BTreeSet::new(),
            narrowed: narrowed.clone(),
        };
        let tables = cluster.schemas.iter().flat_map(|s| &s.tables);
        let meant = tables.filter(|t| !is_local(&t.keyspace) && !narrow::leaves_out(narrowed, &t.keyspace, &t.name));
        let meant: BTreeSet<String> = meant.map(|t| t.keyspace.clone()).collect();
        (cluster.counted, cluster.absent) = meant.into_iter().partition(|k| narrow::counts(narrowed, captured, k));
        match ring {
            Some(ring) => {
                cluster.place(&ring, &members);
                cluster.description.ring = Some(ring);
            }
            None => {
                let what = "the ring is not known: every node counts as an owner of everything";
                cluster.problems.push(format!("{what}; capture `system` too, or give --source-ring FILE"));
            }
        }
        Ok(cluster)
    }

    /// Finds out, keyspace by keyspace, what each captured node answers for, and which owners are not captured. Where the
    /// replication does not fit the ring nobody is known to own anything: then every node counts as an owner of everything, so
    /// that no row is left out.
    fn place(&mut self, ring: &Ring, members: &[Option<usize>]) {
        let (mut unplaced, mut alike) = (self.counted.clone(), BTreeMap::new());
        for keyspace in &self.description.keyspaces {
            let name = &keyspace.name;
            unplaced.remove(name);
            let center =
                self.narrowed.data_center.as_deref().filter(|_| Ring::is_by_data_center(&keyspace.replication));
            if center.is_some_and(|center| keyspace.replication.get(center).is_none_or(|count| count == "0")) {
                if self.counted.remove(name) {
                    self.absent.insert(name.clone());
                }
                continue;
            }
            let (owners, absent) = alike
                .entry(&keyspace.replication)
                .or_insert_with(|| owners(ring, members, center, &keyspace.replication));
            self.unread.insert(name.clone(), absent.clone());
            if let Err(misfit) = owners
                && self.counted.contains(name)
            {
                let all = "every captured node counts as an owner of all of it";
                let mend = "mend its replication or --source-ring, or give --data-center";
                self.problems.push(format!("keyspace {name} {misfit}: {all}; {mend}"));
            }
        }
        let known = |(replication, (owners, _)): (&BTreeMap<_, _>, (std::result::Result<_, _>, _))| {
            Some(Owners { replication: replication.clone(), nodes: owners.ok()? })
        };
        self.description.owned = alike.into_iter().filter_map(known).collect();
        let line = |k| format!("keyspace {k}: how it is replicated is not known; capture `system_schema` too");
        self.problems.extend(unplaced.into_iter().map(line));
    }

    /// Whether a table is one whose rows are merged: of a keyspace that counts, not left out by name, and no view.
    pub fn is_meant(&self, table: &Table) -> bool {
        let left_out = narrow::leaves_out(&self.narrowed, &table.keyspace, &table.name);
        self.counted.contains(&table.keyspace) && !left_out && !table.view
    }

    /// Whether it is known who owns what of a keyspace.
    pub fn ring_known(&self, keyspace: &str) -> bool {
        self.description.owners(keyspace).is_some()
    }

    /// See [`ClusterDescription::owned`].
    pub fn owned(&self, node: usize, keyspace: &str) -> Owned {
        self.description.owned(node, keyspace)
    }

    /// Whether a captured node answers for any part of a keyspace.
    pub fn is_owner(&self, node: usize, keyspace: &str) -> bool {
        let ranges = self.description.owners(keyspace).and_then(|nodes| nodes.get(node)).and_then(Option::as_ref);
        ranges.is_none_or(|ranges| !ranges.is_empty())
    }
}

/// What each captured node answers for of keyspaces that are replicated alike, or why nobody is known to own anything; and the
/// owners that are not captured, by address: those of the data center only, where one is given.
fn owners(
    ring: &Ring,
    members: &[Option<usize>],
    center: Option<&str>,
    replication: &BTreeMap<String, String>,
) -> (std::result::Result<Vec<Ranges>, String>, Vec<String>) {
    let absent = |owns: &dyn Fn(usize) -> bool| -> Vec<String> {
        let absent = ring.members().iter().enumerate().filter(|(m, _)| !members.contains(&Some(*m)) && owns(*m));
        let absent = absent.filter(|(_, member)| center.is_none_or(|center| member.data_center == center));
        absent.map(|(_, member)| member.address.clone()).collect()
    };
    let misfit = ring.misfit(replication, center).map_err(|e| e.to_string());
    let placement = match (misfit, ring.placement(replication)) {
        (Ok(None), Ok(placement)) => placement,
        (Ok(Some(misfit)) | Err(misfit), _) => return (Err(misfit), absent(&|_| true)),
        (Ok(None), Err(e)) => return (Err(e.to_string()), absent(&|_| true)),
    };
    let owned = |m: &Option<usize>| match m {
        Some(m) => Some(placement.owned(*m)).filter(|ranges| ranges != &[TokenRange::ALL]),
        None => Some(Vec::new()),
    };
    (Ok(members.iter().map(owned).collect()), absent(&|m| !placement.owned(m).is_empty()))
}

/// The schema of each node that has one. The nodes agree on it: one that cannot be read is told by the others, and a problem.
/// Where none of theirs can be read, each table's `schema.cql` tells what it can.
fn read_schemas(captured: &[Captured], problems: &mut Vec<String>) -> Result<Vec<Schema>> {
    let (mut schemas, mut unreadable) = (Vec::new(), Vec::new());
    for c in captured {
        match read_schema(&c.capture).map_err(|e| e.within(format!("node {}", c.name))) {
            Ok(schema) => schemas.extend(schema),
            Err(e) if e.is_of_bytes() => unreadable.push((c, e)),
            Err(e) => return Err(e),
        }
    }
    let told = schemas.iter().any(|s: &Schema| !s.keyspaces.is_empty());
    for (c, e) in unreadable {
        let counts = if told { "the schema of the other nodes" } else { "what the schema.cql of each table says" };
        problems.push(format!("{}: {}: {counts} counts", e.subject(), e.message()));
        if !told {
            schemas.extend(read_own_schema(&c.capture)?);
        }
    }
    Ok(schemas)
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
        host_id: this.and_then(|t| t.host_id.clone()).or_else(|| member.and_then(|m| m.host_id.clone())),
        data_center: this.and_then(|t| known(&t.data_center)).or_else(|| member.map(|m| m.data_center.clone())),
        rack: this.and_then(|t| known(&t.rack)).or_else(|| member.map(|m| m.rack.clone())),
        version: this.and_then(|t| known(&t.release_version)),
        captured,
    }
}
