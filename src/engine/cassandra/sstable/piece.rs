//! An SSTable read in pieces: the partitions of a range of tokens, beginning in the middle of `Data.db`.
//!
//! ```text
//! bounds of the shard       b1           b2              the same for all its SSTables
//! Data.db   ├ piece 1 ───────┤ piece 2 ───┤ piece 3 ─────┤
//!           0               p1           p2            end       as Index.db says
//! ```
//! The index is believed in nothing. A piece fails unless its keys lie in its range and a partition begins where it ends; the
//! next begins there, for both take the place from one look-up. So, if no piece fails, each began where the one before it had
//! decoded to, the first at 0 and the last went on to the end: together they are what is read from the start, whatever the index
//! says. What only the whole file can tell (its digest) is told by the piece that is read last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::digest::{Remark, Seal, Sums};
use super::files::Files;
use super::run::SsTableRun;
use super::{Component, SsTable, digest, seek};
use crate::engine::KeyRange;
use crate::error::{Error, Result};
use crate::run::{RecordBatch, Run};
use crate::volume::{Place, Pooled};

/// What is wrong where no partition begins at the end of a piece.
pub const PLACE: &str = "place of a partition in Index.db, or the file: it";

/// What the pieces of one SSTable share while they are read.
#[derive(Default)]
pub struct Pieces {
    /// `Data.db`, so that all pieces are of one file.
    data: Mutex<Option<Arc<Pooled>>>,
    /// Places of the first partitions from a token on.
    places: Mutex<BTreeMap<i64, Option<u64>>>,
    read: Mutex<Sums>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records of a range of keys of one SSTable. At the end of a range, and of the last that is read, it fails where there would
/// be something to be said of the file.
pub struct Piece {
    run: SsTableRun,
    name: String,
    range: KeyRange,
    /// How it is read.
    way: Way,
    pieces: Arc<Pieces>,
    ended: bool,
}

enum Way {
    /// From the place that the index gives on.
    Sought {
        from: u64,
        /// Where it ends in plain bytes, and the whole file.
        to: u64,
        length: u64,
        digest: Place,
    },
    /// From the start of the file; whether the end of the range was passed.
    Passing { behind: bool },
}

impl SsTable {
    /// Starts reading the records whose keys lie in `range`, which begins and ends between groups: from the first of them on where
    /// `by_index`, Index.db and Summary.db are there; otherwise all from the start, of which those are given.
    pub fn piece(&self, files: &Arc<Files>, range: &KeyRange, pieces: &Arc<Pieces>, by_index: bool) -> Result<Piece> {
        let data = match &mut *lock(&pieces.data) {
            Some(data) => Arc::clone(data),
            none => Arc::clone(none.insert(self.open_data(files)?)),
        };
        if by_index
            && [&range.0, &range.1].into_iter().all(|key| key.is_empty() || token(key).is_some())
            && let Some(piece) = self.sought(files, Arc::clone(&data), range, pieces)?
        {
            return Ok(piece);
        }
        let run = self.run_of(files, data, true)?.announcing();
        Ok(self.piece_of(run, Way::Passing { behind: false }, range, pieces))
    }

    fn piece_of(&self, run: SsTableRun, way: Way, range: &KeyRange, pieces: &Arc<Pieces>) -> Piece {
        let (name, range, pieces) = (self.data().to_string(), range.clone(), Arc::clone(pieces));
        Piece { run, name, range, way, pieces, ended: false }
    }

    /// A piece that begins where the index says; `None` where there are no checksums of chunks.
    fn sought(
        &self,
        files: &Arc<Files>,
        data: Arc<Pooled>,
        range: &KeyRange,
        pieces: &Arc<Pieces>,
    ) -> Result<Option<Piece>> {
        let run = self.run_of(files, data, false)?.announcing();
        let Some(length) = run.plain_length() else { return Ok(None) };
        let place = |key: &[u8]| token(key).map(|token| self.place_of(files, pieces, token, length)).transpose();
        let (from, until) = (place(&range.0)?.unwrap_or(0), place(&range.1)?);
        let to = until.unwrap_or(length);
        if from > to {
            return Err(Error::damaged(self.beside(INDEX), "its places do not ascend"));
        }
        let Some(run) = run.between(from, until)? else { return Ok(None) };
        let way = Way::Sought { from, to, length, digest: self.place(Component::Digest) };
        Ok(Some(self.piece_of(run, way, range, pieces)))
    }

    /// Where the first partition begins whose token is `token` or more. What is wrong with the index is damage, whatever it is:
    /// the rows can be read without it.
    fn place_of(&self, files: &Arc<Files>, pieces: &Pieces, token: i64, length: u64) -> Result<u64> {
        let known = lock(&pieces.places).get(&token).copied();
        let place = match known {
            Some(place) => place,
            None => {
                let open = |name| Pooled::open(&files.pool, &self.beside(name));
                let find = || seek::find(&open(SUMMARY)?, &open(INDEX)?, token);
                let place = find().map_err(|e| e.of_kind(crate::error::Kind::Damaged))?;
                // Whoever comes second takes what the first one found.
                *lock(&pieces.places).entry(token).or_insert(place)
            }
        };
        match place.unwrap_or(length) {
            place if place <= length => Ok(place),
            place => {
                let message = format_args!("says that a partition begins at plain byte {place} of {length}");
                Err(Error::damaged(self.beside(INDEX), message))
            }
        }
    }
}

/// Names of the files that tell where partitions begin.
pub const INDEX: &str = "Index.db";
/// See [`INDEX`].
pub const SUMMARY: &str = "Summary.db";

/// The token that a key consists of, if that is all of it.
fn token(key: &[u8]) -> Option<i64> {
    let bytes = <[u8; 8]>::try_from(key).ok()?;
    Some((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
}

impl Piece {
    /// Whether it holds the file's beginning and none of it is passed over.
    pub fn is_first(&self) -> bool {
        match self.way {
            Way::Sought { from, to, .. } => from == 0 && to > 0,
            Way::Passing { .. } => self.range.0.is_empty(),
        }
    }

    /// How much of the file is done by now, of `bytes` in all: pieces of one file come to all of it.
    pub fn done(&self, bytes: u64) -> u64 {
        match self.way {
            Way::Sought { from, to, length, .. } => {
                let share = |at: u64| (u128::from(bytes) * u128::from(at) / u128::from(length.max(1))) as u64;
                share(self.run.position().clamp(from, to)) - share(from)
            }
            // It is small: the last piece stands for all.
            Way::Passing { .. } if self.ended && self.range.1.is_empty() => bytes,
            Way::Passing { .. } => 0,
        }
    }

    fn outside(&self) -> Error {
        Error::damaged(&self.name, "has keys where its Index.db has others")
    }

    /// The next records of the file that lie in the range.
    fn fill(&mut self, out: &mut RecordBatch) -> Result<bool> {
        loop {
            if matches!(self.way, Way::Passing { behind: true }) || !self.run.next_batch(out)? {
                out.clear();
                return Ok(false);
            }
            let (from, to) = (self.range.0.as_slice(), self.range.1.as_slice());
            let first = if out.is_empty() { out.coming() } else { Some(out.get(0).key) };
            let last = out.coming().or(out.last_key());
            let ends_behind = !to.is_empty() && last.is_some_and(|key| key >= to);
            if !ends_behind && first.is_some_and(|key| key >= from) {
                return Ok(true);
            }
            match &mut self.way {
                Way::Sought { .. } => return Err(self.outside()),
                Way::Passing { behind } => *behind = ends_behind,
            }
            self.leave_within(out);
            if !out.is_empty() || out.coming().is_some() {
                return Ok(true);
            }
        }
    }

    /// Leaves of a batch what lies in the range.
    fn leave_within(&self, out: &mut RecordBatch) {
        let (from, to) = (self.range.0.as_slice(), self.range.1.as_slice());
        let is_within = |key: &[u8]| key >= from && (to.is_empty() || key < to);
        let mut kept = RecordBatch::new();
        out.iter().filter(|record| is_within(record.key)).for_each(|record| kept.push(&record));
        if let Some(key) = out.coming().filter(|key| is_within(key)) {
            kept.set_coming(key);
        }
        out.swap(&mut kept);
    }

    /// All of it was read: is there anything that only reading all of the file can say?
    fn end(&self) -> Result<()> {
        let said = |remark: &Remark| {
            let (Remark::Note(what) | Remark::Problem { what, .. }) = remark;
            Err(Error::damaged(&self.name, what))
        };
        self.run.remarks().iter().try_for_each(said)?;
        let Way::Sought { digest, .. } = &self.way else { return Ok(()) };
        let Some(all) = lock(&self.pieces.read).add(self.run.sum()) else { return Ok(()) };
        let seal = Seal { digest: digest::read(digest)?, bare: false };
        let judged = seal.judge(all.crc()).map_err(|fault| fault.at(&self.name))?;
        judged.iter().try_for_each(said)
    }
}

impl Run for Piece {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if self.ended {
            out.clear();
            return Ok(false);
        }
        let more = self.fill(out)?;
        if !more {
            self.ended = true;
            self.end()?;
        }
        Ok(more)
    }
}
