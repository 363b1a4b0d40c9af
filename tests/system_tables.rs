//! The node's own tables: what is lost where one of them cannot be read, what they explain, and clusters whose order of
//! partitions is not supported.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use onefold::engine::cassandra::comparable::{self, Clustering};
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{Options, SsTableWriter};
use onefold::run::Record;
use repo_format::record::{BodyWriter, Class, Entry, EntryKind, Traits};

use crate::user::{
    Ran, User, capture as fixture, copy, expected, files_below, mend_manifest, name_in_manifest, ran, spoil_data,
    table_dir, three,
};

/// A user, and copies of the three nodes of the 5.0 capture with few tables.
struct Copies {
    user: User,
    nodes: Vec<PathBuf>,
}

impl Copies {
    fn new() -> Copies {
        let user = User::new();
        let nodes: Vec<PathBuf> = (1..=3).map(|n| user.path(&format!("node{n}"))).collect();
        let keep = |table: &str| table.starts_with("system") || ["lab/users", "lab/orders"].contains(&table);
        three(&fixture("cassandra-5.0")).iter().zip(&nodes).for_each(|(from, to)| copy(from, to, &keep));
        Copies { user, nodes }
    }

    fn backup(&self) -> Ran {
        self.user.backup(&self.nodes, &[])
    }

    /// Incomplete by these words, in the snapshot too, and the rows are all there.
    #[track_caller]
    fn incomplete_with_all_rows(&self, ran: &Ran, words: &[&str]) {
        ran.failed(4, words);
        assert_eq!(self.user.show()["complete"], false);
        for table in ["users", "orders"] {
            let rows = self.user.rows("latest", &format!("lab.{table}"));
            assert_eq!(rows, expected(&fixture("cassandra-5.0"), table), "{table}");
        }
    }

    /// Adds an SSTable with one record to a system table of each node: its key's parts, and its only entry. `cql` names the
    /// columns that it needs.
    fn add(&self, cql: &str, key: &[u8], clustering: Option<&[u8]>, entry: &Entry<'_>) {
        let table: Table = cql::parse(cql).unwrap().into_table().unwrap();
        let (mut record, mut body) = (Vec::new(), Vec::new());
        let group_len = comparable::put_group(&mut record, key);
        let parts: Vec<Option<&[u8]>> = clustering.into_iter().map(Some).collect();
        Clustering::of(&table).unwrap().row(&mut record, &parts).unwrap();
        let mut to = BodyWriter::new(&mut body);
        to.push(entry);
        let traits: Traits = to.traits();
        for node in &self.nodes {
            let folder = table_dir(node, &table.keyspace, &table.name);
            let mut writer = SsTableWriter::create(&folder, 900, &table, &Options::default()).unwrap();
            writer.push(&Record { key: &record, group_len, class: Class::Row, traits, body: &body }).unwrap();
            writer.finish().unwrap();
            mend_manifest(&folder);
        }
    }
}

/// Later than any time of the capture, microseconds since 1970.
const LATER: i64 = 1_800_000_000_000_000;

#[test]
fn a_damaged_local_costs_what_it_alone_says() {
    let c = Copies::new();
    spoil_data(&c.nodes[1], "system", "local");
    let words = ["node n2: ", "/local-", "none of its truncations is known"];
    let damaged = c.backup();
    c.incomplete_with_all_rows(&damaged, &words);
    // Its peers tell who it is.
    assert!(!damaged.err.contains("is not in the ring"), "{damaged:?}");
    let shown = c.user.show();
    let whole = User::new();
    whole.backup(&three(&fixture("cassandra-5.0")), &[]).fine();
    for field in ["host_id", "address", "data_center", "rack"] {
        assert_eq!(shown["nodes"][1][field], whole.show()["nodes"][1][field], "{field}");
    }
    // So they do where it is missing, which is no less a hole.
    let local = table_dir(&c.nodes[1], "system", "local");
    let aside = c.user.path("aside");
    fs::rename(&local, &aside).unwrap();
    let missing = c.backup();
    c.incomplete_with_all_rows(&missing, &["node n2: system.local is not there"]);
    assert!(!missing.err.contains("is not in the ring"), "{missing:?}");
    fs::rename(&aside, &local).unwrap();
    // Where it does not even know its peers, the operator tells.
    spoil_data(&c.nodes[1], "system", "peers_v2");
    let nobody = c.backup();
    nobody.failed(4, &["node n2: ", "/peers_v2-", "the ring that other nodes know counts", "n2: is not in the ring"]);
    let address = shown["nodes"][1]["address"].as_str().unwrap();
    let mut nodes = crate::user::nodes(&c.nodes);
    nodes[1] = nodes[1].replace("n2=", &format!("n2@{address}="));
    let told = ran(c.user.command().args(["backup", "cassandra", "--cluster", "prod"]).args(nodes));
    c.incomplete_with_all_rows(&told, &words);
    assert!(!told.err.contains("is not in the ring"), "{told:?}");
}

#[test]
fn where_every_local_is_damaged_the_ring_is_not_known() {
    let c = Copies::new();
    c.nodes.iter().for_each(|node| spoil_data(node, "system", "local"));
    let ran = c.backup();
    c.incomplete_with_all_rows(&ran, &["node n1: ", "node n2: ", "node n3: ", "the ring is not known"]);
}

#[test]
fn a_schema_damaged_on_all_nodes_is_told_by_the_tables() {
    let c = Copies::new();
    c.nodes.iter().for_each(|node| spoil_data(node, "system_schema", "columns"));
    let ran = c.backup();
    c.incomplete_with_all_rows(&ran, &["node n3: ", "/columns-", "what the schema.cql of each table says counts"]);
}

/// A `Statistics.db` (`nb`) of another partitioner: its list of components, and each with its checksum, written anew.
fn of_partitioner(bytes: &[u8], name: &str) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let count = number(0) as usize;
    let start = |i: usize| if i < count { number(8 + 8 * i + 4) as usize } else { bytes.len() };
    let (mut list, mut parts) = (bytes[..4].to_vec(), Vec::new());
    list.extend(crc32fast::hash(&bytes[..4]).to_be_bytes());
    for i in 0..count {
        let mut part = bytes[start(i)..start(i + 1) - 4].to_vec();
        if number(8 + 8 * i) == 0 {
            let class = format!("org.apache.cassandra.dht.{name}");
            let length = usize::from(u16::from_be_bytes([part[0], part[1]]));
            let mut named = (class.len() as u16).to_be_bytes().to_vec();
            named.extend_from_slice(class.as_bytes());
            part.splice(..2 + length, named);
        }
        list.extend_from_slice(&bytes[8 + 8 * i..12 + 8 * i]);
        list.extend(((12 + 8 * count + parts.len()) as u32).to_be_bytes());
        let crc = crc32fast::hash(&part);
        parts.extend(part);
        parts.extend(crc.to_be_bytes());
    }
    let mut summed = list[..4].to_vec();
    summed.extend_from_slice(&list[8..]);
    list.extend(crc32fast::hash(&summed).to_be_bytes());
    list.extend(parts);
    list
}

/// Cassandra writes the tables of `system_schema` and `system` by the cluster's partitioner, so that nothing of them can be
/// read either: all is kept, and named.
#[test]
fn a_cluster_of_another_partitioner_is_kept_byte_for_byte() {
    for name in ["RandomPartitioner", "ByteOrderedPartitioner", "OrderPreservingPartitioner"] {
        let c = Copies::new();
        let statistics = |path: &&PathBuf| path.to_str().unwrap().ends_with("-Statistics.db");
        for node in &c.nodes {
            for path in files_below(node).iter().filter(statistics) {
                let bytes = fs::read(path).unwrap();
                assert_eq!(of_partitioner(&bytes, "Murmur3Partitioner"), bytes);
                fs::write(path, of_partitioner(&bytes, name)).unwrap();
            }
        }
        let said = format!("partitioner {name} is not supported");
        let backup = c.backup();
        backup.failed(3, &[&said, "node n1: ", "node n3: ", "system_schema", "lab.users", "kept byte for byte"]);
        assert_eq!(c.user.show()["complete"], false);
        let out = c.user.path("files");
        c.user.run(&["restore", "--to", "files", "--out", out.to_str().unwrap()]);
        for (n, node) in (1..).zip(&c.nodes) {
            let data = |path: &PathBuf| path.to_str().unwrap().ends_with("-Data.db");
            let files: Vec<_> = files_below(node).into_iter().filter(data).collect();
            assert!(files.len() > 10);
            for file in files {
                let back = out.join(format!("n{n}")).join(file.strip_prefix(node).unwrap());
                assert!(fs::read(&back).unwrap() == fs::read(&file).unwrap(), "{}", back.display());
            }
        }
    }
}

fn id_of(node: &Path, table: &str) -> String {
    let folder = table_dir(node, "lab", table);
    folder.file_name().unwrap().to_str().unwrap().rsplit_once('-').unwrap().1.to_owned()
}

/// The SSTables of a table are gone on all nodes, as a truncation leaves it.
fn empty(nodes: &[PathBuf], table: &str) {
    for node in nodes {
        let folder = table_dir(node, "lab", table);
        let of_sstables = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with("nb-");
        files_below(&folder).into_iter().filter(of_sstables).for_each(|file| fs::remove_file(file).unwrap());
        name_in_manifest(&folder, &[]);
    }
}

#[test]
fn a_truncation_explains_an_emptied_table() {
    let c = Copies::new();
    c.backup().fine();
    empty(&c.nodes, "users");
    c.backup().failed(4, &["table lab.users: has 0 live rows"]);
    let id = id_of(&c.nodes[0], "users");
    let id: Vec<u8> = (0..16).map(|i| u8::from_str_radix(&id[2 * i..2 * i + 2], 16).unwrap()).collect();
    let truncate = |seconds: i64| {
        // A position in the commit log, then when it was, in milliseconds.
        let value = [vec![0; 12], (1000 * seconds).to_be_bytes().to_vec()].concat();
        let (kind, element, value) = (EntryKind::Cell, Some(&id[..]), Some(&value[..]));
        let entry = Entry { column: 1, kind, element, time: LATER, ldt: u32::MAX, ttl: 0, value };
        c.add("CREATE TABLE system.local (key text PRIMARY KEY, truncated_at map<uuid, blob>)", b"local", None, &entry);
    };
    // One from before the last complete snapshot, in which the rows still were, explains nothing.
    truncate(1_600_000_000);
    c.backup().failed(4, &["table lab.users: has 0 live rows"]);
    for node in &c.nodes {
        let of_ours = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().contains("-900-");
        let folder = table_dir(node, "system", "local");
        files_below(&folder).into_iter().filter(of_ours).for_each(|file| fs::remove_file(file).unwrap());
    }
    truncate(1_800_000_000);
    c.backup().fine();
    assert_eq!(c.user.rows("latest", "lab.users").len(), 0);
    // Another table is not explained by it.
    empty(&c.nodes, "orders");
    c.backup().failed(4, &["table lab.orders: has 0 live rows"]);
}

#[test]
fn a_drop_explains_a_table_that_is_gone() {
    let c = Copies::new();
    c.backup().fine();
    c.nodes.iter().for_each(|node| fs::remove_dir_all(table_dir(node, "lab", "users")).unwrap());
    c.backup().failed(4, &["lab.users: the folder is not there"]);
    let gone = Entry {
        column: 0,
        kind: EntryKind::Deletion,
        element: None,
        time: LATER,
        ldt: (LATER / 1_000_000) as u32,
        ttl: 0,
        value: None,
    };
    let tables = "CREATE TABLE system_schema.tables (keyspace_name text, table_name text, id uuid, \
                  PRIMARY KEY (keyspace_name, table_name))";
    c.add(tables, b"lab", Some(b"users"), &gone);
    let dropped = c.backup();
    assert_eq!(dropped.code, Some(0), "{dropped:?}");
    let shown = c.user.show();
    assert!(shown["notes"].to_string().contains("table lab.users was dropped since snapshot"), "{}", shown["notes"]);
    assert!(shown["shards"].as_array().unwrap().iter().all(|shard| shard["name"] != "lab.users"));
}

/// The program without the right of root to read what permissions hide; `None` where the system does not let us.
fn without_override(user: &User, args: &[&str]) -> Option<Ran> {
    if rustix::process::geteuid().is_root() {
        let drop = "setpriv --bounding-set -dac_override,-dac_read_search --";
        let works = Command::new("sh").args(["-c", &format!("{drop} true")]).status().unwrap().success();
        return works.then(|| user.run_limited(&format!("exec {drop} \"$0\" \"$@\""), args));
    }
    Some(user.run(args))
}

#[test]
#[allow(clippy::print_stderr)]
fn what_may_not_be_read_ends_the_backup_by_name() {
    let c = Copies::new();
    let nodes = crate::user::nodes(&c.nodes);
    let mut args = vec!["backup", "cassandra", "--cluster", "prod"];
    args.extend(nodes.iter().map(String::as_str));
    let files = [("lab", "users"), ("lab", "orders"), ("system", "local"), ("system_schema", "columns")];
    let components = ["-Data.db", "-Statistics.db", "-CompressionInfo.db"];
    for ((keyspace, table), end) in files.into_iter().flat_map(|f| components.map(|end| (f, end))) {
        let folder = table_dir(&c.nodes[1], keyspace, table);
        let Some(path) = files_below(&folder).into_iter().find(|f| f.to_str().unwrap().ends_with(end)) else {
            continue;
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        let Some(ran) = without_override(&c.user, &args) else {
            eprintln!("not tested: this system lets root read everything, and `setpriv` cannot take that away");
            return;
        };
        ran.failed(1, &[path.to_str().unwrap(), "ermission denied"]);
        assert!(!ran.err.contains("damaged") && c.user.snapshots().is_empty(), "{ran:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    c.backup().fine();
}
