//! Captured schemas as CQL: what is executed before and after the data, for every table of the captures.

use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::Source;
use onefold::engine::cassandra::schema::fits::{check_fits, misfits};
use onefold::engine::cassandra::schema::statements::{Place, Release, after, before, create_functions, create_types};
use onefold::engine::cassandra::schema::{Column, ColumnRole, Keyspace, Table};
use onefold::engine::cassandra::source::ClusterDescription;
use onefold::engine::cassandra::{capture, cql, read_schema};
use onefold::engine::target::is_of_one_shard;

use crate::cassandra_rows::{captures, open};

/// Compares with a file of `tests/golden`; writes it where `ONEFOLD_BLESS` is set.
pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("ONEFOLD_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap();
    for (n, (made, wanted)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(made, wanted, "{name} line {}", n + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "{name}");
}

/// Every table of a capture with its keyspace.
fn tables(root: &Path) -> Vec<(Table, Keyspace)> {
    let source = open(root);
    let cluster: ClusterDescription = serde_json::from_value(source.describe(None).unwrap()).unwrap();
    let described = |shard| -> Table { serde_json::from_value(source.describe(Some(shard)).unwrap()).unwrap() };
    let tables = source.shards().iter().map(described);
    let keyspace = |t: &Table| cluster.keyspaces.iter().find(|k| k.name == t.keyspace).unwrap().clone();
    tables.map(|t| (t.clone(), keyspace(&t))).collect()
}

fn here<'a>(table: &'a Table, release: Release) -> Place<'a> {
    Place { keyspace: &table.keyspace, table: &table.name, release }
}

fn script(statements: &[String]) -> String {
    statements.iter().map(|s| format!("{s};\n")).collect()
}

fn name_of(root: &Path) -> String {
    root.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn statements_of_every_captured_table() {
    for root in captures().into_iter().take(2) {
        let mut text = String::new();
        for (table, keyspace) in tables(&root) {
            let made = before(&table, &keyspace, &keyspace.replication, &here(&table, Release::NEWEST)).unwrap();
            let later = after(&table, &here(&table, Release::NEWEST));
            assert_eq!((&made.left_out, &later.left_out), (&vec![], &vec![]), "{}", table.name);
            text += &format!("-- {}\n{}{}", table.name, script(&made.cql), script(&later.cql));
        }
        golden(&format!("schema-{}.cql", name_of(&root)), &text);
    }
}

#[test]
fn statements_read_back_as_the_table() {
    for root in captures().into_iter().take(2) {
        for (table, keyspace) in tables(&root) {
            let made = before(&table, &keyspace, &keyspace.replication, &here(&table, Release::NEWEST)).unwrap();
            let later = after(&table, &here(&table, Release::NEWEST));
            let found = cql::parse(&(script(&made.cql) + &script(&later.cql))).unwrap();
            let again = found.tables.iter().find(|t| t.name == table.name).unwrap();
            assert_eq!(again.columns, table.columns);
            assert_eq!(again.indexes, table.indexes);
            let mut wanted = table.options.clone();
            wanted.0.remove("gc_grace_seconds");
            wanted.0.remove("default_time_to_live");
            assert_eq!(
                (&again.options, again.gc_grace, again.default_ttl),
                (&wanted, table.gc_grace, table.default_ttl)
            );
            let by_name = |t: &onefold::engine::cassandra::schema::UserType| (t.name.clone(), t.fields.clone());
            let used: Vec<_> = again.types.iter().map(by_name).collect();
            assert!(used.iter().all(|t| table.types.iter().any(|other| by_name(other) == *t)), "{}", table.name);
        }
    }
}

#[test]
fn schema_cql_says_what_system_schema_says() {
    for root in captures().into_iter().take(2) {
        let capture = capture::open(root.join("node1"), None).unwrap().0;
        let schema = read_schema::read_schema(&capture).unwrap().unwrap();
        for folder in capture.tables.iter().filter(|t| t.keyspace == "lab") {
            let Some(table) = schema.table(&folder.id).filter(|t| !t.view) else { continue };
            let path: PathBuf = folder.schema_cql.as_ref().unwrap().path().into();
            let found = cql::parse(&fs::read_to_string(path).unwrap()).unwrap();
            let told = found.tables.iter().find(|t| t.id == folder.id).unwrap();
            let mut options = told.options.clone();
            options.0.retain(|name, _| table.options.0.contains_key(name));
            let mut wanted = table.options.clone();
            wanted.0.remove("gc_grace_seconds");
            wanted.0.remove("default_time_to_live");
            assert_eq!((&options, told.gc_grace), (&wanted, table.gc_grace), "{}", table.name);
            assert_eq!(told.indexes, table.indexes);
        }
    }
}

#[test]
fn another_name_and_an_older_release() {
    let root = &captures()[1];
    let all = tables(root);
    let (table, keyspace) = all.iter().find(|(t, _)| t.name == "people").unwrap();
    assert_eq!(table.views.len(), 1);
    let beside = Place { keyspace: "lab", table: "people2", release: Release(4, 0) };
    let later = after(table, &beside);
    assert_eq!(later.cql, Vec::<String>::new());
    assert_eq!(later.left_out.len(), 1, "the view's name is taken");
    let elsewhere = Place { keyspace: "Other", table: "people", release: Release(4, 0) };
    let later = after(table, &elsewhere);
    assert!(later.cql[0].contains("VIEW IF NOT EXISTS \"Other\".people_by_city AS"), "{}", later.cql[0]);
    assert!(later.cql[0].contains("FROM \"Other\".people"), "{}", later.cql[0]);
    let replication = [("class".to_string(), "SimpleStrategy".to_string()), ("replication_factor".into(), "1".into())];
    let made = before(table, keyspace, &replication.into(), &elsewhere).unwrap();
    assert_eq!(
        made.cql[0],
        "CREATE KEYSPACE IF NOT EXISTS \"Other\" WITH replication = \
         {'class': 'SimpleStrategy', 'replication_factor': '1'} AND durable_writes = true"
    );
    let (indexed, _) = all.iter().find(|(t, _)| t.name == "indexed").unwrap();
    let later = after(indexed, &Place { keyspace: "lab", table: "again", release: Release::NEWEST });
    assert!(later.cql[0].starts_with("CREATE INDEX IF NOT EXISTS again_city ON lab.again (city)"), "{}", later.cql[0]);
}

#[test]
fn what_fixtures_do_not_have() {
    let document = serde_json::json!({
        "keyspace": "ks", "name": "t", "id": "", "types": [
            {"name": "inner", "fields": [["a", "int"]]}, {"name": "Outer", "fields": [["i", "frozen<inner>"], ["from", "text"]]},
            {"name": "unused", "fields": [["a", "int"]]}],
        "columns": [
            {"name": "k", "number": 0, "role": "partition_key", "position": 0, "descending": false, "cql_type": "int", "dropped_at": null, "gone": false},
            {"name": "o", "number": 1, "role": "regular", "position": 0, "descending": false, "cql_type": "frozen<\"Outer\">", "dropped_at": null, "gone": false}],
        "counter": false, "view": false, "gc_grace": 5, "default_ttl": 7, "cql": ""
    });
    // A document of the time before options were kept.
    let mut table: Table = serde_json::from_value(document).unwrap();
    let mut keyspace: Keyspace =
        serde_json::from_str(r#"{"name": "ks", "replication": {"class": "LocalStrategy"}, "durable_writes": false}"#)
            .unwrap();
    table.masks.insert("o".into(), "mask_null()".into());
    table.options = serde_json::from_str(
        r#"{"compaction": {"class": "UnifiedCompactionStrategy"}, "extensions": {"a": "0x01"}, "memtable": "trie",
            "comment": "it's"}"#,
    )
    .unwrap();
    let mut text = String::new();
    for release in [Release(4, 0), Release(4, 1), Release(5, 0)] {
        let made = before(&table, &keyspace, &keyspace.replication, &here(&table, release)).unwrap();
        text += &format!("-- {release:?}; without {}\n{}", made.left_out.join(", "), script(&made.cql));
    }
    keyspace.functions = serde_json::from_str(
        r#"[{"name": "F", "arguments": [["a", "frozen<list<int>>"]], "returns": "int", "language": "java",
             "body": "return 'x$$';", "called_on_null": false},
            {"name": "g", "arguments": [], "returns": "int", "language": "java", "body": "return 1;", "called_on_null": true}]"#,
    )
    .unwrap();
    keyspace.aggregates = serde_json::from_str(
        r#"[{"name": "agg", "arguments": ["int"], "state_function": "F", "state": "frozen<tuple<int, int>>",
             "final_function": "g", "initial": "(0, 0)"}]"#,
    )
    .unwrap();
    text += &script(&create_functions(&keyspace, "ks2"));
    text += &script(&create_types(&table.types, "ks2"));
    table.triggers = serde_json::from_str(r#"[{"name": "tr", "class": "a.B"}]"#).unwrap();
    table.indexes = serde_json::from_str(
        r#"[{"name": "odd", "kind": "CUSTOM", "options": {"target": "o", "class_name": "a.Sai", "similarity": "dot"}}]"#,
    )
    .unwrap();
    text += &script(&after(&table, &Place { keyspace: "ks", table: "t2", release: Release::NEWEST }).cql);
    golden("schema-odd.cql", &text);
    table.compact = true;
    let refused = before(&table, &keyspace, &keyspace.replication, &here(&table, Release::NEWEST)).unwrap_err();
    assert!(refused.to_string().contains("COMPACT STORAGE"), "{refused}");
}

#[test]
fn what_does_not_fit_is_named() {
    let all = tables(&captures()[1]);
    let of = |name: &str| all.iter().find(|(t, _)| t.name == name).unwrap().0.clone();
    for (table, _) in &all {
        assert_eq!(misfits(table, table).unwrap(), Vec::<String>::new(), "{}", table.name);
    }
    let captured = of("mixed");
    let told = |change: &dyn Fn(&mut Table)| {
        let mut there = captured.clone();
        change(&mut there);
        misfits(&captured, &there).unwrap().join("; ")
    };
    let column = |name: &'static str| {
        move |t: &mut Table, change: &dyn Fn(&mut Column)| {
            change(t.columns.iter_mut().find(|c| c.name == name).unwrap())
        }
    };
    assert_eq!(told(&|t| t.columns.retain(|c| c.name != "v")), "column v (text) is missing");
    assert_eq!(told(&|t| column("v")(t, &|c| c.gone = true)), "column v (text) is missing");
    let other_type = told(&|t| column("v")(t, &|c| c.cql_type = "blob".into()));
    assert_eq!(other_type, "column v is of type blob where text was captured");
    let order = told(&|t| column("b")(t, &|c| c.descending = true));
    assert_eq!(order, "column b is ordered DESC where ASC was captured");
    let place = told(&|t| column("v")(t, &|c| c.role = ColumnRole::Static));
    assert_eq!(place, "column v is static where a regular column was captured");
    let dropped = told(&|t| column("v")(t, &|c| c.dropped_at = Some(5)));
    assert!(dropped.contains("once dropped"), "{dropped}");
    assert_eq!(
        told(&|t| column("k")(t, &|c| c.name = "kk".into())),
        "column k (int) is missing; column kk is part of its key and was not captured"
    );
    assert_eq!(told(&|t| t.counter = true), "it holds counters");
    let captured = of("collections");
    let mut there = captured.clone();
    there.types.iter_mut().find(|t| t.name == "geo").unwrap().fields.push(("height".into(), "int".into()));
    assert_eq!(misfits(&captured, &there).unwrap(), Vec::<String>::new(), "a field that was added");
    assert_eq!(misfits(&there, &captured).unwrap(), ["type geo has other fields: (lat double, lon double)"]);
    there.types.retain(|t| t.name != "address");
    assert_eq!(misfits(&captured, &there).unwrap(), ["type address is missing"]);
    let refused = check_fits(&captured, &there).unwrap_err();
    assert!(is_of_one_shard(&refused), "the others of several can be had");
    assert!(
        refused.to_string().starts_with("table ") && refused.to_string().contains("--into another name"),
        "{refused}"
    );
}

#[test]
fn releases() {
    assert_eq!(Release::parse("4.1.10"), Some(Release(4, 1)));
    assert_eq!(Release::parse("5.0-beta1"), Some(Release(5, 0)));
    assert_eq!(Release::parse("five"), None);
}
