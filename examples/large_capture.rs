//! Writes a capture of a size that no fixture has, for measuring: `large_capture FOLDER NODES COPIES ROWS BYTES LARGE LARGE_BYTES
//! PIECES OVERLAP`.
//!
//! NODES share the tokens evenly, in ranges that COPIES of them hold. Each range has ROWS rows of `lab.big_values` of the bundled
//! 5.0 capture with BYTES of noise, but for the last LARGE of them, which have LARGE_BYTES. It is cut into PIECES SSTables,
//! each of which is there under OVERLAP generations (hard links). `ring.txt` says which node is where; `127.0.1.N` is node N's address.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::comparable;
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::schema::Table;
use onefold::engine::cassandra::sstable::write::{Options, SsTableWriter};
use onefold::run::Record;
use repo_format::record::{BodyWriter, Class};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The numbers on the command line.
struct Wanted {
    nodes: usize,
    copies: usize,
    rows: usize,
    bytes: usize,
    large: usize,
    large_bytes: usize,
    pieces: usize,
    overlap: usize,
}

/// What a row is known by before it is written.
struct Row {
    key: Vec<u8>,
    group_len: usize,
    length: usize,
}

fn noise(key: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(key).finalize_xof().fill(&mut bytes);
    bytes
}

/// The token at which the range of node `n` ends.
fn token(n: usize, nodes: usize) -> i64 {
    let each = u64::MAX / nodes as u64;
    (each * (n as u64 + 1)).wrapping_add(1 << 63) as i64
}

/// The rows of each range, in order.
fn ranges(wanted: &Wanted) -> Outcome<Vec<Vec<Row>>> {
    let mut ranges: Vec<Vec<Row>> = (0..wanted.nodes).map(|_| Vec::new()).collect();
    for n in 0i32.. {
        if ranges.iter().all(|range| range.len() == wanted.rows) {
            break;
        }
        let mut key = Vec::new();
        let group_len = comparable::put_group(&mut key, &n.to_be_bytes());
        key.extend([2, 0x38]);
        let at = comparable::split(&key)?.token;
        let of = (0..wanted.nodes - 1).find(|r| at <= token(*r, wanted.nodes)).unwrap_or(wanted.nodes - 1);
        if ranges[of].len() < wanted.rows {
            ranges[of].push(Row { key, group_len, length: wanted.bytes });
        }
    }
    for range in &mut ranges {
        range.sort_by(|a, b| a.key.cmp(&b.key));
        range.iter_mut().rev().take(wanted.large).for_each(|row| row.length = wanted.large_bytes);
    }
    Ok(ranges)
}

/// Writes one SSTable and gives the names of its files without what names the generation.
fn write(folder: &Path, generation: u64, table: &Table, rows: &[Row]) -> Outcome<Vec<String>> {
    let column = table.columns.iter().find(|c| c.name == "b").ok_or("no column b")?.number;
    let mut writer = SsTableWriter::create(folder, generation, table, &Options::default())?;
    for row in rows {
        let mut body = Vec::new();
        BodyWriter::new(&mut body).push_live(
            column,
            1_700_000_000_000_000,
            noise(&row.key, row.length).as_slice().into(),
        );
        let traits = repo_format::record::check(&body)?;
        writer.push(&Record { key: &row.key, group_len: row.group_len, class: Class::Row, traits, body: &body })?;
    }
    let files = writer.finish()?.files;
    Ok(files.into_iter().filter_map(|(name, _)| Some(name.splitn(3, '-').nth(2)?.to_owned())).collect())
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name()))?,
            false => drop(fs::copy(entry.path(), to.join(entry.file_name()))?),
        }
    }
    Ok(())
}

fn make(folder: &Path, wanted: &Wanted) -> Outcome<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cassandra-5.0/node1");
    let named = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with("big_values-");
    let original = fs::read_dir(fixture.join("lab"))?.flatten().find(named).ok_or("no lab.big_values")?;
    let schema = fs::read_to_string(original.path().join("schema.cql"))?;
    let table = cql::parse(&schema)?.into_table()?;
    let folders: Vec<PathBuf> =
        (1..=wanted.nodes).map(|n| folder.join(format!("node{n}/lab")).join(original.file_name())).collect();
    let mut ring = String::from("\nDatacenter: dc1\n==========\nAddress Rack Status State Load Owns Token\n");
    for (n, of_table) in folders.iter().enumerate() {
        fs::create_dir_all(of_table)?;
        fs::write(of_table.join("schema.cql"), &schema)?;
        copy(&fixture.join("system_schema"), &folder.join(format!("node{}/system_schema", n + 1)))?;
        let (address, end) = (n + 1, token(n, wanted.nodes));
        ring += &format!("127.0.1.{address} rack1 Up Normal 1 MiB 100.00% {end}\n");
    }
    fs::write(folder.join("ring.txt"), ring)?;
    let mut generation = 0;
    for (first, range) in ranges(wanted)?.iter().enumerate() {
        for piece in range.chunks(range.len().div_ceil(wanted.pieces)) {
            let start = generation + 1;
            let rest = write(&folders[first], start, &table, piece)?;
            for copy in 0..wanted.copies {
                let to = &folders[(first + copy) % wanted.nodes];
                // Two nodes with the same names of files would be taken for one that was given twice.
                let first_of_copy = start + (copy * wanted.overlap) as u64;
                for generation in (first_of_copy..).take(wanted.overlap).skip(usize::from(copy == 0)) {
                    for rest in &rest {
                        fs::hard_link(
                            folders[first].join(format!("nb-{start}-{rest}")),
                            to.join(format!("nb-{generation}-{rest}")),
                        )?;
                    }
                }
            }
            generation += (wanted.copies * wanted.overlap) as u64;
        }
    }
    folders.iter().try_for_each(|folder| write_manifest(folder))
}

/// Names all SSTables of a folder, as `nodetool snapshot` does.
fn write_manifest(folder: &Path) -> Outcome<()> {
    let names: Vec<String> =
        fs::read_dir(folder)?.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let files: Vec<String> =
        names.iter().filter(|name| name.ends_with("-Data.db")).map(|name| format!("\"{name}\"")).collect();
    let created = "\"created_at\":\"2026-11-21T11:21:00.992Z\",\"expires_at\":null,\"ephemeral\":false";
    Ok(fs::write(folder.join("manifest.json"), format!("{{\"files\":[{}],{created}}}", files.join(",")))?)
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("a folder, and eight numbers")?);
    let numbers = arguments.map(|n| n.parse()).collect::<Result<Vec<usize>, _>>()?;
    let [nodes, copies, rows, bytes, large, large_bytes, pieces, overlap] = numbers[..] else {
        return Err("a folder, and eight numbers".into());
    };
    make(&folder, &Wanted { nodes, copies, rows, bytes, large, large_bytes, pieces, overlap })
}
