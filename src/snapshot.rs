//! What a snapshot says (SPEC "Snapshot body"): JSON, sealed in the snapshot object.

mod files;
mod find;
pub mod fuzzing;
mod patches;

use std::collections::BTreeSet;

use repo_format::record::{Entry, EntryKind};
use repo_format::snapshot::Says;
use serde::{Deserialize, Serialize};

use crate::engine::{Narrowed, Node};
use crate::error::{Error, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSource, Cut, PackClass, Reached, ShardKind};
use crate::tree::{self, Root, Under, UnownedCount};
use crate::watch::Problem;

pub use files::{About, FILE_BYTES, File, Files, write as write_files};
pub use find::{Filter, find, read, read_each};
use patches::PatchNames;
pub use patches::{NUMBERS, PATCH_BYTES, Patch, write as write_patches};

/// Version of the body. Readers refuse newer ones.
pub const VERSION: u32 = 0;

/// Features of bodies that this reader knows (SPEC "Snapshot body").
const FEATURES: [&str; 1] = [LAYERS];

/// A shard stands on what an earlier snapshot stored.
pub const LAYERS: &str = "layers";

/// Is shown each chunk: the part that needs it, of a table the keys that it speaks of, and what was reached; says whether to go on
/// below it.
pub type Visit<'v> = dyn FnMut(&str, Option<(&[u8], &[u8])>, Reached) -> Result<bool> + 'v;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Version of this document.
    pub version: u32,
    /// Features that a reader must know to read it rightly.
    pub must: Vec<String>,
    /// Name of the engine that decoded it.
    pub engine: String,
    /// The cluster, as the operator names it.
    pub cluster: String,
    /// The machine that made the backup, where known.
    #[serde(default)]
    pub host: Option<String>,
    /// Labels that the operator gave it.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Those that the backup was given, where the administrator set others in their place.
    #[serde(skip)]
    pub given_tags: Option<Vec<String>>,
    /// What the operator said of it.
    #[serde(default)]
    pub comment: Option<String>,
    /// Shards that may have lost rows since the last complete snapshot, as the operator says.
    #[serde(default)]
    pub accepted: Vec<String>,
    /// When the backup began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it was ready to commit, milliseconds since 1970.
    pub finished_ms: u64,
    /// First and last capture of a node, seconds since 1970: the snapshot is no instant, but lies in this window.
    pub window: (u64, u64),
    /// The time that all nodes are brought to. A cell that expires by then is stored as expired.
    pub cut: Cut,
    /// Everything asked for was read and understood.
    pub complete: bool,
    /// Whether a node's own view reads back exactly.
    pub node_views: bool,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The shards.
    #[serde(skip)]
    pub shards: Vec<Shard>,
    /// How each node differs in each shard ([`Snapshot::patches`]).
    pub patches: Option<Tree>,
    /// Files kept byte for byte ([`Snapshot::files`]).
    pub files: Option<Tree>,
    /// What was not covered or is damaged.
    pub problems: Vec<Problem>,
    /// What the backup was narrowed to, by name; `complete` is said of that.
    #[serde(default)]
    pub narrowed: Narrowed,
    /// What was seen in the capture and left aside, and is no loss.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Bytes of captured files that were read.
    pub bytes_read: u64,
    /// What the engine says of all shards together.
    #[serde(skip)]
    pub description: serde_json::Value,
}

/// One table or collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// As [`crate::engine::Shard::name`] has it.
    pub name: String,
    /// What its records are.
    pub kind: ShardKind,
    /// The database's id of it.
    pub id: String,
    /// Records of a leaf on average.
    pub leaf_records: u32,
    /// Rows of the reconciled view, static ones too.
    pub rows: u64,
    /// Rows of which something will expire later; `None` where that was not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiring: Option<u64>,
    /// What reading the layers must give (SPEC "Digest of a run"), 64 hex digits.
    pub digest: String,
    /// Trees from the bottom up: a base, and layers of what changed since (SPEC "Layers").
    pub layers: Vec<Tree>,
    /// The nodes whose captures had no place for it, by their places in [`Snapshot::nodes`]. What was captured and holds
    /// nothing is empty; what was not, nobody knows.
    pub not_captured: Vec<usize>,
    /// What only nodes hold that do not own it; it is in their patches, and not in the view.
    #[serde(default)]
    pub unowned: UnownedCount,
    /// Names of nodes that own parts of it and were not read.
    pub unread: Vec<String>,
    /// Whether it was known which node owns what; if not, all nodes were merged as owners of everything.
    pub ring_known: bool,
    /// Bytes of captured files that were read for it.
    pub bytes_read: u64,
    /// What the engine says of it: columns and types.
    pub description: serde_json::Value,
}

impl Shard {
    /// The roots of its layers.
    pub fn roots(&self) -> Result<Vec<Root>> {
        self.layers.iter().map(Tree::root).collect()
    }
}

/// Root of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The chunk, 64 hex digits.
    pub id: String,
    /// 0: that chunk is a leaf.
    pub level: u8,
    /// Records in all.
    pub records: u64,
    /// Of these, the ones under which something hangs.
    pub blobs: u64,
}

impl Tree {
    /// As the tree module has it: a layer of a shard.
    pub fn root(&self) -> Result<Root> {
        self.root_of(PackClass::Content)
    }

    /// Of the snapshot's own trees, whose leaves are metadata: patches and kept files.
    pub fn own_root(&self) -> Result<Root> {
        self.root_of(PackClass::Metadata)
    }

    fn root_of(&self, class: PackClass) -> Result<Root> {
        Ok(Root { id: chunk_id(&self.id)?, level: self.level, records: self.records, blobs: self.blobs, class })
    }
}

impl From<Root> for Tree {
    fn from(r: Root) -> Tree {
        Tree { id: r.id.to_string(), level: r.level, records: r.records, blobs: r.blobs }
    }
}

/// The first digits of an id, enough to name it.
pub fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a record of the snapshot's own trees says in a column: it has no version.
fn entry(column: u32, kind: EntryKind, value: &[u8]) -> Entry<'_> {
    Entry { column, kind, element: None, time: 0, ldt: 0, ttl: 0, value: Some(value) }
}

fn chunk_id(hex: &str) -> Result<ChunkId> {
    let bad = || Error::damaged("snapshot", format!("`{hex}` is no chunk id"));
    let mut id = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(bad());
    }
    for (i, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
    }
    Ok(ChunkId(id))
}

impl Snapshot {
    /// The documents, as they are stored.
    pub fn encode(&self) -> Result<Says> {
        let failed = |e| Error::damaged("snapshot", e);
        Ok(Says {
            body: serde_json::to_vec(self).map_err(failed)?,
            description: serde_json::to_vec(&self.description).map_err(failed)?,
            shards: self.shards.iter().map(serde_json::to_vec).collect::<serde_json::Result<_>>().map_err(failed)?,
        })
    }

    /// Reads stored documents.
    pub fn decode(says: &Says) -> Result<Snapshot> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
            must: Vec<String>,
        }
        let damaged = |e| Error::damaged("snapshot body", e);
        let newer = |message: String| {
            Err(Error::new(crate::Kind::Unsupported, "snapshot body", message).hint("update onefold"))
        };
        let found: Versioned = serde_json::from_slice(&says.body).map_err(damaged)?;
        if found.version > VERSION {
            return newer(format!("version {} was written by a newer onefold", found.version));
        }
        if let Some(feature) = found.must.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
            return newer(format!("needs `{}`, which only a newer onefold knows", feature.escape_default()));
        }
        let mut snapshot: Snapshot = serde_json::from_slice(&says.body).map_err(damaged)?;
        snapshot.description = serde_json::from_slice(&says.description).map_err(damaged)?;
        let shards = says.shards.iter().map(|shard| serde_json::from_slice(shard));
        snapshot.shards = shards.collect::<serde_json::Result<_>>().map_err(damaged)?;
        Ok(snapshot)
    }

    /// The time that the cells of its shards are brought to when they are read; `None` where they were stored so.
    pub fn settles_at(&self) -> Option<u32> {
        self.must.iter().any(|feature| feature == LAYERS).then_some(self.cut.seconds)
    }

    /// Every chunk that the documents name.
    pub fn roots(&self) -> Result<Vec<(ChunkKind, ChunkId)>> {
        let layers = self.shards.iter().flat_map(|shard| &shard.layers).map(Tree::root);
        let own = self.patches.iter().chain(&self.files).map(Tree::own_root);
        let mut roots = layers.chain(own).map(|root| Ok(root?.chunk())).collect::<Result<Vec<_>>>()?;
        roots.sort_unstable();
        roots.dedup();
        Ok(roots)
    }

    /// Shows every chunk that the snapshot needs, under the name of the part that needs it: a table, the patch of a node for a
    /// table, a kept file. The trees of patches and of kept files have names of their own ([`Snapshot::is_own`]). See
    /// [`tree::reach`].
    pub fn reach(&self, chunks: &dyn ChunkSource, visit: &mut dyn FnMut(&str, Reached) -> Result<bool>) -> Result<()> {
        self.reach_by_keys(chunks, &mut |part, _, reached| visit(part, reached))
    }

    /// The same, and says of a table's chunks of which keys they speak: from the first, to before the second, or where that is empty
    /// to the end.
    pub fn reach_by_keys(&self, chunks: &dyn ChunkSource, visit: &mut Visit<'_>) -> Result<()> {
        let patches = PatchNames::new(self);
        own(&self.patches, PATCHES, &|under| patches.name(under), chunks, visit)?;
        let layers = self.shards.iter().flat_map(|shard| shard.layers.iter().map(move |tree| (&shard.name, tree)));
        for (name, tree) in layers {
            match tree.root() {
                Ok(root) => tree::reach_by_place(root, chunks, &mut |spot, reached| {
                    visit(name, Some((spot.from, spot.to)), reached)
                })?,
                Err(e) => visit(name, Some((&[], &[])), Reached::Broken(e)).map(drop)?,
            }
        }
        own(&self.files, FILES, &|under| self.file_name(under), chunks, visit)
    }

    /// Whether [`Snapshot::reach`] calls a tree of the snapshot itself so, and not what hangs under its records.
    pub fn is_own(part: &str) -> bool {
        [PATCHES, FILES].contains(&part)
    }

    /// The shard called `name`.
    pub fn shard(&self, name: &str) -> Result<&Shard> {
        // With quotes, as databases write names, too.
        let plain = name.replace('"', "");
        let found =
            self.shards.iter().find(|s| s.name == name).or_else(|| self.shards.iter().find(|s| s.name == plain));
        found.ok_or_else(|| {
            let hint = match self.like(&plain).as_slice() {
                [] => "`onefold ls` lists its tables".to_owned(),
                names => format!("perhaps {}; `onefold ls` lists its tables", names.join(" or ")),
            };
            Error::new(crate::Kind::Usage, format!("table {name}"), "is not in this snapshot").hint(hint)
        })
    }

    /// Up to three tables whose names are most like `name`.
    fn like(&self, name: &str) -> Vec<&str> {
        let table = |name: &str| name.rsplit('.').next().unwrap_or_default().to_lowercase();
        let alike = |of: &str| strsim::normalized_levenshtein(&table(of), &table(name));
        let mut all: Vec<(f64, &str)> = self.shards.iter().map(|s| (alike(&s.name), s.name.as_str())).collect();
        all.retain(|(alike, _)| *alike >= 0.6);
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        all.into_iter().take(3).map(|(_, name)| name).collect()
    }

    /// The shards that lie in `outer` ([`crate::engine::split_name`]), or all, whose names fit a pattern: `*` stands for any characters, `?`
    /// for one, and double quotes for nothing. Without `*` and `?` it is a name, and must be there.
    pub fn fitting(&self, outer: Option<&str>, pattern: Option<&str>) -> Result<Vec<&Shard>> {
        let of = |t: &&Shard| outer.is_none_or(|outer| t.name.split_once('.').is_some_and(|(of, _)| of == outer));
        if let Some(name) = outer.filter(|_| !self.shards.iter().any(|t| of(&t))) {
            let all: BTreeSet<&str> = self.shards.iter().filter_map(|t| Some(t.name.split_once('.')?.0)).collect();
            let hint = match all.into_iter().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => "its tables lie in nothing: leave --in out".to_owned(),
                names => format!("its tables lie in {names}"),
            };
            return Err(Error::new(crate::Kind::Usage, format!("--in {name}"), "is not in this snapshot").hint(hint));
        }
        let Some(pattern) = pattern else { return Ok(self.shards.iter().filter(of).collect()) };
        if !pattern.contains(['*', '?']) {
            return Ok(vec![self.shard(pattern)?]);
        }
        let plain: Vec<char> = pattern.chars().filter(|c| *c != '"').collect();
        Ok(self.shards.iter().filter(|t| of(t) && fits(&plain, &t.name.chars().collect::<Vec<_>>())).collect())
    }

    /// The place of the node called `name`.
    pub fn node(&self, name: &str) -> Result<usize> {
        self.nodes.iter().position(|n| n.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.nodes.iter().map(|n| n.name.as_str()).collect();
            Error::new(crate::Kind::Usage, format!("node {name}"), "is not in this snapshot")
                .hint(format!("nodes: {}", names.join(", ")))
        })
    }
}

/// Whether a name fits a pattern of `*` and `?`. A `*` takes as little as it can, and more where that leads on.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// Names of the trees of patches and of files in what is said of damage.
const PATCHES: &str = "patches of nodes";
const FILES: &str = "kept files";

/// Shows a tree of the snapshot itself as `name`, and what hangs under each record as what `part_of` calls it.
fn own(
    tree: &Option<Tree>,
    name: &str,
    part_of: &dyn Fn(&Under) -> Result<String>,
    chunks: &dyn ChunkSource,
    visit: &mut Visit<'_>,
) -> Result<()> {
    let root = match tree.as_ref().map(Tree::own_root) {
        None => return Ok(()),
        Some(Ok(root)) => root,
        Some(Err(e)) => return visit(name, None, Reached::Broken(e)).map(drop),
    };
    // The record shown last, and its part.
    let (mut last, mut part) = (Vec::new(), String::new());
    tree::reach_by_place(root, chunks, &mut |spot, reached| {
        let Some(under) = spot.under else { return visit(name, None, reached) };
        if part.is_empty() || last != under.key {
            last.clone_from(&under.key);
            part = match part_of(under) {
                Ok(part) => part,
                Err(e) => {
                    visit(name, None, Reached::Broken(e))?;
                    name.to_owned()
                }
            };
        }
        visit(&part, None, reached)
    })
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        let fits =
            |pattern: &str, name: &str| fits(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
        for (pattern, name) in
            [("*", ""), ("*", "a.b"), ("a.*", "a.b"), ("*.b", "a.b"), ("?.b", "a.b"), ("a*b*c", "axbxbxc"), ("**", "a")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("?", ""), ("a.*", "ab.c"), ("*.b", "a.bc"), ("a*b*c", "axbxbx"), ("a?", "a")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
