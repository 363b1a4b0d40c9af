//! More SSTables than files may be open, and parts that cannot be read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::user::{User, capture, copy, files_below, nodes, table_dir, three};

/// Copies of the three nodes.
fn copied(at: &Path) -> Vec<PathBuf> {
    let root = capture("cassandra-5.0");
    let to = |from: &PathBuf| at.join(from.file_name().unwrap());
    three(&root).iter().for_each(|from| copy(from, &to(from), &|_| true));
    three(&root).iter().map(to).collect()
}

/// Every SSTable of the folder under `copies` more generations, by hard links: equal rows, each in files of its own.
fn multiply(folder: &Path, copies: usize) {
    for file in files_below(folder) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let mut parts = name.splitn(4, '-');
        let (Some("nb"), Some(generation), Some("big"), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let generation: usize = generation.parse().unwrap();
        for i in 1..=copies {
            fs::hard_link(&file, folder.join(format!("nb-{}-big-{rest}", 1000 * i + generation))).unwrap();
        }
    }
}

/// What the newest snapshot says of its tables but for what was read to make them.
fn shards(user: &User) -> Value {
    let mut shards = user.show()["shards"].take();
    for shard in shards.as_array_mut().unwrap() {
        shard.as_object_mut().unwrap().remove("bytes_read").unwrap();
    }
    shards
}

/// 3 nodes, 3 SSTables, 1 to 60 of each, at most 64 open files: the shells' `ulimit` sets the hard limit as well.
#[test]
fn the_limit_of_open_files_changes_nothing() {
    let user = User::new();
    let dirs = copied(&user.path("nodes"));
    user.backup(&dirs, &[]).fine();
    let expected = shards(&user);
    dirs.iter().for_each(|dir| multiply(&table_dir(dir, "lab", "users"), 60));
    let of = nodes(&dirs);
    let args: Vec<&str> =
        ["backup", "cassandra", "--cluster", "prod"].into_iter().chain(of.iter().map(String::as_str)).collect();
    let limited = user.run_limited("ulimit -n 64", &args);
    assert!(limited.fine().contains("complete"));
    assert_eq!(shards(&user), expected);
    assert_eq!(user.show()["problems"], Value::Array(Vec::new()));
}

/// Without descriptors nothing can be read: that is no damage, and no snapshot. Which limit just suffices is not the same
/// each time, since the program's threads open files when they get to them; that 64 suffice is tested above.
#[test]
fn too_few_open_files_end_the_backup_by_name() {
    let user = User::new();
    let dirs = copied(&user.path("nodes"));
    let of = nodes(&dirs);
    let args: Vec<&str> =
        ["backup", "cassandra", "--cluster", "prod"].into_iter().chain(of.iter().map(String::as_str)).collect();
    let mut told = 0;
    for limit in [6, 8, 10, 12, 14, 16, 20, 24] {
        let before = user.snapshots().len();
        let ran = user.run_limited(&format!("ulimit -n {limit}"), &args);
        if ran.code == Some(0) {
            assert_eq!(user.show()["problems"], Value::Array(Vec::new()), "{limit}");
            continue;
        }
        // Below some limit the program itself does not start.
        assert!(!ran.err.contains("damage") && !ran.err.contains("kept byte for byte"), "{limit}: {ran:?}");
        assert_eq!(user.snapshots().len(), before, "{limit}: {ran:?}");
        told += usize::from(ran.err.contains("raise the limit (`ulimit -n`)"));
    }
    assert!(told > 0);
}

/// However many parts are refused, the table is folded without all of them, and each is named once.
#[test]
fn all_refused_parts_are_named_at_once() {
    let user = User::new();
    let dirs = copied(&user.path("nodes"));
    // The header and the small file are found out first, the ends of larger ones while rows are merged.
    let spoiled =
        [(0, "nb-1-big-Data.db"), (0, "nb-2-big-Statistics.db"), (0, "nb-3-big-Data.db"), (1, "nb-2-big-Data.db")];
    for (node, name) in &spoiled {
        let file = table_dir(&dirs[*node], "lab", "users").join(name);
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.len() - 9;
        bytes[at] ^= 0x21;
        fs::write(&file, bytes).unwrap();
    }
    user.backup(&dirs, &[]).failed(3, &["kept byte for byte"]);
    let show = user.show();
    let problems: Vec<String> = show["problems"].as_array().unwrap().iter().map(Value::to_string).collect();
    for (node, file) in &spoiled {
        let named =
            problems.iter().filter(|p| p.contains(&format!("node n{}:", node + 1)) && p.contains(*file)).count();
        assert_eq!(named, 1, "{file} of {node}: {problems:?}");
    }
    assert_eq!(problems.len(), spoiled.len(), "{problems:?}");
}
