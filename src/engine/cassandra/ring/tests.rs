use std::collections::BTreeMap;

use super::*;

/// Placements that Cassandra 5.0.9's own classes computed for nine nodes in three data centers.
const CASSANDRA: &str = include_str!("placement.txt");

fn ring() -> Ring {
    let mut text = String::new();
    for line in CASSANDRA.lines().filter(|line| line.starts_with("node ")) {
        let words: Vec<&str> = line.split(' ').collect();
        text += &format!("\nDatacenter: {}\n==========\n", words[2]);
        for token in &words[4..] {
            text += &format!("{}  {}  Up  Normal  1.45 MiB  ?  {token}  \n", words[1], words[3]);
        }
    }
    Ring::parse(&text, "test").unwrap()
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

#[test]
fn replicas_are_those_that_cassandra_chooses() {
    let ring = ring();
    let cases = [
        ("nts", options(&[("class", "NetworkTopologyStrategy"), ("dc1", "3"), ("dc2", "2")])),
        ("nts4", options(&[("class", "a.b.NetworkTopologyStrategy"), ("dc1", "4"), ("dc2", "5"), ("dc3", "1")])),
        ("simple", options(&[("class", "SimpleStrategy"), ("replication_factor", "3")])),
    ];
    for (name, replication) in cases {
        let placement = ring.placement(&replication).unwrap();
        let mut checked = 0;
        for line in CASSANDRA.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] != name {
                continue;
            }
            let token: i64 = words[1].parse().unwrap();
            let (_, nodes) = placement.natural().iter().find(|(range, _)| range.contains(token)).unwrap();
            let nodes: Vec<&str> = nodes.iter().map(|n| ring.members()[*n].address.as_str()).collect();
            assert_eq!(nodes, words[2..], "{line}");
            checked += 1;
        }
        assert_eq!(checked, 27);
        let all: Vec<_> = placement.natural().iter().map(|(range, _)| *range).collect();
        assert_eq!((all[0].start, all[all.len() - 1].end), (i64::MIN, i64::MAX));
        assert!(all.windows(2).all(|two| two[0].end == two[1].start));
        for node in 0..9 {
            for (range, nodes) in placement.natural() {
                let owned = placement.owned(node).iter().any(|o| o.contains(range.end) && o.contains(range.start + 1));
                assert_eq!(owned, nodes.contains(&node));
            }
        }
        assert!(!placement.is_everywhere());
    }
}

#[test]
fn everywhere_is_seen() {
    let ring = ring();
    let everywhere = |pairs: &[(&str, &str)]| ring.placement(&options(pairs)).unwrap().is_everywhere();
    assert!(everywhere(&[("class", "EverywhereStrategy")]));
    assert!(everywhere(&[("class", "org.apache.cassandra.locator.LocalStrategy")]));
    assert!(everywhere(&[("class", "SimpleStrategy"), ("replication_factor", "9")]));
    assert!(!everywhere(&[("class", "NetworkTopologyStrategy"), ("dc1", "5"), ("dc2", "3")]));
    for pairs in [
        &[("class", "NetworkTopologyStrategy"), ("dc1", "3/1")][..],
        &[("class", "com.example.Mine")],
        &[("class", "SimpleStrategy")],
        &[],
    ] {
        assert_eq!(ring.placement(&options(pairs)).unwrap_err().kind(), Kind::Unsupported);
    }
}

const TWO_CENTERS: &str = "
Datacenter: east one
==========
Address         Rack        Status State   Load            Owns                Token
                                                                               100
10.0.0.1:7000   rack 1      Up     Normal  1.45 MiB        ?                   -100
10.0.0.2:7000   rack 2      Down   Leaving ?               66.67%              100

Datacenter: west
==========
Address         Rack        Status State   Load            Owns                Token

fd00::3         r           Up     Joining 108 bytes       33.3%               0

  Warning: \"nodetool ring\" is used to output all the tokens of a node.
";

#[test]
fn data_centers_states_and_odd_names() {
    let ring = Ring::parse(TWO_CENTERS, "ring.txt").unwrap();
    let seen: Vec<_> = ring.members().iter().map(|m| (m.data_center.as_str(), m.rack.as_str(), m.state)).collect();
    use MemberState::{Joining, Leaving, Normal};
    assert_eq!(seen, [("east one", "rack 1", Normal), ("east one", "rack 2", Leaving), ("west", "r", Joining)]);
    assert_eq!(
        (ring.find("10.0.0.1"), ring.find("10.0.0.2:7000"), ring.find("fd00:0::3")),
        (Some(0), Some(1), Some(2))
    );
    assert_eq!((ring.find("10.0.0.9"), ring.find("")), (None, None));
    let placement = ring.placement(&options(&[("class", "SimpleStrategy"), ("replication_factor", "1")])).unwrap();
    let range = |start, end| TokenRange { start, end };
    // Naturally (-100, 100] is the second's; as it leaves and the third joins, (100, 0] by way of -100 will be others'.
    assert_eq!(placement.owned(1), [range(-100, 100)]);
    assert_eq!(placement.owned(2), [range(-100, 0)]);
    assert_eq!(placement.owned(0), [range(i64::MIN, -100), range(0, i64::MAX)]);
}

/// Tokens as calculators give them for rings without virtual nodes: the first is the least number there is, which is nobody's
/// token. Its node holds what comes after the greatest token.
#[test]
fn a_node_may_have_the_least_token() {
    let text = "Datacenter: dc1\n==========\nAddress  Rack  Status  State  Load  Owns  Token\n  4611686018427387904\n\
        a  r  Up  Normal  1 KiB  ?  -9223372036854775808\nb  r  Up  Normal  1 KiB  ?  0\nc  r  Up  Normal  1 KiB  ?  4611686018427387904\n";
    let ring = Ring::parse(text, "ring.txt").unwrap();
    let placement = ring.placement(&options(&[("class", "SimpleStrategy"), ("replication_factor", "2")])).unwrap();
    let half = 1 << 62;
    let range = |start, end| TokenRange { start, end };
    let (first, middle, last) = (range(i64::MIN, 0), range(0, half), range(half, i64::MAX));
    assert_eq!(placement.natural(), [(first, vec![1, 2]), (middle, vec![2, 0]), (last, vec![0, 1])]);
}

#[test]
fn a_ring_cut_short_is_refused() {
    let cut = |text: &str, words: &str| {
        let error = Ring::parse(text, "ring.txt").unwrap_err();
        assert!(error.message().contains(words), "{error}");
        assert!(error.advice().unwrap().contains("the whole output"), "{error}");
    };
    let lines: Vec<&str> = TWO_CENTERS.lines().collect();
    // The last row of a data center of two is not there; nor, at its end, its last digit.
    for text in [lines[..6].join("\n"), [&lines[..6], &lines[7..]].concat().join("\n")] {
        cut(&text, "is cut short: data center east one has a token 100");
    }
    cut(lines[..7].join("\n").strip_suffix('0').unwrap(), "is cut short");
    // Above the rows of one token in all stands nothing.
    let west = [&lines[..1], &lines[8..]].concat().join("\n");
    assert_eq!(Ring::parse(&west, "ring.txt").unwrap().members().len(), 1);
    for version in ["4.1", "5.0", "5.0-mixed", "5.0-oa"] {
        let path = format!("{}/tests/fixtures/cassandra-{version}/ring.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(Ring::parse(&text, "ring.txt").unwrap().members().len(), 3, "{version}");
        let rows = text.lines().filter(|line| line.starts_with("127.")).count();
        let last = text.lines().rfind(|line| line.starts_with("127.")).unwrap();
        cut(&text[..text.find(last).unwrap()], "is cut short");
        assert!(rows > 40);
    }
}

#[test]
fn what_is_no_ring_is_refused() {
    for text in
        ["", "Datacenter: dc1\n", "error: no connection", "Datacenter: a\nx r Up Normal ? ? 5\ny r Up Normal ? ? 5\n"]
    {
        let error = Ring::parse(text, "ring.txt").unwrap_err();
        assert_eq!((error.kind(), error.subject()), (Kind::Usage, "ring.txt"));
    }
}

#[test]
fn ranges_in_key_space() {
    assert_eq!(TokenRange::ALL.keys(), (vec![0, 0, 0, 0, 0, 0, 0, 1], None));
    let (from, to) = TokenRange { start: -1, end: 0 }.keys();
    assert_eq!((from, to), (vec![0x80, 0, 0, 0, 0, 0, 0, 0], Some(vec![0x80, 0, 0, 0, 0, 0, 0, 1])));
}

#[test]
fn replication_that_does_not_fit_is_told() {
    let ring = ring();
    let topology = |pairs: &[(&str, &str)]| options(&[&[("class", "NetworkTopologyStrategy")], pairs].concat());
    let misfit = |replication, center| ring.misfit(&replication, center).unwrap().unwrap_or_default();
    assert_eq!(misfit(topology(&[("dc1", "3"), ("dc2", "2")]), None), "");
    assert_eq!(misfit(topology(&[("dc1", "99")]), None), "", "fewer nodes than replicas: all of them hold all of it");
    assert!(
        misfit(topology(&[("dc1", "3"), ("DC2", "2")]), None)
            .contains("data center DC2, which the ring lacks; it has dc1")
    );
    assert_eq!(misfit(topology(&[("dc1", "3"), ("DC2", "0")]), None), "");
    assert_eq!(misfit(topology(&[("dc1", "3"), ("DC2", "2")]), Some("dc1")), "");
    for nobody in
        [topology(&[]), topology(&[("dc1", "0")]), options(&[("class", "SimpleStrategy"), ("replication_factor", "0")])]
    {
        assert!(misfit(nobody, None).contains("no node of the ring is to hold"));
    }
    assert_eq!(misfit(options(&[("class", "LocalStrategy")]), None), "");
}
