//! Cassandra as an [`Engine`], and one of its tables as a [`Schema`].

use serde_json::Value;

use super::comparable;
use super::filter::{self, Conditions};
use super::forms;
#[cfg(feature = "cql")]
use super::into_cql::IntoCql;
use super::into_sstables::IntoSsTables;
use super::rows::{self, Layout};
use super::rule::CassandraRule;
use super::schema::{Column as ColumnOf, Table};
use super::shown;
use super::source::{ClusterDescription, ENGINE};
use super::sstable::{self, Descriptor};
use super::types::{CqlType, quote_name};
use crate::engine::target::{Asked, Target};
use crate::engine::{Column, KeptOf, Rows, Selection, Show};
use crate::engine::{Described, Engine, Env, Form, Params, Schema, Shown, Source, Words};
use crate::error::{Error, Kind, Result};
use crate::merge::{Owned, Rule};
use crate::run::Record;
use std::sync::Arc;

/// The engine.
pub struct Cassandra;

impl Engine for Cassandra {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn words(&self) -> Words {
        Words { outer: Some("keyspace"), place: "token", shared: "static row" }
    }

    fn kept_of<'n>(&self, file: &'n str) -> Option<KeptOf<'n>> {
        // `keyspace/table-id/…/file`
        let (keyspace, rest) = file.split_once('/')?;
        let (folder, rest) = rest.split_once('/')?;
        let (table, id) = folder.rsplit_once('-')?;
        let part = rest.rsplit('/').next().and_then(sstable_of);
        Some(KeptOf { shard: format!("{keyspace}.{table}"), id, part })
    }

    fn schema(&self, name: &str, description: &Value) -> Result<Arc<dyn Schema>> {
        Ok(Arc::new(TableSchema::of(Table::read(description, name)?)))
    }

    fn sources(&self) -> &'static [Form] {
        forms::SOURCES
    }

    fn source(&self, _form: &str, params: &Params, before: &Described<'_>, env: &Env<'_>) -> Result<Box<dyn Source>> {
        forms::source(params, before, env)
    }

    fn targets(&self) -> &'static [Form] {
        forms::TARGETS
    }

    fn leaves_out(&self, table: &str, params: &Params) -> Option<&'static str> {
        forms::leaves_out(table, params)
    }

    fn target<'a>(
        &self,
        form: &str,
        params: &'a Params,
        asked: &'a Asked<'a>,
        env: &'a Env<'a>,
    ) -> Result<Box<dyn Target + 'a>> {
        match form {
            forms::SSTABLES => Ok(Box::new(IntoSsTables::new(params, asked, env)?)),
            #[cfg(feature = "cql")]
            forms::LIVE => Ok(Box::new(IntoCql::new(params, asked, env)?)),
            _ => Err(Error::new(Kind::Unsupported, format_args!("restore --to {form}"), "is not built in")),
        }
    }
}

/// The SSTable that a file belongs to, by its name.
fn sstable_of(file: &str) -> Option<String> {
    let known = Descriptor::parse(file).map(|(descriptor, _)| descriptor.to_string());
    known.or_else(|| Some(sstable::old(file)?.0.to_string()))
}

/// A table.
pub struct TableSchema {
    table: Table,
    rule: CassandraRule,
}

impl TableSchema {
    /// Of a table as a snapshot holds it.
    pub fn of(table: Table) -> TableSchema {
        let rule = CassandraRule::of(&table);
        TableSchema { table, rule }
    }

    fn layout(&self) -> Result<Layout> {
        Layout::of(&self.table)
    }

    /// Whether all that records of `earlier` hold is the same here: its columns, with their numbers, types and drops, and its user's types.
    fn says_all_of(&self, earlier: &Table) -> bool {
        let table = &self.table;
        (table.compact, table.counter, table.view) == (earlier.compact, earlier.counter, earlier.view)
            && earlier.columns.iter().all(|column| table.columns.contains(column))
            && earlier.types.iter().all(|known| table.types.contains(known))
    }
}

/// Shares are tokens, counted from the least.
const LEAST: u64 = 1 << 63;

impl Schema for TableSchema {
    fn rule(&self) -> &dyn Rule {
        &self.rule
    }

    fn owned(&self, cluster: &Value, nodes: usize) -> Result<Vec<Owned>> {
        let cluster = ClusterDescription::read(cluster)?;
        Ok((0..nodes).map(|node| cluster.owned(node, &self.table.keyspace)).collect())
    }

    fn share(&self, key: &[u8]) -> Result<u64> {
        Ok(comparable::split(key)?.token as u64 ^ LEAST)
    }

    fn place(&self, share: u64) -> Value {
        ((share ^ LEAST) as i64).into()
    }

    fn show(&self, record: &Record<'_>, cut: u32) -> Result<Shown> {
        shown::show(self.layout()?, record, cut)
    }

    fn key(&self) -> Result<String> {
        let layout = self.layout()?;
        let named = |(column, t): (&ColumnOf, &CqlType)| format!("{} {t}", quote_name(&column.name));
        let (keys, clustering) = (layout.partition_keys(), layout.clustering().columns());
        let mut parts: Vec<String> = layout.columns().take(keys + clustering.len()).map(named).collect();
        let rest = parts.split_off(keys);
        let rest = rest.iter().zip(clustering).map(|(part, (_, descending))| match descending {
            true => format!(", {part} DESC"),
            false => format!(", {part}"),
        });
        Ok(format!("(({}){})", parts.join(", "), rest.collect::<String>()))
    }

    fn columns(&self, show: Show) -> Result<Vec<Column>> {
        Ok(rows::columns(&self.layout()?, show))
    }

    fn rows(&self, cut: u32, show: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(rows::Rows::new(self.layout()?, cut, show, None)))
    }

    fn select(&self, conditions: &str, cut: u32) -> Result<Box<dyn Selection>> {
        Ok(Box::new(Conditions::parse(conditions, &self.table, self.layout()?, cut)?))
    }

    fn continues(&self, earlier: &Value) -> bool {
        Table::read(earlier, &self.table.name).is_ok_and(|earlier| self.says_all_of(&earlier))
    }

    fn conditions_of_key(&self, key: &str) -> Result<String> {
        filter::of_key(key, &self.layout()?)
    }

    /// Column by column, as cqlsh has an order of its own.
    fn csv_back(&self, file: &str) -> Result<Option<String>> {
        let layout = self.layout()?;
        let columns: Vec<String> = layout.columns().map(|(c, _)| quote_name(&c.name)).collect();
        let (columns, file) = (columns.join(", "), file.replace('\'', "''"));
        let name = format!("{}.{}", quote_name(&self.table.keyspace), quote_name(&self.table.name));
        Ok(Some(format!("in cqlsh: COPY {name} ({columns}) FROM '{file}' WITH HEADER = true AND ESCAPE = '\"'")))
    }
}
