//! Drift in depth, on real captures whose counts are known: by range they come to the same, samples show both sides.

use std::collections::BTreeMap;

use onefold::drift::{Counts, ranges, samples};
use onefold::engine::Show;
use onefold::engine::cassandra::Cassandra;
use onefold::repo::Reader;
use onefold::snapshot::{Shard, Snapshot};
use onefold::tree::Drift;
use onefold::view::View;
use onefold::watch::Watch;
use serde_json::Value;

use crate::cassandra_rows::captures;
use crate::flow::{new_repo, nodes, rows, source, store};
use crate::repo::memory;
use crate::user::{User, capture, lines, three};

fn view<'a>(snapshot: &'a Snapshot, shard: &'a Shard, chunks: &'a Reader) -> View<'a> {
    View::open(&Cassandra, snapshot, shard, chunks).unwrap()
}

fn sum(all: impl Iterator<Item = Counts>) -> Counts {
    let mut sum = Counts::default();
    for c in all {
        sum.drift.missing += c.drift.missing;
        sum.drift.stale += c.drift.stale;
        sum.drift.extra += c.drift.extra;
        sum.drift.deletions += c.drift.deletions;
        sum.drift.purged += c.drift.purged;
        sum.unsure += c.unsure;
        sum.repair_rows += c.repair_rows;
        sum.repair_bytes += c.repair_bytes;
    }
    sum
}

#[test]
fn counts_by_range_come_to_the_stored_ones() {
    let mut reached = Drift::default();
    for (root, views) in captures().into_iter().flat_map(|root| [(root.clone(), true), (root, false)]) {
        let repo = new_repo(&memory());
        let (s, _) = store(&repo, &source(&nodes(&root, [0, 1, 2])), views).unwrap();
        let reader = repo.reader().unwrap();
        for shard in &s.shards {
            for parts in [1, 7] {
                let ranges = ranges(&view(&s, shard, &reader), parts, &Watch::new()).unwrap();
                let token = |place: &Value| place.as_i64().unwrap();
                assert_eq!(ranges.iter().map(|r| token(&r.first)).min(), Some(i64::MIN));
                assert_eq!(token(&ranges[ranges.len() - 1].last), i64::MAX);
                assert!(ranges.windows(2).all(|pair| token(&pair[0].last) + 1 == token(&pair[1].first)));
                for (i, part) in s.patches(shard, &reader).unwrap().iter().enumerate() {
                    let counted = sum(ranges.iter().map(|r| r.nodes[i]));
                    let (got, stored, unsure) = (counted.drift, part.drift, counted.unsure);
                    assert_eq!((got.missing, got.extra), (stored.missing, stored.extra), "{} {i}", shard.name);
                    if views {
                        assert_eq!((got, unsure), (stored, 0), "{} {i}", shard.name);
                        assert!(counted.repair_rows >= stored.missing, "{} {i}", shard.name);
                    } else {
                        // What others know to be deleted, and what a stale record is, was not kept.
                        assert!(got.purged <= stored.purged && stored.purged <= got.purged + unsure, "{}", shard.name);
                        assert!(got.stale <= stored.stale + unsure, "{} {i}", shard.name);
                    }
                    reached.missing += got.missing;
                    reached.stale += got.stale;
                    reached.extra += got.extra;
                    reached.deletions += got.deletions;
                    reached.purged += got.purged;
                }
            }
        }
    }
    assert!(reached.missing > 0 && reached.stale > 0 && reached.deletions > 0, "{reached:?}");
}

/// The rows of a table that a view or a node shows, by the text of their keys.
fn by_key(rows: &[String], columns: usize) -> BTreeMap<String, Value> {
    let key =
        |row: &String| row.split(", ").take(columns).collect::<Vec<_>>().join(", ").trim_end_matches('}').to_owned();
    rows.iter().map(|row| (key(row), serde_json::from_str(row).unwrap())).collect()
}

#[test]
fn samples_show_what_either_side_holds() {
    let root = capture("cassandra-5.0");
    let repo = new_repo(&memory());
    let (s, _) = store(&repo, &source(&nodes(&root, [0, 1, 2])), true).unwrap();
    let reader = repo.reader().unwrap();
    let shard = s.shard("lab.users").unwrap();
    let rows_of_all = by_key(&rows(&repo, &s, shard, None, Show::default()), 1);
    let drifts = |n: &onefold::tree::NodePatch| n.drift.missing + n.drift.stale + n.drift.extra + n.drift.deletions;
    let all: u64 = s.patches(shard, &reader).unwrap().iter().map(drifts).sum();
    assert!(all > 10);
    for wanted in [0, 1, 3, 10, 100_000] {
        let found = samples(&view(&s, shard, &reader), wanted, &Watch::new()).unwrap();
        assert_eq!(found.len() as u64, all.min(wanted as u64), "{wanted}");
        for sample in &found {
            let held = by_key(&rows(&repo, &s, shard, Some(sample.node), Show::default()), 1);
            let key = sample.key.get().trim_end_matches('}');
            let values = |shown: &Option<Box<serde_json::value::RawValue>>| -> Option<Value> {
                let shown: Value = serde_json::from_str(shown.as_ref()?.get()).unwrap();
                shown.get("values").cloned()
            };
            let agree = |values: Option<Value>, row: Option<&Value>| match (values, row) {
                (Some(Value::Object(values)), Some(row)) => values.iter().all(|(name, v)| &row[name] == v),
                (None, row) => row.is_none_or(|row| row.as_object().unwrap().values().skip(1).all(Value::is_null)),
                _ => false,
            };
            assert!(agree(values(&sample.view), rows_of_all.get(key)), "{sample:?}");
            match sample.what {
                "missing" => assert!(sample.held.is_none() && !held.contains_key(key), "{sample:?}"),
                "stale" => assert!(agree(values(&sample.held), held.get(key)), "{sample:?}"),
                other => panic!("{other}"),
            }
        }
    }
    // Every table can be sampled, whatever its keys are.
    for shard in &s.shards {
        for sample in samples(&view(&s, shard, &reader), 50, &Watch::new()).unwrap() {
            assert!(serde_json::from_str::<Value>(sample.key.get()).unwrap().is_object(), "{sample:?}");
            assert!(sample.view.is_some() || sample.held.is_some(), "{sample:?}");
        }
    }
}

#[test]
fn what_a_user_sees() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let of = ["drift", "--table", "lab.users"];
    let said = user.run(&[&of[..], &["--samples", "3"]].concat()).fine();
    let said = lines(&said);
    assert_eq!(said.len(), 9, "{said:?}");
    assert!(said[0].starts_with("lab.users  n") && said[0].contains("  {\"id\": "), "{said:?}");
    assert!(said[1].starts_with("  view  {") && said[2].starts_with("  n"), "{said:?}");

    let sampled = user.run(&[&of[..], &["--samples", "3", "--json"]].concat()).objects();
    assert!(sampled.iter().all(|o| o["message_type"] == "drift_sample" && o["key"]["id"].is_i64()), "{sampled:?}");
    assert_eq!(sampled.len(), 3);

    let stored = user.run(&[&of[..], &["--json"]].concat()).objects();
    let counted = user.run(&[&of[..], &["--ranges", "5", "--json"]].concat()).objects();
    for node in &stored {
        let missing = counted.iter().filter(|o| o["message_type"] == "drift_range" && o["node"] == node["node"]);
        let missing: u64 = missing.map(|o| o["missing"].as_u64().unwrap()).sum();
        assert_eq!(missing, node["missing"].as_u64().unwrap());
    }
    assert_eq!(counted.iter().filter(|o| o["message_type"] == "repair").count(), 3);
    let unplaced = |o: &Value| o["message_type"] == "repair" && o["unplaced"].as_u64() > Some(0);
    let deleted = user.run(&["drift", "--table", "lab.deletions", "--ranges", "1", "--json"]).objects();
    assert!(deleted.iter().any(unplaced), "{deleted:?}");
    let said = user.run(&[&of[..], &["--ranges", "5"]].concat()).fine();
    assert!(said.starts_with("first token  last token  node") && said.contains("a repair would bring n1"), "{said}");
    // What is asked of no table is refused.
    user.run(&["drift", "--samples", "3"]).failed(1, &["--table"]);
    user.run(&["drift", "--table", "lab.nothing", "--samples", "3"]).failed(1, &["lab.nothing", "onefold ls"]);
}
