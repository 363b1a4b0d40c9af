//! Captured nodes of one cluster, as an engine gives them to a backup: shards, each node's parts of them, and what is kept.

use std::collections::BTreeSet;

use repo_format::leaf::Layout;

use std::path::Path;

use super::{KeyRange, split_name};
use crate::blob::Chunker;
use crate::error::{Error, Kind, Result};
use crate::merge::Owned;
use crate::run::{ChunkSink, Run, ShardKind};
use crate::volume::Place;
use crate::watch::Watch;

/// A machine of the cluster, as captured.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Node {
    /// The name the operator gave it.
    pub name: String,
    /// Its address, where known.
    pub address: Option<String>,
    /// The id the database gave it, where known.
    pub host_id: Option<String>,
    /// Data centre, where known.
    pub data_center: Option<String>,
    /// Rack, where known.
    pub rack: Option<String>,
    /// Version of the database, where known.
    pub version: Option<String>,
    /// When its files were captured, seconds since 1970.
    pub captured: u64,
}

/// The longest name of a node, in bytes: it is a folder when its files come back.
const NAME_MAX: usize = 255;

/// Refuses a name of a node that could not be the folder of its files in a restore.
pub fn check_node_name(name: &str) -> Result<()> {
    let folder = !matches!(name, "" | "." | "..") && !name.contains(|c: char| c == '/' || c.is_control());
    if folder && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, format_args!("node {name}"), "cannot be called so")
        .hint(format_args!("a name has 1 to {NAME_MAX} bytes, without / and control characters, and is not . or ..")))
}

/// Something merged on its own: a table, a collection.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its name: `lab.users`, or a name without a dot ([`split_name`]).
    pub name: String,
    /// What its records are.
    pub kind: ShardKind,
    /// The database's id of it.
    pub id: String,
    /// What helps to compress its leaves.
    pub layout: Layout,
    /// Names of nodes that own parts of it and are not captured.
    pub unread: Vec<String>,
    /// Whether it is known which node owns what.
    pub ring_known: bool,
}

/// Opens a part: gives the records whose keys lie in a range, which is [all of them](EVERYTHING) or lies between two of the
/// [bounds](Source::bounds) of the shard.
pub type Open<'a> = Box<dyn Fn(&KeyRange) -> Result<Box<dyn Run + 'a>> + Send + Sync + 'a>;

/// The range of all keys.
pub static EVERYTHING: KeyRange = (Vec::new(), Vec::new());

/// One piece of a node's shard that is decoded alone: a sorted file. It is opened when the merge reaches it.
pub struct Part<'a> {
    /// Names it among the node's parts of the shard, and in what is said of it.
    pub name: String,
    /// All files that make it up: kept byte for byte where it is not understood.
    pub files: Vec<Place>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Which of two records without versions is the later one: that of the part with the greater rank. 0 where versions say it.
    pub rank: u64,
    /// A key that none of its records comes before; empty where that is not known. The error is why it cannot be decoded.
    pub from: Result<Vec<u8>>,
    /// Gives its records, of all keys or of some.
    pub open: Open<'a>,
}

/// Parts left out, each by its node and name.
pub type Without = BTreeSet<(usize, String)>;

/// What the parts of a shard may use while they are read.
#[derive(Clone, Copy)]
pub struct Taking<'a> {
    /// Counts the bytes read, collects problems, and is asked whether to go on.
    pub watch: &'a Watch,
    /// Where contents go that records only refer to. `None` where records are read for themselves.
    pub contents: Option<Contents<'a>>,
}

/// Where contents go.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// Takes the chunks.
    pub sink: &'a dyn ChunkSink,
    /// Cuts them.
    pub chunker: &'a Chunker,
    /// The file in which the engine remembers what it read, from one backup of the cluster by this credential to the next. `None` where
    /// nothing is remembered.
    pub memory: Option<&'a Path>,
    /// It is written anew.
    pub remembers: bool,
    /// What the last snapshot has of the shard.
    pub earlier: &'a dyn Earlier,
}

/// The last snapshot of a cluster.
pub trait Earlier: Sync {
    /// Its id, and the records of the shard that is read; `None` where there is none, or it may not be read.
    fn records(&self) -> Result<Option<(String, Box<dyn Run + '_>)>>;
}

impl<'a> Taking<'a> {
    /// Records alone.
    pub fn records(watch: &'a Watch) -> Taking<'a> {
        Taking { watch, contents: None }
    }
}

/// What one node has of a shard.
pub struct NodeParts<'a> {
    /// Which node, by its place in [`Source::nodes`].
    pub node: usize,
    /// The keys that it answers for.
    pub owned: Owned,
    /// Its parts.
    pub parts: Vec<Part<'a>>,
}

/// A file that is kept byte for byte from the start.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Which node.
    pub node: usize,
    /// Where it lies.
    pub place: Place,
    /// Its path in the capture, with `/`.
    pub name: String,
    /// Why it is kept and not decoded.
    pub reason: String,
    /// Whether that leaves something uncovered: data in a form that is not understood.
    pub problem: bool,
}

/// What a backup was narrowed to. It stands in the snapshot, so that *complete* says of what.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Narrowed {
    /// Only what lies in these ([`split_name`]: `lab` of `lab.users`); all, where there are none.
    pub only: Vec<String>,
    /// Without what lies in these, and without these shards (`lab.users`).
    pub excluded: Vec<String>,
    /// Only what the nodes of this data center own.
    pub data_center: Option<String>,
    /// What lies in these is not in the snapshot though nobody named it: the database's own where no capture has it, and what has no
    /// replicas in the data center.
    pub absent: Vec<String>,
}

impl Narrowed {
    /// Whether a shard is left out by name.
    pub fn leaves_out(&self, shard: &str) -> bool {
        let (outer, _) = split_name(shard);
        let named = |name: &String| name == outer || name == shard;
        (!self.only.is_empty() && !self.only.iter().any(|name| name == outer)) || self.excluded.iter().any(named)
    }

    /// Whether a shard is among what nobody named and is not in the snapshot.
    pub fn lacks(&self, shard: &str) -> bool {
        let (outer, _) = split_name(shard);
        self.absent.iter().any(|name| name == outer)
    }

    /// Lines for people; none where everything is meant and there.
    pub fn lines(&self) -> Vec<String> {
        let list = |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
        let center = self.data_center.as_ref().map(|center| format!("only data center {center}"));
        let lines =
            [list("only", &self.only), list("without", &self.excluded), center, list("not captured:", &self.absent)];
        lines.into_iter().flatten().collect()
    }
}

/// What was seen in a file whose rows were read.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which node.
    pub node: usize,
    /// Name of the part.
    pub part: String,
    /// All files that make it up, the one that stands for them first.
    pub files: Vec<Place>,
    /// What it is.
    pub what: String,
    /// `None`: no loss. Otherwise the files are kept byte for byte besides, and whether bytes are damaged.
    pub damage: Option<bool>,
}

/// A time that a capture gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureTime {
    /// Which node.
    pub node: usize,
    /// The manifest or the file that says it.
    pub place: Place,
    /// Seconds since 1970.
    pub seconds: u64,
    /// What kind of time it is.
    pub of: TimeOf,
}

/// What a time of a capture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeOf {
    /// When a manifest was made: the capture itself.
    Manifest,
    /// When the newest file was written: the capture is no earlier.
    File,
    /// When a file was written that was added to the capture later.
    Addition,
}

/// Looks up what an earlier snapshot says of a shard, by the database's id of it.
type Describe<'a> = dyn Fn(&str) -> Option<serde_json::Value> + 'a;

/// What earlier snapshots say of their shards ([`Source::describe`]). By default nothing.
#[derive(Default)]
pub struct Described<'a>(Option<&'a Describe<'a>>);

impl<'a> Described<'a> {
    /// As `describe` says.
    pub fn by(describe: &'a Describe<'a>) -> Described<'a> {
        Described(Some(describe))
    }

    /// What is said of the shard with this id.
    pub fn of(&self, id: &str) -> Option<serde_json::Value> {
        self.0.and_then(|describe| describe(id))
    }
}

/// Captured nodes of one cluster.
pub trait Source: Sync {
    /// The nodes.
    fn nodes(&self) -> &[Node];
    /// What is merged.
    fn shards(&self) -> &[Shard];
    /// When the shard was emptied by command, as the captures record it, seconds since 1970.
    fn emptied(&self, _shard: &Shard) -> Option<u64> {
        None
    }
    /// Whether the capture lists every shard that there is, so that one that is not listed was dropped.
    fn lists_all(&self) -> bool {
        false
    }
    /// Bytes that reading a shard takes, as far as the captures say without opening its parts: progress is told against the sum
    /// of all shards, and small shards are read several at a time. Of files it is 0 before they were read, and then what was read.
    fn bytes(&self, shard: &Shard) -> u64;
    /// Every time that the captures give, at least one for each node that has files.
    fn times(&self) -> &[CaptureTime];
    /// The place in the engine's own log that the captures are cut at, where it has one, in the engine's words.
    fn position(&self) -> Option<String> {
        None
    }
    /// The parts of a shard, node by node, without those in `without`. One entry for every captured node.
    /// Fails where something can be neither read nor said to be damaged.
    fn parts<'a>(&'a self, shard: &Shard, without: &Without, taking: Taking<'a>) -> Result<Vec<NodeParts<'a>>>;
    /// Where a shard may be cut into about `pieces` ranges of as many records each, so that each range is read by itself: keys,
    /// ascending, at which no group goes on. None where the parts can only be read from their beginnings.
    ///
    /// A part that is read in ranges may fail where it would not if it were read whole (its index is damaged, say), and must fail
    /// where it would give other records, or where there would be something to [say](Source::findings) of it: the shard is read
    /// anew then, whole.
    fn bounds(&self, _shard: &Shard, _without: &Without, _pieces: usize) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }
    /// Which nodes' captures have a folder of a shard, with files or without. One entry for every captured node.
    fn captured(&self, shard: &Shard) -> Vec<bool>;
    /// What was seen in the files of a shard that were read to their ends, whatever the number of times.
    fn findings(&self, _shard: &Shard) -> Vec<Finding> {
        Vec::new()
    }
    /// Files to be kept byte for byte.
    fn kept(&self) -> &[Kept] {
        &[]
    }
    /// What is wrong with the capture as a whole: said in the snapshot, and makes it incomplete.
    fn problems(&self) -> &[String] {
        &[]
    }
    /// What was left out by name, or is not captured of any node and was not asked for.
    fn narrowed(&self) -> &Narrowed;
    /// What was seen in the capture and left aside, and is no loss: said in the snapshot.
    fn notes(&self) -> &[String] {
        &[]
    }
    /// Whether a machine on which a node's files lie cannot be reached any more: opened anew, the source would be without it.
    fn is_lost(&self) -> bool {
        false
    }
    /// Nodes that are to be read no further for their own sake, by name, and why: opened anew, the source is to be without them.
    fn spared(&self) -> Vec<(String, Error)> {
        Vec::new()
    }
    /// Lets go of what was frozen for this backup alone, now that all was read. Gives what stays, and why.
    fn release(&self) -> Vec<String> {
        Vec::new()
    }
    /// The backup has committed, as the snapshot of this id: what was remembered while parts were read holds for the next.
    ///
    /// Errors: it cannot be kept. The backup stands all the same.
    fn stands(&self, _snapshot: &str) -> Result<()> {
        Ok(())
    }
    /// The shard's description, and that of all shards together, as the engine reads them back from a snapshot: how versions of the
    /// shard merge is asked of the schema that [`super::Engine::schema`] makes of it, in a backup as whenever the snapshot is read.
    fn describe(&self, shard: Option<&Shard>) -> Result<serde_json::Value>;
}
