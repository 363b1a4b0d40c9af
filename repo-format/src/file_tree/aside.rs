//! What stands in a record or beside it, where it is long: attributes and holes.

use crate::error::{FormatError, Result};
use crate::wire::{Put, Reader};

/// An extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute<'a> {
    /// Its name, with its namespace: `user.comment`.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// Appends attributes, which ascend by their names.
pub fn put_attributes(out: &mut Vec<u8>, attributes: &[Attribute<'_>]) {
    for attribute in attributes {
        out.put_string(attribute.name);
        out.put_string(attribute.value);
    }
}

/// Reads attributes. Errors: they do not ascend, or end early.
pub fn attributes(bytes: &[u8]) -> Result<Vec<Attribute<'_>>> {
    let mut r = Reader::new(bytes, "attributes of a file");
    let mut all: Vec<Attribute<'_>> = Vec::new();
    while !r.is_empty() {
        let next = Attribute { name: r.string()?, value: r.string()? };
        if next.name.is_empty() || next.name.contains(&0) || all.last().is_some_and(|last| last.name >= next.name) {
            return Err(FormatError::Invalid("attributes of a file"));
        }
        all.push(next);
    }
    Ok(all)
}

/// Appends where the bytes of a file with holes lie: the length of the whole, and pairs of the bytes of a hole and of the data behind
/// it. The last data may be followed by a hole. A file without holes has nothing of this.
pub fn put_extents(out: &mut Vec<u8>, length: u64, extents: &[(u64, u64)]) {
    out.put_varint(length);
    let mut end = 0;
    for (from, bytes) in extents {
        out.put_varint(from - end);
        out.put_varint(*bytes);
        end = from + bytes;
    }
}

/// Length of the whole, and the place and length of each piece of data, ascending.
///
/// Errors: pieces that touch, are empty or lie behind the end; no holes.
pub fn extents(bytes: &[u8]) -> Result<(u64, Vec<(u64, u64)>)> {
    const BAD: FormatError = FormatError::Invalid("holes of a file");
    let mut r = Reader::new(bytes, "holes of a file");
    let length = r.varint()?;
    let (mut all, mut end) = (Vec::new(), 0u64);
    while !r.is_empty() {
        let (hole, data) = (r.varint()?, r.varint()?);
        let from = end.checked_add(hole).ok_or(BAD)?;
        end = from.checked_add(data).filter(|end| *end <= length).ok_or(BAD)?;
        if data == 0 || (hole == 0 && !all.is_empty()) {
            return Err(BAD);
        }
        all.push((from, data));
    }
    let has_holes = length > 0 && all != [(0, length)];
    if has_holes { Ok((length, all)) } else { Err(BAD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_lead_back_and_others_are_refused() {
        for (length, all) in [(1, vec![]), (1 << 40, vec![]), (10, vec![(0, 1), (3, 4)]), (7, vec![(3, 4)])] {
            let mut bytes = Vec::new();
            put_extents(&mut bytes, length, &all);
            assert_eq!(extents(&bytes).unwrap(), (length, all));
        }
        for bad in [&[][..], &[0], &[5, 0, 5], &[5, 0, 6], &[5, 1, 0], &[5, 0, 1, 0, 1], &[5, 6, 1], &[5, 1]] {
            assert!(extents(bad).is_err(), "{bad:?}");
        }
    }
}
