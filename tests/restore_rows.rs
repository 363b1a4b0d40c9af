//! Rows as files: whole or not there; options that belong elsewhere.

use std::fs;

use crate::user::{User, capture, three};

fn backed_up() -> User {
    let user = User::new();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    user
}

/// A file that is there is whole: where room runs out nothing is left, and the same command may be repeated.
#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let user = backed_up();
    let out = user.path("metrics.jsonl");
    let args = ["restore", "--no-cache", "--to", "json", "--table", "lab.metrics", "--out", out.to_str().unwrap()];
    let ran = user.run_with_little_room(8, &args);
    ran.failed(1, &["metrics.jsonl", "make room and repeat"]);
    let left = |name: &str| {
        fs::read_dir(user.path("")).unwrap().any(|e| e.unwrap().file_name().to_str().unwrap().starts_with(name))
    };
    assert!(!left("metrics"));
    // What a killed restore left under the other name is in nobody's way.
    fs::write(user.path("metrics.jsonl.new"), "{\"half").unwrap();
    user.run(&args).fine();
    let whole = fs::read(&out).unwrap();
    assert!(whole.len() > 8 * 512 && whole.ends_with(b"\n"));
    user.run(&args).failed(1, &["metrics.jsonl", "is there already", "nothing is yet"]);
    assert!(fs::read(&out).unwrap() == whole && !user.path("metrics.jsonl.new").exists());
    // Of all tables none is written where one is there.
    let folder = user.path("all");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("lab.wide.csv"), "mine").unwrap();
    let args = ["restore", "--to", "csv", "--out", folder.to_str().unwrap()];
    user.run(&args).failed(1, &["lab.wide.csv", "is there already"]);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

/// What a form has no use for is a mistake: nobody is left to believe that it was heeded.
#[test]
fn an_option_of_another_form_is_refused() {
    let user = backed_up();
    for (args, words) in [
        (&["--to", "files", "--table", "lab.users"][..], &["--table", "--to json"][..]),
        (&["--to", "files", "--table", "lab.users", "--where", "id = 1"], &["--table"]),
        (&["--to", "sstables", "--layout", "once", "--node", "n1", "--out", "x"], &["--node", "--to files"]),
        (&["--to", "cassandra", "--contact", "a", "--node", "n1"], &["--node"]),
        (&["--to", "cassandra", "--contact", "a", "--out", "x"], &["--out", "--to sstables"]),
        (&["--to", "json", "--contact", "a"], &["--contact", "--to sstables"]),
        (&["--to", "json", "--table", "lab.users", "--where", ""], &["condition", "is empty", "leave --where out"]),
    ] {
        user.run(&[&["restore"], args].concat()).failed(1, words);
    }
}

#[test]
fn names_that_are_nearly_right() {
    let user = backed_up();
    let restore = |table: &str| user.run(&["restore", "--to", "json", "--table", table]);
    restore("lab.usres").failed(1, &["perhaps lab.users", "onefold ls"]);
    restore("Users").failed(1, &["perhaps lab.users"]);
    restore("lab.quoted").failed(1, &["perhaps lab.Quoted"]);
    restore("other.zzzzzzzz").failed(1, &["is not in this snapshot", "`onefold ls` lists"]);
    assert_eq!(restore("lab.\"Quoted\"").fine(), restore("lab.Quoted").fine());
}

/// With --json every end is an object, that of a mistyped option, too.
#[test]
fn a_mistake_on_the_command_line_is_an_object() {
    let user = User::new();
    let ran = user.run(&["--json", "restore", "--to", "json", "--frob"]);
    let error: serde_json::Value = serde_json::from_str(ran.err.trim()).unwrap();
    assert!(ran.code == Some(1) && error["message_type"] == "exit_error", "{ran:?}");
    assert!(error["message"].as_str().unwrap().contains("--frob"), "{error}");
}
