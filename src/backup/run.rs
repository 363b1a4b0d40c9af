//! A backup from beginning to end: the capture is opened, read, stored and committed.

use std::sync::atomic::Ordering;

use super::{Options, Previous, State, Target, backup};
use crate::engine::params::{Group, Param, Takes};
use crate::engine::{Described, Engine, Env, Form, Params, Source};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, WriteOptions, WriteStats};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::snapshot::Snapshot;

/// What every backup takes, whatever the database.
pub const TAKES: Group = Group {
    heading: None,
    params: &[
        Param::new("cluster", Takes::Word, "CLUSTER", "Name of the cluster").required(),
        Param::new("tag", Takes::Word, "LABEL", "Label the snapshot; as often as wanted").many(),
        Param::new("host", Takes::Word, "NAME", "The machine that makes the backup [default: its name]"),
        Param::new(
            "cut",
            Takes::Time,
            "TIME",
            "When everything counts as captured, where clocks cannot be believed: RFC 3339, or seconds since 1970",
        ),
        Param::new(
            "accept-emptied",
            Takes::Word,
            "TABLE",
            "This table, named as `onefold ls` does, may have fallen to nothing, or by more than half, since the last complete \
             snapshot: this once. As often as wanted",
        )
        .many(),
        Param::flag("keep-node-views", "Keep what stale rows hold, so that every node's own view can be read back"),
        Param::new("compression-level", Takes::Number(1, 19), "LEVEL", "Level of zstd, 1 to 19").or("1"),
        Param::flag("take-over", "Take over a session of this credential that another machine left open"),
        Param::flag(DRY_RUN, "Read, merge and count everything; write nothing"),
    ],
};

/// Nothing is written.
pub const DRY_RUN: &str = "dry-run";

/// How often a backup begins anew because a machine was lost.
const ANEW_MAX: usize = 3;

/// What a backup came to.
#[derive(Debug)]
pub struct Done {
    /// What it says.
    pub snapshot: Snapshot,
    /// Its id, and what was stored; `None` where nothing was to be written.
    pub stored: Option<(String, WriteStats)>,
}

/// Backs up what `form` of `engine` captures. `params` are those of [`TAKES`] and of the form.
///
/// Where a machine is lost on which a node's files lie, it begins anew without it, as long as the source opens without it; what was
/// stored is used again.
///
/// Errors: those of [`Engine::source`], [`backup`] and of writing. An error after the commit is none: what is returned stands.
pub fn run(repo: &Repo, engine: &dyn Engine, form: &Form, params: &Params, env: &Env<'_>) -> Result<Done> {
    let options = Options::of(params);
    let state = State::of(repo, env.state.as_deref());
    let before = Previous::of(repo, engine.name(), &options.cluster, state.as_ref());
    let describe = |id: &str| before.shard(id).map(|earlier| earlier.shard.description.clone());
    let mut anew = ANEW_MAX;
    loop {
        let source = match engine.source(form.name, params, &Described::by(&describe), env) {
            // Perhaps a machine was lost while it was looked at: then it is left out now. What is wrong for good is wrong again.
            Err(e) if e.kind() == Kind::Io && anew > 0 => {
                anew -= 1;
                env.watch.begin_anew();
                continue;
            }
            opened => opened?,
        };
        match once(repo, &before, (engine, &*source), state.as_ref(), params, &options, env) {
            Err(e) if e.kind() == Kind::Io && anew > 0 && source.is_lost() => {
                anew -= 1;
                env.watch.begin_anew();
            }
            done => return done,
        }
    }
}

fn once(
    repo: &Repo,
    before: &Previous<'_>,
    (engine, source): (&dyn Engine, &dyn Source),
    state: Option<&State<'_>>,
    params: &Params,
    options: &Options,
    env: &Env<'_>,
) -> Result<Done> {
    env.watch.check()?;
    env.watch.bytes_total.store(source.shards().iter().map(|shard| source.bytes(shard)).sum(), Ordering::Relaxed);
    if params.has(DRY_RUN) {
        let nowhere = Nowhere(repo);
        let snapshot = backup(engine, source, &Target::of(repo, Some(before), &nowhere)?, options, env.watch)?;
        return Ok(Done { snapshot, stored: None });
    }
    store(repo, before, (engine, source), state, params, options, env)
}

/// Writes packs, index objects, snapshot, and the log's entry that makes it one.
fn store(
    repo: &Repo,
    before: &Previous<'_>,
    (engine, source): (&dyn Engine, &dyn Source),
    state: Option<&State<'_>>,
    params: &Params,
    options: &Options,
    env: &Env<'_>,
) -> Result<Done> {
    let level = params.number("compression-level").and_then(|level| i32::try_from(level).ok());
    let unless = WriteOptions::default();
    let take_over = params.has("take-over");
    let writer = repo.writer(WriteOptions { level: level.unwrap_or(unless.level), take_over, ..unless })?;
    let snapshot = backup(engine, source, &Target::of(repo, Some(before), &writer)?, options, env.watch)?;
    env.watch.check()?;
    // Written before the commit, and in its place after it: so that a backup that dies between is not forgotten.
    let aside = state.map(|state| state.write_aside(&writer.session(), &snapshot)).transpose();
    let unkept = |e: Error| repo.note(e.within("the backup goes on; the next one will find no state of it"));
    let aside = aside.map_err(unkept).ok().flatten();
    let (info, stats) = writer.commit(snapshot.roots()?, snapshot.encode()?)?;
    if let Some(Err(e)) = aside.map(|aside| aside.stands()) {
        unkept(e);
    }
    Ok(Done { snapshot, stored: Some((info.id.to_string(), stats)) })
}

impl Options {
    /// As `params` of [`TAKES`] say.
    pub fn of(params: &Params) -> Options {
        Options {
            cluster: params.text("cluster").unwrap_or_default().to_owned(),
            node_views: params.has("keep-node-views"),
            cut: params.number("cut").and_then(|cut| u32::try_from(cut).ok()),
            host: params.text("host").map(str::to_owned).or_else(host),
            tags: params.list("tag"),
            accepted: params.list("accept-emptied"),
        }
    }
}

/// The name of this machine, where the system tells it.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Names chunks and drops them.
struct Nowhere<'a>(&'a Repo);

impl ChunkSink for Nowhere<'_> {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        Ok(self.0.ring().repo.chunk_id.id(kind, plain))
    }
}
