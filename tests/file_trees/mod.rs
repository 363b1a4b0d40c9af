//! Files and streams of this machine through the whole program: what comes back is compared by tools that are not ours.

mod elsewhere;
mod expected;
mod faults;
mod grown;
mod hostile;
mod kills;
mod list;
mod nights;
mod restoring;
mod round_trip;
mod streams;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{SeekFrom, seek};
use serde_json::Value;

use crate::user::{Ran, User, ran};

/// Nobody in particular, and his group.
pub const NOBODY: u32 = 65534;

/// Someone who backs up files: root, or an ordinary user.
pub struct Someone {
    pub user: User,
    is_nobody: bool,
}

/// Whether these tests are run by root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says which test is left out, and why.
#[allow(clippy::print_stderr)]
pub fn left_out(test: &str, why: &str) {
    eprintln!("file trees: {test} is left out: {why}");
}

/// Whether a tool is installed; says by name what is left out where it is not.
pub fn has(tool: &str, test: &str) -> bool {
    let there = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        left_out(test, &format!("{tool} is not installed"));
    }
    there
}

impl Someone {
    /// Whoever runs the tests.
    pub fn new() -> Someone {
        Someone { user: User::new(), is_nobody: false }
    }

    /// An ordinary user. `None`, which is said, where the tests cannot become one.
    pub fn ordinary(test: &str) -> Option<Someone> {
        if !is_root() {
            return Some(Someone::new());
        }
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let someone = Someone { user: User { dir }, is_nobody: true };
        let mut may = someone.command();
        if !has("setpriv", test) || ran(may.arg("--version")).code != Some(0) {
            left_out(test, "another user may not run the program where it lies");
            return None;
        }
        let key = someone.path("key");
        ran(someone.command().env_remove("ONEFOLD_KEY_FILE").args(["init", "--new-key-file"]).arg(key)).fine();
        Some(someone)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.user.path(name)
    }

    /// The program, run by this one.
    pub fn command(&self) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_onefold"))
    }

    /// Any program, run by this one.
    pub fn command_of(&self, program: &str) -> Command {
        self.command_in(&["--clear-groups"], program)
    }

    /// The same as somebody of more groups, by options of `setpriv`.
    pub fn command_in(&self, groups: &[&str], program: &str) -> Command {
        let mut command = Command::new(if self.is_nobody { "setpriv" } else { program });
        if self.is_nobody {
            let (uid, gid) = (NOBODY.to_string(), NOBODY.to_string());
            command.args(["--reuid", &uid, "--regid", &gid]).args(groups).arg(program);
        }
        for (name, value) in self.user.command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command().args(args))
    }

    /// Backs up one path.
    pub fn backup(&self, path: &Path, more: &[&str]) -> Ran {
        ran(self.command().args(["backup", "files", "--json"]).arg(path).args(more))
    }

    /// Restores what lay at `path` into `out`.
    pub fn restore(&self, snapshot: &str, path: &Path, out: &Path, more: &[&str]) -> Ran {
        let what = format!("{snapshot}:{}", path.to_str().unwrap());
        ran(self.command().args(["restore", "--json", &what, "--target"]).arg(out).args(more))
    }

    /// Writes a file, and the folders above it, as this one's.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        if self.is_nobody {
            let above = path.ancestors().take_while(|at| *at != self.user.dir.path());
            above.for_each(|at| std::os::unix::fs::lchown(at, Some(NOBODY), Some(NOBODY)).unwrap());
        }
        path
    }
}

/// What is said in objects stands on standard output, what ends the program on standard error.
pub trait Said {
    /// Ended with `code`, and names all of `words`.
    fn said(&self, code: i32, words: &[&str]);
}

impl Said for Ran {
    #[track_caller]
    fn said(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word) || self.out.contains(word), "`{word}` is not named: {self:?}");
        }
    }
}

/// The last object that was printed: what it came to.
pub fn summary(ran: &Ran) -> Value {
    ran.objects().pop().unwrap_or_else(|| panic!("{ran:?}"))
}

/// What `rsync` would do to `out` to make it like `like`: nothing where they are equal.
pub fn differences(like: &Path, out: &Path) -> String {
    let slash = |path: &Path| format!("{}/", path.display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--numeric-ids", "--checksum", "--modify-window=-1", "--itemize-changes", "--delete"]);
    let said = ran(rsync.args([slash(like), slash(out)]));
    said.err + &said.out
}

/// Two folders are equal: what they hold, what is said of it, and where its holes are.
#[track_caller]
pub fn same(like: &Path, out: &Path) {
    let said = differences(like, out);
    assert!(said.is_empty(), "{} and {} differ:\n{said}", like.display(), out.display());
    let mut count = 0;
    each(like, &mut |path| {
        let there = out.join(path.strip_prefix(like).unwrap());
        let of = path.symlink_metadata().unwrap();
        if of.is_file() && (is_root() || of.mode() & 0o400 != 0) {
            assert_eq!(holes(path), holes(&there), "holes of {}", path.display());
            count += 1;
        }
        assert_eq!(attributes(path), attributes(&there), "{}", path.display());
    });
    assert!(count > 0, "nothing was compared");
}

/// Shows every path below a folder, and the folder itself.
pub fn each(path: &Path, show: &mut dyn FnMut(&Path)) {
    show(path);
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| each(&entry.unwrap().path(), show));
    }
}

/// Where data of a file lie.
pub fn holes(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let (mut all, mut at) = (Vec::new(), 0);
    while let Ok(from) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(from)).unwrap();
        all.push((from, at));
    }
    all
}

/// Extended attributes, also of links and pipes.
pub fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 64 << 10];
    let n = rustix::fs::llistxattr(path, &mut names).unwrap_or_default();
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let n = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        (name.to_vec(), value[..n].to_vec())
    };
    let mut all: Vec<_> = names[..n].split(|b| *b == 0).filter(|name| !name.is_empty()).map(value).collect();
    all.sort();
    all
}

/// Temporary names of a restore.
pub fn left_over(out: &Path) -> Vec<PathBuf> {
    let mut left = Vec::new();
    each(out, &mut |path| left.extend(path.ends_with(".onefold-restore.new").then(|| path.to_owned())));
    left
}
