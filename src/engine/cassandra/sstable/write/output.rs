//! One file on its way to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes gathered before they are written.
const BUFFER: usize = 128 << 10;

/// A new file, written from its start.
pub struct Output {
    file: BufWriter<File>,
    path: PathBuf,
    position: u64,
}

impl Output {
    /// Creates `path`, which must not be there.
    pub fn create(path: &Path) -> Result<Output> {
        let open = OpenOptions::new().write(true).create_new(true).open(path);
        let file = open.map_err(|e| Error::io(path.display(), e))?;
        Ok(Output { file: BufWriter::with_capacity(BUFFER, file), path: path.to_path_buf(), position: 0 })
    }

    /// Bytes written so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.position += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Error::io(self.path.display(), e))
    }

    /// Writes `bytes` over those at `offset`; what follows goes to the end again.
    pub fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = self.position;
        let mut patch = || -> std::io::Result<()> {
            self.file.seek(SeekFrom::Start(offset))?;
            self.file.write_all(bytes)?;
            self.file.seek(SeekFrom::Start(end)).map(drop)
        };
        patch().map_err(|e| Error::io(self.path.display(), e))
    }

    /// Hands what was gathered to the system, so that others can read it.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| Error::io(self.path.display(), e))
    }

    /// Brings the whole file to the disk. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.file.get_ref().sync_all().map_err(|e| Error::io(self.path.display(), e))?;
        Ok(self.position)
    }
}

/// Creates `path` with `bytes` and brings it to the disk. Returns its length.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<u64> {
    let mut output = Output::create(path)?;
    output.write(bytes)?;
    output.finish()
}

/// Brings the names in `directory` to the disk.
pub fn sync_directory(directory: &Path) -> Result<()> {
    let sync = || File::open(directory)?.sync_all();
    sync().map_err(|e| Error::io(directory.display(), e))
}

/// Removes files, those that are there.
pub fn remove(paths: impl IntoIterator<Item = PathBuf>) {
    for path in paths {
        let _ = fs::remove_file(path);
    }
}
