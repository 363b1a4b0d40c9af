//! {delete, truncate, flip, swap} × every object: found and named by whoever opens or checks, and never wrong bytes.

use std::sync::Arc;

use onefold::run::ChunkSource;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::limits::CHECKPOINT_EVERY;

use crate::repo::{Roots, backup, chunks, init, open, restore};

type Plain = Vec<(repo_format::id::ChunkKind, Vec<u8>)>;

struct Small {
    store: Memory,
    roots: Roots,
    data: Plain,
}

/// A repository with `backups` snapshots, and what its last one holds.
fn build(backups: u64, each: usize) -> Small {
    let store: Arc<Memory> = Arc::new(Memory::new());
    let dynamic: Arc<dyn Store> = store.clone();
    let repo = init(&dynamic, None);
    for seed in 0..backups {
        backup(&repo, &chunks(seed, each));
    }
    let latest = repo.find_snapshot("latest").unwrap();
    let roots = repo.snapshot(&latest.id).unwrap().roots;
    Small { store: store.fork(), roots, data: chunks(backups - 1, each) }
}

/// What opening, checking and reading say of a store in which `name` is damaged: everything that was found, as text.
/// Bytes that are read are right. Whether the object was healed: written again as it was.
fn examine(small: &Small, damaged: Memory, name: &str) -> (String, bool) {
    let memory = Arc::new(damaged);
    let store: Arc<dyn Store> = memory.clone();
    let found = examined(small, &store);
    (found, memory.read(name).ok() == small.store.read(name).ok())
}

fn examined(small: &Small, store: &Arc<dyn Store>) -> String {
    let repo = match open(store, None) {
        Ok(repo) => repo,
        Err(e) => return e.to_string(),
    };
    let watch = Watch::new();
    repo.check(onefold::repo::check::Reads::All, &watch).unwrap();
    let mut found: String = watch.problems().iter().map(|p| format!("{}: {}\n", p.subject, p.message)).collect();
    match repo.reader() {
        Ok(reader) => {
            for ((kind, id), (_, plain)) in small.roots.iter().zip(&small.data) {
                match reader.get(*kind, id) {
                    Ok(bytes) => assert_eq!(&bytes, plain, "wrong bytes"),
                    Err(e) => found += &e.to_string(),
                }
            }
        }
        Err(e) => found += &e.to_string(),
    }
    found
}

#[test]
fn every_byte_flipped_is_found() {
    let small = build(1, 2);
    for name in small.store.names() {
        let bytes = small.store.read(&name).unwrap();
        for at in 0..bytes.len() {
            // The many zeros of padding: every 7th byte of a long object will do there.
            if bytes[at] == 0 && bytes.len() > 2000 && at % 7 != 0 {
                continue;
            }
            let damaged = small.store.fork();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            damaged.overwrite(&name, &flipped);
            let (found, healed) = examine(&small, damaged, &name);
            assert!(healed || found.contains(&name), "{name}, byte {at}: {found}");
        }
    }
}

#[test]
fn objects_deleted_truncated_or_swapped_are_found() {
    let small = build(3, 20);
    matrix(&small, |_| true);
}

#[test]
fn damaged_checkpoints_are_found_and_not_needed() {
    let small = build(CHECKPOINT_EVERY / 2, 1);
    assert!(small.store.names().iter().any(|n| n.starts_with("checkpoint/")));
    matrix(&small, |name| name.starts_with("checkpoint/"));
    for name in small.store.names().iter().filter(|n| n.starts_with("checkpoint/")) {
        let damaged = small.store.fork();
        damaged.overwrite(name, b"rubbish");
        let store: Arc<dyn Store> = Arc::new(damaged);
        restore(&open(&store, None).unwrap(), &small.data);
    }
}

fn matrix(small: &Small, which: impl Fn(&str) -> bool) {
    let names = small.store.names();
    for name in names.iter().filter(|n| which(n)) {
        let bytes = small.store.read(name).unwrap();
        let kind = name.split('/').next().unwrap();
        let mut versions: Vec<(&str, Option<Vec<u8>>)> = vec![
            ("deleted", None),
            ("emptied", Some(Vec::new())),
            ("halved", Some(bytes[..bytes.len() / 2].to_vec())),
            ("one byte short", Some(bytes[..bytes.len() - 1].to_vec())),
            ("one byte long", Some([&bytes[..], &[0]].concat())),
        ];
        let other = names.iter().find(|n| n.starts_with(&format!("{kind}/")) && *n != name);
        if let Some(other) = other {
            versions.push(("swapped", Some(small.store.read(other).unwrap())));
        }
        for (what, version) in versions {
            let damaged = small.store.fork();
            match version {
                Some(version) => damaged.overwrite(name, &version),
                None => damaged.delete(name).unwrap(),
            }
            let (found, healed) = examine(small, damaged, name);
            let named = found.contains(name.as_str()) || what == "deleted" && found.contains(kind);
            assert!(healed || named, "{name} {what}: {found}");
        }
    }
}
