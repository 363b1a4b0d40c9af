//! `onefold maintain`: what is due, in a bounded time; and index objects and packs that are merged.

use std::fs;
use std::sync::Arc;

use onefold::maintain::{Options, maintain};
use onefold::prune;
use onefold::repo::check::Share;
use onefold::repo::prune::Limits;
use onefold::repo::{Repo, WriteOptions, world};
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::Watch;
use repo_format::log::Body;
use repo_format::names::Name;

use crate::repo::{backup, chunks, init, open, problems, put_all, restore};
use crate::user::{User, capture, ran, three};

fn indexes(repo: &Repo) -> usize {
    repo.refresh().unwrap().indexes().len()
}

/// Eighteen backups, each with an index object of its own.
fn many() -> (Arc<dyn Store>, Repo) {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    for seed in 0..18 {
        backup(&repo, &chunks(seed, 6));
    }
    (store, repo)
}

#[test]
fn small_index_objects_are_merged() {
    let (store, repo) = many();
    assert_eq!(indexes(&repo), 18);
    assert_eq!(repo.merge_indexes(&Watch::new(), true).unwrap(), 18);
    assert_eq!(indexes(&repo), 18, "a dry run merges nothing");
    assert_eq!(repo.merge_indexes(&Watch::new(), false).unwrap(), 18);
    assert_eq!(indexes(&repo), 1);
    let now = open(&store, None).unwrap();
    restore(&now, &chunks(17, 6));
    assert_eq!(problems(&now, true), Vec::<String>::new());
    // The same data again: what is known stays known.
    assert_eq!(backup(&now, &chunks(3, 6)).chunks_new, 0);
    assert_eq!(repo.merge_indexes(&Watch::new(), false).unwrap(), 0, "few are left as they are");
}

fn options(dry_run: bool) -> Options {
    let limits = Limits { unused: 0.05, moved: u64::MAX };
    Options { forget: None, prune: prune::Options { grace_ms: 0, limits, dry_run }, share: Share::Part(1.0) }
}

#[test]
fn small_packs_are_merged_and_nothing_else_moves() {
    let (store, repo) = many();
    let packs = |store: &dyn Store| {
        let mut packs = 0;
        store
            .list("pack", &mut |_, _| {
                packs += 1;
                Ok(())
            })
            .unwrap();
        packs
    };
    let before = packs(&*store);
    assert!(before >= 36, "{before}");
    let mut marks = onefold::repo::prune::Marks::new(&repo.scratch_dir());
    for id in repo.needed_snapshots().unwrap() {
        let (writer, snapshot) = repo.needed_snapshot(&id).unwrap();
        let number = marks.snapshot(id, writer).unwrap();
        snapshot.roots.iter().for_each(|(_, chunk)| marks.add(number, chunk).unwrap());
    }
    let marked = marks.finish().unwrap();
    let pruned = prune::of_marked(&repo, &marked, &options(false).prune, &Watch::new()).unwrap();
    assert!(pruned.done.packs_emptied >= 18 && pruned.done.packs_deleted == pruned.done.packs_emptied, "{pruned:?}");
    assert!(packs(&*store) + 16 <= before, "{} of {before}", packs(&*store));
    let now = open(&store, None).unwrap();
    restore(&now, &chunks(17, 6));
    assert_eq!(problems(&now, true), Vec::<String>::new());
}

/// A timer's time is over before it begins: nothing is done, and that is said.
#[test]
fn no_time_is_no_failure() {
    let (_store, repo) = many();
    let watch = Watch::new();
    watch.time_is_over();
    let done = maintain(&repo, &options(false), &watch).unwrap();
    let left: Vec<&str> = done.left.iter().map(|left| left.step).collect();
    assert_eq!(left, ["prune", "index", "log", "verify"], "{done:?}");
    assert!(done.left.iter().all(|left| left.why == "no time was left"), "{done:?}");
    assert_eq!(indexes(&repo), 18);
    // Somebody ends it: that is no question of time.
    let watch = Watch::new();
    watch.interrupt();
    assert_eq!(maintain(&repo, &options(false), &watch).unwrap_err().kind(), onefold::Kind::Interrupted);
}

/// What a writer without *read* wrote, and nobody vouches for: nothing of it is left either, once nobody needs it.
#[test]
fn of_unvouched_writers_nothing_is_left() {
    use repo_format::credential::{NewLock, Sets, Unlock};
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    let file = repo_format::keyfile::KeyFile::from_bytes([9; 32]);
    repo.add_key(Sets::WRITE, NewLock::KeyFile(&file)).unwrap();
    let machine = Repo::open(store.clone(), Unlock::KeyFile(&file), None).unwrap();
    for seed in [1, 2] {
        // Of what the first needs, the second needs a part.
        let data = [chunks(7, 40), chunks(seed, 40)].concat();
        let writer = machine.writer(WriteOptions::default()).unwrap();
        let roots = put_all(&writer, &data);
        writer.commit(roots, Default::default()).unwrap();
    }
    repo.refresh().unwrap();
    let first = repo.snapshots()[0].id;
    repo.forget(&[first].into()).unwrap();
    let prune = || {
        let mut marks = onefold::repo::prune::Marks::new(&repo.scratch_dir());
        for id in repo.needed_snapshots().unwrap() {
            let (writer, snapshot) = repo.needed_snapshot(&id).unwrap();
            let number = marks.snapshot(id, writer).unwrap();
            snapshot.roots.iter().for_each(|(_, chunk)| marks.add(number, chunk).unwrap());
        }
        prune::of_marked(&repo, &marks.finish().unwrap(), &options(false).prune, &Watch::new()).unwrap()
    };
    let pruned = prune();
    assert!(pruned.done.packs_condemned > 0, "{pruned:?}");
    for _ in 0..3 {
        prune();
    }
    let state = repo.refresh().unwrap();
    assert!(state.condemned().is_empty(), "{:?}", state.condemned());
    assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new());
    let mut names = Vec::new();
    store
        .list("index", &mut |name, _| {
            names.push(Name::parse(name).unwrap());
            Ok(())
        })
        .unwrap();
    assert!(names.iter().all(|name| matches!(name, Name::Index(index) if state.indexes().contains_key(index))));
    let reader = repo.reader().unwrap();
    let snapshot = repo.snapshot(&repo.snapshots()[0].id).unwrap();
    use onefold::run::ChunkSource;
    snapshot.roots.iter().for_each(|(kind, id)| drop(reader.get(*kind, id).unwrap()));
}

#[test]
fn a_timer_does_what_is_due() {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    let nodes = three(&root);
    user.backup(&nodes, &["--keyspace", "lab"]).fine();
    user.backup(&nodes, &["--keyspace", "lab", "--exclude", "lab.orders"]).fine();
    user.backup(&nodes, &["--keyspace", "lab"]).fine();
    let ids = user.snapshots();
    let dir = user.dir.path().display();
    let profile = |more: &str| {
        let says = format!("repository = \"{dir}/repo\"\nkey-file = \"{dir}/key\"\n{more}");
        fs::write(user.path("prod.toml"), says).unwrap();
    };
    let run = |args: &[&str]| {
        let mut command = user.command();
        ran(command.current_dir(user.dir.path()).args(["--profile", "prod.toml"]).args(args))
    };
    profile("");
    run(&["maintain", "--forget"]).failed(1, &["has no [forget]"]);
    for (table, word) in [
        ("keep-last = 1\nkeep-lots = 3", "keep-lots"),
        ("keep-last = \"many\"", "many"),
        ("prune = \"yes\"", "no part of a policy"),
        ("keep-last = true", "neither text nor a number"),
    ] {
        profile(&format!("[forget]\n{table}\n"));
        run(&["maintain", "--forget"]).failed(1, &["[forget]", word]);
        run(&["show-config"]).failed(1, &[word]);
    }
    profile("[forget]\nkeep-last = 1\ngrace = \"0s\"\ngroup-by = [\"cluster\"]\n");
    assert!(run(&["show-config"]).fine().contains("forget  keep-last = 1"));
    // Without --forget nothing is; what the policy says is what `forget` says without one of its own.
    let dry = run(&["maintain", "--forget", "--dry-run", "--json"]).objects().remove(0);
    assert_eq!(dry["forgotten"].as_array().unwrap().len(), 2, "{dry}");
    let told = run(&["forget", "--dry-run"]).fine();
    assert!(told.contains("2 snapshots would be forgotten, 1 left"), "{told}");
    let first = run(&["maintain", "--json"]).objects().remove(0);
    assert!(first["forgotten"].as_array().unwrap().is_empty() && first["pruned"].is_object(), "{first}");
    assert!(first["verified"]["packs"].as_u64() > Some(0) && first["left"].as_array().unwrap().is_empty(), "{first}");
    assert_eq!(user.snapshots(), ids);
    let again = run(&["maintain", "--json"]).objects().remove(0);
    assert!(again["pruned"].is_null(), "nothing has changed since: {again}");

    let said = run(&["maintain", "--forget", "--grace", "0s"]).fine();
    assert!(
        said.contains(&format!("snapshot {} forgotten", &ids[0][..10])) && said.contains("nothing is left"),
        "{said}"
    );
    assert_eq!(user.snapshots(), ids[2..]);
    let timeless = run(&["maintain", "--time", "0s"]).fine();
    assert!(timeless.contains("left: verify: no time was left"), "{timeless}");

    // Who may do a part does that, and says what is left.
    let key = |role: &str| {
        let path = user.path(role).to_str().unwrap().to_owned();
        user.run(&["key", "add", "--role", role, "--new-key-file", &path]).fine();
        path
    };
    for (role, left) in [("write", &["prune", "verify"][..]), ("admin", &["prune", "verify"]), ("read", &["prune"])] {
        let told = user.run(&["maintain", "--json", "--key-file", &key(role)]).objects().remove(0);
        let steps: Vec<&str> = told["left"].as_array().unwrap().iter().map(|l| l["step"].as_str().unwrap()).collect();
        assert_eq!(steps, left, "{role}: {told}");
    }
    assert!(user.run(&["check", "--read-data"]).fine().contains("no damage found"));
}

/// A backup that never ended is given up after a month, and what it uploaded goes; by no clock that the log says is wrong.
#[test]
fn who_never_ends_is_given_up_after_a_month() {
    const DAY_MS: i64 = 86_400_000;
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let repo = init(&store, None);
    backup(&repo, &chunks(1, 6));
    // Killed after some packs.
    let begin = |seed| {
        let of = open(&store, None).unwrap();
        let writer = of.writer(WriteOptions { index_packs: 1, ..WriteOptions::default() }).unwrap();
        put_all(&writer, &chunks(seed, 200));
    };
    let ended = |days: i64, dry_run: bool| {
        world::shift(days * DAY_MS);
        let marked = crate::prune::mark(&repo).unwrap();
        let options = prune::Options { dry_run, ..options(false).prune };
        prune::of_marked(&repo, &marked, &options, &Watch::new()).unwrap().done
    };
    begin(2);
    assert_eq!((ended(0, false).sessions_ended, ended(29, false).sessions_ended), (0, 0));
    assert_eq!(repo.refresh().unwrap().open_sessions().len(), 1);
    // This one lives, its clock is a year behind, and what the administrator wrote before says so.
    repo.administer(&mut |_| Ok(Body::Forget { snapshots: Default::default() })).unwrap();
    world::shift(-365 * DAY_MS);
    begin(3);
    assert_eq!(ended(31, true).sessions_ended, 1);
    assert_eq!(repo.refresh().unwrap().open_sessions().len(), 2, "a dry run ends nobody");
    let done = ended(31, false);
    assert!(done.sessions_ended == 1 && done.packs_condemned > 0, "{done:?}");
    assert_eq!(ended(31, false).sessions_ended, 0);
    // A clock that is a year ahead is seen through by what comes after.
    world::shift(365 * DAY_MS);
    begin(4);
    world::shift(31 * DAY_MS);
    repo.administer(&mut |_| Ok(Body::Forget { snapshots: Default::default() })).unwrap();
    assert_eq!(ended(50, false).sessions_ended, 0);
    assert_eq!(ended(62, false).sessions_ended, 2);
    world::shift(0);
    assert!(repo.refresh().unwrap().open_sessions().is_empty());
    restore(&repo, &chunks(1, 6));
    assert_eq!(problems(&open(&store, None).unwrap(), true), Vec::<String>::new());
}
