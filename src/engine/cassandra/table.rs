//! Cassandra as an [`Engine`], and one of its tables as a [`Schema`].

use serde_json::Value;

use super::comparable;
use super::rows::Layout;
use super::rule::CassandraRule;
use super::schema::Table;
use super::shown;
use super::source::{ClusterDescription, ENGINE};
use crate::engine::{Engine, Schema, Shown};
use crate::error::Result;
use crate::merge::{Owned, Rule};
use crate::run::Record;
use std::sync::Arc;

/// The engine.
pub struct Cassandra;

impl Engine for Cassandra {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn schema(&self, name: &str, description: &Value) -> Result<Arc<dyn Schema>> {
        Ok(Arc::new(TableSchema::of(Table::read(description, name)?)))
    }
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
        shown::show(Layout::of(&self.table)?, record, cut)
    }
}
