//! Bad input, through the real binary: an error or a snapshot that names the object and the remedy, the exit code of
//! the README, and nothing lost that was stored before.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use onefold::repo::{Repo, WriteOptions};
use onefold::run::{ChunkKind, ChunkSink, ChunkSource};
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use repo_format::snapshot::Says;
use serde_json::Value;

use crate::user::{Ran, User, capture, copy, expected, files_below, mend_manifest, ran, table_dir, three};

/// Tables that the copies of these tests hold besides the node's own.
const KEPT: [&str; 3] = ["lab/users", "lab/orders", "lab/tiny"];

fn few(table: &str) -> bool {
    table.starts_with("system") || KEPT.contains(&table)
}

/// A user with one good snapshot of the 5.0 capture, and copies of its nodes to spoil.
struct Spoiled {
    user: User,
    nodes: Vec<PathBuf>,
    first: String,
}

impl Spoiled {
    fn new() -> Spoiled {
        Spoiled::with(&few)
    }

    fn with(keep: &dyn Fn(&str) -> bool) -> Spoiled {
        let root = capture("cassandra-5.0");
        let user = User::new();
        // Of another cluster's name: the copies hold fewer tables, which would be missed.
        let mut command = user.command();
        command.args(["backup", "cassandra", "--cluster", "whole"]).args(crate::user::nodes(&three(&root)));
        ran(&mut command).fine();
        let first = user.snapshots().remove(0);
        let nodes: Vec<PathBuf> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
        three(&root).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, keep));
        Spoiled { user, nodes, first }
    }

    fn backup(&self) -> Ran {
        self.user.backup(&self.nodes, &[])
    }

    /// Nodes with their addresses in the ring.
    fn backup_at(&self, more: &[&str]) -> Ran {
        let mut command = self.user.command();
        command.args(["backup", "cassandra", "--cluster", "prod"]);
        for (n, dir) in (1..).zip(&self.nodes) {
            command.arg(format!("--node=n{n}@127.0.0.{n}={}", dir.display()));
        }
        ran(command.args(more))
    }

    /// What was stored before is there and whole.
    #[track_caller]
    fn nothing_lost(&self, snapshots: usize) {
        assert_eq!(self.user.snapshots().len(), snapshots);
        assert_eq!(self.user.rows(&self.first, "lab.users"), expected(&capture("cassandra-5.0"), "users"));
        self.user.run(&["check", "--read-data"]).fine();
    }
}

#[test]
fn no_repository_and_wrong_keys() {
    let s = Spoiled::new();
    let nowhere = s.user.path("nowhere");
    let place = nowhere.to_str().unwrap();
    s.user.run(&["snapshots", "-r", place]).failed(10, &[place, "no repository", "onefold init"]);
    let backup = ran(s.user.command().args(["backup", "cassandra", "--cluster", "p", "-r", place, "--node=n1=x"]));
    backup.failed(10, &[place]);
    assert!(!nowhere.exists());
    ran(s.user.command().env_remove("ONEFOLD_REPOSITORY").arg("snapshots")).failed(1, &["-r PLACE"]);
    let other = User::new();
    let key = other.path("key");
    s.user.run(&["snapshots", "--key-file", key.to_str().unwrap()]).failed(12, &["wrong password or key file"]);
    s.user.run(&["snapshots", "--key-file", place]).failed(1, &[place]);
    fs::write(&nowhere, "rubbish").unwrap();
    s.user.run(&["snapshots", "--key-file", place]).failed(12, &[place, "no key file"]);
    // A key file is not made where a repository is already.
    let new = s.user.path("new-key");
    s.user.run(&["init", "--new-key-file", new.to_str().unwrap()]).failed(1, &["repo", "already"]);
    assert!(!new.exists(), "a key that opens nothing is left behind");
    s.user.run(&["frobnicate"]).failed(1, &["frobnicate"]);
    s.nothing_lost(1);
}

#[test]
fn nodes_that_cannot_be() {
    let s = Spoiled::new();
    let mut nodes = s.nodes.clone();
    nodes[1] = s.user.path("missing");
    s.user.backup(&nodes, &[]).failed(1, &["node n2", "missing", "KEYSPACE/TABLE-ID/"]);
    // A file where a folder should be, a folder without tables.
    nodes[1] = s.user.path("key");
    s.user.backup(&nodes, &[]).failed(1, &["node n2", "key", "KEYSPACE/TABLE-ID/"]);
    nodes[1] = s.user.path("empty");
    fs::create_dir(&nodes[1]).unwrap();
    s.user.backup(&nodes, &[]).failed(1, &["node n2", "empty", "holds no tables", "KEYSPACE/TABLE-ID/"]);
    nodes[1] = nodes[0].clone();
    s.user.backup(&nodes, &[]).failed(1, &["nodes n1 and n2", "same host id", "leave one out"]);
    nodes[1] = capture("cassandra-4.1").join("node2");
    s.user.backup(&nodes, &[]).failed(1, &["nodes n1 and n2", "different clusters", "lab50", "lab41"]);
    let one = format!("--node=n1={}", s.nodes[1].display());
    s.user.backup(&s.nodes[..1], &[&one]).failed(1, &["same name", "name of its own"]);
    for bad in ["--node=n1", "--node==x", "--node=n1@=x", "--node=n1="] {
        s.user.backup(&[], &[bad]).failed(1, &["NAME[@ADDRESS]=DIR"]);
    }
    s.user.backup(&s.nodes, &["--source-ring", "missing-ring"]).failed(1, &["missing-ring"]);
    let key = s.user.path("key");
    let ring = ["--source-ring", key.to_str().unwrap()];
    s.user.backup(&s.nodes, &ring).failed(1, &[ring[1], "nodetool ring"]);
    s.nothing_lost(1);
}

#[test]
fn schemas_that_disagree() {
    let s = Spoiled::with(&|table| few(table) && !table.starts_with("system"));
    let path = table_dir(&s.nodes[1], "lab", "tiny").join("schema.cql");
    let cql = fs::read_to_string(&path).unwrap();
    let changed = cql.replacen(" int,\n", " bigint,\n", 1);
    assert_ne!(cql, changed);
    fs::write(&path, changed).unwrap();
    s.backup().failed(1, &["table lab.tiny", "differently", "nodetool describecluster"]);
    s.nothing_lost(1);
}

/// A node whose file was spoiled: every row that other files hold is there, and the file comes back as it is.
fn spoil(what: &str, words: &[&str], change: &dyn Fn(&Path)) {
    let s = Spoiled::new();
    let dir = table_dir(&s.nodes[0], "lab", "users");
    change(&dir);
    let backup = s.backup();
    assert_eq!(backup.code, Some(3), "{what}: {backup:?}");
    backup.failed(3, &["node n1", "lab.users", "kept"]);
    backup.failed(3, words);
    let show = s.user.show();
    assert_eq!(show["complete"], false, "{what}");
    let problems = show["problems"].as_array().unwrap();
    assert!(problems.iter().any(|p| p.to_string().contains("lab.users")), "{what}: {problems:?}");
    assert!(s.user.run(&["show"]).fine().contains("problem    node n1"), "{what}");

    // The files of that SSTable, as they are.
    let out = s.user.path("files");
    s.user.run(&["restore", "--to", "files", "--node", "n1", "--out", out.to_str().unwrap()]).fine();
    let spoiled: Vec<PathBuf> = files_below(&dir)
        .into_iter()
        .filter(|p| p.file_name().unwrap().to_string_lossy().contains("-1-big-"))
        .collect();
    assert!(spoiled.len() >= 7, "{spoiled:?}");
    for file in &spoiled {
        let name = file.strip_prefix(&s.nodes[0]).unwrap();
        assert!(fs::read(out.join("n1").join(name)).unwrap() == fs::read(file).unwrap(), "{what} {}", name.display());
    }
    let rows = s.user.run(&["restore", "--to", "json", "--table", "lab.users"]);
    rows.failed(3, &["lab.users", "of node n1", "not restored", "--to files"]);
    let rows = crate::user::lines(&rows.out);
    spoiled.iter().for_each(|file| fs::remove_file(file).unwrap());
    s.backup().failed(4, &["node n1", "lab.users", "manifest.json names nb-1-big-Data.db", "copy it again"]);
    mend_manifest(&dir);
    s.backup().fine();
    assert_eq!(rows, s.user.rows("latest", "lab.users"), "{what}: the rows of all other files");
    assert!(rows.len() > 100, "{what}: {}", rows.len());
    let orders = expected(&capture("cassandra-5.0"), "orders");
    assert_eq!(s.user.rows("latest", "lab.orders"), orders, "{what}: other tables");
    s.nothing_lost(4);
}

fn change(path: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    with(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn rename_group(dir: &Path, to: &str) {
    for file in files_below(dir) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(rest) = name.strip_prefix("nb-1-big-") {
            fs::rename(&file, dir.join(format!("{to}-1-big-{rest}"))).unwrap();
        }
    }
}

#[test]
fn damaged_files_are_kept() {
    spoil("truncated data", &["nb-1-big-Data.db"], &|dir| {
        let file = OpenOptions::new().write(true).open(dir.join("nb-1-big-Data.db")).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    spoil("no data", &["nb-1-big-Data.db"], &|dir| {
        OpenOptions::new().write(true).open(dir.join("nb-1-big-Data.db")).unwrap().set_len(0).unwrap();
    });
    spoil("missing data", &["nb-1-big-Data.db"], &|dir| fs::remove_file(dir.join("nb-1-big-Data.db")).unwrap());
    spoil("a corrupt block", &["nb-1-big-Data.db"], &|dir| {
        change(&dir.join("nb-1-big-Data.db"), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        });
    });
}

#[test]
fn damaged_statistics_are_kept() {
    spoil("truncated statistics", &["nb-1-big-Statistics.db"], &|dir| {
        change(&dir.join("nb-1-big-Statistics.db"), |bytes| bytes.truncate(100));
    });
    spoil("garbled statistics", &["nb-1-big-Statistics.db"], &|dir| {
        change(&dir.join("nb-1-big-Statistics.db"), |bytes| bytes.iter_mut().for_each(|b| *b ^= 0xa5));
    });
    spoil("missing statistics", &["nb-1-big-Statistics.db"], &|dir| {
        fs::remove_file(dir.join("nb-1-big-Statistics.db")).unwrap();
    });
}

#[test]
fn unknown_files_are_kept() {
    spoil("an unknown compressor", &["XZ4Compressor", "not understood"], &|dir| {
        change(&dir.join("nb-1-big-CompressionInfo.db"), |bytes| {
            let at = bytes.windows(13).position(|w| w == b"LZ4Compressor").unwrap();
            bytes[at] = b'X';
            bytes[at + 1] = b'Z';
        });
    });
    spoil("a version to come", &["pa", "not understood"], &|dir| rename_group(dir, "pa"));
    spoil("a version nobody knows", &["zz", "not understood"], &|dir| rename_group(dir, "zz"));
}

#[test]
fn a_node_left_out_is_named() {
    let s = Spoiled::new();
    let said = s.user.backup(&s.nodes[..2], &[]);
    said.failed(4, &["127.0.0.3"]);
    assert!(said.out.contains("INCOMPLETE"), "{said:?}");
    let shown = s.user.run(&["show"]).fine();
    assert!(shown.contains("INCOMPLETE") && shown.contains("127.0.0.3"), "{shown}");
    assert!(s.user.run(&["snapshots"]).fine().contains("INCOMPLETE"));
    let show = s.user.show();
    assert_eq!(show["complete"], false);
    let users = show["shards"].as_array().unwrap().iter().find(|t| t["name"] == "lab.users").unwrap();
    assert_eq!(users["unread"], Value::from(vec!["127.0.0.3"]));
    // A window, from the first capture to the last.
    let captured = |n: usize| show["nodes"][n]["captured"].as_u64().unwrap();
    assert_eq!(show["window"], Value::from(vec![captured(0).min(captured(1)), captured(0).max(captured(1))]));
    s.nothing_lost(2);
}

#[test]
fn a_ring_nobody_knows() {
    let s = Spoiled::with(&|table| few(table) && !table.starts_with("system/"));
    let said = s.backup();
    said.failed(4, &["ring", "--source-ring"]);
    let shown = s.user.run(&["show"]).fine();
    assert!(shown.contains("INCOMPLETE") && shown.contains("ring"), "{shown}");
    // Given by hand, everything is known.
    let ring = capture("cassandra-5.0").join("ring.txt");
    let ring = ["--source-ring", ring.to_str().unwrap()];
    s.backup_at(&ring).fine();
    let users = expected(&capture("cassandra-5.0"), "users");
    assert_eq!(s.user.rows("latest", "lab.users"), users);
    // Without `system_schema`, `schema.cql` tells the columns, but nothing how its keyspace is replicated.
    for node in &s.nodes {
        fs::remove_dir_all(node.join("system_schema")).unwrap();
    }
    s.backup_at(&ring).failed(4, &["keyspace lab", "system_schema"]);
    assert_eq!(s.user.rows("latest", "lab.users"), users);
    // Without addresses nobody knows which of its nodes were captured.
    s.user.backup(&s.nodes, &ring).failed(4, &["node n1", "not in the ring", "--node n1@ADDRESS"]);
    s.nothing_lost(5);
}

#[test]
fn names_that_are_not_there() {
    let s = Spoiled::new();
    let restore = |more: &[&str]| s.user.run(&[&["restore", "latest", "--to", "json"], more].concat());
    let users = ["--table", "lab.users"];
    restore(&[&users[..], &["--where", "nmae = 'x'"]].concat()).failed(1, &["lab.users", "nmae", "name, settings"]);
    restore(&[&users[..], &["--where", "id = 'x'"]].concat()).failed(1, &["id", "bigint"]);
    restore(&[&users[..], &["--where", "id ="]].concat()).failed(1, &["column id", "write a number"]);
    restore(&["--table", "lab.usrs"]).failed(1, &["lab.usrs", "lab.users"]);
    restore(&[&users[..], &["--node", "n9"]].concat()).failed(1, &["n9", "n1, n2, n3"]);
    restore(&["--where", "id = 1"]).failed(1, &["--table"]);
    s.user.run(&["drift", "--table", "lab.usrs"]).failed(1, &["lab.usrs", "lab.users"]);
    s.nothing_lost(1);
}

#[test]
fn a_repository_of_a_newer_version() {
    let s = Spoiled::new();
    let config = s.user.path("repo").join("config");
    let second = s.user.path("repo").join("copy/config");
    let bytes = fs::read(&config).unwrap();
    // After the first bytes and the kind of the object: its version, and the features that one must understand.
    let mut newer = bytes.clone();
    newer[8] += 1;
    let mut featured = bytes.clone();
    featured[9] = 1;
    featured.splice(10..10, *b"\x07sharing");
    for (changed, word) in [(newer, "version"), (featured, "sharing")] {
        replace(&config, &changed);
        replace(&second, &changed);
        for args in [&["snapshots"][..], &["check"], &["restore", "--to", "json"]] {
            s.user.run(&[args, &["--no-cache"]].concat()).failed(1, &["config", word, "newer version of onefold"]);
        }
        s.user.backup(&s.nodes, &["--no-cache"]).failed(1, &["config", word]);
    }
    replace(&config, &bytes);
    replace(&second, &bytes);
    s.nothing_lost(1);
}

/// Objects are read-only.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_in_the_repository_is_exit_5() {
    let s = Spoiled::new();
    let packs = files_below(&s.user.path("repo").join("pack"));
    let before: Vec<Vec<u8>> = packs.iter().map(|pack| fs::read(pack).unwrap()).collect();
    let mut damaged = before[0].clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    replace(&packs[0], &damaged);
    let checked = s.user.run(&["check", "--read-data"]);
    assert_eq!(checked.code, Some(5), "{checked:?}");
    assert!(checked.out.contains("DAMAGE FOUND") && checked.out.contains("pack/"), "{checked:?}");
    // Rows may do without the frame in the middle, or that pack: so every frame (of 4 KiB at least) of every pack.
    for (pack, bytes) in packs.iter().zip(&before) {
        let mut damaged = bytes.clone();
        damaged.iter_mut().step_by(1024).for_each(|byte| *byte ^= 1);
        replace(pack, &damaged);
    }
    s.user.run(&["restore", "--to", "json"]).failed(5, &["pack"]);
    packs.iter().zip(&before).for_each(|(pack, bytes)| replace(pack, bytes));
    s.nothing_lost(1);
}

/// While one process writes, others write and read beside it, and take nothing of it for dead.
#[test]
fn a_writer_beside_another() {
    let s = Spoiled::new();
    let key = KeyFile::from_text(&fs::read_to_string(s.user.path("key")).unwrap()).unwrap();
    let store = onefold::store::open(s.user.path("repo").to_str().unwrap()).unwrap();
    let repo = Repo::open(store, Unlock::KeyFile(&key), Some(&s.user.path("cache"))).unwrap();
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let id = ChunkSink::put(&writer, ChunkKind::Data, b"of the other").unwrap();
    s.backup().fine();
    s.nothing_lost(2);
    writer.commit(vec![(ChunkKind::Data, id)], Says { body: b"{}".to_vec(), ..Says::default() }).unwrap();
    assert_eq!(repo.reader().unwrap().get(ChunkKind::Data, &id).unwrap(), b"of the other");
    assert_eq!(repo.refresh().unwrap().snapshots().len(), 3);
}

/// A limit on the size of files stops writing as a full disk does.
#[test]
fn a_limit_on_files_stops_the_backup() {
    let s = Spoiled::new();
    fs::write(table_dir(&s.nodes[0], "lab", "users").join("new"), noise(3 << 20)).unwrap();
    let nodes = crate::user::nodes(&s.nodes);
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let ran = s.user.run_with_little_room(200, &[&["backup", "cassandra", "--cluster", "prod"], &nodes[..]].concat());
    ran.failed(1, &["repo", "free some space"]);
    s.backup().fine();
    s.nothing_lost(2);
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}
