//! A file read forwards through one buffer, whose size follows how many files are read at once.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::volume::Pooled;

use super::cursor::Fault;
use super::files::{Files, READ_LEAST};

/// Of what is read at a time, the part that the offsets and checksums that are read along take.
const SIDE_PART: usize = 16;

/// Reads a file forwards through one buffer and shows as many bytes in a row as are asked for.
pub struct Input {
    /// The file.
    pub file: Arc<Pooled>,
    /// Who says how much is read at a time.
    pub files: Arc<Files>,
    /// Its name, for errors.
    pub name: String,
    /// Reads a 16th of what `Data.db` does at a time.
    side: bool,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the file of the first byte not yet taken.
    pub offset: u64,
}

impl Input {
    /// Reads a file from its start.
    pub fn of(files: &Arc<Files>, file: Arc<Pooled>, side: bool) -> Input {
        let (files, name) = (Arc::clone(files), file.place().to_string());
        Input { file, files, name, side, buffer: Vec::new(), start: 0, end: 0, offset: 0 }
    }

    /// Goes on at `offset`.
    pub fn go_to(&mut self, offset: u64) {
        (self.start, self.end, self.offset) = (0, 0, offset);
    }

    /// The next `n` bytes, fewer only at the end of the file.
    pub fn take(&mut self, n: usize) -> Result<&[u8]> {
        if self.end - self.start < n {
            self.refill(n)?;
        }
        let n = n.min(self.end - self.start);
        let from = self.start;
        self.start += n;
        self.offset += n as u64;
        Ok(&self.buffer[from..from + n])
    }

    /// Exactly `n` bytes.
    pub fn take_all(&mut self, n: usize) -> Result<&[u8]> {
        let (at, name) = (self.offset, self.name.clone());
        let bytes = self.take(n)?;
        if bytes.len() < n {
            return Err(Fault::Short.at(format_args!("{name} at byte {at}")));
        }
        Ok(bytes)
    }

    fn refill(&mut self, n: usize) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let window = self.files.window() / if self.side { SIDE_PART } else { 1 };
        // Begins with little: by the next time as many are read at once as will be.
        let wanted = window.min((2 * self.buffer.len()).max(READ_LEAST)).max(4096).max(n);
        if self.buffer.len() > wanted {
            self.buffer.truncate(wanted);
            self.buffer.shrink_to_fit();
        } else if self.buffer.len() < wanted {
            self.buffer.reserve_exact(wanted - self.buffer.len());
            self.buffer.resize(wanted, 0);
        }
        while self.end < n {
            let at = self.offset + self.end as u64;
            match self.file.read_at(&mut self.buffer[self.end..], at)? {
                0 => break,
                read => self.end += read,
            }
        }
        Ok(())
    }

    /// The error for a fault at byte `at`.
    pub fn fault(&self, at: u64, fault: Fault) -> Error {
        fault.at(format_args!("{} at byte {at}", self.name))
    }

    /// Back to `offset`; everything taken so far must still be in the buffer.
    pub fn rewind_to(&mut self, offset: usize) -> Result<()> {
        let back = (self.offset as usize).checked_sub(offset).filter(|back| *back <= self.start);
        let back = back.ok_or_else(|| self.fault(offset as u64, Fault::Bad("offset")))?;
        self.start -= back;
        self.offset -= back as u64;
        Ok(())
    }
}
