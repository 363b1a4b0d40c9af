//! How much a second is asked for, and how long answers take: of a store, and of a machine that is read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What an idle time saves up, at most.
const SAVED: Duration = Duration::from_millis(250);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When what was asked for so far will be paid, at so much a second.
///
/// Whatever is asked for goes at once, whole, and is owed: what comes next waits until the debt is paid.
pub struct Pace {
    a_second: u64,
    until: Mutex<Duration>,
}

impl Pace {
    /// So much a second, one at least.
    pub fn new(a_second: u64) -> Pace {
        Pace { a_second: a_second.max(1), until: Mutex::default() }
    }

    /// Owes `amount` more; how long to wait before what is asked for with it, at `now`.
    pub fn owe(&self, amount: u64, now: Duration) -> Duration {
        let mut until = lock(&self.until);
        let free = (*until).max(now.saturating_sub(SAVED));
        *until = free + Duration::from_secs_f64(amount as f64 / self.a_second as f64);
        free.saturating_sub(now)
    }
}

/// Answers that a judgement needs, and that are remembered: one slow read is none.
const WINDOW: usize = 63;

/// How long the last answers took.
#[derive(Default)]
pub struct Latency(Mutex<VecDeque<Duration>>);

impl Latency {
    /// One more answer.
    pub fn add(&self, took: Duration) {
        let mut last = lock(&self.0);
        if last.len() == WINDOW {
            last.pop_front();
        }
        last.push_back(took);
    }

    /// That of the middle one, once there are enough to judge by.
    pub fn median(&self) -> Option<Duration> {
        let last = lock(&self.0);
        let mut sorted: Vec<Duration> = last.iter().copied().collect();
        drop(last);
        sorted.sort_unstable();
        (sorted.len() == WINDOW).then(|| sorted[WINDOW / 2])
    }
}

/// The time of this process.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Default for Clock {
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    /// Since it was made.
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_waited_for() {
        let pace = Pace::new(1000);
        let seconds = |n| Duration::from_millis(n);
        assert_eq!(pace.owe(500, seconds(1000)), Duration::ZERO);
        // The idle time saved a quarter of a second.
        assert_eq!(pace.owe(1000, seconds(1000)), seconds(250));
        assert_eq!(pace.owe(0, seconds(1000)), seconds(1250));
        assert_eq!(pace.owe(0, seconds(9000)), Duration::ZERO);
    }

    #[test]
    fn a_few_slow_answers_are_no_slow_machine() {
        let latency = Latency::default();
        (1..WINDOW).for_each(|_| latency.add(Duration::from_millis(900)));
        assert_eq!(latency.median(), None);
        (0..WINDOW / 2 + 1).for_each(|_| latency.add(Duration::from_millis(1)));
        assert_eq!(latency.median(), Some(Duration::from_millis(1)));
        (0..WINDOW / 2 + 1).for_each(|_| latency.add(Duration::from_millis(900)));
        assert_eq!(latency.median(), Some(Duration::from_millis(900)));
    }
}
