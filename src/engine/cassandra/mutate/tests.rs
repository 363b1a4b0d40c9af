use super::*;
use crate::engine::cassandra::comparable::put_group;
use repo_format::record::{BodyWriter, Traits};

fn table(columns: &[(&str, &str, &str, bool)]) -> Table {
    let mut made = Table { keyspace: "ks".into(), name: "t".into(), ..Table::default() };
    for (number, (name, role, cql_type, descending)) in (0_u32..).zip(columns) {
        let key = *role == "partition_key" || *role == "clustering";
        let document = serde_json::json!({
            "name": name, "number": if key { 0 } else { number }, "role": role, "position": number,
            "descending": descending, "cql_type": cql_type, "dropped_at": null, "gone": false,
        });
        made.columns.push(serde_json::from_value(document).unwrap());
    }
    made
}

fn clustered(descending: [bool; 3]) -> Table {
    let [a, b, c] = descending;
    table(&[
        ("k", "partition_key", "int", false),
        ("a", "clustering", "int", a),
        ("b", "clustering", "int", b),
        ("c", "clustering", "int", c),
        ("l", "regular", "list<int>", false),
        ("v", "regular", "int", false),
    ])
}

fn int(n: i32) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// Whether a row is among those that a statement deletes.
fn deletes(mutation: &Mutation, row: [i32; 3]) -> bool {
    let (_, conditions) = mutation.text.split_once(" WHERE ").unwrap();
    let mut values = mutation.values[1..].iter();
    conditions.split(" AND ").all(|condition| {
        let wanted = i32::from_be_bytes(values.next().unwrap().as_slice().try_into().unwrap());
        let (name, rest) = condition.split_once(' ').unwrap();
        let value = match name {
            "k" => 7,
            name => row[usize::from(name.as_bytes()[0] - b'a')],
        };
        match rest {
            "= ?" => value == wanted,
            "> ?" => value > wanted,
            ">= ?" => value >= wanted,
            "< ?" => value < wanted,
            "<= ?" => value <= wanted,
            other => panic!("{other}"),
        }
    })
}

#[test]
fn a_range_is_deleted_by_pieces_that_make_it_up_exactly() {
    for directions in 0..8 {
        let table = clustered([0, 1, 2].map(|bit| directions >> bit & 1 == 1));
        let mut mutations = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::Keep).unwrap();
        let clustering = mutations.layout.clustering().clone();
        let mut group = Vec::new();
        put_group(&mut group, &int(7));
        let mut bounds = Vec::new();
        for depth in 0..4_u32 {
            for n in 0..3_i32.pow(depth) {
                let parts: Vec<Vec<u8>> = (0..depth).map(|d| int(n / 3_i32.pow(d) % 3)).collect();
                let parts: Vec<Option<&[u8]>> = parts.iter().map(|p| Some(&p[..])).collect();
                for after in [false, true] {
                    let mut key = group.clone();
                    clustering.bound(&mut key, &parts, after).unwrap();
                    bounds.push(key);
                }
            }
        }
        let rows: Vec<([i32; 3], Vec<u8>)> = (0..27)
            .map(|n| {
                let row = [n / 9, n / 3 % 3, n % 3];
                let values = row.map(int);
                let mut key = group.clone();
                clustering.row(&mut key, &[Some(&values[0][..]), Some(&values[1]), Some(&values[2])]).unwrap();
                (row, key)
            })
            .collect();
        for from in &bounds {
            for to in bounds.iter().filter(|to| from < *to) {
                let mut made = Vec::new();
                mutations.delete_slice(from, to, 5, &mut made).unwrap();
                for (row, key) in &rows {
                    let meant = from < key && key < to;
                    let hits = made.iter().filter(|m| deletes(m, *row)).count();
                    assert_eq!(hits, usize::from(meant), "{row:?} {made:#?}");
                }
            }
        }
    }
}

fn push(mutations: &mut Mutations, key: &[u8], class: Class, entries: &[Entry<'_>], now: u32) -> Vec<Mutation> {
    let (mut body, mut out) = (Vec::new(), Vec::new());
    let mut writer = BodyWriter::new(&mut body);
    entries.iter().for_each(|e| writer.push(e));
    let group_len = comparable::split(key).unwrap().group_len;
    let record = Record { key, group_len, class, traits: Traits::default(), body: &body };
    mutations.push(&record, now, &mut out).unwrap();
    out
}

fn row_key(table: &Table, clustering: [i32; 3]) -> Vec<u8> {
    let mut key = Vec::new();
    put_group(&mut key, &int(7));
    let values = clustering.map(int);
    let parts: Vec<Option<&[u8]>> = values.iter().map(|v| Some(&v[..])).collect();
    Clustering::of(table).unwrap().row(&mut key, &parts).unwrap();
    key
}

fn cell(column: u32, time: i64, end: u32, value: &[u8]) -> Entry<'_> {
    let ttl = if end == 0 { 0 } else { 100 };
    Entry { column, kind: EntryKind::Cell, element: None, time, ldt: end, ttl, value: Some(value) }
}

#[test]
fn what_ended_since_the_snapshot_is_a_tombstone_unless_it_is_shifted_or_lifted() {
    let table = clustered([false; 3]);
    let key = row_key(&table, [1, 2, 3]);
    let entries = [cell(5, 10, 1_000, b"\0\0\0\x01")];
    let made = |ttl: Ttl, now| {
        let mut mutations = Mutations::new(&table, "ks", "t", ttl, Times::Keep).unwrap();
        let made = push(&mut mutations, &key, Class::Row, &entries, now);
        (made, mutations.not_carried().clone())
    };
    let (kept, _) = made(Ttl::Keep, 999);
    assert_eq!(
        kept[0].text,
        "UPDATE ks.t USING TIMESTAMP ? AND TTL ? SET v = ? WHERE k = ? AND a = ? AND b = ? AND c = ?"
    );
    assert_eq!(kept[0].ttl, Some((1, 1_000)));
    let mut late = kept[0].clone();
    late.set_ttl(2_000);
    assert_eq!(late.values[1], int(1), "never none, which would mean for ever");
    late.set_ttl(400);
    assert_eq!(late.values[1], int(600));
    let (expired, counted) = made(Ttl::Keep, 1_000);
    assert_eq!(expired[0].text, "DELETE v FROM ks.t USING TIMESTAMP ? WHERE k = ? AND a = ? AND b = ? AND c = ?");
    assert_eq!(counted["cells expired since the snapshot"], 1);
    assert_eq!(made(Ttl::Shift { cut: 900 }, 5_000).0[0].ttl, Some((1, 5_100)));
    assert_eq!(made(Ttl::Shift { cut: 1_000 }, 5_000).0[0].text, expired[0].text);
    assert_eq!(made(Ttl::Lift, 5_000).0[0].ttl, None);
}

#[test]
fn lists_are_appended_run_by_run_and_say_how_to_find_out() {
    let table = clustered([false; 3]);
    let key = row_key(&table, [1, 2, 3]);
    let mut mutations = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::Keep).unwrap();
    // Time-UUIDs whose bytes are not in the order of their times.
    let paths: Vec<Vec<u8>> = [[9, 1], [1, 2], [5, 2], [0, 3]]
        .map(|[low, mid]| [&[0, 0, 0, low, 0, mid, 0x10, 0][..], &[0x80; 8]].concat())
        .into();
    let mut entries = vec![
        Entry { element: Some(&paths[3]), ..cell(4, 20, 0, b"d") },
        Entry { element: Some(&paths[1]), ..cell(4, 10, 0, b"b") },
        Entry { element: Some(&paths[2]), ..cell(4, 20, 0, b"c") },
        Entry { element: Some(&paths[0]), ..cell(4, 10, 0, b"a") },
    ];
    entries.sort_by_key(|e| e.element);
    let made = push(&mut mutations, &key, Class::Row, &entries, 0);
    let appended: Vec<_> = made.iter().map(|m| (m.append.clone().unwrap(), m.values[2].clone())).collect();
    assert_eq!(
        made[0].text,
        "UPDATE ks.t USING TIMESTAMP ? AND TTL ? SET l = l + ? WHERE k = ? AND a = ? AND b = ? AND c = ?"
    );
    assert_eq!((appended[0].0.before, appended[0].0.count, appended[1].0.before, appended[1].0.count), (0, 2, 2, 2));
    assert_eq!(appended[0].1, b"\0\0\0\x02\0\0\0\x01a\0\0\0\x01b");
    assert_eq!(appended[1].1, b"\0\0\0\x02\0\0\0\x01c\0\0\0\x01d");
    assert_eq!(appended[0].0.read, "SELECT l FROM ks.t WHERE k = ? AND a = ? AND b = ? AND c = ?");
    assert_eq!(mutations.not_carried()["elements of lists, whose places are new"], 4);
    let mut now = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::From(1_000)).unwrap();
    let made = push(&mut now, &key, Class::Row, &entries, 0);
    assert_eq!(made[0].text, "DELETE l FROM ks.t USING TIMESTAMP ? WHERE k = ? AND a = ? AND b = ? AND c = ?");
    let times: Vec<i64> = made.iter().map(|m| i64::from_be_bytes(m.values[0].as_slice().try_into().unwrap())).collect();
    assert_eq!(times, [1_002, 1_003, 1_004], "what is there goes, then the elements in their order");
}

#[test]
fn large_rows_are_written_by_several_statements() {
    let mut columns = vec![("k", "partition_key", "int", false)];
    let names: Vec<String> = (0..4).map(|n| format!("v{n}")).collect();
    columns.extend(names.iter().map(|n| (n.as_str(), "regular", "blob", false)));
    let table = table(&columns);
    let mut key = Vec::new();
    put_group(&mut key, &int(7));
    Clustering::of(&table).unwrap().row(&mut key, &[]).unwrap();
    let large = vec![1; STATEMENT_BYTES / 2 + 1];
    let mut entries: Vec<_> = (1..5).map(|column| cell(column, 5, 0, &large)).collect();
    let mut mutations = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::Keep).unwrap();
    let made = push(&mut mutations, &key, Class::Row, &entries, 0);
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|m| m.text.starts_with("UPDATE ")));
    entries.insert(0, Entry { value: None, ..cell(0, 5, 0, b"") });
    let made = push(&mut mutations, &key, Class::Row, &entries, 0);
    assert_eq!(made.len(), 4);
    assert!(made.iter().all(|m| m.text.starts_with("INSERT INTO ks.t (k, v")), "{}", made[0].text);
}

fn deletion(column: u32, time: i64) -> Entry<'static> {
    Entry { column, kind: EntryKind::Deletion, element: None, time, ldt: 9, ttl: 0, value: None }
}

fn tombstone(column: u32, time: i64) -> Entry<'static> {
    Entry { kind: EntryKind::Tombstone, ..deletion(column, time) }
}

/// What a statement does to which columns, and when: `DELETE v 1002`.
fn brief(mutations: &[Mutation]) -> Vec<String> {
    let of = |m: &Mutation| {
        let (verb, rest) = m.text.split_once(' ').unwrap();
        let what = if verb == "DELETE" { rest.split_once("FROM").unwrap().0.trim() } else { "" };
        let place = m.text.split_once("TIMESTAMP").unwrap().0.matches('?').count();
        format!("{verb} {what} {}", i64::from_be_bytes(m.values[place].as_slice().try_into().unwrap()))
    };
    mutations.iter().map(of).collect()
}

#[test]
fn over_what_is_there_deletions_are_written_within_restored_rows_only() {
    let mut table = clustered([false; 3]);
    let document = serde_json::json!({
        "name": "s", "number": 9, "role": "static", "position": 9,
        "descending": false, "cql_type": "int", "dropped_at": null, "gone": false,
    });
    table.columns.push(serde_json::from_value(document).unwrap());
    let mut mutations = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::Over(1_000)).unwrap();
    let key = |n| row_key(&table, [n, 2, 3]);
    let live = [cell(5, 20, 0, b"\0\0\0\x01")];
    let mut of = |key: &[u8], class, entries: &[Entry<'_>]| brief(&push(&mut mutations, key, class, entries, 0));
    assert_eq!(of(&key(1), Class::Row, &live), ["UPDATE  1003"], "nothing was deleted around it");
    assert!(of(&key(2), Class::Row, &[deletion(0, 10), tombstone(5, 20)]).is_empty(), "a row that was deleted");
    let deleted = [deletion(0, 10), deletion(4, 15), cell(5, 20, 0, b"\0\0\0\x01")];
    assert_eq!(of(&key(3), Class::Row, &deleted), ["DELETE  1003", "DELETE l 1004", "UPDATE  1005"]);
    let (mut from, mut to) = (Vec::new(), Vec::new());
    put_group(&mut from, &int(7));
    put_group(&mut to, &int(7));
    let clustering = Clustering::of(&table).unwrap();
    clustering.bound(&mut from, &[Some(&int(4)[..])], false).unwrap();
    clustering.bound(&mut to, &[Some(&int(5)[..])], true).unwrap();
    assert!(of(&from, Class::Marker, &[deletion(0, 10)]).is_empty());
    assert_eq!(of(&key(5), Class::Row, &live), ["DELETE  1002", "UPDATE  1003"], "other columns of it were deleted");
    assert!(of(&to, Class::Marker, &[]).is_empty());
    assert_eq!(of(&key(6), Class::Row, &live), ["UPDATE  1003"]);
    let mut partition = Vec::new();
    put_group(&mut partition, &int(8));
    let mut statics = partition.clone();
    comparable::put_group_record(&mut partition);
    comparable::put_static(&mut statics);
    assert!(of(&partition, Class::Group, &[deletion(0, 10)]).is_empty());
    assert_eq!(of(&statics, Class::Static, &[cell(9, 20, 0, b"\0\0\0\x01")]), ["DELETE s 1002", "UPDATE  1003"]);
    assert_eq!(mutations.not_carried()[LEFT_OUT], 4);
    assert_eq!(mutations.not_carried()[DELETIONS], 2);
}

#[test]
fn no_number_of_deleted_elements_is_too_large_for_statements() {
    let table = table(&[("k", "partition_key", "int", false), ("m", "regular", "map<int, int>", false)]);
    let mut key = Vec::new();
    put_group(&mut key, &int(7));
    Clustering::of(&table).unwrap().row(&mut key, &[]).unwrap();
    let paths: Vec<Vec<u8>> = (0..70_000).map(int).collect();
    let entries: Vec<_> = paths.iter().map(|path| Entry { element: Some(path), ..tombstone(1, 5) }).collect();
    let mut mutations = Mutations::new(&table, "ks", "t", Ttl::Keep, Times::Keep).unwrap();
    let made = push(&mut mutations, &key, Class::Row, &entries, 0);
    assert!(made.iter().all(|m| m.text.matches('?').count() == m.values.len() && m.values.len() <= 502));
    let deleted: Vec<&Vec<u8>> = made.iter().flat_map(|m| &m.values[..m.values.len() - 2]).collect();
    assert_eq!(deleted, paths.iter().collect::<Vec<_>>());
}

#[test]
fn counters_are_refused() {
    let counters = Table { counter: true, ..clustered([false; 3]) };
    let refused = Mutations::new(&counters, "ks", "t", Ttl::Keep, Times::Keep).err().unwrap();
    assert!(refused.to_string().contains("--to sstables"), "{refused}");
}
