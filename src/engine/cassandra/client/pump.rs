//! Writing many statements: several at once, none faster than allowed, and so that a killed restore can go on.
//!
//! Units (the statements of one record) are numbered as they come. A unit counts as done when it and all before it were
//! acknowledged; its position is then handed to a [`Checkpoint`], one at a time. No unit is sent that is more than a
//! window ahead of the last checkpoint, which bounds what is sent twice after a kill.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::{ATTEMPTS, Client, Shared, failed, passes, pause};
use crate::engine::cassandra::mutate::{Append, Mutation};
use crate::engine::cassandra::value::Parts;
use crate::error::{Error, Kind, Result};

/// Bytes of statements in flight; one larger statement may pass it.
const BYTES_MAX: usize = 32 << 20;
/// How many units may be ahead of the last checkpoint: a 500th of the rows that are done, within these bounds. A run that
/// follows interrupted ones has a part of that, so that even fifty of them send less than a hundredth of 20,000 rows twice.
const AHEAD: (u64, u64) = (32, 2048);
const AHEAD_OF: u64 = 500;
/// The least that is left to a run, however often there was one before.
const AHEAD_MIN: u64 = 2;
/// Units that wait to be sent.
const QUEUE: usize = 64;

/// The statements of one record.
#[derive(Debug, Default)]
pub struct Unit {
    /// Where the records are when it is done.
    pub position: Vec<u8>,
    /// Sent one after the other.
    pub mutations: Vec<Mutation>,
    /// Rows in it, for rates and reports.
    pub rows: u64,
}

impl Unit {
    fn bytes(&self) -> usize {
        self.mutations.iter().map(Mutation::bytes).sum()
    }
}

/// Keeps positions safe.
pub trait Checkpoint: Send + Sync {
    /// All up to `position`, `rows` in all, is acknowledged. Returns when that is on disk.
    fn save(&self, position: &[u8], rows: u64) -> Result<()>;
    /// Seconds since 1970, for TTLs.
    fn now(&self) -> u32;
}

/// A limit of speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Rows a second.
    Rows(u64),
    /// Bytes of values a second.
    Bytes(u64),
}

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    /// Units in flight at once, as far as the distance to the last checkpoint allows.
    pub concurrency: usize,
    /// No limit where absent.
    pub rate: Option<Rate>,
    /// How many runs of the same restore were interrupted before.
    pub runs_before: u64,
    /// Rows that they had saved as done.
    pub rows_before: u64,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Rows.
    pub rows: u64,
    /// Statements.
    pub statements: u64,
    /// Bytes of values.
    pub bytes: u64,
}

impl Sent {
    /// Adds what else was sent.
    pub fn add(&mut self, other: Sent) {
        self.rows += other.rows;
        self.statements += other.statements;
        self.bytes += other.bytes;
    }
}

impl Client {
    /// Writes the units that `next` gives until it gives none, and returns when all are acknowledged and saved.
    ///
    /// Errors: those of `next` and `checkpoint`; a statement that a node refuses, or that did not get through in half a
    /// minute of trying. What was acknowledged before is saved.
    pub fn write(
        &self,
        writing: Writing,
        checkpoint: Arc<dyn Checkpoint>,
        next: &mut (dyn FnMut() -> Result<Option<Unit>> + Send),
    ) -> Result<Sent> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let produce = move || {
            loop {
                let unit = next().transpose();
                let last = unit.as_ref().is_none_or(|unit| unit.is_err());
                // The receiver is gone where writing failed: it tells why.
                if unit.is_none_or(|unit| sender.blocking_send(unit).is_err()) || last {
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(produce);
            let pump = Pump::new(Arc::clone(&self.shared), writing, checkpoint);
            self.runtime.block_on(pump.run(receiver))
        })
    }
}

/// A unit that was sent and is not saved.
struct Pending {
    position: Vec<u8>,
    rows: u64,
    done: bool,
}

struct Pump {
    shared: Arc<Shared>,
    writing: Writing,
    checkpoint: Arc<dyn Checkpoint>,
    sending: JoinSet<Result<(u64, usize)>>,
    saving: JoinSet<Result<()>>,
    pending: VecDeque<Pending>,
    /// Units whose position is on its way to the disk.
    unsaved: u64,
    /// Number of the first in `pending`.
    first: u64,
    in_flight: usize,
    /// Number of rows that the first pending unit and all after it are not among.
    rows_done: u64,
    /// How many units may be pending or unsaved.
    window: u64,
    /// So many units at the beginning may have been sent before.
    again: u64,
    free_at: Instant,
    sent: Sent,
}

impl Pump {
    fn new(shared: Arc<Shared>, writing: Writing, checkpoint: Arc<dyn Checkpoint>) -> Pump {
        let again = if writing.runs_before > 0 { window(writing.rows_before, 0) } else { 0 };
        Pump {
            shared,
            writing,
            checkpoint,
            sending: JoinSet::new(),
            saving: JoinSet::new(),
            pending: VecDeque::new(),
            unsaved: 0,
            first: 0,
            in_flight: 0,
            rows_done: 0,
            window: window(writing.rows_before, writing.runs_before),
            again,
            free_at: Instant::now(),
            sent: Sent::default(),
        }
    }

    async fn run(mut self, mut receiver: mpsc::Receiver<Result<Unit>>) -> Result<Sent> {
        let mut failure = None;
        let mut open = true;
        while open || !self.sending.is_empty() || !self.saving.is_empty() {
            let room = open
                && failure.is_none()
                && self.sending.len() < self.writing.concurrency.max(1)
                && self.in_flight < BYTES_MAX
                && self.pending.len() as u64 + self.unsaved < self.window;
            tokio::select! {
                unit = receiver.recv(), if room => match unit {
                    Some(Ok(unit)) => self.send(unit).await,
                    Some(Err(e)) => (failure, open) = (Some(e), false),
                    None => open = false,
                },
                Some(done) = self.sending.join_next() => match joined(done) {
                    Ok((number, bytes)) => self.acknowledged(number, bytes),
                    Err(e) => (failure, open) = (failure.or(Some(e)), false),
                },
                Some(saved) = self.saving.join_next() => match joined(saved) {
                    Ok(()) => {
                        self.unsaved = 0;
                        let rows = self.writing.rows_before + self.rows_done;
                        self.window = window(rows, self.writing.runs_before);
                        self.save();
                    }
                    Err(e) => (failure, open) = (failure.or(Some(e)), false),
                },
                else => break,
            }
        }
        failure.map_or(Ok(self.sent), Err)
    }

    async fn send(&mut self, unit: Unit) {
        let bytes = unit.bytes();
        self.wait(unit.rows, bytes as u64).await;
        self.sent.rows += unit.rows;
        self.sent.statements += unit.mutations.len() as u64;
        self.sent.bytes += bytes as u64;
        let number = self.first + self.pending.len() as u64;
        self.pending.push_back(Pending { position: unit.position, rows: unit.rows, done: false });
        self.in_flight += bytes;
        let (shared, checkpoint) = (Arc::clone(&self.shared), Arc::clone(&self.checkpoint));
        let again = number < self.again;
        self.sending.spawn(async move {
            for mut mutation in unit.mutations {
                shared.apply(&mut mutation, &*checkpoint, again).await?;
            }
            Ok((number, bytes))
        });
    }

    /// Waits until the rate allows so much more.
    async fn wait(&mut self, rows: u64, bytes: u64) {
        let Some(rate) = self.writing.rate else { return };
        let (cost, each) = match rate {
            Rate::Rows(n) => (rows, n),
            Rate::Bytes(n) => (bytes, n),
        };
        let now = Instant::now();
        tokio::time::sleep_until(self.free_at).await;
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(cost as f64 / each.max(1) as f64);
    }

    fn acknowledged(&mut self, number: u64, bytes: usize) {
        self.in_flight -= bytes;
        let place = number.checked_sub(self.first).and_then(|n| usize::try_from(n).ok());
        if let Some(pending) = place.and_then(|n| self.pending.get_mut(n)) {
            pending.done = true;
        }
        self.save();
    }

    /// Saves how far all is acknowledged, unless that is being done.
    fn save(&mut self) {
        let ready = self.pending.iter().take_while(|p| p.done).count();
        if ready == 0 || !self.saving.is_empty() {
            return;
        }
        let mut position = Vec::new();
        for pending in self.pending.drain(..ready) {
            self.rows_done += pending.rows;
            position = pending.position;
        }
        self.first += ready as u64;
        self.unsaved = ready as u64;
        let (checkpoint, rows) = (Arc::clone(&self.checkpoint), self.rows_done);
        self.saving.spawn_blocking(move || checkpoint.save(&position, rows));
    }
}

/// How many units may be ahead of a checkpoint that has `rows` behind it. Never more than without runs before, and more with
/// more rows: so what any run may have sent beyond a checkpoint is within `window(rows, 0)` units of it.
fn window(rows: u64, runs_before: u64) -> u64 {
    ((rows / AHEAD_OF).clamp(AHEAD.0, AHEAD.1) / (runs_before + 1)).max(AHEAD_MIN)
}

pub(super) fn joined<T>(done: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    done.unwrap_or_else(|e| Err(Error::new(Kind::Io, "CQL client", e)))
}

impl Shared {
    /// Sends a mutation until it is acknowledged. One that must not be sent twice is asked for before it is sent again.
    async fn apply(&self, mutation: &mut Mutation, checkpoint: &dyn Checkpoint, again: bool) -> Result<()> {
        let mut attempt = 0;
        let mut doubtful = again;
        loop {
            if let Some(append) = mutation.append.as_ref().filter(|_| doubtful)
                && self.is_appended(append).await?
            {
                return Ok(());
            }
            mutation.set_ttl(checkpoint.now());
            let Err(error) = self.attempt(&mutation.text, &mutation.values).await else { return Ok(()) };
            attempt += 1;
            if !passes(&error) || attempt >= ATTEMPTS {
                return Err(self.named(failed(&mutation.text, &error), attempt));
            }
            doubtful = true;
            tokio::time::sleep(pause(attempt)).await;
        }
    }

    /// Whether a list has the elements already.
    async fn is_appended(&self, append: &Append) -> Result<bool> {
        let found = self.rows(&append.read, &append.keys).await?;
        let list = found.rows.first().and_then(|row| row.first()?.as_deref());
        let there = list.map_or(Ok(0), |list| Parts::new(list).count(1))?;
        Ok(there >= append.before + append.count)
    }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn fifty_kills_send_at_most_a_hundredth_twice_and_none_holds_a_small_restore_back() {
        for rows in [20_000, 50_000, 1_000_000, 1_000_000_000] {
            let twice: u64 = (0..50).map(|runs_before| window(rows, runs_before)).sum();
            assert!(twice <= rows / 100, "{twice} of {rows}");
        }
        assert_eq!((window(0, 0), window(0, 60), window(1_000_000_000, 0)), (32, 2, 2048));
        for (rows, runs_before) in [(0, 3), (20_000, 1), (3_000_000, 49)] {
            assert!(window(rows, runs_before) <= window(rows, 0) && window(rows, 0) <= window(rows + 5_000, 0));
        }
    }
}
