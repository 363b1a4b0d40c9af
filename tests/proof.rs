//! The digest of a run: equal for equal records, however they came and lie; other where any record is; and what check and
//! restores make of one that differs.

use std::fs;
use std::sync::Arc;

use onefold::merge::Merge;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::{RecordBatch, Run};
use onefold::snapshot::Snapshot;
use onefold::tree::{self, TreeRun};
use proptest::prelude::*;
use repo_format::credential::Unlock;
use repo_format::key::{RepoKeys, RunDigestKey};
use repo_format::keyfile::KeyFile;
use repo_format::leaf::BODY_INLINE_MAX;
use repo_format::record::{BodyWriter, Class};
use repo_format::run_digest::RunDigest;

use crate::user::{User, capture, three};
use crate::world::{Chunks, Plain, Plainly, Ties, run_of, shape};

fn key() -> RunDigestKey {
    RepoKeys::derive(&[4; 32]).fingerprint.run_digest()
}

fn digest_of(run: &mut dyn Run) -> [u8; 32] {
    let (mut digest, mut batch) = (RunDigest::new(&key()), RecordBatch::new());
    while run.next_batch(&mut batch).unwrap() {
        batch.digest(&mut digest);
    }
    digest.finish()
}

fn body(value: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    if !value.is_empty() {
        BodyWriter::new(&mut body).push_live(1, 5, value.into());
    }
    body
}

/// Records with keys and bodies that are like one another, some of them too large for a leaf.
fn records() -> impl Strategy<Value = Vec<Plain>> {
    let value = prop_oneof![
        20 => proptest::collection::vec(0u8..3, 0..4),
        1 => Just(vec![1; BODY_INLINE_MAX]),
        1 => Just(vec![1; BODY_INLINE_MAX + 1]),
    ];
    let record = (0usize..4, prop_oneof![Just(Class::Row), Just(Class::Static)], value);
    proptest::collection::btree_map(proptest::collection::vec(0u8..3, 3..6), record, 1..30).prop_map(|records| {
        let plain = |(key, (group_len, class, value)): (Vec<u8>, (usize, Class, Vec<u8>))| Plain {
            key,
            group_len,
            class,
            body: body(&value),
        };
        records.into_iter().map(plain).collect()
    })
}

/// The same records, one of them otherwise, one fewer or one more. Keys may no longer ascend: a digest does not ask.
fn altered(records: &[Plain], at: usize, how: u8) -> Vec<Plain> {
    let mut all = records.to_vec();
    let at = at % all.len();
    let r = &mut all[at];
    match how {
        0 => drop(all.remove(at)),
        1 => all.insert(at, all[at].clone()),
        2 => r.class = if r.class == Class::Row { Class::Static } else { Class::Row },
        3 => r.group_len = (r.group_len + 1) % 4,
        4 => r.key.push(0),
        5 => r.body = body(&[&r.body[..], &[0]].concat()),
        // Bytes go over from the key to the body, or from one record to the next: all bytes together stay the same.
        6 => {
            let moved = r.key.pop().unwrap();
            r.body.insert(0, moved);
            r.group_len = r.group_len.min(r.key.len());
        }
        7 => {
            let next = (at + 1) % all.len();
            let moved = std::mem::take(&mut all[at].body);
            all[next].key = [moved, all[next].key.clone()].concat();
        }
        _ => {
            let next = (at + 1) % all.len();
            all.swap(at, next);
        }
    }
    all
}

fn plainly(records: &[Plain], each: usize) -> RecordBatches {
    RecordBatches(records.chunks(each).map(<[Plain]>::to_vec).collect())
}

/// Batches as they are given, whatever their records are.
struct RecordBatches(std::collections::VecDeque<Vec<Plain>>);

impl Run for RecordBatches {
    fn next_batch(&mut self, out: &mut RecordBatch) -> onefold::Result<bool> {
        out.clear();
        for r in self.0.pop_front().unwrap_or_default() {
            let traits = repo_format::record::Traits::default();
            let (key, body) = (&r.key[..], &r.body[..]);
            out.push(&onefold::run::Record { key, group_len: r.group_len, class: r.class, traits, body });
        }
        Ok(!out.is_empty())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_is_that_of_the_records_alone(records in records(), each in 1usize..9, leaf in 1u32..20, spread: u64) {
        let one = digest_of(&mut *run_of(records.clone()));
        prop_assert_eq!(digest_of(&mut Plainly(records.clone().into_iter(), each)), one);
        // Stored, in leaves of some size.
        let chunks = Chunks::default();
        let root = tree::write(&mut *run_of(records.clone()), &chunks, &shape(leaf)).unwrap();
        prop_assert_eq!(digest_of(&mut TreeRun::new(root, &chunks)), one);
        // In two files, some records in both.
        let part = |file: u64| {
            let here = |(i, _): &(usize, &Plain)| {
                let place = spread >> (2 * i % 62) & 3;
                place == file || place > 1
            };
            run_of(records.iter().enumerate().filter(here).map(|(_, r)| r.clone()).collect())
        };
        prop_assert_eq!(digest_of(&mut Merge::of(vec![part(0), part(1)], &Ties)), one);
        let other = RepoKeys::derive(&[5; 32]).fingerprint.run_digest();
        let mut under_another_key = RunDigest::new(&other);
        let mut batch = RecordBatch::new();
        let mut run = run_of(records);
        while run.next_batch(&mut batch).unwrap() {
            batch.digest(&mut under_another_key);
        }
        prop_assert_ne!(under_another_key.finish(), one);
    }

    #[test]
    fn it_knows_every_record(records in records(), at: usize, how in 0u8..9) {
        let other = altered(&records, at, how);
        let same = other == records;
        prop_assert!(!same || how > 6);
        prop_assert_eq!(digest_of(&mut plainly(&records, 4)) == digest_of(&mut plainly(&other, 4)), same);
    }
}

fn repository(user: &User) -> Repo {
    let key = KeyFile::from_text(&fs::read_to_string(user.path("key")).unwrap()).unwrap();
    let place = onefold::store::open(user.path("repo").to_str().unwrap()).unwrap();
    Repo::open(Arc::clone(&place), Unlock::KeyFile(&key), None).unwrap()
}

/// Commits what the newest snapshot says, but for what `alter` makes of it. Gives its id.
fn commit_altered(user: &User, alter: impl FnOnce(&mut Snapshot)) -> String {
    let repo = repository(user);
    let latest = repo.find_snapshot("latest").unwrap();
    let mut snapshot = Snapshot::decode(&repo.snapshot(&latest.id).unwrap().says).unwrap();
    alter(&mut snapshot);
    let writer = repo.writer(WriteOptions::default()).unwrap();
    let (id, _) = writer.commit(snapshot.roots().unwrap(), snapshot.encode().unwrap()).unwrap();
    id.id.to_string()
}

const TABLE: &str = "lab.users";

fn shard(s: &mut Snapshot) -> &mut onefold::snapshot::Shard {
    s.shards.iter_mut().find(|shard| shard.name == TABLE).unwrap()
}

/// `check --read-data` names `id`, its table, and nothing of other snapshots or tables; `check` alone sees nothing.
#[track_caller]
fn named_by_check(user: &User, id: &str) {
    user.run(&["check"]).fine();
    let ran = user.run(&["check", "--read-data"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().filter(|line| line.contains("digests differ")).collect();
    assert!(matches!(lines[..], [line] if line.contains(id) && line.contains(TABLE)), "{ran:?}");
}

/// No restore of the whole table says that it is done, or leaves a file that looks as if it were.
#[track_caller]
fn refused_by_restores(user: &User, id: &str) {
    for form in ["json", "csv"] {
        let out = user.path(&format!("{form}-{id}"));
        let out_text = out.to_str().unwrap();
        let ran = user.run(&["restore", id, "--to", form, "--table", TABLE, "--out", out_text]);
        ran.failed(5, &[TABLE, id]);
        assert!(!out.exists());
        user.run(&["restore", id, "--to", form, "--table", TABLE]).failed(5, &[TABLE, id]);
        user.run(&["restore", id, "--to", form, "--table", "lab.wide", "--out", out_text]).fine();
    }
    let (ring, _) = crate::restore_sstables::ring(user, 3, 1, 4);
    let out = user.path(&format!("sstables-{id}"));
    let ran = user.run(&[
        "restore",
        id,
        "--to",
        "sstables",
        "--table",
        TABLE,
        "--ring",
        ring.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--replication",
        "{'class': 'SimpleStrategy', 'replication_factor': '2'}",
    ]);
    ran.failed(5, &[TABLE, id]);
    let said = fs::read_to_string(out.join("restore.json")).unwrap();
    assert!(said.contains("\"writing\"") && !said.contains("\"complete\""), "{said}");
    // What reads no whole table compares nothing.
    let some = user.run(&["restore", id, "--to", "json", "--table", TABLE, "--where", "id = 1"]);
    assert_eq!(some.code, Some(0), "{some:?}");
}

#[test]
fn another_digest_is_found_by_check_and_by_restores() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    user.run(&["check", "--read-data"]).fine();
    let id = commit_altered(&user, |s| {
        let digest = &mut shard(s).digest;
        let flipped = if digest.starts_with('0') { "1" } else { "0" };
        digest.replace_range(0..1, flipped);
    });
    named_by_check(&user, &id);
    refused_by_restores(&user, &id);
}

/// All chunks are there and every one is right, but they are those of another night: only the digest can tell.
#[test]
fn another_tree_is_found_by_check_and_by_restores() {
    let user = User::new();
    let nodes = three(&capture("cassandra-5.0"));
    user.backup(&nodes, &[]).fine();
    user.backup(&nodes[..1], &[]);
    let other =
        user.show()["shards"].as_array().unwrap().iter().find(|s| s["name"] == TABLE).unwrap()["layers"].clone();
    user.backup(&nodes, &[]).fine();
    let id = commit_altered(&user, |s| {
        let layers = serde_json::from_value(other).unwrap();
        assert_ne!(shard(s).layers, layers);
        shard(s).layers = layers;
    });
    named_by_check(&user, &id);
    refused_by_restores(&user, &id);
}

#[test]
fn a_table_without_records_has_a_digest_too() {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let id = commit_altered(&user, |s| shard(s).layers.clear());
    named_by_check(&user, &id);
    refused_by_restores(&user, &id);
}
