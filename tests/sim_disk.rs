//! A disk in memory that knows what has been synced, keeps a record of every operation, and can be asked how it would
//! look after a loss of power at any point of that record.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use onefold::store::disk::{Disk, Entry};

/// One operation that changes the disk. Files are numbered by creation.
#[derive(Clone)]
pub enum Op {
    MakeDir(String),
    Create { file: usize, path: String },
    Write { file: usize, bytes: Vec<u8> },
    SyncFile(usize),
    Move { file: usize, from: String, to: String },
    SyncDir(String),
    Remove { path: String },
}

/// What happens to operations that were not synced when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They all reached the disk (a kill of the process).
    Nothing,
    /// None reached the disk.
    Everything,
    /// Each by the toss of a coin, contents cut anywhere.
    Torn(u64),
}

#[derive(Default)]
struct State {
    dirs: BTreeMap<String, ()>,
    files: BTreeMap<String, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
    created: usize,
    record: Vec<Op>,
    space: Option<usize>,
}

/// See the module.
#[derive(Default)]
pub struct SimDisk {
    state: Mutex<State>,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl SimDisk {
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// From now on files may hold so many bytes in all.
    pub fn set_space(&self, bytes: usize) {
        self.state.lock().unwrap().space = Some(bytes);
    }

    /// Bytes in files.
    pub fn used(&self) -> usize {
        self.state.lock().unwrap().used()
    }

    /// Operations so far.
    pub fn operations(&self) -> usize {
        self.state.lock().unwrap().record.len()
    }

    /// The disk after its first `k` operations and a loss of power. Its record starts anew.
    pub fn crash(&self, k: usize, loss: Loss) -> SimDisk {
        let record = &self.state.lock().unwrap().record[..k];
        let mut coin = Coin(match loss {
            Loss::Torn(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ k as u64,
            _ => 0,
        });
        let mut kept = |durable: bool| match loss {
            _ if durable => true,
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::Torn(_) => coin.toss(),
        };
        let mut state = State::default();
        for (i, op) in record.iter().enumerate() {
            let later = &record[i + 1..];
            let dir_synced = |path: &str| {
                let dir = parent(path);
                later.iter().any(|o| matches!(o, Op::SyncDir(d) if d == dir))
            };
            match op {
                Op::MakeDir(path) if kept(path.is_empty() || dir_synced(path)) => {
                    state.dirs.insert(path.clone(), ());
                }
                Op::Create { file, path } => {
                    state.contents.insert(*file, Vec::new());
                    if kept(dir_synced(path)) {
                        state.files.insert(path.clone(), *file);
                    }
                }
                Op::Write { file, bytes } => {
                    let synced = later.iter().any(|o| matches!(o, Op::SyncFile(f) if f == file));
                    let len = if kept(synced) { bytes.len() } else { bytes.len() * (file % 3) / 4 };
                    state.contents.insert(*file, bytes[..len].to_vec());
                }
                // A move is two changes of directories; after a crash either, both or none may be seen.
                Op::Move { file, from, to } => {
                    if kept(dir_synced(to)) {
                        state.files.insert(to.clone(), *file);
                    }
                    if kept(dir_synced(from)) {
                        state.files.remove(from);
                    }
                }
                Op::Remove { path } if kept(dir_synced(path)) => {
                    state.files.remove(path);
                }
                _ => {}
            }
        }
        state.drop_orphans();
        state.created = 1 + state.contents.keys().max().copied().unwrap_or(0);
        SimDisk { state: Mutex::new(state) }
    }
}

impl State {
    /// What lies in a directory that was lost is lost.
    fn drop_orphans(&mut self) {
        let dirs = &mut self.dirs;
        let known = |dirs: &BTreeMap<String, ()>, path: &str| {
            let mut dir = parent(path);
            while !dir.is_empty() {
                if !dirs.contains_key(dir) {
                    return false;
                }
                dir = parent(dir);
            }
            true
        };
        let all: Vec<String> = dirs.keys().cloned().collect();
        for dir in all {
            if !known(dirs, &dir) {
                dirs.remove(&dir);
            }
        }
        self.files.retain(|path, _| known(dirs, path));
    }

    fn used(&self) -> usize {
        self.files.values().map(|f| self.contents[f].len()).sum()
    }
}

struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & 8 != 0
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.dirs.insert(path.to_string(), ()).is_none() {
            state.record.push(Op::MakeDir(path.to_string()));
        }
        Ok(())
    }

    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.dirs.contains_key(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = state.created;
        state.created += 1;
        state.files.insert(path.to_string(), file);
        state.contents.insert(file, Vec::new());
        state.record.push(Op::Create { file, path: path.to_string() });
        if state.space.is_some_and(|space| state.used() + bytes.len() > space) {
            state.contents.insert(file, bytes[..bytes.len() / 2].to_vec());
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.contents.insert(file, bytes.to_vec());
        state.record.push(Op::Write { file, bytes: bytes.to_vec() });
        state.record.push(Op::SyncFile(file));
        Ok(())
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !state.dirs.contains_key(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_string(), file);
        state.record.push(Op::Move { file, from: from.to_string(), to: to.to_string() });
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.state.lock().unwrap().record.push(Op::SyncDir(path.to_string()));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.files.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.record.push(Op::Remove { path: path.to_string() });
        Ok(())
    }

    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
        let state = self.state.lock().unwrap();
        let file = state.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let bytes = &state.contents[file];
        let range = range.map_or(0..bytes.len(), |r| r.start as usize..r.end as usize);
        Ok(bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        let state = self.state.lock().unwrap();
        if !path.is_empty() && !state.dirs.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |p: &str| p.rsplit('/').next().unwrap().to_string();
        let mut entries: Vec<Entry> = Vec::new();
        for dir in state.dirs.keys().filter(|d| !d.is_empty() && parent(d) == path) {
            entries.push(Entry { name: name(dir), is_dir: true, len: 0, modified_ms: None });
        }
        for (file, id) in state.files.iter().filter(|(f, _)| parent(f) == path) {
            let len = state.contents[id].len() as u64;
            entries.push(Entry { name: name(file), is_dir: false, len, modified_ms: None });
        }
        Ok(entries)
    }

    fn is_abandoned(&self, _path: &str) -> io::Result<bool> {
        Ok(true)
    }

    fn place(&self) -> String {
        "simulated disk".to_string()
    }
}
