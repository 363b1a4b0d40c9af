//! Where one kind of bytes ends in a leaf and another begins.

use super::read::{COLUMN_LEAST, read_shapes};
use super::{RECORDS_MAX, read_context};
use crate::error::{FormatError, Result};
use crate::ints::{Ints, StringsReader};
use crate::wire::Reader;

/// Offsets at which the streams of a leaf end, ascending: of its keys, shapes, times, and of each column's elements and
/// values. A compressor does well to treat them one by one. Fails where the bytes are no leaf, and may also not.
pub fn streams(leaf: &[u8]) -> Result<Vec<usize>> {
    let mut r = Reader::new(leaf, "leaf");
    let mut ends = Vec::new();
    let mut end = |r: &Reader<'_>| ends.push(leaf.len() - r.remaining());
    let _version_codec_unit = r.bytes(3)?;
    let _deletions = (read_context(&mut r)?, read_context(&mut r)?);
    let (count, groups) = (number(&mut r)?, number(&mut r)?);
    Ints::read(&mut r, groups)?;
    StringsReader::read(&mut r, groups)?;
    end(&r);
    Ints::read(&mut r, count)?;
    end(&r);
    StringsReader::read(&mut r, count)?;
    end(&r);
    Ints::read(&mut r, count)?;
    end(&r);
    read_shapes(&mut r, count)?;
    Ints::read(&mut r, count)?;
    end(&r);
    for _times_dates_ttls in 0..3 {
        let n = r.varint()?;
        Ints::read(&mut r, usize::try_from(n).map_err(|_| FormatError::TooLarge("leaf stream"))?)?;
        end(&r);
    }
    for _column in 0..r.count(COLUMN_LEAST)? {
        r.varint()?;
        for _elements_values in 0..2 {
            let n = r.varint()?;
            StringsReader::read(&mut r, usize::try_from(n).map_err(|_| FormatError::TooLarge("leaf stream"))?)?;
            end(&r);
        }
    }
    r.end()?;
    Ok(ends)
}

fn number(r: &mut Reader<'_>) -> Result<usize> {
    let n = r.varint()?;
    if n > RECORDS_MAX as u64 { Err(FormatError::TooLarge("records in a leaf")) } else { Ok(n as usize) }
}
