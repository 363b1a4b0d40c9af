//! Literals to the bytes of a type (`fromString` of each type, and CQL's terms).

use num_bigint::BigInt;

use super::temporal;
use crate::engine::cassandra::lex::Token;
use crate::engine::cassandra::types::{CqlType, unhex};

/// The value of a literal; `None` where it is not of the type.
pub(super) fn parse(t: &CqlType, token: &Token<'_>) -> Option<Vec<u8>> {
    match (t, token) {
        (CqlType::Text, Token::Text(s)) => Some(s.as_bytes().to_vec()),
        (CqlType::Ascii, Token::Text(s)) => s.is_ascii().then(|| s.as_bytes().to_vec()),
        (CqlType::Blob | CqlType::Composite(_) | CqlType::Custom { .. }, Token::Number(n)) => {
            unhex(n.strip_prefix("0x").or_else(|| n.strip_prefix("0X"))?)
        }
        (CqlType::Uuid | CqlType::TimeUuid, Token::Uuid(s)) => uuid(t, s),
        (CqlType::Uuid | CqlType::TimeUuid, Token::Text(s)) => uuid(t, s),
        (CqlType::Inet, Token::Text(s)) => inet(s),
        (CqlType::Boolean, Token::Word(w)) if w.eq_ignore_ascii_case("true") => Some(vec![1]),
        (CqlType::Boolean, Token::Word(w)) if w.eq_ignore_ascii_case("false") => Some(vec![0]),
        (CqlType::Float | CqlType::Double, Token::Number(n) | Token::Word(n)) => float(t, n),
        (CqlType::Decimal, Token::Number(n)) => decimal(n),
        (CqlType::VarInt, Token::Number(n)) => Some(n.parse::<BigInt>().ok()?.to_signed_bytes_be()),
        (CqlType::Duration, Token::Number(n) | Token::Word(n)) => temporal::duration(n),
        (CqlType::Timestamp, Token::Text(s)) => Some(temporal::timestamp(s)?.to_be_bytes().to_vec()),
        (CqlType::Date, Token::Text(s)) => Some(temporal::date(s)?.to_be_bytes().to_vec()),
        (CqlType::Time, Token::Text(s)) => Some(temporal::time(s)?.to_be_bytes().to_vec()),
        (_, Token::Number(n)) => integer(t, n.parse().ok()?),
        _ => None,
    }
}

/// How a literal of the type is written.
pub(super) fn hint(t: &CqlType) -> &'static str {
    match t {
        CqlType::Text | CqlType::Ascii => "write it in single quotes: 'text'",
        CqlType::Blob | CqlType::Composite(_) | CqlType::Custom { .. } => "write it as 0x and hexadecimal digits",
        CqlType::Uuid | CqlType::TimeUuid => "write it as 01234567-89ab-cdef-0123-456789abcdef",
        CqlType::Inet => "write it in single quotes: '10.0.0.1'",
        CqlType::Boolean => "write true or false",
        CqlType::Timestamp => "write '2026-01-31 23:59:59.999Z' or milliseconds since 1970; without a zone it is UTC",
        CqlType::Date => "write '2026-01-31'",
        CqlType::Time => "write '23:59:59.999999999' or nanoseconds since midnight",
        CqlType::Duration => "write 1y2mo3d4h5m6s7ms8us9ns",
        t if !t.parts().is_empty() => {
            "conditions on collections, tuples, vectors and user-defined types are not possible"
        }
        _ => "write a number",
    }
}

fn integer(t: &CqlType, n: i64) -> Option<Vec<u8>> {
    Some(match t {
        CqlType::BigInt | CqlType::Timestamp => n.to_be_bytes().to_vec(),
        CqlType::Int => i32::try_from(n).ok()?.to_be_bytes().to_vec(),
        CqlType::SmallInt => i16::try_from(n).ok()?.to_be_bytes().to_vec(),
        CqlType::TinyInt => i8::try_from(n).ok()?.to_be_bytes().to_vec(),
        CqlType::Date => u32::try_from(n).ok()?.to_be_bytes().to_vec(),
        CqlType::Time => temporal::in_day(n)?.to_be_bytes().to_vec(),
        _ => return None,
    })
}

fn float(t: &CqlType, text: &str) -> Option<Vec<u8>> {
    let known = text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        || ["nan", "infinity"].contains(&text.to_ascii_lowercase().as_str());
    if !known || text.contains("0x") {
        return None;
    }
    Some(match t {
        CqlType::Float => text.parse::<f32>().ok()?.to_be_bytes().to_vec(),
        _ => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
    })
}

/// Digits, a point, an exponent: scale and unscaled number as `new BigDecimal(String)` has them.
fn decimal(text: &str) -> Option<Vec<u8>> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if !digits.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unscaled = digits.parse::<BigInt>().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some([&scale.to_be_bytes()[..], &unscaled.to_signed_bytes_be()].concat())
}

fn uuid(t: &CqlType, text: &str) -> Option<Vec<u8>> {
    let shape = text.len() == 36 && [8, 13, 18, 23].iter().all(|i| text.as_bytes()[*i] == b'-');
    let bytes = unhex(&text.replace('-', "")).filter(|b| shape && b.len() == 16)?;
    (*t == CqlType::Uuid || bytes[6] >> 4 == 1).then_some(bytes)
}

fn inet(text: &str) -> Option<Vec<u8>> {
    Some(match text.parse::<std::net::IpAddr>().ok()? {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    })
}
