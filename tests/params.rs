//! Parameters from a file: the same as on the command line, which counts before it; what does not fit is refused by name.

use std::fs;

use serde_json::{Value, json};

use crate::user::{User, capture, expected, lines, three};

/// Writes a file of parameters, and gives its path.
fn file(user: &User, says: &str) -> String {
    let path = user.path("params.json");
    fs::write(&path, says).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_backup_and_a_restore_from_files() {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    let nodes: Vec<String> = three(&root).iter().zip(1..).map(|(dir, n)| format!("n{n}={}", dir.display())).collect();
    let says =
        json!({ "cluster": "prod", "node": nodes, "tag": ["nightly"], "keyspace": "lab", "keep-node-views": true });
    let params = file(&user, &says.to_string());
    user.run(&["backup", "cassandra", "--params", &params, "--tag", "by-hand"]).fine();
    let shown = user.show();
    let said = (&shown["cluster"], &shown["tags"], &shown["narrowed"]["only"], &shown["node_views"]);
    assert_eq!(said, (&json!("prod"), &json!(["by-hand"]), &json!(["lab"]), &Value::Bool(true)), "{shown}");

    let out = user.path("users.jsonl");
    let params = file(&user, &json!({ "table": "lab.users", "out": out }).to_string());
    user.run(&["restore", "--to", "json", &format!("--params={params}")]).fine();
    assert_eq!(lines(&fs::read_to_string(&out).unwrap()), expected(&root, "users"));
    // What the file gives is what an option beside it requires.
    let params = file(&user, r#"{"table": "lab.users", "writetime": false}"#);
    let found = user.run(&["restore", "--to", "json", "--params", &params, "--where", "id = 356355"]).fine();
    assert_eq!(lines(&found).len(), 1, "{found}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let user = User::new();
    let refused = |says: &str, args: &[&str], words: &[&str]| {
        let params = file(&user, says);
        let of_file = words.iter().map(|word| word.replace("FILE", &params)).collect::<Vec<_>>();
        let of_file: Vec<&str> = of_file.iter().map(String::as_str).collect();
        user.run(&[args, &["--params", &params]].concat()).failed(1, &of_file);
    };
    let backup = &["backup", "cassandra"][..];
    refused(r#"{"cluster": "prod"}"#, backup, &["--node: is missing", "give --node NAME[@ADDRESS]=DIR[,DIR…]"]);
    refused(r#"{"clutser": "prod"}"#, backup, &["FILE: --clutser: is no parameter", "perhaps cluster"]);
    refused(r#"{"node": ["n1"]}"#, backup, &["FILE: --node n1: has no folder"]);
    refused(r#"{"cluster": "prod", "cluster": "p"}"#, backup, &["FILE: --cluster: is given twice"]);
    refused(r#"{"compression-level": 20}"#, backup, &["FILE: --compression-level 20: 20 is not in 1..=19"]);
    refused("cluster: prod", backup, &["FILE: parameters: expected value at line 1", "write a JSON object"]);
    let rows = &["restore", "--to", "json"][..];
    refused(r#"{"where": "a = 1"}"#, rows, &["--where: means nothing without --table", "give --table TABLE, too"]);
    refused(r#"{"rate": "5"}"#, rows, &["restore --to json: has no option --rate", "--rate belongs to --to cassandra"]);
    refused(
        r#"{"node": "n1"}"#,
        &[rows, &["--include-unowned"]].concat(),
        &["--include-unowned: cannot be given with --node"],
    );
    refused(r#"{"to": "json"}"#, rows, &["FILE: --to: is no parameter"]);
    user.run(&["backup", "cassandra", "--params", "/no/such.json"]).failed(1, &["/no/such.json: No such file"]);
    let large = user.path("large.json");
    fs::write(&large, vec![b' '; (1 << 20) + 1]).unwrap();
    user.run(&[backup, &["--params", large.to_str().unwrap()]].concat()).failed(1, &["is longer than 1 MiB"]);
    // Without a file the command line's own words, and those of the tables where it lets something through.
    user.run(&["backup", "cassandra"]).failed(1, &["required arguments", "--cluster <CLUSTER>"]);
    let ring = ["restore", "--to", "sstables", "--ring", "r", "--cql-user", "me", "--cql-password-file", "f"];
    user.run(&ring).failed(1, &["--cql-user: means nothing without --contact", "give --contact A,B…, too"]);
}
