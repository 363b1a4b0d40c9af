//! Hard links to the files of live data directories: gone after every signal, and after a kill with the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::user::{User, capture, copy, files_below, nodes, ran, three};

/// Three live data directories in one folder: tables with `backups/` and no manifests.
fn live(dir: &Path) -> Vec<PathBuf> {
    for node in three(&capture("cassandra-5.0")) {
        let target = dir.join(node.file_name().unwrap());
        copy(&node, &target, &|_| true);
        for file in files_below(&target).iter().filter(|f| f.ends_with("manifest.json")) {
            fs::create_dir_all(file.with_file_name("backups")).unwrap();
            fs::remove_file(file).unwrap();
        }
    }
    three(dir)
}

/// Folders of links in `dir`.
fn links(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".onefold-")).collect()
}

fn backup(user: &User, dirs: &[PathBuf]) -> Command {
    let mut command = user.command();
    command.args(["backup", "cassandra", "--cluster", "prod", "--compression-level", "19"]).args(nodes(dirs));
    command
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Starts a backup and sends it a signal once it has linked the files of the `last` node.
fn signalled(user: &User, dir: &Path, dirs: &[PathBuf], last: usize, signal: &str) -> Option<i32> {
    let mut child = backup(user, dirs).spawn().unwrap();
    let mine = format!(".node{last}.onefold-{}-", child.id());
    while child.try_wait().unwrap().is_none() && !links(dir).iter().any(|name| name.starts_with(&mine)) {
        sleep(Duration::from_millis(1));
    }
    send(&child, signal);
    child.wait().unwrap().code()
}

#[test]
fn every_signal_removes_them() {
    let user = User::new();
    let dir = tempfile::tempdir().unwrap();
    let dirs = live(dir.path());
    for signal in ["-TERM", "-INT", "-HUP"] {
        for last in [1, 3] {
            // On a busy machine the backup may be done before the signal comes: then it ends as without one.
            let mut codes = (0..20).map(|_| signalled(&user, dir.path(), &dirs, last, signal));
            assert_eq!(codes.find(|code| *code != Some(4)), Some(Some(130)), "{signal} at node {last}");
            assert_eq!(links(dir.path()), Vec::<String>::new(), "{signal} at node {last}");
        }
    }
}

#[test]
fn what_a_killed_run_leaves_the_next_one_removes_and_says() {
    let user = User::new();
    let dir = tempfile::tempdir().unwrap();
    let dirs = live(dir.path());
    assert_eq!(signalled(&user, dir.path(), &dirs, 3, "-KILL"), None);
    assert_eq!(links(dir.path()).len(), 3);

    // A backup that lives keeps its links, whatever another one does meanwhile.
    let mut living = backup(&user, &dirs).stderr(Stdio::null()).spawn().unwrap();
    let mine = format!("onefold-{}-", living.id());
    while links(dir.path()).iter().filter(|name| name.contains(&mine)).count() < 3 {
        assert!(living.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(1));
    }
    send(&living, "-STOP");
    let other = User::new();
    let said = ran(&mut backup(&other, &dirs));
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("links of another run, perhaps still at work"), "{said:?}");
    assert!(links(dir.path()).iter().all(|name| name.contains(&mine)) && links(dir.path()).len() == 3);
    send(&living, "-CONT");
    assert_eq!(living.wait().unwrap().code(), Some(4));
    assert!(links(dir.path()).is_empty());

    assert_eq!(signalled(&user, dir.path(), &dirs, 2, "-KILL"), None);
    let said = ran(&mut backup(&user, &dirs));
    assert!(said.err.contains("links that a run left which was killed, removed"), "{said:?}");
    assert!(links(dir.path()).is_empty());
    assert!(user.show()["notes"].to_string().contains("which was killed, removed"));
}

/// `nohup` means that a hang-up ends nothing.
#[test]
fn a_hang_up_that_is_ignored_ends_nothing() {
    let user = User::new();
    let dir = tempfile::tempdir().unwrap();
    let dirs = live(dir.path());
    let command = backup(&user, &dirs);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    command.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(shell.env(name, value)),
        None => drop(shell.env_remove(name)),
    });
    let mut child = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && links(dir.path()).is_empty() {
        sleep(Duration::from_millis(1));
    }
    send(&child, "-HUP");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(user.snapshots().len(), 1);
}
