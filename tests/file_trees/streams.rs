//! Streams: standard input, and what commands write.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{Someone, summary};
use crate::kill::noise;
use crate::user::{Ran, ran};

fn backup(someone: &Someone, name: &str, command: &[&str]) -> Ran {
    let mut backup = someone.command();
    backup.args(["backup", "stream", "--json", "--name", name]);
    if !command.is_empty() {
        backup.arg("--").args(command);
    }
    ran(&mut backup)
}

/// What the newest snapshot has at a path.
fn held(someone: &Someone, path: &str) -> Vec<u8> {
    let mut dump = someone.command();
    let done = dump.args(["dump", &format!("latest:{path}")]).stdout(Stdio::piped()).output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    done.stdout
}

#[test]
fn streams_of_any_length_come_back() {
    let someone = Someone::new();
    for length in [0, 1, 255, 256, 257, 4096, 70_000, 5 << 20] {
        let bytes = noise(3, length);
        let path = someone.write("stream", &bytes);
        let done = backup(&someone, "db.sql", &["cat", path.to_str().unwrap()]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(held(&someone, "/db.sql") == bytes, "{length} bytes of a command");

        let mut input = someone.command();
        let mut running = input.args(["backup", "stream", "--name", "in"]).stdin(Stdio::piped()).spawn().unwrap();
        running.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(running.wait().unwrap().success());
        assert!(held(&someone, "/in") == bytes, "{length} bytes of standard input");
    }
    let out = someone.path("out");
    let done = ran(someone.command().args(["restore", "latest", "--target"]).arg(&out));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(fs::read(out.join("in")).unwrap() == noise(3, 5 << 20));
}

#[test]
fn two_hundred_megabytes_of_a_shell_come_back() {
    let someone = Someone::new();
    let script = "i=0; while [ $i -lt 200 ]; do printf '%0100d' $i; head -c 999900 /dev/zero; i=$((i+1)); done";
    let done = backup(&someone, "large", &["sh", "-c", script]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let check = format!("exec \"$0\" dump latest:/large | {{ ({script}) | cmp - /dev/fd/3; }} 3<&0");
    let mut compared = std::process::Command::new("bash");
    for (name, value) in someone.command().get_envs() {
        value.map(|value| compared.env(name, value));
    }
    let compared = ran(compared.args(["-c", &check.replace("exec ", ""), env!("CARGO_BIN_EXE_onefold")]));
    assert_eq!((compared.code, &*compared.err, &*compared.out), (Some(0), "", ""));
    // Much of it is the same.
    assert!(someone.user.stored() < 20 << 20, "{}", someone.user.stored());
    let listed = someone.run(&["ls", "latest:/", "--json"]).objects();
    assert!(listed.iter().any(|row| row["path"] == "/large" && row["size"] == 200_000_000), "{listed:?}");
}

/// Of a command that failed there is no snapshot, whatever it wrote.
#[test]
fn a_command_that_fails_leaves_no_snapshot() {
    let someone = Someone::new();
    let large = "head -c 5000000 /dev/urandom";
    let failing = [
        vec!["sh", "-c", "exit 3"],
        vec!["sh", "-c", "printf part; exit 3"],
        vec!["sh", "-c", "head -c 5000000 /dev/urandom; exit 3"],
        vec!["sh", "-c", "printf part; kill -9 $$"],
        vec!["false"],
    ];
    for command in failing {
        let done = backup(&someone, "db.sql", &command);
        done.failed(1, &[command[0], "db.sql"]);
        assert!(someone.user.snapshots().is_empty(), "{command:?}");
    }
    backup(&someone, "db.sql", &["/nowhere/no-such-command"]).failed(1, &["/nowhere/no-such-command", "installed"]);
    backup(&someone, "db.sql", &["/"]).failed(1, &["command /"]);
    assert!(someone.user.snapshots().is_empty());
    // Afterwards all is as ever.
    let done = backup(&someone, "db.sql", &["sh", "-c", large]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(held(&someone, "/db.sql").len(), 5_000_000);
    assert!(summary(&done)["stored"]["bytes"].as_u64() != Some(0), "{done:?}");
    someone.run(&["check", "--read-data"]).fine();
}

#[test]
fn a_name_is_one_of_a_file() {
    let someone = Someone::new();
    let long = "x".repeat(256);
    for name in ["", ".", "..", "a/b", "/", &long] {
        backup(&someone, name, &["true"]).failed(1, &["--name", name]);
    }
    assert!(someone.user.snapshots().is_empty());
    for name in ["größe.sql", "-n", "a\nb", "latest:x", &long[..255]] {
        let mut one = someone.command();
        one.args(["backup", "stream", &format!("--name={name}"), "--", "echo", "hello"]);
        let done = ran(&mut one);
        assert_eq!(done.code, Some(0), "{name}: {done:?}");
    }
}
