//! `onefold restore`: one file a form.

#[cfg(feature = "cql")]
mod cassandra;
mod files;
mod json;
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
    global: &'a Global,
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
    let _progress = Progress::start(
        &watch,
        "restore",
        !global.quiet && (args.out.is_some() || args.form == Form::Cassandra),
        output,
    )?;
    let context = Context { global, repo: &repo, info: &info, snapshot: &snapshot, args, watch: &watch, output };
    match args.form {
        Form::Files => files::run(&context),
        Form::Json => json::run(&context),
        Form::SsTables => sstables::run(&context),
        #[cfg(feature = "cql")]
        Form::Cassandra => cassandra::run(&context),
        #[cfg(not(feature = "cql"))]
        Form::Cassandra => Err(Error::new(Kind::Unsupported, "restore --to cassandra", "is not built in")
            .hint("build with the feature cql")),
    }
}

/// An option of another form than the one asked for is a mistake, and not passed over.
fn fits(args: &Restore) -> Result<()> {
    let (s, c) = (&args.sstables, &args.cassandra);
    let options = [
        ("--writetime", args.json.writetime, "json"),
        ("--ttl", args.json.ttl, "json"),
        ("--ring", s.ring.is_some(), "sstables"),
        ("--replication", args.replication.is_some(), "sstables or cassandra"),
        ("--layout", s.layout.is_some(), "sstables"),
        ("--sstable-version", s.sstable_version.is_some(), "sstables"),
        ("--late-times", s.late_times.is_some(), "sstables"),
        ("--into", args.into.is_some(), "sstables or cassandra"),
        ("--contact", !c.contact.is_empty(), "cassandra"),
        ("--replace", c.replace, "cassandra"),
        ("--rewrite-times", c.rewrite_times.is_some(), "cassandra"),
        ("--expiry", c.expiry.is_some(), "cassandra"),
        ("--rate", c.rate.is_some(), "cassandra"),
        ("--concurrency", c.concurrency.is_some(), "cassandra"),
        ("--consistency", c.consistency.is_some(), "cassandra"),
        ("--cql-user", c.cql_user.is_some(), "cassandra"),
        ("--state", c.state.is_some(), "cassandra"),
    ];
    let form = match args.form {
        Form::Json => "json",
        Form::Files => "files",
        Form::SsTables => "sstables",
        Form::Cassandra => "cassandra",
    };
    match options.into_iter().find(|(_, given, of)| *given && !of.split(' ').any(|of| of == form)) {
        Some((name, _, of)) => {
            Err(Error::new(Kind::Usage, format_args!("restore --to {form}"), format_args!("has no option {name}"))
                .hint(format_args!("{name} belongs to --to {of}")))
        }
        None => Ok(()),
    }
}
