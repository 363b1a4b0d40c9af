//! `Digest.crc32`: the CRC-32 of the whole of `Data.db`, as decimal digits.
//! Sources: `ChecksumWriter.writeFullChecksum`, `DataIntegrityMetadata.FileDigestValidator`.

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
    fn digests_are_digits() {
        assert_eq!(parse(b"4294967295"), Ok(u32::MAX));
        assert_eq!(parse(b"17\n"), Ok(17));
        for bad in [&b""[..], b"-1", b"4294967296", b"0x17", b"1 2", b"\xff"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
