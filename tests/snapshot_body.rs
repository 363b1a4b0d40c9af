//! The snapshot body as SPEC says it: its fields, what a reader ignores, and what it must not.

use std::collections::BTreeSet;

use onefold::Kind;
use onefold::run::{Cut, ShardKind};
use onefold::snapshot::Snapshot;
use serde_json::{Value, json};

/// A body with everything in it that a body can have, as this version writes it.
const GOLDEN: &str = include_str!("golden/snapshot-body.json");

fn golden() -> Value {
    serde_json::from_str(GOLDEN).unwrap()
}

fn decode(body: &Value) -> onefold::Result<Snapshot> {
    Snapshot::decode(&serde_json::to_vec(body).unwrap())
}

#[test]
fn a_body_is_written_as_it_was_read() {
    let body = Snapshot::decode(GOLDEN.trim_end().as_bytes()).unwrap();
    assert_eq!(String::from_utf8(body.encode().unwrap()).unwrap(), GOLDEN.trim_end());
    assert_eq!(body.cut, Cut { seconds: 1699999100, position: Some("7:3".to_owned()) });
    let kinds: Vec<ShardKind> = body.shards.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [ShardKind::Records, ShardKind::Files, ShardKind::Journal]);
}

/// The first column of the table of fields.
#[test]
fn the_fields_are_those_of_the_spec() {
    let spec = include_str!("../SPEC.md");
    let (_, section) = spec.split_once("### Snapshot body").unwrap();
    let table = section.split("| field | meaning |").nth(1).unwrap().lines().skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let said: BTreeSet<&str> = rows.flat_map(|cell| cell.split(',')).map(|f| f.trim().trim_matches('`')).collect();
    let golden = golden();
    assert_eq!(golden.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), said);
}

#[test]
fn a_field_from_later_is_ignored_and_a_feature_is_not() {
    let mut body = golden();
    body["later"] = json!({ "anything": [1, 2] });
    body["shards"][0]["later"] = json!("at all");
    assert_eq!(decode(&body).unwrap(), decode(&golden()).unwrap());
    body["must"] = json!(["later"]);
    let refused = decode(&body).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.message().contains("`later`") && refused.message().contains("newer"), "{refused}");
    // Even where nothing else of it can be read.
    let refused = decode(&json!({ "version": 0, "must": ["later\n"], "cut": "a new kind of cut" })).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.message().contains("`later\\n`"), "{refused}");
}

#[test]
fn what_must_be_there_is() {
    for field in ["version", "must", "cut", "shards", "nodes"] {
        let mut body = golden();
        body.as_object_mut().unwrap().remove(field);
        assert_eq!(decode(&body).unwrap_err().kind(), Kind::Damaged, "{field}");
    }
    let mut body = golden();
    body["shards"][0]["kind"] = json!("kettle");
    let refused = decode(&body).unwrap_err();
    assert!(refused.kind() == Kind::Damaged && refused.message().contains("kettle"), "{refused}");
}
