//! What a timer needs: profiles, hooks, the ping, the units of systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::user::{Ran, User, capture, ran, three};

/// A user whose profile has the three nodes of a capture and `more`.
fn with_profile(more: &str) -> User {
    let user = User::new();
    let root = capture("cassandra-5.0");
    let nodes: Vec<String> = three(&root).iter().zip(1..).map(|(dir, n)| format!("n{n}={}", dir.display())).collect();
    let dir = user.dir.path().display();
    let says = format!(
        "repository = \"{dir}/repo\"\nkey-file = \"{dir}/key\"\n[backup.cassandra]\ncluster = \"prod\"\nnode = {}\nkeyspace = [\"lab\"]\n{more}",
        json!(nodes)
    );
    fs::write(user.path("prod.toml"), says).unwrap();
    user
}

/// The program, told nothing but the profile and `args`.
fn run(user: &User, args: &[&str]) -> Ran {
    let mut command = user.command();
    command.env_remove("ONEFOLD_REPOSITORY").env_remove("ONEFOLD_KEY_FILE").current_dir(user.dir.path());
    ran(command.args(["--profile", "prod.toml"]).args(args))
}

/// A hook that writes down what it hears.
fn hooks(user: &Path) -> String {
    let line = |name: &str, then: &str| {
        let log = user.join("log");
        let said = format!("echo $ONEFOLD_HOOK $ONEFOLD_EXIT_CODE $ONEFOLD_SNAPSHOT >> {}; {then}", log.display());
        format!("{name} = {}\n", json!(said))
    };
    ["before", "after", "failed", "finally"].map(|name| line(name, "true")).concat()
}

fn heard(user: &User) -> Vec<String> {
    let log = fs::read_to_string(user.path("log")).unwrap_or_default();
    fs::remove_file(user.path("log")).ok();
    log.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn a_profile_gives_what_nobody_else_does() {
    let user = with_profile("tag = [\"nightly\"]\n[status]\nmax-age = \"26h\"\ncluster = \"prod\"\n");
    run(&user, &["backup", "cassandra"]).fine();
    let shown = user.show();
    assert_eq!((&shown["cluster"], &shown["tags"]), (&json!("prod"), &json!(["nightly"])), "{shown}");
    run(&user, &["backup", "cassandra", "--tag", "by-hand", "--keep-node-views"]).fine();
    let shown = user.show();
    assert_eq!((&shown["node_views"], &shown["tags"]), (&json!(true), &json!(["by-hand"])), "{shown}");
    assert!(run(&user, &["status"]).fine().starts_with("prod (cassandra)  complete"));
    assert_eq!(run(&user, &["status", "--max-age", "0s"]).code, Some(6), "the command line counts before it");

    // Another repository in the environment is what is meant, and what opens it.
    let other = User::new();
    let mut command = other.command();
    let told = ran(command.current_dir(user.dir.path()).args(["--profile", "prod.toml", "snapshots"]));
    assert_eq!(told.fine(), "");

    let mut command = user.command();
    command.env_remove("ONEFOLD_KEY_FILE").env("ONEFOLD_PASSWORD", "wrong").current_dir(user.dir.path());
    ran(command.args(["--profile", "prod.toml", "snapshots"])).failed(12, &[]);

    // By its name, from the user's folder of configurations.
    let config = user.path("config/onefold");
    fs::create_dir_all(&config).unwrap();
    fs::copy(user.path("prod.toml"), config.join("prod.toml")).unwrap();
    let mut command = user.command();
    command.env_remove("ONEFOLD_REPOSITORY").env_remove("ONEFOLD_KEY_FILE").env("XDG_CONFIG_HOME", user.path("config"));
    assert_eq!(ran(command.args(["snapshots", "--profile", "prod"])).fine().lines().count(), 2);
    user.run(&["snapshots", "--profile", "nonesuch"]).failed(1, &["nonesuch", "/etc/onefold/nonesuch.toml"]);
}

#[test]
fn what_nobody_knows_is_refused_by_line() {
    let user = User::new();
    let refused = |says: &str, words: &[&str]| {
        fs::write(user.path("p.toml"), says).unwrap();
        let path = user.path("p.toml");
        for args in [&["show-config"][..], &["backup", "cassandra"]] {
            user.run(&[args, &["--profile", path.to_str().unwrap()]].concat()).failed(1, words);
        }
    };
    refused("repositroy = 'x'", &["p.toml line 1", "repositroy"]);
    refused("\n\n[hooks]\nbefor = 'x'", &["p.toml line 4", "befor"]);
    refused("repository = ", &["p.toml line 1"]);
    refused("repository = 7", &["p.toml line 1"]);
    refused("[status]\nmax-age = 'soon'", &["p.toml line 2", "is no age"]);
    refused("[hooks]\nbefore = ''", &["p.toml", "hooks.before", "names no program"]);
    refused("[hooks]\nbefore = []", &["hooks.before", "names no program"]);
    refused("[hooks]\nping = 'monitor.example'", &["hooks.ping", "is no URL"]);
    refused("[backup.cassandra]\nclutser = 'x'", &["p.toml: backup.cassandra: --clutser", "perhaps cluster"]);
    let known = user.path("p.toml");
    fs::write(&known, "[backup.cassandar]\ncluster = 'x'").unwrap();
    user.run(&["show-config", "--profile", known.to_str().unwrap()]).failed(1, &["no such way in", "cassandra"]);
}

#[test]
fn what_holds_is_shown_without_secrets() {
    let user = with_profile("[hooks]\nafter = ['true', 'x']\n");
    let shown = run(&user, &["show-config"]).fine();
    for line in ["profile  prod.toml", "backup cassandra  cluster = \"prod\"", "hook after  [\"true\",\"x\"]"] {
        assert!(shown.lines().any(|said| said == line), "{line}: {shown}");
    }
    assert!(shown.contains("key  (profile)") && shown.contains("(environment)"), "{shown}");
    let mut command = user.command();
    let told = ran(command.env("ONEFOLD_PASSWORD", "hush").args(["show-config", "--json"]));
    let told: Value = told.objects().remove(0);
    assert_eq!((&told["profile"], &told["options"]["repository"]["from"]), (&Value::Null, &json!("environment")));
    assert!(!told.to_string().contains("hush"), "{told}");
}

#[test]
fn hooks_run_around_a_backup() {
    let user = with_profile("");
    let base = fs::read_to_string(user.path("prod.toml")).unwrap();
    let write = |more: &str| fs::write(user.path("prod.toml"), format!("{base}[hooks]\n{more}")).unwrap();
    write(&hooks(user.dir.path()));
    run(&user, &["backup", "cassandra", "--dry-run"]).fine();
    assert!(heard(&user).is_empty());

    run(&user, &["backup", "cassandra"]).fine();
    let id = user.snapshots().remove(0);
    assert_eq!(heard(&user), ["before".to_owned(), format!("after 0 {id}"), format!("finally 0 {id}")]);

    // Incomplete is no success: a node that owns ranges is away.
    let node = format!("--node=n1={}", capture("cassandra-5.0").join("node1").display());
    assert_eq!(run(&user, &["backup", "cassandra", &node]).code, Some(4));
    let id = user.snapshots().remove(1);
    assert_eq!(heard(&user), ["before".to_owned(), format!("failed 4 {id}"), format!("finally 4 {id}")]);

    // No backup without `before`, and a hook that fails is a failure.
    let with = |name: &str, line: &str| {
        let others = hooks(user.dir.path());
        let others: String = others.lines().filter(|l| !l.starts_with(name)).map(|l| format!("{l}\n")).collect();
        write(&format!("{others}{name} = {line}\n"));
        run(&user, &["backup", "cassandra"])
    };
    with("before", "\"exit 3\"").failed(1, &["hook before: sh", "exit status: 3"]);
    assert_eq!(heard(&user), ["failed 1", "finally 1"]);
    assert_eq!(user.snapshots().len(), 2);
    with("after", "['false']").failed(1, &["hook after: false", "stands all the same"]);
    assert_eq!(heard(&user).len(), 2);
    assert_eq!(user.snapshots().len(), 3);
    with("finally", "['/nonesuch/program']").failed(1, &["hook finally: /nonesuch/program"]);
    assert_eq!(user.snapshots().len(), 4);

    // Results and what hooks print do not mix.
    let said = with("after", "\"echo loud; echo password:$ONEFOLD_PASSWORD\"");
    assert!(!said.out.contains("loud") && said.err.contains("loud\npassword:\n"), "{said:?}");
}

#[cfg(feature = "ping")]
#[test]
fn a_success_is_told_and_nothing_else() {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, asked) = mpsc::channel();
    std::thread::spawn(move || {
        for (n, stream) in (0..).zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            // The first is refused for now: it is asked again.
            let status = if n == 0 { "503 Service Unavailable" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            told.send(line).unwrap();
        }
    });
    let user = with_profile(&format!("[hooks]\nping = \"http://{address}/secret\"\n"));
    run(&user, &["backup", "cassandra"]).fine();
    let lines: Vec<String> = asked.try_iter().collect();
    assert_eq!(lines, ["GET /secret HTTP/1.1\r\n"; 2]);
    let node = format!("--node=n1={}", capture("cassandra-5.0").join("node1").display());
    assert_eq!(run(&user, &["backup", "cassandra", &node]).code, Some(4));
    assert!(asked.try_recv().is_err(), "an incomplete backup is no success");
    assert!(!run(&user, &["show-config"]).fine().contains("secret"));

    // Nobody answers: said without the secret, and the backup stands.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let user = with_profile(&format!("[hooks]\nping = \"http://{closed}/secret\"\n"));
    let told = run(&user, &["backup", "cassandra"]);
    assert!(told.code == Some(0) && told.err.contains(&format!("ping to {closed}: ")), "{told:?}");
    assert!(!told.err.contains("secret"), "{told:?}");
}

/// By systemd's own words, where it is installed.
#[test]
fn the_units_are_what_systemd_takes() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/systemd");
    let here = tempfile::tempdir().unwrap();
    let names =
        ["onefold-backup@.service", "onefold-backup@.timer", "onefold-maintain@.service", "onefold-maintain@.timer"];
    for name in names {
        let text = fs::read_to_string(units.join(name)).unwrap();
        assert!(name.ends_with("timer") || text.contains("ExecStart=/usr/local/bin/onefold --profile %i"), "{text}");
        let text = text.replace("/usr/local/bin/onefold", env!("CARGO_BIN_EXE_onefold")).replace("Documentation=", "#");
        fs::write(here.path().join(name), text).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").args(names.map(|name| here.path().join(name)));
    match command.output() {
        Ok(told) => {
            let complaints = String::from_utf8_lossy(&told.stderr);
            let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("onefold")).collect();
            assert!(ours.is_empty(), "{complaints}");
        }
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::NotFound, "{e}"),
    }
}
