//! The dates that a store itself gives its objects: what a writer's clock says of a snapshot is held against them.

use std::collections::BTreeMap;

use repo_format::id::SnapshotId;
use repo_format::names::{COPIES, Name, ObjectKind};

use crate::error::Result;
use crate::store::Store;

const DAY: u64 = 86_400_000;
/// How far a snapshot's time and its date may lie apart, milliseconds: it is written just before it is committed, but clocks differ, and
/// a file system may keep the time of a zone.
const APART: u64 = DAY;
/// So long after its oldest object a store may still be in the making, milliseconds: a copy of another, whose dates are of the copying.
const COPYING: u64 = 7 * DAY;

/// When the store says that snapshots were written, milliseconds since 1970; nothing of those of which it says nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dates(BTreeMap<SnapshotId, u64>);

impl Dates {
    /// Of all snapshots of a store. Of the two objects of one the older counts: the other may have been written again.
    pub fn read(store: &dyn Store) -> Result<Dates> {
        let mut dates = Dates::default();
        let word = ObjectKind::Snapshot.word();
        for folder in [word.to_owned(), format!("{COPIES}/{word}")] {
            store.dates(&folder, &mut |name, date_ms| {
                if let Ok(Name::Snapshot(id)) = Name::parse(name).or_else(|_| Name::parse_copy(name)) {
                    dates.add(id, date_ms);
                }
                Ok(())
            })?;
        }
        Ok(dates)
    }

    fn add(&mut self, id: SnapshotId, date_ms: u64) {
        self.0.entry(id).and_modify(|known| *known = date_ms.min(*known)).or_insert(date_ms);
    }

    /// When a snapshot was written, if the store says so.
    pub fn of(&self, id: &SnapshotId) -> Option<u64> {
        self.0.get(id).copied()
    }

    /// The newest, or 0 where the store has none.
    pub fn newest(&self) -> u64 {
        self.0.values().max().copied().unwrap_or(0)
    }

    /// Whether a snapshot cannot have been committed when it says, if the store is right.
    ///
    /// A copy of a store gives all objects the dates of the copying. So what claims to be older than all of the store, and was written
    /// within a week of the oldest, is taken for copied.
    pub fn contradict(&self, id: &SnapshotId, time_ms: u64) -> bool {
        let Some(date) = self.of(id) else { return false };
        let oldest = self.0.values().min().copied().unwrap_or(0);
        let is_copied = time_ms < oldest && date <= oldest.saturating_add(COPYING);
        date.abs_diff(time_ms) > APART && !is_copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_772_409_600_000;

    fn dates(all: &[u64]) -> Dates {
        let mut dates = Dates::default();
        (0..).zip(all).for_each(|(n, date)| dates.add(SnapshotId([n; 32]), *date));
        dates
    }

    fn contradicted(days: &[(u64, u64)]) -> Vec<usize> {
        let at = |day: u64| START + day * DAY;
        let dates = dates(&days.iter().map(|(_, date)| at(*date)).collect::<Vec<_>>());
        let odd = |n: usize| dates.contradict(&SnapshotId([n as u8; 32]), at(days[n].0));
        (0..days.len()).filter(|n| odd(*n)).collect()
    }

    #[test]
    fn a_clock_that_is_wrong_is_seen_and_a_copy_is_none() {
        assert_eq!(contradicted(&[(1, 1), (2, 2), (4, 3), (4, 4)]), Vec::<usize>::new());
        // Ahead, and behind.
        assert_eq!(contradicted(&[(1, 1), (90, 2), (3, 3), (2, 20), (21, 21)]), [1, 3]);
        // All of it was copied on day 100, in no order; two nights later one has a wrong clock.
        assert_eq!(contradicted(&[(1, 100), (50, 101), (99, 100), (101, 101), (150, 102)]), [4]);
        // Long after the copying, a clock is behind all of it.
        assert_eq!(contradicted(&[(99, 100), (3, 130)]), [1]);
    }

    #[test]
    fn the_older_of_two_objects_counts_and_none_says_nothing() {
        let id = SnapshotId([1; 32]);
        let mut dates = dates(&[START]);
        assert!(!dates.contradict(&id, 5), "nothing is known of it");
        dates.add(id, START + 40 * DAY);
        assert!(dates.contradict(&id, START + 2 * DAY));
        dates.add(id, START + 2 * DAY);
        assert!(!dates.contradict(&id, START + 2 * DAY) && dates.of(&id) == Some(START + 2 * DAY));
    }
}
