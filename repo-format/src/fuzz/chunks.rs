//! Bodies of the targets of what chunks hold.

use crate::file_tree::{FileRecord, attributes, extents, key_of, parts_of, put_attributes, put_extents};
use crate::ints::{Ints, PLANES_MAX, StringsReader, put_ints};
use crate::leaf::{GroupCodec, InForce, Layout, LeafBuilder, LeafReader, Stored, TimeUnit, beside, stored, streams};
use crate::names::PackClass;
use crate::patch::LeafPatch;
use crate::record::{Class, Traits};
use crate::reference::{Reference, references};
use crate::tree::LEAF_BYTES_MAX;
use crate::wire::Reader;
use crate::{Result, blob, record, tree};

/// Lists of blobs.
pub fn blob_list(data: &[u8]) -> bool {
    let Ok(list) = blob::BlobList::parse(data) else { return false };
    assert_eq!(list.encode(), data);
    true
}

/// Integers or, from 128 on, strings; the first byte says how many.
pub fn integers(data: &[u8]) -> bool {
    let Some((count, bytes)) = data.split_first() else { return false };
    let mut r = Reader::new(bytes, "integers");
    let count = usize::from(*count);
    let mut out = Vec::new();
    if let Some(count) = count.checked_sub(128) {
        let Ok(mut strings) = StringsReader::read(&mut r, count) else { return false };
        let mut buffer = [0; PLANES_MAX];
        let all = (0..count).all(|_| strings.next_string(&mut buffer).map(|s| out.extend_from_slice(s)).is_ok());
        assert!(out.len() <= bytes.len());
        return all && strings.is_used_up() && r.is_empty();
    }
    let Ok(mut ints) = Ints::read(&mut r, count) else { return false };
    let values: Vec<u64> = (0..count).filter_map(|_| ints.next_int().ok()).collect();
    assert!(values.len() == count && ints.is_used_up() && ints.next_int().is_err());
    put_ints(&mut out, &values, &mut Vec::new());
    let again = Ints::read(&mut Reader::new(&out, "integers"), count);
    assert!(again.is_ok_and(|mut again| values.iter().all(|v| again.next_int() == Ok(*v))));
    r.is_empty()
}

/// Branches of trees, of content and of metadata; the first byte is the level. What is accepted is written to be read as the same.
pub fn branch(data: &[u8]) -> bool {
    let Some((level, bytes)) = data.split_first() else { return false };
    let accepted = PackClass::ALL.map(|class| {
        let Ok(children) = tree::read_branch(bytes, *level, class) else { return false };
        let mut again = Vec::new();
        tree::put_branch(&mut again, *level, class, &children);
        assert_eq!(tree::read_branch(&again, *level, class), Ok(children));
        true
    });
    assert_ne!(accepted, [true; 2]);
    accepted.contains(&true)
}

/// Leaves of trees, read to their end. The records of one that is accepted make a leaf that gives the same ones.
pub fn leaf(data: &[u8]) -> bool {
    let _anything_else = streams(data);
    let Ok((context, records)) = read_leaf(data) else { return false };
    let unit = TimeUnit::Microsecond;
    let mut builder =
        LeafBuilder::new(Layout { groups: GroupCodec::Murmur3, unit, numeric_groups: true, numeric: vec![1] });
    builder.context(context.0, context.1);
    for (key, group_len, class, marks, body) in &records {
        assert_eq!(builder.push_to_layer(key, *group_len, *class, *marks, body), Ok(()));
    }
    let mut again = Vec::new();
    builder.finish(&mut again);
    assert_eq!(read_leaf(&again), Ok((context, records)));
    let ends = streams(&again);
    assert!(ends.is_ok_and(|ends| ends.is_sorted() && ends.iter().all(|end| *end <= again.len())));
    true
}

type Leaf = ((InForce, InForce), Vec<(Vec<u8>, usize, Class, Traits, Vec<u8>)>);

fn read_leaf(data: &[u8]) -> Result<Leaf> {
    let mut leaf = LeafReader::new(data)?;
    let mut records = Vec::new();
    let mut bytes = 0;
    while let Some(class) = leaf.next_key()? {
        assert!(bytes < LEAF_BYTES_MAX);
        let mut body = Vec::new();
        let (_, has_blobs) = leaf.body(&mut body)?;
        match beside(&body) {
            Ok(found) => assert_eq!(!found.is_empty(), has_blobs),
            Err(_) => assert!(has_blobs),
        }
        bytes += leaf.key().len() + body.len();
        records.push((leaf.key().to_vec(), leaf.group_len(), class, leaf.marks(), body));
    }
    Ok((leaf.context(), records))
}

/// Patches. What is accepted is written to be read as the same.
pub fn leaf_patch(data: &[u8]) -> bool {
    let Ok(patch) = LeafPatch::read(data) else { return false };
    let mut again = Vec::new();
    patch.put(&mut again);
    assert_eq!(LeafPatch::read(&again), Ok(patch));
    true
}

/// Bodies of records, and what they refer to.
pub fn record_body(data: &[u8]) -> bool {
    let found = references(data).count();
    let checked = record::check(data).is_ok();
    assert!(!checked || found <= record::Entries::new(data).count());
    checked
}

/// References. What is accepted is their one encoding.
pub fn reference(data: &[u8]) -> bool {
    let Ok(reference) = Reference::parse(data) else { return false };
    let mut again = Vec::new();
    reference.put(&mut again);
    assert_eq!(again, data);
    true
}

/// What file trees hold, by the first byte: the key of a path, a record, attributes, holes. What is accepted is its one encoding.
pub fn file_tree(data: &[u8]) -> bool {
    let Some((which, bytes)) = data.split_first() else { return false };
    let mut again = Vec::new();
    match which % 4 {
        0 => {
            let Ok(parts) = parts_of(bytes) else { return false };
            assert!(parts.iter().all(|part| !part.is_empty()));
            again = key_of(parts);
        }
        1 => {
            let Ok(file) = FileRecord::parse(bytes) else { return false };
            assert!(file.fits());
            assert_eq!(record::check(bytes), Ok(file.put(&mut again)));
            assert_eq!(stored(bytes), Ok(Stored::Whole));
        }
        2 => {
            let Ok(all) = attributes(bytes) else { return false };
            put_attributes(&mut again, &all);
        }
        _ => {
            let Ok((length, pieces)) = extents(bytes) else { return false };
            assert!(pieces.iter().all(|(at, n)| at.checked_add(*n).is_some_and(|end| end <= length)));
            put_extents(&mut again, length, &pieces);
        }
    }
    assert_eq!(again, bytes);
    true
}
