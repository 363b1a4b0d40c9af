//! Files kept byte for byte (SPEC "Kept files"): a tree by their paths, as file trees are.

use repo_format::record::{BodyWriter, Class, Entries, EntryKind};
use repo_format::reference::{Reference, references};
use serde::{Deserialize, Serialize};

use super::{Snapshot, entry};
use crate::blob::BlobRef;
use crate::engine::Node;
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSink, ChunkSource, Record, RecordBatch, Run};
use crate::tree::{Root, Shape, TreeRun, TreeWriter, Under};

const METADATA: u32 = 1;
const CONTENT: u32 = 2;

/// Bytes of an entry on average, for the size of leaves.
pub const FILE_BYTES: usize = 256;

/// A file kept byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The node, by its place in [`Snapshot::nodes`].
    pub node: usize,
    /// Path in the capture, its parts joined by `/`.
    pub name: String,
    /// What it holds.
    pub content: BlobRef,
    /// What else is said of it.
    pub about: About,
}

/// Metadata of a kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Why it is kept.
    pub reason: String,
    /// Its rows are in the tree of its shard as well.
    pub merged: bool,
}

/// The parts of the path with 00 between, the node's name first.
fn key(nodes: &[Node], node: usize, name: &str) -> Result<Vec<u8>> {
    let node = nodes.get(node).ok_or_else(|| Error::damaged("kept file", "is of no node"))?;
    if name.contains('\0') {
        return Err(Error::new(Kind::Unsupported, format!("file {}", name.escape_default()), "has a NUL in its name"));
    }
    Ok(format!("{}\0{}", node.name, name.replace('/', "\0")).into_bytes())
}

/// Writes the files of all nodes; no two are of one node and name.
pub fn write(files: &[File], nodes: &[Node], sink: &dyn ChunkSink, shape: &Shape) -> Result<Option<Root>> {
    let mut sorted = files.iter().map(|f| Ok((key(nodes, f.node, &f.name)?, f))).collect::<Result<Vec<_>>>()?;
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut tree = TreeWriter::new(sink, shape);
    for (key, file) in sorted {
        let about = serde_json::to_vec(&file.about).map_err(|e| Error::damaged("snapshot", e))?;
        let (mut content, mut body) = (Vec::new(), Vec::new());
        Reference::Blob(file.content).put(&mut content);
        let mut writer = BodyWriter::new(&mut body);
        writer.push(&entry(METADATA, EntryKind::Cell, &about));
        writer.push(&entry(CONTENT, EntryKind::Raw, &content));
        let traits = writer.traits();
        tree.push(&Record { key: &key, group_len: 0, class: Class::Row, traits, body: &body })?;
    }
    tree.finish()
}

/// What is accepted has the key that its name gives.
pub(super) fn fuzz(key_of: &[u8], body: &[u8]) {
    let nodes = ["a", "n1"].map(|name| Node { name: name.to_owned(), ..Node::default() });
    let Ok(file) = read(key_of, body, &nodes) else { return };
    assert!(key(&nodes, file.node, &file.name).is_ok_and(|key| key == key_of));
}

fn read(key: &[u8], body: &[u8], nodes: &[Node]) -> Result<File> {
    let bad = |what: &str| Error::damaged("kept file", what);
    let path = std::str::from_utf8(key).ok().filter(|path| !path.contains('/')).and_then(|path| path.split_once('\0'));
    let (node, path) = path.ok_or_else(|| bad("has a name that no file has"))?;
    let node = nodes.iter().position(|n| n.name == node).ok_or_else(|| bad("is of no node"))?;
    let about = Entries::new(body).find_map(|entry| match entry {
        Ok(entry) => entry.value.filter(|_| entry.column == METADATA && entry.kind == EntryKind::Cell).map(Ok),
        Err(e) => Some(Err(e)),
    });
    let about = about.ok_or_else(|| bad("without metadata"))??;
    let content = references(body).next().ok_or_else(|| bad("without content"))??;
    let (CONTENT, Reference::Blob(content)) = content else { return Err(bad("without content")) };
    Ok(File {
        node,
        name: path.replace('\0', "/"),
        content,
        about: serde_json::from_slice(about).map_err(|e| Error::damaged("metadata of a kept file", e))?,
    })
}

/// Kept files, by node and path. After an error there are no more.
pub struct Files<'a> {
    nodes: &'a [Node],
    run: TreeRun<'a>,
    batch: RecordBatch,
    at: usize,
    failed: bool,
}

impl Iterator for Files<'_> {
    type Item = Result<File>;

    fn next(&mut self) -> Option<Result<File>> {
        if self.failed {
            return None;
        }
        if self.at == self.batch.len() {
            self.at = 0;
            match self.run.next_batch(&mut self.batch) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e.within("kept files")));
                }
            }
        }
        let record = self.batch.get(self.at);
        let file = read(record.key, record.body, self.nodes).map_err(|e| e.within("kept files"));
        self.at += 1;
        self.failed = file.is_err();
        Some(file)
    }
}

impl Snapshot {
    /// Which file a record is, for people.
    pub(super) fn file_name(&self, under: &Under) -> Result<String> {
        let file = read(&under.key, &under.body, &self.nodes)?;
        let node = self.nodes.get(file.node).map_or("?", |node| node.name.as_str());
        Ok(format!("node {node}: {}", file.name))
    }

    /// The files kept of one node, or of all.
    ///
    /// Errors: the name of the tree in the snapshot is damaged; each item has those of reading.
    pub fn files<'a>(&'a self, node: Option<usize>, chunks: &'a dyn ChunkSource) -> Result<Files<'a>> {
        let root = self.files.as_ref().map(super::Tree::own_root).transpose()?;
        let run = match node {
            None => TreeRun::new(root, chunks),
            Some(node) => {
                let name = self.nodes.get(node).map_or("", |node| node.name.as_str());
                let [from, to] = ["\0", "\u{1}"].map(|end| format!("{name}{end}").into_bytes());
                TreeRun::range(root, chunks, from, Some(to))
            }
        };
        Ok(Files { nodes: &self.nodes, run, batch: RecordBatch::new(), at: 0, failed: false })
    }

    /// How many there are.
    pub fn files_kept(&self) -> u64 {
        self.files.as_ref().map_or(0, |tree| tree.records)
    }
}
