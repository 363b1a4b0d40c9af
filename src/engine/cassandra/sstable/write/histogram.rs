//! Histograms of `Statistics.db`: sizes in buckets that grow by a fifth, and when tombstones may be dropped.
//! Sources: `EstimatedHistogram`, `StreamingTombstoneHistogramBuilder`, `TombstoneHistogram`.

use std::collections::BTreeMap;

use super::super::name::Version;

/// Counts values in buckets whose upper ends grow by a fifth.
#[derive(Debug, Clone)]
pub struct Sizes {
    ends: Vec<u64>,
    counts: Vec<u64>,
}

impl Sizes {
    /// With so many buckets, and one for what is greater.
    pub fn new(buckets: usize) -> Sizes {
        let mut ends: Vec<u64> = Vec::with_capacity(buckets);
        let mut last = 0_u64;
        for _ in 0..buckets {
            // Rounds half up, as Java's Math.round.
            last = if last == 0 { 1 } else { (last as f64 * 1.2 + 0.5).floor().max((last + 1) as f64) as u64 };
            ends.push(last);
        }
        Sizes { counts: vec![0; ends.len() + 1], ends }
    }

    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let bucket = self.ends.partition_point(|end| *end < value);
        self.counts[bucket] += 1;
    }

    /// Appends all buckets: before each its lower end, before the first that of the second.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.counts.len() as u32).to_be_bytes());
        for (i, count) in self.counts.iter().enumerate() {
            out.extend_from_slice(&self.ends[i.saturating_sub(1)].to_be_bytes());
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// Bins that are written (`SSTable.TOMBSTONE_HISTOGRAM_BIN_SIZE`).
const BINS: usize = 100;
/// Bins that are held; when there are more, times are rounded to twice as many seconds.
const BINS_HELD: usize = 4096;
/// Seconds to which times are rounded up at first.
const ROUND: u32 = 60;

/// Counts local deletion times.
#[derive(Debug, Clone)]
pub struct Drops {
    bins: BTreeMap<u32, u64>,
    round: u32,
    /// The last time, rounded, and how often it came in a row: it comes row after row.
    last: (u32, u64),
}

impl Default for Drops {
    fn default() -> Drops {
        Drops { bins: BTreeMap::new(), round: ROUND, last: (0, 0) }
    }
}

impl Drops {
    /// Counts a time, in seconds.
    #[inline]
    pub fn add(&mut self, ldt: u32) {
        let point = round_up(ldt, self.round);
        if point == self.last.0 {
            self.last.1 += 1;
        } else {
            self.flush();
            self.last = (round_up(ldt, self.round), 1);
        }
    }

    fn flush(&mut self) {
        let (point, count) = self.last;
        if count == 0 {
            return;
        }
        *self.bins.entry(point).or_default() += count;
        self.last.1 = 0;
        while self.bins.len() > BINS_HELD {
            self.round = self.round.saturating_mul(2);
            let coarse = std::mem::take(&mut self.bins);
            for (point, count) in coarse {
                *self.bins.entry(round_up(point, self.round)).or_default() += count;
            }
        }
    }

    /// Appends the histogram; nearest bins are joined until there are few enough. Times `latest` and above count as that.
    pub fn put(&self, out: &mut Vec<u8>, version: Version, latest: u32) {
        let mut all = self.clone();
        all.flush();
        let mut bins: Vec<(u32, u64)> = all.bins.into_iter().collect();
        while bins.len() > BINS {
            let nearest = (1..bins.len()).min_by_key(|i| bins[*i].0 - bins[i - 1].0).unwrap_or(1);
            let ((a, n), (b, m)) = (bins[nearest - 1], bins.remove(nearest));
            let mean = (u128::from(a) * u128::from(n) + u128::from(b) * u128::from(m)) / u128::from(n + m);
            bins[nearest - 1] = (round_up(mean as u32, ROUND).min(b), n + m);
        }
        let at_latest = bins.iter().position(|(point, _)| *point >= latest);
        if let Some(at) = at_latest {
            let count = bins.drain(at..).map(|(_, count)| count).sum();
            bins.push((latest, count));
        }
        for _maximum_and_size in 0..2 {
            out.extend_from_slice(&(bins.len() as u32).to_be_bytes());
        }
        for (point, count) in bins {
            let count = count.min(i32::MAX as u64);
            if version >= Version::Oa {
                out.extend_from_slice(&u64::from(point).to_be_bytes());
                out.extend_from_slice(&(count as u32).to_be_bytes());
            } else {
                out.extend_from_slice(&f64::from(point).to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
        }
    }
}

fn round_up(point: u32, round: u32) -> u32 {
    point.checked_next_multiple_of(round).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cassandras() {
        let sizes = Sizes::new(155);
        assert_eq!(sizes.ends[..12], [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17]);
        assert_eq!(sizes.ends[154], 3_520_571_548_412);
        assert_eq!(Sizes::new(118).ends[117], 4_139_110_981);
    }

    #[test]
    fn drops_stay_few_and_lose_no_count() {
        let mut drops = Drops::default();
        for i in 0..1_000_000_u32 {
            drops.add(1_700_000_000 + i.wrapping_mul(7919) % 90_000_000);
        }
        drops.add(u32::MAX - 1);
        let mut out = Vec::new();
        drops.put(&mut out, Version::Nb, i32::MAX as u32 - 1);
        let n = u32::from_be_bytes(out[4..8].try_into().unwrap()) as usize;
        assert!(n <= BINS + 1 && out.len() == 8 + 16 * n);
        let counts: u64 = (0..n).map(|i| u64::from_be_bytes(out[16 + 16 * i..24 + 16 * i].try_into().unwrap())).sum();
        assert_eq!(counts, 1_000_001);
    }
}
