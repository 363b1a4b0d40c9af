//! Which snapshots a policy keeps, and why: a function of what the log and the snapshots say, and of the time.
//!
//! Snapshots are ordered by the log, never by their clocks. A time that contradicts the log's order, or is still to come, neither
//! counts nor lets anything expire; nor does one that contradicts the date which the store gives the snapshot ([`super::dates`]).
//! For example, of snapshots committed in this order at 1, 2, 9, 3, 4 o'clock, that of 9 has a clock that was wrong: it is kept, and
//! the others are judged as if it were not there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use repo_format::id::SnapshotId;

/// How far a time may lie before that of an earlier snapshot, or after now, milliseconds: clocks of machines differ a little.
const SKEW: u64 = 10 * 60 * 1000;

/// What is kept. In each group each rule counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// So many of each period, the youngest of it.
    pub counts: BTreeMap<Period, u32>,
    /// Of each period one, for so long before the youngest of the group.
    pub within: BTreeMap<Period, Span2>,
    /// With all labels of one of these lists.
    pub tags: Vec<Vec<String>>,
    /// Milliseconds after the commit, and after the date that the store gives it, before which nothing is forgotten.
    pub grace_ms: u64,
}

/// A span of calendar units that can be compared.
#[derive(Debug, Clone, Copy)]
pub struct Span2(pub Span);

impl PartialEq for Span2 {
    fn eq(&self, other: &Span2) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for Span2 {}

/// A stretch of time, by the calendar in UTC, of which one snapshot counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// Of `--keep-last` and `--keep-within`: an hour, too, so that nobody pushes others out by making many.
    Last,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week from Monday on.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// A snapshot, as a policy sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub id: SnapshotId,
    /// When it was committed, milliseconds since 1970, by its writer's clock.
    pub time_ms: u64,
    /// When the store says that it was written, and whether its time contradicts that ([`super::dates`]).
    pub stored: Option<(u64, bool)>,
    /// Those of one group are judged together.
    pub group: String,
    /// Labels.
    pub tags: Vec<String>,
    /// Whether it is pinned, and why; an empty reason is none.
    pub pinned: Option<String>,
    /// Whether it is complete.
    pub complete: bool,
    /// What it holds of which cluster: a shard's id, with what makes it one of many alike.
    pub shards: BTreeSet<String>,
}

/// Why a snapshot stays, or that it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The snapshot.
    pub id: SnapshotId,
    /// None: it is forgotten.
    pub reasons: Vec<String>,
}

impl Policy {
    /// Whether it keeps nothing by itself.
    pub fn is_empty(&self) -> bool {
        self.counts.values().all(|n| *n == 0) && self.within.is_empty() && self.tags.is_empty()
    }

    /// Judges snapshots, which come in the order of the log; the verdicts have the same order.
    pub fn judge(&self, all: &[Candidate], now_ms: u64) -> Vec<Verdict> {
        let mut reasons: Vec<BTreeSet<String>> = vec![BTreeSet::new(); all.len()];
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        all.iter().enumerate().for_each(|(at, c)| groups.entry(&c.group).or_default().push(at));
        let last = last_complete(all);
        for members in groups.values() {
            let contradicted = |at: &usize| all[*at].stored.is_some_and(|(_, contradicts)| contradicts);
            for at in members.iter().filter(|at| contradicted(at)) {
                reasons[*at].insert("its time contradicts the store's date of it".to_owned());
            }
            let members: Vec<usize> = members.iter().copied().filter(|at| !contradicted(at)).collect();
            let trusted = in_order(all, &members, now_ms);
            for at in members.iter().filter(|at| !trusted.contains(at)) {
                reasons[*at].insert("its time contradicts the order of the log, or is still to come".to_owned());
            }
            let of = |complete: bool| -> Vec<usize> {
                trusted.iter().rev().copied().filter(|at| all[*at].complete == complete).collect()
            };
            self.apply(all, &of(true), "", &mut reasons);
            // Incomplete ones take no place from complete ones. They count while they are the newest of something.
            let newest =
                |at: &usize| all[*at].shards.iter().any(|shard| last.get(shard.as_str()).is_none_or(|last| last < at));
            let open: Vec<usize> = of(false).into_iter().filter(newest).collect();
            self.apply(all, &open, ", of incomplete ones", &mut reasons);
        }
        let mut shards_of: BTreeMap<usize, usize> = BTreeMap::new();
        last.values().for_each(|at| *shards_of.entry(*at).or_default() += 1);
        for (at, shards) in shards_of {
            reasons[at].insert(format!("last complete one of {shards} tables"));
        }
        for (candidate, reasons) in all.iter().zip(&mut reasons) {
            let stored_ms = candidate.stored.map_or(0, |(date, _)| date);
            if candidate.time_ms.max(stored_ms).saturating_add(self.grace_ms) > now_ms {
                reasons.insert("within the grace".to_owned());
            }
            let fitting = self.tags.iter().filter(|tags| tags.iter().all(|tag| candidate.tags.contains(tag)));
            reasons.extend(fitting.map(|tags| format!("tag {}", tags.join(","))));
            reasons.extend(candidate.pinned.as_deref().map(|reason| match reason {
                "" => "pinned".to_owned(),
                reason => format!("pinned: {reason}"),
            }));
        }
        let verdict =
            |(c, reasons): (&Candidate, BTreeSet<String>)| Verdict { id: c.id, reasons: reasons.into_iter().collect() };
        all.iter().zip(reasons).map(verdict).collect()
    }

    /// Gives reasons to snapshots of one group, the youngest first.
    fn apply(&self, all: &[Candidate], youngest_first: &[usize], of: &str, reasons: &mut [BTreeSet<String>]) {
        for (period, count) in &self.counts {
            let (mut left, mut before) = (*count, None);
            for at in youngest_first {
                let bucket = period.of(all[*at].time_ms);
                if left == 0 || before == Some(bucket) {
                    continue;
                }
                (left, before) = (left - 1, Some(bucket));
                reasons[*at].insert(format!("{}{of}", period.name()));
            }
        }
        let Some(youngest) = youngest_first.first().map(|at| all[*at].time_ms) else { return };
        for (period, span) in &self.within {
            let since = before(youngest, span.0);
            let mut last = None;
            for at in youngest_first.iter().filter(|at| all[**at].time_ms >= since) {
                let bucket = period.of(all[*at].time_ms);
                // All within a span are kept; of the other periods one of each.
                if *period != Period::Last && last == Some(bucket) {
                    continue;
                }
                last = Some(bucket);
                reasons[*at].insert(format!("within, {}{of}", period.name()));
            }
        }
    }
}

/// The last complete snapshot of each shard.
fn last_complete(all: &[Candidate]) -> BTreeMap<&str, usize> {
    let complete = all.iter().enumerate().filter(|(_, c)| c.complete);
    complete.flat_map(|(at, c)| c.shards.iter().map(move |shard| (shard.as_str(), at))).collect()
}

/// Those of `members` whose times fit the order of the log, as many as can be: a longest sequence in which no time lies before an
/// earlier one, nor after now.
fn in_order(all: &[Candidate], members: &[usize], now_ms: u64) -> Vec<usize> {
    let times: Vec<u64> = members.iter().map(|at| all[*at].time_ms).collect();
    // Of sequences of each length the one that ends earliest, by place; and the place before each.
    let (mut ends, mut previous): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), vec![None; times.len()]);
    for (place, time) in times.iter().enumerate() {
        if *time > now_ms.saturating_add(SKEW) {
            continue;
        }
        let length = ends.partition_point(|end: &usize| times[*end] <= time.saturating_add(SKEW));
        previous[place] = length.checked_sub(1).map(|before| ends[before]);
        match ends.get_mut(length) {
            None => ends.push(place),
            Some(end) => *end = place,
        }
    }
    let mut chain = Vec::new();
    let mut at = ends.last().copied();
    while let Some(place) = at {
        chain.push(members[place]);
        at = previous[place];
    }
    chain.reverse();
    chain
}

/// The time that lies `span` before another.
fn before(ms: u64, span: Span) -> u64 {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let since = at.and_then(|at| at.to_zoned(TimeZone::UTC).checked_sub(span).ok());
    // A span that leads before all calendars keeps everything.
    since.map_or(0, |since| u64::try_from(since.timestamp().as_millisecond()).unwrap_or(0))
}

impl Period {
    /// All of them.
    pub const ALL: [Period; 6] = [Period::Last, Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

    /// As reasons and options name it.
    pub fn name(self) -> &'static str {
        match self {
            Period::Last => "last",
            Period::Hour => "hourly",
            Period::Day => "daily",
            Period::Week => "weekly",
            Period::Month => "monthly",
            Period::Year => "yearly",
        }
    }

    /// Which of its kind a time lies in: equal numbers, the same period.
    fn of(self, ms: u64) -> i64 {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
        let hour = at.as_second().div_euclid(3600);
        let day = hour.div_euclid(24);
        let date = at.to_zoned(TimeZone::UTC).date();
        match self {
            Period::Last | Period::Hour => hour,
            Period::Day => day,
            // The first of 1970 was a Thursday.
            Period::Week => (day + 3).div_euclid(7),
            Period::Month => i64::from(date.year()) * 12 + i64::from(date.month()),
            Period::Year => i64::from(date.year()),
        }
    }
}

#[cfg(test)]
mod tests;
