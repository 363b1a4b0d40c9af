//! Nights that the product's own writer makes, in process: what of two trees is read, and histories against a plain model.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use onefold::diff::Change;
use onefold::engine::ALL;
use onefold::history::{self, At, Nothing, Request, Sink};
use onefold::repo::{Repo, SnapshotInfo};
use onefold::run::{ChunkId, ChunkKind, ChunkSource};
use onefold::snapshot::{self, Snapshot};
use onefold::view::{View, differences};
use onefold::watch::Watch;
use onefold::{Error, Result};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::nights::{Row, init, night_with, rows, site, write};
use crate::repo::memory;

const TABLE: &str = "lab.big_values";

/// Remembers what is read.
struct Counted<'a>(&'a dyn ChunkSource, Mutex<BTreeMap<&'static str, usize>>);

impl ChunkSource for Counted<'_> {
    fn get(&self, kind: ChunkKind, id: &ChunkId) -> Result<Vec<u8>> {
        let what = if kind == ChunkKind::Branch { "branches" } else { "others" };
        *self.1.lock().unwrap().entry(what).or_insert(0) += 1;
        self.0.get(kind, id)
    }
}

#[test]
fn of_two_trees_only_what_differs_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder, table) = site(dir.path());
    let repo = init(&memory(), None);
    let mut rows: Vec<Row> = rows().into_iter().step_by(2).collect();
    let mut snapshots = Vec::new();
    for change in [&[][..], &[17, 5_000, 11_000]] {
        change.iter().for_each(|at: &usize| rows[*at].write(1));
        write(&folder, &table, &rows);
        snapshots.push(night_with(&repo, dir.path(), &node, &json!({ "whole": true })));
    }
    let reader = repo.reader().unwrap();
    let mut leaves = 0;
    let root = snapshots[1].shard(TABLE).unwrap().layers[0].root().unwrap();
    onefold::tree::reach(root, &reader, &mut |reached| {
        if let onefold::run::Reached::Chunk { kind, .. } = reached {
            leaves += usize::from(kind != ChunkKind::Branch);
        }
        Ok(true)
    })
    .unwrap();
    let counted = Counted(&reader, Mutex::default());
    let view = |s| View::open(ALL[0], s, Snapshot::shard(s, TABLE).unwrap(), &counted).unwrap();
    let (before, after) = (view(&snapshots[0]), view(&snapshots[1]));
    let all = |from: &[u8], to: &[u8]| {
        let (mut found, range) = (0, (from.to_vec(), to.to_vec()));
        differences(Some(&before), Some(&after), Box::new(std::iter::once(range)), &Watch::new(), &mut |_, _| {
            found += 1;
            Ok(())
        })
        .unwrap();
        (found, std::mem::take(&mut *counted.1.lock().unwrap()))
    };
    let (found, read) = all(&[], &[]);
    assert_eq!((found, read["others"]), (3, 6), "a leaf of either side for each row, of {leaves}: {read:?}");
    assert!(leaves > 10 && read["branches"] <= 14, "{leaves} {read:?}");
    let (found, read) = all(&rows[4_990].key, &rows[5_010].key);
    assert_eq!((found, read["others"]), (1, 2), "{read:?}");
    // Where leaves end is drawn: not all of these lie in one with a change.
    let unread = [2_000, 3_500, 6_500, 8_000, 9_500].map(|at| {
        let (found, read) = all(&rows[at].key, &rows[at + 1].key);
        assert_eq!(found, 0);
        !read.contains_key("others")
    });
    assert!(unread.contains(&true), "{unread:?}");
}

/// What is known of a row: the night that its value is of, and that on which it was last written.
type Model = BTreeMap<i32, (u64, u64)>;

/// What history says, in few words: the night, what became of which row, written when.
#[derive(Default)]
struct Heard(Vec<(usize, String)>);

impl Sink for Heard {
    fn row(&mut self, at: At<'_>, change: &Change<'_>) -> Result<()> {
        let shown = change.shown().unwrap();
        let time = |side: &Option<onefold::diff::Version<'_>>| {
            side.as_ref().map_or("-".to_owned(), |row| {
                let times: Value = serde_json::from_str(&row.times()).unwrap();
                night_of(times["b"].as_i64().unwrap()).to_string()
            })
        };
        let key: Value = serde_json::from_str(&shown.key()).unwrap();
        let what = change.what.word();
        let mark = if at.snapshot.complete { "" } else { " incomplete" };
        let line = format!("{what} {} {} {}{mark}", key["k"], time(&change.before), time(&change.after));
        self.0.push((at.info.n as usize, line));
        Ok(())
    }

    fn nothing(&mut self, at: At<'_>, why: &Nothing) -> Result<()> {
        self.0.push((at.info.n as usize, format!("{why:?}")));
        Ok(())
    }

    fn unreadable(&mut self, _: &SnapshotInfo, why: &Error) -> Result<()> {
        panic!("{why}")
    }
}

const FIRST: i64 = 1_700_000_000_000_000;
const NIGHT: i64 = 86_400_000_000;

fn night_of(time: i64) -> u64 {
    ((time - FIRST) / NIGHT) as u64
}

/// The rows of the table, by key, in the order of keys.
fn stored(model: &Model, all: &BTreeMap<i32, (Vec<u8>, usize)>) -> Vec<Row> {
    let row = |(k, (night, written)): (&i32, &(u64, u64))| {
        let (key, group_len) = all[k].clone();
        Row { key, group_len, night: *night, written: *written }
    };
    let mut rows: Vec<Row> = model.iter().map(row).collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// What the model says of the rows that are asked for.
fn told(before: &Model, after: &Model, asked: &dyn Fn(i32) -> bool, mark: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for k in (0..40).filter(|k| asked(*k)) {
        let line = match (before.get(&k), after.get(&k)) {
            (None, Some((_, now))) => format!("added {k} - {now}{mark}"),
            (Some((_, was)), None) => format!("deleted {k} {was} -{mark}"),
            (Some((a, was)), Some((b, now))) if a != b => format!("changed {k} {was} {now}{mark}"),
            (Some((_, was)), Some((_, now))) if was != now => format!("rewritten {k} {was} {now}{mark}"),
            _ => continue,
        };
        lines.push(line);
    }
    lines.sort();
    lines
}

fn heard(repo: &Repo, conditions: &str) -> (Heard, history::Report) {
    let (watch, filter, mut heard) = (Watch::new(), snapshot::Filter::default(), Heard::default());
    let request = Request { engines: ALL, filter: &filter, table: TABLE, conditions, watch: &watch };
    let report = history::history(repo, &request, &repo.reader().unwrap(), &mut heard).unwrap();
    (heard, report)
}

/// Programs of nights: rows written, deleted and back again, nights without the table, nights without a node.
#[test]
fn history_of_any_nights_is_what_a_plain_model_says() {
    let dir = tempfile::tempdir().unwrap();
    let (node, folder, table) = site(dir.path());
    let ring = std::fs::read_to_string(dir.path().join("ring.txt")).unwrap();
    let away = ring.replace("100.00% 0", "50.00% 0") + "127.0.0.2 rack1 Up Normal 1 MiB 50.00% 1000\n";
    std::fs::write(dir.path().join("away.txt"), away).unwrap();
    let all: BTreeMap<i32, (Vec<u8>, usize)> = (0..40)
        .map(|k: i32| {
            let mut key = Vec::new();
            let group_len = onefold::engine::cassandra::comparable::put_group(&mut key, &k.to_be_bytes());
            key.extend([2, 0x38]);
            (k, (key, group_len))
        })
        .collect();
    let mut kinds = BTreeMap::new();
    for seed in 0..3 {
        let (repo, mut dice, mut model) = (init(&memory(), None), Dice(seed), Model::new());
        let mut nights: Vec<(Option<Model>, bool)> = Vec::new();
        for at in 0..10 {
            for _ in 0..4 + dice.below(16) {
                let k = dice.below(40) as i32;
                match dice.below(4) {
                    0 => drop(model.remove(&k)),
                    // The same value again.
                    1 => model.entry(k).and_modify(|row| row.1 = at).or_insert((at, at)).1 = at,
                    _ => drop(model.insert(k, (at, at))),
                }
            }
            // A capture without rows at all is another case.
            model.entry(0).or_insert((at, at));
            write(&folder, &table, &stored(&model, &all));
            let (excluded, incomplete) = (dice.one_in(5), dice.one_in(5));
            let exclude: &[&str] = if excluded { &[TABLE] } else { &[] };
            let ring = if incomplete { "away.txt" } else { "ring.txt" };
            let more = json!({ "exclude": exclude, "source-ring": dir.path().join(ring) });
            let snapshot = night_with(&repo, dir.path(), &node, &more);
            assert_eq!(snapshot.complete, !incomplete, "{:?}", snapshot.problems);
            // What was there before stands in for who is missing.
            let stands_in = if incomplete { nights.iter().rev().find_map(|(model, _)| model.clone()) } else { None };
            let mut view = stands_in.unwrap_or_default();
            view.extend(model.clone());
            nights.push(((!excluded).then_some(view), snapshot.complete));
        }
        let infos = repo.snapshots();
        for (conditions, asked) in [
            ("token(k) >= -9223372036854775808", &(|_| true) as &dyn Fn(i32) -> bool),
            ("k = 7", &|k| k == 7),
            ("k IN (0, 3, 8, 39)", &|k| [0, 3, 8, 39].contains(&k)),
        ] {
            let (heard, report) = heard(&repo, conditions);
            let mut last = Model::new();
            for (info, (model, complete)) in infos.iter().zip(&nights) {
                let mut of_night: Vec<String> =
                    heard.0.iter().filter(|(n, _)| *n == info.n as usize).map(|(_, line)| line.clone()).collect();
                of_night.sort();
                let mark = if *complete { "" } else { " incomplete" };
                let expected = match model {
                    Some(model) => told(&std::mem::replace(&mut last, model.clone()), model, asked, mark),
                    None => vec!["NotBackedUp(Excluded)".to_owned()],
                };
                assert_eq!(of_night, expected, "seed {seed}, {conditions}, night {}", info.n);
                for line in &expected {
                    *kinds.entry(line.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
                }
            }
            assert!(heard.0.is_sorted_by_key(|(n, _)| *n), "oldest first");
            assert_eq!(report.snapshots, nights.iter().filter(|(model, _)| model.is_some()).count());
            assert_eq!(report.snapshots + report.silent, nights.len());
        }
    }
    assert!(kinds.len() == 5 && kinds.values().all(|n| *n > 5), "{kinds:?}");
}

/// A snapshot that is gone from the store hides no other, and is named.
#[test]
fn a_snapshot_that_cannot_be_read_is_named_and_passed() {
    let user = crate::user::User::new();
    let nodes = crate::user::three(&crate::user::capture("cassandra-5.0"));
    (0..3).for_each(|_| drop(user.backup(&nodes, &[]).fine()));
    let ids = user.snapshots();
    for folder in ["snapshot", "copy/snapshot"] {
        remove(&user.path("repo").join(folder), &ids[1]);
    }
    std::fs::remove_dir_all(user.path("cache")).unwrap();
    let ran = user.run(&["history", "lab.users", "--where", "id = 356355"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(
        ran.out.contains("CANNOT BE READ") && ran.out.contains("2 snapshots, 1 cannot be read; 1 versions"),
        "{ran:?}"
    );
    let ran = user.run(&["find", "356355", "--table", "lab.users"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.err.contains(&ids[1]) && ran.out.contains("2 snapshots"), "{ran:?}");
    user.run(&["diff", &ids[0], &ids[2]]).fine();
    user.run(&["diff", &ids[0], &ids[1]]).failed(5, &[&ids[1][..10]]);
}

fn remove(folder: &Path, name: &str) {
    let all = crate::user::files_below(folder);
    let file = all.iter().find(|file| file.to_str().unwrap().contains(name)).unwrap();
    std::fs::remove_file(file).unwrap();
}
