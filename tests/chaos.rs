//! A store that lies, forgets, breaks and refuses, by a seed: what was committed is given back, and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkKind, ChunkSink, ChunkSource};
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty, Operation};
use onefold::store::memory::Memory;
use onefold::{Kind, Result};
use repo_format::snapshot::Says;

use crate::repo::{chunks, init, open, problems};

/// Runs in CI; `ONEFOLD_CHAOS` asks for others: so many, or one by `=SEED`.
const RUNS: u64 = 300;
/// Backups of a run, each of which must succeed within so many attempts.
const BACKUPS: u64 = 3;
const ATTEMPTS: usize = 12;

/// Faults of all runs.
static FAULTS: AtomicU64 = AtomicU64::new(0);

type Data = Vec<(ChunkKind, Vec<u8>)>;

/// What goes wrong with one request in twenty, and with a few in a row now and then.
fn script(seed: u64) -> impl FnMut(Operation, &str) -> Option<Fault> + Send + 'static {
    let (mut drawn, mut burst) = (seed, 0);
    move |operation, _| {
        // SplitMix64.
        drawn = drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = drawn;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let at = (z >> 32) as usize % 100_000;
        let reads = matches!(operation, Operation::Read | Operation::ReadRange);
        if z.is_multiple_of(200) {
            burst = 4;
        }
        burst = u64::saturating_sub(burst, 1);
        let fault = match (z % 1000, operation) {
            _ if burst > 0 => Some(Fault::Error(Kind::Io)),
            (0..50, _) => Some(Fault::Error(Kind::Io)),
            (50..70, Operation::Create | Operation::Delete) => Some(Fault::LostReply),
            (50..60, _) if reads => Some(Fault::Short(1 + at % 300)),
            (60..70, _) if reads => Some(Fault::Repeat(1 + at)),
            (70..80, _) if reads => Some(Fault::Flip(at)),
            (50..300, Operation::List) => Some(Fault::Stale(1 + at % 8)),
            _ => None,
        };
        FAULTS.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        fault
    }
}

/// Chunks of a backup: half of the last one's, and some of its own.
fn data(seed: u64, n: u64) -> Data {
    let own = |n| chunks(seed * 10 + n, 24);
    if n == 0 { own(0) } else { [&own(n - 1)[..12], &own(n)[..]].concat() }
}

fn backup(store: &Arc<dyn Store>, cache: Option<&std::path::Path>, data: &Data) -> Result<String> {
    let repo = open(store, cache)?;
    let writer = repo.writer(WriteOptions { index_packs: 1, ..WriteOptions::default() })?;
    let put = |(kind, plain): &(ChunkKind, Vec<u8>)| Ok((*kind, writer.put(*kind, plain)?));
    let roots = data.iter().map(put).collect::<Result<Vec<_>>>()?;
    writer.commit(roots, Says { body: b"{}".to_vec(), ..Says::default() }).map(|(info, _)| info.id.to_string())
}

/// Reads a snapshot. An error is an answer; other bytes never are.
fn restore(repo: &Repo, id: &str, data: &Data) -> Result<()> {
    let snapshot = repo.snapshot(&repo.find_snapshot(id)?.id)?;
    let reader = repo.reader()?;
    reader.prefetch(&snapshot.roots.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    assert_eq!(snapshot.roots.len(), data.len());
    for ((kind, id), (_, plain)) in snapshot.roots.iter().zip(data) {
        assert!(reader.get(*kind, id)? == *plain, "other bytes than were backed up");
    }
    Ok(())
}

/// Until it succeeds, and how often it did not.
fn insist<T>(what: &str, seed: u64, mut attempt: impl FnMut() -> Result<T>) -> (T, u64) {
    let mut last = None;
    for failed in 0..ATTEMPTS {
        match attempt() {
            Ok(done) => return (done, failed as u64),
            Err(e) => last = Some(e),
        }
    }
    panic!("seed {seed}: {what}: {}", last.unwrap());
}

/// One run; how many attempts failed.
fn run(seed: u64) -> u64 {
    let inner: Arc<dyn Store> = Arc::new(Memory::new());
    init(&inner, None);
    let chaos: Arc<dyn Store> = Arc::new(Faulty::new(inner.clone(), script(seed)));
    let cache = seed.is_multiple_of(2).then(|| tempfile::tempdir().unwrap());
    let cache = cache.as_ref().map(|dir| dir.path());
    let mut made: BTreeMap<String, Data> = BTreeMap::new();
    let mut failed = 0;
    for n in 0..BACKUPS {
        let data = data(seed, n);
        let (id, more) = insist("backup", seed, || backup(&chaos, cache, &data));
        failed += more;
        made.insert(id, data);
        for (id, data) in &made {
            failed += insist("restore", seed, || restore(&open(&chaos, cache)?, id, data)).1;
        }
    }
    let repo = open(&inner, None).unwrap();
    assert!(repo.snapshots().len() >= made.len(), "seed {seed}");
    made.iter().for_each(|(id, data)| restore(&repo, id, data).unwrap_or_else(|e| panic!("seed {seed}: lost: {e}")));
    let damage: Vec<String> = problems(&repo, true).into_iter().filter(|p| !p.contains("second copy")).collect();
    assert!(damage.is_empty(), "seed {seed}: {damage:?}");
    failed
}

#[test]
fn nothing_is_lost_and_nothing_invented() {
    let asked = std::env::var("ONEFOLD_CHAOS").unwrap_or_else(|_| RUNS.to_string());
    let seeds = match asked.strip_prefix('=') {
        Some(seed) => seed.parse().map(|seed: u64| seed..seed + 1).unwrap(),
        None => 0..asked.parse().unwrap(),
    };
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    // A run waits most of the time, for pauses between attempts.
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    failed.fetch_add(run(seed), Ordering::Relaxed);
                }
            });
        }
    });
    let (runs, failed, faults) = (seeds.end - seeds.start, failed.into_inner(), FAULTS.load(Ordering::Relaxed));
    // As many faults as were meant, and most of them behind retries.
    assert!(faults > 20 * runs && failed < 2 * runs, "{runs} runs: {faults} faults, {failed} attempts failed");
}
