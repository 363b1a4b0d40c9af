//! Progress of long work, and the problems that did not stop it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Kind, Result};

/// Something that went wrong without ending the work. It goes into the snapshot, the report and the exit status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Problem {
    /// `true`: data are damaged; `false`: something was not covered (a node, a range, a type not understood).
    pub damage: bool,
    /// What was captured is read and understood, and something is not in it that should be.
    #[serde(default)]
    pub gap: bool,
    /// The object and the place.
    pub subject: String,
    /// What is wrong, and what was done about it.
    pub message: String,
}

/// Counts work and collects problems. Held by an operation, shared by its threads.
#[derive(Default)]
pub struct Watch {
    /// Bytes of input in all, as far as known.
    pub bytes_total: AtomicU64,
    /// Bytes of input done.
    pub bytes_done: AtomicU64,
    /// Records written.
    pub records: AtomicU64,
    stop: AtomicBool,
    over: AtomicBool,
    problems: Mutex<Vec<Problem>>,
    left_out: Mutex<Vec<(String, Error)>>,
}

impl Watch {
    /// Nothing done yet.
    pub fn new() -> Watch {
        Watch::default()
    }

    /// Adds to the bytes done.
    pub fn advance(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Remembers a problem.
    pub fn problem(&self, damage: bool, subject: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.add(Problem { damage, gap: false, subject: subject.to_string(), message: message.to_string() });
    }

    /// Remembers that something is not in what was captured, and should be.
    pub fn gap(&self, subject: impl std::fmt::Display, message: impl std::fmt::Display) {
        self.add(Problem { damage: false, gap: true, subject: subject.to_string(), message: message.to_string() });
    }

    fn add(&self, problem: Problem) {
        if let Ok(mut problems) = self.problems.lock() {
            problems.push(problem);
        }
    }

    /// The problems so far.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().map(|p| p.clone()).unwrap_or_default()
    }

    /// Goes on without a node, also where the work begins anew.
    pub fn leave_out(&self, node: String, why: Error) {
        if let Ok(mut left_out) = self.left_out.lock() {
            left_out.push((node, why));
        }
    }

    /// Why it goes on without the node, where it does.
    pub fn left_out(&self, node: &str) -> Option<Error> {
        let left_out = self.left_out.lock().ok()?;
        left_out.iter().find(|(name, _)| name == node).map(|(_, why)| why.again())
    }

    /// Forgets what was done and seen: the work begins anew.
    pub fn begin_anew(&self) {
        self.bytes_done.store(0, Ordering::Relaxed);
        self.records.store(0, Ordering::Relaxed);
        if let Ok(mut problems) = self.problems.lock() {
            problems.clear();
        }
    }

    /// Asks the work to stop at the next safe place.
    pub fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The time that was given is over: the work stops at the next safe place.
    pub fn time_is_over(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the time that was given is over.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Fails once somebody asked the work to stop, or its time is over.
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Interrupted, "interrupted", "the work was ended before it was done"));
        }
        if self.is_over() {
            return Err(Error::new(Kind::Interrupted, "interrupted", "the time that was given is over"));
        }
        Ok(())
    }
}
