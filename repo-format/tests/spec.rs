//! SPEC.md and the code say the same: diagrams, tables of bytes, numbers, names, contexts, limits.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use repo_format::credential::{Lock, Sets};
use repo_format::frame::FRAME_HEADER_LEN;
use repo_format::id::*;
use repo_format::index::{FILTER_BITS, FILTER_HASHES, INDEX_HEADER_LEN};
use repo_format::key::{Signed, WrappedKey, context};
use repo_format::limits::*;
use repo_format::names::{Name, ObjectKind, PackClass};
use repo_format::pack::{PACK_END, PACK_HEADER_LEN, TRAILER_LEN};
use std::path::PathBuf;
use support::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn spec() -> String {
    std::fs::read_to_string(root().join("SPEC.md")).unwrap()
}

fn source(module: &str) -> String {
    std::fs::read_to_string(root().join(format!("repo-format/src/{module}.rs"))).unwrap()
}

/// Rows of the table whose header starts with these cells; backticks are dropped.
fn table(header: &[&str]) -> Vec<Vec<String>> {
    let spec = spec();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|c| c.trim().trim_matches('`').to_string()).collect()
    };
    let mut lines =
        spec.lines().skip_while(|l| !l.starts_with("| ") || !cells(l).iter().zip(header).all(|(a, b)| a == b));
    assert!(lines.next().is_some(), "SPEC has no table {header:?}");
    lines.skip(1).take_while(|l| l.starts_with('|')).map(cells).collect()
}

#[test]
fn diagrams_are_those_of_the_modules() {
    let spec = spec();
    let modules = [
        "header",
        "config",
        "credential",
        "content",
        "recipient",
        "frame",
        "pack",
        "index",
        "snapshot",
        "log",
        "remark",
        "checkpoint",
        "trim",
        "record",
        "ints",
        "reference",
        "leaf",
        "tree",
        "run_digest",
        "patch",
        "blob",
        "file_tree",
    ];
    for module in modules {
        let mut found = 0;
        let mut block: Option<String> = None;
        for line in source(module).lines() {
            let Some(text) = line.strip_prefix("//!").or(line.strip_prefix("///")) else { continue };
            match (&mut block, text.trim()) {
                (None, "```text") => block = Some(String::new()),
                (Some(done), "```") => {
                    assert!(spec.contains(&format!("```text\n{done}```")), "SPEC lacks this of {module}.rs:\n{done}");
                    found += 1;
                    block = None;
                }
                (Some(block), _) => {
                    block.push_str(text.strip_prefix(' ').unwrap_or(text));
                    block.push('\n');
                }
                (None, _) => {}
            }
        }
        assert!(found > 0, "{module}.rs has no diagram");
    }
}

#[test]
fn sections_that_the_code_refers_to_exist() {
    let spec = spec();
    let files = |folder: &str| std::fs::read_dir(root().join("repo-format/src").join(folder)).unwrap();
    for file in files("").chain(files("leaf")).map(|f| f.unwrap().path()).filter(|f| f.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        for reference in text.split("SPEC \"").skip(1) {
            let section = reference.split('"').next().unwrap();
            assert!(spec.lines().any(|l| l.trim_start_matches('#') == format!(" {section}")), "no section {section:?}");
        }
    }
}

#[test]
fn links_inside_the_document_resolve() {
    let spec = spec();
    let anchors: Vec<String> = spec
        .lines()
        .filter(|l| l.starts_with('#'))
        .map(|l| l.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .collect();
    for link in spec.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap().to_string();
        assert!(anchors.contains(&anchor), "no section for #{anchor}");
    }
}

/// Offset, length and name of the fields of a table of bytes, which must be without gaps.
fn fields(what: &str) -> Vec<(usize, usize, String)> {
    let first = format!("{what}: offset");
    let rows = table(&[&first, "length", "field"]);
    let mut next = 0;
    let number = |s: &str| s.parse::<usize>().unwrap_or_else(|_| panic!("{what}: {s:?} is no number"));
    let fields: Vec<_> = rows.iter().map(|r| (number(&r[0]), number(&r[1]), r[2].clone())).collect();
    for (offset, length, field) in &fields {
        assert_eq!(*offset, next, "{what}: {field}");
        next += length;
    }
    fields
}

/// Checks that each named field of `object` holds these bytes.
fn check_fields(what: &str, object: &[u8], total: usize, expected: &[(&str, &[u8])]) {
    let fields = fields(what);
    let (offset, length, _) = fields.last().unwrap();
    assert_eq!(offset + length, total, "{what}: length");
    for (name, bytes) in expected {
        let (offset, length, _) =
            fields.iter().find(|f| f.2 == *name).unwrap_or_else(|| panic!("{what} has no field {name:?}"));
        assert_eq!(&object[*offset..offset + length], *bytes, "{what}: {name}");
    }
}

#[test]
fn tables_of_bytes_fit_the_objects() {
    let config = config();
    let object = config_object();
    let config_fields: [(&str, &[u8]); 10] = [
        ("repository", &config.repo.0),
        ("flags", &[1]),
        ("chunker", &[1]),
        ("cut average", &CUT_AVERAGE.to_le_bytes()),
        ("frame target", &FRAME_TARGET.to_le_bytes()),
        ("pack target", &PACK_TARGET.to_le_bytes()),
        ("leaf target", &LEAF_TARGET.to_le_bytes()),
        ("branch children", &BRANCH_CHILDREN.to_le_bytes()),
        ("content public", &config.content.key),
        ("admin public", &config.admin.0),
    ];
    check_fields("config", &object, object.len(), &config_fields);

    let frame = frame(&plain(ChunkKind::Leaf, &[text(100)]), 5);
    let length = (frame.len() as u32).to_le_bytes();
    let key = wrapped(&session());
    let wrapped = [&key.epoch.to_le_bytes()[..], &key.ephemeral, &key.sealed].concat();
    let frame_fields: [(&str, &[u8]); 5] = [
        ("version", &[VERSION]),
        ("session", &session().0),
        ("wrapped key", &wrapped),
        ("nonce", &[5; 24]),
        ("length", &length),
    ];
    check_fields("frame", &frame, FRAME_HEADER_LEN, &frame_fields);

    let pack = pack();
    check_fields("trailer of a pack", &pack.bytes[pack.bytes.len() - TRAILER_LEN..], TRAILER_LEN, &[("end", PACK_END)]);
    assert_eq!(pack.frames[0].offset as usize, PACK_HEADER_LEN);
    assert!(spec().contains(&format!("associated data are the first {PACK_HEADER_LEN} bytes")));

    let writer = writer().id();
    let (_, index) = index();
    let index_fields: [(&str, &[u8]); 4] =
        [("session", &session().0), ("writer", &writer.0), ("head nonce", &[0xaa; 24]), ("table nonce", &[0xab; 24])];
    check_fields("index", &index, INDEX_HEADER_LEN, &index_fields);
    assert!(spec().contains(&format!("associated data are the first {INDEX_HEADER_LEN} bytes")));

    let (_, snapshot) = snapshot_object();
    let snapshot_fields: [(&str, &[u8]); 4] =
        [("session", &session().0), ("wrapped key", &wrapped), ("writer", &writer.0), ("nonce", &[0xbb; 24])];
    check_fields("snapshot", &snapshot, 170, &snapshot_fields);

    let (_, open) = &log().0[1];
    let time = 1_700_000_000_002u64.to_le_bytes();
    let log_fields: [(&str, &[u8]); 4] =
        [("n", &2u64.to_le_bytes()), ("writer", &writer.0), ("unix ms", &time), ("kind", &[1])];
    check_fields("log", open, 91, &log_fields);
    assert!(table(&["kind", "entry"])[0][2].contains(&format!("wrapped key {}", WrappedKey::LEN)));
}

#[test]
fn numbers_are_those_of_the_code() {
    let numbered = |header: &[&str]| -> Vec<(u8, String)> {
        table(header).iter().map(|r| (r[0].parse().unwrap(), r[1].clone())).collect()
    };
    let objects: Vec<_> = ObjectKind::ALL.iter().map(|k| (*k as u8, k.word().to_string())).collect();
    assert_eq!(numbered(&["number", "object"]), objects);

    let kinds = numbered(&["number", "kind of chunk"]);
    assert_eq!(kinds.iter().map(|(n, _)| ChunkKind::from_u8(*n).ok()).collect::<Vec<_>>(), ChunkKind::ALL.map(Some));
    assert!((0..=u8::MAX).filter(|n| ChunkKind::from_u8(*n).is_ok()).count() == kinds.len());
    let classes = table(&["number", "class", "kinds of chunks"]);
    for (number, name) in kinds {
        let kind = ChunkKind::from_u8(number).unwrap();
        assert_eq!(format!("{kind:?}").to_lowercase(), name.replace(' ', ""));
        let class = classes.iter().find(|row| row[2].split(", ").any(|kind| kind == name)).unwrap();
        assert_eq!(class[0], (PackClass::of(kind) as u8).to_string(), "{name}");
    }

    let signed = [Signed::Config, Signed::LogEntry, Signed::Checkpoint, Signed::Snapshot, Signed::Index, Signed::Trim];
    let signed: Vec<u8> = signed.iter().map(|s| *s as u8).collect();
    let spec_signed = numbered(&["number", "signed"]);
    assert_eq!(spec_signed.iter().map(|s| s.0).collect::<Vec<_>>(), signed);
    for (number, word) in spec_signed {
        assert!(objects.contains(&(number, word)));
    }

    let entries = numbered(&["kind", "entry"]);
    assert_eq!(entries.iter().map(|e| e.0).collect::<Vec<_>>(), (1..=12).collect::<Vec<u8>>());
    for (sample, bytes) in log().0 {
        let name = match sample.trim_start_matches("log-") {
            "adopt" | "open-base" => "open",
            "removed" => "writers",
            "remark-gone" => "remark",
            other => other,
        };
        let body = bytes[90];
        assert!(entries.contains(&(body, name.to_string())), "entry {body} {name}");
    }
    let locks: Vec<u8> = numbered(&["lock", "opened by"]).iter().map(|l| l.0).collect();
    let of_code = [(1, Lock::Password(CHEAP)), (2, Lock::KeyFile), (3, Lock::Recipient)];
    let file = key_file();
    let made = [by_password(), repo_format::credential::NewLock::KeyFile(&file), by_recipient()].map(credential);
    assert_eq!(locks.len(), of_code.len());
    for ((made, (number, lock)), in_spec) in made.iter().zip(of_code).zip(locks) {
        assert_eq!((made.bytes[10], made.bytes[11], in_spec), (number, Sets::ALL.0, number));
        assert_eq!(repo_format::credential::Credential::parse(&made.id, &made.bytes).unwrap().lock(), lock);
    }
    assert_eq!(numbered(&["purpose", "secret"]).iter().map(|p| p.0).collect::<Vec<_>>(), (1..=7).collect::<Vec<u8>>());
    assert!(spec().contains(&format!("Bloom, {FILTER_BITS} bits for each chunk")));
    assert!(spec().contains(&format!("multiple of {} bytes, tag aside", repo_format::remark::REMARK_PADDING)));
    assert!(spec().contains(&format!("{FILTER_HASHES} probes")));
    assert!(spec().contains(&format!("{} entries; the root", repo_format::blob::BLOB_FANOUT)));
    assert!(spec().contains(&format!("`{}`", repo_format::keyfile::KEY_FILE_TITLE)));
    assert!(spec().contains(&*repo_format::paper::to_text(&key_file())));
}

/// What chunks begin with, and the numbers in the text about them.
#[test]
fn chunks_begin_as_their_diagrams() {
    use repo_format::leaf::{EXTERNAL_BODY, LeafReader, RECORDS_MAX};
    use repo_format::{FormatError, patch, tree};
    let spec = spec();
    for (name, bytes) in support::chunks::chunks() {
        let structure = match name {
            name if name.starts_with("leaf-") => "leaf",
            "branch" | "branch-metadata" => "branch",
            "patch" => name,
            _ => continue,
        };
        let line = spec.lines().find(|l| l.starts_with(structure) && l.contains("= version u8")).unwrap();
        assert!(line.contains(&format!("version u8 ({})", bytes[0])), "{name}");
        let mut newer = bytes.clone();
        newer[0] += 1;
        let refused = match structure {
            "leaf" => LeafReader::new(&newer).err(),
            "branch" => tree::read_branch(&newer, 1, PackClass::Content).err(),
            _ => patch::LeafPatch::read(&newer).err(),
        };
        assert!(matches!(refused, Some(FormatError::Unsupported(_))), "{name} of a newer version");
    }
    use repo_format::leaf::{GroupCodec, TimeUnit};
    let numbers = |head: &[&str]| table(head).iter().map(|row| row[0].parse().unwrap()).collect::<Vec<u8>>();
    let known = |is: fn(u8) -> bool| (0..=u8::MAX).filter(|n| is(*n)).collect::<Vec<u8>>();
    assert_eq!(numbers(&["codec", "kept", "the group"]), known(|n| GroupCodec::from_u8(n).is_ok()));
    assert_eq!(numbers(&["unit", "of a version", "units of a second"]), known(|n| TimeUnit::from_u8(n).is_ok()));
    assert!(spec.contains(&format!("up to {RECORDS_MAX} records taken apart")));
    assert!(spec.contains(&format!("{EXTERNAL_BODY:#04x} (raw, bit 6)")));
    assert!(spec.contains(&format!("(2 to {} bytes)", repo_format::ints::PLANES_MAX)));
    use repo_format::record::{Class, EntryKind};
    let (row, group, marker, fixed) = (Class::Row as u8, Class::Group as u8, Class::Marker as u8, Class::Static as u8);
    assert!(spec.contains(&format!("class ({row} row, {group} group, {marker} marker, {fixed} static)")));
    let kinds = [EntryKind::Deletion, EntryKind::Raw, EntryKind::Cell, EntryKind::Tombstone].map(|k| k as u8);
    assert_eq!(kinds, [0, 1, 2, 3]);
    assert!(spec.contains("Kinds: 0 deletion, 1 raw") && spec.contains("2 cell, 3 tombstone"));
}

/// The columns of a file tree, and the numbers in the text about them.
#[test]
fn columns_of_files_are_those_of_the_code() {
    use repo_format::file_tree::NUMERIC;
    use repo_format::leaf::VALUE_INLINE_MAX;
    let rows = table(&["column", "what it says", "of"]);
    let numbers: Vec<u32> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let mut used: Vec<u32> = support::files::records().iter().flat_map(|(_, body)| columns(body)).collect();
    used.sort_unstable();
    used.dedup();
    assert_eq!(numbers, used);
    let says = |column: u32| &rows[column as usize - 1][1];
    assert!(NUMERIC.into_iter().all(|column| says(column).contains("u32")));
    for (column, text) in [
        (2, format!("up to {CONTENT_INLINE_MAX} bytes here")),
        (4, format!("1 to {USER_NAME_MAX} bytes")),
        (5, format!("1 to {USER_NAME_MAX} bytes")),
        (7, format!("up to {TARGET_MAX} bytes")),
        (9, format!("up to {ASIDE_INLINE_MAX} bytes here, up to {ASIDE_MAX} as a reference")),
        (10, format!("up to {ASIDE_INLINE_MAX} bytes here, up to {ASIDE_MAX} as a reference")),
        (11, format!("up to {VALUE_INLINE_MAX} bytes")),
    ] {
        assert!(says(column).contains(&text), "column {column}: {text}");
    }
    let spec = spec();
    assert!(spec.contains(&format!("A part has 1 to {PART_MAX} bytes")));
    assert!(spec.contains(&format!("A key has up to {PATH_MAX} bytes")));
}

fn columns(body: &[u8]) -> Vec<u32> {
    repo_format::record::Entries::new(body).map(|entry| entry.unwrap().column).collect()
}

#[test]
fn names_and_contexts_are_those_of_the_code() {
    let samples = [
        Name::Config,
        Name::Key(CredentialId([1; 32])),
        Name::Log(5),
        Name::Checkpoint(5, ObjectHash([1; 32])),
        Name::Snapshot(SnapshotId([1; 32])),
        Name::Pack(support::pack_name(2, 1)),
        Name::Index(repo_format::names::IndexName { session: SessionId([2; 16]), hash: ObjectHash([1; 32]) }),
        Name::Trim(5),
    ];
    let rows = table(&["object", "name"]);
    assert_eq!(rows.len(), samples.len());
    for (row, name) in rows.iter().zip(samples) {
        let spelled = row[1]
            .replace("<hash>", &"01".repeat(32))
            .replace("<session>", &"02".repeat(16))
            .replace("<class>", "content")
            .replace("<n>", &format!("{:020}", 5));
        assert_eq!((row[0].as_str(), spelled), (name.kind().word(), name.to_string()));
    }
    let classes: Vec<(String, String)> =
        table(&["number", "class", "kinds of chunks"]).into_iter().map(|r| (r[0].clone(), r[1].clone())).collect();
    let of_code = PackClass::ALL.map(|class| ((class as u8).to_string(), class.word().to_string()));
    assert_eq!(classes, of_code);
    let contexts: Vec<String> = table(&["context", "input", "gives"]).into_iter().map(|r| r[0].clone()).collect();
    assert_eq!(contexts, context::ALL);
}

macro_rules! limits {
    ($($name:ident),* $(,)?) => { vec![$((stringify!($name), $name.say())),*] };
}

trait Say {
    fn say(&self) -> String;
}
impl Say for (u32, u32) {
    fn say(&self) -> String {
        format!("{} to {}", self.0, self.1)
    }
}
macro_rules! say {
    ($($t:ty),*) => { $(impl Say for $t { fn say(&self) -> String { self.to_string() } })* };
}
say!(u8, u32, u64, usize);

/// The limits that stand with what they limit.
fn limits_of_chunks() -> Vec<(&'static str, String)> {
    use repo_format::blob::{BLOB_FANOUT, BLOB_LEVEL_MAX};
    use repo_format::ints::PLANES_MAX;
    use repo_format::leaf::{BODY_INLINE_MAX, COLUMN_MAX, RECORDS_MAX, VALUE_INLINE_MAX};
    use repo_format::tree::{BRANCH_MAX, LEAF_BYTES_MAX, LEVEL_MAX};
    limits![
        RECORDS_MAX,
        COLUMN_MAX,
        PLANES_MAX,
        VALUE_INLINE_MAX,
        BODY_INLINE_MAX,
        LEAF_BYTES_MAX,
        BRANCH_MAX,
        LEVEL_MAX,
        BLOB_FANOUT,
        BLOB_LEVEL_MAX,
    ]
}

#[test]
fn limits_are_those_of_the_code() {
    let code = limits![
        VERSION,
        CHUNK_MAX,
        DATA_CHUNK_MAX,
        CUT_AVERAGE,
        CUT_AVERAGE_RANGE,
        LEAF_TARGET,
        LEAF_TARGET_RANGE,
        BRANCH_CHILDREN,
        BRANCH_CHILDREN_RANGE,
        FRAME_TARGET,
        FRAME_TARGET_RANGE,
        FRAME_PLAIN_MAX,
        FRAME_CHUNKS_MAX,
        FRAME_PADDING,
        FRAME_MAX,
        PACK_TARGET,
        PACK_TARGET_RANGE,
        PACK_FRAMES_MAX,
        PACK_CHUNKS_MAX,
        PACK_FOOTER_MAX,
        PACK_MAX,
        INDEX_ENTRIES_MAX,
        INDEX_PACKS_MAX,
        INDEX_MAX,
        LOG_ENTRY_MAX,
        LOG_LIST_MAX,
        ADOPTED_MAX,
        REMARK_MAX,
        CHECKPOINT_EVERY,
        TRIM_EVERY,
        CHECKPOINT_MAX,
        SNAPSHOT_MAX,
        SNAPSHOT_ROOTS_MAX,
        SNAPSHOT_BODY_MAX,
        SNAPSHOT_SHARDS_MAX,
        CONTENT_INLINE_MAX,
        ASIDE_INLINE_MAX,
        ASIDE_MAX,
        PART_MAX,
        PATH_MAX,
        TARGET_MAX,
        USER_NAME_MAX,
        CONFIG_MAX,
        CREDENTIAL_MAX,
        EPOCHS_MAX,
        FEATURES_MAX,
        FEATURE_NAME_MAX,
        ARGON_MEMORY_KIB,
        ARGON_PASSES,
        ARGON_LANES,
        ARGON_MEMORY_KIB_RANGE,
        ARGON_PASSES_RANGE,
        ARGON_LANES_RANGE,
        OBJECT_MAX,
    ];
    let declared: Vec<String> = source("limits")
        .lines()
        .filter_map(|l| l.strip_prefix("pub const "))
        .map(|l| l.split(':').next().unwrap().to_string())
        .collect();
    assert_eq!(declared, code.iter().map(|c| c.0).collect::<Vec<_>>(), "this test must name every limit");
    let code = [code, limits_of_chunks()].concat();
    for (module, text) in ["leaf", "ints", "tree", "blob"].map(|m| (m, source(m))) {
        for name in text.lines().filter_map(|l| l.strip_prefix("pub const ")?.split_once(':')).map(|l| l.0) {
            let known = code.iter().any(|c| c.0 == name) || name == "EXTERNAL_BODY";
            assert!(known, "this test must name {name} of {module}.rs");
        }
    }
    let written: Vec<(String, String)> =
        table(&["name", "value"]).into_iter().map(|r| (r[0].clone(), r[1].clone())).collect();
    for ((name, value), (spec_name, spec_value)) in code.iter().zip(&written) {
        assert_eq!((*name, value), (spec_name.as_str(), spec_value));
    }
    assert_eq!(code.len(), written.len());
}

#[test]
fn every_rule_of_the_protocol_is_simulated() {
    let simulation = std::fs::read_to_string(root().join("repo-format/tests/simulate.rs")).unwrap();
    let rules = table(&["rule", "without it"]);
    let simulated = simulation.lines().filter(|l| l.trim_start().starts_with("without_") && l.contains(": \"")).count();
    assert_eq!(rules.len(), simulated);
    for rule in rules {
        assert!(simulation.contains(&format!("\"{}\"", rule[0])), "no simulation without {:?}", rule[0]);
    }
}
