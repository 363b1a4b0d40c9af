//! Nights that stand on those before: each costs what changed, and reads as what was backed up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fs, iter};

use onefold::check::{self, check};
use onefold::engine::cassandra::schema::Table;
use onefold::engine::{ALL, KeyRanges};
use onefold::repo::check::Reads;
use onefold::repo::reader::Reader;
use onefold::repo::{Repo, world};
use onefold::run::RecordBatch;
use onefold::snapshot::{self, Snapshot};
use onefold::store::Store;
use onefold::view::{View, differences};
use onefold::watch::Watch;
use repo_format::record::{BodyWriter, Entries, Entry, EntryKind};

use crate::dice::Dice;
use crate::nights::{Row, body_of, bytes, init, many_rows, night, rows, site, write, write_bodies};
use crate::repo::{key_file, memory, open};
use crate::user::files_below;
use crate::world::{Plain, collect};

const DAY_MS: i64 = 86_400_000;

/// One in so many rows, anywhere.
pub fn scatter(rows: &mut [Row], night: u64, one_in: usize) -> usize {
    let mut dice = Dice(night.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 77);
    let (all, few) = (rows.len(), rows.len() / one_in);
    (0..few).for_each(|_| rows[dice.below(all as u64) as usize].write(night));
    few
}

struct Site {
    dir: tempfile::TempDir,
    node: PathBuf,
    of_table: PathBuf,
    table: Table,
    store: Arc<dyn Store>,
    repo: Repo,
    /// What the machine remembers.
    state: Option<PathBuf>,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let (node, of_table, table) = site(dir.path());
        let store: Arc<dyn Store> = memory();
        let repo = init(&store, None);
        Site { dir, node, of_table, table, store, repo, state: None }
    }

    /// Backs up a night's rows. Gives what the snapshot says, and by how many bytes packs grew.
    fn night(&self, rows: &[Row], at: u64) -> (Snapshot, u64) {
        world::shift(at as i64 * DAY_MS);
        write(&self.of_table, &self.table, rows);
        let before = bytes(&*self.store).0;
        let done = night(&self.repo, self.dir.path(), &self.node, self.state.as_deref(), false);
        assert!(done.snapshot.complete, "{:?}", done.snapshot.problems);
        (done.snapshot, bytes(&*self.store).0 - before)
    }
}

fn layers(snapshot: &Snapshot) -> Vec<u64> {
    let shard = snapshot.shards.iter().find(|shard| shard.name == "lab.big_values").unwrap();
    shard.layers.iter().map(|layer| layer.records).collect()
}

/// Every snapshot reads as what its backup merged.
fn all_is_whole(store: &Arc<dyn Store>) {
    let (repo, watch) = (open(store, None).unwrap(), Watch::new());
    let options = check::Options { reads: Reads::All, declare_lost: false };
    let checked = check(&repo, ALL, options, &watch).unwrap();
    assert!(watch.problems().is_empty() && checked.harmed.is_empty(), "{:?}", watch.problems());
    for info in repo.snapshots() {
        let (s, reader) = (snapshot::read(&repo, &info.id).unwrap(), repo.reader().unwrap());
        let shard = s.shard("lab.big_values").unwrap();
        let all = collect(&mut *view(&s, &reader).run().unwrap()).unwrap();
        assert_eq!(all.len() as u64, shard.rows);
    }
}

#[test]
fn nights_of_scattered_changes_cost_what_changed() {
    scattered(Site::new());
}

/// The same by what the machine remembers: the store is read for little more than the layers that are taken in.
#[test]
fn nights_that_are_remembered_read_little() {
    let mut site = Site::new();
    site.state = Some(site.dir.path().join("state"));
    scattered(site);
}

fn scattered(site: Site) {
    let mut rows = rows();
    let (first, whole) = site.night(&rows, 0);
    assert_eq!((layers(&first).len(), first.must.len()), (1, 0));
    let (mut deepest, mut grown) = (0, 0);
    for at in 1..=9 {
        let changed = scatter(&mut rows, at, 100);
        let (snapshot, bytes) = site.night(&rows, at);
        let layers = layers(&snapshot);
        deepest = deepest.max(layers.len());
        grown += bytes;
        assert_eq!(layers[0], rows.len() as u64, "the base stays");
        // 500 bytes a row that nothing makes smaller.
        let changed = changed as u64 * 520;
        assert!(
            layers.len() == 2 && at == 7 || bytes * 10 <= changed * 16,
            "night {at}: {bytes} bytes for {changed}: {layers:?}"
        );
        assert_eq!(snapshot.must, ["layers"]);
        if at == 6 {
            // Nothing is taken in where nothing changed.
            let (same, bytes) = site.night(&rows, at);
            assert!(self::layers(&same) == layers && bytes * 500 < whole, "{bytes} of {whole}");
        }
    }
    assert!(deepest == 7 && grown * 10 < whole * 3, "{deepest} layers, {grown} bytes beside {whole}");
    // A night without changes.
    let before = site.repo.requests();
    let (same, bytes) = site.night(&rows, 10);
    let read = site.repo.requests().bytes_read - before.bytes_read;
    let remembered = site.state.is_some();
    assert!(remembered == (read * 5 < whole), "{read} bytes read of {whole}");
    assert!(bytes * 500 < whole, "{bytes} of {whole}");
    assert_eq!(same.shards[0].rows, first.shards[0].rows);
    world::shift(0);
    all_is_whole(&site.store);
}

/// Each night a thirtieth of a table's values expires; five days later their tombstones are gone from the node, too. Neither costs what
/// a change would.
#[test]
fn what_expires_and_what_outlives_its_grace_cost_next_to_nothing() {
    for remembered in [true, false] {
        let mut site = Site::new();
        site.state = remembered.then(|| site.dir.path().join("state"));
        let rows = rows();
        let now = world::now_ms() / 1000;
        let mut whole = 0;
        for at in [0, 1, 2, 6, 7] {
            world::shift(at as i64 * DAY_MS);
            let held = rows
                .iter()
                .enumerate()
                .filter_map(|(n, row)| living(&site.table, row, now + n as u64 % 30 * DAY, now + at * DAY));
            write_bodies(&site.of_table, &site.table, held);
            captured_at(&site.node, now + at * DAY);
            let (before, read) = (bytes(&*site.store).1, site.repo.requests().bytes_read);
            let done = night(&site.repo, site.dir.path(), &site.node, site.state.as_deref(), false);
            assert!(done.snapshot.complete, "{:?}", done.snapshot.problems);
            let grown = bytes(&*site.store).1 - before;
            let read = site.repo.requests().bytes_read - read;
            if at == 0 {
                whole = grown;
                continue;
            }
            assert!(grown * 500 < whole, "night {at}: {grown} bytes beside {whole}");
            assert!(!remembered || read * 100 < whole, "night {at}: {read} bytes read of {whole}");
        }
        world::shift(0);
        all_is_whole(&site.store);
    }
}

const DAY: u64 = DAY_MS as u64 / 1000;

/// Makes all of a node's manifests say that the snapshot was taken then.
fn captured_at(node: &Path, seconds: u64) {
    let at = jiff::Timestamp::from_second(seconds as i64).unwrap().to_string();
    for path in files_below(node).into_iter().filter(|path| path.ends_with("manifest.json")) {
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest["created_at"] = at.as_str().into();
        fs::write(&path, manifest.to_string()).unwrap();
    }
}

/// What a node that has just compacted holds of a row whose value was written for five days and ends at noon of the day that begins
/// at `ends` (seconds since 1970).
fn living<'r>(table: &Table, row: &'r Row, ends: u64, now: u64) -> Option<(&'r Row, Vec<u8>)> {
    const TTL: u32 = 5 * DAY as u32;
    let ends = (ends + DAY / 2) as u32;
    let (whole, mut body) = (body_of(table, row), Vec::new());
    let cell = Entries::new(&whole).next_entry().unwrap().unwrap();
    let expired = Entry { kind: EntryKind::Tombstone, ldt: ends - TTL, ttl: 0, value: None, ..cell };
    match now as u32 {
        now if ends > now => BodyWriter::new(&mut body).push(&Entry { ldt: ends, ttl: TTL, ..cell }),
        // Grace ends ten days after the value was written.
        now if ends - TTL + 10 * DAY as u32 > now => BodyWriter::new(&mut body).push(&expired),
        _ => return None,
    }
    Some((row, body))
}

#[test]
fn rows_that_come_and_go_and_a_night_that_changes_most() {
    let site = Site::new();
    let mut rows = rows();
    rows.truncate(6_000);
    let mut away = Vec::new();
    site.night(&rows, 0);
    for at in 1..6 {
        // Some are gone, and those of the night before are back.
        rows.append(&mut away);
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let mut dice = Dice(at);
        for _ in 0..40 {
            away.push(rows.remove(dice.below(rows.len() as u64) as usize));
        }
        scatter(&mut rows, at, 100);
        let (snapshot, _) = site.night(&rows, at);
        assert_eq!(
            (layers(&snapshot).len() as u64, snapshot.shards.iter().map(|s| s.rows).max()),
            (1 + at, Some(rows.len() as u64))
        );
    }
    // All change: a base of its own costs less.
    rows.iter_mut().for_each(|row| row.write(99));
    let (snapshot, _) = site.night(&rows, 6);
    assert_eq!(layers(&snapshot), [rows.len() as u64]);
    world::shift(0);
    all_is_whole(&site.store);
}

type ByKey = BTreeMap<Vec<u8>, Plain>;

fn by_key(view: &View<'_>) -> ByKey {
    let all = collect(&mut *view.run().unwrap()).unwrap();
    all.into_iter().map(|record| (record.key.clone(), record)).collect()
}

/// Nights that stand on one base are compared by their layers: what differs, and little else is read.
#[test]
fn what_differs_between_nights_is_found_by_layers() {
    let site = Site::new();
    let (mut rows, mut away) = (rows(), Vec::new());
    site.night(&rows, 0);
    for at in 1..5 {
        scatter(&mut rows, at, 8000);
        rows.append(&mut away);
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        let mut dice = Dice(at);
        away.extend((0..2).map(|_| rows.remove(dice.below(rows.len() as u64) as usize)));
        site.night(&rows, at);
    }
    world::shift(0);
    let repo = open(&site.store, None).unwrap();
    let all: Vec<Snapshot> = repo.snapshots().iter().map(|info| snapshot::read(&repo, &info.id).unwrap()).collect();
    for (one, other) in (0..all.len()).flat_map(|one| (0..all.len()).map(move |other| (one, other))) {
        let (reader, fresh) = (repo.reader().unwrap(), open(&site.store, None).unwrap());
        let views: Vec<View<'_>> = [one, other].map(|n| view(&all[n], &reader)).to_vec();
        let (before, after) = (by_key(&views[0]), by_key(&views[1]));
        let keys: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
        let expected: Vec<(Vec<u8>, bool, bool)> = keys
            .into_iter()
            .filter(|key| before.get(*key).map(|r| &r.body) != after.get(*key).map(|r| &r.body))
            .map(|key| (key.clone(), before.contains_key(key), after.contains_key(key)))
            .collect();
        let (cold, begun) = (fresh.reader().unwrap(), fresh.requests().bytes_read);
        let views: Vec<View<'_>> = [one, other].map(|n| view(&all[n], &cold)).to_vec();
        let mut found = Vec::new();
        let everything: KeyRanges = Box::new(std::iter::once((Vec::new(), Vec::new())));
        differences(Some(&views[0]), Some(&views[1]), everything, &Watch::new(), &mut |before, after| {
            let key = before.or(after).unwrap().key.to_vec();
            let sides = [(before, &views[0]), (after, &views[1])];
            assert!(sides.iter().all(|(record, _)| record.is_none_or(|r| r.key == key)));
            found.push((key, before.is_some(), after.is_some()));
            Ok(())
        })
        .unwrap();
        assert_eq!(found, expected, "{one} {other}");
        let read = fresh.requests().bytes_read - begun;
        assert!(one.abs_diff(other) != 1 || read < 9_000_000, "{one} {other}: {read}");
    }
}

/// What nights of one row in a hundred cost beside what changed: the changed records as they are, in the order of keys, by zstd -3.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn sixty_nights_measured() {
    let mut site = Site::new();
    site.state = Some(site.dir.path().join("state"));
    let mut rows = many_rows(60_000);
    let (_, whole) = site.night(&rows, 0);
    let (mut grown, mut must, mut worst) = (0, 0, 0f64);
    let (mut previous, mut last) = (None, None);
    for at in 1..=60 {
        scatter(&mut rows, at, 100);
        let mut plain = Vec::new();
        for row in rows.iter().filter(|row| row.night == at) {
            plain.extend_from_slice(&row.key);
            plain.extend_from_slice(&body_of(&site.table, row));
        }
        let changed = zstd::bulk::compress(&plain, 3).unwrap().len() as u64;
        let all = bytes(&*site.store).1;
        let (snapshot, _) = site.night(&rows, at);
        let all = bytes(&*site.store).1 - all;
        let layers = layers(&snapshot);
        eprintln!("night {at}: {all} bytes, {changed} changed ({:.2}), layers {layers:?}", all as f64 / changed as f64);
        if layers.len() < 8 && layers.last().is_some_and(|last| *last <= 600) {
            worst = worst.max(all as f64 / changed as f64);
        }
        (grown, must) = (grown + all, must + changed);
        if [3, 7].contains(&layers.len()) {
            eprintln!(
                "look-up at {} layers: {} range requests at most",
                layers.len() - 1,
                look_up(&site, &snapshot, &rows)
            );
        }
        previous = last.replace(snapshot);
    }
    if let (Some(previous), Some(last)) = (&previous, &last) {
        reads_measured(&site, previous, last, &rows);
    }
    eprintln!("base {whole}; nights without taking in: {worst:.2} at most; all: {:.2}", grown as f64 / must as f64);
    let (_, same) = site.night(&rows, 61);
    eprintln!("a night without changes: {:.4} of the base", same as f64 / whole as f64);
    world::shift(0);
    all_is_whole(&site.store);
}

fn view<'a>(snapshot: &'a Snapshot, reader: &'a Reader) -> View<'a> {
    View::open(ALL[0], snapshot, snapshot.shard("lab.big_values").unwrap(), reader).unwrap()
}

/// Range requests that the look-up of a row takes at most, by a reader that has read nothing yet.
fn look_up(site: &Site, snapshot: &Snapshot, rows: &[Row]) -> u64 {
    let repo = open(&site.store, None).unwrap();
    let one = |row: &Row| {
        let (reader, before) = (repo.reader().unwrap(), repo.requests().range_reads);
        let range = (row.key.clone(), [&row.key[..], &[0]].concat());
        let found = collect(&mut *view(snapshot, &reader).ranges(Box::new(iter::once(range))).unwrap()).unwrap();
        assert!(found.iter().any(|record| record.key == row.key));
        repo.requests().range_reads - before
    };
    rows.iter().step_by(rows.len() / 50).map(one).max().unwrap()
}

/// Seconds of CPU that this process has taken.
fn cpu_seconds() -> f64 {
    seconds_of(11)
}

/// Those of programs that it ran.
fn children_seconds() -> f64 {
    seconds_of(13)
}

fn seconds_of(field: usize) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[field..field + 2].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// What reading the whole view of a snapshot takes: CPU seconds, and bytes of the store.
fn whole_view(site: &Site, snapshot: &Snapshot) -> (f64, u64) {
    let repo = open(&site.store, None).unwrap();
    let (reader, before, begun) = (repo.reader().unwrap(), repo.requests().bytes_read, cpu_seconds());
    let (view, mut batch) = (view(snapshot, &reader), RecordBatch::new());
    let mut run = view.run().unwrap();
    while run.next_batch(&mut batch).unwrap() {}
    (cpu_seconds() - begun, repo.requests().bytes_read - before)
}

/// CPU seconds of the program that restores the newest snapshot to SSTables.
fn restored(site: &Site) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let (repo, key) = (dir.path().join("repo"), dir.path().join("key"));
    fs::write(&key, &*key_file().to_text()).unwrap();
    let mut names = Vec::new();
    let mut each = |name: &str, _: u64| {
        names.push(name.to_owned());
        Ok(())
    };
    site.store.list("", &mut each).unwrap();
    for name in names {
        let path = repo.join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, site.store.read(&name).unwrap()).unwrap();
    }
    let mut restore = Command::new(env!("CARGO_BIN_EXE_onefold"));
    restore.args(["restore", "latest", "--to", "sstables", "--layout", "once", "--no-cache", "--json"]);
    restore.arg("--repository").arg(&repo).arg("--key-file").arg(&key).arg("--out").arg(dir.path().join("out"));
    let before = children_seconds();
    assert!(restore.stdout(std::process::Stdio::null()).status().unwrap().success());
    children_seconds() - before
}

#[allow(clippy::print_stderr)]
fn reads_measured(site: &Site, previous: &Snapshot, last: &Snapshot, rows: &[Row]) {
    let single = Site::new();
    let (full, _) = single.night(rows, 60);
    for _ in 0..5 {
        let ((layered, bytes), (whole, _)) = (whole_view(site, last), whole_view(&single, &full));
        eprintln!("reading night 60: {layered:.2} CPU s, of one full backup {whole:.2}; {bytes} bytes");
    }
    for _ in 0..5 {
        let (layered, whole) = (restored(site), restored(&single));
        eprintln!("restoring night 60 to SSTables: {layered:.2} CPU s, one full backup {whole:.2}");
    }
    let repo = open(&site.store, None).unwrap();
    let (reader, before) = (repo.reader().unwrap(), repo.requests().bytes_read);
    let (one, other) = (view(previous, &reader), view(last, &reader));
    let (everything, mut found): (KeyRanges, _) = (Box::new(iter::once((Vec::new(), Vec::new()))), 0);
    differences(Some(&one), Some(&other), everything, &Watch::new(), &mut |_, _| {
        found += 1;
        Ok(())
    })
    .unwrap();
    eprintln!("diff of nights 59 and 60: {found} rows, {} bytes read", repo.requests().bytes_read - before);
}
