//! The same of an engine whose records have no groups and no versions: the record of the later part stands, whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use onefold::merge::{Across, Held, Merge, Owned, Owns, Purge, Rule, State, Unowned, Waiting, Witness};
use onefold::run::{Record, Run};
use onefold::tree::{Leaves, NodePatch, NodeSide, NodeView, TreeRun, UnownedCount, differences};
use proptest::prelude::*;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};

use crate::world::{self, Chunks, Folded, Plain, collect, run_of};

struct Documents;

impl Rule for Documents {
    fn replaces(&self) -> bool {
        true
    }
}

/// Two fields, of which one may be missing; a document that is gone has none.
type Document = Option<(u8, Option<u8>)>;

/// A file: its rank, its documents by key.
type File = (u64, BTreeMap<u8, Document>);

fn record(key: u8, document: Document) -> Plain {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    let mut push = |column, kind, value: Option<&[u8]>| {
        writer.push(&Entry { column, kind, element: None, time: 0, ldt: 0, ttl: 0, value });
    };
    match document {
        None => push(1, EntryKind::Tombstone, None),
        Some((first, second)) => {
            push(1, EntryKind::Cell, Some(&[first]));
            if let Some(second) = second {
                push(2, EntryKind::Cell, Some(&[second]));
            }
        }
    }
    Plain { key: vec![key], group_len: 0, class: Class::Row, body }
}

/// What files come to: of each key the document with the greatest rank, then the greatest bytes.
fn come_to<'f>(files: impl IntoIterator<Item = &'f File>) -> Vec<Plain> {
    let mut newest: BTreeMap<u8, (u64, Vec<u8>, Plain)> = BTreeMap::new();
    for (rank, documents) in files {
        for (key, document) in documents {
            let plain = record(*key, *document);
            let version = (*rank, plain.body.clone(), plain);
            let best = newest.entry(*key).or_insert_with(|| version.clone());
            if (version.0, &version.1) > (best.0, &best.1) {
                *best = version;
            }
        }
    }
    newest.into_values().map(|(_, _, plain)| plain).collect()
}

/// A node's files, each opened when it is reached.
fn node(files: &[File]) -> Box<dyn Run + 'static> {
    let wait = |(rank, documents): &File| {
        let records: Vec<Plain> = documents.iter().map(|(key, document)| record(*key, *document)).collect();
        let from = records.first().map(|r| r.key.clone()).unwrap_or_default();
        Waiting::new(from, Box::new(move || Ok(run_of(records)))).ranked(*rank)
    };
    Box::new(Merge::of_waiting(files.iter().map(wait).collect(), &Documents))
}

fn document() -> impl Strategy<Value = Document> {
    prop_oneof![1 => Just(None), 6 => (0u8..3, proptest::option::of(0u8..3)).prop_map(Some)]
}

/// Three nodes and their files. Most files reached all nodes; ranks may be equal.
fn nodes() -> impl Strategy<Value = Vec<Vec<File>>> {
    let documents = proptest::collection::btree_map(0u8..40, document(), 0..30);
    let file = (1u64..6, documents, prop_oneof![2 => Just(0b111u8), 3 => 1u8..8]);
    proptest::collection::vec(file, 0..6).prop_map(|files| {
        let reached = |node: u8| files.iter().filter(move |(_, _, to)| to >> node & 1 == 1);
        (0..3).map(|node| reached(node).map(|(rank, documents, _)| (*rank, documents.clone())).collect()).collect()
    })
}

/// Keys of a hash, as no interval has them.
#[derive(Debug)]
struct Hashed(u8);

impl Owns for Hashed {
    fn owns(&self, whose: &[u8]) -> bool {
        whose[0].wrapping_mul(167) >> 4 & self.0 != 0
    }
}

fn owned() -> Vec<Owned> {
    let intervals = vec![(vec![3], Some(vec![10])), (vec![20], Some(vec![30])), (vec![35], None)];
    vec![Owned::By(Arc::new(Hashed(1))), Owned::Ranges(intervals), Owned::By(Arc::new(Hashed(6)))]
}

fn fold(nodes: &[Vec<File>], owned: Vec<Owned>, chunks: &Chunks) -> Folded {
    world::fold(nodes.iter().map(|files| node(files)).collect(), &Documents, 50, owned, chunks)
}

/// What the owners of each key hold comes to: as if nobody else held anything.
fn of_owners(nodes: &[Vec<File>], owned: &[Owned]) -> Vec<Plain> {
    let mine = |(files, owned): (&Vec<File>, &Owned)| -> Vec<File> {
        let of = |documents: &BTreeMap<u8, Document>| {
            documents.iter().filter(|(key, _)| owned.holds(&[**key])).map(|(key, d)| (*key, *d)).collect()
        };
        files.iter().map(|(rank, documents)| (*rank, of(documents))).collect()
    };
    come_to(&nodes.iter().zip(owned).flat_map(mine).collect::<Vec<_>>())
}

type Differs = (u8, usize, State);

fn state(view: Option<&Plain>, held: Option<&Plain>, owns: bool) -> Option<State> {
    match (view, held, owns) {
        (Some(_), None, true) => Some(State::Missing),
        (view, Some(held), true) => (view != Some(held)).then_some(State::Stale),
        (_, Some(_), false) => Some(State::Extra),
        (_, None, _) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_later_record_stands_whole_inside_a_node_and_across(nodes in nodes()) {
        let chunks = Chunks::default();
        let folded = fold(&nodes, vec![Owned::All; 3], &chunks);
        prop_assert_eq!(&collect(&mut TreeRun::new(folded.root, &chunks)).unwrap(), &come_to(nodes.iter().flatten()));
        for (n, files) in nodes.iter().enumerate() {
            prop_assert_eq!(&collect(&mut *node(files)).unwrap(), &come_to(files));
            let mut view = NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[n], Owned::All, &chunks);
            prop_assert_eq!(&collect(&mut view).unwrap(), &come_to(files));
        }
    }

    #[test]
    fn any_spread_of_the_same_records_gives_the_same_root(nodes in nodes(), seed: u64, parts in 1u64..4) {
        let chunks = Chunks::default();
        let one = fold(&nodes, vec![Owned::All; 3], &chunks).root;
        // Every record goes to one part of some node, of as many parts as each file is split into.
        let mut spread: Vec<Vec<File>> = vec![Vec::new(); 3];
        for (n, (rank, documents)) in nodes.iter().flatten().enumerate() {
            let mut split: Vec<File> = vec![(*rank, BTreeMap::new()); 3 * parts as usize];
            for (key, document) in documents {
                let at = seed.rotate_left(5 * u32::from(*key) + 11 * n as u32) % (3 * parts);
                split[at as usize].1.insert(*key, *document);
            }
            for (at, part) in split.into_iter().enumerate() {
                spread[at % 3].push(part);
            }
        }
        prop_assert_eq!(one, fold(&spread, vec![Owned::All; 3], &chunks).root);
    }

    /// Each key is asked for its owners, be they intervals or not.
    #[test]
    fn owners_of_each_key_make_the_view_and_others_keep_what_they_hold(nodes in nodes()) {
        let (chunks, owned) = (Chunks::default(), owned());
        let folded = fold(&nodes, owned.clone(), &chunks);
        let stored = collect(&mut TreeRun::new(folded.root, &chunks)).unwrap();
        prop_assert_eq!(&stored, &of_owners(&nodes, &owned));
        let mut outside: Vec<Box<dyn Run + '_>> = Vec::new();
        let mut others: Vec<Plain> = Vec::new();
        for (n, files) in nodes.iter().enumerate() {
            let mut view = NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[n], owned[n].clone(), &chunks);
            let held = come_to(files);
            prop_assert_eq!(&collect(&mut view).unwrap(), &held);
            others.extend(held.into_iter().filter(|r| !owned[n].holds(&r.key)));
            outside.push(Box::new(NodeView::new(Box::new(TreeRun::new(folded.root, &chunks)), &folded.patches[n], owned[n].clone(), &chunks).outside()));
        }
        // An owner's record stands, whatever rank others had; they add what no owner has, the greatest bytes of it.
        let mut all: BTreeMap<Vec<u8>, Plain> = BTreeMap::new();
        for r in others {
            let best = all.entry(r.key.clone()).or_insert_with(|| r.clone());
            if r.body > best.body {
                *best = r;
            }
        }
        all.extend(stored.iter().map(|r| (r.key.clone(), r.clone())));
        let view = Box::new(TreeRun::new(folded.root, &chunks));
        let given_back = collect(&mut Merge::with_unowned(view, outside, &Documents)).unwrap();
        prop_assert_eq!(&given_back, &all.into_values().collect::<Vec<_>>());
        let UnownedCount { rows, deletions } = folded.unowned;
        prop_assert_eq!(rows + deletions, (given_back.len() - stored.len()) as u64);
    }

    #[test]
    fn look_ups_and_differences_are_those_of_the_records(nodes in nodes(), from in 0u8..40, to in 0u8..40) {
        let (chunks, owned) = (Chunks::default(), owned());
        let folded = fold(&nodes, owned.clone(), &chunks);
        let stored = of_owners(&nodes, &owned);
        let inside: Vec<Plain> = stored.iter().filter(|r| r.key[0] >= from && r.key[0] < to).cloned().collect();
        prop_assert_eq!(collect(&mut TreeRun::range(folded.root, &chunks, vec![from], Some(vec![to]))).unwrap(), inside);

        let mut expected: Vec<Differs> = Vec::new();
        for (n, files) in nodes.iter().enumerate() {
            let held = come_to(files);
            for key in 0..40 {
                let [view, held] = [&stored, &held].map(|all| all.iter().find(|r| r.key[0] == key));
                expected.extend(state(view, held, owned[n].holds(&[key])).map(|state| (key, n, state)));
            }
        }
        let side = |(patch, owned): (&NodePatch, &Owned)| NodeSide::new(patch, owned.clone(), &chunks);
        let mut sides: Vec<NodeSide<'_>> = folded.patches.iter().zip(&owned).map(side).collect();
        let mut found: Vec<Differs> = Vec::new();
        differences(Leaves::Tree(folded.root, &chunks), &mut sides, Purge::new(&Documents, 0), &mut |d| {
            assert_eq!(d.purged, Some(false), "nothing is purged unless the rule says so");
            found.push((d.view.or(d.held).unwrap().key[0], d.node, d.state));
            Ok(())
        })
        .unwrap();
        expected.sort_by_key(|(key, n, _)| (*n, *key));
        found.sort_by_key(|(key, n, _)| (*n, *key));
        prop_assert_eq!(found, expected);
    }
}

fn marker(time: Option<i64>) -> Plain {
    let mut body = Vec::new();
    if let Some(time) = time {
        let kind = EntryKind::Deletion;
        BodyWriter::new(&mut body).push(&Entry { column: 0, kind, element: None, time, ldt: 1, ttl: 0, value: None });
    }
    Plain { key: Vec::new(), group_len: 0, class: Class::Marker, body }
}

/// Counts deletions that only non-owners hold.
struct Counting(u64);

impl Witness for Counting {
    fn same(&mut self, _: usize) -> onefold::Result<()> {
        Ok(())
    }
    fn differs(&mut self, _: &Record<'_>, _: &[Held<'_>]) -> onefold::Result<()> {
        Ok(())
    }
    fn alone(&mut self, _: usize, _: &Record<'_>, _: bool) -> onefold::Result<()> {
        Ok(())
    }
    fn unowned(&mut self, what: Unowned) -> onefold::Result<()> {
        self.0 += u64::from(what == Unowned::Deletion);
        Ok(())
    }
}

/// One node has deleted the keys from 15 to 29, and owns those up to 19 only.
#[test]
fn a_deletion_ends_where_its_owners_keys_end_or_is_refused() {
    let rows = |keys: std::ops::Range<u8>| keys.map(|key| record(key, Some((1, None))));
    let at = |key: &[u8], time| Plain { key: key.to_vec(), ..marker(time) };
    let merged = |deletes: Vec<Plain>| {
        let mut counting = Counting(0);
        let up_to = Owned::Ranges(vec![(vec![0], Some(vec![19, 255]))]);
        let across = Across::new(vec![up_to, Owned::All], 0, &mut counting);
        let runs = vec![run_of(deletes), run_of(rows(10..40).collect())];
        let all = collect(&mut Merge::across(runs, &Documents, 50, across));
        (all, counting.0)
    };
    let (refused, _) = merged(vec![at(&[14, 0], Some(5)), at(&[29, 0], None)]);
    assert_eq!(refused.unwrap_err().kind(), onefold::Kind::Unsupported);
    // Stated anew where the keys end, it is in force up to there; what it deletes behind is counted.
    let (all, counted) = merged(vec![at(&[14, 0], Some(5)), at(&[19, 255], Some(5)), at(&[29, 0], None)]);
    let deleted = [at(&[14, 0], Some(5)), at(&[19, 255], None)];
    let expected: Vec<Plain> = rows(10..15).chain(deleted).chain(rows(20..40)).collect();
    assert_eq!((all.unwrap(), counted), (expected, 1));
    // A deletion of everything is whose?
    let everything = Plain { key: Vec::new(), class: Class::Group, ..marker(Some(5)) };
    assert_eq!(merged(vec![everything]).0.unwrap_err().kind(), onefold::Kind::Unsupported);
}
