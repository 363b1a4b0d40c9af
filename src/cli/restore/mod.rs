//! `onefold restore`: rows and kept files, each by a file of its own, and whatever forms the engines have.

mod files;
mod into;
mod rows;

use std::sync::Arc;

use super::access;
use super::args::{Form, Global, Restore};
use super::output::time;
use super::progress::Progress;
use super::show::{load, split};
use super::{Outcome, Output};
use crate::engine::{Engine, Params, engine};
use crate::error::{Error, Kind, Result};
use crate::prune;
use crate::repo::world;
use crate::repo::{Reader, Repo, SnapshotInfo};
use crate::restore::tree::trees;
use crate::restore::{forms, tables};
use crate::snapshot::Snapshot;
use crate::store::is_path;
use crate::watch::Watch;

/// What every form works on.
struct Context<'a> {
    repo: &'a Repo,
    reader: &'a Reader,
    engine: &'a dyn Engine,
    info: &'a SnapshotInfo,
    snapshot: &'a Snapshot,
    /// Behind the snapshot's name, with a colon between.
    path: Option<&'a str>,
    form: &'a Form<'a>,
    dry_run: bool,
    watch: &'a Watch,
    output: &'a Output,
}

impl<'a> Context<'a> {
    fn params(&self) -> &'a Params {
        &self.form.params
    }
}

/// Gets data back.
pub fn run(
    global: &Global,
    args: &Restore,
    form: &Form<'_>,
    engines: &[&dyn Engine],
    output: &Output,
) -> Result<Outcome> {
    let out = form.params.path("out").or(form.params.path(forms::TARGET));
    out.iter().try_for_each(|out| is_path(out.as_os_str()))?;
    let repo = access::open(global, output)?;
    let (name, path) = split(&args.snapshot);
    let (info, snapshot) = load(&repo, name, &args.filter, output)?;
    let engine = engine(engines, &snapshot.engine)?;
    let watch = Arc::new(Watch::new());
    // A form of an engine prints no rows.
    let is_shown = !global.quiet && (out.is_some() || form.of.engine.is_some());
    let _progress = Progress::start(&watch, "restore", is_shown, output)?;
    let reader = repo.reader()?;
    let (repo, reader, info, snapshot, dry_run) = (&repo, &reader, &info, &snapshot, args.dry_run);
    let context = Context { repo, reader, engine, info, snapshot, path, form, dry_run, watch: &watch, output };
    let name = form.of.form.name;
    if let Some(path) = path.filter(|_| name != forms::FILES || trees(snapshot).next().is_none()) {
        return Err(Error::new(Kind::Usage, format_args!("path {path}"), "belongs to file trees")
            .hint("leave it out, or name a snapshot of files"));
    }
    if !snapshot.complete && name != forms::FILES {
        let what = "is incomplete (`onefold show`): what only replicas held that were not read is missing";
        output.warn("snapshot", what);
    }
    if !global.quiet && output.is_watched() {
        let until = time((world::now_ms() + prune::GRACE) / 1000);
        output.note(&format!(
            "what is read stays until {until} at least, even if somebody forgets the snapshot now (by prune's --grace)"
        ));
    }
    let outcome = match form.of.engine {
        None if name == forms::FILES && trees(snapshot).next().is_some() => files::trees(&context),
        None if name == forms::FILES => files::run(&context),
        None => rows::run(&context),
        Some(_) => into::run(&context),
    };
    let outcome = outcome.map_err(|e| match e.kind() {
        Kind::Damaged if was_forgotten(repo, info) => {
            e.within(format_args!("snapshot {}, which was forgotten while it was read,", info.id))
        }
        Kind::Damaged if name != forms::FILES => e.within(format_args!("snapshot {}", info.id)),
        _ => e,
    });
    access::notes(repo, output);
    let outcome = outcome?;
    if name == forms::FILES {
        return Ok(outcome);
    }
    let table = form.params.text("table").map(|name| snapshot.shard(name)).transpose()?;
    let meant = |name: &str| match table {
        Some(table) => table.name == name,
        None => form.of.engine.is_none() || engine.leaves_out(name, &form.params).is_none(),
    };
    let unread = tables::unread(engine, snapshot, &meant, reader);
    for what in &unread {
        output.warn(what, "not restored: kept byte for byte (`onefold restore --to files`)");
    }
    Ok(if unread.is_empty() || outcome == Outcome::Damage { outcome } else { Outcome::SourceUnread })
}

fn was_forgotten(repo: &Repo, info: &SnapshotInfo) -> bool {
    repo.refresh().is_ok_and(|state| !state.snapshots().contains_key(&info.id))
}

/// Names the tables of several that could not be restored; the others were.
fn passed_over(refused: &[Error], of: usize, output: &Output) -> Result<Outcome> {
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
