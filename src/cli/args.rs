//! What can be said on the command line.

mod cassandra;
mod connect;
mod filter;
mod restore;
mod sstables;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args as ClapArgs, Parser, Subcommand};

#[cfg(feature = "cql")]
pub use cassandra::{ConsistencyArg, ExpiryArg};
#[cfg(feature = "cql")]
pub use connect::Connect;
pub use filter::Filter;
pub use restore::{Form, Restore};
pub use sstables::{LateTimesArg, LayoutArg, VersionArg};

/// Backup for replicated databases: three replicas in, one reconciled copy stored.
#[derive(Debug, Parser)]
#[command(name = "onefold", version, propagate_version = true, after_help = AFTER)]
pub struct Args {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Exit codes: 0 done · 1 failed · 3 some source files could not be decoded and are kept byte for byte · \
4 a replica is missing from the backup · 5 damage found · 10 no repository · 11 busy · 12 wrong password or key · \
130 interrupted. Any other non-zero code is a failure.";

/// What every command takes.
#[derive(Debug, ClapArgs)]
pub struct Global {
    /// The repository: a folder.
    #[arg(short, long, global = true, env = "ONEFOLD_REPOSITORY", value_name = "PLACE")]
    pub repository: Option<OsString>,
    /// File whose first line is the password.
    #[arg(long, global = true, env = "ONEFOLD_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Command that prints the password.
    #[arg(long, global = true, env = "ONEFOLD_PASSWORD_COMMAND", value_name = "COMMAND")]
    pub password_command: Option<OsString>,
    /// Key file to be used in place of a password.
    #[arg(long, global = true, env = "ONEFOLD_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Where the index cache lies.
    #[arg(long, global = true, env = "ONEFOLD_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache on disk.
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// One JSON object a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository.
    Init(Init),
    /// Back up captured nodes.
    Backup(Backup),
    /// List the snapshots.
    Snapshots(Filter),
    /// Say everything about a snapshot.
    Show(Which),
    /// List a snapshot's tables and kept files.
    Ls(Ls),
    /// Say how much is stored, and how much was read for it.
    Stats(Which),
    /// Say how each node differed from the reconciled view.
    Drift(Drift),
    /// Verify the repository.
    Check(Check),
    /// Get data back.
    Restore(Box<Restore>),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder, which is made where it is not there.
    Man {
        /// The folder.
        out: PathBuf,
    },
}

/// `init`
#[derive(Debug, ClapArgs)]
pub struct Init {
    /// Make a key file here and use it in place of a password. Keep it safe: nothing else opens the repository.
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
}

/// `backup`
#[derive(Debug, ClapArgs)]
pub struct Backup {
    /// The database.
    #[command(subcommand)]
    pub engine: BackupEngine,
}

/// The databases that can be backed up.
#[derive(Debug, Subcommand)]
pub enum BackupEngine {
    /// Apache Cassandra 3.0 to 5.0.
    Cassandra(BackupCassandra),
}

/// `backup cassandra`
#[derive(Debug, ClapArgs)]
pub struct BackupCassandra {
    /// Name of the cluster.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub cluster: String,
    /// A node: its name, its address in the ring, and the folder that holds KEYSPACE/TABLE-ID/ folders; several folders, with
    /// commas, where a node has several data directories.
    #[arg(long = "node", required = true, value_name = "NAME[@ADDRESS]=DIR[,DIR…]")]
    pub nodes: Vec<OsString>,
    /// Read KEYSPACE/TABLE-ID/snapshots/TAG/, as `nodetool snapshot -t TAG` leaves it, and `backups/` that came after it.
    #[arg(long, value_name = "TAG", value_parser = NonEmptyStringValueParser::new())]
    pub snapshot_tag: Option<String>,
    /// Label the snapshot; as often as wanted.
    #[arg(long = "tag", value_name = "LABEL", value_parser = NonEmptyStringValueParser::new())]
    pub tags: Vec<String>,
    /// The machine that makes the backup [default: its name].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub host: Option<String>,
    /// When everything counts as captured, where clocks cannot be believed: RFC 3339, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = cut, allow_negative_numbers = true)]
    pub cut: Option<u32>,
    /// Only this keyspace; may be given several times. What is left out is neither expected nor counted, and `show` says so.
    #[arg(long = "keyspace", value_name = "KEYSPACE")]
    pub keyspaces: Vec<String>,
    /// Without this keyspace or table; may be given several times.
    #[arg(long, value_name = "KEYSPACE[.TABLE]")]
    pub exclude: Vec<String>,
    /// Expect the nodes of this data center only. Keyspaces that have no replicas in it are left out.
    #[arg(long, value_name = "NAME")]
    pub data_center: Option<String>,
    /// This table may have fallen to nothing, or by more than half, since the last complete snapshot: this once. As often as wanted.
    #[arg(long, value_name = "KEYSPACE.TABLE", value_parser = NonEmptyStringValueParser::new())]
    pub accept_emptied: Vec<String>,
    /// Output of `nodetool ring`, where the capture does not hold the system tables.
    #[arg(long, value_name = "FILE")]
    pub source_ring: Option<PathBuf>,
    /// Keep what stale rows hold, so that every node's own view can be read back.
    #[arg(long)]
    pub keep_node_views: bool,
    /// Level of zstd, 1 to 19.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression_level: i32,
    /// Take over a session of this credential that another machine left open.
    #[arg(long)]
    pub take_over: bool,
    /// Read, merge and count everything; write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// The time of `--cut`, seconds since 1970.
fn cut(text: &str) -> Result<u32, String> {
    let time = text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let seconds = time.or_else(|| text.parse().ok()).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.ok_or_else(|| "give a time like 2026-01-31T23:59:59Z, or seconds since 1970, before 2106".to_owned())
}

/// A snapshot.
#[derive(Debug, ClapArgs)]
pub struct Which {
    /// Beginning of an id, or `latest`.
    #[arg(default_value = "latest")]
    pub snapshot: String,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
}

/// `ls`
#[derive(Debug, ClapArgs)]
pub struct Ls {
    /// Of which snapshot.
    #[command(flatten)]
    pub which: Which,
    /// One table only, or those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "KEYSPACE.TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables of this keyspace only.
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
    /// What was captured of this node only.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The kept files only.
    #[arg(long)]
    pub files: bool,
}

/// `drift`
#[derive(Debug, ClapArgs)]
pub struct Drift {
    /// Beginning of an id, or `latest`.
    #[arg(default_value = "latest")]
    pub snapshot: String,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
    /// One table only; without --samples and --token-ranges also those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "KEYSPACE.TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables of this keyspace only.
    #[arg(long, value_name = "NAME")]
    pub keyspace: Option<String>,
    /// This node only.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["samples", "token_ranges"])]
    pub node: Option<String>,
    /// Show so many of the records that differ, evenly spaced over the tokens, with what either side holds.
    #[arg(long, value_name = "N", requires = "table")]
    pub samples: Option<usize>,
    /// Count by node in so many equal ranges of tokens, and what a repair would have to move.
    #[arg(long, value_name = "N", requires = "table", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub token_ranges: Option<u32>,
}

/// `check`
#[derive(Debug, ClapArgs)]
pub struct Check {
    /// Read and verify every byte, too.
    #[arg(long)]
    pub read_data: bool,
    /// Declare packs lost that are missing or damaged now, however many: every writer then stores anew what they held.
    /// Only when the store is whole and they are gone for good.
    #[arg(long)]
    pub declare_lost: bool,
}
