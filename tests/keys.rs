//! Keys: what is listed, added and removed, and what whoever steals a credential can do with it and the store
//! (`docs/keys.md`, sentence by sentence).

use std::sync::Arc;

use onefold::Kind;
use onefold::repo::keys::{Added, Removed};
use onefold::repo::{Repo, WriteOptions};
use onefold::store::Store;
use onefold::watch::Watch;
use repo_format::credential::{KeyRing, NewLock, Sets, Unlock};
use repo_format::frame::{FrameHeader, Opener};
use repo_format::key::{ContentKey, ContentSecret};
use repo_format::keyfile::KeyFile;
use repo_format::log::{Body, LostFrames, Roles};
use repo_format::names::{Name, PackName};
use repo_format::pack::open_pack;
use repo_format::snapshot::Snapshot;

use crate::repo::{backup, chunks, init, memory, restore};

/// Adds a credential that a key file of `n` opens, and opens the repository with it.
fn with(repo: &Repo, store: &Arc<dyn Store>, sets: Sets, n: u8) -> (Added, Repo) {
    let file = KeyFile::from_bytes([n; 32]);
    let added = repo.add_key(sets, NewLock::KeyFile(&file)).unwrap();
    assert_eq!(added.writer.is_some(), sets.has(Sets::WRITE));
    (added, opened(store, n).unwrap())
}

fn opened(store: &Arc<dyn Store>, n: u8) -> onefold::Result<Repo> {
    Repo::open(store.clone(), Unlock::KeyFile(&KeyFile::from_bytes([n; 32])), None)
}

#[track_caller]
fn denied<T>(done: onefold::Result<T>, role: &str) {
    let e = done.err().expect("must be denied");
    assert_eq!(e.kind(), Kind::Denied, "{e}");
    assert!(e.message().contains(&format!("the work needs {role}")), "{e}");
}

fn packs(store: &dyn Store) -> Vec<PackName> {
    let mut packs = Vec::new();
    store
        .list("pack", &mut |name, _| {
            packs.extend(match Name::parse(name) {
                Ok(Name::Pack(pack)) => Some(pack),
                _ => None,
            });
            Ok(())
        })
        .unwrap();
    packs
}

/// Every secret of 32 bytes in a ring.
fn secrets(ring: &KeyRing) -> Vec<[u8; 32]> {
    let repo = &ring.repo;
    let mut all = vec![*repo.chunk_id.expose(), *repo.cut.expose(), *repo.fingerprint.expose(), *repo.index.expose()];
    all.extend(ring.writer.iter().chain(&ring.admin_key).map(|key| *key.expose()));
    all.extend(ring.read.iter().map(|key| *key.expose()));
    all
}

/// Frames and snapshots that any secret of `ring` opens, as a content key or as what unwraps one; and how many there are.
fn opens(ring: &KeyRing, store: &dyn Store, repo: &Repo) -> (usize, usize) {
    let secrets = secrets(ring);
    let (mut open, mut all) = (0, 0);
    let mut opener = Opener::new().unwrap();
    for pack in packs(store) {
        let bytes = store.read(&pack.to_string()).unwrap();
        for frame in open_pack(&pack, &bytes, &ring.repo.index).unwrap() {
            let frame = &bytes[frame.offset as usize..][..frame.length as usize];
            let header = FrameHeader::parse(frame).unwrap();
            let unwrapped = |s: &[u8; 32]| {
                header.wrapped.unwrap(&[ContentSecret::from_bytes(1, *s)], &ring.repo_id, &header.session).ok()
            };
            let keys = secrets.iter().filter_map(unwrapped).chain(secrets.iter().map(|s| ContentKey::from_bytes(*s)));
            let keys: Vec<ContentKey> = keys.collect();
            all += 1;
            open += usize::from(keys.iter().any(|key| opener.open(key, &ring.repo.chunk_id, frame).is_ok()));
        }
    }
    for info in repo.snapshots() {
        let bytes = store.read(&Name::Snapshot(info.id).to_string()).unwrap();
        let (session, wrapped) = Snapshot::sealed_by(&info.id, &bytes).unwrap();
        let unwrapped =
            |s: &[u8; 32]| wrapped.unwrap(&[ContentSecret::from_bytes(1, *s)], &ring.repo_id, &session).ok();
        let keys = secrets.iter().filter_map(unwrapped).chain(secrets.iter().map(|s| ContentKey::from_bytes(*s)));
        let keys: Vec<ContentKey> = keys.collect();
        all += 1;
        open += usize::from(keys.iter().any(|key| Snapshot::open(&info.id, &bytes, &ring.repo_id, key).is_ok()));
    }
    (open, all)
}

#[test]
fn what_a_stolen_write_credential_holds_opens_nothing() {
    let store = memory();
    let repo = init(&store, None);
    let (theirs, own) = (chunks(1, 120), chunks(2, 120));
    backup(&repo, &theirs);
    let (_, machine) = with(&repo, &store, Sets::WRITE, 1);
    backup(&machine, &own);
    backup(&machine, &own);
    drop(machine);

    // The thief has the key file and the store, and so the ring.
    let thief = opened(&store, 1).unwrap();
    let ring = thief.ring();
    assert_eq!(ring.sets(), Sets::WRITE);
    let (open, all) = opens(ring, &*store, &thief);
    assert!(open == 0 && all > 10, "{open} of {all}");
    repo.refresh().unwrap();
    // The same attempt with the key that reads opens all: the test can fail.
    assert_eq!(opens(repo.ring(), &*store, &repo).0, all);

    denied(thief.reader(), "read");
    for info in thief.snapshots() {
        denied(thief.snapshot(&info.id), "read");
    }
    denied(
        onefold::check::check(
            &thief,
            onefold::engine::ALL,
            onefold::check::Options { reads: onefold::repo::check::Reads::All, declare_lost: false },
            &Watch::new(),
        ),
        "read",
    );
    // Nor does it take away, let others in or itself read, or speak for others.
    for body in [
        Body::Forget { snapshots: vec![thief.snapshots()[0].id] },
        Body::Writers {
            writers: vec![(ring.writer.as_ref().unwrap().id(), Roles::WRITE_VOUCH)],
            credentials: Vec::new(),
        },
    ] {
        denied(thief.administer(&mut |_| Ok(body.clone())), "admin");
    }
    for (sets, role) in [(Sets::WRITE, "admin"), (Sets::READ, "read"), (Sets::ADMIN, "admin")] {
        denied(thief.add_key(sets, NewLock::KeyFile(&KeyFile::from_bytes([9; 32]))), role);
    }
    denied(thief.remove_key(&repo.credentials().unwrap()[0].id.to_string()), "admin");

    // It does hold the names of chunks, and so tests a guess.
    let (kind, guess) = &theirs[3];
    let id = ring.repo.chunk_id.id(*kind, guess);
    let listed = |pack: PackName| open_pack(&pack, &store.read(&pack.to_string()).unwrap(), &ring.repo.index).unwrap();
    let stored = packs(&*store).into_iter().flat_map(listed).any(|frame| frame.chunks.iter().any(|c| c.id == id));
    assert!(stored);

    // Until its writer is removed: then nothing more of it counts, and what it wrote stays.
    let writer = ring.writer.as_ref().unwrap().id();
    let open = thief.writer(WriteOptions::default()).unwrap();
    assert_eq!(repo.remove_key(&writer.to_string()).unwrap(), Removed::Writer(writer));
    assert!(open.commit(Vec::new(), Default::default()).is_err(), "a session that was open");
    let refused = thief.writer(WriteOptions::default()).err().unwrap();
    assert!(refused.kind() == Kind::Denied && refused.message().contains("not a listed writer"), "{refused}");
    assert_eq!(repo.snapshots().len(), 3);
    restore(&repo, &own);
}

#[test]
fn one_relies_on_ones_own_chunks_and_on_vouched_ones() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 100);
    backup(&repo, &data);
    let (_, first) = with(&repo, &store, Sets::WRITE, 1);
    let (_, second) = with(&repo, &store, Sets::WRITE, 2);
    let (_, both) = with(&repo, &store, Sets::WRITE.with(Sets::READ), 3);
    // Of a holder of read.
    assert_eq!(backup(&first, &data).chunks_new, 0);
    let more = chunks(2, 100);
    assert_eq!(backup(&first, &more).chunks_new, 100);
    // Its own, in another process.
    assert_eq!(backup(&opened(&store, 1).unwrap(), &more).chunks_new, 0);
    // Not of another that only writes: a thief's word that chunks are stored costs nobody a chunk.
    second.refresh().unwrap();
    both.refresh().unwrap();
    denied(both.administer(&mut |_| Ok(Body::Writers { writers: Vec::new(), credentials: Vec::new() })), "admin");
    assert_eq!(backup(&second, &more).chunks_new, 100);
    assert_eq!(backup(&both, &more).chunks_new, 100);
    // What read and write committed counts for all.
    assert_eq!(backup(&opened(&store, 2).unwrap(), &more).chunks_new, 0);
    let others: Vec<_> =
        packs(&*store).into_iter().filter(|p| !p.session.is_of(&first.ring().writer.as_ref().unwrap().id())).collect();
    assert!(!others.is_empty());
    let lost = Body::Lost { lost: vec![LostFrames { pack: others[0], frames: Vec::new() }] };
    let own = first.ring().writer.as_ref().unwrap();
    let entry = repo_format::log::Entry {
        n: repo.refresh().unwrap().n() + 1,
        previous: repo.state().head(),
        writer: own.id(),
        time_ms: 0,
        body: lost,
    };
    let (hash, _) = entry.encode(&repo.ring().repo_id, own).unwrap();
    let verdict = repo_format::log_state::State::clone(&repo.state()).apply(hash, &entry).unwrap();
    assert_eq!(verdict, repo_format::log_rules::Outcome::Void("pack of another writer"));
    restore(&repo, &more);
}

#[test]
fn read_and_admin_do_what_they_say_and_no_more() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 50);
    backup(&repo, &data);
    let (_, read) = with(&repo, &store, Sets::READ, 1);
    restore(&read, &data);
    denied(read.writer(WriteOptions::default()), "write");
    denied(read.administer(&mut |_| Ok(Body::Writers { writers: Vec::new(), credentials: Vec::new() })), "admin");
    let file = KeyFile::from_bytes([5; 32]);
    denied(read.add_key(Sets::WRITE, NewLock::KeyFile(&file)), "admin");
    // Also what is written later.
    let later = chunks(7, 50);
    backup(&repo, &later);
    read.refresh().unwrap();
    restore(&read, &later);
    // Whoever reads can let others read.
    with(&read, &store, Sets::READ, 6);

    let (_, admin) = with(&repo, &store, Sets::ADMIN, 2);
    denied(admin.reader(), "read");
    denied(admin.writer(WriteOptions::default()), "write");
    denied(admin.add_key(Sets::READ, NewLock::KeyFile(&file)), "read");
    assert_eq!(opens(admin.ring(), &*store, &admin).0, 0);
    // It lists writers, itself too, and takes snapshots off the list.
    let (_, machine) = with(&admin, &store, Sets::WRITE, 3);
    backup(&machine, &data);
    let newest = admin.refresh().unwrap().snapshots().iter().max_by_key(|(_, c)| c.n).map(|(id, _)| *id).unwrap();
    admin.administer(&mut |_| Ok(Body::Forget { snapshots: vec![newest] })).unwrap();
    repo.refresh().unwrap();
    assert_eq!(repo.snapshots().len(), 2);
    restore(&repo, &later);
    let of_machine =
        admin.credentials().unwrap().into_iter().find(|c| c.says.as_ref().unwrap().0 == Sets::WRITE).unwrap();
    admin.remove_key(&of_machine.id.to_string()).unwrap();
    assert!(opened(&store, 3).is_err());
}

#[test]
fn what_is_removed_is_gone_and_the_last_way_in_stays() {
    let store = memory();
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 20));
    let ids = |repo: &Repo| repo.credentials().unwrap().into_iter().map(|c| c.id).collect::<Vec<_>>();
    let first = ids(&repo)[0];
    for id in [first.to_string(), repo.writers()[0].id.to_string()] {
        let refused = repo.remove_key(&id).unwrap_err();
        assert!(refused.kind() == Kind::Denied && refused.message().contains("last way in"), "{refused}");
    }
    for (name, word) in [("", "no credential"), ("zz", "no credential")] {
        let refused = repo.remove_key(name).unwrap_err();
        assert!(refused.kind() == Kind::NotFound && refused.message().contains(word), "{refused}");
    }
    let again = repo.add_key(Sets::READ, NewLock::KeyFile(&crate::repo::key_file()));
    assert_eq!(again.unwrap_err().kind(), Kind::AlreadyExists, "one key file, two credentials");
    // Who may not read does not take the last one away that does.
    let (_, admin) = with(&repo, &store, Sets::ADMIN, 1);
    denied(admin.remove_key(&first.to_string()), "read");

    let (added, _) = with(&repo, &store, Sets::READ, 2);
    let object = store.read(&Name::Key(added.credential).to_string()).unwrap();
    let copy = opened(&store, 2).unwrap();
    assert_eq!(repo.remove_key(&added.credential.to_string()).unwrap(), Removed::Credential(added.credential));
    assert!(!ids(&repo).contains(&added.credential));
    assert_eq!(opened(&store, 2).err().unwrap().kind(), Kind::Denied);
    // It revokes nothing: keys that are held stay good, and so does a copy of the object.
    restore(&copy, &chunks(1, 20));
    store.create(&Name::Key(added.credential).to_string(), object.clone().into()).unwrap();
    restore(&opened(&store, 2).unwrap(), &chunks(1, 20));

    // One that took its place removes the first, and its writer.
    let (_, next) = with(&repo, &store, Sets::ALL, 4);
    next.remove_key(&first.to_string()).unwrap();
    next.remove_key(&repo.writers().iter().find(|w| w.own).unwrap().id.to_string()).unwrap();
    assert!(crate::repo::open(&store, None).is_err());
    assert_eq!(backup(&next, &chunks(1, 20)).chunks_new, 0);
    restore(&next, &chunks(1, 20));
}
