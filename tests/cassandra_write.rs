//! SSTables that were written, read again: any canonical records come back the same, whatever the version, the compressor
//! and the sizes; fixtures too. What real tools and a real node make of them: `tools/lab/written`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{
    Compression, Compressor, LateTimes, Options, SsTableWriter, Written, filter,
};
use onefold::engine::cassandra::sstable::{Descriptor, READ_BUFFER, SsTable, Version};
use onefold::error::{Kind, Result};
use onefold::run::{Record, RecordBatch};
use proptest::prelude::*;
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind, check};

use crate::cassandra_rows::{captures, merged, open};
use crate::world::{Plain, collect};

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

/// A stream of choices out of one seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    fn time(&mut self) -> i64 {
        let near = 1_790_000_000_000_000 + self.below(5) as i64;
        self.of(&[near, near, near, 5, -7, 1_400_000_000_000_000, i64::MAX, i64::MIN + 1])
    }

    fn ldt(&mut self) -> u32 {
        let near = 1_790_000_000 + self.below(100_000) as u32;
        self.of(&[near, near, near, 1_000_000_000, i32::MAX as u32 - 1, u32::MAX - 1])
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let n = if self.one_in(20) { self.below(40 * most) } else { self.below(most) };
        (0..n).map(|_| self.below(256) as u8).collect()
    }

    /// A value of a CQL type that the tables have.
    fn value(&mut self, cql_type: &str) -> Vec<u8> {
        if self.one_in(12) {
            return Vec::new();
        }
        match cql_type {
            "int" => (self.below(50) as i32 - 25).to_be_bytes().to_vec(),
            "bigint" => (self.below(50) as i64 - 25).to_be_bytes().to_vec(),
            "boolean" => vec![self.below(2) as u8],
            // Scales and signs that compare equal in different bytes.
            "decimal" => {
                [&(self.below(3) as u32).to_be_bytes()[..], &self.of(&[vec![0], vec![10], vec![0xff], vec![0, 10]])]
                    .concat()
            }
            "varint" => (self.below(700) as i16 - 350).to_be_bytes().to_vec(),
            "timeuuid" => {
                let mut id = (u128::from(self.below(1 << 30)) << 100 | u128::from(self.below(1 << 30))).to_be_bytes();
                id[6] = 0x10 | id[6] & 0xf;
                id.to_vec()
            }
            _ => self.bytes(12),
        }
    }

    /// An element of a multi-cell column and the type of its value.
    fn element(&mut self, cql_type: &str) -> (Vec<u8>, &'static str) {
        match cql_type {
            "set<int>" => ((self.below(60) as i32 - 30).to_be_bytes().to_vec(), ""),
            "set<varint>" => {
                // Of each number one form, since Cassandra would merge two.
                let n = self.below(100) as i8;
                (vec![n as u8], "")
            }
            "map<int, text>" => ((self.below(60) as i32 - 30).to_be_bytes().to_vec(), "text"),
            "map<text, blob>" => (self.bytes(4), "blob"),
            "list<bigint>" => {
                let id = self.value("timeuuid");
                (if id.is_empty() { vec![0; 16] } else { id }, "bigint")
            }
            _ => (self.of(&[vec![0, 0], vec![0, 1]]), "text"),
        }
    }

    fn cell<'e>(&mut self, column: u32, element: Option<&'e [u8]>, value: &'e [u8]) -> Entry<'e> {
        let (time, mut ldt) = (self.time(), self.ldt());
        let kind = self.of(&[EntryKind::Cell, EntryKind::Cell, EntryKind::Tombstone]);
        let ttl = if kind == EntryKind::Cell && self.one_in(3) { 1 + self.below(600_000_000) as u32 } else { 0 };
        if kind == EntryKind::Cell && ttl == 0 {
            ldt = 0;
        }
        let value = if kind == EntryKind::Cell { Some(value) } else { None };
        Entry { column, kind, element, time, ldt, ttl, value }
    }
}

fn deletion(column: u32, time: i64, ldt: u32) -> Entry<'static> {
    Entry { column, kind: EntryKind::Deletion, element: None, time, ldt, ttl: 0, value: None }
}

fn body_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    entries.iter().for_each(|e| writer.push(e));
    body
}

/// A body for a row of `table` with columns of that role. `None` where it would say nothing.
fn row_body(dice: &mut Dice, table: &Table, is_static: bool, raw: Option<&[u8]>) -> Option<Vec<u8>> {
    use onefold::engine::cassandra::schema::ColumnRole::{Regular, Static};
    let role = if is_static { Static } else { Regular };
    let mut owned: BTreeMap<(u32, u8, Vec<u8>), (Vec<u8>, bool)> = BTreeMap::new();
    let sparse = dice.of(&[1, 2, 6]);
    for column in table.columns.iter().filter(|c| c.role == role) {
        if !dice.one_in(sparse) {
            continue;
        }
        if column.cql_type.starts_with("frozen") || !column.cql_type.contains('<') && column.cql_type != "u" {
            let value = dice.value(if column.cql_type.starts_with("frozen") { "blob" } else { &column.cql_type });
            owned.insert((column.number, 2, Vec::new()), (value, false));
            continue;
        }
        if dice.one_in(3) {
            owned.insert((column.number, 0, Vec::new()), (Vec::new(), false));
        }
        for _ in 0..dice.below(9) {
            let (element, value_type) = dice.element(&column.cql_type);
            let value = if value_type.is_empty() { Vec::new() } else { dice.value(value_type) };
            owned.insert((column.number, 2, element), (value, true));
        }
    }
    let mut entries = Vec::new();
    if !is_static && dice.one_in(5) {
        entries.push(deletion(0, dice.time(), dice.ldt()));
    }
    let kind = EntryKind::Raw;
    entries.extend(raw.map(|raw| Entry { column: 0, kind, element: None, time: 0, ldt: 0, ttl: 0, value: Some(raw) }));
    if !is_static && !dice.one_in(4) {
        let live = dice.cell(0, None, &[]);
        entries.push(Entry {
            kind: EntryKind::Cell,
            value: None,
            ldt: if live.ttl == 0 { 0 } else { live.ldt },
            ..live
        });
    }
    for ((column, kind, element), (value, complex)) in &owned {
        entries.push(match kind {
            0 => deletion(*column, dice.time(), dice.ldt()),
            _ => dice.cell(*column, complex.then_some(&element[..]), value),
        });
    }
    let says = entries.iter().any(|e| e.kind != EntryKind::Raw);
    says.then(|| body_of(&entries))
}

/// Partitions of canonical records, as a merge would leave them.
fn records(seed: u64, table: &Table, partitions: u64, rows: u64) -> Vec<Plain> {
    let mut dice = Dice(seed);
    let clustering = Clustering::of(table).unwrap();
    let types: Vec<String> = clustering.columns().iter().map(|(t, _)| t.to_string()).collect();
    let (mut out, mut groups) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..partitions {
        let mut group = Vec::new();
        let group_len = comparable::put_group(&mut group, &dice.bytes(8));
        if !groups.insert(group.clone()) {
            continue;
        }
        let mut put = |suffix: &dyn Fn(&mut Vec<u8>), class, body| {
            let mut key = group.clone();
            suffix(&mut key);
            out.insert(key.clone(), Plain { key, group_len, class, body });
        };
        if dice.one_in(3) {
            let time = dice.time().max(0);
            put(&comparable::put_group_record, Class::Group, body_of(&[deletion(0, time, dice.ldt())]));
        }
        if table.columns.iter().any(|c| c.name == "s")
            && dice.one_in(2)
            && let Some(body) = row_body(&mut dice, table, true, None)
        {
            put(&comparable::put_static, Class::Static, body);
        }
        let mut open = None;
        let mut suffixes: BTreeMap<Vec<u8>, Option<Vec<Option<Vec<u8>>>>> = BTreeMap::new();
        for _ in 0..dice.below(rows) {
            let parts: Vec<_> =
                types.iter().map(|t| if dice.one_in(15) { None } else { Some(dice.value(t)) }).collect();
            let refs: Vec<_> = parts.iter().map(Option::as_deref).collect();
            let mut suffix = Vec::new();
            if dice.one_in(4) {
                let n = dice.below(refs.len() as u64 + 1) as usize;
                let after = dice.one_in(2);
                clustering.bound(&mut suffix, &refs[..n], after).unwrap();
                suffixes.insert(suffix, None);
            } else {
                clustering.row(&mut suffix, &refs).unwrap();
                suffixes.insert(suffix, Some(parts));
            }
        }
        for (suffix, parts) in suffixes {
            let append = |key: &mut Vec<u8>| key.extend_from_slice(&suffix);
            match parts {
                None => {
                    let last = suffix == comparable::end_of_rows();
                    let next = if last || dice.one_in(3) { None } else { Some((dice.time(), dice.ldt())) };
                    if next != open {
                        open = next;
                        put(&append, Class::Marker, next.map_or(Vec::new(), |(t, l)| body_of(&[deletion(0, t, l)])));
                    }
                }
                Some(parts) => {
                    let refs: Vec<_> = parts.iter().map(Option::as_deref).collect();
                    let mut raw = Vec::new();
                    if clustering.row(&mut Vec::new(), &refs).unwrap() {
                        comparable::put_raw(&mut raw, &refs);
                    }
                    let raw = Some(&raw[..]).filter(|raw| !raw.is_empty());
                    if let Some(body) = row_body(&mut dice, table, false, raw) {
                        put(&append, Class::Row, body);
                    }
                }
            }
        }
        if open.is_some() {
            put(&|key: &mut Vec<u8>| key.extend_from_slice(&comparable::end_of_rows()), Class::Marker, Vec::new());
        }
    }
    out.into_values().collect()
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
    SsTable::open(directory, &descriptor, table).unwrap()
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
    let version = if which % 3 == 0 { Version::Oa } else { Version::Nb };
    let column_index_size = if which % 5 == 0 { 16 << 10 } else { 100 };
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

#[test]
fn a_wide_partition_is_read_back_and_its_index_leads_to_its_rows() {
    let table = table(TABLE);
    let options = Options { column_index_size: 1 << 10, compression: None, ..Options::default() };
    let records = records(7, &table, 1, 20_000);
    assert!(records.len() > 10_000);
    round_trip(&table, &options, &records);
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &table, &options, &records).unwrap();
    let data = fs::read(directory.path().join("nb-1-big-Data.db")).unwrap();
    let index = fs::read(directory.path().join("nb-1-big-Index.db")).unwrap();
    let mut c = onefold::engine::cassandra::sstable::cursor::Cursor::new(&index);
    let key = c.short_bytes().unwrap();
    assert_eq!(&data[2..2 + key.len()], key);
    assert_eq!(c.vint().unwrap(), 0);
    let mut rows = onefold::engine::cassandra::sstable::cursor::Cursor::new(c.vbytes().unwrap());
    assert_eq!(c.remaining(), 0);
    let head = rows.vint().unwrap() as usize;
    rows.bytes(12).unwrap();
    let blocks = rows.length().unwrap();
    let infos = rows.bytes(rows.remaining() - 4 * blocks).unwrap();
    assert!(blocks > 100);
    // Blocks lie one behind the other from the head to the end of the partition.
    let mut at = head;
    for i in 0..blocks {
        let from = rows.u32().unwrap() as usize;
        let _ = i;
        assert!(from < infos.len());
        assert!(matches!(infos[from], 0 | 1 | 2 | 4 | 5 | 6 | 7));
    }
    assert!(data[at] & 1 == 0);
    at = data.len() - 1;
    assert_eq!(data[at], 1);
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
            for late_times in [LateTimes::Refuse, LateTimes::Cap] {
                // A partition deleted before 1970 (`client_times`) has no place in `oa`.
                let version = if name == "lab.client_times" { Version::Nb } else { options(which).version };
                round_trip(&table, &Options { late_times, version, ..options(which) }, &records);
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
