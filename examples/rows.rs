//! Prints the rows of a table, all nodes merged: `rows KEYSPACE.TABLE SECONDS-SINCE-1970 [--where CONDITION] DIR...`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use onefold::engine::cassandra::filter::Filter;
use onefold::engine::cassandra::rows::{Layout, Rows, Show};
use onefold::engine::cassandra::source::{Cassandra, NodeDir};
use onefold::engine::{Described, Source};
use onefold::error::Result;
use onefold::merge::{Across, Held, Merge, Witness};
use onefold::run::{Record, RecordBatch, Run};
use onefold::watch::Watch;

struct Nobody;

impl Witness for Nobody {
    fn same(&mut self, _: &Record<'_>) -> Result<()> {
        Ok(())
    }
    fn differs(&mut self, _: &Record<'_>, _: &[Held<'_>]) -> Result<()> {
        Ok(())
    }
    fn alone(&mut self, _: usize, _: &Record<'_>, _: bool) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (name, now) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let now: u32 = now.parse().unwrap_or(0);
    let mut dirs: Vec<String> = args.collect();
    let mut condition = String::new();
    if dirs.first().is_some_and(|d| d == "--where") {
        condition = dirs.remove(1);
        dirs.remove(0);
    }
    let node = |(i, dir): (usize, &String)| NodeDir { name: format!("n{i}"), address: None, dir: PathBuf::from(dir) };
    let nodes: Vec<NodeDir> = dirs.iter().enumerate().map(node).collect();
    let source = Cassandra::open(&nodes, None, &Described::new())?;
    let watch = Watch::default();
    for shard in source.shards().iter().filter(|s| s.name == name) {
        let table = serde_json::from_value(source.describe(Some(shard))?).expect("a table");
        let layout = Layout::of(&table)?;
        let filter = Filter::parse(&condition, &table, &layout)?;
        let rule = source.rule(shard);
        let mut runs: Vec<Box<dyn Run>> = Vec::new();
        let mut owned = Vec::new();
        for node in source.runs(shard, &BTreeSet::new(), &watch)? {
            let files = node.files.into_iter().map(|f| f.run).collect::<Result<Vec<_>>>()?;
            runs.push(Box::new(Merge::of(files, &*rule)));
            owned.push(node.owned);
        }
        let mut nobody = Nobody;
        let mut merged = Merge::across(runs, &*rule, now, Across::new(owned, 0, &mut nobody));
        let show = Show { write_times: true, ttls: true };
        let mut rows = Rows::new(layout, now, show, Some(filter.predicate()));
        let (mut batch, mut out) = (RecordBatch::new(), String::new());
        while merged.next_batch(&mut batch)? {
            for record in batch.iter() {
                let within = |(low, high): &(Vec<u8>, Vec<u8>)| {
                    &low[..] <= record.key && (high.is_empty() || record.key < &high[..])
                };
                if filter.ranges().iter().any(within) {
                    rows.push(&record, &mut out)?;
                }
            }
            std::io::stdout().write_all(out.as_bytes()).expect("standard output");
            out.clear();
        }
        rows.finish(&mut out)?;
        std::io::stdout().write_all(out.as_bytes()).expect("standard output");
    }
    Ok(())
}
