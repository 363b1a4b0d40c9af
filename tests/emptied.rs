//! A table that fell to nothing, or by more than half, since the last complete snapshot is said, unless it is explained.

use std::fs;
use std::path::{Path, PathBuf};

use crate::user::{User, capture, copy, files_below, mend_manifest, table_dir, three};

/// The three nodes, as copies.
pub fn copies(dir: &Path) -> Vec<PathBuf> {
    let nodes = three(&capture("cassandra-5.0"));
    nodes.iter().for_each(|node| copy(node, &dir.join(node.file_name().unwrap()), &|_| true));
    three(dir)
}

/// Takes SSTables of a table away on all nodes, as if they had never been: those of which `takes` says so.
pub fn take(dirs: &[PathBuf], table: &str, takes: &dyn Fn(u32) -> bool) {
    for dir in dirs {
        let folder = table_dir(dir, "lab", table);
        for file in files_below(&folder) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let generation = name.strip_prefix("nb-").and_then(|n| n.split('-').next()?.parse().ok());
            if generation.is_some_and(takes) {
                fs::remove_file(&file).unwrap();
            }
        }
        mend_manifest(&folder);
    }
}

fn said(user: &User, table: &str) -> bool {
    let shown = user.show();
    let problems = shown["problems"].as_array().unwrap();
    let mine = |p: &&serde_json::Value| p["subject"] == format!("table {table}");
    problems.iter().find(mine).inspect(|p| assert_eq!(p["gap"], true)).is_some()
}

#[test]
fn a_table_without_its_files_is_named_once_there_was_a_complete_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let user = User::new();
    user.backup(&dirs, &[]).fine();
    take(&dirs, "users", &|_| true);
    let ran = user.backup(&dirs, &[]);
    ran.failed(4, &["table lab.users: has 0 live rows", "would have 112", "--accept-emptied"]);
    assert!(said(&user, "lab.users") && !said(&user, "lab.orders"));
    // The snapshot that lost it is incomplete, and takes no complete one's place.
    user.backup(&dirs, &[]).failed(4, &["table lab.users"]);
    for wrong in ["lab.user", "users", ""] {
        user.backup(&dirs, &["--accept-emptied", wrong]).failed(1, &["--accept-emptied"]);
    }
    user.backup(&dirs, &["--accept-emptied", "lab.orders"]).failed(4, &["table lab.users"]);
    user.backup(&dirs, &["--accept-emptied", "lab.users"]).fine();
    assert_eq!(user.show()["accepted"][0], "lab.users");
    // Accepted once, it is what the next one is compared with.
    user.backup(&dirs, &[]).fine();
    assert_eq!(user.show()["accepted"].as_array().unwrap().len(), 0);
}

/// What has expired by the times that the last snapshot holds is not missed, and only that.
#[test]
fn expiry_explains_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let user = User::new();
    user.backup(&dirs, &[]).fine();
    // Years later everything that expires has expired: no table is said to have lost it, also where its files are gone.
    user.backup(&dirs, &["--cut", "2090-01-01T00:00:00Z"]).fine();
    let shown = user.show();
    let rows = |s: &serde_json::Value, name: &str| {
        s["shards"].as_array().unwrap().iter().find(|t| t["name"] == name).unwrap()["rows"].as_u64().unwrap()
    };
    assert!(rows(&shown, "lab.default_ttl") > 0);
    take(&dirs, "default_ttl", &|_| true);
    // Six of its seven rows have expired by then; the one without a time to live is missed.
    let ran = user.backup(&dirs, &["--cut", "2090-01-02T00:00:00Z"]);
    ran.failed(4, &["table lab.default_ttl: has 0 live rows", "would have 1:"]);
    assert_eq!(rows(&user.show(), "lab.default_ttl"), 0);
}

#[test]
fn a_table_that_is_gone_from_the_schema_is_dropped_or_missing() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let user = User::new();
    user.backup(&dirs, &[]).fine();
    // Without `system_schema` the schema is what the tables' folders say.
    for node in &dirs {
        fs::remove_dir_all(node.join("system_schema")).unwrap();
        fs::remove_dir_all(table_dir(node, "lab", "users")).unwrap();
    }
    let ran = user.backup(&dirs, &[]);
    ran.failed(4, &["table lab.users: is not in the captured schema"]);
    assert!(said(&user, "lab.users") && !said(&user, "lab.orders"));
}
