//! What a selection names, against a plain model: rows, and the deletion in force at every place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::Result;
use onefold::engine::Wanted;
use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::comparable::{self, Clustering, Position};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::rule::CassandraRule;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::source::ClusterDescription;
use onefold::merge::{BeforeRun, Deletion, Layering, Merge};
use onefold::run::{ChunkId, ChunkKind, ChunkSource, Cut, RecordBatch, Run, ShardKind};
use onefold::snapshot::{Shard, Snapshot, Tree};
use onefold::tree::{self, TreeRun, TreeWriter};
use onefold::view::{Side, View};
use onefold::watch::Watch;
use proptest::prelude::*;
use repo_format::murmur3;
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind};

use crate::world::{Chunks, Plain, collect, run_of, shape};

const TABLE: &str = "CREATE TABLE ks.t (k int, c int, d int, v int, s int static, PRIMARY KEY (k, c, d))
    WITH CLUSTERING ORDER BY (c ASC, d DESC)";
const CUT: u32 = 1000;
const RULE: CassandraRule = CassandraRule { counter: false, grace: 0 };
const PARTITIONS: i32 = 4;
const PLACES: i32 = 3;

fn table() -> Table {
    cql::parse(TABLE).unwrap().into_table().unwrap()
}

fn number(name: &str) -> u32 {
    table().columns.iter().find(|c| c.name == name).unwrap().number
}

/// One write to a partition.
#[derive(Debug, Clone)]
enum Write {
    Partition(Deletion),
    /// Between bounds, each a prefix of the clustering and whether it is after it; in key order or void.
    Interval(Vec<i32>, bool, Vec<i32>, bool, Deletion),
    RowDeletion(i32, i32, Deletion),
    Row(i32, i32, i64, Option<i32>),
    Static(i64, Option<i32>),
}

fn deletion_entry(d: Deletion) -> Entry<'static> {
    Entry { column: 0, kind: EntryKind::Deletion, element: None, time: d.time, ldt: d.ldt, ttl: 0, value: None }
}

fn body(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    entries.iter().for_each(|e| writer.push(e));
    body
}

/// A value, or for none a tombstone.
fn cell(column: &str, time: i64, value: Option<i32>) -> Vec<u8> {
    let bytes = value.map(i32::to_be_bytes);
    let (kind, ldt) = if value.is_some() { (EntryKind::Cell, 0) } else { (EntryKind::Tombstone, 7) };
    let column = number(column);
    body(&[Entry { column, kind, element: None, time, ldt, ttl: 0, value: bytes.as_ref().map(|b| &b[..]) }])
}

fn group(k: i32) -> Vec<u8> {
    let mut key = Vec::new();
    comparable::put_group(&mut key, &k.to_be_bytes());
    key
}

fn key(k: i32, clustering: &[i32], bound: Option<bool>) -> Vec<u8> {
    let raw: Vec<[u8; 4]> = clustering.iter().map(|n| n.to_be_bytes()).collect();
    let parts: Vec<Option<&[u8]>> = raw.iter().map(|b| Some(&b[..])).collect();
    let mut key = group(k);
    let columns = Clustering::of(&table()).unwrap();
    match bound {
        Some(after) => columns.bound(&mut key, &parts, after).unwrap(),
        None => drop(columns.row(&mut key, &parts).unwrap()),
    }
    key
}

/// A write as a run of its own.
fn run(k: i32, write: &Write) -> Vec<Plain> {
    let group_len = group(k).len();
    let plain = |key, class, body| Plain { key, group_len, class, body };
    let head = |last: u8| [group(k), vec![last]].concat();
    match write {
        Write::Partition(d) => vec![plain(head(0), Class::Group, body(&[deletion_entry(*d)]))],
        Write::Interval(from, after_from, to, after_to, d) => {
            let (from, to) = (key(k, from, Some(*after_from)), key(k, to, Some(*after_to)));
            if from >= to {
                return Vec::new();
            }
            vec![plain(from, Class::Marker, body(&[deletion_entry(*d)])), plain(to, Class::Marker, Vec::new())]
        }
        Write::RowDeletion(c, d, at) => vec![plain(key(k, &[*c, *d], None), Class::Row, body(&[deletion_entry(*at)]))],
        Write::Row(c, d, time, v) => vec![plain(key(k, &[*c, *d], None), Class::Row, cell("v", *time, *v))],
        Write::Static(time, s) => vec![plain(head(1), Class::Static, cell("s", *time, *s))],
    }
}

fn deletions() -> impl Strategy<Value = Deletion> {
    (0i64..10, 0u32..3).prop_map(|(time, ldt)| Deletion { time, ldt })
}

fn bounds() -> impl Strategy<Value = (Vec<i32>, bool)> {
    (proptest::collection::vec(0..PLACES, 0..3), any::<bool>())
}

fn writes() -> impl Strategy<Value = Vec<(i32, Write, bool)>> {
    let write = prop_oneof![
        1 => deletions().prop_map(Write::Partition),
        2 => (bounds(), bounds(), deletions()).prop_map(|((f, a), (t, b), d)| Write::Interval(f, a, t, b, d)),
        1 => (0..PLACES, 0..PLACES, deletions()).prop_map(|(c, d, at)| Write::RowDeletion(c, d, at)),
        6 => (0..PLACES, 0..PLACES, 0i64..12, proptest::option::weighted(0.8, 0..3))
            .prop_map(|(c, d, t, v)| Write::Row(c, d, t, v)),
        1 => (0i64..12, proptest::option::weighted(0.8, 0..3)).prop_map(|(t, s)| Write::Static(t, s)),
    ];
    proptest::collection::vec((0..PARTITIONS, write, any::<bool>()), 0..60)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    K,
    C,
    D,
    V,
    S,
    Token,
}

/// A column, an operator and what is compared with (all of it for IN).
#[derive(Debug, Clone)]
struct Condition(Column, &'static str, Vec<i64>);

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let operator = || prop_oneof![3 => Just("="), 1 => Just("<"), 1 => Just("<="), 1 => Just(">"), 1 => Just(">=")];
    let on = move |column, max: i32| {
        prop_oneof![
            3 => (operator(), 0..max).prop_map(move |(o, n)| Condition(column, o, vec![n.into()])),
            1 => proptest::collection::vec(0..i64::from(max), 1..4).prop_map(move |n| Condition(column, "IN", n)),
        ]
    };
    let token = (operator(), 0..PARTITIONS, -1i64..2)
        .prop_map(|(o, k, add)| Condition(Column::Token, o, vec![murmur3::token(&k.to_be_bytes()) + add]));
    proptest::collection::vec(
        prop_oneof![
            5 => on(Column::K, PARTITIONS),
            4 => on(Column::C, PLACES),
            3 => on(Column::D, PLACES),
            1 => on(Column::V, 3),
            1 => on(Column::S, 3),
            1 => token,
        ],
        0..5,
    )
}

fn text(conditions: &[Condition]) -> String {
    let one = |Condition(column, operator, values): &Condition| {
        let name = match column {
            Column::Token => "token(k)".to_owned(),
            other => format!("{other:?}"),
        };
        let values: Vec<String> = values.iter().map(i64::to_string).collect();
        let values = if *operator == "IN" { format!("({})", values.join(", ")) } else { values[0].clone() };
        format!("{name} {operator} {values}")
    };
    conditions.iter().map(one).collect::<Vec<_>>().join(" AND ")
}

/// Values of a row as conditions see them.
#[derive(Debug, Clone, Copy)]
struct Values {
    k: i32,
    clustering: Option<(i32, i32)>,
    v: Option<i32>,
    s: Option<i32>,
}

fn hold(conditions: &[Condition], row: Values) -> bool {
    conditions.iter().all(|Condition(column, operator, values)| {
        let value = match column {
            Column::K => Some(i64::from(row.k)),
            Column::C => row.clustering.map(|(c, _)| c.into()),
            Column::D => row.clustering.map(|(_, d)| d.into()),
            Column::V => row.v.map(Into::into),
            Column::S => row.s.map(Into::into),
            Column::Token => Some(murmur3::token(&row.k.to_be_bytes())),
        };
        value.is_some_and(|value| match *operator {
            "<" => value < values[0],
            "<=" => value <= values[0],
            ">" => value > values[0],
            ">=" => value >= values[0],
            _ => values.contains(&value),
        })
    })
}

/// What a run says of a table: bodies of rows by place, and the deletion in force at each place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    rows: BTreeMap<(i32, i32, i32), Vec<u8>>,
    statics: BTreeMap<i32, Vec<u8>>,
    partitions: BTreeMap<i32, Deletion>,
    in_force: BTreeMap<(i32, i32, i32), Deletion>,
}

fn said(all: &[Plain]) -> Said {
    let mut said = Said::default();
    let deletion =
        |body: &[u8]| Entries::new(body).next_entry().unwrap().map(|e| Deletion { time: e.time, ldt: e.ldt });
    for k in 0..PARTITIONS {
        let prefix = group(k);
        let mine: Vec<&Plain> = all.iter().filter(|r| r.key.starts_with(&prefix)).collect();
        for r in &mine {
            match comparable::split(&r.key).unwrap().position {
                Position::Static => drop(said.statics.insert(k, r.body.clone())),
                Position::Group => drop(said.partitions.insert(k, deletion(&r.body).unwrap())),
                _ => {}
            }
        }
        for (c, d) in (0..PLACES).flat_map(|c| (0..PLACES).map(move |d| (c, d))) {
            let at = key(k, &[c, d], None);
            if let Some(r) = mine.iter().find(|r| r.key == at) {
                said.rows.insert((k, c, d), r.body.clone());
            }
            let open = mine.iter().rfind(|r| r.class == Class::Marker && r.key < at).and_then(|r| deletion(&r.body));
            if let Some(best) = open.max(said.partitions.get(&k).copied()) {
                said.in_force.insert((k, c, d), best);
            }
        }
    }
    said
}

fn value(body: Option<&Vec<u8>>, column: &str) -> Option<i32> {
    let number = number(column);
    let entries = body.map(|b| Entries::new(b).collect::<repo_format::Result<Vec<_>>>().unwrap());
    let cell = entries?.into_iter().find(|e| e.column == number && e.kind == EntryKind::Cell)?;
    Some(i32::from_be_bytes(cell.value.unwrap().try_into().unwrap()))
}

/// What of a view the conditions name.
fn expected(view: &Said, conditions: &[Condition]) -> Said {
    let on = |column: Column| conditions.iter().any(|c| c.0 == column);
    let c_is_given = conditions.iter().any(|c| c.0 == Column::C && ["=", "IN"].contains(&c.1));
    let row_by_row = on(Column::V) || on(Column::S) || (on(Column::D) && !c_is_given);
    let whole = !row_by_row && !on(Column::C) && !on(Column::D);
    let mut named = Said::default();
    for k in 0..PARTITIONS {
        let s = value(view.statics.get(&k), "s");
        if hold(conditions, Values { k, clustering: None, v: None, s }) {
            named.statics.extend(view.statics.get(&k).map(|body| (k, body.clone())));
            if whole {
                named.partitions.extend(view.partitions.get(&k).map(|d| (k, *d)));
            }
        }
        for (c, d) in (0..PLACES).flat_map(|c| (0..PLACES).map(move |d| (c, d))) {
            let body = view.rows.get(&(k, c, d));
            if hold(conditions, Values { k, clustering: Some((c, d)), v: value(body, "v"), s }) {
                named.rows.extend(body.map(|body| ((k, c, d), body.clone())));
                if !row_by_row {
                    named.in_force.extend(view.in_force.get(&(k, c, d)).map(|at| ((k, c, d), *at)));
                }
            }
        }
    }
    named
}

/// Counts what is asked for.
struct Counting<'a>(&'a Chunks, AtomicUsize);

impl ChunkSource for Counting<'_> {
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(kind, id)
    }
}

/// A snapshot of one table: layers of records.
fn snapshot(layers: Vec<Tree>) -> Snapshot {
    let rows = layers.iter().map(|l| l.records).sum();
    let shard = Shard {
        name: "ks.t".into(),
        kind: ShardKind::Records,
        id: "1".into(),
        leaf_records: 4,
        rows,
        expiring: None,
        digest: String::new(),
        layers,
        not_captured: Vec::new(),
        unowned: Default::default(),
        unread: Vec::new(),
        ring_known: true,
        bytes_read: 1 << 20,
        description: serde_json::to_value(table()).unwrap(),
    };
    Snapshot {
        version: 0,
        must: Vec::new(),
        engine: "cassandra".into(),
        host: None,
        tags: Vec::new(),
        given_tags: None,
        comment: None,
        accepted: Vec::new(),
        cluster: "c".into(),
        started_ms: 0,
        finished_ms: 0,
        window: (0, 0),
        cut: Cut { seconds: CUT, position: None },
        complete: true,
        node_views: true,
        nodes: vec![onefold::engine::Node { name: "n1".into(), ..Default::default() }],
        shards: vec![shard],
        patches: None,
        files: None,
        problems: Vec::new(),
        narrowed: Default::default(),
        notes: Vec::new(),
        bytes_read: 0,
        description: serde_json::to_value(ClusterDescription::default()).unwrap(),
    }
}

fn stored(writes: &[(i32, Write, bool)], chunks: &Chunks) -> (Snapshot, Vec<Plain>) {
    let runs = |layer: Option<bool>| -> Vec<Box<dyn Run>> {
        let mine = writes.iter().filter(|(_, _, at)| layer.is_none_or(|layer| layer == *at));
        mine.map(|(k, write, _)| run_of(run(*k, write))).collect()
    };
    let all = collect(&mut Merge::of(runs(None), &RULE)).unwrap();
    let base = tree::write(&mut Merge::of(runs(Some(false)), &RULE), chunks, &shape(4)).unwrap();
    let Some(base) = base else {
        let root = tree::write(&mut *run_of(all.clone()), chunks, &shape(4)).unwrap();
        return (snapshot(root.map(Tree::from).into_iter().collect()), all);
    };
    let mut layering = Layering::new(Box::new(BeforeRun::new(Box::new(TreeRun::new(Some(base), chunks)))));
    let (mut writer, mut batch) = (TreeWriter::new(chunks, &shape(4)).of_layer(), RecordBatch::new());
    let mut run = run_of(all.clone());
    while run.next_batch(&mut batch).unwrap() {
        layering.push(&batch, &mut |record| writer.push(record)).unwrap();
    }
    layering.finish(&mut |record| writer.push(record)).unwrap();
    let layers = [Some(base), writer.finish().unwrap()].into_iter().flatten().map(Tree::from).collect();
    (snapshot(layers), all)
}

fn selected(s: &Snapshot, condition: &str, node: Option<usize>, chunks: &dyn ChunkSource) -> Vec<Plain> {
    let side = node.map_or(Side::Reconciled, Side::Node);
    let view = View::open(&Cassandra, s, &s.shards[0], chunks).unwrap().of(side);
    let selection = Some(condition).filter(|c| !c.is_empty()).map(|text| view.select(text).unwrap());
    collect(view.records(selection.as_deref()).unwrap().as_mut()).unwrap()
}

/// Every record, those too that are said again where a range begins.
fn every(run: &mut dyn Run) -> Vec<(Vec<u8>, Class, Vec<u8>)> {
    let (mut batch, mut out) = (RecordBatch::new(), Vec::new());
    while run.next_batch(&mut batch).unwrap() {
        out.extend(batch.iter().map(|r| (r.key.to_vec(), r.class, r.body.to_vec())));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_selection_is_what_the_conditions_name(writes in writes(), conditions in conditions()) {
        let chunks = Chunks::default();
        let (s, view) = stored(&writes, &chunks);
        let got = selected(&s, &text(&conditions), None, &chunks);
        prop_assert_eq!(said(&got), expected(&said(&view), &conditions), "{}", text(&conditions));
    }

    /// Markers stand only where the deletion in force changes, and what a node's own view gives is the same.
    #[test]
    fn a_selection_is_in_normal_form(writes in writes(), conditions in conditions()) {
        let chunks = Chunks::default();
        let writes: Vec<_> = writes.into_iter().map(|(k, w, _)| (k, w, false)).collect();
        let (s, _) = stored(&writes, &chunks);
        let got = selected(&s, &text(&conditions), None, &chunks);
        let again = collect(&mut Merge::of(vec![run_of(got.clone())], &RULE)).unwrap();
        prop_assert_eq!(&again, &got, "{}", text(&conditions));
        if !s.shards[0].layers.is_empty() {
            prop_assert_eq!(selected(&s, &text(&conditions), Some(0), &chunks), got, "{}", text(&conditions));
            // A run that cannot be entered in its middle says the same where a range begins.
            let [looked_up, gone_through] = [Side::Reconciled, Side::Node(0)].map(|side| {
                let view = View::open(&Cassandra, &s, &s.shards[0], &chunks).unwrap().of(side);
                let text = Some(text(&conditions)).filter(|text| !text.is_empty());
                let selection = text.map(|text| view.select(&text).unwrap());
                let ranges = selection.map(|selection| selection.reads(Wanted::Rows).unwrap());
                ranges.map(|ranges| every(view.ranges(ranges).unwrap().as_mut()))
            });
            prop_assert_eq!(looked_up, gone_through, "{}", text(&conditions));
        }
    }
}

/// A look-up in a large table reads one path, and little more for a slice of a wide partition.
#[test]
fn a_look_up_reads_few_chunks() {
    let chunks = Chunks::default();
    let group_len = |k| group(k).len();
    let row = |k: i32, c: i32| Plain {
        key: key(k, &[c, 0], None),
        group_len: group_len(k),
        class: Class::Row,
        body: cell("v", 5, Some(c)),
    };
    let mut all: Vec<Plain> = (0..3000).map(|k| row(k, 1)).chain((0..3000).map(|c| row(7, c))).collect();
    let whole = Entry { time: 3, ldt: 3, ..deletion_entry(Deletion { time: 3, ldt: 3 }) };
    all.push(Plain {
        key: [group(7), vec![0]].concat(),
        group_len: group_len(7),
        class: Class::Group,
        body: body(&[whole]),
    });
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all.dedup_by(|a, b| a.key == b.key);
    let root = tree::write(run_of(all).as_mut(), &chunks, &shape(16)).unwrap().unwrap();
    let levels = usize::from(root.level);
    let s = snapshot(vec![root.into()]);
    let reads = |condition: &str, rows: usize| {
        let counting = Counting(&chunks, AtomicUsize::new(0));
        let got = selected(&s, condition, None, &counting);
        assert_eq!(got.iter().filter(|r| r.class == Class::Row).count(), rows, "{condition}");
        (counting.1.load(Ordering::Relaxed), got)
    };
    assert!(levels >= 4, "{levels}");
    // A leaf more where the range ends with the leaf, and what of its path lies beside it.
    for (condition, rows, more) in [
        ("k = 5", 1, levels),
        ("k = 4711", 0, levels),
        ("k = 7 AND c = 1500", 1, levels),
        ("k = 7 AND c = 9999", 0, levels),
        ("k = 7 AND c = 1500 AND d > 5", 0, levels),
        ("k = 7 AND c >= 1500 AND c < 1600", 100, levels + 40),
        ("k IN (5, 6, 8)", 3, 3 * levels + 2),
        ("k = 7 AND c IN (5, 2000)", 2, 2 * levels + 1),
        ("token(k) = -2597234606208325170", 0, levels),
    ] {
        let (got, _) = reads(condition, rows);
        assert!(got <= levels + 1 + more, "{condition}: {got} chunks, {levels} levels");
    }
    // The partition's deletion, wherever it stands, is that of the slice, rows or not.
    for condition in ["k = 7 AND c = 1500", "k = 7 AND c = 9999"] {
        let (_, got) = reads(condition, usize::from(condition.ends_with("1500")));
        let classes: Vec<Class> = got.iter().map(|r| r.class).filter(|c| *c != Class::Row).collect();
        assert_eq!(classes, [Class::Marker, Class::Marker], "{condition}");
        assert_eq!((&got[0].body, got.last().unwrap().body.len()), (&body(&[whole]), 0));
    }
    let (scan, _) = reads("v = 1500", 1);
    assert!(scan > 300, "{scan}");
}

#[test]
fn reading_tells_how_far_it_is_and_stops_when_asked() {
    let chunks = Chunks::default();
    let writes: Vec<_> = (0..4).map(|k| (k, Write::Row(1, 1, 5, Some(k)), false)).collect();
    let (s, _) = stored(&writes, &chunks);
    for condition in [None, Some("k = 1"), Some("v = 99")] {
        let watch = Watch::new();
        let view = View::open(&Cassandra, &s, &s.shards[0], &chunks).unwrap().watched(&watch);
        let selection = condition.map(|text| view.select(text).unwrap());
        collect(view.records(selection.as_deref()).unwrap().as_mut()).unwrap();
        assert_eq!(watch.bytes_done.load(Ordering::Relaxed), 1 << 20, "{condition:?}");
        watch.interrupt();
        let mut run = view.records(selection.as_deref()).unwrap();
        assert_eq!(collect(run.as_mut()).err().unwrap().kind(), onefold::Kind::Interrupted);
    }
}
