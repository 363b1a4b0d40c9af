//! SSTables that were written, read again: any canonical records come back the same, whatever the version, the compressor
//! and the sizes; fixtures too. What real tools and a real node make of them: `tools/lab/written`.

pub mod dice;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::cursor::Cursor;
use onefold::engine::cassandra::sstable::write::{
    Compression, Compressor, LateTimes, Options, SsTableWriter, Written, filter,
};
use onefold::engine::cassandra::sstable::{Descriptor, READ_BUFFER, SsTable, Version};
use onefold::error::{Kind, Result};
use onefold::run::{Record, RecordBatch};
use proptest::prelude::*;
use repo_format::record::{Class, Entries, Entry, EntryKind, check};

use crate::cassandra_rows::{captures, merged, open};
use crate::world::{Plain, collect};
use dice::{body_of, deletion, records};

const TABLE: &str = "CREATE TYPE ks.u (a int, b text);
    CREATE TABLE ks.t (p blob, c int, d decimal, e text, s text static, sm map<int, text> static, zi int, a text,
    st set<varint>, l list<bigint>, m map<text, blob>, u u, fu frozen<list<int>>, b boolean,
    PRIMARY KEY (p, c, d, e)) WITH CLUSTERING ORDER BY (c DESC, d ASC, e DESC)";

/// With more columns than a bitmap of 64.
fn broad_table() -> String {
    let columns: String = (0..70).map(|i| format!("v{i} {}, ", if i % 9 == 0 { "set<int>" } else { "text" })).collect();
    format!("CREATE TABLE ks.t (p blob, c int, {columns} PRIMARY KEY (p, c))")
}

fn table(text: &str) -> Table {
    cql::parse(text).unwrap().into_table().unwrap()
}

fn write(directory: &Path, table: &Table, options: &Options, records: &[Plain]) -> Result<Written> {
    let mut writer = SsTableWriter::create(directory, 1, table, options)?;
    for r in records {
        let traits = check(&r.body).unwrap();
        writer.push(&Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body })?;
    }
    writer.finish()
}

fn reopen(directory: &Path, table: &Table, written: &Written) -> SsTable {
    let (descriptor, _) = Descriptor::parse(&written.files[0].0).unwrap();
    SsTable::open(&directory.into(), &descriptor, table).unwrap()
}

fn compression(compressor: Compressor, chunk_length: usize, packed_max: usize) -> Option<Compression> {
    Some(Compression { compressor, chunk_length, packed_max, others: BTreeMap::new() })
}

fn options(which: u64) -> Options {
    let never = i32::MAX as usize;
    let compression = match which % 8 {
        0 => None,
        1 => compression(Compressor::Snappy, 4 << 10, never),
        2 => compression(Compressor::Zstd(3), 64 << 10, 40 << 10),
        3 => compression(Compressor::Deflate, 1 << 10, never),
        4 => compression(Compressor::Noop, 1 << 10, never),
        5 => compression(Compressor::Lz4, 256 << 10, 256 << 10),
        6 => compression(Compressor::Lz4, 1 << 10, 1 << 10),
        _ => Some(Compression::default()),
    };
    let version = if which.is_multiple_of(3) { Version::Oa } else { Version::Nb };
    let column_index_size = if which.is_multiple_of(5) { 16 << 10 } else { 100 };
    Options { version, compression, column_index_size, index_interval: 1 + which as u32 % 7, ..Options::default() }
}

/// The smallest and greatest that statistics should say, of write times and of times to live.
fn extremes(records: &[Plain]) -> ((i64, i64), (i32, i32)) {
    let (mut times, mut ttls) = (Vec::new(), Vec::new());
    for e in records.iter().flat_map(|r| Entries::new(&r.body)).map(|e| e.unwrap()) {
        if e.kind != EntryKind::Raw {
            times.push(e.time);
        }
        if !matches!(e.kind, EntryKind::Raw | EntryKind::Deletion) {
            ttls.push(e.ttl as i32);
        }
    }
    let of = |ttls: &[i32]| (ttls.iter().min().copied().unwrap_or(0), ttls.iter().max().copied().unwrap_or(0));
    ((*times.iter().min().unwrap(), *times.iter().max().unwrap()), of(&ttls))
}

fn round_trip(table: &Table, options: &Options, records: &[Plain]) {
    let directory = tempfile::tempdir().unwrap();
    let written = write(directory.path(), table, options, records).unwrap();
    let mut present: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    present.sort();
    let mut named: Vec<_> = written.files.iter().map(|(name, _)| name.clone()).collect();
    named.sort();
    assert_eq!(present, named);
    if records.is_empty() {
        assert!(present.is_empty() && written.partitions == 0);
        return;
    }
    let sstable = reopen(directory.path(), table, &written);
    let back = collect(&mut sstable.run(READ_BUFFER).unwrap()).unwrap();
    for (ours, theirs) in back.iter().zip(records) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(back.len(), records.len());
    let stats = &sstable.statistics().stats;
    let (times, ttls) = extremes(records);
    assert_eq!((stats.times, stats.ttls), (times, ttls));
    let rows = records.iter().filter(|r| matches!(r.class, Class::Row | Class::Static)).count();
    assert_eq!((stats.rows, written.rows), (rows as i64, rows as u64));
    assert_eq!(written.times, Some(times));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(seed: u64, which in 0..840_u64, partitions in 0..12_u64, rows in 1..80_u64) {
        let table = table(TABLE);
        round_trip(&table, &options(which), &records(seed, &table, partitions, rows));
    }

    #[test]
    fn tables_of_many_columns_are_read_back(seed: u64, which in 0..840_u64) {
        let table = table(&broad_table());
        round_trip(&table, &options(which), &records(seed, &table, 3, 10));
    }
}

/// One block of a partition's index: where it lies, its first and last clustering, and what is open at its end.
struct Block {
    from: u64,
    to: u64,
    first: Vec<u8>,
    last: Vec<u8>,
    open: Option<(i64, u32)>,
}

/// A clustering of one blob column, with its kind.
fn prefix(c: &mut Cursor<'_>, kind: u8) -> Vec<u8> {
    let from = c.at();
    let components = if kind == 4 { 1 } else { c.u16().unwrap() };
    if components == 1 && c.vint().unwrap() == 0 {
        c.vbytes().unwrap();
    }
    [&[kind], c.since(from)].concat()
}

fn blocks(index: &[u8], version: Version) -> Vec<Block> {
    let mut c = Cursor::new(index);
    c.short_bytes().unwrap();
    assert_eq!(c.vint(), Ok(0));
    let mut rows = Cursor::new(c.vbytes().unwrap());
    assert_eq!(c.remaining(), 0);
    rows.vint().unwrap();
    rows.bytes(if version == Version::Oa { 1 } else { 12 }).unwrap();
    let count = rows.length().unwrap();
    let start = rows.at();
    let (mut blocks, mut offsets) = (Vec::new(), Vec::new());
    for _ in 0..count {
        offsets.push((rows.at() - start) as u32);
        let kind = rows.u8().unwrap();
        let first = prefix(&mut rows, kind);
        let kind = rows.u8().unwrap();
        let last = prefix(&mut rows, kind);
        let from = rows.vint().unwrap();
        let width = rows.vint().unwrap();
        let width = (width >> 1) as i64 ^ -((width & 1) as i64);
        let open = (rows.u8().unwrap() == 1).then(|| match version {
            Version::Nb => {
                let ldt = rows.u32().unwrap();
                (rows.i64().unwrap(), ldt)
            }
            Version::Oa => (rows.i64().unwrap(), rows.u32().unwrap()),
        });
        blocks.push(Block { from, to: from + (width + (64 << 10)) as u64, first, last, open });
    }
    for offset in offsets {
        assert_eq!(rows.u32(), Ok(offset));
    }
    assert_eq!(rows.remaining(), 0);
    blocks
}

#[test]
fn the_index_of_a_wide_partition_leads_to_its_rows() {
    let table = table("CREATE TABLE ks.t (p blob, c blob, v text, PRIMARY KEY (p, c))");
    for (seed, version) in [(7, Version::Nb), (8, Version::Oa), (9, Version::Nb)] {
        let options = Options { version, column_index_size: 1 << 10, compression: None, ..Options::default() };
        let records = records(seed, &table, 1, 8_000);
        round_trip(&table, &options, &records);
        let directory = tempfile::tempdir().unwrap();
        let written = write(directory.path(), &table, &options, &records).unwrap();
        let name = written.files[0].0.strip_suffix("Data.db").unwrap();
        let data = fs::read(directory.path().join(format!("{name}Data.db"))).unwrap();
        let blocks = blocks(&fs::read(directory.path().join(format!("{name}Index.db"))).unwrap(), version);
        assert!(blocks.len() > 20);
        // Through the partition, row by row, beside the blocks.
        let mut c = Cursor::new(&data);
        c.bytes(blocks[0].from as usize).unwrap();
        let mut block = blocks.iter().peekable();
        let (mut open, mut begins) = (None, true);
        let mut last = Vec::new();
        for record in records.iter().filter(|r| r.class != Class::Group) {
            let at = c.at() as u64;
            let kind = if c.u8().unwrap() == 2 { c.u8().unwrap() } else { 4 };
            let here = prefix(&mut c, kind);
            if begins {
                assert_eq!((block.peek().unwrap().from, &block.peek().unwrap().first), (at, &here));
            }
            let size = c.length().unwrap();
            c.bytes(size).unwrap();
            if record.class == Class::Marker {
                open = Entries::new(&record.body).next().map(|e| e.unwrap()).map(|e| (e.time, e.ldt));
            }
            begins = block.peek().unwrap().to == c.at() as u64;
            if begins {
                let block = block.next().unwrap();
                assert_eq!((block.open, &block.last), (open, &here));
            }
            last = here;
        }
        assert!(begins && block.next().is_none() && !last.is_empty());
        assert_eq!((c.u8(), c.remaining()), (Ok(1), 0));
    }
}

#[test]
fn fixtures_are_read_back() {
    let mut rows = 0;
    for root in captures() {
        let source = open(&root);
        let meta: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&fs::read_to_string(root.join("expected/meta.json")).unwrap()).unwrap();
        for (which, (name, meta)) in (0..).zip(&meta) {
            let (table, batches) = merged(&source, name, meta["times_read"].as_f64().unwrap() as u32);
            let all = batches.iter().flat_map(RecordBatch::iter);
            let records: Vec<Plain> = all.filter_map(|r| without_dropped(&table, &r)).collect();
            // What `oa` captured holds times that `nb` cannot.
            let late = ["cassandra-5.0-oa", "cassandra-5.0-mixed"].iter().any(|name| root.ends_with(name));
            for version in [Version::Nb, Version::Oa].into_iter().filter(|v| !late || *v == Version::Oa) {
                round_trip(&table, &Options { version, ..options(which) }, &records);
            }
            rows += records.len();
        }
    }
    assert!(rows > 2000, "{rows}");
}

/// The record without what a dropped column left.
fn without_dropped(table: &Table, record: &Record<'_>) -> Option<Plain> {
    let column = |e: &Entry<'_>| table.columns.iter().find(|c| c.number == e.column && e.column != 0);
    let hidden = |e: &Entry<'_>| column(e).is_some_and(|c| c.gone || c.dropped_at.is_some_and(|at| e.time <= at));
    let entries: Vec<_> = Entries::new(record.body).map(|e| e.unwrap()).collect();
    let left: Vec<_> = entries.iter().filter(|e| !hidden(e)).copied().collect();
    let (key, group_len, class) = (record.key.to_vec(), record.group_len, record.class);
    let says = entries.is_empty() || left.iter().any(|e| e.kind != EntryKind::Raw);
    says.then(|| Plain { key, group_len, class, body: body_of(&left) })
}

/// Every byte of small SSTables. A change here changes what restores write: look at it, then `ONEFOLD_BLESS=1`.
#[test]
fn bytes_are_those_that_real_nodes_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/written.txt");
    let mut text = String::new();
    for (version, compressor) in [(Version::Nb, None), (Version::Oa, Some(Compressor::Noop))] {
        let compression = compressor.and_then(|c| compression(c, 1 << 10, i32::MAX as usize));
        let options = Options { version, compression, column_index_size: 200, ..Options::default() };
        let (table, directory) = (table(TABLE), tempfile::tempdir().unwrap());
        let written = write(directory.path(), &table, &options, &records(11, &table, 2, 12)).unwrap();
        for (name, _) in &written.files {
            let bytes = fs::read(directory.path().join(name)).unwrap();
            let bytes = if bytes.len() > 4000 { blake3::hash(&bytes).as_bytes().to_vec() } else { bytes };
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            text += &format!("{name} {hex}\n");
        }
    }
    if std::env::var_os("ONEFOLD_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap();
    for (ours, known) in text.lines().zip(known.lines()) {
        assert_eq!(ours, known);
    }
    assert_eq!(text.len(), known.len());
}

#[test]
fn filters_let_all_present_keys_through_and_few_others() {
    let table = table("CREATE TABLE ks.t (p bigint PRIMARY KEY, v int)");
    let directory = tempfile::tempdir().unwrap();
    let mut records = Vec::new();
    for n in 0..5000_u64 {
        let mut key = Vec::new();
        let group_len = comparable::put_group(&mut key, &n.to_be_bytes());
        Clustering::of(&table).unwrap().row(&mut key, &[]).unwrap();
        let number = table.columns.iter().find(|c| c.name == "v").unwrap().number;
        let cell = Entry { kind: EntryKind::Cell, value: Some(&[0, 0, 0, 1]), ..deletion(number, 5, 0) };
        records.push(Plain { key, group_len, class: Class::Row, body: body_of(&[cell]) });
    }
    records.sort_by(|a, b| a.key.cmp(&b.key));
    write(directory.path(), &table, &Options::default(), &records).unwrap();
    let bytes = fs::read(directory.path().join("nb-1-big-Filter.db")).unwrap();
    let passes = |n: u64| {
        let (step, mut hash) = repo_format::murmur3::hash(&n.to_be_bytes());
        let bits = 8 * (bytes.len() - 8) as i64;
        (0..u32::from_be_bytes(bytes[..4].try_into().unwrap())).all(|_| {
            let bit = (hash as i64 % bits).unsigned_abs();
            hash = hash.wrapping_add(step);
            bytes[8 + bit as usize / 8] >> (bit % 8) & 1 == 1
        })
    };
    assert!((0..5000).all(passes));
    let others = (1_000_000..1_100_000).filter(|n| passes(*n)).count();
    assert!((500..1500).contains(&others), "{others} of 100000 at a chance of 0.01");
    // Part by part as in one piece.
    let index = directory.path().join("nb-1-big-Index.db");
    let again = directory.path().join("again");
    filter::write_in_parts(&again, &index, 5000, 0.01, 100).unwrap();
    assert!(fs::read(again).unwrap() == bytes);
}

#[test]
fn unfinished_and_refused() {
    let table = table(TABLE);
    let all = records(3, &table, 4, 40);
    let directory = tempfile::tempdir().unwrap();
    let empty = || fs::read_dir(directory.path()).unwrap().next().is_none();
    let push = |writer: &mut SsTableWriter, r: &Plain| {
        let traits = check(&r.body).unwrap();
        writer.push(&Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body })
    };
    let mut writer = SsTableWriter::create(directory.path(), 1, &table, &Options::default()).unwrap();
    all.iter().try_for_each(|r| push(&mut writer, r)).unwrap();
    assert!(!empty());
    drop(writer);
    assert!(empty());

    // Not in order, and files of another.
    let mut writer = SsTableWriter::create(directory.path(), 1, &table, &Options::default()).unwrap();
    push(&mut writer, &all[1]).unwrap();
    assert_eq!(push(&mut writer, &all[0]).unwrap_err().kind(), Kind::Damaged);
    drop(writer);
    write(directory.path(), &table, &Options::default(), &all).unwrap();
    let second = SsTableWriter::create(directory.path(), 1, &table, &Options::default());
    assert_eq!(second.err().unwrap().kind(), Kind::AlreadyExists);
    assert!(!empty());
}

#[test]
fn late_times_are_refused_or_capped_by_name() {
    let table = table("CREATE TABLE ks.t (p int PRIMARY KEY, v int)");
    let number = table.columns.iter().find(|c| c.name == "v").unwrap().number;
    let mut key = Vec::new();
    let group_len = comparable::put_group(&mut key, &[0, 0, 0, 1]);
    Clustering::of(&table).unwrap().row(&mut key, &[]).unwrap();
    let late = 4_000_000_000;
    let cell = Entry { kind: EntryKind::Cell, ttl: 1, value: Some(&[0, 0, 0, 1]), ..deletion(number, 5, late) };
    let record = [Plain { key, group_len, class: Class::Row, body: body_of(&[cell]) }];
    let directory = tempfile::tempdir().unwrap();
    let nb = Options::default();
    let error = write(directory.path(), &table, &nb, &record).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("4000000000"), "{error}");
    round_trip(&table, &Options { version: Version::Oa, ..nb.clone() }, &record);
    let capped = Options { late_times: LateTimes::Cap, ..nb };
    let written = write(directory.path(), &table, &capped, &record).unwrap();
    assert_eq!(written.capped, 1);
    let back = collect(&mut reopen(directory.path(), &table, &written).run(READ_BUFFER).unwrap()).unwrap();
    let ldt = Entries::new(&back[0].body).next().unwrap().unwrap().ldt;
    assert_eq!(ldt, i32::MAX as u32 - 1);
}

/// Leaves SSTables of all fixtures in the folder `ONEFOLD_WRITTEN`, and what is in them, for real tools to look at.
#[test]
#[ignore = "run by tools/lab/written"]
fn written_for_real_tools() {
    let out = std::path::PathBuf::from(std::env::var_os("ONEFOLD_WRITTEN").unwrap());
    let (nb, oa) = (Version::Nb, Version::Oa);
    for (root, version, folder) in [(0, nb, "4.1"), (1, nb, "5.0"), (1, oa, "5.0oa"), (2, oa, "5.0-oa")] {
        let root = &captures()[root];
        let source = open(root);
        let meta: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&fs::read_to_string(root.join("expected/meta.json")).unwrap()).unwrap();
        let mut facts = serde_json::Map::new();
        for (which, (name, meta)) in (0..).zip(&meta) {
            let (table, batches) = merged(&source, name, meta["times_read"].as_f64().unwrap() as u32);
            let all = batches.iter().flat_map(RecordBatch::iter);
            let records: Vec<Plain> = all.filter_map(|r| without_dropped(&table, &r)).collect();
            let options = Options { version, index_interval: 128, column_index_size: 1 << 10, ..options(which) };
            let short = format!("{}/{}-{}", table.keyspace, table.name, table.id);
            let directory = out.join(folder).join(&short);
            fs::create_dir_all(&directory).unwrap();
            let written = write(&directory, &table, &options, &records).unwrap();
            let (times, ttls) = extremes(&records);
            // Neither range deletions nor anything that expires.
            let plain = ttls.1 == 0 && records.iter().all(|r| r.class != Class::Marker);
            let fact = serde_json::json!({"folder": short, "partitions": written.partitions, "rows": written.rows,
                "times": times, "ttls": ttls, "plain": plain});
            facts.insert(table.name.clone(), fact);
        }
        fs::write(out.join(folder).join("facts.json"), serde_json::to_string_pretty(&facts).unwrap()).unwrap();
    }
}
