//! What is asked for of one table, and what of it is refused before a cluster is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::engine::cassandra::client::{Rate, Sent};
use crate::engine::cassandra::filter::Filter;
use crate::engine::cassandra::mutate::{Mutations, Times, Ttl};
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::statements::qualified;
use crate::engine::cassandra::schema::{Keyspace, Table};
use crate::engine::target::{Asked, Stored};
use crate::error::{Error, Kind, Result};

/// What may happen to what the target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It holds nothing, or the restore is refused.
    Empty,
    /// It is deleted as far as the selection names it, and the restored data take its place.
    Replace,
    /// Rows that are not restored stay. Those that are win by times of now, where the snapshot says anything of them.
    RewriteTimes,
}

/// What becomes of expiring cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// They end when they would have ended.
    Keep,
    /// They have as long to live as they had at the snapshot's cut.
    Shift,
    /// They do not end.
    Lift,
}

/// What is asked for of one table.
#[derive(Debug)]
pub struct Order<'a> {
    /// Id of the snapshot.
    pub snapshot: String,
    /// The table as captured.
    pub table: &'a Table,
    /// Its keyspace as captured.
    pub keyspace: &'a Keyspace,
    /// Keyspace and table that are written to.
    pub into: (&'a str, &'a str),
    /// Conditions as in CQL; without, everything.
    pub condition: Option<&'a str>,
    /// With what only nodes held that do not own it.
    pub unowned: bool,
    /// What may happen to what is there.
    pub mode: Mode,
    /// What becomes of expiring cells.
    pub expiry: Expiry,
    /// How the keyspace is, or is to be, replicated; as captured where it is there like that.
    pub replication: Option<BTreeMap<String, String>>,
    /// A limit of speed.
    pub rate: Option<Rate>,
    /// Statements in flight.
    pub concurrency: usize,
    /// Where to remember what was sent.
    pub state: PathBuf,
}

/// What a restore came to.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// What was sent, or would be.
    pub sent: Sent,
    /// Rows that an interrupted restore had sent before.
    pub rows_before: u64,
    /// An earlier restore had done everything.
    pub done_before: bool,
    /// What CQL cannot carry exactly, by name, with numbers.
    pub not_carried: BTreeMap<&'static str, u64>,
    /// What of the captured schema was not made.
    pub left_out: Vec<String>,
    /// Seconds that sending takes by reckoning; only of a dry run.
    pub seconds: Option<u64>,
}

/// So many SSTables that are missing are named.
const NAMED: usize = 3;

impl Order<'_> {
    /// What makes it this restore and no other.
    pub fn about(&self) -> serde_json::Value {
        json!({
            "snapshot": self.snapshot,
            "table": format!("{}.{}", self.table.keyspace, self.table.name),
            "into": format!("{}.{}", self.into.0, self.into.1),
            "where": self.condition,
            "unowned": self.unowned,
            "mode": format!("{:?}", self.mode),
            "expiry": format!("{:?}", self.expiry),
        })
    }

    /// Refuses what needs no cluster to be refused: counters, conditions that the table does not allow, and the deletion of
    /// what the snapshot cannot replace.
    pub fn check(&self, asked: &Asked<'_>, stored: &Stored<'_>) -> Result<()> {
        self.mutations(asked.cut, 0)?;
        let filter = self.filter()?;
        if self.mode != Mode::Replace {
            return Ok(());
        }
        if filter.is_some_and(|f| f.slices().is_none()) {
            let message = "names rows by more than their keys: what else is there cannot be told apart and deleted";
            return Err(Error::new(Kind::Usage, "--replace with --where", message)
                .hint("give conditions on the partition key and clustering alone, or --rewrite-times now"));
        }
        let missing = missing(asked, stored)?;
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("would delete what the snapshot cannot replace: {}", missing.join("; "));
        Err(Error::new(Kind::Usage, format!("--replace of table {}", self.name()), message)
            .hint("restore --into another table, or with --rewrite-times now, which deletes no rows"))
    }

    pub(super) fn name(&self) -> String {
        qualified(self.into.0, self.into.1)
    }

    pub(super) fn mutations(&self, cut: u32, base: i64) -> Result<Mutations> {
        let ttl = match self.expiry {
            Expiry::Keep => Ttl::Keep,
            Expiry::Shift => Ttl::Shift { cut },
            Expiry::Lift => Ttl::Lift,
        };
        let times = match self.mode {
            Mode::Empty => Times::Keep,
            // A whole table is truncated, which hides nothing.
            Mode::Replace if self.condition.is_none() => Times::Keep,
            Mode::Replace => Times::From(base),
            Mode::RewriteTimes => Times::Over(base),
        };
        Mutations::new(self.table, self.into.0, self.into.1, ttl, times)
    }

    pub(super) fn filter(&self) -> Result<Option<Filter>> {
        let layout = Layout::of(self.table)?;
        self.condition.map(|text| Filter::parse(text, self.table, &layout)).transpose()
    }
}

/// What the snapshot does not hold of a table.
fn missing(asked: &Asked<'_>, stored: &Stored<'_>) -> Result<Vec<String>> {
    let mut missing = stored.missing()?;
    let more = missing.len().saturating_sub(NAMED);
    missing.truncate(NAMED);
    if more > 0 {
        missing.push(format!("and {more} more SSTables"));
    }
    missing.extend(stored.unread.iter().map(|node| format!("node {node} was not read")));
    if missing.is_empty() && !asked.complete {
        missing.push("it is incomplete (`onefold show`)".to_string());
    }
    Ok(missing)
}
