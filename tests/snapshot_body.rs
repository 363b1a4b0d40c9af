//! What a snapshot says, as SPEC has it: its fields, what a reader ignores, and what it must not; and how large it gets.

use std::collections::BTreeSet;

use onefold::Kind;
use onefold::run::{Cut, ShardKind};
use onefold::snapshot::Snapshot;
use repo_format::snapshot::Says;
use serde_json::{Value, json};

/// Documents with everything in them that they can have, as this version writes them: the body, the description, three shards.
const GOLDEN: &str = include_str!("golden/snapshot-body.jsonl");

fn golden() -> Vec<Value> {
    GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decode(documents: &[Value]) -> onefold::Result<Snapshot> {
    let mut documents = documents.iter().map(|document| serde_json::to_vec(document).unwrap());
    let (body, description) = (documents.next().unwrap(), documents.next().unwrap());
    Snapshot::decode(&Says { body, description, shards: documents.collect() })
}

#[test]
fn what_a_snapshot_says_is_written_as_it_was_read() {
    let snapshot = decode(&golden()).unwrap();
    let says = snapshot.encode().unwrap();
    let lines: Vec<&[u8]> =
        [&says.body, &says.description].into_iter().chain(&says.shards).map(Vec::as_slice).collect();
    assert_eq!(lines, GOLDEN.lines().map(str::as_bytes).collect::<Vec<_>>());
    assert_eq!(snapshot.cut, Cut { seconds: 1699999100, position: Some("7:3".to_owned()) });
    let kinds: Vec<ShardKind> = snapshot.shards.iter().map(|s| s.kind).collect();
    assert_eq!(kinds, [ShardKind::Records, ShardKind::Files, ShardKind::Journal]);
    assert_eq!(snapshot.roots().unwrap().len(), 4);
}

/// The first column of a table of fields.
fn fields(head: &str) -> BTreeSet<String> {
    let spec = include_str!("../SPEC.md");
    let (_, section) = spec.split_once("### Snapshot body").unwrap();
    let table = section.split(head).nth(1).unwrap().lines().skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    rows.flat_map(|cell| cell.split(',')).map(|field| field.trim().trim_matches('`').to_owned()).collect()
}

#[test]
fn the_fields_are_those_of_the_spec() {
    let names = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let golden = golden();
    assert_eq!(names(&golden[0]), fields("| field | meaning |"));
    assert_eq!(names(&golden[2]), fields("| field of a shard | meaning |"));
}

#[test]
fn a_field_from_later_is_ignored_and_a_feature_is_not() {
    let mut documents = golden();
    documents[0]["later"] = json!({ "anything": [1, 2] });
    documents[2]["later"] = json!("at all");
    assert_eq!(decode(&documents).unwrap(), decode(&golden()).unwrap());
    documents[0]["must"] = json!(["later"]);
    let refused = decode(&documents).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.message().contains("`later`") && refused.message().contains("newer"), "{refused}");
    // Even where nothing else of it can be read.
    let newer = json!({ "version": 0, "must": ["later\n"], "cut": "a new kind of cut" });
    let refused = decode(&[newer, json!(0), json!([])]).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.message().contains("`later\\n`"), "{refused}");
}

#[test]
fn what_must_be_there_is() {
    for field in ["version", "must", "cut", "nodes"] {
        let mut documents = golden();
        documents[0].as_object_mut().unwrap().remove(field);
        assert_eq!(decode(&documents).unwrap_err().kind(), Kind::Damaged, "{field}");
    }
    let mut documents = golden();
    documents[2]["kind"] = json!("kettle");
    let refused = decode(&documents).unwrap_err();
    assert!(refused.kind() == Kind::Damaged && refused.message().contains("kettle"), "{refused}");
}
