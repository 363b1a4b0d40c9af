//! What a machine that only writes keeps of its last backups: it compares, keeps the shape of tables, and says what is odd about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use onefold::backup::{Previous, State};
use onefold::repo::Repo;
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use repo_format::log::Body;
use serde_json::Value;

use crate::emptied::{copies, take};
use crate::user::{Ran, User, capture, files_below, nodes, ran, three};

/// A user with a machine whose credential only writes.
struct Site {
    user: User,
}

impl Site {
    fn new() -> Site {
        let site = Site { user: User::new() };
        site.add("machine");
        site
    }

    fn add(&self, name: &str) {
        let key = self.user.path(name);
        self.user.run(&["key", "add", "--role", "write", "--new-key-file", key.to_str().unwrap()]).fine();
    }

    fn by(&self, name: &str, cluster: &str, dirs: &[PathBuf], more: &[&str]) -> Ran {
        let mut command = self.user.command();
        command.env("ONEFOLD_KEY_FILE", self.user.path(name)).args([
            "backup",
            "cassandra",
            "--json",
            "--cluster",
            cluster,
        ]);
        ran(command.args(nodes(dirs)).args(more))
    }

    /// A night that ends with `code`; what it noted of earlier backups, and its problems.
    #[track_caller]
    fn night(&self, dirs: &[PathBuf], more: &[&str], code: i32) -> (Vec<String>, Vec<String>) {
        let ran = self.by("machine", "prod", dirs, more);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        said(&ran)
    }

    /// The only state there is.
    fn state(&self) -> PathBuf {
        let mut all = files_below(&self.user.path("state"));
        all.retain(|path| path.extension().is_none() && path.iter().any(|part| part == "backup"));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn said(ran: &Ran) -> (Vec<String>, Vec<String>) {
    let objects = ran.objects();
    let summary = objects.iter().find(|o| o["message_type"] == "summary").unwrap();
    let notes = summary["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap().to_owned());
    let of_before = |note: &String| ["state", "earlier", "read role"].iter().any(|word| note.contains(word));
    let text = |o: &Value| format!("{}: {}", o["subject"].as_str().unwrap(), o["message"].as_str().unwrap());
    let problems = objects.iter().filter(|o| o["message_type"] == "error").map(text);
    (notes.filter(of_before).collect(), problems.collect())
}

const NOTHING: (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());

#[track_caller]
fn noted(said: &(Vec<String>, Vec<String>), words: &[&str]) {
    assert!(said.0.len() == 1 && said.1.is_empty(), "{said:?}");
    for word in words {
        assert!(said.0[0].contains(word), "`{word}`: {said:?}");
    }
}

#[test]
fn a_table_that_fell_to_nothing_is_noticed_without_reading() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = copies(dir.path());
    let site = Site::new();
    assert_eq!(site.night(&dirs, &[], 0), NOTHING);
    assert_eq!(site.night(&dirs, &[], 0), NOTHING, "compared, and nothing to be said");
    take(&dirs, "users", &|_| true);
    for _ in 0..2 {
        let (notes, problems) = site.night(&dirs, &[], 4);
        assert!(notes.is_empty() && problems.len() == 1, "{notes:?} {problems:?}");
        let words = ["table lab.users: fell from ", " rows to 0", "read role", "--accept-emptied"];
        assert!(words.iter().all(|word| problems[0].contains(word)), "{problems:?}");
        assert!(
            problems[0].contains(&site.user.snapshots()[1]),
            "the last complete one is compared with: {problems:?}"
        );
    }
    assert_eq!(site.night(&dirs, &["--accept-emptied", "lab.users"], 0), NOTHING);
    assert_eq!(site.night(&dirs, &[], 0), NOTHING);
    // A dry run compares, too, and leaves the state as it is.
    let before = fs::read(site.state()).unwrap();
    take(&dirs, "orders", &|_| true);
    assert_eq!(site.night(&dirs, &["--dry-run"], 4).1.len(), 1);
    assert_eq!(fs::read(site.state()).unwrap(), before);
}

#[test]
fn the_state_says_what_the_snapshots_say() {
    let site = Site::new();
    let dirs = three(&capture("cassandra-5.0"));
    site.night(&dirs, &[], 0);
    assert_eq!(site.by("machine", "other", &three(&capture("cassandra-4.1")), &[]).code, Some(0));
    assert_eq!(site.night(&dirs, &[], 0), NOTHING, "clusters that take turns");
    let open = |name: &str| {
        let key = KeyFile::from_text(&fs::read_to_string(site.user.path(name)).unwrap()).unwrap();
        let place = onefold::store::open(site.user.path("repo").to_str().unwrap()).unwrap();
        Repo::open(place, Unlock::KeyFile(&key), None).unwrap()
    };
    // Others count what only writes once it is vouched for.
    let reader = open("key");
    let all = reader.snapshots().iter().map(|info| info.id).collect::<std::collections::BTreeSet<_>>();
    let vouch = Body::Vouch { indexes: Vec::new(), snapshots: all.into_iter().collect() };
    reader.administer(&mut |_| Ok(vouch.clone())).unwrap();
    let machine = open("machine");
    let dir = site.user.path("state").join("onefold");
    assert!(State::of(&reader, Some(&dir)).is_none(), "who reads needs none");
    let state = State::of(&machine, Some(&dir)).unwrap();
    for cluster in ["prod", "other"] {
        let kept = Previous::of(&machine, "cassandra", cluster, Some(&state));
        let read = Previous::of(&reader, "cassandra", cluster, None);
        assert_eq!(kept.newest(), read.newest());
        let (kept_names, read_names) = (kept.complete().unwrap(), read.complete().unwrap());
        assert_eq!((&kept_names.of, &kept_names.shards), (&read_names.of, &read_names.shards));
        assert!(read_names.shards.len() > 5);
        for id in read_names.shards.keys() {
            let (kept, read) = (kept.shard(id).unwrap(), read.shard(id).unwrap());
            assert_eq!((kept.of, kept.shard), (read.of, read.shard));
        }
        assert_eq!(kept.passed_over(), Vec::<String>::new());
    }
    assert!(Previous::of(&machine, "other", "prod", Some(&state)).newest().is_none());
    // Without its credential it shows nothing, and to nobody else on the machine.
    let bytes = fs::read(site.state()).unwrap();
    for word in ["users", "lab", "prod", "cassandra", "address"] {
        assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{word}");
    }
    for file in files_below(&site.user.path("state")) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
    }
    let folder = site.state().parent().unwrap().to_owned();
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn a_state_that_is_lost_changed_or_anothers_is_named_and_costs_a_full_pass() {
    let site = Site::new();
    let dirs = three(&capture("cassandra-5.0"));
    assert_eq!(site.night(&dirs, &[], 0), NOTHING, "the first night of all has nothing to compare with");
    let path = site.state();
    let text = path.display().to_string();
    let good = fs::read(&path).unwrap();
    let put = |bytes: &[u8]| fs::write(&path, bytes).unwrap();

    fs::remove_dir_all(site.user.path("state")).unwrap();
    noted(&site.night(&dirs, &[], 0), &["is not there", &text, "read role", "stored anew"]);
    assert_eq!(site.night(&dirs, &[], 0), NOTHING, "it is made anew");
    let good_again = fs::read(&path).unwrap();
    // Any byte, and any length.
    let places = [0, 12, 13, 14, 37, 38, good.len() / 2, good.len() - 17, good.len() - 1];
    for at in places {
        let mut bytes = good_again.clone();
        bytes[at] ^= 0x20;
        put(&bytes);
        noted(&site.night(&dirs, &["--dry-run"], 0), &["cannot be used", &text]);
        put(&good_again[..at]);
        noted(&site.night(&dirs, &["--dry-run"], 0), &["cannot be used", &text]);
    }
    // Of another credential, under the name of this one's.
    site.add("second");
    let ran = site.by("second", "prod", &dirs, &[]);
    assert_eq!(said(&ran), NOTHING, "there is nothing yet that it might have compared with");
    let mut all = files_below(&site.user.path("state"));
    all.retain(|file| file.extension().is_none() && *file != path);
    fs::copy(&all[0], &path).unwrap();
    noted(&site.night(&dirs, &["--dry-run"], 0), &["another credential", &text]);
    // A backup that cannot use it replaces it.
    noted(&site.night(&dirs, &[], 0), &["another credential", &text]);
    assert_eq!(site.night(&dirs, &["--dry-run"], 0), NOTHING);
    // One that is put back from before is older than what the log says.
    put(&good);
    noted(&site.night(&dirs, &["--dry-run"], 0), &["does not know of snapshot", "older one is compared", &text]);
    // Where the folder cannot be written to, the backup stands and says so.
    fs::remove_dir_all(site.user.path("state")).unwrap();
    fs::write(site.user.path("state"), "in the way").unwrap();
    let ran = site.by("machine", "prod", &dirs, &[]);
    assert!(ran.code == Some(0) && ran.err.contains("the next one will find no state"), "{ran:?}");
}

fn copy_all(from: &Path, to: &Path) {
    for file in files_below(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
}

#[test]
fn a_backup_that_dies_at_its_commit_is_not_forgotten_and_another_history_is_seen() {
    let site = Site::new();
    let dirs = three(&capture("cassandra-5.0"));
    site.night(&dirs, &[], 0);
    let path = site.state();
    let aside = path.with_extension("new");
    let before = fs::read(&path).unwrap();
    let (repo, old) = (site.user.path("repo"), site.user.path("old"));
    copy_all(&repo, &old);
    site.night(&dirs, &[], 0);
    let after = fs::read(&path).unwrap();

    // Died between the commit and taking its place.
    fs::write(&aside, &after).unwrap();
    fs::write(&path, &before).unwrap();
    assert_eq!(site.night(&dirs, &["--dry-run"], 0), NOTHING);
    assert!(!aside.exists() && fs::read(&path).unwrap() == after);
    // Lost its power while it wrote.
    fs::write(&aside, &after[..after.len() / 2]).unwrap();
    assert_eq!(site.night(&dirs, &["--dry-run"], 0), NOTHING);
    assert!(!aside.exists() && fs::read(&path).unwrap() == after);

    // The repository is put back as it was. A state that was written aside is now of a commit that never was.
    fs::remove_dir_all(&repo).unwrap();
    fs::remove_dir_all(site.user.path("cache")).unwrap();
    copy_all(&old, &repo);
    fs::write(&aside, &after).unwrap();
    fs::write(&path, &before).unwrap();
    assert_eq!(site.night(&dirs, &["--dry-run"], 0), NOTHING);
    assert!(!aside.exists() && fs::read(&path).unwrap() == before);
    // And one that had its place is of another history.
    fs::write(&path, &after).unwrap();
    noted(&site.night(&dirs, &["--dry-run"], 0), &["of another history of the log", "put back"]);
    fs::remove_dir_all(site.user.path("cache")).unwrap();
    site.by("key", "prod", &dirs, &[]);
    site.by("key", "prod", &dirs, &[]);
    noted(&site.night(&dirs, &[], 0), &["of another history of the log", "put back"]);
    assert_eq!(site.night(&dirs, &[], 0), NOTHING);
}

#[test]
fn what_the_state_shows_to_a_thief() {
    let site = Site::new();
    site.night(&three(&capture("cassandra-5.0")), &[], 0);
    // The credential, what opens it, the store and the machine's disk.
    let key = KeyFile::from_text(&fs::read_to_string(site.user.path("machine")).unwrap()).unwrap();
    let place = onefold::store::open(site.user.path("repo").to_str().unwrap()).unwrap();
    let thief = Repo::open(place, Unlock::KeyFile(&key), None).unwrap();
    let writer = thief.ring().writer.as_ref().unwrap();
    let bytes = fs::read(site.state()).unwrap();
    let shown = repo_format::machine::open(writer, &thief.ring().repo_id, b"backup", &bytes).unwrap();
    let shown = String::from_utf8(shown).unwrap();
    for word in ["lab.users", "address", "\"rows\":", "\"layers\":["] {
        assert!(shown.contains(word), "{word}");
    }
    // Of values of rows nothing, and of keys nothing either: it holds no row.
    let rows = site.user.rows("latest", "lab.users");
    let row: Value = serde_json::from_str(&rows[0]).unwrap();
    let values = row.as_object().unwrap().values().filter_map(Value::as_str).filter(|text| text.len() > 8);
    let values: Vec<&str> = values.collect();
    assert!(!values.is_empty(), "{row}");
    assert!(values.iter().all(|value| !shown.contains(value)), "{values:?}");
}
