//! What an engine says of one shard of a snapshot, so that the rest of the program reads it without knowing the database.

use serde_json::Value;
use serde_json::value::RawValue;

use super::rows::{Column, Rows, Show};
use crate::error::Result;
use crate::merge::{Owned, Rule};
use crate::run::{Record, Run};

/// Keys from the first (inclusive) to the second (exclusive); an empty second is the end of the shard.
pub type KeyRange = (Vec<u8>, Vec<u8>);

/// Ranges of keys, ascending and disjoint.
pub type KeyRanges = Box<dyn Iterator<Item = KeyRange> + Send>;

/// One shard, as its description in a snapshot has it. No I/O, no clock.
pub trait Schema: Send + Sync {
    /// How versions of its records merge.
    fn rule(&self) -> &dyn Rule;
    /// The keys that each of the snapshot's `nodes` answers for, by node. `cluster` is what the snapshot says of all shards
    /// together ([`super::Source::describe`] of none).
    fn owned(&self, cluster: &Value, nodes: usize) -> Result<Vec<Owned>>;
    /// How far along all keys that there can be a key lies: it never falls from one key to a greater one, and rises about evenly
    /// with the records. Errors: the key is none of the engine's.
    fn share(&self, key: &[u8]) -> Result<u64>;
    /// How the database names the place so far along ([`super::Words::place`]).
    fn place(&self, share: u64) -> Value;
    /// A record for people, values judged at `cut` (seconds since 1970).
    fn show(&self, record: &Record<'_>, cut: u32) -> Result<Shown>;
    /// How keys of its records are made, in the database's words: records of two shards that say the same have equal keys where
    /// they are the same row.
    fn key(&self) -> Result<String>;
    /// What a row has, in order. Errors, here and in [`Schema::rows`]: a type that is not known; what the database's rows do not
    /// have.
    fn columns(&self, show: Show) -> Result<Vec<Column>>;
    /// Makes rows of all records of the shard as a reader at `cut` (seconds since 1970) would find them.
    fn rows(&self, cut: u32, show: Show) -> Result<Box<dyn Rows>>;
    /// The rows that fulfil `conditions`, in the language of the database, values judged at `cut`.
    ///
    /// Errors: `Usage`, by what is wrong with them.
    fn select(&self, conditions: &str, cut: u32) -> Result<Box<dyn Selection>>;
    /// Whether records that were stored under an earlier description mean the same under this one: what differs between them is then
    /// what changed. Columns that were added since do no harm.
    fn continues(&self, earlier: &Value) -> bool;
    /// Conditions, as [`Schema::select`] takes them, on all rows whose key is `key`, as people write it in one word: on what names
    /// their group; where groups are not used, on the key itself.
    ///
    /// Errors: `Usage` where no row can have such a key, by why not.
    fn conditions_of_key(&self, key: &str) -> Result<String>;
    /// How people bring a file of CSV with all rows back into the database; `None` where nothing is known of that.
    fn csv_back(&self, _file: &str) -> Result<Option<String>> {
        Ok(None)
    }
}

/// Some rows of a shard.
pub trait Selection: Send + Sync {
    /// Where their records are, and as few others as can be. Every range begins where no range deletion is in force
    /// but those that have a marker before it: what is in force there is said anew when the range is read.
    ///
    /// Errors: `Usage` where what is `wanted` cannot be had of these rows.
    fn reads(&self, wanted: Wanted) -> Result<KeyRanges>;
    /// What is `wanted`, of a run over [`Selection::reads`].
    fn cut<'a>(&self, run: Box<dyn Run + 'a>, wanted: Wanted) -> Box<dyn Run + 'a>;
    /// Makes rows of what [`Selection::cut`] gives for [`Wanted::Rows`].
    fn rows(&self, show: Show) -> Result<Box<dyn Rows>>;
}

/// What rows are selected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Their records and no others, to be written somewhere: with deletions as far as they reach into what is selected.
    Records,
    /// All that making the rows takes; more records than are selected may be among it.
    Rows,
}

/// A record for people.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What kind of record, in the database's words: `row`, `range deletion`.
    pub kind: &'static str,
    /// Its key, an object.
    pub key: Box<RawValue>,
    /// What it says: values, times, deletions; an object.
    pub says: Box<RawValue>,
}
