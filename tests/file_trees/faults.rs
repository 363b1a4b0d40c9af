//! Every request that a backup of files makes of the store fails, or is carried out and reported failed; every one that a restore makes
//! fails or is answered falsely. What was acknowledged stands, and the next run completes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use onefold::backup;
use onefold::engine::{ALL, Env, Params};
use onefold::patterns::Patterns;
use onefold::repo::Repo;
use onefold::restore::tree::{Done, Overwrite, Wanted, of_snapshot};
use onefold::snapshot;
use onefold::store::Store;
use onefold::store::faulty::{Fault, Faulty};
use onefold::watch::Watch;
use onefold::{Kind, Result};
use serde_json::json;

use crate::kill::noise;
use crate::prune::copy_of;
use crate::repo::{init, memory, open};

/// What lies in a folder, as far as it is compared here: `tests/file_trees/round_trip.rs` compares all.
fn held(at: &Path) -> BTreeMap<PathBuf, (u32, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![at.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            if about.is_dir() {
                folders.push(path.clone());
            }
            all.insert(path.strip_prefix(at).unwrap().to_owned(), (about.mode(), about.mtime(), content));
        }
    }
    all
}

fn back_up(repo: &Repo, source: &Path, state: &Path) -> Result<backup::Done> {
    let engine = ALL.iter().copied().find(|engine| engine.sources().iter().any(|form| form.name == "files")).unwrap();
    let form = engine.sources().iter().find(|form| form.name == "files").unwrap();
    let takes: Vec<_> = form.params().chain(backup::takes(engine).params).collect();
    let params = Params::from_json(&takes, json!({ "path": [source], "cluster": "c" }).to_string().as_bytes()).unwrap();
    let watch = Watch::new();
    let (secret, stream) = (&|_: &Path| unreachable!(), &|_: &[_]| unreachable!());
    let env = Env { watch: &watch, state: Some(state.to_owned()), secret, host: "h".to_owned(), stream };
    backup::run(repo, engine, form, &params, &env)
}

fn restored(repo: &Repo, id: &str, source: &Path, out: &Path) -> Result<Done> {
    let info = repo.find_snapshot(id)?;
    let snapshot = snapshot::read(repo, &info.id)?;
    let engine = onefold::engine::engine(ALL, &snapshot.engine)?;
    let none = || Patterns::of([]).unwrap();
    let wanted = Wanted {
        path: Some(source.to_str().unwrap()),
        out,
        include: none(),
        exclude: none(),
        overwrite: Overwrite::Always,
        delete: false,
        verify: false,
        dry_run: false,
    };
    of_snapshot(engine, &snapshot, &repo.reader()?, &wanted, &Watch::new())
}

/// Two nights of one tree.
struct Site {
    dir: tempfile::TempDir,
    made: Arc<dyn Store>,
    first: String,
    /// What the first night had.
    then: BTreeMap<PathBuf, (u32, i64, Vec<u8>)>,
}

impl Site {
    fn new() -> Site {
        // A restore syncs the file system that it writes to: where others write to it, too, that takes long.
        let memory_backed = Path::new("/dev/shm");
        let dir =
            if memory_backed.is_dir() { tempfile::tempdir_in(memory_backed) } else { tempfile::tempdir() }.unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("sub/deep")).unwrap();
        for n in 0..40u8 {
            fs::write(source.join(format!("sub/{n}")), vec![n; 300 * usize::from(n)]).unwrap();
        }
        fs::write(source.join("large"), noise(1, 400_000)).unwrap();
        std::os::unix::fs::symlink("large", source.join("link")).unwrap();
        let made = memory();
        init(&made, None);
        let done = back_up(&open(&made, None).unwrap(), &source, &dir.path().join("state")).unwrap();
        assert!(done.snapshot.complete);
        let then = held(&source);
        for n in 0..20u8 {
            fs::write(source.join(format!("sub/deep/{n}")), vec![200 + n; 100 + 400 * usize::from(n)]).unwrap();
        }
        fs::remove_file(source.join("sub/3")).unwrap();
        fs::write(source.join("large"), noise(2, 400_000)).unwrap();
        Site { made, first: done.stored.unwrap().0, then, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The machine's state of the first night, anew.
    fn state(&self) -> PathBuf {
        let to = self.path("state of this run");
        let _ = fs::remove_dir_all(&to);
        let done = std::process::Command::new("cp").arg("-a").arg(self.path("state")).arg(&to).status().unwrap();
        assert!(done.success());
        to
    }

    fn gives(&self, repo: &Repo, id: &str, what: &BTreeMap<PathBuf, (u32, i64, Vec<u8>)>, context: &str) {
        let out = self.path("out");
        let _ = fs::remove_dir_all(&out);
        let done = restored(repo, id, &self.path("source"), &out).unwrap();
        assert!(done.problems.is_empty(), "{context}: {:?}", done.problems);
        assert!(held(&out) == *what, "{context}");
    }
}

#[test]
fn every_request_of_a_backup_of_files_fails_once() {
    let site = Site::new();
    let (source, now) = (site.path("source"), held(&site.path("source")));
    let (mut failed, mut requests) = (0, 0);
    for fault in [Fault::Error(Kind::Io), Fault::Error(Kind::Full), Fault::LostReply] {
        for n in 0.. {
            let store: Arc<dyn Store> = Arc::new(copy_of(&*site.made));
            let seen = Arc::new(AtomicUsize::new(0));
            let (count, what) = (seen.clone(), fault.clone());
            let hooked = Faulty::new(store.clone(), move |_, _| {
                (count.fetch_add(1, Ordering::Relaxed) == n).then(|| what.clone())
            });
            let hooked: Arc<dyn Store> = Arc::new(hooked);
            let state = site.state();
            let done = open(&hooked, None).and_then(|repo| back_up(&repo, &source, &state));
            failed += usize::from(done.is_err());
            let (repo, context) = (open(&store, None).unwrap(), format!("{fault:?} at request {n}"));
            if let Ok(done) = done {
                site.gives(&repo, &done.stored.unwrap().0, &now, &context);
            }
            let again = back_up(&repo, &source, &state).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(again.snapshot.complete, "{context}: {:?}", again.snapshot.problems);
            site.gives(&repo, "latest", &now, &context);
            site.gives(&repo, &site.first, &site.then, &context);
            requests += 1;
            if seen.load(Ordering::Relaxed) <= n {
                break;
            }
        }
    }
    assert!(requests > 60 && failed > 20, "{requests} requests, {failed} backups failed");
}

#[test]
fn every_request_of_a_restore_of_files_fails_or_is_answered_falsely() {
    let site = Site::new();
    let source = site.path("source");
    let mut told = 0;
    let faults = [Fault::Error(Kind::Io), Fault::Short(1), Fault::Flip(200), Fault::Repeat(7)];
    for (fault, once) in faults.into_iter().flat_map(|fault| [(fault.clone(), true), (fault, false)]) {
        // Whoever is refused for good asks again before it gives up, which takes its time.
        for n in (0..).step_by(if once { 1 } else { 19 }) {
            let seen = Arc::new(AtomicUsize::new(0));
            let (count, what) = (seen.clone(), fault.clone());
            let hooked = Faulty::new(site.made.clone(), move |_, _| {
                let now = count.fetch_add(1, Ordering::Relaxed);
                (now == n || !once && now > n).then(|| what.clone())
            });
            let hooked: Arc<dyn Store> = Arc::new(hooked);
            let out = site.path("out");
            let _ = fs::remove_dir_all(&out);
            let done = open(&hooked, None).and_then(|repo| restored(&repo, &site.first, &source, &out));
            let context = format!("{fault:?} at request {n}, once: {once}");
            match done {
                Ok(done) if done.problems.is_empty() => assert!(held(&out) == site.then, "{context}"),
                // What is asked for once more is answered then.
                _ => told += usize::from(!once),
            }
            let again = restored(&open(&site.made, None).unwrap(), &site.first, &source, &out).unwrap();
            assert!(again.problems.is_empty() && held(&out) == site.then, "{context}");
            if seen.load(Ordering::Relaxed) <= n {
                break;
            }
        }
    }
    assert!(told > 1, "{told} were told of");
}
