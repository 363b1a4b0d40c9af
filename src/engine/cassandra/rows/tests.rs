use repo_format::record::{BodyWriter, Entry, EntryKind, Traits};

use super::super::{comparable, cql};
use super::*;
use crate::engine::text::{TextForm, TextRows};

const TABLE: &str = r#"CREATE TABLE ks.t (k int, c int, v int, "W" text, gone int, m map<int, text>, s int static,
    PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC);
    ALTER TABLE ks.t DROP gone USING TIMESTAMP 500;
    ALTER TABLE ks.t DROP v USING TIMESTAMP 50;
    ALTER TABLE ks.t ADD v int;"#;

fn table() -> Table {
    cql::parse(TABLE).unwrap().into_table().unwrap()
}

fn number(name: &str) -> u32 {
    table().columns.iter().find(|c| c.name == name).unwrap().number
}

fn cell<'a>(name: &str, time: i64, value: &'a [u8]) -> Entry<'a> {
    Entry { column: number(name), kind: EntryKind::Cell, element: None, time, ldt: 0, ttl: 0, value: Some(value) }
}

fn liveness(time: i64) -> Entry<'static> {
    Entry { column: 0, kind: EntryKind::Cell, element: None, time, ldt: 0, ttl: 0, value: None }
}

/// Rows at second 1000 of records `(k, c or static, entries)`.
fn rows(records: &[(i32, Option<i32>, &[Entry<'_>])]) -> Vec<String> {
    let layout = Layout::of(&table()).unwrap();
    let show = Show { write_times: true, ttls: true };
    let mut rows = Rows::new(layout.clone(), 1000, show, None);
    let mut out = Vec::new();
    let mut text = TextRows::new(TextForm::Json, &mut out);
    text.begin(&columns(&layout, show)).unwrap();
    for (k, c, entries) in records {
        let (mut key, mut body) = (Vec::new(), Vec::new());
        let group_len = comparable::put_group(&mut key, &k.to_be_bytes());
        let class = match c {
            Some(c) => {
                layout.clustering().row(&mut key, &[Some(&c.to_be_bytes())]).unwrap();
                Class::Row
            }
            None => {
                comparable::put_static(&mut key);
                Class::Static
            }
        };
        let mut writer = BodyWriter::new(&mut body);
        entries.iter().for_each(|e| writer.push(e));
        let record = Record { key: &key, group_len, class, traits: Traits::default(), body: &body };
        rows.push(&record, &mut text).unwrap();
    }
    rows.finish(&mut text).unwrap();
    text.pass_on().unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_string).collect()
}

fn starts(rows: &[String], want: &[&str]) {
    assert_eq!(rows.len(), want.len(), "{rows:#?}");
    for (row, want) in rows.iter().zip(want) {
        assert!(row.starts_with(want), "{row}\n{want}");
    }
}

#[test]
fn which_rows_there_are() {
    let (one, five) = (1_i32.to_be_bytes(), 5_i32.to_be_bytes());
    let expired = Entry { ttl: 10, ldt: 1000, ..cell("v", 100, &one) };
    let dead = Entry { kind: EntryKind::Tombstone, value: None, ldt: 7, ..cell("v", 100, &one) };
    let found = rows(&[
        // Liveness alone; a cell alone; nothing alive; only what a drop hides.
        (1, Some(4), &[liveness(100)]),
        (1, Some(3), &[cell("v", 100, &five)]),
        (1, Some(2), &[expired]),
        (1, Some(1), &[cell("gone", 400, &one), cell("v", 50, &five)]),
        // Static columns with a row, and without one.
        (2, None, &[cell("s", 100, &five)]),
        (2, Some(1), &[liveness(100)]),
        (3, None, &[cell("s", 100, &one)]),
        (3, Some(1), &[dead]),
        (4, None, &[Entry { kind: EntryKind::Tombstone, value: None, ..cell("s", 100, &one) }]),
    ]);
    starts(
        &found,
        &[
            r#"{"k": 1, "c": 4, "s": null, "\"W\"": null, "m": null, "v": null, "#,
            r#"{"k": 1, "c": 3, "s": null, "\"W\"": null, "m": null, "v": 5, "#,
            r#"{"k": 2, "c": 1, "s": 5, "\"W\"": null, "m": null, "v": null, "#,
            r#"{"k": 3, "c": null, "s": 1, "\"W\"": null, "m": null, "v": null, "#,
        ],
    );
}

#[test]
fn elements_stand_in_their_types_order_with_their_times() {
    let keys = [3_i32, -1].map(i32::to_be_bytes);
    let element = |i: usize, time, ttl, ldt| Entry { element: Some(&keys[i]), ttl, ldt, ..cell("m", time, b"x") };
    let found = rows(&[(1, Some(4), &[element(0, 7, 0, 0), element(1, 8, 60, 1030)])]);
    let want = r#"{"k": 1, "c": 4, "s": null, "\"W\"": null, "m": {"-1": "x", "3": "x"}, "v": null, "writetime(s)": null, "ttl(s)": null, "\"writetime(W)\"": null, "\"ttl(W)\"": null, "writetime(m)": [8, 7], "ttl(m)": [30, null], "writetime(v)": null, "ttl(v)": null}"#;
    assert_eq!(found, [want]);
}
