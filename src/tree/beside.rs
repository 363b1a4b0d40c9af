//! What is too large for a leaf lies beside it, as blobs: large values, and bodies of very many small ones. Records have
//! whole bodies; only here do they become what stands in a leaf, and whole again.

use std::borrow::Cow;

use repo_format::leaf::{Stored, beside, external_body, put_external_body, put_whole, put_without, stored};
use repo_format::record::{Traits, check};

use crate::blob::{self, Chunker};
use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSink, ChunkSource, RECORD_MAX};

/// Stores what of a body is too large for a leaf. Gives what stands there: all of it, or with references to blobs.
pub(super) fn put<'b>(body: &'b [u8], chunker: &Chunker, sink: &dyn ChunkSink) -> Result<Cow<'b, [u8]>> {
    let values = match stored(body)? {
        Stored::Whole => return Ok(Cow::Borrowed(body)),
        Stored::Without(values) => values,
        Stored::Beside => {
            let mut out = Vec::new();
            put_external_body(&mut out, &blob::write_bytes(body, chunker, sink)?);
            return Ok(Cow::Owned(out));
        }
    };
    let mut blobs = Vec::with_capacity(values.len());
    for value in values {
        let blob = blob::write_bytes(value.bytes, chunker, sink)?;
        blobs.push((value, blob));
    }
    let mut out = Vec::new();
    put_without(&mut out, body, &blobs);
    Ok(Cow::Owned(out))
}

/// Replaces the body from `start` on, which refers to blobs, by the whole one. `traits` are those of what stands there. `begin` is
/// told how many blobs are read now.
pub(super) fn get(
    source: &dyn ChunkSource,
    begin: impl FnOnce(usize),
    out: &mut Vec<u8>,
    start: usize,
    traits: Traits,
) -> Result<Traits> {
    let stands = out.split_off(start);
    let blobs = beside(&stands)?;
    let length = blobs.iter().try_fold(0u64, |sum, blob| sum.checked_add(blob.length));
    if length.is_none_or(|length| length > RECORD_MAX as u64) {
        let message = format!("has values of more than {RECORD_MAX} bytes");
        return Err(Error::new(Kind::TooLarge, "record", message));
    }
    begin(blobs.len());
    let mut read = |blob: &blob::BlobRef, out: &mut Vec<u8>| {
        blob::visit(blob, source, &mut |piece| {
            out.extend_from_slice(piece);
            Ok(())
        })
    };
    match external_body(&stands)? {
        None => put_whole(out, &stands, &mut read).map(|()| traits),
        Some(blob) => {
            read(&blob, out)?;
            Ok(check(&out[start..])?)
        }
    }
}
