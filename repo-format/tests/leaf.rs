//! Leaves read back what was put in, and no bytes make the reader panic or run away.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use repo_format::leaf::{Layout, LeafBuilder, LeafReader};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits, check};
use repo_format::{murmur3, record};

type Plain = (Vec<u8>, usize, Class, Vec<u8>, Traits);
type Part = (u32, u8, Option<Vec<u8>>, i64, u32, u32, Vec<u8>);

fn part() -> impl Strategy<Value = Part> {
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

fn body(parts: &[Part]) -> (Vec<u8>, Traits) {
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

fn group(key: &[u8]) -> Vec<u8> {
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

fn records() -> impl Strategy<Value = Vec<Plain>> {
    let record = (
        proptest::collection::vec(0u8..3, 0..4),
        proptest::collection::vec(any::<u8>(), 0..4),
        0u8..4,
        proptest::collection::vec(part(), 0..6),
    );
    proptest::collection::vec(record, 0..60).prop_map(|raw| {
        let mut records: Vec<Plain> = raw
            .into_iter()
            .map(|(pk, rest, class, parts)| {
                let (body, traits) = body(&parts);
                let mut key = group(&pk);
                let group_len = key.len();
                key.extend(rest);
                (key, group_len, Class::from_u8(class).unwrap(), body, traits)
            })
            .collect();
        records.sort_by(|a, b| a.0.cmp(&b.0));
        records.dedup_by(|a, b| a.0 == b.0);
        records
    })
}

fn build(builder: &mut LeafBuilder, records: &[Plain]) -> Vec<u8> {
    let mut out = Vec::new();
    builder.context(Some((1, 2)), None);
    for (key, group_len, class, body, _) in records {
        builder.push(key, *group_len, *class, body).unwrap();
    }
    builder.finish(&mut out);
    out
}

fn read(bytes: &[u8]) -> repo_format::Result<Vec<Plain>> {
    let mut leaf = LeafReader::new(bytes)?;
    let mut out = Vec::new();
    while let Some(class) = leaf.next_key()? {
        let mut body = Vec::new();
        let (key, group_len) = (leaf.key().to_vec(), leaf.group_len());
        let (traits, _) = leaf.body(&mut body)?;
        out.push((key, group_len, class, body, traits));
    }
    Ok(out)
}

fn layouts() -> Vec<Layout> {
    vec![
        Layout::default(),
        Layout { tokens: true, numeric_groups: true, numeric: vec![1, 2] },
        Layout { tokens: true, numeric_groups: false, numeric: vec![] },
    ]
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(records in records(), more in records()) {
        for layout in layouts() {
            let mut builder = LeafBuilder::new(layout);
            let first = build(&mut builder, &records);
            prop_assert_eq!(&read(&first).unwrap(), &records);
            // A builder used again gives the same bytes as a new one.
            let second = build(&mut builder, &more);
            prop_assert_eq!(&read(&second).unwrap(), &more);
            prop_assert_eq!(&build(&mut builder, &records), &first);
        }
    }

    #[test]
    fn bodies_are_canonical(parts in proptest::collection::vec(part(), 0..8)) {
        let (body, traits) = body(&parts);
        prop_assert_eq!(check(&body).unwrap(), traits);
        let again: Result<Vec<_>, _> = record::Entries::new(&body).collect();
        prop_assert!(again.is_ok());
    }

    #[test]
    fn damaged_leaves_are_refused_or_read_but_never_panic(
        records in records(),
        at in any::<proptest::sample::Index>(),
        bit in 0u8..8,
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut builder = LeafBuilder::new(layouts()[1].clone());
        let mut bytes = build(&mut builder, &records);
        let n = bytes.len();
        let _ = read(&bytes[..cut.index(n)]);
        bytes[at.index(n)] ^= 1 << bit;
        let _ = read(&bytes);
    }

    #[test]
    fn noise_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = check(&bytes);
    }
}
