//! The store in a bucket, against a real server that `tools/stores/serve` starts; `ONEFOLD_S3=minio` takes another.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::Duration;

use onefold::Kind;
use onefold::store::Store;
use onefold::store::retry::Retry;
use onefold::store::s3::{S3, Variables};
use tempfile::TempDir;

use crate::server;
use crate::stores::{contract_wrapped, names};
use crate::user::{Ran, User, capture, nodes, ran, three};

pub const ID: &str = "onefoldtest";
pub const SECRET: &str = "onefold-test-secret";

/// A server with one bucket.
pub struct Server {
    pub child: Child,
    pub port: u16,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Buckets lie in `dir/buckets`, what else the server knows in `dir/state`.
fn serve(dir: &Path, port: u16) -> Child {
    let name = std::env::var("ONEFOLD_S3").unwrap_or("versitygw".into());
    let mut command = server::serve([name.as_ref(), dir.join("buckets").as_os_str(), port.to_string().as_ref()]);
    command.env("ONEFOLD_SERVER_STATE", dir.join("state")).spawn().unwrap()
}

impl Server {
    /// `None`, and says so, where no server is installed; `tools/ci` sets `ONEFOLD_S3`, and then it must be.
    pub fn start() -> Option<Server> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("buckets/bucket")).unwrap();
        let port = server::free_port();
        let mut server = Server { child: serve(dir.path(), port), port, dir };
        if server.wait() {
            return Some(server);
        }
        server::is_missing("an S3 server", "ONEFOLD_S3", "");
        None
    }

    /// Waits until it answers; false where it is not installed.
    fn wait(&mut self) -> bool {
        let bucket = self.open("bucket");
        let lists = || bucket.list("", &mut |_, _| Ok(())).is_ok();
        server::answers(&mut self.child, "the server", Duration::from_millis(50), lists)
    }

    /// Starts it again, where it was.
    pub fn start_again(&mut self) {
        self.child = serve(self.dir.path(), self.port);
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn place(&self, path: &str) -> String {
        format!("s3://{path}?endpoint={}", self.endpoint())
    }

    pub fn open(&self, path: &str) -> S3 {
        open(&self.place(path), &[("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)])
    }
}

fn open(place: &str, variables: &[(&str, &str)]) -> S3 {
    let variables: Variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    S3::with(OsStr::new(place), &variables).unwrap()
}

#[test]
fn a_bucket_keeps_the_contract() {
    let Some(server) = Server::start() else { return };
    contract_wrapped("bucket", |path| server.open(path));
}

#[test]
fn a_listing_has_all_its_pages() {
    let Some(server) = Server::start() else { return };
    let store = server.open("bucket/many");
    let name = |i: usize| format!("packs/{:02x}/{i:06}", i % 7);
    thread::scope(|scope| {
        for t in 0..16 {
            let (store, name) = (&store, &name);
            scope.spawn(move || {
                (t..2100).step_by(16).for_each(|i| store.create(&name(i), vec![0; i % 4 % 3].into()).unwrap())
            });
        }
    });
    let mut expected: Vec<_> = (0..2100).map(|i| (name(i), (i % 4 % 3) as u64)).collect();
    expected.sort();
    assert_eq!(names(&store, "packs"), expected);
    assert_eq!(names(&store, "packs/03").len(), 300);
}

/// A server that goes away and comes back costs time, and nothing else.
#[test]
fn a_server_that_comes_back_is_waited_for() {
    let Some(mut server) = Server::start() else { return };
    let store = Retry::new(server.open("bucket/p"));
    store.create("a", "before".into()).unwrap();
    server.kill();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| (store.create("b", "after".into()), store.read("a")));
        thread::sleep(Duration::from_secs(2));
        assert!(!waiting.is_finished());
        server.start_again();
        let (created, read) = waiting.join().unwrap();
        created.unwrap();
        assert_eq!(read.unwrap(), b"before");
    });
    assert_eq!(store.read("b").unwrap(), b"after");
}

#[test]
fn what_does_not_fit_is_named_and_no_secret_is_shown() {
    let Some(server) = Server::start() else { return };
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let other = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", "not-that-secret")];
    let nobody = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let role = [("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")];
    let tls = server.place("bucket/x").replace("http://", "https://");
    let away = "s3://bucket/x?endpoint=http://127.0.0.1:9".to_string();
    for (place, variables, kind, word) in [
        (server.place("no-such-bucket/x"), &keys[..], Kind::NoRepository, "no-such-bucket"),
        (server.place("bucket/x"), &other, Kind::Io, "AWS_SECRET_ACCESS_KEY"),
        (server.place("bucket/x"), &nobody, Kind::Io, "AWS_ACCESS_KEY_ID"),
        (server.place("bucket/x"), &role, Kind::Io, "no credentials"),
        (tls, &keys, Kind::Io, "http:// in place of https://"),
        (away, &keys, Kind::Io, "is the endpoint right"),
    ] {
        let store = Retry::new(open(&place, variables));
        let mut errors = vec![store.read("config").unwrap_err(), store.create("config", "x".into()).unwrap_err()];
        errors.push(store.list("log", &mut |_, _| Ok(())).unwrap_err());
        for error in errors {
            let said = format!("{error} {error:?}");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(said.contains(word) && said.contains("bucket"), "{word}: {error}");
            assert!(!said.contains(SECRET) && !said.contains("not-that-secret"), "{error}");
        }
    }
}

/// Credentials, region and endpoint come from a profile where the environment says nothing.
#[test]
fn a_profile_says_all_that_is_needed() {
    let Some(server) = Server::start() else { return };
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aws")).unwrap();
    let write = |name: &str, text: String| fs::write(home.path().join(".aws").join(name), text).unwrap();
    write("credentials", format!("[night]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\n[sso]\n"));
    write(
        "config",
        format!("[profile night]\nendpoint_url = {}/\n[profile sso]\nsso_session = x\n", server.endpoint()),
    );
    let home = home.path().to_str().unwrap();
    let store = open("s3://bucket//p/", &[("HOME", home), ("AWS_PROFILE", "night")]);
    assert_eq!(store.place(), server.place("bucket/p"), "one place, however it was said");
    store.create("a", "x".into()).unwrap();
    assert_eq!(server.open("bucket/p").read("a").unwrap(), b"x");
    for (profile, word) in [("day", "neither"), ("sso", "sso_session")] {
        let variables = [("HOME", home), ("AWS_PROFILE", profile)].map(|(n, v)| (n.into(), v.into())).into();
        let error = S3::with(OsStr::new("s3://bucket"), &variables).err().unwrap();
        assert!(error.kind() == Kind::Usage && error.to_string().contains(word), "{error}");
    }
}

/// What differs between two runs of the same: ids, sizes of what is sealed under other keys, times.
fn plain(ran: Ran, place: &str) -> String {
    let text = ran.fine().replace(place, "PLACE");
    let odd = |word: &str| word.chars().any(|c| c.is_ascii_digit()) && !word.contains('.') && word.len() > 8;
    let words = text.split(' ').map(|word| if odd(word.trim()) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Everything a user does at `place`, which `variables` open, as in a folder.
pub fn a_user_sees_a_folder(place: &str, variables: &[(&str, &str)]) {
    let user = User { dir: tempfile::tempdir().unwrap() };
    let folder = user.path("repo").to_str().unwrap().to_owned();
    let key = user.path("key").to_str().unwrap().to_owned();
    let captured = nodes(&three(&capture("cassandra-5.0")));
    let captured: Vec<&str> = captured.iter().map(String::as_str).collect();
    let run = |place: &str, args: &[&str]| {
        let mut command = user.command();
        command.env("ONEFOLD_REPOSITORY", place).envs(variables.iter().copied());
        if args.contains(&"--new-key-file") {
            command.env_remove("ONEFOLD_KEY_FILE");
        }
        ran(command.args(args))
    };
    let mut said = [Vec::new(), Vec::new()];
    for (place, said) in [folder.as_str(), place].into_iter().zip(&mut said) {
        let _ = fs::remove_file(user.path("key"));
        let made = run(place, &["init", "--new-key-file", &key]).fine();
        assert!(made.trim_end().ends_with(&format!(" at {place}")), "{made}");
        run(place, &["init"]).failed(1, &["there is a repository here already"]);
        let backup = run(place, &[&["backup", "cassandra", "--cluster", "prod"], &captured[..]].concat()).fine();
        said.push(backup.lines().next().unwrap().to_owned());
        for args in [
            &["ls"][..],
            &["drift", "--table", "lab.users"],
            &["restore", "latest", "--to", "json", "--table", "lab.users"],
            &["restore", "latest", "--to", "csv", "--table", "lab.users"],
        ] {
            said.push(plain(run(place, args), place));
        }
        let check = run(place, &["check", "--read-data"]).fine();
        assert!(check.contains("no damage found"), "{check}");
    }
    let [of_folder, of_bucket] = said;
    for (folder, bucket) in of_folder.iter().zip(&of_bucket) {
        assert_eq!(folder, bucket);
    }
}

/// Everything a user does, in a bucket as in a folder.
#[test]
fn a_repository_in_a_bucket_is_one_in_a_folder() {
    let Some(server) = Server::start() else { return };
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    a_user_sees_a_folder(&server.place("bucket/cluster/prod"), &keys);
    let found = names(&server.open("bucket/cluster/prod"), "");
    assert!(found.iter().any(|(name, _)| name == "config") && found.iter().any(|(name, _)| name.starts_with("pack/")));
    assert!(names(&server.open("bucket"), "").iter().all(|(name, _)| name.starts_with("cluster/prod/")));
}
