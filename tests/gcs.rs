//! The store in a bucket of Google. Its XML API is imitated over a real S3 server (`tools/stores/google`): no server that is to be had
//! knows preconditions there.

use std::ffi::OsStr;
use std::fs;
use std::process::Child;
use std::time::Duration;

use onefold::Kind;
use onefold::store::Store;
use onefold::store::gcs::Gcs;
use onefold::store::retry::Retry;
use tempfile::TempDir;

use crate::s3::a_user_sees_a_folder;
use crate::server;
use crate::stores::{contract_wrapped, create_each, names};

const TOKEN: (&str, &str) = ("GOOGLE_BEARER_TOKEN", "onefold-test-token");

/// A server with one bucket.
struct Server {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server below ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(place: &str, token: (&str, &str)) -> Gcs {
    Gcs::with(OsStr::new(place), &[(token.0.into(), token.1.into())].into()).unwrap()
}

impl Server {
    /// `None`, and says so, where there is no S3 server.
    fn start() -> Option<Server> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bucket")).unwrap();
        let port = server::free_port();
        let child =
            server::serve([OsStr::new("google"), dir.path().as_os_str(), OsStr::new(&port.to_string())]).spawn();
        let mut server = Server { child: child.unwrap(), port, _dir: dir };
        let store = server.open("bucket");
        let lists = || store.list("", &mut |_, _| Ok(())).is_ok();
        if server::answers(&mut server.child, "the server", Duration::from_millis(100), lists) {
            return Some(server);
        }
        server::is_missing("an S3 server", "ONEFOLD_S3", "");
        None
    }

    fn place(&self, path: &str) -> String {
        format!("gs://{path}?endpoint=http://127.0.0.1:{}", self.port)
    }

    fn open(&self, path: &str) -> Gcs {
        open(&self.place(path), TOKEN)
    }
}

#[test]
fn a_bucket_of_google_keeps_the_contract() {
    let Some(server) = Server::start() else { return };
    contract_wrapped("bucket", |path| server.open(path));
}

#[test]
fn a_listing_has_all_its_pages_and_many_are_removed() {
    let Some(server) = Server::start() else { return };
    let store = server.open("bucket/many");
    let all: Vec<String> = (0..2_100).map(|i| format!("packs/{:02x}/{i:06}", i % 7)).collect();
    create_each(&store, &all);
    let mut expected: Vec<_> = all.iter().map(|name| (name.clone(), name.len() as u64)).collect();
    expected.sort();
    assert_eq!(names(&store, "packs"), expected);
    assert_eq!(names(&store, "packs/03").len(), 300);
    // One that is missing among them is fine.
    store.delete_all(&[&all[..900], &["packs/none".to_string()], &all[900..]].concat()).unwrap();
    assert!(names(&store, "").is_empty());
}

#[test]
fn what_does_not_fit_is_named_and_no_secret_is_shown() {
    let Some(server) = Server::start() else { return };
    let other = ("GOOGLE_BEARER_TOKEN", "not-that-token");
    let tls = server.place("bucket/x").replace("http://", "https://");
    for (place, token, kind, word) in [
        (server.place("no-such-bucket/x"), TOKEN, Kind::NoRepository, "no-such-bucket"),
        (server.place("bucket/x"), other, Kind::Io, "GOOGLE_APPLICATION_CREDENTIALS"),
        (tls, TOKEN, Kind::Io, "http:// in place of https://"),
        ("gs://bucket/x?endpoint=http://127.0.0.1:9".to_string(), TOKEN, Kind::Io, "is the endpoint right"),
    ] {
        let store = Retry::new(open(&place, token));
        let mut errors = vec![store.read("config").unwrap_err(), store.create("config", "x".into()).unwrap_err()];
        errors.push(store.list("log", &mut |_, _| Ok(())).unwrap_err());
        for error in errors {
            let said = format!("{error} {error:?}");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(said.contains(word) && said.contains("gs://"), "{word}: {error}");
            assert!(!said.contains(TOKEN.1) && !said.contains(other.1), "{error}");
        }
    }
}

/// Everything a user does, in a bucket as in a folder.
#[test]
fn a_repository_in_a_bucket_of_google_is_one_in_a_folder() {
    let Some(server) = Server::start() else { return };
    a_user_sees_a_folder(&server.place("bucket/cluster/prod"), &[TOKEN]);
    let found = names(&server.open("bucket/cluster/prod"), "");
    assert!(found.iter().any(|(name, _)| name == "config") && found.iter().any(|(name, _)| name.starts_with("pack/")));
    assert!(names(&server.open("bucket"), "").iter().all(|(name, _)| name.starts_with("cluster/prod/")));
}
