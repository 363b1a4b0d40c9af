//! One of everything that chunks hold: for golden vectors, as seeds, and for the second reader.

use repo_format::blob::{BlobList, BlobRef};
use repo_format::id::ChunkId;
use repo_format::leaf::{EXTERNAL_BODY, GroupCodec, InForce, Layout, LeafBuilder, TimeUnit};
use repo_format::names::PackClass;
use repo_format::patch::{Differing, LeafPatch, Other};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};
use repo_format::reference::{Reference, TreeRef};
use repo_format::tree::{Child, put_branch};
use repo_format::wire::Put;

use super::records::group;

const TIME: i64 = 1_700_000_000_123_456;
const LDT: u32 = 1_700_000_000;

fn entry(column: u32, kind: EntryKind, value: Option<&[u8]>) -> Entry<'_> {
    let time = if kind == EntryKind::Raw { 0 } else { TIME };
    let dated = matches!(kind, EntryKind::Deletion | EntryKind::Tombstone);
    Entry { column, kind, element: None, time, ldt: if dated { LDT } else { 0 }, ttl: 0, value }
}

fn body(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = BodyWriter::new(&mut out);
    entries.iter().for_each(|e| writer.push(e));
    out
}

/// A body with every kind of entry, of the record, of a column, of an element; live and expiring; of several times.
pub fn record() -> Vec<u8> {
    use EntryKind::*;
    let at = |element: &'static [u8], e: Entry<'static>| Entry { element: Some(element), ..e };
    body(&[
        Entry { time: TIME - 1, ..entry(0, Deletion, None) },
        entry(0, Raw, Some(b"\x03ab\x00")),
        Entry { ldt: LDT + 60, ttl: 60, ..entry(0, Cell, None) },
        entry(1, Cell, Some(&[0, 0, 0, 7])),
        entry(2, Tombstone, None),
        entry(3, Deletion, None),
        at(b"", entry(3, Cell, Some(b"of an empty element"))),
        at(b"a", entry(3, Cell, None)),
        at(b"b", Entry { ldt: LDT + 5, ..entry(3, Tombstone, None) }),
        at(b"c", Entry { ldt: LDT + 3600, ttl: 3600, ..entry(3, Cell, Some(b"expires")) }),
        Entry { time: -5, ..entry(300, Cell, Some(b"")) },
    ])
}

/// Rows of two groups under the Murmur3 codec, with all that can stand in one.
fn murmur3() -> Vec<u8> {
    let row = |n: u8, time: i64| {
        let liveness = Entry { time, ..entry(0, EntryKind::Cell, None) };
        body(&[liveness, Entry { time, ..entry(1, EntryKind::Cell, Some(&[0, 0, 1, n])) }])
    };
    let deletion = body(&[entry(0, EntryKind::Deletion, None)]);
    let mut external = vec![EXTERNAL_BODY, 0];
    let mut reference = Vec::new();
    BlobRef { length: 200_000, root: ChunkId([0x99; 32]) }.put(&mut reference);
    external.put_string(&reference);
    let mut records = vec![
        (1, b"\x00".to_vec(), Class::Group, deletion.clone()),
        (1, b"\x01".to_vec(), Class::Static, row(0, TIME)),
        (1, b"\x02\x40\x80\x00\x00\x01\x20".to_vec(), Class::Marker, deletion),
        (1, b"\x02\x40\x80\x00\x00\x01\x38".to_vec(), Class::Row, row(1, TIME)),
        (1, b"\x02\x40\x80\x00\x00\x01\x60".to_vec(), Class::Marker, Vec::new()),
        (1, b"\x02\x40\x80\x00\x00\x02\x38".to_vec(), Class::Row, external),
        (2, b"\x02\x40\x80\x00\x00\x02\x38".to_vec(), Class::Row, record()),
        (2, b"\x02\x40\x80\x00\x00\x03\x38".to_vec(), Class::Row, row(3, TIME + 300)),
        (2, b"\x02\x40\x80\x00\x00\x04\x38".to_vec(), Class::Row, row(4, TIME + 600)),
        (2, b"\x02\x40\x80\x00\x00\x05\x38".to_vec(), Class::Row, row(5, TIME + 900)),
    ];
    records.sort_by_key(|r| (group(&[0, 0, 0, r.0]), r.1.clone()));
    let (groups, unit) = (GroupCodec::Murmur3, TimeUnit::Microsecond);
    let mut builder = LeafBuilder::new(Layout { groups, unit, numeric_groups: true, numeric: vec![1] });
    builder.context(InForce::Deleted(TIME, LDT), InForce::Deleted(-1, 7));
    for (partition, rest, class, body) in &records {
        let group = group(&[0, 0, 0, *partition]);
        let key = [&group[..], rest].concat();
        builder.push(&key, group.len(), *class, body).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// Groups stored as they are, one record with an empty rest.
fn other() -> Vec<u8> {
    let mut builder = LeafBuilder::new(Layout::default());
    for (key, group_len) in [("aster", 5), ("aster/1", 5), ("aster/22", 5), ("rose/1", 4)] {
        let value = body(&[entry(1, EntryKind::Cell, Some(key.as_bytes()))]);
        builder.push(key.as_bytes(), group_len, Class::Row, &value).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// Records in the empty group, versions in milliseconds: a deletion of an interval, rows before, in and behind it.
fn ungrouped() -> Vec<u8> {
    let deletion = body(&[Entry { time: TIME / 1000, ..entry(0, EntryKind::Deletion, None) }]);
    let row = body(&[Entry { time: TIME / 1000, ..entry(1, EntryKind::Cell, Some(b"v")) }]);
    let mut builder = LeafBuilder::new(Layout { unit: TimeUnit::Millisecond, ..Layout::default() });
    builder.context(InForce::Deleted(7, 1), InForce::Nothing);
    for (key, class, body) in [
        ("", Class::Row, &row),
        ("b", Class::Marker, &deletion),
        ("bee", Class::Row, &row),
        ("c", Class::Marker, &Vec::new()),
        ("cow", Class::Row, &row),
    ] {
        builder.push(key.as_bytes(), 0, class, body).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// A leaf of a layer: rows that were added, changed and are gone; a deletion that is lifted, one that reaches further than below,
/// and where what lies below is in force again.
fn layer() -> Vec<u8> {
    let deletion = body(&[Entry { time: TIME / 1000, ..entry(0, EntryKind::Deletion, None) }]);
    let row = body(&[Entry { time: TIME / 1000, ..entry(1, EntryKind::Cell, Some(b"v")) }]);
    let mut builder = LeafBuilder::new(Layout { unit: TimeUnit::Millisecond, ..Layout::default() });
    builder.context(InForce::Unsaid, InForce::Nothing);
    let none = Traits::default();
    for (key, class, marks, body) in [
        ("a", Class::Row, Traits::ADDED, &row),
        ("b", Class::Marker, none, &deletion),
        ("bee", Class::Row, none, &row),
        ("c", Class::Marker, Traits::GONE, &deletion),
        ("cat", Class::Row, Traits::GONE, &Vec::new()),
        ("cow", Class::Marker, Traits::ADDED.with(Traits::RESUMES), &Vec::new()),
        ("d", Class::Marker, Traits::GONE.with(Traits::RESUMES), &Vec::new()),
    ] {
        builder.push_to_layer(key.as_bytes(), 0, class, marks, body).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// Rows with values that are blobs, of a column and of an element, expiring, and beside what changes.
fn values() -> Vec<u8> {
    use repo_format::leaf::{Stored, put_without, stored};
    let large = vec![7; 100_000];
    let login = entry(1, EntryKind::Cell, Some(&[0, 0, 0, 9]));
    let avatar = entry(2, EntryKind::Cell, Some(&large[..40_000]));
    let page = Entry { element: Some(b"page"), ldt: LDT + 60, ttl: 60, ..entry(3, EntryKind::Cell, Some(&large)) };
    let mut builder = LeafBuilder::new(Layout::default());
    for (key, body) in [("ann", body(&[login, avatar])), ("bob", body(&[login, avatar, page])), ("eve", body(&[login]))]
    {
        let mut out = Vec::new();
        match stored(&body).unwrap() {
            Stored::Without(values) => {
                let blob = |length: usize| BlobRef { length: length as u64, root: ChunkId([length as u8; 32]) };
                let blobs: Vec<_> = values.into_iter().map(|v| (v.clone(), blob(v.bytes.len()))).collect();
                put_without(&mut out, &body, &blobs);
            }
            _ => out = body,
        }
        builder.push(key.as_bytes(), 0, Class::Row, &out).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// Every kind of references.
fn references() -> [(&'static str, Vec<u8>); 3] {
    let put = |reference: Reference| {
        let mut out = Vec::new();
        reference.put(&mut out);
        out
    };
    let tree = TreeRef { id: ChunkId([0x77; 32]), level: 2, records: 70_000, blobs: 3 };
    let blob = BlobRef { length: 5_000_000, root: ChunkId([0x88; 32]) };
    let chunk = BlobRef { length: 70_000, root: ChunkId([0x66; 32]) };
    [
        ("reference-blob", put(Reference::Blob(blob))),
        ("reference-tree", put(Reference::Tree(tree))),
        ("reference-chunk", put(Reference::Chunk(chunk))),
    ]
}

/// A kept file, and a patch of a node with two counts and both trees.
fn referring() -> Vec<u8> {
    let [(_, blob), (_, tree), _] = references();
    let at = |column, kind, value| Entry { time: 0, ..entry(column, kind, Some(value)) };
    let about = br#"{"reason":"of no table","merged":false}"#;
    let file = body(&[at(1, EntryKind::Cell, about), at(2, EntryKind::Raw, &blob)]);
    let count = |n: u64| n.to_be_bytes();
    let (missing, purged) = (count(7), count(1 << 40));
    let patch = body(&[
        at(1, EntryKind::Cell, &missing),
        at(5, EntryKind::Cell, &purged),
        at(6, EntryKind::Raw, &tree),
        at(7, EntryKind::Raw, &tree),
    ]);
    let mut builder = LeafBuilder::new(Layout::default());
    for (key, body) in [(&b"abc\0\0n1"[..], patch), (b"n1\0ks\0t-1\0x.db", file)] {
        builder.push(key, 0, Class::Row, &body).unwrap();
        assert!(builder.refers());
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

/// A file tree, as its engine lays it out.
fn of_files() -> Vec<u8> {
    let layout = Layout { numeric: repo_format::file_tree::NUMERIC.to_vec(), ..Layout::default() };
    let mut builder = LeafBuilder::new(layout);
    for (name, body) in super::files::records() {
        let key = repo_format::file_tree::key_of([&b"srv"[..], name.as_bytes()]);
        builder.push(&key, 0, Class::Row, &body).unwrap();
    }
    let mut out = Vec::new();
    builder.finish(&mut out);
    out
}

fn branch(class: PackClass) -> Vec<u8> {
    let child = |key: &[u8], n: u8| {
        let (records, blobs) = (1000 + u64::from(n), u64::from(n / 3));
        Child { first_key: key.into(), id: ChunkId([n; 32]), records, blobs }
    };
    let mut out = Vec::new();
    put_branch(&mut out, 1, class, &[child(b"", 1), child(b"aster/22", 2), child(b"aster/3", 3), child(b"rose", 4)]);
    out
}

fn patch() -> Vec<u8> {
    let other = |time, hash| Other { time, hash };
    let stale = vec![
        Differing { ordinal: 2, others: vec![other(TIME, 0x0102_0304_0506_0708), other(-TIME, u64::MAX)] },
        Differing { ordinal: 7, others: vec![] },
        Differing { ordinal: 65535, others: vec![other(i64::MIN, 0)] },
    ];
    let mut out = Vec::new();
    LeafPatch { missing: vec![0, 3, 4, 5], extra: vec![300], stale }.put(&mut out);
    out
}

/// Each by the name of its golden vector.
pub fn chunks() -> Vec<(&'static str, Vec<u8>)> {
    let reference = |length, n| BlobRef { length, root: ChunkId([n; 32]) };
    let blob = BlobList { level: 1, entries: vec![reference(1 << 26, 4), reference(300, 5)] };
    let mut all = vec![
        ("record", record()),
        ("leaf-murmur3", murmur3()),
        ("leaf-plain", other()),
        ("leaf-ungrouped", ungrouped()),
        ("leaf-referring", referring()),
        ("leaf-values", values()),
        ("leaf-layer", layer()),
        ("leaf-files", of_files()),
        ("branch", branch(PackClass::Content)),
        ("branch-metadata", branch(PackClass::Metadata)),
        ("patch", patch()),
        ("blob-list", blob.encode()),
    ];
    all.extend(references());
    all
}
