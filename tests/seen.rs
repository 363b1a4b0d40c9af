//! What a machine remembers of the records that it stored: nights that stand on it, and what becomes of it that is lost, stale or changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::emptied::copies;
use crate::user::{Ran, User, capture, expected, files_below, nodes, ran};

struct Site {
    user: User,
    _dir: tempfile::TempDir,
    dirs: Vec<PathBuf>,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let dirs = copies(dir.path());
        Site { user: User::new(), _dir: dir, dirs }
    }

    fn by(&self, key: &str, dirs: &[PathBuf], more: &[&str]) -> Ran {
        let mut command = self.user.command();
        command.env("ONEFOLD_KEY_FILE", self.user.path(key));
        command.args(["backup", "cassandra", "--json", "--cluster", "prod"]);
        ran(command.args(nodes(dirs)).args(more))
    }

    /// A complete night; what it says of what the machine remembers, and of tables that are stored anew.
    #[track_caller]
    fn night(&self, key: &str, more: &[&str]) -> Vec<String> {
        let ran = self.by(key, &self.dirs, more);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        notes(&ran)
    }

    /// Files of what is remembered.
    fn remembered(&self) -> Vec<PathBuf> {
        let mut all = files_below(&self.user.path("state/onefold/seen"));
        all.retain(|path| path.file_name().is_some_and(|name| name != "secret"));
        all
    }

    /// Of every table, in their order.
    fn digests(&self) -> Vec<Value> {
        self.user.show()["shards"].as_array().unwrap().iter().map(|shard| shard["digest"].clone()).collect()
    }

    /// Shards whose trees are not all of the newest snapshot, and all.
    fn standing(&self) -> (usize, usize) {
        let show = self.user.show();
        let shards = show["shards"].as_array().unwrap();
        let with_layers = shards.iter().filter(|s| s["layers"].as_array().unwrap().len() > 1).count();
        (with_layers, shards.len())
    }

    #[track_caller]
    fn is_whole(&self) {
        self.user.run(&["check", "--read-data"]).fine();
        for table in ["users", "orders"] {
            assert_eq!(
                self.user.rows("latest", &format!("lab.{table}")),
                expected(&capture("cassandra-5.0"), table),
                "{table}"
            );
        }
    }
}

fn notes(ran: &Ran) -> Vec<String> {
    let objects = ran.objects();
    let summary = objects.iter().find(|o| o["message_type"] == "summary").unwrap();
    let all = summary["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned());
    all.filter(|note| note.contains("remember") || note.contains("stored anew")).collect()
}

fn stored(ran: &Ran) -> u64 {
    let objects = ran.objects();
    let summary: &Value = objects.iter().find(|o| o["message_type"] == "summary").unwrap();
    summary["stored"]["chunks_new"].as_u64().unwrap_or_else(|| panic!("{summary}"))
}

/// Changes bytes of a file, or its length.
fn harm(path: &Path, how: usize) {
    let mut bytes = fs::read(path).unwrap();
    let length = bytes.len();
    match how {
        0 => bytes.clear(),
        1 => bytes.truncate(length / 2),
        2 => bytes.truncate(length - 1),
        3 => bytes[length - 1] ^= 0x40,
        4 => bytes[length - 20] ^= 1,
        5 => bytes[0] ^= 0x40,
        6 => bytes[3] ^= 0xff,
        _ => bytes[length / 3] ^= 1,
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_harmed_is_noticed_and_the_view_is_read_in_its_place() {
    let site = Site::new();
    assert_eq!(site.night("key", &[]), [""; 0]);
    assert!(!site.remembered().is_empty());
    assert_eq!(site.night("key", &[]), [""; 0], "as it was");
    for how in 0..8 {
        site.remembered().iter().for_each(|path| harm(path, how));
        let notes = site.night("key", &[]);
        // Nothing is looked up of tables that are empty.
        assert!(notes.len() + 2 == site.remembered().len() && notes.len() > 30, "{how}: {notes:?}");
        assert!(notes.iter().all(|note| note.contains("what this machine remembers")), "{how}: {notes:?}");
        assert_eq!(site.night("key", &[]), [""; 0], "{how}: made anew");
    }
    // Of other tables, of an older night, and none at all.
    let (all, secret) = (site.remembered(), site.user.path("state/onefold/seen/secret"));
    let first = fs::read(&all[0]).unwrap();
    for pair in all.windows(2) {
        fs::copy(&pair[1], &pair[0]).unwrap();
    }
    fs::write(all.last().unwrap(), first).unwrap();
    assert!(site.night("key", &[]).iter().any(|note| note.contains("is of another snapshot")));
    all.iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(site.night("key", &[]), [""; 0]);
    // Another secret: nothing looks as it did, and all is stored anew.
    fs::write(&secret, [7; 16]).unwrap();
    site.night("key", &[]);
    fs::write(&secret, [7; 17]).unwrap();
    site.night("key", &[]);
    site.is_whole();
}

/// Who only writes finds what changed, and stores no more than that.
#[test]
fn who_only_writes_stands_on_what_is_remembered() {
    let site = Site::new();
    let key = site.user.path("machine");
    site.user.run(&["key", "add", "--role", "write", "--new-key-file", key.to_str().unwrap()]).fine();
    let first = site.by("machine", &site.dirs, &[]);
    assert_eq!((first.code, stored(&first) > 50), (Some(0), true), "{first:?}");
    let again = site.by("machine", &site.dirs, &[]);
    assert!(again.code == Some(0) && stored(&again) < 20, "{again:?}");
    assert_eq!(site.user.show()["must"], serde_json::json!(["layers"]));
    // Nothing is remembered any more: a base.
    site.remembered().iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(site.by("machine", &site.dirs, &[]).code, Some(0));
    assert_eq!(site.user.show()["must"], serde_json::json!([]));
    site.is_whole();
}

/// A node that was not read may hold what no other does: what was there before stands in for it.
#[test]
fn what_only_an_absent_node_held_stays() {
    let site = Site::new();
    site.night("key", &[]);
    let before = site.digests();
    // The third was captured last: without it the night would be before the one that it stands on.
    for away in 0..2 {
        let without = |more: &[&str]| {
            let mut command = site.user.command();
            command.args(["backup", "cassandra", "--json", "--cluster", "prod"]).args(more);
            for (n, dir) in site.dirs.iter().enumerate().filter(|(n, _)| *n != away) {
                command.arg(format!("--node=n{}={}", n + 1, dir.display()));
            }
            let done = ran(&mut command);
            assert_eq!(done.code, Some(4), "{done:?}");
            assert_eq!(notes(&done), [""; 0]);
        };
        without(&[]);
        assert_eq!(site.digests(), before, "without {away}");
        assert!(site.standing().0 == 0, "nothing changed");
        if away == 1 {
            without(&["--whole"]);
            assert_ne!(site.digests(), before, "it does hold what no other has");
        }
    }
    // It stands on the last complete one: the one before has another base.
    site.night("key", &[]);
    assert_eq!(site.digests(), before);
    site.is_whole();
}

#[test]
fn whole_stands_on_nothing() {
    let site = Site::new();
    site.night("key", &[]);
    site.night("key", &[]);
    assert_eq!(site.user.show()["must"], serde_json::json!(["layers"]));
    site.night("key", &["--whole"]);
    assert_eq!(site.user.show()["must"], serde_json::json!([]));
    assert_eq!(site.standing().0, 0);
    site.is_whole();
}
