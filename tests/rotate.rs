//! Epochs: who reads what after a rotation, whoever removes whom and puts what back into the store.

use std::sync::Arc;

use onefold::Kind;
use onefold::repo::keys::Removed;
use onefold::repo::{Repo, WriteOptions, twice};
use onefold::run::ChunkSource;
use onefold::store::Store;
use repo_format::credential::{Credential, NewLock, Sets, Unlock};
use repo_format::id::CredentialId;
use repo_format::keyfile::KeyFile;
use repo_format::names::Name;
use repo_format::recipient::Identity;
use repo_format::snapshot::Says;

use crate::repo::{backup, chunks, init, memory, open, problems, put_all, restore};

fn file(n: u8) -> KeyFile {
    KeyFile::from_bytes([n; 32])
}

fn add(repo: &Repo, sets: Sets, n: u8) -> CredentialId {
    repo.add_key(sets, NewLock::KeyFile(&file(n))).unwrap().credential
}

fn by_file(store: &Arc<dyn Store>, n: u8) -> Repo {
    Repo::open(store.clone(), Unlock::KeyFile(&file(n)), None).unwrap()
}

#[track_caller]
fn is_closed(repo: &Repo, n: usize) {
    let info = repo.snapshots()[n];
    let refused = repo.snapshot(&info.id).unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("key rotate"), "{refused}");
}

#[test]
fn who_is_removed_reads_nothing_of_what_is_written_after_a_rotation() {
    let store = memory();
    let repo = init(&store, None);
    let (before, after) = (chunks(1, 60), chunks(2, 60));
    backup(&repo, &before);
    let offline = Identity::from_bytes([50; 32]);
    repo.add_key(Sets::READ, NewLock::Recipient(offline.recipient())).unwrap();
    let thief = add(&repo, Sets::READ, 1);
    add(&repo, Sets::READ, 2);
    let machine = add(&repo, Sets::WRITE, 3);
    let object = store.read(&Name::Key(thief).to_string()).unwrap();
    // Opened before, and not opened again: it learns of the epoch from the log.
    let reader = by_file(&store, 2);

    assert_eq!(repo.remove_key(&thief.to_string()).unwrap(), Removed::Credential(thief));
    // The thief puts back its copy, and one of its own that holds all it held.
    twice::create(&*store, &Name::Key(thief), object.clone()).unwrap();
    let held = by_file(&store, 1);
    let made = Credential::seal(held.ring(), NewLock::KeyFile(&file(9)), [9; 32], &[9; 24]).unwrap();
    twice::create(&*store, &Name::Key(made.id), made.bytes.clone()).unwrap();
    // Before the rotation it reads on, as `key remove` says.
    restore(&held, &before);

    let dry = repo.rotate(true).unwrap();
    assert_eq!(repo.state().content().epoch, 1);
    let rotated = repo.rotate(false).unwrap();
    assert_eq!(
        (dry.epoch, dry.granted.clone(), dry.left_out.clone()),
        (2, rotated.granted.clone(), rotated.left_out.clone())
    );
    assert_eq!((rotated.granted.len(), rotated.open_sessions), (3, 0));
    assert!(!rotated.granted.contains(&machine), "it reads nothing");
    let mut false_ones = vec![thief, made.id];
    false_ones.sort();
    assert_eq!(rotated.left_out, false_ones);

    // Written by one that only writes, which needs no key anew.
    let writer = by_file(&store, 3);
    backup(&writer, &after);
    let reading = Repo::open(store.clone(), Unlock::Identities(&[offline]), None).unwrap();
    reader.refresh().unwrap();
    for one in [&open(&store, None).unwrap(), &reader, &by_file(&store, 2), &reading] {
        restore(one, &after);
        assert_eq!(problems(one, true), Vec::<String>::new());
        one.snapshot(&one.snapshots()[0].id).unwrap();
    }
    for n in [1, 9] {
        let thief = by_file(&store, n);
        is_closed(&thief, 1);
        thief.snapshot(&thief.snapshots()[0].id).unwrap();
        // Nor do the frames of the second night open, whatever snapshot it looks at.
        let reader = thief.reader().unwrap();
        let ids: Vec<_> =
            after.iter().map(|(kind, plain)| (*kind, thief.ring().repo.chunk_id.id(*kind, plain))).collect();
        assert!(ids.iter().all(|(kind, id)| reader.get(*kind, id).is_err()));
        // It gives away what it has, and no more.
        let added = thief.add_key(Sets::READ, NewLock::KeyFile(&file(n + 100))).unwrap();
        assert!(!added.listed);
        is_closed(&by_file(&store, n + 100), 1);
    }
    assert_eq!(repo.rotate(false).unwrap().left_out.len(), 4);
    // A credential made after two rotations reads everything.
    add(&repo, Sets::READ, 8);
    let late = by_file(&store, 8);
    restore(&late, &after);
    late.snapshot(&late.snapshots()[0].id).unwrap();
    backup(&writer, &before);
    late.refresh().unwrap();
    restore(&late, &before);
}

#[test]
fn only_who_reads_and_administers_begins_an_epoch() {
    let store = memory();
    let repo = init(&store, None);
    for (n, sets) in
        [(1, Sets::READ), (2, Sets::ADMIN), (3, Sets::WRITE.with(Sets::READ)), (4, Sets::ADMIN.with(Sets::READ))]
    {
        add(&repo, sets, n);
        let tried = by_file(&store, n).rotate(false);
        match sets.has(Sets::ADMIN.with(Sets::READ)) {
            true => assert_eq!(tried.unwrap().epoch, 2),
            false => assert_eq!(tried.unwrap_err().kind(), Kind::Denied),
        }
    }
}

#[test]
fn an_open_session_ends_under_the_key_that_it_began_with() {
    let store = memory();
    let repo = init(&store, None);
    let old = add(&repo, Sets::READ, 1);
    let copy = by_file(&store, 1);
    let data = chunks(3, 40);
    let session = repo.writer(WriteOptions::default()).unwrap();
    repo.remove_key(&old.to_string()).unwrap();
    assert_eq!(repo.rotate(false).unwrap().open_sessions, 1);
    let roots = put_all(&session, &data);
    session.commit(roots, Says { body: b"{}".to_vec(), ..Says::default() }).unwrap();
    // That is said; and so it is.
    copy.refresh().unwrap();
    restore(&copy, &data);
    backup(&repo, &chunks(4, 40));
    copy.refresh().unwrap();
    is_closed(&copy, 1);
}

#[test]
fn of_two_administrators_that_remove_one_another_one_stays() {
    let store = memory();
    let repo = init(&store, None);
    let first = repo.credential();
    let second = add(&repo, Sets::ALL, 1);
    let other = by_file(&store, 1);
    // Both have read the same log.
    assert_eq!(repo.remove_key(&second.to_string()).unwrap(), Removed::Credential(second));
    let refused = other.remove_key(&first.to_string()).unwrap_err();
    assert!(
        refused.kind() == Kind::Denied && refused.message().contains("another administrator removed it"),
        "{refused}"
    );
    for tried in [other.rotate(false).map(drop), other.add_key(Sets::READ, NewLock::KeyFile(&file(5))).map(drop)] {
        assert_eq!(tried.unwrap_err().kind(), Kind::Denied);
    }
    assert!(other.remove_key(&repo.writers()[0].id.to_string()).is_err());
    assert!(open(&store, None).is_ok(), "the object of the one that stayed is there");
    assert_eq!(open(&store, None).unwrap().state().credentials().len(), 1);
}

#[test]
fn a_listed_credential_whose_object_is_gone_is_seen_and_can_be_taken_off() {
    let store = memory();
    let repo = init(&store, None);
    let id = add(&repo, Sets::READ, 1);
    for name in [Name::Key(id).to_string(), Name::Key(id).copy()] {
        store.delete(&name).unwrap();
    }
    // A holder of a copy would be granted what comes.
    assert!(repo.rotate(true).unwrap().granted.contains(&id));
    let seen = repo.credentials().unwrap().into_iter().find(|one| one.id == id).unwrap();
    assert!(seen.listed && seen.says.unwrap_err().to_string().contains("its object is missing"));
    repo.remove_key(&id.to_string()).unwrap();
    assert!(!repo.rotate(false).unwrap().granted.contains(&id));
    assert_eq!(repo.credentials().unwrap().len(), 1);
}

#[test]
fn one_recipient_is_one_credential() {
    let store = memory();
    let repo = init(&store, None);
    let all = [Identity::from_bytes([60; 32]), Identity::from_bytes([61; 32])];
    repo.add_key(Sets::ALL, NewLock::Recipient(all[1].recipient())).unwrap();
    let again = repo.add_key(Sets::READ, NewLock::Recipient(all[1].recipient())).unwrap_err();
    assert!(again.kind() == Kind::AlreadyExists && again.message().contains("recipient"), "{again}");
    // Of several secrets in a file the one that fits serves.
    let opened = Repo::open(store.clone(), Unlock::Identities(&all), None).unwrap();
    backup(&opened, &chunks(1, 20));
    restore(&opened, &chunks(1, 20));
    let wrong = Repo::open(store.clone(), Unlock::Identities(&all[..1]), None).err().unwrap();
    assert!(wrong.kind() == Kind::Denied && wrong.message().contains("wrong identity"), "{wrong}");
    // A repository can be made with one, too.
    let made = memory();
    let repo = Repo::init(made.clone(), Unlock::Identities(&all), None, crate::repo::small()).unwrap();
    repo.rotate(false).unwrap();
    backup(&repo, &chunks(1, 20));
    restore(&Repo::open(made, Unlock::Identities(&all), None).unwrap(), &chunks(1, 20));
}
