//! `restore --to cassandra` as far as no cluster is needed. `tools/lab/restore-cql` does the rest on a real node.

use crate::user::{User, capture, three};

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
