//! The store in a container of Azure, against Azurite, which `tools/stores/serve` starts.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use onefold::Kind;
use onefold::store::Store;
use onefold::store::azure::Azure;
use onefold::store::retry::Retry;
use tempfile::TempDir;

use crate::s3::a_user_sees_a_folder;
use crate::server;
use crate::stores::{contract_wrapped, create_each, names};

/// Every Azurite has it.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const NAMED: &[(&str, &str)] = &[("AZURE_STORAGE_ACCOUNT", ACCOUNT), ("AZURE_STORAGE_KEY", KEY)];

/// A server with one container.
struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Path, port: u16) -> Child {
    server::serve([OsStr::new("azurite"), dir.as_os_str(), OsStr::new(&port.to_string())]).spawn().unwrap()
}

fn open(place: &str, variables: &[(&str, &str)]) -> Azure {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Azure::with(OsStr::new(place), &variables).unwrap()
}

impl Server {
    /// `None`, and says so, where it is not installed.
    fn start() -> Option<Server> {
        let dir = tempfile::tempdir().unwrap();
        let port = server::free_port();
        let mut server = Server { child: serve(dir.path(), port), port, dir };
        let store = server.open("bucket");
        let lists = || store.list("", &mut |_, _| Ok(())).is_ok();
        if server::answers(&mut server.child, "Azurite", Duration::from_millis(100), lists) {
            return Some(server);
        }
        server::is_missing("Azurite", "ONEFOLD_AZURE", " azurite");
        None
    }

    fn place(&self, path: &str) -> String {
        format!("az://{path}?endpoint=http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    fn open(&self, path: &str) -> Azure {
        open(&self.place(path), NAMED)
    }
}

#[test]
fn a_container_keeps_the_contract() {
    let Some(server) = Server::start() else { return };
    contract_wrapped("bucket", |path| server.open(path));
}

/// A page has 5,000.
#[test]
fn a_listing_has_all_its_pages_and_many_are_removed() {
    let Some(server) = Server::start() else { return };
    let store = Retry::new(server.open("bucket/many"));
    let all: Vec<String> = (0..5_100).map(|i| format!("packs/{:02x}/{i:06}", i % 7)).collect();
    create_each(&store, &all);
    let mut expected: Vec<_> = all.iter().map(|name| (name.clone(), name.len() as u64)).collect();
    expected.sort();
    assert_eq!(names(&store, "packs"), expected);
    let mut after = Vec::new();
    let last = &expected[5_000].0;
    let mut see = |name: &str, _| {
        after.push(name.to_string());
        Ok(())
    };
    store.list_after("packs", last, &mut see).unwrap();
    after.sort();
    assert_eq!(after, expected[5_001..].iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    // One that is missing among them is fine.
    store.delete_all(&[&all[..200], &["packs/none".to_string()], &all[200..300]].concat()).unwrap();
    assert_eq!(names(&store, "").len(), all.len() - 300);
}

/// A server that goes away and comes back costs time, and nothing else.
#[test]
fn a_server_that_comes_back_is_waited_for() {
    let Some(mut server) = Server::start() else { return };
    let store = Retry::new(server.open("bucket/p"));
    store.create("a", "before".into()).unwrap();
    // Gently: it writes down what it has some time later.
    assert!(Command::new("kill").arg(server.child.id().to_string()).status().unwrap().success());
    server.child.wait().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| (store.create("b", "after".into()), store.read("a")));
        thread::sleep(Duration::from_secs(1));
        assert!(!waiting.is_finished());
        server.child = serve(server.dir.path(), server.port);
        let (created, read) = waiting.join().unwrap();
        created.unwrap();
        assert_eq!(read.unwrap(), b"before");
    });
    assert_eq!(store.read("b").unwrap(), b"after");
}

#[test]
fn what_does_not_fit_is_named_and_no_secret_is_shown() {
    let Some(server) = Server::start() else { return };
    let other = "bm90LXRoYXQta2V5LW5vdC10aGF0LWtleQ==";
    let wrong = [("AZURE_STORAGE_ACCOUNT", ACCOUNT), ("AZURE_STORAGE_KEY", other)];
    let signed = "sv=2021-08-06&sp=rwdl&sig=bm90LXNpZ25lZA%3D%3D";
    let sas = [("AZURE_STORAGE_ACCOUNT", ACCOUNT), ("AZURE_STORAGE_SAS_TOKEN", signed)];
    let nobody = [("AZURE_STORAGE_ACCOUNT", ACCOUNT), ("AZURE_MSI_ENDPOINT", "http://127.0.0.1:9/token")];
    let tls = server.place("bucket/x").replace("http://", "https://");
    let away = format!("az://bucket/x?account={ACCOUNT}&endpoint=http://127.0.0.1:9/me");
    for (place, variables, kind, word) in [
        (server.place("no-such-box/x"), NAMED, Kind::NoRepository, "no-such-box"),
        (server.place("bucket/x"), &wrong, Kind::Io, "AZURE_STORAGE_KEY"),
        (server.place("bucket/x"), &sas, Kind::Io, "AZURE_STORAGE_SAS_TOKEN"),
        (server.place("bucket/x"), &nobody, Kind::Io, "no credentials"),
        (tls, NAMED, Kind::Io, "http:// in place of https://"),
        (away.clone(), NAMED, Kind::Io, "is the endpoint right"),
        (away, &sas, Kind::Io, "is the endpoint right"),
    ] {
        let store = Retry::new(open(&place, variables));
        let mut errors = vec![store.read("config").unwrap_err(), store.create("config", "x".into()).unwrap_err()];
        errors.push(store.list("log", &mut |_, _| Ok(())).unwrap_err());
        for error in errors {
            let said = format!("{error} {error:?}");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(said.contains(word) && said.contains("az://"), "{word}: {error}");
            assert!(!said.contains(&KEY[..20]) && !said.contains(&other[..20]), "{error}");
            assert!(!said.contains("bm90LXNpZ25lZA"), "{error}");
        }
    }
}

/// Everything a user does, in a container as in a folder.
#[test]
fn a_repository_in_a_container_is_one_in_a_folder() {
    let Some(server) = Server::start() else { return };
    // The account is part of the name.
    let place = server.place("bucket/cluster/prod").replace('?', &format!("?account={ACCOUNT}&"));
    a_user_sees_a_folder(&place, NAMED);
    let found = names(&server.open("bucket/cluster/prod"), "");
    assert!(found.iter().any(|(name, _)| name == "config") && found.iter().any(|(name, _)| name.starts_with("pack/")));
    assert!(names(&server.open("bucket"), "").iter().all(|(name, _)| name.starts_with("cluster/prod/")));
}
