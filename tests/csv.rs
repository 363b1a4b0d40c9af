//! Rows as CSV: RFC 4180, every value of every type, the same rows as JSON has.

use std::fs;

use serde_json::Value;

use crate::user::{User, capture, expected, files_below, three};

/// Fields of RFC 4180, strictly; `None` for a field of nothing at all.
fn parse(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let field = match rest.strip_prefix('"') {
            Some(mut quoted) => {
                let mut field = String::new();
                loop {
                    let (head, tail) = quoted.split_once('"').expect("a quote ends");
                    field.push_str(head);
                    match tail.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => {
                            rest = tail;
                            break Some(field);
                        }
                    }
                }
            }
            None => {
                let end = rest.find([',', '\r', '\n', '"']).expect("a line ends");
                let (field, tail) = rest.split_at(end);
                rest = tail;
                Some(field.to_owned()).filter(|f| !f.is_empty())
            }
        };
        record.push(field);
        match rest.strip_prefix("\r\n") {
            Some(tail) => {
                records.push(std::mem::take(&mut record));
                rest = tail;
            }
            None => rest = rest.strip_prefix(',').expect("a comma or the end of a line"),
        }
    }
    assert!(record.is_empty());
    records
}

/// What a value of JSON is as a field, where that is plain.
fn plain(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::Number(n) => Some(Some(n.to_string())),
        Value::Bool(b) => Some(Some(if *b { "True" } else { "False" }.to_owned())),
        _ => None,
    }
}

#[test]
fn every_table_comes_back_as_csv() {
    for version in ["cassandra-4.1", "cassandra-5.0"] {
        let root = capture(version);
        let user = User::new();
        user.backup(&three(&root), &[]).fine();
        let out = user.path("csv");
        user.run(&["restore", "--to", "csv", "--out", out.to_str().unwrap()]).fine();
        let (mut tables, mut compared) = (0, 0);
        for file in files_below(&out).into_iter().filter(|file| !file.ends_with("restore.json")) {
            assert_eq!(file.extension().unwrap(), "csv");
            let records = parse(&fs::read_to_string(&file).unwrap());
            let header: Vec<&str> = records[0].iter().map(|f| f.as_deref().unwrap()).collect();
            let name = file.file_stem().unwrap().to_str().unwrap();
            let Some(table) = name.strip_prefix("lab.").filter(|t| *t != "equal_keys") else { continue };
            let rows = expected(&root, table);
            assert_eq!(records.len(), rows.len() + 1, "{table}");
            for (record, row) in records[1..].iter().zip(&rows) {
                assert_eq!(record.len(), header.len(), "{table}");
                let row: serde_json::Map<String, Value> = serde_json::from_str(row).unwrap();
                for (name, field) in header.iter().zip(record) {
                    let value = row.get(*name).unwrap_or_else(|| &row[&format!("\"{name}\"")]);
                    let what = format!("{table} {name} {value} {field:?}");
                    match (plain(value), value, field) {
                        // JSON has no words for NaN and infinity.
                        (Some(None), _, Some(field)) => {
                            assert!(["NaN", "Infinity", "-Infinity"].contains(&field.as_str()), "{what}");
                        }
                        (Some(None), _, None) => {}
                        (Some(Some(_)), Value::Number(n), Some(field)) if !n.is_i64() => {
                            // The test's JSON reader rounds in the last place.
                            let (ours, truth) = (field.parse::<f64>().unwrap(), n.as_f64().unwrap());
                            assert!((ours - truth).abs() <= truth.abs() * 1e-15, "{what}");
                        }
                        (Some(plain), _, field) => assert_eq!(&plain, field, "{what}"),
                        (None, Value::String(s), Some(field)) => {
                            let time = field.starts_with(s.trim_end_matches('Z')) || field.parse::<i64>().is_ok();
                            // An empty value of a type that has none.
                            assert!(field == s || time || (s == "null" && field.is_empty()), "{what}");
                        }
                        (None, _, Some(field)) => assert!(field.starts_with(['[', '{', '(']), "{what}"),
                        (None, _, None) => panic!("{what}"),
                    }
                    compared += 1;
                }
            }
            tables += 1;
        }
        assert!(tables > 30 && compared > 10_000, "{tables} {compared}");
    }
}

#[test]
fn a_row_and_how_to_bring_it_back() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let of = ["restore", "--to", "csv", "--table", "lab.users", "--where", "id = 356355"];
    let said = user.run(&of).fine();
    assert_eq!(parse(&said).len(), 2, "{said}");
    let times = parse(&user.run(&[&of[..], &["--writetime", "--ttl"]].concat()).fine());
    assert!(times[0].iter().any(|f| f.as_deref().is_some_and(|f| f.starts_with("writetime("))), "{times:?}");
    assert_eq!(times[0].len(), times[1].len());
    let out = user.path("users.csv");
    let said = user.run(&[&of[..5], &["--out", out.to_str().unwrap()]].concat()).fine();
    assert!(said.contains("112 rows written\nback in cqlsh: COPY lab.users (id, "), "{said}");
    assert!(said.contains("WITH HEADER = true AND ESCAPE = '\"'"), "{said}");
}
