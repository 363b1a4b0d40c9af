//! A check that reads a share goes on where the last one ended, and finds in as many turns as there are shares what is damaged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use onefold::check::{Options, check};
use onefold::repo::check::{Examined, Reads, Share};
use onefold::repo::verified::Verification;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::names::{Name, PackName};

use crate::repo::{backup, chunks, init, open};

/// A repository of some thirty packs, and these.
fn thirty() -> (Arc<Memory>, Vec<(PackName, u64)>) {
    let memory = Arc::new(Memory::new());
    let store: Arc<dyn Store> = memory.clone();
    let repo = init(&store, None);
    for seed in 0..8 {
        backup(&repo, &chunks(seed, 60));
    }
    let mut packs = Vec::new();
    for name in memory.names() {
        if let Ok(Name::Pack(pack)) = Name::parse(&name) {
            packs.push((pack, memory.read(&name).unwrap().len() as u64));
        }
    }
    assert!(packs.len() >= 20, "{}", packs.len());
    (memory, packs)
}

fn examined(store: &Arc<dyn Store>, cache: Option<&Path>, share: Share) -> (Examined, Vec<String>) {
    let watch = Watch::new();
    let examined = open(store, cache).unwrap().check(Reads::Share(share), &watch).unwrap();
    (examined, watch.problems().into_iter().map(|p| p.subject).collect())
}

fn flip(memory: &Memory, pack: &PackName) {
    let mut bytes = memory.read(&pack.to_string()).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 16;
    memory.overwrite(&pack.to_string(), &bytes);
}

#[test]
fn turn_by_turn_everything_is_read() {
    let (memory, packs) = thirty();
    let store: Arc<dyn Store> = memory.clone();
    let dir = tempfile::tempdir().unwrap();
    let cache = Some(dir.path());
    let all: u64 = packs.iter().map(|(_, size)| size).sum();
    let known = || open(&store, cache).unwrap().verification(packs.iter().copied());
    assert_eq!(known(), Verification { packs_never: packs.len() as u64, bytes_never: all, oldest_ms: None });
    let (mut read, mut turns) = (0, 0);
    while known().packs_never > 0 {
        let (examined, problems) = examined(&store, cache, Share::Part(0.1));
        assert_eq!((examined.named.len(), problems), (packs.len(), vec![]));
        let largest = packs.iter().map(|(_, size)| *size).max().unwrap();
        assert!((all / 10..=all / 10 + 1 + largest).contains(&examined.stats.bytes_read), "{:?}", examined.stats);
        turns += 1;
        read += examined.stats.bytes_read;
        assert!(turns <= 10, "{turns} turns of a tenth");
    }
    assert!(read >= all && read < all + all / 5, "{read} of {all}");
    let oldest = known().oldest_ms.unwrap();
    // What was read first is the next, and then no longer the oldest.
    std::thread::sleep(std::time::Duration::from_millis(5));
    examined(&store, cache, Share::Part(0.1));
    assert!(known().oldest_ms.unwrap() > oldest || turns == 1);
    // A copy of the repository elsewhere holds other bytes: nothing is known of it.
    let elsewhere: Arc<dyn Store> = Arc::new(memory.fork());
    if elsewhere.place() != store.place() {
        assert_eq!(open(&elsewhere, cache).unwrap().verification(packs.iter().copied()).bytes_never, all);
    }
}

/// Whichever pack is damaged: its turn comes, it is named, and it does not count as verified.
#[test]
fn what_is_damaged_is_found_within_its_turns() {
    let (whole, packs) = thirty();
    for (at, (pack, size)) in packs.iter().enumerate().step_by(5) {
        let memory = Arc::new(whole.fork());
        flip(&memory, pack);
        let store: Arc<dyn Store> = memory.clone();
        let dir = tempfile::tempdir().unwrap();
        let bytes = Share::Bytes(packs.iter().map(|(_, size)| size).sum::<u64>() / 4);
        let found = (0..5).find(|_| {
            examined(&store, Some(dir.path()), bytes).1.iter().any(|subject| subject.contains(&pack.to_string()))
        });
        assert!(found.is_some(), "{at}: {pack}");
        // Every later check names it, whichever share it reads: it was seen.
        let (seen, problems) = examined(&store, Some(dir.path()), Share::Nth(1, 1000));
        assert_eq!((seen.wrong, problems), (BTreeSet::from([*pack]), vec![pack.to_string()]));
        for _ in 0..5 {
            examined(&store, Some(dir.path()), bytes);
        }
        let known = open(&store, Some(dir.path())).unwrap().verification(packs.iter().copied());
        assert_eq!((known.packs_never, known.bytes_never), (1, *size), "{at}");
        // Without a cache the shares are told apart by number.
        let by_number = (1..=6).filter(|n| examined(&store, None, Share::Nth(*n, 6)).1.contains(&pack.to_string()));
        assert_eq!(by_number.count(), 1);
    }
}

/// The whole check takes shares, too, and a share reads no more than its packs.
#[test]
fn a_share_of_the_whole_check() {
    let (memory, packs) = thirty();
    let store: Arc<dyn Store> = memory.clone();
    let options = |n| Options { reads: Reads::Share(Share::Nth(n, 3)), declare_lost: false };
    let mut read = 0;
    for n in 1..=3 {
        let watch = Watch::new();
        let objects = check(&open(&store, None).unwrap(), onefold::engine::ALL, options(n), &watch);
        // These snapshots hold no documents, so their trees cannot be walked; their packs are read all the same.
        read += objects.unwrap().objects.packs_read;
    }
    assert_eq!(read, packs.len() as u64);
}
