//! `restore --to cassandra` as far as no cluster is needed, or one that only takes note of what it is told.
//! `tools/lab/restore-cql` does the rest on a real node.

mod node;

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use node::Node;

use crate::user::{Ran, User, capture, copy, files_below, ran, spoil_data, three};

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_connected_to() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let restore = |more: &[&str]| user.run(&[&["restore", "--to", "cassandra"], more].concat());
    restore(&[]).failed(1, &["needs a cluster", "--contact"]);
    restore(&["--contact", "a", "--replace", "--rewrite-times", "now"]).failed(1, &["cannot be used with"]);
    restore(&["--contact", "a", "--cql-user", "me"]).failed(1, &["--cql-password-file"]);
    restore(&["--contact", "a", "--layout", "once"]).failed(1, &["--layout", "belongs to --to sstables"]);
    restore(&["--contact", "a", "--table", "lab.none"]).failed(1, &["lab.none", "is not in this snapshot"]);
    let of = |table: &str, more: &[&str], words: &[&str]| {
        restore(&[&["--contact", "a", "--table", table], more].concat()).failed(1, words);
    };
    of("lab.counters", &[], &["lab.counters", "counters", "--to sstables"]);
    of("lab.users", &["--rate", "5k"], &["--rate 5k", "10MB"]);
    of("lab.users", &["--rate", "0"], &["--rate 0"]);
    of("lab.users", &["--into", "a.b.c"], &["--into a.b.c", "KEYSPACE.TABLE"]);
    of("lab.users", &["--where", "nothing = 1"], &["lab.users", "no column", "id"]);
    of("lab.users", &["--replace", "--where", "id > 1"], &["--replace", "cannot be told apart", "--rewrite-times now"]);
    let other = user.run(&["restore", "--to", "json", "--replace"]);
    other.failed(1, &["--replace", "belongs to --to cassandra"]);
}

#[test]
fn a_contact_that_does_not_answer_is_named() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let contact = format!("127.0.0.1:{port}");
    let refused = user.run(&["restore", "--to", "cassandra", "--contact", &contact, "--table", "lab.users"]);
    refused.failed(1, &[&contact, "--contact"]);
}

#[test]
fn nothing_is_deleted_that_the_snapshot_cannot_replace() {
    let user = User::new();
    let keep = |t: &str| t.starts_with("system") || ["lab/users", "lab/tiny"].contains(&t);
    let mut dirs = Vec::new();
    for n in 1..=3 {
        dirs.push(user.path(&format!("node{n}")));
        copy(&capture("cassandra-5.0").join(format!("node{n}")), &dirs[n - 1], &keep);
    }
    let whole = user.backup(&dirs, &[]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let restore = |snapshot: &str, more: &[&str]| {
        user.run(&[&["restore", snapshot, "--to", "cassandra", "--contact", "127.0.0.1:1"], more].concat())
    };
    // Of a whole snapshot it is the contact that is missing.
    restore("latest", &["--table", "lab.users", "--replace"]).failed(1, &["127.0.0.1:1"]);
    spoil_data(&dirs[0], "lab", "users");
    assert_eq!(user.backup(&dirs, &[]).code, Some(3));
    let refused = ["lab.users", "cannot replace", "node n1", "--into", "--rewrite-times now"];
    restore("latest", &["--table", "lab.users", "--replace"]).failed(1, &refused);
    restore("latest", &["--table", "lab.users", "--replace", "--where", "id = 1", "--dry-run"]).failed(1, &refused);
    restore("latest", &["--table", "lab.users", "--rewrite-times", "now"]).failed(1, &["127.0.0.1:1"]);
    // One node of three: what only the others held is missing.
    assert_eq!(user.backup(&dirs[1..2], &[]).code, Some(4));
    restore("latest", &["--table", "lab.tiny", "--replace"]).failed(1, &["lab.tiny", "was not read", "--into"]);
}

/// Someone who restores lab.tiny, 480 rows.
struct Tiny(User);

impl Tiny {
    fn new() -> Tiny {
        let user = User::new();
        user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
        Tiny(user)
    }

    /// The command to restore it into `other.tiny` of a node.
    fn command(&self, node: &Node, more: &[&str]) -> std::process::Command {
        let mut command = self.0.command();
        command.args(["restore", "--to", "cassandra", "--table", "lab.tiny", "--into", "other.tiny", "--json"]);
        command.args(["--contact", &node.contact]).args(more).env("XDG_STATE_HOME", self.0.path("state"));
        command
    }

    fn restore(&self, node: &Node, more: &[&str]) -> Ran {
        ran(&mut self.command(node, more))
    }

    /// Restores until `writes` statements were answered, and is killed.
    fn killed(&self, node: &Node, writes: usize, more: &[&str]) {
        node.held.lock().unwrap().writes_left = Some(writes);
        let mut child = self.command(node, more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while node.held.lock().unwrap().writes_left != Some(0) {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            thread::sleep(Duration::from_millis(5));
        }
        // What was acknowledged reaches the state.
        thread::sleep(Duration::from_millis(300));
        child.kill().unwrap();
        child.wait().unwrap();
        node.held.lock().unwrap().writes_left = None;
    }
}

#[test]
fn a_restore_that_is_killed_goes_on_and_knows_its_cluster_and_table() {
    let user = Tiny::new();
    let node = Node::start("prod", 1);
    let dry = user.restore(&node, &["--dry-run"]).objects();
    assert_eq!((&dry[0]["rows"], &dry[1]["message_type"]), (&480.into(), &"summary".into()));
    assert!(dry[0]["seconds"].as_u64().is_some_and(|s| s > 0) && dry[1]["requests"].is_object(), "{dry:?}");
    assert!(!user.0.path("state/onefold/restores").exists(), "a dry run writes nothing");
    for writes in [100, 50, 50] {
        user.killed(&node, writes, &[]);
    }
    // Another cluster, by the same state or its own.
    let other = Node::start("staging", 2);
    let state = files_below(&user.0.path("state/onefold/restores"))[0].clone();
    let refused = user.restore(&other, &["--state", state.to_str().unwrap()]);
    refused.failed(1, &["another cluster", "prod", "staging", "--state"]);
    assert_eq!(other.held.lock().unwrap().writes, 0);
    // The table was made again, was emptied, was dropped.
    let table = node.held.lock().unwrap().table.clone().unwrap();
    node.held.lock().unwrap().table.as_mut().unwrap().2 = [9; 16];
    user.restore(&node, &[]).failed(1, &["other.tiny", "made again", "remove", state.to_str().unwrap()]);
    node.held.lock().unwrap().table = None;
    user.restore(&node, &[]).failed(1, &["other.tiny", "was dropped", "remove"]);
    node.held.lock().unwrap().table = Some(table);
    let rows = std::mem::take(&mut node.held.lock().unwrap().rows);
    user.restore(&node, &[]).failed(1, &["other.tiny", "was emptied", "remove"]);
    // Emptied, and written to by others.
    node.held.lock().unwrap().rows.insert((vec![9], vec![9]));
    user.restore(&node, &[]).failed(1, &["other.tiny", "nothing of what was restored", "remove"]);
    node.held.lock().unwrap().rows = rows;
    // As it was left, it goes on; without a cache and by another contact, too.
    let contact = node.contact.replace("127.0.0.1", "localhost");
    let done = user.restore(&node, &["--no-cache", "--contact", &contact]).objects();
    let (before, now) = (done[0]["rows_before"].as_u64().unwrap(), done[0]["rows"].as_u64().unwrap());
    assert!(before >= 100 && before + now == 480, "{done:?}");
    let held = node.held.lock().unwrap();
    assert_eq!(held.rows.len(), 480);
    // 32 in the first run, half as many in the second, a third in the third.
    let once = dry[0]["statements"].as_u64().unwrap() as usize;
    assert!(held.writes <= once + 32 + 16 + 10, "{} statements in place of {once}", held.writes);
    drop(held);
    let again = user.restore(&node, &[]).objects();
    assert_eq!(again[0]["done_before"], true);
    assert_eq!(node.count("CREATE TABLE"), 1);
}

#[test]
fn two_restores_by_one_state_are_not_at_it_at_once() {
    let (user, node) = (Tiny::new(), Node::start("prod", 1));
    node.held.lock().unwrap().writes_left = Some(10);
    let mut first = user.command(&node, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while node.held.lock().unwrap().writes_left != Some(0) {
        thread::sleep(Duration::from_millis(5));
    }
    user.restore(&node, &[]).failed(11, &["another restore", "wait"]);
    first.kill().unwrap();
    first.wait().unwrap();
    node.held.lock().unwrap().writes_left = None;
    assert_eq!(user.restore(&node, &[]).code, Some(0));
}

#[test]
fn one_partition_takes_few_questions() {
    let (user, node) = (Tiny::new(), Node::start("prod", 1));
    node.held.lock().unwrap().table = Some(("other".to_owned(), "tiny".to_owned(), [7; 16]));
    let done = user.restore(&node, &["--where", "k = 1"]).objects();
    let number = |name: &str| done[0][name].as_u64().unwrap() as usize;
    assert!(number("rows") == 100 && done[1]["requests"]["range_reads"].as_u64().unwrap() <= 12, "{done:?}");
    // Six about the schema, one whether there is anything; then rows, written and read.
    assert_eq!(node.held.lock().unwrap().writes, number("statements"));
    let prepared = node.held.lock().unwrap().prepared;
    assert!(prepared <= 8, "some by the driver, then each statement once: {prepared}");
    assert!(node.count("system_schema.") <= 6 && node.count("LIMIT 1") == 1 && node.count("writetime(") <= 40);
}

#[test]
fn what_is_there_is_deleted_once_and_only_if_asked_to() {
    let (user, node) = (Tiny::new(), Node::start("prod", 1));
    node.held.lock().unwrap().table = Some(("other".to_owned(), "tiny".to_owned(), [7; 16]));
    node.held.lock().unwrap().rows.insert((vec![9], vec![9]));
    user.restore(&node, &[]).failed(1, &["other.tiny", "holds data", "--replace", "--rewrite-times now"]);
    user.restore(&node, &["--dry-run"]).failed(1, &["other.tiny", "holds data"]);
    assert_eq!(user.restore(&node, &["--dry-run", "--replace"]).code, Some(0));
    assert_eq!((node.count("TRUNCATE"), node.held.lock().unwrap().writes), (0, 0));
    user.killed(&node, 60, &["--replace"]);
    let done = user.restore(&node, &["--replace"]).objects();
    assert!(done[0]["rows_before"].as_u64().is_some_and(|rows| rows > 0), "{done:?}");
    assert_eq!(node.count("TRUNCATE"), 1);
    let held = node.held.lock().unwrap();
    let first = |part: &str| held.statements.iter().position(|text| text.contains(part)).unwrap();
    assert!(first("TRUNCATE") < first("INSERT"));
}
