use proptest::prelude::*;

use super::super::comparable::{encode_component, is_byte_exact};
use super::super::types::{parse_class, parse_cql, unhex};
use super::*;

fn json(t: &CqlType, value: &[u8]) -> String {
    let mut out = String::new();
    write_value(&mut out, t, value).unwrap();
    out
}

/// Random values of every type, with what `asComparableBytes` and `toJSONString` of Cassandra 5.0.9 on Java 17 gave
/// for them ("empty" for null; "-" where they failed).
const VECTORS: &str = include_str!("../testdata/vectors.tsv");

#[test]
fn as_cassandra_itself() {
    let mut seen = [0; 3];
    for line in VECTORS.lines() {
        let [class, raw, comparable, text] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (t, raw) = (parse_class(class).unwrap(), unhex(raw).unwrap());
        if text != "-" {
            assert_eq!(json(&t, &raw), text, "{line}");
            seen[0] += 1;
        }
        if comparable == "-" {
            continue;
        }
        let mut encoded = Vec::new();
        encode_component(&mut encoded, &t, false, Some(&raw)).unwrap();
        let want = match comparable {
            "empty" => vec![0x3f],
            hex => [&[0x40], &unhex(hex).unwrap()[..]].concat(),
        };
        if encoded == want {
            seen[1] += 1;
        } else {
            // The two differences that `comparable` names.
            let nan = is_nan(&t, &raw);
            let empty_inside = encoded.iter().map(|b| if *b == 0x3f { 0x3e } else { *b }).eq(want.iter().copied());
            assert!(!is_byte_exact(&t) && (nan || empty_inside), "{line} {encoded:02x?}");
            seen[2] += 1;
        }
    }
    assert!(seen[0] > 1000 && seen[1] > 1000 && seen[2] < 40, "{seen:?}");
}

fn is_nan(t: &CqlType, raw: &[u8]) -> bool {
    match t {
        CqlType::Double => f64::from_be_bytes(raw.try_into().unwrap()).is_nan(),
        CqlType::Float => f32::from_be_bytes(raw.try_into().unwrap()).is_nan(),
        CqlType::Vector { element, .. } => raw.chunks(4).any(|raw| raw.len() == 4 && is_nan(element, raw)),
        _ => false,
    }
}

#[test]
fn doubles_and_floats() {
    for (value, text) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (100.0, "100.0"),
        (1e7, "1.0E7"),
        (9_999_999.0, "9999999.0"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (1e10, "1.0E10"),
        (1.5e300, "1.5E300"),
        (f64::MAX, "1.7976931348623157E308"),
        (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
        // Not the shortest: Java up to 18.
        (5e-324, "4.9E-324"),
        (2e23, "1.9999999999999998E23"),
        (1.0 / 3.0, "0.3333333333333333"),
        (9_007_199_254_740_993.0, "9.007199254740992E15"),
        (f64::NAN, "null"),
        (f64::NEG_INFINITY, "null"),
    ] {
        assert_eq!(json(&CqlType::Double, &value.to_be_bytes()), text);
    }
    for (value, text) in [(0.1_f32, "0.1"), (3.4e38, "3.4E38"), (1e-45, "1.4E-45"), (16_777_216.0, "1.6777216E7")] {
        assert_eq!(json(&CqlType::Float, &value.to_be_bytes()), text);
    }
}

#[test]
fn each_type_once() {
    let int = |n: i32| n.to_be_bytes().to_vec();
    let part = |v: &[u8]| [&(v.len() as i32).to_be_bytes()[..], v].concat();
    for (t, value, text) in [
        ("text", b"a\"\\\n\x01\x7f/".to_vec(), r#""a\"\\\n\u0001"#.to_string() + "\x7f/\""),
        ("blob", vec![0, 0xAB], r#""0x00ab""#.into()),
        ("blob", vec![], r#""0x""#.into()),
        ("int", int(-5), "-5".into()),
        ("int", vec![], r#""""#.into()),
        ("time", vec![], r#""null""#.into()),
        ("decimal", [int(3), vec![0x04, 0xd2]].concat(), "1.234".into()),
        ("decimal", [int(-3), vec![0x04, 0xd2]].concat(), "1.234E+6".into()),
        ("decimal", [int(9), vec![0xff]].concat(), "-1E-9".into()),
        ("decimal", [int(2), vec![0x00]].concat(), "0.00".into()),
        ("decimal", [int(-2), vec![0x00]].concat(), "0E+2".into()),
        ("timestamp", 0_i64.to_be_bytes().to_vec(), r#""1970-01-01 00:00:00.000Z""#.into()),
        ("timestamp", (-1_i64).to_be_bytes().to_vec(), r#""1969-12-31 23:59:59.999Z""#.into()),
        ("date", 0x8000_0000_u32.to_be_bytes().to_vec(), r#""1970-01-01""#.into()),
        ("date", 0_u32.to_be_bytes().to_vec(), r#""-5877641-06-23""#.into()),
        ("inet", vec![127, 0, 0, 1], r#""127.0.0.1""#.into()),
        ("duration", vec![0x18, 0x04, 0xde, 0x84, 0x80], r#""1y2d1ms""#.into()),
        ("frozen<map<int, boolean>>", [int(1), part(&int(7)), part(&[1])].concat(), r#"{"7": true}"#.into()),
        ("frozen<tuple<int, text>>", part(&int(7)), "[7, null]".into()),
        ("frozen<list<text>>", int(0), "[]".into()),
    ] {
        assert_eq!(json(&parse_cql(t, &[]).unwrap(), &value), text);
    }
    let mut name = String::new();
    write_name(&mut name, "mixedCase");
    write_name(&mut name, "straße");
    assert_eq!(name, r#""\"mixedCase\"""straße""#);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// Every text reads back as the number it was made of.
    #[test]
    fn doubles_read_back(bits: u64, small: u32) {
        let [double, float] = [f64::from_bits(bits), f64::from(f32::from_bits(small))];
        if double.is_finite() {
            prop_assert_eq!(json(&CqlType::Double, &double.to_be_bytes()).parse::<f64>().unwrap(), double);
        }
        if float.is_finite() {
            prop_assert_eq!(json(&CqlType::Float, &(float as f32).to_be_bytes()).parse::<f32>().unwrap(), float as f32);
        }
    }
}
