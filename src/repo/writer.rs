//! A session that writes: chunks through its [`Sink`], then the snapshot, then the entry of the log that makes it count.

use std::sync::Arc;

use repo_format::id::{SessionId, SnapshotId};
use repo_format::key::SessionKey;
use repo_format::log::Body;
use repo_format::log_state::State;
use repo_format::names::{Name, PackName};
use repo_format::snapshot::{Says, Snapshot};

use super::doubt;
use super::locate::Purpose;
use super::session::{Adopts, Session};
use super::sink::{Before, Sink, WriteOptions, WriteStats};
use super::{Core, SnapshotInfo, twice, world};
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSink};
use crate::store::lock;

/// An open session. Dropped without a commit it leaves its uploaded packs for the next session of this machine.
pub struct Writer {
    core: Arc<Core>,
    session: Session,
    sink: Sink,
}

impl Writer {
    pub(super) fn open(core: Arc<Core>, options: WriteOptions) -> Result<Writer> {
        core.store.sweep()?;
        core.sign_key()?;
        let adopts = if options.take_over { Adopts::Unknown } else { Adopts::Dead };
        let session = Session::open(&core, options.bases.clone(), adopts)?;
        let state = core.log.state();
        let index = core.index(Purpose::Write)?;
        let adopted = session.adopt(&core, &*index)?;
        let mut doubts = doubt::look(&core, &*index, &state)?;
        doubts.declare(&core)?;
        doubts.name_anew(&core, &*index, &session.id())?;
        let before = Before { state, index, adopted, doubts };
        let sink = Sink::start(&core, &session.key, before, core.store.clone(), &options)?;
        Ok(Writer { core, session, sink })
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session.id()
    }

    /// What was done so far.
    pub fn stats(&self) -> WriteStats {
        self.sink.stats()
    }

    /// Uploads what is left, then the snapshot, then the log entry that makes it count. `roots` name every chunk that
    /// `says` names. On an error nothing counts, and the next session uses what was uploaded.
    pub fn commit(mut self, roots: Vec<(ChunkKind, ChunkId)>, says: Says) -> Result<(SnapshotInfo, WriteStats)> {
        let indexes = self.sink.finish()?;
        let mut stats = self.stats();
        let (id, bytes) = seal(&self.core, &self.session.key, roots, says)?;
        stats.bytes_stored += 2 * bytes.len() as u64;
        twice::create(&*self.core.store, &Name::Snapshot(id), bytes)?;
        let session = self.session.id();
        let key = self.core.sign_key()?;
        let state = self.core.append(key, &mut |state| {
            self.check_relied(state)?;
            let replaces = self.sink.before.doubts.replaced(state, &key.id());
            Ok(Body::Commit { session, snapshot: Some(id), indexes: indexes.clone(), replaces })
        })?;
        self.core.remember(&state);
        self.session.forget(&self.core);
        let (n, time_ms) = state.snapshots().get(&id).map_or((state.n(), state.time_ms()), |c| (c.n, c.time_ms));
        Ok((SnapshotInfo { id, time_ms, session, n }, stats))
    }

    /// Ends the session without a snapshot: nothing is to be kept of it.
    pub fn end(mut self) -> Result<()> {
        let indexes = self.sink.finish()?;
        let session = self.session.id();
        self.core.append(self.core.sign_key()?, &mut |state| {
            self.check_relied(state)?;
            Ok(Body::Commit { session, snapshot: None, indexes: indexes.clone(), replaces: Vec::new() })
        })?;
        self.session.forget(&self.core);
        Ok(())
    }

    /// Since the session began somebody may have condemned a pack, or found one damaged, that it reuses chunks of or wrote.
    fn check_relied(&self, state: &State) -> Result<()> {
        if state.withdrawn() <= self.sink.before.state.n() {
            return Ok(());
        }
        let gone = |pack: &&PackName| {
            state.condemned().contains_key(*pack) || state.lost().get(*pack) != self.sink.before.state.lost().get(*pack)
        };
        let own = |pack: &&PackName| pack.session == self.session.id();
        let written = state.condemned().keys().chain(state.lost().keys()).filter(own);
        // An index object that names what is taken away meanwhile would name it for ever.
        let named = &self.sink.before.doubts.named_anew;
        match lock(&self.sink.relied).iter().chain(written).chain(named).find(gone) {
            None => Ok(()),
            Some(pack) => {
                Err(Error::new(Kind::Busy, pack, "was condemned or found damaged while this backup relied on it")
                    .hint("run the backup again: what was uploaded is used again"))
            }
        }
    }
}

impl Drop for Writer {
    /// Lets go of the index cache's lock, so that other processes may write to it.
    fn drop(&mut self) {
        self.core.close_index();
    }
}

impl ChunkSink for Writer {
    fn relies_on(&self, id: &ChunkId) -> Result<bool> {
        self.sink.relies_on(id)
    }

    /// What lies under a base of an open session is not condemned (SPEC "Writing"); nothing may be lost, whosesoever it is.
    fn stands_on(&self, snapshot: &str) -> Result<bool> {
        let before = &self.sink.before;
        let unsound = &before.doubts.unsound;
        let whole = before.state.lost().is_empty() && unsound.packs.is_empty() && unsound.indexes.is_empty();
        let open = before.state.open_sessions().get(&self.session.id());
        Ok(whole && open.is_some_and(|open| open.bases.iter().any(|base| base.to_string() == snapshot)))
    }

    fn put(&self, kind: ChunkKind, plain: &[u8]) -> Result<ChunkId> {
        self.sink.put(kind, plain)
    }
}

/// The snapshot's id and object, once that opens to what was put in.
pub(super) fn seal(
    core: &Core,
    key: &SessionKey,
    roots: Vec<(ChunkKind, ChunkId)>,
    says: Says,
) -> Result<(SnapshotId, Vec<u8>)> {
    let (sign, repo) = (core.sign_key()?, &core.ring.repo_id);
    let snapshot = Snapshot { session: key.session, writer: sign.id(), roots, says };
    let (id, bytes) = snapshot.seal(repo, key, &world::random()?, sign)?;
    if Snapshot::open(&id, &bytes, repo, &key.content)? != snapshot {
        return Err(Error::damaged("snapshot just built", "does not open to what was put in"));
    }
    Ok((id, bytes))
}
