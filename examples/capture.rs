//! Prints what a node's folder holds: `capture DIR`.

use onefold::engine::cassandra::{capture, read_schema};

#[allow(clippy::print_stdout, clippy::unwrap_used)]
fn main() {
    let root = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or(".".into()));
    let (capture, _frozen) = capture::open(root, None).unwrap();
    for t in &capture.tables {
        let bytes: u64 = t.sstables.iter().map(capture::CapturedSsTable::bytes).sum();
        println!("{}.{} {} {} SSTables, {bytes} bytes", t.keyspace, t.name, t.id, t.sstables.len());
    }
    println!("taken {:?} unflushed {} notes {:#?}", capture.taken, capture.unflushed, capture.notes);
    let schema = read_schema::read_schema(&capture).unwrap();
    println!("{}", serde_json::to_string_pretty(&schema).unwrap());
    println!("{:#?}", read_schema::read_node(&capture).unwrap());
}
