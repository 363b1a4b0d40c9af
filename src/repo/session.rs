//! One session in the log: opened, perhaps taking over a dead one of the same writer; ended by its commit.

use std::collections::HashMap;
use std::fs::File;

use repo_format::id::{SessionId, SnapshotId};
use repo_format::key::{ContentKey, SessionKey};
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{IndexName, Name, ObjectKind, PackName};

use super::index::Index;
use super::{Core, world};
use crate::error::{Error, Kind, Result};

/// Which open session of the same writer a new one takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adopts {
    /// None.
    None,
    /// One whose process on this machine has died.
    Dead,
    /// That, or one of which nobody here knows whether its process lives.
    Unknown,
}

/// An open session of this process.
pub(super) struct Session {
    /// What it seals with; it holds the session's name.
    pub key: SessionKey,
    /// The sessions it took over, whose packs and index objects it may use as its own.
    pub adopted: Vec<SessionId>,
    /// Locked as long as this process lives.
    _alive: Option<File>,
}

impl Session {
    /// Opens a session, and takes over an open one of the same writer as far as `adopts` says.
    pub fn open(core: &Core, bases: Option<Vec<SnapshotId>>, adopts: Adopts) -> Result<Session> {
        let sign = core.sign_key()?;
        // Named by the entry that opens it, so made anew for each number that another writer takes first.
        let mut made = None;
        let state = core.append(sign, &mut |state| {
            let key = next_key(core, state)?;
            let (id, wrapped) = (key.session, key.wrapped);
            made = Some(key);
            let adopts = dead_session(core, state, adopts);
            Ok(Body::Open { session: id, key: wrapped, adopts, bases: standing(state, bases.as_deref()) })
        })?;
        let Some(key) = made else { return Err(Error::new(Kind::Busy, core.store.place(), "no session was opened")) };
        // Best effort: without it, nobody will know that this session died, and nobody takes it over unasked.
        let alive = core.cache.as_ref().and_then(|c| c.lock_session(&key.session).ok());
        let adopted = state.open_sessions().get(&key.session).map(|s| s.adopted.clone()).unwrap_or_default();
        Ok(Session { key, adopted, _alive: alive })
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.key.session
    }

    /// Whether what this session's packs hold is ours to use.
    pub fn owns(&self, session: &SessionId) -> bool {
        *session == self.id() || self.adopted.contains(session)
    }

    /// Takes in the index objects of adopted sessions whose packs are all there; their names, sorted, go into
    /// the commit.
    pub fn adopt(&self, core: &Core, index: &dyn Index) -> Result<Vec<IndexName>> {
        let mut adopted = Vec::new();
        if self.adopted.is_empty() {
            return Ok(adopted);
        }
        let mut names: Vec<IndexName> = Vec::new();
        core.store.list(ObjectKind::Index.word(), &mut |name, _| {
            names.extend(match Name::parse(name) {
                Ok(Name::Index(name)) if self.owns(&name.session) => Some(name),
                _ => None,
            });
            Ok(())
        })?;
        let mut packs: HashMap<PackName, u64> = HashMap::new();
        core.store.list(ObjectKind::Pack.word(), &mut |name, size| {
            packs.extend(match Name::parse(name) {
                Ok(Name::Pack(name)) if self.owns(&name.session) => Some((name, size)),
                _ => None,
            });
            Ok(())
        })?;
        let state = core.log.state();
        for name in names {
            // What is damaged is not taken over: its chunks are stored anew.
            let Ok(object) = core.read_index(&name, &state) else { continue };
            let mut covered = object.head().packs.iter();
            if covered.all(|(pack, size)| packs.get(pack) == Some(&u64::from(*size))) {
                index.add(&name, &object)?;
                adopted.push(name);
            }
        }
        adopted.sort_unstable();
        Ok(adopted)
    }

    /// Ends a session that makes no snapshot: from now on its index objects count, in place of those that `replaces` gives. Where that
    /// fails, by what the log says by then, the session stays open.
    pub fn end(
        self,
        core: &Core,
        mut indexes: Vec<IndexName>,
        replaces: &mut dyn FnMut(&State) -> Result<Vec<IndexName>>,
    ) -> Result<()> {
        indexes.sort_unstable();
        indexes.dedup();
        let session = self.id();
        core.append(core.sign_key()?, &mut |state| {
            Ok(Body::Commit { session, snapshot: None, indexes: indexes.clone(), replaces: replaces(state)? })
        })?;
        self.forget(core);
        Ok(())
    }

    /// The session has ended.
    pub fn forget(&self, core: &Core) {
        if let Some(cache) = &core.cache {
            self.adopted.iter().chain([&self.id()]).for_each(|id| cache.forget_session(id));
        }
    }
}

/// What a session seals with that the next entry of the log opens.
pub(super) fn next_key(core: &Core, state: &State) -> Result<SessionKey> {
    let id = SessionId::new(state.n() + 1, &core.sign_key()?.id());
    let content = ContentKey::from_bytes(world::random()?);
    Ok(SessionKey::new(&state.content(), &core.ring.repo_id, id, content, world::random()?)?)
}

/// The newest open session of this writer that nobody works on.
fn dead_session(core: &Core, state: &State, adopts: Adopts) -> Option<SessionId> {
    let own = core.ring.writer.as_ref()?.id();
    let is_dead = |id: &SessionId| match core.cache.as_ref().and_then(|c| c.is_alive(id)) {
        _ if adopts == Adopts::None => false,
        Some(alive) => !alive,
        None => adopts == Adopts::Unknown,
    };
    state.open_sessions().keys().rfind(|id| id.is_of(&own) && is_dead(id)).copied()
}

/// The bases that are still snapshots; without any given, the newest one.
fn standing(state: &State, bases: Option<&[SnapshotId]>) -> Vec<SnapshotId> {
    let mut standing: Vec<SnapshotId> = match bases {
        Some(bases) => bases.iter().filter(|b| state.snapshots().contains_key(*b)).copied().collect(),
        None => state.snapshots().iter().max_by_key(|(_, c)| c.n).map(|(id, _)| *id).into_iter().collect(),
    };
    standing.sort_unstable();
    standing.dedup();
    standing
}
