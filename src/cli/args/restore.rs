//! `restore`: what every form takes, and one struct for each form's own options.

use std::fmt;
use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

use super::cassandra::Cassandra;
use super::connect::Connect;
use super::filter::Filter;
use super::sstables::SsTables;

/// Forms in which data come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One row a line, values as `SELECT JSON` writes them.
    Json,
    /// RFC 4180 under a line of names, values as cqlsh's COPY FROM reads them.
    Csv,
    /// The files that were kept byte for byte.
    Files,
    /// SSTables for the nodes of another cluster, or of the same.
    #[value(name = "sstables")]
    SsTables,
    /// Rows into a live cluster, over CQL.
    Cassandra,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_possible_value().map_or(Ok(()), |value| f.write_str(value.get_name()))
    }
}

/// `restore`
#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// Beginning of an id, or `latest`.
    #[arg(default_value = "latest")]
    pub snapshot: String,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
    /// In which form.
    #[arg(long = "to", value_enum)]
    pub form: Form,
    /// One table only (not with files).
    #[arg(long, value_name = "KEYSPACE.TABLE")]
    pub table: Option<String>,
    /// Rows that fulfil this only, as in CQL: `id = 42 AND day >= '2024-01-01'` (not with files).
    #[arg(long = "where", value_name = "CONDITION", requires = "table")]
    pub condition: Option<String>,
    /// Put the table there, in place of where it was (sstables, cassandra).
    #[arg(long, value_name = "KEYSPACE.TABLE", requires = "table")]
    pub into: Option<String>,
    /// Write roles and grants (`system_auth`), too, where everything is restored; other tables of Cassandra's own only with --table
    /// (sstables, cassandra).
    #[arg(long, conflicts_with = "table")]
    pub with_roles: bool,
    /// What this node alone held: its own view (json and csv; needs --keep-node-views at the backup), or its files (files).
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// With what only nodes held that do not own it, merged by the database's rule (not with files).
    #[arg(long, conflicts_with = "node")]
    pub include_unowned: bool,
    /// Folder (json and csv of one table: file) to write to. A restore to SSTables that was interrupted goes on where it is
    /// repeated.
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
    /// Say what would be written; write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Options of `--to json` and `--to csv`.
    #[command(flatten)]
    pub rows: Rows,
    /// How the target replicates what is restored, where not as captured: `{'class': 'NetworkTopologyStrategy', 'dc1': 3}`
    /// (sstables, cassandra).
    #[arg(long, value_name = "OPTIONS")]
    pub replication: Option<String>,
    /// The live cluster.
    #[command(flatten)]
    pub connect: Connect,
    /// Options of `--to sstables`.
    #[command(flatten)]
    pub sstables: SsTables,
    /// Options of `--to cassandra`.
    #[command(flatten)]
    pub cassandra: Cassandra,
}

/// `restore --to json` and `--to csv`
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of --to json and --to csv")]
pub struct Rows {
    /// Add write times.
    #[arg(long)]
    pub writetime: bool,
    /// Add the seconds left to live at the snapshot's cut.
    #[arg(long)]
    pub ttl: bool,
}
