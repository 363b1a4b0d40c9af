//! Captures on other machines, read over SSH from a real server.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use onefold::Kind;
use onefold::engine::cassandra::source::NodeDir;
use onefold::volume::{Identity, Place, Remote, What};
use rustix::process::Signal;

use crate::cassandra_rows::captures;
use crate::elsewhere::{backs_up_alike, copies};
use crate::sshd::Sshd;
use crate::user::{User, capture, expected, files_below, ran, three};

const MINUTE: Duration = Duration::from_secs(60);

/// A path of the server's machine.
fn at(sshd: &Sshd, path: &Path) -> Place {
    let (volume, path) =
        Remote::with(&format!("127.0.0.1:{}{}", sshd.port, path.display()), MINUTE, sshd.settings()).unwrap();
    Place::new(std::sync::Arc::new(volume), path)
}

fn nodes(sshd: &Sshd, dirs: &[PathBuf]) -> Vec<NodeDir> {
    dirs.iter().zip(1..).map(|(dir, n)| NodeDir::new(format!("n{n}"), at(sshd, dir))).collect()
}

fn shown(sshd: &Sshd, path: &Path) -> String {
    format!("ssh://127.0.0.1:{}{}", sshd.port, path.display())
}

#[test]
fn what_lies_on_other_machines_is_backed_up_alike() {
    let Some(sshd) = Sshd::start() else { return };
    for root in captures() {
        let (dir, dirs) = copies(&root);
        backs_up_alike(&dirs, dir.path(), &nodes(&sshd, &dirs), &shown(&sshd, dir.path()));
    }
}

/// Connections that break all the time cost time, and change nothing.
#[test]
fn what_is_lost_on_the_way_is_asked_for_anew() {
    let Some(sshd) = Sshd::start() else { return };
    let (dir, dirs) = copies(&captures()[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = 0;
            while !done.load(Ordering::Relaxed) {
                // The first as soon as there is one, however fast this machine is.
                thread::sleep(if killed == 0 { Duration::from_millis(20) } else { Duration::from_secs(3) });
                killed += sshd.kill_sessions();
            }
            killed
        });
        backs_up_alike(&dirs, dir.path(), &nodes(&sshd, &dirs), &shown(&sshd, dir.path()));
        done.store(true, Ordering::Relaxed);
        assert!(killer.join().unwrap() > 0);
    });
}

#[test]
fn any_bytes_are_read_in_any_order() {
    let Some(sshd) = Sshd::start() else { return };
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    fs::write(sshd.path("file"), &bytes).unwrap();
    let file = at(&sshd, &sshd.path("file")).open().unwrap();
    assert_eq!(file.identity().length, 3_000_000);
    let read = |mut offset: usize, length: usize, most: usize| {
        let end = (offset + length).min(bytes.len());
        let mut to = vec![0; most];
        while offset < end {
            let n = file.read_at(&mut to[..most.min(end - offset)], offset as u64).unwrap();
            assert!(n > 0 && to[..n] == bytes[offset..offset + n], "{n} bytes at {offset}");
            offset += n;
        }
    };
    // Forwards, in leaps, backwards, over the end; with small and large buffers.
    read(0, 3_000_000, 16 << 10);
    read(0, 3_000_000, 256 << 10);
    for i in 0..200 {
        read(i * 7919 * 13 % 2_900_000, 50_000, 1 + i * 700);
    }
    (0..30).rev().for_each(|i| read(i * 100_000, 3000, 4096));
    assert_eq!(file.read_at(&mut [0; 9], 3_000_000).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 9], u64::MAX).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 9], 2_999_995).unwrap(), 5);
}

#[test]
fn a_file_that_changes_is_named() {
    let Some(sshd) = Sshd::start() else { return };
    for lost in [false, true] {
        let path = sshd.path("file");
        fs::write(&path, vec![1; 600_000]).unwrap();
        let file = at(&sshd, &path).open().unwrap();
        assert!(file.read_at(&mut [0; 9000], 0).unwrap() > 0);
        fs::write(sshd.path("new"), vec![2; 600_001]).unwrap();
        match lost {
            // Written to in its place, over the same connection.
            false => fs::write(&path, vec![2; 600_001]).unwrap(),
            true => {
                fs::rename(sshd.path("new"), &path).unwrap();
                sshd.kill_sessions();
            }
        }
        let error = file.read_at(&mut [0; 9000], 100_000).unwrap_err();
        assert!(error.kind() == Kind::Io && error.message().contains("was replaced or written to"), "{error}");
        assert_eq!(error.subject(), shown(&sshd, &path));
    }
}

#[test]
fn folders_are_listed_as_here() {
    let Some(sshd) = Sshd::start() else { return };
    let dir = sshd.path("dir");
    fs::create_dir_all(dir.join("folder")).unwrap();
    fs::write(dir.join("file"), "12345").unwrap();
    (0..500).for_each(|i| fs::write(dir.join(format!("many-{i}")), "").unwrap());
    for (to, name) in [("folder", "to_folder"), ("file", "to_file"), ("nothing", "to_nothing"), ("loop", "loop")] {
        std::os::unix::fs::symlink(to, dir.join(name)).unwrap();
    }
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"\xff odd\n")), "").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap().success());
    let listed = |place: Place| {
        let whole = |identity: Identity| {
            let seconds = identity.modified.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            format!("{} {seconds}", identity.length)
        };
        let said = |what| match what {
            What::File(identity) => whole(identity),
            // A loop is nothing here and cannot be looked at there, or the other way round.
            What::Unseen(_) | What::Dangling => "none".to_owned(),
            other => format!("{other:?}"),
        };
        let mut all: Vec<_> = place.list().unwrap().into_iter().map(|e| (e.name, said(e.what))).collect();
        all.sort();
        all
    };
    assert_eq!(listed(at(&sshd, &dir)), listed(Place::local(&dir)));
    assert_eq!(listed(at(&sshd, &dir)).len(), 508);
    let there = at(&sshd, &dir);
    assert!(there.join("folder").is_same_folder(&there.join("to_folder")).unwrap());
    assert!(!there.join("folder").is_same_folder(&there).unwrap());
    for (name, kind) in [("nothing", Kind::NotFound), ("folder", Kind::Io)] {
        let error = there.join(name).open().err().unwrap();
        assert!(error.kind() == kind && error.subject() == shown(&sshd, &dir.join(name)), "{error}");
    }
    assert_eq!(there.join("file").list().unwrap_err().subject(), shown(&sshd, &dir.join("file")));
}

#[test]
fn who_is_not_there_is_named() {
    let (nobody, path) = Remote::with("nobody@127.0.0.1:9/var/lib", MINUTE, "/dev/null".into()).unwrap();
    assert_eq!(Place::new(std::sync::Arc::new(nobody), path).to_string(), "ssh://nobody@127.0.0.1:9/var/lib");
    for wrong in ["me:secret@h/x", "h", "-oProxyCommand=x/y", "h/~/x"] {
        let error = Remote::parse(wrong, MINUTE).err().unwrap();
        assert!(error.kind() == Kind::Usage && !error.to_string().contains("secret"), "{error}");
    }
}

/// A cluster's three nodes, as they lie on machines where `nodetool snapshot -t night` was run.
fn with_snapshots(root: &Path, to: &Path) -> Vec<PathBuf> {
    for node in three(root) {
        for file in files_below(&node) {
            let name = file.strip_prefix(root).unwrap();
            let parts: Vec<_> = name.iter().collect();
            let table: PathBuf = parts[..3].iter().collect();
            let file_to = to.join(table).join("snapshots/night").join(parts[3..].iter().collect::<PathBuf>());
            fs::create_dir_all(file_to.parent().unwrap()).unwrap();
            fs::copy(&file, file_to).unwrap();
        }
    }
    three(to)
}

/// What a user sees of nodes that are read over SSH is what he sees of the same folders here.
#[test]
fn nodes_over_ssh_are_as_nodes_here() {
    let Some(sshd) = Sshd::start() else { return };
    let (user, dir) = (User::new(), tempfile::tempdir().unwrap());
    let dirs = with_snapshots(&capture("cassandra-5.0"), dir.path());
    let backup = |nodes: &[String]| {
        let mut command = user.command();
        command.env("ONEFOLD_SSH_CONFIG", sshd.settings());
        command.args(["backup", "cassandra", "--cluster", "prod", "--snapshot-tag", "night"]).args(nodes);
        ran(&mut command)
    };
    let here = backup(&crate::user::nodes(&dirs));
    let seen = user.show();
    let addresses = dirs.iter().zip(1..).map(|(dir, n)| format!("--node=n{n}={}", shown(&sshd, dir)));
    let there = backup(&addresses.collect::<Vec<_>>());
    assert_eq!(here.code, there.code, "{here:?} {there:?}");
    let now = user.show();
    for part in ["shards", "patches", "complete", "cut", "problems", "nodes"] {
        assert!(!seen[part].is_null() && seen[part] == now[part], "{part}: {} {}", seen[part], now[part]);
    }
    assert_eq!(user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    // A folder after a machine's is one of that machine.
    let split = format!("--node=n1={},{}", shown(&sshd, &dirs[0]), dir.path().join("none").display());
    backup(&[split]).failed(1, &["node n1", &shown(&sshd, &dir.path().join("none"))]);
    let live = ran(user
        .command()
        .env("ONEFOLD_SSH_CONFIG", sshd.settings())
        .args(["backup", "cassandra", "--cluster", "prod"])
        .arg(format!("--node=n1={}", shown(&sshd, &dirs[0]))));
    live.failed(1, &["--snapshot-tag"]);
    backup(&["--node=n1=ssh://me:secret@host/x".to_owned()]).failed(1, &["node n1", "password"]);
}

/// A machine that goes away while it is read and does not come back: the others cover its node, which is named.
#[test]
fn a_machine_that_is_lost_is_left_out_by_name() {
    let (Some(here), Some(mut lost)) = (Sshd::start(), Sshd::start()) else { return };
    let (user, dir) = (User::new(), tempfile::tempdir().unwrap());
    let dirs = with_snapshots(&capture("cassandra-5.0"), dir.path());
    let mut command = user.command();
    command.env("ONEFOLD_SSH_CONFIG", here.settings_for_both(&lost));
    command.args(["backup", "cassandra", "--cluster", "prod", "--snapshot-tag", "night", "--node-timeout", "2"]);
    for (n, sshd) in [(1, &here), (2, &here), (3, &lost)] {
        command.arg(format!("--node=n{n}={}", shown(sshd, &dirs[n - 1])));
    }
    let backup = thread::spawn(move || ran(&mut command));
    while lost.signal_sessions(Signal::CONT) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(500));
    // Stopped first, so that the backup cannot end before.
    assert!(lost.signal_sessions(Signal::STOP) > 0);
    thread::sleep(Duration::from_secs(1));
    lost.crash();
    let done = backup.join().unwrap();
    done.failed(4, &["node n3: is left out", "ssh://127.0.0.1"]);
    assert_eq!(user.show()["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    assert!(user.run(&["check", "--read-data"]).fine().contains("no damage found"));
}
