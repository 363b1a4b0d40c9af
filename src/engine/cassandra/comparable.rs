//! Keys: clusterings and bounds in byte-comparable form (OSS50), and back.
//!
//! A component is a marker and the value in a form that `memcmp` orders as the type's comparator does, DESC inverted
//! (`ClusteringComparator.asByteComparable`, `AbstractType.asComparableBytes`):
//! ```text
//! 0x40 value            a value
//! 0x3f, DESC 0x41       an empty value of a type that has none, such as int
//! 0x3e                  null (relics of COMPACT STORAGE)
//! ```
//! Two things differ from Cassandra, where its own form is at odds with its comparator, which alone orders SSTables:
//! an empty value inside a tuple or collection is 0x3f there too (Cassandra writes 0x3e, the same as null), and every
//! NaN is the one that compares greatest.

mod decimal;
mod decode;
mod encode;
mod integer;

use repo_format::murmur3;
use repo_format::wire::{Put, Reader};

use super::schema::{ColumnRole, Table};
use super::types::{CqlType, parse_cql};
use crate::error::{Error, Kind, Result};
pub use decode::{Cursor, decode_component, decode_component_into};
pub use encode::encode_component;

const GROUP: u8 = 0x00;
const STATIC: u8 = 0x01;
const ROWS: u8 = 0x02;
/// Behind a group's prefix: where its first record may stand, its rows begin, and its records end.
pub const GROUP_FIRST: [u8; 1] = [GROUP];
/// See [`GROUP_FIRST`].
pub const ROWS_FIRST: [u8; 1] = [ROWS];
/// See [`GROUP_FIRST`].
pub const GROUP_END: [u8; 1] = [ROWS + 1];
const NULL: u8 = 0x3e;
const EMPTY: u8 = 0x3f;
const NEXT: u8 = 0x40;
const EMPTY_DESCENDING: u8 = 0x41;
const END: u8 = 0x38;
const BEFORE: u8 = 0x20;
const AFTER: u8 = 0x60;

/// Whether the key gives every value of the type back byte for byte. Where not (decimals with trailing zeros, varints
/// with more sign bytes than needed, booleans other than 0 and 1, NaNs, tuples with trailing nulls, collections),
/// [`Clustering::row`] tells when a row's own bytes must be kept beside the key.
pub fn is_byte_exact(t: &CqlType) -> bool {
    match t {
        CqlType::Boolean | CqlType::Float | CqlType::Double | CqlType::Decimal | CqlType::VarInt => false,
        CqlType::Counter | CqlType::Composite(_) | CqlType::Custom { .. } => false,
        other => other.parts().is_empty(),
    }
}

/// What a key stands for within its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The partition's own deletion.
    Group,
    /// The static row.
    Static,
    /// A row.
    Row,
    /// Before all rows of a prefix.
    Before,
    /// After all rows of a prefix.
    After,
}

/// A key in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Token of the partition key.
    pub token: i64,
    /// As in the SSTable, composite keys with their lengths.
    pub partition_key: Vec<u8>,
    /// Length of the group's prefix.
    pub group_len: usize,
    /// What it stands for.
    pub position: Position,
    /// Components in byte-comparable form, without the end.
    pub clustering: &'a [u8],
}

/// Appends the prefix that all keys of a partition begin with: its token and its escaped key. Returns its length.
pub fn put_group(out: &mut Vec<u8>, partition_key: &[u8]) -> usize {
    let start = out.len();
    out.extend_from_slice(&murmur3::token_bytes(murmur3::token(partition_key)));
    out.put_escaped(partition_key);
    out.len() - start
}

/// Appends what makes a group's prefix the key of the partition's deletion.
pub fn put_group_record(out: &mut Vec<u8>) {
    out.push(GROUP);
}

/// Appends what makes a group's prefix the key of the static row.
pub fn put_static(out: &mut Vec<u8>) {
    out.push(STATIC);
}

/// What makes a group's prefix the key of the place after all its rows.
pub fn end_of_rows() -> [u8; 2] {
    [ROWS, AFTER]
}

/// The partition key in what the keys of its records begin with.
pub fn partition_key(group: &[u8]) -> Result<Vec<u8>> {
    let (key, len) = unescape(group.get(8..).unwrap_or_default())?;
    if 8 + len == group.len() { Ok(key) } else { Err(no_key()) }
}

fn no_key() -> Error {
    Error::damaged("key", "not that of a Cassandra record")
}

/// The partition key that `escaped` begins with, and how far it goes.
fn unescape(escaped: &[u8]) -> Result<(Vec<u8>, usize)> {
    let mut key = Vec::new();
    let mut at = 0;
    loop {
        let zero = escaped[at..].iter().position(|b| *b == 0).ok_or_else(no_key)?;
        key.extend_from_slice(&escaped[at..at + zero]);
        at += zero + 2;
        match escaped.get(at - 1) {
            Some(0xff) => key.push(0),
            Some(0) => return Ok((key, at)),
            _ => return Err(no_key()),
        }
    }
}

/// Splits a key; the clustering is not looked into.
pub fn split(key: &[u8]) -> Result<Parts<'_>> {
    let (token, escaped) = key.split_first_chunk::<8>().ok_or_else(no_key)?;
    let (partition_key, len) = unescape(escaped)?;
    let group_len = 8 + len;
    let (position, clustering) = position(&key[group_len..])?;
    let token = (u64::from_be_bytes(*token) ^ (1 << 63)) as i64;
    Ok(Parts { token, partition_key, group_len, position, clustering })
}

/// What the part of a key after its group stands for, and its components in byte-comparable form, without the end.
#[inline]
pub fn position(suffix: &[u8]) -> Result<(Position, &[u8])> {
    let bad = no_key;
    Ok(match suffix.split_first().ok_or_else(bad)? {
        (&GROUP, []) => (Position::Group, &[][..]),
        (&STATIC, []) => (Position::Static, &[][..]),
        (&ROWS, rest) => match rest.split_last().ok_or_else(bad)? {
            (&END, clustering) => (Position::Row, clustering),
            (&BEFORE, clustering) => (Position::Before, clustering),
            (&AFTER, clustering) => (Position::After, clustering),
            _ => return Err(bad()),
        },
        _ => return Err(bad()),
    })
}

/// The clustering columns of a table: encodes and decodes the part of a key after the group.
#[derive(Debug, Clone)]
pub struct Clustering {
    columns: Vec<(CqlType, bool)>,
    exact: bool,
}

impl Clustering {
    /// Of types, each with whether its order is DESC. Types that cannot cluster are refused.
    pub fn new(columns: Vec<(CqlType, bool)>) -> Result<Clustering> {
        for (t, _) in &columns {
            if t.is_counter() || t.is_multi_cell() || matches!(t, CqlType::Composite(_) | CqlType::Custom { .. }) {
                return Err(Error::new(Kind::Unsupported, format!("clustering column of type {t}"), "has no order"));
            }
        }
        let exact = columns.iter().all(|(t, _)| is_byte_exact(t));
        Ok(Clustering { columns, exact })
    }

    /// Of a table.
    pub fn of(table: &Table) -> Result<Clustering> {
        let mut columns: Vec<_> = table.columns.iter().filter(|c| c.role == ColumnRole::Clustering).collect();
        columns.sort_by_key(|c| c.position);
        let parse = |c: &&super::schema::Column| Ok((parse_cql(&c.cql_type, &table.types)?, c.descending));
        Clustering::new(columns.iter().map(parse).collect::<Result<_>>()?)
    }

    /// Types and whether each is DESC, in order.
    pub fn columns(&self) -> &[(CqlType, bool)] {
        &self.columns
    }

    /// Appends what makes a group's prefix the key of a row. True when the key does not give `parts` back: then a
    /// record keeps them as [`put_raw`] writes them, in an entry of kind `Raw`.
    #[inline]
    pub fn row(&self, out: &mut Vec<u8>, parts: &[Option<&[u8]>]) -> Result<bool> {
        if parts.len() != self.columns.len() {
            return Err(self.wrong_number(parts.len()));
        }
        let start = out.len() + 1;
        self.prefix(out, parts)?;
        let end = out.len();
        out.push(END);
        Ok(!self.exact && !self.gives_back(&out[start..end], parts)?)
    }

    /// Appends what makes a group's prefix the key of the place before or after all rows of a prefix: `after` for an
    /// exclusive start and an inclusive end, not so for an inclusive start and an exclusive end.
    pub fn bound(&self, out: &mut Vec<u8>, prefix: &[Option<&[u8]>], after: bool) -> Result<()> {
        if prefix.len() > self.columns.len() {
            return Err(self.wrong_number(prefix.len()));
        }
        self.prefix(out, prefix)?;
        out.push(if after { AFTER } else { BEFORE });
        Ok(())
    }

    /// The raw values of a clustering ([`Parts::clustering`]), fewer than there are columns for a bound.
    pub fn decode(&self, clustering: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut cursor = Cursor::new(clustering);
        let mut parts = Vec::with_capacity(self.columns.len());
        for (t, descending) in &self.columns {
            if cursor.is_empty() {
                break;
            }
            parts.push(decode_component(&mut cursor, t, *descending)?);
        }
        if cursor.is_empty() { Ok(parts) } else { Err(Error::damaged("key", "more components than columns")) }
    }

    fn prefix(&self, out: &mut Vec<u8>, parts: &[Option<&[u8]>]) -> Result<()> {
        out.push(ROWS);
        for ((t, descending), part) in self.columns.iter().zip(parts) {
            encode_component(out, t, *descending, *part)?;
        }
        Ok(())
    }

    fn gives_back(&self, clustering: &[u8], parts: &[Option<&[u8]>]) -> Result<bool> {
        let decoded = self.decode(clustering)?;
        Ok(decoded.iter().map(Option::as_deref).eq(parts.iter().copied()))
    }

    fn wrong_number(&self, n: usize) -> Error {
        Error::damaged("clustering", format!("{n} components for {} columns", self.columns.len()))
    }
}

/// Raw clustering values as an entry of kind `Raw` keeps them: for each a varint, 0 for null or the length plus one,
/// then the bytes.
pub fn put_raw(out: &mut Vec<u8>, parts: &[Option<&[u8]>]) {
    for part in parts {
        out.put_varint(part.map_or(0, |p| p.len() as u64 + 1));
        out.extend_from_slice(part.unwrap_or_default());
    }
}

/// The reverse of [`put_raw`].
pub fn raw_parts(raw: &[u8]) -> Result<Vec<Option<&[u8]>>> {
    let mut reader = Reader::new(raw, "raw clustering");
    let mut parts = Vec::new();
    while !reader.is_empty() {
        let part = match reader.varint()?.checked_sub(1) {
            Some(n) => Some(reader.bytes(usize::try_from(n).unwrap_or(usize::MAX))?),
            None => None,
        };
        parts.push(part);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
