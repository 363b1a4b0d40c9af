//! The fuzz targets on stable: every file of `fuzz/corpus`, and so many mutations of each. `ONEFOLD_FUZZ=n` runs more.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use repo_format::fuzz::TARGETS;
use repo_format::id::ChunkKind;
use repo_format::ints::{Strings, put_ints};
use repo_format::names::Name;
use std::path::PathBuf;
use support::*;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

type Seed = (&'static str, String, Vec<u8>);

/// The sample objects, as their targets want them.
fn objects_as_seeds() -> Vec<Seed> {
    let unsigned = |bytes: &[u8]| bytes[..bytes.len() - 64].to_vec();
    let seed = |(name, bytes): (&'static str, Vec<u8>)| {
        let (target, bytes) = match name {
            "config" | "checkpoint" | "trim" => (name, unsigned(&bytes)),
            "pack" | "index" | "snapshot" => (name, bytes),
            "checkpoint-remark" => ("checkpoint", unsigned(&bytes)),
            "pack-metadata" => ("pack", bytes),
            "key-file" => ("key_file", bytes),
            "paper" | "recipient" | "identity" => (name, bytes),
            _ if name.starts_with("credential") => ("credential", bytes),
            _ if name.starts_with("frame") => ("frame", bytes),
            // The target knows one signer, the administrator.
            _ => {
                let mut bytes = unsigned(&bytes);
                bytes[50..82].copy_from_slice(&admin().id().0);
                ("log", bytes)
            }
        };
        (target, name.to_string(), bytes)
    };
    objects().into_iter().map(seed).collect()
}

/// What a remark seals.
fn plain_remark() -> Vec<u8> {
    let mut bytes = b"\x03why\x01\x02\x01a\x02bc".to_vec();
    bytes.resize(64, 0);
    bytes
}

/// What is sealed inside objects, and names.
fn sealed_seeds() -> Vec<Seed> {
    let mut sealed = vec![1, 0, 3, 0, 0, 0, 1];
    sealed.extend(ring().repo.chunk_id.id(ChunkKind::Leaf, b"abc").0);
    sealed.extend([3, b'a', b'b', b'c']);
    let built = pack();
    let end = built.frames.iter().map(|f| f.offset + f.length).max().unwrap();
    let mut list = end.to_le_bytes().to_vec();
    list.push(built.frames.len() as u8);
    for f in &built.frames {
        list.extend([f.offset.to_le_bytes(), f.length.to_le_bytes()].concat());
        list.extend([f.kind as u8, f.chunks.len() as u8]);
        f.chunks.iter().for_each(|c| list.extend([&c.id.0[..], &c.length.to_le_bytes()].concat()));
    }
    let head = [&[1][..], &[7; 16], &[2], &[7; 32], &[0, 0, 1, 0, 2, 0xff, 0xff]].concat();
    let table = [&[1, 0, 0, 27, 0, 0, 0, 0, 16, 0, 0, 1, 1][..], &[9; 32], &[0, 0, 0, 0, 0, 0, 5, 0, 0, 0]].concat();
    let mut ring = [&[0x11; 32][..], &admin().id().0, &[6]].concat();
    (1..=5u8).for_each(|purpose| ring.extend([&[purpose, 32][..], &[purpose; 32]].concat()));
    ring.extend([&[6, 36, 1, 0, 0, 0][..], &[6; 32]].concat());
    let names = [Name::Config, Name::Log(7), checkpoint().0, Name::Pack(built.name)];
    let mut all: Vec<Seed> =
        names.into_iter().map(|name| ("name", name.kind().word().to_string(), name.to_string().into_bytes())).collect();
    for (target, name, bytes) in [
        ("frame_sealed", "raw", sealed),
        ("pack_list", "two-frames", list),
        ("index_parts", "head", head),
        ("index_parts", "table", table),
        ("key_ring", "write-read", ring),
        ("remark", "pinned", plain_remark()),
        ("machine", "sealed", repo_format::machine::seal(&admin(), &repo(), b"fuzz", &[7; 24], b"{}").unwrap()),
    ] {
        all.push((target, name.to_string(), bytes));
    }
    all
}

/// What chunks hold.
fn chunk_seeds() -> Vec<Seed> {
    let mut all: Vec<Seed> = Vec::new();
    for (name, bytes) in chunks::chunks() {
        let (target, bytes) = match name {
            // The first byte is the level.
            "branch" | "branch-metadata" => ("branch", [&[1][..], &bytes].concat()),
            "blob-list" => ("blob", bytes),
            _ => (name.split('-').next().unwrap(), bytes),
        };
        all.push((target, name.to_string(), bytes));
    }
    let lists: [(&str, &[u64]); 4] = [
        ("none", &[]),
        ("equal", &[300; 9]),
        ("above-least", &[1 << 40, 5, 0, 7, 1 << 20]),
        ("differences", &[1 << 50, (1 << 50) + 3, (1 << 50) + 9, (1 << 50) + 5]),
    ];
    for (name, list) in lists {
        let mut bytes = vec![list.len() as u8];
        put_ints(&mut bytes, list, &mut Vec::new());
        all.push(("ints", name.to_string(), bytes));
    }
    for (name, planes) in [("strings-joined", false), ("strings-planes", true)] {
        let mut strings = Strings::default();
        (0..5u32).for_each(|n| strings.push(&n.to_be_bytes()));
        let mut bytes = vec![128 + strings.len() as u8];
        strings.put(&mut bytes, planes, &mut Vec::new());
        all.push(("ints", name.to_string(), bytes));
    }
    all
}

/// What file trees hold; the first byte says which of it.
fn file_seeds() -> Vec<Seed> {
    let seed = |(name, bytes): (&'static str, Vec<u8>)| {
        let which = match name {
            _ if name.starts_with("file-key") => 0,
            "file-attributes" => 2,
            "file-holes" => 3,
            _ => 1,
        };
        ("file_tree", name.trim_start_matches("file-").to_string(), [&[which][..], &bytes].concat())
    };
    files::files().into_iter().map(seed).collect()
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
        for (target, name, bytes) in [objects_as_seeds(), sealed_seeds(), chunk_seeds(), file_seeds()].concat() {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        TARGETS.iter().for_each(|(_, body)| {
            body(&bytes);
        });
    }
}
