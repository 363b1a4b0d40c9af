//! Rings and cuts here; what plans and files make of them beside.

mod files;
mod plan;

use std::sync::Arc;

use repo_format::murmur3;

use super::ring::{Replication, parse_replication};
use super::*;
use crate::engine::cassandra::ring::TokenRange;
use crate::error::Kind;

fn options(pairs: &[(&str, &str)]) -> Replication {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn simple(count: &str) -> Replication {
    options(&[("class", "SimpleStrategy"), ("replication_factor", count)])
}

fn fixture(version: &str, file: &str) -> String {
    let path = format!("{}/tests/fixtures/cassandra-{version}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn size(records: u64, bytes: u64) -> Size {
    Size { records, bytes }
}

fn placed(ring: &TargetRing, replication: &Replication) -> Arc<Placed> {
    Arc::new(Placed::of(ring.place("ks", replication).unwrap()))
}

/// `tokens` tokens for each of `count` nodes in three racks of every data center.
fn racks(count: usize, centers: usize, tokens: usize) -> TargetRing {
    let member = |n: usize| {
        let token = |i: usize| murmur3::token(&((n * tokens + i) as u64).to_be_bytes());
        serde_json::json!({
            "address": format!("n{n}"), "data_center": format!("dc{}", n % centers), "rack": format!("r{}", n / centers % 3),
            "tokens": (0..tokens).map(token).collect::<Vec<_>>(),
        })
    };
    let members: Vec<_> = (0..count).map(member).collect();
    TargetRing::parse(&serde_json::json!({ "members": members }).to_string(), "ring").unwrap()
}

#[test]
fn three_forms_of_one_ring_place_alike() {
    for version in ["4.1", "5.0"] {
        let ring = TargetRing::parse(&fixture(version, "ring.txt"), "ring.txt").unwrap();
        let listed = TargetRing::parse(&fixture(version, "describering.txt"), "describering.txt").unwrap();
        assert!(listed.is_of_one_keyspace() && !ring.is_of_one_keyspace());
        let json = serde_json::json!({ "members": ring.members() }).to_string();
        let json = TargetRing::parse(&json, "ring.json").unwrap();
        assert_eq!(json, ring);
        let center = options(&[("class", "org.apache.cassandra.locator.NetworkTopologyStrategy"), ("dc1", "3")]);
        let names = |ring: &TargetRing| -> Vec<(TokenRange, Vec<String>)> {
            let placed = ring.place("lab", &center).unwrap();
            let name = |n: &usize| ring.members()[*n].address.clone();
            placed.iter().map(|(range, nodes)| (*range, nodes.iter().map(name).collect())).collect()
        };
        assert_eq!(names(&ring), names(&listed), "{version}");
        assert_eq!(names(&ring).len(), 49);
    }
}

#[test]
fn ports_wraps_and_odd_racks_of_describering() {
    let text = "Schema Version:1\nTokenRange: \n\
        \tTokenRange(start_token:5, end_token:-5, endpoints:[[fd00::1]:7000], rpc_endpoints:[[fd00::1]:9042], \
        endpoint_details:[EndpointDetails(host:[fd00::1]:7000, datacenter:d c, rack:a (1))])\n\
        \tTokenRange(start_token:-5, end_token:5, endpoints:[[fd00::1]:7000, b], rpc_endpoints:[x, y], \
        endpoint_details:[EndpointDetails(host:[fd00::1]:7000, datacenter:d c, rack:a (1)), EndpointDetails(host:b)])\n";
    let ring = TargetRing::parse(text, "d").unwrap();
    let seen: Vec<_> = ring.members().iter().map(|m| (m.address.as_str(), m.data_center.as_str())).collect();
    assert_eq!(seen, [("[fd00::1]:7000", "d c"), ("b", "")]);
    // Three of four ranges have one replica where two are wanted.
    let error = ring.place("ks", &simple("2")).unwrap_err();
    assert!(error.message().contains("has 1 replicas, but the replication says 2"), "{error}");
    let alone = text.replace("endpoints:[[fd00::1]:7000, b]", "endpoints:[[fd00::1]:7000]");
    let placed = TargetRing::parse(&alone, "d").unwrap().place("ks", &simple("1")).unwrap();
    assert_eq!(placed.len(), 3);
}

fn refused(text: &str, words: &str) {
    let error = TargetRing::parse(text, "ring.txt").unwrap_err();
    assert_eq!((error.kind(), error.subject()), (Kind::Usage, "ring.txt"));
    assert!(error.message().contains(words) && error.advice().is_some(), "{error}");
}

#[test]
fn rings_that_cannot_be_used_are_named() {
    let whole = fixture("5.0", "describering.txt");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |at: usize| lines.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, l)| *l).collect::<Vec<_>>();
    for (at, line) in lines.iter().enumerate().skip(2) {
        refused(&without(at).join("\n"), "are not in the ring");
        refused(&format!("{whole}\n{line}"), "stand there twice");
    }
    let nobody = whole.replacen("endpoints:[127.0.0.2, 127.0.0.1, 127.0.0.3]", "endpoints:[]", 1);
    refused(&nobody, "have no replica");
    refused(&whole.replacen("endpoints:[127.0.0.2,", "endpoints:[127.0.0.9,", 1), "no details of 127.0.0.9");
    refused(&whole.replacen("end_token:", "end:", 1), "not understood");
    refused("", "no node with a token");
    refused("{\"members\": []}", "no node with a token");
    refused("{\"nodes\": []}", "no ring in JSON");
    refused(" [{\"address\": \"a\"}]", "is a list in JSON, not an object");
    let member = |address: &str, tokens: &str| {
        format!("{{\"address\": \"{address}\", \"data_center\": \"d\", \"rack\": \"r\", \"tokens\": [{tokens}]}}")
    };
    let json = |members: &[String]| format!("{{\"members\": [{}]}}", members.join(", "));
    refused(&json(&[member("a", "1"), member("b", "1")]), "token 1 stands there twice");
    refused(&json(&[member("a", "1"), member("a", "2")]), "node a stands there twice");
    refused(&json(&[member("a", "")]), "node a has no token");
    let ring = fixture("5.0", "ring.txt");
    refused(&ring.replacen("Normal", "Joining", 1), "joining");
    let twice = ring.lines().find(|l| l.starts_with("127.0.0.1")).unwrap();
    refused(&format!("{ring}\n{}", twice.replace("127.0.0.1", "127.0.0.9")), "stands there twice");
}

#[test]
fn replications_that_do_not_fit_are_named() {
    let ring = TargetRing::parse(&fixture("5.0", "ring.txt"), "ring.txt").unwrap();
    let listed = TargetRing::parse(&fixture("5.0", "describering.txt"), "ring.txt").unwrap();
    for ring in [&ring, &listed] {
        for (replication, words) in [
            (
                options(&[("class", "NetworkTopologyStrategy"), ("dc9", "3")]),
                "data center dc9, which the ring lacks; it has dc1",
            ),
            (options(&[("class", "NetworkTopologyStrategy"), ("dc1", "3/1")]), "transient"),
            (options(&[("class", "LocalStrategy")]), "LocalStrategy"),
            (options(&[("class", "com.example.Mine")]), "not known"),
            (simple("x"), "no number of replicas"),
        ] {
            let error = ring.place("ks", &replication).unwrap_err();
            assert!(error.to_string().contains(words) && error.to_string().contains("keyspace ks"), "{error}");
            assert!(error.advice().unwrap().contains("--replication"), "{error}");
        }
    }
    let nobody = options(&[("class", "NetworkTopologyStrategy"), ("dc1", "0")]);
    assert!(ring.place("ks", &nobody).unwrap_err().message().contains("have no replica"));
    let all = options(&[("class", "NetworkTopologyStrategy"), ("replication_factor", "2")]);
    assert!(ring.place("ks", &all).unwrap().iter().all(|(_, nodes)| nodes.len() == 2));
    assert_eq!(ring.spelled_out(&all), options(&[("class", "NetworkTopologyStrategy"), ("dc1", "2")]));
}

#[test]
fn replication_as_in_cql() {
    let parsed = parse_replication("{'class': 'SimpleStrategy', 'replication_factor': 3}").unwrap();
    assert_eq!(parsed, simple("3"));
    for text in
        ["", "{}", "{'class'}", "{'class': 'a'", "{'class': 'a'} x", "{'dc1': '3'}", "{class: 'a'}", "{'class': 'a',}"]
    {
        assert_eq!(parse_replication(text).unwrap_err().kind(), Kind::Usage, "{text}");
    }
}

#[test]
fn cuts_follow_the_compaction() {
    let cut = |pairs: &[(&str, &str)]| Cut::parse(&options(pairs));
    assert_eq!(cut(&[]).unwrap(), Cut::Size);
    assert_eq!(cut(&[("class", "org.apache.cassandra.db.compaction.UnifiedCompactionStrategy")]).unwrap(), Cut::Size);
    let windows = cut(&[("class", "TimeWindowCompactionStrategy"), ("compaction_window_unit", "HOURS")]).unwrap();
    assert_eq!(windows, Cut::Windows { seconds: 3600, resolution: 1_000_000 });
    assert_eq!(windows.window(7_199_999_999), 3600);
    assert_eq!(windows.window(7_200_000_000), 7200);
    // As Cassandra divides: towards zero.
    assert_eq!((windows.window(-1), windows.window(-3_600_000_000)), (0, -3600));
    let days = [
        ("class", "TimeWindowCompactionStrategy"),
        ("timestamp_resolution", "MILLISECONDS"),
        ("compaction_window_size", "2"),
    ];
    assert_eq!(cut(&days).unwrap(), Cut::Windows { seconds: 172_800, resolution: 1000 });
    let levels = cut(&[("class", "LeveledCompactionStrategy"), ("sstable_size_in_mb", "1")]).unwrap();
    assert_eq!(levels, Cut::Levels { size: 1 << 20, fanout: 10 });
    let mb = |n: u64| n << 20;
    assert_eq!(
        [mb(1), mb(2), mb(10), mb(11), mb(100), mb(101)].map(|bytes| levels.level(bytes, 1)),
        [0, 1, 1, 2, 2, 3]
    );
    // 50 stretches of 40 KB are no files.
    assert_eq!(levels.level(mb(2), 50), 0);
    assert_eq!(Cut::Size.level(u64::MAX, 1), 0);
    for (name, value) in
        [("compaction_window_unit", "WEEKS"), ("compaction_window_size", "0"), ("timestamp_resolution", "")]
    {
        let error = cut(&[("class", "TimeWindowCompactionStrategy"), (name, value)]).unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.message().contains(name), "{error}");
    }
}
