//! One of everything that file trees hold: for golden vectors, as seeds, and for the second reader; and any of it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use repo_format::blob::BlobRef;
use repo_format::file_tree::{Attribute, Bytes, FileRecord, Lacks, key_of, put_attributes, put_extents};
use repo_format::id::ChunkId;
use repo_format::leaf::VALUE_INLINE_MAX;
use repo_format::limits::*;

const fn blob(length: u64, byte: u8) -> BlobRef {
    BlobRef { length, root: ChunkId([byte; 32]) }
}

const FILE: FileRecord<'static> = FileRecord {
    mode: 0o100_644,
    owner: (1000, 100),
    user: Some(b"ann"),
    group: Some(b"users"),
    modified: (1_700_000_000, 123_456_789),
    content: None,
    target: None,
    device: None,
    attributes: None,
    sparse: None,
    first: None,
    lacks: Lacks { unread: false, left_out: false },
};

fn some_attributes() -> Vec<u8> {
    let mut out = Vec::new();
    let of = |name, value| Attribute { name, value };
    put_attributes(
        &mut out,
        &[of(b"security.capability", &[1, 0, 0, 2]), of(b"user.a", b""), of(b"user.comment", b"hi")],
    );
    out
}

fn some_holes() -> Vec<u8> {
    let mut out = Vec::new();
    put_extents(&mut out, 1 << 30, &[(0, 4096), (65536, 4096), (1 << 29, 1)]);
    out
}

/// A record of each kind, with each column here and, where that can be, by reference; by ascending names.
pub fn records() -> Vec<(&'static str, Vec<u8>)> {
    let put = |record: FileRecord<'_>| {
        assert!(record.fits(), "{record:?}");
        let mut body = Vec::new();
        record.put(&mut body);
        body
    };
    let (attributes, holes) = (some_attributes(), some_holes());
    let first = key_of([&b"srv"[..], b"file-inline"]);
    let nameless = FileRecord { user: None, group: None, ..FILE };
    let content = |bytes| FileRecord { content: Some(bytes), ..FILE };
    let of_folder = FileRecord { mode: 0o041_777, ..nameless.clone() };
    let of_device = FileRecord { owner: (0, 6), ..nameless.clone() };
    vec![
        ("file-blob", put(content(Bytes::Blob(blob(5_000_000_000, 0x88))))),
        ("file-block", put(FileRecord { mode: 0o060_660, device: Some((259, 1 << 20)), ..of_device.clone() })),
        ("file-chunk", put(content(Bytes::Chunk(blob(70_000, 0x66))))),
        ("file-device", put(FileRecord { mode: 0o020_666, device: Some((1, 3)), ..of_device })),
        ("file-empty", put(FileRecord { modified: (-1, 0), ..content(Bytes::Here(b"")) })),
        ("file-fifo", put(FileRecord { mode: 0o010_600, ..nameless.clone() })),
        ("file-folder", put(FileRecord { attributes: Some(Bytes::Here(&attributes)), ..of_folder.clone() })),
        (
            "file-folder-aside",
            put(FileRecord { attributes: Some(Bytes::Chunk(blob(4097, 0x55))), ..of_folder.clone() }),
        ),
        ("file-inline", put(content(Bytes::Here(b"hello\n")))),
        ("file-left-out", put(FileRecord { lacks: Lacks { unread: false, left_out: true }, ..of_folder })),
        ("file-linked", put(FileRecord { first: Some(&first), ..content(Bytes::Here(b"hello\n")) })),
        ("file-socket", put(FileRecord { mode: 0o140_755, ..nameless })),
        (
            "file-sparse",
            put(FileRecord { sparse: Some(Bytes::Here(&holes)), ..content(Bytes::Chunk(blob(8193, 0x77))) }),
        ),
        (
            "file-sparse-aside",
            put(FileRecord {
                sparse: Some(Bytes::Blob(blob(3_000_000, 0x44))),
                attributes: Some(Bytes::Here(&attributes)),
                ..content(Bytes::Blob(blob(1 << 40, 0x99)))
            }),
        ),
        ("file-symlink", put(FileRecord { mode: 0o120_777, target: Some(b"../etc/hosts"), ..FILE })),
        ("file-unread", put(FileRecord { lacks: Lacks { unread: true, left_out: false }, ..FILE })),
    ]
}

/// Each by the name of its golden vector.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = records();
    all.extend([
        ("file-attributes", some_attributes()),
        ("file-holes", some_holes()),
        ("file-key", key_of([&b"etc"[..], b"ssl", b"\xff \n"])),
        ("file-key-root", key_of([])),
    ]);
    all
}

/// Where bytes are, and how many.
#[derive(Debug, Clone)]
pub enum Where {
    Here(Vec<u8>),
    Blob(u64),
    Chunk(u64),
}

impl Where {
    fn bytes(&self) -> Bytes<'_> {
        match self {
            Where::Here(bytes) => Bytes::Here(bytes),
            Where::Blob(length) => Bytes::Blob(blob(*length, *length as u8)),
            Where::Chunk(length) => Bytes::Chunk(blob(*length, *length as u8)),
        }
    }
}

/// What a record is of; it need not fit.
#[derive(Debug, Clone)]
pub struct AnyFile {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, u32),
    device: Option<(u32, u32)>,
    names: [Option<Vec<u8>>; 2],
    links: [Option<Vec<u8>>; 2],
    bytes: [Option<Where>; 3],
    lacks: (bool, bool),
}

impl AnyFile {
    pub fn record(&self) -> FileRecord<'_> {
        let AnyFile { mode, owner, modified, device, .. } = *self;
        let [user, group] = [&self.names[0], &self.names[1]].map(Option::as_deref);
        let [target, first] = [&self.links[0], &self.links[1]].map(Option::as_deref);
        let [content, attributes, sparse] =
            [&self.bytes[0], &self.bytes[1], &self.bytes[2]].map(|bytes| bytes.as_ref().map(Where::bytes));
        let lacks = Lacks { unread: self.lacks.0, left_out: self.lacks.1 };
        FileRecord { mode, owner, user, group, modified, content, target, device, attributes, sparse, first, lacks }
    }
}

/// Bytes about as many as `most`, often more or fewer.
fn about(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        1 => (most - 1..most + 2).prop_map(|n| vec![7; n]),
    ]
}

fn anywhere(here: usize) -> impl Strategy<Value = Where> {
    let least = here as u64;
    let lengths = prop_oneof![
        3 => Just(least + 1),
        3 => Just(DATA_CHUNK_MAX as u64),
        1 => Just(least),
        1 => Just(DATA_CHUNK_MAX as u64 + 1),
        1 => Just(ASIDE_MAX as u64),
        1 => Just(ASIDE_MAX as u64 + 1),
        1 => any::<u64>(),
    ];
    prop_oneof![
        2 => about(here).prop_map(Where::Here),
        1 => lengths.clone().prop_map(Where::Blob),
        1 => lengths.prop_map(Where::Chunk),
    ]
}

/// A record of any kind: what belongs to it, and now and then what does not.
pub fn any_file() -> impl Strategy<Value = AnyFile> {
    let kind = proptest::sample::select(vec![0o01, 0o02, 0o04, 0o06, 0o10, 0o10, 0o10, 0o12, 0o14, 0o00, 0o17]);
    let modified = (any::<i64>(), prop_oneof![9 => 0..1_000_000_000u32, 1 => any::<u32>()]);
    let numbers = (kind, 0..0o1_0000u32, any::<(u32, u32)>(), modified, any::<(u32, u32)>());
    let names = [of(about(USER_NAME_MAX)), of(about(USER_NAME_MAX))];
    let long = vec(vec(any::<u8>(), 1), 1..2).prop_map(|_| [&[0][..], &vec![b'x'; VALUE_INLINE_MAX - 1]].concat());
    let first = prop_oneof![
        8 => Just(None),
        4 => any_path().prop_map(|parts| Some(key_of(parts.iter().map(Vec::as_slice)))),
        1 => long.prop_map(Some),
        1 => (VALUE_INLINE_MAX / 2 - 1..VALUE_INLINE_MAX / 2 + 2).prop_map(|n| Some(b"\0x".repeat(n))),
    ];
    let bytes = (of(anywhere(CONTENT_INLINE_MAX)), of(anywhere(ASIDE_INLINE_MAX)), of(anywhere(ASIDE_INLINE_MAX)));
    let odd = prop_oneof![9 => Just(false), 1 => Just(true)];
    (numbers, names, about(TARGET_MAX), first, bytes, any::<(bool, bool)>(), odd).prop_map(
        |((kind, bits, owner, modified, device), names, target, first, (content, attributes, sparse), lacks, odd)| {
            let is_file = kind == 0o10 || odd;
            let device = ([0o02, 0o06].contains(&kind) || odd).then_some(device);
            let target = (kind == 0o12 || odd).then_some(target);
            let content = content.filter(|_| is_file);
            let sparse = sparse.filter(|_| is_file && (content.is_some() || odd));
            AnyFile {
                mode: kind << 12 | bits,
                owner,
                modified,
                device,
                names,
                links: [target, first],
                bytes: [content, attributes, sparse],
                lacks,
            }
        },
    )
}

/// Attributes by their names.
pub fn any_attributes() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    btree_map(vec(1u8.., 1..5), vec(any::<u8>(), 0..200), 0..9)
}

/// Pieces of a file with holes.
pub fn any_holes() -> impl Strategy<Value = (u64, Vec<(u64, u64)>)> {
    let piece = (prop_oneof![1..300u64, 1..1u64 << 40], prop_oneof![1..300u64, 1..1u64 << 40]);
    (any::<bool>(), vec(piece, 0..20), 1..1u64 << 40).prop_map(|(begins, holes_and_data, behind)| {
        let (mut at, mut pieces) = (0, Vec::new());
        for (i, (hole, data)) in holes_and_data.into_iter().enumerate() {
            at += if begins && i == 0 { 0 } else { hole };
            pieces.push((at, data));
            at += data;
        }
        (at + behind, pieces)
    })
}

/// Parts of a path.
pub fn any_path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let byte = any::<u8>().prop_filter("of a name", |b| !matches!(b, 0 | b'/' | b'.'));
    let part = prop_oneof![9 => vec(byte, 1..9), 1 => (PART_MAX - 1..=PART_MAX).prop_map(|n| vec![b'x'; n])];
    vec(part, 0..9)
}
