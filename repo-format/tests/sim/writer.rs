//! A writer's program, one step at a time; and a stolen writer's key.

use super::{Append, Chunks, STOLEN, Stored, UNIVERSE, World, wrapped};
use repo_format::id::{SessionId, SnapshotId, WriterId};
use repo_format::log::{Body, LostFrames};
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};
use std::rc::Rc;

/// One process. Several may run for one writer, when the first was thought dead.
#[derive(Clone)]
pub struct Writer {
    pub id: WriterId,
    pub clock: i64,
    phase: Phase,
    known: Rc<State>,
    session: SessionId,
    data: Chunks,
    todo: Chunks,
    from_base: Chunks,
    reused: Vec<(PackName, Chunks)>,
    pending: Chunks,
    unindexed: Vec<(PackName, Chunks)>,
    indexes: Vec<IndexName>,
    late: Vec<(PackName, Chunks)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Open { adopts: Option<SessionId>, base: Option<SnapshotId> },
    Work,
    Upload { then_index: bool },
    Index,
    Check,
    Commit { snapshot: SnapshotId },
}

impl Writer {
    pub fn new(world: &World, id: WriterId, clock: i64, data: Chunks) -> Writer {
        Writer {
            id,
            clock,
            phase: Phase::Idle,
            known: world.head(),
            session: SessionId([0; 16]),
            data,
            todo: 0,
            from_base: 0,
            reused: Vec::new(),
            pending: 0,
            unindexed: Vec::new(),
            indexes: Vec::new(),
            late: Vec::new(),
        }
    }

    /// A kill: memory is gone, the store keeps what it has.
    pub fn crash(&mut self, world: &World) {
        *self = Writer::new(world, self.id, self.clock, self.data);
    }

    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    fn now(&self, world: &World) -> u64 {
        world.time.saturating_add_signed(self.clock)
    }

    pub fn step(&mut self, world: &mut World) {
        match self.phase {
            Phase::Idle => self.start(world),
            Phase::Open { adopts, base } => self.open(world, adopts, base),
            Phase::Work => self.work(world),
            Phase::Upload { then_index } => self.upload(world, then_index),
            Phase::Index => self.index(world),
            Phase::Check => self.check(world),
            Phase::Commit { snapshot } => self.commit(world, snapshot),
        }
    }

    fn start(&mut self, world: &mut World) {
        self.known = world.head();
        // The source changes a little from night to night.
        self.data ^= world.rng.chunks(2);
        self.data |= 1 << world.rng.below(u64::from(UNIVERSE));
        let own: Vec<SnapshotId> = self.known.snapshots().keys().copied().collect();
        let own: Vec<SnapshotId> = own.into_iter().filter(|s| !world.hurt.contains(s)).collect();
        let own: Vec<SnapshotId> =
            own.into_iter().filter(|s| world.snapshots.get(s).is_some_and(|s| s.writer == self.id)).collect();
        let base = if world.rng.one_in(3) { None } else { world.rng.pick(&own).copied() };
        let left: Vec<SessionId> = self.known.open_sessions().keys().filter(|s| s.is_of(&self.id)).copied().collect();
        let adopts = if world.rng.one_in(3) || !world.protocol.adopts { None } else { world.rng.pick(&left).copied() };
        self.session = SessionId::new(self.known.n() + 1, &self.id);
        self.phase = Phase::Open { adopts, base };
    }

    fn open(&mut self, world: &mut World, adopts: Option<SessionId>, base: Option<SnapshotId>) {
        let bases = base.into_iter().collect();
        let body = Body::Open { session: self.session, key: wrapped(), adopts, bases };
        let (known, now) = (self.known.clone(), self.now(world));
        match world.append(&known, self.id, now, body) {
            Append::Done => {}
            Append::Taken | Append::Void => return self.crash(world),
        }
        self.known = world.head();
        // Where frames were lost, what lies under a base is looked up like all else.
        if let Some(base) = base.filter(|_| self.known.lost().is_empty()) {
            // Subtrees equal to the base's are skipped unread: not looked up, not looked at again.
            let shared = world.snapshots.get(&base).map_or(0, |s| s.chunks) & self.data;
            self.from_base = shared & world.rng.next();
        }
        let adopted = self.known.open_sessions().get(&self.session).map_or(&[][..], |s| &s.adopted);
        self.indexes = world.indexes.keys().filter(|i| adopted.contains(&i.session)).copied().collect();
        self.todo = self.data & !self.from_base;
        self.phase = Phase::Work;
    }

    /// Places of a chunk that a new snapshot may rely on.
    fn find(&self, world: &World, chunk: Chunks) -> Option<PackName> {
        let trusted = |i: &&IndexName| self.known.trusts(&self.id, i) || !world.protocol.trusts_own_and_vouched;
        let standing = self.known.indexes().keys().filter(trusted);
        let mut places = standing.chain(&self.indexes).flat_map(|i| world.claims(i));
        places.find(|(pack, set)| set & chunk != 0 && self.known.usable(pack, 0)).map(|(pack, _)| *pack)
    }

    fn work(&mut self, world: &mut World) {
        if world.rng.one_in(4) {
            self.known = world.head();
        }
        if self.todo == 0 {
            self.phase = Phase::Upload { then_index: true };
            return;
        }
        for _ in 0..=world.rng.below(4) {
            let chunk = self.todo & self.todo.wrapping_neg();
            self.todo &= !chunk;
            match self.find(world, chunk) {
                Some(pack) => self.reused.push((pack, chunk)),
                None => self.pending |= chunk,
            }
        }
        if self.pending.count_ones() >= 3 {
            self.phase = Phase::Upload { then_index: world.rng.one_in(2) };
        }
    }

    fn upload(&mut self, world: &mut World, then_index: bool) {
        if self.pending != 0 {
            let pack = (world.pack_name(self.session), self.pending);
            self.pending = 0;
            self.unindexed.push(pack);
            if world.protocol.writes_in_order || world.rng.one_in(2) {
                world.packs.insert(pack.0, pack.1);
            } else {
                self.late.push(pack);
            }
        }
        self.phase = if then_index { Phase::Index } else { Phase::Work };
    }

    fn index(&mut self, world: &mut World) {
        if !self.unindexed.is_empty() {
            let packs = std::mem::take(&mut self.unindexed);
            self.indexes.push(world.put_index(self.session, packs));
        }
        self.phase = if self.todo == 0 { Phase::Check } else { Phase::Work };
    }

    /// Reads the log and replaces what was condemned or lost since it was reused.
    fn check(&mut self, world: &mut World) {
        self.known = world.head();
        let is_open = self.known.open_sessions().contains_key(&self.session);
        if !is_open && world.protocol.reads_all_before {
            // An honest writer stops here. Now and then one tries all the same, for the state must not rely on it.
            if !world.rng.one_in(3) {
                return self.crash(world);
            }
        }
        if self.from_base != 0 && !self.known.lost().is_empty() {
            self.todo = std::mem::take(&mut self.from_base);
            self.phase = Phase::Work;
            return;
        }
        if world.protocol.commit_replaces_condemned {
            let (keep, gone): (Vec<_>, Vec<_>) = self.reused.iter().partition(|(p, _)| self.known.usable(p, 0));
            self.reused = keep;
            for (pack, chunk) in gone {
                match self.find(world, chunk) {
                    Some(other) => self.reused.push((other, chunk)),
                    // Its frame is copied as it is, if the pack still exists.
                    None if world.packs.get(&pack).is_some_and(|set| set & chunk != 0) => self.pending |= chunk,
                    None => return self.crash(world),
                }
            }
            if self.pending != 0 {
                *world.counts.entry("replaced from condemned").or_default() += 1;
                self.phase = Phase::Upload { then_index: true };
                return;
            }
        }
        let stored = Stored { session: self.session, writer: self.id, chunks: self.data };
        self.phase = Phase::Commit { snapshot: world.put_snapshot(stored) };
    }

    fn commit(&mut self, world: &mut World, snapshot: SnapshotId) {
        self.indexes.sort_unstable();
        let indexes = self.indexes.clone();
        let body = Body::Commit { session: self.session, snapshot: Some(snapshot), indexes, replaces: vec![] };
        let (basis, now) = (world.basis(&self.known), self.now(world));
        match world.append(&basis, self.id, now, body) {
            Append::Taken => self.phase = Phase::Check,
            Append::Void => self.crash(world),
            Append::Done => {
                // A reply may be lost: then it is taken, and nobody was told.
                if !world.rng.one_in(10) {
                    world.told.insert(snapshot);
                }
                world.verify();
                for (pack, set) in std::mem::take(&mut self.late) {
                    world.packs.insert(pack, set);
                }
                self.crash(world);
            }
        }
    }
}

/// Someone with a stolen *write* key: signs whatever the log accepts.
pub fn stolen_key_step(world: &mut World) {
    let id = STOLEN;
    let head = world.head();
    let ended = world.packs.keys().map(|p| p.session);
    let sessions: Vec<SessionId> = head.open_sessions().keys().copied().chain(ended).collect();
    let packs: Vec<PackName> = world.packs.keys().copied().collect();
    let others = world.rng.pick(&sessions).copied();
    let pack = world.rng.pick(&packs).copied();
    let own: Vec<SessionId> = head.open_sessions().keys().filter(|s| s.is_of(&id)).copied().collect();
    let snapshots: Vec<SnapshotId> = head.snapshots().keys().copied().collect();
    let indexes: Vec<IndexName> = head.indexes().keys().copied().collect();
    let body = match (world.rng.below(9), own.first(), pack, others) {
        (0..=2, None, ..) => {
            Body::Open { session: SessionId::new(head.n() + 1, &id), key: wrapped(), adopts: None, bases: vec![] }
        }
        (0..=2, Some(session), ..) => {
            // Claims chunks that were never stored.
            let nowhere = world.pack_name(*session);
            let claim = world.rng.next();
            let index = world.put_index(*session, vec![(nowhere, claim)]);
            Body::Commit { session: *session, snapshot: None, indexes: vec![index], replaces: vec![] }
        }
        (3, ..) => Body::Lost { lost: packs.into_iter().map(|pack| LostFrames { pack, frames: vec![] }).collect() },
        (8, ..) => Body::Found { packs: head.lost().keys().copied().collect() },
        (4, _, Some(pack), _) => Body::Condemn { computed: head.n(), packs: vec![pack] },
        (5, _, _, Some(session)) => Body::Fence { session },
        (6, ..) => Body::Forget { snapshots: snapshots.clone() },
        (7, _, _, Some(session)) => Body::Commit { session, snapshot: None, indexes: vec![], replaces: indexes },
        _ => Body::Vouch { indexes, snapshots },
    };
    world.append(&head, id, 0, body);
    world.verify();
}
