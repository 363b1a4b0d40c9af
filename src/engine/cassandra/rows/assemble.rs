//! The cells of one column to one value.

use super::row::Times;
use crate::engine::cassandra::comparable::encode_component;
use crate::engine::cassandra::types::CqlType;
use crate::engine::cassandra::value::{damaged, put_part};
use crate::error::Result;

/// A live cell of a collection or a user-defined type.
pub(super) struct Element<'e> {
    pub(super) path: &'e [u8],
    pub(super) value: &'e [u8],
    pub(super) times: Times,
}

/// The column's value as one cell would hold it (`CollectionType.serializeForNativeProtocol`), elements in the order
/// of their paths' type, and the times of each.
pub(super) fn assemble(t: &CqlType, elements: &mut [Element<'_>], times: &mut Vec<Option<Times>>) -> Result<Vec<u8>> {
    if let CqlType::Udt { udt, .. } = t {
        return fields(udt.fields.len(), elements, times);
    }
    let Some(path) = t.path_type() else { return Err(damaged(format!("elements of a {t}"))) };
    sort(path, elements)?;
    let mut value = (elements.len() as u32).to_be_bytes().to_vec();
    for element in elements.iter() {
        if !matches!(t, CqlType::List { .. }) {
            put_part(&mut value, Some(element.path));
        }
        if !matches!(t, CqlType::Set { .. }) {
            put_part(&mut value, Some(element.value));
        }
        times.push(Some(element.times));
    }
    Ok(value)
}

/// Entries come in the order of their bytes, which is that of some types.
fn sort(path: &CqlType, elements: &mut [Element<'_>]) -> Result<()> {
    use CqlType::{Ascii, Blob, Date, Inet, Text, Time};
    if elements.len() < 2 || matches!(path, Ascii | Blob | Date | Inet | Text | Time) {
        return Ok(());
    }
    for element in elements.iter() {
        encode_component(&mut Vec::new(), path, false, Some(element.path))?;
    }
    elements.sort_by_cached_key(|element| {
        let mut key = Vec::new();
        // Checked above.
        let _ = encode_component(&mut key, path, false, Some(element.path));
        key
    });
    Ok(())
}

/// Paths are the positions of fields; a field without a cell is null.
fn fields(count: usize, elements: &[Element<'_>], times: &mut Vec<Option<Times>>) -> Result<Vec<u8>> {
    let mut value = Vec::new();
    let mut elements = elements.iter().peekable();
    for field in 0..count {
        let cell = elements.next_if(|e| e.path == (field as u16).to_be_bytes());
        put_part(&mut value, cell.map(|e| e.value));
        times.push(cell.map(|e| e.times));
    }
    match elements.next() {
        None => Ok(value),
        Some(e) => Err(damaged(format!("field {:02x?} of a type with {count}", e.path))),
    }
}
