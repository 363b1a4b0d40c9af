//! Speeds of what every byte passes through, one thread: `cargo bench -p repo-format`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use repo_format::config::Config;
use repo_format::frame::{FramePlain, Opener, Sealer};
use repo_format::id::{ChunkKind, ObjectHash, RepoId, SessionId, SnapshotId};
use repo_format::index::{Index, IndexBuilder};
use repo_format::key::{ChunkIdKey, ContentKey, ContentPublic, IndexKey, SessionKey, SignKey, WrappedKey};
use repo_format::log::{Body, Entry, Roles};
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackClass};
use repo_format::pack::{PackBuilder, open_pack};
use std::hint::black_box;
use std::time::Instant;

/// Time this thread has run, so that other load does not count. Only Linux tells.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

/// Runs `work` for about half a second and prints GB/s of `bytes` each.
fn speed(what: &str, bytes: usize, mut work: impl FnMut()) {
    work();
    let (clock, start) = (Instant::now(), cpu_seconds());
    let mut rounds = 0;
    while clock.elapsed().as_millis() < 500 {
        work();
        rounds += 1;
    }
    let seconds = match (start, cpu_seconds()) {
        (Some(start), Some(end)) => end - start,
        _ => clock.elapsed().as_secs_f64(),
    };
    println!(
        "{what:48} {:8.2} GB/s {:10.1} us",
        rounds as f64 * bytes as f64 / seconds / 1e9,
        seconds / rounds as f64 * 1e6
    );
}

/// Half text of a table, half noise: zstd halves it.
fn rows(length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let row = |i: usize, n: &[u8]| {
        let mut row = format!("user-{i:08}|active|2026-11-21|").into_bytes();
        row.extend_from_slice(n);
        row
    };
    noise.chunks(24).enumerate().flat_map(|(i, n)| row(i, n)).take(length).collect()
}

fn main() {
    let (ids, session) = (ChunkIdKey::from_bytes([1; 32]), SessionId([3; 16]));
    let wrapped = WrappedKey { epoch: 1, ephemeral: [0; 32], sealed: [0; 48] };
    let key = SessionKey { session, content: ContentKey::from_bytes([2; 32]), wrapped };
    let data = rows(256 << 10);
    speed("chunk id, 64 KiB", 64 << 10, || {
        black_box(ids.id(ChunkKind::Leaf, &data[..64 << 10]));
    });
    speed("chunk id, 4 KiB", 4 << 10, || {
        black_box(ids.id(ChunkKind::Leaf, &data[..4 << 10]));
    });
    let mut random = vec![0; 256 << 10];
    blake3::Hasher::new().update(b"random").finalize_xof().fill(&mut random);
    for (what, data) in [("rows", &data), ("noise", &random)] {
        let mut plain = FramePlain::new(ChunkKind::Leaf);
        data.chunks(64 << 10).for_each(|c| plain.push(ids.id(ChunkKind::Leaf, c), c).unwrap());
        for level in [1, 3] {
            let mut sealer = Sealer::new(level).unwrap();
            let mut out = Vec::new();
            speed(&format!("seal 256 KiB of {what}, zstd {level}"), data.len(), || {
                out.clear();
                sealer.seal(&key, &[4; 24], &plain, &mut out).unwrap();
            });
            let mut opener = Opener::new().unwrap();
            speed(&format!("open, check ids ({} bytes sealed)", out.len()), data.len(), || {
                black_box(opener.open(&key.content, &ids, &out).unwrap());
            });
        }
    }
    pack_and_index(&ids, &key, &random);
    checkpoint();
}

fn pack_and_index(ids: &ChunkIdKey, key: &SessionKey, data: &[u8]) {
    let session = key.session;
    let index_key = IndexKey::from_bytes([5; 32]);
    let mut plain = FramePlain::new(ChunkKind::Data);
    data.chunks(64 << 10).for_each(|c| plain.push(ids.id(ChunkKind::Data, c), c).unwrap());
    let mut frame = Vec::new();
    Sealer::new(1).unwrap().seal(key, &[4; 24], &plain, &mut frame).unwrap();
    let build = || {
        let mut builder = PackBuilder::new(session, PackClass::Content);
        while builder.fits(frame.len(), 4, 16 << 20) {
            builder.push(&frame, ChunkKind::Data, plain.list()).unwrap();
        }
        builder.finish(&index_key, &[6; 24]).unwrap()
    };
    let built = build();
    speed("build a pack of 16 MiB", built.bytes.len(), || {
        black_box(build());
    });
    speed("check a pack against its name, open its list", built.bytes.len(), || {
        black_box(open_pack(&built.name, &built.bytes, &index_key).unwrap());
    });
    let writer = SignKey::from_bytes(&[7; 32]);
    let repo = RepoId([8; 32]);
    let index = || {
        let mut builder = IndexBuilder::new();
        while builder.fits(built.frames.len() * 4) {
            builder.add(built.name, built.bytes.len() as u32, &built.frames).unwrap();
        }
        builder.finish(session, &repo, &index_key, &[[1; 24], [2; 24]], &writer).unwrap()
    };
    let (name, bytes) = index();
    speed("write a full index object", bytes.len(), || {
        black_box(index());
    });
    speed("open it", bytes.len(), || {
        black_box(Index::open(&name, &bytes, &repo, &index_key).unwrap());
    });
}

/// Ten years of nights, two index objects each.
fn checkpoint() {
    let admin = SignKey::from_bytes(&[1; 32]);
    let (repo, content) = (RepoId([8; 32]), ContentPublic { epoch: 1, key: [0; 32] });
    let config = Config::new(repo, content, admin.id(), true);
    let mut state = State::new(ObjectHash([0; 32]), &config);
    let key = WrappedKey { epoch: 1, ephemeral: [0; 32], sealed: [0; 48] };
    let mut write = |body| {
        let entry = Entry { n: state.n() + 1, previous: state.head(), writer: admin.id(), time_ms: 0, body };
        state.apply(ObjectHash([7; 32]), &entry).unwrap();
    };
    write(Body::Writers { writers: vec![(admin.id(), Roles::WRITE_VOUCH)], credentials: vec![] });
    for night in 0..3650u64 {
        let hash = |salt: u64| *blake3::hash(&(night * 10 + salt).to_le_bytes()).as_bytes();
        let session = SessionId::new(2 + 2 * night, &admin.id());
        let mut indexes: Vec<IndexName> = (1..3).map(|i| IndexName { session, hash: ObjectHash(hash(i)) }).collect();
        indexes.sort();
        write(Body::Open { session, key, adopts: None, bases: vec![] });
        write(Body::Commit { session, snapshot: Some(SnapshotId(hash(3))), indexes, replaces: vec![] });
    }
    let (name, bytes) = state.to_checkpoint(&repo, &admin).unwrap();
    println!("a checkpoint of 3650 nights is {} bytes", bytes.len());
    speed("write it", bytes.len(), || {
        black_box(state.to_checkpoint(&repo, &admin).unwrap());
    });
    speed("read it", bytes.len(), || {
        black_box(State::from_checkpoint(&name, &bytes, &config, None).unwrap());
    });
    let entry = Entry {
        n: state.n() + 1,
        previous: state.head(),
        writer: admin.id(),
        time_ms: 0,
        body: Body::Lost { lost: vec![] },
    };
    let (_, bytes) = entry.encode(&repo, &admin).unwrap();
    speed("check the signature of a log entry", bytes.len(), || {
        black_box(Entry::parse(&bytes, &repo).unwrap());
    });
}
