//! What a stolen *write* key says of others' packs, while an index object is lost that told the truth: nothing that was stored is lost by
//! a backup, a repair, or a prune. (`tests/simulate.rs` finds such things by chance; these are those that it found.)

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use onefold::Kind;
use onefold::repo::Repo;
use onefold::repo::check::Reads;
use onefold::run::ChunkSource;
use onefold::store::Store;
use onefold::store::faulty::{Faulty, Operation};
use onefold::watch::Watch;
use repo_format::credential::{NewLock, Sets, Unlock};
use repo_format::id::SnapshotId;
use repo_format::keyfile::KeyFile;
use repo_format::names::{IndexName, Name, PackName};
use repo_format::pack::PackFrame;

use crate::prune::{copy_of, prune_at_once};
use crate::repo::{backup, chunks, memory, small};
use crate::simulate::misfortune::mend;
use crate::simulate::{Plain, thief};

struct Site {
    store: Arc<dyn Store>,
    admin: Repo,
    kept: Vec<(SnapshotId, Plain)>,
}

impl Site {
    /// Keys: 0 holds everything, 1 and 2 *write*.
    fn new() -> Site {
        let store = memory();
        let key = KeyFile::from_bytes([0; 32]);
        let admin = Repo::init(store.clone(), Unlock::KeyFile(&key), None, small()).unwrap();
        for n in [1, 2] {
            admin.add_key(Sets::WRITE, NewLock::KeyFile(&KeyFile::from_bytes([n; 32]))).unwrap();
        }
        Site { store, admin, kept: Vec::new() }
    }

    /// With a snapshot of whose packs only a stranger speaks.
    fn lied_to() -> Site {
        let mut site = Site::new();
        let (indexes, packs) = site.backup(1, 1);
        site.lie(&packs);
        site.lose(&indexes);
        site
    }

    fn by(&self, key: u8) -> Repo {
        Repo::open(self.store.clone(), Unlock::KeyFile(&KeyFile::from_bytes([key; 32])), None).unwrap()
    }

    /// Backs up chunks that are this seed's. The index objects that were written, and the packs.
    fn backup(&mut self, key: u8, seed: u64) -> (Vec<IndexName>, Vec<PackName>) {
        self.backup_of(key, chunks(seed, 60))
    }

    fn backup_of(&mut self, key: u8, plain: Plain) -> (Vec<IndexName>, Vec<PackName>) {
        let repo = self.by(key);
        let (indexes, packs) = (repo.state().indexes().clone(), thief::packs(&repo).unwrap());
        backup(&repo, &plain);
        let state = repo.refresh().unwrap();
        let id = self.by(0).find_snapshot("latest").unwrap().id;
        self.kept.push((id, plain));
        let new = state.indexes().keys().filter(|name| !indexes.contains_key(*name)).copied().collect();
        (new, thief::packs(&repo).unwrap().into_iter().filter(|pack| !packs.contains(pack)).collect())
    }

    /// Says of these packs that they hold what nobody needs.
    fn lie(&self, packs: &[PackName]) {
        let thief = self.by(2);
        let session = thief::open(&thief).unwrap().session;
        let lies = &mut |frames: &mut Vec<PackFrame>| {
            frames.iter_mut().flat_map(|frame| &mut frame.chunks).for_each(|chunk| chunk.id.0[31] ^= 1);
        };
        let index = thief::say(&thief, session, packs, lies).unwrap();
        thief::commit(&thief, session, None, &[index], &[]).unwrap();
    }

    fn lose(&self, indexes: &[IndexName]) {
        indexes.iter().for_each(|name| self.store.delete(&Name::Index(*name).to_string()).unwrap());
    }

    fn prune(&self) {
        prune_at_once(&self.by(0));
    }

    #[track_caller]
    fn all_is_there(&self) {
        let repo = self.by(0);
        let reader = repo.reader().unwrap();
        for (id, plain) in &self.kept {
            let snapshot = repo.snapshot(id).unwrap();
            assert_eq!(snapshot.roots.len(), plain.len());
            for ((kind, chunk), (_, bytes)) in snapshot.roots.iter().zip(plain) {
                assert_eq!(&reader.get(*kind, chunk).unwrap(), bytes);
            }
        }
    }
}

#[test]
fn the_next_backup_names_what_only_a_stranger_named() {
    let mut site = Site::lied_to();
    site.backup(1, 2);
    site.all_is_there();
    site.prune();
    site.prune();
    site.all_is_there();
}

#[test]
fn a_prune_spares_what_only_a_stranger_names() {
    let site = Site::lied_to();
    site.prune();
    site.prune();
    mend(&site.by(0), &Watch::new()).unwrap();
    site.all_is_there();
}

#[test]
fn a_repair_names_what_only_a_stranger_named() {
    let site = Site::lied_to();
    mend(&site.by(0), &Watch::new()).unwrap();
    site.all_is_there();
    site.prune();
    site.all_is_there();
}

/// What a prune named of all writers is lost: the machine that pruned backs up, and does not forget what it had named.
#[test]
fn who_named_the_packs_of_others_does_not_replace_what_is_lost() {
    let mut site = Site::new();
    site.backup_of(1, [chunks(1, 60), chunks(2, 200)].concat());
    site.backup(1, 1);
    let (id, _) = site.kept.remove(0);
    site.admin.forget(&[id].into()).unwrap();
    // Of the forgotten one packs go, and the index object that names them is replaced by the administrator's own.
    (0..3).for_each(|_| site.prune());
    let state = site.by(0).state();
    let own = site.by(0).ring().writer.as_ref().unwrap().id();
    let of_admin: Vec<IndexName> = state.indexes().iter().filter(|(_, i)| i.writer == own).map(|(n, _)| *n).collect();
    assert!(!of_admin.is_empty(), "an index object was replaced");
    site.lose(&of_admin);
    site.backup(0, 3);
    (0..2).for_each(|_| site.prune());
    mend(&site.by(0), &Watch::new()).unwrap();
    site.all_is_there();
}

/// A stranger's index object tells the truth of a pack, and not all of it; a prune that replaces it carries over the whole pack.
#[test]
fn what_a_stranger_leaves_out_is_carried_over() {
    let mut site = Site::new();
    let thief = site.by(2);
    // Its session is the older one, so that its index object comes first.
    let session = thief::open(&thief).unwrap().session;
    let (_, packs) = site.backup_of(1, [chunks(1, 60), chunks(2, 200)].concat());
    site.backup(1, 1);
    let index = thief::say(&thief, session, &packs, &mut |frames| frames.truncate(1)).unwrap();
    thief::commit(&thief, session, None, &[index], &[]).unwrap();
    let (id, _) = site.kept.remove(0);
    site.admin.forget(&[id].into()).unwrap();
    // Some of the packs go, so that both index objects that name them are replaced.
    (0..3).for_each(|_| site.prune());
    assert!(packs.iter().any(|pack| site.store.read(&pack.to_string()).is_err()), "some are gone");
    site.all_is_there();
}

/// A backup ends while a repair looks, so that it does not know who names its packs; nobody needs them, and at any request of the repair
/// a prune condemns them. The repair names none of them: nothing would ever take that back.
#[test]
fn a_repair_names_nothing_that_is_condemned_meanwhile() {
    let mut site = Site::new();
    site.backup(0, 1);
    for n in 0.. {
        let store: Arc<dyn Store> = Arc::new(copy_of(&*site.store));
        let seen = Arc::new(AtomicUsize::new(0));
        let (count, beside, key) = (seen.clone(), by(&store), KeyFile::from_bytes([0; 32]));
        let (mut backed_up, other) = (false, store.clone());
        let hooked = Faulty::new(store.clone(), move |operation, name: &str| {
            if operation == Operation::List && name.starts_with("pack") && !backed_up {
                backed_up = true;
                backup(&beside, &chunks(2, 60));
                let latest = beside.find_snapshot("latest").unwrap().id;
                beside.forget(&[latest].into()).unwrap();
            }
            if count.fetch_add(1, Ordering::Relaxed) == n && backed_up {
                prune_at_once(&Repo::open(other.clone(), Unlock::KeyFile(&key), None).unwrap());
            }
            None
        });
        let hooked: Arc<dyn Store> = Arc::new(hooked);
        // It may be told to be run again.
        let _ = mend(&by(&hooked), &Watch::new());
        mend(&by(&store), &Watch::new()).unwrap();
        (0..3).for_each(|_| prune_at_once(&by(&store)));
        let watch = Watch::new();
        by(&store).check(Reads::All, &watch).unwrap();
        let damage: Vec<_> = watch.problems().into_iter().filter(|problem| problem.damage).collect();
        assert!(damage.is_empty(), "at request {n}: {damage:?}");
        if seen.load(Ordering::Relaxed) <= n {
            assert!(n > 20, "{n} requests");
            break;
        }
    }
}

fn by(store: &Arc<dyn Store>) -> Repo {
    Repo::open(store.clone(), Unlock::KeyFile(&KeyFile::from_bytes([0; 32])), None).unwrap()
}

/// A repair has named packs, and not committed yet; a prune condemns them, the repair goes on, then the prune takes them away. The repair
/// is told to begin again: what it names would never be taken back.
#[test]
fn a_repair_commits_nothing_that_was_condemned_since_it_named_it() {
    let mut site = Site::new();
    site.backup(0, 1);
    let store = site.store.clone();
    let (condemned, is_condemned) = channel();
    let (mended, is_mended) = channel::<()>();
    let (pruned, is_pruned) = channel();
    let (mut pruning, mut backed_up, other) = (Some((condemned, is_mended, pruned)), false, store.clone());
    let mut created = 0;
    let hooked = Faulty::new(store.clone(), move |operation, name: &str| {
        if operation == Operation::List && name.starts_with("pack") && !backed_up {
            backed_up = true;
            backup(&by(&other), &chunks(2, 60));
            let latest = by(&other).find_snapshot("latest").unwrap().id;
            by(&other).forget(&[latest].into()).unwrap();
        }
        created += usize::from(operation == Operation::Create && name.starts_with("log/"));
        // The first entry opens the session, the second would end it.
        if created == 2
            && let Some((condemned, is_mended, pruned)) = pruning.take()
        {
            let other = other.clone();
            thread::spawn(move || {
                let mut waits = Some((condemned, is_mended));
                let slow = Faulty::new(other, move |operation, _: &str| {
                    if operation == Operation::Delete
                        && let Some((condemned, is_mended)) = waits.take()
                    {
                        condemned.send(()).unwrap();
                        let _ = is_mended.recv();
                    }
                    None
                });
                let slow: Arc<dyn Store> = Arc::new(slow);
                prune_at_once(&by(&slow));
                pruned.send(()).unwrap();
            });
            is_condemned.recv().unwrap();
        }
        None
    });
    let hooked: Arc<dyn Store> = Arc::new(hooked);
    let told = mend(&by(&hooked), &Watch::new()).map_err(|e| e.kind());
    drop(mended);
    is_pruned.recv().unwrap();
    assert_eq!(told, Err(Kind::Busy));
    mend(&by(&store), &Watch::new()).unwrap();
    (0..3).for_each(|_| prune_at_once(&by(&store)));
    let watch = Watch::new();
    by(&store).check(Reads::All, &watch).unwrap();
    let damage: Vec<_> = watch.problems().into_iter().filter(|problem| problem.damage).collect();
    assert!(damage.is_empty(), "{damage:?}");
}
