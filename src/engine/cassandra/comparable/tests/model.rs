//! A plain comparator for each type, and values that are hard on an encoding.

use std::cmp::Ordering;

use num_bigint::BigInt as Big;
use proptest::prelude::*;

use crate::engine::cassandra::types::CqlType;
use crate::engine::cassandra::value::{self, put_element, put_part};

/// What each type's `compareCustom` says.
pub fn compare(t: &CqlType, a: &[u8], b: &[u8]) -> Ordering {
    use CqlType::*;
    let signed = |b: &[u8]| Big::from_signed_bytes_be(b);
    if (a.is_empty() || b.is_empty()) && !matches!(t, Ascii | Blob | Text | Inet) {
        return b.is_empty().cmp(&a.is_empty());
    }
    match t {
        Ascii | Blob | Text | Inet | Date | Time => a.cmp(b),
        BigInt | Int | SmallInt | TinyInt | Timestamp | VarInt => signed(a).cmp(&signed(b)),
        Boolean => (a[0] != 0).cmp(&(b[0] != 0)),
        Double => java_compare(f64::from_be_bytes(a.try_into().unwrap()), f64::from_be_bytes(b.try_into().unwrap())),
        Float => {
            let float = |b: &[u8]| f64::from(f32::from_be_bytes(b.try_into().unwrap()));
            java_compare(float(a), float(b))
        }
        Uuid => {
            let key = |b: &[u8]| (b[6] >> 4, if b[6] >> 4 == 1 { time(b) } else { b[..8].to_vec() }, b[8..].to_vec());
            key(a).cmp(&key(b))
        }
        TimeUuid => {
            let low = |b: &[u8]| b[8..].iter().map(|b| *b as i8).collect::<Vec<_>>();
            time(a).cmp(&time(b)).then(low(a).cmp(&low(b)))
        }
        Decimal => {
            let [(sa, ua), (sb, ub)] =
                [a, b].map(|v| (i32::from_be_bytes(v[..4].try_into().unwrap()), signed(&v[4..])));
            let ten = |n: i32| Big::from(10).pow(n.max(0) as u32);
            (ua * ten(sb - sa)).cmp(&(ub * ten(sa - sb)))
        }
        _ => compare_parts(t, a, b),
    }
}

/// `Double.compare`: -0.0 before 0.0, NaN last.
fn java_compare(a: f64, b: f64) -> Ordering {
    let canonical = |f: f64| if f.is_nan() { f64::NAN.abs() } else { f };
    canonical(a).total_cmp(&canonical(b))
}

fn time(b: &[u8]) -> Vec<u8> {
    [&b[6..8], &b[4..6], &b[..4]].concat()
}

fn split_parts(t: &CqlType, v: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut parts = value::Parts::new(v);
    let own = |p: Option<&[u8]>| p.map(<[u8]>::to_vec);
    match t {
        CqlType::Vector { element, dimension } => {
            (0..*dimension).map(|_| Some(parts.element(element).unwrap().to_vec())).collect()
        }
        CqlType::Tuple(types) => {
            let mut all: Vec<_> =
                std::iter::from_fn(|| (!parts.is_empty()).then(|| own(parts.part().unwrap()))).collect();
            all.resize(types.len(), None);
            while all.last() == Some(&None) {
                all.pop();
            }
            all
        }
        _ => {
            let each = t.parts().len();
            (0..parts.count(each).unwrap() * each).map(|_| own(parts.part().unwrap())).collect()
        }
    }
}

fn compare_parts(t: &CqlType, a: &[u8], b: &[u8]) -> Ordering {
    let types = t.parts();
    let (a, b) = (split_parts(t, a), split_parts(t, b));
    for (i, pair) in a.iter().zip(&b).enumerate() {
        let order = match pair {
            (Some(a), Some(b)) => compare(types[i % types.len()], a, b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// Values of a type, the awkward ones often.
pub fn values(t: &CqlType) -> BoxedStrategy<Vec<u8>> {
    use CqlType::*;
    let awkward = || prop_oneof![Just(0_u8), Just(1), Just(0x7f), Just(0x80), Just(0xfe), Just(0xff), any::<u8>()];
    let fixed = |n: usize| proptest::collection::vec(awkward(), n).boxed();
    let free = |n: usize| proptest::collection::vec(awkward(), 0..n).boxed();
    let or_empty = |s: BoxedStrategy<Vec<u8>>| prop_oneof![9 => s, 1 => Just(Vec::new())].boxed();
    match t {
        Ascii | Blob | Text | Inet => free(6),
        BigInt | Timestamp => or_empty(
            prop_oneof![fixed(8), any::<u64>().prop_map(|n| { ((n as i64) >> (n % 64)).to_be_bytes().to_vec() })]
                .boxed(),
        ),
        Double | Time => or_empty(fixed(8)),
        Int | Float | Date => or_empty(fixed(4)),
        SmallInt => or_empty(fixed(2)),
        TinyInt | Boolean => or_empty(fixed(1)),
        Uuid => or_empty(
            (fixed(16), any::<bool>())
                .prop_map(|(mut b, one)| {
                    if one {
                        b[6] = 0x10 | b[6] & 0xf;
                    }
                    b
                })
                .boxed(),
        ),
        TimeUuid => or_empty(
            fixed(16)
                .prop_map(|mut b| {
                    b[6] = 0x10 | b[6] & 0xf;
                    b
                })
                .boxed(),
        ),
        VarInt => free(20),
        Decimal => or_empty(
            (
                -12_i32..12,
                prop_oneof![
                    proptest::collection::vec(awkward(), 1..12),
                    (-2000_i16..2000).prop_map(|n| n.to_be_bytes().to_vec())
                ],
            )
                .prop_map(|(scale, digits)| [&scale.to_be_bytes()[..], &digits].concat())
                .boxed(),
        ),
        List { element, .. } | Set { element, .. } => or_empty(
            proptest::collection::vec(values(element), 0..4)
                .prop_map(|parts| {
                    let mut out = (parts.len() as u32).to_be_bytes().to_vec();
                    parts.iter().for_each(|p| put_part(&mut out, Some(p)));
                    out
                })
                .boxed(),
        ),
        Map { key, value, .. } => proptest::collection::vec((values(key), values(value)), 0..3)
            .prop_map(|parts| {
                let mut out = (parts.len() as u32).to_be_bytes().to_vec();
                parts.iter().for_each(|(k, v)| {
                    put_part(&mut out, Some(k));
                    put_part(&mut out, Some(v));
                });
                out
            })
            .boxed(),
        Tuple(types) => {
            let fields: Vec<_> = types.iter().map(|t| proptest::option::of(values(t))).collect();
            or_empty(
                (fields, 0..=types.len())
                    .prop_map(|(fields, n)| {
                        let mut out = Vec::new();
                        fields[..n].iter().for_each(|f| put_part(&mut out, f.as_deref()));
                        out
                    })
                    .boxed(),
            )
        }
        Vector { element, dimension } => {
            let inner = element.as_ref().clone();
            let fixed = inner.fixed_len();
            proptest::collection::vec(
                values(element).prop_filter("whole", move |v| fixed.is_none_or(|n| n == v.len())),
                *dimension as usize,
            )
            .prop_map(move |parts| {
                let mut out = Vec::new();
                parts.iter().for_each(|p| put_element(&mut out, &inner, p));
                out
            })
            .boxed()
        }
        other => panic!("no values of {other}"),
    }
}
