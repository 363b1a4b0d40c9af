//! The files that a backup reads SSTables from: a stated number open at once, however many SSTables there are.
//!
//! A file is opened when a window of it is read, and closed again when others are wanted more. That it is still the same
//! file is checked each time. Memory is shared out likewise: the more SSTables are read at once, the less each reads at a
//! time.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::run::{BATCH_BYTES, RecordBatch};

/// Files that are open at once, at most; fewer where the process may open less than four times as many.
pub const OPEN_MAX: usize = 256;
/// Bytes of read buffers of all SSTables that are read at once, as long as [`READ_LEAST`] for each is less.
pub const BUFFERS: usize = 48 << 20;
/// Bytes read from `Data.db` at a time where few are read at once.
pub const READ_BUFFER: usize = 256 << 10;
/// Bytes read from `Data.db` at a time where many are read at once.
pub const READ_LEAST: usize = 16 << 10;
/// Bytes of records at which a batch is full where many SSTables are read at once.
const BATCH_LEAST: usize = 8 << 10;

/// Files that are open, and how many SSTables are being read.
pub struct Files {
    most: usize,
    buffers: usize,
    least: usize,
    readers: AtomicUsize,
    numbers: AtomicU64,
    /// By number; the last was used last.
    open: Mutex<Vec<(u64, Arc<File>)>>,
}

impl Files {
    /// For all SSTables of a backup: as many files as a quarter of what the process may open, at most [`OPEN_MAX`].
    pub fn shared() -> Arc<Files> {
        let soft = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let quarter = soft.map_or(OPEN_MAX, |n| usize::try_from(n / 4).unwrap_or(OPEN_MAX));
        Files::new(quarter.clamp(4, OPEN_MAX), BUFFERS, READ_LEAST)
    }

    /// For one SSTable read alone, `buffer` bytes at a time.
    pub fn alone(buffer: usize) -> Arc<Files> {
        Files::new(2, buffer, buffer.min(READ_BUFFER))
    }

    fn new(most: usize, buffers: usize, least: usize) -> Arc<Files> {
        let (readers, numbers, open) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::default());
        Arc::new(Files { most, buffers, least, readers, numbers, open })
    }

    /// Counts one more SSTable as being read until the result is dropped.
    pub fn reading(self: &Arc<Files>) -> Reading {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reading { files: Arc::clone(self), limit: BATCH_LEAST / 2 }
    }

    fn share(&self, of: usize) -> usize {
        of / self.readers.load(Ordering::Relaxed).max(1)
    }

    /// Bytes that each SSTable reads at a time now.
    pub fn window(&self) -> usize {
        self.share(self.buffers).clamp(self.least, READ_BUFFER.max(self.least))
    }

    fn open_files(&self) -> MutexGuard<'_, Vec<(u64, Arc<File>)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file of this number, opened by `path` unless it is open still.
    fn get(&self, number: u64, path: &Path) -> std::io::Result<Arc<File>> {
        let mut open = self.open_files();
        if let Some(at) = open.iter().rposition(|(n, _)| *n == number) {
            let found = open.remove(at);
            let file = Arc::clone(&found.1);
            open.push(found);
            return Ok(file);
        }
        if open.len() >= self.most {
            open.remove(0);
        }
        let file = loop {
            match File::open(path) {
                // Whatever else the program has open leaves less room than was thought.
                Err(e) if is_out_of_files(&e) && !open.is_empty() => {
                    let half = open.len().div_ceil(2);
                    open.drain(..half);
                }
                opened => break Arc::new(opened?),
            }
        };
        open.push((number, Arc::clone(&file)));
        Ok(file)
    }
}

fn is_out_of_files(e: &std::io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

/// An SSTable that counts as being read.
pub struct Reading {
    files: Arc<Files>,
    /// Bytes that its last batch might have.
    limit: usize,
}

impl Reading {
    /// Makes `batch` as large as each SSTable that is read now may fill; the first ones less, since more may be opened soon.
    pub fn limit(&mut self, batch: &mut RecordBatch) {
        let share = self.files.share(self.files.buffers / 2).clamp(BATCH_LEAST, BATCH_BYTES);
        self.limit = share.min(2 * self.limit);
        batch.set_limit(self.limit);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.files.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What tells one file from another under the same name: device, inode, length, and when it was last written.
type Identity = (u64, u64, u64, i64, i64);

/// One file, open or not.
pub struct Pooled {
    files: Arc<Files>,
    number: u64,
    path: PathBuf,
    identity: Identity,
}

impl Pooled {
    /// Opens a file for the first time.
    pub fn open(files: &Arc<Files>, path: &Path) -> Result<Pooled> {
        let number = files.numbers.fetch_add(1, Ordering::Relaxed);
        let mut pooled =
            Pooled { files: Arc::clone(files), number, path: path.to_path_buf(), identity: Default::default() };
        let file = files.get(number, path).map_err(|e| pooled.failed(e))?;
        pooled.identity = identity(&file).map_err(|e| pooled.failed(e))?;
        Ok(pooled)
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.identity.2
    }

    /// Bytes to be read at a time now.
    pub fn window(&self) -> usize {
        self.files.window()
    }

    /// Reads bytes from `offset` on. Gives their number, 0 at the end. Fails where another file took this one's place.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        let file = self.files.get(self.number, &self.path).map_err(|e| self.failed(e))?;
        if identity(&file).map_err(|e| self.failed(e))? != self.identity {
            return Err(Error::new(Kind::Io, self.path.display(), "was replaced or written to while it was read"));
        }
        loop {
            match file.read_at(to, offset) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read.map_err(|e| self.failed(e)),
            }
        }
    }

    fn failed(&self, e: std::io::Error) -> Error {
        Error::io(self.path.display(), e)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.files.open_files().retain(|(number, _)| *number != self.number);
    }
}

fn identity(file: &File) -> std::io::Result<Identity> {
    let m = file.metadata()?;
    Ok((m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn few_files_are_open_and_all_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |i: usize| folder.path().join(format!("f{i}"));
        (0..40).for_each(|i| fs::write(path(i), [i as u8; 8]).unwrap());
        let files = Files::new(4, BUFFERS, READ_LEAST);
        let pooled: Vec<Pooled> = (0..40).map(|i| Pooled::open(&files, &path(i)).unwrap()).collect();
        for round in 0..8u64 {
            for (i, file) in pooled.iter().enumerate() {
                let mut byte = [0xff];
                assert_eq!(file.read_at(&mut byte, round).unwrap(), 1);
                assert_eq!(usize::from(byte[0]), i);
                assert!(files.open_files().len() <= 4);
            }
        }
        assert_eq!(pooled[0].read_at(&mut [0], 8).unwrap(), 0);
        drop(pooled);
        assert!(files.open_files().is_empty());
    }

    #[test]
    fn another_file_in_its_place_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a", "b", "c", "d"] {
            fs::write(path(name), name).unwrap();
        }
        let files = Files::new(1, BUFFERS, READ_LEAST);
        let [a, b, c]: [Pooled; 3] = ["a", "b", "c"].map(|name| Pooled::open(&files, &path(name)).unwrap());
        fs::rename(path("d"), path("a")).unwrap();
        fs::remove_file(path("b")).unwrap();
        let said = |pooled: &Pooled| pooled.read_at(&mut [0], 0).unwrap_err();
        assert!(said(&a).subject().ends_with("/a") && said(&a).kind() == Kind::Io, "{}", said(&a));
        assert!(said(&b).subject().ends_with("/b") && said(&b).kind() == Kind::NotFound, "{}", said(&b));
        assert_eq!(c.read_at(&mut [0], 0).unwrap(), 1);
        // Written to in its place: open or opened again, it is not what it was.
        fs::write(path("c"), "longer").unwrap();
        assert!(said(&c).subject().ends_with("/c") && said(&c).to_string().contains("written to"), "{}", said(&c));
        assert!(!said(&a).is_of_bytes() && !said(&b).is_of_bytes() && !said(&c).is_of_bytes());
    }

    #[test]
    fn the_more_are_read_the_less_each_takes() {
        let files = Files::shared();
        let mut reading: Vec<Reading> = Vec::new();
        for (readers, window, batch) in
            [(1, READ_BUFFER, BATCH_BYTES), (768, 64 << 10, 32 << 10), (9999, READ_LEAST, BATCH_LEAST)]
        {
            reading.resize_with(readers, || files.reading());
            assert_eq!(files.window(), window);
            let mut full = RecordBatch::new();
            let limits: Vec<usize> = (0..6)
                .map(|_| {
                    reading[0].limit(&mut full);
                    full.limit()
                })
                .collect();
            assert!(limits[5] == batch && limits.windows(2).all(|two| two[1] <= 2 * two[0]), "{limits:?}");
        }
    }
}
