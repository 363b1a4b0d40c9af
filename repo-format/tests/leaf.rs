//! Leaves read back what was put in, and no bytes make the reader panic or run away.
#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use repo_format::leaf::GroupCodec::{self, Murmur3};
use repo_format::leaf::{InForce, Layout, LeafBuilder, LeafReader, TimeUnit};
use repo_format::names::PackClass;
use repo_format::record::{self, BodyWriter, Class, Entry, EntryKind, Near, check};
use repo_format::tree::{self, LEAF_BYTES_MAX};
use support::records::*;

fn build(builder: &mut LeafBuilder, records: &[Plain]) -> Vec<u8> {
    let mut out = Vec::new();
    builder.context(InForce::Deleted(1, 2), InForce::Nothing);
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
        Layout { groups: Murmur3, unit: TimeUnit::Microsecond, numeric_groups: true, numeric: vec![1, 2] },
        Layout { groups: Murmur3, unit: TimeUnit::Second, numeric_groups: false, numeric: vec![] },
        Layout { groups: GroupCodec::None, unit: TimeUnit::Millisecond, numeric_groups: true, numeric: vec![2] },
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

fn leaf_of(records: &[(&[u8], usize)]) -> repo_format::Result<Vec<u8>> {
    let mut builder = LeafBuilder::new(Layout::default());
    for (key, group_len) in records {
        builder.push(key, *group_len, Class::Row, &[])?;
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    Ok(out)
}

#[test]
fn what_no_writer_writes_is_refused() {
    let good = leaf_of(&[(b"ab", 1), (b"ac", 1), (b"bc", 1)]).unwrap();
    assert!(read(&good).is_ok());
    // version, group codec, time unit, two deletions, records, groups; sizes 2 and 1 in planes over base 1.
    assert_eq!(good[..11], [0, 0, 0, 0, 0, 3, 2, 1, 1, 1, 1]);
    let change = |at: usize, to: u8| {
        let mut bad = good.clone();
        bad[at] = to;
        bad
    };
    for (at, to, what) in [
        (0, 1, "a newer version"),
        (1, 2, "an unknown group codec"),
        (2, 4, "an unknown time unit"),
        (5, 2, "fewer records than keys"),
        (6, 1, "fewer groups"),
        (8, 2, "groups with more records than there are"),
        (8, 0, "a group without records"),
    ] {
        assert!(read(&change(at, to)).is_err(), "{what}");
    }
    let place = good.windows(2).position(|w| w == b"ab").unwrap();
    assert!(read(&change(place + 1, b'a')).is_err(), "equal groups side by side");
    for wrong in [[(&b"ab"[..], 1), (b"ab", 1)], [(b"ac", 1), (b"ab", 1)], [(b"b", 1), (b"ab", 1)]] {
        assert!(leaf_of(&wrong).is_err(), "keys that do not ascend");
    }
}

/// Bytes that a leaf gives: a few bytes must not become many.
#[test]
fn a_leaf_gives_no_more_than_its_limit() {
    let long = vec![b'a'; 1 << 19];
    let keys: Vec<Vec<u8>> = (0..2000u16).map(|n| [&long[..], &n.to_be_bytes()].concat()).collect();
    let mut builder = LeafBuilder::new(Layout::default());
    let pushed = keys.iter().take_while(|key| builder.push(key, 0, Class::Row, &[]).is_ok()).count();
    assert_eq!(pushed, 2);
    let mut leaf = Vec::new();
    builder.finish(&mut leaf);
    assert_eq!(read(&leaf).unwrap().len(), 2);
    let children = |n: usize| -> Vec<tree::Child> {
        let id = repo_format::id::ChunkId([1; 32]);
        let child = |key: &Vec<u8>| tree::Child { first_key: key.clone(), id, records: 1, blobs: 0 };
        keys.iter().take(n).map(child).collect()
    };
    for n in [1, 2, 3, 20] {
        let mut bytes = Vec::new();
        tree::put_branch(&mut bytes, 1, PackClass::Content, &children(n));
        assert_eq!(
            tree::read_branch(&bytes, 1, PackClass::Content).is_ok(),
            n <= 2,
            "{n} children of {} bytes",
            LEAF_BYTES_MAX / 2
        );
    }
}

proptest! {
    /// The short ways to write a live cell write what the long way does, whatever stands behind the bytes.
    #[test]
    fn live_cells_are_written_alike(
        cells in proptest::collection::vec(
            (0u32..300, proptest::option::of(0usize..200), 0i64..3, 0usize..200, 0usize..60),
            0..6,
        ),
    ) {
        let bytes: Vec<u8> = (0..500u32).map(|i| (i * 7) as u8).collect();
        let (mut short, mut long) = (Vec::new(), Vec::new());
        let (mut quick, mut plain) = (BodyWriter::new(&mut short), BodyWriter::new(&mut long));
        for (column, element, time, length, behind) in cells {
            let near = |length: usize| Near::first(&bytes[..length + behind], length).unwrap();
            match element {
                Some(element) => quick.push_live_element(column, near(element), time, near(length)),
                None => quick.push_live(column, time, near(length)),
            }
            let (element, value) = (element.map(|n| &bytes[..n]), Some(&bytes[..length]));
            plain.push(&Entry { column, kind: EntryKind::Cell, element, time, ldt: 0, ttl: 0, value });
        }
        prop_assert_eq!(quick.traits(), plain.traits());
        prop_assert_eq!(short, long);
    }
    /// Going back leaves nothing behind.
    #[test]
    fn a_body_is_as_it_was_at_a_mark(times in proptest::collection::vec((0i64..3, any::<bool>()), 0..6), at in 0usize..6) {
        let write = |writer: &mut BodyWriter<'_>, (time, lives): (i64, bool)| {
            let (kind, ldt) = if lives { (EntryKind::Cell, 0) } else { (EntryKind::Tombstone, 9) };
            let value = lives.then_some(&b"value"[..]);
            writer.push(&Entry { column: 5, kind, element: None, time, ldt, ttl: 0, value });
        };
        let (first, rest) = times.split_at(at.min(times.len()));
        let (mut back, mut straight) = (Vec::new(), Vec::new());
        let (mut writer, mut other) = (BodyWriter::new(&mut back), BodyWriter::new(&mut straight));
        first.iter().for_each(|t| write(&mut writer, *t));
        let mark = writer.mark();
        rest.iter().for_each(|t| write(&mut writer, *t));
        writer.go_back(mark);
        for t in first.iter().chain(&[(1, true)]) {
            write(&mut other, *t);
        }
        write(&mut writer, (1, true));
        prop_assert_eq!(writer.traits(), other.traits());
        prop_assert_eq!(back, straight);
    }
}
