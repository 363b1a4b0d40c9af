//! `onefold restore`: one file a form.

#[cfg(feature = "cql")]
mod cassandra;
#[cfg(feature = "cql")]
mod connect;
mod files;
mod rows;
mod sstables;

use std::sync::Arc;

use super::access;
use super::args::{Form, Global, Restore};
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::engine::cassandra::whose::is_of_everything;
use crate::engine::{Engine, engine};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::restore::tables;
use crate::snapshot::Snapshot;
use crate::store::is_path;
use crate::watch::Watch;

/// What every form works on.
struct Context<'a> {
    repo: &'a Repo,
    engine: &'a dyn Engine,
    info: &'a SnapshotInfo,
    snapshot: &'a Snapshot,
    args: &'a Restore,
    watch: &'a Watch,
    output: &'a Output,
}

/// Gets data back.
pub fn run(global: &Global, args: &Restore, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    fits(args)?;
    args.out.iter().try_for_each(|out| is_path(out.as_os_str()))?;
    let repo = access::open(global, output)?;
    let (info, snapshot) = load(&repo, &args.snapshot, &args.filter, output)?;
    let engine = engine(engines, &snapshot.engine)?;
    let watch = Arc::new(Watch::new());
    let _progress = Progress::start(
        &watch,
        "restore",
        !global.quiet && (args.out.is_some() || args.form == Form::Cassandra),
        output,
    )?;
    let context = Context { repo: &repo, engine, info: &info, snapshot: &snapshot, args, watch: &watch, output };
    if !snapshot.complete && args.form != Form::Files {
        let what = "is incomplete (`onefold show`): what only replicas held that were not read is missing";
        output.warn("snapshot", what);
    }
    let outcome = match args.form {
        Form::Files => return files::run(&context),
        Form::Json | Form::Csv => rows::run(&context),
        Form::SsTables => sstables::run(&context),
        #[cfg(feature = "cql")]
        Form::Cassandra => cassandra::run(&context),
        #[cfg(not(feature = "cql"))]
        Form::Cassandra => Err(Error::new(Kind::Unsupported, "restore --to cassandra", "is not built in")
            .hint("build with the feature cql")),
    };
    let outcome = outcome.map_err(|e| match e.kind() {
        Kind::Damaged => e.within(format_args!("snapshot {}", info.id)),
        _ => e,
    })?;
    let table = args.table.as_deref().map(|name| snapshot.shard(name)).transpose()?;
    let meant = |name: &str| match table {
        Some(table) => table.name == name,
        None => ROWS.contains(&args.form) || is_of_everything(name, args.with_roles),
    };
    let unread = tables::unread(engine, &snapshot, &meant, &repo.reader()?);
    for what in &unread {
        output.warn(what, "not restored: kept byte for byte (`onefold restore --to files`)");
    }
    Ok(if unread.is_empty() || outcome == Outcome::Damage { outcome } else { Outcome::SourceUnread })
}

/// Names the tables of several that could not be restored; the others were.
fn passed_over(refused: &[&Error], of: usize, output: &Output) -> Result<Outcome> {
    for e in refused {
        let advice = e.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        output.warn(e.subject(), &format!("not restored: {}{advice}", e.message()));
    }
    let damage = refused.iter().any(|e| e.kind() == Kind::Damaged);
    let what = format!("{} of {of} tables cannot be restored as asked", refused.len());
    match refused.len() {
        0 => Ok(Outcome::Fine),
        n if n == of => Err(Error::new(if damage { Kind::Damaged } else { Kind::Unsupported }, "restore", what)),
        _ => {
            output.warn("restore", &format!("{what}; the others are done"));
            Ok(if damage { Outcome::Damage } else { Outcome::SourceUnread })
        }
    }
}

const ROWS: &[Form] = &[Form::Json, Form::Csv];
const SSTABLES: &[Form] = &[Form::SsTables];
const CASSANDRA: &[Form] = &[Form::Cassandra];
const INTO_TABLES: &[Form] = &[Form::SsTables, Form::Cassandra];
const NOT_FILES: &[Form] = &[Form::Json, Form::Csv, Form::SsTables, Form::Cassandra];
const OF_A_NODE: &[Form] = &[Form::Json, Form::Csv, Form::Files];
const INTO_A_FILE: &[Form] = &[Form::Json, Form::Csv, Form::Files, Form::SsTables];

/// An option of another form than the one asked for is a mistake, and not passed over.
fn fits(args: &Restore) -> Result<()> {
    let (s, c) = (&args.sstables, &args.cassandra);
    let options = [
        ("--table", args.table.is_some(), NOT_FILES),
        ("--where", args.condition.is_some(), NOT_FILES),
        ("--node", args.node.is_some(), OF_A_NODE),
        ("--include-unowned", args.include_unowned, NOT_FILES),
        ("--out", args.out.is_some(), INTO_A_FILE),
        ("--writetime", args.rows.writetime, ROWS),
        ("--ttl", args.rows.ttl, ROWS),
        ("--ring", s.ring.is_some(), SSTABLES),
        ("--replication", args.replication.is_some(), INTO_TABLES),
        ("--layout", s.layout.is_some(), SSTABLES),
        ("--sstable-version", s.sstable_version.is_some(), SSTABLES),
        ("--late-times", s.late_times.is_some(), SSTABLES),
        ("--into", args.into.is_some(), INTO_TABLES),
        ("--with-roles", args.with_roles, INTO_TABLES),
        ("--contact", !args.connect.contact.is_empty(), INTO_TABLES),
        ("--replace", c.replace, CASSANDRA),
        ("--rewrite-times", c.rewrite_times.is_some(), CASSANDRA),
        ("--expiry", c.expiry.is_some(), CASSANDRA),
        ("--rate", c.rate.is_some(), CASSANDRA),
        ("--concurrency", c.concurrency.is_some(), CASSANDRA),
        ("--consistency", c.consistency.is_some(), CASSANDRA),
        ("--state", c.state.is_some(), CASSANDRA),
    ];
    let Some((name, _, forms)) = options.into_iter().find(|(_, given, of)| *given && !of.contains(&args.form)) else {
        return Ok(());
    };
    let forms: Vec<String> = forms.iter().map(|form| form.to_string()).collect();
    Err(Error::new(Kind::Usage, format_args!("restore --to {}", args.form), format_args!("has no option {name}"))
        .hint(format_args!("{name} belongs to --to {}", forms.join(", --to "))))
}

/// The keyspace and table of `--into`, plain or in the quotes of CQL.
fn into(name: &str) -> Result<(&str, &str)> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let parts = name.split_once('.').map(|(keyspace, table)| (bare(keyspace), bare(table)));
    parts.filter(|(keyspace, table)| plain(keyspace) && plain(table)).ok_or_else(|| {
        Error::new(Kind::Usage, format_args!("--into {name}"), "is no name of a table")
            .hint("give KEYSPACE.TABLE, of letters, digits and _")
    })
}

/// A name without the quotes of CQL, if it has them.
fn bare(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}
