//! The fuzz targets on stable: every file of `fuzz/corpus`, and so many mutations of each. `ONEFOLD_FUZZ=n` runs more.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use repo_format::fuzz::TARGETS;
use repo_format::leaf::{Layout, LeafBuilder};
use repo_format::patch::{Differing, LeafPatch, Other};
use repo_format::record::{BodyWriter, Class, Entry, EntryKind};
use repo_format::{frame, pack, tree};
use std::path::PathBuf;
use support::*;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// Seeds that reach deep, made from the sample objects.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let unsigned = |bytes: &[u8]| bytes[..bytes.len() - 64].to_vec();
    let mut all = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| all.push((target, name.to_string(), bytes));
    for (name, bytes) in objects() {
        match name {
            "config" => add("config", name, unsigned(&bytes)),
            "checkpoint" => add("checkpoint", name, unsigned(&bytes)),
            "pack" | "index" | "snapshot" => add(name, name, bytes),
            "key-file" => add("key_file", name, bytes),
            _ if name.starts_with("credential") => add("credential", name, bytes),
            _ if name.starts_with("frame") => add("frame", name, bytes),
            // The targets know one signer, the administrator; others' entries are parsed under its name.
            _ if name.starts_with("log") => {
                let mut bytes = unsigned(&bytes);
                bytes[50..82].copy_from_slice(&admin().id().0);
                add("log", name, bytes);
            }
            _ => unreachable!("{name}"),
        }
    }
    for name in [
        repo_format::names::Name::Config,
        repo_format::names::Name::Log(7),
        checkpoint().0,
        repo_format::names::Name::Pack(pack().name),
    ] {
        add("name", name.kind().word(), name.to_string().into_bytes());
    }
    let mut sealed = vec![1, 0];
    sealed.extend(3u32.to_le_bytes());
    sealed.push(1);
    sealed.extend(ring().repo.chunk_id.id(repo_format::id::ChunkKind::Leaf, b"abc").0);
    sealed.extend([3, b'a', b'b', b'c']);
    add("frame_sealed", "raw", sealed);
    let built = pack();
    let mut list =
        (built.frames.iter().map(|f| f.length).sum::<u32>() + pack::PACK_HEADER_LEN as u32).to_le_bytes().to_vec();
    list.push(built.frames.len() as u8);
    for f in &built.frames {
        list.extend(f.offset.to_le_bytes());
        list.extend(f.length.to_le_bytes());
        list.extend([f.kind as u8, f.chunks.len() as u8]);
        f.chunks.iter().for_each(|c: &frame::Listed| {
            list.extend(c.id.0);
            list.extend(c.length.to_le_bytes());
        });
    }
    add("pack_list", "two-frames", list);
    let mut head = vec![1];
    head.extend([7; 48]);
    head.extend([0, 0, 1, 0, 2, 0xff, 0xff]);
    add("index_parts", "head", head);
    let mut table = vec![1, 0, 0, 26, 0, 0, 0, 0, 16, 0, 0, 1, 1];
    table.extend([9; 32]);
    table.extend([0, 0, 0, 0, 0, 0, 5, 0, 0, 0]);
    add("index_parts", "table", table);
    let mut ring = [&[0x11; 32][..], &admin().id().0, &[6]].concat();
    for purpose in 1..=5u8 {
        ring.extend([purpose, 32]);
        ring.extend([purpose; 32]);
    }
    ring.extend([6, 36, 1, 0, 0, 0]);
    ring.extend([6; 32]);
    add("key_ring", "write-read", ring);
    let list = repo_format::blob::BlobList {
        level: 0,
        entries: vec![repo_format::blob::BlobRef { length: 300, root: repo_format::id::ChunkId([4; 32]) }],
    };
    add("blob", "one", list.encode());
    let child = |key: &[u8]| tree::Child { first_key: key.to_vec(), records: 9, id: repo_format::id::ChunkId([4; 32]) };
    let mut bytes = vec![1];
    tree::put_branch(&mut bytes, 1, &[child(b"abc"), child(b"abd")]);
    add("branch", "two", bytes);
    let cell = |column, kind, value| Entry { column, kind, element: None, time: 7, ldt: 0, ttl: 0, value };
    let mut body = Vec::new();
    let mut writer = BodyWriter::new(&mut body);
    writer.push(&cell(0, EntryKind::Cell, None));
    writer.push(&cell(1, EntryKind::Cell, Some(b"value")));
    writer.push(&Entry { ldt: 9, ..cell(2, EntryKind::Tombstone, None) });
    let mut leaf = LeafBuilder::new(Layout { tokens: false, numeric_groups: false, numeric: vec![1] });
    for key in [b"group-a", b"group-b"] {
        leaf.push(key, 5, Class::Row, &body).unwrap();
    }
    let mut bytes = Vec::new();
    leaf.finish(&mut bytes);
    add("leaf", "two", bytes);
    add("record", "cells", body);
    let others = vec![Other { time: 5, hash: 6 }];
    let patch = LeafPatch { missing: vec![1, 5], stale: vec![Differing { ordinal: 3, others }], extra: vec![9] };
    let mut bytes = Vec::new();
    patch.put(&mut bytes);
    add("patch", "all", bytes);
    all
}

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len());
        match rng.below(7) {
            _ if bytes.is_empty() => bytes.push(rng.below(256) as u8),
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][rng.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.below(256) as u8),
            4 => {
                bytes.remove(at);
            }
            5 => {
                let tail = bytes[at..].to_vec();
                bytes.extend_from_slice(&tail[..tail.len().min(64)]);
            }
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill([0, 0xff][rng.below(2)]);
            }
        }
    }
}

#[test]
fn corpus_and_mutations_do_not_panic() {
    if std::env::var_os("ONEFOLD_BLESS").is_some() {
        for (target, name, bytes) in seeds() {
            std::fs::create_dir_all(corpus(target)).unwrap();
            std::fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
    let rounds: usize = std::env::var("ONEFOLD_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    for (name, body) in TARGETS {
        let mut files: Vec<PathBuf> = match std::fs::read_dir(corpus(name)) {
            Ok(folder) => folder.map(|f| f.unwrap().path()).collect(),
            Err(e) => panic!("fuzz/corpus/{name}: {e}"),
        };
        files.sort();
        assert!(!files.is_empty(), "fuzz/corpus/{name} is empty");
        let inputs: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
        // Files that a fuzzer found to break something are refused now; seeds are accepted, or they reach nothing.
        for (file, bytes) in files.iter().zip(&inputs) {
            let accepted = body(bytes);
            let found = file.file_name().is_some_and(|f| f.to_string_lossy().starts_with("found-"));
            assert!(accepted || found, "{name} refuses its seed {}", file.display());
        }
        let mut rng = Rng(0x1234_5678_9abc_def1);
        for round in 0..rounds {
            let mut bytes = inputs[round % inputs.len()].clone();
            mutate(&mut rng, &mut bytes);
            body(&bytes);
        }
    }
}

#[test]
fn every_target_has_its_binary_and_every_corpus_its_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "fuzz/Cargo.toml lacks {name}");
        assert!(folder.join(format!("fuzz_targets/{name}.rs")).exists(), "fuzz_targets/{name}.rs is missing");
    }
}
