//! What the library writes and reads is what a second reader, made from SPEC.md alone, reads.
#![allow(clippy::unwrap_used, clippy::panic)]

mod plain;
mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use repo_format::file_tree::{
    Attribute, FileRecord, attributes, extents, key_of, parts_of, put_attributes, put_extents,
};
use repo_format::id::ChunkId;
use repo_format::key::RunDigestKey;
use repo_format::leaf::{GroupCodec, InForce, Layout, LeafBuilder, LeafReader, TimeUnit};
use repo_format::murmur3;
use repo_format::names::PackClass;
use repo_format::patch::{Differing, LeafPatch, Other};
use repo_format::record::{Class, Traits};
use repo_format::reference::Reference;
use repo_format::run_digest::{Head, RunDigest};
use repo_format::tree::{Breaks, Child, LEAF_BYTES_MAX, put_branch, read_branch};
use support::chunks::chunks;
use support::files::files;
use support::records::*;

/// A leaf as the library reads it, in the form of the second reader.
fn read(bytes: &[u8]) -> (plain::Deletion, plain::Deletion, Vec<plain::Plain>) {
    let mut leaf = LeafReader::new(bytes).unwrap();
    let mut records = Vec::new();
    while let Some(class) = leaf.next_key().unwrap() {
        let mut body = Vec::new();
        leaf.body(&mut body).unwrap();
        records.push((leaf.key().to_vec(), leaf.group_len(), class as u8 + leaf.marks().0, body));
    }
    let (group, marker) = leaf.context();
    (in_force(group), in_force(marker), records)
}

fn in_force(said: InForce) -> plain::Deletion {
    if said == InForce::Unsaid { Err(plain::Below) } else { Ok(said.deletion()) }
}

fn read_reference(bytes: &[u8]) -> plain::Reference {
    match Reference::parse(bytes).unwrap() {
        Reference::Blob(blob) => plain::Reference::Blob(blob.length, blob.root.0),
        Reference::Chunk(chunk) => plain::Reference::Chunk(chunk.length, chunk.root.0),
        Reference::Tree(tree) => plain::Reference::Tree(tree.level, tree.records, tree.blobs, tree.id.0),
    }
}

fn read_patch(bytes: &[u8]) -> plain::Patch {
    let patch = LeafPatch::read(bytes).unwrap();
    let wide = |ordinals: Vec<u32>| ordinals.into_iter().map(u64::from).collect();
    let stale = patch.stale.into_iter();
    let others = |d: Differing| (u64::from(d.ordinal), d.others.iter().map(|o| (o.time, o.hash)).collect());
    (wide(patch.missing), wide(patch.extra), stale.map(others).collect())
}

fn deletion() -> impl Strategy<Value = InForce> {
    let deleted = (any::<i64>(), any::<u32>()).prop_map(|(time, ldt)| InForce::Deleted(time, ldt));
    prop_oneof![Just(InForce::Nothing), Just(InForce::Unsaid), deleted]
}

/// What a record of a layer may say besides its class.
fn marks(number: u8, class: Class) -> Traits {
    let all = [Traits::default(), Traits::ADDED, Traits::GONE, Traits::RESUMES, Traits::ADDED.with(Traits::RESUMES)];
    let marks = all[usize::from(number) % all.len()];
    if class == Class::Marker { marks } else { marks.without(Traits::RESUMES) }
}

/// Records whose keys are numbers that grow, as those of time series, with a cell of 16 bytes and one of 4.
fn series() -> impl Strategy<Value = Vec<Plain>> {
    (any::<u32>(), 1u32..1000, 2usize..300, 1u8..9).prop_map(|(start, step, n, per_group)| {
        let row = |i: usize| {
            let at = (i as u32).wrapping_mul(step).wrapping_add(start);
            let time = 1_700_000_000_000_000 + i64::from(step) * i as i64;
            let parts: [Part; 2] = [
                (1, 2, None, time, 0, 0, u128::from(at).to_be_bytes().to_vec()),
                (4, 2, None, time, (time / 1_000_000) as u32 + 60, 60, at.to_le_bytes().to_vec()),
            ];
            let (body, traits) = body(&parts);
            let group = group(&(i as u32 / u32::from(per_group)).to_be_bytes());
            let key = [&group[..], &[2, 0x40], &(i as u64).to_be_bytes(), &[0x38]].concat();
            (key, group.len(), Class::Row, body, traits)
        };
        let mut rows: Vec<Plain> = (0..n).map(row).collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        rows
    })
}

fn layouts() -> impl Strategy<Value = Layout> {
    (0u8..2, 0u8..4, any::<bool>(), proptest::collection::vec(0u32..5, 0..5)).prop_map(
        |(codec, unit, numeric_groups, numeric)| {
            let (groups, unit) = (GroupCodec::from_u8(codec).unwrap(), TimeUnit::from_u8(unit).unwrap());
            Layout { groups, unit, numeric_groups, numeric }
        },
    )
}

/// Id, records and blobs of a child.
fn branch_numbers() -> impl Strategy<Value = (u8, u64, u64)> {
    let blobs = prop_oneof![2 => Just(0), 1 => Just(u64::MAX), 1 => 0u64..9];
    (any::<u8>(), any::<u64>(), blobs).prop_map(|(id, records, blobs)| (id, records, blobs.min(records)))
}

fn patches() -> impl Strategy<Value = LeafPatch> {
    let others = proptest::collection::vec((any::<i64>(), any::<u64>()), 0..3);
    let ordinals = proptest::collection::btree_map(prop_oneof![0u32..50, 0u32..65536], (0u8..3, others), 0..200);
    ordinals.prop_map(|ordinals| {
        let mut patch = LeafPatch::default();
        for (ordinal, (list, others)) in ordinals {
            match list {
                0 => patch.missing.push(ordinal),
                1 => patch.extra.push(ordinal),
                _ => {
                    let others = others.into_iter().map(|(time, hash)| Other { time, hash }).collect();
                    patch.stale.push(Differing { ordinal, others });
                }
            }
        }
        patch
    })
}

proptest! {
    #[test]
    fn leaves(
        records in prop_oneof![records(), series()],
        layout in layouts(),
        of_group in deletion(),
        of_marker in deletion(),
        seed in any::<u8>(),
    ) {
        let mut builder = LeafBuilder::new(layout);
        builder.context(of_group, of_marker);
        let mut put: Vec<plain::Plain> = Vec::new();
        for (i, (key, group_len, class, body, _)) in records.iter().enumerate() {
            // Every third seed makes no layer.
            let marks = if seed % 3 == 0 { Traits::default() } else { marks(seed.wrapping_add(i as u8), *class) };
            let body = if marks.has(Traits::GONE) { Vec::new() } else { body.clone() };
            builder.push_to_layer(key, *group_len, *class, marks, &body).unwrap();
            put.push((key.clone(), *group_len, *class as u8 + marks.0, body));
        }
        let mut bytes = Vec::new();
        builder.finish(&mut bytes);
        let second = plain::leaf(&bytes);
        prop_assert_eq!(&second, &(in_force(of_group), in_force(of_marker), put));
        prop_assert_eq!(second, read(&bytes));
    }

    #[test]
    fn branches(
        keys in proptest::collection::btree_map(proptest::collection::vec(0u8..4, 0..9), branch_numbers(), 1..60),
        level in 1u8..9,
        class in proptest::sample::select(&PackClass::ALL[..]),
    ) {
        let keys: BTreeMap<Vec<u8>, (u8, u64, u64)> = keys;
        let put: Vec<_> = keys.into_iter().map(|(key, (id, records, blobs))| (key, [id; 32], records, blobs)).collect();
        let child = |(key, id, records, blobs): &plain::Child| {
            Child { first_key: key.clone(), id: ChunkId(*id), records: *records, blobs: *blobs }
        };
        let children: Vec<Child> = put.iter().map(child).collect();
        let mut bytes = Vec::new();
        put_branch(&mut bytes, level, class, &children);
        prop_assert_eq!(plain::branch(&bytes), (level, class as u8, put));
        for other in PackClass::ALL {
            prop_assert_eq!(read_branch(&bytes, level, other).ok(), (other == class).then(|| children.clone()));
        }
    }

    #[test]
    fn digests_of_runs(records in records(), each in 1usize..9, key: [u8; 32]) {
        let mut digest = RunDigest::new(&RunDigestKey::from_bytes(key));
        for some in records.chunks(each) {
            let head = |(key, group_len, class, body, _): &Plain| {
                Head { key_len: key.len(), group_len: *group_len, class: *class, body_len: body.len() }
            };
            let bytes: Vec<u8> = some.iter().flat_map(|(key, _, _, body, _)| [&key[..], body].concat()).collect();
            digest.update(some.iter().map(head), &bytes);
        }
        let plain: Vec<plain::Plain> = records.into_iter().map(|(key, n, class, body, _)| (key, n, class as u8, body)).collect();
        prop_assert_eq!(digest.finish(), plain::run_digest(&key, &plain));
    }

    #[test]
    fn patches_of_leaves(patch in patches()) {
        let mut bytes = Vec::new();
        patch.put(&mut bytes);
        prop_assert_eq!(plain::patch(&bytes), read_patch(&bytes));
        prop_assert_eq!(LeafPatch::read(&bytes).unwrap(), patch);
    }

    #[test]
    fn integers(
        values in prop_oneof![
            proptest::collection::vec(any::<u64>(), 0..20),
            proptest::collection::vec(0u64..300, 0..20),
            (any::<u64>(), proptest::collection::vec(0u64..9, 0..20)).prop_map(|(mut at, steps)| {
                steps.iter().map(|s| { at = at.wrapping_add(s * 100); at }).collect()
            }),
        ],
    ) {
        let mut bytes = Vec::new();
        repo_format::ints::put_ints(&mut bytes, &values, &mut Vec::new());
        prop_assert_eq!(plain::Input(&bytes).ints(values.len() as u64), values.clone());
        prop_assert_eq!(bytes, plain::put_ints(&values));
    }

    #[test]
    fn hashes(key in proptest::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(plain::hash::token(&key), murmur3::token(&key));
    }

    #[test]
    fn breaks(
        secret: [u8; 16],
        level in 0u8..3,
        target in prop_oneof![1u32..20, 100u32..130],
        records in proptest::collection::vec(
            (
                proptest::collection::vec(any::<u8>(), 0..9),
                prop_oneof![9 => 0usize..99, 1 => 0usize..LEAF_BYTES_MAX],
            ),
            0..600,
        ),
    ) {
        let mut breaks = Breaks::new(secret, level, target);
        let (mut count, mut bytes) = (0, 0);
        for (key, length) in records {
            (count, bytes) = (count + 1, bytes + length);
            let hash = plain::hash::sip(secret, &[&key[..], &[level]].concat());
            let by_key = count > target / 4 && hash < u64::MAX / u64::from(target - target / 4);
            let by_bytes = bytes >= 1 << 20 && (level == 0 || count > 1);
            let ends = by_key || by_bytes || count >= 4 * target;
            prop_assert_eq!(breaks.ends(&key, length), ends);
            if ends {
                (count, bytes) = (0, 0);
            }
        }
    }
}

/// A remark is opened as SPEC says, without the library, and read.
#[test]
fn remarks() {
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
    use repo_format::remark::Remark;
    let (of, key) = (support::snapshot_object().0, support::ring().repo.index);
    let aad = [support::repo().0, of.0].concat();
    let labels = |all: &[&str]| Some(all.iter().map(|label| (*label).to_owned()).collect());
    let long = "x".repeat(200);
    for remark in [
        support::remark(),
        Remark { pinned: true, ..Remark::default() },
        Remark { labels: labels(&[]), ..Remark::default() },
        Remark { pinned: false, reason: long.clone(), labels: labels(&["", "a", &long]) },
    ] {
        let sealed = remark.seal(&of, &support::repo(), &key, [7; 24]).unwrap();
        let cipher = XChaCha20Poly1305::new(&(*key.expose()).into());
        let plain = cipher.decrypt(&sealed.nonce.into(), Payload { msg: &sealed.bytes, aad: &aad }).unwrap();
        let (reason, labels) = plain::remark(&plain);
        assert_eq!(
            (reason, labels.map(|all| all.into_iter().collect())),
            (remark.reason.clone(), remark.labels.clone())
        );
        assert_eq!(Remark::open(&sealed, &of, &support::repo(), &key).unwrap(), remark);
    }
    assert_eq!(
        Remark::default().seal(&of, &support::repo(), &key, [7; 24]).unwrap(),
        repo_format::remark::Sealed::NONE
    );
    let too_long = Remark { reason: "x".repeat(4095), ..Remark::default() };
    assert!(too_long.seal(&of, &support::repo(), &key, [7; 24]).is_err());
}

/// A record of a file as the library reads it, in the form of the second reader.
fn read_file(body: &[u8]) -> plain::files::File {
    use repo_format::file_tree::Bytes;
    let file = FileRecord::parse(body).unwrap();
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let bytes = |bytes: Option<Bytes<'_>>| {
        bytes.map(|bytes| match bytes {
            Bytes::Here(bytes) => Ok(bytes.to_vec()),
            Bytes::Blob(blob) => Err(plain::Reference::Blob(blob.length, blob.root.0)),
            Bytes::Chunk(chunk) => Err(plain::Reference::Chunk(chunk.length, chunk.root.0)),
        })
    };
    plain::files::File {
        mode: file.mode,
        content: bytes(file.content),
        owner: [file.owner.0, file.owner.1],
        names: [owned(file.user), owned(file.group)],
        modified: file.modified,
        target: owned(file.target),
        device: file.device.map(|(major, minor)| [major, minor]),
        attributes: bytes(file.attributes),
        holes: bytes(file.sparse),
        first: owned(file.first),
        lacks: [file.lacks.unread, file.lacks.left_out],
    }
}

fn read_attributes(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    attributes(bytes).unwrap().iter().map(|a| (a.name.to_vec(), a.value.to_vec())).collect()
}

#[test]
fn golden_files() {
    let whole = |bytes: &Option<plain::files::Bytes>| bytes.as_ref().and_then(|bytes| bytes.as_ref().ok()).cloned();
    for (name, bytes) in files() {
        match name {
            _ if name.starts_with("file-key") => {
                assert_eq!(plain::files::key(&bytes), parts_of(&bytes).unwrap(), "{name}");
            }
            "file-attributes" => assert_eq!(plain::files::attributes(&bytes), read_attributes(&bytes)),
            "file-holes" => assert_eq!(plain::files::holes(&bytes), extents(&bytes).unwrap()),
            _ => {
                let file = plain::files::file(&bytes);
                assert_eq!(file, read_file(&bytes), "{name}");
                whole(&file.attributes).iter().for_each(|bytes| drop(plain::files::attributes(bytes)));
                whole(&file.holes).iter().for_each(|bytes| drop(plain::files::holes(bytes)));
            }
        }
    }
}

proptest! {
    #[test]
    fn files_of_a_tree(file in support::files::any_file()) {
        let record = file.record();
        let mut body = Vec::new();
        record.put(&mut body);
        if record.fits() {
            prop_assert_eq!(plain::files::file(&body), read_file(&body));
        }
    }

    #[test]
    fn attributes_of_files(all in support::files::any_attributes()) {
        let mut bytes = Vec::new();
        let each: Vec<_> = all.iter().map(|(name, value)| Attribute { name, value }).collect();
        put_attributes(&mut bytes, &each);
        prop_assert_eq!(&plain::files::attributes(&bytes), &all.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(plain::files::attributes(&bytes), read_attributes(&bytes));
    }

    #[test]
    fn holes_of_files((length, pieces) in support::files::any_holes()) {
        let mut bytes = Vec::new();
        put_extents(&mut bytes, length, &pieces);
        prop_assert_eq!(plain::files::holes(&bytes), (length, pieces));
        prop_assert_eq!(plain::files::holes(&bytes), extents(&bytes).unwrap());
    }

    #[test]
    fn keys_of_paths(parts in support::files::any_path()) {
        let key = key_of(parts.iter().map(Vec::as_slice));
        prop_assert_eq!(&plain::files::key(&key), &parts);
        prop_assert_eq!(parts_of(&key).unwrap(), parts);
    }
}

#[test]
fn golden_chunks() {
    for (name, bytes) in chunks() {
        match name {
            name if name.starts_with("leaf-") => assert_eq!(plain::leaf(&bytes), read(&bytes), "{name}"),
            name if name.starts_with("reference-") => {
                assert_eq!(plain::reference(&bytes), read_reference(&bytes), "{name}");
            }
            "branch" | "branch-metadata" => {
                let (_, class, children) = plain::branch(&bytes);
                let class = PackClass::from_u8(class).unwrap();
                assert_eq!(children.len(), read_branch(&bytes, 1, class).unwrap().len());
            }
            "patch" => assert_eq!(plain::patch(&bytes), read_patch(&bytes)),
            "record" => assert!(repo_format::record::check(&bytes).is_ok()),
            "blob-list" => assert!(repo_format::blob::BlobList::parse(&bytes).is_ok()),
            _ => panic!("{name}"),
        }
    }
}
