//! The content of a file, written, or compared with what is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use repo_format::file_tree::{Bytes, FileRecord, extents};
use repo_format::limits::ASIDE_MAX;
use repo_format::limits::DATA_CHUNK_MAX;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::blob::{self, BlobRef};
use crate::error::{Error, Result};
use crate::run::{ChunkKind, ChunkSource};
use crate::watch::Watch;

/// What stands beside a record, or in it.
pub fn aside(bytes: Option<Bytes<'_>>, chunks: &dyn ChunkSource) -> Result<Vec<u8>> {
    match bytes {
        None => Ok(Vec::new()),
        Some(Bytes::Here(bytes)) => Ok(bytes.to_vec()),
        Some(Bytes::Blob(blob)) => blob::read_bytes(&blob, chunks, ASIDE_MAX as u64),
        Some(Bytes::Chunk(chunk)) => {
            let mut all = Vec::new();
            blob::visit_chunk(&chunk, chunks, &mut |bytes| {
                all.extend_from_slice(bytes);
                Ok(())
            })?;
            Ok(all)
        }
    }
}

/// Shows the bytes of a content in order, without holes.
pub fn visit(content: Bytes<'_>, chunks: &dyn ChunkSource, show: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    match content {
        Bytes::Here(bytes) => show(bytes),
        Bytes::Chunk(chunk) => blob::visit_chunk(&chunk, chunks, show),
        Bytes::Blob(blob) => blob::visit(&blob, chunks, show),
    }
}

/// Where the content of a file lies in it.
pub struct Layout {
    /// Bytes of the whole.
    pub length: u64,
    /// Pieces of data, ascending: place and length.
    pub pieces: Vec<(u64, u64)>,
}

impl Layout {
    /// As the record says.
    ///
    /// Errors: its pieces are not as long as its content.
    pub fn of(file: &FileRecord<'_>, chunks: &dyn ChunkSource) -> Result<Layout> {
        let bytes = file.content.map_or(0, |content| content.length());
        if file.sparse.is_none() {
            return Ok(Layout { length: bytes, pieces: vec![(0, bytes)] });
        }
        let (length, pieces) = extents(&aside(file.sparse, chunks)?)?;
        if pieces.iter().map(|(_, length)| length).sum::<u64>() != bytes {
            return Err(Error::damaged("a file with holes", "has other data than its holes leave room for"));
        }
        Ok(Layout { length, pieces })
    }

    /// Its holes, ascending: from, to.
    fn holes(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = self.pieces.iter().map(|(at, length)| at + length);
        let starts = self.pieces.iter().map(|(at, _)| *at).chain([self.length]);
        [0].into_iter().chain(ends).zip(starts)
    }
}

/// Goes along the pieces of a layout.
struct Along<'l> {
    pieces: std::slice::Iter<'l, (u64, u64)>,
    at: u64,
    left: u64,
}

impl<'l> Along<'l> {
    fn new(layout: &'l Layout) -> Along<'l> {
        Along { pieces: layout.pieces.iter(), at: 0, left: 0 }
    }

    /// The place of the next bytes, and how many of `wanted` lie there.
    fn next(&mut self, wanted: u64) -> Option<(u64, u64)> {
        while self.left == 0 {
            (self.at, self.left) = *self.pieces.next()?;
        }
        let (at, n) = (self.at, wanted.min(self.left));
        (self.at, self.left) = (at + n, self.left - n);
        Some((at, n))
    }
}

/// Writes the content of a file that is empty.
pub fn write(
    content: Bytes<'_>,
    layout: &Layout,
    chunks: &dyn ChunkSource,
    to: &File,
    subject: &str,
    watch: &Watch,
) -> Result<()> {
    let mut along = Along::new(layout);
    let mut put = |mut bytes: &[u8]| -> Result<()> {
        watch.check()?;
        watch.advance(bytes.len() as u64);
        while !bytes.is_empty() {
            let (at, n) =
                along.next(bytes.len() as u64).ok_or_else(|| Error::damaged(subject, "has more data than room"))?;
            let (now, rest) = bytes.split_at(n as usize);
            to.write_all_at(now, at).map_err(|e| Error::io(subject, e))?;
            bytes = rest;
        }
        Ok(())
    };
    visit(content, chunks, &mut put)?;
    to.set_len(layout.length).map_err(|e| Error::io(subject, e))
}

/// Whether a file has this content. What is stored is not read where chunks can be named.
pub fn is_same(
    content: Bytes<'_>,
    layout: &Layout,
    chunks: &dyn ChunkSource,
    file: &File,
    subject: &str,
) -> Result<bool> {
    let failed = |e| Error::io(subject, e);
    if file.metadata().map_err(failed)?.len() != layout.length {
        return Ok(false);
    }
    let mut along = Along::new(layout);
    let mut read = |length: u64| -> Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; length as usize];
        let mut done = 0;
        while done < bytes.len() {
            let Some((at, n)) = along.next((bytes.len() - done) as u64) else { return Ok(None) };
            match file.read_exact_at(&mut bytes[done..done + n as usize], at) {
                Ok(()) => done += n as usize,
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(Some(bytes))
    };
    let mut same = true;
    let mut compare = |piece: &BlobRef| -> Result<()> {
        if piece.length > DATA_CHUNK_MAX as u64 {
            return Err(Error::damaged(subject, "has a piece that is longer than any chunk"));
        }
        if same {
            let there = read(piece.length)?;
            same = match there.as_ref().and_then(|bytes| chunks.name_of(ChunkKind::Data, bytes)) {
                Some(name) => name == piece.root,
                None => there.as_deref() == Some(&chunks.get(ChunkKind::Data, &piece.root)?),
            };
        }
        Ok(())
    };
    match content {
        Bytes::Here(bytes) => same = read(bytes.len() as u64)?.as_deref() == Some(bytes),
        Bytes::Chunk(chunk) => compare(&chunk)?,
        Bytes::Blob(blob) => blob::pieces(&blob, chunks, &mut compare)?,
    }
    Ok(same && has_holes(file, layout).map_err(failed)?)
}

/// Whether a file reads as zeros outside of the pieces of a layout.
fn has_holes(file: &File, layout: &Layout) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    for (mut at, to) in layout.holes() {
        while at < to {
            at = match seek(file, SeekFrom::Data(at)) {
                Ok(data) if data < to => data,
                Ok(_) | Err(Errno::NXIO) => break,
                // The file system does not say where data lie.
                Err(_) => at,
            };
            let n = usize::try_from(to - at).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..n], at)?;
            if buffer[..n].iter().any(|b| *b != 0) {
                return Ok(false);
            }
            at += n as u64;
        }
    }
    Ok(true)
}

/// Whole blocks of data that lie in the holes of a layout: from, to. Of less than a block no hole can be made.
pub fn filled(file: &File, layout: &Layout) -> io::Result<Vec<(u64, u64)>> {
    let block = file.metadata()?.blksize().max(1);
    let mut all = Vec::new();
    for (from, to) in layout.holes() {
        let Some(mut at) = from.checked_next_multiple_of(block) else { break };
        let to = if to == layout.length { to } else { to - to % block };
        while at < to {
            // Where the file system does not say it, it has no holes either.
            let Ok(data) = seek(file, SeekFrom::Data(at)) else { break };
            if data >= to {
                break;
            }
            at = seek(file, SeekFrom::Hole(data))?.min(to);
            all.push((data, at));
        }
    }
    Ok(all)
}
