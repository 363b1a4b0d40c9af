//! Decimals (`DecimalType`): a header with the sign and the length of the exponent to base 100, the exponent, pairs of
//! digits, each plus 0x80, and 0x00. Of a negative number only the first pair is negative, rounded down.

use num_bigint::{BigInt, BigUint, Sign};

use super::super::value::damaged;
use super::decode::{Cursor, invalid};
use crate::error::Result;

const ZERO: u8 = 0x80;
/// More digits than the longest clustering, 64 KiB, can have.
const ZEROS_MAX: i64 = 160_000;

/// Appends a decimal: scale (i32) and unscaled number (two's complement).
pub(super) fn put(out: &mut Vec<u8>, value: &[u8]) -> Result<()> {
    let Some((scale, unscaled)) = value.split_first_chunk::<4>().filter(|(_, u)| !u.is_empty()) else {
        return Err(damaged("a decimal of less than five bytes"));
    };
    let (sign, magnitude) = BigInt::from_signed_bytes_be(unscaled).into_parts();
    if sign == Sign::NoSign {
        out.push(ZERO);
        return Ok(());
    }
    let negative = sign == Sign::Minus;
    let mut digits = magnitude.to_radix_be(10);
    // The number is 0.d₁d₂d₃… times ten to the power of `ten`; an odd power takes a zero in front.
    let ten = digits.len() as i64 - i64::from(i32::from_be_bytes(*scale));
    if ten & 1 != 0 {
        digits.insert(0, 0);
    }
    let exponent = (ten + (ten & 1)) / 2;
    put_header(out, negative, exponent as i32);
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let last = digits.len().div_ceil(2) - 1;
    for (i, pair) in digits.chunks(2).enumerate() {
        let pair = pair[0] * 10 + pair.get(1).unwrap_or(&0);
        out.push(match (negative, i) {
            (false, _) => 0x80 + pair,
            (true, 0) => 0x80 - pair - u8::from(last > 0),
            (true, i) => 0x80 + 99 - pair + u8::from(i == last),
        });
    }
    out.push(0);
    Ok(())
}

fn put_header(out: &mut Vec<u8>, negative: bool, exponent: i32) {
    let exponent = if negative { exponent.wrapping_neg() } else { exponent };
    let bytes = 4 - exponent.unsigned_abs().leading_zeros() as usize / 8;
    let sign: u8 = if negative { 0x00 } else { 0x80 };
    out.push(if exponent < 0 { sign + 0x40 - bytes as u8 } else { sign + 0x40 + bytes as u8 });
    out.extend_from_slice(&exponent.to_be_bytes()[4 - bytes..]);
}

/// The reverse of [`put`]: a decimal equal in value.
pub(super) fn get(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    let header = cursor.u8()?;
    if header == ZERO {
        out.extend_from_slice(&[0; 5]);
        return Ok(());
    }
    let negative = header < ZERO;
    let len = i32::from(header & 0x7f) - 0x40;
    if !(-4..=4).contains(&len) {
        return Err(invalid());
    }
    let mut exponent = if len < 0 { -1_i32 } else { 0 };
    for _ in 0..len.abs() {
        exponent = exponent << 8 | i32::from(cursor.u8()?);
    }
    let exponent = if negative { -i64::from(exponent) } else { i64::from(exponent) };
    let mut pairs = Vec::new();
    loop {
        match cursor.u8()? {
            0 => break,
            byte => pairs.push(i16::from(byte) - 0x80),
        }
    }
    let mut unscaled = unscaled(&pairs, negative).ok_or_else(invalid)?;
    let mut scale = 2 * (pairs.len() as i64 - exponent);
    if scale == i64::from(i32::MAX) + 1 && &unscaled % 10 == BigInt::ZERO {
        unscaled /= 10;
        scale -= 1;
    }
    // Below the least scale there is, zeros go into the number.
    let zeros = (i64::from(i32::MIN) - scale).max(0);
    if zeros > ZEROS_MAX {
        return Err(invalid());
    }
    let scale = i32::try_from(scale + zeros).map_err(|_| invalid())?;
    out.extend_from_slice(&scale.to_be_bytes());
    out.extend_from_slice(&(unscaled * BigInt::from(10).pow(zeros as u32)).to_signed_bytes_be());
    Ok(())
}

fn unscaled(pairs: &[i16], negative: bool) -> Option<BigInt> {
    let (first, rest) = pairs.split_first()?;
    let in_range = |p: &i16| (0..100).contains(p);
    let first_range = if negative { -100..=-1 } else { 1..=99 };
    if !first_range.contains(first) || !rest.iter().all(in_range) {
        return None;
    }
    let number = |digits: &[u8]| BigUint::from_radix_be(digits, 100).map(BigInt::from);
    let first = first.unsigned_abs() as u8;
    let mut head = vec![first / 100, first % 100];
    head.resize(2 + rest.len(), 0);
    let rest: Vec<u8> = rest.iter().map(|p| *p as u8).collect();
    let head = number(&head)?;
    let rest = if rest.is_empty() { BigInt::ZERO } else { number(&rest)? };
    Some(if negative { rest - head } else { head + rest })
}
