//! SSTables of other projects' test suites, with what Cassandra answered for the same files: the same rows, or refused by
//! name. They are not part of this project: `ONEFOLD_FOREIGN` names the archive, or the folder that it was unpacked into;
//! without it, and where the archive does not lie at its usual place, nothing is tested.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::user::{User, lines};

/// Tables of which Cassandra's answer is empty because it took in none of their files, or has none: two generations of one
/// table, a column name with a colon, a counter without shards, an empty index.
const NOT_TAKEN_IN: [&str; 4] =
    ["misc.scyalt", "scy3.u_write_empty_counter", "scymisc.empty_index", "scymisc.mixed_generation_type"];

/// The unpacked archive.
fn foreign(scratch: &Path) -> Option<PathBuf> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/foreign-sstables.tar.zst");
    let place = std::env::var_os("ONEFOLD_FOREIGN").map_or(usual, PathBuf::from);
    if place.is_dir() {
        return Some(place);
    }
    let packed = fs::File::open(&place).ok()?;
    let tar = scratch.join("foreign.tar");
    zstd::stream::copy_decode(packed, fs::File::create(&tar).unwrap()).unwrap();
    let unpacked = scratch.join("foreign");
    fs::create_dir(&unpacked).unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&unpacked).status().unwrap().success());
    Some(unpacked)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `keyspace.table` of every table's folder that holds a file.
fn tables(capture: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for keyspace in names(capture) {
        for folder in names(&capture.join(&keyspace)) {
            if !names(&capture.join(&keyspace).join(&folder)).is_empty() {
                found.insert(format!("{keyspace}.{}", folder.rsplit_once('-').unwrap().0));
            }
        }
    }
    found
}

#[test]
#[allow(clippy::print_stderr)]
fn the_same_rows_or_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(root) = foreign(scratch.path()) else {
        eprintln!("no foreign SSTables: ONEFOLD_FOREIGN names none, and they do not lie beside the project");
        return;
    };
    let (mut same, mut rows, mut refused) = (0, 0, BTreeSet::new());
    let mut wrong = Vec::new();
    for capture in names(&root).iter().filter(|name| *name != "truth") {
        let user = User::new();
        let ran = user.backup(&[root.join(capture)], &[]);
        assert!(matches!(ran.code, Some(3 | 4)), "{capture}: {ran:?}");
        let problems = user.show()["problems"].to_string();
        for table in tables(&root.join(capture)) {
            let (_, name) = table.split_once('.').unwrap();
            let named = problems.contains(&format!("{table} ")) || problems.contains(&format!("/{name}-"));
            let restored = user.run(&["restore", "--to", "json", "--table", &table]);
            if named && restored.code != Some(0) {
                refused.insert(table);
                continue;
            }
            let truth = root.join("truth").join(capture).join(format!("{table}.jsonl"));
            let truth = fs::read_to_string(truth).unwrap_or_default();
            if truth.is_empty() && NOT_TAKEN_IN.contains(&table.as_str()) {
                continue;
            }
            let (truth, found) = (lines(&truth), lines(&restored.out));
            if restored.code != Some(0) || truth != found {
                let at = truth.iter().zip(&found).position(|(a, b)| a != b);
                let first = at.map(|at| (&truth[at], &found[at]));
                wrong.push(format!("{table}: {} rows for {}: {first:?} {}", found.len(), truth.len(), restored.err));
            }
            same += 1;
            rows += truth.len();
        }
    }
    eprintln!("{same} tables with {rows} rows as Cassandra reads them; refused by name: {refused:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
