//! What an engine says of one shard of a snapshot, so that the rest of the program reads it without knowing the database.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Result;
use crate::merge::{Owned, Rule};
use crate::run::Record;

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
    /// How the database names the place so far along: a token.
    fn place(&self, share: u64) -> Value;
    /// A record for people, values judged at `cut` (seconds since 1970).
    fn show(&self, record: &Record<'_>, cut: u32) -> Result<Shown>;
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
