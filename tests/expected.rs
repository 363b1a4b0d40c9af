//! What should be there against what was: by kind, through the real binary. `tests/holes.rs` tries every hole there is.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::source::NodeDir;

use crate::user::{User, capture, copy, expected, files_below, mend_manifest, name_in_manifest, ran, table_dir, three};

/// A user, and copies of the three nodes of the 5.0 capture to make holes in: the tables named, the others empty.
struct Copied {
    user: User,
    nodes: Vec<PathBuf>,
}

const TABLES: [&str; 3] = ["lab/users", "lab/orders", "lab/plain_twcs"];

impl Copied {
    fn new() -> Copied {
        let user = User::new();
        let nodes: Vec<PathBuf> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
        let keep = |table: &str| table.starts_with("system") || TABLES.contains(&table);
        three(&capture("cassandra-5.0")).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, &keep));
        Copied { user, nodes }
    }

    fn users(&self, node: usize) -> PathBuf {
        table_dir(&self.nodes[node], "lab", "users")
    }

    /// Backs up; it is incomplete, in the exit code, the words and the snapshot itself.
    #[track_caller]
    fn incomplete(&self, code: i32, words: &[&str], more: &[&str]) {
        self.user.backup(&self.nodes, more).failed(code, words);
        let shown = self.user.show();
        assert_eq!(shown["complete"], false);
        for word in words {
            assert!(shown["problems"].to_string().contains(word), "{word}: {}", shown["problems"]);
        }
    }
}

#[test]
fn what_a_manifest_names_is_expected() {
    let c = Copied::new();
    c.user.backup(&c.nodes, &[]).fine();
    for node in 0..3 {
        let of_sstables = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().starts_with("nb-");
        files_below(&c.users(node)).iter().filter(|f| of_sstables(f)).for_each(|f| fs::remove_file(f).unwrap());
    }
    c.incomplete(
        4,
        &["node n1: lab.users: manifest.json names nb-1-big-Data.db and 2 more", "node n3: lab.users"],
        &[],
    );
    // An empty table is one whose manifest says so.
    (0..3).for_each(|node| mend_manifest(&c.users(node)));
    c.user.backup(&c.nodes, &["--accept-emptied", "lab.users"]).fine();
    fs::write(c.users(1).join("manifest.json"), "{").unwrap();
    c.incomplete(4, &["node n2: lab.users", "manifest.json is no JSON"], &[]);
    let orders = table_dir(&c.nodes[1], "lab", "orders");
    fs::remove_file(orders.join("manifest.json")).unwrap();
    c.incomplete(4, &["node n2: lab.orders: its folder has no manifest.json"], &[]);
    let folder = c.users(1);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    c.incomplete(4, &["node n2: lab.users", "holds neither manifest.json nor SSTables"], &[]);
}

#[test]
fn tables_and_keyspaces_are_expected_on_every_owner() {
    let c = Copied::new();
    fs::remove_dir_all(c.users(0)).unwrap();
    c.incomplete(4, &["node n1: lab.users: the folder is not there", "--exclude lab.users"], &[]);
    for node in &c.nodes {
        fs::remove_dir_all(node.join("lab")).unwrap();
    }
    let all = ["node n1: keyspace lab is not there", "node n2: keyspace lab", "node n3: keyspace lab", "--exclude lab"];
    c.incomplete(4, &all, &[]);
    // What is left of the schema says less than there is: that is not believed.
    fs::remove_dir_all(table_dir(&c.nodes[0], "system_schema", "views")).unwrap();
    c.incomplete(4, &["node n1: system_schema.views is not there"], &[]);
    let columns = table_dir(&c.nodes[2], "system_schema", "columns");
    let data = files_below(&columns).into_iter().find(|f| f.to_str().unwrap().ends_with("-Data.db")).unwrap();
    fs::write(data, "").unwrap();
    c.incomplete(4, &["node n3: ", "columns-", "the schema of the other nodes counts"], &[]);
    fs::remove_dir_all(table_dir(&c.nodes[1], "system", "peers_v2")).unwrap();
    c.incomplete(4, &["node n2: system.peers_v2 is not there", "know different rings, of 3 and 1 nodes"], &[]);
}

#[test]
fn replication_that_does_not_fit_the_ring_keeps_every_row() {
    let c = Copied::new();
    let ring = fs::read_to_string(capture("cassandra-5.0").join("ring.txt")).unwrap();
    let path = c.user.path("ring.txt");
    let other = ring.replace("Datacenter: dc1", "Datacenter: DC1");
    assert_ne!(ring, other);
    fs::write(&path, other).unwrap();
    let said = ["keyspace lab", "data center dc1, which the ring lacks", "counts as an owner of all of it"];
    c.incomplete(4, &said, &["--source-ring", path.to_str().unwrap()]);
    assert_eq!(c.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    // Two data centers of which the keyspace is in one: what the other is not to hold is not expected of it.
    let tokens = |n: u8| ring.lines().filter(move |line| line.starts_with(&format!("127.0.0.{n} ")));
    let center = |name: &str, nodes: &[u8]| {
        let lines: Vec<&str> = nodes.iter().flat_map(|n| tokens(*n)).collect();
        format!("Datacenter: {name}\n==========\n{}\n", lines.join("\n"))
    };
    fs::write(&path, center("dc1", &[1, 2]) + &center("dc2", &[3])).unwrap();
    let two = ["--source-ring", path.to_str().unwrap()];
    c.user.backup(&c.nodes[..2], &[&two[..], &["--data-center", "dc1"]].concat()).fine();
    assert_eq!(c.user.show()["narrowed"]["data_center"], "dc1");
    let said = c.user.backup(&c.nodes, &[&two[..], &["--data-center", "dc2"]].concat());
    said.failed(4, &["not captured: lab", "no table was found"]);
}

#[test]
fn one_node_for_two_is_refused() {
    let c = Copied::new();
    c.nodes.iter().for_each(|node| fs::remove_dir_all(node.join("system")).unwrap());
    let ring = capture("cassandra-5.0").join("ring.txt");
    let link = c.user.path("link");
    symlink(&c.nodes[0], &link).unwrap();
    let copied = c.user.path("copied");
    copy(&c.nodes[0], &copied, &|_| true);
    let backup = |second: &Path| {
        let mut command = c.user.command();
        command.args(["backup", "cassandra", "--cluster", "prod", "--source-ring"]).arg(&ring);
        for (n, dir) in (1..).zip([&c.nodes[0], second, &c.nodes[2]]) {
            command.arg(format!("--node=n{n}@127.0.0.{n}={}", dir.display()));
        }
        ran(&mut command)
    };
    backup(&c.nodes[1]).fine();
    backup(&link).failed(1, &["nodes n1 and n2", "same folder", "given twice"]);
    backup(&copied).failed(1, &["nodes n1 and n2", "hold the same SSTables", "given twice"]);
    // Where both prove to be nodes of their own it is odd, and no refusal.
    let root = capture("cassandra-5.0");
    for (n, dir) in [(1, &c.nodes[0]), (2, &copied), (3, &c.nodes[2])] {
        copy(&root.join(format!("node{n}")), dir, &|table| table.starts_with("system/"));
    }
    backup(&copied).failed(4, &["nodes n1 and n2", "hold the same SSTables"]);
}

#[test]
fn empty_names_and_nothing_at_all() {
    let c = Copied::new();
    c.user.backup(&c.nodes, &["--snapshot-tag", ""]).failed(1, &["--snapshot-tag"]);
    let mut command = c.user.command();
    command.args(["backup", "cassandra", "--cluster", ""]).args(crate::user::nodes(&c.nodes));
    ran(&mut command).failed(1, &["--cluster"]);
    assert!(c.user.snapshots().is_empty());
    // Nothing but the nodes' own tables, and no schema of any other.
    for node in &c.nodes {
        fs::remove_dir_all(node.join("lab")).unwrap();
        fs::remove_dir_all(node.join("system_schema")).unwrap();
    }
    c.incomplete(4, &["no table was found that holds data"], &[]);
}

#[test]
fn names_of_other_times_are_sstables_not_understood() {
    let c = Copied::new();
    let (dir, plain) = (c.users(0), table_dir(&c.nodes[0], "lab", "plain_twcs"));
    for (folder, stem) in [(&dir, "lab-users-ka-7"), (&plain, "lab-plain_twcs-jb-3")] {
        for component in ["Data.db", "Index.db", "Digest.sha1", "TOC.txt"] {
            fs::write(folder.join(format!("{stem}-{component}")), component).unwrap();
        }
    }
    c.incomplete(
        3,
        &["lab-users-ka-7-Data.db", "from before 3.0 (version ka), which is not supported", "version jb"],
        &[],
    );
    let out = c.user.path("files");
    c.user.run(&["restore", "--to", "files", "--node", "n1", "--out", out.to_str().unwrap()]).fine();
    let kept = out.join("n1/lab").join(dir.file_name().unwrap()).join("lab-users-ka-7-Index.db");
    assert_eq!(fs::read(kept).unwrap(), b"Index.db");
    let rows = c.user.run(&["restore", "--to", "json", "--table", "lab.users"]);
    rows.failed(3, &["lab.users", "lab-users-ka-7 of node n1", "not restored"]);
    // A manifest may name them.
    name_in_manifest(&plain, &["lab-plain_twcs-jb-3-Data.db".into(), "lab-plain_twcs-jb-4-Data.db".into()]);
    c.incomplete(3, &["manifest.json names lab-plain_twcs-jb-4-Data.db, which"], &[]);
}

#[test]
fn folders_links_and_names_that_are_no_tables() {
    let c = Copied::new();
    let (dir, orders) = (c.users(0), table_dir(&c.nodes[1], "lab", "orders"));
    // As CQL writes the id.
    let (name, id) = dir.file_name().unwrap().to_str().unwrap().split_once('-').unwrap();
    let dashed = format!("{name}-{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    fs::rename(&dir, dir.with_file_name(dashed)).unwrap();
    c.user.backup(&c.nodes, &[]).fine();
    assert_eq!(c.user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
    // As nothing writes it: its files are kept.
    let stray = orders.with_file_name("orders");
    fs::rename(&orders, &stray).unwrap();
    c.incomplete(4, &["node n2:", "lab/orders is no table's folder", "lab.orders: the folder is not there"], &[]);
    let listed = c.user.run(&["ls"]).fine();
    assert!(listed.contains("lab/orders/nb-2-big-Data.db"), "{listed}");
    // A disk that is not mounted.
    fs::remove_dir_all(&stray).unwrap();
    symlink("/nowhere/at/all", &orders).unwrap();
    c.incomplete(4, &["node n2:", "orders-", "is a symbolic link to nothing"], &[]);
    fs::remove_file(&orders).unwrap();
    copy(&capture("cassandra-5.0").join("node2"), &c.nodes[1], &|table| TABLES.contains(&table));
    let odd = c.users(2).join(std::ffi::OsStr::from_bytes(b"odd\xff.txt"));
    fs::write(&odd, "odd").unwrap();
    c.user.backup(&c.nodes, &[]).fine();
    let listed = c.user.run(&["ls"]).fine();
    assert!(listed.contains("odd%FF.txt"), "{listed}");
}

#[test]
fn what_is_left_out_by_name_is_neither_expected_nor_counted() {
    let c = Copied::new();
    fs::remove_dir_all(c.users(1)).unwrap();
    c.user.backup(&c.nodes, &["--exclude", "lab.users", "--exclude", "system_traces"]).fine();
    let shown = c.user.show();
    assert_eq!(shown["narrowed"]["excluded"], serde_json::json!(["lab.users", "system_traces"]));
    let shown = c.user.run(&["show"]).fine();
    assert!(shown.contains("narrowed   without lab.users, system_traces"), "{shown}");
    assert!(shown.contains("narrowed   not captured: system_auth"), "{shown}");
    assert!(!c.user.run(&["ls"]).fine().contains("lab.users"));
    // Cassandra's own are expected as soon as they are named.
    c.incomplete(4, &["keyspace system_auth is not there"], &["--keyspace", "lab", "--keyspace", "system_auth"]);
    c.user.backup(&c.nodes, &["--keyspace", "lab", "--exclude", "lab.users"]).fine();
    for (option, name, words) in [
        ("--keyspace", "labb", "perhaps lab"),
        ("--exclude", "lab.usres", "perhaps lab.users"),
        ("--exclude", "system_schema.tables", "cannot be left out"),
        ("--data-center", "dc9", "it has dc1"),
    ] {
        c.user.backup(&c.nodes, &[option, name]).failed(1, &[option, name, words]);
    }
}

/// Roles are data, expected on every node as soon as one has them; a restore of everything leaves them out unless told.
#[test]
fn roles_are_data_and_come_back_when_told() {
    let c = Copied::new();
    let id = "5bc52802de2535edaeab188eecebb090";
    let manifest = fs::read(c.users(0).join("manifest.json")).unwrap();
    let add = |node: usize| {
        let folder = c.nodes[node].join(format!("system_auth/roles-{id}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), &manifest).unwrap();
        name_in_manifest(&folder, &[]);
    };
    add(0);
    c.incomplete(4, &["node n1: system_auth.", "node n2: keyspace system_auth is not there"], &[]);
    let planned = |more: &[&str]| {
        let restore = ["restore", "--to", "sstables", "--layout", "once", "--dry-run", "--json"];
        let said = c.user.run(&[&restore[..], more].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.contains("system_auth.roles")
    };
    assert!(!planned(&[]) && planned(&["--with-roles"]) && planned(&["--table", "system_auth.roles"]));
    c.user.run(&["restore", "--to", "json", "--with-roles"]).failed(1, &["--with-roles", "--to sstables"]);
}

/// What vanishes between listing and reading is not called damaged, and not kept.
#[test]
fn files_that_vanish_are_named_as_such() {
    let c = Copied::new();
    let nodes: Vec<NodeDir> = (1..).zip(&c.nodes).map(|(n, dir)| NodeDir::new(format!("n{n}"), dir)).collect();
    let source = crate::flow::source(&nodes);
    let data = c.users(0).join("nb-1-big-Data.db");
    fs::remove_file(&data).unwrap();
    let snapshot = crate::flow::store(&crate::flow::new_repo(&crate::repo::memory()), &source, false);
    let problems = match snapshot {
        Ok((snapshot, _)) => serde_json::to_string(&snapshot.problems).unwrap(),
        Err(error) => error.to_string(),
    };
    assert!(problems.contains("nb-1-big-Data.db"), "{problems}");
    assert!(!problems.contains("is damaged") && !problems.contains("not understood"), "{problems}");
}
