//! Values too large for a leaf, which lie beside it as blobs: every walk from a snapshot reaches them, so that they are
//! checked, found missing, and would survive a marking.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::backup::{Options, Target, backup};
use onefold::check::{Options as CheckOptions, check};
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::comparable;
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::engine::cassandra::sstable::write::{self, SsTableWriter};
use onefold::merge::{Merge, Owned};
use onefold::repo::check::Reads;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource, PackClass, Reached, Record};
use onefold::snapshot::{Snapshot, Tree};
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::tree::{self, Root, TreeRun};
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::leaf::{BODY_INLINE_MAX, VALUE_INLINE_MAX};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};
use repo_format::tree::{Child, put_branch, read_branch};

use crate::flow;
use crate::repo::{open, small};
use crate::world::{self, Chunks, Folded, Plain, Ties, collect, run_of, shape};

pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub fn row(n: u16, time: i64, value: &[u8]) -> Plain {
    let mut body = Vec::new();
    BodyWriter::new(&mut body).push_live(1, time, value.into());
    let [high, low] = n.to_be_bytes();
    Plain { key: vec![b'k', high, low, 2, 7], group_len: 3, class: Class::Row, body }
}

/// A row of a collection: the value in pieces of 50 bytes.
fn wide(n: u16, time: i64, value: &[u8]) -> Plain {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    for (i, piece) in (0u32..).zip(value.chunks(50)) {
        let (element, value) = (i.to_be_bytes(), Some(piece));
        let element = Some(element.as_slice());
        writer.push(&Entry { column: 1, kind: EntryKind::Cell, element, time, ldt: 0, ttl: 0, value });
    }
    Plain { body, ..row(n, time, &[]) }
}

/// `n` rows, of which every `each`-th is too large for a leaf: by one value, or by very many small ones.
fn rows(n: u16, each: u16, seed: u64) -> Vec<Plain> {
    let of = |i: u16| match (i % each == each - 1, i % 2) {
        (false, _) => row(i, 5, &noise(seed + u64::from(i), 20)),
        (true, 0) => row(i, 5, &noise(seed + u64::from(i), VALUE_INLINE_MAX + 1000 * usize::from(i) + 1)),
        (true, _) => wide(i, 5, &noise(seed + u64::from(i), BODY_INLINE_MAX + 1000 * usize::from(i))),
    };
    (0..n).map(of).collect()
}

/// Three nodes, folded: one has all rows, one lacks some, one holds some otherwise, and large.
fn fold(all: &[Plain], chunks: &Chunks) -> Vec<Root> {
    let poorer = all.iter().enumerate().filter(|(i, _)| i % 5 != 1).map(|(_, r)| r.clone()).collect();
    let older = |(i, r): (usize, &Plain)| match i % 3 {
        0 => row(i as u16, 4, &noise(i as u64, BODY_INLINE_MAX + 7)),
        _ => r.clone(),
    };
    let runs = vec![run_of(all.to_vec()), run_of(poorer), run_of(all.iter().enumerate().map(older).collect())];
    let Folded { root, patches, .. } = world::fold(runs, &Ties, 50, vec![Owned::All; 3], chunks);
    root.into_iter().chain(patches.into_iter().flat_map(|p| [p.bits, p.held]).flatten()).collect()
}

/// Every chunk under `root`, and what was broken on the way.
fn reached(root: Root, chunks: &dyn ChunkSource) -> (BTreeSet<ChunkId>, Vec<String>) {
    let (mut found, mut broken) = (BTreeSet::new(), Vec::new());
    tree::reach(root, chunks, &mut |reached| {
        match reached {
            Reached::Chunk { id, .. } => drop(found.insert(id)),
            Reached::Broken(e) => broken.push(e.to_string()),
        }
        Ok(true)
    })
    .unwrap();
    (found, broken)
}

#[test]
fn every_chunk_that_was_put_is_reached() {
    for (n, each) in [(0, 1), (1, 1), (1, 2), (3, 1), (3, 2), (40, 100), (40, 7), (40, 1), (200, 50)] {
        let chunks = Chunks::default();
        let roots = fold(&rows(n, each, 1), &chunks);
        let mut found = BTreeSet::new();
        for root in &roots {
            let (more, broken) = reached(*root, &chunks);
            assert!(broken.is_empty(), "{broken:?}");
            found.extend(more);
        }
        let put: BTreeSet<ChunkId> = chunks.0.lock().unwrap().keys().copied().collect();
        assert_eq!(found, put, "{n} rows, every {each} large");
        let blobs = roots.first().map_or(0, |root| root.blobs);
        assert_eq!(blobs, rows(n, each, 1).iter().filter(|r| r.body.len() > VALUE_INLINE_MAX).count() as u64);
    }
}

/// A chunk that is taken away is shown all the same, and as broken where something hangs under it.
#[test]
fn every_missing_chunk_is_reached() {
    let chunks = Chunks::default();
    let root = fold(&rows(40, 7, 1), &chunks)[0];
    let (all, _) = reached(root, &chunks);
    for id in all {
        let bytes = chunks.0.lock().unwrap().remove(&id).unwrap();
        let (found, broken) = reached(root, &chunks);
        assert!(found.contains(&id));
        let named = broken.iter().filter(|message| message.contains(&id.to_string())).count();
        assert_eq!(named, broken.len(), "{broken:?}");
        let mut shown_with_more = false;
        tree::reach(root, &chunks, &mut |reached| {
            shown_with_more |= matches!(reached, Reached::Chunk { id: shown, more: true, .. } if shown == id);
            Ok(true)
        })
        .unwrap();
        assert_eq!(named > 0, shown_with_more);
        chunks.0.lock().unwrap().insert(id, bytes);
    }
}

/// A branch that says of a leaf with blobs that it has none would hide them from whoever marks.
#[test]
fn a_branch_that_counts_wrongly_is_found() {
    let chunks = Chunks::default();
    let root = fold(&rows(40, 7, 1), &chunks)[0];
    assert!(root.level >= 2 && root.blobs == 5);
    let children = |id: &ChunkId, level| {
        read_branch(&chunks.get(ChunkKind::Branch, id).unwrap(), level, PackClass::Content).unwrap()
    };
    let put = |level, children: &[Child]| {
        let mut out = Vec::new();
        put_branch(&mut out, level, PackClass::Content, children);
        chunks.put(ChunkKind::Branch, &out).unwrap()
    };
    let top = Child { first_key: Vec::new(), id: root.id, records: root.records, blobs: root.blobs };
    let mut path = vec![top];
    for level in (1..=root.level).rev() {
        let below = children(&path.last().unwrap().id, level);
        path.push(below.into_iter().find(|c| c.blobs > 0).unwrap());
    }
    // At each level: one child with other numbers, and the branches above it made anew, with and without them.
    for at in 0..path.len() {
        for (blobs, records) in [(0i64, -1i64), (-1, 0), (1, 0), (0, 1)] {
            for passed_on in [true, false] {
                let changed = |n: u64, by: i64| n.checked_add_signed(by).unwrap();
                let mut child = path[at].clone();
                (child.records, child.blobs) = (changed(child.records, records), changed(child.blobs, blobs));
                let hidden = at + 1 == path.len() && child.blobs == 0 && passed_on;
                for up in (0..at).rev() {
                    let level = root.level - up as u8;
                    let mut beside = children(&path[up].id, level);
                    let place = beside.iter().position(|c| c.first_key == child.first_key).unwrap();
                    beside[place] = child;
                    let above = &path[up];
                    let by = |n, by| if passed_on { changed(n, by) } else { n };
                    let (records, blobs) = (by(above.records, records), by(above.blobs, blobs));
                    child = Child { id: put(level, &beside), records, blobs, ..above.clone() };
                }
                let root = Root { id: child.id, records: child.records, blobs: child.blobs, ..root };
                let (_, broken) = reached(root, &chunks);
                // A leaf that is said to have no blobs is not read: then it is reading that sees it.
                assert_eq!(broken.is_empty(), hidden, "at {at}: {blobs} blobs, {records} records");
                if at + 1 == path.len() && blobs != 0 {
                    let error = collect(&mut TreeRun::new(Some(root), &chunks)).unwrap_err();
                    assert_eq!(error.kind(), Kind::Damaged, "{error}");
                }
            }
        }
    }
}

const ID: &str = "0123456789ab11ef8123456789abcdef";

/// A node with one table: 30 rows, of which three have values of 150 KiB and more, and a file kept byte for byte.
fn capture(folder: &Path) -> CapturedNodes {
    let length = |n: u64| if n.is_multiple_of(10) { 150_000 + 100_000 * n as usize } else { 30 };
    let values: Vec<Vec<u8>> = (0..30).map(|n| noise(n, length(n))).collect();
    let of_table = one_table(folder, 0, &values);
    fs::write(of_table.join("nb-9-big-Data.db"), noise(9, 200_000)).unwrap();
    flow::source(&[NodeDir::new("n1", folder)])
}

/// The capture of a node whose only table has a row for each value, and in it the last login, which was that night; returns
/// the table's folder.
pub fn one_table(folder: &Path, night: i64, values: &[Vec<u8>]) -> PathBuf {
    let text = "CREATE TABLE lab.large (k int PRIMARY KEY, login bigint, v blob) WITH ID = 01234567-89ab-11ef-8123-456789abcdef";
    let table: Table = cql::parse(text).unwrap().into_table().unwrap();
    let number = |name: &str| table.columns.iter().find(|c| c.name == name).unwrap().number;
    let (login, number) = (number("login"), number("v"));
    assert!(login < number);
    let of_table = folder.join(format!("lab/large-{ID}"));
    fs::create_dir_all(&of_table).unwrap();
    fs::write(of_table.join("schema.cql"), format!("{text};\n")).unwrap();
    let mut records: Vec<Plain> = (0i32..)
        .zip(values)
        .map(|(n, value)| {
            let mut key = Vec::new();
            let group_len = comparable::put_group(&mut key, &n.to_be_bytes());
            key.extend([2, 0x38]);
            let mut body = Vec::new();
            let mut writer = BodyWriter::new(&mut body);
            writer.push_live(login, 1_700_000_000_000_000 + night, night.to_be_bytes().as_slice().into());
            writer.push_live(number, 1_700_000_000_000_000, value.as_slice().into());
            Plain { key, group_len, class: Class::Row, body }
        })
        .collect();
    records.sort_by(|a, b| a.key.cmp(&b.key));
    let mut writer = SsTableWriter::create(&of_table, 1, &table, &write::Options::default()).unwrap();
    for r in &records {
        let traits = repo_format::record::check(&r.body).unwrap();
        let record = Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body };
        writer.push(&record).unwrap();
    }
    writer.finish().unwrap();
    of_table
}

fn new_repo(store: &Arc<dyn Store>) -> Repo {
    use repo_format::credential::Unlock;
    Repo::init(store.clone(), Unlock::KeyFile(&crate::repo::key_file()), None, small()).unwrap()
}

fn problems(store: &Arc<dyn Store>, read_data: bool) -> Vec<String> {
    let watch = Watch::new();
    check(
        &open(store, None).unwrap(),
        onefold::engine::ALL,
        CheckOptions { reads: Reads::all_if(read_data), declare_lost: false },
        &watch,
    )
    .unwrap();
    watch.problems().into_iter().map(|p| format!("{}: {}", p.subject, p.message)).collect()
}

/// Stores all chunks but one, whose name it gives as if it had.
struct Losing<'a> {
    sink: &'a dyn ChunkSink,
    repo: &'a Repo,
    which: usize,
    kind: ChunkKind,
    seen: AtomicUsize,
}

impl ChunkSink for Losing<'_> {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        if kind == self.kind && self.seen.fetch_add(1, Ordering::SeqCst) == self.which {
            return Ok(self.repo.ring().repo.chunk_id.id(kind, plain));
        }
        self.sink.put(kind, plain)
    }
}

/// Commits what `run` puts into the sink.
fn commit(repo: &Repo, run: impl Fn(&dyn ChunkSink) -> Snapshot) -> Snapshot {
    let writer = repo.writer(WriteOptions { threads: 1, ..WriteOptions::default() }).unwrap();
    let snapshot = run(&writer);
    writer.commit(snapshot.roots().unwrap(), snapshot.encode().unwrap()).unwrap();
    snapshot
}

fn run_backup(source: &CapturedNodes, repo: &Repo, sink: &dyn ChunkSink) -> Snapshot {
    let target = Target::of(repo, None, sink).unwrap();
    backup(&Cassandra, source, &target, &Options { cluster: "lab".into(), ..Options::default() }, &Watch::new())
        .unwrap()
}

#[test]
fn a_snapshot_reaches_every_chunk_of_its_repository() {
    let folder = tempfile::tempdir().unwrap();
    let source = capture(folder.path());
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = new_repo(&store);
    let snapshot = commit(&repo, |sink| run_backup(&source, &repo, sink));
    assert_eq!((snapshot.shards[0].rows, snapshot.shards[0].layers[0].blobs), (30, 3));
    assert!(snapshot.files_kept() > 0, "a file kept byte for byte");
    let mut found = BTreeSet::new();
    let reader = repo.reader().unwrap();
    snapshot
        .reach(&reader, &mut |_, reached| {
            let Reached::Chunk { id, .. } = reached else { panic!("{reached:?}") };
            Ok(found.insert(id))
        })
        .unwrap();
    // A pruner goes by references alone and knows no names: it finds the same.
    let mut marked = BTreeSet::new();
    let layers = snapshot.shards.iter().flat_map(|shard| &shard.layers).map(Tree::root);
    for root in layers.chain(snapshot.patches.iter().chain(&snapshot.files).map(Tree::own_root)) {
        let mut visit = |reached| {
            let Reached::Chunk { id, .. } = reached else { panic!("{reached:?}") };
            Ok(marked.insert(id))
        };
        tree::reach(root.unwrap(), &reader, &mut visit).unwrap();
    }
    assert_eq!(marked, found);
    let options = CheckOptions { reads: Reads::All, declare_lost: false };
    let checked = check(&open(&store, None).unwrap(), onefold::engine::ALL, options, &Watch::new()).unwrap();
    assert_eq!((found.len() as u64, checked.reached), (checked.objects.chunks, checked.objects.chunks));
    assert_eq!(problems(&store, true), Vec::<String>::new());
}

#[test]
fn a_missing_piece_of_a_value_is_named_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let source = capture(folder.path());
    let (mut of_files, mut of_values) = (0, 0);
    for (kind, whats) in [(ChunkKind::Data, [0, 1, 70, 300, 600].as_slice()), (ChunkKind::BlobList, &[0, 1, 2, 3])] {
        for which in whats {
            let store: Arc<dyn Store> = Arc::new(Memory::new());
            let repo = new_repo(&store);
            let snapshot = commit(&repo, |sink| {
                let losing = Losing { sink, repo: &repo, which: *which, kind, seen: AtomicUsize::new(0) };
                run_backup(&source, &repo, &losing)
            });
            let [problem] = &problems(&store, false)[..] else { panic!("{kind:?} {which}") };
            assert!(problem.contains("chunk "), "{problem}");
            if problem.contains("nb-9-big-Data.db") {
                of_files += 1;
                continue;
            }
            assert!(problem.contains("lab.large"), "{problem}");
            of_values += 1;
            // And what is missing is never made up.
            let mut out = Vec::new();
            let reader = repo.reader().unwrap();
            let view = onefold::view::View::open(&Cassandra, &snapshot, &snapshot.shards[0], &reader).unwrap();
            assert!(
                onefold::restore::rows(
                    &view,
                    None,
                    crate::cassandra_rows::SHOW,
                    onefold::engine::text::TextForm::Json,
                    &mut out
                )
                .is_err()
            );
        }
    }
    assert!(of_files > 0 && of_values > 3, "{of_files} {of_values}");
}

#[test]
fn a_flipped_bit_in_a_value_is_named_by_check() {
    let folder = tempfile::tempdir().unwrap();
    let source = capture(folder.path());
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = new_repo(&store);
    commit(&repo, |sink| run_backup(&source, &repo, sink));
    let packs: Vec<String> = memory.names().into_iter().filter(|n| n.starts_with("pack/")).collect();
    assert!(packs.len() > 10, "{}", packs.len());
    for pack in packs {
        let mut bytes = memory.read(&pack).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 4;
        let damaged = memory.fork();
        damaged.overwrite(&pack, &bytes);
        let damaged: Arc<dyn Store> = Arc::new(damaged);
        let found = problems(&damaged, true);
        assert!(found.iter().any(|p| p.contains(&pack)), "{pack}: {found:?}");
    }
}

/// Rows of which a small part changes each night, beside a large value: the value is stored once.
#[test]
fn a_night_stores_what_changed_and_not_the_value_beside_it() {
    let values: Vec<Vec<u8>> = (0..100).map(|n| noise(n, 100_000)).collect();
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = flow::new_repo(&store);
    let mut stored = Vec::new();
    for night in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        one_table(folder.path(), night, &values);
        let source = flow::source(&[NodeDir::new("n1", folder.path())]);
        let (snapshot, stats) = flow::store(&repo, &source, false).unwrap();
        stored.push(stats.bytes_stored);
        let tree = &snapshot.shards[0].layers[0];
        assert_eq!((tree.records, tree.blobs), (100, 100));
        let root = Root { records: 100, blobs: 100, ..tree.root().unwrap() };
        let reader = repo.reader().unwrap();
        let read = collect(&mut TreeRun::new(Some(root), &reader)).unwrap();
        let mut found: Vec<&[u8]> = read.iter().map(|r| &r.body[r.body.len() - 100_000..]).collect();
        let mut wanted: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        assert!(read.iter().all(|r| repo_format::record::check(&r.body).is_ok()));
    }
    assert!(stored[0] > 10_000_000 && stored[1..].iter().all(|night| night * 100 < stored[0]), "{stored:?}");
    assert_eq!(problems(&store, true), Vec::<String>::new());
}

/// The rule sees values, never references: at equal times the greater one stands, whichever blob has the greater name.
#[test]
fn ties_of_large_values_are_decided_by_the_values() {
    for seed in 0..20 {
        let values = [noise(seed, VALUE_INLINE_MAX + 1), noise(seed + 100, VALUE_INLINE_MAX + 1)];
        let chunks = Chunks::default();
        let runs = values.iter().map(|value| run_of(vec![row(1, 5, value)])).collect();
        let root = tree::write(&mut Merge::of(runs, &Ties), &chunks, &shape(4)).unwrap();
        let read = collect(&mut TreeRun::new(root, &chunks)).unwrap();
        assert_eq!(read, [row(1, 5, values.iter().max().unwrap())]);
    }
}
