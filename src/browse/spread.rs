//! The content of a file as people read it: data where its pieces lie, zeros in its holes.

use std::io::Write;

use repo_format::file_tree::{Bytes, FileRecord};

use crate::error::{Error, Result};
use crate::restore::tree::{Layout, visit};
use crate::run::ChunkSource;

/// Writes all of it. Gives how many bytes.
///
/// Errors: what reading gives; those of `to`.
pub fn spread(file: &FileRecord<'_>, content: Bytes<'_>, chunks: &dyn ChunkSource, to: &mut dyn Write) -> Result<u64> {
    let layout = Layout::of(file, chunks)?;
    let mut spread = Spread { to, pieces: &layout.pieces, at: 0, left: 0 };
    visit(content, chunks, &mut |bytes| spread.put(bytes))?;
    spread.fill(layout.length)?;
    Ok(layout.length)
}

/// Puts data where the pieces of a file lie, zeros between.
struct Spread<'a> {
    to: &'a mut dyn Write,
    pieces: &'a [(u64, u64)],
    at: u64,
    left: u64,
}

impl Spread<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some(((from, length), rest)) = self.pieces.split_first() else {
                    return Err(Error::damaged("a file with holes", "has more data than room"));
                };
                self.pieces = rest;
                self.left = *length;
                self.fill(*from)?;
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.write(&bytes[..n])?;
            self.left -= n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Zeros up to a place.
    fn fill(&mut self, to: u64) -> Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        while self.at < to {
            let n = usize::try_from(to - self.at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(&ZEROS[..n])?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(|e| Error::io("output", e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
