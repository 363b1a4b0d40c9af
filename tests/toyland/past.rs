//! What changed between snapshots, and what rows were, against plain maps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cases::{Home, live, write};
use crate::model::{Cluster, Dice, key};

type Rows = BTreeMap<String, String>;

/// Some nights of a cluster: what its rows are in each.
fn nights(home: &Home, dice: &mut Dice, count: u64) -> Vec<Rows> {
    let mut cluster = Cluster::throw(dice);
    let mut all = Vec::new();
    for night in 1..=count {
        write(home, &cluster);
        home.backup(&[]);
        all.push(live(&cluster.view()).into_iter().collect());
        // Now and then nothing happens.
        let parts = [0, 2, 3, 4, 5][dice.throw(5) as usize];
        for (node, more) in Cluster::throw(dice).nodes.into_iter().enumerate() {
            let later = more.into_iter().filter(|(rank, _)| *rank < parts);
            cluster.nodes[node].extend(later.map(|(rank, part)| (night * 10 + rank, part)));
        }
    }
    assert_eq!(ids(home).len() as u64, count);
    all
}

fn ids(home: &Home) -> Vec<String> {
    let listed = home.run(&["snapshots", "--json"]).ends(0).objects();
    listed.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

/// What became of a row, and its value on both sides.
type Change = (String, Option<String>, Option<String>);

fn compared(before: &Rows, after: &Rows, wanted: &dyn Fn(&str) -> bool) -> BTreeMap<String, Change> {
    let keys = before.keys().chain(after.keys()).filter(|key| wanted(key));
    let of = |key: &String| {
        let (one, other) = (before.get(key), after.get(key));
        let what = match (one, other) {
            (None, _) => "added",
            (_, None) => "deleted",
            _ => "changed",
        };
        (one != other).then(|| (key.clone(), (what.to_owned(), one.cloned(), other.cloned())))
    };
    keys.filter_map(of).collect()
}

fn change(row: &Value) -> (String, Change) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let side = |name: &str| text(&row[name]["values"]["value"]);
    for name in ["before", "after"] {
        // It has no write times, and says none.
        assert!(row[name].get("writetime").is_none());
    }
    (text(&row["key"]["key"]).unwrap(), (text(&row["what"]).unwrap(), side("before"), side("after")))
}

pub fn differences() {
    let (mut dice, mut found) = (Dice(23), BTreeMap::new());
    for round in 0..3 {
        let home = Home::new();
        let nights = nights(&home, &mut dice, 3);
        let ids = ids(&home);
        for (one, other) in [(0, 1), (1, 2), (0, 2), (2, 0)] {
            let (from, to) = (key(dice.throw(300)), key(dice.throw(300)));
            let between = format!("from={from} to={to}");
            for conditions in [None, Some(between.as_str())] {
                let mut args = vec!["diff", &ids[one], &ids[other], "--table", "fruit", "--json"];
                args.extend(conditions.iter().flat_map(|conditions| ["--where", conditions]));
                let ran = home.run(&args);
                assert!([Some(0), Some(4)].contains(&ran.code), "{}", ran.err);
                let objects = ran.objects();
                let rows = objects.iter().filter(|o| o["message_type"] == "row").map(change).collect();
                let wanted = |key: &str| conditions.is_none() || (*key >= *from && *key < *to);
                let expected = compared(&nights[one], &nights[other], &wanted);
                assert_eq!(expected, rows, "round {round}: {one} and {other}, {conditions:?}");
                for (what, ..) in expected.values() {
                    *found.entry(what.clone()).or_insert(0) += 1;
                }
            }
        }
        let text = home.run(&["diff", &ids[0], &ids[2]]).out;
        assert!(!text.contains("(written") && !text.contains("  written"), "{text}");
    }
    assert!(found.len() == 3 && found.values().all(|n| *n > 20), "{found:?}");
}

pub fn histories() {
    let (mut dice, mut seen) = (Dice(31), 0);
    for round in 0..3 {
        let home = Home::new();
        let nights = nights(&home, &mut dice, 6);
        let ids = ids(&home);
        let (from, one) = (key(dice.throw(150)), key(dice.throw(300)));
        for (conditions, wanted) in [
            (format!("from={from}"), &(|key: &str| *key >= *from) as &dyn Fn(&str) -> bool),
            (format!("key={one}"), &|key: &str| key == one),
        ] {
            let objects = home.run(&["history", "fruit", "--where", &conditions, "--json"]).ends(0).objects();
            let (mut last, mut told) = (&Rows::new(), 0);
            for (id, night) in ids.iter().zip(&nights) {
                let rows = objects.iter().filter(|object| object["snapshot"] == **id);
                let found: BTreeMap<String, Change> = rows.map(change).collect();
                let mut expected = compared(last, night, wanted);
                for (what, ..) in expected.values_mut() {
                    *what = what.replace("added", "appeared").replace("deleted", "gone");
                }
                assert_eq!(found, expected, "round {round}: {conditions}, {id}");
                told += expected.len();
                last = night;
            }
            let summary = objects.last().unwrap();
            assert_eq!(summary["versions"].as_u64().unwrap() + summary["gone"].as_u64().unwrap(), told as u64);
            seen += told;
        }
        let objects = home.run(&["find", &one, "--json"]).ends(0).objects();
        for (id, night) in ids.iter().zip(&nights) {
            let there = objects.iter().any(|o| o["message_type"] == "found" && o["snapshot"] == **id && o["rows"] == 1);
            assert_eq!(there, night.contains_key(&one), "{one} in {id}");
        }
        let table = objects.iter().find(|object| object["message_type"] == "table").unwrap();
        assert_eq!((&table["table"], &table["where"]), (&json!("fruit"), &json!(format!("key={one}"))));
        assert!(home.run(&["find", "two words"]).ends(0).out.contains("fruit  takes no such key: key \"two words\""));
    }
    assert!(seen > 300, "{seen}");
}
