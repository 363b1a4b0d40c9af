//! What a leaf keeps of its groups, and what the versions of its records count: numbers in its head (SPEC "Leaves").

use crate::error::{FormatError, Result};
use crate::murmur3;
use crate::wire::Put;

/// What a leaf keeps in place of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum GroupCodec {
    /// The group.
    #[default]
    None = 0,
    /// The key in a group that is a hash of the key and the key: 8 bytes of Murmur3 token, the key with 00 as 00 FF, and
    /// 00 00. Partitions of Cassandra and ScyllaDB are such groups.
    Murmur3 = 1,
}

impl GroupCodec {
    /// From its number.
    pub fn from_u8(n: u8) -> Result<GroupCodec> {
        match n {
            0 => Ok(GroupCodec::None),
            1 => Ok(GroupCodec::Murmur3),
            n => Err(FormatError::Unsupported(format!("group codec {n}"))),
        }
    }

    /// Puts what is kept of `group` in `kept`; `false` where the group is not what the codec makes of that.
    pub(super) fn keep(self, group: &[u8], kept: &mut Vec<u8>) -> bool {
        kept.clear();
        match self {
            GroupCodec::None => kept.extend_from_slice(group),
            GroupCodec::Murmur3 => return key_of(group, kept),
        }
        true
    }

    /// Appends the group of which `kept` is kept.
    pub(super) fn give(self, kept: &[u8], out: &mut Vec<u8>) {
        match self {
            GroupCodec::None => out.extend_from_slice(kept),
            GroupCodec::Murmur3 => put_group(kept, out),
        }
    }
}

fn key_of(group: &[u8], key: &mut Vec<u8>) -> bool {
    let Some((token, escaped)) = group.split_first_chunk::<8>() else { return false };
    let Some(mut rest) = escaped.strip_suffix(&[0, 0]) else { return false };
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        key.extend_from_slice(&rest[..=zero]);
        let Some(after) = rest[zero + 1..].strip_prefix(&[0xff]) else { return false };
        rest = after;
    }
    key.extend_from_slice(rest);
    murmur3::token_bytes(murmur3::token(key)) == *token
}

fn put_group(key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&murmur3::token_bytes(murmur3::token(key)));
    out.put_escaped(key);
}

/// What one unit of a version is. Dates are kept as differences from their entries' versions, which are small where a
/// version is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[repr(u8)]
pub enum TimeUnit {
    /// No time: a sequence number, a rank.
    #[default]
    None = 0,
    /// A microsecond since 1970.
    Microsecond = 1,
    /// A millisecond since 1970.
    Millisecond = 2,
    /// A second since 1970.
    Second = 3,
}

impl TimeUnit {
    /// From its number.
    pub fn from_u8(n: u8) -> Result<TimeUnit> {
        match n {
            0 => Ok(TimeUnit::None),
            1 => Ok(TimeUnit::Microsecond),
            2 => Ok(TimeUnit::Millisecond),
            3 => Ok(TimeUnit::Second),
            n => Err(FormatError::Unsupported(format!("time unit {n}"))),
        }
    }

    /// The date that an entry of this version most likely has: deletions are made and cells expire in the second of the
    /// write, plus the time to live.
    #[inline]
    pub(super) fn expected_date(self, version: i64, ttl: u32) -> i64 {
        let seconds = match self {
            TimeUnit::None => 0,
            TimeUnit::Microsecond => version.div_euclid(1_000_000),
            TimeUnit::Millisecond => version.div_euclid(1_000),
            TimeUnit::Second => version,
        };
        seconds.wrapping_add(i64::from(ttl))
    }
}
