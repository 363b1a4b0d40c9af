//! Ways to give back what is stored: what a target is asked to write, and what it must say.

use std::path::Path;

use serde_json::Value;

use super::Node;
use super::params::{Group, Param, Takes};
use crate::error::{Error, Kind, Result};
use crate::report::Report;
use crate::run::Run;

/// What a form takes that writes files: where they go.
pub const OUT: Group = Group {
    heading: None,
    params: &[Param::new(
        "out",
        Takes::Path,
        "PATH",
        "Folder (json and csv of one table: file) to write to. A restore of several tables that was interrupted goes on where it is \
         repeated",
    )],
};

/// Everything that a target is asked to write, with what the snapshot says around it.
pub struct Asked<'a> {
    /// Id of the snapshot.
    pub snapshot: String,
    /// What expires by then is expired, seconds since 1970.
    pub cut: u32,
    /// Nothing is missing in the snapshot.
    pub complete: bool,
    /// The captured nodes.
    pub nodes: &'a [Node],
    /// What the engine said of all shards together ([`super::Source::describe`]).
    pub description: &'a Value,
    /// The shards that are to be written.
    pub shards: Vec<Stored<'a>>,
    /// The name of the one shard that is meant; `None`: everything.
    pub only: Option<&'a str>,
    /// Conditions, in the engine's words; without, everything. [`Stored::read`] heeds them.
    pub condition: Option<&'a str>,
    /// With what only nodes held that do not own it. [`Stored::read`] heeds it.
    pub unowned: bool,
    /// Where files go, if the operator says it ([`OUT`]).
    pub out: Option<&'a Path>,
    /// Nothing is to be written: only to be said what would be.
    pub dry_run: bool,
}

/// One shard that is to be written.
pub struct Stored<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the engine said of it.
    pub description: &'a Value,
    /// Rows in all of it, static ones too.
    pub rows: u64,
    /// Records in all of it.
    pub records: u64,
    /// Bytes of captured files that were read for it, of all replicas.
    pub bytes: u64,
    /// Names of nodes that own parts of it and were not read.
    pub unread: &'a [String],
    /// What gives its records, or why nothing can.
    pub reading: Result<Box<dyn Records + 'a>>,
}

impl Stored<'_> {
    /// Whether records can be had at all, before any is read. Errors: descriptions and roots that are none, conditions that the shard does
    /// not allow.
    pub fn check(&self) -> Result<()> {
        self.reading.as_ref().map(drop).map_err(Error::again)
    }

    /// The records that are asked for, ascending, whenever it is called. Where it is `watched`, what is read counts as progress, up to
    /// [`Stored::bytes`], and reading ends when the work is to end.
    ///
    /// Errors: those of [`Stored::check`]; what reading gives.
    pub fn read(&self, watched: bool) -> Result<Box<dyn Run + '_>> {
        self.reading.as_ref().map_err(Error::again)?.read(watched)
    }

    /// Parts of it that were not understood, a line for each: what they hold is not among the records. Errors: [`Stored::check`].
    pub fn missing(&self) -> Result<Vec<String>> {
        Ok(self.reading.as_ref().map_err(Error::again)?.missing())
    }
}

/// Gives records again and again.
pub trait Records: Send + Sync {
    /// As [`Stored::read`] says.
    fn read(&self, watched: bool) -> Result<Box<dyn Run + '_>>;
    /// As [`Stored::missing`] says.
    fn missing(&self) -> Vec<String>;
}

/// Writes shards of a snapshot in one form. It is called in this order: `plan`, `write` for each of the shards in their order,
/// `finish`.
pub trait Target {
    /// Looks at what is asked for and where it goes, and makes that ready. A shard, one of several, that cannot be written is refused
    /// when its turn comes.
    ///
    /// Errors: what makes all of it impossible.
    fn plan(&mut self) -> Result<Report>;
    /// Writes the shard at `place` of [`Asked::shards`], or says what would be written.
    ///
    /// Errors: [`is_of_one_shard`] says which leave the others to be had; such a shard does not count as written.
    fn write(&mut self, place: usize) -> Result<Report>;
    /// Ends the work. Shards that `write` refused are not there.
    fn finish(&mut self) -> Result<Report>;
}

/// Whether an error is of one shard alone, so that the others of several can be had: it is damaged, or cannot be written as asked.
pub fn is_of_one_shard(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::Unsupported | Kind::TooLarge)
}

/// What writing a record failed with. Its bytes are what their hash says, so it is no damage that its values are not understood.
pub fn unwritable(e: Error) -> Error {
    match e.kind() {
        Kind::Damaged => e.of_kind(Kind::Unsupported),
        _ => e,
    }
}
