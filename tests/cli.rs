//! What a user can do, through the real binary: the README's commands on a captured cluster of Cassandra 5.0.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::user::{User, capture, copy, expected, files_below, lines, objects, ran, table_dir, three};

/// A user who backed the 5.0 capture up as the README does.
fn backed_up(more: &[&str]) -> User {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), more).fine();
    user
}

#[test]
fn the_readmes_commands() {
    let root = capture("cassandra-5.0");
    let user = User::new();
    let mut backup = user.command();
    backup.args(["backup", "cassandra", "--cluster", "prod"]);
    for n in 1..=3 {
        backup.arg("--node").arg(format!("n{n}@127.0.0.{n}={}/node{n}", root.display()));
    }
    let said = ran(backup.arg("--source-ring").arg(root.join("ring.txt"))).fine();
    assert!(said.contains("3 nodes, 36 tables") && said.contains("complete"), "{said}");
    let id = user.snapshots().remove(0);

    let said = user.run(&["snapshots"]).fine();
    assert!(said.starts_with(&id[..10]) && said.contains("prod") && said.contains("complete"), "{said}");
    let said = user.run(&["show"]).fine();
    for word in [id.as_str(), "window     2026-11-21", "n3  127.0.0.3", "5.0.9", "complete", "not kept"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let said = user.run(&["ls"]).fine();
    assert!(said.contains("table  lab.users  112 rows") && said.contains("/schema.cql"), "{said}");
    let said = user.run(&["stats"]).fine();
    assert!(said.contains("pack ") && said.contains("% of it"), "{said}");
    let said = user.run(&["drift", "--table", "lab.users"]).fine();
    assert_eq!(lines(&said).len(), 4, "{said}");
    let said = user.run(&["check", "--read-data"]).fine();
    assert!(said.contains("read and verified") && said.contains("no damage found"), "{said}");
    assert!(user.run(&["check"]).fine().contains("no damage found"));

    // Snapshots are named by the beginning of an id, and by `latest`, which is also what is meant without a name.
    let users = expected(&root, "users");
    for name in ["latest", &id, &id[..6]] {
        assert_eq!(user.rows(name, "lab.users"), users, "{name}");
    }
    user.run(&["show", "zz"]).failed(1, &["snapshot zz", "`onefold snapshots`"]);
    let out = user.path("users.jsonl");
    let to = out.to_str().unwrap();
    let said = user.run(&["restore", "--to", "json", "--table", "lab.users", "--out", to]).fine();
    assert_eq!(said, "112 rows written\n");
    assert_eq!(lines(&fs::read_to_string(&out).unwrap()), users);
    let again = user.run(&["restore", "--to", "json", "--table", "lab.users", "--out", to]);
    again.failed(1, &[to, "nothing is yet"]);
}

/// The README shows what `tools/demo` prints; but for the sizes, which differ with random names.
#[test]
fn the_readmes_figures() {
    let user = User::new();
    let said = user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let drift = user.run(&["drift", "--table", "lab.users"]).fine();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let first = said.lines().find(|line| line.contains(" tables, ")).unwrap();
    for line in drift.lines().chain([first]) {
        assert!(readme.contains(line), "the README does not show: {line}");
    }
}

#[test]
fn every_table_comes_back_as_json() {
    let root = capture("cassandra-5.0");
    let user = backed_up(&["--keep-node-views"]);
    let out = user.path("all");
    user.run(&["restore", "latest", "--to", "json", "--out", out.to_str().unwrap()]).fine();
    let mut compared = 0;
    let written = || files_below(&out).into_iter().filter(|file| !file.ends_with("restore.json"));
    for file in written() {
        let name = file.file_stem().unwrap().to_str().unwrap();
        // Of clusterings that compare equal, Cassandra shows the spelling of whichever replica answers first.
        let Some(table) = name.strip_prefix("lab.").filter(|t| *t != "equal_keys") else { continue };
        assert_eq!(lines(&fs::read_to_string(&file).unwrap()), expected(&root, table), "{table}");
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
    // All on standard output are the same rows.
    let printed = user.run(&["restore", "latest", "--to", "json"]).fine();
    let written: String = written().map(|f| fs::read_to_string(f).unwrap()).collect();
    assert_eq!(printed, written);
}

#[test]
fn a_partition_a_row_and_their_times() {
    let root = capture("cassandra-5.0");
    let user = backed_up(&[]);
    let find = |table: &str, condition: &str, more: &[&str]| {
        let args = ["restore", "latest", "--to", "json", "--table", table, "--where", condition];
        lines(&user.run(&[&args[..], more].concat()).fine())
    };
    let row = expected(&root, "users").into_iter().find(|r| r.starts_with("{\"id\": 356355,")).unwrap();
    assert_eq!(find("lab.users", "id = 356355", &[]), [row]);
    assert!(find("lab.users", "id = 1", &[]).is_empty());
    let orders = expected(&root, "orders");
    let of_five: Vec<String> = orders.iter().filter(|r| r.starts_with("{\"customer\": 5,")).cloned().collect();
    assert!(of_five.len() > 2 && of_five.len() < orders.len());
    assert_eq!(find("lab.orders", "customer = 5", &[]), of_five);
    let day = find("lab.orders", "customer = 5 AND at >= '2026-01-29' AND at < '2026-01-30'", &[]);
    let of_day: Vec<String> = of_five.iter().filter(|r| r.contains("\"at\": \"2026-01-29")).cloned().collect();
    assert!(!of_day.is_empty());
    assert_eq!(day, of_day);

    let times = fs::read_to_string(root.join("expected/lab.users.times.jsonl")).unwrap();
    let shown = find("lab.users", "id = 356355", &["--writetime", "--ttl"]);
    let truth = times.lines().find(|r| r.starts_with("{\"id\": 356355,")).unwrap();
    let (truth, shown): (BTreeMap<String, Value>, BTreeMap<String, Value>) =
        (serde_json::from_str(truth).unwrap(), serde_json::from_str(&shown[0]).unwrap());
    truth.iter().for_each(|(name, value)| assert_eq!(value, &shown[name], "{name}"));
    let ttl = find("lab.expiring", "k = 5", &["--ttl"]).remove(0);
    assert!(ttl.contains("\"ttl(v)\": 1576") && !ttl.contains("writetime"), "{ttl}");
}

#[test]
fn every_command_speaks_json() {
    let user = User::new();
    let key = user.path("other-key");
    let init = ran(user
        .command()
        .env_remove("ONEFOLD_KEY_FILE")
        .args(["init", "--json", "-r", user.path("other").to_str().unwrap(), "--new-key-file"])
        .arg(&key));
    assert_eq!(init.objects()[0]["message_type"], "initialized");
    let done = user.backup(&three(&capture("cassandra-5.0")), &["--json"]);
    let summary = done.objects().pop().unwrap();
    assert_eq!((&summary["message_type"], &summary["complete"]), (&"summary".into(), &true.into()));
    let id = summary["snapshot"].as_str().unwrap();
    assert_eq!(user.snapshots(), [id]);
    assert_eq!(user.show()["id"], id);
    let listed = user.run(&["ls", "--json"]).objects();
    let kinds: BTreeSet<&str> = listed.iter().map(|o| o["message_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["file", "summary", "table"]));
    let stats = user.run(&["stats", "--json"]).objects().remove(0);
    assert_eq!(stats["bytes_stored"].as_u64().unwrap(), user.stored());
    let drift = user.run(&["drift", "--json"]).objects();
    assert_eq!(drift.len(), 111, "36 tables and the total, of three nodes");
    assert!(
        drift.iter().any(|d| d["missing"].as_u64() > Some(0)) && drift.iter().any(|d| d["stale"].as_u64() > Some(0))
    );
    let checked = user.run(&["check", "--read-data", "--json"]).objects();
    assert_eq!((checked.len(), &checked[0]["problems"]), (1, &0.into()));
    let out = user.path("files");
    let restored = user.run(&["restore", "--to", "files", "--json", "--out", out.to_str().unwrap()]);
    assert_eq!(restored.objects()[0]["files"].as_u64().unwrap() as usize, files_below(&out).len());
    let rows = user.path("rows");
    user.run(&["restore", "--to", "json", "--json", "--out", rows.to_str().unwrap()]).objects();
    user.run(&["restore", "--to", "json", "--json", "--dry-run"]).objects();
    let failed = user.run(&["show", "zz", "--json"]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), ""));
    let error = objects(&failed.err).remove(0);
    assert_eq!((&error["message_type"], &error["code"]), (&"exit_error".into(), &1.into()));
    assert!(error["hint"].is_string());
}

#[test]
fn kept_files_come_back_byte_for_byte() {
    let root = capture("cassandra-5.0");
    let user = backed_up(&[]);
    let out = user.path("files");
    let args = ["restore", "latest", "--to", "files", "--node", "n1", "--out", out.to_str().unwrap()];
    let would = user.run(&[&args[..], &["--dry-run"]].concat()).fine();
    assert!(would.contains("would be written") && !out.exists());
    user.run(&args).fine();
    let mut names = BTreeSet::new();
    for file in files_below(&out) {
        let name = file.strip_prefix(out.join("n1")).unwrap().to_path_buf();
        assert!(fs::read(&file).unwrap() == fs::read(root.join("node1").join(&name)).unwrap(), "{}", name.display());
        names.insert(name);
    }
    // Everything of the node's own tables, and every table's schema.
    for file in files_below(&root.join("node1")) {
        let name = file.strip_prefix(root.join("node1")).unwrap();
        let last = name.file_name().unwrap().to_str().unwrap();
        let rebuilt = last == "manifest.json";
        let own = name.starts_with("system") || name.starts_with("system_schema");
        assert_eq!(names.contains(name), (own && !rebuilt) || last == "schema.cql", "{}", name.display());
    }
    // Repeated it compares what is there, brings back what is missing, and leaves alone what is another file.
    let some = files_below(&out).into_iter().find(|f| fs::metadata(f).unwrap().len() > 1).unwrap();
    let bytes = fs::read(&some).unwrap();
    fs::remove_file(&some).unwrap();
    user.run(&args).fine();
    assert!(fs::read(&some).unwrap() == bytes);
    for other in [&bytes[1..], &[&bytes[..], b"x"].concat(), &[&bytes[1..], &bytes[..1]].concat()] {
        fs::write(&some, other).unwrap();
        user.run(&args).failed(1, &[some.to_str().unwrap(), "other contents", "empty folder"]);
    }
    user.run(&["restore", "--to", "files"]).failed(1, &["--out DIR"]);
}

#[test]
fn the_same_again_adds_next_to_nothing() {
    let root = capture("cassandra-5.0");
    let user = backed_up(&[]);
    let stored = user.stored();
    let summary = user.backup(&three(&root), &["--json"]).objects().pop().unwrap();
    assert_eq!(summary["stored"]["chunks_new"], 0, "{summary}");
    assert_eq!(summary["stored"]["packs"], 0);
    // The snapshot's own document and the log's entries, each in two copies, are all there is.
    let grown = user.stored() - stored;
    assert!(grown < summary["bytes_read"].as_u64().unwrap() / 20, "{grown}");
    let ids = user.snapshots();
    let show = |id: &str| user.run(&["show", id, "--json"]).objects().remove(0);
    let (one, two) = (show(&ids[0]), show(&ids[1]));
    assert_eq!((&one["shards"], &one["files"]), (&two["shards"], &two["files"]));

    // A copy of a node is not another replica. Without `system` it has no host id, but its address tells.
    let copied = user.path("node4");
    copy(&root.join("node3"), &copied, &|table| !table.starts_with("system/"));
    let fourth = format!("--node=n4@127.0.0.3={}", copied.display());
    user.backup(&three(&root), &[&fourth]).failed(1, &["nodes n3 and n4", "same address 127.0.0.3"]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let user = User::new();
    let before = files_below(&user.path("repo"));
    let nodes = three(&capture("cassandra-5.0"));
    let said = user.backup(&nodes, &["--dry-run"]).fine();
    assert!(said.contains("36 tables") && !said.contains("snapshot"), "{said}");
    let summary = user.backup(&nodes, &["--dry-run", "--json"]).objects().pop().unwrap();
    assert_eq!((&summary["dry_run"], &summary["snapshot"]), (&true.into(), &Value::Null));
    assert_eq!(files_below(&user.path("repo")), before);
    assert_eq!(user.snapshots().len(), 0);
    user.run(&["show"]).failed(1, &["latest", "no snapshot yet"]);
    user.run(&["stats"]).fine();
}

#[test]
fn a_nodes_own_rows() {
    let root = capture("cassandra-5.0");
    let user = backed_up(&["--keep-node-views"]);
    // What a node alone holds is what a backup of that node alone gives.
    let alone = User::new();
    assert_eq!(alone.backup(&[root.join("node2")], &[]).code, Some(4));
    for table in ["lab.users", "lab.orders", "lab.collections", "lab.statics", "lab.ranges", "lab.counters"] {
        let args = ["restore", "--to", "json", "--table", table, "--node", "n2"];
        assert_eq!(lines(&user.run(&args).fine()), alone.rows("latest", table), "{table}");
    }
    assert_ne!(alone.rows("latest", "lab.users"), expected(&root, "users"));
    let args = ["restore", "--to", "json", "--table", "lab.users", "--node", "n2", "--where", "id = 356355"];
    assert_eq!(lines(&user.run(&args).fine()).len(), 1);
    alone.run(&["restore", "--to", "json", "--node", "n1"]).failed(1, &["own views", "--keep-node-views"]);
}

#[test]
fn a_password_opens_what_it_made() {
    let dir = tempfile::tempdir().unwrap();
    let user = User::new();
    let repo = dir.path().join("with-password");
    let with = |password: &str, args: &[&str]| {
        let mut command = user.command();
        command.env_remove("ONEFOLD_KEY_FILE").env("ONEFOLD_PASSWORD", password).arg("--no-cache");
        ran(command.arg("-r").arg(&repo).args(args))
    };
    with("correct horse", &["init"]).fine();
    with("correct horse", &["init"]).failed(1, &["with-password", "already"]);
    with("wrong", &["snapshots"]).failed(12, &["with-password", "wrong password", "nothing was changed"]);
    with("", &["snapshots"]).failed(12, &["ONEFOLD_PASSWORD", "no password"]);
    let file = dir.path().join("file");
    fs::write(&file, "correct horse\nnot this\n").unwrap();
    with("wrong", &["snapshots", "--password-file", file.to_str().unwrap()]).fine();
    with("wrong", &["snapshots", "--password-command", "echo correct horse"]).fine();
    with("wrong", &["snapshots", "--password-command", "sh -c 'exit 3'"])
        .failed(12, &["password command", "exit status: 3"]);
}

#[test]
fn lists_are_narrowed_and_summed_up() {
    let user = User::new();
    let root = capture("cassandra-5.0");
    let nodes: Vec<_> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
    // Of one table there is no folder, of another an empty one; of a third one node has none.
    for (node, (from, to)) in three(&root).iter().zip(&nodes).enumerate() {
        copy(from, to, &|table| table != "lab/tiny");
        fs::remove_dir_all(table_dir(to, "lab", "wide")).unwrap();
        if node == 1 {
            fs::remove_dir_all(table_dir(to, "lab", "zstd")).unwrap();
        }
    }
    user.backup(&nodes, &[]);
    let ls = |more: &[&str]| lines(&user.run(&[&["ls"], more].concat()).fine());
    let all = ls(&[]);
    let has = |line: &str| assert!(all.iter().any(|l| l.starts_with(line)), "{line}: {all:#?}");
    has("table  lab.wide  not captured");
    has("table  lab.tiny  0 rows  0 B read");
    assert!(all.iter().any(|l| l.starts_with("table  lab.zstd  ") && l.ends_with("not captured of n2")), "{all:#?}");
    let of = |start: &str, end: &str| all.iter().filter(|l| l.starts_with(start) && l.ends_with(end)).count();
    let (tables, in_lab, not_captured) = (of("table", ""), of("table  lab.", ""), of("table", "  not captured"));
    let total =
        |lines: &[String], words: &str| assert!(lines.iter().any(|l| l.starts_with(words)), "{words}: {lines:#?}");
    total(&all, &format!("total  {tables} tables, "));
    assert!(
        (1..20).contains(&not_captured) && all.iter().any(|l| l.contains(&format!(" {not_captured} not captured")))
    );

    let one = ls(&["--table", "lab.users"]);
    assert!(one[0].starts_with("table  lab.users  112 rows") && one.iter().skip(1).all(|l| !l.starts_with("table")));
    total(&one, "total  1 tables, 0 of them empty, 0 not captured, 112 rows");
    total(&one, "total  3 files");
    for (args, count) in [
        (&["--table", "lab.*"][..], in_lab),
        (&["--table", "*.users"], 1),
        (&["--table", "lab.user?"], 1),
        (&["--table", "lab.\"Quoted\""], 1),
        (&["--table", "nothing*"], 0),
        (&["--in", "lab"], in_lab),
        (&["--keyspace", "lab", "--table", "*users"], 1),
        (&["--node", "n2"], tables - not_captured - 1),
        (&["--files"], 0),
    ] {
        let listed = ls(args);
        assert_eq!(listed.iter().filter(|l| l.starts_with("table")).count(), count, "{args:?} {listed:#?}");
    }
    let of_node = ls(&["--files", "--node", "n2"]);
    assert!(of_node.iter().all(|l| l.starts_with("file   n2  ") || l.starts_with("total  ")) && of_node.len() > 10);
    user.run(&["ls", "--table", "lab.usres"]).failed(1, &["perhaps lab.users"]);
    user.run(&["ls", "--keyspace", "nowhere"]).failed(1, &["--in nowhere", "its tables lie in lab"]);
    user.run(&["ls", "--node", "n9"]).failed(1, &["n9", "n1, n2, n3"]);
    let objects = user.run(&["ls", "--json"]).objects();
    let wide = objects.iter().find(|o| o["name"] == "lab.wide").unwrap();
    let tiny = objects.iter().find(|o| o["name"] == "lab.tiny").unwrap();
    assert_eq!((&wide["captured"], &tiny["captured"], &tiny["rows"]), (&false.into(), &true.into(), &0.into()));
    let summary = objects.last().unwrap();
    assert_eq!((&summary["tables"], &summary["not_captured"]), (&tables.into(), &not_captured.into()));
    let rows: u64 = objects.iter().filter_map(|o| o["rows"].as_u64()).sum();
    assert_eq!(summary["rows"].as_u64().unwrap() * 2, rows);

    let drift = |more: &[&str]| lines(&user.run(&[&["drift"], more].concat()).fine());
    let whole = drift(&[]);
    assert_eq!(whole.len(), 1 + 3 * tables + 3);
    let counts = |line: &String| line.split("  ").skip(2).map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    for node in ["n1", "n2", "n3"] {
        let of_node: Vec<_> = whole.iter().skip(1).filter(|l| l.split("  ").nth(1) == Some(node)).collect();
        let (total, each) = of_node.split_last().unwrap();
        assert!(total.starts_with("total  "));
        let sum = each.iter().fold(vec![0; 6], |sum, l| sum.iter().zip(counts(l)).map(|(a, b)| a + b).collect());
        assert_eq!(counts(total), sum);
    }
    assert_eq!(drift(&["--in", "lab", "--node", "n3"]).len(), 1 + (in_lab) + 1);
    assert_eq!(drift(&["--table", "lab.users", "--node", "n3"]).len(), 2);
    assert_eq!(drift(&["--table", "lab.user*"]).len(), 4);
    user.run(&["drift", "--table", "lab.user*", "--samples", "3"]).failed(1, &["lab.user*"]);
}
