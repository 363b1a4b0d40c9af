//! Records of real captures as CQL: every statement, with its values, of every kind of record.

use std::fmt::Write;
use std::fs;

use onefold::engine::cassandra::mutate::{Mutation, Mutations, Times, Ttl};
use onefold::run::RecordBatch;

use crate::cassandra_rows::{captures, merged, open};
use crate::cassandra_schema::golden;

/// Small tables that hold between them every kind of record.
const TABLES: [&str; 18] = [
    "Quoted",
    "altered",
    "client_times",
    "collections",
    "composite",
    "default_ttl",
    "deletions",
    "dropped",
    "equal_keys",
    "expiring",
    "key_decimal",
    "key_varint",
    "liveness",
    "mixed",
    "ranges",
    "reborn",
    "statics",
    "ties",
];

fn show(mutation: &Mutation) -> String {
    let mut line = mutation.text.clone();
    for value in &mutation.values {
        line.push(' ');
        value.iter().for_each(|b| write!(line, "{b:02x}").unwrap());
        line.push(if value.is_empty() { '-' } else { ';' });
    }
    if let Some((place, end)) = mutation.ttl {
        write!(line, " ttl {place} ends {end}").unwrap();
    }
    if let Some(append) = &mutation.append {
        write!(line, " append {} to {}", append.count, append.before).unwrap();
    }
    line + "\n"
}

#[test]
fn statements_of_every_kind_of_record() {
    for root in captures().into_iter().take(2) {
        let source = open(&root);
        // Beyond every short TTL, within every long one; the same at every run.
        let meta: serde_json::Value =
            serde_json::from_slice(&fs::read(root.join("expected/meta.json")).unwrap()).unwrap();
        let read = meta.as_object().unwrap().values().filter_map(|t| t["times_read"].as_f64()).reduce(f64::max);
        let now = read.unwrap() as u32;
        let mut text = String::new();
        for name in TABLES {
            let (table, batches) = merged(&source, &format!("lab.{name}"), now);
            let base = 1_800_000_000_000_000;
            let all = [("kept", Times::Keep), ("of now", Times::From(base)), ("over what is there", Times::Over(base))];
            for (what, times) in all {
                let mut mutations = Mutations::new(&table, "ks2", &table.name, Ttl::Keep, times).unwrap();
                let mut out = Vec::new();
                for record in batches.iter().flat_map(RecordBatch::iter) {
                    mutations.push(&record, now, &mut out).unwrap();
                }
                mutations.finish(&mut out).unwrap();
                writeln!(text, "-- {name}, times {what}: {:?}", mutations.not_carried()).unwrap();
                text.extend(out.iter().map(show));
            }
        }
        golden(&format!("mutations-{}.txt", root.file_name().unwrap().to_string_lossy()), &text);
    }
}
