//! Bodies with large values, as they stand in a leaf and whole again.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use repo_format::FormatError;
use repo_format::blob::BlobRef;
use repo_format::id::ChunkId;
use repo_format::leaf::{
    BODY_INLINE_MAX, Layout, LeafBuilder, LeafReader, Stored, VALUE_INLINE_MAX, beside, external_body,
    put_external_body, put_whole, put_without, stored,
};
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind, check};

/// Column, element, kind, ttl, length of the value.
type Cell = (u32, Option<u8>, u8, u32, usize);

fn body(cells: &[Cell]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = BodyWriter::new(&mut out);
    for (column, element, kind, ttl, length) in cells {
        let value = vec![*column as u8; *length];
        let (kind, ldt, ttl, value) = match kind {
            0 => (EntryKind::Tombstone, 77, 0, None),
            1 => (EntryKind::Cell, 99, *ttl, Some(value.as_slice())),
            _ => (EntryKind::Cell, 0, 0, Some(value.as_slice())),
        };
        let element = element.as_ref().map(std::slice::from_ref);
        let time = i64::from(column / 2);
        writer.push(&Entry { column: *column, kind, element, time, ldt, ttl, value });
    }
    out
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let near = |n: usize| n - 2..n + 3;
    let length =
        prop_oneof![8 => 0usize..300, 2 => near(VALUE_INLINE_MAX), 1 => 60_000usize..70_000, 1 => near(1 << 21)];
    let rest = (0u8..3, 1u32..5, length);
    prop::collection::btree_map((1u32..9, prop::option::of(0u8..9)), rest, 0..20).prop_map(|cells| {
        cells.into_iter().map(|((column, element), (kind, ttl, length))| (column, element, kind, ttl, length)).collect()
    })
}

/// As it stands in a leaf, and the values and bodies that are blobs there.
fn put(body: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let blob = |bytes: &[u8], n: usize| BlobRef { length: bytes.len() as u64, root: ChunkId([n as u8; 32]) };
    let mut out = Vec::new();
    match stored(body).unwrap() {
        Stored::Whole => (body.to_vec(), vec![]),
        Stored::Beside => {
            put_external_body(&mut out, &blob(body, 0));
            (out, vec![body.to_vec()])
        }
        Stored::Without(values) => {
            let values: Vec<_> = values.into_iter().enumerate().map(|(n, v)| (v.clone(), blob(v.bytes, n))).collect();
            put_without(&mut out, body, &values);
            (out, values.into_iter().map(|(value, _)| value.bytes.to_vec()).collect())
        }
    }
}

proptest! {
    #[test]
    fn what_stands_in_a_leaf_is_short_and_becomes_whole_again(cells in cells()) {
        let body = body(&cells);
        let (stands, blobs) = put(&body);
        prop_assert!(stands.len() <= BODY_INLINE_MAX);
        let found = beside(&stands).unwrap();
        prop_assert_eq!(found.iter().map(|b| b.length).collect::<Vec<_>>(), blobs.iter().map(|b| b.len() as u64).collect::<Vec<_>>());
        let whole = external_body(&stands).unwrap().is_some();
        let large = cells.iter().filter(|c| c.2 > 0 && c.4 > VALUE_INLINE_MAX).count();
        prop_assert!(whole || large == blobs.len());
        // Who takes it for a whole body reads nothing that is not there.
        prop_assert_eq!(Entries::new(&stands).all(|e| e.is_ok()), blobs.is_empty());
        // A leaf keeps it, and says whether blobs lie beside it.
        let mut builder = LeafBuilder::new(Layout::default());
        builder.push(b"key", 0, Class::Row, &stands).unwrap();
        let mut leaf = Vec::new();
        builder.finish(&mut leaf);
        let (mut reader, mut again) = (LeafReader::new(&leaf).unwrap(), Vec::new());
        reader.next_key().unwrap();
        let (traits, has_blobs) = reader.body(&mut again).unwrap();
        prop_assert_eq!((&again, has_blobs), (&stands, !blobs.is_empty()));
        if !whole {
            prop_assert_eq!(traits, check(&body).unwrap());
            let mut out = b"before".to_vec();
            let mut read = |blob: &BlobRef, out: &mut Vec<u8>| {
                out.extend_from_slice(&blobs[usize::from(blob.root.0[0])]);
                Ok::<(), FormatError>(())
            };
            put_whole(&mut out, &stands, &mut read).unwrap();
            prop_assert_eq!(&out[6..], &body[..]);
        }
    }
}

/// A body of very many small cells is one blob; with a few fewer it stands in the leaf.
#[test]
fn a_body_of_very_many_cells_is_a_blob() {
    let of = |n: u32| body(&(1..=n).map(|column| (column, None, 2, 0, 100)).collect::<Vec<_>>());
    let least = (1..2000).find(|n| of(*n).len() > BODY_INLINE_MAX).unwrap();
    assert!(matches!(stored(&of(least - 1)).unwrap(), Stored::Whole));
    assert!(matches!(stored(&of(least)).unwrap(), Stored::Beside));
    let mut out = Vec::new();
    put_external_body(&mut out, &BlobRef { length: BODY_INLINE_MAX as u64, root: ChunkId([0; 32]) });
    assert_eq!(beside(&out), Err(FormatError::Invalid("blob that has its place in the leaf")));
}
