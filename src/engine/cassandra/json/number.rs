//! Integers and decimals of any length.

use std::fmt::Write;

use num_bigint::BigInt;

use super::super::value::damaged;
use crate::error::Result;

/// Two's complement.
pub(super) fn varint(out: &mut String, value: &[u8]) {
    match small(value) {
        Some(n) => {
            let _ = write!(out, "{n}");
        }
        None => out.push_str(&BigInt::from_signed_bytes_be(value).to_string()),
    }
}

fn small(value: &[u8]) -> Option<i64> {
    let negative = value.first()? & 0x80 != 0;
    let start = if negative { -1 } else { 0 };
    (value.len() <= 8).then(|| value.iter().fold(start, |n, b| n << 8 | i64::from(*b)))
}

/// Scale and unscaled number, as `BigDecimal.toString` writes it: with an exponent where the scale is negative or
/// more than six zeros would follow the point.
pub(super) fn decimal(out: &mut String, value: &[u8]) -> Result<()> {
    let Some((scale, unscaled)) = value.split_first_chunk::<4>().filter(|(_, u)| !u.is_empty()) else {
        return Err(damaged("a decimal of less than five bytes"));
    };
    let scale = i64::from(i32::from_be_bytes(*scale));
    let mut text = String::new();
    varint(&mut text, unscaled);
    let (sign, digits) = if let Some(digits) = text.strip_prefix('-') { ("-", digits) } else { ("", &text[..]) };
    out.push_str(sign);
    let exponent = digits.len() as i64 - 1 - scale;
    let (mut head, mut tail) = (digits, "");
    let mut zeros = 0;
    if scale < 0 || exponent < -6 {
        (head, tail) = digits.split_at(1);
    } else if exponent < 0 {
        (head, tail, zeros) = ("0", digits, -1 - exponent);
    } else if scale > 0 {
        (head, tail) = digits.split_at(digits.len() - scale as usize);
    }
    out.push_str(head);
    if !tail.is_empty() {
        out.push('.');
        (0..zeros).for_each(|_| out.push('0'));
        out.push_str(tail);
    }
    if (scale < 0 || exponent < -6) && exponent != 0 {
        let _ = write!(out, "E{exponent:+}");
    }
    Ok(())
}
