//! Measurements, run by hand: `cargo test --release -- --ignored --nocapture measure`.

use onefold::engine::cassandra::source::NodeDir;
use onefold::engine::{Source, Taking, Without};
use onefold::repo::open::Sizes;
use onefold::repo::{InitOptions, Repo, WriteOptions};
use onefold::run::{ChunkKind, ChunkSink, ChunkSource, RecordBatch, Run};
use onefold::watch::Watch;
use repo_format::credential::Unlock;

use crate::flow;
use crate::large_values::{noise, one_table};
use crate::repo::{key_file, memory};

/// Two nights of tables of 40 MB whose rows have a value each and a last login that changes. Half of each value is noise.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn measure_values_beside_what_changes() {
    for length in [6_000usize, 12_000, 20_000, 40_000, 100_000] {
        let rows = 40_000_000 / length as u64;
        let value = |n: u64| [noise(n, length / 2), words(n, length / 2)].concat();
        let values: Vec<Vec<u8>> = (0..rows).map(value).collect();
        let repo = flow::new_repo(&memory());
        for night in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            one_table(folder.path(), night, &values);
            let source = flow::source(&[NodeDir::new("n1", folder.path())]);
            let cpu = cpu_seconds();
            let (_, stats) = flow::store(&repo, &source, false).unwrap();
            let (stored, cpu) = (stats.bytes_stored, cpu_seconds() - cpu);
            eprintln!("{rows} rows of {length}, night {night}: {stored} bytes stored, {cpu:.2} CPU s");
        }
    }
}

/// Text that compresses.
fn words(seed: u64, length: usize) -> Vec<u8> {
    let word = |b: u8| [b"0123456789abcdef"[usize::from(b >> 4)], b' '];
    noise(seed, length / 2).into_iter().flat_map(word).collect()
}

/// What it costs to begin in the middle of an SSTable of 64 MB, and to read all of it in pieces.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn measure_pieces() {
    let values: Vec<Vec<u8>> = (0..200_000).map(|n| [noise(n, 160), words(n, 160)].concat()).collect();
    let folder = tempfile::tempdir().unwrap();
    one_table(folder.path(), 0, &values);
    let source = flow::source(&[NodeDir::new("n1", folder.path())]);
    for pieces in [1, 2, 16, 64, 256] {
        let (shard, without, watch) = (&source.shards()[0], Without::new(), Watch::new());
        let bounds = source.bounds(shard, &without, pieces).unwrap();
        assert_eq!(bounds.len() + 1, pieces);
        let ends: Vec<Vec<u8>> = [vec![Vec::new()], bounds, vec![Vec::new()]].concat();
        let parts = source.parts(shard, &without, Taking::records(&watch)).unwrap();
        let [part] = &parts[0].parts[..] else { panic!("one part") };
        let (cpu, mut opening, mut records) = (cpu_seconds(), 0.0, 0);
        let mut batch = RecordBatch::new();
        for two in ends.windows(2) {
            let began = std::time::Instant::now();
            let mut run = (part.open)(&(two[0].clone(), two[1].clone())).unwrap();
            opening += began.elapsed().as_secs_f64();
            while run.next_batch(&mut batch).unwrap() {
                records += batch.len();
            }
        }
        let each = opening * 1e6 / pieces as f64;
        eprintln!("{pieces} pieces: {records} records, {:.3} CPU s, {each:.0} us to open one", cpu_seconds() - cpu);
    }
}

/// Figures for the README of the benches: run by hand, alone on the machine.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn measure_writing() {
    let rows = rows_like(256 << 20);
    for (level, frame_target) in [(1, 256 << 10), (1, 512 << 10), (1, 1 << 20), (3, 256 << 10), (3, 512 << 10)] {
        for threads in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            let store = onefold::store::open(dir.path().join("repo").to_str().unwrap()).unwrap();
            let sizes = Sizes { frame_target, cut_average: 64 << 10, pack_target: 16 << 20 };
            let options = InitOptions { sizes: Some(sizes), ..InitOptions::default() };
            let repo =
                Repo::init(store, Unlock::KeyFile(&key_file()), Some(&dir.path().join("cache")), options).unwrap();
            let (cpu, wall) = (cpu_seconds(), std::time::Instant::now());
            let writer = repo.writer(WriteOptions { level, threads, ..WriteOptions::default() }).unwrap();
            for piece in rows.chunks(64 << 10) {
                writer.put(ChunkKind::Leaf, piece).unwrap();
            }
            let (_, stats) = writer.commit(Vec::new(), Default::default()).unwrap();
            let gb = rows.len() as f64 / 1e9;
            eprintln!(
                "level {level}, frames of {frame_target}, {threads} threads: {:.2} CPU s/GB, {:.2} s/GB, stored {:.3}, peak {} MiB, {stats:?}",
                (cpu_seconds() - cpu) / gb,
                wall.elapsed().as_secs_f64() / gb,
                stats.bytes_stored as f64 / rows.len() as f64,
                peak_mib(),
            );
            let (cpu, wall) = (cpu_seconds(), std::time::Instant::now());
            let watch = Watch::new();
            repo.check(onefold::repo::check::Reads::All, &watch).unwrap();
            eprintln!(
                "  check: {:.2} CPU s/GB, {:.2} s/GB",
                (cpu_seconds() - cpu) / gb,
                wall.elapsed().as_secs_f64() / gb
            );
            let (cpu, wall) = (cpu_seconds(), std::time::Instant::now());
            let reader = repo.reader().unwrap();
            for piece in rows.chunks(64 << 10) {
                let id = repo.ring().repo.chunk_id.id(ChunkKind::Leaf, piece);
                reader.get(ChunkKind::Leaf, &id).unwrap();
            }
            eprintln!(
                "  read: {:.2} CPU s/GB, {:.2} s/GB",
                (cpu_seconds() - cpu) / gb,
                wall.elapsed().as_secs_f64() / gb
            );
            let (cpu, wall) = (cpu_seconds(), std::time::Instant::now());
            let writer = repo.writer(WriteOptions { level, threads, ..WriteOptions::default() }).unwrap();
            for piece in rows.chunks(64 << 10) {
                writer.put(ChunkKind::Leaf, piece).unwrap();
            }
            writer.commit(Vec::new(), Default::default()).unwrap();
            eprintln!(
                "  again: {:.2} CPU s/GB, {:.2} s/GB",
                (cpu_seconds() - cpu) / gb,
                wall.elapsed().as_secs_f64() / gb
            );
        }
    }
}

/// Peak memory of a writer alone, at one size and at four times that.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn measure_memory() {
    let row = rows_like(8 << 20);
    let before = peak_mib();
    for rounds in [64u32, 256] {
        let dir = tempfile::tempdir().unwrap();
        let store = onefold::store::open(dir.path().join("repo").to_str().unwrap()).unwrap();
        let options = InitOptions::default();
        let repo = Repo::init(store, Unlock::KeyFile(&key_file()), Some(&dir.path().join("cache")), options).unwrap();
        let writer = repo.writer(WriteOptions { level: 1, ..WriteOptions::default() }).unwrap();
        for round in 0..rounds {
            for piece in row.chunks(64 << 10) {
                let piece: Vec<u8> = piece.iter().map(|b| b ^ round as u8).collect();
                writer.put(ChunkKind::Leaf, &piece).unwrap();
            }
        }
        writer.commit(Vec::new(), Default::default()).unwrap();
        eprintln!("{} MiB written: peak {} MiB above {before}", 8 * rounds, peak_mib() - before);
    }
}

/// Rows of a table: words, numbers, some noise.
fn rows_like(len: usize) -> Vec<u8> {
    use std::io::Write;
    let words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"];
    let (mut out, mut x) = (Vec::with_capacity(len + 200), 1u64);
    while out.len() < len {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = |shift: u32| words[(x >> shift) as usize % 10];
        let (a, b, c, n) = (word(13), word(23), word(33), x >> 40);
        writeln!(out, "user{n:08}|{a} {b} {c}|{}|{}|2026-{:02}-{:02}", n % 1000, x >> 20, n % 12 + 1, n % 28 + 1)
            .unwrap();
    }
    out.truncate(len);
    out
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}
