//! Values as `SELECT JSON` writes them (`AbstractType.toJSONString` of each type).

mod float;
mod number;
mod temporal;

use std::fmt::Write;

use super::types::CqlType;
use super::value::{Parts, damaged};
use crate::error::Result;

/// Appends a value. Empty values of types that have none are `""`, as Cassandra writes them (for booleans and tinyints,
/// where Cassandra fails, too).
pub fn write_value(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    match t {
        CqlType::Text | CqlType::Ascii => write_string(out, text(t, value)?),
        CqlType::Blob | CqlType::Composite(_) | CqlType::Custom { .. } => {
            out.push_str("\"0x");
            hex(out, value);
            out.push('"');
        }
        CqlType::List { element, .. } | CqlType::Set { element, .. } => {
            let mut parts = Parts::new(value);
            let count = parts.count(1)?;
            sequence(out, count, |out, _| write_part(out, element, parts.part()?))?;
        }
        CqlType::Map { key, value: of, .. } => write_map(out, key, of, Parts::new(value))?,
        CqlType::Tuple(types) => {
            let mut parts = Parts::new(value);
            sequence(out, types.len(), |out, i| write_part(out, &types[i], next_field(&mut parts)?))?;
        }
        CqlType::Vector { element, dimension } => {
            let mut parts = Parts::new(value);
            sequence(out, *dimension as usize, |out, _| write_value(out, element, parts.element(element)?))?;
            parts.end()?;
        }
        CqlType::Udt { udt, .. } => {
            let mut parts = Parts::new(value);
            for (i, (name, of)) in udt.fields.iter().enumerate() {
                out.push_str(if i == 0 { "{" } else { ", " });
                write_name(out, name);
                out.push_str(": ");
                write_part(out, of, next_field(&mut parts)?)?;
            }
            out.push_str(if udt.fields.is_empty() { "{}" } else { "}" });
        }
        CqlType::Time if value.is_empty() => out.push_str("\"null\""),
        _ if value.is_empty() => out.push_str("\"\""),
        _ => scalar(out, t, value)?,
    }
    Ok(())
}

pub(super) fn scalar(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    match t {
        CqlType::BigInt => number(out, i64::from_be_bytes(exactly(t, value)?)),
        CqlType::Int => number(out, i64::from(i32::from_be_bytes(exactly(t, value)?))),
        CqlType::SmallInt => number(out, i64::from(i16::from_be_bytes(exactly(t, value)?))),
        CqlType::TinyInt => number(out, i64::from(i8::from_be_bytes(exactly(t, value)?))),
        CqlType::Counter => number(out, super::rule::total(value)?),
        CqlType::Boolean => out.push_str(if exactly::<1>(t, value)?[0] != 0 { "true" } else { "false" }),
        CqlType::Double => float::double(out, f64::from_be_bytes(exactly(t, value)?)),
        CqlType::Float => float::float(out, f32::from_be_bytes(exactly(t, value)?)),
        CqlType::VarInt => number::varint(out, value),
        CqlType::Decimal => number::decimal(out, value)?,
        _ => {
            out.push('"');
            plain(out, t, value)?;
            out.push('"');
        }
    }
    Ok(())
}

/// What stands in quotes in JSON, without them.
pub(super) fn plain(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    match t {
        CqlType::Timestamp => temporal::timestamp(out, i64::from_be_bytes(exactly(t, value)?)),
        CqlType::Date => temporal::date(out, u32::from_be_bytes(exactly(t, value)?)),
        CqlType::Time => temporal::time(out, i64::from_be_bytes(exactly(t, value)?))?,
        CqlType::Duration => temporal::duration(out, value)?,
        CqlType::Uuid | CqlType::TimeUuid => uuid(out, exactly(t, value)?),
        CqlType::Inet => inet(out, value)?,
        other => return Err(damaged(format!("{} bytes of type {other}", value.len()))),
    }
    Ok(())
}

/// Appends a name of a column or field as a JSON string; one with capitals in it has quotes of its own.
pub fn write_name(out: &mut String, name: &str) {
    if name.to_lowercase() == name {
        write_string(out, name);
    } else {
        write_string(out, &format!("\"{name}\""));
    }
}

/// Appends a JSON string, escaped as Jackson's `JsonStringEncoder` does.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            control => {
                let _ = write!(out, "\\u{control:04X}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

fn write_part(out: &mut String, t: &CqlType, part: Option<&[u8]>) -> Result<()> {
    match part {
        Some(value) => write_value(out, t, value),
        None => {
            out.push_str("null");
            Ok(())
        }
    }
}

fn sequence(out: &mut String, count: usize, mut write: impl FnMut(&mut String, usize) -> Result<()>) -> Result<()> {
    out.push('[');
    for i in 0..count {
        if i > 0 {
            out.push_str(", ");
        }
        write(out, i)?;
    }
    out.push(']');
    Ok(())
}

/// Keys that are no strings are made strings.
fn write_map(out: &mut String, key: &CqlType, value: &CqlType, mut parts: Parts<'_>) -> Result<()> {
    let mut name = String::new();
    out.push('{');
    for i in 0..parts.count(2)? {
        if i > 0 {
            out.push_str(", ");
        }
        name.clear();
        write_part(&mut name, key, parts.part()?)?;
        if name.starts_with('"') {
            out.push_str(&name);
        } else {
            write_string(out, &name);
        }
        out.push_str(": ");
        write_part(out, value, parts.part()?)?;
    }
    out.push('}');
    Ok(())
}

/// Fields added to a type later are missing from older values.
pub(super) fn next_field<'a>(parts: &mut Parts<'a>) -> Result<Option<&'a [u8]>> {
    if parts.is_empty() { Ok(None) } else { parts.part() }
}

pub(super) fn text<'a>(t: &CqlType, value: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(value).ok().filter(|s| *t == CqlType::Text || s.is_ascii());
    text.ok_or_else(|| damaged(format!("{} bytes that are not {t}", value.len())))
}

pub(super) fn exactly<const N: usize>(t: &CqlType, value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| damaged(format!("{} bytes of type {t}", value.len())))
}

pub(super) fn number(out: &mut String, value: i64) {
    let _ = write!(out, "{value}");
}

pub(super) fn hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for b in bytes {
        out.push(DIGITS[usize::from(b >> 4)] as char);
        out.push(DIGITS[usize::from(b & 0xf)] as char);
    }
}

fn uuid(out: &mut String, bytes: [u8; 16]) {
    for (i, range) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if i > 0 {
            out.push('-');
        }
        hex(out, &bytes[range]);
    }
}

/// `InetAddress.getHostAddress`: IPv6 without `::`, and IPv4 for the IPv4 addresses within it.
fn inet(out: &mut String, value: &[u8]) -> Result<()> {
    const MAPPED: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let v4 = if value.len() == 16 { value.strip_prefix(MAPPED).unwrap_or(value) } else { value };
    match v4.len() {
        4 => {
            let _ = write!(out, "{}.{}.{}.{}", v4[0], v4[1], v4[2], v4[3]);
        }
        16 => {
            for (i, pair) in v4.chunks_exact(2).enumerate() {
                let colon = if i > 0 { ":" } else { "" };
                let _ = write!(out, "{colon}{:x}", u16::from_be_bytes([pair[0], pair[1]]));
            }
        }
        n => return Err(damaged(format!("an address of {n} bytes"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
