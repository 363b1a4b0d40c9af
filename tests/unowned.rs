//! A node that joined without streaming owns ranges of which it holds nothing: what only former owners hold is counted, said,
//! and given back.

use std::fs;
use std::path::{Path, PathBuf};

use crate::user::{Ran, User, capture, copy, files_below, mend_manifest, ran, three};

/// The three nodes without `system`, so that the ring is the one that is given, and a fourth that has the schema alone.
fn captures(dir: &Path) -> Vec<PathBuf> {
    let root = capture("cassandra-5.0");
    for node in three(&root) {
        copy(&node, &dir.join(node.file_name().unwrap()), &|table| !table.starts_with("system/"));
    }
    let fourth = dir.join("node4");
    copy(&root.join("node1"), &fourth, &|table| !table.starts_with("system/"));
    for file in files_below(&fourth) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if !file.to_str().unwrap().contains("system_schema") && name != "manifest.json" && name != "schema.cql" {
            fs::remove_file(&file).unwrap();
        }
    }
    for manifest in files_below(&fourth).iter().filter(|file| file.ends_with("manifest.json")) {
        mend_manifest(manifest.parent().unwrap());
    }
    [1, 2, 3, 4].map(|n| dir.join(format!("node{n}"))).into()
}

/// `nodetool ring` of the captured cluster, with a fourth node that has taken over a part of it.
fn ring_of_four(dir: &Path) -> PathBuf {
    let text = fs::read_to_string(capture("cassandra-5.0").join("ring.txt")).unwrap();
    let is_node = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
    let token = |line: &str| line.split_whitespace().last().unwrap().parse::<i64>().unwrap();
    let mut lines: Vec<(i64, String)> = text.lines().filter(is_node).map(|l| (token(l), l.to_owned())).collect();
    for n in 0..16 {
        let token = i64::MIN.wrapping_add(7_777).wrapping_add((i64::MAX / 8).wrapping_mul(n));
        lines.push((
            token,
            format!("127.0.0.4       rack4       Up     Normal  70 KiB          75.00%              {token}"),
        ));
    }
    lines.sort();
    let head: Vec<&str> = text.lines().take_while(|line| !is_node(line)).collect();
    let all = head.into_iter().map(str::to_owned).chain(lines.into_iter().map(|(_, line)| line));
    let path = dir.join("ring4.txt");
    let text = all.collect::<Vec<_>>().join("\n");
    fs::write(&path, text).unwrap();
    path
}

fn backup(user: &User, cluster: &str, dirs: &[PathBuf], ring: &Path) -> Ran {
    let mut command = user.command();
    command.args(["backup", "cassandra", "--cluster", cluster, "--source-ring"]).arg(ring);
    for (n, dir) in (1..).zip(dirs) {
        command.arg(format!("--node=n{n}@127.0.0.{n}={}", dir.display()));
    }
    ran(&mut command)
}

/// All rows of `lab` of a snapshot, by table.
fn rows(user: &User, out: &str, more: &[&str]) -> Vec<(String, String)> {
    let out = user.path(out);
    let args = ["restore", "--to", "json", "--out", out.to_str().unwrap()];
    let ran = user.run(&[&args[..], more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    let lab = files_below(&out).into_iter().filter(|file| name(file).starts_with("lab."));
    lab.map(|file| (name(&file), fs::read_to_string(&file).unwrap())).collect()
}

#[test]
fn what_only_former_owners_hold_is_said_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = captures(dir.path());
    let user = User::new();
    let ring = capture("cassandra-5.0").join("ring.txt");
    assert_eq!(backup(&user, "three", &dirs[..3], &ring).code, Some(0));
    let before = rows(&user, "before", &["--cluster", "three"]);
    assert!(
        user.run(&["drift", "--cluster", "three", "--json"]).objects().iter().all(|o| o["message_type"] != "unowned")
    );

    let ran = backup(&user, "four", &dirs, &ring_of_four(dir.path()));
    ran.failed(4, &["table lab.wide: ", "held only by nodes that do not own them", "--include-unowned"]);
    let shown = user.show();
    assert_eq!(shown["complete"], false);
    let shard = |name: &str| shown["shards"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone();
    let (wide, ranges) = (shard("lab.wide"), shard("lab.ranges"));
    assert!(wide["unowned"]["rows"].as_u64() > Some(0), "{}", wide["unowned"]);
    assert!(ranges["unowned"]["deletions"].as_u64() > Some(0), "{}", ranges["unowned"]);
    assert!(user.run(&["show"]).fine().contains("problem    table lab.wide: "));
    let drift = user.run(&["drift", "--table", "lab.wide"]).fine();
    assert!(drift.contains("deletions are held only by nodes that do not own them"), "{drift}");

    // Without them rows are gone or back from the dead; with them the table is what it was.
    let without = rows(&user, "without", &[]);
    assert_ne!(without, before);
    let with = rows(&user, "with", &["--include-unowned"]);
    assert_eq!(with.len(), before.len());
    for (with, before) in with.iter().zip(&before).filter(|(with, _)| with.0 != "lab.equal_keys") {
        assert_eq!(with, before);
    }

    // By condition, as CSV, and as SSTables.
    let all = before.iter().find(|(name, _)| name == "lab.orders").unwrap().1.clone();
    let of_five: String =
        all.lines().filter(|l| l.starts_with("{\"customer\": 5,")).map(|l| format!("{l}\n")).collect();
    let table = ["restore", "--table", "lab.orders", "--include-unowned", "--to"];
    let found = user.run(&[&table[..], &["json", "--where", "customer = 5"]].concat()).fine();
    assert_eq!(found, of_five);
    let csv = user.run(&[&table[..], &["csv"]].concat()).fine();
    let whole = user.run(&["restore", "--table", "lab.orders", "--cluster", "three", "--to", "csv"]).fine();
    assert_eq!(csv, whole);
    let out = user.path("sstables");
    let args = ["sstables", "--json", "--layout", "once", "--out", out.to_str().unwrap()];
    let written = user.run(&[&table[..], &args].concat());
    assert_eq!(written.code, Some(0), "{written:?}");
    let written = written.objects();
    let rows = |objects: &[serde_json::Value]| {
        let table = |o: &&serde_json::Value| matches!(o["message_type"].as_str(), Some("table" | "node_table"));
        objects.iter().find(table).unwrap_or_else(|| panic!("{objects:?}"))["rows"].as_u64().unwrap()
    };
    let other = user.path("of-three");
    let args = ["restore", "--cluster", "three", "--table", "lab.orders", "--to", "sstables", "--json"];
    let more = ["--layout", "once", "--out", other.to_str().unwrap()];
    assert_eq!(rows(&written), rows(&user.run(&[&args[..], &more].concat()).objects()));
    user.run(&["restore", "--to", "files", "--include-unowned"]).failed(1, &["--include-unowned"]);
}
