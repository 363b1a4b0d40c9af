//! The fuzz targets of this crate on stable, as `repo-format/tests/fuzz.rs` has those of the format: every file of
//! their corpora, and so many mutations of each. `ONEFOLD_FUZZ=n` runs more.

use std::fs;
use std::path::{Path, PathBuf};

use onefold::backup::seen::entry::fuzz as seen;
use onefold::engine::cassandra::fuzzing::*;
use onefold::engine::cassandra::sstable::fuzzing as sstable;
use onefold::engine::cassandra::sstable::write::fuzzing as written;
use onefold::engine::params::fuzzing::params;
use onefold::engine::posix::fuzzing::files_memory;
use onefold::snapshot::Snapshot;
use onefold::snapshot::fuzzing::{snapshot_body, snapshot_record};
use onefold::store::answers::fuzzing as answers;
use repo_format::snapshot::Says;

/// A target and its body.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 30] = [
    ("answers_catalog", answers::catalog),
    ("answers_listing", answers::listing),
    ("answers_versions", answers::versions),
    ("cassandra_class", fuzz_class),
    ("cassandra_component", fuzz_component),
    ("cassandra_counter", fuzz_counter),
    ("cassandra_cql_type", fuzz_cql_type),
    ("cassandra_json", fuzz_json),
    ("cassandra_key", fuzz_key),
    ("cassandra_replication", fuzz_replication),
    ("cassandra_ring", fuzz_ring),
    ("cassandra_row", fuzz_row),
    ("cassandra_schema", fuzz_schema),
    ("cassandra_system_rows", fuzz_system_rows),
    ("cassandra_target_ring", fuzz_target_ring),
    ("cassandra_where", fuzz_where),
    ("files_memory", files_memory),
    ("params", params),
    ("seen", seen),
    ("sftp_reply", onefold::ssh::fuzz),
    ("snapshot_body", snapshot_body),
    ("snapshot_record", snapshot_record),
    ("sstable_chunk", sstable::chunk),
    ("sstable_compression_info", sstable::compression_info),
    ("sstable_data", sstable::data),
    ("sstable_digest", sstable::digest),
    ("sstable_file_name", sstable::file_name),
    ("sstable_index", sstable::index),
    ("sstable_statistics", sstable::statistics),
    ("sstable_written_row", written::row),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder().join("corpus").join(target)).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn mutate(below: &mut impl FnMut(usize) -> usize, bytes: &mut Vec<u8>) {
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        match below(6) {
            _ if bytes.is_empty() => bytes.push(below(256) as u8),
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'{', b'"', b'<'][below(8)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, below(256) as u8),
            4 => drop(bytes.drain(at..(at + below(8)).min(bytes.len()))),
            _ => {
                let tail = bytes[at..].to_vec();
                bytes.extend_from_slice(&tail[..tail.len().min(64)]);
            }
        }
    }
}

#[test]
fn corpus_and_mutations_do_not_panic() {
    let rounds: usize = std::env::var("ONEFOLD_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let mut random = 0x1234_5678_9abc_def1u64;
    let mut below = |n: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n.max(1)
    };
    for (name, body) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
        inputs.iter().for_each(|bytes| body(bytes));
        for round in 0..rounds {
            let mut bytes = inputs[round % inputs.len()].clone();
            mutate(&mut below, &mut bytes);
            body(&bytes);
        }
    }
}

#[test]
fn every_target_of_this_crate_is_run() {
    for file in fs::read_dir(folder().join("fuzz_targets")).unwrap().map(|f| f.unwrap().path()) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let ours = fs::read_to_string(&file).unwrap().contains("onefold::");
        assert_eq!(TARGETS.iter().any(|t| t.0 == name), ours, "{name}");
    }
}

#[test]
fn seeds_of_snapshot_bodies_are_read() {
    for bytes in corpus("snapshot_body") {
        let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
        let (body, description) = (lines.next().unwrap(), lines.next().unwrap());
        let body = Snapshot::decode(&Says { body, description, shards: lines.collect() }).unwrap();
        assert_eq!(body.roots().unwrap().is_empty(), body.shards.is_empty());
    }
}
