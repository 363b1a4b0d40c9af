//! Sequences of integers and of short byte strings, laid out so that a compressor finds what they share
//! (SPEC "Leaves": ints, strings). The number of items is always known from elsewhere.
//!
//! ```text
//! ints    = mode u8 │ base varint │ if mode is not 0: width u8 │ width × (count bytes)
//! strings = ints lengths │ bytes varint │ mode u8 │ bytes
//! ```

use crate::error::{FormatError, Result};
use crate::wire::{Near, Put, Reader, unzigzag, zigzag};

const ALL_EQUAL: u8 = 0;
const ABOVE_LEAST: u8 = 1;
const DIFFERENCES: u8 = 2;
const JOINED: u8 = 0;
const PLANES: u8 = 1;

/// The longest strings that are laid out in planes.
pub const PLANES_MAX: usize = 16;

/// Appends integers: one value for all, or byte planes of what each is above the least or of the zigzag differences
/// from one to the next, whichever has fewer significant bits in all.
pub fn put_ints(out: &mut Vec<u8>, values: &[u64], scratch: &mut Vec<u64>) {
    let first = values.first().copied().unwrap_or(0);
    if values.iter().all(|v| *v == first) {
        out.push(ALL_EQUAL);
        out.put_varint(first);
        return;
    }
    let least = values.iter().copied().min().unwrap_or(0);
    let bits = |v: u64| u64::from(64 - v.leading_zeros());
    let above: u64 = values.iter().map(|v| bits(v - least)).sum();
    let mut last = first;
    let mut stepped = 0;
    for v in values {
        stepped += bits(zigzag(v.wrapping_sub(last) as i64));
        last = *v;
    }
    scratch.clear();
    if stepped < above {
        out.push(DIFFERENCES);
        out.put_varint(first);
        let mut last = first;
        scratch.extend(values.iter().map(|v| {
            let step = zigzag(v.wrapping_sub(last) as i64);
            last = *v;
            step
        }));
    } else {
        out.push(ABOVE_LEAST);
        out.put_varint(least);
        scratch.extend(values.iter().map(|v| v - least));
    }
    let widest = scratch.iter().copied().max().unwrap_or(0);
    let width = (64 - widest.leading_zeros()).div_ceil(8) as u8;
    out.push(width);
    for plane in 0..width {
        out.extend(scratch.iter().map(|v| (v >> (8 * plane)) as u8));
    }
}

/// Integers being read one after another.
#[derive(Clone, Copy)]
pub struct Ints<'a> {
    base: u64,
    planes: &'a [u8],
    width: usize,
    count: usize,
    at: usize,
    differences: bool,
}

impl<'a> Ints<'a> {
    /// Takes `count` integers off `r`. Allocates nothing.
    pub fn read(r: &mut Reader<'a>, count: usize) -> Result<Ints<'a>> {
        let mode = r.u8()?;
        let base = r.varint()?;
        if mode == ALL_EQUAL {
            return Ok(Ints { base, planes: &[], width: 0, count, at: 0, differences: false });
        }
        if mode > DIFFERENCES {
            return Err(FormatError::Invalid("integer layout"));
        }
        let width = usize::from(r.u8()?);
        if !(1..=8).contains(&width) {
            return Err(FormatError::Invalid("integer width"));
        }
        let bytes = count.checked_mul(width).ok_or(FormatError::TooLarge("integers"))?;
        Ok(Ints { base, planes: r.bytes(bytes)?, width, count, at: 0, differences: mode == DIFFERENCES })
    }

    /// The next integer.
    #[inline]
    pub fn next_int(&mut self) -> Result<u64> {
        if self.at >= self.count {
            return Err(FormatError::Truncated("integers"));
        }
        let mut v = 0;
        let mut place = self.at;
        for plane in 0..self.width {
            v |= u64::from(self.planes[place]) << (8 * plane);
            place += self.count;
        }
        self.at += 1;
        if self.differences {
            self.base = self.base.wrapping_add(unzigzag(v) as u64);
            return Ok(self.base);
        }
        Ok(self.base.wrapping_add(v))
    }

    /// Whether there is no next integer.
    pub fn is_used_up(&self) -> bool {
        self.at == self.count
    }

    /// The next integer as a length.
    #[inline]
    pub fn next_len(&mut self) -> Result<usize> {
        usize::try_from(self.next_int()?).map_err(|_| FormatError::TooLarge("length"))
    }
}

/// Byte strings being collected.
#[derive(Default)]
pub struct Strings {
    lens: Vec<u64>,
    bytes: Vec<u8>,
}

impl Strings {
    /// Adds one.
    #[inline]
    pub fn push(&mut self, s: &[u8]) {
        self.lens.push(s.len() as u64);
        self.bytes.extend_from_slice(s);
    }

    /// The same, for what is mostly short.
    #[inline(always)]
    pub fn push_near(&mut self, s: Near<'_>) {
        self.lens.push(s.bytes().len() as u64);
        s.append(&mut self.bytes);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Forgets them, keeps the memory.
    pub fn clear(&mut self) {
        self.lens.clear();
        self.bytes.clear();
    }

    /// Appends them: lengths, then the bytes one after another or, if `planes` is wished and all are equally long
    /// and short, first all first bytes, then all second ones, …
    pub fn put(&self, out: &mut Vec<u8>, planes: bool, scratch: &mut Vec<u64>) {
        put_ints(out, &self.lens, scratch);
        let each = self.lens.first().copied().unwrap_or(0) as usize;
        let fit = planes && (2..=PLANES_MAX).contains(&each) && self.lens.iter().all(|n| *n == each as u64);
        out.put_varint(self.bytes.len() as u64);
        if !fit {
            out.push(JOINED);
            out.extend_from_slice(&self.bytes);
            return;
        }
        out.push(PLANES);
        for plane in 0..each {
            out.extend(self.bytes.iter().skip(plane).step_by(each));
        }
    }
}

/// Byte strings being read one after another.
#[derive(Clone, Copy)]
pub struct StringsReader<'a> {
    lens: Ints<'a>,
    bytes: Reader<'a>,
    /// In planes: all bytes, the number of strings, the next one.
    planes: Option<(&'a [u8], usize, usize)>,
}

impl<'a> StringsReader<'a> {
    /// Takes `count` strings off `r`. Allocates nothing.
    pub fn read(r: &mut Reader<'a>, count: usize) -> Result<StringsReader<'a>> {
        let lens = Ints::read(r, count)?;
        let total = r.varint()?;
        let mode = r.u8()?;
        let total = usize::try_from(total).map_err(|_| FormatError::TooLarge("strings"))?;
        let bytes = r.bytes(total)?;
        let planes = match mode {
            JOINED => None,
            PLANES if count > 0 && total.is_multiple_of(count) && (2..=PLANES_MAX).contains(&(total / count)) => {
                Some((bytes, count, 0))
            }
            _ => return Err(FormatError::Invalid("string layout")),
        };
        Ok(StringsReader { lens, bytes: Reader::new(bytes, "strings"), planes })
    }

    /// Whether there is no next string, and no byte that belongs to none.
    pub fn is_used_up(&self) -> bool {
        self.lens.is_used_up() && (self.planes.is_some() || self.bytes.is_empty())
    }

    /// The next string; `buffer` serves those that lie in planes.
    #[inline]
    pub fn next_string<'b>(&mut self, buffer: &'b mut [u8; PLANES_MAX]) -> Result<&'b [u8]>
    where
        'a: 'b,
    {
        let n = self.lens.next_len()?;
        let Some((bytes, count, at)) = &mut self.planes else { return self.bytes.bytes(n) };
        if *at >= *count || n > PLANES_MAX || n * *count != bytes.len() {
            return Err(FormatError::Truncated("strings"));
        }
        for (i, byte) in buffer.iter_mut().take(n).enumerate() {
            *byte = bytes[i * *count + *at];
        }
        *at += 1;
        Ok(&buffer[..n])
    }
}
