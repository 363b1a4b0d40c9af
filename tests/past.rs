//! What changed between snapshots, what rows were, where a key is: `diff`, `history` and `find`, through the real binary on real captures,
//! against what restores of the same snapshots give.

mod nights;
mod page;
mod schemas;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::cassandra_rows::captures;
use crate::user::{User, three};

/// By column: a value, and when it was written, as they are spelled.
type Cells = BTreeMap<String, (String, String)>;

/// Rows by kind and key.
type Rows = BTreeMap<(String, String), Cells>;

/// What an object has by name, as it is spelled: numbers that are equal may be two keys. Names without the quotes that the database
/// writes around some.
fn named(object: &str) -> BTreeMap<String, String> {
    let all: BTreeMap<String, &RawValue> = serde_json::from_str(object).unwrap();
    all.into_iter().map(|(name, value)| (name.replace('"', ""), value.get().to_owned())).collect()
}

/// What a snapshot says of itself.
fn shown(user: &User, id: &str) -> Value {
    user.run(&["show", id, "--json"]).objects().remove(0)
}

/// Columns of a table by role.
fn roles(shown: &Value, table: &str) -> BTreeMap<String, String> {
    let shard = shown["shards"].as_array().unwrap().iter().find(|shard| shard["name"] == table).unwrap();
    let columns = shard["description"]["columns"].as_array().unwrap().iter();
    let of =
        |column: &Value| (column["name"].as_str().unwrap().to_owned(), column["role"].as_str().unwrap().to_owned());
    columns.filter(|column| column["gone"] == false).map(of).collect()
}

/// The rows of a table as a restore gives them, static rows apart.
fn rows_of(text: &str, roles: &BTreeMap<String, String>) -> Rows {
    let is = |name: &String, role: &str| roles.get(name).is_some_and(|of| of == role);
    let has_clustering = roles.values().any(|role| role == "clustering");
    let mut rows = Rows::new();
    for line in text.lines() {
        let row = named(line);
        let of = |role: &str| -> Cells {
            let values = row.iter().filter(|(name, value)| is(name, role) && *value != "null");
            let time = |name: &String| row.get(&format!("writetime({name})")).cloned().unwrap_or_default();
            values.map(|(name, value)| (name.clone(), (value.clone(), time(name)))).collect()
        };
        let key = |all: &[&str]| {
            let is_part =
                |(name, value): &(&String, &String)| all.iter().any(|role| is(name, role)) && *value != "null";
            format!("{:?}", row.iter().filter(is_part).collect::<BTreeMap<_, _>>())
        };
        if !has_clustering || row.iter().any(|(name, value)| is(name, "clustering") && value != "null") {
            rows.insert(("row".into(), key(&["partition_key", "clustering"])), of("regular"));
        }
        let shared = of("static");
        if !shared.is_empty() {
            rows.insert(("static row".into(), key(&["partition_key"])), shared);
        }
    }
    rows
}

/// The rows that conditions name.
fn restored(user: &User, shown: &Value, table: &str, conditions: &str) -> Rows {
    let id = shown["id"].as_str().unwrap();
    let ran = user.run(&["restore", id, "--to", "json", "--table", table, "--writetime", "--where", conditions]);
    assert!([Some(0), Some(3)].contains(&ran.code), "{ran:?}");
    rows_of(&ran.out, &roles(shown, table))
}

/// All rows of all tables that were captured.
fn everything(user: &User, shown: &Value) -> BTreeMap<String, Rows> {
    let id = shown["id"].as_str().unwrap();
    let out = user.path(&format!("rows-{id}"));
    let ran = user.run(&["restore", id, "--to", "json", "--writetime", "--out", out.to_str().unwrap()]);
    assert!([Some(0), Some(3)].contains(&ran.code), "{ran:?}");
    let rows = |table: String| {
        let text = fs::read_to_string(out.join(format!("{table}.jsonl"))).unwrap();
        (table.clone(), rows_of(&text, &roles(shown, &table)))
    };
    tables(user, id).into_iter().map(rows).collect()
}

/// What became of each row, the columns that differ, and both sides.
type Became = (String, BTreeSet<String>, Option<Cells>, Option<Cells>);

/// The same by kind and key.
type Changes = BTreeMap<(String, String), Became>;

fn compared(before: &Rows, after: &Rows) -> Changes {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let of = |key: &(String, String)| {
        let (one, other) = (before.get(key), after.get(key));
        let differ = |part: fn(&(String, String)) -> &String| -> BTreeSet<String> {
            let (Some(one), Some(other)) = (one, other) else { return BTreeSet::new() };
            let names = one.keys().chain(other.keys());
            names.filter(|name| one.get(*name).map(part) != other.get(*name).map(part)).cloned().collect()
        };
        let (values, times) = (differ(|cell| &cell.0), differ(|cell| &cell.1));
        let (what, columns) = match (one, other) {
            (None, _) => ("added", values),
            (_, None) => ("deleted", values),
            _ if !values.is_empty() => ("changed", values),
            _ if !times.is_empty() => ("rewritten", times),
            _ => return None,
        };
        Some((key.clone(), (what.to_owned(), columns, one.cloned(), other.cloned())))
    };
    keys.into_iter().filter_map(of).collect()
}

/// A row that `diff --json` or `history --json` printed.
fn said(line: &str) -> ((String, String), Became) {
    let row = named(line);
    let value = |name: &str| -> Value { serde_json::from_str(&row[name]).unwrap() };
    let side = |name: &str| -> Option<Cells> {
        let side = &row[name];
        if side == "null" {
            return None;
        }
        let (values, times) = (named(&named(side)["values"]), named(&named(side)["writetime"]));
        let cell =
            |(name, value): (String, String)| (name.clone(), (value, times.get(&name).cloned().unwrap_or_default()));
        Some(values.into_iter().map(cell).collect())
    };
    let text = |name: &str| value(name).as_str().unwrap().to_owned();
    let columns = value("columns");
    let columns = columns.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    let key = (text("record"), format!("{:?}", named(&row["key"])));
    (key, (text("what"), columns.collect(), side("before"), side("after")))
}

/// What `diff` says, by table: what became of rows, and how many they are; with which code it ends.
fn differ(user: &User, args: &[&str]) -> (BTreeMap<String, (Changes, Value)>, Option<i32>) {
    let ran = user.run(&[&["diff", "--json"], args].concat());
    let mut all: BTreeMap<String, (Changes, Value)> = BTreeMap::new();
    for (line, object) in ran.out.lines().zip(ran.objects()) {
        let table = object["table"].as_str().unwrap_or_default();
        match object["message_type"].as_str().unwrap() {
            "row" => {
                let (key, change) = said(line);
                let of = all.entry(table.to_owned()).or_default();
                assert!(of.0.insert(key.clone(), change).is_none(), "{key:?} twice");
            }
            "counts" => all.entry(table.to_owned()).or_default().1 = object.clone(),
            _ => {}
        }
    }
    (all, ran.code)
}

fn counts(changes: &Changes) -> [u64; 4] {
    ["added", "changed", "rewritten", "deleted"]
        .map(|what| changes.values().filter(|(of, ..)| of == what).count() as u64)
}

fn tables(user: &User, id: &str) -> Vec<String> {
    let all = user.run(&["ls", id, "--json"]).objects();
    let is_table = |object: &&Value| object["message_type"] == "table" && object["captured"] == true;
    all.iter().filter(is_table).map(|object| object["name"].as_str().unwrap().to_owned()).collect()
}

/// Snapshots of some nodes of a captured cluster.
fn three_snapshots(root: &std::path::Path) -> (User, Vec<String>) {
    let user = User::new();
    let nodes = three(root);
    for some in [&nodes[..2], &nodes[..], &nodes[2..]] {
        // Whole, or what was there before stood in for who is missing.
        let ran = user.backup(some, &["--whole"]);
        assert!([Some(0), Some(4)].contains(&ran.code), "{ran:?}");
    }
    let ids = user.snapshots();
    (user, ids)
}

#[test]
fn what_differs_is_what_restores_differ_in() {
    let (mut seen, mut shared) = ([0; 4], 0);
    for root in &captures()[..2] {
        let (user, ids) = three_snapshots(root);
        let rows: Vec<_> = ids.iter().map(|id| everything(&user, &shown(&user, id))).collect();
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            let (before, after) = (ids[one].as_str(), ids[other].as_str());
            let (found, code) = differ(&user, &[before, after]);
            assert_eq!(code, Some(4), "one of them is incomplete");
            assert!(found.keys().eq(rows[other].keys()) && found.len() > 30, "{:?}", found.keys());
            let mut sum = [0; 4];
            for (table, (found, counted)) in found {
                let expected = compared(&rows[one][&table], &rows[other][&table]);
                assert_eq!(found, expected, "{table} of {root:?}");
                let of_table = counts(&expected);
                for (i, what) in ["added", "changed", "rewritten", "deleted"].into_iter().enumerate() {
                    assert_eq!(counted[what], of_table[i], "{table}");
                    sum[i] += of_table[i];
                }
                shared += expected.keys().filter(|(record, _)| record == "static row").count();
            }
            let all = user.run(&["diff", before, after, "--counts", "--json"]).objects();
            let summary = all.last().unwrap();
            assert_eq!(["added", "changed", "rewritten", "deleted"].map(|what| summary[what].as_u64().unwrap()), sum);
            assert!(!all.iter().any(|object| object["message_type"] == "row"));
            seen.iter_mut().zip(sum).for_each(|(seen, n)| *seen += n);
        }
        let same = user.run(&["diff", &ids[1], &ids[1]]).fine();
        assert!(same.lines().count() == 3 && same.contains("0 differ: 0 added, 0 changed, 0 rewritten, 0 deleted"));
    }
    // These captures have no row of which all nodes hold the same values and some of them older times.
    assert!([0, 1, 3].iter().all(|n| seen[*n] > 100) && shared > 10, "{seen:?} {shared}");
}

/// Conditions on any column: a row counts where they name it in one of the two.
#[test]
fn conditions_choose_among_what_differs() {
    let (user, ids) = three_snapshots(&captures()[1]);
    let (before, after) = (shown(&user, &ids[1]), shown(&user, &ids[2]));
    let whole = [everything(&user, &before), everything(&user, &after)];
    let mut some = 0;
    for (table, conditions) in [
        ("lab.wide", "k = 1"),
        ("lab.wide", "k = 1 AND c >= 100"),
        ("lab.users", "name >= 'm'"),
        ("lab.statics", "s = 'newer'"),
        ("lab.statics", "k = 1 AND c > 1"),
        ("lab.statics", "s >= 'a' AND c >= 1"),
        ("lab.ranges", "token(k) >= 0"),
        ("lab.ties", "k IN (1, 2, 3)"),
    ] {
        let named = |of| restored(&user, of, table, conditions);
        let (one, other) = (named(&before), named(&after));
        let mut expected = compared(&whole[0][table], &whole[1][table]);
        // A restore gives static columns beside the rows that are named; whether they are a row that is named themselves is left open here.
        expected.retain(|key, _| key.0 == "row" && (one.contains_key(key) || other.contains_key(key)));
        let args = [ids[1].as_str(), &ids[2], "--table", table, "--where", conditions];
        let mut found = differ(&user, &args).0.remove(table).unwrap().0;
        found.retain(|key, _| key.0 == "row");
        assert_eq!(found, expected, "{table}: {conditions}");
        some += found.len();
    }
    assert!(some > 20, "{some}");
}

#[test]
fn history_and_find_follow_keys_over_snapshots() {
    let (user, ids) = three_snapshots(&captures()[1]);
    let shown: Vec<Value> = ids.iter().map(|id| shown(&user, id)).collect();
    let mut seen = BTreeMap::new();
    for (table, key, conditions) in [
        ("lab.wide", "1", "k = 1"),
        ("lab.ties", "3", "k = 3"),
        ("lab.collections", "20", "id = 20"),
        ("lab.users", "356355", "id = 356355"),
    ] {
        let rows: Vec<Rows> = shown.iter().map(|of| restored(&user, of, table, conditions)).collect();
        let mut expected = Vec::new();
        for (n, id) in ids.iter().enumerate() {
            let none = Rows::new();
            let before = n.checked_sub(1).map_or(&none, |n| &rows[n]);
            expected.extend(compared(before, &rows[n]).into_iter().map(|change| (id.clone(), change)));
        }
        let ran = user.run(&["history", table, "--where", conditions, "--json"]);
        let objects = ran.objects();
        assert_eq!(ran.code, Some(0));
        let mut found = Vec::new();
        let is_row = |o: &Value| ["version", "gone"].contains(&o["message_type"].as_str().unwrap());
        for (line, object) in ran.out.lines().zip(&objects).filter(|(_, object)| is_row(object)) {
            let id = object["snapshot"].as_str().unwrap().to_owned();
            assert_eq!(object["complete"], id == ids[1], "{object}");
            let (key, (what, columns, before, after)) = said(line);
            assert_eq!(object["message_type"] == "gone", what == "gone");
            let what = what.replace("appeared", "added").replace("gone", "deleted");
            *seen.entry(what.clone()).or_insert(0) += 1;
            found.push((id, (key, (what, columns, before, after))));
        }
        let sorted = |mut all: Vec<_>| {
            all.sort_by(|a: &(String, (_, _)), b: &(String, (_, _))| {
                let place = |id: &String| ids.iter().position(|other| other == id);
                (place(&a.0), &a.1.0).cmp(&(place(&b.0), &b.1.0))
            });
            all
        };
        assert_eq!(sorted(found), sorted(expected), "{table}");
        let summary = objects.last().unwrap();
        assert_eq!((&summary["snapshots"], &summary["incomplete"]), (&json!(3), &json!(2)), "{summary}");

        let all = user.run(&["find", key, "--json"]).objects();
        let of =
            |kind: &str| all.iter().filter(|o| o["message_type"] == kind && o["table"] == table).collect::<Vec<_>>();
        for (id, rows) in ids.iter().zip(&rows) {
            let there = of("found").into_iter().find(|o| o["snapshot"] == *id);
            assert_eq!(there.map_or(0, |o| o["rows"].as_u64().unwrap()), rows.len() as u64, "{table} {id}");
        }
        assert_eq!(of("table")[0]["where"], conditions, "what `find` says is what `history` takes");
        let one = user.run(&["find", key, "--json", "--snapshot", &ids[1], "--table", table]).objects();
        assert_eq!(one.last().unwrap()["snapshots"], 1);
    }
    assert!(["added", "changed", "deleted"].iter().all(|what| seen.get(*what).is_some_and(|n| *n > 0)), "{seen:?}");
    let text = user.run(&["find", "abc", "--table", "lab.users"]).fine();
    assert!(
        text.contains("lab.users  takes no such key: column id: \"abc\" is no value of type bigint (write a number)")
    );
    let text = user.run(&["find", "1", "--table", "lab.composite"]).fine();
    assert!(text.contains("is 1 of 3 values: the key is (a, b, d)") && text.contains("write a:b:d"), "{text}");
    let text = user.run(&["find", "1", "--in", "lab", "--cluster", "prod"]).fine();
    assert!(text.contains("lab.wide  where k = 1  cluster prod") && text.contains("of them INCOMPLETE"), "{text}");
}

/// A table that one of two snapshots does not have is not backed up there: its rows are neither deleted nor gone.
#[test]
fn what_was_left_out_is_not_gone() {
    let user = User::new();
    let nodes = three(&captures()[1]);
    user.backup(&nodes, &[]).fine();
    user.backup(&nodes, &["--exclude", "lab.users"]).fine();
    user.backup(&nodes, &[]).fine();
    let ids = user.snapshots();
    let said = user.run(&["diff", &ids[0], &ids[1]]).fine();
    assert!(said.contains("lab.users: not backed up after (left out by name): not compared"), "{said}");
    assert!(said.contains("0 differ: 0 added, 0 changed, 0 rewritten, 0 deleted") && !said.contains("gone"), "{said}");
    let said = user.run(&["diff", &ids[1], &ids[2], "--table", "lab.users", "--json"]).objects();
    assert_eq!(said[0]["before_not_backed_up"], "left out by name");
    assert_eq!((&said[0]["after_not_backed_up"], &said[0]["compared"]), (&Value::Null, &json!(false)));
    assert_eq!((&said[1]["tables_not_compared"], &said[1]["deleted"]), (&json!(1), &json!(0)));
    let said = user.run(&["history", "lab.users", "--where", "id = 356355"]).fine();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].contains("appeared  {\"id\": 356355}") && lines[1].contains("not backed up (left out by name)"),
        "{said}"
    );
    assert!(lines.len() == 3 && lines[2].contains("2 snapshots, 1 say nothing; 1 versions, 0 times gone"), "{said}");
    let said = user.run(&["find", "356355", "--table", "lab.users"]).fine();
    assert!(
        said.matches("1 rows, last written").count() == 2 && said.contains("not backed up (left out by name)"),
        "{said}"
    );
}

#[test]
fn what_makes_no_sense_is_named_with_the_next_step() {
    let user = User::new();
    user.run(&["diff", "latest"]).failed(1, &["holds no snapshot yet", "onefold snapshots"]);
    user.run(&["history", "lab.users", "--where", "id = 1"])
        .failed(1, &["table lab.users", "none of 0 snapshots has rows of it"]);
    let nodes = three(&captures()[1]);
    user.backup(&nodes, &[]).fine();
    let mut other = user.command();
    other.args(["backup", "cassandra", "--cluster", "other"]).args(crate::user::nodes(&nodes));
    crate::user::ran(&mut other).fine();
    let ids = user.snapshots();
    let (one, two) = (ids[0].as_str(), ids[1].as_str());
    for (args, words) in [
        (&["diff", "zz", "latest"][..], &["snapshot zz", "there is no such snapshot", "onefold snapshots"][..]),
        (&["diff", one, "zz"], &["snapshot zz", "there is no such snapshot"]),
        (&["diff"], &["<BEFORE>"]),
        (&["diff", one, "--table", "lab.user"], &["table lab.user", "is not in this snapshot", "perhaps lab.users"]),
        (&["diff", one, "--in", "nowhere"], &["--in nowhere", "its tables lie in"]),
        (&["diff", one, "--where", "id = 1"], &["--table"]),
        (&["diff", one, "--table", "lab.*", "--where", "id = 1"], &["--table", "several tables", "name the table"]),
        (&["diff", one, "--table", "lab.users", "--where", "nope = 1"], &["no column \"nope\"", "its columns are id"]),
        (
            &["diff", one, "--table", "lab.users", "--where", "id = 'x'"],
            &["column id", "no value of type bigint", "write a number"],
        ),
        (&["diff", one, "--table", "lab.users", "--where", ""], &["condition", "is empty"]),
        (&["diff", one, two, "--cluster", "prod"], &["--cluster", "leave the options out"]),
        (&["history", "lab.users"], &["--where"]),
        (
            &["history", "lab.user", "--where", "id = 1"],
            &["table lab.user", "none of 2 snapshots", "perhaps lab.users"],
        ),
        (
            &["history", "lab.users", "--where", "nope = 1", "--cluster", "prod"],
            &["no column \"nope\"", "its columns are id"],
        ),
        (&["history", "lab.users", "--where", "id = 1"], &["several clusters have one: other, prod", "--cluster"]),
        (&["history", "lab.users", "--where", "id = 'x'", "--cluster", "prod"], &["column id", "write a number"]),
        (&["find", "1", "--table", "lab.nope"], &["table lab.nope", "is not in this snapshot"]),
        (&["find", "1", "--in", "nowhere"], &["--in nowhere", "its tables lie in"]),
        (&["find", "1", "--snapshot", "zz"], &["snapshot zz", "there is no such snapshot"]),
        (&["find", "1", "--snapshot", one, "--cluster", "prod"], &["leave the id or the options out"]),
    ] {
        user.run(args).failed(1, words);
    }
    let ran = user.run(&["diff", one, two, "--counts"]);
    assert!(ran.err.contains("are of two clusters: prod and other"), "{ran:?}");
    assert!(
        user.run(&["history", "lab.users", "--where", "id = 356355", "--cluster", "prod"])
            .fine()
            .contains("1 versions")
    );
    // What a machine writes that opens nothing, it does not read either.
    let key = user.path("machine");
    user.run(&["key", "add", "--role", "write", "--new-key-file", key.to_str().unwrap()]).fine();
    for args in [&["diff", one, two][..], &["history", "lab.users", "--where", "id = 1"], &["find", "1"]] {
        crate::user::ran(user.command().env("ONEFOLD_KEY_FILE", &key).args(args)).failed(12, &["read"]);
    }
}
