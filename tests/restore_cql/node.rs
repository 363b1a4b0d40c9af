//! A node as far as the client needs one: frames of the protocol (version 4), what `system` and `system_schema` say of one
//! table like lab.tiny (k int, c smallint, v int), and which of its rows are there. Statements are kept, not understood.

use std::collections::BTreeSet;
use std::io::{Read, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the node holds, and what it does.
#[derive(Default)]
pub struct Held {
    pub cluster: String,
    pub host: [u8; 16],
    /// Keyspace, name, id.
    pub table: Option<(String, String, [u8; 16])>,
    /// Keys.
    pub rows: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// Every statement that came.
    pub statements: Vec<String>,
    /// How often a statement was prepared.
    pub prepared: usize,
    /// So many rows are written; then no write is answered any more.
    pub writes_left: Option<usize>,
    /// Writes that were answered.
    pub writes: usize,
}

pub struct Node {
    pub contact: String,
    pub held: Arc<Mutex<Held>>,
}

/// A column of an answer: its name, its type as the protocol has it.
type Spec = (&'static str, &'static [u8]);
type Row = Vec<Option<Vec<u8>>>;

const BLOB: &[u8] = &[0, 3];
const INT: &[u8] = &[0, 9];
const UUID: &[u8] = &[0, 0xc];
const TEXT: &[u8] = &[0, 0xd];
const INET: &[u8] = &[0, 0x10];
const TEXTS: &[u8] = &[0, 0x22, 0, 0xd];

impl Node {
    pub fn start(cluster: &str, host: u8) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let contact = listener.local_addr().unwrap().to_string();
        let held = Arc::new(Mutex::new(Held { cluster: cluster.to_owned(), host: [host; 16], ..Held::default() }));
        let shared = held.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, held) = (stream.unwrap(), shared.clone());
                thread::spawn(move || serve(stream, &held));
            }
        });
        Node { contact, held }
    }

    /// How many statements came that hold `part`.
    pub fn count(&self, part: &str) -> usize {
        self.held.lock().unwrap().statements.iter().filter(|text| text.contains(part)).count()
    }
}

/// Answers until the client is gone.
fn serve(mut stream: TcpStream, held: &Mutex<Held>) -> Result<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes(head[5..].try_into().unwrap()) as usize];
        stream.read_exact(&mut body)?;
        let long = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
        let (opcode, answer) = match head[4] {
            // OPTIONS: SUPPORTED, no options.
            5 => (6, vec![0, 0]),
            // STARTUP, REGISTER: READY.
            1 | 11 => (2, Vec::new()),
            9 => {
                held.lock().unwrap().prepared += 1;
                (8, prepared(&body[4..4 + long(0)]))
            }
            7 => (8, answer(&text(&body[4..4 + long(0)]), &[], &mut held.lock().unwrap()).unwrap_or_default()),
            10 => {
                let (id, values) = executed(&body);
                match answer(&id, &values, &mut held.lock().unwrap()) {
                    Some(answer) => (8, answer),
                    None => continue,
                }
            }
            other => panic!("opcode {other}"),
        };
        let mut frame = vec![0x84, 0, head[2], head[3], opcode];
        frame.extend((answer.len() as u32).to_be_bytes());
        frame.extend(answer);
        stream.write_all(&frame)?;
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// PREPARED: a statement's id is its text.
fn prepared(text: &[u8]) -> Vec<u8> {
    let marks = text.iter().filter(|b| **b == b'?').count() as u32;
    let mut out = vec![0, 0, 0, 4];
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
    out.extend([[0, 0, 0, 1], marks.to_be_bytes(), [0; 4]].concat());
    put_text(&mut out, "ks");
    put_text(&mut out, "t");
    for _ in 0..marks {
        put_text(&mut out, "c");
        out.extend(BLOB);
    }
    // The answer's columns come with it.
    out.extend([0, 0, 0, 4, 0, 0, 0, 0]);
    out
}

/// Text and values of EXECUTE.
fn executed(body: &[u8]) -> (String, Vec<Vec<u8>>) {
    let short = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let id = text(&body[2..2 + short(0)]);
    let mut at = 2 + short(0) + 3;
    let mut values = Vec::new();
    if body[at - 1] & 1 != 0 {
        let count = short(at);
        at += 2;
        for _ in 0..count {
            let len = u32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
            values.push(body[at + 4..at + 4 + len].to_vec());
            at += 4 + len;
        }
    }
    (id, values)
}

/// RESULT of a statement; none where the node has fallen silent.
fn answer(text: &str, values: &[Vec<u8>], held: &mut Held) -> Option<Vec<u8>> {
    held.statements.push(text.to_owned());
    let void = vec![0, 0, 0, 1];
    match text.split_once(' ').unwrap().0 {
        "SELECT" => {}
        "INSERT" | "UPDATE" | "DELETE" => {
            if held.writes_left == Some(0) {
                return None;
            }
            held.writes_left = held.writes_left.map(|n| n - 1);
            held.writes += 1;
            let key = if text.starts_with("INSERT") { 0 } else { values.len() - 2 };
            held.rows.insert((values[key].clone(), values[key + 1].clone()));
            return Some(void);
        }
        "CREATE" if text.starts_with("CREATE TABLE") => {
            let name = text.split_whitespace().find(|word| word.contains('.')).unwrap();
            let (keyspace, name) = name.split_once('.').unwrap();
            held.table = Some((keyspace.to_owned(), name.to_owned(), [7; 16]));
            return Some(void);
        }
        _ => return Some(void),
    }
    let uuid = |bytes: [u8; 16]| Some(bytes.to_vec());
    let said = |text: &str| Some(text.as_bytes().to_vec());
    let from = text.split_once(" FROM ").unwrap().1.split(' ').next().unwrap();
    let (specs, rows): (Vec<Spec>, Vec<Row>) = match from {
        "system.local" => {
            let all: [(Spec, Option<Vec<u8>>); 8] = [
                (("host_id", UUID), uuid(held.host)),
                (("rpc_address", INET), Some(vec![127, 0, 0, 1])),
                (("data_center", TEXT), said("dc1")),
                (("rack", TEXT), said("r1")),
                (("tokens", TEXTS), Some(vec![0, 0, 0, 1, 0, 0, 0, 1, b'0'])),
                (("cluster_name", TEXT), said(&held.cluster)),
                (("release_version", TEXT), said("5.0.2")),
                (("schema_version", UUID), uuid([1; 16])),
            ];
            // In the order of the question.
            let asked = text["SELECT ".len()..].split_once(" FROM ").unwrap().0.split(", ");
            let found = asked.map(|name| all.iter().find(|((n, _), _)| *n == name).unwrap().clone());
            let (specs, row) = found.unzip();
            (specs, vec![row])
        }
        "system.peers" => {
            let specs =
                [("host_id", UUID), ("rpc_address", INET), ("data_center", TEXT), ("rack", TEXT), ("tokens", TEXTS)];
            (specs.into(), Vec::new())
        }
        "system_schema.keyspaces" => {
            let mut replication = vec![0, 0, 0, 2];
            for part in ["class", "org.apache.cassandra.locator.SimpleStrategy", "replication_factor", "1"] {
                replication.extend((part.len() as u32).to_be_bytes());
                replication.extend(part.as_bytes());
            }
            let specs = [("keyspace_name", TEXT), ("durable_writes", BLOB), ("replication", BLOB)];
            let row = vec![said(text.split('\'').nth(1).unwrap()), Some(vec![1]), Some(replication)];
            (specs.into(), vec![row])
        }
        "system_schema.tables" => {
            let specs = vec![("id", UUID), ("keyspace_name", TEXT), ("table_name", TEXT), ("flags", BLOB)];
            let flags = [&[0, 0, 0, 1, 0, 0, 0, 8][..], b"compound"].concat();
            let row = |(keyspace, name, id): &(String, String, [u8; 16])| {
                vec![uuid(*id), said(keyspace), said(name), Some(flags.clone())]
            };
            (specs, held.table.iter().map(row).collect())
        }
        "system_schema.columns" => {
            let columns = [
                ("k", "partition_key", "none", 0, "int"),
                ("c", "clustering", "asc", 0, "smallint"),
                ("v", "regular", "none", -1_i32, "int"),
            ];
            let names = ["keyspace_name", "table_name", "column_name", "kind", "clustering_order", "type"];
            let specs = names.iter().map(|name| (*name, TEXT)).chain([("position", INT)]).collect();
            let mut rows = Vec::new();
            if let Some((keyspace, name, _)) = &held.table {
                for (column, kind, order, position, of_type) in columns {
                    let mut row: Row = [keyspace, name, column, kind, order, of_type].map(said).into();
                    row.push(Some(position.to_be_bytes().to_vec()));
                    rows.push(row);
                }
            }
            (specs, rows)
        }
        from if from.starts_with("system_schema.") => (vec![("keyspace_name", TEXT)], Vec::new()),
        // A table: whether there is anything, or one row by its key.
        _ => {
            let columns = text.split_once(" FROM ").unwrap().0.split(", ").count();
            let there = match values {
                [] => !held.rows.is_empty(),
                [k, c] => held.rows.contains(&(k.clone(), c.clone())),
                other => panic!("{text} {other:?}"),
            };
            let row: Row = vec![Some(vec![0; 8]); columns];
            (vec![("x", BLOB); columns], there.then_some(row).into_iter().collect())
        }
    };
    let mut out = vec![0, 0, 0, 2, 0, 0, 0, 1];
    out.extend((specs.len() as u32).to_be_bytes());
    put_text(&mut out, "ks");
    put_text(&mut out, "t");
    for (name, of_type) in specs {
        put_text(&mut out, name);
        out.extend(of_type);
    }
    out.extend((rows.len() as u32).to_be_bytes());
    for value in rows.into_iter().flatten() {
        let value = value.unwrap_or_default();
        out.extend((value.len() as u32).to_be_bytes());
        out.extend(value);
    }
    Some(out)
}
