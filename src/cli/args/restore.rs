//! `restore`: of which snapshot. The forms, and what they take, are in tables.

use clap::Args as ClapArgs;

use super::filter::Filter;

/// `restore`
#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// Beginning of an id, or `latest`.
    #[arg(default_value = "latest")]
    pub snapshot: String,
    /// Say what would be written; write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
}
