//! The shapes in which a node's files come: several disks, incremental backups, mixed versions in one table, tables that
//! were dropped and made again, columns that came back as another type. All give the rows that the plain capture gives.

use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::Source;
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::run::RecordBatch;
use onefold::{Error, Kind};

use crate::cassandra_rows::merged;
use crate::user::{User, capture, copy, expected, files_below, table_dir, three};

const NOW: u32 = 1_795_300_000;

fn lab_only(table: &str) -> bool {
    table.starts_with("lab/")
}

/// Every table of the source, merged: name, and each record's key and body.
type Records = Vec<(String, Vec<(Vec<u8>, Vec<u8>)>)>;

fn records(source: &CapturedNodes, but: &[&str]) -> Records {
    let shards = source.shards().iter().filter(|s| s.name.starts_with("lab.") && !but.contains(&s.name.as_str()));
    let of = |name: &str| {
        let (_, batches) = merged(source, name, NOW);
        let all = batches.iter().flat_map(RecordBatch::iter).map(|r| (r.key.to_vec(), r.body.to_vec())).collect();
        (name.to_string(), all)
    };
    shards.map(|s| of(&s.name)).collect()
}

fn open(nodes: &[NodeDir]) -> Result<CapturedNodes, Error> {
    CapturedNodes::open(nodes, None, &Default::default())
}

/// Moves every second SSTable of each table of `from` to the same place below `to`.
fn move_half(from: &Path, to: &Path) {
    for file in files_below(from) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let Some(generation) = name.strip_prefix("nb-").and_then(|n| n.split('-').next()?.parse::<u32>().ok()) else {
            continue;
        };
        if generation % 2 == 0 {
            let target = to.join(file.strip_prefix(from).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::rename(&file, target).unwrap();
        }
    }
}

#[test]
fn several_disks_and_backups_are_the_same_node() {
    let node = capture("cassandra-5.0").join("node1");
    let plain = records(&open(&[NodeDir::new("n1", &node)]).unwrap(), &[]);
    assert!(plain.len() > 30);

    let disks = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    copy(&node, disks[0].path(), &|_| true);
    move_half(disks[0].path(), disks[1].path());
    let dirs = disks.iter().map(|disk| disk.path().into()).collect();
    let both = NodeDir { dirs, ..NodeDir::new("n1", "") };
    assert_eq!(records(&open(std::slice::from_ref(&both)).unwrap(), &[]), plain);
    let twice = NodeDir { dirs: vec![node.clone().into(), node.clone().into()], ..both };
    let error = open(&[twice]).err().unwrap();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("so does"), "{error}");

    // Half of the files came after the snapshot, and lie in `backups/`; a data directory, of which the tag names it.
    let data = tempfile::tempdir().unwrap();
    for file in files_below(&node) {
        let mut parts: Vec<_> =
            file.strip_prefix(&node).unwrap().iter().map(|p| p.to_str().unwrap().to_string()).collect();
        let generation = parts[2].strip_prefix("nb-").and_then(|n| n.split('-').next()?.parse::<u32>().ok());
        let folder = if generation.is_some_and(|n| n > 1) { "backups" } else { "snapshots/night" };
        parts.insert(2, folder.to_string());
        let target = data.path().join(parts.join("/"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    let night = NodeDir { tag: Some("night".into()), ..NodeDir::new("n1", data.path()) };
    let source = open(&[night]).unwrap();
    assert_eq!(records(&source, &[]), plain);
    assert!(source.notes().iter().any(|note| note.starts_with("node n1: incremental backups")), "{:?}", source.notes());
}

/// Tables of which an upgrade rewrites more than the format: it leaves the cells of dropped columns out.
const REWRITTEN: [&str; 1] = ["lab.dropped"];

#[test]
fn formats_and_versions_mix_in_one_table() {
    let root = capture("cassandra-5.0");
    let node = root.join("node1");
    let mixed = tempfile::tempdir().unwrap();
    copy(&node, mixed.path(), &|_| true);
    let mut added = 0;
    for version in ["oa", "da"] {
        let upgraded = capture("upgraded").join(version).join("lab");
        for file in files_below(&upgraded) {
            let target = mixed.path().join("lab").join(file.strip_prefix(&upgraded).unwrap());
            if target.parent().unwrap().exists() && !target.exists() {
                fs::copy(&file, target).unwrap();
                added += 1;
            }
        }
    }
    assert!(added > 50, "{added}");
    let plain = records(&open(&[NodeDir::new("n1", &node)]).unwrap(), &REWRITTEN);
    let both = records(&open(&[NodeDir::new("n1", mixed.path())]).unwrap(), &REWRITTEN);
    for (plain, both) in plain.iter().zip(&both) {
        assert_eq!(plain, both);
    }
    assert_eq!(plain.len(), both.len());
}

/// An id like `id`, made one tick of 429 s earlier or later.
fn moved(id: &str, by: i64) -> String {
    let middle = i64::from_str_radix(&id[8..12], 16).unwrap() + by;
    format!("{}{middle:04x}{}", &id[..8], &id[12..])
}

#[test]
fn a_table_made_again_hides_nothing_of_the_old_one() {
    let root = capture("cassandra-5.0");
    for with_schema in [true, false] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (dir, node) in dirs.iter().zip(three(&root)) {
            copy(&node, dir.path(), &|table| table == "lab/users" || (with_schema && !lab_only(table)));
        }
        let current = table_dir(dirs[0].path(), "lab", "users");
        let id = current.to_str().unwrap().rsplit_once('-').unwrap().1.to_string();
        let old_id = moved(&id, -5);
        let old = current.with_file_name(format!("users-{old_id}"));
        let statics = table_dir(&root.join("node1"), "lab", "statics");
        fs::create_dir_all(&old).unwrap();
        for file in files_below(&statics) {
            fs::copy(&file, old.join(file.file_name().unwrap())).unwrap();
        }
        let hyphens = |id: &str| format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
        let cql = fs::read_to_string(old.join("schema.cql")).unwrap().replace("lab.statics", "lab.users");
        let from = cql.find("WITH ID = ").unwrap() + "WITH ID = ".len();
        fs::write(old.join("schema.cql"), [&cql[..from], &hyphens(&old_id), &cql[from + 36..]].concat()).unwrap();

        let user = User::new();
        let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.path().to_path_buf()).collect();
        let ran = user.backup(&paths, &[]);
        assert_eq!(ran.code, Some(if with_schema { 0 } else { 4 }), "{ran:?}");
        if with_schema {
            assert_eq!(user.rows("latest", "lab.users"), expected(&root, "users"));
        }
        let reason = format!("lab.users is now {id}");
        let listed = user.run(&["ls"]).fine();
        assert!(listed.contains(&format!("users-{old_id}/nb-1-big-Data.db")) && listed.contains(&reason), "{listed}");
        assert!(user.run(&["show"]).fine().contains(&reason));
        let out = user.path("files");
        user.run(&["restore", "--to", "files", "--out", out.to_str().unwrap()]).fine();
        let data = format!("n1/lab/users-{old_id}/nb-1-big-Data.db");
        assert_eq!(fs::read(out.join(data)).unwrap(), fs::read(statics.join("nb-1-big-Data.db")).unwrap());

        // One that is younger than the schema is no former table: that is a problem.
        if with_schema {
            fs::rename(&old, current.with_file_name(format!("users-{}", moved(&id, 5)))).unwrap();
            user.backup(&paths, &[]).failed(3, &["made after the schema was captured"]);
        }
    }
}

#[test]
fn a_column_that_came_back_as_another_type_reads_on() {
    let root = capture("cassandra-5.0");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, node) in dirs.iter().zip(three(&root)) {
        copy(&node, dir.path(), &|table| table == "lab/dropped");
        let cql = table_dir(dir.path(), "lab", "dropped").join("schema.cql");
        let text = fs::read_to_string(&cql).unwrap();
        let blob = text.replace("ADD again int", "ADD again blob").replacen("again int", "again blob", 1);
        assert_ne!(text, blob);
        fs::write(&cql, blob).unwrap();
    }
    let user = User::new();
    let paths: Vec<PathBuf> = dirs.iter().map(|dir| dir.path().to_path_buf()).collect();
    assert_eq!(user.backup(&paths, &[]).code, Some(4), "the ring is not known");
    let as_blob = |row: &String| {
        let mut row = row.clone();
        for (number, blob) in [("77", "\"0x0000004d\""), ("42", "\"0x0000002a\"")] {
            row = row.replace(&format!("\"again\": {number}"), &format!("\"again\": {blob}"));
        }
        row
    };
    let expected: Vec<String> = expected(&root, "dropped").iter().map(as_blob).collect();
    assert!(expected.iter().any(|row| row.contains("0x0000")));
    assert_eq!(user.rows("latest", "lab.dropped"), expected);
}

#[test]
fn one_address_twice_is_refused_by_name() {
    let root = capture("cassandra-5.0");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, node) in dirs.iter().zip(three(&root)) {
        copy(&node, dir.path(), &|table| table == "lab/users");
    }
    let node = |name: &str, dir: &Path| NodeDir { address: Some("10.0.0.1".into()), ..NodeDir::new(name, dir) };
    let error = open(&[node("a", dirs[0].path()), node("b", dirs[1].path())]).err().unwrap();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("10.0.0.1"), "{error}");
    assert!(error.subject().contains("a and b"), "{error}");
}
