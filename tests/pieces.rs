//! SSTables read in ranges of keys: together, the pieces are what is read from the start, or one of them fails; whatever the
//! index says, and whatever the order in which they are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onefold::engine::cassandra::capture;
use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::read_schema::read_schema;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::engine::cassandra::sstable::piece::Pieces;
use onefold::engine::cassandra::sstable::write::{Compression, Compressor, Options, SsTableWriter};
use onefold::engine::cassandra::sstable::{Descriptor, Files, READ_BUFFER, SsTable, Version, layout, read_statistics};
use onefold::engine::{Described, EVERYTHING, KeyRange, Source, Taking, Without};
use onefold::error::Kind;
use onefold::run::Record;
use onefold::watch::Watch;
use proptest::prelude::*;
use repo_format::murmur3::{token, token_bytes};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, check};

use crate::cassandra_write::dice::records;
use crate::user::{capture as fixture, three};
use crate::world::{Plain, collect};

/// The ranges between tokens.
fn ranges(mut tokens: Vec<i64>) -> Vec<KeyRange> {
    tokens.sort_unstable();
    tokens.dedup();
    let mut keys = vec![Vec::new()];
    keys.extend(tokens.iter().map(|token| token_bytes(*token).to_vec()));
    keys.push(Vec::new());
    keys.windows(2).map(|two| (two[0].clone(), two[1].clone())).collect()
}

/// All records, read in pieces, of which every `step`-th is read next; and the bytes of 1,000 that are told.
fn in_pieces(
    sstable: &SsTable,
    ranges: &[KeyRange],
    by_index: bool,
    step: usize,
) -> onefold::Result<(Vec<Plain>, u64)> {
    let (files, pieces) = (Files::alone(READ_BUFFER), Arc::new(Pieces::default()));
    let (mut parts, mut told) = (vec![Vec::new(); ranges.len()], 0);
    for first in 0..step {
        for n in (first..ranges.len()).step_by(step).rev() {
            let mut piece = sstable.piece(&files, &ranges[n], &pieces, by_index)?;
            parts[n] = collect(&mut piece)?;
            told += piece.done(1000);
        }
    }
    Ok((parts.concat(), told))
}

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }
}

/// Tokens at even distances, at random, and just at and behind those of partitions.
fn cuts(dice: &mut Dice, n: u64, whole: &[Plain]) -> Vec<Vec<i64>> {
    let even = (1..n).map(|i| (u64::MAX / n * i) as i64 ^ i64::MIN).collect();
    let random = (1..n).map(|_| dice.next() as i64).collect();
    let at = |dice: &mut Dice| {
        let key: [u8; 8] = whole[dice.next() as usize % whole.len()].key[..8].try_into().unwrap();
        ((u64::from_be_bytes(key) ^ (1 << 63)) as i64).saturating_add((dice.next() % 3) as i64 - 1)
    };
    let near = if whole.is_empty() { Vec::new() } else { (1..n).map(|_| at(dice)).collect() };
    vec![even, random, near]
}

fn agree(sstable: &SsTable, dice: &mut Dice, most: u64, ways: &[bool]) {
    let whole = collect(&mut sstable.run(READ_BUFFER).unwrap()).unwrap();
    let n = 2 + dice.next() % most;
    for tokens in cuts(dice, n, &whole) {
        let ranges = ranges(tokens);
        for by_index in ways {
            let step = 1 + dice.next() as usize % ranges.len();
            let name = sstable.data();
            let (read, told) = in_pieces(sstable, &ranges, *by_index, step).unwrap_or_else(|e| panic!("{}: {e}", name));
            assert!(read == whole, "{}: {ranges:?}", name);
            assert_eq!(told, 1000, "{}", name);
        }
    }
}

#[test]
fn fixtures_in_pieces_are_what_they_are_whole() {
    let mut dice = Dice(7);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut roots: Vec<PathBuf> = ["cassandra-4.1", "cassandra-5.0", "cassandra-5.0-oa", "cassandra-5.0-mixed"]
        .iter()
        .flat_map(|name| three(&fixture(name)))
        .collect();
    roots.extend(["oa", "da"].map(|version| fixtures.join("upgraded").join(version)));
    let mut sought = 0;
    for root in roots {
        let (capture, _) = capture::open(&root, None).unwrap();
        let schema = read_schema(&capture).unwrap().unwrap();
        for (table, files) in capture.tables.iter().flat_map(|t| t.sstables.iter().map(move |s| (t, s))) {
            let (statistics, _) = read_statistics(&files.folder, &files.descriptor).unwrap();
            let described =
                schema.table(&table.id).cloned().unwrap_or_else(|| layout::table_of(&statistics.header).unwrap());
            let sstable = SsTable::open(&files.folder, &files.descriptor, &described).unwrap();
            let has_summary = files.folder.path().join(format!("{}-Summary.db", files.descriptor)).exists();
            sought += usize::from(has_summary);
            agree(&sstable, &mut dice, 20, if has_summary { &[true, false] } else { &[false] });
        }
    }
    assert!(sought > 500, "{sought}");
}

const TABLE: &str =
    "CREATE TABLE ks.t (p blob, c int, d text, s text static, v text, m map<text, blob>, PRIMARY KEY (p, c, d))
    WITH CLUSTERING ORDER BY (c DESC, d ASC)";

fn table() -> Table {
    cql::parse(TABLE).unwrap().into_table().unwrap()
}

fn write(directory: &Path, options: &Options, records: &[Plain]) -> SsTable {
    write_as(1, directory, options, records)
}

fn write_as(generation: u64, directory: &Path, options: &Options, records: &[Plain]) -> SsTable {
    let table = table();
    let mut writer = SsTableWriter::create(directory, generation, &table, options).unwrap();
    for r in records {
        let traits = check(&r.body).unwrap();
        let record = Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body };
        writer.push(&record).unwrap();
    }
    let written = writer.finish().unwrap();
    let (descriptor, _) = Descriptor::parse(&written.files[0].0).unwrap();
    SsTable::open(&directory.into(), &descriptor, &table).unwrap()
}

fn options(which: u64) -> Options {
    let packed = |compressor, chunk_length| {
        Some(Compression { compressor, chunk_length, packed_max: i32::MAX as usize, others: BTreeMap::new() })
    };
    let compression = match which % 4 {
        0 => None,
        1 => packed(Compressor::Lz4, 1 << 10),
        2 => packed(Compressor::Zstd(1), 4 << 10),
        _ => packed(Compressor::Noop, 16 << 10),
    };
    let version = if which.is_multiple_of(3) { Version::Oa } else { Version::Nb };
    let index_interval = [1, 2, 7, 128][which as usize / 4 % 4];
    Options { version, compression, column_index_size: 200, index_interval, ..Options::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Many small partitions, and a few of many rows, of which a piece holds one or none.
    #[test]
    fn many_chunks_in_pieces_are_what_they_are_whole(seed: u64, which in 0..48_u64, wide: bool) {
        let directory = tempfile::tempdir().unwrap();
        let (partitions, rows) = if wide { (3, 600) } else { (600, 4) };
        let sstable = write(directory.path(), &options(which), &records(seed, &table(), partitions, rows));
        agree(&sstable, &mut Dice(seed), 20, &[true, false]);
    }
}

/// Every byte of the two files flipped, each cut everywhere, and each in the other's place and in that of another SSTable's.
#[test]
fn a_damaged_index_gives_the_same_records_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { index_interval: 4, ..options(1) };
    let sstable = write(directory.path(), &options, &records(11, &table(), 24, 6));
    let whole = collect(&mut sstable.run(READ_BUFFER).unwrap()).unwrap();
    let other = tempfile::tempdir().unwrap();
    write(other.path(), &options, &records(12, &table(), 40, 5));
    let ranges = ranges(cuts(&mut Dice(3), 9, &whole).concat());
    let path = |folder: &Path, name: &str| folder.join(format!("nb-1-big-{name}"));
    let (mut harmless, mut found) = (0, 0);
    let mut look = |what: &str| match in_pieces(&sstable, &ranges, true, 1) {
        Ok((read, _)) => {
            assert!(read == whole, "{what}");
            harmless += 1;
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Damaged, "{what}: {error}");
            assert!(error.subject().contains("nb-1-big-"), "{what}: {error}");
            found += 1;
        }
    };
    for (name, twin) in [("Summary.db", "Index.db"), ("Index.db", "Summary.db")] {
        let bytes = fs::read(path(directory.path(), name)).unwrap();
        let put = |bytes: &[u8]| fs::write(path(directory.path(), name), bytes).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            put(&damaged);
            look(&format!("{name}: byte {at}"));
            put(&bytes[..at]);
            look(&format!("{name}: cut at {at}"));
        }
        for (folder, name) in [(&directory, twin), (&other, name)] {
            put(&fs::read(path(folder.path(), name)).unwrap());
            look(name);
        }
        fs::remove_file(path(directory.path(), name)).unwrap();
        look("none there");
        put(&bytes);
    }
    assert!(found > 200 && harmless > 200, "{found} found, {harmless} harmless");
    assert!(in_pieces(&sstable, &ranges, true, 1).unwrap().0 == whole);
}

/// Writes `Data.db` anew, which is not compressed, with the checksums that fit.
fn reseal(folder: &Path, bytes: &[u8]) {
    let path = |name: &str| folder.join(format!("nb-1-big-{name}"));
    let sums = fs::read(path("CRC.db")).unwrap();
    let length = u32::from_be_bytes(sums[..4].try_into().unwrap()) as usize;
    let sums: Vec<u8> = bytes.chunks(length).flat_map(|chunk| crc32fast::hash(chunk).to_be_bytes()).collect();
    fs::write(path("Data.db"), bytes).unwrap();
    fs::write(path("CRC.db"), [&(length as u32).to_be_bytes()[..], &sums].concat()).unwrap();
    fs::write(path("Digest.crc32"), crc32fast::hash(bytes).to_string()).unwrap();
}

/// What is said of a file once all of it was read is said of the whole alone: its pieces fail, the last that is read or an
/// earlier one.
#[test]
fn what_is_to_be_said_of_a_file_ends_its_pieces() {
    for by_index in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let sstable = write(directory.path(), &options(4), &records(5, &table(), 50, 6));
        let ranges = ranges(vec![i64::MIN / 2, 0, i64::MAX / 2]);
        let sound = in_pieces(&sstable, &ranges, by_index, 2).unwrap().0;
        let digest = directory.path().join("nb-1-big-Digest.crc32");
        let stated = fs::read(&digest).unwrap();
        for text in ["17", "no number"] {
            fs::write(&digest, text).unwrap();
            for step in 1..=4 {
                let error = in_pieces(&sstable, &ranges, by_index, step).unwrap_err();
                assert!(error.kind() == Kind::Damaged && error.to_string().contains("Digest.crc32"), "{error}");
            }
            let mut run = sstable.run(READ_BUFFER).unwrap();
            assert!(collect(&mut run).unwrap() == sound && run.remarks().len() == 1);
        }
        fs::remove_file(&digest).unwrap();
        assert!(in_pieces(&sstable, &ranges, by_index, 3).unwrap().0 == sound);
        fs::write(&digest, stated).unwrap();
        // Without checksums of chunks nothing is shown that only the digest vouches for.
        fs::remove_file(directory.path().join("nb-1-big-CRC.db")).unwrap();
        let error = in_pieces(&sstable, &ranges, by_index, 1).unwrap_err();
        assert!(error.kind() == Kind::Damaged && error.to_string().contains("CRC.db"), "{error}");
    }
}

#[test]
fn rows_that_stand_twice_end_a_piece() {
    let table =
        cql::parse("CREATE TABLE ks.t (p int, c int, v text, PRIMARY KEY (p, c))").unwrap().into_table().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let options = Options { compression: None, ..Options::default() };
    let mut writer = SsTableWriter::create(directory.path(), 1, &table, &options).unwrap();
    let clustering = Clustering::of(&table).unwrap();
    let v = table.columns.iter().find(|c| c.name == "v").unwrap().number;
    let mut keys: Vec<[u8; 4]> = (7..40_i32).map(i32::to_be_bytes).collect();
    keys.sort_by_key(|key| token(key));
    for partition in keys {
        for row in [*b"\x11\x22\x33\x44", *b"\x11\x22\x33\x45"] {
            let (mut key, mut body) = (Vec::new(), Vec::new());
            let group_len = comparable::put_group(&mut key, &partition);
            clustering.row(&mut key, &[Some(&row)]).unwrap();
            let mut to = BodyWriter::new(&mut body);
            to.push(&Entry {
                column: v,
                kind: EntryKind::Cell,
                element: None,
                time: 1_700_000_000_000_000,
                ldt: 0,
                ttl: 0,
                value: Some(b"x"),
            });
            let traits = to.traits();
            let class = Class::Row;
            writer.push(&Record { key: &key, group_len, class, traits, body: &body }).unwrap();
        }
    }
    writer.finish().unwrap();
    let (descriptor, _) = Descriptor::parse("nb-1-big-Data.db").unwrap();
    let sstable = SsTable::open(&directory.path().into(), &descriptor, &table).unwrap();
    let data = directory.path().join("nb-1-big-Data.db");
    let mut bytes = fs::read(&data).unwrap();
    let at = bytes.windows(4).position(|w| w == [0x11, 0x22, 0x33, 0x45]).unwrap();
    bytes[at + 3] = 0x44;
    reseal(directory.path(), &bytes);
    let mut run = sstable.run(READ_BUFFER).unwrap();
    assert_eq!((collect(&mut run).unwrap().len(), run.remarks().len()), (65, 1));
    for by_index in [true, false] {
        for step in 1..3 {
            let error = in_pieces(&sstable, &ranges(vec![-1 << 60, 1 << 60]), by_index, step).unwrap_err();
            assert!(error.kind() == Kind::Damaged && error.to_string().contains("stood twice"), "{error}");
        }
    }
}

/// A file that is written to between two pieces is not put together of both.
#[test]
fn pieces_are_of_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let sstable = write(directory.path(), &options(4), &records(5, &table(), 50, 6));
    let (files, pieces) = (Files::alone(READ_BUFFER), Arc::new(Pieces::default()));
    let ranges = ranges(vec![0]);
    collect(&mut sstable.piece(&files, &ranges[0], &pieces, true).unwrap()).unwrap();
    let data = directory.path().join("nb-1-big-Data.db");
    let mut bytes = fs::read(&data).unwrap();
    bytes.push(0);
    fs::write(&data, &bytes).unwrap();
    let read = sstable.piece(&files, &ranges[1], &pieces, true).and_then(|mut piece| collect(&mut piece));
    let error = read.map(|records| records.len()).unwrap_err();
    assert!(error.kind() == Kind::Io && error.to_string().contains("written to"), "{error}");
}

/// A node that has three SSTables of a table, of which the first is larger than what is read from its start.
fn node_of_three() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let id = "418bac70-e5b5-11f1-b7b5-819b4a856a4f";
    let folder = root.path().join("ks").join(format!("t-{}", id.replace('-', "")));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("schema.cql"), format!("{} AND ID = {id};", TABLE)).unwrap();
    let options = Options { compression: None, ..Options::default() };
    for (generation, partitions) in [(1, 1_000), (2, 9), (3, 1)] {
        write_as(generation, &folder, &options, &records(generation, &table(), partitions, 6));
    }
    assert!(fs::metadata(folder.join("nb-1-big-Data.db")).unwrap().len() > 200 << 10);
    (root, folder)
}

#[test]
fn parts_of_a_table_are_read_in_the_ranges_that_the_engine_gives() {
    let (root, folder) = node_of_three();
    let open = || CapturedNodes::open(&[NodeDir::new("n1", root.path())], None, &Described::default()).unwrap();
    let done = |watch: &Watch| watch.bytes_done.load(std::sync::atomic::Ordering::Relaxed);
    let source = open();
    let shard = source.shards().iter().find(|s| s.name == "ks.t").unwrap();
    let mut cuts = vec![Vec::new()];
    cuts.extend(source.bounds(shard, &Without::new(), 5).unwrap());
    cuts.push(Vec::new());
    assert_eq!(cuts.len(), 6);
    let watch = Watch::new();
    let [node] = &source.parts(shard, &Without::new(), Taking::records(&watch)).unwrap()[..] else {
        panic!("one node")
    };
    assert_eq!(node.parts.len(), 3);
    for part in &node.parts {
        let whole = collect(&mut *(part.open)(&EVERYTHING).unwrap()).unwrap();
        let before = done(&watch);
        let mut pieces = Vec::new();
        for two in cuts.windows(2) {
            pieces.extend(collect(&mut *(part.open)(&(two[0].clone(), two[1].clone())).unwrap()).unwrap());
        }
        assert!(pieces == whole, "{}", part.name);
        assert_eq!(done(&watch) - before, part.bytes, "{}", part.name);
    }
    let large = node.parts.iter().find(|part| part.name.contains("nb-1-")).unwrap().name.clone();
    for name in ["Summary.db", "Index.db", "CRC.db"] {
        let (file, aside) = (folder.join(format!("nb-1-big-{name}")), root.path().join("aside"));
        fs::rename(&file, &aside).unwrap();
        let source = open();
        let bounds = |without: &Without| source.bounds(shard, without, 5).unwrap().len();
        assert_eq!((bounds(&Without::new()), bounds(&[(0, large.clone())].into())), (0, 4), "{name}");
        fs::rename(&aside, &file).unwrap();
    }
    assert_eq!(open().bounds(shard, &Without::new(), 1).unwrap().len(), 0);
}
