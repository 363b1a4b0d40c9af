//! Two snapshots compared: tables, then rows. What both hold alike is not read.

mod rows;
mod spell;
mod tables;

use std::collections::BTreeSet;

pub use rows::{Change, Counts, Differs, Side, What, compare};
pub use spell::{Columns, Version};
pub use tables::{Held, Why, not_read};

use crate::engine::target::is_of_one_shard;
use crate::engine::{Engine, Selection};
use crate::error::{Error, Kind, Result};
use crate::run::ChunkSource;
use crate::snapshot::{Snapshot, short};
use crate::view::View;
use crate::watch::Watch;

/// A snapshot, and its id.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    /// Its id.
    pub id: &'a str,
    /// What it says.
    pub snapshot: &'a Snapshot,
}

/// What is asked for.
pub struct Request<'a> {
    /// The engine of both.
    pub engine: &'a dyn Engine,
    /// The first snapshot.
    pub before: Of<'a>,
    /// The second.
    pub after: Of<'a>,
    /// Only what lies in this, and is called so or fits this pattern ([`Snapshot::fitting`]).
    pub outer: Option<&'a str>,
    /// See there.
    pub table: Option<&'a str>,
    /// Conditions, of one table.
    pub conditions: Option<&'a str>,
    /// Is asked whether to go on.
    pub watch: &'a Watch,
}

/// What both snapshots say of a table.
#[derive(Debug)]
pub struct Table<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the first has of it.
    pub before: Held<'a>,
    /// What the second has of it.
    pub after: Held<'a>,
    /// How it differs as a whole.
    pub notes: Vec<String>,
    /// What of it was not read in either: rows that differ may differ for that alone.
    pub not_read: Vec<String>,
}

/// Is told what differs, table by table.
pub trait Sink {
    /// A table, before its rows.
    fn table(&mut self, table: &Table<'_>) -> Result<()>;
    /// A row of it that differs.
    fn row(&mut self, table: &str, change: &Change<'_>) -> Result<()>;
    /// The table's rows have ended.
    fn counted(&mut self, table: &str, counts: &Counts) -> Result<()>;
}

/// What comparing came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Tables whose rows were compared.
    pub compared: usize,
    /// Of these, those with rows that differ.
    pub differ: usize,
    /// Tables that not both have.
    pub not_compared: usize,
    /// Rows that differ.
    pub counts: Counts,
    /// Tables that could not be compared, or not to their end.
    pub refused: Vec<Error>,
}

/// Compares two snapshots. Of what concerns one table alone, where there are several, [`Report::refused`] tells.
///
/// Errors: `Usage` for a table that neither has, and conditions that say nothing in either; what reading gives; those of `sink`.
pub fn diff(request: &Request<'_>, chunks: &dyn ChunkSource, sink: &mut dyn Sink) -> Result<Report> {
    let (before, after) = (request.before.snapshot, request.after.snapshot);
    if before.engine != after.engine {
        let message = format!("one is of {}, the other of {}", before.engine, after.engine);
        return Err(Error::new(Kind::Usage, "snapshots", message).hint("compare two snapshots of one cluster"));
    }
    let names = names(request)?;
    let mut report = Report::default();
    for name in &names {
        request.watch.check()?;
        match one(request, name, chunks, sink) {
            Ok(Some(counts)) => {
                report.compared += 1;
                report.differ += usize::from(counts.all() > 0);
                report.counts.add(&counts);
            }
            Ok(None) => report.not_compared += 1,
            Err(e) if names.len() > 1 && is_of_one_shard(&e) => report.refused.push(e),
            Err(e) => return Err(e),
        }
    }
    Ok(report)
}

/// The tables that are asked for, of either.
fn names(request: &Request<'_>) -> Result<BTreeSet<String>> {
    let of = |of: &Of<'_>| -> Result<Vec<String>> {
        let shards = of.snapshot.fitting(request.outer, request.table)?;
        Ok(shards.into_iter().map(|shard| shard.name.clone()).collect())
    };
    match (of(&request.before), of(&request.after)) {
        (Ok(before), Ok(after)) => Ok(before.into_iter().chain(after).collect()),
        // What one of them lacks is said.
        (Ok(names), Err(e)) | (Err(e), Ok(names)) if e.kind() == Kind::Usage && !names.is_empty() => {
            Ok(names.into_iter().collect())
        }
        (Err(e), Ok(_)) | (_, Err(e)) => {
            let ids = [request.before.id, request.after.id].map(short);
            Err(e.within(format_args!("snapshots {} and {}", ids[0], ids[1])))
        }
    }
}

/// Compares one table; `None` where not both have it.
fn one(request: &Request<'_>, name: &str, chunks: &dyn ChunkSource, sink: &mut dyn Sink) -> Result<Option<Counts>> {
    let (before, after) = (Held::of(request.before.snapshot, name), Held::of(request.after.snapshot, name));
    let (Some(first), Some(second)) = (before.shard(), after.shard()) else {
        sink.table(&Table { name, before, after, notes: Vec::new(), not_read: Vec::new() })?;
        return Ok(None);
    };
    // What the sink fails with is not of the table.
    let of_table = |e: Error| match is_of_one_shard(&e) && !e.subject().contains(name) {
        true => e.within(format_args!("table {name}")),
        false => e,
    };
    let first = View::open(request.engine, request.before.snapshot, first, chunks).map_err(of_table)?;
    let second = View::open(request.engine, request.after.snapshot, second, chunks).map_err(of_table)?;
    let mut notes = tables::notes(&first, &second).map_err(of_table)?;
    let not_read = [(&request.before, &first), (&request.after, &second)].into_iter().flat_map(|(of, view)| {
        let said = move |what: String| format!("INCOMPLETE snapshot {}: {what}", short(of.id));
        not_read(of.snapshot, view.shard()).into_iter().map(said)
    });
    let not_read = not_read.collect();
    let (one, other) = selections(request, &first, &second, &mut notes)?;
    sink.table(&Table { name, before, after, notes, not_read })?;
    let before = Side { view: &first, selection: one.as_deref() };
    let after = Side { view: &second, selection: other.as_deref() };
    let counts = compare(Some(before), Some(after), request.watch, &mut |change| sink.row(name, change));
    let counts = counts.map_err(of_table)?;
    sink.counted(name, &counts)?;
    Ok(Some(counts))
}

/// Conditions, as either side understands them.
type Both = (Option<Box<dyn Selection>>, Option<Box<dyn Selection>>);

/// The conditions on either side. One that does not know a column has no row that they name, and that is said.
fn selections(request: &Request<'_>, one: &View<'_>, other: &View<'_>, notes: &mut Vec<String>) -> Result<Both> {
    let Some(text) = request.conditions else { return Ok((None, None)) };
    let mut note = |of: &Of<'_>, e: &Error| {
        notes.push(format!("snapshot {}: the conditions name no row: {}: {}", short(of.id), e.subject(), e.message()));
    };
    match (one.select(text), other.select(text)) {
        (Ok(one), Ok(other)) => Ok((Some(one), Some(other))),
        (Err(e), Ok(other)) if e.kind() == Kind::Usage => {
            note(&request.before, &e);
            Ok((None, Some(other)))
        }
        (Ok(one), Err(e)) if e.kind() == Kind::Usage => {
            note(&request.after, &e);
            Ok((Some(one), None))
        }
        (Err(e), _) | (_, Err(e)) => Err(e),
    }
}
