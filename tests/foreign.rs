//! SSTables of other projects' test suites, with what Cassandra answered for the same files: the same rows, or refused by
//! name. They are not part of this project: `ONEFOLD_FOREIGN` names the archive, or the folder that it was unpacked into;
//! without it, and where the archive does not lie at its usual place, nothing is tested.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::user::{User, lines};

/// Rows of tables of which there is no answer of Cassandra's, for it took in none of their files: what the tests they come from
/// wrote.
///
/// - `misc.scyalt`: a column named `:attrs`, as DynamoDB's items have it; the colon was not taken.
/// - `scy3.u_write_empty_counter`: a counter without shards. Cassandra reads a counter as the sum of its shards
///   (`CounterContext.total`), which over none is 0.
/// - `scymisc.empty_index`: an `Index.db` without bytes. The rows do not need it; Cassandra cannot find them without.
/// - `scymisc.mixed_generation_type`: one table's files under numbers and under time-ordered ids; Cassandra has one kind.
fn written(table: &str) -> Option<Vec<String>> {
    let rows = |rows: &[&str]| Some(rows.iter().map(|row| (*row).to_string()).collect());
    match table {
        "misc.scyalt" => Some((0..100).map(attributes).collect()),
        "scy3.u_write_empty_counter" => rows(&[r#"{"pk": "key", "ck": "ck", "val": 0}"#]),
        "scymisc.empty_index" => rows(&[r#"{"pk": 42, "ck": 43, "val": 44}"#]),
        "scymisc.mixed_generation_type" => {
            rows(&[r#"{"pk": 1, "v": 1}"#, r#"{"pk": 0, "v": 0}"#, r#"{"pk": 2, "v": 2}"#])
        }
        _ => None,
    }
}

/// Item `testN` of a DynamoDB-like table: `{"M": {"hello": {"S": "worldN"}}}` after a byte for the type.
fn attributes(n: u32) -> String {
    let value: String =
        format!(r#"{{"M":{{"hello":{{"S":"world{n}"}}}}}}"#).bytes().map(|b| format!("{b:02x}")).collect();
    format!(r#"{{"pk": "test{n}", ":attrs": {{"x": "0x04{value}"}}}}"#)
}

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
            let (mut truth, mut found) = (lines(&truth), lines(&restored.out));
            if let Some(rows) = written(&table).filter(|_| truth.is_empty()) {
                truth = rows;
                // Nobody answered them in order.
                truth.sort();
                found.sort();
            }
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
