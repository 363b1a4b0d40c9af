//! Which packs a check reads: a share takes what was read longest ago first, so that every pack has its turn.

use std::collections::HashSet;
use std::str::FromStr;

use repo_format::names::PackName;

use super::super::verified::Verified;

/// Which packs are read, and not only looked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Reads {
    /// None but those that were seen damaged before.
    #[default]
    None,
    /// Some.
    Share(Share),
    /// All.
    All,
}

/// A share of the packs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Share {
    /// This part of their bytes (0.05 is 5 %), and less than one pack more.
    Part(f64),
    /// So many bytes, and less than one pack more.
    Bytes(u64),
    /// The n-th of m shares that do not overlap, from 1, whatever was read when: for machines that keep no cache.
    Nth(u32, u32),
}

/// The packs that are read.
pub(super) enum Chosen {
    All,
    These(HashSet<PackName>),
}

impl Reads {
    /// All or none.
    pub fn all_if(all: bool) -> Reads {
        if all { Reads::All } else { Reads::None }
    }

    /// Chooses among packs, each with its length in bytes.
    pub(super) fn choose(&self, packs: impl Iterator<Item = (PackName, u64)>, verified: &Verified) -> Chosen {
        match self {
            Reads::None => Chosen::These(HashSet::new()),
            Reads::All => Chosen::All,
            Reads::Share(Share::Nth(n, of)) => {
                let is_of = |pack: &PackName| {
                    let [a, b, c, d, ..] = pack.hash.0;
                    u32::from_le_bytes([a, b, c, d]) % (*of).max(1) == n.saturating_sub(1)
                };
                Chosen::These(packs.map(|(pack, _)| pack).filter(is_of).collect())
            }
            Reads::Share(Share::Part(part)) => {
                let packs: Vec<(PackName, u64)> = packs.collect();
                let all: u64 = packs.iter().map(|(_, size)| size).sum();
                Chosen::These(oldest(packs, (all as f64 * part).ceil() as u64, verified))
            }
            Reads::Share(Share::Bytes(bytes)) => Chosen::These(oldest(packs.collect(), *bytes, verified)),
        }
    }
}

/// Those that were read longest ago, until they have so many bytes.
fn oldest(mut packs: Vec<(PackName, u64)>, bytes: u64, verified: &Verified) -> HashSet<PackName> {
    packs.sort_by_cached_key(|(pack, _)| (verified.time(&pack.hash), pack.hash));
    let mut taken = 0;
    let more = |(_, size): &&(PackName, u64)| {
        let wanted = taken < bytes;
        taken += size;
        wanted
    };
    packs.iter().take_while(more).map(|(pack, _)| *pack).collect()
}

impl Chosen {
    pub(super) fn has(&self, pack: &PackName) -> bool {
        match self {
            Chosen::All => true,
            Chosen::These(packs) => packs.contains(pack),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let wrong = || format!("{text:?} is no share, such as 5%, 1/20, 500M or 20G");
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            let fits = percent > 0.0 && percent <= 100.0;
            return if fits { Ok(Share::Part(percent / 100.0)) } else { Err(wrong()) };
        }
        if let Some((n, of)) = text.split_once('/') {
            let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
            let (n, of) = (number(n)?, number(of)?);
            return if (1..=of).contains(&n) { Ok(Share::Nth(n, of)) } else { Err(wrong()) };
        }
        bytes(text).filter(|bytes| *bytes > 0).map(Share::Bytes).ok_or_else(wrong)
    }
}

/// A number of bytes, as people write it: 500M, 20G.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit))
}

#[cfg(test)]
mod tests {
    use repo_format::id::{ObjectHash, SessionId};
    use repo_format::names::PackClass;

    use super::*;

    fn packs() -> Vec<(PackName, u64)> {
        let pack = |n: u32| {
            let hash = ObjectHash(*blake3::hash(&n.to_le_bytes()).as_bytes());
            (PackName { class: PackClass::Content, session: SessionId([0; 16]), hash }, u64::from(1000 + n % 977))
        };
        (0..500).map(pack).collect()
    }

    fn chosen(reads: Reads, verified: &Verified) -> HashSet<PackName> {
        match reads.choose(packs().into_iter(), verified) {
            Chosen::These(packs) => packs,
            Chosen::All => panic!("all"),
        }
    }

    #[test]
    fn every_pack_has_its_turn() {
        for share in [Share::Part(0.05), Share::Bytes(40_000), Share::Part(0.000001), Share::Part(1.0)] {
            let mut verified = Verified::default();
            let mut turns: HashSet<PackName> = HashSet::new();
            let mut rounds = 0;
            while turns.len() < 500 {
                rounds += 1;
                let some = chosen(Reads::Share(share), &verified);
                // What was read waits for the others.
                assert!(!some.is_empty());
                assert_eq!(some.difference(&turns).count(), some.len().min(500 - turns.len()), "{share:?}");
                some.iter().for_each(|pack| verified.saw(pack.hash, rounds));
                turns.extend(some);
            }
            let least = if let Share::Part(part) = share { (1.0 / part) as u64 } else { 19 };
            assert!(rounds <= least.min(500), "{share:?}: {rounds} rounds");
            // The first ones are the next again.
            let next = chosen(Reads::Share(share), &verified);
            assert!(next.iter().all(|pack| verified.time(&pack.hash) <= 2));
        }
    }

    #[test]
    fn shares_by_number_do_not_overlap() {
        let of = |n| chosen(Reads::Share(Share::Nth(n, 7)), &Verified::default());
        assert_eq!((1..=7).map(|n| of(n).len()).sum::<usize>(), 500);
        assert_eq!((1..=7).flat_map(of).collect::<HashSet<_>>().len(), 500);
    }

    #[test]
    fn words_are_what_they_say() {
        for (text, share) in [
            ("5%", Share::Part(0.05)),
            ("100%", Share::Part(1.0)),
            ("0.5%", Share::Part(0.005)),
            ("1/20", Share::Nth(1, 20)),
            ("500M", Share::Bytes(500_000_000)),
            ("7", Share::Bytes(7)),
        ] {
            assert_eq!(text.parse(), Ok(share), "{text}");
        }
        for text in ["", "0%", "101%", "-5%", "NaN%", "0/3", "4/3", "1/", "/", "0", "-1", "5 G", "1.5G", "x"] {
            assert!(text.parse::<Share>().unwrap_err().contains("is no share"), "{text}");
        }
    }
}
