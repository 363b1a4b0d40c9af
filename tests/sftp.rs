//! The store over SFTP, against a real OpenSSH server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use onefold::Kind;
use onefold::store::folder::Folder;
use onefold::store::retry::Retry;
use onefold::store::watched::Watched;
use onefold::store::{Store, sftp};

use crate::sshd::{Mounted, Sshd};
use crate::stores::{contract, lossy, names};
use crate::user::{User, capture, nodes, ran, three};

#[test]
fn a_folder_elsewhere_keeps_the_contract() {
    let Some(sshd) = Sshd::start() else { return };
    contract(&sshd.open("bare"));
    contract(&sshd.open("deep/er/a b"));
    contract(&Watched::new(sshd.open("watched")));
    contract(&Retry::new(sshd.open("retry")));
    contract(&Retry::new(Watched::new(Arc::new(sshd.open("all")))));
    contract(&Retry::new(lossy(sshd.open("lossy"))));
    assert_eq!(fs::read(sshd.path("bare/config")).unwrap(), b"hello");
    assert_eq!(fs::read_dir(sshd.path("bare/tmp")).unwrap().count(), 0, "no temporary file stays");
    let mode = |name: &str| fs::metadata(sshd.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bare"), mode("bare/packs/ab"), mode("bare/config")), (0o700, 0o700, 0o600));
}

/// Objects of all lengths about the pieces in which they go.
#[test]
fn objects_of_every_length_come_back() {
    let Some(sshd) = Sshd::start() else { return };
    let store = sshd.open("lengths");
    let piece = 128 << 10;
    for length in [1, piece - 1, piece, piece + 1, 2 * piece + 7, (16 << 20) - 1, (17 << 20) + 3] {
        let bytes: Vec<u8> = (0..length).map(|i: usize| (i ^ i >> 8 ^ i >> 16) as u8).collect();
        let name = format!("packs/{length}");
        store.create(&name, bytes.clone().into()).unwrap();
        assert!(store.read(&name).unwrap() == bytes, "{length} bytes");
        let (from, to) = (length / 3, length - length / 4);
        assert!(store.read_range(&name, from as u64..to as u64).unwrap() == bytes[from..to], "{length} bytes");
    }
}

#[test]
fn of_eight_creators_one_wins() {
    let Some(sshd) = Sshd::start() else { return };
    let stores: Vec<_> = (0..8u8).map(|_| sshd.open("race")).collect();
    for round in 0..25 {
        let (name, barrier) = (format!("log/{round}"), Barrier::new(stores.len()));
        let create = |n: u8, store: &Folder<sftp::Remote>| {
            // The first request connects.
            assert_eq!(store.read("x").unwrap_err().kind(), Kind::NotFound);
            barrier.wait();
            store
                .create(&name, vec![n; 100_000].into())
                .map_err(|e| assert_eq!(e.kind(), Kind::AlreadyExists, "{e}"))
                .is_ok()
        };
        let won: Vec<bool> = thread::scope(|scope| {
            let create = &create;
            let threads: Vec<_> = (0..).zip(&stores).map(|(n, store)| scope.spawn(move || create(n, store))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "round {round}: {won:?}");
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert!(stores[0].read(&name).unwrap() == [winner; 100_000], "the object is the winner's");
    }
}

/// Sessions that are killed while objects are written and read, and a server that is away for a while, cost time and no object.
#[test]
fn a_connection_that_breaks_is_opened_anew() {
    let Some(mut sshd) = Sshd::start() else { return };
    let store = Retry::new(sshd.open("p"));
    let bytes = |n: usize| vec![n as u8; 200_000 + n];
    store.create("packs/first", "answered".into()).unwrap();
    let (done, mut killed) = (AtomicBool::new(false), 0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|t| {
                let store = &store;
                scope.spawn(move || {
                    for n in (t..160).step_by(4) {
                        store.create(&format!("packs/{n}"), bytes(n).into()).unwrap();
                        assert!(store.read(&format!("packs/{n}")).unwrap() == bytes(n));
                    }
                })
            })
            .collect();
        let waiting = scope.spawn(|| {
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::Relaxed);
        });
        for round in 0..20 {
            thread::sleep(Duration::from_millis(100));
            match round {
                10 => {
                    sshd.crash();
                    thread::sleep(Duration::from_secs(2));
                    assert!(!done.load(Ordering::Relaxed));
                    sshd.restart();
                }
                _ => killed += sshd.kill_sessions(),
            }
        }
        waiting.join().unwrap();
    });
    assert!(killed > 10, "only {killed} sessions were killed");
    let expected: Vec<_> = (0..160).map(|n| (format!("packs/{n}"), bytes(n).len() as u64)).collect();
    let mut found = names(&store, "packs");
    found.retain(|(name, _)| name != "packs/first");
    found.sort_by_key(|(_, length)| *length);
    assert_eq!(found, expected);
}

#[test]
fn what_does_not_fit_is_named_with_what_to_do() {
    let Some(sshd) = Sshd::start() else { return };
    let place = |name: &str| sshd.place("sftp", name);
    sshd.open("there").create("config", "x".into()).unwrap();
    let nobody = place("there").replace("://", "://no-such-user@");
    let away = format!("sftp://127.0.0.1:9{}", sshd.path("there").display());
    fs::write(sshd.path("nothing_known"), "").unwrap();
    let other = fs::read_to_string(sshd.path("other_key.pub")).unwrap();
    fs::write(sshd.path("changed"), format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let unknown = sshd.other_settings("/known_hosts", "/nothing_known");
    let changed = sshd.other_settings("/known_hosts", "/changed");
    let key = sshd.other_settings("client_key", "other_key");
    let broken = sshd.other_settings("IdentitiesOnly", "IdentitiesSolely");
    let cases: [(String, PathBuf, &str, &str); 7] = [
        (place("there"), unknown, "its host key is not known", "ssh 127.0.0.1"),
        (place("there"), changed, "another than the known", "ssh-keygen -R"),
        (place("there"), key, "lets nobody in", "is the user right?"),
        (nobody, sshd.settings(), "lets nobody in", "is the user right?"),
        (place("there"), broken, "identitiessolely", "mend"),
        (place("there"), sshd.path("missing"), "Can't open", "ONEFOLD_SSH_CONFIG"),
        (away, sshd.settings(), "Connection refused", "is the host up"),
    ];
    for (place, settings, what, todo) in cases {
        let store = Retry::new(sftp::with(place.as_ref(), settings).unwrap());
        for error in [
            store.read("config").unwrap_err(),
            store.create("config", "x".into()).unwrap_err(),
            store.list("log", &mut |_, _| Ok(())).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Io, "{error}");
            assert!(error.message().contains(what) && error.advice().unwrap().contains(todo), "{what}: {error}");
            assert!(error.subject().contains("sftp://"), "{error}");
        }
    }
    // A file where a folder should be.
    let error = Retry::new(sshd.open("there/config/deeper")).create("x", "y".into()).unwrap_err();
    assert!(error.subject().contains("there/config/deeper"), "{error}");
}

#[test]
fn a_server_that_cannot_is_refused_by_name() {
    for (subsystem, what) in [
        ("sftp internal-sftp -P hardlink", "hardlink@openssh.com"),
        ("sftp internal-sftp -P fsync", "fsync@openssh.com"),
        ("sftp /bin/echo Welcome!", "not SFTP"),
        ("other /bin/true", "no SFTP"),
    ] {
        let Some(sshd) = Sshd::offering(subsystem) else { return };
        let error = Retry::new(sshd.open("x")).create("config", "x".into()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains(what) && error.advice().is_some(), "{what}: {error}");
        assert!(!sshd.path("x").exists());
    }
}

#[test]
fn a_full_disk_and_one_that_is_read_only_are_said() {
    let Some(sshd) = Sshd::start() else { return };
    let Some(disk) = Mounted::small(sshd.path("disk")) else { return };
    let store = Retry::new(sshd.open("disk/repo"));
    store.create("packs/a", vec![1; 600_000].into()).unwrap();
    let error = store.create("packs/b", vec![2; 3_000_000].into()).unwrap_err();
    assert_eq!(error.kind(), Kind::Full, "{error}");
    assert!(error.advice().unwrap().contains("free some space"), "{error}");
    assert_eq!(fs::read_dir(disk.0.join("repo/tmp")).unwrap().count(), 0, "what was written is free again");
    store.create("packs/c", vec![3; 600_000].into()).unwrap();
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(&disk.0).status().unwrap().success());
    let error = store.create("packs/d", "x".into()).unwrap_err();
    assert!(error.kind() == Kind::Io && error.message().contains("read-only"), "{error}");
    assert_eq!(store.read("packs/a").unwrap().len(), 600_000);
    assert_eq!(names(&store, "").len(), 2);
}

#[test]
fn a_folder_without_permission_is_said() {
    let Some(sshd) = Sshd::start() else { return };
    if rustix::process::geteuid().is_root() {
        // Root may everything but what is immutable, and `/proc` is so in another way.
        let place = format!("sftp://127.0.0.1:{}/proc/self/repo", sshd.port);
        let error =
            Retry::new(sftp::with(place.as_ref(), sshd.settings()).unwrap()).create("x", "y".into()).unwrap_err();
        assert!(error.subject().contains("/proc/self/repo"), "{error}");
        return;
    }
    fs::create_dir(sshd.path("closed")).unwrap();
    fs::set_permissions(sshd.path("closed"), fs::Permissions::from_mode(0o500)).unwrap();
    let error = Retry::new(sshd.open("closed")).create("x", "y".into()).unwrap_err();
    assert!(error.kind() == Kind::Io && error.message().contains("Permission denied"), "{error}");
    assert!(error.subject().contains("closed"), "{error}");
}

/// What a crashed writer left is removed when nobody can be writing it any more, by the server's clock.
#[test]
fn old_leftovers_are_swept() {
    let Some(sshd) = Sshd::start() else { return };
    let store = sshd.open("repo");
    store.create("config", "x".into()).unwrap();
    for name in ["old", "young"] {
        let file = fs::File::create(sshd.path("repo/tmp").join(name)).unwrap();
        if name == "old" {
            let now = file.metadata().unwrap().modified().unwrap();
            file.set_modified(now - Duration::from_secs(4000)).unwrap();
        }
    }
    store.sweep().unwrap();
    let left: Vec<_> = fs::read_dir(sshd.path("repo/tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
    assert_eq!(names(&store, ""), [("config".to_owned(), 1)]);
}

/// Everything a user does, there as here.
#[test]
fn a_repository_elsewhere_is_one_in_a_folder() {
    let Some(sshd) = Sshd::start() else { return };
    let user = User { dir: tempfile::tempdir().unwrap() };
    let place = sshd.place("sftp", "cluster/prod");
    let key = user.path("key").to_str().unwrap().to_owned();
    let captured = nodes(&three(&capture("cassandra-5.0")));
    let captured: Vec<&str> = captured.iter().map(String::as_str).collect();
    let run = |place: &str, args: &[&str]| {
        let mut command = user.command();
        command.env("ONEFOLD_REPOSITORY", place).env("ONEFOLD_SSH_CONFIG", sshd.settings());
        if args.contains(&"--new-key-file") {
            command.env_remove("ONEFOLD_KEY_FILE");
        }
        ran(command.args(args))
    };
    let made = run(&place, &["init", "--new-key-file", &key]).fine();
    assert!(made.trim_end().ends_with(&format!(" at {place}")), "{made}");
    run(&place, &["init"]).failed(1, &["there is a repository here already"]);
    run(&place, &[&["backup", "cassandra", "--cluster", "prod"], &captured[..]].concat()).fine();
    let check = run(&place, &["check", "--read-data"]).fine();
    assert!(check.contains("no damage found"), "{check}");
    // What was written over SFTP is a repository in a folder.
    let folder = sshd.path("cluster/prod").to_str().unwrap().to_owned();
    for args in [&["ls"][..], &["restore", "latest", "--to", "json", "--table", "lab.users"]] {
        assert_eq!(run(&place, args).fine(), run(&folder, args).fine());
    }
    let unknown = sshd.place("sftp", "nothing/here");
    run(&unknown, &["ls"]).failed(10, &[&unknown]);
}
