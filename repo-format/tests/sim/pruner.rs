//! The administrator's programs: forget, fence, vouch, mark and condemn, delete, merge index objects, retire.
//! Two run at once. Each has the administrator's key and a writer's key that may vouch.

use super::{ADMIN, Append, Chunks, Rng, World, wrapped};
use repo_format::id::{SessionId, SnapshotId, WriterId};
use repo_format::log::{Body, LostFrames};
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

#[derive(Clone)]
pub struct Pruner {
    pub id: WriterId,
    pub clock: i64,
    job: Job,
    /// Steps for which it does nothing but finish what it condemned.
    hurry: u32,
}

#[derive(Clone)]
enum Job {
    Idle,
    /// An entry of the administrator, to be written after `known`.
    Write {
        known: Rc<State>,
        body: Body,
    },
    /// Opens a session for what follows.
    Open {
        known: Rc<State>,
        session: SessionId,
        then: Then,
    },
    /// Writes the objects of an open session and commits them.
    Store {
        session: SessionId,
        then: Then,
    },
    Commit {
        known: Rc<State>,
        session: SessionId,
        indexes: Vec<IndexName>,
        replaces: Vec<IndexName>,
    },
    DeletePack(PackName),
    DeleteSnapshot(SnapshotId),
    DeleteIndex(IndexName),
}

#[derive(Clone)]
enum Then {
    /// Copies these chunks into a pack of its own.
    Repack(Chunks),
    /// Merges standing index objects into one.
    Merge,
}

impl Pruner {
    pub fn new(id: WriterId, clock: i64) -> Pruner {
        Pruner { id, clock, job: Job::Idle, hurry: 0 }
    }

    pub fn crash(&mut self) {
        self.job = Job::Idle;
    }

    fn now(&self, world: &World) -> u64 {
        world.time.saturating_add_signed(self.clock)
    }

    pub fn step(&mut self, world: &mut World) {
        match std::mem::replace(&mut self.job, Job::Idle) {
            Job::Idle => self.choose(world),
            Job::Write { known, body } => self.write(world, known, body),
            Job::Open { known, session, then } => {
                let body = Body::Open { session, key: wrapped(), adopts: None, bases: vec![] };
                let now = self.now(world);
                if let Append::Done = world.append(&known, self.id, now, body) {
                    self.job = Job::Store { session, then };
                }
            }
            Job::Store { session, then: Then::Repack(chunks) } => {
                // Only what is there can be copied.
                let chunks = chunks & world.packs.values().fold(0, |all, set| all | set);
                let pack = world.pack_name(session);
                world.packs.insert(pack, chunks);
                let indexes = vec![world.put_index(session, vec![(pack, chunks)])];
                self.job = Job::Commit { known: world.head(), session, indexes, replaces: vec![] };
            }
            Job::Store { session, then: Then::Merge } => self.merge(world, session),
            Job::Commit { known, session, indexes, replaces } => self.commit(world, known, session, indexes, replaces),
            Job::DeletePack(pack) => {
                world.packs.remove(&pack);
                *world.counts.entry("deleted").or_default() += 1;
                world.verify();
            }
            Job::DeleteSnapshot(id) => {
                world.snapshots.remove(&id);
                world.verify();
            }
            Job::DeleteIndex(name) => {
                world.indexes.remove(&name);
                world.verify();
            }
        }
    }

    fn choose(&mut self, world: &mut World) {
        let known = world.head();
        let mut dice = world.rng.below(16);
        if self.hurry > 0 {
            self.hurry -= 1;
            dice = 8 + dice % 3;
        }
        match dice {
            0 | 14 | 15 => {
                let listed: Vec<SnapshotId> = known.snapshots().keys().copied().collect();
                if listed.len() > 1 {
                    let snapshots = world.rng.pick(&listed).into_iter().copied().collect();
                    self.job = Job::Write { known, body: Body::Forget { snapshots } };
                }
            }
            1 if world.protocol.fences => {
                // Silent for long by this clock, which may be wrong by more than that.
                let now = self.now(world);
                let silent = known.open_sessions().iter().filter(|(_, s)| s.time_ms + 60 < now);
                let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
                if let Some(session) = world.rng.pick(&silent).copied() {
                    self.job = Job::Write { known, body: Body::Fence { session } };
                }
            }
            2 if world.rng.one_in(3) => self.doubt(world, known),
            2 => self.vouch(world, known),
            3..=5 => self.mark(world, known),
            6..=8 => self.delete(world, &known),
            9 | 12 => {
                self.job = Job::Open { session: SessionId::new(known.n() + 1, &self.id), known, then: Then::Merge }
            }
            10 | 13 => self.retire(world, known),
            _ => {
                world.trim();
                self.delete_garbage(world, &known);
            }
        }
    }

    /// Where the number was taken, tries the same again on the new state half of the time: what must be computed anew is
    /// for the rules to find out.
    fn write(&mut self, world: &mut World, known: Rc<State>, body: Body) {
        let (basis, now) = (world.basis(&known), self.now(world));
        let condemns = matches!(body, Body::Condemn { .. });
        match world.append(&basis, ADMIN, now, body.clone()) {
            Append::Taken if world.rng.one_in(2) => self.job = Job::Write { known: world.head(), body },
            Append::Done if condemns && world.rng.one_in(2) => self.hurry = 16,
            _ => {}
        }
        world.verify();
    }

    fn vouch(&mut self, world: &mut World, known: Rc<State>) {
        let real = |i: &IndexName| {
            world.claims(i).iter().all(|(p, set)| world.packs.get(p).is_some_and(|have| set & !have == 0))
        };
        let unvouched = known.indexes().iter().filter(|(i, s)| !s.vouched && real(i));
        let indexes: Vec<IndexName> = unvouched.map(|(i, _)| *i).take(2).collect();
        if !indexes.is_empty() {
            self.job = Job::Write { known, body: Body::Vouch { indexes, snapshots: vec![] } };
        }
    }

    /// Takes back losses of packs that it has opened; or, misled by a disk that did not answer, declares one itself.
    fn doubt(&mut self, world: &mut World, known: Rc<State>) {
        let there = |p: &&PackName| world.packs.contains_key(p);
        let found: Vec<PackName> = known.lost().keys().filter(there).copied().collect();
        if !found.is_empty() {
            self.job = Job::Write { known, body: Body::Found { packs: found } };
        } else if let Some(pack) = world.rng.pick(&world.packs.keys().copied().collect::<Vec<_>>()).copied() {
            let lost = vec![LostFrames { pack, frames: vec![] }];
            self.job = Job::Write { known, body: Body::Lost { lost } };
        }
    }

    /// Decides what must stay, and condemns or repacks the rest.
    fn mark(&mut self, world: &mut World, known: Rc<State>) {
        let mut keepers: BTreeMap<PackName, Chunks> = BTreeMap::new();
        let held = known.held().iter().filter(|_| world.protocol.prune_marks_held);
        let needed: Vec<SnapshotId> = known.snapshots().keys().chain(held).copied().collect();
        let flip = world.rng.one_in(2);
        for id in needed {
            let Some(snapshot) = world.snapshots.get(&id) else {
                world.loss = Some(format!("snapshot object {id:?} is needed for marking"));
                return;
            };
            keep(world, &known, snapshot.writer, snapshot.chunks, flip, &mut keepers);
        }
        if world.rng.one_in(3) {
            let some: Vec<Chunks> = keepers.values().copied().collect();
            if let Some(chunks) = world.rng.pick(&some).copied().filter(|c| *c != 0) {
                self.job =
                    Job::Open { session: SessionId::new(known.n() + 1, &self.id), known, then: Then::Repack(chunks) };
            }
            return;
        }
        let spared = |p: &&PackName| known.spared(&p.session) && world.protocol.state.condemn_spares_open_sessions;
        let free = |p: &&PackName| !keepers.contains_key(p) && !known.condemned().contains_key(p) && !spared(p);
        let packs: Vec<PackName> = world.packs.keys().filter(free).copied().collect();
        if packs.is_empty() {
            return;
        }
        if !world.protocol.deletes_condemned_only {
            self.job = Job::DeletePack(packs[0]);
            return;
        }
        self.job = Job::Write { body: Body::Condemn { computed: known.n(), packs }, known };
    }

    /// Deletes a pack whose grace is over by this clock.
    fn delete(&mut self, world: &mut World, known: &Rc<State>) {
        let packs: Vec<PackName> = known.condemned().keys().filter(|p| world.packs.contains_key(p)).copied().collect();
        let Some(pack) = world.rng.pick(&packs).copied() else { return };
        let since = self.now(world).saturating_sub(known.time_ms());
        if since >= world.protocol.grace || self.hurry > 0 {
            self.job = Job::DeletePack(pack);
        }
    }

    /// Snapshots that are not needed, and index objects that do not stand, of sessions that are over.
    fn delete_garbage(&mut self, world: &mut World, known: &Rc<State>) {
        let needed = |id: &SnapshotId| known.snapshots().contains_key(id) || known.held().contains(id);
        let garbage = world.snapshots.iter().filter(|(id, s)| !needed(id) && !known.spared(&s.session));
        let garbage: Vec<SnapshotId> = garbage.map(|(id, _)| *id).collect();
        if let Some(id) = world.rng.pick(&garbage).copied() {
            self.job = Job::DeleteSnapshot(id);
        }
        let fallen = |i: &&IndexName| !known.indexes().contains_key(*i) && !known.spared(&i.session);
        let fallen: Vec<IndexName> = world.indexes.keys().filter(fallen).copied().collect();
        if let Some(name) = world.rng.pick(&fallen).copied().filter(|_| world.time.is_multiple_of(2)) {
            self.job = Job::DeleteIndex(name);
        }
    }

    /// Merges some standing index objects, leaving out condemned packs and what turned out not to be there.
    fn merge(&mut self, world: &mut World, session: SessionId) {
        let known = world.head();
        let all: Vec<IndexName> = known.indexes().keys().copied().collect();
        let mut rng = Rng(world.rng.next());
        let targeted = rng.one_in(2);
        // Those that cover a condemned pack, so that it can be retired; or any.
        let covers = |i: &IndexName| world.claims(i).iter().any(|(pack, _)| known.condemned().contains_key(pack));
        let replaces: Vec<IndexName> =
            all.into_iter().filter(|i| if targeted { covers(i) } else { rng.one_in(2) }).collect();
        let mut rows: BTreeMap<PackName, Chunks> = BTreeMap::new();
        let drop_more = !world.protocol.merge_keeps_coverage;
        for (pack, set) in replaces.iter().flat_map(|i| world.claims(i)) {
            let real = set & world.packs.get(pack).copied().unwrap_or(0);
            let condemned = known.condemned().contains_key(pack) || (drop_more && pack.hash.0[0] < 32);
            if real != 0 && !condemned {
                *rows.entry(*pack).or_default() |= real;
            }
        }
        let indexes = vec![world.put_index(session, rows.into_iter().collect())];
        self.job = Job::Commit { known, session, indexes, replaces };
    }

    fn commit(
        &mut self,
        world: &mut World,
        known: Rc<State>,
        session: SessionId,
        indexes: Vec<IndexName>,
        replaces: Vec<IndexName>,
    ) {
        let body = Body::Commit { session, snapshot: None, indexes: indexes.clone(), replaces: replaces.clone() };
        let (basis, now) = (world.basis(&known), self.now(world));
        if let Append::Taken = world.append(&basis, self.id, now, body) {
            self.job = Job::Commit { known: world.head(), session, indexes, replaces };
        }
        world.verify();
    }

    fn retire(&mut self, world: &mut World, known: Rc<State>) {
        let covered: BTreeSet<PackName> =
            known.indexes().keys().flat_map(|i| world.claims(i)).map(|(pack, _)| *pack).collect();
        let ready =
            |p: &&PackName| !world.packs.contains_key(p) && (!covered.contains(p) || !world.protocol.retires_uncovered);
        let oldest = known.open_sessions().keys().next().map_or(u64::MAX, SessionId::opened);
        let may = |n: &u64| *n < oldest || !world.protocol.state.retire_waits;
        let packs: Vec<PackName> =
            known.condemned().iter().filter(|(p, n)| ready(p) && may(n)).map(|(p, _)| *p).collect();
        if !packs.is_empty() {
            self.job = Job::Write { known, body: Body::Retire { packs } };
        }
    }
}

/// Picks, for every chunk, one usable place that the snapshot's writer trusts; where there is none, keeps every place.
fn keep(
    world: &World,
    known: &State,
    writer: WriterId,
    mut chunks: Chunks,
    flip: bool,
    keepers: &mut BTreeMap<PackName, Chunks>,
) {
    let mut places = Vec::new();
    for index in known.indexes().keys() {
        let trusted = known.trusts(&writer, index) || !world.protocol.prune_counts_trusted;
        places.extend(world.claims(index).iter().map(|(pack, set)| (*pack, *set, trusted && known.usable(pack, 0))));
    }
    if flip {
        places.reverse();
    }
    for (pack, set, _) in places.iter().filter(|(.., good)| *good) {
        if set & chunks != 0 {
            *keepers.entry(*pack).or_default() |= set & chunks;
            chunks &= !set;
        }
    }
    for (pack, set, _) in places.iter().filter(|(_, set, _)| set & chunks != 0) {
        *keepers.entry(*pack).or_default() |= set & chunks;
    }
}
