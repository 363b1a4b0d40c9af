//! A small world around the real log rules: a store in memory, and actors that run the protocol of SPEC "Protocol" a step
//! at a time, pausing and crashing where they like. Chunks are the bits of a word.

pub mod pruner;
pub mod writer;

use repo_format::config::Config;
use repo_format::id::{ObjectHash, RepoId, SessionId, SnapshotId, WriterId};
use repo_format::key::{ContentPublic, WrappedKey};
use repo_format::log::{Body, Entry, LostFrames, Roles};
use repo_format::log_rules::{Outcome, Rules};
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackClass, PackName};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A set of chunks.
pub type Chunks = u64;
/// Chunks that exist.
pub const UNIVERSE: u32 = 28;

/// Rules that actors keep, beyond those that the state enforces. One off shows whether the simulation notices.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    pub state: Rules,
    /// Before writing entry n one has read all before it, and decided again.
    pub reads_all_before: bool,
    /// A commit replaces what it reuses from condemned packs.
    pub commit_replaces_condemned: bool,
    /// Packs, then index objects, then the commit.
    pub writes_in_order: bool,
    /// One deduplicates against one's own chunks and vouched ones only.
    pub trusts_own_and_vouched: bool,
    /// A pruner counts only places that the snapshot's writer trusts.
    pub prune_counts_trusted: bool,
    /// A pruner marks from the bases of open sessions too.
    pub prune_marks_held: bool,
    /// An index object is replaced by ones that cover all of its packs that are not condemned.
    pub merge_keeps_coverage: bool,
    /// Only packs that no standing index object covers are retired.
    pub retires_uncovered: bool,
    /// Who takes a number looks for the mark of its trimming.
    pub looks_for_marks: bool,
    /// A conditional create has exactly one winner.
    pub create_is_exclusive: bool,
    /// Packs are condemned before they are deleted.
    pub deletes_condemned_only: bool,
    /// Whether pruners fence, whether writers adopt: off, a rule is tried without the other.
    pub fences: bool,
    pub adopts: bool,
    /// Time between condemning and deleting, by the pruner's clock.
    pub grace: u64,
}

impl Protocol {
    pub const FULL: Protocol = Protocol {
        state: Rules::ALL,
        reads_all_before: true,
        commit_replaces_condemned: true,
        writes_in_order: true,
        trusts_own_and_vouched: true,
        prune_counts_trusted: true,
        prune_marks_held: true,
        merge_keeps_coverage: true,
        retires_uncovered: true,
        looks_for_marks: true,
        create_is_exclusive: true,
        deletes_condemned_only: true,
        fences: true,
        adopts: true,
        grace: 30,
    };
}

/// SplitMix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    pub fn chunks(&mut self, n: u32) -> Chunks {
        (0..n).fold(0, |set, _| set | 1 << self.below(u64::from(UNIVERSE)))
    }
}

/// A snapshot object.
#[derive(Clone, Copy)]
pub struct Stored {
    pub session: SessionId,
    pub writer: WriterId,
    pub chunks: Chunks,
}

/// What became of an attempt to write the next entry.
pub enum Append {
    /// Another entry took the number.
    Taken,
    /// Written, but a rule forbids it.
    Void,
    /// Written.
    Done,
}

/// What was seen to go wrong.
pub type Loss = String;

pub struct World {
    pub protocol: Protocol,
    pub rng: Rng,
    pub time: u64,
    serial: u64,
    entries: Vec<Entry>,
    states: Vec<Rc<State>>,
    /// Entries before this number are gone.
    trimmed: u64,
    pub packs: BTreeMap<PackName, Chunks>,
    pub indexes: BTreeMap<IndexName, Vec<(PackName, Chunks)>>,
    pub snapshots: BTreeMap<SnapshotId, Stored>,
    /// Snapshots that their writers believe taken.
    pub told: BTreeSet<SnapshotId>,
    forgotten: BTreeSet<SnapshotId>,
    /// Snapshots that a fault of the store took a chunk of. No rule can keep them; what comes after must be whole.
    pub hurt: BTreeSet<SnapshotId>,
    /// Packs that an honest party said to be lost.
    said_lost: BTreeSet<PackName>,
    pub counts: BTreeMap<&'static str, u64>,
    pub loss: Option<Loss>,
}

pub const ADMIN: WriterId = WriterId([0xad; 32]);
/// Whose *write* key was stolen.
pub const STOLEN: WriterId = WriterId([20; 32]);

impl World {
    pub fn new(protocol: Protocol, seed: u64, writers: &[(WriterId, Roles)]) -> World {
        let content = ContentPublic { epoch: 1, key: [0; 32] };
        let config = Config::new(RepoId([0; 32]), content, ADMIN, true);
        let mut world = World {
            protocol,
            rng: Rng(seed),
            time: 1000,
            serial: 0,
            entries: Vec::new(),
            states: vec![Rc::new(State::new(ObjectHash([0; 32]), &config))],
            trimmed: 0,
            packs: BTreeMap::new(),
            indexes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            told: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            hurt: BTreeSet::new(),
            said_lost: BTreeSet::new(),
            counts: BTreeMap::new(),
            loss: None,
        };
        let head = world.head();
        world.append(&head, ADMIN, 0, Body::Writers { writers: writers.to_vec(), credentials: vec![] });
        world
    }

    /// Reads the log to its end.
    pub fn head(&self) -> Rc<State> {
        self.states.last().cloned().expect("the state before the first entry")
    }

    /// The state to write on: the newest, whether or not the actor looked at it, where reading is switched off.
    pub fn basis(&self, known: &Rc<State>) -> Rc<State> {
        if self.protocol.reads_all_before { known.clone() } else { self.head() }
    }

    /// Takes entries away that a checkpoint covers.
    pub fn trim(&mut self) {
        self.trimmed = self.head().n() / 8 * 8;
    }

    /// Conditional create of the entry after `known`.
    pub fn append(&mut self, known: &Rc<State>, writer: WriterId, time_ms: u64, body: Body) -> Append {
        let head = self.head();
        if known.n() + 1 < self.trimmed && !self.protocol.looks_for_marks {
            // The name is free. Nobody will read what stands there.
            let entry = Entry { n: known.n() + 1, previous: known.head(), writer, time_ms, body };
            let outcome = State::clone(known).apply_with(self.hash(), &entry, self.protocol.state);
            return if outcome == Ok(Outcome::Applied) { Append::Done } else { Append::Void };
        }
        let overwrites = !self.protocol.create_is_exclusive && known.n() + 1 == head.n();
        if overwrites {
            self.entries.pop();
            self.states.pop();
        } else if known.n() != head.n() || known.head() != head.head() {
            return Append::Taken;
        }
        let entry = Entry { n: known.n() + 1, previous: known.head(), writer, time_ms, body };
        let hash = self.hash();
        let mut state = State::clone(known);
        let outcome = state.apply_with(hash, &entry, self.protocol.state).expect("the chain fits");
        if let Body::Forget { snapshots } = &entry.body
            && outcome == Outcome::Applied
        {
            self.forgotten.extend(snapshots);
        }
        if let Body::Lost { lost } = &entry.body
            && writer != STOLEN
        {
            self.said_lost.extend(lost.iter().map(|l| l.pack));
        }
        self.count(kind(&entry.body), outcome == Outcome::Applied);
        self.entries.push(entry);
        self.states.push(Rc::new(state));
        match outcome {
            Outcome::Applied => Append::Done,
            Outcome::Void(_) => Append::Void,
        }
    }

    fn count(&mut self, applied: &'static str, ok: bool) {
        *self.counts.entry(if ok { applied } else { "void" }).or_default() += 1;
    }

    fn hash(&mut self) -> ObjectHash {
        self.serial += 1;
        let mut hash = [0; 32];
        // Scattered, so that the order of names says nothing of the order of writing.
        hash[..8].copy_from_slice(&Rng(self.serial).next().to_be_bytes());
        hash[8..16].copy_from_slice(&self.serial.to_be_bytes());
        ObjectHash(hash)
    }

    /// A fault of the store takes a pack that snapshots need; `by`, who may vouch, sees it at once and says so.
    pub fn lose_a_pack(&mut self, by: WriterId) {
        let head = self.head();
        let covered = head.indexes().keys().flat_map(|i| self.claims(i)).map(|(pack, _)| *pack);
        let there = |p: &PackName| self.packs.contains_key(p) && !head.spared(&p.session) && head.usable(p, 0);
        let packs: Vec<PackName> = covered.filter(there).collect();
        let Some(pack) = self.rng.pick(&packs).copied() else { return };
        self.packs.remove(&pack);
        // A condemned pack may be deleted at any time.
        let available = self.available(|pack| !head.condemned().contains_key(pack));
        let missing = |id: &&SnapshotId| self.snapshots.get(id).is_some_and(|s| s.chunks & !available != 0);
        self.hurt.extend(head.snapshots().keys().filter(missing).copied().collect::<Vec<_>>());
        self.append(&head, by, 0, Body::Lost { lost: vec![LostFrames { pack, frames: vec![] }] });
        *self.counts.entry("pack gone").or_default() += 1;
        self.verify();
    }

    /// Chunks in packs that exist, that standing index objects cover, and that `count`.
    fn available(&self, count: impl Fn(&PackName) -> bool) -> Chunks {
        let head = self.head();
        let claims = head.indexes().keys().flat_map(|i| self.claims(i)).filter(|(pack, _)| count(pack));
        let real = claims.map(|(pack, set)| set & self.packs.get(pack).copied().unwrap_or(0));
        real.fold(0, |all, set| all | set)
    }

    pub fn pack_name(&mut self, session: SessionId) -> PackName {
        PackName { session, class: PackClass::Content, hash: self.hash() }
    }

    pub fn put_index(&mut self, session: SessionId, packs: Vec<(PackName, Chunks)>) -> IndexName {
        let name = IndexName { session, hash: self.hash() };
        self.indexes.insert(name, packs);
        name
    }

    pub fn put_snapshot(&mut self, stored: Stored) -> SnapshotId {
        let id = SnapshotId(self.hash().0);
        self.snapshots.insert(id, stored);
        id
    }

    /// What an index object claims.
    pub fn claims(&self, index: &IndexName) -> &[(PackName, Chunks)] {
        self.indexes.get(index).map_or(&[], Vec::as_slice)
    }

    /// The invariant: every chunk of every snapshot on the list is in a pack that exists and that a standing index
    /// object covers; and every snapshot that was reported as taken is on the list or was forgotten.
    pub fn verify(&mut self) {
        let head = self.head();
        let available = self.available(|_| true);
        let said = |p: &&PackName| p.session.is_of(&STOLEN) || self.said_lost.contains(*p);
        if let Some(pack) = head.lost().keys().find(|p| !said(p)) {
            self.loss = Some(format!("a stolen key has others store {pack} anew at step {}", self.time));
        }
        for id in head.snapshots().keys().filter(|id| !self.hurt.contains(*id)) {
            match self.snapshots.get(id) {
                None => self.loss = Some(format!("snapshot object {id:?} at step {}", self.time)),
                Some(s) if s.chunks & !available != 0 => {
                    let missing = s.chunks & !available;
                    self.loss = Some(format!("chunks {missing:#x} of {id:?} at step {}", self.time));
                }
                Some(_) => {}
            }
        }
        let gone = self.told.iter().find(|s| !head.snapshots().contains_key(s) && !self.forgotten.contains(s));
        if let Some(id) = gone {
            self.loss = Some(format!("snapshot {id:?}, reported as taken, at step {}", self.time));
        }
    }
}

/// A wrapped key that nobody opens here.
pub fn wrapped() -> WrappedKey {
    WrappedKey { epoch: 1, ephemeral: [0; 32], sealed: [0; 48] }
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Open { adopts: Some(_), .. } => "adopt",
        Body::Open { .. } => "open",
        Body::Commit { replaces, .. } if !replaces.is_empty() => "replace",
        Body::Commit { snapshot: None, .. } => "commit without snapshot",
        Body::Commit { .. } => "commit",
        Body::Forget { .. } => "forget",
        Body::Condemn { .. } => "condemn",
        Body::Fence { .. } => "fence",
        Body::Lost { .. } => "lost",
        Body::Found { .. } => "found",
        Body::Vouch { .. } => "vouch",
        Body::Writers { .. } => "writers",
        Body::Retire { .. } => "retire",
        Body::Epoch { .. } => "epoch",
        Body::Remark { .. } => "remark",
    }
}
