//! Servers that tests start by `tools/stores/serve`, which ends with [`NOT_INSTALLED`] where there is none.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const NOT_INSTALLED: i32 = 3;

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `tools/stores/serve`, silent.
pub fn serve<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/stores/serve"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Asks 600 times whether `name` answers, with a pause between; false where it is not installed.
pub fn answers(child: &mut Child, name: &str, pause: Duration, mut answers: impl FnMut() -> bool) -> bool {
    for _ in 0..600 {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(NOT_INSTALLED), "{name} ended");
            return false;
        }
        if answers() {
            return true;
        }
        thread::sleep(pause);
    }
    panic!("{name} does not answer");
}

/// Says that tests are skipped, past the harness, which shows nothing of tests that pass. Where `variable` is set the server must be there.
pub fn is_missing(name: &str, variable: &str, setup: &str) {
    assert!(std::env::var_os(variable).is_none(), "{name} is not installed, and {variable} says that it is");
    let said = format!("SKIPPED: {name} is not installed; `tools/stores/setup{setup}` installs it\n");
    std::io::stderr().write_all(said.as_bytes()).unwrap();
}
