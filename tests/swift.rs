//! The store in a container of Swift, against a real cluster of three nodes that `tools/stores/serve` starts.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use onefold::Kind;
use onefold::store::folder::Folder;
use onefold::store::retry::Retry;
use onefold::store::swift::{Swift, Variables};
use onefold::store::with_log::WithLog;
use onefold::store::{Store, disk::RealDisk};
use tempfile::TempDir;

use crate::server;
use crate::stores::{contract, contract_wrapped, create_each, names};
use crate::user::{User, capture, expected, lines, nodes, ran, three};

/// A cluster with one container.
struct Cluster {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its servers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Path, port: u16) -> Child {
    server::serve([OsStr::new("swift"), dir.as_os_str(), OsStr::new(&port.to_string())]).spawn().unwrap()
}

fn auth(port: u16) -> String {
    format!("http://127.0.0.1:{port}/auth/v1.0")
}

/// As its owner does, once.
fn make_container(port: u16) -> bool {
    let http = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--include"]).args(args).output().ok().filter(|ran| ran.status.success())
    };
    let given = http(&["-H", "X-Auth-User: test:tester", "-H", "X-Auth-Key: testing", &auth(port)]);
    let Some(given) = given else { return false };
    let text = String::from_utf8(given.stdout).unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap();
        line.split_once(": ").unwrap().1.trim().to_owned()
    };
    let (token, account) = (value("x-auth-token:"), value("x-storage-url:"));
    http(&["-X", "PUT", "-H", &format!("X-Auth-Token: {token}"), &format!("{account}/box")]).is_some()
}

impl Cluster {
    /// `None`, and says so, where no server is installed; `tools/long` sets `ONEFOLD_SWIFT`, and then it must be.
    fn start() -> Option<Cluster> {
        let dir = tempfile::tempdir().unwrap();
        let port = server::free_port();
        let mut cluster = Cluster { child: serve(dir.path(), port), port, dir };
        if cluster.wait() {
            return Some(cluster);
        }
        server::is_missing("Swift", "ONEFOLD_SWIFT", " swift");
        None
    }

    /// Waits until it answers; false where it is not installed.
    fn wait(&mut self) -> bool {
        let port = self.port;
        server::answers(&mut self.child, "Swift", Duration::from_millis(200), || make_container(port))
    }

    fn auth(&self) -> String {
        auth(self.port)
    }

    fn variables(&self) -> [(&'static str, String); 3] {
        [("ST_AUTH", self.auth()), ("ST_USER", "test:tester".to_owned()), ("ST_KEY", "testing".to_owned())]
    }

    fn open(&self, path: &str) -> Swift {
        self.open_as(path, &[])
    }

    fn open_as(&self, path: &str, other: &[(&str, &str)]) -> Swift {
        let mut variables: Variables = Variables::new();
        variables.extend(self.variables().into_iter().map(|(name, value)| (name.into(), value.into())));
        variables.extend(other.iter().map(|(name, value)| (name.into(), value.into())));
        Swift::with(OsStr::new(&format!("swift://{path}")), &variables).unwrap()
    }

    /// With its log in a folder.
    fn with_log(&self, path: &str) -> WithLog {
        let log = self.dir.path().join("logs").join(path);
        WithLog::new(Arc::new(self.open(path)), Arc::new(Folder::new(RealDisk::new(&log)))).unwrap()
    }

    /// No token is good any more.
    fn forget_tokens(&self) {
        let port: u16 = fs::read_to_string(self.dir.path().join("memcached")).unwrap().parse().unwrap();
        let mut memcached = TcpStream::connect(("127.0.0.1", port)).unwrap();
        memcached.write_all(b"flush_all\r\n").unwrap();
        let mut answer = [0; 4];
        std::io::Read::read_exact(&mut memcached, &mut answer).unwrap();
        assert_eq!(&answer, b"OK\r\n");
    }
}

#[test]
fn a_container_with_a_log_store_keeps_the_contract() {
    let Some(cluster) = Cluster::start() else { return };
    contract_wrapped("box", |path| cluster.with_log(path));
}

/// Objects of all lengths, listings of several pages, ranges and removals, with tokens that end in between.
#[test]
fn objects_come_back_and_tokens_are_renewed() {
    let Some(cluster) = Cluster::start() else { return };
    // A proxy that does not reach its cache in time refuses tokens that are good.
    let store = Arc::new(Retry::new(cluster.open("box/many")));
    for length in [0, 1, 70_000, (16 << 20) - 1] {
        let bytes: Vec<u8> = (0..length).map(|i: usize| (i ^ i >> 8 ^ i >> 16) as u8).collect();
        let name = format!("pack/{length}");
        store.create(&name, bytes.clone().into()).unwrap();
        cluster.forget_tokens();
        assert!(store.read(&name).unwrap() == bytes, "{length} bytes");
        let (from, to) = (length / 3, length - length / 4);
        assert!(store.read_range(&name, from as u64..to as u64).unwrap() == bytes[from..to], "{length} bytes");
    }
    let several: Vec<String> = (0..1203).map(|n| format!("index/{n:04}")).collect();
    create_each(&*store, &several);
    cluster.forget_tokens();
    let found: Vec<String> = names(&*store, "index").into_iter().map(|(name, _)| name).collect();
    assert_eq!(found, several);
    cluster.forget_tokens();
    store.delete_all(&several[..1201]).unwrap();
    assert_eq!(names(&*store, "index").len(), 2);
    assert_eq!(names(&*store, "").len(), 6);
    // One by one.
    store.delete(&several[1202]).unwrap();
    assert_eq!(store.delete(&several[1202]).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_does_not_fit_is_named_with_what_to_do_and_no_secret() {
    let Some(cluster) = Cluster::start() else { return };
    let away = format!(
        "http://127.0.0.1:{}/auth/v1.0",
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    );
    let wrong_path = cluster.auth().replace("/auth/", "/nothing/");
    let key = "not-the-password";
    for (store, kind, word, advice) in [
        (cluster.open("nobox"), Kind::NoRepository, "no such container", "make the container"),
        (cluster.open_as("box", &[("ST_KEY", key)]), Kind::Io, "401", "ST_KEY"),
        (cluster.open_as("box", &[("ST_USER", "test:other")]), Kind::Io, "401", "ST_USER"),
        (cluster.open_as("box", &[("ST_AUTH", &away)]), Kind::Io, "refused", "server up"),
        (cluster.open_as("box", &[("ST_AUTH", &wrong_path)]), Kind::Io, "answer", ""),
    ] {
        for e in [store.create("config", "x".into()).unwrap_err(), store.list("log", &mut |_, _| Ok(())).unwrap_err()] {
            assert_eq!(e.kind(), kind, "{e}");
            assert!(e.message().contains(word) && e.advice().unwrap_or_default().contains(advice), "{word}: {e}");
            assert!(!e.to_string().contains(key), "{e}");
        }
    }
}

/// Keystone before the same Swift: tickets for a password and for an application's credential, tickets that end, and what the catalog says.
#[test]
fn tickets_of_a_real_keystone_open_a_container() {
    let (dir, port, keystone) = (tempfile::tempdir().unwrap(), server::free_port(), server::free_port());
    let ports = [port.to_string(), keystone.to_string()];
    let args = [OsStr::new("swift"), dir.path().as_os_str(), OsStr::new(&ports[0]), OsStr::new(&ports[1])];
    let mut cluster = Cluster { child: server::serve(args).spawn().unwrap(), port, dir };
    let ready = cluster.dir.path().join("keystone/ready");
    if !server::answers(&mut cluster.child, "Keystone", Duration::from_millis(500), || ready.exists()) {
        return server::is_missing("Keystone", "ONEFOLD_SWIFT", " swift keystone");
    }
    let url = format!("http://127.0.0.1:{keystone}/v3");
    let open = |variables: &[(&str, &str)]| {
        let all = [&[("OS_AUTH_URL", url.as_str()), ("OS_REGION_NAME", "one")], variables].concat();
        let variables: Variables = all.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Swift::with(OsStr::new("swift://box/p"), &variables).unwrap()
    };
    let user = [("OS_USERNAME", "me"), ("OS_PASSWORD", "secret"), ("OS_PROJECT_NAME", "backups")];
    let log = |name: &str| Arc::new(Folder::new(RealDisk::new(cluster.dir.path().join("logs").join(name))));
    contract(&Retry::new(WithLog::new(Arc::new(open(&user)), log("a")).unwrap()));
    let store = open(&user);
    store.create("pack/a", "by password".into()).unwrap();
    let given = fs::read_to_string(cluster.dir.path().join("keystone/credential")).unwrap();
    let (id, secret) = given.trim().split_once('\n').unwrap();
    let of_id = [("OS_APPLICATION_CREDENTIAL_ID", id), ("OS_APPLICATION_CREDENTIAL_SECRET", secret)];
    let of_name = [
        ("OS_APPLICATION_CREDENTIAL_NAME", "nights"),
        ("OS_APPLICATION_CREDENTIAL_SECRET", secret),
        ("OS_USERNAME", "me"),
        ("OS_USER_DOMAIN_NAME", "Default"),
    ];
    for (credential, name) in [(&of_id[..], "pack/b"), (&of_name, "pack/c")] {
        let store = open(credential);
        assert_eq!(store.read("pack/a").unwrap(), b"by password");
        store.create(name, "by a credential".into()).unwrap();
    }
    // Tickets are good for ninety seconds.
    thread::sleep(Duration::from_secs(95));
    assert_eq!(store.read("pack/b").unwrap(), b"by a credential");
    assert_eq!(names(&store, "pack").len(), 3);
    let wrong = [user[0], ("OS_PASSWORD", "not-the-password"), user[2]];
    let other = [user[0], user[1], ("OS_PROJECT_NAME", "service")];
    let no_secret = [of_id[0], ("OS_APPLICATION_CREDENTIAL_SECRET", "not-the-secret")];
    let two = [&user[..], &[("OS_REGION_NAME", "two")]].concat();
    let three = [&user[..], &[("OS_REGION_NAME", "three")]].concat();
    let internal = [&user[..], &[("OS_INTERFACE", "internal")]].concat();
    for (variables, word, advice) in [
        (&wrong[..], "401", "OS_PASSWORD"),
        (&other, "401", "OS_PROJECT_NAME"),
        (&no_secret, "401", "let in"),
        (&two, "refused", "server up"),
        (&internal, "refused", "server up"),
        (&three, "no object store", "OS_REGION_NAME"),
    ] {
        let e = open(variables).read("pack/a").unwrap_err();
        assert!(e.message().contains(word) && e.advice().unwrap_or_default().contains(advice), "{word}: {e}");
        assert!(!e.to_string().contains("not-the"), "{e}");
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Everything a user does; and that Swift holds no log alone.
#[test]
fn a_repository_in_a_container_is_one_in_a_folder() {
    let Some(cluster) = Cluster::start() else { return };
    let user = User { dir: tempfile::tempdir().unwrap() };
    let [key, log] = ["key", "log"].map(|name| user.path(name).to_str().unwrap().to_owned());
    let captured = nodes(&three(&capture("cassandra-5.0")));
    let captured: Vec<&str> = captured.iter().map(String::as_str).collect();
    let run = |place: &str, log: Option<&str>, args: &[&str]| {
        let mut command = user.command();
        command.envs(cluster.variables()).env("ONEFOLD_REPOSITORY", place);
        if let Some(log) = log {
            command.env("ONEFOLD_LOG_STORE", log);
        }
        if args[0] == "init" {
            command.env_remove("ONEFOLD_KEY_FILE");
        }
        ran(command.args(args))
    };
    let place = "swift://box/prod";
    run(place, None, &["init", "--new-key-file", &key]).failed(1, &["more than one wins", "--log-store"]);
    fs::remove_file(&key).unwrap();
    assert!(names(&cluster.open("box/prod"), "").is_empty(), "nothing was made");
    run(place, Some(&log), &["init", "--new-key-file", &key]).fine();
    let backup = [&["backup", "cassandra", "--cluster", "prod"], &captured[..]].concat();
    run(place, None, &backup).failed(1, &["--log-store PLACE"]);
    run(place, Some(&log), &backup).fine();
    run(place, Some(&log), &backup).fine();
    let check = run(place, Some(&log), &["check", "--read-data"]).fine();
    assert!(check.contains("no damage found"), "{check}");
    let rows = run(place, Some(&log), &["restore", "latest", "--to", "json", "--table", "lab.users"]).fine();
    assert_eq!(sorted(lines(&rows)), sorted(expected(&capture("cassandra-5.0"), "users")));
    // The log store is lost, and filled from the container.
    fs::remove_dir_all(&log).unwrap();
    run(place, Some(&log), &["snapshots"]).failed(1, &["refill-log"]);
    run(place, Some(&log), &["refill-log"]).fine();
    run(place, Some(&log), &backup).fine();
    assert!(names(&cluster.open("box/prod"), "").iter().all(|(name, _)| name != "config" && !name.starts_with("log/")));
}
