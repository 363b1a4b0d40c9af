//! A real `sshd` on loopback, which `tools/stores/serve` starts. Where there is none, tests that want one are left out and say so;
//! `ONEFOLD_SFTP=openssh` forbids that.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use onefold::store::folder::Folder;
use onefold::store::sftp::{self, Remote};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server;

pub struct Sshd {
    child: Child,
    pub port: u16,
    pub dir: TempDir,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill_sessions();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Path, port: u16, subsystem: &str) -> Child {
    let port = port.to_string();
    server::serve(["openssh".as_ref(), dir.as_os_str(), port.as_ref(), subsystem.as_ref()]).spawn().unwrap()
}

impl Sshd {
    pub fn start() -> Option<Sshd> {
        Sshd::offering("sftp internal-sftp")
    }

    /// With another line of its settings behind `Subsystem`.
    pub fn offering(subsystem: &str) -> Option<Sshd> {
        let dir = tempfile::tempdir().unwrap();
        let port = server::free_port();
        let mut sshd = Sshd { child: serve(dir.path(), port, subsystem), port, dir };
        if sshd.wait() {
            return Some(sshd);
        }
        server::is_missing("OpenSSH", "ONEFOLD_SFTP", " openssh");
        None
    }

    /// Waits until it answers; false where it is not installed.
    fn wait(&mut self) -> bool {
        let port = self.port;
        let connects = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        server::answers(&mut self.child, "sshd", Duration::from_millis(50), connects)
    }

    /// Ends the server and all sessions, as a crash of its machine does.
    pub fn crash(&mut self) {
        self.kill_sessions();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = serve(self.dir.path(), self.port, "sftp internal-sftp");
        assert!(self.wait());
    }

    /// Ends the sessions that there are, and what they run. Gives their number.
    pub fn kill_sessions(&self) -> usize {
        self.signal_sessions(Signal::KILL)
    }

    /// Gives the processes of sessions a signal.
    pub fn signal_sessions(&self, signal: Signal) -> usize {
        let mut below = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = below.get(at).copied() {
            below.extend(children(parent));
            at += 1;
        }
        for pid in &below[1..] {
            let _ = kill_process(Pid::from_raw(*pid as i32).unwrap(), signal);
        }
        below.len() - 1
    }

    /// Stops the server and all sessions as if its machine were paused, or has them go on.
    pub fn pause(&self, stop: bool) {
        let signal = if stop { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
        self.signal_sessions(signal);
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Settings of `ssh` with which it gets in.
    pub fn settings(&self) -> PathBuf {
        self.path("ssh_config")
    }

    /// The same, with one word exchanged.
    pub fn other_settings(&self, from: &str, to: &str) -> PathBuf {
        let text = fs::read_to_string(self.settings()).unwrap();
        assert!(text.contains(from));
        let file = self.path(&format!("ssh_config-{}", to.replace('/', "-")));
        fs::write(&file, text.replace(from, to)).unwrap();
        file
    }

    /// `SCHEME://127.0.0.1:PORT/…`, of a folder in its own.
    pub fn place(&self, scheme: &str, name: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{}", self.port, self.path(name).display())
    }

    /// Settings with which `ssh` gets into another one, too.
    pub fn settings_for_both(&self, other: &Sshd) -> PathBuf {
        let read = |sshd: &Sshd, name: &str| fs::read_to_string(sshd.path(name)).unwrap();
        let known = [self, other].map(|sshd| read(sshd, "known_hosts")).concat();
        fs::write(self.path("known_hosts"), known).unwrap();
        let others = read(other, "ssh_config");
        let keys: Vec<_> = others.lines().filter(|line| line.contains("IdentityFile")).collect();
        fs::write(self.path("both"), format!("{}{}\n", read(self, "ssh_config"), keys.join("\n"))).unwrap();
        self.path("both")
    }

    pub fn open(&self, name: &str) -> Folder<Remote> {
        sftp::with(self.place("sftp", name).as_ref(), self.settings()).unwrap()
    }
}

/// Processes that a process started.
pub fn children(parent: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parent_of = |pid: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    ids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// Mounts a small file system at a path for as long as it lives; only root may.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// Two MiB; `None` where that is not allowed.
    pub fn small(path: PathBuf) -> Option<Mounted> {
        fs::create_dir_all(&path).unwrap();
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "onefold-test"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Mounted(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
