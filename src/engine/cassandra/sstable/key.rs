//! The key of the record that is being built, and that of the record before it.
//! The layout of keys is described in `engine::cassandra`.

use crate::engine::cassandra::comparable::{self, encode_component};

use super::cursor::{Cursor, Fault, Parsed};
use super::layout::{Clustering, ClusteringColumn};

const ROWS: u8 = 0x02;
const ROW_END: u8 = 0x38;

/// Two keys of one group: the one being built, and the last that was accepted.
#[derive(Default)]
pub struct Key {
    now: Vec<u8>,
    last: Vec<u8>,
    group_len: usize,
    raw: Vec<u8>,
}

impl Key {
    /// The key as built so far.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.now
    }

    /// Length of the part that names the partition.
    #[inline]
    pub fn group_len(&self) -> usize {
        self.group_len
    }

    /// The part after the partition.
    #[inline]
    pub fn suffix(&self) -> &[u8] {
        &self.now[self.group_len..]
    }

    /// Replaces the part after the partition.
    pub fn set_suffix(&mut self, suffix: &[u8]) {
        self.now.truncate(self.group_len);
        self.now.extend_from_slice(suffix);
    }

    /// Begins a partition, which must come after the one before.
    pub fn start_group(&mut self, partition_key: &[u8]) -> Parsed<()> {
        self.now.clear();
        let length = comparable::put_group(&mut self.now, partition_key);
        if !self.last.is_empty() && self.now[..] <= self.last[..self.group_len] {
            return Err(Fault::Bad("order of partitions"));
        }
        self.group_len = length;
        self.last.clone_from(&self.now);
        Ok(())
    }

    /// The key of the partition's deletion.
    pub fn group_record(&mut self) {
        self.now.truncate(self.group_len);
        comparable::put_group_record(&mut self.now);
    }

    /// The key of the static row.
    pub fn static_record(&mut self) {
        self.now.truncate(self.group_len);
        comparable::put_static(&mut self.now);
    }

    /// Reads the clustering of a row and makes its key. Gives the clustering's own bytes where the key cannot give
    /// them back.
    #[inline]
    pub fn row(&mut self, c: &mut Cursor<'_>, clustering: &Clustering) -> Parsed<Option<&[u8]>> {
        self.now.truncate(self.group_len);
        if !clustering.exact {
            return self.inexact_row(c, clustering);
        }
        self.now.push(ROWS);
        let now = &mut self.now;
        values(c, &clustering.columns, |column, value| {
            encode_component(now, &column.cql, column.descending, value).map_err(|_| BAD_VALUE)
        })?;
        self.now.push(ROW_END);
        Ok(None)
    }

    fn inexact_row(&mut self, c: &mut Cursor<'_>, clustering: &Clustering) -> Parsed<Option<&[u8]>> {
        let parts = parts(c, &clustering.columns)?;
        if !clustering.comparable.row(&mut self.now, &parts).map_err(|_| BAD_VALUE)? {
            return Ok(None);
        }
        self.raw.clear();
        comparable::put_raw(&mut self.raw, &parts);
        Ok(Some(&self.raw))
    }

    /// Reads the components of a bound and makes its key; `after` all rows of that prefix, or before them.
    pub fn bound(&mut self, c: &mut Cursor<'_>, clustering: &Clustering, after: bool) -> Parsed<()> {
        let bad = Fault::Bad("number of components of a bound");
        let columns = clustering.columns.get(..usize::from(c.u16()?)).ok_or(bad)?;
        let parts = parts(c, columns)?;
        self.now.truncate(self.group_len);
        clustering.comparable.bound(&mut self.now, &parts, after).map_err(|_| BAD_VALUE)
    }

    /// Whether the key comes after the last one.
    #[inline]
    pub fn check_order(&self) -> Parsed<()> {
        if self.suffix() > &self.last[self.group_len..] { Ok(()) } else { Err(Fault::Bad("order of rows")) }
    }

    /// Whether the key is the last one once more.
    pub fn is_last(&self) -> bool {
        self.suffix() == &self.last[self.group_len..]
    }

    /// Makes the key the last one.
    #[inline]
    pub fn accept(&mut self) {
        std::mem::swap(&mut self.now, &mut self.last); // both begin with the group
    }
}

const BAD_VALUE: Fault = Fault::Bad("value of a clustering column");

fn parts<'a>(c: &mut Cursor<'a>, columns: &[ClusteringColumn]) -> Parsed<Vec<Option<&'a [u8]>>> {
    let mut parts = Vec::with_capacity(columns.len());
    values(c, columns, |_, value| {
        parts.push(value);
        Ok(())
    })?;
    Ok(parts)
}

/// Passes over a bound whose values are of these columns.
pub fn skip_bound(c: &mut Cursor<'_>, columns: &[ClusteringColumn]) -> Parsed<()> {
    c.u8()?; // its kind
    let count = usize::from(c.u16()?);
    let columns = columns.get(..count).ok_or(Fault::Bad("number of components of a bound"))?;
    values(c, columns, |_, _| Ok(()))
}

/// Reads clustering values. A vint in front of every 32 says with two bits each which are empty (1) and which null.
#[inline]
fn values<'a>(
    c: &mut Cursor<'a>,
    columns: &[ClusteringColumn],
    mut each: impl FnMut(&ClusteringColumn, Option<&'a [u8]>) -> Parsed<()>,
) -> Parsed<()> {
    for columns in columns.chunks(32) {
        let mut header = c.vint()?;
        for column in columns {
            let value = match header & 3 {
                0 => Some(match column.fixed {
                    Some(length) => c.bytes(length)?,
                    None => c.vbytes()?,
                }),
                1 => Some(&[][..]),
                _ => None,
            };
            each(column, value)?;
            header >>= 2;
        }
        if header != 0 {
            return Err(Fault::Bad("header of a clustering"));
        }
    }
    Ok(())
}
