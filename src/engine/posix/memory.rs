//! What this machine remembers of the files that it read last: what the system said of each then, and its record. A file of which the
//! system says the same tonight is not read again.
//!
//! ```text
//! file  = magic 16 │ blocks │ end
//! block = length u32 │ check 8 │ entries, compressed
//! entry = key string │ device, inode, size varint
//!       │ mtime, ctime: seconds zigzag, nanoseconds u32 │ young u8 │ body string
//! end   = 0 u32 │ bytes read u64 │ snapshot, 64 hex digits
//! ```
//! Keys ascend, and are whole: compression takes what they share. The end is written once the backup has committed: without it a file says nothing.
//! It holds what anybody can learn who may read the files themselves, and is for its owner alone.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use repo_format::FormatError;
use repo_format::wire::{Put, Reader, unzigzag, zigzag};

use crate::error::{Error, Result};
use crate::whole::beside;

/// What a file begins with.
pub(super) const MAGIC: &[u8; 16] = b"onefold files 0\n";
const END: usize = 4 + 8 + 64;
/// Bytes of entries at which a block ends.
const BLOCK: usize = 128 << 10;
/// A block is no longer than this: one entry may pass [`BLOCK`].
const BLOCK_MAX: usize = 1 << 20;
const LEVEL: i32 = 1;

/// What the system said of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Local {
    /// Of the file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Of the content: seconds since 1970, nanoseconds.
    pub modified: (i64, u32),
    /// Of anything about it.
    pub changed: (i64, u32),
}

/// What is remembered of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Its key.
    pub key: Vec<u8>,
    /// What the system said.
    pub local: Local,
    /// It was changed just before it was read, or while: a change after that may not show.
    pub young: bool,
    /// Its record.
    pub body: Vec<u8>,
}

/// What is remembered, in the order of the keys. What is damaged ends it: what comes behind is read anew.
pub struct Remembered<R = BufReader<File>> {
    input: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> Iterator for Remembered<R> {
    type Item = Known;

    fn next(&mut self) -> Option<Known> {
        if self.at == self.block.len() {
            self.block = self.read_block()?;
            self.at = 0;
        }
        let rest = self.block.get(self.at..)?;
        let mut r = Reader::new(rest, "entry");
        let known = entry(&mut r).ok()?;
        self.at = self.block.len() - r.remaining();
        Some(known)
    }
}

/// What the end says.
pub struct Ending {
    /// Bytes that were read for it.
    pub bytes: u64,
    /// The snapshot that it is of.
    pub snapshot: String,
}

/// What the end of the file at `path` says; `None` where there is no such file, or it has no end.
pub fn ending(path: &Path) -> Option<Ending> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::End(-(END as i64))).ok()?;
    let mut end = [0; END];
    file.read_exact(&mut end).ok()?;
    let mut r = Reader::new(&end, "end");
    let (zero, bytes) = (r.u32().ok()?, r.u64().ok()?);
    let snapshot = std::str::from_utf8(r.bytes(64).ok()?).ok()?.to_owned();
    let is_id = snapshot.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (zero == 0 && is_id).then_some(Ending { bytes, snapshot })
}

impl Remembered {
    /// Of the file at `path`; `None` where there is none that can be read.
    pub fn open(path: &Path) -> Option<Remembered> {
        Remembered::of(BufReader::with_capacity(256 << 10, File::open(path).ok()?))
    }
}

impl<R: Read> Remembered<R> {
    /// Of what `input` gives; `None` where that is no such file. It may lack an end: that of a pass of this very backup has none yet.
    pub fn of(mut input: R) -> Option<Remembered<R>> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).ok()?;
        (magic == *MAGIC).then_some(Remembered { input, block: Vec::new(), at: 0 })
    }

    fn read_block(&mut self) -> Option<Vec<u8>> {
        let mut head = [0; 12];
        self.input.read_exact(&mut head).ok()?;
        let mut r = Reader::new(&head, "block");
        let (length, check) = (r.u32().ok()? as usize, r.array::<8>().ok()?);
        if length == 0 || length > BLOCK_MAX {
            return None;
        }
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).ok()?;
        let is_same = blake3::hash(&bytes).as_bytes().starts_with(&check);
        let block = is_same.then(|| zstd::bulk::decompress(&bytes, 2 * BLOCK_MAX).ok())??;
        (!block.is_empty()).then_some(block)
    }
}

/// Appends a block, whose entries are compressed already. What is too long is no block, and ends the file for who reads it.
pub(super) fn put_block(out: &mut Vec<u8>, compressed: &[u8]) {
    out.put_u32(u32::try_from(compressed.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(&blake3::hash(compressed).as_bytes()[..8]);
    out.extend_from_slice(compressed);
}

/// Appends an entry.
pub(super) fn put_entry(out: &mut Vec<u8>, known: &Known) {
    let Known { key, local, young, body } = known;
    out.put_string(key);
    [local.device, local.inode, local.size].into_iter().for_each(|n| out.put_varint(n));
    for (seconds, nanoseconds) in [local.modified, local.changed] {
        out.put_varint(zigzag(seconds));
        out.put_u32(nanoseconds);
    }
    out.push(u8::from(*young));
    out.put_string(body);
}

/// Reads an entry.
pub(super) fn entry(r: &mut Reader<'_>) -> repo_format::Result<Known> {
    let key = r.string()?.to_vec();
    let (device, inode, size) = (r.varint()?, r.varint()?, r.varint()?);
    let modified = (unzigzag(r.varint()?), r.u32()?);
    let changed = (unzigzag(r.varint()?), r.u32()?);
    let young = match r.u8()? {
        0 => false,
        1 => true,
        _ => return Err(FormatError::Invalid("entry")),
    };
    let local = Local { device, inode, size, modified, changed };
    Ok(Known { key, local, young, body: r.string()?.to_vec() })
}

/// Writes anew what is remembered, beside what was.
pub struct Remembering {
    path: PathBuf,
    output: BufWriter<File>,
    block: Vec<u8>,
}

impl Remembering {
    /// For the file at `path`.
    pub fn create(path: &Path) -> Result<Remembering> {
        let new = beside(path, "new");
        let failed = |e| Error::io(new.display(), e);
        let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(failed)?;
        let mut output = BufWriter::with_capacity(256 << 10, file);
        output.write_all(MAGIC).map_err(failed)?;
        Ok(Remembering { path: path.to_owned(), output, block: Vec::new() })
    }

    /// Adds one; keys ascend.
    pub fn add(&mut self, known: &Known) -> Result<()> {
        put_entry(&mut self.block, known);
        if self.block.len() >= BLOCK { self.write_block() } else { Ok(()) }
    }

    fn write_block(&mut self) -> Result<()> {
        let failed = |e| Error::io(self.path.display(), e);
        let compressed = zstd::bulk::compress(&self.block, LEVEL).map_err(failed)?;
        self.block.clear();
        let mut block = Vec::with_capacity(12 + compressed.len());
        put_block(&mut block, &compressed);
        self.output.write_all(&block).map_err(failed)
    }

    /// Everything was added, of which so many bytes were read.
    pub fn finish(mut self, bytes: u64) -> Result<Aside> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        self.output.flush().map_err(|e| Error::io(self.path.display(), e))?;
        Ok(Aside { path: self.path, bytes })
    }
}

/// What was written beside, until the backup commits.
pub struct Aside {
    path: PathBuf,
    bytes: u64,
}

impl Aside {
    /// Where it lies meanwhile.
    pub fn place(&self) -> PathBuf {
        beside(&self.path, "new")
    }

    /// The backup is the snapshot of this id: it takes the place of what was remembered.
    pub fn stands(&self, snapshot: &str) -> Result<()> {
        let new = self.place();
        let mut end = Vec::with_capacity(END);
        end.put_u32(0);
        end.put_u64(self.bytes);
        end.extend_from_slice(snapshot.as_bytes());
        let write = || {
            File::options().append(true).open(&new)?.write_all(&end)?;
            fs::rename(&new, &self.path)?;
            // What a backup that died had remembered, or this one the first time.
            match fs::remove_file(beside(&self.path, "pass")) {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        };
        write().map_err(|e| Error::io(new.display(), e))
    }
}

/// What came of the last time that the files were read.
#[derive(Default)]
pub struct Passed {
    /// They were read before, in this backup.
    pub began: AtomicBool,
    /// What was remembered.
    pub aside: Mutex<Option<Aside>>,
    /// Bytes of all files.
    pub bytes: AtomicU64,
}
