//! Integers of variable length (`ByteSource.VariableLengthInteger`, `IntegerType`).

use super::decode::{Cursor, invalid};
use crate::error::Result;

/// From so many bytes on, a varint is written with its length.
const FULL_FORM: usize = 7;

/// A sign bit (1 for positive), as many equal bits as further bytes, a bit that differs, the number.
#[inline]
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    let negative = value >> 63;
    let magnitude = value ^ negative;
    let bits = 64 - (magnitude | 1).leading_zeros() as usize;
    let bytes = bits / 7 + 1;
    if bytes >= 9 {
        out.push(if negative < 0 { 0x00 } else { 0xff });
        out.extend_from_slice(&((magnitude | i64::MIN) ^ negative).to_be_bytes());
        return;
    }
    let mask = ((-0x100_i64 >> bytes) & 0xff) << (bytes * 8 - 8);
    let encoded = ((magnitude | mask) ^ negative).to_be_bytes();
    out.extend_from_slice(&encoded[8 - bytes..]);
}

/// The reverse of [`put_signed`].
pub(super) fn signed(cursor: &mut Cursor<'_>) -> Result<i64> {
    let first = cursor.u8()?;
    let negative = if first & 0x80 == 0 { -1_i64 } else { 0 };
    let invert = negative as u8;
    let ones = (first ^ invert).leading_ones() as usize;
    let (mut value, more) = match ones {
        8 => {
            let second = cursor.u8()? ^ invert;
            (i64::from(second & 0x7f), if second & 0x80 != 0 { 7 } else { 6 })
        }
        _ => (i64::from((first ^ invert) & (0xff_u8 >> ones)), ones - 1),
    };
    for _ in 0..more {
        value = value << 8 | i64::from(cursor.u8()? ^ invert);
    }
    Ok(value ^ negative)
}

/// A varint: as [`put_signed`] where it fits in six bytes, otherwise 00 (negative) or FF, the number of bytes less
/// seven (inverted for negative ones) and the bytes. Sign bytes that say nothing are left out.
pub(super) fn put_varint(out: &mut Vec<u8>, value: &[u8]) {
    let Some(&first) = value.first() else { return };
    let sign = if first & 0x80 != 0 { 0xff } else { 0x00 };
    let redundant = value.iter().take_while(|b| **b == sign).count().min(value.len() - 1);
    let significant = &value[redundant..];
    if significant.len() < FULL_FORM {
        let start = if sign == 0 { 0 } else { -1 };
        put_signed(out, significant.iter().fold(start, |n, b| n << 8 | i64::from(*b)));
        return;
    }
    out.push(!sign);
    let start = out.len();
    put_unsigned(out, (significant.len() - FULL_FORM) as u64);
    out[start..].iter_mut().for_each(|b| *b ^= sign);
    out.extend_from_slice(significant);
}

/// The reverse of [`put_varint`]: the shortest bytes of that number.
pub(super) fn varint(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    let sign = !cursor.peek().ok_or_else(invalid)?;
    if sign != 0 && sign != 0xff {
        let bytes = signed(cursor)?.to_be_bytes();
        out.extend_from_slice(shortest(&bytes));
        return Ok(());
    }
    cursor.u8()?;
    let len = usize::try_from(unsigned(cursor, sign)?).ok().and_then(|n| n.checked_add(FULL_FORM));
    let len = len.filter(|n| *n <= cursor.remaining()).ok_or_else(invalid)?;
    if cursor.peek().is_some_and(|b| (b ^ sign) & 0x80 != 0) {
        out.push(sign);
    }
    cursor.bytes(out, len)
}

/// Two's complement without the sign bytes that say nothing.
pub(super) fn shortest(bytes: &[u8]) -> &[u8] {
    let says_nothing = |pair: &[u8]| match pair[0] {
        0x00 => pair[1] & 0x80 == 0,
        0xff => pair[1] & 0x80 != 0,
        _ => false,
    };
    &bytes[bytes.windows(2).take_while(|pair| says_nothing(pair)).count()..]
}

/// As many leading ones as further bytes, a zero, the number.
fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    let more = (63 - (value | 1).leading_zeros() as usize) / 7;
    let ones = (-0x100_i64 >> more.min(8)) as u8;
    let bytes = value.to_be_bytes();
    let first = if more >= 8 { 0 } else { bytes[7 - more] };
    out.push(first | ones);
    out.extend_from_slice(&bytes[8 - more.min(8)..]);
}

fn unsigned(cursor: &mut Cursor<'_>, invert: u8) -> Result<u64> {
    let first = cursor.u8()? ^ invert;
    let more = first.leading_ones();
    let mut value = u64::from(first) & (0x7f_u64 >> more.min(7));
    for _ in 0..more {
        value = value << 8 | u64::from(cursor.u8()? ^ invert);
    }
    Ok(value)
}
