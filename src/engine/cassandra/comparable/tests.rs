use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use model::{compare, values};

mod model;

fn ty(text: &str) -> CqlType {
    parse_cql(text, &[]).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn encode(t: &CqlType, descending: bool, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_component(&mut out, t, descending, value).unwrap();
    out
}

fn decode(t: &CqlType, descending: bool, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(bytes);
    let value = decode_component(&mut cursor, t, descending).unwrap();
    assert!(cursor.is_empty());
    value
}

const TYPES: [&str; 31] = [
    "ascii",
    "bigint",
    "blob",
    "boolean",
    "date",
    "decimal",
    "double",
    "float",
    "inet",
    "int",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
    "varint",
    "frozen<list<int>>",
    "frozen<set<text>>",
    "frozen<map<text, int>>",
    "frozen<map<varint, blob>>",
    "frozen<tuple<int, text>>",
    "frozen<tuple<text, text, text>>",
    "frozen<list<frozen<list<blob>>>>",
    "frozen<tuple<frozen<tuple<int, int>>, double>>",
    "vector<float, 2>",
    "vector<text, 2>",
    "vector<frozen<tuple<int, text>>, 2>",
    "frozen<list<decimal>>",
    "frozen<tuple<boolean, uuid>>",
];

fn case() -> impl Strategy<Value = (CqlType, bool, Vec<u8>, Vec<u8>)> {
    let types = TYPES.map(ty);
    (proptest::sample::select(types.to_vec()), any::<bool>())
        .prop_flat_map(|(t, descending)| (values(&t), values(&t)).prop_map(move |(a, b)| (t.clone(), descending, a, b)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    #[test]
    fn order_is_the_comparators((t, descending, a, b) in case()) {
        // With what may follow, which is what compares least and greatest.
        let want = if descending { compare(&t, &b, &a) } else { compare(&t, &a, &b) };
        let [x, y] = [&a, &b].map(|v| encode(&t, descending, Some(v)));
        if want == Ordering::Equal {
            prop_assert_eq!(x, y);
        } else {
            for (end_x, end_y) in [(BEFORE, AFTER), (AFTER, BEFORE), (END, NEXT), (NEXT, END)] {
                let [x, y] = [(&x, end_x), (&y, end_y)].map(|(v, end)| [&v[..], &[end]].concat());
                prop_assert_eq!(x.cmp(&y), want, "{} {:02x?} {:02x?}", t, x, y);
            }
        }
    }

    #[test]
    fn values_come_back((t, descending, a, _) in case()) {
        let encoded = encode(&t, descending, Some(&a));
        let back = decode(&t, descending, &encoded).unwrap();
        prop_assert_eq!(encode(&t, descending, Some(&back)), encoded);
        if is_byte_exact(&t) {
            prop_assert_eq!(&back, &a);
        } else {
            prop_assert_eq!(compare(&t, &back, &a), Ordering::Equal);
        }
        let clustering = Clustering::new(vec![(t, descending)]).unwrap();
        let mut key = Vec::new();
        prop_assert_eq!(clustering.row(&mut key, &[Some(&a)]).unwrap(), back != a);
    }

    #[test]
    fn no_bytes_make_it_panic(t in proptest::sample::select(TYPES.to_vec()), descending: bool, bytes: Vec<u8>) {
        let t = ty(t);
        let _ = decode_component(&mut Cursor::new(&bytes), &t, descending);
        let _ = decode_component(&mut Cursor::new(&[&[NEXT], &bytes[..]].concat()), &t, descending);
        let _ = encode_component(&mut Vec::new(), &t, descending, Some(&bytes));
        let _ = split(&bytes);
        let _ = raw_parts(&bytes);
    }

    #[test]
    fn keys_come_apart(pk: Vec<u8>, other: Vec<u8>, a: Option<i32>, b in ".*") {
        let clustering = Clustering::new(vec![(CqlType::Int, true), (CqlType::Text, false)]).unwrap();
        let a = a.map(i32::to_be_bytes);
        let parts = [a.as_ref().map(|a| &a[..]), Some(b.as_bytes())];
        let mut key = Vec::new();
        let group_len = put_group(&mut key, &pk);
        clustering.row(&mut key, &parts).unwrap();
        let split = split(&key).unwrap();
        prop_assert_eq!((&split.partition_key, split.group_len, split.position), (&pk, group_len, Position::Row));
        prop_assert_eq!(split.token, murmur3::token(&pk));
        let back = clustering.decode(split.clustering).unwrap();
        prop_assert_eq!(back.iter().map(Option::as_deref).collect::<Vec<_>>(), parts);
        let mut raw = Vec::new();
        put_raw(&mut raw, &parts);
        prop_assert_eq!(raw_parts(&raw).unwrap(), parts);
        // Partitions order by token, then raw key.
        let group = |pk: &[u8]| { let mut key = Vec::new(); put_group(&mut key, pk); key };
        let want = (murmur3::token(&pk), &pk).cmp(&(murmur3::token(&other), &other));
        prop_assert_eq!(group(&pk).cmp(&group(&other)), want);
    }
}

/// From the comments in `ByteSource`, `IntegerType` and `DecimalType` (where the code agrees with them).
#[test]
fn bytes_as_cassandra_has_them() {
    let long = |n: i64| n.to_be_bytes().to_vec();
    for (n, want) in [
        (0, "4080"),
        (1, "4081"),
        (-1, "407f"),
        (63, "40bf"),
        (64, "40c040"),
        (-64, "4040"),
        (-65, "403fbf"),
        ((1 << 20) - 1, "40efffff"),
        (1 << 20, "40f0100000"),
        (-(1 << 20), "40100000"),
    ] {
        assert_eq!(encode(&CqlType::BigInt, false, Some(&long(n))), hex(want), "{n}");
    }
    for (t, descending, value, want) in [
        ("text", false, "", "4000"),
        ("text", false, "41", "404100"),
        ("text", false, "4100", "404100fe"),
        ("text", false, "41000042", "404100feff4200"),
        ("text", false, "41004200", "404100ff4200fe"),
        ("text", true, "4142", "40bebdff"),
        ("int", false, "00000005", "4080000005"),
        ("int", true, "00000005", "407ffffffa"),
        ("int", false, "", "3f"),
        ("int", true, "", "41"),
        ("varint", false, "ff", "407f"),
        ("varint", false, "7f", "40c07f"),
        ("varint", false, "00ff", "40c0ff"),
        ("varint", false, "00ffffffff", "40f8ffffffff"),
        ("varint", false, "0100000000", "40f900000000"),
        ("varint", false, "0100000000000000", "40ff010100000000000000"),
        ("decimal", false, "000000010b", "40c101818a00"),
        ("decimal", false, "00000000ff", "403fff7f00"),
        ("decimal", false, "00000001fc19", "403fff1c8a00"),
        ("decimal", false, "0000000700", "4080"),
        ("boolean", false, "05", "4001"),
    ] {
        assert_eq!(encode(&ty(t), descending, Some(&hex(value))), hex(want), "{t} {value}");
    }
    assert_eq!(encode(&CqlType::Int, true, None), [NULL]);
}

#[test]
fn decimals_at_the_ends_of_scale() {
    let t = CqlType::Decimal;
    let mut last = None;
    // Ascending in value.
    for (scale, unscaled) in [
        (i32::MIN, "80"),
        (i32::MIN, "f6"),
        (i32::MIN, "ff"),
        (i32::MAX, "ff"),
        (i32::MAX, "01"),
        (0, "01"),
        (i32::MIN + 1, "64"),
        (i32::MIN, "0a"),
        (i32::MIN, "64"),
    ] {
        let value = [&scale.to_be_bytes()[..], &hex(unscaled)].concat();
        let encoded = encode(&t, false, Some(&value));
        if let Some(last) = &last {
            assert!(*last <= encoded);
        }
        let back = decode(&t, false, &encoded).unwrap();
        assert_eq!(encode(&t, false, Some(&back)), encoded, "{scale} {unscaled}");
        last = Some(encoded);
    }
}

#[test]
fn positions_order_around_their_rows() {
    let clustering = Clustering::new(vec![(CqlType::Int, false), (CqlType::Text, true)]).unwrap();
    let one = 1_i32.to_be_bytes();
    let with = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut key = Vec::new();
        put_group(&mut key, b"pk");
        write(&mut key);
        key
    };
    let bound = |prefix: &[Option<&[u8]>], after: bool| with(&|k| clustering.bound(k, prefix, after).unwrap());
    let row = |text: &str| with(&|k| assert!(!clustering.row(k, &[Some(&one), Some(text.as_bytes())]).unwrap()));
    let ascending = [
        with(&|k| put_group_record(k)),
        with(&|k| put_static(k)),
        bound(&[], false),
        bound(&[None], false),
        bound(&[None], true),
        bound(&[Some(&one)], false),
        row("b"),
        bound(&[Some(&one), Some(b"a")], false),
        row("a"),
        bound(&[Some(&one), Some(b"a")], true),
        row(""),
        bound(&[Some(&one)], true),
        bound(&[], true),
    ];
    assert!(ascending.is_sorted());
    let positions: Vec<_> = ascending.iter().map(|k| split(k).unwrap().position).collect();
    use Position::*;
    let want = [Group, Static, Before, Before, After, Before, Row, Before, Row, After, Row, After, After];
    assert_eq!(positions, want);
    assert_eq!(clustering.decode(split(&ascending[5]).unwrap().clustering).unwrap(), [Some(one.to_vec())]);
    let empty = Clustering::new(vec![]).unwrap();
    let key = with(&|k| assert!(!empty.row(k, &[]).unwrap()));
    assert_eq!(split(&key).unwrap().clustering, b"");
}
