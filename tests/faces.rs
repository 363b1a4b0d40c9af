//! What surrounds the program: places that are none, pipes that close, disks that are full, modes of files, odd names.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::user::{Ran, User, capture, copy, expected, files_below, lines, ran, table_dir, three};

/// A user with a backup of few tables.
fn small() -> (User, Vec<std::path::PathBuf>) {
    let (root, user) = (capture("cassandra-5.0"), User::new());
    let keep = |table: &str| table.starts_with("system") || ["lab/users", "lab/orders", "lab/tiny"].contains(&table);
    let nodes: Vec<_> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
    three(&root).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, &keep));
    (user, nodes)
}

/// The program, in a folder, with what it prints going to `out`.
fn printing_to(user: &User, args: &[&str], out: &Path) -> Ran {
    let mut command = user.command();
    let out = File::options().write(true).open(out).unwrap();
    let done = command.args(args).stdout(out).stderr(Stdio::piped()).output().unwrap();
    Ran { code: done.status.code(), out: String::new(), err: String::from_utf8(done.stderr).unwrap() }
}

#[test]
fn what_is_a_place_elsewhere_is_no_folder() {
    let user = User::new();
    let here = user.path("here");
    fs::create_dir(&here).unwrap();
    let run = |place: &OsStr, by_environment: bool, args: &[&str]| {
        let mut command = user.command();
        command.current_dir(&here).args(args);
        match by_environment {
            true => command.env("ONEFOLD_REPOSITORY", place),
            false => command.arg("-r").arg(place),
        };
        ran(&mut command)
    };
    let elsewhere = [
        "s3:s3.amazonaws.com/bucket/cass",
        "b2:bucket:cass",
        "sftp:me@host:/srv/repo",
        "rclone:remote:path",
        "ftp:bucket:/x",
        "azure:box:/x",
        "rest:https://host/",
        "me@host:/srv/repo",
        "host:/srv",
        "10.0.0.1:/srv",
        "[::1]:/srv",
        "ftp://bucket/x",
        "ssh://host/x",
        "file:///srv/x",
        "~/repo",
        "~me/repo",
        "~",
        "c:/repo",
    ];
    for place in elsewhere {
        for by_environment in [false, true] {
            for args in [&["init"][..], &["snapshots"]] {
                run(OsStr::new(place), by_environment, args).failed(1, &[place, "called so"]);
            }
        }
        let out = ["restore", "--to", "json", "--out", place];
        ran(user.command().current_dir(&here).args(out)).failed(1, &[place]);
    }
    run(OsStr::new("swift:box:/x"), false, &["init"]).failed(1, &["swift:box:/x", "swift://CONTAINER"]);
    assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "something was made of a place elsewhere");

    // Folders may be called anything: by a path, or where they are there.
    fs::create_dir(here.join("b2:is there")).unwrap();
    let odd = OsString::from_vec(b"not \xff text".to_vec());
    let places =
        [OsStr::new("./s3:bucket"), OsStr::new("./~"), OsStr::new("b2:is there"), OsStr::new("a/me@host:"), &odd];
    for place in places {
        run(place, false, &["init"]).fine();
        assert!(here.join(place).join("config").is_file(), "{place:?}");
        run(place, true, &["snapshots"]).fine();
    }
}

/// Whatever the shell allows, others get nothing to read.
#[test]
fn what_is_written_is_for_its_user_alone() {
    let user = User { dir: tempfile::tempdir().unwrap() };
    let loose = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_onefold")]).args(args);
        for (name, value) in user.command().get_envs() {
            value.map(|value| command.env(name, value));
        }
        ran(&mut command)
    };
    let at = |name: &str| user.path(name).to_str().unwrap().to_owned();
    ran(user.command().env_remove("ONEFOLD_KEY_FILE").args(["init", "--new-key-file", &at("key")])).fine();
    fs::remove_dir_all(user.path("repo")).unwrap();
    loose(&["init"]).fine();
    let nodes = crate::user::nodes(&three(&capture("cassandra-5.0")));
    let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
    loose(&[&["backup", "cassandra", "--cluster", "prod"], &nodes[..]].concat()).fine();
    let ring = capture("cassandra-5.0").join("ring.txt");
    for (form, more) in [("json", &[][..]), ("files", &[]), ("sstables", &["--ring", ring.to_str().unwrap()])] {
        let args = ["restore", "--to", form, "--out", &at(form)];
        assert_eq!(loose(&[&args[..], more].concat()).code, Some(0), "{form}");
    }
    for made in ["repo", "cache", "json", "files", "sstables"] {
        let (mut folders, mut seen) = (vec![user.path(made)], 0);
        while let Some(path) = folders.pop() {
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{mode:o} {}", path.display());
            seen += 1;
            if path.is_dir() {
                folders.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        assert!(seen > 5, "{made}");
    }
    // Man pages are for everybody, in a folder that need not be there.
    loose(&["man", &at("share/man")]).fine();
    let pages = files_below(&user.path("share/man"));
    assert!(pages.iter().any(|page| page.ends_with("onefold-restore.1")));
    assert!(pages.iter().all(|page| fs::metadata(page).unwrap().permissions().mode() & 0o044 == 0o044));
}

#[test]
fn a_password_is_text_without_a_mark() {
    let user = User::new();
    let with = |bytes: &[u8], args: &[&str]| {
        fs::write(user.path("password"), bytes).unwrap();
        let mut command = user.command();
        command.env_remove("ONEFOLD_KEY_FILE").env("ONEFOLD_REPOSITORY", user.path("with-password")).arg("--no-cache");
        ran(command.arg("--password-file").arg(user.path("password")).args(args))
    };
    with("größe 1".as_bytes(), &["init"]).fine();
    for same in ["größe 1\n", "größe 1\r\n", "\u{feff}größe 1", "\u{feff}größe 1\r\nmore\n"] {
        with(same.as_bytes(), &["snapshots"]).fine();
    }
    for other in ["größe 1 ", " größe 1", "\u{feff}\u{feff}größe 1", "gro\u{308}ße 1"] {
        with(other.as_bytes(), &["snapshots"]).failed(12, &["wrong password"]);
    }
    let latin = b"gr\xf6\xdfe 1\n";
    let wide: Vec<u8> = "\u{feff}größe 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [&latin[..], &wide] {
        with(bytes, &["snapshots"]).failed(12, &["password", "not UTF-8"]);
    }
    for nothing in ["", "\n", "\r\n", "\u{feff}", "\u{feff}\n"] {
        with(nothing.as_bytes(), &["snapshots"]).failed(12, &["no password"]);
    }
    let mut command = user.command();
    command.env_remove("ONEFOLD_KEY_FILE").env("ONEFOLD_REPOSITORY", user.path("with-password")).arg("snapshots");
    ran(command.env("ONEFOLD_PASSWORD", OsStr::from_bytes(latin))).failed(12, &["ONEFOLD_PASSWORD", "not UTF-8"]);
    let mut command = user.command();
    let key = fs::read(user.path("key")).unwrap();
    fs::write(user.path("marked-key"), [b"\xef\xbb\xbf", &key[..]].concat()).unwrap();
    ran(command.arg("snapshots").arg("--key-file").arg(user.path("marked-key"))).fine();
    fs::write(user.path("no-key"), b"\xff\xfe").unwrap();
    user.run(&["snapshots", "--key-file", user.path("no-key").to_str().unwrap()])
        .failed(12, &["no-key", "no key file"]);
}

/// Every command that prints, to a reader that closes, and to a full disk.
#[test]
fn closed_pipes_are_quiet_and_full_disks_are_said() {
    let (user, nodes) = small();
    user.backup(&nodes, &[]).fine();
    let orders = ["restore", "--to", "json", "--table", "lab.orders"];
    let csv = ["restore", "--to", "csv", "--table", "lab.orders"];
    let all: &[&[&str]] = &[
        &["ls"],
        &["snapshots"],
        &["show"],
        &["stats"],
        &["drift"],
        &["check"],
        &["repair", "--dry-run"],
        &["recover", "--dry-run"],
        &["stats", "--by-snapshot"],
        &["diff", "latest"],
        &["diff", "latest", "--json"],
        &["history", "lab.orders", "--where", "customer >= 0"],
        &["find", "1"],
        &["find", "1", "--json"],
        &["ls", "--json"],
        &["show", "--json"],
        &orders,
        &csv,
        &["restore", "--to", "json"],
        &["restore", "--to", "json", "--dry-run"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["--help"],
        &["--version"],
        &["restore", "--help"],
    ];
    for args in all {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = user.command();
        let done = command.args(*args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), said.as_str()), (Some(141), ""), "{args:?}");
        let full = printing_to(&user, args, Path::new("/dev/full"));
        full.failed(1, &["No space left"]);
        assert!(!full.err.contains("panicked"), "{full:?}");
    }
}

/// What is done and stands is no failure because nobody could read of it.
#[test]
fn a_backup_that_cannot_be_printed_stands() {
    let (user, nodes) = small();
    let args = crate::user::nodes(&nodes);
    let args: Vec<&str> =
        ["backup", "cassandra", "--cluster", "prod"].into_iter().chain(args.iter().map(String::as_str)).collect();
    for (n, more) in [(1, &[][..]), (2, &["--json"])] {
        let full = printing_to(&user, &[&args[..], more].concat(), Path::new("/dev/full"));
        let id = user.snapshots().pop().unwrap();
        full.failed(0, &["No space left", &id, "was made"]);
        assert_eq!(user.snapshots().len(), n);
    }
    // With the code that it has of its own.
    let full = printing_to(&user, &args[..args.len() - 1], Path::new("/dev/full"));
    full.failed(4, &["was made"]);
    // A dry run does nothing but print.
    printing_to(&user, &[&args[..], &["--dry-run"]].concat(), Path::new("/dev/full")).failed(1, &["No space left"]);
    assert_eq!(user.snapshots().len(), 3);
    let other = user.path("other");
    printing_to(&user, &["init", "-r", other.to_str().unwrap()], Path::new("/dev/full"))
        .failed(0, &["made repository"]);
    user.run(&["snapshots", "-r", other.to_str().unwrap()]).fine();
}

#[test]
fn names_that_are_no_folder_are_refused_before_anything_is_stored() {
    let (user, nodes) = small();
    let before = files_below(&user.path("repo"));
    let long = "n".repeat(256);
    for name in ["..", ".", "/abs", "a/b", "../x", "a\u{1b}[31m", "a\nb", "a\u{9b}b", long.as_str()] {
        let node = format!("--node={name}={}", nodes[0].display());
        let refused = user.backup(&[], &[&node]);
        refused.failed(1, &["cannot be called so", "255 bytes"]);
        assert!(refused.err.lines().all(|line| !line.contains(char::is_control)), "{refused:?}");
    }
    assert_eq!(files_below(&user.path("repo")), before);
    // All others, in folders of any name, come back.
    let odd = user.path("x").with_file_name(OsStr::from_bytes(b"node \xff,=@"));
    copy(&nodes[1], &odd, &|_| true);
    let long = "n".repeat(255);
    let mut backup = user.command();
    backup.args(["backup", "cassandra", "--cluster", "prod"]).arg(format!("--node={long}={}", nodes[0].display()));
    let mut node = OsString::from("--node=größe 2=");
    node.push(&odd);
    backup.arg(node).arg(format!("--node=...={}", nodes[2].display()));
    ran(&mut backup).fine();
    let out = user.path("files");
    user.run(&["restore", "--to", "files", "--out", out.to_str().unwrap()]).fine();
    for (name, from) in [(long.as_str(), &nodes[0]), ("größe 2", &odd), ("...", &nodes[2])] {
        let schema = table_dir(from, "lab", "users").join("schema.cql");
        let kept = out.join(name).join(schema.strip_prefix(from).unwrap());
        assert_eq!(fs::read(kept).unwrap(), fs::read(schema).unwrap(), "{name}");
    }
}

#[test]
fn what_a_terminal_obeys_is_not_printed() {
    let (user, nodes) = small();
    let cluster = "p\u{1b}]0;x\u{7}\n\u{202e}od";
    let mut backup = user.command();
    backup.args(["backup", "cassandra", "--cluster", cluster]).args(crate::user::nodes(&nodes));
    ran(&mut backup).fine();
    let looks = [&["snapshots"][..], &["show"], &["ls"], &["drift"], &["diff", "latest"], &["find", "1"]];
    for args in looks {
        let said = user.run(args).fine();
        assert!(!said.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{said:?}");
    }
    assert_eq!(lines(&user.run(&["snapshots"]).fine()).len(), 1);
    assert!(user.run(&["show"]).fine().contains("p\\u{1b}]0;x\\u{7}\\n\\u{202e}od"));
    assert_eq!(user.show()["cluster"], cluster, "JSON says what it is");
    user.run(&["show", ""]).failed(1, &["snapshot", "has no name", "latest"]);
    user.run(&["show", "\u{1b}[2J"]).failed(1, &["\\u{1b}[2J"]);
    let quoted = [
        "restore",
        "--to",
        "sstables",
        "--layout",
        "once",
        "--table",
        "\"lab\".\"users\"",
        "--into",
        "Ks.\"T\"",
        "--dry-run",
    ];
    assert!(user.run(&quoted).fine().contains("Ks.T"));
    assert_eq!(user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"));
}

/// Options, help and man pages are made of tables: each form's are told, and refused with others.
#[test]
fn options_belong_to_their_forms() {
    let user = User::new();
    for (form, option, forms) in [
        ("files", &["--table", "a.b"][..], "--table belongs to --to json, --to csv, --to sstables, --to cassandra"),
        (
            "files",
            &["--include-unowned"],
            "--include-unowned belongs to --to json, --to csv, --to sstables, --to cassandra",
        ),
        ("cassandra", &["--out", "x"], "--out belongs to --to json, --to csv, --to files, --to sstables"),
        ("sstables", &["--node", "n"], "--node belongs to --to json, --to csv, --to files"),
        ("json", &["--contact", "a,b"], "--contact belongs to --to sstables, --to cassandra"),
        ("csv", &["--rate", "5"], "--rate belongs to --to cassandra"),
        ("sstables", &["--writetime"], "--writetime belongs to --to json, --to csv"),
    ] {
        let refused = user.run(&[&["restore", "--to", form], option].concat());
        refused.failed(1, &[&format!("restore --to {form}: has no option {}", option[0]), forms]);
    }
    for (args, words) in [
        (&["--to", "json", "--where", "a = 1"][..], &["--table <TABLE>"][..]),
        (
            &["--to", "sstables", "--table", "a.b", "--with-roles"],
            &["'--table <TABLE>' cannot be used with '--with-roles'"],
        ),
        (&["--to", "cassandra", "--cql-user", "x"], &["--contact <A,B…>", "--cql-password-file <FILE>"]),
        (&["--to", "cassandra", "--concurrency", "0"], &["'0' for '--concurrency <N>'", "1..=1024"]),
        (&["--to", "cassandra", "--expiry", "never"], &["keep, shift, lift"]),
        (&["--to", "cassandr"], &["a similar value exists: 'cassandra'"]),
    ] {
        user.run(&[&["restore"], args].concat()).failed(1, words);
    }
    let help = user.run(&["restore", "--help"]).fine();
    for words in
        ["Options of --to sstables:", "--ring <FILE>", "[default: nodes]", "- once:", "--dry-run", "--to <FORM>"]
    {
        assert!(help.contains(words), "{words}: {help}");
    }
    assert_eq!(help.matches("--replication <OPTIONS>").count(), 1, "{help}");
    let help = user.run(&["backup", "cassandra", "--help"]).fine();
    for words in ["--node <NAME[@ADDRESS]=DIR[,DIR…]>", "--compression-level <LEVEL>", "[default: 1]", "--take-over"]
    {
        assert!(help.contains(words), "{words}: {help}");
    }
    let help = user.run(&["--help"]).fine();
    let places =
        ["init", "backup", "snapshots", "restore", "man"].map(|name| help.find(&format!("\n  {name} ")).unwrap());
    assert!(places.is_sorted(), "{help}");
    user.run(&["man", user.path("man").to_str().unwrap()]).fine();
    let page = |name: &str| fs::read_to_string(user.path("man").join(name)).unwrap().replace('\\', "");
    assert!(page("onefold-restore.1").contains("--sstable-version"));
    assert!(page("onefold-backup-cassandra.1").contains("--data-center"));
    for shell in ["bash", "zsh", "fish"] {
        let said = user.run(&["completions", shell]).fine();
        assert!(["late-times", "accept-emptied"].iter().all(|name| said.contains(name)), "{shell}");
    }
}
