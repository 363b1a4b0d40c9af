//! The real binary, run as a user runs it, on the bundled captures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A captured cluster: `cassandra-5.0` or `cassandra-4.1`.
pub fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Nodes as the command line wants them, called n1, n2 and so on.
pub fn nodes(dirs: &[PathBuf]) -> Vec<String> {
    (1..).zip(dirs).map(|(n, dir)| format!("--node=n{n}={}", dir.display())).collect()
}

/// The three nodes of a captured cluster.
pub fn three(root: &Path) -> Vec<PathBuf> {
    [1, 2, 3].map(|n| root.join(format!("node{n}"))).into()
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Ended with `code`, and names all of `words` on standard error.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not named: {self:?}");
        }
    }

    /// Ended well; what was printed.
    #[track_caller]
    pub fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Standard output as objects, one a line, each with its type.
    #[track_caller]
    pub fn objects(&self) -> Vec<Value> {
        objects(&self.out)
    }
}

#[track_caller]
pub fn objects(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["message_type"].is_string(), "{line}");
        value
    };
    text.lines().map(parse).collect()
}

/// Someone with a repository and its key file.
pub struct User {
    pub dir: TempDir,
}

impl User {
    /// Makes a repository.
    pub fn new() -> User {
        let user = User { dir: tempfile::tempdir().unwrap() };
        let key = user.path("key");
        user.command().env_remove("ONEFOLD_KEY_FILE").args(["init", "--new-key-file"]).arg(&key).status().unwrap();
        assert!(key.exists());
        user
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with this user's environment and nobody's else.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onefold"));
        for name in [
            "ONEFOLD_PASSWORD",
            "ONEFOLD_PASSWORD_FILE",
            "ONEFOLD_PASSWORD_COMMAND",
            "ONEFOLD_KEY_COMMAND",
            "ONEFOLD_IDENTITY",
        ] {
            command.env_remove(name);
        }
        command.env("ONEFOLD_REPOSITORY", self.path("repo")).env("ONEFOLD_KEY_FILE", self.path("key"));
        command
            .env("ONEFOLD_CACHE_DIR", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command.stdout(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command().args(args))
    }

    /// With a limit on the size of files, of `blocks` of 512 bytes, which stops writing as a full disk does.
    pub fn run_with_little_room(&self, blocks: u32, args: &[&str]) -> Ran {
        self.run_limited(&format!("trap '' XFSZ; ulimit -f {blocks}"), args)
    }

    /// Within limits that a shell sets first.
    pub fn run_limited(&self, limits: &str, args: &[&str]) -> Ran {
        let mut command = Command::new("sh");
        self.command().get_envs().for_each(|(name, value)| match value {
            Some(value) => drop(command.env(name, value)),
            None => drop(command.env_remove(name)),
        });
        let limited = format!("{limits}; exec \"$0\" \"$@\"");
        ran(command.args(["-c", &limited, env!("CARGO_BIN_EXE_onefold")]).args(args))
    }

    pub fn backup(&self, dirs: &[PathBuf], more: &[&str]) -> Ran {
        ran(self.command().args(["backup", "cassandra", "--cluster", "prod"]).args(nodes(dirs)).args(more))
    }

    /// The rows of a table of a snapshot.
    #[track_caller]
    pub fn rows(&self, snapshot: &str, table: &str) -> Vec<String> {
        lines(&self.run(&["restore", snapshot, "--to", "json", "--table", table]).fine())
    }

    /// Ids of all snapshots, oldest first.
    pub fn snapshots(&self) -> Vec<String> {
        let listed = self.run(&["snapshots", "--json"]);
        listed.objects().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Everything that the newest snapshot says of itself.
    pub fn show(&self) -> Value {
        self.run(&["show", "--json"]).objects().remove(0)
    }

    /// Bytes of all objects in the repository.
    pub fn stored(&self) -> u64 {
        files_below(&self.path("repo")).iter().map(|f| f.metadata().unwrap().len()).sum()
    }
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub fn lines(text: &str) -> Vec<String> {
    text.split_terminator('\n').map(str::to_owned).collect()
}

/// Rows of `lab.TABLE` as the cluster answered them.
pub fn expected(root: &Path, table: &str) -> Vec<String> {
    lines(&fs::read_to_string(root.join(format!("expected/lab.{table}.rows.jsonl"))).unwrap())
}

/// All files below a folder, sorted.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Copies a folder. Of the tables (`KEYSPACE/TABLE`) that `keep` refuses those of Cassandra are left out, and others empty: a
/// folder with nothing but a manifest that names nothing, as `nodetool snapshot` leaves it.
pub fn copy(from: &Path, to: &Path, keep: &dyn Fn(&str) -> bool) {
    for file in files_below(from) {
        let name = file.strip_prefix(from).unwrap();
        let parts: Vec<_> = name.iter().map(|p| p.to_str().unwrap()).collect();
        let table = format!("{}/{}", parts[0], parts[1].rsplit_once('-').unwrap().0);
        if keep(&table) {
            fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
            fs::copy(&file, to.join(name)).unwrap();
        } else if name.ends_with("manifest.json") && !parts[0].starts_with("system") {
            fs::create_dir_all(to.join(name).parent().unwrap()).unwrap();
            fs::copy(&file, to.join(name)).unwrap();
            name_in_manifest(to.join(name).parent().unwrap(), &[]);
        }
    }
}

/// Makes the manifest of a table's folder name these files.
pub fn name_in_manifest(folder: &Path, files: &[String]) {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["files"] = files.into();
    fs::write(&path, manifest.to_string()).unwrap();
}

/// Makes the manifest of a table's folder name what is there.
pub fn mend_manifest(folder: &Path) {
    let names = files_below(folder).into_iter().map(|f| f.file_name().unwrap().to_str().unwrap().to_owned());
    name_in_manifest(folder, &names.filter(|name| name.ends_with("-Data.db")).collect::<Vec<_>>());
}

/// Flips a byte in the middle of a table's `Data.db`, one of them.
pub fn spoil_data(node: &Path, keyspace: &str, table: &str) {
    let folder = table_dir(node, keyspace, table);
    let data = files_below(&folder).into_iter().find(|f| f.to_str().unwrap().ends_with("-Data.db")).unwrap();
    let mut bytes = fs::read(&data).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&data, bytes).unwrap();
}

/// The folder of a table of a captured node.
pub fn table_dir(node: &Path, keyspace: &str, table: &str) -> PathBuf {
    let here = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().rsplit_once('-').unwrap().0 == table;
    fs::read_dir(node.join(keyspace)).unwrap().map(|e| e.unwrap().path()).find(here).unwrap()
}
