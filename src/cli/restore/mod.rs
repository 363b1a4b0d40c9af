//! `onefold restore`: one file a form.

mod files;
mod rows;
mod sstables;

use std::sync::Arc;

use super::access;
use super::args::{Form, Global, Restore};
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// What every form works on.
struct Context<'a> {
    repo: &'a Repo,
    info: &'a SnapshotInfo,
    snapshot: &'a Snapshot,
    args: &'a Restore,
    watch: &'a Watch,
    output: &'a Output,
}

/// Gets data back.
pub fn run(global: &Global, args: &Restore, output: &Output) -> Result<Outcome> {
    fits(args)?;
    let repo = access::open(global)?;
    let (info, snapshot) = load(&repo, &args.snapshot)?;
    let watch = Arc::new(Watch::new());
    let _progress = Progress::start(&watch, "restore", !global.quiet && args.out.is_some(), output)?;
    let context = Context { repo: &repo, info: &info, snapshot: &snapshot, args, watch: &watch, output };
    match args.form {
        Form::Files => files::run(&context),
        Form::Json | Form::Csv => rows::run(&context),
        Form::SsTables => sstables::run(&context),
    }
}

/// An option of another form than the one asked for is a mistake, and not passed over.
fn fits(args: &Restore) -> Result<()> {
    let s = &args.sstables;
    let options = [
        ("--writetime", args.rows.writetime, "json"),
        ("--ttl", args.rows.ttl, "json"),
        ("--ring", s.ring.is_some(), "sstables"),
        ("--replication", s.replication.is_some(), "sstables"),
        ("--layout", s.layout.is_some(), "sstables"),
        ("--sstable-version", s.sstable_version.is_some(), "sstables"),
        ("--late-times", s.late_times.is_some(), "sstables"),
        ("--into", args.into.is_some(), "sstables"),
    ];
    let form = match args.form {
        Form::Json | Form::Csv => "json",
        Form::Files => "files",
        Form::SsTables => "sstables",
    };
    match options.into_iter().find(|(_, given, of)| *given && *of != form) {
        Some((name, _, of)) => {
            Err(Error::new(Kind::Usage, format_args!("restore --to {form}"), format_args!("has no option {name}"))
                .hint(format_args!("{name} belongs to --to {of}")))
        }
        None => Ok(()),
    }
}
