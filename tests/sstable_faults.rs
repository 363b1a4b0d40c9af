//! SSTables that are not what their schema or their other files say, and those that hold what no other writes: the rows of
//! each count as far as they can be told, and what is not told right is kept and named.

use std::fs;
use std::path::{Path, PathBuf};

use onefold::Kind;
use onefold::engine::cassandra::capture::{self, CapturedSsTable};
use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::read_schema::read_schema;
use onefold::engine::cassandra::schema::{ColumnRole, Table};
use onefold::engine::cassandra::sstable::write::{Options, SsTableWriter};
use onefold::engine::cassandra::sstable::{Descriptor, READ_BUFFER, Remark, SsTable, Version};
use onefold::run::{Record, RecordBatch, Run};
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind, Traits};
use serde_json::Value;

use crate::user::{Ran, User, capture as fixture, copy, expected, files_below, table_dir, three};

/// Copies of the three nodes of the 5.0 capture, with these tables and, unless told otherwise, the node's own.
struct Copies {
    user: User,
    nodes: Vec<PathBuf>,
}

impl Copies {
    fn of(tables: &[&str], own: bool) -> Copies {
        let user = User::new();
        let nodes: Vec<PathBuf> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
        let keep = |table: &str| (own && table.starts_with("system")) || tables.contains(&table);
        three(&fixture("cassandra-5.0")).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, &keep));
        Copies { user, nodes }
    }

    fn backup(&self) -> Ran {
        self.user.backup(&self.nodes, &[])
    }

    /// The first of a table's `Data.db` on the first node, and the file beside it that ends with `component`.
    fn component(&self, table: &str, component: &str) -> PathBuf {
        let files = files_below(&table_dir(&self.nodes[0], "lab", table));
        let data = files.iter().find(|f| f.to_str().unwrap().ends_with("-Data.db")).unwrap();
        PathBuf::from(data.to_str().unwrap().replace("Data.db", component))
    }

    /// Every file that belongs to the SSTable of `data` comes back as it is.
    fn kept_whole(&self, data: &Path) {
        let out = tempfile::tempdir().unwrap();
        let place = out.path().join("files");
        self.user.run(&["restore", "--to", "files", "--node", "n1", "--out", place.to_str().unwrap()]).fine();
        let stem = data.to_str().unwrap().strip_suffix("Data.db").unwrap();
        let files: Vec<PathBuf> =
            files_below(data.parent().unwrap()).into_iter().filter(|f| f.to_str().unwrap().starts_with(stem)).collect();
        assert!(files.len() >= 7, "{files:?}");
        for file in files {
            let back = place.join("n1").join(file.strip_prefix(&self.nodes[0]).unwrap());
            assert!(fs::read(&back).unwrap() == fs::read(&file).unwrap(), "{}", back.display());
        }
    }
}

fn rows_of(table: &str) -> Vec<String> {
    expected(&fixture("cassandra-5.0"), table)
}

fn notes(user: &User) -> String {
    user.show()["notes"].to_string()
}

/// Every SSTable of a capture whose table is in the schema.
fn sstables(root: &Path) -> Vec<(CapturedSsTable, Table)> {
    let mut found = Vec::new();
    for node in three(root) {
        let (capture, _) = capture::open(&node, None).unwrap();
        let schema = read_schema(&capture).unwrap().unwrap();
        for captured in &capture.tables {
            let Some(table) = schema.table(&captured.id) else { continue };
            found.extend(captured.sstables.iter().map(|s| (s.clone(), table.clone())));
        }
    }
    found
}

#[test]
fn every_column_of_every_header_is_compared() {
    let (mut opened, mut refused) = (0, 0);
    for root in ["cassandra-5.0", "cassandra-4.1", "cassandra-5.0-oa", "cassandra-5.0-mixed"] {
        for (files, table) in sstables(&fixture(root)) {
            let open = |table: &Table| SsTable::open(&files.folder, &files.descriptor, table);
            let header = open(&table).unwrap_or_else(|e| panic!("{root}: {e}")).statistics().header.clone();
            opened += 1;
            let mut unfit = |changed: &Table, word: &str| {
                let error = open(changed).expect_err(word);
                assert!(error.kind() == Kind::Unsupported && error.to_string().contains(word), "{word}: {error}");
                refused += 1;
            };
            for (i, column) in table.columns.iter().enumerate().filter(|(_, c)| !c.gone) {
                let in_file = header.statics.iter().chain(&header.regulars).any(|c| c.name == column.name);
                if column.number != 0 && !in_file {
                    continue;
                }
                let mut changed = table.clone();
                changed.columns[i].cql_type = if column.cql_type == "int" { "text" } else { "int" }.to_string();
                unfit(&changed, &column.name);
                if column.role == ColumnRole::Clustering {
                    let mut changed = table.clone();
                    changed.columns[i].descending = !column.descending;
                    unfit(&changed, &column.name);
                }
                let other = match column.role {
                    ColumnRole::Static => ColumnRole::Regular,
                    ColumnRole::Regular => ColumnRole::Static,
                    _ => continue,
                };
                if column.dropped_at.is_none() {
                    let mut changed = table.clone();
                    changed.columns[i].role = other;
                    unfit(&changed, &column.name);
                }
            }
            let text = format!("{header:?}");
            for (i, t) in table.types.iter().enumerate() {
                let hex: String = t.name.bytes().map(|b| format!("{b:02x}")).collect();
                if !text.contains(&format!("UserType(lab,{hex}")) {
                    continue;
                }
                let mut changed = table.clone();
                // The file may have been written before the last was added.
                changed.types[i].fields.clear();
                unfit(&changed, "fields in the file's header");
                let mut grown = table.clone();
                grown.types[i].fields.push(("more".into(), "int".into()));
                open(&grown).unwrap();
            }
        }
    }
    assert!(opened > 300 && refused > 1000, "{opened} {refused}");
}

#[test]
fn a_schema_that_the_header_does_not_fit_is_named_and_the_files_are_kept() {
    for (from, to, word) in [
        ("CLUSTERING ORDER BY (c ASC)", "CLUSTERING ORDER BY (c DESC)", "column c of lab.tiny is ASC"),
        ("    v int,", "    v list<int>,", "is int in the file's header and list<int> in the schema"),
        ("    k int,", "    k bigint,", "column k of lab.tiny"),
    ] {
        let copies = Copies::of(&["lab/tiny", "lab/users"], false);
        for node in &copies.nodes {
            let path = table_dir(node, "lab", "tiny").join("schema.cql");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
        }
        copies.backup().failed(3, &[word, "kept byte for byte"]);
        assert_eq!(copies.user.show()["complete"], false);
        copies.kept_whole(&copies.component("tiny", "Data.db"));
        copies.user.run(&["restore", "--to", "json", "--table", "lab.tiny"]).failed(3, &["lab.tiny", "not restored"]);
        assert_eq!(copies.user.rows("latest", "lab.users"), rows_of("users"), "{word}");
    }
}

#[test]
fn one_bad_schema_cql_is_its_own_tables_trouble() {
    let copies = Copies::of(&["lab/tiny", "lab/users"], false);
    for node in &copies.nodes {
        let path = table_dir(node, "lab", "tiny").join("schema.cql");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..60]).unwrap();
    }
    let said = copies.backup();
    said.failed(3, &["lab/tiny-", "schema.cql cannot be read"]);
    copies.kept_whole(&copies.component("tiny", "Data.db"));
    assert_eq!(copies.user.rows("latest", "lab.users"), rows_of("users"));
    // With `system_schema` nobody needs it.
    let copies = Copies::of(&["lab/tiny"], true);
    for node in &copies.nodes {
        fs::write(table_dir(node, "lab", "tiny").join("schema.cql"), "CREATE").unwrap();
    }
    copies.backup().fine();
    assert_eq!(copies.user.rows("latest", "lab.tiny"), rows_of("tiny"));
}

#[test]
fn rows_without_crc_db_are_rows() {
    let copies = Copies::of(&["lab/plain_twcs"], true);
    let file = |component| copies.component("plain_twcs", component);
    let rows = || copies.user.rows("latest", "lab.plain_twcs");
    fs::remove_file(file("CRC.db")).unwrap();
    copies.backup().fine();
    assert_eq!(rows(), rows_of("plain_twcs"));
    assert!(notes(&copies.user).contains("no CRC.db"), "{}", notes(&copies.user));

    // A flipped bit: the digest tells.
    let (data, digest) = (fs::read(file("Data.db")).unwrap(), fs::read(file("Digest.crc32")).unwrap());
    let mut flipped = data.clone();
    let at = flipped.len() - 20;
    flipped[at] ^= 1;
    fs::write(file("Data.db"), &flipped).unwrap();
    copies.backup().failed(3, &["Data.db", "is damaged", "kept byte for byte"]);
    fs::write(file("Data.db"), &data).unwrap();

    // Nothing tells.
    fs::remove_file(file("Digest.crc32")).unwrap();
    copies.backup().failed(3, &["neither CRC.db nor Digest.crc32"]);
    assert_eq!(copies.user.show()["complete"], false);
    assert_eq!(rows(), rows_of("plain_twcs"));
    fs::write(file("Digest.crc32"), digest).unwrap();
    copies.backup().fine();

    // A compressed file whose CompressionInfo.db is gone is none of those.
    let copies = Copies::of(&["lab/tiny"], true);
    fs::remove_file(copies.component("tiny", "CompressionInfo.db")).unwrap();
    copies.backup().failed(3, &["CompressionInfo.db", "is damaged"]);
}

#[test]
fn a_digest_that_does_not_fit_is_named_and_the_rows_count() {
    for (table, digest) in [("users", "17"), ("users", "no number"), ("plain_twcs", "17"), ("zstd", "")] {
        let copies = Copies::of(&[&format!("lab/{table}")], true);
        let place = copies.component(table, "Digest.crc32");
        fs::write(&place, digest).unwrap();
        copies.backup().failed(3, &["Digest.crc32", "its rows of", "are merged"]);
        let show = copies.user.show();
        assert_eq!((&show["complete"], show["problems"].as_array().unwrap().len()), (&Value::from(false), 1));
        copies.kept_whole(&copies.component(table, "Data.db"));
        // All its rows are restored.
        assert_eq!(copies.user.rows("latest", &format!("lab.{table}")), rows_of(table), "{table} {digest}");
    }
}

#[test]
fn what_is_not_supported_is_refused_with_that_word() {
    let copies = Copies::of(&["lab/tiny"], true);
    let info = copies.component("tiny", "CompressionInfo.db");
    let bytes = fs::read(&info).unwrap();
    let at = bytes.windows(13).position(|w| w == b"LZ4Compressor").unwrap();
    let mut encrypted = bytes.clone();
    encrypted.splice(at..at + 13, *b"Encryptor");
    encrypted[at - 1] = 9;
    fs::write(&info, encrypted).unwrap();
    copies.backup().failed(3, &["encrypted by Encryptor (TDE)", "kept byte for byte"]);
    copies.kept_whole(&copies.component("tiny", "Data.db"));
    fs::write(&info, bytes).unwrap();

    // Before `na` the statistics have no checksum of their own, so that any partitioner can be put in.
    let statistics = copies.component("tiny", "Statistics.db");
    let bytes = fs::read(&statistics).unwrap();
    let at = bytes.windows(18).position(|w| w == b"Murmur3Partitioner").unwrap();
    let parts = as_before_na(&bytes);
    let mut random = parts.clone();
    let place = parts.windows(18).position(|w| w == b"Murmur3Partitioner").unwrap();
    assert!(at > place);
    random[place..place + 18].copy_from_slice(b"Another1Partitione");
    let table = table_dir(&copies.nodes[0], "lab", "tiny");
    for file in files_below(&table) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(rest) = name.strip_prefix("nb-1-") {
            fs::rename(&file, table.join(format!("ma-1-{rest}"))).unwrap();
        }
    }
    fs::write(table.join("ma-1-big-Statistics.db"), random).unwrap();
    copies.backup().failed(3, &["Another1Partitione is not supported", "kept byte for byte"]);
    let old = |name: &str| table.join(name.replace("ma-1", "lb-1"));
    for file in files_below(&table) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("ma-1-") {
            fs::rename(&file, old(&name)).unwrap();
        }
    }
    copies.backup().failed(3, &["from before 3.0 (version lb)", "not supported", "kept byte for byte"]);
}

/// The list of components and the components of a `Statistics.db` without checksums.
fn as_before_na(bytes: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let count = number(0);
    let starts: Vec<usize> = (0..count).map(|i| number(8 + 8 * i + 4)).collect();
    let mut out = bytes[..4].to_vec();
    let mut parts = Vec::new();
    for i in 0..count {
        let end = starts.get(i + 1).copied().unwrap_or(bytes.len());
        out.extend_from_slice(&bytes[8 + 8 * i..12 + 8 * i]);
        out.extend_from_slice(&((4 + 8 * count + parts.len()) as u32).to_be_bytes());
        parts.extend_from_slice(&bytes[starts[i]..end - 4]);
    }
    out.extend(parts);
    out
}

fn table(text: &str) -> Table {
    cql::parse(text).unwrap().into_table().unwrap()
}

fn cell(column: u32, time: i64, value: &[u8]) -> Entry<'_> {
    Entry { column, kind: EntryKind::Cell, element: None, time, ldt: u32::MAX, ttl: 0, value: Some(value) }
}

/// Writes rows (key, clustering, cells) as one SSTable, and gives its name.
fn write(directory: &Path, table: &Table, options: &Options, rows: &[(&[u8], &[u8], Vec<Entry<'_>>)]) -> Descriptor {
    let mut writer = SsTableWriter::create(directory, 1, table, options).unwrap();
    let clustering = Clustering::of(table).unwrap();
    for (partition, part, cells) in rows {
        let (mut key, mut body) = (Vec::new(), Vec::new());
        let group_len = comparable::put_group(&mut key, partition);
        clustering.row(&mut key, &[Some(part)]).unwrap();
        let mut to = BodyWriter::new(&mut body);
        cells.iter().for_each(|e| to.push(e));
        let traits: Traits = to.traits();
        writer.push(&Record { key: &key, group_len, class: Class::Row, traits, body: &body }).unwrap();
    }
    let written = writer.finish().unwrap();
    Descriptor::parse(&written.files[0].0).unwrap().0
}

/// The cells of a row: column, write time, length of the value.
type Cells = Vec<(u32, i64, usize)>;

/// What an SSTable comes to: its rows, and what is said of it.
fn read(directory: &Path, descriptor: &Descriptor, table: &Table) -> (Vec<Cells>, Vec<Remark>) {
    let mut run = SsTable::open(&directory.into(), descriptor, table).unwrap().run(READ_BUFFER).unwrap();
    let (mut rows, mut batch, mut last) = (Vec::new(), RecordBatch::new(), Vec::new());
    while run.next_batch(&mut batch).unwrap() {
        for record in batch.iter() {
            assert!(record.key > last.as_slice());
            assert_eq!(record.traits, repo_format::record::check(record.body).unwrap());
            last = record.key.to_vec();
            let entries = Entries::new(record.body).map(|e| e.unwrap());
            rows.push(entries.map(|e| (e.column, e.time, e.value.map_or(0, <[u8]>::len))).collect());
        }
    }
    (rows, run.remarks().to_vec())
}

#[test]
fn a_row_that_stands_twice_is_one() {
    let table = table("CREATE TABLE ks.t (p int, c int, v blob, w blob, PRIMARY KEY (p, c))");
    let number = |name: &str| table.columns.iter().find(|c| c.name == name).unwrap().number;
    let (v, w) = (number("v"), number("w"));
    // One that fills a batch alone, so that what repeats it would come in the next.
    let (small, large) = (vec![7; 10], vec![7; 300 << 10]);
    for (first, version) in [(&small, Version::Nb), (&large, Version::Nb), (&large, Version::Oa)] {
        let directory = tempfile::tempdir().unwrap();
        let rows: [(&[u8], &[u8], Vec<Entry<'_>>); 4] = [
            (b"\0\0\0\x01", b"\x11\x22\x33\x44", vec![cell(v, 10, first), cell(w, 10, b"old")]),
            (b"\0\0\0\x01", b"\x11\x22\x33\x45", vec![cell(v, 9, b"older"), cell(w, 11, b"newer one")]),
            (b"\0\0\0\x01", b"\x11\x22\x33\x46", vec![cell(w, 12, b"newest of all")]),
            (b"\0\0\0\x01", b"\x11\x22\x33\x47", vec![cell(w, 12, b"another")]),
        ];
        let options = Options { version, compression: None, ..Options::default() };
        let descriptor = write(directory.path(), &table, &options, &rows);
        assert_eq!(read(directory.path(), &descriptor, &table).0.len(), 4);
        let file = |component: &str| directory.path().join(format!("{descriptor}-{component}"));
        let mut bytes = fs::read(file("Data.db")).unwrap();
        for twin in [0x45, 0x46] {
            let at = bytes.windows(4).position(|w| w == [0x11, 0x22, 0x33, twin]).unwrap();
            bytes[at + 3] = 0x44;
        }
        fs::write(file("Data.db"), &bytes).unwrap();
        fs::write(file("Digest.crc32"), crc32fast::hash(&bytes).to_string()).unwrap();
        fs::remove_file(file("CRC.db")).unwrap();
        let (rows, remarks) = read(directory.path(), &descriptor, &table);
        assert_eq!(rows, [vec![(v, 10, first.len()), (w, 12, 13)], vec![(w, 12, 7)]]);
        let said = format!("{remarks:?}");
        assert!(said.contains("2 rows stood twice") && !said.contains("Problem"), "{said}");

        // Rows in the wrong order are not merged.
        let at = bytes.windows(4).position(|w| w == [0x11, 0x22, 0x33, 0x47]).unwrap();
        bytes[at + 3] = 0x43;
        fs::write(file("Data.db"), &bytes).unwrap();
        let mut run = SsTable::open(&directory.path().into(), &descriptor, &table).unwrap().run(READ_BUFFER).unwrap();
        let mut batch = RecordBatch::new();
        let error = loop {
            match run.next_batch(&mut batch) {
                Ok(more) => assert!(more),
                Err(e) => break e,
            }
        };
        assert!(error.kind() == Kind::Damaged && error.to_string().contains("order of rows"), "{error}");
    }
}

const CLASSES: &str = "org.apache.cassandra.db.marshal.";

#[test]
fn values_of_classes_that_cql_has_no_name_for_come_back() {
    let id = "5b608090-e03d-11eb-b4c1-d335f841c590";
    let text = format!(
        "CREATE TABLE ks.t (p '{CLASSES}LexicalUUIDType', c int, v '{CLASSES}DynamicCompositeType(a=>{CLASSES}BytesType)', \
         w '{CLASSES}CompositeType({CLASSES}UTF8Type,{CLASSES}Int32Type)', x '{CLASSES}LexicalUUIDType', \
         PRIMARY KEY (p, c)) WITH ID = {id};"
    );
    let table = table(&text);
    let number = |name: &str| table.columns.iter().find(|c| c.name == name).unwrap().number;
    let user = User::new();
    let node = user.path("node");
    let folder = node.join("ks").join(format!("t-{}", id.replace('-', "")));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("schema.cql"), &text).unwrap();
    let composite = b"\0\x03abc\0\0\x04\0\0\0\x05\0";
    let cells = vec![
        cell(number("v"), 1, b"\x80a\0\x01z\0"),
        cell(number("w"), 1, composite),
        cell(number("x"), 1, b"fedcba9876543210"),
    ];
    write(&folder, &table, &Options::default(), &[(b"0123456789abcdef", b"\0\0\0\x05", cells)]);
    user.backup(std::slice::from_ref(&node), &[]).failed(4, &["the ring is not known"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let row = format!(
        r#"{{"p": "0x{}", "c": 5, "v": "0x{}", "w": "0x{}", "x": "0x{}"}}"#,
        hex(b"0123456789abcdef"),
        hex(b"\x80a\0\x01z\0"),
        hex(composite),
        hex(b"fedcba9876543210"),
    );
    let restored = user.run(&["restore", "--to", "json", "--table", "ks.t"]);
    assert_eq!(restored.out, format!("{row}\n"), "{restored:?}");
    // To SSTables and back.
    let out = user.path("out");
    let sstables =
        ["restore", "--to", "sstables", "--table", "ks.t", "--layout", "once", "--out", out.to_str().unwrap()];
    user.run(&sstables).fine();
    let again = user.path("again").join("ks").join(format!("t-{}", id.replace('-', "")));
    fs::create_dir_all(&again).unwrap();
    fs::write(again.join("schema.cql"), &text).unwrap();
    for file in files_below(&out).iter().filter(|f| f.extension().is_some_and(|e| e != "cql" && e != "json")) {
        fs::copy(file, again.join(file.file_name().unwrap())).unwrap();
    }
    user.backup(&[user.path("again")], &[]).failed(4, &["the ring is not known"]);
    assert_eq!(user.run(&["restore", "--to", "json", "--table", "ks.t"]).out, format!("{row}\n"));
}

#[test]
fn rows_that_no_restore_could_order_are_kept() {
    // Written as a blob, and said to be of a class whose order nobody here knows.
    let id = "5b608090-e03d-11eb-b4c1-d335f841c591";
    let text = |t: &str| format!("CREATE TABLE ks.t (p int, c {t}, v int, PRIMARY KEY (p, c)) WITH ID = {id};");
    let user = User::new();
    let node = user.path("node");
    let folder = node.join("ks").join(format!("t-{}", id.replace('-', "")));
    fs::create_dir_all(&folder).unwrap();
    let as_blob = table(&text("blob"));
    let cells = vec![cell(as_blob.columns[2].number, 1, b"\0\0\0\x05")];
    write(&folder, &as_blob, &Options::default(), &[(b"\0\0\0\x05", b"\x80a\0\x01z\0", cells)]);
    for class in ["DynamicCompositeType(a=>BytesType)", "LexicalUUIDType", "CompositeType(BytesType)"] {
        fs::write(folder.join("schema.cql"), text(&format!("'{CLASSES}{class}'"))).unwrap();
        user.backup(std::slice::from_ref(&node), &[]).failed(3, &["column c", "kept byte for byte"]);
    }
    // A column of which the file has nothing, and no restore could make the table.
    fs::write(folder.join("schema.cql"), text("blob").replace("v int", "v int, x 'com.example.Own'")).unwrap();
    user.backup(std::slice::from_ref(&node), &[]).failed(3, &["column x", "com.example.Own", "kept byte for byte"]);
    // No rows, no trouble.
    for file in files_below(&folder).iter().filter(|f| !f.ends_with("schema.cql")) {
        fs::remove_file(file).unwrap();
    }
    user.backup(std::slice::from_ref(&node), &[]).failed(4, &["the ring is not known"]);
}
