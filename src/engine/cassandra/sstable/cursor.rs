//! Reading Cassandra's big-endian integers and variable-length integers out of a slice, without ever passing its end.

use repo_format::record::Near;

use crate::error::{Error, Kind};

/// Why a parser stopped. Small and `Copy`, because it is returned some ten times a row; it becomes an [`Error`] with
/// file and offset where it leaves the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The slice ends before the structure does: more input may help.
    Short,
    /// A field holds what Cassandra does not write.
    Bad(&'static str),
    /// Valid, and not understood here.
    Unsupported(&'static str),
    /// Passes a limit of this program.
    TooLarge(&'static str),
}

impl Fault {
    /// The error for a fault in `subject`, a file and the place in it.
    pub fn at(self, subject: impl std::fmt::Display) -> Error {
        match self {
            Fault::Short => Error::damaged(subject, "ends in the middle of a structure"),
            Fault::Bad(what) => Error::damaged(subject, format_args!("{what} is not valid")),
            Fault::Unsupported(what) => {
                Error::new(Kind::Unsupported, subject, format_args!("{what} is not understood"))
            }
            Fault::TooLarge(what) => Error::new(Kind::TooLarge, subject, format_args!("{what} passes the limit")),
        }
    }
}

/// The result of a parser inside the decoder.
pub type Parsed<T> = std::result::Result<T, Fault>;

/// A position in a slice.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// The whole slice.
    #[inline]
    pub fn all(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes read so far.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// What was read since position `from`, an earlier value of [`Cursor::at`].
    #[inline]
    pub fn since(&self, from: usize) -> &'a [u8] {
        &self.bytes[from.min(self.at)..self.at]
    }

    /// The next `n` bytes.
    #[inline]
    pub fn bytes(&mut self, n: usize) -> Parsed<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if n > rest.len() {
            return Err(Fault::Short);
        }
        self.at += n;
        Ok(&rest[..n])
    }

    /// The next `n` bytes, with what stands behind them.
    #[inline(always)]
    pub fn near(&mut self, n: usize) -> Parsed<Near<'a>> {
        let near = Near::first(&self.bytes[self.at..], n).ok_or(Fault::Short)?;
        self.at += n;
        Ok(near)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        match self.bytes[self.at..].first_chunk::<N>() {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(Fault::Short),
        }
    }

    /// The next byte, not yet read.
    #[inline]
    pub fn first(&self) -> Parsed<u8> {
        self.bytes.get(self.at).copied().ok_or(Fault::Short)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Parsed<u8> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => Err(Fault::Short),
        }
    }

    /// Two bytes, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Parsed<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian, signed.
    #[inline]
    pub fn i32(&mut self) -> Parsed<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Four bytes, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Parsed<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian, signed.
    #[inline]
    pub fn i64(&mut self) -> Parsed<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// An unsigned variable-length integer: as many bytes follow the first as it has leading ones
    /// (source: `VIntCoding`).
    #[inline]
    pub fn vint(&mut self) -> Parsed<u64> {
        let first = self.u8()?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.vint_long(first) }
    }

    #[inline]
    fn vint_long(&mut self, first: u8) -> Parsed<u64> {
        let extra = first.leading_ones() as usize;
        let head = if extra >= 7 { 0 } else { u64::from(first & (0x7f >> extra)) };
        let rest = &self.bytes[self.at..];
        if let Some(eight) = rest.first_chunk::<8>() {
            self.at += extra;
            let tail = u64::from_be_bytes(*eight);
            return Ok(if extra == 8 { tail } else { head << (8 * extra) | tail >> (64 - 8 * extra) });
        }
        let mut value = head;
        for byte in self.bytes(extra)? {
            value = value << 8 | u64::from(*byte);
        }
        Ok(value)
    }

    /// A length or count: a variable-length integer that fits 31 bits.
    #[inline]
    pub fn length(&mut self) -> Parsed<usize> {
        let n = self.vint()?;
        if n > i32::MAX as u64 { Err(Fault::Bad("length")) } else { Ok(n as usize) }
    }

    /// Bytes after their variable-length length.
    #[inline]
    pub fn vbytes(&mut self) -> Parsed<&'a [u8]> {
        let n = self.length()?;
        self.bytes(n)
    }

    /// Bytes after a length of two bytes.
    #[inline]
    pub fn short_bytes(&mut self) -> Parsed<&'a [u8]> {
        let n = self.u16()?;
        self.bytes(usize::from(n))
    }

    /// A count of four bytes of things of at least `each` bytes, so that it cannot claim more than the slice holds.
    pub fn count(&mut self, each: usize) -> Parsed<usize> {
        let n = usize::try_from(self.i32()?).map_err(|_| Fault::Bad("count"))?;
        if n > self.remaining() / each.max(1) { Err(Fault::Short) } else { Ok(n) }
    }

    /// Text after a length of two bytes (Java's modified UTF-8, which for the names used here is ASCII).
    pub fn utf(&mut self) -> Parsed<&'a str> {
        std::str::from_utf8(self.short_bytes()?).map_err(|_| Fault::Bad("text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(value: u64) -> Vec<u8> {
        let bits = 64 - value.leading_zeros().min(63) as usize;
        let size = bits.div_ceil(7).clamp(1, 9);
        let bytes = value.to_be_bytes();
        if size == 9 {
            return [&[0xff], &bytes[..]].concat();
        }
        let mut out = bytes[8 - size..].to_vec();
        out[0] |= !(0xffu16 >> (size - 1)) as u8;
        out
    }

    #[test]
    fn vints_round_trip_at_every_length_and_with_any_tail() {
        for shift in 0..64 {
            for delta in [0u64, 1, 2] {
                let value = (1u64 << shift).wrapping_sub(delta);
                let bytes = encode(value);
                for tail in [0, 8] {
                    let mut input = bytes.clone();
                    input.resize(bytes.len() + tail, 0xee);
                    let mut cursor = Cursor::new(&input);
                    assert_eq!(cursor.vint(), Ok(value), "{value:#x} as {bytes:02x?}");
                    assert_eq!(cursor.at(), bytes.len());
                }
                assert_eq!(Cursor::new(&bytes[..bytes.len() - 1]).vint(), Err(Fault::Short));
            }
        }
    }
}
