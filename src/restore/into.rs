//! Shards of a snapshot, given to a target of their engine.

use super::forms::FormOf;
use super::tables::{self, of_table};
use crate::engine::target::{Asked, Records, Stored, is_of_one_shard};
use crate::engine::{Engine, Env, Params, Selection};
use crate::error::{Error, Kind, Result};
use crate::repo::{Reader, Repo, SnapshotInfo};
use crate::report::{Report, Said};
use crate::run::Run;
use crate::snapshot::{Shard, Snapshot};
use crate::view::{Side, View};
use crate::watch::Watch;

/// What is restored from.
#[derive(Clone, Copy)]
pub struct From<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Reads it.
    pub reader: &'a Reader,
    /// Which snapshot.
    pub info: &'a SnapshotInfo,
    /// What it says.
    pub snapshot: &'a Snapshot,
    /// Its engine.
    pub engine: &'a dyn Engine,
}

/// What a restore of several shards came to.
#[derive(Debug, Default)]
pub struct Done {
    /// Why some shards cannot be had; the others are done.
    pub refused: Vec<Error>,
    /// How many were asked for.
    pub of: usize,
}

/// Restores into a target, a form of `from`'s engine. `tell` hears what there is to say as it comes; what it fails with ends the work.
/// With `dry_run` nothing is written.
///
/// Errors: those of [`crate::engine::Engine::target`] and of its target; `Usage` where the form is another engine's.
pub fn into(
    from: From<'_>,
    form: &FormOf<'_>,
    params: &Params,
    dry_run: bool,
    env: &Env<'_>,
    tell: &mut dyn FnMut(&Report) -> Result<()>,
) -> Result<Done> {
    let (s, engine, name) = (from.snapshot, from.engine, form.form.name);
    let subject = format!("restore --to {name}");
    if form.engine.is_some_and(|of| of.name() != engine.name()) {
        let what = format!("is no form of {}, whose data this snapshot holds", engine.name());
        return Err(Error::new(Kind::Usage, subject, what).hint("`onefold restore --help` lists the forms"));
    }
    if let Some(hint) = form.form.lacking {
        return Err(Error::new(Kind::Unsupported, subject, "is not built in").hint(hint));
    }
    let only = params.text("table");
    let is_meant = |shard: &str| engine.leaves_out(shard, params).is_none();
    let shards = tables::chosen(s, only, &is_meant)?;
    let unowned = params.has("include-unowned");
    let side = if unowned { Side::WithUnowned } else { Side::Reconciled };
    let condition = params.text("where");
    let asked = Asked {
        snapshot: from.info.id.to_string(),
        cut: s.cut.seconds,
        complete: s.complete,
        nodes: &s.nodes,
        description: &s.description,
        shards: shards.iter().map(|shard| stored(from, shard, side, condition, env.watch)).collect(),
        only,
        condition,
        unowned,
        out: params.path("out"),
        dry_run,
    };
    let mut target = engine.target(name, params, &asked, env)?;
    tell(&target.plan()?)?;
    let mut done = Done { refused: Vec::new(), of: shards.len() };
    for (place, shard) in shards.iter().enumerate() {
        match target.write(place) {
            Ok(report) => tell(&report)?,
            Err(e) if shards.len() > 1 && is_of_one_shard(&e) => done.refused.push(of_table(shard, e)),
            Err(e) => return Err(e),
        }
    }
    let mut report = target.finish()?;
    for said in &mut report.said {
        if let Said::Summary(summary) = said {
            summary.insert("message_type".to_owned(), "summary".into());
            summary.insert("dry_run".to_owned(), dry_run.into());
            summary.insert("tables_refused".to_owned(), done.refused.len().into());
            let requests = serde_json::to_value(from.repo.requests()).map_err(|e| Error::damaged("requests", e))?;
            summary.insert("requests".to_owned(), requests);
        }
    }
    let left_out = s.shards.iter().filter(|shard| only.is_none() && shard.rows > 0);
    for (shard, why) in left_out.filter_map(|shard| Some((shard, engine.leaves_out(&shard.name, params)?))) {
        report.warn(shard.name.as_str(), format!("not restored: {why}"));
    }
    tell(&report)?;
    Ok(done)
}

/// A shard as a target sees it.
fn stored<'a>(from: From<'a>, shard: &'a Shard, side: Side, condition: Option<&str>, watch: &'a Watch) -> Stored<'a> {
    let open = || -> Result<Box<dyn Records + 'a>> {
        let view = View::open(from.engine, from.snapshot, shard, from.reader)?.of(side);
        let selection = condition.map(|text| view.select(text)).transpose()?;
        Ok(Box::new(Reading { engine: from.engine, watched: view.clone().watched(watch), view, selection }))
    };
    Stored {
        name: &shard.name,
        description: &shard.description,
        rows: shard.rows,
        records: shard.layers.iter().map(|tree| tree.records).sum(),
        bytes: shard.bytes_read,
        unread: &shard.unread,
        reading: open(),
    }
}

/// A shard, read again and again.
struct Reading<'a> {
    engine: &'a dyn Engine,
    view: View<'a>,
    watched: View<'a>,
    selection: Option<Box<dyn Selection>>,
}

impl Records for Reading<'_> {
    fn read(&self, watched: bool) -> Result<Box<dyn Run + '_>> {
        let view = if watched { &self.watched } else { &self.view };
        view.records(self.selection.as_deref())
    }

    fn missing(&self) -> Vec<String> {
        let (view, shard) = (&self.view, self.view.shard());
        tables::unread(self.engine, view.snapshot(), &|name| name == shard.name, view.chunks())
    }
}
