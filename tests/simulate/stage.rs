//! Where actors play: one at a time asks the store, and a seed says who is next, who falls asleep, and whose request fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use onefold::repo::{Repo, world};
use onefold::run::ChunkId;
use onefold::store::Store;
use onefold::store::memory::Memory;
use onefold::watch::{Problem, Watch};
use onefold::{Error, Kind, Result};
use repo_format::credential::Unlock;
use repo_format::id::SnapshotId;
use repo_format::keyfile::KeyFile;
use repo_format::names::PackName;

use super::Plain;
use crate::dice::Dice;

/// Of seeds that follow each other, streams that do not.
pub fn dice(seed: u64) -> Dice {
    Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
}

/// What must be there, whatever happens.
#[derive(Default)]
pub struct Model {
    /// Snapshots of which a writer was told that they stand.
    pub kept: BTreeMap<SnapshotId, Plain>,
    /// Those that somebody began to forget.
    pub forgotten: BTreeSet<SnapshotId>,
    /// Objects that were lost or damaged by themselves, by name.
    pub struck: BTreeSet<String>,
    /// What lay in the packs among them.
    pub harmed: BTreeSet<ChunkId>,
    /// What the index objects among them named: nobody finds it until a repair.
    pub unnamed: BTreeSet<ChunkId>,
    /// The packs that they named.
    pub nameless: BTreeSet<PackName>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Model {
    /// Whether what is said to be wrong is what happened to an object by itself: it is named, or a chunk of it is.
    pub fn explains(&self, e: &Error) -> bool {
        let said = e.to_string();
        let mut chunks = self.harmed.iter().chain(&self.unnamed);
        matches!(e.kind(), Kind::Damaged | Kind::NotFound)
            && (self.struck.iter().any(|name| said.contains(name)) || chunks.any(|id| said.contains(&id.to_string())))
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// The store, the model, and whose turn it is.
pub struct Stage {
    pub store: Arc<dyn Store>,
    pub model: Mutex<Model>,
    turns: Mutex<Turns>,
    turn: Condvar,
    told: Mutex<Vec<String>>,
}

struct Turns {
    dice: Dice,
    step: u64,
    last: u64,
    current: usize,
    actors: Vec<Actor>,
}

#[derive(Clone, Copy, Default)]
struct Actor {
    gone: bool,
    asleep_until: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    /// Done, and reported failed.
    LostReply,
    /// The process dies before it.
    Dies,
    /// The process dies after it.
    DiesAfter,
}

impl Stage {
    pub fn new(seed: u64, actors: usize, steps: u64) -> Arc<Stage> {
        let turns =
            Turns { dice: dice(seed), step: 0, last: steps, current: 0, actors: vec![Actor::default(); actors] };
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let (model, told) = (Mutex::default(), Mutex::default());
        Arc::new(Stage { store, model, turns: Mutex::new(turns), turn: Condvar::new(), told })
    }

    /// Notes what happens, for [`Stage::story`].
    pub fn tell(&self, what: String) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// What happened, a line each.
    pub fn story(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Lets `play` have processes of `actor` until the play is over.
    pub fn act(self: &Arc<Stage>, actor: usize, key: u8, play: &mut dyn FnMut(&Process, &mut Dice)) {
        let mut dice = self::dice(actor as u64 ^ self.turns.lock().unwrap().dice.0);
        // Clocks are wrong by up to a year, each by something else.
        world::shift(dice.below(2 * 365 * 86_400_000) as i64 - 365 * 86_400_000);
        let _leaves = Leaves(self, actor);
        while !self.is_over() {
            let alive = Arc::new(AtomicBool::new(true));
            play(&Process { stage: self.clone(), actor, key, alive }, &mut dice);
        }
    }

    pub fn is_over(&self) -> bool {
        let turns = self.turns.lock().unwrap();
        turns.step >= turns.last
    }

    /// Waits for the actor's turn, asks, and passes the turn on.
    fn ask<T>(
        &self,
        (actor, alive): (usize, &AtomicBool),
        (verb, name): (&str, &str),
        request: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut turns = self.turns.lock().unwrap();
        while turns.current != actor {
            turns = self.turn.wait(turns).unwrap();
        }
        let dead = || Error::new(Kind::Io, name, "the process is dead");
        let fate = if alive.load(Ordering::SeqCst) { turns.fate() } else { Fate::Dies };
        let answer = match fate {
            Fate::Done => request(),
            Fate::Refused => Err(Error::new(Kind::Io, name, "refused")),
            Fate::LostReply => request().and_then(|_| Err(Error::new(Kind::Io, name, "the reply was lost"))),
            Fate::DiesAfter => request().and_then(|_| Err(dead())),
            Fate::Dies => Err(dead()),
        };
        if matches!(fate, Fate::Dies | Fate::DiesAfter) {
            alive.store(false, Ordering::SeqCst);
        }
        let how = answer.as_ref().map_or_else(|e| e.to_string(), |_| String::new());
        self.tell(format!("{}: {actor} {verb} {name}: {fate:?} {how}", turns.step));
        turns.end_step(actor);
        self.turn.notify_all();
        answer
    }
}

/// An actor leaves the stage, and if by a panic, the play is over.
struct Leaves<'a>(&'a Stage, usize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.actors[self.1].gone = true;
        if thread::panicking() {
            turns.last = 0;
        }
        if turns.current == self.1 {
            turns.pass_on();
        }
        self.0.turn.notify_all();
    }
}

impl Turns {
    fn fate(&mut self) -> Fate {
        if self.step >= self.last {
            return Fate::Done;
        }
        match self.dice.below(1000) {
            0 | 1 => Fate::Refused,
            2 | 3 => Fate::LostReply,
            4 => Fate::Dies,
            5 => Fate::DiesAfter,
            _ => Fate::Done,
        }
    }

    fn end_step(&mut self, actor: usize) {
        self.step += 1;
        if self.step < self.last && self.dice.one_in(60) {
            // Mostly short, sometimes longer than others need for many nights.
            let length = if self.dice.one_in(3) { 400 } else { 30 };
            self.actors[actor].asleep_until = self.step + self.dice.below(length);
        }
        // Actors ask several times in turn, so that one gets far while others stand still.
        if self.actors[actor].asleep_until > self.step || self.dice.one_in(3) {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        let here: Vec<usize> = (0..self.actors.len()).filter(|at| !self.actors[*at].gone).collect();
        let awake: Vec<usize> = here
            .iter()
            .copied()
            .filter(|at| self.actors[*at].asleep_until <= self.step || self.step >= self.last)
            .collect();
        if !awake.is_empty() {
            self.current = awake[self.dice.below(awake.len() as u64) as usize];
        } else if let Some(first) = here.into_iter().min_by_key(|at| self.actors[*at].asleep_until) {
            self.step = self.step.max(self.actors[first].asleep_until);
            self.current = first;
        }
    }
}

/// A process of an actor: it lives until a request kills it.
pub struct Process {
    pub stage: Arc<Stage>,
    actor: usize,
    key: u8,
    alive: Arc<AtomicBool>,
}

impl Process {
    /// Opens the repository with the actor's key, as a new process does.
    pub fn open(&self) -> Result<Repo> {
        let store: Arc<dyn Store> =
            Arc::new(Seat { stage: self.stage.clone(), actor: self.actor, alive: self.alive.clone() });
        Repo::open(store, Unlock::KeyFile(&KeyFile::from_bytes([self.key; 32])), None)
    }

    pub fn count(&self, what: &'static str) {
        self.stage.tell(format!("{}: {what}", self.actor));
        self.stage.model.lock().unwrap().count(what);
    }

    /// What may go wrong where nothing is wrong, but for what happened to objects by itself.
    pub fn allow(&self, what: &str, e: &Error) {
        let is_harm = self.stage.model.lock().unwrap().explains(e);
        assert!(is_harm || matches!(e.kind(), Kind::Io | Kind::Busy), "{what}: {e} ({:?})", e.kind());
        self.count(if e.kind() == Kind::Busy { "to be run again" } else { "failed" });
    }

    /// What was said to be wrong: an index object is, only where something happened to it, however many prunes replace others meanwhile.
    /// What is said of packs that it names is another matter.
    pub fn hears(&self, watch: &Watch) {
        let model = self.stage.model.lock().unwrap();
        let is_struck = |problem: &Problem| model.struck.iter().any(|name| problem.subject.contains(name));
        let is_of_index =
            |problem: &Problem| problem.subject.starts_with("index/") && !problem.message.contains("pack/");
        let wrong = watch.problems().into_iter().find(|problem| is_of_index(problem) && !is_struck(problem));
        assert!(wrong.is_none(), "an administrator hears {wrong:?}");
    }

    /// Something happens to the store when it is this actor's turn, which nobody asked for.
    pub fn happens(&self, name: &str, what: impl FnOnce(&dyn Store) -> Result<()>) -> Result<()> {
        self.stage.ask((self.actor, &self.alive), ("suffers", name), || what(&*self.stage.store))
    }

    /// Sleeps while others ask so often.
    pub fn sleep_for(&self, steps: u64) {
        let now = self.stage.turns.lock().unwrap().step;
        self.sleep_until(now + steps);
    }

    /// Sleeps until others have asked so often in all.
    pub fn sleep_until(&self, step: u64) {
        self.stage.turns.lock().unwrap().actors[self.actor].asleep_until = step;
        // The turn is passed on with this.
        let _ = self.happens("sleep", |_| Ok(()));
    }
}

/// The store as a process has it.
struct Seat {
    stage: Arc<Stage>,
    actor: usize,
    alive: Arc<AtomicBool>,
}

impl Seat {
    fn ask<T>(&self, verb: &str, name: &str, request: impl FnOnce(&dyn Store) -> Result<T>) -> Result<T> {
        self.stage.ask((self.actor, &self.alive), (verb, name), || request(&*self.stage.store))
    }
}

impl Store for Seat {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.ask("creates", name, |store| store.create(name, bytes))
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.ask("reads", name, |store| store.read(name))
    }
    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.ask("reads of", name, |store| store.read_range(name, range))
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let mut found = Vec::new();
        self.ask("lists", folder, |store| {
            store.list(folder, &mut |name, size| {
                found.push((name.to_owned(), size));
                Ok(())
            })
        })?;
        found.iter().try_for_each(|(name, size)| visit(name, *size))
    }
    fn delete(&self, name: &str) -> Result<()> {
        self.ask("deletes", name, |store| store.delete(name))
    }
    fn concurrency(&self) -> usize {
        2
    }
    fn place(&self) -> String {
        "stage".to_owned()
    }
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}
