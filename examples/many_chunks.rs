//! A repository of more chunks than anybody waits for, for measuring memory (`tools/memory chunks`): index objects and an entry of the log
//! that are real, of packs that are empty files of the right length.
//!
//!     many_chunks make FOLDER CHUNKS    writes it
//!     many_chunks prune FOLDER CHUNKS   marks seven of eight chunks, and says what a prune would do
//!     many_chunks check FOLDER          verifies all objects but what the packs hold

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use onefold::prune::{Options, of_marked};
use onefold::repo::check::Reads;
use onefold::repo::prune::{Limits, Marks};
use onefold::repo::{InitOptions, Repo, world};
use onefold::run::{ChunkId, ChunkKind};
use onefold::store::Store;
use onefold::watch::Watch;
use repo_format::credential::Unlock;
use repo_format::frame::Listed;
use repo_format::id::{ObjectHash, SessionId, SnapshotId};
use repo_format::index::IndexBuilder;
use repo_format::key::{ContentKey, SessionKey};
use repo_format::keyfile::KeyFile;
use repo_format::log::{Body, Entry};
use repo_format::names::{IndexName, Name, PackClass, PackName};
use repo_format::pack::PackFrame;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Chunks of a frame, frames of a pack, bytes of a frame: as a backup makes them of chunks of 64 KiB.
const FRAME: u64 = 16;
const FRAMES: u64 = 16;
const FRAME_BYTES: u32 = 1 << 20;
const PACK: u64 = FRAME * FRAMES;

fn id(n: u64) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// The pack that holds the chunks from `first` on, and its frames.
fn pack(session: SessionId, first: u64) -> (PackName, u32, Vec<PackFrame>) {
    let frame = |at: u64| PackFrame {
        offset: 27 + at as u32 * FRAME_BYTES,
        length: FRAME_BYTES,
        kind: ChunkKind::ALL[0],
        chunks: (0..FRAME).map(|n| Listed { id: id(first + at * FRAME + n), length: 64 << 10 }).collect(),
    };
    let hash = ObjectHash(*blake3::hash(format!("pack {first}").as_bytes()).as_bytes());
    let name = PackName { session, class: PackClass::of(ChunkKind::ALL[0]), hash };
    (name, FRAMES as u32 * FRAME_BYTES + 4096, (0..FRAMES).map(frame).collect())
}

/// Signs an entry of the log and appends it.
fn append(repo: &Repo, body: Body) -> Outcome<()> {
    let key = repo.ring().writer.clone().ok_or("no writer")?;
    let state = repo.refresh()?;
    let (n, previous) = (state.n() + 1, state.head());
    let entry = Entry { n, previous, writer: key.id(), time_ms: world::now_ms(), body };
    let (_, bytes) = entry.encode(&repo.ring().repo_id, &key)?;
    repo.store().create(&Name::Log(n).to_string(), bytes.clone().into())?;
    repo.store().create(&Name::Log(n).copy(), bytes.into())?;
    Ok(())
}

fn open(folder: &str) -> Outcome<Repo> {
    let store: Arc<dyn Store> = onefold::store::open(folder)?;
    Ok(Repo::open(store, Unlock::KeyFile(&KeyFile::from_bytes([7; 32])), None)?)
}

fn make(folder: &str, chunks: u64) -> Outcome<()> {
    let store: Arc<dyn Store> = onefold::store::open(folder)?;
    let repo = Repo::init(store, Unlock::KeyFile(&KeyFile::from_bytes([7; 32])), None, InitOptions::default())?;
    let (ring, state) = (repo.ring(), repo.refresh()?);
    let key = ring.writer.clone().ok_or("no writer")?;
    let session = SessionId::new(state.n() + 1, &key.id());
    let content = ContentKey::from_bytes(world::random()?);
    let wrapped = SessionKey::new(&state.content(), &ring.repo_id, session, content, world::random()?)?.wrapped;
    append(&repo, Body::Open { session, key: wrapped, adopts: None, bases: Vec::new() })?;
    let mut indexes: Vec<IndexName> = Vec::new();
    let mut finish = |builder: IndexBuilder| -> Outcome<()> {
        let nonces = [world::random()?, world::random()?];
        let (name, bytes) = builder.finish(session, &ring.repo_id, &ring.repo.index, &nonces, &key)?;
        repo.store().create(&Name::Index(name).to_string(), bytes.into())?;
        indexes.push(name);
        Ok(())
    };
    let mut builder = IndexBuilder::new();
    for first in (0..chunks).step_by(PACK as usize) {
        if !builder.fits(PACK as usize) {
            finish(std::mem::take(&mut builder))?;
        }
        let (name, size, frames) = pack(session, first);
        builder.add(name, size, &frames)?;
        let path = Path::new(folder).join(Name::Pack(name).to_string());
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        File::create(path)?.set_len(u64::from(size))?;
    }
    finish(builder)?;
    indexes.sort_unstable();
    append(&repo, Body::Commit { session, snapshot: None, indexes, replaces: Vec::new() })
}

fn prune(folder: &str, chunks: u64) -> Outcome<()> {
    let repo = open(folder)?;
    let writer = repo.ring().writer.clone().ok_or("no writer")?.id();
    let mut marks = Marks::new(Path::new(folder));
    let number = marks.snapshot(SnapshotId([1; 32]), writer)?;
    (0..chunks).filter(|n| n % 8 != 0).try_for_each(|n| marks.add(number, &id(n)))?;
    let limits = Limits { unused: 1.0, ..Limits::default() };
    let pruned = of_marked(&repo, &marks.finish()?, &Options { grace_ms: 0, limits, dry_run: true }, &Watch::new())?;
    if pruned.chunks != chunks - chunks.div_ceil(8) || pruned.chunks_lost != 0 {
        return Err(format!("{pruned:?}").into());
    }
    Ok(())
}

fn check(folder: &str) -> Outcome<()> {
    let watch = Watch::new();
    let examined = open(folder)?.check(Reads::None, &watch)?;
    match watch.problems().first() {
        Some(problem) => Err(format!("{}: {}", problem.subject, problem.message).into()),
        None if examined.stats.packs == 0 => Err("no packs".into()),
        None => Ok(()),
    }
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["make", folder, chunks] => make(folder, chunks.parse::<u64>()?.next_multiple_of(PACK)),
        ["prune", folder, chunks] => prune(folder, chunks.parse::<u64>()?.next_multiple_of(PACK)),
        ["check", folder] => check(folder),
        _ => Err("usage: many_chunks make FOLDER CHUNKS | prune FOLDER CHUNKS | check FOLDER".into()),
    }
}
