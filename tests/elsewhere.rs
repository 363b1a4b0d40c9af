//! Captures that lie in no folder of this machine: a volume of the tests holds copies of real ones in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use onefold::engine::cassandra::capture;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::snapshot::Snapshot;
use onefold::volume::{Entry, Identity, OpenFile, Place, Volume, What, changed};
use onefold::{Error, Kind, Result};

use crate::cassandra_rows::captures;
use crate::flow;
use crate::repo::memory;
use crate::user::{copy, files_below, table_dir, three};

/// What the volume is called.
const NAME: &str = "memory:";

#[derive(Default)]
struct Memory {
    files: BTreeMap<PathBuf, (Arc<Vec<u8>>, Identity)>,
    /// How often each folder was listed.
    listed: Mutex<BTreeMap<PathBuf, usize>>,
    /// The end of the name of a file of which nothing can be read.
    broken: Option<&'static str>,
}

struct Held {
    path: PathBuf,
    bytes: Arc<Vec<u8>>,
    identity: Identity,
    broken: bool,
}

impl Memory {
    /// Copies all that lies below `from` to `to`. A folder is there by what is in it.
    fn load(&mut self, from: &Path, to: &str) {
        for file in files_below(from) {
            let modified = fs::metadata(&file).unwrap().modified().ok();
            let path = Path::new(to).join(file.strip_prefix(from).unwrap());
            self.put(&path, fs::read(&file).unwrap());
            self.files.get_mut(&path).unwrap().1.modified = modified;
        }
    }

    fn put(&mut self, path: &Path, bytes: Vec<u8>) {
        let identity = Identity { length: bytes.len() as u64, ..Identity::default() };
        self.files.insert(path.into(), (Arc::new(bytes), identity));
    }
}

fn nothing(path: &Path) -> Error {
    Error::new(Kind::NotFound, format_args!("{NAME}{}", path.display()), "is not there")
}

impl Volume for Memory {
    fn name(&self) -> &str {
        NAME
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        *self.listed.lock().unwrap().entry(folder.into()).or_default() += 1;
        let mut names = BTreeMap::new();
        for (path, (_, identity)) in self.files.iter().filter(|(path, _)| path.starts_with(folder)) {
            let mut below = path.strip_prefix(folder).unwrap().iter();
            let name = below.next().unwrap().to_owned();
            names.insert(name, if below.next().is_some() { What::Folder } else { What::File(*identity) });
        }
        if names.is_empty() {
            return Err(nothing(folder));
        }
        Ok(names.into_iter().map(|(name, what)| Entry { name, what }).collect())
    }

    fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>> {
        let (bytes, identity) = self.files.get(file).ok_or_else(|| nothing(file))?.clone();
        let broken = self.broken.is_some_and(|broken| file.to_string_lossy().ends_with(broken));
        Ok(Box::new(Held { path: file.into(), bytes, identity, broken }))
    }

    fn folder_id(&self, folder: &Path) -> Result<String> {
        Ok(folder.display().to_string())
    }
}

impl OpenFile for Held {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        let shown = format!("{NAME}{}", self.path.display());
        if self.broken {
            return Err(Error::new(Kind::Io, shown, "the connection is lost"));
        }
        if self.bytes.len() as u64 != self.identity.length {
            return Err(changed(shown));
        }
        let rest = &self.bytes[(offset as usize).min(self.bytes.len())..];
        // Less than is asked for, as a connection may answer.
        let n = rest.len().min(to.len()).min(5000);
        to[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// Copies of three nodes' captures, in one of which a file is damaged.
pub fn copies(root: &Path) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    for node in three(root) {
        copy(&node, &dir.path().join(node.file_name().unwrap()), &|_| true);
    }
    let nodes = three(dir.path());
    let is_data = |file: &&PathBuf| file.to_str().unwrap().ends_with("-Data.db");
    let mut files = files_below(&nodes[0]).into_iter().filter(|file| !file.to_str().unwrap().contains("/system"));
    let data = files.find(|file| is_data(&file)).unwrap();
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(data, bytes).unwrap();
    (dir, nodes)
}

fn loaded(dirs: &[PathBuf]) -> Memory {
    let mut memory = Memory::default();
    for (n, dir) in (1..).zip(dirs) {
        memory.load(dir, &format!("/node{n}"));
    }
    memory
}

fn nodes(memory: &Arc<Memory>) -> Vec<NodeDir> {
    let at = |n: usize| Place::new(Arc::clone(memory) as Arc<dyn Volume>, format!("/node{n}"));
    (1..=3).map(|n| NodeDir::new(format!("n{n}"), at(n))).collect()
}

/// Problems and notes, without the place where the capture lies.
fn said(s: &Snapshot, place: &str) -> String {
    format!("{:#?}{:#?}", s.problems, s.notes).replace(place, "")
}

/// Backs up what lies in `dirs` and what lies elsewhere, at `place`: two snapshots that say the same but for places, and no chunk
/// twice. Gives the number of shards.
pub fn backs_up_alike(dirs: &[PathBuf], below: &Path, elsewhere: &[NodeDir], place: &str) -> usize {
    let repo = flow::new_repo(&memory());
    let here = dirs.iter().zip(1..).map(|(dir, n)| NodeDir::new(format!("n{n}"), dir)).collect::<Vec<_>>();
    let (here, _) = flow::store(&repo, &flow::source(&here), true).unwrap();
    let (there, stats) = flow::store(&repo, &flow::source(elsewhere), true).unwrap();
    assert!(here.shards.len() > 5 && here.shards.len() == there.shards.len());
    for (here, there) in here.shards.iter().zip(&there.shards) {
        assert_eq!((&here.name, here.rows, &here.digest), (&there.name, there.rows, &there.digest));
        assert_eq!(here.layers, there.layers, "{}", here.name);
    }
    assert!(here.files.is_some() && !here.complete);
    assert_eq!((&here.files, &here.patches), (&there.files, &there.patches));
    assert_eq!((here.cut.seconds, here.window), (there.cut.seconds, there.window));
    assert_eq!(said(&here, &below.display().to_string()), said(&there, place));
    assert_eq!(stats.chunks_new, 0);
    there.shards.len()
}

#[test]
fn what_lies_in_no_folder_is_backed_up_alike() {
    for root in captures() {
        let (dir, dirs) = copies(&root);
        let elsewhere = Arc::new(loaded(&dirs));
        let shards = backs_up_alike(&dirs, dir.path(), &nodes(&elsewhere), NAME);
        let listed = elsewhere.listed.lock().unwrap();
        let twice: Vec<_> = listed.iter().filter(|(_, times)| **times > 1).collect();
        assert!(listed.len() > 3 * shards && twice.is_empty(), "a listing is a round trip: {twice:?}");
    }
}

#[test]
fn what_the_other_side_refuses_ends_the_backup() {
    let root = captures().into_iter().next().unwrap();
    let table = table_dir(&three(&root)[1], "lab", "users");
    let name = table.file_name().unwrap().to_str().unwrap();
    for file in ["Data.db", "Statistics.db", "CompressionInfo.db"] {
        let mut elsewhere = loaded(&three(&root));
        let place = format!("/{name}/nb-1-big-{file}");
        elsewhere.broken = Some(String::leak(place.clone()));
        let source = flow::source(&nodes(&Arc::new(elsewhere)));
        let error = flow::store(&flow::new_repo(&memory()), &source, false).err().unwrap();
        assert_eq!((error.kind(), error.message()), (Kind::Io, "the connection is lost"), "{error}");
        assert!(error.subject().contains(NAME) && error.subject().contains(&place), "{error}");
    }
}

#[test]
fn what_is_in_use_elsewhere_is_refused_and_its_snapshots_are_read() {
    const TABLE: &str = "/node1/ks/t-00000000000000000000000000000001";
    let mut memory = Memory::default();
    for file in ["nb-2-big-Data.db", "backups/nb-2-big-Data.db", "snapshots/night/nb-1-big-Data.db"] {
        memory.put(&Path::new(TABLE).join(file), file.into());
    }
    let root = Place::new(Arc::new(memory), "/node1");
    let error = capture::open(root.clone(), None).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.message().contains("not on this machine"), "{error}");
    assert!(error.subject() == "memory:/node1" && error.advice().unwrap().contains("--snapshot-tag"), "{error}");
    let (capture, frozen) = capture::open_all(std::slice::from_ref(&root), Some("night"), None).unwrap();
    assert!(frozen.is_empty() && !capture.unflushed);
    let read: Vec<_> = capture.tables[0].sstables.iter().map(|s| s.data().to_string()).collect();
    let read: Vec<_> =
        read.iter().map(|place| place.strip_prefix(NAME).unwrap().strip_prefix(TABLE).unwrap()).collect();
    assert_eq!(read, ["/snapshots/night/nb-1-big-Data.db", "/backups/nb-2-big-Data.db"]);
    let twice = ["a", "b"].map(|name| NodeDir { tag: Some("night".into()), ..NodeDir::new(name, root.clone()) });
    let error = CapturedNodes::open(&twice, None, &Default::default()).err().unwrap();
    assert!(error.message().contains("same folder memory:/node1"), "{error}");
}
