//! `onefold pin`, `unpin` and `tag`: the administrator's word on snapshots.

use serde_json::{Value, json};

use crate::user::{User, capture, three};

/// A user with two snapshots, both labelled `nightly`.
fn two_nights() -> (User, Vec<String>) {
    let (user, root) = (User::new(), capture("cassandra-5.0"));
    for _ in 0..2 {
        user.backup(&three(&root), &["--tag", "nightly", "--keyspace", "lab"]).fine();
    }
    let ids = user.snapshots();
    (user, ids)
}

/// What `snapshots --json` says of each: its labels, whether it is pinned, why.
fn said(user: &User) -> Vec<Value> {
    let all = user.run(&["snapshots", "--json"]).objects();
    all.iter().map(|s| json!([s["tags"], s["pinned"], s["reason"]])).collect()
}

/// Why each stays by a policy; none: it goes.
fn reasons(user: &User, policy: &[&str]) -> Vec<Vec<String>> {
    let ran = user.run(&[&["forget", "--grace", "0s", "--dry-run", "--json"], policy].concat());
    let all = ran.objects();
    let verdicts = all.iter().filter(|o| o["message_type"] == "verdict");
    verdicts.map(|v| serde_json::from_value(v["reasons"].clone()).unwrap()).collect()
}

#[test]
fn what_is_pinned_stays() {
    let (user, ids) = two_nights();
    let pinned = user.run(&["pin", &ids[0], "--reason", "for the auditors"]).fine();
    assert_eq!(pinned, format!("pinned  {}  for the auditors\n", &ids[0][..10]));
    assert_eq!(said(&user)[0], json!([["nightly"], true, "for the auditors"]));
    assert!(user.run(&["snapshots"]).fine().lines().next().unwrap().ends_with("nightly  pinned: for the auditors"));
    assert!(user.run(&["show", &ids[0]]).fine().contains("pinned     for the auditors"));

    let refused = ["is pinned: for the auditors", "onefold unpin", "nothing was forgotten"];
    user.run(&["forget", &ids[0]]).failed(1, &refused);
    user.run(&["forget", &ids[0], &ids[1], "--unsafe-allow-remove-all"]).failed(1, &refused);
    assert_eq!(user.snapshots(), ids);
    assert_eq!(reasons(&user, &["--keep-last", "1"])[0], ["pinned: for the auditors"]);
    user.run(&["forget", "--grace", "0s", "--keep-last", "1"]).fine();
    assert_eq!(user.snapshots(), ids, "no policy forgets it");

    // The reason stays where none is given anew.
    user.run(&["pin", &ids[0]]).fine();
    assert_eq!(said(&user)[0], json!([["nightly"], true, "for the auditors"]));
    user.run(&["unpin", &ids[1]]).failed(1, &["is not pinned"]);
    user.run(&["unpin", &ids[0]]).fine();
    assert_eq!(said(&user)[0], json!([["nightly"], false, ""]));
    assert_eq!(reasons(&user, &["--keep-last", "1"])[0], Vec::<String>::new());
    user.run(&["pin", "zz"]).failed(1, &["there is no such snapshot"]);
    user.run(&["pin", &ids[0], "--reason", &"x".repeat(5000)]).failed(1, &["remark"]);
    user.run(&["forget", &ids[0]]).fine();
    assert!(user.run(&["check"]).fine().contains("no damage found"));
}

#[test]
fn the_administrators_labels_stand_in_place_of_the_backups() {
    let (user, ids) = two_nights();
    let policy = ["--keep-tag", "nightly"];
    assert!(reasons(&user, &policy).iter().all(|why| why.contains(&"tag nightly".to_owned())));
    let tagged = user.run(&["tag", &ids[0], "--add", "audit,first", "--remove", "nightly"]).fine();
    assert_eq!(tagged, format!("tagged  {}  audit  first\n", &ids[0][..10]));
    assert_eq!(said(&user), [json!([["audit", "first"], false, ""]), json!([["nightly"], false, ""])]);
    let shown = user.run(&["show", &ids[0]]).fine();
    assert!(shown.contains("tag        audit\n") && shown.contains("the backup was given nightly"), "{shown}");
    assert_eq!(reasons(&user, &policy)[0], Vec::<String>::new(), "what the backup was given no longer counts");
    assert_eq!(reasons(&user, &["--keep-tag", "audit"])[0], ["tag audit"]);
    let listed = user.run(&["snapshots", "--tag", "nightly", "--json"]).objects();
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &Value::from(ids[1].clone())));
    // Of one group with itself.
    let grouped = user.run(&["forget", "--group-by", "tags", "--keep-last", "1", "--dry-run", "--grace", "0s"]).fine();
    assert!(grouped.contains("tags audit,first  #audit  #first  last"), "{grouped}");

    user.run(&["tag", &ids[0], "--set", ""]).fine();
    assert_eq!(said(&user)[0], json!([[], false, ""]));
    user.run(&["tag", &ids[0], &ids[1], "--set", "b,a,b"]).fine();
    assert_eq!(said(&user), [json!([["a", "b"], false, ""]), json!([["a", "b"], false, ""])]);
    user.run(&["tag", &ids[0]]).failed(1, &["--set"]);
    user.run(&["tag", &ids[0], "--set", "a", "--add", "b"]).failed(1, &["--add"]);
}

#[test]
fn only_an_administrator_says_so() {
    let (user, ids) = two_nights();
    let key = |role: &str| {
        let path = user.path(role).to_str().unwrap().to_owned();
        user.run(&["key", "add", "--role", role, "--new-key-file", &path]).fine();
        path
    };
    for role in ["write", "read"] {
        let path = key(role);
        for args in [&["pin", &ids[0]][..], &["unpin", &ids[0]], &["tag", &ids[0], "--set", "x"]] {
            user.run(&[args, &["--key-file", &path]].concat()).failed(12, &["admin"]);
        }
    }
    // Without *read* nobody knows which labels the backup was given.
    let path = key("admin");
    let as_admin = |args: &[&str]| user.run(&[args, &["--key-file", &path]].concat());
    as_admin(&["tag", &ids[0], "--add", "x"]).failed(12, &["read"]);
    as_admin(&["tag", &ids[0], "--set", "x"]).fine();
    as_admin(&["tag", &ids[0], "--add", "y"]).fine();
    as_admin(&["pin", &ids[0], "--reason", "why"]).fine();
    as_admin(&["forget", &ids[0]]).failed(1, &["is pinned: why"]);
    assert_eq!(said(&user)[0], json!([["x", "y"], true, "why"]));
}
