//! `restore --to cassandra`

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

/// What write times become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RewriteTimesArg {
    /// The time of the restore, in their order within each row.
    Now,
}

/// What becomes of expiring cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpiryArg {
    /// They end when they would have ended.
    Keep,
    /// They have as long to live as they had when the snapshot was taken.
    Shift,
    /// They do not end.
    Lift,
}

/// How many replicas must have each write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConsistencyArg {
    /// One.
    One,
    /// A majority in the data centre of the contacts.
    LocalQuorum,
    /// A majority.
    Quorum,
    /// All.
    All,
}

/// `restore --to cassandra`
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of --to cassandra")]
pub struct Cassandra {
    /// Delete what the target holds of what is restored (all of the table without --where), then write.
    #[arg(long, conflicts_with = "rewrite_times")]
    pub replace: bool,
    /// Write with times of now, so that restored rows win over those that are there. Other rows stay: deletions are written
    /// only within restored rows, the others are counted.
    #[arg(long, value_enum, value_name = "now")]
    pub rewrite_times: Option<RewriteTimesArg>,
    /// Cells that expire [default: keep].
    #[arg(long, value_enum)]
    pub expiry: Option<ExpiryArg>,
    /// At most so much a second: 5000 (rows), 10MB (bytes of values).
    #[arg(long, value_name = "ROWS|BYTES")]
    pub rate: Option<String>,
    /// Statements in flight [default: 32]; never more than a 500th of the rows that are done, or 32, so that little is sent
    /// twice when an interrupted restore goes on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: Option<u16>,
    /// Replicas that must have each write [default: local-quorum].
    #[arg(long, value_enum)]
    pub consistency: Option<ConsistencyArg>,
    /// Where to remember what was sent, so that a repeated restore goes on; without --table a folder [default: in
    /// $XDG_STATE_HOME/onefold/restores, or ~/.local/state/onefold/restores].
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}
