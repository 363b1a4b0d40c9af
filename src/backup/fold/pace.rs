//! How far the ranges of a shard are written, so that those who are ahead wait.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Ranges are read at the same time and written one after the other. What is read of a later one waits in memory, of which
/// each has a share.
pub struct Pace {
    share: usize,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// The range that is written now.
    turn: usize,
    /// Bytes that wait, by range.
    waiting: BTreeMap<usize, usize>,
    /// Nothing is written any more.
    over: bool,
}

impl Pace {
    /// Of each range, `share` bytes may wait.
    pub fn new(share: usize) -> Pace {
        Pace { share, state: Mutex::default(), moved: Condvar::new() }
    }

    /// Waits until all ranges before are written.
    pub fn wait_for_turn(&self, range: usize) {
        drop(self.wait_while(|state| state.turn < range));
    }

    /// Waits until so many bytes of a range have room besides those that wait, or no others of it wait. They wait from then on.
    pub fn wait_for_room(&self, range: usize, bytes: usize) {
        let is_too_much = |state: &State| state.waiting.get(&range).is_some_and(|w| *w > 0 && w + bytes > self.share);
        let mut state = self.wait_while(is_too_much);
        *state.waiting.entry(range).or_default() += bytes;
    }

    /// So many bytes of a range are written.
    pub fn written(&self, range: usize, bytes: usize) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(&range) {
            *waiting -= bytes.min(*waiting);
        }
        self.moved.notify_all();
    }

    /// A range is written: it is the next one's turn.
    pub fn ended(&self, range: usize) {
        let mut state = self.lock();
        state.waiting.remove(&range);
        state.turn = range + 1;
        self.moved.notify_all();
    }

    /// Lets go of all who wait: nothing is written any more.
    pub fn give_up(&self) {
        self.lock().over = true;
        self.moved.notify_all();
    }

    fn wait_while(&self, must_wait: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !state.over && must_wait(state);
        self.moved.wait_while(self.lock(), waits).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
