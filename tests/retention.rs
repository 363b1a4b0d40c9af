//! `onefold forget` and `prune`, as a user runs them.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::user::{User, capture, expected, ran, three};

/// A user with three snapshots: of all tables, an incomplete one, and of all tables but one.
fn three_nights() -> (User, Vec<String>) {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    let nodes = three(&root);
    user.backup(&nodes, &["--keep-node-views"]).fine();
    assert_eq!(user.backup(&nodes[..2], &["--exclude", "lab.orders"]).code, Some(4));
    user.backup(&nodes, &["--exclude", "lab.orders"]).fine();
    let ids = user.snapshots();
    (user, ids)
}

#[test]
fn what_goes_is_said_and_what_stays_is_whole() {
    let (user, ids) = three_nights();
    user.run(&["forget"]).failed(1, &["neither a snapshot nor a policy", "--keep-daily 7"]);
    user.run(&["forget", "--keep-last", "0"]).failed(1, &["neither a snapshot nor a policy"]);
    user.run(&["forget", "--keep-within", "6m"]).failed(1, &["months are mo"]);
    user.run(&["forget", "zz"]).failed(1, &["snapshot zz", "there is no such snapshot"]);
    let mut all = vec!["forget"];
    all.extend(ids.iter().map(String::as_str));
    user.run(&all).failed(1, &["would leave no snapshot at all", "--unsafe-allow-remove-all"]);

    // Nothing goes in the first seven days.
    let said = user.run(&["forget", "--keep-last", "1"]).fine();
    assert!(
        said.lines().filter(|line| line.starts_with("keep")).all(|line| line.contains("within the grace")),
        "{said}"
    );
    assert!(said.ends_with("0 snapshots forgotten, 3 left\n"), "{said}");

    // Of the hour the last; the first has a table that no later one has; the incomplete one goes.
    let policy = ["forget", "--keep-last", "1", "--grace", "0s"];
    let told = user.run(&[&policy[..], &["--dry-run", "--json"]].concat());
    let told = told.objects();
    let verdicts: Vec<(&str, &Value)> = told.iter().filter_map(|o| Some((o["id"].as_str()?, &o["verdict"]))).collect();
    let want = [(ids[0].as_str(), "keep"), (&ids[1], "forget"), (&ids[2], "keep")];
    assert!(verdicts.iter().zip(want).all(|((id, v), (of, want))| *id == of && *v == want), "{told:?}");
    assert_eq!(user.snapshots(), ids);
    let said = user.run(&policy).fine();
    assert!(said.contains("last complete one of") && said.contains("1 snapshots forgotten, 2 left"), "{said}");
    assert_eq!(user.snapshots(), [ids[0].clone(), ids[2].clone()]);

    let policy = ["forget", "--keep-daily", "7", "--keep-weekly", "4", "--grace", "0s", "--simulate"];
    let simulated = user.run(&policy).fine();
    assert!(simulated.contains("cluster prod (cassandra): with a backup every 1 h, "), "{simulated}");
    let ages = simulated.trim_end().rsplit("in days: ").next().unwrap().split(' ').count();
    assert!((10..=12).contains(&ages), "seven days, and the weeks before: {simulated}");

    let (stored, rows) = (user.stored(), expected(&capture("cassandra-5.0"), "users"));
    user.run(&["forget", &ids[0][..8]]).fine();
    let dry = user.run(&["prune", "--dry-run"]).fine();
    assert!(dry.contains("would be condemned"), "{dry}");
    let first = user.run(&["prune", "--json"]).objects().remove(0);
    assert!(first["packs_condemned"].as_u64() > Some(0), "{first}");
    let waits = user.run(&["prune"]).fine();
    assert!(waits.contains("wait for their grace to end"), "{waits}");
    user.run(&["prune", "--grace", "0s"]).fine();
    assert!(user.stored() < stored, "{} of {stored} bytes are left", user.stored());
    assert_eq!(user.rows("latest", "lab.users"), rows);
    assert!(user.run(&["check", "--read-data"]).fine().contains("no damage found"));
    let last = user.run(&["prune", "--grace", "0s", "--json"]).objects().remove(0);
    assert_eq!((&last["packs_condemned"], &last["packs_deleted"]), (&0.into(), &0.into()), "{last}");
    // The next night stores what is missing, and no more.
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    assert_eq!(user.rows("latest", "lab.users"), rows);
}

/// What the command line says of which snapshots are meant, and how, counts beside the policy of a profile; and `latest` is of those.
#[test]
fn nothing_that_is_said_is_passed_over() {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    let nodes = three(&root);
    for cluster in ["one", "two", "one", "two"] {
        let mut command = user.command();
        ran(command.args(["backup", "cassandra", "--cluster", cluster]).args(crate::user::nodes(&nodes))).fine();
    }
    let ids = user.snapshots();
    let told = user.run(&["forget", "latest", "--cluster", "one", "--dry-run"]).fine();
    assert!(told.contains(&ids[2][..10]) && told.contains("named"), "{told}");
    user.run(&["forget", "latest", "--cluster", "three", "--dry-run"]).failed(1, &["there is none of that cluster"]);
    user.run(&["forget", &ids[0], "--cluster", "one"]).failed(1, &["names one snapshot"]);
    user.run(&["forget", &ids[0], "--keep-daily", "7"]).failed(1, &["beside a policy"]);
    for labels in ["", "nightly,", " "] {
        user.run(&["forget", "--keep-tag", labels]).failed(1, &["empty label"]);
    }
    let dir = user.dir.path().display();
    let policy = "[forget]\nkeep-last = 1\ngrace = \"0s\"\ncluster = \"two\"\n";
    fs::write(user.path("p.toml"), format!("repository = \"{dir}/repo\"\nkey-file = \"{dir}/key\"\n{policy}")).unwrap();
    let goes = |more: &[&str]| -> Vec<String> {
        let mut command = user.command();
        let words = ["--profile", "p.toml", "forget", "--dry-run", "--json"];
        let told = ran(command.current_dir(user.dir.path()).args(words).args(more)).objects();
        let gone = told.iter().filter(|line| line["verdict"] == "forget");
        gone.map(|line| line["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(goes(&[]), [ids[1].clone()]);
    assert_eq!(goes(&["--cluster", "one"]), [ids[0].clone()]);
    assert!(goes(&["--grace", "30d"]).is_empty());
    assert!(goes(&["--cluster", "one", "--tag", "none"]).is_empty());
}

/// A rehearsal of forgetting with taking away says what both together do.
#[test]
fn a_dry_run_takes_away_what_would_be_forgotten() {
    let (user, ids) = three_nights();
    let counts = |line: &Value| (line["packs_condemned"].clone(), line["bytes_condemned"].clone());
    let dry = user.run(&["forget", &ids[0], "--prune", "--dry-run", "--json"]).objects();
    let dry = dry.iter().find(|line| line["packs_condemned"].is_u64()).unwrap();
    assert!(dry["requests"]["writes"].as_u64() > Some(0), "{dry}");
    let done = user.run(&["forget", &ids[0], "--prune", "--json"]).objects();
    let done = done.iter().find(|line| line["packs_condemned"].is_u64()).unwrap();
    assert!(counts(dry) == counts(done) && dry["packs_condemned"].as_u64() > Some(0), "{dry} {done}");
}

/// A folder of packs that is empty is a disk that is not mounted, until somebody says otherwise.
#[test]
fn packs_that_are_all_gone_are_not_stored_anew_unasked() {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    let nodes = three(&root);
    user.backup(&nodes, &["--exclude", "lab.orders"]).fine();
    user.backup(&nodes, &[]).fine();
    fs::rename(user.path("repo/pack"), user.path("away")).unwrap();
    fs::create_dir(user.path("repo/pack")).unwrap();
    let left = user.stored();
    user.backup(&nodes, &[]).failed(5, &["pack/", "is empty", "--declare-lost"]);
    assert!(user.stored() < left + 2000, "an entry of the log at most was uploaded");
    // They are lost for good.
    assert_eq!(user.run(&["check", "--declare-lost"]).code, Some(5));
    user.backup(&nodes, &[]).fine();
    assert_eq!(user.rows("latest", "lab.users"), expected(&root, "users"));
}

#[test]
fn who_may_not_is_told() {
    let (user, ids) = three_nights();
    let machine = user.path("machine.key");
    let machine = machine.to_str().unwrap();
    user.run(&["key", "add", "--role", "write", "--new-key-file", machine]).fine();
    for args in [&["forget", &ids[0]][..], &["forget", "--keep-last", "1"], &["prune"], &["prune", "--dry-run"]] {
        user.run(&[args, &["--key-file", machine]].concat()).failed(12, &["this credential holds write"]);
    }
    assert_eq!(user.snapshots(), ids);
}

#[test]
fn a_snapshot_that_cannot_be_walked_stops_a_prune() {
    let (user, ids) = three_nights();
    user.run(&["forget", &ids[0]]).fine();
    for file in crate::user::files_below(&user.path("repo")) {
        if file.to_string_lossy().contains(&ids[2]) {
            std::fs::write(&file, b"no snapshot").unwrap();
        }
    }
    let stored = user.stored();
    user.run(&["prune", "--grace", "0s"]).failed(5, &[&ids[2], "nothing is taken away"]);
    assert_eq!(user.stored(), stored);
}

/// Makes the two objects of a snapshot as old as a store would say.
fn age(user: &User, id: &str, days: u64) {
    let age = Duration::from_secs(days * 86_400);
    let files = crate::user::files_below(&user.path("repo"));
    let of = files.iter().filter(|file| file.to_string_lossy().contains("snapshot") && file.ends_with(id));
    assert_eq!(of.clone().count(), 2, "{files:?}");
    for file in of.map(|path| fs::File::open(path).unwrap()) {
        file.set_modified(file.metadata().unwrap().modified().unwrap() - age).unwrap();
    }
}

/// What the store says of a snapshot's age stands against what its writer's clock says.
#[test]
fn dates_of_the_store_are_looked_at() {
    let (user, ids) = three_nights();
    let policy = ["forget", "--keep-last", "1", "--dry-run"];
    let said = |args: &[&str], id: &str| {
        let all = user.run(&[&policy[..], args].concat()).fine();
        all.lines().find(|line| line.contains(&id[..10])).unwrap_or_else(|| panic!("{all}")).to_owned()
    };
    assert!(said(&["--grace", "0s"], &ids[1]).starts_with("forget"));
    // Written long before its clock says that it was committed.
    age(&user, &ids[0], 60);
    age(&user, &ids[1], 40);
    let line = said(&["--grace", "0s"], &ids[1]);
    assert!(line.starts_with("keep") && line.contains("its time contradicts the store's date of it"), "{line}");
    assert!(!said(&["--grace", "0s"], &ids[2]).contains("contradicts"));
    // By its name it goes all the same.
    user.run(&["forget", &ids[1][..10]]).fine();
    assert_eq!(user.snapshots().len(), 2);
}

/// An administrator's clock is ten years ahead: what was committed in the last days stays all the same.
#[test]
fn a_clock_that_is_ahead_lets_nothing_grow_old() {
    use onefold::forget::policy::{Period, Policy};
    use onefold::forget::{By, Options, judge};
    use onefold::repo::world;
    let store: std::sync::Arc<dyn onefold::store::Store> = std::sync::Arc::new(onefold::store::memory::Memory::new());
    let dir = tempfile::tempdir().unwrap();
    let (node, of_table, table) = crate::nights::site(dir.path());
    let repo = crate::nights::init(&store, None);
    let day = 86_400_000;
    for at in 0..3 {
        world::shift(at * day);
        crate::nights::write(&of_table, &table, &crate::nights::many_rows(50 + at as i32));
        crate::nights::night(&repo, dir.path(), &node, None, true);
    }
    world::shift(3650 * day);
    let policy = Policy { counts: [(Period::Last, 1)].into(), grace_ms: 7 * day as u64, ..Policy::default() };
    let options = Options { policy, by: [By::Cluster].into(), filter: Default::default(), allow_nothing: false };
    let judgement = judge(&repo, &options).unwrap();
    world::shift(0);
    assert!(judgement.forgotten().is_empty(), "{judgement:?}");
}
