use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use repo_format::murmur3;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};

use super::cut::newest;
use super::files::{FileSink, Files, Finished, OPEN_MAX, Place, Progress};
use super::parts::token;
use super::ring::{Replication, parse_replication};
use super::windows::WINDOWS_MAX;
use super::*;
use crate::engine::cassandra::comparable;
use crate::engine::cassandra::ring::{Ring, TokenRange};
use crate::engine::cassandra::source::CassandraRule;
use crate::error::{Kind, Result};
use crate::merge::Merge;
use crate::run::{Record, RecordBatch, Run};

fn options(pairs: &[(&str, &str)]) -> Replication {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn simple(count: &str) -> Replication {
    options(&[("class", "SimpleStrategy"), ("replication_factor", count)])
}

fn fixture(version: &str, file: &str) -> String {
    let path = format!("{}/tests/fixtures/cassandra-{version}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn three_forms_of_one_ring_place_alike() {
    for version in ["4.1", "5.0"] {
        let ring = TargetRing::parse(&fixture(version, "ring.txt"), "ring.txt").unwrap();
        let listed = TargetRing::parse(&fixture(version, "describering.txt"), "describering.txt").unwrap();
        assert!(listed.is_of_one_keyspace() && !ring.is_of_one_keyspace());
        let json = serde_json::json!({ "members": ring.members() }).to_string();
        let json = TargetRing::parse(&json, "ring.json").unwrap();
        assert_eq!(json, ring);
        let center = options(&[("class", "org.apache.cassandra.locator.NetworkTopologyStrategy"), ("dc1", "3")]);
        let names = |ring: &TargetRing| -> Vec<(TokenRange, Vec<String>)> {
            let placed = ring.place("lab", &center).unwrap();
            let name = |n: &usize| ring.members()[*n].address.clone();
            placed.iter().map(|(range, nodes)| (*range, nodes.iter().map(name).collect())).collect()
        };
        assert_eq!(names(&ring), names(&listed), "{version}");
        assert_eq!(names(&ring).len(), 49);
    }
}

#[test]
fn ports_wraps_and_odd_racks_of_describering() {
    let text = "Schema Version:1\nTokenRange: \n\
        \tTokenRange(start_token:5, end_token:-5, endpoints:[[fd00::1]:7000], rpc_endpoints:[[fd00::1]:9042], \
        endpoint_details:[EndpointDetails(host:[fd00::1]:7000, datacenter:d c, rack:a (1))])\n\
        \tTokenRange(start_token:-5, end_token:5, endpoints:[[fd00::1]:7000, b], rpc_endpoints:[x, y], \
        endpoint_details:[EndpointDetails(host:[fd00::1]:7000, datacenter:d c, rack:a (1)), EndpointDetails(host:b)])\n";
    let ring = TargetRing::parse(text, "d").unwrap();
    let seen: Vec<_> = ring.members().iter().map(|m| (m.address.as_str(), m.data_center.as_str())).collect();
    assert_eq!(seen, [("[fd00::1]:7000", "d c"), ("b", "")]);
    // Three of four ranges have one replica where two are wanted.
    let error = ring.place("ks", &simple("2")).unwrap_err();
    assert!(error.message().contains("has 1 replicas, but the replication says 2"), "{error}");
    let alone = text.replace("endpoints:[[fd00::1]:7000, b]", "endpoints:[[fd00::1]:7000]");
    let placed = TargetRing::parse(&alone, "d").unwrap().place("ks", &simple("1")).unwrap();
    assert_eq!(placed.len(), 3);
}

fn refused(text: &str, words: &str) {
    let error = TargetRing::parse(text, "ring.txt").unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Usage, "ring.txt"));
    assert!(error.message().contains(words) && error.advice().is_some(), "{error}");
}

#[test]
fn rings_that_cannot_be_used_are_named() {
    let whole = fixture("5.0", "describering.txt");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |at: usize| lines.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, l)| *l).collect::<Vec<_>>();
    for (at, line) in lines.iter().enumerate().skip(2) {
        refused(&without(at).join("\n"), "are not in the ring");
        refused(&format!("{whole}\n{line}"), "stand there twice");
    }
    let nobody = whole.replacen("endpoints:[127.0.0.2, 127.0.0.1, 127.0.0.3]", "endpoints:[]", 1);
    refused(&nobody, "have no replica");
    refused(&whole.replacen("endpoints:[127.0.0.2,", "endpoints:[127.0.0.9,", 1), "no details of 127.0.0.9");
    refused(&whole.replacen("end_token:", "end:", 1), "not understood");
    refused("", "no node with a token");
    refused("{\"members\": []}", "no node with a token");
    refused("{\"nodes\": []}", "no ring in JSON");
    refused(" [{\"address\": \"a\"}]", "is a list in JSON, not an object");
    let member = |address: &str, tokens: &str| {
        format!("{{\"address\": \"{address}\", \"data_center\": \"d\", \"rack\": \"r\", \"tokens\": [{tokens}]}}")
    };
    let json = |members: &[String]| format!("{{\"members\": [{}]}}", members.join(", "));
    refused(&json(&[member("a", "1"), member("b", "1")]), "token 1 stands there twice");
    refused(&json(&[member("a", "1"), member("a", "2")]), "node a stands there twice");
    refused(&json(&[member("a", "")]), "node a has no token");
    let ring = fixture("5.0", "ring.txt");
    refused(&ring.replacen("Normal", "Joining", 1), "joining");
    let twice = ring.lines().find(|l| l.starts_with("127.0.0.1")).unwrap();
    refused(&format!("{ring}\n{}", twice.replace("127.0.0.1", "127.0.0.9")), "stands there twice");
}

#[test]
fn replications_that_do_not_fit_are_named() {
    let ring = TargetRing::parse(&fixture("5.0", "ring.txt"), "ring.txt").unwrap();
    let listed = TargetRing::parse(&fixture("5.0", "describering.txt"), "ring.txt").unwrap();
    for ring in [&ring, &listed] {
        for (replication, words) in [
            (
                options(&[("class", "NetworkTopologyStrategy"), ("dc9", "3")]),
                "data center dc9, which the ring lacks; it has dc1",
            ),
            (options(&[("class", "NetworkTopologyStrategy"), ("dc1", "3/1")]), "transient"),
            (options(&[("class", "LocalStrategy")]), "LocalStrategy"),
            (options(&[("class", "com.example.Mine")]), "not known"),
            (simple("x"), "no number of replicas"),
        ] {
            let error = ring.place("ks", &replication).unwrap_err();
            assert!(error.to_string().contains(words) && error.to_string().contains("keyspace ks"), "{error}");
            assert!(error.advice().unwrap().contains("--replication"), "{error}");
        }
    }
    let nobody = options(&[("class", "NetworkTopologyStrategy"), ("dc1", "0")]);
    assert!(ring.place("ks", &nobody).unwrap_err().message().contains("have no replica"));
    let all = options(&[("class", "NetworkTopologyStrategy"), ("replication_factor", "2")]);
    assert!(ring.place("ks", &all).unwrap().iter().all(|(_, nodes)| nodes.len() == 2));
    assert_eq!(ring.spelled_out(&all), options(&[("class", "NetworkTopologyStrategy"), ("dc1", "2")]));
}

#[test]
fn replication_as_in_cql() {
    let parsed = parse_replication("{'class': 'SimpleStrategy', 'replication_factor': 3}").unwrap();
    assert_eq!(parsed, simple("3"));
    for text in
        ["", "{}", "{'class'}", "{'class': 'a'", "{'class': 'a'} x", "{'dc1': '3'}", "{class: 'a'}", "{'class': 'a',}"]
    {
        assert_eq!(parse_replication(text).unwrap_err().kind(), Kind::Usage, "{text}");
    }
}

#[test]
fn cuts_follow_the_compaction() {
    let cut = |pairs: &[(&str, &str)]| Cut::parse(&options(pairs));
    assert_eq!(cut(&[]).unwrap(), Cut::Size);
    assert_eq!(cut(&[("class", "org.apache.cassandra.db.compaction.UnifiedCompactionStrategy")]).unwrap(), Cut::Size);
    let windows = cut(&[("class", "TimeWindowCompactionStrategy"), ("compaction_window_unit", "HOURS")]).unwrap();
    assert_eq!(windows, Cut::Windows { seconds: 3600, resolution: 1_000_000 });
    assert_eq!(windows.window(7_199_999_999), 3600);
    assert_eq!(windows.window(7_200_000_000), 7200);
    // As Cassandra divides: towards zero.
    assert_eq!((windows.window(-1), windows.window(-3_600_000_000)), (0, -3600));
    let days = [
        ("class", "TimeWindowCompactionStrategy"),
        ("timestamp_resolution", "MILLISECONDS"),
        ("compaction_window_size", "2"),
    ];
    assert_eq!(cut(&days).unwrap(), Cut::Windows { seconds: 172_800, resolution: 1000 });
    let levels = cut(&[("class", "LeveledCompactionStrategy"), ("sstable_size_in_mb", "1")]).unwrap();
    assert_eq!(levels, Cut::Levels { size: 1 << 20, fanout: 10 });
    let mb = |n: u64| n << 20;
    assert_eq!(
        [mb(1), mb(2), mb(10), mb(11), mb(100), mb(101)].map(|bytes| levels.level(bytes, 1)),
        [0, 1, 1, 2, 2, 3]
    );
    // 50 stretches of 40 KB are no files.
    assert_eq!(levels.level(mb(2), 50), 0);
    assert_eq!(Cut::Size.level(u64::MAX, 1), 0);
    for (name, value) in
        [("compaction_window_unit", "WEEKS"), ("compaction_window_size", "0"), ("timestamp_resolution", "")]
    {
        let error = cut(&[("class", "TimeWindowCompactionStrategy"), (name, value)]).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.message().contains(name), "{error}");
    }
}

fn size(records: u64, bytes: u64) -> Size {
    Size { records, bytes }
}

fn placed(ring: &TargetRing, replication: &Replication) -> Arc<Placed> {
    Arc::new(Placed::of(ring.place("ks", replication).unwrap()))
}

#[test]
fn parts_and_levels_of_a_plan() {
    let ring = TargetRing::parse(&fixture("5.0", "ring.txt"), "ring.txt").unwrap();
    let count = |placed: &Arc<Placed>, by| Parts::new(placed, by).count();
    let all = placed(&ring, &simple("3"));
    assert_eq!([By::Sets, By::Stretches, By::Nodes].map(|by| count(&all, by)), [1, 1, 3]);
    let two = placed(&ring, &simple("2"));
    let shares: f64 = two.lots().iter().map(|lot| lot.share).sum();
    assert!((shares - 2.0).abs() < 1e-9);
    assert!(two.lots().iter().all(|lot| lot.sets == 2 && lot.stretches > 10));
    assert_eq!((count(&two, By::Sets), count(&two, By::Nodes)), (3, 3));
    let stretches = Parts::new(&two, By::Stretches);
    assert!((1..stretches.count()).all(|part| stretches.last(part - 1) < stretches.last(part)));
    let (mut here, mut nodes) = (Vec::new(), Vec::new());
    for token in [i64::MIN + 1, 0, i64::MAX] {
        let holders = [By::Sets, By::Stretches, By::Nodes].map(|by| {
            let parts = Parts::new(&two, by);
            parts.of(token, &mut here);
            nodes = here.iter().flat_map(|part| parts.nodes(*part)).collect();
            assert!(here.iter().all(|part| parts.last(*part) >= token));
            nodes.clone()
        });
        assert!(holders[0].len() == 2 && holders[0] == holders[1] && holders[1] == holders[2]);
    }
    let levels = Cut::Levels { size: 1 << 20, fanout: 10 };
    let small = Plan::for_nodes(&two, levels, size(1 << 20, 1 << 20));
    assert_eq!((small.level, small.parts.count()), (0, 3));
    let large = Plan::for_nodes(&two, levels, size(1 << 20, 1 << 30));
    assert_eq!((large.level, large.parts.count()), (3, stretches.count()));
    assert_eq!(Plan::for_nodes(&all, levels, size(1 << 20, 5 << 20)).level, 1);
}

/// `tokens` tokens for each of `count` nodes in three racks of every data center.
fn racks(count: usize, centers: usize, tokens: usize) -> TargetRing {
    let member = |n: usize| {
        let token = |i: usize| murmur3::token(&((n * tokens + i) as u64).to_be_bytes());
        serde_json::json!({
            "address": format!("n{n}"), "data_center": format!("dc{}", n % centers), "rack": format!("r{}", n / centers % 3),
            "tokens": (0..tokens).map(token).collect::<Vec<_>>(),
        })
    };
    let members: Vec<_> = (0..count).map(member).collect();
    TargetRing::parse(&serde_json::json!({ "members": members }).to_string(), "ring").unwrap()
}

#[test]
fn files_are_few_whatever_the_ring() {
    let three = options(&[("class", "NetworkTopologyStrategy"), ("dc0", "3")]);
    let windows = Cut::Windows { seconds: 86_400, resolution: 1_000_000 };
    let (mb, gb) = (1 << 20, 1 << 30);
    // Nodes, cut, bytes; kind of parts.
    for (count, cut, bytes, by) in [
        (15, Cut::Size, 12 * mb, By::Nodes),
        (15, Cut::Size, 10 * gb, By::Sets),
        (30, Cut::Size, 10 * gb, By::Nodes),
        // Large enough that a stretch is no crumb: less is written.
        (30, Cut::Size, 1000 * gb, By::Stretches),
        (7, windows, gb, By::Sets),
        (30, windows, 100 * gb, By::Nodes),
        (7, windows, 10 * mb, By::Nodes),
        (3, windows, 10 * gb, By::Sets),
    ] {
        let plan = Plan::for_nodes(&placed(&racks(count, 1, 256), &three), cut, size(bytes / 100, bytes));
        assert_eq!(plan.parts.by(), by, "{count} nodes, {cut:?}, {bytes}: {} files", plan.files());
        let stretch = bytes / 256 / count as u64;
        let most = plan.of_nodes().map(|node| node.files).max().unwrap();
        let windows = if cut == Cut::Size { 1 } else { 30 };
        assert!(most <= 50 * windows || stretch >= 64 * mb * windows, "{count} nodes, {cut:?}, {bytes}: {most} files");
        assert!(plan.of_nodes().all(|node| node.bytes >= bytes / count as u64));
    }
    // Hardly any rows come to hardly any files.
    let few = Plan::for_nodes(&placed(&racks(30, 1, 256), &three), Cut::Size, size(5, 1000));
    assert!(few.files() <= 15, "{}", few.files());
}

/// What a plan takes grows with the tokens alone: the holders of a range are kept once for every set of them.
#[test]
fn a_thousand_nodes_are_placed_once() {
    let ring = racks(1000, 2, 256);
    let both = options(&[("class", "NetworkTopologyStrategy"), ("dc0", "3"), ("dc1", "3")]);
    let placed = placed(&ring, &both);
    let plans: Vec<Plan> = (0..1000).map(|n| Plan::for_nodes(&placed, Cut::Size, size(n, n << 20))).collect();
    assert_eq!(Arc::strong_count(&placed), 1001);
    assert!(plans.iter().all(|plan| plan.of_nodes().count() == 1000));
    assert!(Parts::new(&placed, By::Stretches).count() <= 256_001);
}

// What was written, in memory.

#[derive(Default)]
struct Memory {
    files: std::rc::Rc<std::cell::RefCell<Vec<Written>>>,
    open: std::rc::Rc<std::cell::Cell<usize>>,
    most_open: usize,
}

struct Written {
    place: Place,
    batch: RecordBatch,
    bytes: u64,
    whole: bool,
}

struct Sink {
    files: std::rc::Rc<std::cell::RefCell<Vec<Written>>>,
    open: std::rc::Rc<std::cell::Cell<usize>>,
    at: usize,
}

impl Files for Memory {
    fn create(&mut self, place: &Place) -> Result<Box<dyn FileSink>> {
        self.open.set(self.open.get() + 1);
        self.most_open = self.most_open.max(self.open.get());
        let mut files = self.files.borrow_mut();
        files.push(Written { place: *place, batch: RecordBatch::new(), bytes: 0, whole: false });
        Ok(Box::new(Sink { files: self.files.clone(), open: self.open.clone(), at: files.len() - 1 }))
    }

    fn finished(&mut self, place: &Place, _file: Finished) -> Result<()> {
        let mut files = self.files.borrow_mut();
        let file = files.iter_mut().find(|f| f.place == *place).unwrap();
        file.whole = true;
        Ok(())
    }
}

impl FileSink for Sink {
    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        let file = &mut self.files.borrow_mut()[self.at];
        let last = file.batch.len().checked_sub(1);
        assert!(last.is_none_or(|last| file.batch.get(last).key < record.key), "keys ascend");
        file.batch.push(record);
        // As if every record took a megabyte.
        file.bytes += 1 << 20;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.files.borrow()[self.at].bytes
    }

    fn finish(self: Box<Self>) -> Result<Finished> {
        self.open.set(self.open.get() - 1);
        Ok(Finished::default())
    }
}

/// Writes all records, in as many passes as it takes.
fn write(parts: &Parts, cut: Cut, all: &RecordBatch) -> (Vec<Written>, usize) {
    let mut memory = Memory::default();
    let mut before = Some(Progress::default());
    let mut passes = 0;
    while let Some(progress) = before {
        let mut writing = Writing::new(parts, cut, progress, &mut memory);
        all.iter().for_each(|record| writing.push(&record).unwrap());
        before = writing.finish().unwrap();
        passes += 1;
    }
    assert!(memory.most_open <= OPEN_MAX && memory.open.get() == 0);
    let files = memory.files.take();
    assert!(files.iter().all(|f| f.whole && !f.batch.is_empty()));
    let numbers: Vec<u64> = files.iter().map(|f| f.place.number).collect();
    assert!(numbers.iter().copied().eq(0..files.len() as u64), "{numbers:?}");
    (files, passes)
}

struct Batch(Option<RecordBatch>);

impl Run for Batch {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        if let Some(batch) = self.0.take() {
            batch.iter().for_each(|r| out.push(&r));
        }
        Ok(!out.is_empty())
    }
}

type Plain = Vec<(Vec<u8>, Vec<u8>)>;

/// What a node that holds these files reads.
fn merged(files: &[&Written]) -> Plain {
    let rule = CassandraRule { counter: false };
    let copy = |f: &&Written| {
        let mut batch = RecordBatch::new();
        f.batch.iter().for_each(|r| batch.push(&r));
        Box::new(Batch(Some(batch))) as Box<dyn Run>
    };
    let mut merge = Merge::of(files.iter().map(copy).collect(), &rule);
    let (mut batch, mut plain) = (RecordBatch::new(), Plain::new());
    while merge.next_batch(&mut batch).unwrap() {
        plain.extend(batch.iter().map(|r| (r.key.to_vec(), r.body.to_vec())));
    }
    plain
}

/// Partitions in order of their tokens, each with what `rows` says: a number of rows and where range deletions begin.
fn records(partitions: &[(u32, u8, i64)]) -> RecordBatch {
    let mut groups: BTreeMap<Vec<u8>, (u8, i64)> = BTreeMap::new();
    for (id, rows, time) in partitions {
        let mut key = Vec::new();
        comparable::put_group(&mut key, &id.to_be_bytes());
        groups.insert(key, (*rows, *time));
    }
    let mut batch = RecordBatch::new();
    for (group, (rows, time)) in groups {
        partition(&mut batch, &group, rows, time);
    }
    batch
}

fn add(batch: &mut RecordBatch, group: &[u8], suffix: &[u8], class: Class, entries: &[Entry<'_>]) {
    let key = [group, suffix].concat();
    batch
        .push_with(&key, group.len(), class, |out| {
            let mut writer = BodyWriter::new(out);
            entries.iter().for_each(|e| writer.push(e));
            Ok::<Traits, std::convert::Infallible>(writer.traits())
        })
        .unwrap();
}

fn entry(column: u32, kind: EntryKind, time: i64) -> Entry<'static> {
    let value = (kind == EntryKind::Cell && column > 0).then_some(&b"value"[..]);
    let ldt = if kind == EntryKind::Cell { 0 } else { 7 };
    Entry { column, kind, element: None, time, ldt, ttl: 0, value }
}

/// The bits of `rows`: a deletion of the partition, a static row, range deletions; the rest counts rows.
fn partition(batch: &mut RecordBatch, group: &[u8], rows: u8, time: i64) {
    let base = time - 50_000_000;
    if rows & 0x80 != 0 {
        add(batch, group, &[0], Class::Group, &[entry(0, EntryKind::Deletion, base)]);
    }
    if rows & 0x40 != 0 {
        add(batch, group, &[1], Class::Static, &[entry(2, EntryKind::Cell, time + 1)]);
    }
    let ranges = rows & 0x20 != 0;
    let mut open = false;
    for row in 0..rows & 0x1f {
        let clustering = [&[2, 0x40][..], &i32::from(row).to_be_bytes()].concat();
        if ranges && row % 3 == 0 {
            // Each deletes up to where the next one begins, every fourth range is not deleted.
            let bound = [&clustering[..], &[0x20]].concat();
            let deletes = row % 4 != 3;
            let at = base + 1 + i64::from(row) * 700_000;
            let body = [entry(0, EntryKind::Deletion, at)];
            if deletes || open {
                add(batch, group, &bound, Class::Marker, if deletes { &body } else { &[] });
            }
            open = deletes;
        }
        let live = [entry(0, EntryKind::Cell, time), entry(1, EntryKind::Cell, time + i64::from(row) * 1_000_000)];
        add(batch, group, &[&clustering[..], &[0x38]].concat(), Class::Row, &live);
    }
    if open {
        add(batch, group, &[2, 0x60], Class::Marker, &[]);
    }
}

fn plain(batch: &RecordBatch) -> Plain {
    batch.iter().map(|r| (r.key.to_vec(), r.body.to_vec())).collect()
}

#[test]
fn the_records_of_these_tests_are_in_normal_form() {
    let all = records(&[(1, 0xff, 1_000_000_000), (2, 0x3f, 1_000_000_000), (3, 0x05, 0)]);
    let mut copy = RecordBatch::new();
    all.iter().for_each(|r| copy.push(&r));
    let place = Place { part: 0, window: 0, number: 1 };
    assert_eq!(merged(&[&Written { place, batch: copy, bytes: 0, whole: true }]), plain(&all));
}

fn nodes(count: usize, centers: usize, tokens: &[i64]) -> TargetRing {
    let mut text = String::new();
    for center in 0..centers {
        text += &format!("\nDatacenter: dc{center}\n==========\n");
        for (i, token) in tokens.iter().enumerate().filter(|(i, _)| i % count % centers == center) {
            text += &format!("10.0.0.{}  r{}  Up  Normal  1 KiB  ?  {token}\n", i % count, i % count / 2);
        }
    }
    TargetRing::of(&Ring::parse(&text, "test").unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Each node reads exactly the records that its ranges hold, whatever ring, replication and cut.
    #[test]
    fn every_node_gets_exactly_its_own(
        count in 1_usize..6,
        centers in 1_usize..3,
        tokens in proptest::collection::btree_set(i64::MIN + 1..i64::MAX, 5..40),
        factor in 1_usize..4,
        topology: bool,
        which in 0..4_u8,
        by in proptest::option::of(prop_oneof![Just(By::Sets), Just(By::Stretches), Just(By::Nodes)]),
        partitions in proptest::collection::vec((any::<u32>(), any::<u8>(), 0_i64..200_000_000), 1..40),
    ) {
        let centers = centers.min(count);
        let tokens: Vec<i64> = tokens.into_iter().collect();
        let ring = nodes(count, centers, &tokens);
        let factor = factor.to_string();
        let replication = if topology {
            let class = [("class".to_owned(), "NetworkTopologyStrategy".to_owned())];
            class.into_iter().chain((0..centers).map(|c| (format!("dc{c}"), factor.clone()))).collect()
        } else {
            simple(&factor)
        };
        let placed = ring.place("ks", &replication).unwrap();
        let all = records(&partitions);
        let cut = match which {
            0 => Cut::Size,
            1 => Cut::Windows { seconds: 60, resolution: 1_000_000 },
            2 => Cut::Windows { seconds: 1, resolution: 1_000_000 },
            _ => Cut::Levels { size: 20 << 20, fanout: 10 },
        };
        let shared = Arc::new(Placed::of(placed.clone()));
        let mut plan = Plan::for_nodes(&shared, cut, size(all.len() as u64, (all.len() as u64) << 20));
        if let Cut::Windows { .. } = cut {
            plan = plan.settled(windows(cut, &all));
        }
        if let Some(by) = by {
            plan.parts = Parts::new(&shared, by);
            plan.level = 0;
        }
        let (files, _) = write(&plan.parts, plan.cut, &all);
        for node in 0..ring.members().len() {
            let mine: Vec<&Written> =
                files.iter().filter(|f| plan.parts.nodes(f.place.part).contains(&node)).collect();
            let owns = |key: &[u8]| {
                let token = token(key).unwrap();
                placed.iter().any(|(range, nodes)| range.contains(token) && nodes.contains(&node))
            };
            let expected: Plain = plain(&all).into_iter().filter(|(key, _)| owns(key)).collect();
            prop_assert_eq!(merged(&mine), expected);
            if plan.level > 0 {
                let mut spans: Vec<(Vec<u8>, Vec<u8>)> = mine
                    .iter()
                    .map(|f| (f.batch.get(0).group().to_vec(), f.batch.get(f.batch.len() - 1).group().to_vec()))
                    .collect();
                spans.sort();
                prop_assert!(spans.windows(2).all(|two| two[0].1 < two[1].0), "files of one level do not overlap");
            }
        }
        // A file belongs to the window of the newest time in it.
        for file in &files {
            let newest = file.batch.iter().filter_map(|r| newest(r.body).unwrap()).max().unwrap();
            prop_assert_eq!(file.place.window, plan.cut.window(newest));
        }
    }
}

fn windows(cut: Cut, all: &RecordBatch) -> Windows {
    let mut windows = Windows::new(cut);
    all.iter().for_each(|record| windows.push(&record).unwrap());
    windows
}

/// Many tokens a node: files by sets of nodes, in passes, where stretches would make crumbs.
#[test]
fn more_sets_of_nodes_than_files_take_more_passes() {
    let tokens: Vec<i64> = (0..9 * 100_u32).map(|n| murmur3::token(&n.to_be_bytes())).collect();
    let nine = placed(&nodes(9, 1, &tokens), &simple("3"));
    let plan = Plan::for_nodes(&nine, Cut::Size, size(1 << 20, 1 << 30));
    let sets = plan.parts.count();
    assert!((OPEN_MAX + 1..200).contains(&sets) && plan.parts.by() == By::Sets, "{sets}");
    let all = records(&(0..2000).map(|i| (i * 7919, 1, 0)).collect::<Vec<_>>());
    let (files, passes) = write(&plan.parts, plan.cut, &all);
    assert_eq!((files.len(), passes), (sets, sets.div_ceil(OPEN_MAX)));
    assert_eq!(merged(&files.iter().collect::<Vec<_>>()), plain(&all));
    // Few tokens a node: as many stretches as sets, in one pass.
    let plan =
        Plan::for_nodes(&placed(&nodes(100, 1, &tokens[..400]), &simple("3")), Cut::Size, size(1 << 20, 1 << 30));
    assert!(plan.parts.by() == By::Stretches && plan.parts.count() > 300);
}

#[test]
fn more_windows_than_files_become_longer_ones() {
    let cut = Cut::Windows { seconds: 1, resolution: 1_000_000 };
    let at = |count: u32| records(&(0..count).map(|i| (i, 1, i64::from(i) * 1_000_000)).collect::<Vec<_>>());
    let all = at(100);
    let plan = Plan::once(cut, size(100, 1 << 20)).settled(windows(cut, &all));
    let (files, passes) = write(&plan.parts, plan.cut, &all);
    assert_eq!((plan.cut, files.len(), passes), (cut, 100, 2));
    assert_eq!(merged(&files.iter().collect::<Vec<_>>()), plain(&all));
    // Of 1000 windows eight make one: 125, which come in the order of time, whatever that of the keys.
    let all = at(1000);
    let plan = Plan::once(cut, size(1000, 1 << 20)).settled(windows(cut, &all));
    let (files, passes) = write(&plan.parts, plan.cut, &all);
    assert_eq!((plan.cut, files.len(), passes), (Cut::Windows { seconds: 8, resolution: 1_000_000 }, 125, 2));
    assert!(files.len() <= WINDOWS_MAX && files.iter().all(|file| file.batch.len() == 8));
    assert_eq!(merged(&files.iter().collect::<Vec<_>>()), plain(&all));
    // Times that are no times do no harm.
    let mut wild = Windows::new(cut);
    for time in (0..1000).map(|n| (u64::MAX / 1000 * n) as i64) {
        let mut batch = RecordBatch::new();
        add(&mut batch, &[0; 8], &[2], Class::Row, &[entry(1, EntryKind::Cell, time)]);
        wild.push(&batch.get(0)).unwrap();
    }
    assert!((2..=WINDOWS_MAX).contains(&wild.count()), "{}", wild.count());
}

/// Nodes times windows are no reason to read a table a hundred times: the windows become longer.
#[test]
fn many_nodes_and_many_windows_take_few_passes() {
    let cut = Cut::Windows { seconds: 1, resolution: 1_000_000 };
    let three = options(&[("class", "NetworkTopologyStrategy"), ("dc0", "3")]);
    let hundred = placed(&racks(100, 1, 16), &three);
    let all = records(&(0..3000).map(|i| (i * 7919, 1, i64::from(i % 128) * 1_000_000)).collect::<Vec<_>>());
    let plan = Plan::for_nodes(&hundred, cut, size(1 << 30, 100 << 30)).settled(windows(cut, &all));
    assert_eq!(plan.parts.by(), By::Nodes);
    let (files, passes) = write(&plan.parts, plan.cut, &all);
    assert!(passes <= 32 && files.len() <= 32 * OPEN_MAX, "{passes} passes, {} files", files.len());
}

#[test]
fn a_file_ends_with_its_partition() {
    let all = records(&[(1, 0x1f, 0), (2, 0x1f, 0), (3, 0x03, 0), (4, 0x03, 0)]);
    let (files, _) = write(&Parts::whole(), Cut::Levels { size: 10 << 20, fanout: 10 }, &all);
    assert!(files.len() >= 3, "{}", files.len());
    let groups: Vec<_> =
        files.iter().flat_map(|f| [f.batch.get(0).group(), f.batch.get(f.batch.len() - 1).group()]).collect();
    assert!(groups.chunks(2).zip(groups.chunks(2).skip(1)).all(|(a, b)| a[1] < b[0]));
    assert_eq!(merged(&files.iter().collect::<Vec<_>>()), plain(&all));
}
