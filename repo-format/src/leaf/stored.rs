//! Bodies as they stand in a leaf: large values lie beside it as blobs, and so do whole bodies of very many small ones.

use std::ops::Range;

use super::{BODY_INLINE_MAX, ELEMENT, EXPIRING, EXTERNAL, EXTERNAL_BODY, KIND, KIND_CELL, NO_VALUE, VALUE_INLINE_MAX};
use super::{has_time, is_dated};
use crate::blob::BlobRef;
use crate::error::{FormatError, Result};
use crate::wire::{Put, Reader};

/// The value of a cell, and where it stands in its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value<'a> {
    /// Place of the head of its entry.
    pub head: usize,
    /// Place of the value and the length before it.
    pub string: Range<usize>,
    /// Itself, or what stands for it.
    pub bytes: &'a [u8],
    /// The blob that it is in, where it does not stand here itself.
    pub blob: Option<BlobRef>,
}

/// Shows the values of a body's cells in order.
pub struct Values<'a> {
    body: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Values<'a> {
    /// Over `body`, which is no [`EXTERNAL_BODY`].
    pub fn new(body: &'a [u8]) -> Values<'a> {
        Values { body, reader: Reader::new(body, "record body") }
    }

    fn place(&self) -> usize {
        self.body.len() - self.reader.remaining()
    }

    fn next_value(&mut self) -> Result<Option<Value<'a>>> {
        while !self.reader.is_empty() {
            let place = self.place();
            let head = self.reader.u8()?;
            self.reader.varint()?;
            if head & ELEMENT != 0 {
                self.reader.string()?;
            }
            if has_time(head) {
                self.reader.i64()?;
            }
            if is_dated(head) {
                self.reader.u32()?;
            }
            if head & EXPIRING != 0 {
                self.reader.u32()?;
            }
            if head & NO_VALUE != 0 {
                continue;
            }
            let from = self.place();
            let bytes = self.reader.string()?;
            if head & KIND == KIND_CELL {
                let blob = (head & EXTERNAL != 0).then(|| reference(bytes, VALUE_INLINE_MAX)).transpose()?;
                return Ok(Some(Value { head: place, string: from..self.place(), bytes, blob }));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_value().transpose()
    }
}

/// A reference that stands for more than `least` bytes.
fn reference(bytes: &[u8], least: usize) -> Result<BlobRef> {
    let mut r = Reader::new(bytes, "reference of a blob");
    let blob = BlobRef::read(&mut r)?;
    r.end()?;
    if blob.length <= least as u64 {
        return Err(FormatError::Invalid("blob that has its place in the leaf"));
    }
    Ok(blob)
}

/// The blob that a body stands for as a whole, if it does.
pub fn external_body(body: &[u8]) -> Result<Option<BlobRef>> {
    if body.first() != Some(&EXTERNAL_BODY) {
        return Ok(None);
    }
    let mut r = Reader::new(body, "external body");
    if (r.u8()?, r.u8()?) != (EXTERNAL_BODY, 0) {
        return Err(FormatError::Invalid("external body"));
    }
    let blob = reference(r.string()?, BODY_INLINE_MAX)?;
    r.end()?;
    Ok(Some(blob))
}

/// The body that stands for one that is a blob as a whole.
pub fn put_external_body(out: &mut Vec<u8>, blob: &BlobRef) {
    out.extend_from_slice(&[EXTERNAL_BODY, 0]);
    put_reference(out, blob);
}

fn put_reference(out: &mut Vec<u8>, blob: &BlobRef) {
    let mut value = Vec::with_capacity(48);
    blob.put(&mut value);
    out.put_string(&value);
}

/// The blobs of a body, as it stands in a leaf: its values, or itself.
pub fn beside(body: &[u8]) -> Result<Vec<BlobRef>> {
    if let Some(blob) = external_body(body)? {
        return Ok(vec![blob]);
    }
    let mut blobs = Vec::new();
    for value in Values::new(body) {
        blobs.extend(value?.blob);
    }
    Ok(blobs)
}

/// How a body is to stand in its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored<'a> {
    /// As it is.
    Whole,
    /// With references in place of these values, ascending.
    Without(Vec<Value<'a>>),
    /// As a blob.
    Beside,
}

/// How `body`, which refers to no blob, is to stand in its leaf: every value of more than [`VALUE_INLINE_MAX`] bytes is a blob;
/// where more than [`BODY_INLINE_MAX`] bytes were left, all of it is one.
pub fn stored(body: &[u8]) -> Result<Stored<'_>> {
    if body.len() <= VALUE_INLINE_MAX {
        return Ok(Stored::Whole);
    }
    let (mut large, mut left) = (Vec::new(), body.len());
    for value in Values::new(body) {
        let value = value?;
        if value.bytes.len() > VALUE_INLINE_MAX {
            left = left - value.string.len() + reference_len(value.bytes.len());
            large.push(value);
        }
    }
    Ok(match (left > BODY_INLINE_MAX, large.is_empty()) {
        (true, _) => Stored::Beside,
        (false, true) => Stored::Whole,
        (false, false) => Stored::Without(large),
    })
}

/// Bytes of the reference to a value of `length` bytes, with its own length before it.
fn reference_len(length: usize) -> usize {
    1 + (usize::BITS - length.leading_zeros()).div_ceil(7) as usize + 32
}

/// Appends `body` with blobs in place of some of its values.
pub fn put_without(out: &mut Vec<u8>, body: &[u8], values: &[(Value<'_>, BlobRef)]) {
    let mut next = 0;
    for (value, blob) in values {
        out.extend_from_slice(&body[next..value.string.start]);
        let head = out.len() - (value.string.start - value.head);
        out[head] |= EXTERNAL;
        put_reference(out, blob);
        next = value.string.end;
    }
    out.extend_from_slice(&body[next..]);
}

/// Appends the bytes of a blob.
pub type ReadBlob<'f, E> = dyn FnMut(&BlobRef, &mut Vec<u8>) -> std::result::Result<(), E> + 'f;

/// Appends `body` with the values that are blobs in their places, as `read` gives them.
pub fn put_whole<E: From<FormatError>>(
    out: &mut Vec<u8>,
    body: &[u8],
    read: &mut ReadBlob<'_, E>,
) -> std::result::Result<(), E> {
    let mut next = 0;
    for value in Values::new(body) {
        let value = value?;
        let Some(blob) = value.blob else { continue };
        out.extend_from_slice(&body[next..value.string.start]);
        let head = out.len() - (value.string.start - value.head);
        out[head] &= !EXTERNAL;
        out.put_varint(blob.length);
        read(&blob, out)?;
        next = value.string.end;
    }
    out.extend_from_slice(&body[next..]);
    Ok(())
}
