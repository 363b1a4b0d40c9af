//! One clock is not believed: a time that does not fit ends the backup by name, and `--cut` says what counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::user::{User, capture, copy, expected, files_below, nodes, ran, table_dir, three};

/// The three nodes, as copies; of the tables of `lab` only some.
fn copies(dir: &Path) -> Vec<PathBuf> {
    const TABLES: [&str; 3] = ["lab/users", "lab/default_ttl", "lab/ties"];
    let keep = |table: &str| !table.starts_with("lab/") || TABLES.contains(&table);
    let nodes = three(&capture("cassandra-5.0"));
    nodes.iter().for_each(|node| copy(node, &dir.join(node.file_name().unwrap()), &keep));
    three(dir)
}

/// Rewrites the time of a table's manifest.
fn manifest(node: &Path, table: &str, year: &str) {
    let path = table_dir(node, "lab", table).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replace("\"created_at\" : \"2026", &format!("\"created_at\" : \"{year}"));
    assert_ne!(text, changed);
    fs::write(&path, changed).unwrap();
}

/// Takes all manifests away and gives every file this time.
fn times(node: &Path, seconds: u64) {
    for file in files_below(node) {
        if file.ends_with("manifest.json") {
            fs::remove_file(&file).unwrap();
            continue;
        }
        let at = UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().write(true).open(&file).unwrap().set_modified(at).unwrap();
    }
}

const CUT: &str = "2026-11-21T18:00:00Z";

#[test]
fn a_time_that_does_not_fit_ends_the_backup_by_name() {
    let user = User::new();
    type Change = fn(&[PathBuf]);
    let cases: [(Change, &str, &[&str]); 6] = [
        // One table of one node, decades ahead; whole nodes; years behind.
        (|n| manifest(&n[0], "ties", "2096"), "n1", &["lab/ties-", "manifest.json", "2096", "after now"]),
        (|n| manifest(&n[1], "ties", "2019"), "n2", &["lab/ties-", "manifest.json", "2019", "median"]),
        (|n| times(&n[2], 1_400_000_000), "n3", &["was written at 2014", "median"]),
        (|n| times(&n[0], 4_000_000_000), "n1", &["was written at 2096", "after now", "more"]),
        // Archives that keep no times.
        (|n| n.iter().for_each(|node| times(node, 0)), "n1", &["1970-01-01", "have lost theirs"]),
        (|n| n.iter().for_each(|node| times(node, 315_532_800)), "n1", &["1980-01-01", "have lost theirs"]),
    ];
    for (change, node, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let dirs = copies(dir.path());
        change(&dirs);
        let ran = user.backup(&dirs, &[]);
        ran.failed(1, words);
        ran.failed(1, &[&format!("node {node}: "), "--cut TIME"]);
        assert!(user.snapshots().is_empty());
    }
}

#[test]
fn the_operators_cut_counts_for_all() {
    let root = capture("cassandra-5.0");
    let tables = ["users", "default_ttl", "ties"];
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    manifest(&dirs[0], "ties", "2096");
    times(&dirs[1], 0);
    let user = User::new();
    for cut in [CUT, "1795284000"] {
        user.backup(&dirs, &["--cut", cut]);
        for table in tables {
            assert_eq!(user.rows("latest", &format!("lab.{table}")), expected(&root, table), "{table}");
        }
        let shown = user.show();
        let seconds = CUT.parse::<jiff::Timestamp>().unwrap().as_second();
        assert_eq!((shown["cut"]["seconds"].as_i64(), shown["window"][0].as_i64()), (Some(seconds), Some(seconds)));
        assert!(shown["notes"].as_array().unwrap().iter().any(|n| n.as_str().unwrap().contains("--cut")), "{shown}");
    }
    for cut in ["", "tomorrow", "1795284000000", "-1", "2200-01-01T00:00:00Z"] {
        user.backup(&dirs, &["--cut", cut]).failed(1, &["--cut"]);
    }
}

#[test]
fn no_snapshot_lies_before_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let user = User::new();
    assert!(user.backup(&dirs, &[]).code.is_some_and(|code| code == 0 || code == 4));
    let first = user.snapshots().remove(0);
    // The same capture again is no fault, nor is an older one of another cluster.
    assert!(user.backup(&dirs, &[]).out.contains("snapshot "));
    for file in dirs.iter().flat_map(|node| files_below(node)).filter(|f| f.ends_with("manifest.json")) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("\"2026-", "\"2025-")).unwrap();
    }
    user.backup(&dirs, &[]).failed(1, &["manifest.json", "2025", "before the last snapshot"]);
    let mut other = user.command();
    other.args(["backup", "cassandra", "--cluster", "other"]).args(nodes(&dirs));
    assert!(ran(&mut other).out.contains("snapshot "));
    assert_eq!(user.snapshots().remove(0), first);
    assert!(user.backup(&dirs, &["--cut", CUT]).out.contains("snapshot "));
}

/// What this machine's clock says now is no fault.
#[test]
fn files_of_this_minute_are_believed() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let now = onefold::repo::world::now_ms() / 1000;
    dirs.iter().for_each(|node| times(node, now));
    assert!(User::new().backup(&dirs, &[]).out.contains("snapshot "));
}
