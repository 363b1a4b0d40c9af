//! The table that is restored into: whether it is there, fits, and may be written to.

use std::collections::BTreeMap;

use super::order::{Done, Mode, Order};
use super::source::gone;
use super::state::Before;
use crate::engine::cassandra::client::Client;
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::schema::fits::{check_fits, other_replication};
use crate::engine::cassandra::schema::statements::{self, Place, Release, qualified};
use crate::error::{Error, Kind, Result};

/// Microseconds: what the nodes' clocks may be apart.
const MICROS: i64 = 1_000_000;

/// What is there before.
pub(super) struct Target {
    pub(super) release: Release,
    keyspace: bool,
    pub(super) table: Option<Table>,
}

impl Target {
    /// Asks the cluster, and refuses what does not fit.
    pub(super) fn ask(client: &Client, order: &Order<'_>) -> Result<Target> {
        let release = client.release()?;
        let schema = client.schema(order.into.0)?;
        let keyspace = schema.keyspace(order.into.0);
        if let Some(there) = keyspace {
            same_replication(&there.replication, order)?;
        }
        let table = schema.tables.iter().find(|t| t.name == order.into.1).cloned();
        if let Some(there) = &table {
            check_fits(order.table, there)?;
        }
        for t in statements::used_types(order.table)? {
            let there = schema.tables.iter().flat_map(|t| &t.types).find(|o| o.name == t.name);
            if table.is_none() && there.is_some_and(|there| there.fields.get(..t.fields.len()) != Some(&t.fields[..])) {
                let subject = format!("type {}", qualified(order.into.0, &t.name));
                return Err(Error::new(Kind::Usage, subject, "is there with other fields")
                    .hint("restore --into another keyspace"));
            }
        }
        if keyspace.is_none() && order.replication.is_none() {
            let captured = statements::create_keyspace(order.keyspace, &order.keyspace.replication, order.into.0);
            let subject = format!("keyspace {}", order.into.0);
            return Err(Error::new(Kind::Usage, subject, "is not there, and how to replicate it was not said")
                .hint(format!("create it, or give --replication; it was captured as: {captured}")));
        }
        Ok(Target { release, keyspace: keyspace.is_some(), table })
    }

    /// Refuses where the table is not the one that an earlier run wrote to, or holds nothing of it any more.
    pub(super) fn is_as_left(&self, client: &Client, order: &Order<'_>, before: &Before) -> Result<()> {
        let Some(id) = &before.header.table else { return Ok(()) };
        let Some(table) = &self.table else {
            return Err(gone(order, "was dropped after this restore had begun"));
        };
        if table.id != *id {
            return Err(gone(order, "was dropped and made again after this restore had begun"));
        }
        if before.rows > 0 && !client.holds_data(order.table, order.into)? {
            return Err(gone(order, "was emptied after this restore had begun, or all of it has expired"));
        }
        Ok(())
    }

    /// Makes what is not there. What an interrupted restore had begun to make is made anew.
    pub(super) fn make(&self, client: &Client, order: &Order<'_>, report: &mut Done) -> Result<()> {
        if self.table.is_some() {
            let name = qualified(order.into.0, order.into.1);
            if client.holds_data(order.table, order.into)? {
                return Err(Error::new(
                    Kind::Usage,
                    format!("table {name}"),
                    "was not there before, and now holds data",
                )
                .hint(format!("if they are of no use, drop it and remove {}", order.state.display())));
            }
            client.execute(&format!("DROP TABLE {name}"))?;
        }
        let replication = order.replication.as_ref().unwrap_or(&order.keyspace.replication);
        let made = statements::before(order.table, order.keyspace, replication, &self.place(order))?;
        for statement in made.cql.iter().skip(usize::from(self.keyspace)) {
            client.execute(statement)?;
        }
        report.left_out.extend(made.left_out);
        Ok(())
    }

    /// Makes what comes after the data; nothing where the table was there before.
    pub(super) fn complete(&self, client: &Client, order: &Order<'_>, report: &mut Done) -> Result<()> {
        let made = statements::after(order.table, &self.place(order));
        for statement in &made.cql {
            client.execute(statement)?;
        }
        report.left_out.extend(made.left_out);
        Ok(())
    }

    fn place<'a>(&self, order: &Order<'a>) -> Place<'a> {
        Place { keyspace: order.into.0, table: order.into.1, release: self.release }
    }

    /// Empties the table.
    pub(super) fn truncate(client: &Client, order: &Order<'_>) -> Result<()> {
        client.execute(&format!("TRUNCATE {}", qualified(order.into.0, order.into.1)))
    }
}

/// A keyspace under its captured name must be replicated as captured, or as the operator says.
fn same_replication(there: &BTreeMap<String, String>, order: &Order<'_>) -> Result<()> {
    let captured = (order.keyspace.name == order.into.0).then_some(&order.keyspace.replication);
    let Some(wanted) = order.replication.as_ref().or(captured) else { return Ok(()) };
    let Some(message) = other_replication(there, wanted) else { return Ok(()) };
    let hint = match order.replication {
        Some(_) => "give --replication as it is there, or restore --into another keyspace",
        None => "if it is meant to be so, say it: --replication as it is there; or restore --into another keyspace",
    };
    Err(Error::new(Kind::Usage, format!("keyspace {}", order.into.0), message).hint(hint))
}

/// The time that write times are moved to.
pub(super) fn base(mode: Mode, now_ms: u64) -> i64 {
    match mode {
        Mode::Empty => 0,
        _ => i64::try_from(now_ms).unwrap_or(i64::MAX / MICROS).saturating_mul(1000),
    }
}
