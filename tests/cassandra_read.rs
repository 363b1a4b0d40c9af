//! Reading real captures: every SSTable against what its own `Statistics.db` counted, damage, and the ring.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::capture::{self, Capture, CapturedSsTable, CapturedTable};
use onefold::engine::cassandra::comparable;
use onefold::engine::cassandra::read_schema::{Schema, read_node, read_schema};
use onefold::engine::cassandra::ring::Ring;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::chunks::CompressionInfo;
use onefold::engine::cassandra::sstable::stats::NEVER;
use onefold::engine::cassandra::sstable::{self, Component, READ_BUFFER, Revision, SsTable, fuzzing, layout};
use onefold::error::Kind;
use onefold::run::{RecordBatch, Run};
use repo_format::record::{Class, Entries, Entry, EntryKind};

/// The captured clusters that are there, and their nodes.
fn clusters() -> Vec<(PathBuf, Vec<(Capture, Schema)>)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found = Vec::new();
    for name in ["cassandra-4.1", "cassandra-5.0", "cassandra-5.0-oa"] {
        let root = fixtures.join(name);
        if !root.exists() {
            continue;
        }
        let node = |n| {
            let (capture, frozen) = capture::open(root.join(format!("node{n}")), None).unwrap();
            assert!(frozen.is_empty() && capture.taken.is_some() && !capture.unflushed);
            let schema = read_schema(&capture).unwrap().unwrap();
            (capture, schema)
        };
        found.push((root.clone(), (1..=3).map(node).collect()));
    }
    assert!(!found.is_empty());
    found
}

/// Files of versions `oa` and `da`.
fn upgraded() -> Vec<(Capture, Schema)> {
    let open = |version: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/upgraded").join(version);
        let (capture, _) = capture::open(&root, None).unwrap();
        let schema = read_schema(&capture).unwrap().unwrap();
        (capture, schema)
    };
    vec![open("oa"), open("da")]
}

/// The schema's table; that of the file's header for `system_schema` itself, which says nothing about `system`.
fn table_of(table: &CapturedTable, files: &CapturedSsTable, schema: &Schema) -> Table {
    let (statistics, _) = sstable::read_statistics(&files.folder, &files.descriptor).unwrap();
    schema.table(&table.id).cloned().unwrap_or_else(|| layout::table_of(&statistics.header).unwrap())
}

type Extremes = BTreeMap<&'static str, (i64, i64)>;

/// What Cassandra's `MetadataCollector` counts, counted over records.
#[derive(Default)]
struct Counted {
    rows: i64,
    extremes: Extremes,
    /// Raw keys of the first and the last partition.
    keys: Option<(Vec<u8>, Vec<u8>)>,
    partition_deletions: bool,
}

impl Counted {
    fn saw(&mut self, what: &'static str, value: i64) {
        let (least, most) = self.extremes.entry(what).or_insert((value, value));
        *least = value.min(*least);
        *most = value.max(*most);
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        if entry.kind == EntryKind::Raw {
            return;
        }
        self.saw("time", entry.time);
        let dated = entry.expires() || matches!(entry.kind, EntryKind::Deletion | EntryKind::Tombstone);
        self.saw("ldt", if dated { i64::from(entry.ldt) } else { NEVER });
        if entry.kind != EntryKind::Deletion {
            self.saw("ttl", i64::from(entry.ttl));
        }
    }
}

fn count(sstable: &SsTable, buffer: usize) -> Counted {
    let mut counted = Counted::default();
    let mut run = sstable.run(buffer).unwrap();
    let mut batch = RecordBatch::new();
    let mut last = Vec::new();
    while run.next_batch(&mut batch).unwrap() {
        for record in batch.iter() {
            assert!(last.as_slice() < record.key, "keys ascend strictly");
            last = record.key.to_vec();
            assert_eq!(repo_format::record::check(record.body).unwrap(), record.traits);
            let key = comparable::split(record.key).unwrap().partition_key;
            counted.keys = Some((counted.keys.map_or_else(|| key.clone(), |keys| keys.0), key));
            counted.partition_deletions |= record.class == Class::Group;
            counted.rows += i64::from(matches!(record.class, Class::Row | Class::Static));
            Entries::new(record.body).for_each(|entry| counted.entry(&entry.unwrap()));
        }
    }
    counted
}

#[test]
fn every_sstable_holds_what_its_statistics_counted() {
    let (mut files_read, mut rows) = (0, 0);
    let captured = clusters().into_iter().map(|(_, nodes)| nodes);
    for nodes in captured.chain([upgraded()]) {
        for (capture, schema) in &nodes {
            for table in &capture.tables {
                for files in &table.sstables {
                    let described = table_of(table, files, schema);
                    let sstable = SsTable::open(&files.folder, &files.descriptor, &described).unwrap();
                    let counted = count(&sstable, READ_BUFFER);
                    let stats = &sstable.statistics().stats;
                    let of = |what| counted.extremes.get(what).copied();
                    let name = sstable.data().to_string();
                    assert_eq!(counted.rows, stats.rows, "rows of {name}");
                    assert_eq!(of("time"), Some(stats.times), "times of {name}");
                    let wide = |(least, most): (i32, i32)| Some((i64::from(least), i64::from(most)));
                    assert_eq!(of("ldt"), Some(stats.ldts), "local deletion times of {name}");
                    assert_eq!(of("ttl").unwrap_or((0, 0)), wide(stats.ttls).unwrap(), "ttls of {name}");
                    if let Some(more) = &stats.more {
                        assert_eq!(counted.keys.as_ref(), Some(&more.keys), "keys of {name}");
                        assert_eq!(counted.partition_deletions, more.partition_deletions, "deletions of {name}");
                        assert!(more.coverage.is_nan() || (0.0..=1.0).contains(&more.coverage), "{}", more.coverage);
                    }
                    assert_eq!(count(&sstable, 1).extremes, counted.extremes);
                    files_read += 1;
                    rows += counted.rows;
                }
            }
        }
    }
    assert!(files_read > 200 && rows > 1000, "{files_read} files, {rows} rows");
}

#[test]
fn nodes_agree_on_schema_and_ring() {
    for (root, nodes) in clusters() {
        let text = fs::read_to_string(root.join("ring.txt")).unwrap();
        let ring = Ring::parse(&text, "ring.txt").unwrap();
        assert_eq!(ring.members().len(), 3);
        for (capture, schema) in &nodes {
            let without_cql = |schema: &Schema| {
                let mut schema = schema.clone();
                schema.tables.iter_mut().for_each(|table| table.cql.clear());
                schema.tables.retain(|table| table.keyspace == "lab");
                schema
            };
            assert_eq!(without_cql(schema), without_cql(&nodes[0].1));
            let node = read_node(capture).unwrap().unwrap();
            let known = Ring::of(&node).unwrap();
            for (known, member) in known.members().iter().zip(ring.members()) {
                assert_eq!((&known.address, &known.rack), (&member.address, &member.rack));
                assert_eq!(known.tokens, member.tokens);
            }
            let this = node.this.address.unwrap().to_string();
            let host_id = node.this.host_id.unwrap();
            assert_eq!(ring.find(&this), known.find(&host_id));
            assert!(ring.find(&this).is_some());
            let lab = schema.keyspace("lab").unwrap();
            assert!(ring.placement(&lab.replication).unwrap().is_everywhere());
            assert!(schema.tables.iter().any(|table| table.view) && schema.tables.iter().any(|table| table.counter));
            let dropped = schema.tables.iter().find(|table| table.name == "dropped").unwrap();
            let gone: Vec<_> = dropped.columns.iter().filter(|c| c.gone).map(|c| c.name.as_str()).collect();
            assert_eq!(gone, ["gone", "gone_map", "gone_static"]);
            assert!(dropped.columns.iter().any(|c| c.name == "again" && !c.gone && c.dropped_at.is_some()));
        }
    }
}

#[test]
fn without_system_schema_the_cql_files_tell() {
    for (_, nodes) in clusters() {
        for (capture, schema) in nodes {
            let mut bare = capture.clone();
            bare.tables.retain(|table| table.keyspace == "lab");
            let told = read_schema(&bare).unwrap().unwrap();
            let known: Vec<_> = schema.tables.iter().filter(|table| table.keyspace == "lab").collect();
            assert_eq!(told.tables.len(), known.len());
            for (told, known) in told.tables.iter().zip(known) {
                let mut told = told.clone();
                for (told, known) in told.columns.iter_mut().zip(&known.columns) {
                    told.dropped_at = known.dropped_at; // of a column added again only the last drop is there
                }
                assert!(known.view || told.columns == known.columns, "{}.{}", known.keyspace, known.name);
                assert_eq!((&told.id, told.view, told.counter), (&known.id, known.view, known.counter));
                for t in &told.types {
                    assert!(known.types.contains(t), "{} of {}", t.name, known.name);
                }
            }
            bare.tables.iter_mut().for_each(|table| table.schema_cql = None);
            assert_eq!(read_schema(&bare).unwrap(), None);
        }
    }
}

/// A small copy of one SSTable, to be damaged.
fn copy(files: &CapturedSsTable) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (_, file) in &files.files {
        fs::copy(file.place.path(), folder.path().join(file.place.file_name())).unwrap();
    }
    folder
}

fn records(folder: &Path, files: &CapturedSsTable, table: &Table) -> onefold::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut run = SsTable::open(&folder.into(), &files.descriptor, table)?.run(READ_BUFFER)?;
    let mut batch = RecordBatch::new();
    let mut found = Vec::new();
    while run.next_batch(&mut batch)? {
        found.extend(batch.iter().map(|r| (r.key.to_vec(), r.body.to_vec())));
    }
    Ok(found)
}

/// Some tables whose files differ in compressor and shape, first node.
fn samples(names: &[&str]) -> Vec<(CapturedSsTable, Table)> {
    let (_, nodes) = clusters().swap_remove(0);
    let (capture, schema) = &nodes[0];
    let wanted = capture.tables.iter().filter(|table| table.keyspace == "lab" && names.contains(&table.name.as_str()));
    let sample = |table: &CapturedTable| {
        let files = table.sstables.iter().min_by_key(|files| files.bytes()).unwrap();
        (files.clone(), table_of(table, files, schema))
    };
    wanted.map(sample).collect()
}

#[test]
fn any_damaged_byte_is_found_or_harmless() {
    for (files, described) in samples(&["deletions", "zstd", "snappy", "deflate_lcs", "plain_twcs"]) {
        let folder = copy(&files);
        let sound = records(folder.path(), &files, &described).unwrap();
        let parts = [Component::Data, Component::CompressionInfo, Component::Crc, Component::Statistics];
        for (component, file) in files.files.iter().filter(|(component, _)| parts.contains(component)) {
            let path = folder.path().join(file.place.file_name());
            let bytes = fs::read(&path).unwrap();
            let step = (bytes.len() / 150).max(1);
            for at in (0..bytes.len()).step_by(step) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                fs::write(&path, &damaged).unwrap();
                match records(folder.path(), &files, &described) {
                    Ok(read) => assert!(read == sound && *component != Component::Data, "{component:?} byte {at}"),
                    Err(error) => assert!(error.subject().contains("nb-"), "{error}"),
                }
                fs::write(&path, &bytes[..at]).unwrap();
                let error = records(folder.path(), &files, &described).unwrap_err();
                assert!(error.subject().contains("nb-"), "{error}");
            }
            fs::remove_file(&path).unwrap();
            match (component, records(folder.path(), &files, &described)) {
                // Cassandra reads without it, and the digest is there.
                (Component::Crc, read) => assert_eq!(read.unwrap(), sound),
                (_, read) => assert!(read.is_err(), "{component:?}"),
            }
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(records(folder.path(), &files, &described).unwrap(), sound);
    }
}

/// `Statistics.db` of version `nb` as an older version has it: components without checksums, and of the statistics what
/// that version did not know left out.
fn older(nb: &[u8], version: &str) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(nb[at..at + 4].try_into().unwrap()) as usize;
    let has_origin = sstable::stats::parse(nb, Revision::Nb).unwrap().stats.origin.is_some();
    let mut parts = Vec::new();
    for i in 0..number(0) {
        let end = if i + 1 < number(0) { number(8 + 8 * (i + 1) + 4) } else { nb.len() };
        parts.push((number(8 + 8 * i), nb[number(8 + 8 * i + 4)..end - 4].to_vec()));
    }
    let (_, stats) = parts.iter_mut().find(|(kind, _)| *kind == 2).unwrap();
    let origin = stats.split_off(stats.len() - if has_origin { 17 } else { 1 });
    let repair = stats.split_off(stats.len() - 2);
    assert_eq!(repair, [0, 0], "neither pending nor transient");
    let intervals = |n: usize| stats[stats.len() - 4 - 24 * n..][..4] == (n as u32).to_be_bytes();
    let n = (0..9).find(|n| intervals(*n)).unwrap();
    match version {
        "na" => stats.extend(repair),
        "me" => stats.extend(origin),
        "mb" | "ma" => stats.truncate(stats.len() - 4 - 24 * n - if version == "ma" { 12 } else { 0 }),
        _ => {}
    }
    let mut out = (parts.len() as u32).to_be_bytes().to_vec();
    let sums = if version == "na" { 4 } else { 0 };
    let crc = |out: &mut Vec<u8>, of: &[u8]| out.extend(crc32fast::hash(of).to_be_bytes().iter().take(sums));
    let count = out.clone();
    crc(&mut out, &count);
    let mut list = Vec::new();
    let mut at = 4 + 8 * parts.len() + 2 * sums;
    for (kind, bytes) in &parts {
        list.extend([(*kind as u32).to_be_bytes(), (at as u32).to_be_bytes()].concat());
        at += bytes.len() + sums;
    }
    out.extend(&list);
    crc(&mut out, &[count, list].concat());
    for (_, bytes) in &parts {
        out.extend(bytes);
        crc(&mut out, bytes);
    }
    out
}

#[test]
fn a_header_may_end_with_zeros() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/sstable_statistics/oa_padded_header");
    let statistics = sstable::stats::parse(&fs::read(file).unwrap(), Revision::Oa).unwrap();
    assert_eq!((statistics.header.min_ldt, statistics.header.regulars.len()), (2_425_990_347, 3));
    assert_eq!(statistics.stats.ldts, (1_795_270_367, NEVER), "less than the header's smallest: differences wrap");
}

#[test]
fn older_versions_differ_in_their_headers_only() {
    for (files, described) in samples(&["deletions", "zstd", "plain_twcs", "types_all", "counters"]) {
        let sound = records(files.folder.path(), &files, &described).unwrap();
        let nb = |component| fs::read(files.folder.join(files.descriptor.file(component)).path());
        for version in ["ma", "mb", "mc", "md", "me", "na"] {
            let folder = tempfile::tempdir().unwrap();
            let mut renamed = files.clone();
            renamed.descriptor.version = version.to_string();
            let put = |component, bytes: &[u8]| {
                fs::write(folder.path().join(renamed.descriptor.file(component)), bytes).unwrap();
            };
            put(Component::Data, &nb(Component::Data).unwrap());
            put(Component::Statistics, &older(&nb(Component::Statistics).unwrap(), version));
            nb(Component::Crc).into_iter().for_each(|bytes| put(Component::Crc, &bytes));
            if let Ok(mut info) = nb(Component::CompressionInfo) {
                let head = CompressionInfo::parse(&info, Revision::Nb).unwrap();
                assert_eq!(head.packed_max, i32::MAX as usize, "every chunk is packed");
                if version != "na" {
                    info.drain(head.head_length - 16..head.head_length - 12);
                }
                put(Component::CompressionInfo, &info);
            }
            assert_eq!(records(folder.path(), &renamed, &described).unwrap(), sound, "{version}");
            let (read, _) = sstable::read_statistics(&folder.path().into(), &renamed.descriptor).unwrap();
            let (whole, _) = sstable::read_statistics(&files.folder, &files.descriptor).unwrap();
            assert_eq!((read.stats.rows, read.stats.times), (whole.stats.rows, whole.stats.times));
            assert_eq!(read.stats.origin, whole.stats.origin.filter(|_| version == "me"));
        }
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let (files, described) = samples(&["deletions"]).swap_remove(0);
    let folder = copy(&files);
    let info = folder.path().join(files.descriptor.file(Component::CompressionInfo));
    let bytes = fs::read(&info).unwrap();
    let at = bytes.windows(3).position(|three| three == b"LZ4").unwrap();
    let mut other = bytes.clone();
    other[at..at + 3].copy_from_slice(b"XY9");
    fs::write(&info, &other).unwrap();
    let error = records(folder.path(), &files, &described).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.message().contains("XY9Compressor"), "{error}");
    let mut other = files.descriptor.clone();
    other.version = "zz".to_string();
    let error = SsTable::open(&folder.path().into(), &other, &described).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.message().contains("zz"), "{error}");
    let mut fewer = described.clone();
    fewer.columns.retain(|c| c.name != "v");
    let error = SsTable::open(&folder.path().into(), &files.descriptor, &fewer).unwrap_err();
    assert!(error.kind() == Kind::Unsupported && error.message().contains("column v"), "{error}");
}

#[test]
fn mutated_rows_never_panic_and_stay_canonical() {
    let names = ["users", "orders", "types_all", "counters", "collections", "statics", "mixed", "deletions", "ranges"];
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below.max(1)
    };
    for (files, described) in samples(&names) {
        let sstable = SsTable::open(&files.folder, &files.descriptor, &described).unwrap();
        let mut plain = fuzzing::plain(&sstable).unwrap();
        assert!(fuzzing::data_like(&sstable, &plain).unwrap() > 0);
        plain.truncate(20_000);
        for _ in 0..300 {
            let mut mutated = plain.clone();
            for _ in 0..=next(4) {
                let at = next(mutated.len());
                match next(4) {
                    0 => mutated[at] = next(256) as u8,
                    1 => mutated[at] ^= 1 << next(8),
                    2 => drop(mutated.splice(at..at, [next(256) as u8, 0xff])),
                    _ => drop(mutated.drain(at..(at + next(8)).min(mutated.len()))),
                }
            }
            let _ = fuzzing::data_like(&sstable, &mutated);
        }
        let statistics = fs::read(files.folder.join(files.descriptor.file(Component::Statistics)).path()).unwrap();
        for _ in 0..300 {
            let mut mutated = statistics.clone();
            let at = next(mutated.len());
            mutated[at] = next(256) as u8;
            fuzzing::statistics(&mutated);
            fuzzing::data(&mutated);
            fuzzing::compression_info(&mutated);
            fuzzing::chunk(&mutated);
        }
    }
}
