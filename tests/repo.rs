//! Repositories: round trips, deduplication, keys, caches, two processes at once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::Kind;
use onefold::repo::check::Reads;
use onefold::repo::{InitOptions, Repo, WriteOptions};
use onefold::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource};
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty};
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use proptest::prelude::*;
use repo_format::credential::{Credential, KeyRing, NewLock, PasswordCost, Unlock};
use repo_format::key::SignKey;
use repo_format::keyfile::KeyFile;
use repo_format::log::{Body, LostFrames, Roles};
use repo_format::names::{Name, PackName};
use repo_format::snapshot::Says;

/// Cheap to derive, unlike a password.
pub fn key_file() -> KeyFile {
    KeyFile::from_bytes([7; 32])
}

/// Small packs, so that little data fill several.
pub fn small() -> InitOptions {
    let sizes = onefold::repo::open::Sizes { cut_average: 4 << 10, frame_target: 16 << 10, pack_target: 256 << 10 };
    InitOptions { cost: PasswordCost::default(), sizes: Some(sizes), like: None }
}

pub fn init(store: &Arc<dyn Store>, cache: Option<&Path>) -> Repo {
    Repo::init(store.clone(), Unlock::KeyFile(&key_file()), cache, small()).unwrap()
}

pub fn open(store: &Arc<dyn Store>, cache: Option<&Path>) -> onefold::Result<Repo> {
    Repo::open(store.clone(), Unlock::KeyFile(&key_file()), cache)
}

pub fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new())
}

/// `n` chunks that do not compress, from a seed.
pub fn chunks(seed: u64, n: usize) -> Vec<(ChunkKind, Vec<u8>)> {
    let kinds = ChunkKind::ALL;
    let one = |i: usize| {
        let mut bytes = vec![0; 3000 + (i * 997) % 9000];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(&i.to_le_bytes()).finalize_xof().fill(&mut bytes);
        (kinds[i % kinds.len()], bytes)
    };
    (0..n).map(one).collect()
}

pub type Roots = Vec<(ChunkKind, ChunkId)>;

pub fn put_all(sink: &dyn ChunkSink, chunks: &[(ChunkKind, Vec<u8>)]) -> Roots {
    chunks.iter().map(|(kind, plain)| (*kind, sink.put(*kind, plain).unwrap())).collect()
}

/// Writes chunks and commits them as a snapshot that names them all.
pub fn backup(repo: &Repo, chunks: &[(ChunkKind, Vec<u8>)]) -> onefold::repo::WriteStats {
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let roots = put_all(&writer, chunks);
    writer.commit(roots, Says { body: b"{}".to_vec(), ..Says::default() }).unwrap().1
}

/// Every chunk of the latest snapshot, read and compared.
pub fn restore(repo: &Repo, chunks: &[(ChunkKind, Vec<u8>)]) {
    let latest = repo.find_snapshot("latest").unwrap();
    let snapshot = repo.snapshot(&latest.id).unwrap();
    let reader = repo.reader().unwrap();
    assert_eq!(snapshot.roots.len(), chunks.len());
    for ((kind, id), (_, plain)) in snapshot.roots.iter().zip(chunks) {
        assert_eq!(&reader.get(*kind, id).unwrap(), plain);
    }
}

/// In front of a store, what fails.
pub type Fails<'a> = &'a dyn Fn(Arc<dyn Store>) -> Arc<dyn Store>;

/// Each request of some work in turn fails, or is done though it is reported failed. `each` puts what fails in front of a store, does the
/// work, and looks at what is left; it is called until the work ends before its request fails. Returns how often that was.
pub fn each_request_fails(mut each: impl FnMut(Fails<'_>, &str)) -> usize {
    let mut states = 0;
    for fault in [Fault::Error(Kind::Io), Fault::Error(Kind::Full), Fault::LostReply] {
        for n in 0.. {
            let seen = Arc::new(AtomicUsize::new(0));
            let fails = |store: Arc<dyn Store>| -> Arc<dyn Store> {
                let (count, told) = (seen.clone(), fault.clone());
                let script = move |_, _: &str| (count.fetch_add(1, Ordering::Relaxed) == n).then(|| told.clone());
                Arc::new(Faulty::new(store, script))
            };
            each(&fails, &format!("{fault:?} of request {n}"));
            states += 1;
            if seen.load(Ordering::Relaxed) <= n {
                break;
            }
        }
    }
    states
}

pub fn problems(repo: &Repo, read_data: bool) -> Vec<String> {
    let watch = Watch::new();
    repo.check(Reads::all_if(read_data), &watch).unwrap();
    watch.problems().into_iter().map(|p| format!("{}: {}", p.subject, p.message)).collect()
}

#[test]
fn what_is_put_is_read_again_by_this_and_other_processes() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 300);
    let stats = backup(&repo, &data);
    assert_eq!((stats.chunks, stats.chunks_new), (300, 300));
    assert!(stats.packs > 2, "several packs: {stats:?}");
    restore(&repo, &data);
    restore(&open(&store, None).unwrap(), &data);
    assert_eq!(problems(&repo, true), Vec::<String>::new());

    // The same again adds a snapshot and nothing else.
    let again = backup(&open(&store, None).unwrap(), &data);
    assert_eq!((again.chunks_new, again.packs, again.index_objects), (0, 0, 0));
    assert_eq!(open(&store, None).unwrap().snapshots().len(), 2);
    assert_eq!(problems(&repo, true), Vec::<String>::new());
}

#[test]
fn snapshots_are_found_by_prefix_and_latest() {
    let store = memory();
    let repo = init(&store, None);
    assert_eq!(repo.find_snapshot("latest").unwrap_err().kind(), Kind::NotFound);
    for seed in 0..3 {
        backup(&repo, &chunks(seed, 3));
    }
    let all = repo.snapshots();
    assert_eq!(repo.find_snapshot("latest").unwrap(), all[2]);
    for s in &all {
        assert_eq!(repo.find_snapshot(&s.id.to_string()).unwrap(), *s);
        assert_eq!(repo.find_snapshot(&s.id.to_string()[..16]).unwrap(), *s);
    }
    assert_eq!(repo.find_snapshot("").unwrap_err().kind(), Kind::Usage);
    assert_eq!(repo.find_snapshot("nonsense").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn errors_of_opening_name_their_reason() {
    let store = memory();
    assert_eq!(open(&store, None).err().unwrap().kind(), Kind::NoRepository);
    init(&store, None);
    let again = Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, small());
    assert_eq!(again.err().unwrap().kind(), Kind::AlreadyExists);
    let other = KeyFile::from_bytes([8; 32]);
    let wrong = Repo::open(store.clone(), Unlock::KeyFile(&other), None).err().unwrap();
    assert_eq!(wrong.kind(), Kind::Denied);
    assert!(wrong.advice().is_some());
    let password = Repo::open(store.clone(), Unlock::Password(b"x"), None).err().unwrap();
    assert_eq!(password.kind(), Kind::Denied);
}

#[test]
fn a_password_opens_and_a_wrong_one_is_denied() {
    let store = memory();
    let cost = PasswordCost { memory_kib: 8 << 10, passes: 1, lanes: 1 };
    let dir = tempfile::tempdir().unwrap();
    let options = InitOptions { cost, sizes: None, like: None };
    Repo::init(store.clone(), Unlock::Password(b"right"), Some(dir.path()), options).unwrap();
    for cache in [None, Some(dir.path())] {
        Repo::open(store.clone(), Unlock::Password(b"right"), cache).unwrap();
        let wrong = Repo::open(store.clone(), Unlock::Password(b"wrong"), cache).err().unwrap();
        assert_eq!(wrong.kind(), Kind::Denied);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Any chunks in any order, some of them twice, from several threads: a map gives the same back.
    #[test]
    fn the_repository_is_a_map(
        sizes in proptest::collection::vec((0usize..40_000, 0..ChunkKind::ALL.len(), 0u8..6), 1..60),
        level in 1i32..6,
    ) {
        let store = memory();
        let repo = init(&store, None);
        let writer = repo.writer(WriteOptions { level, ..WriteOptions::default() }).unwrap();
        let kinds = ChunkKind::ALL;
        let all: Vec<_> = sizes.iter().map(|(len, kind, fill)| (kinds[*kind], vec![*fill; *len])).collect();
        let model: HashMap<ChunkId, (ChunkKind, Vec<u8>)> = std::thread::scope(|scope| {
            let halves: Vec<_> = all.chunks(all.len().div_ceil(2)).map(|half| {
                let writer = &writer;
                scope.spawn(move || half.iter().map(|(k, p)| (writer.put(*k, p).unwrap(), (*k, p.clone()))).collect::<Vec<_>>())
            }).collect();
            halves.into_iter().flat_map(|h| h.join().unwrap()).collect()
        });
        let (_, stats) = writer.commit(Vec::new(), Default::default()).unwrap();
        prop_assert_eq!(stats.chunks_new as usize, model.len());
        let reader = open(&store, None).unwrap().reader().unwrap();
        for (id, (kind, plain)) in &model {
            prop_assert_eq!(&reader.get(*kind, id).unwrap(), plain);
            let other = if *kind == ChunkKind::Leaf { ChunkKind::Data } else { ChunkKind::Leaf };
            prop_assert!(reader.get(other, id).is_err());
        }
        prop_assert!(reader.get(ChunkKind::Leaf, &ChunkId([1; 32])).is_err());
    }
}

/// Another writer, who may not read: its credential's key file.
fn add_writer(repo: &Repo, store: &Arc<dyn Store>, roles: Roles) -> KeyFile {
    let file = KeyFile::from_bytes([9; 32]);
    let writer = SignKey::from_bytes(&[10; 32]);
    let ring = KeyRing { writer: Some(writer.clone()), read: Vec::new(), admin_key: None, ..repo.ring().clone() };
    let made = Credential::seal(&ring, NewLock::KeyFile(&file), [1; 32], &[2; 24]).unwrap();
    store.create(&Name::Key(made.id).to_string(), made.bytes.clone().into()).unwrap();
    repo.administer(&mut |_| Ok(Body::Writers { writers: vec![(writer.id(), roles)], credentials: vec![] })).unwrap();
    file
}

#[test]
fn one_deduplicates_against_own_and_vouched_chunks_only() {
    let store = memory();
    let reader = init(&store, None);
    let file = add_writer(&reader, &store, Roles::WRITE);
    let other = || Repo::open(store.clone(), Unlock::KeyFile(&file), None).unwrap();
    let data = chunks(1, 40);
    assert_eq!(backup(&other(), &data).chunks_new, 40);
    assert_eq!(backup(&other(), &data).chunks_new, 0, "against its own");
    assert_eq!(backup(&open(&store, None).unwrap(), &data).chunks_new, 40, "not on another's word");
    let fresh = chunks(2, 40);
    assert_eq!(backup(&open(&store, None).unwrap(), &fresh).chunks_new, 40);
    assert_eq!(backup(&other(), &fresh).chunks_new, 0, "against those of a holder of read");

    let theirs = chunks(3, 40);
    backup(&other(), &theirs);
    let repo = open(&store, None).unwrap();
    let indexes: Vec<_> = repo.state().indexes().keys().copied().collect();
    repo.administer(&mut |_| Ok(Body::Vouch { indexes: indexes.clone(), snapshots: vec![] })).unwrap();
    assert_eq!(backup(&repo, &theirs).chunks_new, 0, "vouched for");

    // A writer cannot read back, nor administer.
    assert_eq!(other().reader().err().unwrap().kind(), Kind::Denied);
    assert_eq!(other().administer(&mut |_| Ok(Body::Forget { snapshots: vec![] })).unwrap_err().kind(), Kind::Denied);
    restore(&repo, &theirs);
}

#[test]
fn a_removed_writer_cannot_open_a_session() {
    let store = memory();
    let repo = init(&store, None);
    let file = add_writer(&repo, &store, Roles::WRITE);
    add_roles(&repo, Roles::NONE);
    let other = Repo::open(store.clone(), Unlock::KeyFile(&file), None).unwrap();
    assert_eq!(other.writer(WriteOptions::default()).err().unwrap().kind(), Kind::Denied);
}

fn add_roles(repo: &Repo, roles: Roles) {
    let writer = SignKey::from_bytes(&[10; 32]).id();
    repo.administer(&mut |_| Ok(Body::Writers { writers: vec![(writer, roles)], credentials: vec![] })).unwrap();
}

#[test]
fn a_pack_condemned_under_a_session_stops_its_commit_and_nothing_is_lost() {
    let store = memory();
    let repo = init(&store, None);
    let data = chunks(1, 40);
    backup(&repo, &data);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let roots = put_all(&writer, &data);
    let packs = packs_of(&*store);
    repo.administer(&mut |state| Ok(Body::Condemn { computed: state.n(), packs: packs.clone() })).unwrap();
    assert_eq!(writer.commit(roots, Default::default()).unwrap_err().kind(), Kind::Busy);
    assert_eq!(backup(&repo, &data).chunks_new, 40, "condemned packs are not relied on");
    packs.iter().for_each(|p| store.delete(&p.to_string()).unwrap());
    restore(&open(&store, None).unwrap(), &data);
}

/// Whatever was stored before a session began may be declared lost while it relies on it: by a session that was committed,
/// or by one that was interrupted and taken over.
#[test]
fn a_pack_declared_lost_under_a_session_stops_its_commit_and_nothing_is_lost() {
    for taken_over in [false, true] {
        let store = memory();
        let repo = init(&store, None);
        // An interrupted session leaves only the packs that were full.
        let data = chunks(1, if taken_over { 400 } else { 40 });
        if taken_over {
            let writer = repo.writer(WriteOptions { index_packs: 1, ..WriteOptions::default() }).unwrap();
            put_all(&writer, &data);
            drop(writer);
        } else {
            backup(&repo, &data);
        }
        let writer = repo.writer(WriteOptions { take_over: true, ..WriteOptions::default() }).unwrap();
        let roots = put_all(&writer, &data);
        let reused = data.len() as u64 - writer.stats().chunks_new;
        assert!(reused > 0, "taken over: {taken_over}");
        let packs = packs_of(&*store);
        let lost: Vec<_> = packs.iter().map(|pack| LostFrames { pack: *pack, frames: Vec::new() }).collect();
        repo.administer(&mut |_| Ok(Body::Lost { lost: lost.clone() })).unwrap();
        assert_eq!(
            writer.commit(roots, Default::default()).unwrap_err().kind(),
            Kind::Busy,
            "taken over: {taken_over}"
        );
        packs.iter().for_each(|p| store.delete(&p.to_string()).unwrap());
        let writer = repo.writer(WriteOptions { take_over: true, ..WriteOptions::default() }).unwrap();
        let roots = put_all(&writer, &data);
        writer.commit(roots, Default::default()).unwrap();
        restore(&open(&store, None).unwrap(), &data);
    }
}

/// The packs of a store, ascending.
fn packs_of(store: &dyn Store) -> Vec<PackName> {
    let pack_of = |name: &String| match Name::parse(name) {
        Ok(Name::Pack(pack)) => Some(pack),
        _ => None,
    };
    let mut packs: Vec<_> = store_names(store).iter().filter_map(pack_of).collect();
    packs.sort_unstable();
    packs
}

fn store_names(store: &dyn Store) -> Vec<String> {
    let mut names = Vec::new();
    store
        .list("", &mut |name, _| {
            names.push(name.to_string());
            Ok(())
        })
        .unwrap();
    names
}

#[test]
fn a_fenced_session_cannot_commit() {
    let store = memory();
    let repo = init(&store, None);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let roots = put_all(&writer, &chunks(1, 4));
    let open_session = *repo.state().open_sessions().keys().next().unwrap();
    repo.administer(&mut |_| Ok(Body::Fence { session: open_session })).unwrap();
    assert_eq!(writer.commit(roots, Default::default()).unwrap_err().kind(), Kind::Denied);
    assert!(open(&store, None).unwrap().snapshots().is_empty());
}

/// A session whose process died is taken over by the next on the same machine; one that lives is not.
#[test]
fn only_dead_sessions_are_taken_over() {
    let store = memory();
    let dir = tempfile::tempdir().unwrap();
    let repo = init(&store, Some(dir.path()));
    let data = chunks(1, 300);
    let writer = repo.writer(WriteOptions { index_packs: 1, ..WriteOptions::default() }).unwrap();
    put_all(&writer, &data);
    drop(writer);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    assert!(writer.stats().index_objects_adopted > 0);
    let roots = put_all(&writer, &data);
    let (_, stats) = writer.commit(roots, Default::default()).unwrap();
    assert!(stats.chunks_new < 200, "{stats:?}");
    assert_eq!(repo.state().open_sessions().len(), 0);
    restore(&open(&store, None).unwrap(), &data);
    assert_eq!(problems(&repo, true), Vec::<String>::new());
}

/// Any single request may fail, or its reply be lost: the next attempt in the same process succeeds.
#[test]
fn single_faults_pass_unnoticed() {
    use onefold::store::faulty::{Fault, Faulty};
    for fault in [Fault::Error(Kind::Io), Fault::LostReply] {
        for n in (0..100).step_by(3) {
            let store: Arc<dyn Store> = Arc::new(Faulty::nth(Memory::new(), n, fault.clone()));
            let repo = init(&store, None);
            let data = chunks(n as u64, 60);
            backup(&repo, &data);
            restore(&open(&store, None).unwrap(), &data);
        }
    }
}
