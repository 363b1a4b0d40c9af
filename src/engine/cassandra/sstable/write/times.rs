//! Times as the files store them: differences to the header's, and what a version can hold.
//! Sources: `SerializationHeader`, `EncodingStats`, `DeletionTime`, `Cell.decodeLocalDeletionTime`.
//!
//! Differences of write times wrap around at 64 bits, those of local deletion times at 32 bits, and are extended from
//! there to 64 bits with their sign: 4.x and 5.0 read them so. A header's times need not be the smallest, then; smaller
//! ones take nine bytes instead of few. So the smallest write time of the file's first records is taken, and for
//! the rest Cassandra's own constants, below which nothing real lies.

use crate::error::{Error, Kind, Result};

use super::super::cells::{Deletion, INVALID_LDT};
use super::super::name::Version;
use super::options::LateTimes;
use super::put;

/// 2015-09-22 UTC in microseconds, from which the header counts its write time.
pub const TIME_EPOCH: i64 = 1_442_880_000_000_000;
/// The same in seconds: the header's local deletion time.
const LDT_EPOCH: u32 = 1_442_880_000;
/// Latest local deletion time that `nb` holds.
const NB_LATEST: u32 = i32::MAX as u32 - 1;
/// Latest of a cell that `oa` holds.
const OA_LATEST: u32 = INVALID_LDT - 1;
/// Latest of a deletion within a partition that `oa` holds: what wraps around becomes a cell's again, not a deletion's.
const OA_LATEST_DELETION: u32 = LDT_EPOCH + i32::MAX as u32;
/// The byte that stands for "not deleted" in `oa`.
const NO_DELETION: u8 = 0x80;

/// What of a record a local deletion time belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A cell or the row's liveness.
    Cell,
    /// A deletion within a partition.
    Deletion,
    /// That of the partition.
    Partition,
}

/// Writes times of one file.
#[derive(Debug, Clone)]
pub struct Times {
    version: Version,
    late: LateTimes,
    /// Microseconds: the header's.
    base: i64,
    /// Times that were capped.
    pub capped: u64,
}

impl Times {
    /// For files of `version`; `base` is the header's write time in microseconds.
    pub fn new(version: Version, late: LateTimes, base: i64) -> Times {
        Times { version, late, base, capped: 0 }
    }

    /// Appends the header's times.
    pub fn put_header(&self, out: &mut Vec<u8>) {
        put::vint(out, self.base.wrapping_sub(TIME_EPOCH) as u64);
        put::vint(out, 0);
        put::vint(out, 0);
    }

    /// A local deletion time that the version can hold: `ldt` itself, or the latest that there is.
    pub fn fit(&mut self, ldt: u32, of: Of) -> Result<u32> {
        let latest = match of {
            _ if !self.is_oa() => NB_LATEST,
            Of::Deletion => OA_LATEST_DELETION,
            Of::Cell | Of::Partition => OA_LATEST,
        };
        if ldt <= latest || ldt == INVALID_LDT {
            return Ok(ldt);
        }
        if self.late == LateTimes::Cap {
            self.capped += 1;
            return Ok(latest);
        }
        let (what, version) = (if of == Of::Cell { "expires" } else { "was deleted" }, self.version);
        let message = format_args!("something {what} at second {ldt}; version {version} ends at {latest}");
        let hint = if self.is_oa() {
            "--late-times cap brings such times forward"
        } else {
            "--late-times cap brings such times forward; or --sstable-version oa, if the cluster reads it"
        };
        Err(Error::new(Kind::Unsupported, "time", message).hint(hint))
    }

    /// Appends a write time.
    #[inline]
    pub fn put_time(&self, out: &mut Vec<u8>, time: i64) {
        put::vint(out, time.wrapping_sub(self.base) as u64);
    }

    /// Appends a local deletion time that [`Times::fit`] gave.
    #[inline]
    pub fn put_ldt(&self, out: &mut Vec<u8>, ldt: u32) {
        // One that an i32 could not hold is negative in `nb`, as it was when it was read; `oa` has a number for it.
        let difference = ldt.wrapping_sub(LDT_EPOCH) as i32;
        put::vint(out, i64::from(difference) as u64);
    }

    /// Appends a time to live.
    #[inline]
    pub fn put_ttl(&self, out: &mut Vec<u8>, ttl: u32) {
        put::vint(out, u64::from(ttl));
    }

    /// Appends a deletion within a partition that [`Times::fit`] gave; `None` where a column of a row has none and another has.
    pub fn put_deletion(&self, out: &mut Vec<u8>, deletion: Option<Deletion>) {
        // 4.x knows the absent deletion by i32::MAX, 5.0 by -1; either is known by its write time alone where it matters.
        let never = if self.is_oa() { u32::MAX } else { i32::MAX as u32 };
        let Deletion { time, ldt } = deletion.unwrap_or(Deletion { time: i64::MIN, ldt: never });
        self.put_time(out, time);
        self.put_ldt(out, ldt);
    }

    /// Appends a partition's deletion, or one that the index says is open (`DeletionTime.Serializer`).
    pub fn put_whole_deletion(&self, out: &mut Vec<u8>, deletion: Option<Deletion>) {
        match deletion {
            None if self.is_oa() => out.push(NO_DELETION),
            Some(Deletion { time, ldt }) if self.is_oa() => {
                out.extend_from_slice(&time.to_be_bytes());
                out.extend_from_slice(&ldt.to_be_bytes());
            }
            legacy => {
                let none = Deletion { time: i64::MIN, ldt: i32::MAX as u32 };
                let Deletion { time, ldt } = legacy.unwrap_or(none);
                out.extend_from_slice(&ldt.to_be_bytes());
                out.extend_from_slice(&time.to_be_bytes());
            }
        }
    }

    /// Whether [`Times::put_whole_deletion`] can hold a deletion: in `oa` the sign of the write time says that there is none.
    pub fn holds_whole(&self, deletion: Option<Deletion>) -> bool {
        !self.is_oa() || deletion.is_none_or(|d| d.time >= 0)
    }

    fn is_oa(&self) -> bool {
        self.version >= Version::Oa
    }
}
