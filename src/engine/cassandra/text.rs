//! Values as `COPY TO` of cqlsh writes them, so that its `COPY FROM` reads them.
//!
//! Where the two differ this follows what `COPY FROM` understands (`copyutil.py`, `ImportConversion`):
//! ```text
//! text             as it is; 'quoted' inside other values, as are ascii, timestamp, date, time and inet
//! int, float, …    as JSON has them; NaN, Infinity, -Infinity
//! boolean          True, False
//! blob             0x and hexadecimal digits
//! timestamp        2026-01-31 23:59:59.999+0000; milliseconds since 1970 before year 1 and after 9999
//! list, vector     [1, 2]
//! set              {1, 2}
//! map              {'a': 1}
//! tuple            (1, 'a')
//! user-defined     {field: 1, other: 'a'}
//! ```
//! Null inside other values is nothing at all, and so are empty values of types that have none.

use super::json::{exactly, hex, next_field, number, plain, scalar, text};
use super::types::CqlType;
use super::value::Parts;
use crate::error::Result;

/// Milliseconds since 1970 of the years 1 to 9999, which Python's dates can hold.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Appends a value. Fails where it is not of the type.
pub fn write_text(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    match t {
        CqlType::Text | CqlType::Ascii => out.push_str(text(t, value)?),
        CqlType::Blob | CqlType::Composite(_) | CqlType::Custom { .. } => {
            out.push_str("0x");
            hex(out, value);
        }
        _ if !t.parts().is_empty() => parts(out, t, value)?,
        _ if value.is_empty() => {}
        CqlType::Boolean => out.push_str(if exactly::<1>(t, value)?[0] != 0 { "True" } else { "False" }),
        CqlType::Float => float(out, f64::from(f32::from_be_bytes(exactly(t, value)?)), t, value)?,
        CqlType::Double => float(out, f64::from_be_bytes(exactly(t, value)?), t, value)?,
        CqlType::Timestamp => timestamp(out, t, value)?,
        CqlType::Date | CqlType::Time | CqlType::Duration | CqlType::Uuid | CqlType::TimeUuid | CqlType::Inet => {
            plain(out, t, value)?;
        }
        _ => scalar(out, t, value)?,
    }
    Ok(())
}

/// JSON has no words for what is no number.
fn float(out: &mut String, n: f64, t: &CqlType, value: &[u8]) -> Result<()> {
    match n {
        _ if n.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        _ => scalar(out, t, value)?,
    }
    Ok(())
}

fn timestamp(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    let ms = i64::from_be_bytes(exactly(t, value)?);
    if !YEARS.contains(&ms) {
        number(out, ms);
        return Ok(());
    }
    plain(out, t, value)?;
    // Z in Python is +0000.
    out.pop();
    out.push_str("+0000");
    Ok(())
}

fn parts(out: &mut String, t: &CqlType, value: &[u8]) -> Result<()> {
    let mut parts = Parts::new(value);
    let (open, close) = match t {
        CqlType::List { .. } | CqlType::Vector { .. } => ('[', ']'),
        CqlType::Tuple(_) => ('(', ')'),
        _ => ('{', '}'),
    };
    out.push(open);
    let separate = |out: &mut String, i: usize| out.push_str(if i > 0 { ", " } else { "" });
    match t {
        CqlType::List { element, .. } | CqlType::Set { element, .. } => {
            for i in 0..parts.count(1)? {
                separate(out, i);
                part(out, element, parts.part()?)?;
            }
        }
        CqlType::Map { key, value, .. } => {
            for i in 0..parts.count(2)? {
                separate(out, i);
                part(out, key, parts.part()?)?;
                out.push_str(": ");
                part(out, value, parts.part()?)?;
            }
        }
        CqlType::Vector { element, dimension } => {
            for i in 0..*dimension as usize {
                separate(out, i);
                part(out, element, Some(parts.element(element)?))?;
            }
        }
        CqlType::Udt { udt, .. } => {
            for (i, (name, of)) in udt.fields.iter().enumerate() {
                separate(out, i);
                out.push_str(name);
                out.push_str(": ");
                part(out, of, next_field(&mut parts)?)?;
            }
        }
        other => {
            for (i, of) in other.parts().into_iter().enumerate() {
                separate(out, i);
                part(out, of, next_field(&mut parts)?)?;
            }
        }
    }
    out.push(close);
    Ok(())
}

/// A value inside another: what may hold a separator is quoted.
fn part(out: &mut String, t: &CqlType, value: Option<&[u8]>) -> Result<()> {
    use CqlType::{Ascii, Date, Inet, Text, Time, Timestamp};
    let Some(value) = value else { return Ok(()) };
    if !matches!(t, Ascii | Date | Inet | Text | Time | Timestamp) {
        return write_text(out, t, value);
    }
    let mut text = String::new();
    write_text(&mut text, t, value)?;
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::types::parse_cql;
    use super::super::value::put_part;
    use super::*;

    fn written(t: &str, value: &[u8]) -> String {
        let mut out = String::new();
        write_text(&mut out, &parse_cql(t, &[]).unwrap(), value).unwrap();
        out
    }

    fn frozen(count: Option<u32>, parts: &[Option<&[u8]>]) -> Vec<u8> {
        let mut out = count.map(u32::to_be_bytes).iter().flatten().copied().collect();
        parts.iter().for_each(|p| put_part(&mut out, *p));
        out
    }

    #[test]
    fn plain_values() {
        for (t, value, want) in [
            ("text", &b"it's \\ \"a\""[..], "it's \\ \"a\""),
            ("blob", &[0xca, 0xfe], "0xcafe"),
            ("blob", &[], "0x"),
            ("boolean", &[1], "True"),
            ("boolean", &[0], "False"),
            ("int", &(-5i32).to_be_bytes(), "-5"),
            ("int", &[], ""),
            ("double", &f64::NAN.to_be_bytes(), "NaN"),
            ("float", &f32::NEG_INFINITY.to_be_bytes(), "-Infinity"),
            ("double", &1e300f64.to_be_bytes(), "1.0E300"),
            ("timestamp", &1_769_903_999_999_i64.to_be_bytes(), "2026-01-31 23:59:59.999+0000"),
            ("timestamp", &i64::MAX.to_be_bytes(), "9223372036854775807"),
            ("timestamp", &(-62_135_596_800_000_i64).to_be_bytes(), "0001-01-01 00:00:00.000+0000"),
            ("timestamp", &(-62_135_596_800_001_i64).to_be_bytes(), "-62135596800001"),
            ("date", &(1u32 << 31).to_be_bytes(), "1970-01-01"),
            ("inet", &[10, 0, 0, 1], "10.0.0.1"),
        ] {
            assert_eq!(written(t, value), want, "{t}");
        }
    }

    #[test]
    fn values_inside_others_are_quoted() {
        let one = 1i32.to_be_bytes();
        let list = frozen(Some(2), &[Some(b"a, 'b'"), Some(b"")]);
        assert_eq!(written("list<text>", &list), "['a, ''b''', '']");
        assert_eq!(written("set<int>", &frozen(Some(1), &[Some(&one)])), "{1}");
        let map = frozen(Some(1), &[Some(&0i64.to_be_bytes()), Some(&list)]);
        assert_eq!(
            written("map<timestamp, frozen<list<text>>>", &map),
            "{'1970-01-01 00:00:00.000+0000': ['a, ''b''', '']}"
        );
        assert_eq!(written("tuple<int, text, boolean>", &frozen(None, &[Some(&one), None])), "(1, , )");
        assert_eq!(written("vector<int, 2>", &[one, one].concat()), "[1, 1]");
    }
}
