//! Rows of real captures, all nodes merged, against what the cluster itself answered at ALL.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use onefold::engine::cassandra::capture;
use onefold::engine::cassandra::cql;
use onefold::engine::cassandra::filter::Filter;
use onefold::engine::cassandra::rows::{Layout, Predicate, Rows, columns};
use onefold::engine::cassandra::rule::CassandraRule;
use onefold::engine::cassandra::schema::{ColumnRole, Table, UserType};
use onefold::engine::cassandra::source::{CapturedNodes, NodeDir};
use onefold::engine::text::{TextForm, TextRows};
use onefold::engine::{EVERYTHING, Source, Taking};
use onefold::engine::{RowSink, Rows as _, Show};
use onefold::error::Result;
use onefold::merge::{Across, Held, Merge, Witness};
use onefold::run::{Record, RecordBatch, Run};
use onefold::watch::Watch;
use serde_json::Value;

pub struct Nobody;

impl Witness for Nobody {
    fn same(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn differs(&mut self, _: &Record<'_>, _: &[Held<'_>]) -> Result<()> {
        Ok(())
    }
    fn alone(&mut self, _: usize, _: &Record<'_>, _: bool) -> Result<()> {
        Ok(())
    }
}

pub const SHOW: Show = Show { write_times: true, ttls: true };

pub fn captures() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let names = ["cassandra-4.1", "cassandra-5.0", "cassandra-5.0-oa", "cassandra-5.0-mixed"];
    names.map(|name| fixtures.join(name)).to_vec()
}

pub fn open(root: &Path) -> CapturedNodes {
    let node = |n| NodeDir::new(format!("n{n}"), root.join(format!("node{n}")));
    CapturedNodes::open(&[1, 2, 3].map(node), None, &Default::default()).unwrap()
}

/// All records of a table, merged as of `now`.
pub fn merged(source: &CapturedNodes, name: &str, now: u32) -> (Table, Vec<RecordBatch>) {
    let shard = source.shards().iter().find(|s| s.name == name).unwrap();
    let table: Table = serde_json::from_value(source.describe(Some(shard)).unwrap()).unwrap();
    let (rule, watch) = (CassandraRule::of(&table), Watch::new());
    let mut runs: Vec<Box<dyn Run>> = Vec::new();
    let mut owned = Vec::new();
    for node in source.parts(shard, &Default::default(), Taking::records(&watch)).unwrap() {
        let files = node.parts.into_iter().map(|part| (part.open)(&EVERYTHING).unwrap()).collect();
        runs.push(Box::new(Merge::of(files, &rule)));
        owned.push(node.owned);
    }
    let mut nobody = Nobody;
    let mut run = Merge::across(runs, &rule, now, Across::new(owned, 0, &mut nobody));
    let mut batches = Vec::new();
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch).unwrap() {
        batches.push(std::mem::take(&mut batch));
    }
    (table, batches)
}

/// Lines of the rows that satisfy `condition`, made of no records but those in its ranges; without one, of all.
fn select(table: &Table, batches: &[RecordBatch], now: u32, condition: Option<&str>) -> Vec<String> {
    let layout = Layout::of(table).unwrap();
    let filter = condition.map(|text| Filter::parse(text, table, &layout).unwrap());
    let predicate = filter.as_ref().map(Filter::predicate);
    let ranges: Option<Vec<_>> = filter.map(|filter| filter.reads(true).collect());
    let within = |key: &[u8]| {
        let holds = |(low, high): &(Vec<u8>, Vec<u8>)| &low[..] <= key && (high.is_empty() || key < &high[..]);
        ranges.as_ref().is_none_or(|ranges| ranges.iter().any(holds))
    };
    let records = batches.iter().flat_map(RecordBatch::iter).filter(|r| within(r.key));
    rows_of(layout, now, predicate, records)
}

/// Lines of JSON.
pub fn rows_of<'r>(
    layout: Layout,
    now: u32,
    predicate: Option<Predicate<'_>>,
    records: impl Iterator<Item = Record<'r>>,
) -> Vec<String> {
    let mut out = Vec::new();
    let mut text = TextRows::new(TextForm::Json, &mut out);
    text.begin(&columns(&layout, SHOW)).unwrap();
    let mut rows = Rows::new(layout, now, SHOW, predicate);
    records.for_each(|record| rows.push(&record, &mut text).unwrap());
    rows.finish(&mut text).unwrap();
    text.pass_on().unwrap();
    crate::user::lines(&String::from_utf8(out).unwrap())
}

pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().split_terminator('\n').map(str::to_string).collect()
}

/// Seconds to live depend on the second in which they were read.
pub fn close(name: &str, truth: &Value, ours: &Value) -> bool {
    match (truth, ours) {
        (Value::Array(truth), Value::Array(ours)) => {
            truth.len() == ours.len() && truth.iter().zip(ours).all(|(t, o)| close(name, t, o))
        }
        (Value::Number(truth), Value::Number(ours)) if name.starts_with("ttl(") => {
            (truth.as_i64().unwrap() - ours.as_i64().unwrap()).abs() <= 2
        }
        _ => truth == ours,
    }
}

#[test]
fn rows_are_what_the_cluster_answered() {
    for root in captures() {
        let source = open(&root);
        let meta: BTreeMap<String, Value> =
            serde_json::from_str(&fs::read_to_string(root.join("expected/meta.json")).unwrap()).unwrap();
        for (name, meta) in &meta {
            let now = meta["times_read"].as_f64().unwrap() as u32;
            let (table, batches) = merged(&source, name, now);
            let ours = select(&table, &batches, now, None);
            let truth = lines(&root.join(format!("expected/{name}.rows.jsonl")));
            let times = lines(&root.join(format!("expected/{name}.times.jsonl")));
            assert_eq!(ours.len(), truth.len(), "{name}");
            for ((ours, truth), times) in ours.iter().zip(&truth).zip(&times) {
                // The row to the last letter; what we add stands behind it. Only of clusterings that compare equal (1.0
                // and 1.00) Cassandra shows the spelling of whichever replica answers first.
                if name != "lab.equal_keys" {
                    assert!(ours.starts_with(&truth[..truth.len() - 1]), "{name}\n{truth}\n{ours}");
                }
                let ours: BTreeMap<String, Value> = serde_json::from_str(ours).unwrap();
                let times: BTreeMap<String, Value> = serde_json::from_str(times).unwrap();
                for (key, truth) in times {
                    assert!(
                        close(key.trim_start_matches('"'), &truth, &ours[&key]),
                        "{name} {key} {truth} {}",
                        ours[&key]
                    );
                }
            }
        }
    }
}

/// A row's value as CQL; `None` for types that conditions cannot name, or that its JSON does not give exactly.
fn literal(cql_type: &str, value: &Value) -> Option<String> {
    match (cql_type, value) {
        ("text" | "ascii" | "timestamp" | "date" | "time" | "inet", Value::String(s)) => {
            Some(format!("'{}'", s.replace('\'', "''")))
        }
        ("blob" | "uuid" | "timeuuid", Value::String(s)) => Some(s.clone()),
        ("int" | "bigint" | "smallint" | "tinyint" | "boolean" | "varint", Value::Number(_) | Value::Bool(_)) => {
            Some(value.to_string())
        }
        _ => None,
    }
}

/// Every row is found again by its partition, by each prefix of its clustering and by a range that ends at it; and
/// what is found is what reading everything and comparing gives.
#[test]
fn conditions_find_rows() {
    let mut found = 0;
    for root in captures() {
        let source = open(&root);
        for shard in source.shards().iter().filter(|s| s.name.starts_with("lab.") && s.name != "lab.tiny") {
            let now = 1_795_257_100;
            let (table, batches) = merged(&source, &shard.name, now);
            let all = select(&table, &batches, now, None);
            let keys: Vec<_> = table.columns.iter().filter(|c| c.number == 0).collect();
            for line in all.iter().step_by(all.len() / 7 + 1) {
                let row: BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
                let json_name =
                    |name: &str| if name.to_lowercase() == name { name.to_string() } else { format!("\"{name}\"") };
                let mut condition = String::new();
                for column in &keys {
                    let Some(value) = literal(&column.cql_type, &row[&json_name(&column.name)]) else { break };
                    if column.role == ColumnRole::PartitionKey && column.cql_type == "varint" {
                        break; // -1 as FFFF is another partition, which no literal names
                    }
                    let and = if condition.is_empty() { "" } else { " AND " };
                    let name = format!("\"{}\"", column.name);
                    if column.role == ColumnRole::Clustering {
                        for operator in ["<=", ">="] {
                            let range = format!("{condition}{and}{name} {operator} {value}");
                            assert!(
                                select(&table, &batches, now, Some(&range)).contains(line),
                                "{} {range}",
                                shard.name
                            );
                        }
                        for operator in ["<", ">"] {
                            let range = format!("{condition}{and}{name} {operator} {value}");
                            assert!(
                                !select(&table, &batches, now, Some(&range)).contains(line),
                                "{} {range}",
                                shard.name
                            );
                        }
                    }
                    condition.push_str(&format!("{and}{name} = {value}"));
                    let rows = select(&table, &batches, now, Some(&condition));
                    assert!(rows.contains(line), "{} {condition}", shard.name);
                    found += 1;
                }
            }
        }
    }
    assert!(found > 500, "{found}");
}

#[test]
fn schema_cql_says_what_system_schema_says() {
    for root in captures() {
        let source = open(&root);
        let (captured, _) = capture::open(root.join("node1"), None).unwrap();
        let files: Vec<_> = captured.tables.iter().filter_map(|t| Some((&t.id, t.schema_cql.as_ref()?))).collect();
        assert!(files.len() > 5);
        let mut types: BTreeMap<String, UserType> = BTreeMap::new();
        for (id, place) in files {
            let found = cql::parse(&fs::read_to_string(place.path()).unwrap()).unwrap();
            types.extend(found.types.iter().map(|(_, t)| (t.name.clone(), t.clone())));
            let mut ours = found.into_table().unwrap();
            assert_eq!(&ours.id, id);
            let Some(shard) = source.shards().iter().find(|s| s.id == *id) else {
                assert!(ours.view);
                continue;
            };
            let theirs: Table = serde_json::from_value(source.describe(Some(shard)).unwrap()).unwrap();
            for t in &ours.types {
                assert!(theirs.types.contains(t), "{}", ours.name);
            }
            (ours.types, ours.cql) = (theirs.types.clone(), theirs.cql.clone());
            // `cassandra_schema` compares those; of views the file of their table says nothing.
            (ours.options, ours.views) = (theirs.options.clone(), theirs.views.clone());
            assert_eq!(ours, theirs);
        }
    }
}
