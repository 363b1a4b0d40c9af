//! Records to files, kept in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use repo_format::murmur3;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};

use super::{options, placed, racks, simple, size};
use crate::engine::cassandra::comparable;
use crate::engine::cassandra::placing::cut::newest;
use crate::engine::cassandra::placing::files::{FileSink, Files, Finished, OPEN_MAX, Place, Progress};
use crate::engine::cassandra::placing::parts::token;
use crate::engine::cassandra::placing::windows::WINDOWS_MAX;
use crate::engine::cassandra::placing::*;
use crate::engine::cassandra::ring::Ring;
use crate::engine::cassandra::rule::CassandraRule;
use crate::error::Result;
use crate::merge::Merge;
use crate::run::{Record, RecordBatch, Run};

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
    let rule = CassandraRule { counter: false, grace: 0 };
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
