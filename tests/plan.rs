//! What `plan` says, against what the backup then does.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::user::{User, capture, copy, nodes, three};

/// Files below, and the bytes in them.
fn below(dir: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.metadata().unwrap() {
            of if of.is_dir() => {
                let (f, b) = below(&entry.path());
                (files, bytes) = (files + f, bytes + b);
            }
            of => (files, bytes) = (files + 1, bytes + of.len()),
        }
    }
    (files, bytes)
}

fn plan(user: &User, root: &Path, more: &[&str]) -> Value {
    let nodes = nodes(&three(root));
    let args: Vec<&str> = nodes.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let told = user.run(&[&["plan", "cassandra", "--cluster", "prod", "--json"][..], &args].concat());
    assert_eq!(told.code, Some(0), "{told:?}");
    told.objects().pop().unwrap()
}

#[test]
fn a_plan_says_what_the_backup_writes_and_writes_nothing() {
    let user = User::new();
    let dir = tempfile::tempdir().unwrap();
    let whole = capture("cassandra-5.0");
    let without = dir.path().join("without");
    for node in ["node1", "node2", "node3"] {
        copy(&whole.join(node), &without.join(node), &|table| table != "lab/users");
    }
    let mut added = Vec::new();
    // The first night; one that changed nothing; one on which a table was emptied.
    let emptied: &[&str] = &["--accept-emptied", "lab.users"];
    for (night, (root, accepted)) in [(&whole, &[][..]), (&whole, &[]), (&without, emptied)].into_iter().enumerate() {
        let before = below(&user.path("repo"));
        // Twice: what the first has looked up and counted is not there for the second.
        let plans = [plan(&user, root, accepted), plan(&user, root, accepted)];
        assert_eq!(below(&user.path("repo")), before, "a plan wrote something");
        user.backup(&three(root), accepted).fine();
        let after = below(&user.path("repo"));
        let wrote = (after.0 - before.0, after.1 - before.1);
        for plan in plans {
            let (creates, bytes) = (&plan["requests"]["creates"], plan["requests"]["bytes_created"].as_u64().unwrap());
            // Frames go to one of two open packs at random, and few frames may fill one only.
            assert!(creates.as_u64().unwrap().abs_diff(wrote.0) <= 1, "night {night}: {wrote:?} written, {plan}");
            assert!(bytes.abs_diff(wrote.1) <= wrote.1 / 20, "night {night}: {bytes} planned, {wrote:?} written");
        }
        added.push(wrote.1);
    }
    assert!(added[1] < added[0] / 4, "{added:?}");
    user.run(&["check", "--read-data"]).fine();
}

#[test]
fn time_and_cost_are_by_what_the_user_gives() {
    let user = User::new();
    let root = capture("cassandra-5.0");
    let table = user.path("prices.toml");
    fs::write(&table, "currency = \"EUR\"\nwrites-per-1000 = 5\nstorage-gib-month = 100\n").unwrap();
    let table = table.to_str().unwrap();
    let told = plan(&user, &root, &["--prices", table, "--upload-rate", "10"]);
    let (creates, bytes) =
        (told["requests"]["creates"].as_f64().unwrap(), told["requests"]["bytes_created"].as_f64().unwrap());
    let near = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-9 * expected;
    let lists = told["requests"]["lists"].as_f64().unwrap();
    assert!(near(&told["cost"]["once"], (creates + lists) * 0.005), "{told}");
    assert!(near(&told["cost"]["month"], bytes / f64::from(1 << 30) * 100.0), "{told}");
    assert!(near(&told["seconds_upload"], bytes / 10240.0), "{told}");
    assert_eq!((&told["currency"], &told["complete"]), (&"EUR".into(), &true.into()));

    let nodes = nodes(&three(&root));
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let plan = |more: &[&str]| user.run(&[&["plan", "cassandra", "--cluster", "prod"][..], more, &nodes].concat());
    let said = plan(&["--prices", table]).fine();
    for word in ["36 tables", "would add", "requests:", "--upload-rate", "EUR once"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    fs::write(table, "currency = \"EUR\"\nputs = 5\n").unwrap();
    plan(&["--prices", table]).failed(1, &["line 2", "puts", "docs/stores.md"]);
    plan(&["--prices", "/no/such/table"]).failed(1, &["/no/such/table"]);
    // A replica that is missing is missing in the plan, too.
    let two = user.run(&["plan", "cassandra", "--cluster", "prod", nodes[0], nodes[1]]);
    two.failed(4, &["not read"]);
}
