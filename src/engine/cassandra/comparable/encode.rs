//! Values to byte-comparable bytes (`asComparableBytes` of each type, version OSS50).

use super::super::types::CqlType;
use super::super::value::{Parts, damaged};
use super::{EMPTY, EMPTY_DESCENDING, END, NEXT, NULL, decimal, integer};
use crate::error::{Error, Result};

/// Appends marker and value of one component; `None` is null.
#[inline]
pub fn encode_component(out: &mut Vec<u8>, t: &CqlType, descending: bool, value: Option<&[u8]>) -> Result<()> {
    let Some(value) = value else {
        out.push(NULL);
        return Ok(());
    };
    if value.is_empty() && empty_is_none(t) {
        out.push(if descending { EMPTY_DESCENDING } else { EMPTY });
        return Ok(());
    }
    out.push(NEXT);
    let start = out.len();
    encode_value(out, t, value)?;
    if descending {
        out[start..].iter_mut().for_each(|b| *b = !*b);
    }
    Ok(())
}

/// Types for which the empty value has a marker of its own; for the others it is a value like any.
pub(super) fn empty_is_none(t: &CqlType) -> bool {
    use CqlType::*;
    !matches!(t, Ascii | Blob | Duration | Inet | Text | Vector { .. })
}

#[inline]
fn encode_value(out: &mut Vec<u8>, t: &CqlType, value: &[u8]) -> Result<()> {
    match t {
        CqlType::Ascii | CqlType::Blob | CqlType::Duration | CqlType::Inet | CqlType::Text => escape(out, value),
        CqlType::BigInt => integer::put_signed(out, i64::from_be_bytes(exactly(value)?)),
        CqlType::Int => signed(out, exactly::<4>(value)?),
        CqlType::SmallInt => signed(out, exactly::<2>(value)?),
        CqlType::TinyInt => signed(out, exactly::<1>(value)?),
        CqlType::Timestamp => signed(out, exactly::<8>(value)?),
        CqlType::Boolean => out.push(u8::from(exactly::<1>(value)?[0] != 0)),
        CqlType::Date => out.extend_from_slice(&exactly::<4>(value)?),
        CqlType::Time => out.extend_from_slice(&exactly::<8>(value)?),
        CqlType::Double => double(out, f64::from_be_bytes(exactly(value)?)),
        CqlType::Float => float(out, f32::from_be_bytes(exactly(value)?)),
        CqlType::Uuid => out.extend_from_slice(&uuid(exactly(value)?).to_be_bytes()),
        CqlType::TimeUuid => out.extend_from_slice(&time_uuid(exactly(value)?).to_be_bytes()),
        CqlType::VarInt => integer::put_varint(out, value),
        CqlType::Decimal => decimal::put(out, value)?,
        _ => encode_parts(out, t, value)?,
    }
    Ok(())
}

fn encode_parts(out: &mut Vec<u8>, t: &CqlType, value: &[u8]) -> Result<()> {
    let mut parts = Parts::new(value);
    match t {
        CqlType::List { element, .. } | CqlType::Set { element, .. } => {
            for _ in 0..parts.count(1)? {
                encode_component(out, element, false, parts.part()?)?;
            }
            parts.end()?;
        }
        CqlType::Map { key, value, .. } => {
            for _ in 0..parts.count(2)? {
                encode_component(out, key, false, parts.part()?)?;
                encode_component(out, value, false, parts.part()?)?;
            }
            parts.end()?;
        }
        CqlType::Tuple(_) | CqlType::Udt { .. } => encode_fields(out, t, parts)?,
        CqlType::Vector { element, dimension } => {
            for _ in 0..*dimension {
                encode_component(out, element, false, Some(parts.element(element)?))?;
            }
            parts.end()?;
        }
        other => return Err(Error::damaged("value", format!("a {other} cannot stand in a key"))),
    }
    out.push(END);
    Ok(())
}

/// Trailing nulls, written or left out, do not count.
fn encode_fields(out: &mut Vec<u8>, t: &CqlType, mut parts: Parts<'_>) -> Result<()> {
    let mut end = out.len();
    for field in t.parts() {
        if parts.is_empty() {
            break;
        }
        let part = parts.part()?;
        encode_component(out, field, false, part)?;
        if part.is_some() {
            end = out.len();
        }
    }
    out.truncate(end);
    parts.end()
}

/// Zeros are escaped, so that what follows the value compares less than any more of it (`ByteSource.AbstractEscaper`):
/// a run of n zeros is 00 and n-1 times FE, then FF, or at the end of the value FE. Other values end with 00.
fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(zero) = rest.iter().position(|b| *b == 0) {
        let run = rest[zero..].iter().take_while(|b| **b == 0).count();
        out.extend_from_slice(&rest[..=zero]);
        out.resize(out.len() + run - 1, 0xfe);
        rest = &rest[zero + run..];
        if rest.is_empty() {
            out.push(0xfe);
            return;
        }
        out.push(0xff);
    }
    out.extend_from_slice(rest);
    out.push(0);
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| damaged(format!("{} bytes where {N} belong", value.len())))
}

fn signed<const N: usize>(out: &mut Vec<u8>, mut value: [u8; N]) {
    value[0] ^= 0x80;
    out.extend_from_slice(&value);
}

fn double(out: &mut Vec<u8>, value: f64) {
    let bits = if value.is_nan() { 0x7ff8 << 48 } else { value.to_bits() };
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn float(out: &mut Vec<u8>, value: f32) {
    let bits = if value.is_nan() { 0x7fc0 << 16 } else { value.to_bits() };
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    out.extend_from_slice(&ordered.to_be_bytes());
}

/// The time of a version 1 UUID, most significant bits first (`TimeUUIDType.reorderTimestampBytes`).
fn by_time(high: u64) -> u64 {
    high << 48 | (high << 16 & 0xffff_0000_0000) | high >> 32
}

/// Version first, then time for version 1 and plain bits for the others (`UUIDType`).
fn uuid(bytes: [u8; 16]) -> u128 {
    let bits = u128::from_be_bytes(bytes);
    let high = (bits >> 64) as u64;
    let version = high >> 12 & 0xf;
    let high = match version {
        1 => by_time(high),
        _ => version << 60 | (high >> 4 & 0x0fff_ffff_ffff_f000) | (high & 0xfff),
    };
    u128::from(high) << 64 | bits & u128::from(u64::MAX)
}

/// Time first; the bytes of the lower half compare as signed bytes (`AbstractTimeUUIDType`).
fn time_uuid(bytes: [u8; 16]) -> u128 {
    let bits = u128::from_be_bytes(bytes);
    u128::from(by_time((bits >> 64) as u64)) << 64 | u128::from(bits as u64 ^ 0x8080_8080_8080_8080)
}
