//! Rows as files: whole or not there; options that belong elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::placing::folders::options;
use onefold::engine::cassandra::sstable::write::{LateTimes, SsTableWriter};
use onefold::engine::cassandra::sstable::{Descriptor, READ_BUFFER, SsTable, Version};
use onefold::run::Record;
use repo_format::record::check;
use serde_json::Value;

use crate::user::{Ran, User, capture, copy, files_below, table_dir, three};
use crate::world::collect;

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

/// All rows of everything, in a form, into a folder.
fn all(user: &User, form: &str, out: &Path, more: &[&str]) -> Ran {
    user.run(&[&["restore", "--no-cache", "--to", form, "--out", out.to_str().unwrap()], more].concat())
}

/// Files by name, but for the document of the restore.
fn contents(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_below(out).into_iter().filter(|file| !file.ends_with("restore.json"));
    files.map(|file| (file.strip_prefix(out).unwrap().to_owned(), fs::read(&file).unwrap())).collect()
}

fn document(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("restore.json")).unwrap()).unwrap()
}

/// Where room runs out, or somebody kills it, the same command goes on; what it did not write it does not touch.
#[test]
fn a_restore_of_all_tables_goes_on() {
    let user = backed_up();
    for form in ["json", "csv"] {
        let (whole, out) = (user.path(&format!("{form}-whole")), user.path(form));
        all(&user, form, &whole, &[]).fine();
        let wanted = contents(&whole);
        assert_eq!(document(&whole)["state"], "complete");

        let args = ["restore", "--no-cache", "--to", form, "--out", out.to_str().unwrap()];
        user.run_with_little_room(16, &args).failed(1, &["make room and repeat the command", "are kept"]);
        let done = contents(&out);
        assert!((1..wanted.len()).contains(&done.len()), "{} of {}", done.len(), wanted.len());
        assert!(done.iter().all(|(name, bytes)| wanted[name] == *bytes), "a file is not whole");
        assert_eq!(document(&out)["state"], "writing");
        // As a kill leaves it: written down as done and not yet named; begun; done.
        fs::remove_file(out.join(done.keys().next().unwrap())).unwrap();
        let next = wanted.keys().find(|name| !done.contains_key(*name)).unwrap();
        fs::write(out.join(format!("{}.new", next.display())), "half").unwrap();
        let said = all(&user, form, &out, &[]).fine();
        assert!(said.contains(&format!("{} of the tables were there already", done.len() - 1)), "{said}");
        assert!(contents(&out) == wanted);
        let rows = all(&user, form, &out, &["--json"]).objects().remove(0);
        assert_eq!((&rows["rows"], &rows["kept"]), (&0.into(), &wanted.len().into()));
        assert!(contents(&out) == wanted && files_below(&out).len() == wanted.len() + 1);
    }

    let out = user.path("json");
    let wanted = contents(&out);
    let refused = |words: &[&str], form: &str, more: &[&str]| {
        let before = contents(&out);
        all(&user, form, &out, more).failed(1, words);
        assert!(contents(&out) == before, "{words:?}");
    };
    // Another restore: of other options, another form, another snapshot.
    refused(&["other arguments", "writetime", "another --out"], "json", &["--writetime"]);
    refused(&["other arguments", "unowned", "another --out"], "json", &["--include-unowned"]);
    refused(&["other arguments", "--to json", "another --out"], "csv", &[]);
    // What was changed meanwhile, or is not ours, is named and left alone.
    let users = out.join("lab.users.jsonl");
    let bytes = fs::read(&users).unwrap();
    fs::write(&users, "{}\n").unwrap();
    refused(&["lab.users.jsonl", "was changed since"], "json", &[]);
    fs::remove_file(&users).unwrap();
    all(&user, "json", &out, &[]).fine();
    assert!(fs::read(&users).unwrap() == bytes && contents(&out) == wanted);
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    refused(&["other arguments", "snapshot"], "json", &[]);
    let mine = user.path("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("restore.json"), "mine").unwrap();
    all(&user, "json", &mine, &[]).failed(1, &["restore.json", "not one of ours", "--out"]);
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
    // Two at once are not.
    let _held = fs::File::open(&out).unwrap();
    _held.try_lock().unwrap();
    all(&user, "json", &out, &[user.snapshots()[0].as_str()]).failed(11, &["another restore is writing there"]);
}

/// Writes an SSTable of a captured table anew, with one text in it made another of the same length that is no UTF-8.
fn spoil_text(node: &Path, table: &str, text: &str) {
    let folder = table_dir(node, "lab", table);
    let schema = cql::parse(&fs::read_to_string(folder.join("schema.cql")).unwrap()).unwrap().into_table().unwrap();
    for generation in 1.. {
        let (descriptor, _) = Descriptor::parse(&format!("nb-{generation}-big-Data.db")).unwrap();
        let opened = SsTable::open(&folder.as_path().into(), &descriptor, &schema).unwrap();
        let mut records = collect(&mut opened.run(READ_BUFFER).unwrap()).unwrap();
        let mut places = records.iter_mut().filter_map(|r| {
            let at = r.body.windows(text.len()).position(|w| w == text.as_bytes())?;
            Some(&mut r.body[at])
        });
        let Some(place) = places.next() else { continue };
        *place = 0xff;
        for file in
            files_below(&folder).iter().filter(|f| f.to_str().unwrap().contains(&format!("nb-{generation}-big-")))
        {
            fs::remove_file(file).unwrap();
        }
        let options = options(&schema, Version::Nb, LateTimes::Refuse, 0).unwrap();
        let mut writer = SsTableWriter::create(&folder, 90, &schema, &options).unwrap();
        for r in &records {
            let traits = check(&r.body).unwrap();
            let record = Record { key: &r.key, group_len: r.group_len, class: r.class, traits, body: &r.body };
            writer.push(&record).unwrap();
        }
        writer.finish().unwrap();
        return;
    }
}

/// A table that cannot be written is named, by key and column, and passed; it is no damage, and the others are all there.
#[test]
fn one_table_does_not_stop_the_others() {
    let user = User::new();
    let keep = |table: &str| !["lab/unified", "lab/indexed"].contains(&table);
    let nodes: Vec<PathBuf> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
    three(&capture("cassandra-5.0")).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, &keep));
    let good = user.path("good");
    user.backup(&nodes, &[]);
    all(&user, "json", &good, &[]);
    spoil_text(&nodes[0], "users", "teto be doramis");
    user.backup(&nodes, &[]);
    let wanted = contents(&good);
    for form in ["json", "csv"] {
        let out = user.path(form);
        let said = all(&user, form, &out, &[]);
        said.failed(
            3,
            &["lab.users", "{\"id\": 356355}", "column address", "not restored", "1 of ", "the others are done"],
        );
        assert_eq!(said.err.matches("not restored").count(), 1, "{said:?}");
        let written = contents(&out);
        assert_eq!(written.len(), wanted.len() - 1);
        assert!(!written.keys().any(|name| name.to_str().unwrap().starts_with("lab.users.")), "half a table is there");
        assert!(form == "csv" || written.iter().all(|(name, bytes)| wanted[name] == *bytes));
        assert_eq!(document(&out)["state"], "writing");
        // Again: the others are kept, the one is named again.
        all(&user, form, &out, &["--json"]).failed(3, &["lab.users"]);
        assert!(contents(&out) == written);
        let printed = user.run(&["restore", "--to", form]);
        printed.failed(3, &["lab.users", "column address"]);
        assert!(printed.out.len() >= written.values().map(Vec::len).sum::<usize>());
        user.run(&["restore", "--to", form, "--table", "lab.users"])
            .failed(1, &["lab.users", "356355", "column address"]);
    }
    user.run(&["check", "--read-data"]).fine();
    // SSTables carry the bytes as they are.
    let out = user.path("sstables");
    all(&user, "sstables", &out, &["--layout", "once"]).fine();
    assert!(out.join("once/lab/users").is_dir());
}

/// Damage of the repository in some tables is exit 5, and the other tables are written all the same.
#[test]
fn damage_in_one_table_does_not_stop_the_others() {
    let user = User::new();
    // All rows are so few that one frame may hold them: those of one table come later, into a pack of their own.
    user.backup(&three(&capture("cassandra-5.0")), &["--exclude", "lab.users"]).fine();
    user.backup(&three(&capture("cassandra-5.0")), &[]).fine();
    let wanted = {
        let good = user.path("good");
        all(&user, "json", &good, &[]).fine();
        contents(&good)
    };
    let packs = files_below(&user.path("repo").join("pack"));
    let pack = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let whole = fs::read(pack).unwrap();
    let mut seen = 0;
    for part in 1..8 {
        let mut bytes = whole.clone();
        let at = bytes.len() * part / 8;
        bytes[at] ^= 1;
        fs::remove_file(pack).unwrap();
        fs::write(pack, bytes).unwrap();
        let out = user.path(&format!("out{part}"));
        let said = all(&user, "json", &out, &[]);
        let written = if out.is_dir() { contents(&out) } else { BTreeMap::new() };
        assert!(written.iter().all(|(name, bytes)| wanted[name] == *bytes), "a file is not whole");
        // The list of kept files may lie beside the rows, and is no table.
        let is_of_table = |line: &&str| line.contains("not restored") && !line.contains("the list cannot be read");
        let named = said.err.lines().filter(is_of_table).count();
        match said.code {
            // Bytes that no row is in.
            Some(0) => assert_eq!(written.len(), wanted.len()),
            Some(5) => assert_eq!(written.len() + named, wanted.len(), "{said:?}"),
            _ => panic!("{said:?}"),
        }
        seen += usize::from(said.code == Some(5) && !written.is_empty());
        let out = user.path(&format!("sstables{part}"));
        let said = all(&user, "sstables", &out, &["--layout", "once"]);
        assert!([Some(0), Some(5)].contains(&said.code), "{said:?}");
        assert!(said.code == Some(0) || out.join("once/lab").is_dir(), "{said:?}");
    }
    assert!(seen > 0, "no damage left a table whole");
}

/// The longest names that Cassandra allows are together longer than a file's may be.
#[test]
fn the_longest_names_are_restored() {
    let user = User::new();
    let (keyspace, table) = ("k".repeat(48), format!("T{}", "_".repeat(221)));
    let from = table_dir(&capture("cassandra-5.0").join("node1"), "lab", "tiny");
    let id = from.file_name().unwrap().to_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
    let node = user.path("node");
    let long = node.join(&keyspace).join(format!("{table}-{id}"));
    fs::create_dir_all(&long).unwrap();
    for file in files_below(&from) {
        fs::copy(&file, long.join(file.file_name().unwrap())).unwrap();
    }
    let schema = fs::read_to_string(from.join("schema.cql")).unwrap();
    fs::write(long.join("schema.cql"), schema.replace("lab.tiny", &format!("{keyspace}.\"{table}\""))).unwrap();
    copy(&capture("cassandra-5.0").join("node1"), &node, &|table| table == "lab/users");
    let backup = user.backup(&[node], &[]);
    assert_eq!(backup.code, Some(4), "{backup:?}");
    for (form, extension) in [("json", "jsonl"), ("csv", "csv")] {
        let out = user.path(form);
        all(&user, form, &out, &[]).fine();
        assert!(out.join(format!("lab.users.{extension}")).is_file());
        let written = fs::read(out.join(&keyspace).join(format!("{table}.{extension}"))).unwrap();
        let name = format!("{keyspace}.{table}");
        assert_eq!(String::from_utf8(written).unwrap(), user.run(&["restore", "--to", form, "--table", &name]).fine());
        let said = all(&user, form, &out, &[]).fine();
        assert!(said.contains("2 of the tables were there already"), "{said}");
    }
    all(&user, "sstables", &user.path("sstables"), &["--layout", "once"]).fine();
}
