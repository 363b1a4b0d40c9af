//! Values made of values: what lies inside frozen collections, tuples, user-defined types and vectors.

use super::types::CqlType;
use crate::error::{Error, Result};

/// Reads the parts of one value (`CollectionSerializer`, `TupleType.split`, `VectorType.split`).
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Over a value.
    pub fn new(value: &'a [u8]) -> Parts<'a> {
        Parts { rest: value }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The number of elements of a collection, `each` of so many parts; it cannot pass what the bytes can hold.
    pub fn count(&mut self, each: usize) -> Result<usize> {
        let n = self.i32()?;
        match usize::try_from(n) {
            Ok(n) if n <= self.rest.len() / (4 * each) => Ok(n),
            _ => Err(damaged(format!("a collection of {n} elements in {} bytes", self.rest.len()))),
        }
    }

    /// A part with its length; a negative length is null.
    pub fn part(&mut self) -> Result<Option<&'a [u8]>> {
        let n = self.i32()?;
        if n < 0 { Ok(None) } else { self.take(n as usize).map(Some) }
    }

    /// An element of a vector, whose length is that of its type or stands before it as a variable integer.
    pub fn element(&mut self, element: &CqlType) -> Result<&'a [u8]> {
        match element.fixed_len() {
            Some(n) => self.take(n),
            None => {
                let n = self.vint()?;
                self.take(usize::try_from(n).unwrap_or(usize::MAX))
            }
        }
    }

    /// Fails unless all was read.
    pub fn end(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(damaged(format!("{n} bytes too many"))),
        }
    }

    fn i32(&mut self) -> Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// `VIntCoding.readUnsignedVInt`: as many leading ones in the first byte as bytes follow.
    fn vint(&mut self) -> Result<u64> {
        let first = self.take(1)?[0];
        let extra = first.leading_ones() as usize;
        let head = if extra >= 7 { 0 } else { u64::from(first) & (0xff >> (extra + 1)) };
        Ok(self.take(extra)?.iter().fold(head, |n, b| n << 8 | u64::from(*b)))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(n) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(damaged(format!("{n} bytes wanted, {} there", self.rest.len()))),
        }
    }
}

/// The three signed variable integers of a duration (`DurationSerializer`).
pub(super) fn vints(value: &[u8]) -> Result<[i64; 3]> {
    let mut parts = Parts::new(value);
    let mut signed = || parts.vint().map(repo_format::wire::unzigzag);
    Ok([signed()?, signed()?, signed()?])
}

/// A part as [`Parts::part`] reads it.
pub fn put_part(out: &mut Vec<u8>, part: Option<&[u8]>) {
    let len = part.map_or(-1, |p| p.len() as i32);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(part.unwrap_or_default());
}

/// An element as [`Parts::element`] reads it.
pub fn put_element(out: &mut Vec<u8>, element: &CqlType, value: &[u8]) {
    if element.fixed_len().is_none() {
        put_vint(out, value.len() as u64);
    }
    out.extend_from_slice(value);
}

/// `VIntCoding.writeUnsignedVInt`.
pub(super) fn put_vint(out: &mut Vec<u8>, n: u64) {
    let bits = 64 - (n | 1).leading_zeros() as usize;
    let extra = ((bits - 1) / 7).min(8);
    let bytes = n.to_be_bytes();
    if extra == 8 {
        out.push(0xff);
        out.extend_from_slice(&bytes);
        return;
    }
    let ones = !(0xff_u8.checked_shr(extra as u32).unwrap_or(0));
    out.push(bytes[7 - extra] | ones);
    out.extend_from_slice(&bytes[8 - extra..]);
}

pub(super) fn damaged(message: impl std::fmt::Display) -> Error {
    Error::damaged("value", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vints() {
        for n in (0..64).flat_map(|i| [1_u64 << i, (1 << i) - 1]).chain([u64::MAX]) {
            let mut out = Vec::new();
            put_vint(&mut out, n);
            assert_eq!(Parts::new(&out).vint().unwrap(), n, "{n} as {out:02x?}");
        }
        let mut out = Vec::new();
        put_vint(&mut out, 256);
        assert_eq!(out, [0x81, 0x00]);
    }

    #[test]
    fn claims_are_not_believed() {
        assert!(Parts::new(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).count(1).is_err());
        assert!(Parts::new(&[0, 0, 0, 9, 1]).part().is_err());
        assert!(Parts::new(&[0xff, 0xff]).element(&CqlType::Text).is_err());
    }
}
