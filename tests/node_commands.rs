//! Commands of the operator's that freeze nodes and let go of them, in the place of `nodetool`: over a real `sshd`, and here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::take_snapshot::{Cluster, over_ssh};
use crate::user::{capture, expected, files_below, ran, three};

/// Freezes by a copy of links at the path that is read, with what it was told beside it.
const FREEZE: &str = r#"#!/bin/sh
here=$(dirname "$0")
env | grep ^ONEFOLD_ | sort >"$here/told-$ONEFOLD_HOOK-$ONEFOLD_ADDRESS"
nice >"$here/nice"
ionice -p $$ >"$here/ionice" 2>/dev/null
echo "$ONEFOLD_HOOK $ONEFOLD_ADDRESS $ONEFOLD_TAG" >>"$here/calls"
[ ! -e "$here/fail-$ONEFOLD_HOOK-$ONEFOLD_ADDRESS" ] || { echo "lvcreate: no room in the group" >&2; exit 5; }
while [ -e "$here/late-$ONEFOLD_ADDRESS" ]; do sleep 0.1; done
case $ONEFOLD_HOOK in
before-node) mkdir -p "$here/frozen" && rm -rf "$ONEFOLD_DIRS" && cp -al "$here/$ONEFOLD_ADDRESS" "$ONEFOLD_DIRS" ;;
after-node) rm -rf "$ONEFOLD_DIRS" ;;
esac
"#;

/// A cluster with [`FREEZE`].
fn with_commands(cluster: Cluster) -> Cluster {
    fs::write(cluster.path("freeze"), FREEZE).unwrap();
    fs::set_permissions(cluster.path("freeze"), fs::Permissions::from_mode(0o755)).unwrap();
    cluster
}

fn frozen(cluster: &Cluster, n: u32) -> PathBuf {
    cluster.path(&format!("frozen/{n}"))
}

fn nodes(cluster: &Cluster) -> [(&'static str, PathBuf); 3] {
    [("n1@node1", frozen(cluster, 1)), ("it's \"2\" $(x)@node2", frozen(cluster, 2)), ("n3@node3", frozen(cluster, 3))]
}

const CLUSTER: &str = "pro'd; $(touch x)";

fn command(cluster: &Cluster) -> Command {
    within(cluster, 20)
}

fn within(cluster: &Cluster, seconds: u32) -> Command {
    let mut command = cluster.of(CLUSTER, &nodes(cluster));
    let line = format!("exec {}", cluster.path("freeze").display());
    command.args(["--before-node", &line, "--after-node", &line, "--node-timeout", &seconds.to_string()]);
    command
}

/// What commands froze and nobody let go of.
fn left(cluster: &Cluster) -> usize {
    fs::read_dir(cluster.path("frozen")).map_or(0, Iterator::count)
}

fn both() -> impl Iterator<Item = Cluster> {
    [Some(Cluster::new(None)), over_ssh()].into_iter().flatten().map(with_commands)
}

#[test]
fn commands_freeze_a_node_and_let_go_of_it() {
    for cluster in both() {
        let mut command = command(&cluster);
        let done = ran(command.env("ONEFOLD_PASSWORD", "secret"));
        assert!(done.code == Some(0) || done.code == Some(4), "{done:?}");
        assert_eq!(cluster.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
        assert_eq!((left(&cluster), cluster.left()), (0, (0, 0)));
        let calls = cluster.calls();
        let of = |hook: &str| calls.iter().filter(|call| call.starts_with(hook)).count();
        assert_eq!((of("before-node"), of("after-node"), calls.len()), (3, 3, 6), "{calls:?}");
        for hook in ["before-node", "after-node"] {
            let told = fs::read_to_string(cluster.path(&format!("told-{hook}-node2"))).unwrap();
            let dir = frozen(&cluster, 2);
            for (name, value) in [
                ("HOOK", hook),
                ("NODE", "it's \"2\" $(x)"),
                ("ADDRESS", "node2"),
                ("CLUSTER", CLUSTER),
                ("DIRS", dir.to_str().unwrap()),
            ] {
                assert!(told.contains(&format!("ONEFOLD_{name}={value}\n")), "{name}: {told}");
            }
            assert!(told.contains("ONEFOLD_TAG=onefold-") && !told.contains("secret"), "{told}");
        }
        // With the least claim to processor and disk, as far as it may be had here.
        assert_eq!(fs::read_to_string(cluster.path("nice")).unwrap(), "19\n");
        if Command::new("ionice").args(["-c", "3", "true"]).status().is_ok_and(|status| status.success()) {
            assert_eq!(fs::read_to_string(cluster.path("ionice")).unwrap(), "idle\n");
        }
    }
}

#[test]
fn a_node_that_cannot_be_frozen_is_left_out_and_let_go_of() {
    for cluster in both() {
        fs::write(cluster.path("fail-before-node-node2"), "").unwrap();
        let done = ran(&mut command(&cluster));
        done.failed(4, &["is left out", "--before-node", "ended with 5: lvcreate: no room in the group"]);
        let calls = cluster.calls();
        assert!(calls.iter().any(|call| call.starts_with("after-node node2 ")), "{calls:?}");
        assert_eq!((left(&cluster), cluster.user.show()["nodes"].as_array().unwrap().len()), (0, 2));
        // One that does not end in time, too.
        fs::remove_file(cluster.path("fail-before-node-node2")).unwrap();
        fs::write(cluster.path("late-node3"), "").unwrap();
        let begun = Instant::now();
        // Long enough for the others, on a machine with much beside.
        ran(&mut within(&cluster, 8)).failed(4, &["node n3: is left out", "did not end within 8 seconds"]);
        assert!(begun.elapsed() < Duration::from_secs(300));
        fs::remove_file(cluster.path("late-node3")).unwrap();
        cluster.wait_for_programs();
    }
}

/// What a command starts may hold on to its output for ever.
#[test]
fn a_command_is_given_up_whatever_it_left_running() {
    let cluster = with_commands(Cluster::new(None));
    let begun = Instant::now();
    let mut command = cluster.of("prod", &nodes(&cluster));
    ran(command.args(["--before-node", "setsid sleep 100 & sleep 100", "--node-timeout", "2"]))
        .failed(1, &["--before-node", "did not end within 2 seconds"]);
    assert!(begun.elapsed() < Duration::from_secs(100));
}

#[test]
fn what_is_not_let_go_of_is_said_and_tried_by_the_next_run() {
    let cluster = with_commands(Cluster::new(None));
    fs::write(cluster.path("fail-after-node-node1"), "").unwrap();
    let done = ran(&mut command(&cluster));
    assert!(done.err.contains("noted: node n1: --after-node: ended with 5"), "{done:?}");
    assert_eq!((left(&cluster), cluster.left().1), (1, 1));
    let tag = cluster.calls()[0].rsplit_once(' ').unwrap().1.to_owned();
    fs::remove_file(cluster.path("fail-after-node-node1")).unwrap();
    // With nodetool nobody would let go of it.
    let other = ran(cluster.of("prod", &nodes(&cluster)).args(["--take-snapshot", "--nodetool", "true"]));
    assert!(other.err.contains("froze it with commands") || other.code == Some(1), "{other:?}");
    assert_eq!(left(&cluster), 1);
    let next = ran(&mut command(&cluster));
    assert!(next.code == Some(0) || next.code == Some(4), "{next:?}");
    assert_eq!((left(&cluster), cluster.left()), (0, (0, 0)));
    assert!(cluster.calls().contains(&format!("after-node node1 {tag}")));
}

/// A data directory that is frozen as it stands lacks what was only in memory, unless the operator says that it was flushed.
#[test]
fn what_was_only_in_memory_is_missed_unless_it_was_flushed() {
    for cluster in both() {
        for dir in three(cluster.path("").as_path()) {
            for file in files_below(&dir).iter().filter(|file| file.ends_with("manifest.json")) {
                fs::remove_file(file).unwrap();
            }
        }
        ran(&mut command(&cluster)).failed(4, &["a live data directory: writes not yet flushed are missing"]);
        let flushed = ran(command(&cluster).arg("--flushed"));
        assert!(!flushed.err.contains("not yet flushed"), "{flushed:?}");
        assert!(flushed.err.contains("flushed before it was frozen"), "{flushed:?}");
        assert_eq!(cluster.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    }
}

#[test]
fn commands_and_nodetool_exclude_one_another() {
    let cluster = with_commands(Cluster::new(None));
    for with in ["--before-node", "--after-node"] {
        let both = ran(cluster.command().args([with, "true"]));
        assert!(both.code != Some(0) && both.err.contains(with) && both.err.contains("--take-snapshot"), "{both:?}");
    }
    let alone = ran(cluster.of("prod", &nodes(&cluster)).arg("--flushed"));
    assert!(alone.code != Some(0) && alone.err.contains("--before-node"), "{alone:?}");
    assert!(cluster.calls().is_empty() && !cluster.path("state").exists());
}

/// The signal at so many moments, spread over what a backup takes.
fn at_moments(cluster: &Cluster, command: impl Fn() -> Command, moments: u32, left: impl Fn() -> usize) {
    let begun = Instant::now();
    ran(command().arg("--dry-run"));
    let whole = begun.elapsed();
    assert_eq!(left(), 0);
    let mut stopped = 0;
    for moment in 0..moments {
        let signal = if moment % 2 == 0 { "KILL" } else { "TERM" };
        // Its words, where it fails.
        let said = cluster.path("said");
        let mut child = command().stderr(fs::File::create(&said).unwrap()).spawn().unwrap();
        thread::sleep(whole * moment / moments);
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        stopped += u32::from(!child.wait().unwrap().success());
        cluster.wait_for_programs();
        let next = (signal == "KILL").then(|| ran(command().arg("--dry-run")));
        let (after, said) = (whole * moment / moments, fs::read_to_string(said).unwrap());
        assert_eq!(left(), 0, "{signal} after {after:?} of {whole:?}: {said}; the next: {next:?}");
    }
    assert!(stopped > moments / 2, "{stopped} of {moments} were stopped");
}

/// Whatever the moment, of fifty: nothing is left after a signal, nor after the run that follows a kill.
#[test]
fn no_snapshot_stays_after_kills_and_signals_at_any_moment() {
    let Some(cluster) = over_ssh() else { return };
    at_moments(&cluster, || cluster.within(100), 26, || cluster.left().0);
}

#[test]
fn nothing_stays_frozen_after_kills_and_signals_at_any_moment() {
    let Some(cluster) = over_ssh().map(with_commands) else { return };
    at_moments(&cluster, || within(&cluster, 100), 24, || left(&cluster));
}
