//! What the log says (SPEC "State"): the state after an entry and the questions it answers. How entries change it is
//! `log_rules`'.

use crate::config::Config;
use crate::credential::Sets;
use crate::id::{CredentialId, ObjectHash, SessionId, SnapshotId, WriterId};
use crate::key::ContentPublic;
use crate::log::{Listed, Roles};
use crate::names::{IndexName, PackName};
use crate::recipient::Grant;
use crate::remark::Sealed;
use std::collections::{BTreeMap, BTreeSet};

/// An open session: one that may commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub writer: WriterId,
    /// When it was opened, in milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// Snapshots it builds on.
    pub bases: Vec<SnapshotId>,
    /// All sessions it took over, directly or through another.
    pub adopted: Vec<SessionId>,
}

/// A snapshot on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The session that made it.
    pub session: SessionId,
    /// Who committed it.
    pub writer: WriterId,
    /// Number of the entry that committed it.
    pub n: u64,
    /// When, in milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// Whether a holder of *read* stands for it: its writer, or an entry that names it.
    pub vouched: bool,
}

/// An index object that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexState {
    /// Who committed it.
    pub writer: WriterId,
    /// Whether a holder of *read* stands for it, so that every writer may deduplicate against it.
    pub vouched: bool,
}

/// The state after some entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) admin: WriterId,
    /// Whether of several creators of one object exactly one wins; where not, there is one writer at most.
    pub(crate) atomic: bool,
    pub(crate) n: u64,
    pub(crate) head: ObjectHash,
    pub(crate) time_ms: u64,
    pub(crate) writers: BTreeMap<WriterId, Roles>,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) snapshots: BTreeMap<SnapshotId, Committed>,
    pub(crate) remarks: BTreeMap<SnapshotId, Sealed>,
    pub(crate) held: BTreeSet<SnapshotId>,
    pub(crate) indexes: BTreeMap<IndexName, IndexState>,
    pub(crate) condemned: BTreeMap<PackName, u64>,
    pub(crate) lost: BTreeMap<PackName, BTreeSet<u32>>,
    pub(crate) basis: u64,
    pub(crate) withdrawn: u64,
    pub(crate) content: BTreeMap<u32, [u8; 32]>,
    pub(crate) credentials: BTreeMap<CredentialId, Listed>,
    pub(crate) grants: BTreeMap<(u32, CredentialId), Grant>,
}

impl State {
    /// Before the first entry: `hash` is that of the configuration object.
    pub fn new(hash: ObjectHash, config: &Config) -> State {
        State {
            admin: config.admin,
            atomic: config.create_atomic,
            n: 0,
            head: hash,
            time_ms: 0,
            writers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            remarks: BTreeMap::new(),
            held: BTreeSet::new(),
            indexes: BTreeMap::new(),
            condemned: BTreeMap::new(),
            lost: BTreeMap::new(),
            basis: 0,
            withdrawn: 0,
            content: BTreeMap::from([(config.content.epoch, config.content.key)]),
            credentials: BTreeMap::new(),
            grants: BTreeMap::new(),
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

    /// The sessions that may still commit; one that has ended is not remembered.
    pub fn open_sessions(&self) -> &BTreeMap<SessionId, Session> {
        &self.sessions
    }

    /// The snapshots that can be restored.
    pub fn snapshots(&self) -> &BTreeMap<SnapshotId, Committed> {
        &self.snapshots
    }

    /// Who committed a snapshot that can be restored.
    pub fn writer_of(&self, snapshot: &SnapshotId) -> Option<WriterId> {
        self.snapshots.get(snapshot).map(|s| s.writer)
    }

    /// Whether a holder of *read* stands for this snapshot: it was committed by one, or an entry of one names it. That
    /// its chunks can be opened alone does not make it so.
    pub fn is_vouched(&self, snapshot: &SnapshotId) -> bool {
        self.snapshots.get(snapshot).is_some_and(|s| s.vouched)
    }

    /// What the administrator says of snapshots that can be restored.
    pub fn remarks(&self) -> &BTreeMap<SnapshotId, Sealed> {
        &self.remarks
    }

    /// Whether a snapshot is pinned: then it cannot be forgotten.
    pub fn is_pinned(&self, snapshot: &SnapshotId) -> bool {
        self.remarks.get(snapshot).is_some_and(|remark| remark.pinned)
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

    /// Number of the last entry that a condemn must have seen: the last commit, condemn or loss.
    pub fn basis(&self) -> u64 {
        self.basis
    }

    /// Number of the last entry that took something away: a condemn or a loss. A session that was opened after it
    /// need not look at what it reuses again before it commits.
    pub fn withdrawn(&self) -> u64 {
        self.withdrawn
    }

    /// The content key that new sessions wrap theirs to.
    pub fn content(&self) -> ContentPublic {
        let last = self.content.last_key_value();
        last.map_or(ContentPublic { epoch: 0, key: [0; 32] }, |(epoch, key)| ContentPublic { epoch: *epoch, key: *key })
    }

    /// The content key of an epoch.
    pub fn content_of(&self, epoch: u32) -> Option<ContentPublic> {
        self.content.get(&epoch).map(|key| ContentPublic { epoch, key: *key })
    }

    /// The credentials that the administrator stands for.
    pub fn credentials(&self) -> &BTreeMap<CredentialId, Listed> {
        &self.credentials
    }

    /// Those of them that hold *read*: whoever begins an epoch grants its secret to them, and to nobody else.
    pub fn readers(&self) -> impl Iterator<Item = (&CredentialId, &Listed)> {
        self.credentials.iter().filter(|(_, listed)| listed.sets.has(Sets::READ))
    }

    /// The secret of an epoch, as it was granted to a credential.
    pub fn grant(&self, epoch: u32, credential: &CredentialId) -> Option<&Grant> {
        self.grants.get(&(epoch, *credential))
    }

    /// Whether packs and index objects of this session are an open one's: its own, or of one that it took over. So are
    /// those of a session that the log has not come to yet.
    pub fn spared(&self, session: &SessionId) -> bool {
        session.opened() > self.n
            || self.sessions.contains_key(session)
            || self.sessions.values().any(|s| s.adopted.contains(session))
    }
}
