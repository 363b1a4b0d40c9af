//! What a backup takes from earlier snapshots, which of them `latest` means, and what one bad object hides: nothing.

use std::fs;
use std::path::PathBuf;

use onefold::backup::Previous;
use onefold::repo::Repo;
use onefold::store::open;
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;

use crate::user::{User, capture, copy, files_below, nodes, ran, three};

fn backup(user: &User, cluster: &str, dirs: &[PathBuf], more: &[&str]) {
    let mut command = user.command();
    let ran = ran(command.args(["backup", "cassandra", "--cluster", cluster]).args(nodes(dirs)).args(more));
    assert!(ran.code == Some(0) || ran.code == Some(4), "{ran:?}");
}

/// The three nodes with one table of `lab` only.
fn only(table: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let keep = |name: &str| !name.starts_with("lab/") || name == format!("lab/{table}");
    for node in three(&capture("cassandra-5.0")) {
        copy(&node, &dir.path().join(node.file_name().unwrap()), &keep);
    }
    let dirs = three(dir.path());
    (dir, dirs)
}

fn repo(user: &User) -> Repo {
    let key = KeyFile::from_text(&fs::read_to_string(user.path("key")).unwrap()).unwrap();
    Repo::open(open(user.path("repo").to_str().unwrap()).unwrap(), Unlock::KeyFile(&key), None).unwrap()
}

#[test]
fn each_shard_comes_from_the_newest_snapshot_of_its_cluster_that_has_it() {
    let user = User::new();
    let all = three(&capture("cassandra-5.0"));
    backup(&user, "one", &all, &[]);
    // A part of the schema that is known by `schema.cql` alone: incomplete, and without most tables.
    let (dir, _) = only("users");
    let bare = tempfile::tempdir().unwrap();
    for node in three(dir.path()) {
        copy(&node, &bare.path().join(node.file_name().unwrap()), &|table| table == "lab/users");
    }
    backup(&user, "one", &three(bare.path()), &[]);
    backup(&user, "two", &three(&capture("cassandra-4.1")), &[]);
    let ids = user.snapshots();
    let repo = repo(&user);
    let of = |cluster: &str| Previous::of(&repo, "cassandra", cluster, None);
    let shown: Vec<serde_json::Value> =
        ids.iter().map(|id| user.run(&["show", id, "--json"]).objects().remove(0)).collect();
    let id = |place: usize, name: &str| {
        let shards = shown[place]["shards"].as_array().unwrap();
        shards.iter().find(|s| s["name"] == name).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let one = of("one");
    assert_eq!(one.newest().unwrap().id, ids[1]);
    // The incomplete one is newer and has the table, too.
    assert_eq!(id(0, "lab.users"), id(1, "lab.users"));
    assert_eq!(one.shard(&id(0, "lab.users")).unwrap().of.id, ids[0]);
    assert_eq!(one.shard(&id(0, "lab.orders")).unwrap().of.id, ids[0]);
    assert!(one.shard(&id(2, "lab.orders")).is_none(), "of the other cluster");
    assert_eq!(of("two").shard(&id(2, "lab.orders")).unwrap().of.id, ids[2]);
    assert!(of("three").newest().is_none());
    assert!(Previous::of(&repo, "other", "one", None).newest().is_none());
}

#[test]
fn latest_and_the_list_take_cluster_host_and_labels() {
    let user = User::new();
    let (_dir, dirs) = only("ties");
    backup(&user, "one", &dirs, &["--host", "a", "--tag", "nightly", "--tag", "kept"]);
    backup(&user, "one", &dirs, &["--host", "b", "--tag", "nightly"]);
    backup(&user, "two", &dirs, &["--host", "a"]);
    let ids = user.snapshots();
    let found = |more: &[&str]| user.run(&[&["show", "--json"], more].concat()).objects()[0]["id"].clone();
    let listed = |more: &[&str]| {
        let listed = user.run(&[&["snapshots", "--json"], more].concat()).objects();
        listed.iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), ids[2]);
    let cases: [(&[&str], &[usize]); 6] = [
        (&["--cluster", "one"], &[0, 1]),
        (&["--host", "a"], &[0, 2]),
        (&["--tag", "nightly"], &[0, 1]),
        (&["--tag", "nightly", "--tag", "kept"], &[0]),
        (&["--cluster", "one", "--host", "a"], &[0]),
        (&["--cluster", "two"], &[2]),
    ];
    for (filter, fitting) in cases {
        assert_eq!(found(filter), ids[*fitting.last().unwrap()], "{filter:?}");
        assert_eq!(listed(filter), fitting.iter().map(|n| ids[*n].clone()).collect::<Vec<_>>(), "{filter:?}");
    }
    user.run(&["show", "--cluster", "three"]).failed(1, &["none of that cluster"]);
    user.run(&["show", &ids[0], "--cluster", "one"]).failed(1, &["names one snapshot"]);
    assert!(listed(&["--cluster", "three"]).is_empty());
    for option in ["--tag", "--host", "--cluster", "--snapshot-tag"] {
        let mut command = user.command();
        command.args(["backup", "cassandra", "--cluster", "one"]).args(nodes(&dirs)).args([option, ""]);
        ran(&mut command).failed(1, &[option]);
    }
    let rows = |more: &[&str]| user.run(&[&["restore", "--to", "json", "--table", "lab.ties"], more].concat());
    assert_eq!(rows(&["--tag", "kept"]).out, rows(&[]).out);
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    backup(&user, "one", &dirs, &[]);
    assert_eq!(user.show()["host"], machine.trim());
}

#[test]
fn a_snapshot_that_is_lost_or_empty_stops_nothing() {
    let (_dir, dirs) = only("ties");
    for (place, empty) in [(2, true), (2, false), (0, true), (0, false)] {
        let user = User::new();
        (0..3).for_each(|_| backup(&user, "prod", &dirs, &[]));
        let ids = user.snapshots();
        // Its second copy, too: one alone is healed.
        let objects = files_below(&user.path("repo"));
        let objects: Vec<_> = objects.iter().filter(|path| path.ends_with(&ids[place])).collect();
        assert_eq!(objects.len(), 2);
        for object in objects {
            fs::remove_file(object).unwrap();
            if empty {
                fs::write(object, "").unwrap();
            }
        }
        let listed = user.run(&["snapshots"]);
        assert_eq!(listed.code, Some(5), "{listed:?}");
        let lines: Vec<&str> = listed.out.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            assert!(line.starts_with(&ids[n][..10]), "{line}");
            assert_eq!(line.contains("CANNOT BE READ"), n == place, "{line}");
        }
        assert_eq!(lines.len(), 3);
        let ran = user.backup(&dirs, &[]);
        assert!(ran.code == Some(0) || ran.code == Some(4), "{ran:?}");
        // Only as many are read as are needed: the oldest is not.
        assert_eq!(ran.err.contains(&ids[place]), place == 2, "{ran:?}");
        let latest = user.show();
        let notes = latest["notes"].to_string();
        assert_eq!(notes.contains("passed over"), place == 2, "{notes}");
        // Another cluster finds none, and says which ones it could not read.
        backup(&user, "another", &dirs, &[]);
        assert_eq!(user.rows("latest", "lab.ties"), user.rows(&ids[1], "lab.ties"));
    }
}
