//! What the log says (SPEC "State"): a pure fold of its entries. An entry that a rule forbids is void: it keeps its
//! place in the chain and changes nothing, so that no writer can break the repository for the others.

use crate::error::{FormatError, Result};
use crate::id::{ObjectHash, SessionId, SnapshotId, WriterId};
use crate::key::{WrappedKey, context};
use crate::limits::ADOPTED_MAX;
use crate::log::{Body, Entry, LostFrames, Roles};
use crate::names::{IndexName, PackName};
use std::collections::{BTreeMap, BTreeSet};

/// What became of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// It may commit.
    Open,
    /// It has committed.
    Committed,
    /// The administrator ended it.
    Fenced,
    /// Another session of the same writer took it over.
    Adopted(SessionId),
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub writer: WriterId,
    /// Number of the entry that opened it.
    pub opened: u64,
    /// When it was opened, in milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// Its content key.
    pub key: WrappedKey,
    /// What became of it.
    pub status: SessionStatus,
    /// Snapshots it builds on; emptied when it ends.
    pub bases: Vec<SnapshotId>,
    /// All sessions it took over, directly or through another; emptied when it ends.
    pub adopted: Vec<SessionId>,
}

/// A snapshot on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The session that made it.
    pub session: SessionId,
    /// Number of the entry that committed it.
    pub n: u64,
    /// When, in milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
}

/// An index object that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexState {
    /// Who committed it.
    pub writer: WriterId,
    /// Whether a holder of *read* stands for it, so that every writer may deduplicate against it.
    pub vouched: bool,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the state.
    Applied,
    /// A rule forbids it; it changed nothing. The text says which.
    Void(&'static str),
}

/// Rules that the simulation switches off one by one to show that it notices. Always [`Rules::ALL`] elsewhere.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub commit_void_after_fence: bool,
    pub condemn_spares_open_sessions: bool,
    pub condemn_sees_last_state: bool,
    pub retire_waits: bool,
    pub adopted_cannot_commit: bool,
    pub forget_holds_bases: bool,
}

impl Rules {
    /// All on.
    pub const ALL: Rules = Rules {
        commit_void_after_fence: true,
        condemn_spares_open_sessions: true,
        condemn_sees_last_state: true,
        retire_waits: true,
        adopted_cannot_commit: true,
        forget_holds_bases: true,
    };
}

/// The state after some entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) admin: WriterId,
    pub(crate) n: u64,
    pub(crate) head: ObjectHash,
    pub(crate) time_ms: u64,
    pub(crate) writers: BTreeMap<WriterId, Roles>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) snapshots: BTreeMap<SnapshotId, Committed>,
    pub(crate) held: BTreeSet<SnapshotId>,
    pub(crate) indexes: BTreeMap<IndexName, IndexState>,
    pub(crate) condemned: BTreeMap<PackName, u64>,
    pub(crate) lost: BTreeMap<PackName, BTreeSet<u32>>,
}

type Verdict = std::result::Result<(), &'static str>;

impl State {
    /// Before the first entry: `config` is the hash of the configuration object, `admin` its administrator.
    pub fn new(config: ObjectHash, admin: WriterId) -> State {
        State {
            admin,
            n: 0,
            head: config,
            time_ms: 0,
            writers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            held: BTreeSet::new(),
            indexes: BTreeMap::new(),
            condemned: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    /// Number of the last entry; 0 before the first.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Hash of the last entry, or of the configuration.
    pub fn head(&self) -> ObjectHash {
        self.head
    }

    /// When the last entry was written, in milliseconds since 1970, by its writer's clock.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The administrator.
    pub fn admin(&self) -> WriterId {
        self.admin
    }

    /// What a writer may do now; the administrator's own key has no role here.
    pub fn roles(&self, writer: &WriterId) -> Roles {
        self.writers.get(writer).copied().unwrap_or(Roles::NONE)
    }

    /// The writers.
    pub fn writers(&self) -> &BTreeMap<WriterId, Roles> {
        &self.writers
    }

    /// All sessions ever, because frames outlive them and need their keys.
    pub fn sessions(&self) -> &BTreeMap<SessionId, Session> {
        &self.sessions
    }

    /// The sessions that may still commit.
    pub fn open_sessions(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.sessions.iter().filter(|(_, s)| s.status == SessionStatus::Open)
    }

    /// The snapshots that can be restored.
    pub fn snapshots(&self) -> &BTreeMap<SnapshotId, Committed> {
        &self.snapshots
    }

    /// Snapshots that were forgotten while an open session builds on them: still to be marked.
    pub fn held(&self) -> &BTreeSet<SnapshotId> {
        &self.held
    }

    /// The index objects that count.
    pub fn indexes(&self) -> &BTreeMap<IndexName, IndexState> {
        &self.indexes
    }

    /// Packs waiting for deletion, and the number of the entry that condemned each.
    pub fn condemned(&self) -> &BTreeMap<PackName, u64> {
        &self.condemned
    }

    /// Lost frames by pack; an empty set means the whole pack.
    pub fn lost(&self) -> &BTreeMap<PackName, BTreeSet<u32>> {
        &self.lost
    }

    /// Whether a new snapshot may rely on this frame: its pack is not condemned and it is not lost.
    pub fn usable(&self, pack: &PackName, frame_offset: u32) -> bool {
        let lost = |frames: &BTreeSet<u32>| frames.is_empty() || frames.contains(&frame_offset);
        !self.condemned.contains_key(pack) && !self.lost.get(pack).is_some_and(lost)
    }

    /// Whether `writer` may deduplicate against what this index object lists: it is its own, or vouched for.
    pub fn trusts(&self, writer: &WriterId, index: &IndexName) -> bool {
        self.indexes.get(index).is_some_and(|i| i.vouched || i.writer == *writer)
    }

    /// All that a condemn must be computed from: the snapshots on the list and the held ones, as one hash.
    pub fn marked(&self) -> ObjectHash {
        let mut hasher = blake3::Hasher::new_derive_key(context::MARKED);
        self.snapshots.keys().for_each(|id| {
            hasher.update(&id.0);
        });
        hasher.update(&(self.snapshots.len() as u64).to_le_bytes());
        self.held.iter().for_each(|id| {
            hasher.update(&id.0);
        });
        ObjectHash(*hasher.finalize().as_bytes())
    }

    /// Whether an open session owns this pack, or one that the log does not know.
    pub fn spared(&self, session: &SessionId) -> bool {
        match self.sessions.get(session) {
            None => true,
            Some(s) if s.status == SessionStatus::Open => true,
            Some(_) => self.open_sessions().any(|(_, s)| s.adopted.contains(session)),
        }
    }

    /// Adds entry n+1. Fails, changing nothing, where number or chain do not fit. `hash` is that of the entry's object.
    pub fn apply(&mut self, hash: ObjectHash, entry: &Entry) -> Result<Outcome> {
        self.apply_with(hash, entry, Rules::ALL)
    }

    /// [`State::apply`] under some of the rules.
    #[doc(hidden)]
    pub fn apply_with(&mut self, hash: ObjectHash, entry: &Entry, rules: Rules) -> Result<Outcome> {
        if Some(entry.n) != self.n.checked_add(1) {
            return Err(FormatError::Mismatch("number of a log entry"));
        }
        if entry.previous != self.head {
            return Err(FormatError::Mismatch("chain of the log"));
        }
        let verdict = self.judge(entry, rules);
        (self.n, self.head, self.time_ms) = (entry.n, hash, entry.time_ms);
        match verdict {
            Ok(()) => {
                self.change(entry, rules);
                Ok(Outcome::Applied)
            }
            Err(why) => Ok(Outcome::Void(why)),
        }
    }

    /// Whether the rules allow the entry now.
    fn judge(&self, entry: &Entry, rules: Rules) -> Verdict {
        let writer = &entry.writer;
        let roles = self.roles(writer);
        let admin = || check(*writer == self.admin, "only the administrator may do this");
        let writes = || check(roles.has(Roles::WRITE), "not a listed writer");
        match &entry.body {
            Body::Open { session, adopts, bases, .. } => {
                writes()?;
                check(!self.sessions.contains_key(session), "session is not new")?;
                check(bases.iter().all(|b| self.snapshots.contains_key(b)), "base is not a snapshot")?;
                adopts.map_or(Ok(()), |old| self.judge_adoption(writer, &old))
            }
            Body::Commit { session, snapshot, indexes } => {
                writes()?;
                let own = self.sessions.get(session).ok_or("no such session")?;
                check(own.writer == *writer, "session of another writer")?;
                check(allowed(own.status, rules), "session is no longer open")?;
                let mine = |i: &IndexName| i.session == *session || own.adopted.contains(&i.session);
                check(indexes.iter().all(mine), "index object of another session")?;
                let known = |s: &SnapshotId| self.snapshots.contains_key(s) || self.held.contains(s);
                check(!snapshot.is_some_and(|s| known(&s)), "snapshot is not new")
            }
            Body::Forget { snapshots } => {
                admin()?;
                check(snapshots.iter().all(|s| self.snapshots.contains_key(s)), "no such snapshot")
            }
            Body::Condemn { marked, packs } => {
                admin()?;
                let fresh = *marked == self.marked() || !rules.condemn_sees_last_state;
                check(fresh, "computed from another state")?;
                let spared = |p: &PackName| rules.condemn_spares_open_sessions && self.spared(&p.session);
                check(!packs.iter().any(spared), "pack of an open or unknown session")
            }
            Body::Fence { session } => {
                admin()?;
                let own = self.sessions.get(session).ok_or("no such session")?;
                check(own.status == SessionStatus::Open, "session is no longer open")
            }
            Body::Lost { .. } => check(roles != Roles::NONE || *writer == self.admin, "not a listed writer"),
            Body::Vouch { indexes } => {
                check(roles.has(Roles::VOUCH) || *writer == self.admin, "may not vouch")?;
                check(indexes.iter().all(|i| self.indexes.contains_key(i)), "no such index object")
            }
            Body::Writers { .. } => admin(),
            Body::Retire { packs, indexes } => {
                admin()?;
                check(indexes.iter().all(|i| self.indexes.contains_key(i)), "no such index object")?;
                let oldest = self.open_sessions().map(|(_, s)| s.opened).min().unwrap_or(u64::MAX);
                let seen = |at: &u64| *at < oldest || !rules.retire_waits;
                let gone = |p: &PackName| self.condemned.get(p).is_some_and(seen);
                check(packs.iter().all(gone), "pack is not condemned, or an older session is open")
            }
        }
    }

    fn judge_adoption(&self, writer: &WriterId, old: &SessionId) -> Verdict {
        let old = self.sessions.get(old).ok_or("adopts no known session")?;
        check(old.writer == *writer, "adopts a session of another writer")?;
        check(old.status == SessionStatus::Open, "adopts a session that is no longer open")?;
        check(old.adopted.len() < ADOPTED_MAX, "adopts too many sessions")
    }

    /// Carries out what [`State::judge`] allowed.
    fn change(&mut self, entry: &Entry, rules: Rules) {
        match &entry.body {
            Body::Open { session, key, adopts, bases } => self.open(entry, *session, *key, *adopts, bases),
            Body::Commit { session, snapshot, indexes } => {
                let vouched = self.roles(&entry.writer).has(Roles::VOUCH);
                let state = IndexState { writer: entry.writer, vouched };
                self.indexes.extend(indexes.iter().map(|i| (*i, state)));
                let committed = Committed { session: *session, n: entry.n, time_ms: entry.time_ms };
                self.snapshots.extend(snapshot.iter().map(|s| (*s, committed)));
                self.end(session, SessionStatus::Committed);
            }
            Body::Forget { snapshots } => {
                for id in snapshots {
                    self.snapshots.remove(id);
                    if rules.forget_holds_bases {
                        self.held.insert(*id);
                    }
                }
                self.drop_unheld();
            }
            Body::Condemn { packs, .. } => {
                for pack in packs {
                    self.condemned.entry(*pack).or_insert(entry.n);
                }
            }
            Body::Fence { session } => self.end(session, SessionStatus::Fenced),
            Body::Lost { lost } => lost.iter().for_each(|l| self.lose(l)),
            Body::Vouch { indexes } => {
                for index in indexes {
                    if let Some(state) = self.indexes.get_mut(index) {
                        state.vouched = true;
                    }
                }
            }
            Body::Writers { writers } => {
                for (id, roles) in writers {
                    match *roles {
                        Roles::NONE => self.writers.remove(id),
                        roles => self.writers.insert(*id, roles),
                    };
                }
            }
            Body::Retire { packs, indexes } => {
                for pack in packs {
                    self.condemned.remove(pack);
                    self.lost.remove(pack);
                }
                for index in indexes {
                    self.indexes.remove(index);
                }
            }
        }
    }

    fn open(&mut self, e: &Entry, id: SessionId, key: WrappedKey, adopts: Option<SessionId>, bases: &[SnapshotId]) {
        let mut adopted = Vec::new();
        if let Some(old) = adopts {
            if let Some(session) = self.sessions.get(&old) {
                adopted.clone_from(&session.adopted);
            }
            adopted.push(old);
            adopted.sort_unstable();
        }
        let session = Session {
            writer: e.writer,
            opened: e.n,
            time_ms: e.time_ms,
            key,
            status: SessionStatus::Open,
            bases: bases.to_vec(),
            adopted,
        };
        self.sessions.insert(id, session);
        if let Some(old) = adopts {
            self.end(&old, SessionStatus::Adopted(id));
        }
    }

    fn end(&mut self, session: &SessionId, status: SessionStatus) {
        if let Some(session) = self.sessions.get_mut(session) {
            session.status = status;
            session.bases = Vec::new();
            session.adopted = Vec::new();
        }
        self.drop_unheld();
    }

    /// Lets go of forgotten snapshots that no open session builds on.
    fn drop_unheld(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let bases: BTreeSet<SnapshotId> = self.open_sessions().flat_map(|(_, s)| s.bases.iter().copied()).collect();
        self.held.retain(|id| bases.contains(id));
    }

    fn lose(&mut self, lost: &LostFrames) {
        let whole = lost.frames.is_empty();
        match self.lost.get_mut(&lost.pack) {
            Some(frames) if whole => frames.clear(),
            Some(frames) if frames.is_empty() => {}
            Some(frames) => frames.extend(&lost.frames),
            None => {
                self.lost.insert(lost.pack, lost.frames.iter().copied().collect());
            }
        }
    }
}

fn check(holds: bool, otherwise: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Whether a session of this status may commit.
fn allowed(status: SessionStatus, rules: Rules) -> bool {
    match status {
        SessionStatus::Open => true,
        SessionStatus::Committed => false,
        SessionStatus::Fenced => !rules.commit_void_after_fence,
        SessionStatus::Adopted(_) => !rules.adopted_cannot_commit,
    }
}
