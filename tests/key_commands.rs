//! `onefold key`, and a machine whose credential only writes: nights with it, and all that a thief could try.

use std::fs;
use std::path::Path;

use crate::user::{Ran, User, capture, expected, files_below, ran, three};

/// A machine with its own key file and cache, and nothing of the user's but the store.
struct Machine<'u> {
    user: &'u User,
    name: &'static str,
}

impl Machine<'_> {
    fn run(&self, args: &[&str]) -> Ran {
        let key = self.user.path(&format!("{}.key", self.name));
        let mut command = self.user.command();
        command.env("ONEFOLD_KEY_FILE", key).env("ONEFOLD_CACHE_DIR", self.user.path(self.name));
        ran(command.args(args))
    }

    fn backup(&self) -> Ran {
        let nodes = crate::user::nodes(&three(&capture("cassandra-5.0")));
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        self.run(&[&["backup", "cassandra", "--cluster", "prod", "--json"], &nodes[..]].concat())
    }
}

#[test]
fn a_machine_that_only_writes_backs_up_and_reads_nothing() {
    let user = User::new();
    let at = |name: &str| user.path(name).to_str().unwrap().to_owned();
    user.run(&["key", "add", "--role", "write", "--new-key-file", &at("machine.key")]).fine();
    let machine = Machine { user: &user, name: "machine" };
    let summary = |ran: &Ran| {
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.objects().pop().unwrap()
    };
    let first = summary(&machine.backup());
    let second = machine.backup();
    let again = summary(&second);
    assert!(first["stored"]["chunks_new"].as_u64() > Some(100), "{first}");
    assert_eq!(again["stored"]["chunks_new"], 0, "{again}");
    assert_eq!(again["complete"], true);
    // Both are compared with the machine's own state; that a lost one leaves nothing to compare with is said.
    assert!(!(first["notes"].to_string() + &again["notes"].to_string()).contains("read role"), "{first} {again}");
    fs::remove_dir_all(user.path("state")).unwrap();
    let without = summary(&machine.backup());
    assert!(without["notes"].to_string().contains("does not hold the read role"), "{without}");
    assert_eq!((&without["stored"]["chunks_new"], &without["complete"]), (&0.into(), &true.into()));

    let tries: [&[&str]; 14] = [
        &["restore", "--to", "json", "--table", "lab.users"],
        &["restore", "--to", "json"],
        &["restore", "--to", "csv", "--table", "lab.users"],
        &["restore", "--to", "files", "--out", &at("stolen")],
        &["restore", "--to", "sstables", "--out", &at("stolen")],
        &["restore", "--to", "json", "--dry-run"],
        &["ls"],
        &["ls", "--files"],
        &["show"],
        &["stats"],
        &["snapshots"],
        &["drift"],
        &["drift", "--table", "lab.users", "--samples", "3"],
        &["check", "--read-data"],
    ];
    for args in tries {
        let tried = machine.run(args);
        tried.failed(12, &["this credential holds write", "the work needs read", "onefold key list"]);
        assert_eq!(tried.out, "", "{args:?}");
    }
    assert!(!user.path("stolen").exists());
    for args in [&["key", "add", "--role", "write", "--new-key-file", &at("more")][..], &["key", "remove", "00"]] {
        machine.run(args).failed(12, &["the work needs admin"]);
    }
    machine.run(&["key", "add", "--role", "read", "--new-key-file", &at("more")]).failed(12, &["the work needs read"]);
    assert!(!user.path("more").exists(), "a key file that opens nothing");
    let checked = machine.run(&["check"]).fine();
    assert!(checked.contains("not opened, for want of the read role"), "{checked}");

    // What it leaves on its disk and in the store shows no value and no name.
    let users = expected(&capture("cassandra-5.0"), "users");
    assert_eq!(user.rows("latest", "lab.users"), users);
    let address = |row: &String| {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        row["address"].as_str().map(str::to_owned)
    };
    let address = users.iter().find_map(address).unwrap();
    for word in ["lab.users", "settings", &address] {
        for file in files_below(&user.path("machine")).iter().chain(&files_below(&user.path("repo"))) {
            let bytes = fs::read(file).unwrap();
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{word} in {}", file.display());
        }
    }
    user.run(&["check", "--read-data"]).fine();
}

/// Every line that `key` prints, and no secret in it.
#[test]
fn keys_are_listed_added_and_removed() {
    let user = User::new();
    let file = user.path("words");
    fs::write(&file, "correct horse battery\n").unwrap();
    let file = file.to_str().unwrap();
    let mut said = String::new();
    let mut key = |args: &[&str]| {
        let ran = user.run(&[&["key"], args].concat());
        said += &format!("{}{}", ran.out, ran.err);
        ran
    };
    let added = key(&["add", "--role", "read,admin", "--new-password-file", file, "--json"]).objects().remove(0);
    assert_eq!((&added["message_type"], &added["writer"]), (&"added".into(), &serde_json::Value::Null));
    assert_eq!(added["roles"], serde_json::json!(["read", "admin"]));
    let machine = user.path("machine.key");
    let printed = key(&["add", "--role", "write", "--new-key-file", machine.to_str().unwrap()]).fine();
    assert!(printed.contains("added credential") && printed.contains("its writer is"), "{printed}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&machine).unwrap().permissions());
    assert_eq!(mode & 0o077, 0);

    let listed = key(&["list", "--json"]).objects();
    let of = |kind: &str| listed.iter().filter(|o| o["message_type"] == kind).collect::<Vec<_>>();
    assert_eq!((of("credential").len(), of("writer").len()), (3, 2));
    assert_eq!(of("credential").iter().filter(|c| c["own"] == true).count(), 1);
    let by_password = of("credential").into_iter().find(|c| c["opened_by"] == "password").unwrap();
    assert_eq!((&by_password["id"], &by_password["roles"]), (&added["id"], &added["roles"]));
    let lines = key(&["list"]).fine();
    for line in
        ["  write,read,admin  key file  (opened this)", "  read,admin  password", "  write  key file", "writer  "]
    {
        assert!(lines.contains(line), "{line}: {lines}");
    }
    let with_password = |args: &[&str]| {
        let mut command = user.command();
        ran(command.env_remove("ONEFOLD_KEY_FILE").args(args).args(["--password-file", file]))
    };
    with_password(&["snapshots"]).fine();
    let nodes = crate::user::nodes(&three(&capture("cassandra-5.0")));
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    let tried = with_password(&[&["backup", "cassandra", "--cluster", "c"], &nodes[..]].concat());
    tried.failed(12, &["this credential holds read+admin", "the work needs write"]);

    // What makes no sense, and what is there already.
    key(&["add", "--role", "write", "--new-password-file", file])
        .failed(1, &["is opened by the new password", "another"]);
    key(&["add", "--role", "owner", "--new-password-file", file]).failed(1, &["owner", "write", "read", "admin"]);
    key(&["add", "--new-password-file", file]).failed(1, &["--role"]);
    key(&["add", "--role", "read", "--new-key-file", machine.to_str().unwrap()]).failed(1, &["machine.key"]);
    assert!(Path::new(&machine).exists(), "a key file that was there stays");
    key(&["remove", "zz"]).failed(1, &["key zz", "`onefold key list`"]);
    let own = of("credential").into_iter().find(|c| c["own"] == true).unwrap()["id"].as_str().unwrap();
    key(&["remove", own]).failed(12, &["last way in", "key add --role write,read,admin"]);

    let id = added["id"].as_str().unwrap();
    let printed = key(&["remove", &id[..12]]).fine();
    assert!(printed.contains("removed credential") && printed.contains("revokes nothing by itself"), "{printed}");
    with_password(&["snapshots"]).failed(12, &["wrong password or key file"]);
    let writer = of("writer").into_iter().find(|w| w["own"] == false).unwrap()["id"].as_str().unwrap();
    let gone = key(&["remove", writer, "--json"]).objects().remove(0);
    assert_eq!((&gone["kind"], &gone["id"]), (&"writer".into(), &writer.into()));
    assert_eq!(key(&["list", "--json"]).objects().len(), 3);

    let hex = |path: &Path| fs::read_to_string(path).unwrap().lines().nth(1).unwrap().to_owned();
    for secret in ["correct horse".to_owned(), hex(&machine), hex(&user.path("key"))] {
        assert!(!said.contains(&secret), "{said}");
    }
}
