//! Real kills: `backup` is killed 200 times at random moments. After each the repository opens and what was committed
//! reads back; the next backup that is let run completes and uses what was uploaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use onefold::blob;
use onefold::engine::Show;
use onefold::engine::cassandra::Cassandra;
use onefold::engine::text::TextForm;
use onefold::repo::open::Sizes;
use onefold::repo::{InitOptions, Repo};
use onefold::restore;
use onefold::snapshot::Snapshot;
use onefold::store::Store;
use onefold::view::View;
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;

use crate::user::{User, capture, copy, expected, nodes, ran, table_dir};

const KILLS: u32 = 200;
/// Every so many backups, one is let run.
const ROUND: u32 = 8;
/// Bytes of a file that is new after every commit, so that there is something to upload.
const NEW: usize = 6 << 20;

/// The three nodes with a few of their tables.
pub fn capture_in(user: &User) -> Vec<PathBuf> {
    let keep = |t: &str| t.starts_with("system") || ["lab/users", "lab/orders", "lab/counters"].contains(&t);
    let mut dirs = Vec::new();
    for n in 1..=3 {
        let dir = user.path(&format!("node{n}"));
        copy(&capture("cassandra-5.0").join(format!("node{n}")), &dir, &keep);
        dirs.push(dir);
    }
    dirs
}

/// Bytes that do not compress, from a number.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A repository of small packs, so that a backup takes many steps.
pub fn small_repository(user: &User) -> KeyFile {
    let key = KeyFile::from_text(&fs::read_to_string(user.path("key")).unwrap()).unwrap();
    fs::remove_dir_all(user.path("repo")).unwrap();
    fs::remove_dir_all(user.path("cache")).unwrap();
    let sizes = Some(Sizes { cut_average: 16 << 10, frame_target: 32 << 10, pack_target: 256 << 10 });
    let options = InitOptions { sizes, ..InitOptions::default() };
    Repo::init(place(user), Unlock::KeyFile(&key), None, options).unwrap();
    key
}

pub fn place(user: &User) -> Arc<dyn Store> {
    onefold::store::open(user.path("repo").to_str().unwrap()).unwrap()
}

/// Reads one snapshot back: a table against what the cluster answered, the new file against its content.
pub fn reads_back(repo: &Repo, id: &str, content: u32, length: usize) {
    let info = repo.find_snapshot(id).unwrap();
    let snapshot = Snapshot::decode(&repo.snapshot(&info.id).unwrap().says).unwrap();
    let reader = repo.reader().unwrap();
    let mut rows = Vec::new();
    let users = snapshot.shard("lab.users").unwrap();
    let view = View::open(&Cassandra, &snapshot, users, &reader).unwrap();
    restore::rows(&view, None, Show::default(), TextForm::Json, &mut rows).unwrap();
    let rows = crate::user::lines(&String::from_utf8(rows).unwrap());
    assert!(rows == expected(&capture("cassandra-5.0"), "users"));
    let mut files = snapshot.files(None, &reader).unwrap().map(Result::unwrap);
    let file = files.find(|f| f.name.ends_with("/new")).unwrap();
    let mut bytes = Vec::new();
    blob::read(&file.content, &reader, &mut bytes, "new").unwrap();
    assert!(bytes == noise(content, length), "content {content}");
}

#[test]
fn two_hundred_kills() {
    let user = User::new();
    let key = small_repository(&user);
    let dirs = capture_in(&user);
    let new = table_dir(&dirs[0], "lab", "users").join("new");
    let backup = || {
        let mut command = user.command();
        command.args(["backup", "cassandra", "--json", "--cluster", "prod"]).args(nodes(&dirs));
        command
    };
    // Every committed snapshot, and what the new file held in it.
    let mut committed: BTreeMap<String, u32> = BTreeMap::new();
    let (mut killed, mut attempts, mut adopted, mut content, mut random) = (0, 0u32, 0, 0u32, 1u64);
    let mut usual = Duration::ZERO;
    fs::write(&new, noise(content, NEW)).unwrap();
    while killed < KILLS {
        let let_run = attempts.is_multiple_of(ROUND);
        if let_run {
            let started = Instant::now();
            let done = ran(&mut backup());
            usual = started.elapsed();
            assert_eq!(done.code, Some(0), "{done:?}");
            let summary = done.objects().pop().unwrap();
            adopted += summary["stored"]["index_objects_adopted"].as_u64().unwrap();
        } else {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut running = backup().spawn().unwrap();
            sleep(usual.mul_f64((random >> 40) as f64 / f64::from(1 << 24)));
            running.kill().unwrap();
            killed += u32::from(running.wait().unwrap().code().is_none());
        }
        attempts += 1;
        assert!(attempts < 4 * KILLS, "only {killed} of {attempts} were still at work");

        let repo = Repo::open(place(&user), Unlock::KeyFile(&key), None).unwrap();
        let found: Vec<String> = repo.snapshots().iter().map(|s| s.id.to_string()).collect();
        assert!(committed.keys().all(|id| found.contains(id)), "after {killed} kills");
        assert!(!let_run || found.len() > committed.len());
        // A backup may also be killed after its commit, before it could say so.
        let before = committed.len();
        for id in &found {
            committed.entry(id.clone()).or_insert(content);
        }
        let some = committed.iter().nth(random as usize % committed.len()).unwrap();
        reads_back(&repo, some.0, *some.1, NEW);
        if committed.len() > before {
            content += 1;
            fs::write(&new, noise(content, NEW)).unwrap();
        }
    }
    assert!(adopted > 0, "what a killed backup uploaded is used again");
    let repo = Repo::open(place(&user), Unlock::KeyFile(&key), None).unwrap();
    committed.iter().for_each(|(id, content)| reads_back(&repo, id, *content, NEW));
    user.run(&["check", "--read-data"]).fine();
    leftovers(&user.path("repo"));
    // Checkpoints only save time: one may be missing after a kill, and that is no damage.
    fs::remove_dir_all(user.path("repo/checkpoint")).unwrap();
    let said = user.run(&["check"]).fine();
    assert!(said.contains("no damage: checkpoint") && said.contains("no damage found"), "{said}");
}

/// Temporary files of those who were killed do not pile up.
pub fn leftovers(repo: &Path) {
    let there = fs::read_dir(repo.join("tmp")).map_or(0, Iterator::count);
    assert!(there <= 8, "{there} temporary files");
}
