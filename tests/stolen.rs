//! What whoever steals a credential can do: everything that a *write* key could sign or put into the store, tried; and that each
//! sentence of the table in `docs/keys.md` has its test.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use onefold::Kind;
use onefold::repo::{Repo, WriteOptions};
use onefold::store::{Store, create_or_same};
use repo_format::credential::{Credential, Lock, NewLock, PasswordCost, Sets, Unlock};
use repo_format::id::{CredentialId, SessionId};
use repo_format::key::{ContentPublic, ContentSecret, SignKey};
use repo_format::keyfile::KeyFile;
use repo_format::log::{Body, Entry, Listed, LostFrames, Roles};
use repo_format::log_rules::Outcome;
use repo_format::log_state::State;
use repo_format::names::{Name, PackName};
use repo_format::pack::open_pack;

use crate::repo::{backup, chunks, init, memory, open, problems, restore};

fn by_file(store: &Arc<dyn Store>, n: u8) -> Repo {
    Repo::open(store.clone(), Unlock::KeyFile(&KeyFile::from_bytes([n; 32])), None).unwrap()
}

fn add(repo: &Repo, store: &Arc<dyn Store>, sets: Sets, n: u8) -> Repo {
    repo.add_key(sets, NewLock::KeyFile(&KeyFile::from_bytes([n; 32]))).unwrap();
    by_file(store, n)
}

/// Signs an entry and puts it into the store under the log's next number, whatever the rules say of it.
fn force(repo: &Repo, key: &SignKey, body: Body) -> (Outcome, State) {
    let mut state = State::clone(&repo.refresh().unwrap());
    let entry = Entry { n: state.n() + 1, previous: state.head(), writer: key.id(), time_ms: 0, body };
    let (hash, bytes) = entry.encode(&repo.ring().repo_id, key).unwrap();
    let name = Name::Log(entry.n);
    repo.store().create(&name.to_string(), bytes.clone().into()).unwrap();
    repo.store().create(&name.copy(), bytes.clone().into()).unwrap();
    let outcome = state.apply(hash, &entry).unwrap();
    assert_eq!(*repo.refresh().unwrap(), state);
    (outcome, state)
}

/// An entry's body, given its number.
type Made<'a> = Box<dyn Fn(u64) -> Body + 'a>;

/// What the log's state says but for its number, head and time.
fn says(state: &State) -> String {
    let parts = (
        (state.writers(), state.snapshots(), state.open_sessions(), state.held()),
        (state.indexes(), state.condemned(), state.lost(), state.content(), state.credentials()),
    );
    format!("{parts:?}")
}

fn packs_of(store: &dyn Store, writer: &SignKey) -> Vec<PackName> {
    let mut packs = Vec::new();
    let mut visit = |name: &str, _| {
        packs.extend(match Name::parse(name) {
            Ok(Name::Pack(pack)) if pack.session.is_of(&writer.id()) => Some(pack),
            _ => None,
        });
        Ok(())
    };
    store.list("pack", &mut visit).unwrap();
    packs.sort();
    packs
}

#[test]
fn no_entry_that_a_stolen_write_key_signs_takes_from_others() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 60);
    backup(&repo, &data);
    let victim = add(&repo, &store, Sets::WRITE, 2);
    let theirs = chunks(2, 60);
    backup(&victim, &theirs);
    let thief = add(&repo, &store, Sets::WRITE, 1);
    let key = thief.ring().writer.clone().unwrap();
    let session = victim.writer(WriteOptions::default()).unwrap();
    let open_session = victim.state().open_sessions().keys().next().copied().unwrap();
    thief.refresh().unwrap();
    let state = thief.state();
    let own = victim.ring().writer.clone().unwrap();
    let (packs, first) = (packs_of(&*store, &own), packs_of(&*store, repo.ring().writer.as_ref().unwrap()));
    let (snapshots, indexes): (Vec<_>, Vec<_>) = (
        state.snapshots().keys().copied().collect(),
        state.indexes().iter().filter(|(_, i)| i.writer != key.id()).map(|(name, _)| *name).collect(),
    );
    assert!(!packs.is_empty() && !first.is_empty() && indexes.len() > 1 && snapshots.len() == 2);
    let lost = |pack: &PackName| vec![LostFrames { pack: *pack, frames: Vec::new() }];
    let credential = state.credentials().keys().next().copied().unwrap();
    let listed =
        Listed { sets: Sets::ALL, public: thief.credentials().unwrap()[0].recipient.unwrap_or(listed_public(&thief)) };
    let wrapped = |session: &SessionId| {
        let content = repo_format::key::ContentKey::from_bytes([1; 32]);
        repo_format::key::WrappedKey::wrap(&state.content(), &thief.ring().repo_id, session, &content, [2; 32]).unwrap()
    };
    let before = says(&state);
    let adopting = |n: u64| SessionId::new(n, &key.id());
    let tries: Vec<(&str, Made<'_>)> = vec![
        ("forget", Box::new(|_| Body::Forget { snapshots: snapshots.clone() })),
        ("condemn", Box::new(|n| Body::Condemn { computed: n - 1, packs: first.clone() })),
        ("fence", Box::new(|_| Body::Fence { session: open_session })),
        ("lost", Box::new(|_| Body::Lost { lost: lost(&packs[0]) })),
        ("lost of who reads", Box::new(|_| Body::Lost { lost: lost(&first[0]) })),
        ("found", Box::new(|_| Body::Found { packs: vec![packs[0]] })),
        ("vouch", Box::new(|_| Body::Vouch { indexes: indexes.clone(), snapshots: snapshots.clone() })),
        (
            "writers",
            Box::new(|_| Body::Writers { writers: vec![(key.id(), Roles::WRITE_VOUCH)], credentials: Vec::new() }),
        ),
        (
            "writers removed",
            Box::new(|_| Body::Writers { writers: vec![(own.id(), Roles::NONE)], credentials: Vec::new() }),
        ),
        (
            "credentials",
            Box::new(|_| Body::Writers { writers: Vec::new(), credentials: vec![(CredentialId([3; 32]), listed)] }),
        ),
        (
            "credentials removed",
            Box::new(|_| Body::Writers { writers: Vec::new(), credentials: vec![(credential, Listed::GONE)] }),
        ),
        ("retire", Box::new(|_| Body::Retire { packs: packs.clone() })),
        ("remark", Box::new(|_| Body::Remark { remarks: vec![(snapshots[0], repo_format::remark::Sealed::NONE)] })),
        (
            "epoch",
            Box::new(|_| {
                let content = ContentSecret::from_bytes(2, [4; 32]).public();
                Body::Epoch { content, grants: Vec::new() }
            }),
        ),
        (
            "commit of another's session",
            Box::new(|_| Body::Commit {
                session: open_session,
                snapshot: Some(repo_format::id::SnapshotId([9; 32])),
                indexes: Vec::new(),
                replaces: Vec::new(),
            }),
        ),
        (
            "adoption of another's session",
            Box::new(|n| Body::Open {
                session: adopting(n),
                key: wrapped(&adopting(n)),
                adopts: Some(open_session),
                bases: vec![],
            }),
        ),
        (
            "open under another's name",
            Box::new(|n| {
                let session = SessionId::new(n, &own.id());
                Body::Open { session, key: wrapped(&session), adopts: None, bases: vec![] }
            }),
        ),
    ];
    for (what, body) in &tries {
        let (outcome, after) = force(&thief, &key, body(thief.state().n() + 1));
        assert!(matches!(outcome, Outcome::Void(_)), "{what}: {outcome:?}");
        assert_eq!(says(&after), before, "{what}");
    }
    // A session of its own that replaces what others named.
    let own_session = thief.writer(WriteOptions::default()).unwrap();
    let session_id = own_session.session();
    let replaces = Body::Commit { session: session_id, snapshot: None, indexes: Vec::new(), replaces: indexes.clone() };
    assert!(matches!(force(&thief, &key, replaces).0, Outcome::Void(_)));
    drop(own_session);
    // The others go on: the session that was open commits, all is there.
    let roots = crate::repo::put_all(&session, &theirs);
    session.commit(roots, repo_format::snapshot::Says { body: b"{}".to_vec(), ..Default::default() }).unwrap();
    repo.refresh().unwrap();
    restore(&repo, &theirs);
    backup(&repo, &data);
    restore(&open(&store, None).unwrap(), &data);
    assert_eq!(problems(&repo, true), Vec::<String>::new());
}

fn listed_public(repo: &Repo) -> repo_format::recipient::Recipient {
    repo.state().credentials().values().next().unwrap().public
}

#[test]
fn no_object_that_a_stolen_write_key_puts_into_the_store_is_believed() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 60);
    backup(&repo, &data);
    let thief = add(&repo, &store, Sets::WRITE, 1);
    let key = thief.ring().writer.clone().unwrap();
    // No object gives way to another.
    for name in [Name::Config.to_string(), Name::Log(1).to_string(), Name::Snapshot(repo.snapshots()[0].id).to_string()]
    {
        assert_eq!(store.create(&name, "false".into()).unwrap_err().kind(), Kind::AlreadyExists);
    }
    // A state of the log as it would have it, far ahead.
    let elsewhere = init(&memory(), None);
    for n in 0..30 {
        backup(&elsewhere, &chunks(n, 1));
    }
    assert!(elsewhere.state().n() > repo.refresh().unwrap().n());
    let (name, bytes) = elsewhere.state().to_checkpoint(&repo.ring().repo_id, &key).unwrap();
    create_or_same(&*store, &name.to_string(), bytes.clone()).unwrap();
    create_or_same(&*store, &name.copy(), bytes.clone()).unwrap();
    // A credential of all that it holds, said to hold more than it does.
    let made =
        Credential::seal(thief.ring(), NewLock::KeyFile(&KeyFile::from_bytes([8; 32])), [1; 32], &[2; 24]).unwrap();
    let mut more = made.bytes.clone();
    more[11] = Sets::ALL.0;
    for bytes in [made.bytes, more] {
        let id = CredentialId(*blake3::hash(&bytes).as_bytes());
        create_or_same(&*store, &Name::Key(id).to_string(), bytes.clone()).unwrap();
    }
    // A pack in a session of others, which holds nothing of what its list says.
    let pack = packs_of(&*store, repo.ring().writer.as_ref().unwrap())[0];
    let mut bytes = store.read(&pack.to_string()).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    let false_pack = PackName { hash: repo_format::id::ObjectHash::of(&bytes), ..pack };
    create_or_same(&*store, &false_pack.to_string(), bytes.clone()).unwrap();

    let fresh = open(&store, None).unwrap();
    assert_eq!(says(&fresh.state()), says(&repo.refresh().unwrap()));
    restore(&fresh, &data);
    assert_eq!(backup(&fresh, &data).chunks_new, 0);
    let left_out = fresh.rotate(true).unwrap().left_out;
    assert_eq!(left_out.len(), 1, "the one that says it reads is on no list");
    restore(&open(&store, None).unwrap(), &data);
}

#[test]
fn what_it_can_do_it_can() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 30);
    backup(&repo, &data);
    let thief = add(&repo, &store, Sets::WRITE, 1);
    // Names and lengths of all chunks.
    let keys = &thief.ring().repo;
    let listed: Vec<_> = packs_of(&*store, repo.ring().writer.as_ref().unwrap())
        .into_iter()
        .flat_map(|pack| open_pack(&pack, &store.read(&pack.to_string()).unwrap(), &keys.index).unwrap())
        .flat_map(|frame| frame.chunks)
        .collect();
    for (kind, plain) in &data {
        let id = keys.chunk_id.id(*kind, plain);
        assert!(listed.iter().any(|chunk| chunk.id == id && chunk.length as usize == plain.len()));
    }
    // Snapshots of any content, which `latest` means until they are forgotten.
    let garbage = chunks(66, 3);
    backup(&thief, &garbage);
    repo.refresh().unwrap();
    restore(&repo, &garbage);
    let latest = repo.find_snapshot("latest").unwrap().id;
    repo.administer(&mut |_| Ok(Body::Forget { snapshots: vec![latest] })).unwrap();
    restore(&repo, &data);
    // Garbage under the next number of the log stops who appends, and nobody who reads, until it is taken away.
    let next = Name::Log(repo.state().n() + 1);
    store.create(&next.to_string(), "garbage".into()).unwrap();
    store.create(&next.copy(), "garbage".into()).unwrap();
    let stopped = open(&store, None).unwrap();
    restore(&stopped, &data);
    let refused = stopped.writer(WriteOptions::default()).err().unwrap();
    assert!(refused.to_string().contains(&next.to_string()), "{refused}");
    for name in [next.to_string(), next.copy()] {
        store.delete(&name).unwrap();
    }
    backup(&open(&store, None).unwrap(), &data);
}

#[test]
fn a_stolen_admin_key_reads_what_is_written_in_an_epoch_of_its_own_and_nothing_before() {
    let store = memory();
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 30));
    let thief = add(&repo, &store, Sets::ADMIN, 1);
    let admin = thief.ring().admin_key.clone().unwrap();
    // Lists itself.
    let own = SignKey::from_bytes(&[77; 32]);
    let listing = Body::Writers { writers: vec![(own.id(), Roles::WRITE_VOUCH)], credentials: Vec::new() };
    assert_eq!(force(&thief, &admin, listing).0, Outcome::Applied);
    // Begins an epoch whose secret it knows, and grants the others another one.
    let secret = ContentSecret::from_bytes(2, [5; 32]);
    let state = thief.refresh().unwrap();
    let granted = ContentSecret::from_bytes(2, [6; 32]);
    let grants =
        state.readers().map(|(id, to)| (*id, granted.grant(&to.public, &thief.ring().repo_id, id, [7; 32]).unwrap()));
    let content: ContentPublic = secret.public();
    let epoch = Body::Epoch { content, grants: grants.collect() };
    assert_eq!(force(&thief, &admin, epoch).0, Outcome::Applied);
    let before = repo.snapshots()[0].id;
    repo.refresh().unwrap();
    backup(&repo, &chunks(2, 30));
    let (session, wrapped) = {
        let after = repo.snapshots()[1].id;
        let bytes = store.read(&Name::Snapshot(after).to_string()).unwrap();
        repo_format::snapshot::Snapshot::sealed_by(&after, &bytes).unwrap()
    };
    let keys = [secret];
    assert!(wrapped.unwrap(&keys, &thief.ring().repo_id, &session).is_ok());
    let bytes = store.read(&Name::Snapshot(before).to_string()).unwrap();
    let (session, wrapped) = repo_format::snapshot::Snapshot::sealed_by(&before, &bytes).unwrap();
    assert!(wrapped.unwrap(&keys, &thief.ring().repo_id, &session).is_err());
    // Who reads is told so when the repository is opened.
    let reader = open(&store, None).unwrap();
    let notes: Vec<String> = reader.take_notes().iter().map(ToString::to_string).collect();
    assert!(notes.len() == 1 && notes[0].contains("epoch 2"), "{notes:?}");
    // One rotation later what is written is theirs again.
    repo.rotate(false).unwrap();
    backup(&repo, &chunks(3, 30));
    let reader = open(&store, None).unwrap();
    assert!(reader.take_notes().is_empty());
    restore(&reader, &chunks(3, 30));
}

#[test]
fn a_password_costs_what_is_said_and_a_key_file_is_random() {
    let store = memory();
    let repo = init(&store, None);
    let added = repo.add_key(Sets::READ, NewLock::Password(b"a password", PasswordCost::default())).unwrap();
    let object = store.read(&Name::Key(added.credential).to_string()).unwrap();
    let credential = Credential::parse(&added.credential, &object).unwrap();
    assert_eq!(credential.lock(), Lock::Password(PasswordCost { memory_kib: 64 << 10, passes: 3, lanes: 1 }));
    assert!(credential.open(Unlock::Password(b"a guess")).is_err());
    let user = crate::user::User::new();
    let digits = |name: &str| fs::read_to_string(user.path(name)).unwrap().lines().nth(1).unwrap().to_owned();
    let at = user.path("other");
    user.run(&["key", "add", "--role", "read", "--new-key-file", at.to_str().unwrap()]).fine();
    assert!(digits("key").len() == 64 && digits("key") != digits("other"));
}

#[test]
fn whoever_deletes_in_the_store_deletes_everything() {
    let store = memory();
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 10));
    let mut all = Vec::new();
    let mut visit = |name: &str, _| {
        all.push(name.to_owned());
        Ok(())
    };
    for folder in ["config", "key", "log", "snapshot", "pack", "index", "copy"] {
        store.list(folder, &mut visit).unwrap();
    }
    all.push("config".into());
    for name in &all {
        let _ = store.delete(name);
    }
    assert_eq!(open(&store, None).err().unwrap().kind(), Kind::NoRepository);
}

/// Each sentence of the table, and the test that tries it.
const TRIED: &[(&str, &str)] = &[
    (
        "write snapshots of its own, of any content, which `latest` means until they are forgotten",
        "stolen::what_it_can_do_it_can",
    ),
    ("learn the names (keyed hashes) and lengths of all chunks", "stolen::what_it_can_do_it_can"),
    (
        "test whether a chunk whose bytes it guesses is stored",
        "keys::what_a_stolen_write_credential_holds_opens_nothing",
    ),
    (
        "read the state on its machine: names, columns, counts and roots of its own last nights",
        "state::what_the_state_shows_to_a_thief",
    ),
    (
        "keep everybody from appending, not from reading, by garbage under the log's next number, until that is deleted",
        "stolen::what_it_can_do_it_can",
    ),
    (
        "open any frame or snapshot, not even those of its own earlier sessions",
        "keys::what_a_stolen_write_credential_holds_opens_nothing",
    ),
    ("restore, list, show, compare", "key_commands::a_machine_that_only_writes_backs_up_and_reads_nothing"),
    (
        "forget, let others in, remove credentials or writers, begin an epoch",
        "stolen::no_entry_that_a_stolen_write_key_signs_takes_from_others",
    ),
    (
        "end or take over others' sessions, or condemn their packs",
        "stolen::no_entry_that_a_stolen_write_key_signs_takes_from_others",
    ),
    ("have others rely on chunks that it claims", "keys::one_relies_on_ones_own_chunks_and_on_vouched_ones"),
    ("declare others' packs lost", "stolen::no_entry_that_a_stolen_write_key_signs_takes_from_others"),
    (
        "have a false object of its own believed",
        "stolen::no_object_that_a_stolen_write_key_puts_into_the_store_is_believed",
    ),
    (
        "remove its writer: a session that is open cannot commit either",
        "keys::what_a_stolen_write_credential_holds_opens_nothing",
    ),
    ("open everything, also what is written later", "keys::read_and_admin_do_what_they_say_and_no_more"),
    ("give *read* to others", "keys::read_and_admin_do_what_they_say_and_no_more"),
    ("write, list writers, forget", "keys::read_and_admin_do_what_they_say_and_no_more"),
    (
        "have those others read what is written after a rotation",
        "rotate::who_is_removed_reads_nothing_of_what_is_written_after_a_rotation",
    ),
    (
        "remove it and rotate: what sessions write that are opened later is closed to it",
        "rotate::who_is_removed_reads_nothing_of_what_is_written_after_a_rotation",
    ),
    ("none for what is stored", "rotate::who_is_removed_reads_nothing_of_what_is_written_after_a_rotation"),
    (
        "list writers, itself too",
        "stolen::a_stolen_admin_key_reads_what_is_written_in_an_epoch_of_its_own_and_nothing_before",
    ),
    ("forget snapshots", "keys::read_and_admin_do_what_they_say_and_no_more"),
    ("remove credentials that do not hold *read*", "keys::read_and_admin_do_what_they_say_and_no_more"),
    (
        "begin an epoch of its own, and read what is written in it: who reads is told on opening where it was not granted the same",
        "stolen::a_stolen_admin_key_reads_what_is_written_in_an_epoch_of_its_own_and_nothing_before",
    ),
    (
        "open what was written before, or give *read* of it",
        "stolen::a_stolen_admin_key_reads_what_is_written_in_an_epoch_of_its_own_and_nothing_before",
    ),
    (
        "both, and others deduplicate against what it committed",
        "keys::one_relies_on_ones_own_chunks_and_on_vouched_ones",
    ),
    ("forget, list writers", "keys::one_relies_on_ones_own_chunks_and_on_vouched_ones"),
    (
        "guess passwords, at 64 MiB and a part of a second each",
        "stolen::a_password_costs_what_is_said_and_a_key_file_is_random",
    ),
    ("guess a key file", "stolen::a_password_costs_what_is_said_and_a_key_file_is_random"),
    ("learn its length and time", "state::the_state_says_what_the_snapshots_say"),
    ("open it", "state::the_state_says_what_the_snapshots_say"),
];

/// Advice that no test can try.
const ADVICE: [&str; 5] = [
    "keep it offline",
    "retention locks of the store",
    "begin a repository like this one: an admin key cannot be taken back",
    "as for *write* and *read*",
    "a long password",
];

#[test]
fn every_sentence_of_the_table_is_tried() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_to_string(root.join("docs/keys.md")).unwrap();
    let table = docs.split("| stolen | can | cannot | remedy |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.flat_map(|row| row.trim_matches('|').split('|').skip(1));
    let sentences: Vec<&str> =
        cells.flat_map(|cell| cell.split("; ")).map(str::trim).filter(|s| !s.is_empty()).collect();
    assert!(sentences.len() > 30, "{sentences:#?}");
    for sentence in &sentences {
        let tried = TRIED.iter().any(|(text, _)| text == sentence) || ADVICE.contains(sentence);
        assert!(tried, "no test tries {sentence:?}");
    }
    for (sentence, test) in TRIED {
        assert!(sentences.contains(sentence), "the table does not say {sentence:?}");
        let (file, name) = test.split_once("::").unwrap();
        let source = fs::read_to_string(root.join(format!("tests/{file}.rs"))).unwrap();
        assert!(source.contains(&format!("#[test]\nfn {name}()")), "there is no test {test}");
    }
}
