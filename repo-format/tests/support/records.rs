//! Records as proptest makes them.

use proptest::prelude::*;
use repo_format::murmur3;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};

/// Key, length of its group, class, body, traits.
pub type Plain = (Vec<u8>, usize, Class, Vec<u8>, Traits);
/// Column, kind, element, time, ldt, ttl, value.
pub type Part = (u32, u8, Option<Vec<u8>>, i64, u32, u32, Vec<u8>);

pub fn part() -> impl Strategy<Value = Part> {
    (
        0u32..5,
        0u8..4,
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3)),
        prop_oneof![Just(1_700_000_000_000_000i64), 1_700_000_000_000_000i64..1_700_000_900_000_000, any::<i64>()],
        any::<u32>(),
        prop_oneof![Just(0u32), Just(60), any::<u32>()],
        proptest::collection::vec(any::<u8>(), 0..20),
    )
}

pub fn body(parts: &[Part]) -> (Vec<u8>, Traits) {
    let mut entries: Vec<Entry<'_>> = parts
        .iter()
        .map(|(column, kind, element, time, ldt, ttl, value)| {
            let kind = [EntryKind::Deletion, EntryKind::Raw, EntryKind::Cell, EntryKind::Tombstone][*kind as usize];
            let ttl = if kind == EntryKind::Cell { *ttl } else { 0 };
            let dated = ttl != 0 || matches!(kind, EntryKind::Deletion | EntryKind::Tombstone);
            Entry {
                column: *column,
                kind,
                element: element.as_deref().filter(|_| matches!(kind, EntryKind::Cell | EntryKind::Tombstone)),
                time: if kind == EntryKind::Raw { 0 } else { *time },
                ldt: if dated { *ldt } else { 0 },
                ttl,
                value: matches!(kind, EntryKind::Cell | EntryKind::Raw).then_some(value.as_slice()),
            }
        })
        .collect();
    entries.sort_by(|a, b| a.path().cmp(&b.path()));
    entries.dedup_by(|a, b| a.path() == b.path());
    let mut out = Vec::new();
    let mut writer = BodyWriter::new(&mut out);
    entries.iter().for_each(|e| writer.push(e));
    let traits = writer.traits();
    (out, traits)
}

pub fn group(key: &[u8]) -> Vec<u8> {
    let mut out = murmur3::token_bytes(murmur3::token(key)).to_vec();
    for b in key {
        out.push(*b);
        if *b == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
    out
}

/// Records of some groups, or all of them in the empty one.
pub fn records() -> impl Strategy<Value = Vec<Plain>> {
    prop_oneof![3 => records_in(true), 1 => records_in(false)]
}

fn records_in(groups: bool) -> impl Strategy<Value = Vec<Plain>> {
    let record = (
        proptest::collection::vec(0u8..3, 0..4),
        proptest::collection::vec(any::<u8>(), 0..4),
        0u8..4,
        proptest::collection::vec(part(), 0..6),
    );
    proptest::collection::vec(record, 0..60).prop_map(move |raw| {
        let mut records: Vec<Plain> = raw
            .into_iter()
            .map(|(pk, rest, class, parts)| {
                let (body, traits) = body(&parts);
                let (mut key, group_len) = if groups {
                    let group = group(&pk);
                    (group.clone(), group.len())
                } else {
                    (pk, 0)
                };
                key.extend(rest);
                (key, group_len, Class::from_u8(class).unwrap(), body, traits)
            })
            .collect();
        records.sort_by(|a, b| a.0.cmp(&b.0));
        records.dedup_by(|a, b| a.0 == b.0);
        records
    })
}
