//! A backup from beginning to end: the capture is opened, read, stored and committed.

use std::sync::atomic::Ordering;

use super::{Options, Previous, Seen, State, Target, backup};
use crate::engine::params::{Group, Param, Takes};
use crate::engine::{Described, Engine, Env, Form, Params, Source};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, WriteOptions, WriteStats};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::snapshot::{Shard, Snapshot};
use crate::store::watched::Requests;

const TAG: Param = Param::new("tag", Takes::Word, "LABEL", "Label the snapshot; as often as wanted").many();
const COMMENT: Param = Param::new("comment", Takes::Word, "TEXT", "What there is to say of the snapshot");
const HOST: Param = Param::new("host", Takes::Word, "NAME", "The machine that makes the backup [default: its name]");
const WHOLE: Param = Param::flag("whole", "Store every table anew, and stand on no snapshot before");
const LEVEL: Param = Param::new("compression-level", Takes::Number(1, 19), "LEVEL", "Level of zstd, 1 to 19").or("1");
const TAKE_OVER: Param =
    Param::flag("take-over", "Take over a session of this credential that another machine left open");
const REHEARSED: Param = Param::flag(DRY_RUN, "Read, merge and count everything; write nothing");

/// What every backup takes, whatever the database.
pub const TAKES: Group = Group {
    heading: None,
    params: &[
        Param::new("cluster", Takes::Word, "CLUSTER", "Name of the cluster").required(),
        TAG,
        COMMENT,
        HOST,
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
        WHOLE,
        LEVEL,
        TAKE_OVER,
        REHEARSED,
    ],
};

/// What a backup takes whose engine names its jobs.
const TAKES_OF_JOB: Group = Group {
    heading: None,
    params: &[
        Param::new(
            "cluster",
            Takes::Word,
            "NAME",
            "What backups of the same are called [default: the machine and what is backed up]",
        ),
        TAG,
        COMMENT,
        HOST,
        Param::flag("whole", "Store all of it anew, and stand on no snapshot before"),
        Param::flag(SKIP, "Make no snapshot where all is as in the last complete one"),
        LEVEL,
        TAKE_OVER,
        Param::flag(DRY_RUN, "Read and count everything; write nothing"),
    ],
};

/// What a backup of the engine's takes besides what its form does.
pub fn takes(engine: &dyn Engine) -> &'static Group {
    if engine.names_jobs() { &TAKES_OF_JOB } else { &TAKES }
}

/// No snapshot is made of what did not change.
const SKIP: &str = "skip-if-unchanged";

/// Nothing is written.
pub const DRY_RUN: &str = "dry-run";

/// How often a backup begins anew because a machine was lost.
const ANEW_MAX: usize = 3;

/// What a backup came to.
#[derive(Debug)]
pub struct Done {
    /// What it says.
    pub snapshot: Snapshot,
    /// Its id, and what was stored; `None` where nothing was to be written, or nothing changed.
    pub stored: Option<(String, WriteStats)>,
    /// The snapshot that says the same, so that none was made.
    pub same: Option<String>,
}

/// What a backup would come to.
#[derive(Debug)]
pub struct Planned {
    /// What it would say.
    pub snapshot: Snapshot,
    /// What it would store.
    pub stats: WriteStats,
    /// What it would ask of the store: what was read is what the plan itself read.
    pub requests: Requests,
}

/// Backs up what `form` of `engine` captures. `params` are those of [`TAKES`] and of the form.
///
/// Where a machine is lost on which a node's files lie, it begins anew without it, as long as the source opens without it; what was
/// stored is used again.
///
/// Errors: those of [`Engine::source`], [`backup`] and of writing. An error after the commit is none: what is returned stands.
pub fn run(repo: &Repo, engine: &dyn Engine, form: &Form, params: &Params, env: &Env<'_>) -> Result<Done> {
    let job = Job::of(repo, engine, form, params, env)?;
    job.each_source(form, |source| if params.has(DRY_RUN) { job.count(source) } else { job.store(source) })
}

/// Reads, compresses and seals as [`run`] does, and writes nothing.
pub fn plan(repo: &Repo, engine: &dyn Engine, form: &Form, params: &Params, env: &Env<'_>) -> Result<Planned> {
    let job = Job::of(repo, engine, form, params, env)?;
    job.each_source(form, |source| job.rehearse(source))
}

/// All that does not change when a backup begins anew.
struct Job<'a> {
    repo: &'a Repo,
    engine: &'a dyn Engine,
    params: &'a Params,
    env: &'a Env<'a>,
    options: Options,
    state: Option<State<'a>>,
    seen: Option<Seen>,
}

impl<'a> Job<'a> {
    fn of(
        repo: &'a Repo,
        engine: &'a dyn Engine,
        form: &Form,
        params: &'a Params,
        env: &'a Env<'a>,
    ) -> Result<Job<'a>> {
        let mut options = Options::of(params);
        options.host = options.host.or_else(|| Some(env.host.clone()).filter(|host| !host.is_empty()));
        if options.cluster.is_empty()
            && let Some(job) = engine.job(form.name, params)?
        {
            options.cluster = format!("{}:{job}", options.host.as_deref().unwrap_or(&env.host));
        }
        let state = State::of(repo, env.state.as_deref());
        let seen = Seen::of(repo, env.state.as_deref()).unwrap_or_else(|e| {
            repo.note(e.within("the backup goes on; it reads what was there before, and remembers nothing"));
            None
        });
        Ok(Job { repo, engine, params, env, options, state, seen })
    }

    /// Opens the source and gives it to `work`; anew, without the machines that were lost meanwhile.
    fn each_source<T>(&self, form: &Form, work: impl Fn(&Night<'_>) -> Result<T>) -> Result<T> {
        let before = Previous::of(self.repo, self.engine.name(), &self.options.cluster, self.state.as_ref());
        let describe = |id: &str| before.shard(id).map(|earlier| earlier.shard.description.clone());
        let mut anew = ANEW_MAX;
        loop {
            let opened = self.engine.source(form.name, self.params, &Described::by(&describe), self.env);
            // A machine may be lost while it is looked at: then it is left out now. What is wrong for good is wrong again.
            let (lost, spared, done) = match opened {
                Ok(source) => {
                    let done = self.begin(&*source).and_then(|()| work(&Night { before: &before, source: &*source }));
                    (source.is_lost(), source.spared(), done)
                }
                Err(e) => (true, Vec::new(), Err(e)),
            };
            match done {
                // Each time a node less.
                Err(e) if e.kind() == Kind::Io && !spared.is_empty() => {
                    spared.into_iter().for_each(|(node, why)| self.env.watch.leave_out(node, why));
                    self.env.watch.begin_anew();
                }
                Err(e) if e.kind() == Kind::Io && lost && anew > 0 => {
                    anew -= 1;
                    self.env.watch.begin_anew();
                }
                done => return done,
            }
        }
    }

    fn begin(&self, source: &dyn Source) -> Result<()> {
        let bytes = source.shards().iter().map(|shard| source.bytes(shard)).sum();
        self.env.watch.bytes_total.store(bytes, Ordering::Relaxed);
        self.env.watch.check()
    }

    /// The backup itself, of which `sink` takes the chunks.
    fn backup(&self, night: &Night<'_>, sink: &dyn ChunkSink, remembers: bool) -> Result<Snapshot> {
        let target = Target::of(self.repo, Some(night.before), sink)?;
        let memory = self.seen.as_ref().map(|seen| seen.memory(self.engine.name(), &self.options.cluster));
        let target = Target { seen: self.seen.as_ref(), memory, remembers, ..target };
        let snapshot = backup(self.engine, night.source, &target, &self.options, self.env.watch)?;
        self.env.watch.check()?;
        Ok(snapshot)
    }

    fn write_options(&self) -> WriteOptions {
        let level = self.params.number("compression-level").and_then(|level| i32::try_from(level).ok());
        let unless = WriteOptions::default();
        WriteOptions { level: level.unwrap_or(unless.level), take_over: self.params.has("take-over"), ..unless }
    }

    fn count(&self, night: &Night<'_>) -> Result<Done> {
        Ok(Done { snapshot: self.backup(night, &Nowhere(self.repo), false)?, stored: None, same: None })
    }

    fn rehearse(&self, night: &Night<'_>) -> Result<Planned> {
        let sink = self.repo.rehearsal(&self.write_options())?;
        let snapshot = self.backup(night, &sink, false)?;
        let (stats, writes) = sink.finish(snapshot.roots()?, snapshot.encode()?)?;
        let Requests { creates, bytes_created, .. } = writes;
        Ok(Planned { snapshot, stats, requests: Requests { creates, bytes_created, ..self.repo.requests() } })
    }

    /// Writes packs, index objects, snapshot, and the log's entry that makes it one.
    fn store(&self, night: &Night<'_>) -> Result<Done> {
        let writer = self.repo.writer(WriteOptions { bases: Some(night.before.bases()), ..self.write_options() })?;
        let snapshot = self.backup(night, &writer, true)?;
        if let Some(same) = self.params.has(SKIP).then(|| night.same(&snapshot)).flatten() {
            writer.end()?;
            return Ok(Done { snapshot, stored: None, same: Some(same) });
        }
        // Written before the commit, and in its place after it: so that a backup that dies between is not forgotten.
        let state = self.state.as_ref();
        let aside = state.map(|state| state.write_aside(&writer.session(), &snapshot)).transpose();
        let unkept = |e: Error| self.repo.note(e.within("the backup goes on; the next one will find no state of it"));
        let aside = aside.map_err(unkept).ok().flatten();
        let (info, stats) = writer.commit(snapshot.roots()?, snapshot.encode()?)?;
        if let Some(Err(e)) = aside.map(|aside| aside.stands()) {
            unkept(e);
        }
        if let Err(e) = night.source.stands(&info.id.to_string()) {
            self.repo.note(e.within("the next backup reads all of it again"));
        }
        // A night on which somebody was missing can be stood on only by who reads it.
        if let Some(seen) = self.seen.as_ref().filter(|_| snapshot.complete || night.before.can_read()) {
            let each = |shard: &Shard| seen.stands(&snapshot.cluster, &shard.id);
            if let Err(e) = snapshot.shards.iter().try_for_each(each) {
                self.repo.note(e.within("the next backup reads what was there before"));
            }
        }
        Ok(Done { snapshot, stored: Some((info.id.to_string(), stats)), same: None })
    }
}

/// What is backed up, and what was before.
struct Night<'a> {
    before: &'a Previous<'a>,
    source: &'a dyn Source,
}

impl Night<'_> {
    /// The last snapshot, where it is complete and has the same shards, and they hold the same.
    fn same(&self, now: &Snapshot) -> Option<String> {
        let last = self.before.newest().filter(|last| last.complete && now.complete)?;
        let same = |shard: &Shard| {
            let earlier = self.before.newest_shard(&shard.id);
            earlier
                .is_some_and(|e| e.of.id == last.id && (&e.shard.name, &e.shard.digest) == (&shard.name, &shard.digest))
        };
        now.shards.iter().all(same).then(|| last.id.clone())
    }
}

impl Options {
    /// As `params` of [`TAKES`] say.
    pub fn of(params: &Params) -> Options {
        Options {
            cluster: params.text("cluster").unwrap_or_default().to_owned(),
            node_views: params.has("keep-node-views"),
            cut: params.number("cut").and_then(|cut| u32::try_from(cut).ok()),
            whole: params.has("whole"),
            host: params.text("host").map(str::to_owned),
            tags: params.list("tag"),
            comment: params.text("comment").map(str::to_owned),
            accepted: params.list("accept-emptied"),
        }
    }
}

/// Names chunks and drops them.
struct Nowhere<'a>(&'a Repo);

impl ChunkSink for Nowhere<'_> {
    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        Ok(self.0.ring().repo.chunk_id.id(kind, plain))
    }

    fn relies_on(&self, _: &ChunkId) -> Result<bool> {
        Ok(true)
    }
}
