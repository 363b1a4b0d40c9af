//! Clusterings out of keys, as rows, markers and indexes store them (`ClusteringPrefix.Serializer`).
//!
//! ```text
//! values = for every 32 components: header vint, two bits each (1 empty, 2 null) │ the other components
//! prefix = kind u8 │ [components u16, unless a row's] │ values
//! ```

use crate::engine::cassandra::comparable::{self, Cursor};
use crate::error::{Error, Result};

use super::super::layout::ClusteringColumn;
use super::put;

/// Kind of a row's clustering (`ClusteringPrefix.Kind`, by ordinal).
pub const ROW: u8 = 4;

/// Kind of a bound, by its ordinal in `ClusteringPrefix.Kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Closes before the rows of its prefix.
    ExclusiveEnd = 0,
    /// Opens before the rows of its prefix.
    InclusiveStart = 1,
    /// Closes and opens before the rows of its prefix.
    ExclusiveEndInclusiveStart = 2,
    /// Closes and opens after the rows of its prefix.
    InclusiveEndExclusiveStart = 5,
    /// Closes after the rows of its prefix.
    InclusiveEnd = 6,
    /// Opens after the rows of its prefix.
    ExclusiveStart = 7,
}

impl Bound {
    /// Of what stands after (or before) the rows of its prefix, closes and opens; `None` where it does neither.
    pub fn of(after: bool, closes: bool, opens: bool) -> Option<Bound> {
        match (after, closes, opens) {
            (_, false, false) => None,
            (false, true, false) => Some(Bound::ExclusiveEnd),
            (false, false, true) => Some(Bound::InclusiveStart),
            (false, true, true) => Some(Bound::ExclusiveEndInclusiveStart),
            (true, true, true) => Some(Bound::InclusiveEndExclusiveStart),
            (true, true, false) => Some(Bound::InclusiveEnd),
            (true, false, true) => Some(Bound::ExclusiveStart),
        }
    }
}

/// Reads components, with buffers that are used again and again.
#[derive(Default)]
pub struct Components {
    bytes: Vec<u8>,
    /// End of each component in `bytes`; `None` for null.
    ends: Vec<Option<usize>>,
}

impl Components {
    /// Takes the components of a key: [`comparable::position`]'s second part. At most as many as `columns`.
    pub fn of_key(&mut self, key: &[u8], columns: &[ClusteringColumn]) -> Result<()> {
        self.bytes.clear();
        self.ends.clear();
        let mut cursor = Cursor::new(key);
        for column in columns {
            if cursor.is_empty() {
                break;
            }
            let present =
                comparable::decode_component_into(&mut cursor, &column.cql, column.descending, &mut self.bytes)?;
            self.ends.push(present.then_some(self.bytes.len()));
        }
        if cursor.is_empty() { Ok(()) } else { Err(Error::damaged("key", "more components than columns")) }
    }

    /// Takes components as an entry of kind `Raw` keeps them.
    pub fn of_raw(&mut self, raw: &[u8]) -> Result<()> {
        self.bytes.clear();
        self.ends.clear();
        for part in comparable::raw_parts(raw)? {
            self.bytes.extend_from_slice(part.unwrap_or_default());
            self.ends.push(part.map(|_| self.bytes.len()));
        }
        Ok(())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The components in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = (*end)?;
            let value = &self.bytes[start..end];
            start = end;
            Some(value)
        })
    }

    /// Appends the values.
    pub fn put(&self, out: &mut Vec<u8>, columns: &[ClusteringColumn]) -> Result<()> {
        let mut start = 0;
        for (ends, columns) in self.ends.chunks(32).zip(columns.chunks(32)) {
            let mut header = 0_u64;
            let mut from = start;
            for (i, end) in ends.iter().enumerate() {
                match end {
                    None => header |= 2 << (2 * i),
                    Some(end) if *end == from => header |= 1 << (2 * i),
                    Some(end) => from = *end,
                }
            }
            put::vint(out, header);
            for (end, column) in ends.iter().zip(columns) {
                let Some(end) = *end else { continue };
                let value = &self.bytes[start..end];
                start = end;
                match column.fixed {
                    _ if value.is_empty() => {}
                    None => put::vbytes(out, value),
                    Some(fixed) if fixed == value.len() => out.extend_from_slice(value),
                    Some(fixed) => {
                        let message = format_args!("a {} of {} bytes, not {fixed}", column.cql, value.len());
                        return Err(Error::damaged("clustering", message));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Appends the kind of a bound and the number of its components; its values follow.
pub fn put_bound_kind(out: &mut Vec<u8>, bound: Bound, components: usize) {
    out.push(bound as u8);
    out.extend_from_slice(&(components as u16).to_be_bytes());
}
