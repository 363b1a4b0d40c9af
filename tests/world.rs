//! What the tests share: a plain model of writes and what they come to, and a chunk store in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::thread;

use onefold::blob;
use onefold::merge::{Across, Deletion, Merge, Owned, Rule, Stands, Version as Held};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource, PackClass, Record, RecordBatch, Run};
use onefold::tree::{NodePatch, PatchWriter, Root, Scribe, Shape, TreeWriter, UnownedCount, WideTreeWriter};
use onefold::{Error, Kind, Result};
use repo_format::key::CutKey;
use repo_format::leaf::Layout;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

/// Chunks in memory, named by a plain hash.
#[derive(Default)]
pub struct Chunks(pub Mutex<HashMap<ChunkId, Vec<u8>>>);

impl Chunks {
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl ChunkSink for Chunks {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind as u8]).update(plain);
        let id = ChunkId(*hasher.finalize().as_bytes());
        self.0.lock().unwrap().insert(id, plain.to_vec());
        Ok(id)
    }
}

impl ChunkSource for Chunks {
    fn get(&self, _kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let chunks = self.0.lock().unwrap();
        chunks.get(id).cloned().ok_or_else(|| Error::new(Kind::NotFound, id, "no such chunk"))
    }
}

pub fn shape(leaf_records: u32) -> Shape {
    let layout = Layout { numeric: vec![2], ..Layout::default() };
    let blobs = Arc::new(blob::Chunker::new(&CutKey::from_bytes([3; 32]), 64 << 10).unwrap());
    Shape { secret: [7; 16], leaf_records, branch_children: 4, class: PackClass::Content, layout, blobs }
}

/// The tree of a merged run, and a patch for each node beside it.
pub struct Folded {
    pub root: Option<Root>,
    pub patches: Vec<NodePatch>,
    pub unowned: UnownedCount,
}

/// Folds the runs of nodes as a backup does, leaves made on two threads: the tree is that of one thread.
pub fn fold(runs: Vec<Box<dyn Run + '_>>, rule: &dyn Rule, cut: u32, owned: Vec<Owned>, chunks: &Chunks) -> Folded {
    let (nodes, shape) = (runs.len(), shape(4));
    let (scribe, mut one) = (Scribe::new(nodes, [1; 32], true), TreeWriter::new(chunks, &shape));
    thread::scope(|scope| {
        let mut tree = WideTreeWriter::start(scope, chunks, &shape, 2).unwrap();
        let mut patches = PatchWriter::new(nodes, chunks, &shape);
        let mut witness = &scribe;
        let mut merge = Merge::across(runs, rule, cut, Across::new(owned, 0, &mut witness));
        let mut more = true;
        while more {
            let mut batch = RecordBatch::new();
            more = merge.next_batch(&mut batch).unwrap();
            let told = scribe.take();
            assert_eq!(told.records(), batch.len());
            batch.iter().for_each(|record| one.push(&record).unwrap());
            patches.add(told, tree.open_records()).unwrap();
            tree.push(&Arc::new(batch), &mut |first, records| patches.end_leaf(first, records)).unwrap();
        }
        let root = tree.finish(&mut |first, records| patches.end_leaf(first, records)).unwrap();
        assert_eq!(root, one.finish().unwrap());
        let (patches, unowned) = patches.finish().unwrap();
        Folded { root, patches, unowned }
    })
}

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    pub key: Vec<u8>,
    pub group_len: usize,
    pub class: Class,
    pub body: Vec<u8>,
}

pub fn collect(run: &mut dyn Run) -> Result<Vec<Plain>> {
    let mut batch = RecordBatch::new();
    let mut out: Vec<Plain> = Vec::new();
    let mut coming: Option<Vec<u8>> = None;
    while run.next_batch(&mut batch)? {
        let first = if batch.is_empty() { batch.coming().unwrap() } else { batch.get(0).key };
        // What was told may turn out to be deleted.
        assert!(coming.is_none_or(|key| first >= key.as_slice()));
        coming = batch.coming().map(<[u8]>::to_vec);
        for r in batch.iter() {
            assert!(out.last().is_none_or(|l| l.key.as_slice() < r.key), "keys ascend");
            assert_eq!(r.traits, repo_format::record::check(r.body).unwrap());
            out.push(Plain { key: r.key.to_vec(), group_len: r.group_len, class: r.class, body: r.body.to_vec() });
        }
    }
    assert!(batch.is_empty());
    Ok(out)
}

/// The same records, some of which are told before they are read, as large ones are.
pub struct Telling(pub std::iter::Peekable<std::vec::IntoIter<Plain>>, pub bool);

impl Run for Telling {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while let Some(next) = self.0.peek()
            && !out.is_full()
        {
            let is_large = next.body.len() > 100_000
                || next.key.iter().chain(&next.body).fold(0u8, |sum, b| sum.wrapping_mul(31) ^ b).is_multiple_of(3);
            if is_large && !std::mem::replace(&mut self.1, true) {
                out.set_coming(&next.key);
                break;
            }
            self.1 = false;
            let Some(r) = self.0.next() else { break };
            let traits = repo_format::record::check(&r.body)?;
            out.push(&Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body });
        }
        Ok(!out.is_empty() || out.coming().is_some())
    }
}

/// A run over records in memory, a few to a batch.
pub struct Plainly(pub std::vec::IntoIter<Plain>, pub usize);

impl Run for Plainly {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        for r in self.0.by_ref().take(self.1) {
            let traits = repo_format::record::check(&r.body)?;
            out.push(&Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body });
        }
        Ok(!out.is_empty())
    }
}

pub fn run_of(records: Vec<Plain>) -> Box<dyn Run> {
    Box::new(Plainly(records.into_iter(), 3))
}

/// Ties as Cassandra breaks them: time, tombstone over expiring over live, later date, shorter life, greater value.
pub struct Ties;

fn rank<'a>(e: &Entry<'a>) -> (i64, u8, u32, std::cmp::Reverse<u32>, Option<&'a [u8]>) {
    let kind = if e.kind == EntryKind::Tombstone { 2 } else { u8::from(e.expires()) };
    (e.time, kind, e.ldt, std::cmp::Reverse(e.ttl), e.value)
}

impl Rule for Ties {
    fn stands(&self, a: &Held<'_>, b: &Held<'_>) -> Result<Stands> {
        Ok(if rank(&a.entry) >= rank(&b.entry) { Stands::First } else { Stands::Second })
    }

    fn at_cut<'e>(&self, cell: Entry<'e>, cut: u32) -> Entry<'e> {
        if cell.column == 0 || cell.ldt > cut {
            return cell;
        }
        Entry { kind: EntryKind::Tombstone, ldt: cell.ldt - cell.ttl, ttl: 0, value: None, ..cell }
    }
}

/// One write to a partition. Rows stand at odd places, bounds at even ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Partition(Deletion),
    Interval(u8, u8, Deletion),
    Row(Option<u8>, Deletion),
    Column(Option<u8>, u32, Deletion),
    Cell(Option<u8>, u32, Option<u8>, Version),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub time: i64,
    /// Seconds; a tombstone has no value, an expiring cell a life.
    pub ldt: u32,
    pub ttl: u32,
    pub value: Option<Vec<u8>>,
    pub dead: bool,
}

impl Version {
    /// The greater stands.
    pub fn rank(&self) -> (i64, u8, u32, std::cmp::Reverse<u32>, Option<Vec<u8>>) {
        let kind = if self.dead { 2 } else { u8::from(self.ttl != 0) };
        (self.time, kind, self.ldt, std::cmp::Reverse(self.ttl), self.value.clone())
    }

    /// As it stands at `cut`: expired, it is a tombstone.
    pub fn at(self, cut: u32) -> Version {
        if self.ttl == 0 || self.ldt > cut {
            return self;
        }
        Version { time: self.time, ldt: self.ldt - self.ttl, ttl: 0, value: None, dead: true }
    }
}

pub const PLACES: u8 = 10;

fn key(partition: u8, place: Option<u8>) -> Vec<u8> {
    let mut key = vec![b'k', partition];
    match place {
        None => key.push(1),
        Some(place) => key.extend([2, place]),
    }
    key
}

type Cells = BTreeMap<(u32, Option<[u8; 1]>), Version>;

fn body(row: Option<Deletion>, columns: &BTreeMap<u32, Deletion>, cells: &Cells) -> Vec<u8> {
    let mut out = Vec::new();
    let deletion = |column, d: &Deletion| Entry {
        column,
        kind: EntryKind::Deletion,
        element: None,
        time: d.time,
        ldt: d.ldt,
        ttl: 0,
        value: None,
    };
    let mut entries: Vec<Entry<'_>> = row.iter().map(|d| deletion(0, d)).collect();
    entries.extend(columns.iter().map(|(c, d)| deletion(*c, d)));
    entries.extend(cells.iter().map(|((column, element), v)| Entry {
        column: *column,
        kind: if v.dead { EntryKind::Tombstone } else { EntryKind::Cell },
        element: element.as_ref().map(|e| e.as_slice()),
        time: v.time,
        ldt: v.ldt,
        ttl: v.ttl,
        value: v.value.as_deref(),
    }));
    entries.sort_by(|a, b| a.path().cmp(&b.path()));
    let mut writer = BodyWriter::new(&mut out);
    entries.iter().for_each(|e| writer.push(e));
    out
}

fn deletion_body(d: Option<Deletion>) -> Vec<u8> {
    body(d, &BTreeMap::new(), &Cells::new())
}

/// What `writes` (each with its partition) come to, by brute force. `tidy`: leave out what is covered, as a merge does; otherwise
/// cover nothing, as a flush does. `cut`: bring expired cells to tombstones.
pub fn model(writes: &[(u8, Write)], tidy: bool, cut: Option<u32>) -> Vec<Plain> {
    let mut out = Vec::new();
    let mut partitions: BTreeMap<u8, Vec<&Write>> = BTreeMap::new();
    for (p, w) in writes {
        partitions.entry(*p).or_default().push(w);
    }
    for (p, writes) in partitions {
        let mut push = |place: Vec<u8>, class, body| out.push(Plain { key: place, group_len: 2, class, body });
        let whole = writes.iter().filter_map(|w| if let Write::Partition(d) = w { Some(*d) } else { None }).max();
        if whole.is_some() {
            push(vec![b'k', p, 0], Class::Group, deletion_body(whole));
        }
        if let Some(body) = row(&writes, None, whole.filter(|_| tidy), cut) {
            push(key(p, None), Class::Static, body);
        }
        let mut open = None;
        for place in 0..=PLACES {
            let covering = writes.iter().filter_map(|w| match w {
                Write::Interval(from, to, d) if *from <= place && place < *to => Some(*d),
                _ => None,
            });
            let now = covering.max().filter(|d| !tidy || whole.is_none_or(|w| *d > w));
            if place % 2 == 0 && now != open {
                open = now;
                push(key(p, Some(place)), Class::Marker, deletion_body(now));
            }
            if place % 2 == 1 {
                let cover = if tidy { whole.max(now) } else { None };
                if let Some(body) = row(&writes, Some(place), cover, cut) {
                    push(key(p, Some(place)), Class::Row, body);
                }
            }
        }
    }
    out
}

fn row(writes: &[&Write], at: Option<u8>, cover: Option<Deletion>, cut: Option<u32>) -> Option<Vec<u8>> {
    let here = |place: &Option<u8>| *place == at;
    let deleted = writes
        .iter()
        .filter_map(|w| match w {
            Write::Row(place, d) if here(place) => Some(*d),
            _ => None,
        })
        .max()
        .filter(|d| cover.is_none_or(|c| *d > c));
    let cover = cover.max(deleted);
    let mut columns: BTreeMap<u32, Deletion> = BTreeMap::new();
    for w in writes {
        if let Write::Column(place, column, d) = w
            && here(place)
            && cover.is_none_or(|c| *d > c)
        {
            let best = columns.entry(*column).or_insert(*d);
            *best = (*best).max(*d);
        }
    }
    let mut cells = Cells::new();
    for w in writes {
        let Write::Cell(place, column, element, v) = w else { continue };
        let cover = cover.max(columns.get(column).copied());
        if !here(place) || cover.is_some_and(|c| v.time <= c.time) {
            continue;
        }
        let best = cells.entry((*column, element.map(|e| [e]))).or_insert_with(|| v.clone());
        if v.rank() > best.rank() {
            *best = v.clone();
        }
    }
    if let Some(cut) = cut {
        for (_, v) in cells.iter_mut().filter(|((column, _), _)| *column != 0) {
            *v = v.clone().at(cut);
        }
    }
    if deleted.is_none() && columns.is_empty() && cells.is_empty() {
        return None;
    }
    Some(body(deleted, &columns, &cells))
}
