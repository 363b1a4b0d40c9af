//! `restore --to cassandra` as far as no cluster is needed. `tools/lab/restore-cql` does the rest on a real node.

use std::fs;

use crate::user::{User, capture, copy, files_below, table_dir, three};

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
    let folder = table_dir(&dirs[0], "lab", "users");
    let data = files_below(&folder).into_iter().find(|f| f.to_str().unwrap().ends_with("-Data.db")).unwrap();
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&data, bytes).unwrap();
    assert_eq!(user.backup(&dirs, &[]).code, Some(3));
    let refused = ["lab.users", "cannot replace", "node n1", "--into", "--rewrite-times now"];
    restore("latest", &["--table", "lab.users", "--replace"]).failed(1, &refused);
    restore("latest", &["--table", "lab.users", "--replace", "--where", "id = 1", "--dry-run"]).failed(1, &refused);
    restore("latest", &["--table", "lab.users", "--rewrite-times", "now"]).failed(1, &["127.0.0.1:1"]);
    // One node of three: what only the others held is missing.
    assert_eq!(user.backup(&dirs[1..2], &[]).code, Some(4));
    restore("latest", &["--table", "lab.tiny", "--replace"]).failed(1, &["lab.tiny", "was not read", "--into"]);
}
