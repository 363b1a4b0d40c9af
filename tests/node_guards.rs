//! Nodes in need: full, slow, paused, gone. Each is named, what is held of it is cleared, and the others complete.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sshd::{Mounted, Sshd};
use crate::take_snapshot::{Cluster, over_ssh, wait_until};
use crate::user::{Ran, capture, expected, files_below, ran};

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Files of our snapshots on a node.
fn held(cluster: &Cluster, node: &str) -> usize {
    let ours = |file: &std::path::Path| file.to_string_lossy().contains("/snapshots/onefold-");
    files_below(&cluster.path(node)).iter().filter(|file| ours(file)).count()
}

/// Two nodes, of which nothing is missing.
#[track_caller]
fn others_complete(cluster: &Cluster) {
    assert_eq!(cluster.user.show()["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(cluster.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
}

/// Puts each node on a disk of its own, which may be as full as disks may where nobody says how full; `None` where that is not
/// allowed.
fn on_small_disks(cluster: &mut Cluster) -> Option<Vec<Mounted>> {
    cluster.disk_max = None;
    ["node1", "node2", "node3"].into_iter().map(|node| on_a_small_disk(cluster, node)).collect()
}

fn on_a_small_disk(cluster: &Cluster, node: &str) -> Option<Mounted> {
    let from = cluster.path(&format!("{node}-moved"));
    fs::rename(cluster.path(node), &from).unwrap();
    let mounted = Mounted::small(cluster.path(node))?;
    let moved = Command::new("cp").arg("-a").arg(from.join(".")).arg(cluster.path(node)).status();
    assert!(moved.unwrap().success());
    Some(mounted)
}

/// Leaves room on its disk for little more than names.
fn fill(cluster: &Cluster, node: &str) {
    let mut filler = fs::File::create(cluster.path(node).join("filler")).unwrap();
    let room = || rustix::fs::statvfs(cluster.path(node)).map(|found| found.f_bavail * found.f_frsize).unwrap();
    while room() > 120_000 {
        filler.write_all(&[1; 8192]).unwrap();
    }
}

#[test]
fn a_node_whose_disk_is_full_gets_no_snapshot() {
    for mut cluster in [Some(Cluster::new(None)), over_ssh()].into_iter().flatten() {
        let Some(_disks) = on_small_disks(&mut cluster) else { return };
        fill(&cluster, "node2");
        cluster.backup().failed(4, &["node n2: is left out", "% full, and more than 90 % is too much"]);
        others_complete(&cluster);
        assert!(!cluster.calls().iter().any(|call| call.contains("node2")), "nothing is asked of it");
        assert_eq!((held(&cluster, "node1"), held(&cluster, "node2"), held(&cluster, "node3")), (0, 0, 0));
        // All the same, if the operator says so.
        cluster.disk_max = Some(100);
        let done = cluster.backup();
        assert!(done.code == Some(0) || !done.err.contains("left out"), "{done:?}");
        assert_eq!(cluster.user.show()["nodes"].as_array().unwrap().len(), 3);
    }
}

#[test]
#[ignore = "run by tools/long nodes"]
fn a_node_whose_disk_fills_is_cleared_at_once() {
    for mut cluster in [Some(Cluster::new(None)), over_ssh()].into_iter().flatten() {
        let Some(_disks) = on_small_disks(&mut cluster) else { return };
        let mut child = start(cluster.command().args(["--limit-read", "15"]));
        wait_until("all have a snapshot", || ["node1", "node2", "node3"].iter().all(|node| held(&cluster, node) > 100));
        thread::sleep(Duration::from_secs(1));
        fill(&cluster, "node2");
        wait_until("it is cleared", || held(&cluster, "node2") == 0);
        assert!(child.try_wait().unwrap().is_none(), "the backup goes on");
        let done = ended(child);
        done.failed(4, &["node n2: is left out", "% full, and more than 90 % is too much"]);
        others_complete(&cluster);
        assert_eq!((held(&cluster, "node1"), held(&cluster, "node2"), held(&cluster, "node3")), (0, 0, 0));
        assert_eq!(cluster.left().1, 0);
    }
}

/// Passes on what comes in, later.
fn slow_way_to(port: u16, pause: Duration) -> u16 {
    fn pass(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n) = from.read(&mut bytes) {
            thread::sleep(pause);
            if n == 0 || to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let (back, there) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || pass(from, to, Duration::ZERO));
            thread::spawn(move || pass(there, back, pause));
        }
    });
    own
}

#[test]
fn a_node_that_is_slow_is_cleared_and_left_out() {
    let Some(mut cluster) = over_ssh() else { return };
    let sshd = cluster.sshd.as_ref().unwrap();
    let slow = slow_way_to(sshd.port, Duration::from_millis(60));
    let known = fs::read_to_string(sshd.path("known_hosts")).unwrap();
    fs::write(sshd.path("known_hosts"), format!("{known}{}", known.replace(&sshd.port.to_string(), &slow.to_string())))
        .unwrap();
    cluster.ports[2] = Some(slow);
    let done = ran(cluster.command().args(["--node-latency-max", "30"]));
    done.failed(4, &["node n3: is left out", "its reads take ", "more than 30 ms is too slow"]);
    assert!(!done.err.contains("node n1: is left out") && !done.err.contains("node n2: is left out"), "{done:?}");
    others_complete(&cluster);
    assert_eq!(cluster.left(), (0, 0));
}

/// The machine of a node is paused, or gone, while the node is read. What stays on it the next run clears.
#[test]
fn a_node_that_is_paused_is_left_out_and_cleared_when_it_goes_on() {
    away_while_read(true);
}

#[test]
fn a_node_that_is_gone_is_left_out_and_cleared_when_it_is_back() {
    away_while_read(false);
}

fn away_while_read(paused: bool) {
    let (Some(mut cluster), Some(mut far)) = (over_ssh(), Sshd::start()) else { return };
    cluster.settings = Some(cluster.sshd.as_ref().unwrap().settings_for_both(&far));
    cluster.ports[2] = Some(far.port);
    let child = start(cluster.within(15).args(["--limit-read", "15"]));
    wait_until("all have a snapshot", || ["node1", "node2", "node3"].iter().all(|node| held(&cluster, node) > 100));
    thread::sleep(Duration::from_secs(2));
    match paused {
        true => far.pause(true),
        false => far.crash(),
    }
    let done = ended(child);
    done.failed(4, &["node n3: is left out"]);
    others_complete(&cluster);
    assert_eq!((held(&cluster, "node1"), held(&cluster, "node2")), (0, 0));
    assert!(held(&cluster, "node3") > 0 && cluster.left().1 > 0, "nobody could clear it");
    match paused {
        true => far.pause(false),
        false => far.restart(),
    }
    cluster.wait_for_programs();
    let next = ran(&mut cluster.within(20));
    assert!(
        next.err.contains("node n3: snapshot onefold-") && next.err.contains("of a run that was killed, cleared"),
        "{next:?}"
    );
    assert_eq!(held(&cluster, "node3"), 0);
}

/// Ends a process and those that it started.
fn kill_with_children(child: &mut Child) {
    let started = crate::sshd::children(child.id());
    child.kill().unwrap();
    for pid in started {
        let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
    }
    child.wait().unwrap();
}

/// A snapshot that was given up, or whose run and connection are gone, comes after the next run has cleared: it is looked for until
/// it can come no more.
#[test]
fn a_snapshot_that_comes_late_is_cleared_too() {
    for killed in [false, true] {
        let Some(cluster) = over_ssh() else { return };
        fs::write(cluster.path("late-node2"), "").unwrap();
        match killed {
            false => ran(&mut cluster.within(12)).failed(4, &["node n2: is left out", "did not end within 12 seconds"]),
            true => {
                let mut child = start(&mut cluster.within(12));
                wait_until("the others have theirs", || held(&cluster, "node1") > 100 && held(&cluster, "node3") > 100);
                kill_with_children(&mut child);
            }
        }
        assert_eq!((held(&cluster, "node2"), cluster.left().1), (0, 1));
        // The next run clears, and there is nothing yet. What it asks for itself comes late, too.
        let again = Instant::now();
        ran(&mut cluster.within(12)).failed(4, &["node n2: is left out"]);
        fs::remove_file(cluster.path("late-node2")).unwrap();
        cluster.wait_for_programs();
        assert!(held(&cluster, "node2") > 0 && cluster.left().1 == 2, "they came late");
        let after = ran(&mut cluster.within(20));
        assert!(after.err.contains("node n2: snapshot onefold-") && after.err.contains("cleared"), "{after:?}");
        assert_eq!(held(&cluster, "node2"), 0);
        // What it found may not have been all: it is written down until a look after its time finds nothing.
        thread::sleep(Duration::from_secs(25).saturating_sub(again.elapsed()));
        ran(&mut cluster.within(20));
        assert_eq!(cluster.left(), (0, 0));
    }
}

/// What an operator forgets, with what to do.
#[test]
fn what_a_node_refuses_is_named_with_what_to_do() {
    let Some(mut cluster) = over_ssh() else { return };
    for (says, todo) in [
        (
            "nodetool: Failed to connect to '127.0.0.1:7199' - SecurityException: 'Authentication failed! Credentials required'.",
            "-pwf FILE",
        ),
        ("error: Required option '-pw' is missing: no password, and no terminal to ask on", "-pwf FILE"),
    ] {
        fs::write(cluster.path("nodetool"), format!("#!/bin/sh\necho \"{says}\" >&2\nexit 1\n")).unwrap();
        cluster.backup().failed(1, &["node n", "ssh://127.0.0.1", says, todo]);
    }
    fs::remove_file(cluster.path("nodetool")).unwrap();
    cluster.backup().failed(1, &["node n", "there is no such program", "--nodetool PATH"]);
    let sshd = cluster.sshd.as_ref().unwrap();
    fs::write(sshd.path("nothing_known"), "").unwrap();
    cluster.settings = Some(sshd.other_settings("/known_hosts", "/nothing_known"));
    cluster
        .backup()
        .failed(1, &["node n", "its host key is not known on this machine", "connect once with `ssh 127.0.0.1"]);
    assert_eq!(cluster.user.snapshots().len(), 0);
}
