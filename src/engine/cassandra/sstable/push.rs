//! Decoded records into a batch.

use repo_format::record::{Class, Traits};

use crate::engine::cassandra::rule::CassandraRule;
use crate::merge::merge_bodies;
use crate::run::{RECORD_MAX, Record, RecordBatch};

use super::cursor::{Fault, Parsed};
use super::key::Key;
use super::rows::Nothing;

/// Adds the record whose key is in `key`, unless its body says nothing.
#[inline]
pub fn push(
    out: &mut RecordBatch,
    key: &mut Key,
    class: Class,
    body: impl FnOnce(&mut Vec<u8>) -> std::result::Result<Traits, Nothing>,
) -> Parsed<()> {
    key.check_order()?;
    let limit = RECORD_MAX - key.bytes().len().min(RECORD_MAX);
    let write = |to: &mut Vec<u8>| {
        let from = to.len();
        let traits = body(to)?;
        if to.len() - from > limit { Err(Nothing::Fault(Fault::TooLarge("size of a record"))) } else { Ok(traits) }
    };
    match out.push_with(key.bytes(), key.group_len(), class, write) {
        Ok(()) => {
            key.accept();
            Ok(())
        }
        Err(Nothing::Empty) => Ok(()),
        // The whole row was there: it is damaged, more bytes will not help.
        Err(Nothing::Fault(Fault::Short)) => Err(Fault::Bad("size of a row")),
        Err(Nothing::Fault(fault)) => Err(fault),
    }
}

/// Merges a row into the record that `out` ends with, which has the same key.
#[cold]
pub fn repeat(
    out: &mut RecordBatch,
    key: &Key,
    counter: bool,
    row: impl FnOnce(&mut Vec<u8>) -> std::result::Result<Traits, Nothing>,
) -> Parsed<()> {
    let bad = Fault::Bad("order of rows");
    let mut second = Vec::new();
    match row(&mut second) {
        Ok(_) => {}
        Err(Nothing::Empty) => return Ok(()),
        Err(Nothing::Fault(Fault::Short)) => return Err(Fault::Bad("size of a row")),
        Err(Nothing::Fault(fault)) => return Err(fault),
    }
    let last = out.len().checked_sub(1).ok_or(bad)?;
    let record = out.get(last);
    if record.key != key.bytes() || record.class != Class::Row {
        return Err(bad);
    }
    let first = record.body.to_vec();
    out.truncate(last);
    let mut both = Vec::new();
    let merged = merge_bodies(&CassandraRule { counter, grace: 0 }, [&first, &second], &mut both);
    let traits = merged.ok().flatten().ok_or(Fault::Bad("row that stands twice"))?;
    if key.bytes().len() + both.len() > RECORD_MAX {
        return Err(Fault::TooLarge("size of a record"));
    }
    out.push(&Record { key: key.bytes(), group_len: key.group_len(), class: Class::Row, traits, body: &both });
    Ok(())
}
