//! Captured nodes of one cluster as a [`Source`]: which tables there are, who owns what, and every table's files.

mod cluster;
mod expected;
mod identity;
mod missing_types;
mod narrow;
mod part;
mod ranges;
pub mod reached;
mod tables;
mod taken;
mod told;
mod watching;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::capture::{self, Capture, CapturedSsTable};
use super::schema::Table;
use super::sstable;
use crate::engine::{CaptureTime, Described, Finding, Kept, Narrowed};
use crate::engine::{Node, NodeParts, Shard, Source, Taking, Without, check_node_name};
use crate::error::{Error, Kind, Result};
use crate::merge::Owned;
use crate::volume::{Guard, Place};
use crate::watch::Watch;
use cluster::Cluster;
use reached::Reached;
use tables::Tables;
use taken::Taken;
use watching::Watching;

pub use cluster::ClusterDescription;

/// What the operator says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDir {
    /// Its name.
    pub name: String,
    /// Its address in the ring, where the capture does not tell.
    pub address: Option<String>,
    /// Its data directories, or copies of them or of snapshots.
    pub dirs: Vec<Place>,
    /// Tag of the snapshots in them that count; without it the files themselves do.
    pub tag: Option<String>,
    /// Whether a command froze them: nothing in them changes, and what was only in memory before is not missing where it was
    /// flushed.
    pub frozen: Option<Frozen>,
}

/// What a command froze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frozen {
    /// What was only in memory was written out first, the operator says.
    pub flushed: bool,
}

impl NodeDir {
    /// A node with one folder of files.
    pub fn new(name: impl Into<String>, dir: impl Into<Place>) -> NodeDir {
        NodeDir { name: name.into(), address: None, dirs: vec![dir.into()], tag: None, frozen: None }
    }
}

/// A node with what its capture says.
struct Captured {
    name: String,
    capture: Capture,
    /// Removes the links to live directories' files once we are done.
    frozen: Vec<capture::Frozen>,
}

/// Name of the engine.
pub const ENGINE: &str = "cassandra";

/// Captured nodes of one Cassandra cluster.
pub struct CapturedNodes {
    captured: Vec<Captured>,
    cluster: Cluster,
    tables: Tables,
    problems: Vec<String>,
    narrowed: Narrowed,
    times: Vec<CaptureTime>,
    notes: Vec<String>,
    findings: Findings,
    /// All SSTables are read through it.
    files: Arc<sstable::Files>,
    /// Where each node's files lie.
    dirs: Vec<Place>,
    /// What looks after the nodes, by name.
    guards: Vec<(String, Arc<Guard>)>,
    /// Ends before what is taken is cleared.
    watching: Option<Watching>,
    /// Cleared once we are done.
    taken: Option<Taken>,
}

/// By table id, node and part, so that a part that is read again says nothing twice.
type Findings = Mutex<BTreeMap<(String, usize, String), Vec<Finding>>>;

impl CapturedNodes {
    /// [`CapturedNodes::open_narrowed`] to nothing: everything.
    pub fn open(nodes: &[NodeDir], source_ring: Option<&Path>, before: &Described<'_>) -> Result<CapturedNodes> {
        CapturedNodes::open_narrowed(nodes, source_ring, before, Narrowed::default())
    }

    /// Lists the captures, reads schema and ring, and compares what should be there with what is. `source_ring` is the output of
    /// `nodetool ring`; `before` gives tables that were stored before the numbers of their columns; `narrowed` says what the operator
    /// leaves out.
    ///
    /// Errors: a folder that cannot be read, nodes of different clusters, one node given twice, schemas that disagree, names that
    /// nobody has.
    pub fn open_narrowed(
        nodes: &[NodeDir],
        source_ring: Option<&Path>,
        before: &Described<'_>,
        mut narrowed: Narrowed,
    ) -> Result<CapturedNodes> {
        let mut captured = Vec::new();
        for node in nodes {
            check_node_name(&node.name)?;
            if node.tag.as_deref().is_some_and(|tag| tag.trim().is_empty()) {
                return Err(Error::new(Kind::Usage, format_args!("node {}", node.name), "an empty tag of a snapshot")
                    .hint("give the tag of `nodetool snapshot -t TAG`: is a variable of your script not set?"));
            }
            let opened = match node.frozen {
                Some(frozen) => capture::open_still(&node.dirs, node.tag.as_deref(), frozen.flushed),
                None => capture::open_all(&node.dirs, node.tag.as_deref(), None),
            };
            let (capture, frozen) = opened.map_err(|e| e.within(format!("node {}", node.name)))?;
            captured.push(Captured { name: node.name.clone(), capture, frozen });
        }
        captured.iter_mut().zip(nodes).for_each(|(c, node)| narrow::apply(&narrowed, &node.dirs, c));
        let cluster = Cluster::read(nodes, &captured, source_ring, &narrowed)?;
        for (c, truncated) in captured.iter_mut().zip(&cluster.description.truncated_at) {
            leave_truncated_backups(&mut c.capture, truncated);
        }
        let tables = Tables::read(&captured, &cluster, before)?;
        narrowed.absent = cluster.absent.iter().cloned().collect();
        let mut problems = cluster.problems.clone();
        problems.extend(expected::problems(&captured, &cluster, &tables));
        let notes = noted(&captured);
        let dirs = nodes.iter().flat_map(|node| node.dirs.clone()).collect();
        let (times, findings, files) = (times(&captured), Findings::default(), sstable::Files::shared());
        Ok(CapturedNodes {
            captured,
            cluster,
            tables,
            times,
            problems,
            narrowed,
            notes,
            findings,
            files,
            dirs,
            guards: Vec::new(),
            watching: None,
            taken: None,
        })
    }

    /// Opens the nodes that are there, says which are not, and lets go of what is held of them once all was read.
    ///
    /// Errors: those of [`CapturedNodes::open_narrowed`].
    pub fn open_reached(
        reached: Reached,
        source_ring: Option<&Path>,
        before: &Described<'_>,
        narrowed: Narrowed,
        watch: &Watch,
    ) -> Result<CapturedNodes> {
        let opened = CapturedNodes::open_narrowed(&reached.nodes, source_ring, before, narrowed);
        let mut source = opened.inspect_err(|_| {
            // A guard may let go of a node also while it is looked at.
            let spared = reached.guards.iter().filter_map(|(name, guard)| Some((name, guard.check().err()?)));
            spared.for_each(|(name, why)| watch.leave_out(name.clone(), why));
        })?;
        let line =
            |(node, e): &(NodeDir, Error)| format!("node {}: is left out: {}: {}", node.name, e.subject(), e.message());
        source.problems.extend(reached.away.iter().map(line));
        source.notes.extend(reached.notes);
        (source.guards, source.watching, source.taken) = (reached.guards, reached.watching, reached.taken);
        Ok(source)
    }

    fn table(&self, shard: &Shard) -> Result<&Table> {
        let unknown = || Error::new(Kind::NotFound, &shard.name, "is not in the captured schema");
        self.tables.get(&shard.id).ok_or_else(unknown)
    }
}

impl Source for CapturedNodes {
    fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    fn shards(&self) -> &[Shard] {
        &self.tables.shards
    }

    fn emptied(&self, shard: &Shard) -> Option<u64> {
        let truncated = self.cluster.description.truncated_at.iter().filter_map(|node| node.get(&shard.id)).max();
        truncated.and_then(|ms| u64::try_from(ms / 1000).ok())
    }

    fn lists_all(&self) -> bool {
        // Keyspaces are known from `system_schema` alone.
        !self.cluster.description.keyspaces.is_empty()
    }

    fn bytes(&self, shard: &Shard) -> u64 {
        let tables = self.captured.iter().flat_map(|c| &c.capture.tables).filter(|t| t.id == shard.id);
        tables.flat_map(|t| &t.sstables).map(CapturedSsTable::bytes).sum()
    }

    fn times(&self) -> &[CaptureTime] {
        &self.times
    }

    fn parts<'a>(&'a self, shard: &Shard, without: &Without, taking: Taking<'a>) -> Result<Vec<NodeParts<'a>>> {
        let (table, watch) = (self.table(shard)?, taking.watch);
        let mut nodes = Vec::new();
        for (node, captured) in self.captured.iter().enumerate() {
            let mut parts = Vec::new();
            for s in captured.capture.tables.iter().filter(|t| t.id == shard.id).flat_map(|t| &t.sstables) {
                let name = part::name(s);
                if !without.contains(&(node, name.clone())) {
                    watch.check()?;
                    parts.push(self.part(s, name, table, node, watch));
                }
            }
            nodes.push(NodeParts { node, owned: self.cluster.owned(node, &table.keyspace), parts });
        }
        Ok(nodes)
    }

    fn bounds(&self, shard: &Shard, without: &Without, pieces: usize) -> Result<Vec<Vec<u8>>> {
        Ok(self.cuts(shard, without, pieces))
    }

    fn captured(&self, shard: &Shard) -> Vec<bool> {
        let of_node = |c: &Captured| c.capture.tables.iter().any(|t| t.id == shard.id);
        self.captured.iter().map(of_node).collect()
    }

    fn findings(&self, shard: &Shard) -> Vec<Finding> {
        let all = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (shard.id.clone(), 0, String::new());
        all.range(from..).take_while(|((id, ..), _)| *id == shard.id).flat_map(|(_, found)| found.clone()).collect()
    }

    fn kept(&self) -> &[Kept] {
        &self.tables.kept
    }

    fn problems(&self) -> &[String] {
        &self.problems
    }

    fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn is_lost(&self) -> bool {
        self.dirs.iter().any(|place| place.reach().is_err())
    }

    fn spared(&self) -> Vec<(String, Error)> {
        let why = |(name, guard): &(String, Arc<Guard>)| Some((name.clone(), guard.check().err()?));
        self.guards.iter().filter_map(why).collect()
    }

    fn release(&self) -> Vec<String> {
        self.taken.as_ref().map(Taken::clear).unwrap_or_default()
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<serde_json::Value> {
        let described = match shard {
            Some(shard) => serde_json::to_value(self.table(shard)?),
            None => serde_json::to_value(&self.cluster.description),
        };
        described.map_err(|e| Error::damaged("description", e))
    }
}

/// What was seen and needs no more than a word: a line for each reason, with the nodes and the first place.
fn noted(captured: &[Captured]) -> Vec<String> {
    let mut reasons: BTreeMap<&str, (Vec<&str>, Vec<&Place>)> = BTreeMap::new();
    for c in captured {
        for (why, places) in &c.capture.notes {
            let (nodes, all) = reasons.entry(why).or_default();
            nodes.push(&c.name);
            all.extend(places);
        }
        if !c.capture.unflushed && c.capture.tables.iter().all(|t| t.manifests.is_empty()) {
            let why = "no manifest.json tells which SSTables there should be";
            reasons.entry(why).or_default().0.push(&c.name);
        }
    }
    let line = |(why, (nodes, places)): (&str, (Vec<&str>, Vec<&Place>))| {
        let node = if nodes.len() == 1 { "node" } else { "nodes" };
        format!("{node} {}: {}", nodes.join(", "), capture::line(why, &places))
    };
    reasons.into_iter().map(line).collect()
}

/// Every time that the captures give.
fn times(captured: &[Captured]) -> Vec<CaptureTime> {
    let all = captured.iter().enumerate().flat_map(|(node, c)| c.capture.times.iter().map(move |taken| (node, taken)));
    let seconds = |t: &capture::Taken| u64::try_from(t.time).unwrap_or(0) / 1000;
    all.map(|(node, t)| CaptureTime { node, place: t.place.clone(), seconds: seconds(t), of: t.of }).collect()
}

/// Leaves out the incremental backups of which all was written before their table was truncated on this node (`truncated`,
/// milliseconds since 1970 by table id): a truncation leaves `backups/` as it is.
fn leave_truncated_backups(capture: &mut Capture, truncated: &BTreeMap<String, i64>) {
    for table in &mut capture.tables {
        let Some(time) = truncated.get(&table.id) else { continue };
        for gone in table.sstables.extract_if(.., |s| s.backup && is_older(s, *time)) {
            let why = "incremental backups from before a truncation, not read";
            capture.notes.entry(why).or_default().push(gone.data());
        }
    }
}

/// Whether nothing in an SSTable was written after `time`, milliseconds since 1970. One that cannot be read may be younger.
fn is_older(s: &CapturedSsTable, time: i64) -> bool {
    let read = sstable::read_statistics(&s.folder, &s.descriptor);
    read.is_ok_and(|(statistics, _)| statistics.stats.times.1 <= time.saturating_mul(1000))
}

/// The keys of token ranges; `None` is everything.
pub fn owned(ranges: Option<&[super::ring::TokenRange]>) -> Owned {
    ranges.map_or(Owned::All, |ranges| Owned::Ranges(ranges.iter().map(super::ring::TokenRange::keys).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn keyspaces_that_are_replicated_alike_have_their_owners_once() {
        let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cassandra-5.0");
        let nodes = [1, 2, 3].map(|n| NodeDir::new(format!("n{n}"), lab.join(format!("node{n}"))));
        let source = CapturedNodes::open(&nodes, None, &Described::default()).unwrap();
        let (of, mut keyspaces) = (&source.cluster.description, 0);
        let ring = of.ring.as_ref().unwrap();
        for keyspace in &of.keyspaces {
            let Some(owners) = of.owners(&keyspace.name) else { continue };
            let placement = ring.placement(&keyspace.replication).unwrap();
            for (node, ranges) in source.nodes().iter().zip(owners) {
                let member = ring.members().iter().position(|m| Some(&m.address) == node.address.as_ref()).unwrap();
                let ranges = ranges.clone().unwrap_or_else(|| vec![super::super::ring::TokenRange::ALL]);
                assert_eq!(ranges, placement.owned(member), "{} of {}", keyspace.name, node.name);
            }
            keyspaces += 1;
        }
        let alike: BTreeSet<_> = of.owned.iter().map(|owners| &owners.replication).collect();
        assert!(alike.len() == of.owned.len() && of.owned.len() < keyspaces, "{} of {keyspaces}", of.owned.len());
    }

    #[test]
    fn backups_from_before_a_truncation_do_not_count() {
        let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cassandra-5.0/node1/lab");
        let is_users = |path: &PathBuf| path.to_string_lossy().contains("/users-");
        let users = fs::read_dir(lab).unwrap().map(|entry| entry.unwrap().path()).find(is_users).unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lab").join(users.file_name().unwrap());
        fs::create_dir_all(folder.join("backups")).unwrap();
        for file in fs::read_dir(&users).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let place = if name.starts_with("nb-1-") || !name.starts_with("nb-") { "" } else { "backups" };
            fs::copy(&file, folder.join(place).join(name)).unwrap();
        }
        let (capture, _) = capture::open(root.path(), None).unwrap();
        let [table] = &capture.tables[..] else { panic!("{capture:?}") };
        assert_eq!(table.sstables.iter().map(|s| s.backup).collect::<Vec<_>>(), [false, true, true]);
        let newest = |s: &CapturedSsTable| sstable::read_statistics(&s.folder, &s.descriptor).unwrap().0.stats.times.1;
        let mut times: Vec<i64> = table.sstables[1..].iter().map(newest).collect();
        times.sort_unstable();
        for (time, left) in [(times[0] / 1000 - 1, 3), (times[0] / 1000 + 1, 2), (times[1] / 1000 + 1, 1)] {
            let mut capture = capture.clone();
            leave_truncated_backups(&mut capture, &[(table.id.clone(), time)].into());
            assert_eq!(capture.tables[0].sstables.len(), left, "{time} {times:?}");
            assert_eq!(capture.notes.keys().any(|why| why.contains("truncation")), left < 3);
        }
    }
}
