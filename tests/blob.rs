//! Blobs: what goes in comes out; an edit in the middle costs a few chunks; damage is an error.

use std::collections::HashMap;
use std::sync::Mutex;

use onefold::blob::{self, Chunker};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource};
use onefold::{Error, Kind, Result};
use proptest::prelude::*;
use repo_format::key::{ChunkIdKey, CutKey};

#[derive(Default)]
struct Map(Mutex<HashMap<ChunkId, (ChunkKind, Vec<u8>)>>);

impl ChunkSink for Map {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        let id = ChunkIdKey::from_bytes([1; 32]).id(kind, plain);
        self.0.lock().unwrap().insert(id, (kind, plain.to_vec()));
        Ok(id)
    }
}

impl ChunkSource for Map {
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        match self.0.lock().unwrap().get(id) {
            Some((k, bytes)) if *k == kind => Ok(bytes.clone()),
            _ => Err(Error::damaged(id, "missing")),
        }
    }
}

fn chunker() -> Chunker {
    Chunker::new(&CutKey::from_bytes([3; 32]), 4 << 10).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn round_trip(bytes: &[u8]) -> (Map, blob::BlobRef) {
    let map = Map::default();
    let root = blob::write_bytes(bytes, &chunker(), &map).unwrap();
    assert_eq!(root.length, bytes.len() as u64);
    let mut out = Vec::new();
    blob::read(&root, &map, &mut out, "memory").unwrap();
    assert!(out == bytes, "other bytes out than in");
    (map, root)
}

#[test]
fn lengths_around_every_boundary() {
    let most = chunker().window();
    for len in [0, 1, 2, 2047, 2048, 2049, 4096, most - 1, most, most + 1, 2 * most, 100_001] {
        round_trip(&noise(len as u64, len));
        round_trip(&vec![0; len]);
    }
}

#[test]
fn long_blobs_have_several_levels() {
    let bytes = noise(1, 12 << 20);
    let (map, root) = round_trip(&bytes);
    let lists = map.0.lock().unwrap().values().filter(|(kind, _)| *kind == ChunkKind::BlobList).count();
    assert!(lists > 3, "{lists} lists");
    let mut named = 0;
    blob::reach(&root, None, &map, &mut |_| {
        named += 1;
        Ok(true)
    })
    .unwrap();
    assert_eq!(named, map.0.lock().unwrap().len());
    assert_eq!(blob::read_bytes(&root, &map, 1 << 20).unwrap_err().kind(), Kind::TooLarge);
}

#[test]
fn an_edit_costs_a_few_chunks() {
    let mut bytes = noise(2, 1 << 20);
    let (map, _) = round_trip(&bytes);
    let before: usize = map.0.lock().unwrap().len();
    bytes.splice(500_000..500_010, *b"something longer than before");
    blob::write_bytes(&bytes, &chunker(), &map).unwrap();
    let new = map.0.lock().unwrap().len() - before;
    assert!(new <= 5, "{new} new chunks");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (map, root) = round_trip(&noise(3, 300_000));
    let longer = blob::BlobRef { length: root.length + 1, ..root };
    assert_eq!(blob::read(&longer, &map, &mut Vec::new(), "x").unwrap_err().kind(), Kind::Damaged);
    let missing = map.0.lock().unwrap().iter().find(|(_, (k, _))| *k == ChunkKind::Data).map(|(id, _)| *id).unwrap();
    map.0.lock().unwrap().remove(&missing);
    assert!(blob::read(&root, &map, &mut Vec::new(), "x").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]
    #[test]
    fn any_bytes(seed in any::<u64>(), len in 0usize..200_000, run in 0usize..50_000) {
        let mut bytes = noise(seed, len);
        bytes.extend(std::iter::repeat_n(seed as u8, run));
        round_trip(&bytes);
    }
}
