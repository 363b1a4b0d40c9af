//! What can be said on the command line.

mod filter;
mod forget;
mod keys;
mod maintain;
mod past;
mod remark;
mod restore;
mod status;
mod tables;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::repo::check::{Reads, Share};

pub use filter::Filter;
pub use forget::{Forget, Prune};
pub use keys::{AddKey, ExportKey, KeyCommand, Role};
pub use maintain::Maintain;
pub use past::{Diff, Find, History};
pub use remark::{Pin, Tag, Unpin};
pub use restore::Restore;
pub use status::{Age, Status};
pub use tables::{Chosen, Form, Given, command, known, source, target};

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
4 a replica is missing from the backup · 5 damage found · 6 the last complete snapshot is too old · 10 no repository · 11 busy · 12 wrong password or key · \
130 interrupted. Any other non-zero code is a failure.";

/// What every command takes.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The repository: a folder, sftp://[USER@]HOST/PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX,
    /// or swift://CONTAINER/PREFIX.
    #[arg(short, long, global = true, env = "ONEFOLD_REPOSITORY", value_name = "PLACE")]
    pub repository: Option<OsString>,
    /// Where the log of the repository lies, if not in it: a store of its own, for a repository in Swift. Never the database that is
    /// backed up.
    #[arg(long, global = true, env = "ONEFOLD_LOG_STORE", value_name = "PLACE")]
    pub log_store: Option<OsString>,
    /// Read the repository as it was at this time (2026-11-28T22:00:00Z), whatever was deleted or overwritten since: for a bucket that
    /// keeps versions. Nothing is written.
    #[arg(long, global = true, value_name = "TIME")]
    pub as_of: Option<jiff::Timestamp>,
    /// File whose first line is the password.
    #[arg(long, global = true, env = "ONEFOLD_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Command whose first line is the password. It is split into words at blanks (quotes and \ as in a shell) and run without a
    /// shell.
    #[arg(long, global = true, env = "ONEFOLD_PASSWORD_COMMAND", value_name = "COMMAND")]
    pub password_command: Option<OsString>,
    /// Key file to be used in place of a password, or one typed from paper.
    #[arg(long, global = true, env = "ONEFOLD_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Command that prints a key file, or identities of age: a hook for a key service. Split and run as that of a password.
    #[arg(long, global = true, env = "ONEFOLD_KEY_COMMAND", value_name = "COMMAND")]
    pub key_command: Option<OsString>,
    /// File of age identities (AGE-SECRET-KEY-1…), one of which opens the repository.
    #[arg(long, global = true, env = "ONEFOLD_IDENTITY", value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Where the cache lies: the index, and what lists and reports read.
    #[arg(long, global = true, env = "ONEFOLD_CACHE_DIR", value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Keep no cache on disk.
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// What is given neither here nor in the environment comes from this profile: NAME is /etc/onefold/NAME.toml.
    #[arg(long, global = true, value_name = "NAME|FILE")]
    pub profile: Option<OsString>,
    /// Write no more than this to the repository a second, in KiB.
    #[arg(long, global = true, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit_upload: Option<u32>,
    /// Read no more than this from the repository a second, in KiB.
    #[arg(long, global = true, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit_download: Option<u32>,
    /// Ask the repository no more often than this a second.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit_requests: Option<u32>,
    /// Wait so many minutes for a repository that is away; in place of 5 for a server, and a second for a folder.
    #[arg(long, global = true, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(..=1440))]
    pub retry_for: Option<u32>,
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
    /// List, add and remove what opens the repository.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Back up captured nodes.
    Backup,
    /// Say what a backup would store, ask for, take and cost. It reads and seals as a backup does, and writes nothing.
    Plan(Plan),
    /// List the snapshots.
    Snapshots(Filter),
    /// Say how old the last complete snapshot of each cluster is.
    Status(Status),
    /// Say everything about a snapshot.
    Show(Which),
    /// List a snapshot's tables and kept files.
    Ls(Ls),
    /// Write what a file of a snapshot holds, or an archive of a folder, to standard output.
    Dump(Dump),
    /// Say how much is stored, and how much was read for it.
    Stats(Stats),
    /// Say how each node differed from the reconciled view.
    Drift(Drift),
    /// Say which rows differ between two snapshots: added, changed, deleted, with both sides.
    Diff(Diff),
    /// Show every version of some rows, over all snapshots that hold their table.
    History(History),
    /// Say in which tables and snapshots a key is.
    Find(Find),
    /// Verify the repository.
    Check(Check),
    /// Save what can be saved of what is damaged, and say what is lost. Nothing is deleted.
    Repair(Repair),
    /// Bring back configuration, credentials, log and snapshots from their second copies, and say what is lost.
    Recover(Recover),
    /// Take snapshots off the list: those named, or those that a policy does not keep.
    Forget(Box<Forget>),
    /// Take away what no snapshot needs any more.
    Prune(Prune),
    /// Do what is due, for a timer: take away what nobody needs, merge index objects, trim the log, verify a share of the data.
    Maintain(Maintain),
    /// Pin snapshots: nothing forgets them until they are unpinned.
    Pin(Pin),
    /// Unpin snapshots.
    Unpin(Unpin),
    /// Give snapshots other labels than the backup did.
    Tag(Tag),
    /// Fill an empty log store from what the repository holds of the log, after the one before it was lost for good.
    RefillLog,
    /// Get data back.
    Restore(Box<Restore>),
    /// Say what holds, of profile, environment and command line.
    ShowConfig,
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
    /// Cut and name chunks as this repository does, so that they can later be copied from one to the other as they are. It is opened
    /// as --like-key-file or another option of that kind says; without one, by what opens the new one.
    #[arg(long, value_name = "PLACE")]
    pub like: Option<OsString>,
    /// Where the log of the other repository lies, if not in it.
    #[arg(long, value_name = "PLACE", requires = "like")]
    pub like_log_store: Option<OsString>,
    /// Key file of the other repository.
    #[arg(long, value_name = "FILE", requires = "like", group = "like_opened_by")]
    pub like_key_file: Option<PathBuf>,
    /// File of identities of the other repository.
    #[arg(long, value_name = "FILE", requires = "like", group = "like_opened_by")]
    pub like_identity: Option<PathBuf>,
    /// Command that prints the key file of the other repository.
    #[arg(long, value_name = "COMMAND", requires = "like", group = "like_opened_by")]
    pub like_key_command: Option<OsString>,
    /// File whose first line is the password of the other repository.
    #[arg(long, value_name = "FILE", requires = "like", group = "like_opened_by")]
    pub like_password_file: Option<PathBuf>,
}

/// `plan`
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of plan")]
pub struct Plan {
    /// Say what it would cost, by this table of prices: a file of TOML (docs/stores.md).
    #[arg(long, global = true, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Say how long it would be uploaded, at so many KiB a second [default: --limit-upload].
    #[arg(long, global = true, value_name = "KIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub upload_rate: Option<u32>,
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
    /// One table only, or those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables in this only: in `lab` lies `lab.users`.
    #[arg(long = "in", value_name = "NAME")]
    pub outer: Option<String>,
    /// What was captured of this node only.
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The kept files only.
    #[arg(long)]
    pub files: bool,
    /// Of a file tree everything below the folder, not only what lies in it.
    #[arg(long)]
    pub recursive: bool,
    /// Of which snapshot.
    #[command(flatten)]
    pub which: Which,
}

/// `dump`
#[derive(Debug, ClapArgs)]
pub struct Dump {
    /// The file, behind its snapshot: `latest:/etc/hosts`.
    #[arg(value_name = "SNAPSHOT:/PATH")]
    pub file: String,
    /// As an archive: a folder, with all that lies in it, or a file with what is said of it.
    #[arg(long, value_name = "FORM", value_parser = ["tar"])]
    pub archive: Option<String>,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
}

/// `drift`
#[derive(Debug, ClapArgs)]
pub struct Drift {
    /// Beginning of an id, or `latest`.
    #[arg(default_value = "latest")]
    pub snapshot: String,
    /// One table only; without --samples and --ranges also those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables in this only: in `lab` lies `lab.users`.
    #[arg(long = "in", value_name = "NAME")]
    pub outer: Option<String>,
    /// This node only.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["samples", "ranges"])]
    pub node: Option<String>,
    /// Show so many of the records that differ, evenly spaced among them, with what either side holds.
    #[arg(long, value_name = "N", requires = "table")]
    pub samples: Option<usize>,
    /// Count by node in so many equal ranges of keys, and what a repair would have to move.
    #[arg(long, value_name = "N", requires = "table", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub ranges: Option<u32>,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
}

/// `check`
#[derive(Debug, ClapArgs)]
pub struct Check {
    /// Read and verify every byte, too.
    #[arg(long)]
    pub read_data: bool,
    /// Read and verify a share: 5% or 20G of what this machine verified longest ago, or the first of twenty shares, 1/20.
    #[arg(long, value_name = "SHARE", conflicts_with = "read_data")]
    pub read_data_subset: Option<Share>,
    /// Declare packs lost that are missing or damaged now, however many: every writer then stores anew what they held.
    /// Only when the store is whole and they are gone for good.
    #[arg(long)]
    pub declare_lost: bool,
}

impl Check {
    /// Which packs are read.
    pub fn reads(&self) -> Reads {
        self.read_data_subset.map_or(Reads::all_if(self.read_data), Reads::Share)
    }
}

/// `repair`
#[derive(Debug, ClapArgs)]
pub struct Repair {
    /// Say what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Read every pack, to find flipped bits that no check has found yet.
    #[arg(long)]
    pub read_data: bool,
}

impl Repair {
    /// Which packs are read.
    pub fn reads(&self) -> Reads {
        Reads::all_if(self.read_data)
    }
}

/// `recover`
#[derive(Debug, ClapArgs)]
pub struct Recover {
    /// Say what would be written, and write nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// The log ends with the last entry that this machine knows of, which is lost: what came after it, if anything, is given up.
    #[arg(long)]
    pub log_ends_here: bool,
}

/// `stats`
#[derive(Debug, ClapArgs)]
pub struct Stats {
    /// Also say what each snapshot alone needs, and what forgetting it would free: walks all of them.
    #[arg(long)]
    pub by_snapshot: bool,
    /// Against which snapshot's bytes what is stored is compared.
    #[command(flatten)]
    pub which: Which,
}
