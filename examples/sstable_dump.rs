//! Prints the records of one SSTable, one JSON object a line: `sstable_dump FILE-Data.db`. For comparing with
//! `sstabledump`, and for looking at a file that is kept as it is. Bytes are in hex.

use std::path::Path;

use onefold::engine::cassandra::comparable;
use onefold::engine::cassandra::sstable::{self, Descriptor, READ_BUFFER, SsTable, layout};
use onefold::error::{Error, Result};
use onefold::run::{Record, RecordBatch, Run};
use repo_format::record::Entries;
use serde_json::{Value, json};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn record(record: &Record<'_>, name: &dyn Fn(u32) -> String) -> Result<Value> {
    let key = comparable::split(record.key)?;
    let mut entries = Vec::new();
    for entry in Entries::new(record.body) {
        let e = entry?;
        entries.push(json!({
            "column": name(e.column), "kind": format!("{:?}", e.kind), "element": e.element.map(hex),
            "time": e.time, "ldt": e.ldt, "ttl": e.ttl, "value": e.value.map(hex),
        }));
    }
    Ok(json!({
        "token": key.token, "key": hex(&key.partition_key), "class": format!("{:?}", record.class),
        "position": format!("{:?}", key.position), "clustering": hex(key.clustering), "entries": entries,
    }))
}

#[allow(clippy::print_stdout)]
fn dump(path: &Path) -> Result<()> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let (descriptor, _) =
        Descriptor::parse(&file).ok_or_else(|| Error::damaged(path.display(), "no file of an SSTable"))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let (statistics, _) = sstable::read_statistics(&directory.into(), &descriptor)?;
    let table = layout::table_of(&statistics.header)?;
    let name = |number| {
        let column = table.columns.iter().find(|c| c.number == number && number != 0);
        column.map_or(String::new(), |c| c.name.clone())
    };
    let mut run = SsTable::open(&directory.into(), &descriptor, &table)?.run(READ_BUFFER)?;
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        for shown in batch.iter() {
            println!("{}", record(&shown, &name)?);
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr)]
fn main() {
    for path in std::env::args().skip(1) {
        if let Err(error) = dump(Path::new(&path)) {
            eprintln!("{error}");
        }
    }
}
