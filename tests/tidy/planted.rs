//! Each rule catches a planted violation, and lets the lawful neighbour pass.

use super::source::Source;
use super::*;

fn one(path: &str, text: &str) -> Vec<Source> {
    many(&[(path, text)])
}

fn many(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::new(path, text)).collect()
}

#[track_caller]
fn caught(complaints: &[String], what: &str) {
    assert!(complaints.len() == 1 && complaints[0].contains(what), "{complaints:?}");
}

#[test]
fn upward_import() {
    caught(&layers(&one("src/tree/read.rs", "use crate::backup::Options;")), "src/tree/read.rs:1: tree (layer 4)");
    caught(&layers(&one("src/store/mod.rs", "\n\nfn f() { crate::repo::open(); }")), "src/store/mod.rs:3");
    caught(&layers(&one("src/merge/mod.rs", "use crate::{error::Result, tree::{self, Root}, run};")), "imports tree");
    caught(&layers(&one("src/store/mod.rs", "use super::cli::x;")), "imports cli");
    caught(&layers(&one("src/store/disk.rs", "use super::super::merge;")), "imports merge");
    caught(&layers(&one("src/watch.rs", "use crate::{\n    run::Record,\n    error,\n};")), "imports run");
}

#[test]
fn sideways_import() {
    caught(&layers(&one("src/tree/mod.rs", "use crate::engine::Source;")), "beside it");
    caught(&layers(&one("src/backup/mod.rs", "use crate::restore::rows;")), "beside it");
    let two = many(&[
        ("src/engine/cassandra/mod.rs", "use crate::engine::mongodb::bson;"),
        ("src/engine/mongodb/mod.rs", "use crate::engine::{Source, Node};"),
    ]);
    caught(&layers(&two), "engine cassandra imports engine mongodb");
}

#[test]
fn engine_named_abroad() {
    let with = |path: &str, text: &str| {
        let home = ("src/engine/mongodb/mod.rs", "pub const NAME: &str = \"mongodb\";");
        let registry =
            [("src/engine/all.rs", "&[&super::mongodb::MongoDb]"), ("src/engine/mod.rs", "pub mod mongodb;\n")];
        many(&[&[home], &registry[..], &[(path, text)]].concat())
    };
    let all = |path: &str, text: &str| engine_names(&with(path, text), &[]);
    caught(&all("src/drift.rs", "\nuse crate::engine::mongodb::bson;"), "src/drift.rs:2: names engine mongodb");
    caught(&all("src/cli/ls.rs", "const S: &str = \"--to mongodb\";"), "names engine mongodb");
    caught(&all("src/cli/ls.rs", "/// As MongoDB does it."), "names engine mongodb");
    caught(&all("src/engine/schema.rs", "fn f(r: MongodbRule) {}"), "names engine mongodb");
    assert_eq!(all("src/engine/mongodb/bson.rs", "use crate::engine::mongodb::x;"), [""; 0]);
    assert_eq!(all("tests/mongodb.rs", "use onefold::engine::mongodb::x;"), [""; 0]);
    assert_eq!(all("src/drift.rs", "#[cfg(test)]\nmod tests {\n    const S: &str = \"mongodb\";\n}\n"), [""; 0]);
    assert_eq!(engine_names(&with("src/a.rs", "mongodb"), &["src/a.rs"]), [""; 0]);
    caught(&engine_names(&with("src/a.rs", "x"), &["src/a.rs"]), "strike it from ENGINE_NAMED");
}

#[test]
fn a_word_of_one_database() {
    caught(&engine_words(&one("src/drift.rs", "\n/// The first token.")), "src/drift.rs:2: `token`");
    caught(&engine_words(&one("src/engine/mod.rs", "let (keyspace, _) = split_name(shard);")), "`keyspace`");
    caught(&engine_words(&one("src/cli/ls.rs", "const S: &str = \"no SSTables\";")), "`sstable`");
    for (path, text) in [
        ("src/engine/mongodb/mod.rs", "// A token."),
        ("tests/drift.rs", "// A token."),
        ("src/drift.rs", "all.partition_point(|x| x < y)"),
        ("src/drift.rs", "#[cfg(test)]\nmod tests {\n    // A token.\n}\n"),
    ] {
        assert_eq!(engine_words(&one(path, text)), [""; 0]);
    }
}

#[test]
fn a_cycle_inside_an_engine() {
    let three = |last: &str| {
        many(&[
            ("src/engine/mongodb/bson.rs", "use super::rule::{self, Rule};"),
            ("src/engine/mongodb/rule/mod.rs", "fn f() -> crate::engine::mongodb::wire::Frame {}"),
            ("src/engine/mongodb/wire.rs", last),
        ])
    };
    let complaints = cycles(&three("\nuse super::bson::*;"));
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(complaints[2].starts_with("src/engine/mongodb/wire.rs:2: mongodb::wire imports bson"), "{complaints:?}");
    for lawful in
        ["use super::text;", "use super::wire::x;", "#[cfg(test)]\nmod tests {\n    use super::super::bson;\n}\n"]
    {
        assert_eq!(cycles(&three(lawful)), [""; 0]);
    }
}

#[test]
fn module_without_a_layer() {
    caught(&layers(&one("src/helpers.rs", "")), "has no layer");
}

#[test]
fn lawful_imports() {
    let text = "use crate::{Error, Kind};\nuse crate::run::{Run, Record};\nuse super::sibling;\n// use crate::cli;\n\
                const S: &str = \"crate::cli::x\";\n#[cfg(test)]\nmod tests {\n    use crate::backup::Options;\n}\n";
    assert_eq!(layers(&one("src/tree/read.rs", text)), [""; 0]);
    assert_eq!(layers(&one("src/main.rs", "use onefold::cli::run;")), [""; 0]);
    assert_eq!(layers(&one("src/check/mod.rs", "use crate::snapshot::Snapshot;")), [""; 0]);
}

#[test]
fn long_file() {
    let long = "fn f() {}\n".repeat(FILE_LINES + 1);
    caught(&lengths(&one("src/a.rs", &long), &[], &[]), "401 lines");
    assert_eq!(lengths(&one("src/a.rs", &long), &[("src/a.rs", 401)], &[]), [""; 0]);
    caught(&lengths(&one("src/a.rs", &long.repeat(2)), &[("src/a.rs", 900)], &[]), "802 lines");
    caught(&lengths(&one("src/a.rs", "fn f() {}"), &[("src/a.rs", 401)], &[]), "strike it");
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(lengths(&one("src/a.rs", &tests), &[], &[]), [""; 0]);
    assert_eq!(lengths(&one("src/a/tests.rs", &long.repeat(3)), &[], &[]), [""; 0]);
}

#[test]
fn long_function() {
    let long =
        |n: usize| format!("fn other() {{}}\nfn f(a: [u8; 2]) -> u8 {{\n{}}}\n", "    let x = \"}\";\n".repeat(n));
    caught(&lengths(&one("src/a.rs", &long(69)), &[], &[]), "src/a.rs:2: fn f has 71 lines");
    assert_eq!(lengths(&one("src/a.rs", &long(68)), &[], &[]), [""; 0]);
    assert_eq!(lengths(&one("src/a.rs", &long(70)), &[], &[("src/a.rs", "f", 72)]), [""; 0]);
    caught(&lengths(&one("src/a.rs", &long(71)), &[], &[("src/a.rs", "f", 72)]), "73 lines; the limit is 72");
    caught(&lengths(&one("src/a.rs", &long(3)), &[], &[("src/a.rs", "f", 72)]), "strike it");
}

#[test]
fn banned_calls() {
    for call in [
        "std::time::SystemTime::now()",
        "Instant::now()",
        "getrandom::fill(&mut b)",
        "rand::random()",
        "x.unwrap()",
        "x.expect(\"y\")",
        "panic!()",
        "todo!()",
        "println!()",
        "eprintln!()",
        "std::env::var(\"X\")",
        "std::process::exit(1)",
        "unsafe { f() }",
    ] {
        let text = format!("fn f() {{ {call} }}\n");
        caught(&banned(&one("src/tree/read.rs", &text)), "src/tree/read.rs:1");
        assert_eq!(banned(&one("src/tree/read.rs", &format!("// {call}\nfn f() {{}}\n"))), [""; 0]);
        assert_eq!(banned(&one("src/tree/read.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}"))), [""; 0]);
        assert_eq!(banned(&one("tests/world.rs", &text)), [""; 0]);
    }
    caught(&banned(&one("tests/world.rs", "#[test]\n#[ignore]\nfn f() {}")), "does not run");
    caught(&banned(&one("repo-format/src/pack.rs", "use std::fs::File;")), "in the format crate");
}

#[test]
fn lawful_calls() {
    let text = "fn f() { self.expect('(')?; lexer.expect(\">\")?; x.unwrap_or(operand); unsafe_code }";
    assert_eq!(banned(&one("src/engine/x/lex.rs", text)), [""; 0]);
    assert_eq!(banned(&one("src/repo/world.rs", "fn f() { getrandom::fill(b); SystemTime::now() }")), [""; 0]);
    assert_eq!(banned(&one("src/cli/show.rs", "fn f() { println!(\"x\") }")), [""; 0]);
}

#[test]
fn file_of_this_machine() {
    for call in ["fs::read(path)", "File::open(path)", "path.exists()", "path.metadata()", "dir.is_dir()"] {
        let text = format!("\nfn f() {{ {call}; }}");
        caught(&machine_files(&one("src/engine/x/read.rs", &text), &[]), "src/engine/x/read.rs:2");
        caught(&machine_files(&one("src/backup/mod.rs", &text), &[]), "src/backup/mod.rs:2");
        assert_eq!(machine_files(&one("src/engine/x/write/a.rs", &text), &[("src/engine/x/write/", "")]), [""; 0]);
        assert_eq!(machine_files(&one("src/volume/local.rs", &text), &[]), [""; 0]);
    }
    caught(&machine_files(&one("src/engine/x/a.rs", "use std::fs;"), &[]), "ask its");
    caught(&machine_files(&one("src/engine/x/a.rs", "f();"), &[("src/engine/x/a.rs", "")]), "strike it");
    let test = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
    assert_eq!(machine_files(&one("src/engine/x/a.rs", test), &[]), [""; 0]);
}

#[test]
fn machine_path() {
    let home = ["", "home", "someone", "x"].join("/");
    caught(&machine_paths(&[("README.md".into(), format!("a\nsee {home}\n"))]), "README.md:2");
    assert_eq!(machine_paths(&[("README.md".into(), "see /backups/repo".into())]), [""; 0]);
}

#[test]
fn missing_section() {
    let spec = "# Format\n## 3. Leaves\n### Object header\n";
    caught(&spec_references(&one("src/a.rs", "//! See SPEC \"Twigs\"."), spec), "no section \"Twigs\"");
    caught(&spec_references(&one("src/a.rs", "//! (SPEC \"Leaves\", \"Runs\")"), spec), "no section \"Runs\"");
    assert_eq!(spec_references(&one("src/a.rs", "//! SPEC \"Leaves\", \"Object header\""), spec), [""; 0]);
    assert_eq!(spec_references(&one("src/a.rs", "//! SPEC \"Object\n//! header\""), spec), [""; 0]);
}

#[test]
fn orphan() {
    let two = |main: &str| many(&[("tests/main.rs", main), ("tests/lost.rs", "")]);
    caught(&orphans(&two("mod found;")), "tests/lost.rs");
    assert_eq!(orphans(&two("mod lost;")), [""; 0]);
    let nested = |m: &str| many(&[("src/lib.rs", "mod a;"), ("src/a/mod.rs", m), ("src/a/b.rs", "")]);
    caught(&orphans(&nested("")), "src/a/b.rs");
    assert_eq!(orphans(&nested("pub mod b;")), [""; 0]);
}

#[test]
fn no_folder_of_sources_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    for passed_over in PASSED_OVER {
        for at in [passed_over.to_owned(), format!("src/engine/x/{passed_over}"), format!("tests/{passed_over}/tests")]
        {
            let at = folder.path().join(at);
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join("a.rs"), "").unwrap();
        }
    }
    let mut found = Vec::new();
    walk(folder.path(), folder.path(), &mut found);
    let mut seen: Vec<String> = found.into_iter().map(|(path, _)| path).collect();
    let below = |top: &'static str| PASSED_OVER.map(|name| format!("{top}/{name}"));
    let mut wanted: Vec<String> = below("src/engine/x").iter().map(|path| format!("{path}/a.rs")).collect();
    wanted.extend(below("tests").iter().map(|path| format!("{path}/tests/a.rs")));
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
}

#[test]
fn parser_without_fuzzing() {
    let body = ("src/engine/x/fuzzing.rs", "pub fn data(bytes: &[u8]) {}\npub fn two(a: &X, b: &[u8]) {}");
    let target =
        ("fuzz/fuzz_targets/x_data.rs", "fuzz_target!(|data: &[u8]| onefold::engine::x::fuzzing::data(data));");
    let manifest = "path = \"fuzz_targets/x_data.rs\"";
    caught(&fuzzing(&many(&[body]), manifest, &[]), "no fuzz target calls data");
    caught(&fuzzing(&many(&[body, target]), "", &["x_data".into()]), "does not build it");
    caught(&fuzzing(&many(&[body, target]), manifest, &["data".into()]), "holds nothing");
    assert_eq!(fuzzing(&many(&[body, target]), manifest, &["x_data".into()]), [""; 0]);
}

#[test]
fn code_without_comments_and_strings() {
    let blanked = |text: &str| Source::new("src/a.rs", text).code.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(blanked("a /* b /* c */ d */ e // f\ng"), "a e g");
    assert_eq!(blanked(r##"a("b\"c", r#"d"e"#, b"f", 'g', '\'', '"')"##), "a( , , b , , , )");
    assert_eq!(blanked("fn f<'a>(x: &'a str) { 'b: loop {} }"), "fn f<'a>(x: &'a str) { 'b: loop {} }");
    assert_eq!(blanked("let ü = 'ü'; x"), "let ü = ; x");
}
