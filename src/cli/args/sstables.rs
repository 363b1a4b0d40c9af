//! `restore --to sstables`

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

/// Which folders are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LayoutArg {
    /// One folder for each node of the ring, with exactly what it holds: for `nodetool import`, or to copy there.
    Nodes,
    /// Each row once: for `sstableloader`, which finds the nodes by itself.
    Once,
}

/// Versions of SSTables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VersionArg {
    /// Cassandra 4.0 and later.
    Nb,
    /// Cassandra 5.0 with `storage_compatibility_mode: NONE` or `UPGRADING`.
    Oa,
}

/// What to do with times after 2038, which `nb` cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LateTimesArg {
    /// Leave out the tables that have such, naming the row, and fail after the others.
    Refuse,
    /// Bring them forward to 2038, and say how many.
    Cap,
}

/// `restore --to sstables`
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of --to sstables")]
pub struct SsTables {
    /// The target's ring: output of `nodetool ring` or `nodetool describering KEYSPACE`, or JSON (`onefold show --json` prints one).
    /// With --contact it is read from the live cluster.
    #[arg(long, value_name = "FILE", conflicts_with = "contact")]
    pub ring: Option<PathBuf>,
    /// Which folders are written [default: nodes].
    #[arg(long, value_enum)]
    pub layout: Option<LayoutArg>,
    /// Version of the files [default: oa where the captured ones were, else nb].
    #[arg(long, value_enum)]
    pub sstable_version: Option<VersionArg>,
    /// Deletion and expiry times after 2038, which nb cannot hold [default: refuse].
    #[arg(long, value_enum)]
    pub late_times: Option<LateTimesArg>,
}
