//! The content of a file: where its data lie, and how they are read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use repo_format::file_tree::Bytes;
use repo_format::limits::CONTENT_INLINE_MAX;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::blob::{self, Stored, Window};
use crate::engine::Contents;
use crate::error::{Error, Result};
use crate::watch::Watch;

/// Pieces of data of a file, ascending: place and length.
pub type Extents = Vec<(u64, u64)>;

/// Where the data of a file of `size` bytes lie, if it has holes.
pub fn extents(file: &File, size: u64) -> io::Result<Option<Extents>> {
    let mut all: Extents = Vec::new();
    let mut at = 0;
    while at < size {
        let from = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => from,
            // There are no more.
            Err(Errno::NXIO) => break,
            // The file system does not say.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        if from >= size {
            break;
        }
        let to = seek(file, SeekFrom::Hole(from))?.min(size);
        if to <= from {
            break;
        }
        match all.last_mut() {
            Some(last) if last.0 + last.1 == from => last.1 += to - from,
            _ => all.push((from, to - from)),
        }
        at = to;
    }
    let is_whole = size == 0 || all == [(0, size)];
    Ok((!is_whole).then_some(all))
}

/// The pieces of which `read` bytes were read before the file ended.
pub fn as_read(pieces: &[(u64, u64)], read: u64) -> Extents {
    let mut left = read;
    let was_read = |(at, length): &(u64, u64)| {
        let n = left.min(*length);
        left -= n;
        (n > 0).then_some((*at, n))
    };
    pieces.iter().map_while(was_read).collect()
}

/// Reads the data of a file, one piece after the other, or all of it, and counts them.
pub struct Data<'a> {
    file: &'a File,
    extents: Option<&'a [(u64, u64)]>,
    at: u64,
    left: u64,
    watch: &'a Watch,
    /// Bytes read.
    pub read: u64,
    /// A piece ended before it should: the file was cut meanwhile.
    pub is_cut: bool,
}

impl<'a> Data<'a> {
    /// Of these pieces; without, from the start to wherever the end is by then.
    pub fn new(file: &'a File, extents: Option<&'a [(u64, u64)]>, watch: &'a Watch) -> Data<'a> {
        let left = if extents.is_some() { 0 } else { u64::MAX };
        Data { file, extents, at: 0, left, watch, read: 0, is_cut: false }
    }
}

impl Read for Data<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let Some(((from, length), rest)) = self.extents.and_then(<[_]>::split_first) else { return Ok(0) };
            (self.at, self.left, self.extents) = (*from, *length, Some(rest));
        }
        self.watch.check().map_err(io::Error::other)?;
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(to.len());
        let got = self.file.read_at(&mut to[..most], self.at)?;
        if got == 0 && most > 0 {
            self.is_cut |= self.extents.is_some();
            self.left = 0;
            self.extents = self.extents.map(|_| &[][..]);
            return Ok(0);
        }
        self.at += got as u64;
        self.left -= got as u64;
        self.read += got as u64;
        self.watch.advance(got as u64);
        Ok(got)
    }
}

/// What a record has of a content.
pub enum Kept {
    /// All of it, where it is short.
    Few(Vec<u8>),
    /// What names it.
    Stored(Stored),
}

impl Kept {
    /// Reads an input to its end, and stores what a record does not hold. `window` begins with it; the first read asks for `first` bytes.
    ///
    /// Errors: of `subject`, the input cannot be read; those of storing.
    pub fn of(
        input: &mut dyn Read,
        subject: &str,
        first: usize,
        contents: Contents<'_>,
        window: &mut Window,
    ) -> Result<Kept> {
        let Contents { chunker, sink, .. } = contents;
        let first = first.clamp(CONTENT_INLINE_MAX + 1, chunker.window());
        window.read(input, first).map_err(|e| Error::io(subject, e))?;
        if window.has_ended() && window.bytes().len() <= CONTENT_INLINE_MAX {
            return Ok(Kept::Few(window.bytes().to_vec()));
        }
        blob::store(input, subject, chunker, sink, window).map(Kept::Stored)
    }

    /// As a record says it.
    pub fn bytes(&self) -> Bytes<'_> {
        match self {
            Kept::Few(bytes) => Bytes::Here(bytes),
            Kept::Stored(stored) => named(*stored),
        }
    }
}

/// What was stored, as a record says it.
pub fn named<'a>(stored: Stored) -> Bytes<'a> {
    match stored {
        Stored::Blob(blob) => Bytes::Blob(blob),
        Stored::Chunk(blob) => Bytes::Chunk(blob),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_that_was_cut_the_pieces_that_were_read_stay_where_they_are() {
        let pieces = [(4, 4), (16, 8), (32, 1)];
        for (read, are) in [
            (0, &[][..]),
            (3, &[(4, 3)]),
            (4, &[(4, 4)]),
            (5, &[(4, 4), (16, 1)]),
            (12, &[(4, 4), (16, 8)]),
            (13, &pieces),
        ] {
            assert_eq!(as_read(&pieces, read), are);
        }
    }
}
