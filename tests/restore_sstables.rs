//! SSTables for another ring: every node's folder read back equals the reconciled view in its ranges; what a user sees,
//! does wrong, interrupts and repeats.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use onefold::engine::cassandra::Cassandra;
use onefold::engine::cassandra::placing::TargetRing;
use onefold::engine::cassandra::placing::parts::token;
use onefold::engine::cassandra::ring::TokenRange;
use onefold::engine::cassandra::rule::CassandraRule;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::{Component, Descriptor, SsTable};
use onefold::merge::Merge;
use onefold::repo::Repo;
use onefold::run::{RecordBatch, Run};
use onefold::snapshot::Snapshot;
use onefold::view::View;
use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use repo_format::record::{BodyWriter, Entries};
use serde_json::{Value, json};

use crate::user::{Ran, User, capture, copy, files_below, spoil_data, three};

/// Key and body of records.
type Plain = Vec<(Vec<u8>, Vec<u8>)>;

fn all(run: &mut dyn Run) -> Plain {
    let (mut batch, mut plain) = (RecordBatch::new(), Plain::new());
    while run.next_batch(&mut batch).unwrap() {
        plain.extend(batch.iter().map(|r| (r.key.to_vec(), r.body.to_vec())));
    }
    plain
}

/// What is left of a record without the cells of dropped columns, which no file needs.
fn without_dropped(table: &Table, (key, body): (Vec<u8>, Vec<u8>)) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut left = Vec::new();
    let mut writer = BodyWriter::new(&mut left);
    for entry in Entries::new(&body) {
        let entry = entry.unwrap();
        let column = table.columns.iter().find(|c| c.number == entry.column && c.number > 0);
        if !column.is_some_and(|c| c.gone || c.dropped_at.is_some_and(|at| entry.time <= at)) {
            writer.push(&entry);
        }
    }
    (!left.is_empty() || body.is_empty()).then_some((key, left))
}

/// What a node reads that has these files and nothing else.
fn read_back(folder: &Path, table: &Table) -> Plain {
    let mut runs: Vec<Box<dyn Run>> = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        let (descriptor, component) = Descriptor::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
        if component == Component::Data {
            runs.push(Box::new(SsTable::open(&folder.into(), &descriptor, table).unwrap().run(1 << 16).unwrap()));
        }
    }
    all(&mut Merge::of(runs, &CassandraRule::of(table)))
}

struct Cluster {
    user: User,
    snapshot: Snapshot,
    repo: Repo,
}

impl Cluster {
    fn of(version: &str) -> Cluster {
        let user = User::new();
        user.backup(&three(&capture(version)), &[]).fine();
        let key = KeyFile::from_text(&fs::read_to_string(user.path("key")).unwrap()).unwrap();
        let place = onefold::store::open(user.path("repo").to_str().unwrap()).unwrap();
        let repo = Repo::open(Arc::clone(&place), Unlock::KeyFile(&key), None).unwrap();
        let info = repo.find_snapshot("latest").unwrap();
        let snapshot = Snapshot::decode(&repo.snapshot(&info.id).unwrap().says).unwrap();
        Cluster { user, snapshot, repo }
    }

    /// The reconciled view of a table.
    fn view(&self, name: &str, condition: Option<&str>) -> (Table, Plain) {
        let shard = self.snapshot.shard(name).unwrap();
        let table = Table::read(&shard.description, name).unwrap();
        let reader = self.repo.reader().unwrap();
        let view = View::open(&Cassandra, &self.snapshot, shard, &reader).unwrap();
        let selection = condition.map(|text| view.select(text).unwrap());
        let mut run = view.records(selection.as_deref()).unwrap();
        let plain = all(&mut *run).into_iter().filter_map(|r| without_dropped(&table, r)).collect();
        (table, plain)
    }

    fn tables(&self) -> Vec<String> {
        self.snapshot.shards.iter().map(|s| s.name.clone()).filter(|n| n.starts_with("lab.")).collect()
    }

    /// Every folder against the view in the ranges of its node.
    fn check(&self, out: &Path, ring: &TargetRing, replication: &BTreeMap<String, String>) {
        let placed: Vec<(TokenRange, Vec<usize>)> = ring.place("lab", replication).unwrap();
        let mut records = 0;
        for name in self.tables() {
            let (table, view) = self.view(&name, None);
            for (place, member) in ring.members().iter().enumerate() {
                let holds = |key: &[u8]| {
                    let token = token(key).unwrap();
                    placed.iter().any(|(range, nodes)| range.contains(token) && nodes.contains(&place))
                };
                let mine: Plain = view.iter().filter(|(key, _)| holds(key)).cloned().collect();
                let read = read_back(&out.join(&member.address).join("lab").join(&table.name), &table);
                assert!(read == mine, "{name} on {}: {} records, not {}", member.address, read.len(), mine.len());
                records += read.len();
            }
        }
        assert!(records > 1000);
    }
}

/// `count` nodes in two racks of every data center, `each` tokens a node.
pub fn ring(user: &User, count: usize, centers: usize, each: usize) -> (PathBuf, TargetRing) {
    let member = |n: usize| {
        let token = |i: usize| {
            let hash = blake3::hash(format!("{n} {i}").as_bytes());
            i64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap())
        };
        json!({
            "address": format!("10.0.0.{n}"), "data_center": format!("dc{}", n % centers + 1),
            "rack": format!("r{}", n / centers % 2), "tokens": (0..each).map(token).collect::<Vec<_>>(),
        })
    };
    let text = json!({ "members": (0..count).map(member).collect::<Vec<_>>() }).to_string();
    let path = user.path(&format!("ring-{count}-{centers}.json"));
    fs::write(&path, &text).unwrap();
    (path, TargetRing::parse(&text, "ring").unwrap())
}

fn options(pairs: &[(&str, &str)]) -> (String, BTreeMap<String, String>) {
    let text: Vec<String> = pairs.iter().map(|(k, v)| format!("'{k}': '{v}'")).collect();
    (format!("{{{}}}", text.join(", ")), pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
}

#[test]
fn every_node_of_any_ring_reads_exactly_its_own() {
    let three = [("class", "NetworkTopologyStrategy"), ("dc1", "3")];
    let both = [("class", "NetworkTopologyStrategy"), ("dc1", "2"), ("dc2", "1")];
    let simple = [("class", "SimpleStrategy"), ("replication_factor", "2")];
    for version in ["cassandra-4.1", "cassandra-5.0"] {
        let cluster = Cluster::of(version);
        let cases = [(1, 1, &three[..]), (2, 1, &simple), (5, 1, &three), (5, 2, &both)];
        for (count, centers, replication) in cases {
            let (path, ring) = ring(&cluster.user, count, centers, 4);
            let (text, replication) = options(replication);
            let out = cluster.user.path(&format!("out-{count}-{centers}"));
            let args = ["restore", "--to", "sstables", "--ring", path.to_str().unwrap(), "--replication", &text];
            let ran = cluster.user.run(&[&args[..], &["--out", out.to_str().unwrap()]].concat());
            assert_eq!(ran.err.contains("dc1 has 1 nodes for 3 replicas"), count == 1, "{}", ran.err);
            let said = ran.fine();
            assert!(said.contains("nodetool import") && said.contains("schema-2.cql"), "{said}");
            cluster.check(&out, &ring, &replication);
            // Nothing is there but what was said.
            let names: Vec<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names.len(), count + 3, "{names:?}");
            fs::remove_dir_all(&out).unwrap();
        }
    }
}

#[test]
fn each_row_once_and_the_newer_version() {
    let cluster = Cluster::of("cassandra-5.0");
    let out = cluster.user.path("once");
    let args = ["restore", "--to", "sstables", "--layout", "once", "--sstable-version", "oa", "--out"];
    cluster.user.run(&[&args[..], &[out.to_str().unwrap()]].concat()).fine();
    for name in cluster.tables() {
        let (table, view) = cluster.view(&name, None);
        let folder = out.join("once/lab").join(&table.name);
        assert!(read_back(&folder, &table) == view, "{name}");
        assert!(files_below(&folder).iter().all(|f| f.file_name().unwrap().to_str().unwrap().starts_with("oa-")));
    }
}

/// A user with a backup of some tables.
fn user_with(tables: &[&str]) -> User {
    let user = User::new();
    let keep = |t: &str| t.starts_with("system") || tables.contains(&t);
    let mut dirs = Vec::new();
    for n in 1..=3 {
        let dir = user.path(&format!("node{n}"));
        copy(&capture("cassandra-5.0").join(format!("node{n}")), &dir, &keep);
        dirs.push(dir);
    }
    user.backup(&dirs, &[]).fine();
    user
}

/// How many tables a restore of everything restores: those without captured files, too.
fn count(user: &User) -> usize {
    let shards = user.show()["shards"].as_array().unwrap().clone();
    shards.iter().filter(|s| s["name"].as_str().unwrap().starts_with("lab.")).count()
}

const SOME: [&str; 3] = ["lab/users", "lab/orders", "lab/counters"];

/// Every file of a restore, with what it holds; numbered from 0, as two restores draw other numbers.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let document = fs::read(folder.join("restore.json")).unwrap_or_default();
    let mut document: Value = serde_json::from_slice(&document).unwrap_or_default();
    let first = document["first"].take().as_u64().unwrap_or(0);
    let plain = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        match name.rsplit_once("/nb-") {
            _ if name == "restore.json" => (name.into(), document.to_string().into_bytes()),
            Some((folder, rest)) => {
                let (number, rest) = rest.split_once('-').unwrap();
                (format!("{folder}/nb-{}-{rest}", number.parse::<u64>().unwrap() - first).into(), bytes)
            }
            None => (name.into(), bytes),
        }
    };
    files_below(folder).into_iter().map(plain).collect()
}

fn to_out(user: &User, ring: &Path, out: &Path, more: &[&str]) -> Ran {
    let args =
        ["restore", "latest", "--to", "sstables", "--ring", ring.to_str().unwrap(), "--out", out.to_str().unwrap()];
    user.run(&[&args[..], more].concat())
}

#[test]
fn what_a_user_does() {
    let user = user_with(&SOME);
    let ring = capture("cassandra-5.0").join("ring.txt");
    let listed = capture("cassandra-5.0").join("describering.txt");
    let (out, tables) = (user.path("out"), count(&user));

    let would = to_out(&user, &ring, &out, &["--dry-run"]).fine();
    assert!(would.contains("lab.users  127.0.0.2  about 112  about ") && !out.exists(), "{would}");
    let would = to_out(&user, &ring, &out, &["--dry-run", "--json"]).objects();
    assert_eq!(would.iter().filter(|o| o["message_type"] == "node_table").count(), 3 * tables);
    let last = would.last().unwrap();
    assert!(last["message_type"] == "summary" && last["seconds"].as_u64().unwrap() > 0, "{last}");

    let said = to_out(&user, &ring, &out, &[]).fine();
    for words in [
        &format!("{tables} tables, "),
        "cqlsh -f ",
        "nodetool import lab users ",
        "nodetool import lab orders ",
        "nodetool invalidatecountercache",
        "Counters go into empty tables only",
        "must never meet",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches("nodetool import").count(), 3, "only tables that have rows: {said}");
    let document: Value = serde_json::from_slice(&fs::read(out.join("restore.json")).unwrap()).unwrap();
    assert_eq!((&document["state"], document["tables"].as_object().unwrap().len()), (&json!("complete"), tables));
    let schema = fs::read_to_string(out.join("schema-1.cql")).unwrap();
    assert_eq!(schema.matches("CREATE KEYSPACE").count(), 1, "{schema}");
    assert_eq!(schema.matches("CREATE TABLE").count(), tables, "{schema}");
    // All three nodes hold everything, so it is written once.
    let files = contents(&out);
    let of = |n: u8| files.keys().filter(|f| f.starts_with(format!("127.0.0.{n}"))).count();
    assert!(of(1) > 0 && of(1) == of(2) && of(2) == of(3));
    use std::os::unix::fs::MetadataExt;
    let data = files_below(&out).into_iter().find(|f| f.to_str().unwrap().ends_with("-Data.db")).unwrap();
    assert_eq!(fs::metadata(&data).unwrap().nlink(), 3);
    let number = Descriptor::parse(data.file_name().unwrap().to_str().unwrap()).unwrap().0.generation.to_string();
    assert!((100_000_000..1 << 31).contains(&number.parse::<u64>().unwrap()), "above a table's own: {number}");

    // By what describering says it is the same, for its one keyspace.
    let other = user.path("other");
    to_out(&user, &listed, &other, &[]).fine();
    let data = |all: BTreeMap<PathBuf, Vec<u8>>| {
        all.into_iter().filter(|(f, _)| !f.ends_with("restore.json")).collect::<Vec<_>>()
    };
    assert!(data(contents(&other)) == data(files.clone()));

    // Repeated, nothing is written; with other arguments it is another restore.
    let again = to_out(&user, &ring, &out, &[]).fine();
    assert!(again.contains(&format!("{tables} of the tables were there already")), "{again}");
    assert!(contents(&out) == files);
    to_out(&user, &ring, &out, &["--table", "lab.users"]).failed(1, &["other arguments", "table", "another --out"]);
    assert!(contents(&out) == files);

    // Each row once, for sstableloader.
    let once = user.path("loader");
    let args = ["restore", "--to", "sstables", "--layout", "once", "--out", once.to_str().unwrap()];
    let said = user.run(&args).fine();
    assert!(said.contains(&format!("sstableloader -d HOST {}/once/lab/orders", once.display())), "{said}");
    assert!(files_below(&once.join("once/lab/orders")).iter().any(|f| f.to_str().unwrap().ends_with("-Data.db")));

    // One partition into another table.
    let part = user.path("part");
    let condition = ["--table", "lab.orders", "--where", "customer = 5", "--into", "lab2.found", "--json"];
    let objects = to_out(&user, &ring, &part, &condition).objects();
    assert_eq!((&objects[0]["name"], &objects.last().unwrap()["tables"]), (&json!("lab2.found"), &json!(1)));
    assert!(contents(&part).contains_key(Path::new("127.0.0.1/lab2/found/nb-0-big-TOC.txt")));
    assert!(fs::read_to_string(part.join("schema-1.cql")).unwrap().contains("CREATE TABLE lab2.found"));
}

/// What was moved away since, as `nodetool import` does, or lost, is written again; what was not, is not touched.
#[test]
fn what_is_no_longer_there_is_written_again() {
    let user = user_with(&SOME);
    let (ring, out, tables) = (capture("cassandra-5.0").join("ring.txt"), user.path("sp ace"), count(&user));
    let said = to_out(&user, &ring, &out, &[]).fine();
    let import = format!("nodetool import lab users '{}/NODE/lab/users'", out.display());
    assert!(said.contains(&import) && said.contains("Cells keep their times"), "{said}");
    let files = contents(&out);
    let modified = |folder: &str| {
        let data = files_below(&out.join(folder)).into_iter().find(|f| f.to_str().unwrap().ends_with("-Data.db"));
        fs::metadata(data.unwrap()).unwrap().modified().unwrap()
    };
    let kept = ["127.0.0.1/lab/users", "127.0.0.3/lab/users", "127.0.0.2/lab/orders"];
    let before = kept.map(modified);
    for file in files_below(&out.join("127.0.0.2/lab/users")) {
        fs::remove_file(file).unwrap();
    }
    fs::remove_file(out.join("schema-1.cql")).unwrap();
    fs::write(out.join("schema-2.cql"), "DROP TABLE lab.users;").unwrap();
    let would = to_out(&user, &ring, &out, &["--dry-run"]).fine();
    assert!(would.contains(&format!("{} of the tables are there already", tables - 1)), "{would}");
    let again = to_out(&user, &ring, &out, &[]).fine();
    assert!(again.contains("lab.users: files were imported or removed since"), "{again}");
    assert!(again.contains(&format!("{} of the tables were there already", tables - 1)), "{again}");
    assert!(contents(&out) == files);
    assert_eq!(kept.map(modified), before);
    // All of it done, and but the schema lost.
    fs::remove_file(out.join("schema-2.cql")).unwrap();
    to_out(&user, &ring, &out, &[]).fine();
    assert!(contents(&out) == files);
}

/// One table that `nb` cannot hold does not stop the others; by choice the same folder is completed.
#[test]
fn late_times_are_named_and_the_rest_is_done() {
    let user = User::new();
    let capture = capture("cassandra-5.0-oa");
    user.backup(&three(&capture), &[]).fine();
    let (ring, out, tables) = (capture.join("ring.txt"), user.path("out"), count(&user));
    let document = || -> Value { serde_json::from_slice(&fs::read(out.join("restore.json")).unwrap()).unwrap() };
    let ran = to_out(&user, &ring, &out, &["--sstable-version", "nb"]);
    ran.failed(3, &["table lab.", "not restored", "{\"", "version nb ends at", "--late-times cap"]);
    let done = document()["tables"].as_object().unwrap().len();
    assert!(document()["state"] == "writing" && (1..tables).contains(&done), "{done} of {tables}");
    let refused = tables - done;
    assert!(ran.err.contains(&format!("{refused} of {tables} tables cannot be restored as asked")), "{}", ran.err);
    let ran = to_out(&user, &ring, &out, &["--sstable-version", "nb", "--late-times", "cap"]);
    assert!(ran.err.contains("after 2038 were brought forward"), "{}", ran.err);
    assert!(ran.fine().contains(&format!("{done} of the tables were there already")));
    assert!(document()["state"] == "complete" && document()["tables"].as_object().unwrap().len() == tables);
    to_out(&user, &ring, &out, &["--sstable-version", "nb"]).failed(1, &["late times of lab.", "are capped there"]);
}

#[test]
fn a_dry_run_refuses_what_the_restore_would() {
    let user = user_with(&SOME);
    let (ring, out) = (capture("cassandra-5.0").join("ring.txt"), user.path("out"));
    for dry in [&["--dry-run"][..], &[]] {
        let run = |more: &[&str]| to_out(&user, &ring, &out, &[dry, &["--table", "lab.users"], more].concat());
        run(&["--where", "nonsense !!"]).failed(1, &["condition at character 9"]);
        run(&["--where", "no_such = 1"]).failed(1, &["no_such"]);
        assert!(!out.exists());
        fs::create_dir(&out).unwrap();
        fs::write(out.join("letter"), "dear").unwrap();
        run(&[]).failed(1, &["is not empty"]);
        fs::remove_dir_all(&out).unwrap();
    }
    let part = ["--table", "lab.orders", "--where", "customer = 5", "--dry-run", "--json"];
    let would = to_out(&user, &ring, &out, &part).objects();
    assert!(would.iter().all(|o| o["at_most"] == true), "{would:?}");
    let would = to_out(&user, &ring, &out, &["--table", "lab.orders", "--dry-run", "--json"]).objects();
    assert!(would.iter().all(|o| o["at_most"] == false), "{would:?}");
    to_out(&user, &ring, &out, &["--table", "lab.orders"]).fine();
    to_out(&user, &ring, &out, &["--dry-run", "--table", "lab.users"]).failed(1, &["other arguments", "its table"]);
}

#[test]
fn what_a_user_does_wrong() {
    let user = user_with(&SOME);
    let ring = capture("cassandra-5.0").join("ring.txt");
    let out = user.path("out");
    let run = |args: &[&str]| user.run(&[&["restore", "--to", "sstables"], args].concat());
    let (out_text, ring_text) = (out.to_str().unwrap(), ring.to_str().unwrap());
    run(&["--out", out_text]).failed(1, &["needs the target's ring", "nodetool ring"]);
    run(&["--ring", ring_text]).failed(1, &["needs a folder", "--out DIR"]);
    run(&["--ring", "/no/such/file", "--out", out_text]).failed(1, &["/no/such/file"]);
    run(&["--ring", ring_text, "--out", out_text, "--layout", "once"]).failed(1, &["--ring", "no use"]);
    run(&["--ring", ring_text, "--out", out_text, "--ttl"]).failed(1, &["--ttl belongs to --to json"]);
    run(&["--ring", ring_text, "--out", out_text, "--table", "lab.nothing"]).failed(1, &["lab.nothing", "onefold ls"]);
    run(&["--ring", ring_text, "--out", out_text, "--table", "lab.users", "--into", "x"])
        .failed(1, &["KEYSPACE.TABLE"]);
    user.run(&["restore", "--to", "json", "--ring", ring_text]).failed(1, &["--ring belongs to --to sstables"]);
    for (replication, words) in [
        (
            "{'class': 'NetworkTopologyStrategy', 'dc7': 3}",
            &["dc7", "the ring lacks", "keyspace lab", "--replication"][..],
        ),
        ("{'class': 'NetworkTopologyStrategy', 'dc1': '3/1'}", &["transient replication"]),
        ("{'class': 'SimpleStrategy', 'replication_factor': 0}", &["have no replica"]),
        ("dc1: 3", &["--replication"]),
    ] {
        let ran = run(&["--ring", ring_text, "--out", out_text, "--replication", replication]);
        ran.failed(1, words);
    }
    let text = fs::read_to_string(&ring).unwrap();
    for (name, text, words) in [
        ("empty", String::new(), &["no node with a token", "nodetool ring"][..]),
        ("joining", text.replacen("Normal", "Joining", 1), &["joining", "wait until every node is Normal"]),
        ("short", text[..text.len() / 2].to_owned(), &["is cut short", "the whole output"]),
        ("json", "{}".to_owned(), &["no ring in JSON", "members"]),
        ("list", "[{}]".to_owned(), &["is a list in JSON", "members"]),
    ] {
        let path = user.path(name);
        fs::write(&path, text).unwrap();
        run(&["--ring", path.to_str().unwrap(), "--out", out_text]).failed(1, words);
    }
    assert!(!out.exists());

    // A folder that holds something else is left alone.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("letter"), "dear").unwrap();
    to_out(&user, &ring, &out, &[]).failed(1, &["is not empty", "a folder that is empty"]);
    fs::write(out.join("restore.json"), "{}").unwrap();
    to_out(&user, &ring, &out, &[]).failed(1, &["not one of ours"]);
    assert_eq!(contents(&out).len(), 2);
}

#[test]
fn what_could_not_be_read_is_named() {
    let user = User::new();
    let keep = |t: &str| t.starts_with("system") || SOME.contains(&t);
    let mut dirs = Vec::new();
    for n in 1..=3 {
        dirs.push(user.path(&format!("node{n}")));
        copy(&capture("cassandra-5.0").join(format!("node{n}")), &dirs[n - 1], &keep);
    }
    spoil_data(&dirs[0], "lab", "users");
    assert_eq!(user.backup(&dirs, &[]).code, Some(3));
    let ring = capture("cassandra-5.0").join("ring.txt");
    let ran = to_out(&user, &ring, &user.path("out"), &[]);
    ran.failed(3, &["lab.users", "not restored", "node n1"]);
    assert!(ran.out.contains("SSTables, "), "{}", ran.out);
    for form in ["json", "csv"] {
        let ran = user.run(&["restore", "--to", form, "--table", "lab.users"]);
        ran.failed(3, &["lab.users", "not restored", "node n1"]);
        assert!(ran.out.lines().count() > 10, "what could be read is there");
    }
    // Other tables are whole.
    let ran = to_out(&user, &ring, &user.path("orders"), &["--table", "lab.orders"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

const KILLS: u32 = 25;

/// Killed at random moments and repeated, the result is that of a restore that nobody disturbed.
#[test]
fn killed_and_repeated_it_comes_to_the_same() {
    let user =
        user_with(&["lab/users", "lab/orders", "lab/counters", "lab/people", "lab/metrics", "lab/wide", "lab/zstd"]);
    let (ring, _) = ring(&user, 5, 1, 4);
    let whole = user.path("whole");
    let started = Instant::now();
    to_out(&user, &ring, &whole, &[]).fine();
    let usual = started.elapsed();
    let expected = contents(&whole);
    let (mut killed, mut random, mut halves) = (0, 7_u64, 0);
    let mut attempts = 0;
    while killed < KILLS {
        attempts += 1;
        assert!(attempts < 10 * KILLS, "only {killed} were still at work");
        let out = user.path(&format!("killed-{attempts}"));
        // Up to three kills of one restore, then it is let run.
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut command = user.command();
            command.args(["restore", "--to", "sstables", "--ring"]).arg(&ring).arg("--out").arg(&out);
            let mut running: Child = command.spawn().unwrap();
            sleep(usual.mul_f64((random >> 40) as f64 / f64::from(1 << 24)));
            running.kill().unwrap();
            killed += u32::from(running.wait().unwrap().code().is_none());
            sleep(Duration::from_millis(1));
        }
        if let Ok(text) = fs::read(out.join("restore.json")) {
            let document: Value = serde_json::from_slice(&text).unwrap();
            halves += u32::from(document["state"] == "writing" && document["tables"] != json!({}));
        }
        let done = to_out(&user, &ring, &out, &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let found = contents(&out);
        assert!(found.keys().eq(expected.keys()), "{:?}", found.keys().find(|f| !expected.contains_key(*f)));
        let differs = found.iter().find(|(f, bytes)| expected[*f] != **bytes);
        assert!(differs.is_none(), "{:?}", differs.map(|(f, _)| f));
        fs::remove_dir_all(&out).unwrap();
    }
    assert!(halves > 0, "some were killed between two tables");
}

/// Interrupted, it ends with 130 and says in `restore.json` that it is not done; no file is left half written.
#[test]
fn interrupted_it_stops_cleanly() {
    let user = user_with(&["lab/users", "lab/orders", "lab/people", "lab/metrics", "lab/wide"]);
    let (ring, _) = ring(&user, 5, 1, 4);
    let started = Instant::now();
    to_out(&user, &ring, &user.path("whole"), &[]).fine();
    let usual = started.elapsed();
    for attempt in 0..400 {
        let out = user.path(&format!("interrupted-{attempt}"));
        let mut command = user.command();
        command.args(["restore", "--to", "sstables", "--ring"]).arg(&ring).arg("--out").arg(&out);
        let mut running: Child = command.spawn().unwrap();
        sleep(usual.mul_f64(f64::from(attempt % 10) / 10.0));
        let pid = running.id().to_string();
        std::process::Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status().unwrap();
        let code = running.wait().unwrap().code();
        let Ok(text) = fs::read(out.join("restore.json")) else { continue };
        let document: Value = serde_json::from_slice(&text).unwrap();
        if code != Some(130) || document["state"] != "writing" {
            continue;
        }
        for file in files_below(&out).iter().filter(|f| f.to_str().unwrap().ends_with("-Data.db")) {
            let toc = file.to_str().unwrap().replace("-Data.db", "-TOC.txt");
            assert!(Path::new(&toc).exists(), "{toc}");
        }
        to_out(&user, &ring, &out, &[]).fine();
        assert!(contents(&out) == contents(&user.path("whole")));
        return;
    }
    panic!("never interrupted while writing");
}

/// A limit on the size of files stops writing as a full disk does. With room, the same command completes it.
#[test]
fn without_room_it_says_where_and_how_much() {
    let user = user_with(&["lab/metrics"]);
    let (ring, out) = (capture("cassandra-5.0").join("ring.txt"), user.path("out"));
    let args = [
        "restore",
        "--no-cache",
        "--to",
        "sstables",
        "--ring",
        ring.to_str().unwrap(),
        "--table",
        "lab.metrics",
        "--out",
    ];
    user.run_with_little_room(40, &[&args[..], &[out.to_str().unwrap()]].concat())
        .failed(1, &["127.0.0.1/lab/metrics", "more bytes are needed", "make room and repeat the command"]);
    let document: Value = serde_json::from_slice(&fs::read(out.join("restore.json")).unwrap()).unwrap();
    assert_eq!(document["state"], "writing");
    to_out(&user, &ring, &out, &["--table", "lab.metrics"]).fine();
}

/// While one restore writes to a folder, a second one is told so.
#[test]
fn two_at_once_are_one_too_many() {
    let user = user_with(&SOME);
    let out = user.path("out");
    fs::create_dir(&out).unwrap();
    let held = fs::File::open(&out).unwrap();
    held.lock().unwrap();
    let ring = capture("cassandra-5.0").join("ring.txt");
    to_out(&user, &ring, &out, &[]).failed(11, &["another restore is writing there"]);
    drop(held);
    to_out(&user, &ring, &out, &[]).fine();
}
