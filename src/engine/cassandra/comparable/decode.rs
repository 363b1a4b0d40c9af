//! Byte-comparable bytes to values (`fromComparableBytes` of each type).

use super::super::types::CqlType;
use super::super::value::{put_element, put_part};
use super::encode::empty_is_none;
use super::{EMPTY, EMPTY_DESCENDING, END, NEXT, NULL, decimal, integer};
use crate::error::{Error, Result};

/// Reads the components of a clustering one after another.
pub struct Cursor<'a> {
    rest: &'a [u8],
    /// All ones inside a component of descending order.
    mask: u8,
}

impl<'a> Cursor<'a> {
    /// Over components, without the end.
    pub fn new(components: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: components, mask: 0 }
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().map(|b| b ^ self.mask)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(truncated)?;
        self.rest = rest;
        Ok(head.map(|b| b ^ self.mask))
    }

    pub(super) fn bytes(&mut self, out: &mut Vec<u8>, n: usize) -> Result<()> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(truncated)?;
        self.rest = rest;
        out.extend(head.iter().map(|b| b ^ self.mask));
        Ok(())
    }

    /// Bytes up to the next zero, and the zero.
    fn until_zero(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let n = self.rest.iter().position(|b| b ^ self.mask == 0).ok_or_else(truncated)?;
        self.bytes(out, n)?;
        self.u8().map(drop)
    }
}

fn truncated() -> Error {
    Error::damaged("key", "ends within a component")
}

pub(super) fn invalid() -> Error {
    Error::damaged("key", "not a byte-comparable value of its type")
}

/// Reads one component: its raw value, or `None` for null.
pub fn decode_component(cursor: &mut Cursor<'_>, t: &CqlType, descending: bool) -> Result<Option<Vec<u8>>> {
    let mut value = Vec::new();
    Ok(decode_component_into(cursor, t, descending, &mut value)?.then_some(value))
}

/// Reads one component and appends its raw value to `out`; `false` for null.
#[inline]
pub fn decode_component_into(
    cursor: &mut Cursor<'_>,
    t: &CqlType,
    descending: bool,
    out: &mut Vec<u8>,
) -> Result<bool> {
    match cursor.u8()? {
        NULL => Ok(false),
        EMPTY if !descending && empty_is_none(t) => Ok(true),
        EMPTY_DESCENDING if descending && empty_is_none(t) => Ok(true),
        NEXT => {
            cursor.mask = if descending { 0xff } else { 0 };
            let done = decode_value(cursor, t, out);
            cursor.mask = 0;
            done.map(|()| true)
        }
        _ => Err(invalid()),
    }
}

/// A component within a tuple, collection or vector.
fn decode_part(cursor: &mut Cursor<'_>, t: &CqlType) -> Result<Option<Vec<u8>>> {
    match cursor.u8()? {
        NULL => Ok(None),
        EMPTY if empty_is_none(t) => Ok(Some(Vec::new())),
        NEXT => {
            let mut value = Vec::new();
            decode_value(cursor, t, &mut value)?;
            Ok(Some(value))
        }
        _ => Err(invalid()),
    }
}

fn decode_value(cursor: &mut Cursor<'_>, t: &CqlType, out: &mut Vec<u8>) -> Result<()> {
    match t {
        CqlType::Ascii | CqlType::Blob | CqlType::Duration | CqlType::Inet | CqlType::Text => unescape(cursor, out),
        CqlType::BigInt => {
            out.extend_from_slice(&integer::signed(cursor)?.to_be_bytes());
            Ok(())
        }
        CqlType::Int => signed::<4>(cursor, out),
        CqlType::SmallInt => signed::<2>(cursor, out),
        CqlType::TinyInt => signed::<1>(cursor, out),
        CqlType::Timestamp => signed::<8>(cursor, out),
        CqlType::Boolean => match cursor.u8()? {
            b @ (0 | 1) => {
                out.push(b);
                Ok(())
            }
            _ => Err(invalid()),
        },
        CqlType::Date => cursor.bytes(out, 4),
        CqlType::Time => cursor.bytes(out, 8),
        CqlType::Double => {
            let bits = u64::from_be_bytes(cursor.array()?);
            let value = if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits };
            out.extend_from_slice(&value.to_be_bytes());
            Ok(())
        }
        CqlType::Float => {
            let bits = u32::from_be_bytes(cursor.array()?);
            let value = if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits };
            out.extend_from_slice(&value.to_be_bytes());
            Ok(())
        }
        CqlType::Uuid => {
            let [high, low] = halves(cursor)?;
            out.extend_from_slice(&uuid(high).to_be_bytes());
            out.extend_from_slice(&low.to_be_bytes());
            Ok(())
        }
        CqlType::TimeUuid => {
            let [high, low] = halves(cursor)?;
            out.extend_from_slice(&back_from_time(high).to_be_bytes());
            out.extend_from_slice(&(low ^ 0x8080_8080_8080_8080).to_be_bytes());
            Ok(())
        }
        CqlType::VarInt => integer::varint(cursor, out),
        CqlType::Decimal => decimal::get(cursor, out),
        _ => decode_parts(cursor, t, out),
    }
}

fn decode_parts(cursor: &mut Cursor<'_>, t: &CqlType, out: &mut Vec<u8>) -> Result<()> {
    match t {
        CqlType::List { element, .. } | CqlType::Set { element, .. } => decode_collection(cursor, &[element], out)?,
        CqlType::Map { key, value, .. } => decode_collection(cursor, &[key, value], out)?,
        CqlType::Tuple(_) | CqlType::Udt { .. } => {
            for field in t.parts() {
                let part = if cursor.peek() == Some(END) { None } else { decode_part(cursor, field)? };
                put_part(out, part.as_deref());
            }
        }
        CqlType::Vector { element, dimension } => {
            for _ in 0..*dimension {
                let value = decode_part(cursor, element)?.ok_or_else(invalid)?;
                put_element(out, element, &value);
            }
        }
        _ => return Err(invalid()),
    }
    if cursor.u8()? == END { Ok(()) } else { Err(invalid()) }
}

/// Elements up to the end, each of as many parts as `types`.
fn decode_collection(cursor: &mut Cursor<'_>, types: &[&CqlType], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let mut count = 0_u32;
    out.extend_from_slice(&count.to_be_bytes());
    while cursor.peek().ok_or_else(truncated)? != END {
        for t in types {
            put_part(out, decode_part(cursor, t)?.as_deref());
        }
        count += 1;
    }
    out[start..start + 4].copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// The reverse of `escape`: a zero is followed by FE for each further zero, by FF where the run of zeros ends within
/// the value, and by something else where the value ends.
fn unescape(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    loop {
        cursor.until_zero(out)?;
        while cursor.peek() == Some(0xfe) {
            cursor.u8()?;
            out.push(0);
        }
        if cursor.peek() != Some(0xff) {
            return Ok(());
        }
        cursor.u8()?;
        out.push(0);
    }
}

fn signed<const N: usize>(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<()> {
    let mut value = cursor.array::<N>()?;
    value[0] ^= 0x80;
    out.extend_from_slice(&value);
    Ok(())
}

fn halves(cursor: &mut Cursor<'_>) -> Result<[u64; 2]> {
    Ok([u64::from_be_bytes(cursor.array()?), u64::from_be_bytes(cursor.array()?)])
}

fn back_from_time(high: u64) -> u64 {
    high << 32 | (high >> 16 & 0xffff_0000) | high >> 48
}

fn uuid(high: u64) -> u64 {
    match high >> 60 {
        1 => back_from_time(high),
        version => (high << 4 & 0xffff_ffff_ffff_0000) | version << 12 | (high & 0xfff),
    }
}
