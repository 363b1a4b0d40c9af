//! The ways in, as a user gives them: recipients and identities of age, commands, paper; and `key rotate`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::user::{Ran, User, capture, nodes, ran, three};

/// Two pairs as `age-keygen` writes them.
const OFFLINE: (&str, &str) = (
    "age19x5ga0a8ykc28e4e82ueguu3m5m6eljzcvdhljpzgf3wjj2rgcnshap2z2",
    "# public key: age19x5ga0a8ykc28e4e82ueguu3m5m6eljzcvdhljpzgf3wjj2rgcnshap2z2\n\
     AGE-SECRET-KEY-13XWW0G3SHM7HK46A6WFPYQTC7398XMGASL7ZGCPMJNREHK6KN04SGPDFJC\n",
);

fn backup(user: &User) {
    let nodes = nodes(&three(&capture("cassandra-5.0")));
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    user.run(&[&["backup", "cassandra", "--cluster", "prod"], &nodes[..]].concat()).fine();
}

/// With these arguments, and nothing in the environment that opens the repository.
fn with(user: &User, args: &[&str]) -> Ran {
    ran(user.command().env_remove("ONEFOLD_KEY_FILE").args(args))
}

fn id_of(added: &str) -> String {
    added.split("added credential ").nth(1).unwrap()[..10].to_owned()
}

#[test]
fn a_key_that_lives_offline_is_added_by_its_public_half_and_reads() {
    let user = User::new();
    backup(&user);
    let added = user.run(&["key", "add", "--role", "read", "--recipient", OFFLINE.0]).fine();
    let id = id_of(&added);
    let listed = user.run(&["key", "list"]).fine();
    assert!(listed.contains(&format!("credential  {id}  read  recipient {}\n", OFFLINE.0)), "{listed}");
    let file = user.path("identity");
    fs::write(&file, OFFLINE.1).unwrap();
    let file = file.to_str().unwrap();
    let users = user.rows("latest", "lab.users");
    let args = ["restore", "--to", "json", "--table", "lab.users", "--identity", file];
    assert_eq!(crate::user::lines(&with(&user, &args).fine()), users);
    with(&user, &["key", "rotate", "--identity", file]).failed(12, &["read", "admin"]);
    // The same again, and what is none.
    user.run(&["key", "add", "--role", "read", "--recipient", OFFLINE.0]).failed(1, &["of this recipient already"]);
    let typo = OFFLINE.0.replace("ga0a8", "ga0a9");
    user.run(&["key", "add", "--role", "read", "--recipient", &typo]).failed(12, &["--recipient", "age-keygen"]);
    let plugin = "age1yubikey1qwerty";
    user.run(&["key", "add", "--role", "read", "--recipient", plugin]).failed(12, &["another kind"]);
    user.run(&["key", "add", "--role", "read", "--recipient", OFFLINE.0, "--new-password-file", file])
        .failed(1, &["cannot be used with"]);
    for (text, word) in [
        ("AGE-PLUGIN-YUBIKEY-1QQ\n", "another kind"),
        ("age-encryption.org/v1\n-> scrypt", "--key-command 'age -d FILE'"),
        ("AGE-SECRET-KEY-1TOOSHORT\n", "is no key file"),
    ] {
        fs::write(file, text).unwrap();
        let tried = with(&user, &["snapshots", "--identity", file]);
        tried.failed(12, &[word]);
        assert!(!tried.err.contains("TOOSHORT"));
    }
}

#[test]
fn commands_give_keys_and_no_shell_reads_them() {
    let user = User::new();
    let key = user.path("a key");
    fs::rename(user.path("key"), &key).unwrap();
    let cat = format!("cat '{}'", key.display());
    with(&user, &["snapshots", "--key-command", &cat]).fine();
    let by_variable =
        ran(user.command().env_remove("ONEFOLD_KEY_FILE").env("ONEFOLD_KEY_COMMAND", &cat).arg("snapshots"));
    by_variable.fine();
    let trap = user.path("trap");
    let shell = format!("{cat}; touch {}", trap.display());
    with(&user, &["snapshots", "--key-command", &shell]).failed(12, &["key command", "ended with"]);
    with(&user, &["snapshots", "--key-command", "cat '"]).failed(1, &["not closed", "without a shell"]);
    with(&user, &["snapshots", "--key-command", "no-such-program"]).failed(12, &["no-such-program", "without a shell"]);
    with(&user, &["snapshots", "--key-command", "yes"]).failed(12, &["more than 65536 bytes"]);
    with(&user, &["snapshots", "--key-command", "echo onefold"]).failed(12, &["key command", "is no key file"]);
    assert!(!trap.exists());

    // A new credential for what a key service gives.
    let service = user.path("service");
    fs::write(&service, repo_format::keyfile::KeyFile::from_bytes([5; 32]).to_text().as_bytes()).unwrap();
    let command = format!("cat {}", service.display());
    with(&user, &["key", "add", "--role", "read", "--new-key-command", &command, "--key-command", &cat]).fine();
    with(&user, &["snapshots", "--key-command", &command]).fine();
    let identities = format!("printf %s '{}'", OFFLINE.1.lines().last().unwrap());
    with(&user, &["key", "add", "--role", "read", "--new-key-command", &identities, "--key-command", &cat])
        .failed(12, &["--recipient"]);
}

#[test]
fn what_is_typed_back_from_paper_opens_the_repository() {
    let user = User::new();
    let printed = user.run(&["key", "export", "--paper"]).fine();
    assert!(printed.contains("# repository ") && printed.contains("(write,read,admin)"), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() < 200));
    let typed = user.path("typed");
    let given = |text: &str| {
        fs::write(&typed, text).unwrap();
        with(&user, &["snapshots", "--key-file", typed.to_str().unwrap()])
    };
    given(&printed).fine();
    given(&printed.to_uppercase()).fine();
    // Wrong digits are told by their lines, and the secret is not printed.
    let line = printed.lines().find(|line| line.starts_with("2 ")).unwrap();
    let mut wrong = line.to_owned();
    wrong.replace_range(3..4, if line.as_bytes()[3] == b'0' { "1" } else { "0" });
    let tried = given(&printed.replace(line, &wrong));
    tried.failed(12, &["typed: line 2 does not fit its check", "with the paper"]);
    assert!(!tried.err.contains(&line[3..10]) && !tried.err.contains(&wrong[3..10]));
    given(&printed.replace("\n3 ", "\n# 3 ")).failed(12, &["line 3 is missing"]);
    let object = user.run(&["key", "export", "--paper", "--json"]).objects().remove(0);
    let lines = object["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    assert_eq!(lines.collect::<Vec<_>>(), printed.lines().collect::<Vec<_>>());
    let file = user.path("paper");
    assert_eq!(user.run(&["key", "export", "--paper", "--out", file.to_str().unwrap()]).fine(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), printed);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    user.run(&["key", "export", "--paper", "--out", file.to_str().unwrap()]).failed(1, &["paper"]);
    user.run(&["key", "export"]).failed(1, &["--paper"]);

    let words = user.path("words");
    fs::write(&words, "correct horse\n").unwrap();
    let words = words.to_str().unwrap();
    user.run(&["key", "add", "--role", "read", "--new-password-file", words]).fine();
    with(&user, &["key", "export", "--paper", "--password-file", words]).failed(1, &["not opened with a key file"]);
}

/// Every line that `key rotate` prints.
#[test]
fn a_rotation_says_who_reads_on_and_who_does_not() {
    let user = User::new();
    backup(&user);
    let at = |name: &str| user.path(name).to_str().unwrap().to_owned();
    let reader = id_of(&user.run(&["key", "add", "--role", "read", "--new-key-file", &at("reader")]).fine());
    let by = |name: &str, args: &[&str]| with(&user, &[args, &["--key-file", &at(name)]].concat());
    let given = by("reader", &["key", "add", "--role", "read", "--new-key-file", &at("given")]);
    assert!(given.err.contains("no admin stands for this credential"), "{given:?}");
    let given = id_of(&given.fine());
    let listed = user.run(&["key", "list"]).fine();
    let unlisted =
        format!("credential  {given}  read  key file  (not listed: reads nothing written after a rotation)\n");
    assert!(listed.contains(&unlisted), "{listed}");

    let dry = user.run(&["key", "rotate", "--dry-run", "--json"]).objects().remove(0);
    assert_eq!((&dry["epoch"], &dry["dry_run"]), (&2.into(), &true.into()));
    let ran = user.run(&["key", "rotate"]);
    assert!(ran.err.contains("no admin stands for some credentials that read"), "{ran:?}");
    let said = ran.fine();
    let own = user.run(&["key", "list", "--json"]).objects();
    let own = own.iter().find(|one| one["own"] == true).unwrap()["id"].as_str().unwrap()[..10].to_owned();
    let mut expected = vec!["epoch 2 has begun: what is written from now on is closed to what was removed".to_owned()];
    let mut granted = [reader.clone(), own];
    granted.sort();
    expected.extend(granted.iter().map(|id| format!("granted to credential {id}")));
    expected.push(format!("not granted to credential {given}"));
    assert_eq!(crate::user::lines(&said), expected);

    backup(&user);
    let users = user.rows("latest", "lab.users");
    assert_eq!(crate::user::lines(&by("reader", &["restore", "--to", "json", "--table", "lab.users"]).fine()), users);
    by("given", &["show"]).failed(12, &["epoch 2 is closed to this credential", "key rotate"]);
    let first = &user.snapshots()[0];
    by("given", &["show", first]).fine();
    let removed = user.run(&["key", "remove", &reader]).fine();
    assert!(removed.contains("Run `onefold key rotate`"), "{removed}");
    by("reader", &["show"]).failed(12, &["wrong password or key file"]);
}

/// Ids, which differ each time, as `<id>`.
fn without_ids(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let length = rest[start..].find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len() - start);
        out += &rest[..start];
        out += if length < 10 { &rest[start..start + length] } else { "<id>" };
        rest = &rest[start + length..];
    }
    out + rest
}

/// What a user sees, command by command; `ONEFOLD_BLESS` writes it anew.
#[test]
fn what_key_prints() {
    let user = User::new();
    let at = |name: &str| user.path(name).to_str().unwrap().to_owned();
    let mut said = String::new();
    let mut key = |args: &[&str]| {
        let ran = user.run(&[&["key"], args].concat());
        // Credentials and writers are listed by id.
        let mut lines: Vec<String> = without_ids(&ran.out).lines().map(str::to_owned).collect();
        if args[0] == "list" {
            lines.sort();
        }
        let shown = args.join(" ").replace(user.dir.path().to_str().unwrap(), "DIR");
        let err = without_ids(&ran.err).replace(user.dir.path().to_str().unwrap(), "DIR");
        said += &format!("$ onefold key {}\n{}\n", without_ids(&shown), lines.join("\n"));
        said += &err;
        said += &format!("[{}]\n\n", ran.code.unwrap());
        ran
    };
    let machine = id_of(&key(&["add", "--role", "write", "--new-key-file", &at("machine")]).fine());
    key(&["add", "--role", "read,admin", "--recipient", OFFLINE.0]).fine();
    key(&["list"]).fine();
    key(&["rotate", "--dry-run"]).fine();
    key(&["rotate"]).fine();
    key(&["remove", &machine]).fine();
    key(&["add", "--role", "read", "--recipient", OFFLINE.0]);
    key(&["add", "--role", "read", "--new-key-command", "no-such-program --key 'a b'"]);
    key(&["export", "--paper", "--out", &at("paper")]).fine();
    crate::cassandra_schema::golden("keys.txt", &said);
}
