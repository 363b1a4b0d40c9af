//! Buckets with rules of their own, and servers that go away: against a real one, see `s3.rs`.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use onefold::store::Store;

use crate::s3::{ID, SECRET, Server};
use crate::stores::names;
use crate::user::{Ran, User, capture, nodes, ran, three};

/// Seconds that a server is away; the long tests say more (`ONEFOLD_AWAY`).
fn away() -> Duration {
    Duration::from_secs(std::env::var("ONEFOLD_AWAY").map_or(3, |text| text.parse().unwrap()))
}

/// A user whose repository lies in a bucket.
struct InBucket {
    user: User,
    place: String,
    captured: Vec<String>,
}

impl InBucket {
    fn new(server: &Server, path: &str) -> InBucket {
        let user = User { dir: tempfile::tempdir().unwrap() };
        InBucket { user, place: server.place(path), captured: nodes(&three(&capture("cassandra-5.0"))) }
    }

    fn made(server: &Server, path: &str) -> InBucket {
        let of = InBucket::new(server, path);
        of.init((ID, SECRET)).fine();
        of
    }

    fn command(&self, (id, secret): (&str, &str), args: &[&str]) -> Command {
        let mut command = self.user.command();
        command.env("ONEFOLD_REPOSITORY", &self.place).args(args);
        command.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        ran(&mut self.command((ID, SECRET), args))
    }

    fn init(&self, keys: (&str, &str)) -> Ran {
        let key = self.user.path("key");
        let _ = std::fs::remove_file(&key);
        ran(self.command(keys, &["init", "--new-key-file", key.to_str().unwrap()]).env_remove("ONEFOLD_KEY_FILE"))
    }

    fn backup<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["backup", "cassandra", "--cluster", "prod"];
        args.extend(self.captured.iter().map(String::as_str).chain(more.iter().copied()));
        args
    }

    fn start(&self, args: &[&str]) -> Child {
        let mut command = self.command((ID, SECRET), args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// Kills the server while a command runs, lets it be away, and says what the command came to.
fn interrupted(server: &mut Server, mut child: Child, after: Duration) -> Ran {
    thread::sleep(after);
    server.kill();
    assert!(child.try_wait().unwrap().is_none(), "it was over before the server was");
    let until = Instant::now() + away();
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "it did not wait: {:?}", child.wait_with_output());
    }
    server.start_again();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Killed at several places of a backup and of a restore, and back after a while: the command goes on, and nothing is lost.
#[test]
fn a_server_that_is_killed_costs_time_and_nothing_else() {
    let Some(mut server) = Server::start() else { return };
    let of = InBucket::made(&server, "bucket/killed");
    let (slow, longer) = (["--limit-requests", "6", "--retry-for", "20"], Duration::from_millis(900));
    let ran = interrupted(&mut server, of.start(&of.backup(&slow)), longer);
    assert!(ran.out.contains("snapshot"), "{ran:?}");
    ran.fine();
    let rows = |args: &[&str]| of.run(&[&["restore", "latest", "--to", "json", "--table", "lab.users"], args].concat());
    let expected = rows(&[]).fine();
    assert!(!expected.is_empty());
    let slow = ["--limit-requests", "2", "--retry-for", "20", "--no-cache"];
    let args = [&["restore", "latest", "--to", "json", "--table", "lab.users"], &slow[..]].concat();
    assert_eq!(interrupted(&mut server, of.start(&args), longer).fine(), expected);
    let checked = interrupted(&mut server, of.start(&[&["check", "--read-data"], &slow[..]].concat()), longer).fine();
    assert!(checked.contains("no damage found"), "{checked}");
}

/// Asks the server for what onefold never does.
fn ask(server: &Server, args: &[&str]) -> Ran {
    let (user, args) = if args[0] == "-u" { args.split_at(2) } else { args.split_at(0) };
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tools/stores/ask"));
    ran(command.args(user).arg(args[0]).arg(server.port.to_string()).args(&args[1..]))
}

const VERSIONS: &str = r#"<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>"#;
const RETENTION: &str = r#"<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"#;

/// The id of the newest version of an object, or of the marker that hides it: what is listed as `of`.
fn newest(server: &Server, bucket: &str, name: &str, of: &str) -> String {
    let all = ask(server, &["GET", &format!("/{bucket}?versions=")]).fine();
    let key = format!("<Key>{name}</Key>");
    let found = all.split(&format!("<{of}>")).skip(1).find(|v| v.contains(&key)).unwrap_or_else(|| panic!("{all}"));
    found.split("<VersionId>").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

/// Makes a bucket that keeps versions, and one whose objects nobody can remove before a day is over.
fn keeping(server: &Server) -> [&'static str; 2] {
    ask(server, &["PUT", "/versions"]).fine();
    ask(server, &["PUT", "/versions?versioning=", VERSIONS]).fine();
    ask(server, &["PUT", "/locked", "", "x-amz-bucket-object-lock-enabled: true"]).fine();
    ask(server, &["PUT", "/locked?object-lock=", RETENTION]).fine();
    ["versions", "locked"]
}

/// In a bucket that keeps versions, and in one whose objects nobody can remove before a day is over, all works as in others. What
/// was deleted is still there, as a version, and comes back with the marker's removal.
#[test]
fn buckets_with_versions_and_with_retention_are_buckets() {
    let Some(server) = Server::start().filter(|_| std::env::var("ONEFOLD_S3").as_deref() != Ok("minio")) else {
        return;
    };
    for bucket in keeping(&server) {
        let of = InBucket::made(&server, &format!("{bucket}/prod"));
        of.run(&of.backup(&[])).fine();
        let read_key = of.user.path("read-key").to_str().unwrap().to_owned();
        of.run(&["key", "add", "--role", "read", "--new-key-file", &read_key]).fine();
        let listed = of.run(&["key", "list"]).fine();
        let id = listed.lines().find(|line| line.contains("  read  ")).unwrap().split_whitespace().nth(1).unwrap();
        of.run(&["key", "remove", id]).fine();
        assert!(!of.run(&["key", "list"]).fine().contains(id));
        of.run(&of.backup(&[])).fine();
        let checked = of.run(&["check", "--read-data"]).fine();
        assert!(checked.contains("no damage found"), "{checked}");
        // Somebody deletes both configurations and a pack.
        let store = server.open(&format!("{bucket}/prod"));
        let pack = names(&store, "pack").remove(0).0;
        let gone = [pack.as_str(), "config", "copy/config"];
        store.delete_all(&gone.map(str::to_owned)).unwrap();
        for name in gone {
            assert_eq!(store.read(name).unwrap_err().kind(), onefold::Kind::NotFound);
        }
        assert!(names(&store, "pack").iter().all(|(name, _)| *name != pack));
        let checked = of.run(&["check", "--no-cache"]);
        assert!(checked.code == Some(5) && checked.out.contains("config: is missing"), "{checked:?}");
        for name in gone {
            let path = |of| {
                format!("/{bucket}/prod/{name}?versionId={}", newest(&server, bucket, &format!("prod/{name}"), of))
            };
            if bucket == "locked" {
                ask(&server, &["DELETE", &path("Version")]).failed(22, &["403"]);
            }
            ask(&server, &["DELETE", &path("DeleteMarker")]).fine();
        }
        let checked = of.run(&["check", "--read-data", "--no-cache"]).fine();
        assert!(checked.contains("no damage found"), "{checked}");
    }
}

/// A statement of the policies in docs/stores.md, for one user.
fn statements(user: &str, actions: &str) -> String {
    format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":["{user}"]}},"Action":[{actions}],"Resource":"arn:aws:s3:::shared/prod/*"}},
        {{"Effect":"Allow","Principal":{{"AWS":["{user}"]}},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::shared",
        "Condition":{{"StringLike":{{"s3:prefix":["prod","prod/*"]}}}}}}"#
    )
}

/// The least that each kind of work needs is enough, and what it does not need is refused by name, at once.
#[test]
fn policies_are_enough_and_no_more() {
    let Some(server) = Server::start().filter(|_| std::env::var("ONEFOLD_S3").as_deref() != Ok("minio")) else {
        return;
    };
    ask(&server, &["PUT", "/shared"]).fine();
    let users = ["reader", "writer", "admin"];
    for user in users {
        let account =
            format!("<Account><Access>{user}</Access><Secret>secret-of-{user}</Secret><Role>user</Role></Account>");
        ask(&server, &["PATCH", "/create-user", &account]).fine();
    }
    let actions =
        [r#""s3:GetObject""#, r#""s3:GetObject","s3:PutObject""#, r#""s3:GetObject","s3:PutObject","s3:DeleteObject""#];
    let all: Vec<String> = users.iter().zip(actions).map(|(user, actions)| statements(user, actions)).collect();
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, all.join(","));
    ask(&server, &["PUT", "/shared?policy=", &policy]).fine();

    let of = InBucket::new(&server, "shared/prod");
    let [reader, writer, admin] = users.map(|user| (user, format!("secret-of-{user}")));
    let by = |user: &(&str, String), args: &[&str]| ran(&mut of.command((user.0, &user.1), args));
    let begun = Instant::now();
    of.init((writer.0, &writer.1)).failed(1, &["s3:DeleteObject"]);
    assert!(begun.elapsed() < Duration::from_secs(60), "what is refused is not waited for");
    of.init((admin.0, &admin.1)).fine();
    by(&writer, &of.backup(&[])).fine();
    by(&writer, &of.backup(&[])).fine();
    for args in [
        &["ls"][..],
        &["drift"],
        &["show", "latest"],
        &["check", "--read-data"],
        &["restore", "latest", "--to", "json", "--table", "lab.users"],
    ] {
        by(&reader, args).fine();
    }
    by(&reader, &of.backup(&[])).failed(1, &["s3:PutObject", "shared"]);
    // Outside its prefix nobody sees anything.
    ask(&server, &["-u", "reader:secret-of-reader", "GET", "/shared?list-type=2&prefix=other%2F"]).failed(22, &["403"]);
    let other = InBucket::new(&server, "shared/other");
    other.init((admin.0, &admin.1)).failed(1, &["shared"]);
    assert!(names(&server.open("shared"), "").iter().all(|(name, _)| name.starts_with("prod/")));
}

/// Now, by the machine that the server runs on, once the second is over: versions are dated in seconds.
fn between_seconds() -> String {
    thread::sleep(Duration::from_millis(1100));
    let now = jiff::Timestamp::now();
    thread::sleep(Duration::from_millis(1100));
    now.to_string()
}

/// A server that dates versions: versitygw 1.8 gives a version the time of its removal.
fn dating() -> Option<Server> {
    Server::start().filter(|_| std::env::var("ONEFOLD_S3").as_deref() == Ok("minio"))
}

/// Somebody deletes everything, and writes something else in its place. As of the time before, all is there, and nothing is
/// written; in a bucket with retention, too.
#[test]
fn what_a_hostile_delete_left_is_read_as_of_a_time() {
    let Some(server) = dating() else { return };
    for bucket in keeping(&server) {
        let of = InBucket::made(&server, &format!("{bucket}/prod"));
        of.run(&of.backup(&[])).fine();
        let rows = ["restore", "latest", "--to", "json", "--table", "lab.users"];
        let expected = of.run(&rows).fine();
        let listed = of.run(&["snapshots"]).fine();
        let time = between_seconds();
        let store = server.open(&format!("{bucket}/prod"));
        let there: Vec<String> = names(&store, "").into_iter().map(|(name, _)| name).collect();
        store.delete_all(&there).unwrap();
        ask(&server, &["PUT", &format!("/{bucket}/prod/config"), "something else"]).fine();
        assert_ne!(of.run(&["snapshots", "--no-cache"]).code, Some(0));
        let as_of = |args: &[&str]| of.run(&[args, &["--as-of", &time]].concat());
        assert_eq!(as_of(&["snapshots"]).fine(), listed);
        assert_eq!(as_of(&rows).fine(), expected);
        let checked = as_of(&["check", "--read-data"]).fine();
        assert!(checked.contains("no damage found"), "{checked}");
        as_of(&of.backup(&[])).failed(1, &["not written to", "--as-of"]);
        assert_eq!(names(&store, "").len(), 1, "nothing was written");
    }
}

/// What stands is what there was, if nothing went since; before there was anything there was no repository.
#[test]
fn a_bucket_is_read_as_of_a_time_and_not_written_to() {
    let Some(server) = Server::start() else { return };
    let before_all = between_seconds();
    let of = InBucket::made(&server, "bucket/plain");
    of.run(&of.backup(&[])).fine();
    let (time, there) = (between_seconds(), names(&server.open("bucket/plain"), ""));
    let rows = ["restore", "latest", "--to", "json", "--table", "lab.users"];
    assert_eq!(of.run(&[&rows[..], &["--as-of", &time]].concat()).fine(), of.run(&rows).fine());
    of.run(&[&of.backup(&[])[..], &["--as-of", &time]].concat()).failed(1, &["not written to", "--as-of"]);
    assert_eq!(names(&server.open("bucket/plain"), ""), there);
    of.run(&["snapshots", "--as-of", &before_all]).failed(10, &["no repository"]);
    let folder = of.user.path("folder");
    let log = ["--log-store", folder.to_str().unwrap()];
    of.run(&[&["snapshots", "--as-of", &time], &log[..]].concat()).failed(1, &["log store", "--as-of"]);
    of.run(&["snapshots", "--as-of", &time, "-r", folder.to_str().unwrap()]).failed(1, &["keep versions"]);
}

/// Listings of versions of several pages.
#[test]
fn a_thousand_versions_are_listed_page_by_page() {
    let Some(server) = dating() else { return };
    ask(&server, &["PUT", "/versions"]).fine();
    ask(&server, &["PUT", "/versions?versioning=", VERSIONS]).fine();
    let store = server.open("versions/many");
    let all: Vec<String> = (0..1234).map(|n| format!("index/{n:04}")).collect();
    all.iter().for_each(|name| store.create(name, name.clone().into()).unwrap());
    let time = between_seconds();
    store.delete_all(&all).unwrap();
    assert!(names(&store, "").is_empty());
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let variables = keys.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let place = server.place("versions/many");
    let then = onefold::store::s3::S3::as_of(place.as_ref(), &variables, time.parse().unwrap()).unwrap();
    let found: Vec<String> = names(&then, "index").into_iter().map(|(name, _)| name).collect();
    assert!(found == all, "{} versions", found.len());
    assert!(names(&then, "inde").is_empty());
    for name in [&all[0], &all[1233]] {
        assert_eq!(then.read(name).unwrap(), name.as_bytes());
        assert_eq!(then.read_range(name, 6..8).unwrap(), &name.as_bytes()[6..8]);
    }
    assert_eq!(then.read_range(&all[7], 3..11).unwrap_err().kind(), onefold::Kind::Damaged);
    assert_eq!(then.read("index/x").unwrap_err().kind(), onefold::Kind::NotFound);
    for refused in [then.create("a", "x".into()), then.delete(&all[0])] {
        assert_eq!(refused.unwrap_err().kind(), onefold::Kind::Unsupported);
    }
}

/// A listing that is longer than what is remembered is read page by page, and objects are looked up one by one: the same is there.
#[test]
fn a_listing_of_versions_need_not_fit_into_memory() {
    let Some(server) = Server::start() else { return };
    let store = server.open("bucket/many");
    let mut all: Vec<String> = (0..1234).map(|n| format!("index/{n}")).collect();
    all.sort();
    thread::scope(|scope| {
        for part in all.chunks(100) {
            let store = &store;
            scope.spawn(move || part.iter().for_each(|name| store.create(name, name.clone().into()).unwrap()));
        }
    });
    let time = between_seconds();
    let keys = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let variables = keys.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let place = server.place("bucket/many");
    for keeps in [1, 100, 1 << 17] {
        let then = onefold::store::s3::S3::as_of(place.as_ref(), &variables, time.parse().unwrap()).unwrap();
        let then = then.keeping(keeps);
        let shown = |found: Vec<(String, u64)>| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(shown(names(&then, "index")) == all && shown(names(&then, "")) == all, "{keeps}");
        assert!(names(&then, "inde").is_empty() && names(&then, "index/7").is_empty(), "{keeps}");
        let mut after = Vec::new();
        let mut see = |name: &str, _| {
            after.push(name.to_owned());
            Ok(())
        };
        then.list_after("index", &all[1000], &mut see).unwrap();
        after.sort();
        assert!(after == all[1001..], "{keeps}");
        // Twice, so that some are remembered; each but the last begins the names of others.
        for name in [&all[0], &all[7], &all[1233], &all[7], &all[0]] {
            assert_eq!(then.read(name).unwrap(), name.as_bytes(), "{keeps}");
            assert_eq!(then.read_range(name, 2..5).unwrap(), b"dex", "{keeps}");
        }
        for none in ["index", "index/", "index/12345", "inde", "x"] {
            assert_eq!(then.read(none).unwrap_err().kind(), onefold::Kind::NotFound, "{none} {keeps}");
        }
    }
}

/// Where nothing may be deleted, taking away fails by name and harms nothing: what was forgotten is off the list, and the rest is whole.
#[test]
fn deletes_that_are_refused_are_named_and_do_no_harm() {
    let Some(server) = Server::start().filter(|_| std::env::var("ONEFOLD_S3").as_deref() != Ok("minio")) else {
        return;
    };
    ask(&server, &["PUT", "/kept"]).fine();
    let account = "<Account><Access>keeper</Access><Secret>secret-of-keeper</Secret><Role>user</Role></Account>";
    ask(&server, &["PATCH", "/create-user", account]).fine();
    let of = InBucket::made(&server, "kept/prod");
    let actions = r#""s3:GetObject","s3:PutObject""#;
    let statements = statements("keeper", actions).replace("shared", "kept");
    ask(&server, &["PUT", "/kept?policy=", &format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)])
        .fine();
    let run = |args: &[&str]| ran(&mut of.command(("keeper", "secret-of-keeper"), args));
    for _ in 0..2 {
        run(&of.backup(&[])).fine();
    }
    let of_first = run(&["snapshots", "--json"]).objects();
    let first = of_first.iter().find_map(|object| object["id"].as_str()).unwrap();
    run(&["forget", first]).fine();
    let held = names(&server.open("kept/prod"), "pack");
    let mut named = false;
    for _ in 0..3 {
        let pruned = run(&["prune", "--grace", "0s", "--max-unused", "0"]);
        if pruned.code != Some(0) {
            pruned.failed(1, &["s3:DeleteObject"]);
            named = true;
        }
    }
    assert!(named, "a prune had nothing to delete");
    let checked = run(&["check", "--read-data"]).fine();
    assert!(checked.contains("no damage found"), "{checked}");
    let rows = ["restore", "latest", "--to", "json", "--table", "lab.users"];
    assert!(!run(&rows).fine().is_empty());
    run(&of.backup(&[])).fine();
    assert!(held.iter().all(|pack| names(&server.open("kept/prod"), "pack").contains(pack)), "nothing is gone");
    // Who may goes on with it.
    of.run(&["prune", "--grace", "0s"]).fine();
    let checked = of.run(&["check", "--read-data"]).fine();
    assert!(checked.contains("no damage found"), "{checked}");
}
