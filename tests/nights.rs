//! Nights of a table that changes, a policy, a prune: what is left is what a repository holds that only ever held the kept ones.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onefold::backup::{self, Done};
use onefold::check::{Options as CheckOptions, check};
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{Options as SsTableOptions, SsTableWriter};
use onefold::engine::cassandra::{comparable, cql};
use onefold::engine::params::{Param, Params};
use onefold::engine::{ALL, Env};
use onefold::forget::policy::{Period, Policy};
use onefold::forget::{By, Options};
use onefold::repo::check::Reads;
use onefold::repo::prune::Limits;
use onefold::repo::{InitOptions, Like, Repo, world};
use onefold::run::Record;
use onefold::snapshot::Snapshot;
use onefold::store::Store;
use onefold::watch::Watch;
use onefold::{forget, prune};
use repo_format::credential::{PasswordCost, Unlock};
use repo_format::record::{BodyWriter, Class};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::repo::{key_file, memory, open};
use crate::user::{capture, copy, mend_manifest};

const NIGHTS: u64 = 60;
const ROWS: i32 = 24_000;
const DAY_MS: i64 = 86_400_000;

/// A row's key, the length of its group, the night that its value is of, and that on which it was last written.
pub struct Row {
    pub key: Vec<u8>,
    pub group_len: usize,
    pub night: u64,
    pub written: u64,
}

impl Row {
    pub fn write(&mut self, night: u64) {
        (self.night, self.written) = (night, night);
    }
}

/// In the order of keys.
pub fn rows() -> Vec<Row> {
    many_rows(ROWS)
}

pub fn many_rows(count: i32) -> Vec<Row> {
    let row = |n: i32| {
        let mut key = Vec::new();
        let group_len = comparable::put_group(&mut key, &n.to_be_bytes());
        key.extend([2, 0x38]);
        Row { key, group_len, night: 0, written: 0 }
    };
    let mut rows: Vec<Row> = (0..count).map(row).collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}

/// What a night changes: a stretch of keys, as a job writes them, and a few rows anywhere.
pub fn change(rows: &mut [Row], night: u64) {
    let mut dice = Dice(night.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut below = |n: usize| dice.below(n as u64) as usize;
    let (stretch, all) = (rows.len() / 25, rows.len());
    let from = below(all - stretch);
    rows[from..from + stretch].iter_mut().for_each(|row| row.write(night));
    (0..3).for_each(|_| rows[below(all)].write(night));
}

/// 500 bytes that nothing makes smaller.
pub fn body_of(table: &Table, row: &Row) -> Vec<u8> {
    let column = table.columns.iter().find(|c| c.name == "b").unwrap().number;
    let (mut noise, mut body) = (vec![0; 500], Vec::new());
    blake3::Hasher::new().update(&row.key).update(&row.night.to_le_bytes()).finalize_xof().fill(&mut noise);
    let time = 1_700_000_000_000_000 + row.written as i64 * DAY_MS * 1000;
    BodyWriter::new(&mut body).push_live(column, time, noise.as_slice().into());
    body
}

/// The node's capture of a night: one SSTable in place of the last one.
pub fn write(folder: &Path, table: &Table, rows: &[Row]) {
    write_bodies(folder, table, rows.iter().map(|row| (row, body_of(table, row))));
}

/// The same of rows with bodies of one's own.
pub fn write_bodies<'r>(folder: &Path, table: &Table, rows: impl Iterator<Item = (&'r Row, Vec<u8>)>) {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).for_each(|path| {
        if path.extension().is_some_and(|e| e != "cql" && e != "json") {
            fs::remove_file(path).unwrap();
        }
    });
    let mut writer = SsTableWriter::create(folder, 1, table, &SsTableOptions::default()).unwrap();
    for (row, body) in rows {
        let traits = repo_format::record::check(&body).unwrap();
        let record = Record { key: &row.key, group_len: row.group_len, class: Class::Row, traits, body: &body };
        writer.push(&record).unwrap();
    }
    writer.finish().unwrap();
    mend_manifest(folder);
}

/// One node that owns everything, and where its table lies.
pub fn site(dir: &Path) -> (PathBuf, PathBuf, Table) {
    let node = dir.join("node1");
    copy(&capture("cassandra-5.0").join("node1"), &node, &|table| {
        table == "lab/big_values" || table.starts_with("system_schema/")
    });
    let is_table = |path: &PathBuf| path.to_string_lossy().contains("big_values-");
    let of_table = fs::read_dir(node.join("lab")).unwrap().map(|e| e.unwrap().path()).find(is_table).unwrap();
    let table = cql::parse(&fs::read_to_string(of_table.join("schema.cql")).unwrap()).unwrap().into_table().unwrap();
    let ring = "\nDatacenter: dc1\n==========\nAddress Rack Status State Load Owns Token\n127.0.0.1 rack1 Up Normal 1 MiB 100.00% 0\n";
    fs::write(dir.join("ring.txt"), ring).unwrap();
    (node, of_table, table)
}

/// A night, with parameters besides those that it takes anyway, or in their place.
pub fn night_with(repo: &Repo, dir: &Path, node: &Path, more: &Value) -> Snapshot {
    with(repo, dir, node, None, more).snapshot
}

pub fn night(repo: &Repo, dir: &Path, node: &Path, state: Option<&Path>, whole: bool) -> Done {
    with(repo, dir, node, state, &if whole { json!({"whole": true}) } else { json!({}) })
}

fn with(repo: &Repo, dir: &Path, node: &Path, state: Option<&Path>, more: &Value) -> Done {
    let engine = ALL[0];
    let form = engine.sources().iter().find(|form| form.name == "cassandra").unwrap();
    let takes: Vec<&Param> = form.params().chain(backup::TAKES.params).collect();
    let mut said = json!({
        "cluster": "prod", "node": [format!("n1@127.0.0.1={}", node.display())], "source-ring": dir.join("ring.txt"), "keyspace": ["lab"],
    });
    more.as_object().unwrap().iter().for_each(|(name, value)| said[name] = value.clone());
    let params = Params::from_json(&takes, said.to_string().as_bytes()).unwrap();
    let watch = Arc::new(Watch::new());
    let env = Env {
        watch: &watch,
        state: state.map(Path::to_owned),
        secret: &|_| unreachable!(),
        host: String::new(),
        stream: &|_| unreachable!(),
    };
    backup::run(repo, engine, form, &params, &env).unwrap()
}

/// Cuts and names chunks as `like` does, so that both hold the same.
pub fn init(store: &Arc<dyn Store>, like: Option<&Repo>) -> Repo {
    let options = InitOptions { cost: PasswordCost::default(), sizes: None, like: like.map(Like::of) };
    Repo::init(store.clone(), Unlock::KeyFile(&key_file()), None, options).unwrap()
}

pub fn bytes(store: &dyn Store) -> (u64, u64) {
    let mut sums = (0, 0);
    store
        .list("", &mut |name, size| {
            sums.0 += if name.starts_with("pack/") { size } else { 0 };
            sums.1 += size;
            Ok(())
        })
        .unwrap();
    sums
}

/// Nights, of which a policy keeps some.
struct Nights<'a> {
    count: u64,
    policy: Policy,
    /// Each night is a tree of its own.
    whole: bool,
    change: &'a dyn Fn(&mut [Row], u64),
}

/// What packs hold once all but the kept nights is pruned, and what those of a repository do that only ever held these; how many there are.
fn pruned(nights: &Nights<'_>) -> (f64, usize, String) {
    let dir = tempfile::tempdir().unwrap();
    let (node, of_table, table) = site(dir.path());
    let (store, young) = (memory(), memory());
    let repo = init(&store, None);
    let fresh = init(&young, Some(&repo));
    let by: BTreeSet<By> = [By::Cluster].into();
    let options = Options { policy: nights.policy.clone(), by, filter: Default::default(), allow_nothing: false };
    // Which nights the policy keeps in the end, found by a first pass over the same nights.
    let clock = |night: u64| world::shift(night as i64 * DAY_MS);
    let all = |repo: &Repo, wanted: &dyn Fn(usize) -> bool| {
        let mut rows = rows();
        for at in 0..nights.count {
            (nights.change)(&mut rows, at);
            if wanted(at as usize) {
                clock(at);
                write(&of_table, &table, &rows);
                let done = night(repo, dir.path(), &node, None, nights.whole);
                assert!(done.snapshot.complete, "{:?}", done.snapshot.problems);
            }
        }
    };
    all(&repo, &|_| true);
    clock(nights.count - 1);
    let judgement = forget::judge(&repo, &options).unwrap();
    let kept: Vec<bool> = judgement.judged.iter().map(|judged| !judged.reasons.is_empty()).collect();
    let before = bytes(&*store);
    repo.forget(&judgement.forgotten()).unwrap();
    let limits = Limits::default();
    let mut moved = 0;
    for grace_ms in [0, 0, 0] {
        let pruned = prune::prune(&repo, &prune::Options { grace_ms, limits, dry_run: false }, &Watch::new()).unwrap();
        moved += pruned.done.bytes_moved;
    }
    all(&fresh, &|at| kept[at]);
    world::shift(0);
    let (left, ideal) = (bytes(&*store), bytes(&*young));
    let count = kept.iter().filter(|kept| **kept).count();
    let ratio = left.0 as f64 / ideal.0 as f64;
    let said = format!(
        "{count} of {} nights kept: packs {} bytes before, {} after, {} would do ({ratio:.3}); {moved} moved; all objects {} and {}",
        nights.count, before.0, left.0, ideal.0, left.1, ideal.1
    );
    let watch = Watch::new();
    let checked =
        check(&open(&store, None).unwrap(), ALL, CheckOptions { reads: Reads::All, declare_lost: false }, &watch);
    assert!(checked.unwrap().harmed.is_empty() && watch.problems().is_empty(), "{:?}", watch.problems());
    (ratio, count, said)
}

#[test]
fn sixty_nights_pruned_are_what_the_kept_ones_need() {
    let policy = Policy { counts: [(Period::Day, 7), (Period::Week, 4)].into(), ..Policy::default() };
    let (ratio, count, said) = pruned(&Nights { count: NIGHTS, policy, whole: true, change: &change });
    assert!((9..=12).contains(&count), "{said}");
    assert!(ratio <= 1.05, "{said}");
}

/// The base and the layers that the kept nights stand on were stored before these: they hold more than a base that was born with them.
/// It is the worst of nights: all layers were joined a night before, and the kept ones need them joined and apart.
#[test]
fn thirty_nights_of_layers_pruned_are_little_more() {
    let policy = Policy { counts: [(Period::Last, 7)].into(), ..Policy::default() };
    let scattered = |rows: &mut [Row], night: u64| {
        crate::layered::scatter(rows, night, 300);
    };
    let (ratio, count, said) = pruned(&Nights { count: 30, policy, whole: false, change: &scattered });
    assert_eq!(count, 7, "{said}");
    assert!(ratio <= 1.25, "{said}");
}
