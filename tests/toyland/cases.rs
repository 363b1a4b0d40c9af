//! What is run, and what must come of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use onefold::engine::params::NodeFolders;
use onefold::engine::{EVERYTHING, KeyRange, Part, Source, Taking, Without};
use onefold::run::RecordBatch;
use onefold::watch::Watch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Cluster, Dice, Document, key, owns};
use crate::past;
use crate::toy::source::Toyland;

/// What makes this binary the program.
pub const PROGRAM: &str = "TOYLAND";

/// A case, by its name.
type Case = (&'static str, fn());

pub const ALL: &[Case] = &[
    ("every_command_runs_on_a_cluster_without_groups_and_versions", every_command),
    ("what_comes_back_is_what_the_model_says", model),
    ("the_same_writes_otherwise_divided_add_nothing", divided),
    ("a_shard_in_ranges_is_what_it_is_whole", ranges),
    ("a_part_that_cannot_be_read_is_kept_and_the_others_are_merged", damaged),
    ("bad_input_is_named", bad_input),
    ("differences_are_those_of_maps", past::differences),
    ("histories_are_those_of_maps", past::histories),
];

/// Someone with a repository, and archives.
pub struct Home(TempDir);

pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    pub fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Home {
    pub fn new() -> Home {
        let home = Home(tempfile::tempdir().unwrap());
        let key = home.path("key");
        home.run(&["init", "--new-key-file", key.to_str().unwrap()]).ends(0);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for name in ["ONEFOLD_PASSWORD", "ONEFOLD_PASSWORD_FILE", "ONEFOLD_PASSWORD_COMMAND", "ONEFOLD_KEY_FILE"] {
            command.env_remove(name);
        }
        if args[0] != "init" {
            command.env("ONEFOLD_KEY_FILE", self.path("key"));
        }
        command
            .env(PROGRAM, "1")
            .env("ONEFOLD_REPOSITORY", self.path("repo"))
            .env("ONEFOLD_CACHE_DIR", self.path("cache"));
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn write(&self, node: usize, archive: &str) {
        fs::write(self.path(&format!("n{node}.toy")), archive).unwrap();
    }

    pub fn backup(&self, more: &[&str]) -> Ran {
        let nodes: Vec<String> =
            (0..3).map(|n| format!("--node=n{n}={}", self.path(&format!("n{n}.toy")).display())).collect();
        let mut args = vec!["backup", "toy", "--cluster", "toyland"];
        args.extend(nodes.iter().map(String::as_str));
        args.extend(more);
        self.run(&args)
    }

    /// The rows of `fruit`, as JSON and as CSV, which must say the same.
    #[track_caller]
    fn rows(&self, more: &[&str]) -> Vec<(String, String)> {
        self.rows_and_end(more, 0)
    }

    #[track_caller]
    fn rows_and_end(&self, more: &[&str], code: i32) -> Vec<(String, String)> {
        let restore = |form| self.run(&[&["restore", "--to", form, "--table", "fruit"], more].concat()).ends(code).out;
        let of = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let json = restore("json");
        let lines = json.lines().map(|line| serde_json::from_str(line).unwrap());
        let rows: Vec<(String, String)> = lines.map(|row: Value| (of(&row, "key"), of(&row, "value"))).collect();
        let quoted = |text: &str| match text.contains([',', '"', '\r', '\n']) || text.is_empty() {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let mut csv = String::from("key,value\r\n");
        rows.iter().for_each(|(key, value)| csv.push_str(&format!("{},{}\r\n", quoted(key), quoted(value))));
        assert_eq!(restore("csv"), csv);
        rows
    }
}

/// Those that are not gone.
pub fn live(documents: &BTreeMap<String, Document>) -> Vec<(String, String)> {
    documents.iter().filter_map(|(key, document)| Some((key.clone(), document.clone()?))).collect()
}

pub fn write(home: &Home, cluster: &Cluster) {
    (0..3).for_each(|node| home.write(node, &cluster.archive(node)));
}

const ARCHIVES: [&str; 3] = [
    "#toy captured 1700000000\n#table fruit\n#owns a -\n#part 1\napple\tgreen\nbanana\tgreen\ncherry\tred\n#part 5\napple\tred\n\
     banana\n#table tool\n#owns a -\n#part 1\nsaw\told\n",
    "#toy captured 1700000000\n#table fruit\n#owns a -\n#part 4\napple\tyellow\ncherry\tred\nplum\tblue\n",
    "#toy captured 1700000060\n#table fruit\n#owns a b\n#part 2\napple\tgreen\nbanana\told\nzucchini\tnone\n",
];

fn every_command() {
    let home = Home::new();
    ARCHIVES.iter().enumerate().for_each(|(node, archive)| home.write(node, archive));
    let said = home.backup(&["--dry-run"]).ends(4).out;
    assert!(said.contains("3 nodes, 2 tables, 5 rows"), "{said}");
    assert_eq!(home.run(&["snapshots", "--json"]).ends(0).out, "");
    // `zucchini` lies with a node that does not own it, and with nobody else.
    let said = home.backup(&["--keep-node-views"]).ends(4);
    assert!(said.err.contains("held only by nodes that do not own them"), "{}", said.err);

    let listed = home.run(&["snapshots", "--json"]).ends(0).objects();
    assert_eq!((listed.len(), &listed[0]["cluster"]), (1, &json!("toyland")));
    let shown = home.run(&["show", "--json"]).ends(0).objects().remove(0);
    assert_eq!((&shown["engine"], &shown["cut"]["seconds"]), (&json!("toy"), &json!(1_700_000_060)), "{shown}");
    assert!(home.run(&["show"]).ends(0).out.contains("toyland"));
    let tables = home.run(&["ls", "--json"]).ends(0).objects();
    let named: Vec<&str> = tables.iter().filter_map(|table| table["name"].as_str()).collect();
    assert_eq!(named, ["fruit", "tool"]);
    assert!(home.run(&["ls", "--table", "fru*"]).ends(0).out.contains("fruit"));
    let stats = home.run(&["stats", "--json"]).ends(0).objects().remove(0);
    assert_eq!((&stats["bytes_read"], &stats["objects"]["snapshot"]["objects"]), (&json!(132), &json!(1)), "{stats}");
    home.run(&["check", "--read-data"]).ends(0);

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let fruit = [pair("apple", "red"), pair("cherry", "red"), pair("plum", "blue")];
    assert_eq!(home.rows(&[]), fruit);
    assert_eq!(home.rows(&["--where", "key=cherry"]), fruit[1..2]);
    assert_eq!(home.rows(&["--where", "from=b to=d"]), fruit[1..2]);
    assert_eq!(home.rows(&["--where", "key=banana"]), []);
    assert_eq!(home.rows(&["--include-unowned"]), [&fruit[..], &[pair("zucchini", "none")]].concat());
    assert_eq!(home.rows(&["--node", "n1"]), [pair("apple", "yellow"), pair("cherry", "red"), pair("plum", "blue")]);
    assert_eq!(home.rows(&["--node", "n2"]), [pair("apple", "green"), pair("banana", "old"), pair("zucchini", "none")]);
    let out = home.path("out");
    home.run(&["restore", "--to", "json", "--out", out.to_str().unwrap()]).ends(0);
    assert_eq!(fs::read_to_string(out.join("tool.jsonl")).unwrap(), "{\"key\": \"saw\", \"value\": \"old\"}\n");

    let again = home.path("again.toy");
    let archive = again.to_str().unwrap();
    home.run(&["restore", "--to", "toy", "--dry-run", "--out", archive]).ends(0);
    assert!(!again.exists());
    home.run(&["restore", "--to", "toy", "--out", archive]).ends(0);
    home.run(&["restore", "--to", "toy", "--out", archive]).ends(1);
    drifts(&home);

    // What came back is a capture: it gives the same rows, and of the same records the same tree.
    let before = tree(&home, "latest");
    home.run(&["backup", "toy", "--cluster", "toyland", &format!("--node=one={archive}")]).ends(0);
    assert_eq!(home.rows(&[]), fruit);
    assert_eq!(tree(&home, "latest"), before);
}

/// Digest of the records of `fruit`, and the tree that they are.
fn tree(home: &Home, snapshot: &str) -> (Value, Value) {
    let shown = home.run(&["show", snapshot, "--json"]).ends(0).objects().remove(0);
    let fruit = &shown["shards"][0];
    assert!(fruit["name"] == "fruit" && fruit["digest"].is_string(), "{shown}");
    (fruit["digest"].clone(), fruit["layers"].clone())
}

fn drifts(home: &Home) {
    let counts = home.run(&["drift", "--table", "fruit", "--json"]).ends(0).objects();
    let count = |node: usize| ["missing", "stale", "extra"].map(|what| counts[node][what].as_u64().unwrap());
    // n0 lacks plum; n1 has apple as it was, and lacks that banana is gone; n2 has apple as it was, and two that it does not own.
    assert_eq!([count(0), count(1), count(2)], [[1, 0, 0], [1, 1, 0], [0, 1, 2]], "{counts:?}");
    let samples = home.run(&["drift", "--table", "fruit", "--samples", "9", "--json"]).ends(0).objects();
    let apple = samples.iter().find(|s| s["node"] == "n1" && s["key"]["key"] == "apple").unwrap();
    let says = (&apple["what"], &apple["view"]["value"], &apple["node_holds"]["value"]);
    assert_eq!(says, (&json!("stale"), &json!("red"), &json!("yellow")), "{apple}");
    let ranges = home.run(&["drift", "--table", "fruit", "--ranges", "256", "--json"]).ends(0).objects();
    let stale: u64 = ranges.iter().filter_map(|r| r["stale"].as_u64()).sum();
    assert_eq!(stale, 2, "{ranges:?}");
    let text = home.run(&["drift", "--table", "fruit", "--ranges", "256"]).ends(0).out;
    assert!(text.contains("6100000000000000  61ffffffffffffff  n1  0  1  0"), "{text}");
    // It has no word of its own for a place, and its tables lie in nothing.
    assert!(text.starts_with("first place  last place  node"), "{text}");
    assert!(home.run(&["ls", "--in", "fruit"]).ends(1).err.contains("its tables lie in nothing"));
}

fn model() {
    let mut dice = Dice(7);
    for round in 0..6 {
        let (home, cluster) = (Home::new(), Cluster::throw(&mut dice));
        write(&home, &cluster);
        let (view, all) = (cluster.view(), cluster.with_unowned());
        home.backup(&["--keep-node-views"]).ends(if all == view { 0 } else { 4 });
        assert_eq!(home.rows(&[]), live(&view), "round {round}");
        assert_eq!(home.rows(&["--include-unowned"]), live(&all), "round {round}");
        for node in 0..3 {
            assert_eq!(
                home.rows(&["--node", &format!("n{node}")]),
                live(&cluster.held(node)),
                "round {round}, node {node}"
            );
        }
        for _ in 0..4 {
            let (from, to) = (key(dice.throw(300)), key(dice.throw(300)));
            let inside = live(&view).into_iter().filter(|(key, _)| *key >= from && *key < to);
            assert_eq!(home.rows(&["--where", &format!("from={from} to={to}")]), inside.collect::<Vec<_>>());
            let one = live(&view).into_iter().filter(|(key, _)| *key == from);
            assert_eq!(home.rows(&["--where", &format!("key={from}")]), one.collect::<Vec<_>>());
        }
        let counts = home.run(&["drift", "--json"]).ends(0).objects();
        for node in 0..3 {
            let held = cluster.held(node);
            let count = |what: &str| counts[node][what].as_u64().unwrap();
            let differs = |key: &String| held.get(key).is_some_and(|document| Some(document) != view.get(key));
            let missing = view.keys().filter(|key| owns(node, key) && !held.contains_key(*key)).count();
            let stale = held.keys().filter(|key| owns(node, key) && differs(key)).count();
            let extra = held.keys().filter(|key| !owns(node, key)).count();
            let of = (count("missing"), count("stale"), count("extra"));
            assert_eq!(of, (missing as u64, stale as u64, extra as u64), "round {round}, node {node}: {counts:?}");
        }
        home.run(&["check", "--read-data"]).ends(0);
    }
}

/// All writes that an owner has reach one owner, each in a part of its own.
fn divided() {
    let mut dice = Dice(11);
    let (home, mut cluster) = (Home::new(), Cluster::throw(&mut dice));
    for node in 0..3 {
        let mut own = std::mem::take(&mut cluster.nodes[node]);
        own.iter_mut().for_each(|(_, part)| part.retain(|key, _| owns(node, key)));
        cluster.nodes[node] = own;
    }
    write(&home, &cluster);
    home.backup(&[]).ends(0);
    let mut spread = Cluster { nodes: vec![Vec::new(); 3] };
    for (rank, part) in cluster.nodes.iter().flatten() {
        for (key, document) in part {
            let owners: Vec<usize> = (0..3).filter(|node| owns(*node, key)).collect();
            let to = owners[dice.throw(owners.len() as u64) as usize];
            spread.nodes[to].push((*rank, [(key.clone(), document.clone())].into()));
        }
    }
    write(&home, &spread);
    home.backup(&[]).ends(0);
    let snapshots = home.run(&["snapshots", "--json"]).ends(0).objects();
    let [one, other] = [0, 1].map(|n| tree(&home, snapshots[n]["id"].as_str().unwrap()));
    assert_eq!(one, other);
}

/// What a part gives of a range of keys.
fn read(part: &Part<'_>, range: &KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut run, mut batch, mut all) = ((part.open)(range).unwrap(), RecordBatch::new(), Vec::new());
    while run.next_batch(&mut batch).unwrap() {
        all.extend(batch.iter().map(|record| (record.key.to_vec(), record.body.to_vec())));
    }
    all
}

fn ranges() {
    let home = Home::new();
    write(&home, &Cluster::throw(&mut Dice(5)));
    let node = |n| NodeFolders { name: format!("n{n}"), address: None, dirs: vec![home.path(&format!("n{n}.toy"))] };
    let nodes = [0, 1, 2].map(node);
    let (source, mut most) = (Toyland::open(nodes.iter()).unwrap(), 0);
    for (shard, pieces) in source.shards().iter().flat_map(|shard| (1..9).map(move |pieces| (shard, pieces))) {
        let bounds = source.bounds(shard, &Without::new(), pieces).unwrap();
        assert!(bounds.len() < pieces && bounds.is_sorted() && bounds.iter().all(|key| !key.is_empty()));
        most = most.max(bounds.len());
        let ends: Vec<Vec<u8>> = [vec![Vec::new()], bounds, vec![Vec::new()]].concat();
        let watch = Watch::new();
        let parts = source.parts(shard, &Without::new(), Taking::records(&watch)).unwrap();
        for part in parts.iter().flat_map(|node| &node.parts) {
            let pieces = ends.windows(2).flat_map(|two| read(part, &(two[0].clone(), two[1].clone())));
            assert_eq!(pieces.collect::<Vec<_>>(), read(part, &EVERYTHING));
        }
        let told = watch.bytes_done.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(told, 2 * parts.iter().flat_map(|node| &node.parts).map(|part| part.bytes).sum::<u64>());
    }
    assert_eq!(most, 7);
}

fn damaged() {
    let home = Home::new();
    home.write(
        0,
        "#toy captured 1700000000\n#table fruit\n#owns a -\n#part 1\nplum\tblue\napple\tred\n#part 2\ncherry\tred\n",
    );
    home.write(1, "#toy captured 1700000000\n#table fruit\n#owns a -\n#part 1\napple\tred\n");
    home.write(2, "#toy captured 1700000000\n");
    let said = home.backup(&[]).ends(3);
    assert!(said.err.contains("part 1 at line 4, line 6"), "{}", said.err);
    let fruit = [("apple", "red"), ("cherry", "red")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(home.rows_and_end(&[], 3), fruit);
    let out = home.path("kept");
    home.run(&["restore", "--to", "files", "--out", out.to_str().unwrap()]).ends(0);
    let mut found = Vec::new();
    let mut folders = vec![out];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { found.push(fs::read(entry).unwrap()) }
        }
    }
    assert_eq!(found, [fs::read(home.path("n0.toy")).unwrap()]);
}

fn bad_input() {
    let home = Home::new();
    ARCHIVES.iter().enumerate().for_each(|(node, archive)| home.write(node, archive));
    home.backup(&[]).ends(4);
    for condition in ["", "colour=red", "from"] {
        let ran = home.run(&["restore", "--to", "json", "--table", "fruit", "--where", condition]).ends(1);
        assert!(ran.err.contains("key=KEY"), "{condition}: {}", ran.err);
    }
    assert!(home.run(&["restore", "--to", "json", "--writetime"]).ends(1).err.contains("no write times"));
    for (archive, line) in [
        ("", "line 1"),
        ("#toy captured x\n", "line 1"),
        ("apple\tred\n", "line 1"),
        ("#toy captured 1700000000\n#part 1\n", "line 2"),
        ("#toy captured 1700000000\n#table fruit\n#owns b a\n", "line 3"),
        ("#toy captured 1700000000\n#table fruit\n#owns a -\n#owns b -\n", "line 4"),
        ("#toy captured 1700000000\n#table fruit\n#part -1\n", "line 3"),
    ] {
        home.write(0, archive);
        let ran = home.backup(&[]).ends(5);
        assert!(ran.err.contains(line), "{archive}: {}", ran.err);
    }
    home.write(0, ARCHIVES[0]);
    let twice = home.backup(&["--node", "n0=nowhere"]).ends(1);
    assert!(twice.err.contains("node n0: is given twice"), "{}", twice.err);
}
