//! Power lost at any moment: every write, sync and directory operation of a backup is recorded, every prefix replayed
//! with what was not synced kept, lost or torn.

use std::sync::Arc;

use onefold::Kind;
use onefold::repo::{InitOptions, Repo, WriteOptions};
use onefold::run::ChunkKind;
use onefold::store::Store;
use onefold::store::folder::Folder;
use repo_format::credential::Unlock;

use crate::repo::{backup, chunks, init, key_file, open, problems, put_all, restore, small};
use crate::sim_disk::{Loss, SimDisk};

const LOSSES: [Loss; 4] = [Loss::Nothing, Loss::Everything, Loss::Torn(1), Loss::Torn(2)];

fn options() -> WriteOptions {
    WriteOptions { take_over: true, index_packs: 2, threads: 1, ..WriteOptions::default() }
}

fn folder(disk: SimDisk) -> (Arc<Folder<SimDisk>>, Arc<dyn Store>) {
    let folder = Arc::new(Folder::new(disk));
    (folder.clone(), folder)
}

#[test]
fn a_backup_survives_a_loss_of_power_at_any_operation() {
    let (disk, store) = folder(SimDisk::new());
    let first = chunks(1, 40);
    backup(&init(&store, None), &first);
    let begun = disk.disk().operations();
    let second: Vec<(ChunkKind, Vec<u8>)> = [chunks(1, 20), chunks(2, 250)].concat();
    let repo = open(&store, None).unwrap();
    let writer = repo.writer(options()).unwrap();
    let roots = put_all(&writer, &second);
    let stats = writer.commit(roots, Default::default()).unwrap().1;
    assert!(stats.index_objects >= 3 && stats.chunks_new == 250, "{stats:?}");
    let ended = disk.disk().operations();

    let mut reused = 0;
    for k in begun..=ended {
        for loss in LOSSES {
            let context = format!("after operation {k} of {begun}..{ended}, {loss:?}");
            let (_, store) = folder(disk.disk().crash(k, loss));
            let repo = open(&store, None).unwrap_or_else(|e| panic!("{context}: {e}"));
            match repo.snapshots().len() {
                1 => assert_ne!(k, ended, "{context}: a snapshot reported as taken is gone"),
                2 => restore(&repo, &second),
                n => panic!("{context}: {n} snapshots"),
            }
            let oldest = repo.snapshots()[0].id;
            let reader = repo.reader().unwrap();
            for ((kind, id), (_, plain)) in repo.snapshot(&oldest).unwrap().roots.iter().zip(&first) {
                assert_eq!(&onefold::run::ChunkSource::get(&reader, *kind, id).unwrap(), plain, "{context}");
            }
            let writer = repo.writer(options()).unwrap();
            let roots = put_all(&writer, &second);
            let (_, stats) = writer.commit(roots, Default::default()).unwrap();
            reused = reused.max(250 - stats.chunks_new * u64::from(stats.index_objects_adopted > 0));
            if stats.index_objects_adopted > 0 {
                assert!(stats.chunks_new < 250, "{context}: uploads are used again");
            }
            let again = open(&store, None).unwrap();
            restore(&again, &second);
            assert_eq!(problems(&again, true), Vec::<String>::new(), "{context}");
        }
    }
    assert!(reused > 100, "adopted packs were used");
}

#[test]
fn an_interrupted_init_can_be_repeated() {
    let (disk, store) = folder(SimDisk::new());
    init(&store, None);
    for k in 0..=disk.disk().operations() {
        for loss in LOSSES {
            let (_, store) = folder(disk.disk().crash(k, loss));
            let repo = match open(&store, None) {
                Ok(repo) => repo,
                Err(e) => {
                    assert_eq!(e.kind(), Kind::NoRepository, "after operation {k}, {loss:?}: {e}");
                    Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, small()).unwrap()
                }
            };
            let data = chunks(5, 10);
            backup(&repo, &data);
            restore(&open(&store, None).unwrap(), &data);
        }
    }
}

/// A disk that fills up ends the backup with its own kind of error; what was committed stays, and with space again the
/// next backup goes on.
#[test]
fn a_full_disk_loses_nothing() {
    let (disk, store) = folder(SimDisk::new());
    let repo = Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, InitOptions { ..small() }).unwrap();
    let first = chunks(1, 40);
    backup(&repo, &first);
    disk.disk().set_space(disk.disk().used() + (1 << 20));
    let second = chunks(2, 400);
    let writer = repo.writer(options()).unwrap();
    let full = second.iter().find_map(|(kind, plain)| onefold::run::ChunkSink::put(&writer, *kind, plain).err());
    let full = full.or_else(|| writer.commit(Vec::new(), Default::default()).err()).unwrap();
    assert_eq!(full.kind(), Kind::Full);
    restore(&open(&store, None).unwrap(), &first);
    disk.disk().set_space(usize::MAX);
    let repo = open(&store, None).unwrap();
    let writer = repo.writer(options()).unwrap();
    let roots = put_all(&writer, &second);
    let (_, stats) = writer.commit(roots, Default::default()).unwrap();
    assert!(stats.chunks_new < 400, "uploads are used again: {stats:?}");
    restore(&open(&store, None).unwrap(), &second);
    assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new());
}
