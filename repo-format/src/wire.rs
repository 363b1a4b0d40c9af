//! Bounded reading and writing of little-endian integers, varints and byte strings.
//! A reader cannot panic and allocates nothing that its input does not hold.

use crate::error::{FormatError, Result};

/// Bytes within others, of which so many as are copied by one instruction or two can be copied, whatever is wanted of them: most
/// values are short, and calling `memcpy` for each would take longer than copying them.
#[derive(Debug, Clone, Copy)]
pub struct Near<'a> {
    bytes: &'a [u8],
    /// The bytes, and what stands behind them.
    wide: Option<&'a [u8; NEAR]>,
}

/// How many bytes of a [`Near`] are copied at once.
const NEAR: usize = 32;

impl<'a> From<&'a [u8]> for Near<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Near<'a> {
        Near { bytes, wide: bytes.first_chunk() }
    }
}

impl<'a> Near<'a> {
    /// The first `length` bytes of `within`; `None` where it has fewer.
    #[inline(always)]
    pub fn first(within: &'a [u8], length: usize) -> Option<Near<'a>> {
        Some(Near { bytes: within.get(..length)?, wide: within.first_chunk() })
    }

    /// The bytes.
    #[inline(always)]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline(always)]
    pub(crate) fn append(self, out: &mut Vec<u8>) {
        match self.wide {
            Some(wide) if self.bytes.len() <= NEAR => {
                let end = out.len() + self.bytes.len();
                out.extend_from_slice(wide);
                out.truncate(end);
            }
            _ => out.extend_from_slice(self.bytes),
        }
    }
}

/// Reads forward through a slice; every method checks that the bytes are there.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// `what` names the structure in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { rest: bytes, what }
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        if n > self.rest.len() {
            return Err(FormatError::Truncated(self.what));
        }
        let (head, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(*head)
            }
            None => Err(FormatError::Truncated(self.what)),
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian, signed.
    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// LEB128, at most ten bytes; encodings longer than needed are refused, so that a value has one encoding.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64> {
        let first = self.u8()?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.varint_long(first) }
    }

    fn varint_long(&mut self, first: u8) -> Result<u64> {
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(FormatError::Invalid(self.what));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if byte == 0 { Err(FormatError::Invalid(self.what)) } else { Ok(value) };
            }
            shift += 7;
            if shift > 63 {
                return Err(FormatError::Invalid(self.what));
            }
        }
    }

    /// A varint that counts things of at least `each` bytes, so it cannot claim more than the input holds.
    #[inline]
    pub fn count(&mut self, each: usize) -> Result<usize> {
        let n = self.varint()?;
        if n > (self.rest.len() / each.max(1)) as u64 {
            return Err(FormatError::Truncated(self.what));
        }
        Ok(n as usize)
    }

    /// A varint length, then that many bytes.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let n = self.count(1)?;
        self.bytes(n)
    }

    /// The same, with what stands behind them.
    #[inline(always)]
    pub fn near_string(&mut self) -> Result<Near<'a>> {
        let n = self.count(1)?;
        let near = Near::first(self.rest, n).ok_or(FormatError::Truncated(self.what))?;
        self.rest = &self.rest[n..];
        Ok(near)
    }

    /// A varint length, then that many bytes of UTF-8.
    pub fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.string()?).map_err(|_| FormatError::Invalid(self.what))
    }

    /// Fails when bytes are left over.
    pub fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Invalid(self.what)) }
    }
}

/// What the reader reads, written.
pub trait Put {
    /// LEB128, shortest form.
    fn put_varint(&mut self, value: u64);
    /// Varint length, then the bytes.
    fn put_string(&mut self, bytes: &[u8]);
    /// The bytes with 00 as 00 FF, and 00 00: in keys, where what begins another is to come before it.
    fn put_escaped(&mut self, bytes: &[u8]);
    /// Two bytes, little-endian.
    fn put_u16(&mut self, value: u16);
    /// Four bytes, little-endian.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes, little-endian.
    fn put_u64(&mut self, value: u64);
    /// Eight bytes, little-endian, signed.
    fn put_i64(&mut self, value: i64);
}

impl Put for Vec<u8> {
    #[inline]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
    #[inline]
    fn put_string(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }
    #[inline]
    fn put_escaped(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(zero) = rest.iter().position(|b| *b == 0) {
            self.extend_from_slice(&rest[..=zero]);
            self.push(0xff);
            rest = &rest[zero + 1..];
        }
        self.extend_from_slice(rest);
        self.extend_from_slice(&[0, 0]);
    }
    #[inline]
    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
    #[inline]
    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
}

/// Signed to unsigned so that small magnitudes stay small.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The reverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
