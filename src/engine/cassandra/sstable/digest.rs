//! `Digest.crc32`: the CRC-32 of the whole of `Data.db`, as decimal digits.
//! Sources: `ChecksumWriter.writeFullChecksum`, `DataIntegrityMetadata.FileDigestValidator`.

use std::collections::BTreeMap;

use crate::error::{Kind, Result};
use crate::volume::{Place, if_there};

use super::cursor::{Fault, Parsed};

/// More than such a file ever holds, bytes.
const DIGEST_MAX: u64 = 64;

/// Parses the file.
pub fn parse(text: &[u8]) -> Parsed<u32> {
    let bad = Fault::Bad("digest");
    std::str::from_utf8(text).map_err(|_| bad)?.trim_ascii().parse().map_err(|_| bad)
}

/// The CRC-32 of stored bytes of a file, those of one piece of it after the other.
#[derive(Debug, Clone)]
pub struct Sum {
    /// Where the first of them lies, and the first behind them.
    from: u64,
    to: u64,
    /// Bytes of the file.
    of: u64,
    crc: crc32fast::Hasher,
}

impl Sum {
    /// Of no bytes of a file of `length` bytes.
    pub fn of(length: u64) -> Sum {
        Sum { from: 0, to: 0, of: length, crc: crc32fast::Hasher::new() }
    }

    /// Adds bytes at `start`, which follow those before.
    #[inline]
    pub fn add(&mut self, start: u64, bytes: &[u8]) {
        if self.from == self.to {
            (self.from, self.to) = (start, start);
        }
        self.to += bytes.len() as u64;
        self.crc.update(bytes);
    }

    /// Adds what follows.
    fn join(&mut self, next: &Sum) {
        self.to = next.to;
        self.crc.combine(&next.crc);
    }

    /// The checksum.
    pub fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }
}

/// The sums of pieces of one file, put together as far as they follow one another.
#[derive(Debug, Default)]
pub struct Sums {
    /// By their first byte.
    apart: BTreeMap<u64, Sum>,
}

impl Sums {
    /// Takes in the sum of a piece, and gives that of the whole file once it is known. Pieces do not overlap; one that was there
    /// before is not counted again.
    pub fn add(&mut self, sum: Sum) -> Option<Sum> {
        let known = |before: (&u64, &Sum)| before.1.to > sum.from;
        if sum.from == sum.to || self.apart.range(..=sum.from).next_back().is_some_and(known) {
            return None;
        }
        let mut joined = sum;
        if let Some(next) = self.apart.remove(&joined.to) {
            joined.join(&next);
        }
        match self.apart.range_mut(..joined.from).next_back() {
            Some((_, before)) if before.to == joined.from => {
                before.join(&joined);
                joined = before.clone();
            }
            _ => drop(self.apart.insert(joined.from, joined.clone())),
        }
        ((joined.from, joined.to) == (0, joined.of)).then_some(joined)
    }
}

/// What there is besides the rows to tell whether the bytes of `Data.db` are whole, judged once all were read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seal {
    /// What `Digest.crc32` states, where it is there.
    pub digest: Option<Parsed<u32>>,
    /// There are no checksums of chunks: bytes were shown unchecked.
    pub bare: bool,
}

/// Something to be said of an SSTable whose rows were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// No loss.
    Note(String),
    /// Something is not as it should be, and the rows are as good as can be told.
    Problem {
        /// Bytes are damaged; otherwise nothing tells whether they are.
        damage: bool,
        /// What it is.
        what: String,
    },
}

impl Seal {
    /// Compares with `crc`, that of the bytes read. A fault: only the digest could tell that they are whole, and it does not
    /// fit.
    pub fn judge(self, crc: u32) -> Parsed<Option<Remark>> {
        let damage = |what: String| Ok(Some(Remark::Problem { damage: true, what }));
        match (self.digest, self.bare) {
            (None, false) => Ok(None),
            (Some(Ok(stated)), false) if stated == crc => Ok(None),
            (Some(Ok(stated)), true) if stated == crc => {
                Ok(Some(Remark::Note("there is no CRC.db; all of it fits Digest.crc32".to_string())))
            }
            (Some(_), true) => Err(Fault::Bad("Digest.crc32, or the file (there is no CRC.db to tell): it")),
            (Some(Ok(stated)), false) => damage(format!(
                "Digest.crc32 says {stated}, the file has {crc}, though each chunk fits its own checksum"
            )),
            (Some(Err(_)), false) => damage("Digest.crc32 holds no checksum".to_string()),
            (None, true) => {
                let what = "there is neither CRC.db nor Digest.crc32: nothing tells whether it is whole".to_string();
                Ok(Some(Remark::Problem { damage: false, what }))
            }
        }
    }
}

/// What the file at `place` states; `None` where there is none.
pub fn read(place: &Place) -> Result<Option<Parsed<u32>>> {
    match if_there(place.read(DIGEST_MAX)) {
        Err(e) if e.kind() == Kind::TooLarge => Ok(Some(Err(Fault::Bad("digest")))),
        read => Ok(read?.map(|text| parse(&text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_that_fits_stands_in_for_checksums() {
        let judge = |digest, bare| Seal { digest, bare }.judge(7);
        let is_damage = |judged| matches!(judged, Ok(Some(Remark::Problem { damage: true, .. })));
        assert_eq!((judge(None, false), judge(Some(Ok(7)), false)), (Ok(None), Ok(None)));
        assert!(matches!(judge(Some(Ok(7)), true), Ok(Some(Remark::Note(_)))));
        assert!(is_damage(judge(Some(Ok(8)), false)) && is_damage(judge(Some(parse(b"x")), false)));
        assert!(judge(Some(Ok(8)), true).is_err() && judge(Some(parse(b"x")), true).is_err());
        assert!(matches!(judge(None, true), Ok(Some(Remark::Problem { damage: false, .. }))));
    }

    #[test]
    fn sums_of_pieces_in_any_order_are_that_of_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let cuts = [0, 1, 17, 400, 401, 999, 1000];
        for step in 1..6 {
            let mut sums = Sums::default();
            let mut whole = Vec::new();
            for i in (0..6).map(|i| (i * 5 + step) % 6) {
                let mut sum = Sum::of(1000);
                bytes[cuts[i]..cuts[i + 1]]
                    .chunks(7)
                    .zip(0..)
                    .for_each(|(some, n)| sum.add(cuts[i] as u64 + n * 7, some));
                whole.extend(sums.add(sum.clone()));
                assert!(sums.add(sum).is_none() && sums.add(Sum::of(1000)).is_none(), "twice, and of nothing");
            }
            assert_eq!(whole.iter().map(Sum::crc).collect::<Vec<_>>(), [crc32fast::hash(&bytes)]);
        }
    }

    #[test]
    fn digests_are_digits() {
        assert_eq!(parse(b"4294967295"), Ok(u32::MAX));
        assert_eq!(parse(b"17\n"), Ok(17));
        for bad in [&b""[..], b"-1", b"4294967296", b"0x17", b"1 2", b"\xff"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
