use proptest::prelude::*;

use super::super::{comparable, cql};
use super::*;

const TABLE: &str = r#"CREATE TABLE ks.t (a int, b text, c int, d timestamp, e double, "V" varint, l list<int>, n boolean,
    u uuid, dec decimal, by blob, dur duration, PRIMARY KEY ((a, b), c, d, e)) WITH CLUSTERING ORDER BY (c ASC, d DESC, e ASC)"#;

fn table() -> (Table, Layout) {
    let table = cql::parse(TABLE).unwrap().into_table().unwrap();
    let layout = Layout::of(&table).unwrap();
    (table, layout)
}

fn filter(text: &str) -> Result<Filter> {
    let (table, layout) = table();
    Filter::parse(text, &table, &layout)
}

/// A row of the table: its key, and its values as a predicate sees them.
fn row(a: i32, b: &str, c: i32, d: i64, e: f64) -> (Vec<u8>, Vec<Option<Vec<u8>>>) {
    let (_, layout) = table();
    let clustering = [c.to_be_bytes().to_vec(), d.to_be_bytes().to_vec(), e.to_be_bytes().to_vec()];
    let partition = [a.to_be_bytes().to_vec(), b.as_bytes().to_vec()];
    let mut raw = Vec::new();
    for part in &partition {
        raw.extend((part.len() as u16).to_be_bytes());
        raw.extend(part);
        raw.push(0);
    }
    let mut key = Vec::new();
    comparable::put_group(&mut key, &raw);
    let parts: Vec<_> = clustering.iter().map(|p| Some(&p[..])).collect();
    layout.clustering().row(&mut key, &parts).unwrap();
    let mut values: Vec<_> = partition.into_iter().chain(clustering).map(Some).collect();
    values.resize(layout.columns().len(), None);
    (key, values)
}

fn holds(filter: &Filter, values: &[Option<Vec<u8>>]) -> bool {
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    filter.predicate()(&values).unwrap()
}

fn within(filter: &Filter, key: &[u8]) -> bool {
    filter.reads(true).any(|(low, high)| key >= &low[..] && (high.is_empty() || key < &high[..]))
}

fn ascending(filter: &Filter) -> bool {
    let ranges: Vec<KeyRange> = filter.reads(true).collect();
    ranges.iter().all(|(from, to)| from < to || to.is_empty()) && ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0)
}

#[test]
fn ranges_hold_what_conditions_want_and_little_else() {
    let (one, values) = row(1, "x", 5, 1000, 0.5);
    let others =
        [row(1, "x", 6, 1000, 0.5), row(1, "x", 5, 2000, 0.5), row(1, "x", 5, 1000, 1.5), row(2, "x", 5, 1000, 0.5)];
    // Which of the others are in range too.
    for (text, also) in [
        ("a = 1 AND b = 'x'", [true, true, true, false]),
        ("a = 1 AND b = 'x' AND c = 5", [false, true, true, false]),
        ("a = 1 AND b = 'x' AND c >= 5 AND c < 6", [false, true, true, false]),
        ("a = 1 and b = 'x' and c > 4 and c <= 5", [false, true, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND d = 1000", [false, false, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND d <= 1000", [false, false, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND d < '1970-01-01 00:00:02Z'", [false, false, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND d > 999 AND d >= 1000", [false, true, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND d = 1000 AND e < 1", [false, false, false, false]),
        ("a IN (1, 2) AND b IN ('x', 'y') AND c = 5", [false, true, true, true]),
        ("a = 1 AND b = 'x' AND c IN (1, 5)", [false, true, true, false]),
        ("a = 1 AND b = 'x' AND (c, d) = (5, 1000)", [false, false, true, false]),
        ("a = 1 AND b = 'x' AND (c, d) IN ((5, 1000), (6, 0))", [false, false, true, false]),
        ("a = 1 AND b = 'x' AND (c, d, e) >= (5, 1000, 0.5) AND (c) < (6)", [false, true, true, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND (d, e) < (1000, 1.0)", [false, false, false, false]),
        ("a = 1 AND b = 'x' AND c = 5 AND (d, e) <= (1000, 1.5)", [false, false, true, false]),
        ("c = 5", [true, true, true, true]),
        ("a = 1", [true, true, true, true]),
    ] {
        let filter = filter(text).unwrap();
        assert!(within(&filter, &one) && holds(&filter, &values), "{text}");
        for ((key, values), also) in others.iter().zip(also) {
            assert_eq!(within(&filter, key), also, "{text}");
            assert!(also || !holds(&filter, values), "{text}");
        }
        assert!(ascending(&filter), "{text}");
        // The partition's deletion and static row come along.
        let group = comparable::split(&one).unwrap().group_len;
        for tail in [0, 1] {
            assert!(within(&filter, &[&one[..group], &[tail]].concat()), "{text}");
        }
    }
}

#[test]
fn literals() {
    let uuid = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    for (text, place, value) in [
        ("\"V\" = 300", 5, Some(vec![1, 44])),
        ("\"V\" >= 299", 5, Some(vec![0, 1, 44])),
        ("n = TRUE", 10, Some(vec![9])),
        ("dec = 1.50", 7, Some(vec![0, 0, 0, 1, 15])),
        ("by = 0xcafe", 6, Some(vec![0xca, 0xfe])),
        ("dur = 1d1ns", 8, Some(vec![0, 2, 2])),
    ] {
        let filter = filter(text).unwrap();
        let (_, layout) = table();
        let mut values = vec![None; layout.columns().len()];
        assert!(!holds(&filter, &values), "null: {text}");
        values[place] = value;
        assert!(holds(&filter, &values), "{text}");
    }
    let same = filter(&format!("u = {uuid}")).unwrap();
    assert_eq!(same.conditions[0].values[0].raw, filter(&format!("u = '{uuid}'")).unwrap().conditions[0].values[0].raw);
    for (text, ms) in [
        ("'2026-01-31'", 1_769_817_600_000_i64),
        ("'2026-01-31 23:59'", 1_769_903_940_000),
        ("'2026-01-31T23:59:58.5+01:00'", 1_769_900_398_500),
        ("'2026-01-31 00:00:00 UTC'", 1_769_817_600_000),
        ("'-86400000'", -86_400_000),
        ("'1969-12-31'", -86_400_000),
    ] {
        let filter = filter(&format!("d = {text}")).unwrap();
        assert_eq!(filter.conditions[0].values[0].raw, ms.to_be_bytes(), "{text}");
    }
}

#[test]
fn errors_say_what_to_write() {
    let error = filter("nope = 1").unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    let text = error.to_string();
    assert!(text.contains("nope") && text.contains("ks.t") && text.contains("a, b, c, d, e, V, "), "{text}");
    for text in [
        "a = 'x'",
        "a = 5000000000",
        "b = 5",
        "l = 5",
        "a",
        "a =",
        "a = 1 b = 'x'",
        "a = 1 AND",
        "d = 'tomorrow'",
        "u = 5",
        "by = 0xabc",
        "n = 1",
        "dur < 1d",
        "a IN ()",
        "v = 1",
        "a != 1",
        "d = '2026-02-30'",
        "dec = 1.2.3",
        "(c, e) = (1, 2)",
        "(d, c) = (1, 2)",
        "(a) = (1)",
        "(c, d) = (1)",
        "(c, d) = 1",
        "(c, d) LIKE (1, 2)",
        "a = 1 AND b = 'x' AND (d, e) > (1, 2)",
        "(c, d) IN ()",
    ] {
        assert_eq!(filter(text).unwrap_err().kind(), Kind::Usage, "{text}");
    }
    assert!(filter("l = 5").unwrap_err().to_string().contains("collections"));
    assert!(filter(" ").unwrap_err().to_string().contains("is empty"), "an unset variable of a shell is no wish");
    // Tested row by row, a longer list would lose the deletions in the slices.
    let list = |n: i32| (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    let lists = |n: i32| filter(&format!("a = 1 AND b = 'x' AND c IN ({}) AND d IN ({})", list(n), list(100))).unwrap();
    lists(100).names_records().unwrap();
    let error = lists(101).names_records().unwrap_err().to_string();
    assert!(error.contains("more than 10000 slices") && error.contains("shorter lists"), "{error}");
}

fn key_condition() -> impl Strategy<Value = String> {
    let operator = || prop_oneof![Just("="), Just("<"), Just("<="), Just(">"), Just(">=")];
    prop_oneof![
        (operator(), 0..4).prop_map(|(o, n)| format!("c {o} {n}")),
        (operator(), 0..4).prop_map(|(o, n)| format!("d {o} {n}")),
        (operator(), 0..4).prop_map(|(o, n)| format!("e {o} {n}")),
        (0..4, 0..4).prop_map(|(a, b)| format!("c IN ({a}, {b})")),
        (operator(), 0..4, 0..4).prop_map(|(o, a, b)| format!("(c, d) {o} ({a}, {b})")),
        (operator(), 0..4, 0..4, 0..4).prop_map(|(o, a, b, c)| format!("(c, d, e) {o} ({a}, {b}, {c})")),
        (0..4, 0..4, 0..4).prop_map(|(a, b, c)| format!("(c, d) IN (({a}, {b}), ({b}, {c}))")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// What the conditions accept lies in their ranges.
    #[test]
    fn nothing_is_missed(conditions in proptest::collection::vec(key_condition(), 0..5), c in 0..4, d in 0..4_i64, e in 0..4) {
        let text = ["a = 1 AND b = 'x'".to_string()].into_iter().chain(conditions).collect::<Vec<_>>().join(" AND ");
        let filter = filter(&text).unwrap();
        let (key, values) = row(1, "x", c, d, f64::from(e));
        prop_assert!(!holds(&filter, &values) || within(&filter, &key), "{}", text);
        // What keys settle is settled exactly.
        prop_assert!(filter.slices().is_none() || holds(&filter, &values) == within(&filter, &key), "{}", text);
        prop_assert!(ascending(&filter), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[(abcdenul\"V, )]{1,5}( ?(=|<|>=|IN|AND) ?[-'(0-9a-fxyTZ:.e,)]{0,12}){0,3}", any in ".*") {
        let _ = filter(&text);
        let _ = filter(&any);
    }
}
