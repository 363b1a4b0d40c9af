//! Merge, trees and patches against the plain model: however the same writes are spread over files and nodes. By Cassandra's
//! rule here; beside, by that of an engine without groups and versions.

mod overlaid;
mod ranked;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use onefold::engine::cassandra::rule::CassandraRule;
use onefold::merge::{Across, Deletion, Merge, Owned, Waiting, ahead};
use onefold::run::{RecordBatch, Run};
use onefold::tree::{self, Diff, NodeView, Scribe, TreeRun, UnownedCount};
use proptest::prelude::*;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

use crate::world::{self, Chunks, Folded, PLACES, Plain, Telling, Version, Write, collect, model, run_of, shape};

const CUT: u32 = 50;
const RULE: CassandraRule = CassandraRule { counter: false, grace: 0 };

fn deletion() -> impl Strategy<Value = Deletion> {
    (0i64..12, 0u32..4).prop_map(|(time, ldt)| Deletion { time, ldt })
}

fn version() -> impl Strategy<Value = Version> {
    (0i64..12, 0u8..4, 0u32..100, 1u32..9, proptest::collection::vec(0u8..3, 0..3)).prop_map(
        |(time, kind, ldt, ttl, value)| match kind {
            0 => Version { time, ldt, ttl: 0, value: None, dead: true },
            1 => Version { time, ldt: ldt + ttl, ttl, value: Some(value), dead: false },
            _ => Version { time, ldt: 0, ttl: 0, value: Some(value), dead: false },
        },
    )
}

fn place() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![1 => Just(None), 6 => (0..PLACES / 2).prop_map(|n| Some(2 * n + 1))]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        1 => deletion().prop_map(Write::Partition),
        3 => (0..PLACES / 2, 1..=PLACES / 2, deletion())
            .prop_map(|(a, n, d)| Write::Interval(2 * a, (2 * (a + n)).min(PLACES), d)),
        2 => (place(), deletion()).prop_map(|(p, d)| Write::Row(p, d)),
        1 => (place(), 3u32..5, deletion()).prop_map(|(p, c, d)| Write::Column(p, c, d)),
        8 => (place(), 0u32..3, version()).prop_map(|(p, c, mut v)| {
            // Liveness has no value and is never deleted by itself.
            if c == 0 {
                v.value = None;
                v.ldt = if v.dead { 0 } else { v.ldt };
                v.dead = false;
            }
            Write::Cell(p, c, None, v)
        }),
        3 => (place(), 3u32..5, 0u8..3, version()).prop_map(|(p, c, e, v)| Write::Cell(p, c, Some(e), v)),
    ]
}

/// Writes, each with its partition and, as bits, the (node, file) pairs it reached: three nodes of two files.
fn history() -> impl Strategy<Value = Vec<(u8, Write, u8)>> {
    proptest::collection::vec((0u8..4, write(), prop_oneof![3 => Just(0b01_01_01u8), 1 => 1u8..64]), 0..40)
}

fn reached(history: &[(u8, Write, u8)], mask: u8) -> Vec<(u8, Write)> {
    history.iter().filter(|(_, _, to)| to & mask != 0).map(|(p, w, _)| (*p, w.clone())).collect()
}

/// The files of a node: what a flush of these writes would hold. Any record may be one that is told before it is read.
fn files(history: &[(u8, Write, u8)], node: u8) -> Vec<Box<dyn Run>> {
    let file = |file: u8| model(&reached(history, 1 << (2 * node + file)), false, None);
    (0..2).map(|n| Box::new(Telling(file(n).into_iter().peekable(), false)) as Box<dyn Run>).collect()
}

/// A run that counts the records that were read of it.
struct Counting<'a>(Telling, &'a AtomicUsize);

impl Run for Counting<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> onefold::Result<bool> {
        let more = self.0.next_batch(out)?;
        self.1.fetch_add(out.len(), Ordering::SeqCst);
        Ok(more)
    }
}

/// What a node would answer: of each cell the version that stands there, and if that one has expired by `cut`, the
/// tombstone that it has become. Cassandra merges the answers of nodes, not their cells.
fn answered(history: &[(u8, Write, u8)], nodes: &[u8], cut: u32) -> Vec<(u8, Write)> {
    let mut out = Vec::new();
    for node in nodes {
        let writes = reached(history, 0b11 << (2 * node));
        let mut cells: BTreeMap<(u8, Option<u8>, u32, Option<u8>), Version> = BTreeMap::new();
        for (partition, write) in writes {
            let Write::Cell(place, column, element, version) = write else {
                out.push((partition, write));
                continue;
            };
            let best = cells.entry((partition, place, column, element)).or_insert_with(|| version.clone());
            if version.rank() > best.rank() {
                *best = version;
            }
        }
        out.extend(cells.into_iter().map(|((partition, place, column, element), version)| {
            (partition, Write::Cell(place, column, element, if column == 0 { version } else { version.at(cut) }))
        }));
    }
    out
}

fn fold(nodes: Vec<Box<dyn Run + '_>>, owned: Vec<Owned>, chunks: &Chunks) -> Folded {
    fold_at(CUT, nodes, owned, chunks)
}

fn fold_at(cut: u32, nodes: Vec<Box<dyn Run + '_>>, owned: Vec<Owned>, chunks: &Chunks) -> Folded {
    world::fold(nodes, &RULE, cut, owned, chunks)
}

fn node_runs<'a>(history: &[(u8, Write, u8)], nodes: &[u8]) -> Vec<Box<dyn Run + 'a>> {
    nodes.iter().map(|n| Box::new(Merge::of(files(history, *n), &RULE)) as Box<dyn Run>).collect()
}

/// A run that is opened when its first partition is reached.
fn waiting(records: Vec<Plain>) -> Waiting<'static> {
    let from = records.first().map(|r| r.key[..r.group_len].to_vec()).unwrap_or_default();
    Waiting::new(from, Box::new(move || Ok(run_of(records))))
}

/// As many runs at one key as a node may have, each over a part of the keys.
#[test]
fn hundreds_of_runs_are_opened_in_order_and_merged() {
    let mut all = Vec::new();
    let mut runs = Vec::new();
    for run in 0..300u32 {
        let from = (run / 3) as u8;
        let mine = (from..=from.saturating_add(40)).filter(|p| (u32::from(*p) * 31 + run * 17) % 5 < 2);
        let version = |p: u8| Version {
            time: i64::from(run * 7 % 13),
            ldt: 0,
            ttl: 0,
            value: Some(vec![run as u8, p]),
            dead: false,
        };
        let writes: Vec<_> = mine.map(|p| (p, Write::Cell(Some(1), 1, None, version(p)))).collect();
        runs.push(model(&writes, false, None));
        all.extend(writes);
    }
    let expected = model(&all, true, None);
    assert!(expected.len() > 100);
    for _ in 0..2 {
        let waiting = runs.iter().cloned().map(waiting).collect();
        assert_eq!(collect(&mut Merge::of_waiting(waiting, &RULE)).unwrap(), expected);
        let at_once = runs.iter().cloned().map(run_of).collect();
        assert_eq!(collect(&mut Merge::of(at_once, &RULE)).unwrap(), expected);
        runs.reverse();
    }
}

/// Leaves whose bodies lie beside them are not held whole: whoever reads them has one such body at a time.
#[test]
fn leaves_of_large_bodies_are_read_piece_by_piece() {
    let chunks = Chunks::default();
    let cell = |p: u8, time| {
        let version = Version { time, ldt: 0, ttl: 0, value: Some(vec![p; 600 << 10]), dead: false };
        (p, Write::Cell(Some(1), 1, None, version))
    };
    let whole: Vec<_> = (0..40).map(|p| cell(p, 5)).collect();
    let behind: Vec<_> = (0..40).filter(|p| p % 5 > 0).map(|p| cell(p, if p % 3 > 0 { 5 } else { 4 })).collect();
    let nodes = [whole, behind].map(|writes| model(&writes, true, None));
    let runs = nodes.iter().map(|records| run_of(records.clone())).collect();
    let folded = fold(runs, vec![Owned::All; 2], &chunks);
    let mut run = TreeRun::new(folded.root, &chunks);
    let (mut batch, mut read) = (RecordBatch::new(), 0);
    while run.next_batch(&mut batch).unwrap() {
        assert!(batch.bytes() < 2 << 20, "{} records of {} bytes", batch.len(), batch.bytes());
        read += batch.len();
    }
    assert_eq!(read, 40);
    for (node, held) in nodes.iter().enumerate() {
        let mut view =
            NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[node], Owned::All, &chunks);
        assert!(collect(&mut view).unwrap() == *held, "the view of node {node}");
    }
}

/// Twelve nodes, three of which hold each row, and all rows are large: none is read before its turn has come.
#[test]
fn of_many_nodes_only_those_at_a_large_record_have_read_it() {
    let version = |p: u8| Version { time: 5, ldt: 0, ttl: 0, value: Some(vec![p; 600 << 10]), dead: false };
    let holds = |node: u8, p: u8| (p + 12 - node) % 12 < 3;
    let writes = |node: u8| {
        (0..12).filter(move |p| holds(node, *p)).map(move |p| (p, Write::Cell(Some(1), 1, None, version(p))))
    };
    let (read, mut rows) = (AtomicUsize::new(0), 0);
    let scribe = Scribe::new(12, [1; 32], false);
    let mut witness = &scribe;
    thread::scope(|scope| {
        let mut runs: Vec<Box<dyn Run + '_>> = Vec::new();
        for node in 0..12 {
            let records = model(&writes(node).collect::<Vec<_>>(), true, None);
            let counting = Counting(Telling(records.into_iter().peekable(), false), &read);
            runs.push(ahead(scope, "node", 12, Merge::of(vec![Box::new(counting)], &RULE)).unwrap());
        }
        let across = Across::new(vec![Owned::All; 12], 0, &mut witness);
        let (mut merge, mut batch) = (Merge::across(runs, &RULE, CUT, across), RecordBatch::new());
        while merge.next_batch(&mut batch).unwrap() {
            rows += batch.len();
            assert_eq!(read.load(Ordering::SeqCst), 3 * rows);
        }
    });
    assert_eq!(rows, 12);
}

/// Partitions 0 and 1 only.
fn first_half() -> Owned {
    Owned::Ranges(vec![(vec![b'k', 0], Some(vec![b'k', 2]))])
}

/// Partitions 1 and 2 only.
fn middle() -> Owned {
    Owned::Ranges(vec![(vec![b'k', 1], Some(vec![b'k', 3]))])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn files_of_a_node_come_to_what_was_written(history in history()) {
        for node in 0..3 {
            let mut merge = Merge::of(files(&history, node), &RULE);
            let expected = model(&reached(&history, 0b11 << (2 * node)), true, None);
            prop_assert_eq!(&collect(&mut merge).unwrap(), &expected);
            // Each file opened no sooner than it is reached.
            let waiting = files(&history, node).into_iter().map(|mut file| waiting(collect(&mut *file).unwrap()));
            prop_assert_eq!(&collect(&mut Merge::of_waiting(waiting.collect(), &RULE)).unwrap(), &expected);
        }
    }

    /// What non-owners hold is counted exactly where it would change the view, and given back it makes the view that all
    /// nodes together come to, whether nodes' views were kept or not.
    #[test]
    fn what_only_non_owners_hold_is_counted_and_comes_back(history in history(), none in any::<bool>()) {
        let chunks = Chunks::default();
        let nobody = || Owned::Ranges(Vec::new());
        let owned = || vec![if none { nobody() } else { Owned::All }, first_half(), middle()];
        let folded = fold(node_runs(&history, &[0, 1, 2]), owned(), &chunks);
        let everyone = fold(node_runs(&history, &[0, 1, 2]), vec![Owned::All; 3], &chunks);
        let all = collect(&mut TreeRun::new(everyone.root, &chunks)).unwrap();
        let mut runs: Vec<Box<dyn Run + '_>> = vec![Box::new(TreeRun::new(folded.root, &chunks))];
        for (patch, owned) in folded.patches.iter().zip(owned()) {
            runs.push(Box::new(NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), patch, owned, &chunks).outside()));
        }
        prop_assert_eq!(collect(&mut Merge::of(runs, &RULE)).unwrap(), all);
        let counted = folded.unowned != UnownedCount::default();
        prop_assert_eq!(counted, folded.root != everyone.root, "{:?}", folded.unowned);
        prop_assert_eq!(everyone.unowned, UnownedCount::default());
    }

    #[test]
    fn nodes_come_to_what_was_written_and_every_view_reads_back(history in history()) {
        let chunks = Chunks::default();
        let folded = fold(node_runs(&history, &[0, 1, 2]), vec![Owned::All; 3], &chunks);
        let stored = collect(&mut TreeRun::new(folded.root, &chunks)).unwrap();
        prop_assert_eq!(stored, model(&answered(&history, &[0, 1, 2], CUT), true, Some(CUT)));
        for node in 0..3u8 {
            let mut view = NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[usize::from(node)], Owned::All, &chunks);
            let expected = model(&reached(&history, 0b11 << (2 * node)), true, Some(CUT));
            prop_assert_eq!(collect(&mut view).unwrap(), expected);
        }
    }

    #[test]
    fn what_a_node_does_not_own_stays_its_own(history in history()) {
        let chunks = Chunks::default();
        let owned = vec![Owned::All, Owned::All, first_half()];
        let folded = fold(node_runs(&history, &[0, 1, 2]), owned.clone(), &chunks);
        let stored = collect(&mut TreeRun::new(folded.root, &chunks)).unwrap();
        let mut counts = answered(&history, &[0, 1], CUT);
        counts.extend(answered(&history, &[2], CUT).into_iter().filter(|(p, _)| *p < 2));
        prop_assert_eq!(stored, model(&counts, true, Some(CUT)));
        for (node, owned) in owned.into_iter().enumerate() {
            let mut view = NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[node], owned, &chunks);
            let expected = model(&reached(&history, 0b11 << (2 * node)), true, Some(CUT));
            prop_assert_eq!(collect(&mut view).unwrap(), expected);
        }
    }

    #[test]
    fn any_spread_of_the_same_writes_gives_the_same_root(history in history(), spread in any::<u64>()) {
        let chunks = Chunks::default();
        // Before anything has expired: what has is judged node by node.
        let one = fold_at(0, node_runs(&history, &[0, 1, 2]), vec![Owned::All; 3], &chunks);
        // Every write goes to one file of one node: nothing is lost, everything lies elsewhere.
        let moved: Vec<_> = history
            .iter()
            .enumerate()
            .map(|(i, (p, w, _))| (*p, w.clone(), 1u8 << (spread.rotate_left(7 * i as u32) % 6)))
            .collect();
        let other = fold_at(0, node_runs(&moved, &[0, 1, 2]), vec![Owned::All; 3], &chunks);
        prop_assert_eq!(one.root, other.root);
    }

    #[test]
    fn a_replica_that_agrees_adds_nothing(history in history()) {
        let chunks = Chunks::default();
        let three = fold(node_runs(&history, &[0, 1, 2]), vec![Owned::All; 3], &chunks);
        let before = chunks.count();
        let four = fold(node_runs(&history, &[0, 1, 2, 2]), vec![Owned::All; 4], &chunks);
        prop_assert_eq!(three.root, four.root);
        prop_assert_eq!(chunks.count(), before);
        prop_assert_eq!(four.patches[2], four.patches[3]);
        let one = fold(node_runs(&history, &[0, 0]), vec![Owned::All; 2], &chunks);
        prop_assert!(one.patches.iter().all(|p| p.bits.is_none() && p.held.is_none()));
    }

    #[test]
    fn ranges_and_differences_are_those_of_the_records(a in history(), b in history(), from in 0u8..4, to in 0u8..5, at in 0u8..10) {
        let chunks = Chunks::default();
        let root = |h: &[(u8, Write, u8)]| fold(node_runs(h, &[0, 1]), vec![Owned::All; 2], &chunks).root;
        let mut mixed = a.clone();
        mixed.extend(b.into_iter().take(3));
        let (one, two) = (root(&a), root(&mixed));
        let (one_all, two_all) =
            (collect(&mut TreeRun::new(one, &chunks)).unwrap(), collect(&mut TreeRun::new(two, &chunks)).unwrap());
        let mut diff = Diff::new(one, two, &chunks);
        let mut changes = Vec::new();
        while let Some(c) = diff.next_change().unwrap() {
            changes.push((c.before.map(|r| r.key.to_vec()), c.after.map(|r| r.key.to_vec())));
        }
        prop_assert_eq!(&changes, &plain_diff(&one_all, &two_all));

        let (from, to) = (vec![b'k', from, 2, at], vec![b'k', to]);
        let mut diff = Diff::range(one, two, &chunks, (&from, &to));
        let mut within = Vec::new();
        while let Some(c) = diff.next_change().unwrap() {
            within.push((c.before.map(|r| r.key.to_vec()), c.after.map(|r| r.key.to_vec())));
        }
        changes.retain(|(before, after)| before.iter().chain(after).all(|key| *key >= from && *key < to));
        prop_assert_eq!(within, changes);
        let mut range = TreeRun::range(two, &chunks, from.clone(), Some(to.clone()));
        let got = collect(&mut range);
        let inside: Vec<Plain> = two_all.iter().filter(|r| r.key >= from && r.key < to).cloned().collect();
        // What is in force where the range begins comes first, said by deletions, even where no record follows.
        let before = two_all.iter().filter(|r| r.key < from && r.key[..2] == from[..2]);
        let in_force = |class| before.clone().rfind(|r| r.class == class).filter(|r| !r.body.is_empty());
        let mut said: Vec<Plain> = Vec::new();
        said.extend(in_force(Class::Group).map(|r| Plain { key: from[..2].to_vec(), ..r.clone() }));
        let marker_follows = inside.first().is_some_and(|r| r.key == from);
        // Where a row stands at the beginning, no key is left for the deletion that is open there.
        if inside.first().is_some_and(|r| r.key == from && r.class == Class::Row) && in_force(Class::Marker).is_some() {
            prop_assert_eq!(got.unwrap_err().kind(), onefold::Kind::Unsupported);
            return Ok(());
        }
        let got = got.unwrap();
        said.extend(in_force(Class::Marker).filter(|_| !marker_follows).map(|r| Plain { key: from.clone(), ..r.clone() }));
        let empty = from >= to;
        prop_assert_eq!(got, if empty { Vec::new() } else { [said, inside].concat() });
    }
}

/// Records of an engine that has no groups: all of them lie in the empty one.
fn ungrouped(key: u8, class: Class, deletion: Option<i64>) -> Plain {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    let (kind, time) = match (class, deletion) {
        (_, Some(time)) => (EntryKind::Deletion, time),
        (_, None) => (EntryKind::Cell, 9),
    };
    let value = Some(&b"v"[..]).filter(|_| kind == EntryKind::Cell);
    if class == Class::Row || deletion.is_some() {
        let column = u32::from(kind == EntryKind::Cell);
        writer.push(&Entry { column, kind, element: None, time, ldt: u32::from(value.is_none()), ttl: 0, value });
    }
    Plain { key: vec![key], group_len: 0, class, body }
}

#[test]
fn a_range_of_records_without_groups_says_what_is_open() {
    let mut all = vec![ungrouped(0, Class::Marker, Some(5))];
    all.extend((1..100).map(|n| ungrouped(n, Class::Row, None)));
    all.push(ungrouped(200, Class::Marker, None));
    let chunks = Chunks::default();
    let root = tree::write(&mut *run_of(all.clone()), &chunks, &shape(4)).unwrap();
    for from in 100..200 {
        let mut range = TreeRun::range(root, &chunks, vec![from], None);
        let expected = [ungrouped(from, Class::Marker, Some(5)), ungrouped(200, Class::Marker, None)];
        assert_eq!(collect(&mut range).unwrap(), expected);
    }
    for from in 1..100 {
        let error = collect(&mut TreeRun::range(root, &chunks, vec![from], None)).unwrap_err();
        assert_eq!(error.kind(), onefold::Kind::Unsupported, "{error}");
        // Behind the row the marker has a place.
        let mut range = TreeRun::range(root, &chunks, vec![from, 0], None);
        let marker = Plain { key: vec![from, 0], ..ungrouped(from, Class::Marker, Some(5)) };
        let rest = all.iter().filter(|r| r.key > vec![from, 0]).cloned();
        assert_eq!(collect(&mut range).unwrap(), std::iter::once(marker).chain(rest).collect::<Vec<_>>());
    }
}

proptest! {
    /// Every range that begins where a deletion has a key of its own says what the whole run says from there on.
    #[test]
    fn any_range_of_records_without_groups_is_a_cut_of_all_of_them(
        kinds in proptest::collection::vec((0u8..6, 1i64..9), 1..60),
        whole in proptest::option::of(1i64..9),
        from in 0u8..125,
        to in proptest::option::of(0u8..125),
        leaf_records in 1u32..9,
    ) {
        let mut all: Vec<Plain> = Vec::new();
        // A deletion of the empty group stands before all its records.
        all.extend(whole.map(|time| Plain { key: Vec::new(), ..ungrouped(0, Class::Group, Some(time)) }));
        for (n, (kind, time)) in kinds.into_iter().enumerate() {
            let (class, deletion) = match kind {
                0 => (Class::Marker, Some(time)),
                1 => (Class::Marker, None),
                _ => (Class::Row, None),
            };
            all.push(ungrouped(2 * n as u8 + 1, class, deletion));
        }
        let chunks = Chunks::default();
        let root = tree::write(&mut *run_of(all.clone()), &chunks, &shape(leaf_records)).unwrap();
        let (from, to) = (vec![from], to.map(|to| vec![to]));
        let got = collect(&mut TreeRun::range(root, &chunks, from.clone(), to.clone()));
        if to.as_ref().is_some_and(|to| *to <= from) {
            prop_assert_eq!(got.unwrap(), Vec::new());
            return Ok(());
        }
        let inside: Vec<Plain> =
            all.iter().filter(|r| r.key >= from && to.as_ref().is_none_or(|to| r.key < *to)).cloned().collect();
        let open = all.iter().rfind(|r| r.key < from && r.class == Class::Marker).filter(|r| !r.body.is_empty());
        let first = inside.first().filter(|r| r.key == from).map(|r| r.class);
        if first == Some(Class::Row) && open.is_some() {
            prop_assert_eq!(got.unwrap_err().kind(), onefold::Kind::Unsupported);
            return Ok(());
        }
        let mut said: Vec<Plain> = all.iter().filter(|r| r.class == Class::Group).cloned().collect();
        said.extend(open.filter(|_| first.is_none()).map(|r| Plain { key: from.clone(), ..r.clone() }));
        prop_assert_eq!(got.unwrap(), [said, inside].concat());
    }
}

#[test]
fn a_group_within_another_is_refused_where_deletions_are() {
    let in_group = |key: &[u8], group_len, r: Plain| Plain { key: key.to_vec(), group_len, ..r };
    let row = |key: &[u8], group_len| in_group(key, group_len, ungrouped(0, Class::Row, None));
    let deletion = |key: &[u8], group_len, class| in_group(key, group_len, ungrouped(0, class, Some(5)));
    let write = |records: Vec<Plain>| tree::write(&mut *run_of(records), &Chunks::default(), &shape(4));
    assert!(write(vec![row(b"a", 1), row(b"aa", 2), row(b"ab", 1)]).is_ok(), "without deletions");
    assert!(write(vec![deletion(b"a", 1, Class::Group), row(b"ab", 1), row(b"b", 1)]).is_ok(), "side by side");
    for records in [
        vec![deletion(b"a", 1, Class::Group), row(b"aa", 2)],
        vec![deletion(b"a", 1, Class::Marker), row(b"aa", 2)],
        vec![deletion(b"aa", 2, Class::Group), row(b"ab", 1)],
        vec![deletion(b"", 0, Class::Group), row(b"aa", 2)],
    ] {
        assert_eq!(write(records).unwrap_err().kind(), onefold::Kind::Damaged);
    }
}

#[test]
fn who_owns_nothing_of_the_empty_group_adds_nothing() {
    let rows = |keys: &[u8]| run_of(keys.iter().map(|n| ungrouped(*n, Class::Row, None)).collect());
    let chunks = Chunks::default();
    let owned = vec![Owned::All, Owned::Ranges(Vec::new())];
    let folded = fold(vec![rows(&[1, 3]), rows(&[1, 2, 3, 4])], owned, &chunks);
    let stored = collect(&mut TreeRun::new(folded.root, &chunks)).unwrap();
    assert_eq!(stored, [1, 3].map(|n| ungrouped(n, Class::Row, None)));
    assert_eq!((folded.patches[1].drift.extra, folded.patches[0].drift.missing), (4, 0));
}

type Keys = Vec<(Option<Vec<u8>>, Option<Vec<u8>>)>;

fn plain_diff(one: &[Plain], two: &[Plain]) -> Keys {
    let find = |all: &[Plain], key: &[u8]| all.iter().find(|r| r.key == key).cloned();
    let mut keys: Vec<&Vec<u8>> = one.iter().chain(two).map(|r| &r.key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|k| find(one, k) != find(two, k))
        .map(|k| (find(one, k).map(|r| r.key), find(two, k).map(|r| r.key)))
        .collect()
}
