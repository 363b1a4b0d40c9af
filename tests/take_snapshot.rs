//! Snapshots that a backup takes on its nodes and clears: over a real `sshd`, with a script in the place of `nodetool`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sshd::Sshd;
use crate::user::{Ran, User, capture, expected, files_below, ran, three};

/// Three data directories, what stands in for `nodetool`, and who backs them up.
pub struct Cluster {
    pub user: User,
    dir: tempfile::TempDir,
    pub sshd: Option<Sshd>,
    /// What `ssh` reads.
    pub settings: Option<PathBuf>,
    /// Ports of the nodes' servers; without one they are here.
    pub ports: [Option<u16>; 3],
    /// How full a node's disk may be, in percent. 100 unless the disk is what a test is about: that of the machine may be nearly full.
    pub disk_max: Option<u8>,
}

/// Tables of which the nodes have files.
const KEPT: [&str; 4] = ["lab/users", "system/local", "system/peers_v2", "system_schema/"];

/// Snapshots are links, as `nodetool` makes them. What it was called with is written to `calls`; `fail-WORD-N` makes WORD fail on
/// node N, and `wait` lets the next snapshot last until `waiting` is gone; of node N nothing is made while there is `late-N`.
const NODETOOL: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$*" >>"$here/calls"
[ "$1" = -node ] || exit 9
node=$2
shift 2
[ ! -e "$here/fail-$1-$node" ] || { echo "nodetool: Failed to connect to '127.0.0.1:7199'" >&2; exit 1; }
case $1 in
snapshot)
  [ "$2" = -t ] && [ -n "$3" ] || exit 8
  while [ -e "$here/late-$node" ]; do sleep 0.1; done
  for table in "$here/$node"/*/*/; do
    mkdir -p "$table/snapshots/$3"
    find "$table" -maxdepth 1 -type f -exec ln -t "$table/snapshots/$3" {} +
  done
  if mv "$here/wait" "$here/waiting" 2>/dev/null; then
    while [ -e "$here/waiting" ]; do sleep 0.1; done
  fi
  ;;
clearsnapshot)
  [ "$2" = -t ] && [ -n "$3" ] || exit 8
  rm -rf "$here/$node"/*/*/snapshots/"$3"
  ;;
*) exit 7 ;;
esac
"#;

impl Cluster {
    pub fn new(sshd: Option<Sshd>) -> Cluster {
        let (user, dir) = (User::new(), tempfile::tempdir().unwrap());
        for (from, to) in three(&capture("cassandra-5.0")).iter().zip(three(dir.path())) {
            crate::user::copy(from, &to, &|table| KEPT.iter().any(|kept| table.starts_with(kept)));
        }
        fs::write(dir.path().join("nodetool"), NODETOOL).unwrap();
        fs::set_permissions(dir.path().join("nodetool"), fs::Permissions::from_mode(0o755)).unwrap();
        // Somebody else's.
        for dir in three(dir.path()) {
            let table = crate::user::table_dir(&dir, "lab", "users").join("snapshots/mine");
            fs::create_dir_all(&table).unwrap();
            fs::write(table.join("manifest.json"), r#"{"files":[]}"#).unwrap();
            // As a node has it beside its tables.
            fs::create_dir_all(dir.join("system/_paxos_repair_state")).unwrap();
            fs::write(dir.join("system/_paxos_repair_state/ballot.meta"), "state").unwrap();
        }
        let (settings, ports) = (sshd.as_ref().map(Sshd::settings), [sshd.as_ref().map(|sshd| sshd.port); 3]);
        Cluster { user, dir, sshd, settings, ports, disk_max: Some(100) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A backup of one name, of the nodes whose folders are these.
    pub fn of(&self, cluster: &str, nodes: &[(&str, PathBuf)]) -> Command {
        let mut command = self.user.command();
        command.env("XDG_STATE_HOME", self.path("state")).args(["backup", "cassandra", "--cluster", cluster]);
        if let Some(settings) = &self.settings {
            command.env("ONEFOLD_SSH_CONFIG", settings);
        }
        for ((node, dir), port) in nodes.iter().zip(self.ports) {
            let place = match port {
                Some(port) => format!("ssh://127.0.0.1:{port}{}", dir.display()),
                None => dir.display().to_string(),
            };
            command.arg(format!("--node={node}={place}"));
        }
        if let Some(percent) = self.disk_max {
            command.args(["--node-disk-max", &percent.to_string()]);
        }
        command
    }

    pub fn command(&self) -> Command {
        self.within(100)
    }

    /// A backup whose commands on nodes may take so many seconds.
    pub fn within(&self, seconds: u32) -> Command {
        let mut command = self.of(
            "prod",
            &[1, 2, 3].map(|n| (["n1@node1", "n2@node2", "n3@node3"][n - 1], self.path(&format!("node{n}")))),
        );
        command.arg("--take-snapshot").arg("--nodetool").arg(self.path("nodetool"));
        command.args(["--nodetool-options=-node {address}", "--node-timeout", &seconds.to_string()]);
        command
    }

    pub fn backup(&self) -> Ran {
        ran(&mut self.command())
    }

    pub fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.path("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    /// Folders of snapshots, but for somebody else's, which must be there; and what is written down.
    #[track_caller]
    pub fn left(&self) -> (usize, usize) {
        let snapshots = |dir: &Path| -> Vec<String> {
            let files = files_below(dir).into_iter().filter(|file| file.iter().any(|part| part == "snapshots"));
            files.map(|file| file.display().to_string()).collect()
        };
        let all: Vec<String> = three(self.dir.path()).iter().flat_map(|dir| snapshots(dir)).collect();
        let (mine, ours): (Vec<_>, Vec<_>) = all.iter().partition(|file| file.contains("snapshots/mine/"));
        assert_eq!(mine.len(), 3, "somebody else's snapshots are gone");
        let written = fs::read_dir(self.path("state/onefold/snapshots")).map_or(0, Iterator::count);
        (ours.len(), written)
    }
}

impl Cluster {
    /// Waits until no program of a killed run goes on: on another machine one may outlive the `ssh` that started it.
    pub fn wait_for_programs(&self) {
        let program = self.path("nodetool").display().to_string();
        let goes_on = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let words = all.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
            words.into_iter().any(|words| String::from_utf8_lossy(&words).contains(&program))
        };
        wait_until("no program of a killed run goes on", || !goes_on());
    }

    /// What a killed run asked for may still be under way: the next run leaves it alone, and a later one clears it.
    #[track_caller]
    fn cleared_by_next_runs(&self) {
        self.wait_for_programs();
        for _ in 0..20 {
            self.backup();
            if self.left().0 == 0 {
                return;
            }
        }
        panic!("{:?}", self.left());
    }
}

/// # Panics
///
/// Where it is not so within minutes.
pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(200), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn over_ssh() -> Option<Cluster> {
    Sshd::start().map(|sshd| Cluster::new(Some(sshd)))
}

#[test]
fn a_snapshot_is_taken_read_and_cleared() {
    for cluster in [Some(Cluster::new(None)), over_ssh()].into_iter().flatten() {
        let done = cluster.backup();
        assert!(done.code == Some(0) || done.code == Some(4), "{done:?}");
        assert_eq!(cluster.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
        assert!(!done.err.contains("_paxos"), "{done:?}");
        assert_eq!(cluster.left(), (0, 0));
        let calls = cluster.calls();
        let of = |word: &str| calls.iter().filter(|call| call.split(' ').nth(2) == Some(word)).count();
        assert_eq!((of("snapshot"), of("clearsnapshot"), calls.len()), (3, 3, 6), "{calls:?}");
        let tags: std::collections::BTreeSet<_> =
            calls.iter().map(|call| call.rsplit_once(" -t ").unwrap().1).collect();
        let tag = tags.first().unwrap();
        assert!(tags.len() == 1 && tag.starts_with("onefold-") && tag.len() == 24, "{tags:?}");
    }
}

#[test]
fn a_node_on_which_none_can_be_taken_is_left_out_by_name() {
    let Some(cluster) = over_ssh() else { return };
    fs::write(cluster.path("fail-snapshot-node2"), "").unwrap();
    let done = cluster.backup();
    done.failed(4, &["node n2: is left out", "Failed to connect"]);
    // Nobody knows whether it went on there: it is looked for again.
    assert_eq!(cluster.left(), (0, 1));
    let show = cluster.user.show();
    assert_eq!((show["nodes"].as_array().unwrap().len(), &show["complete"]), (2, &false.into()));
    assert_eq!(cluster.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    // On none: there is no backup.
    fs::write(cluster.path("fail-snapshot-node1"), "").unwrap();
    fs::write(cluster.path("fail-snapshot-node3"), "").unwrap();
    cluster.backup().failed(1, &["node n", "Failed to connect"]);
    assert_eq!((cluster.left().0, cluster.user.snapshots().len()), (0, 1));
}

/// A machine that cannot be reached is left out by name, with and without `--take-snapshot`.
#[test]
fn a_node_that_is_not_there_is_left_out_by_name() {
    let Some(cluster) = over_ssh() else { return };
    let mut command = cluster.command();
    ran(command.arg("--node=n4@node4=ssh://127.0.0.1:9/var/lib/cassandra/data"))
        .failed(4, &["node n4: is left out", "refused"]);
    assert_eq!(cluster.left(), (0, 0));
    let only = ["--node=n4=ssh://127.0.0.1:9/x", "--snapshot-tag", "night", "--cluster", "prod"];
    ran(cluster.user.command().args(["backup", "cassandra"]).args(only)).failed(1, &["node n4", "is the host up"]);
}

#[test]
fn what_cannot_be_cleared_is_said_and_cleared_by_the_next_run() {
    let Some(cluster) = over_ssh() else { return };
    fs::write(cluster.path("fail-clearsnapshot-node3"), "").unwrap();
    let done = cluster.backup();
    assert!(done.code == Some(0) || done.code == Some(4), "{done:?}");
    assert!(done.err.contains("noted: node n3") && done.err.contains("the next run clears it"), "{done:?}");
    let (snapshots, written) = cluster.left();
    assert!(snapshots > 0 && written == 1);
    // It still cannot be: the backup goes on.
    let again = cluster.backup();
    assert!(again.err.contains("of a run that was killed stays"), "{again:?}");
    assert_eq!(cluster.left().1, 2);
    fs::remove_file(cluster.path("fail-clearsnapshot-node3")).unwrap();
    let last = cluster.backup();
    assert!(last.err.contains("of a run that was killed, cleared"), "{last:?}");
    assert_eq!(cluster.left(), (0, 0));
}

#[test]
fn a_run_that_is_stopped_clears_and_one_that_is_killed_is_cleared_after() {
    for cluster in [Some(Cluster::new(None)), over_ssh()].into_iter().flatten() {
        for (signal, moment) in [("TERM", 100), ("INT", 1500), ("KILL", 300), ("KILL", 1200), ("KILL", 2500)] {
            let mut command = cluster.command();
            let mut child = command.stdin(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(moment));
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
            let _ = child.wait();
            cluster.wait_for_programs();
            if signal != "KILL" {
                assert_eq!(cluster.left().0, 0, "{signal} after {moment} ms");
            }
        }
        cluster.cleared_by_next_runs();
        // While one is at work, another leaves its snapshot alone.
        fs::write(cluster.path("wait"), "").unwrap();
        let mut at_work = cluster.command().spawn().unwrap();
        wait_until("a snapshot is being taken", || cluster.path("waiting").exists());
        let done = cluster.backup();
        assert!(done.code == Some(0) || done.code == Some(4) || done.code == Some(11), "{done:?}");
        let (snapshots, written) = cluster.left();
        assert!(snapshots > 0 && written >= 1, "{snapshots} {written}");
        let _ = Command::new("kill").arg("-KILL").arg(at_work.id().to_string()).status();
        let _ = at_work.wait();
        fs::remove_file(cluster.path("waiting")).unwrap();
        cluster.cleared_by_next_runs();
    }
}

/// What a signal comes upon is waited for, not given up: it would go on on its node, and make there what nobody lets go of.
#[test]
fn a_snapshot_that_a_signal_comes_upon_is_cleared() {
    for cluster in [Some(Cluster::new(None)), over_ssh()].into_iter().flatten() {
        fs::write(cluster.path("late-node2"), "").unwrap();
        let mut at_work = cluster.command().spawn().unwrap();
        let called = || fs::read_to_string(cluster.path("calls")).is_ok_and(|calls| calls.contains("node2 snapshot"));
        wait_until("a snapshot is being taken", called);
        let _ = Command::new("kill").arg("-TERM").arg(at_work.id().to_string()).status();
        thread::sleep(Duration::from_secs(1));
        fs::remove_file(cluster.path("late-node2")).unwrap();
        assert_eq!(at_work.wait().unwrap().code(), Some(130));
        assert_eq!(cluster.left(), (0, 0));
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let cluster = Cluster::new(None);
    let mut command = cluster.command();
    let tag = ran(command.args(["--snapshot-tag", "night"]));
    assert_ne!(tag.code, Some(0), "{tag:?}");
    for options in ["-u me -pw secret", "-pwsecret", "--password secret", "--password=secret"] {
        let mut command = cluster.user.command();
        command.args(["backup", "cassandra", "--cluster", "prod", "--take-snapshot"]);
        command.arg(format!("--nodetool-options={options}"));
        let refused = ran(command.arg(format!("--node=n1={}", cluster.path("node1").display())));
        refused.failed(1, &["-pwf FILE"]);
        assert!(!refused.err.contains("secret"), "{refused:?}");
    }
    let mut command = cluster.user.command();
    command.args(["backup", "cassandra", "--cluster", "prod", "--take-snapshot", "--nodetool", "/no/such/nodetool"]);
    command.env("XDG_STATE_HOME", cluster.path("state"));
    let missing = ran(command.arg(format!("--node=n1={}", cluster.path("node1").display())));
    missing.failed(1, &["node n1", "no such program", "--nodetool PATH"]);
    assert!(cluster.calls().is_empty());
    assert_eq!(cluster.left(), (0, 0));
}
