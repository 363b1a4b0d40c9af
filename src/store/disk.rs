//! The thin seam between the folder store and the operating system, so that tests can record every write, sync and
//! directory operation and replay any prefix of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, fcntl_getfl, fcntl_setfl, flock, renameat_with};
use rustix::io::Errno;

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The last part of its path.
    pub name: String,
    /// A directory, or a file.
    pub is_dir: bool,
    /// Bytes of a file.
    pub len: u64,
    /// When it was last written, milliseconds since 1970, if that is known.
    pub modified_ms: Option<u64>,
}

/// File-system operations below one root. Paths are relative to it and separated by slashes; `""` is the root. An error may hold
/// one of ours, which is then what is said.
pub trait Disk: Send + Sync {
    /// Makes a directory; its parent exists (that of the root is made). That it exists already is fine. Not synced.
    fn make_dir(&self, path: &str) -> io::Result<()>;
    /// Writes a new file and syncs its bytes. The entry in its directory is not synced.
    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Moves a file to a name that must not exist, atomically; [`io::ErrorKind::AlreadyExists`] otherwise. Not synced.
    fn publish(&self, from: &str, to: &str) -> io::Result<()>;
    /// Syncs the entries of a directory.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
    /// Removes a file. Not synced.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Reads a file; with a range, exactly that, or [`io::ErrorKind::UnexpectedEof`].
    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>>;
    /// Lists a directory, in no order.
    fn entries(&self, path: &str) -> io::Result<Vec<Entry>>;
    /// Whether nobody is writing this file any more (its writer crashed).
    fn is_abandoned(&self, path: &str) -> io::Result<bool>;
    /// The root, for messages.
    fn place(&self) -> String;
    /// See [`super::Store::concurrency`].
    fn concurrency(&self) -> usize {
        2
    }
    /// See [`super::Store::patience`]. What a disk says seldom passes; a server comes back.
    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Files of so many bytes and more are written past the page cache.
const DIRECT_LEAST: usize = 1 << 20;
/// Bytes of one such write.
const DIRECT_PIECE: usize = 2 << 20;
/// What place in memory, place in the file and length of such a write must be multiples of, on every file system.
const DIRECT_ALIGN: usize = 4096;

/// The operating system's own files.
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// `root` need not exist yet.
    pub fn new(root: impl AsRef<Path>) -> RealDisk {
        RealDisk { root: root.as_ref().to_path_buf() }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Disk for RealDisk {
    fn make_dir(&self, path: &str) -> io::Result<()> {
        if path.is_empty() {
            return make_root(&self.root);
        }
        match fs::create_dir(self.path(path)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(self.path(path))?;
        // Held until the file is whole: tells a sweep that its writer lives. File systems without locks sweep less.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let direct = if bytes.len() >= DIRECT_LEAST { write_direct(&file, bytes)? } else { 0 };
        file.write_all(&bytes[direct..])?;
        file.sync_all()
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            // NFS and others cannot; a hard link does not replace either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(&from, &to)?;
                fs::remove_file(&from)
            }
            other => Ok(other?),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(path))?;
        let len = file.metadata()?.len();
        let Some(range) = range else {
            let mut bytes = Vec::with_capacity(usize::try_from(len.min(super::OBJECT_MAX)).unwrap_or(0));
            file.read_to_end(&mut bytes)?;
            return Ok(bytes);
        };
        if range.end > len || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            let entry = entry?;
            // Names that are not UTF-8 are none of ours. What vanished since (a moved temporary file) is no longer there.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
            entries.push(Entry { name, is_dir: meta.is_dir(), len: meta.len(), modified_ms });
        }
        Ok(entries)
    }

    fn is_abandoned(&self, path: &str) -> io::Result<bool> {
        let file = File::open(self.path(path))?;
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    }

    fn place(&self) -> String {
        // Two paths must never read the same: a machine knows a repository by its place.
        let bytes = self.root.as_os_str().as_encoded_bytes();
        self.root.to_str().map_or_else(|| bytes.escape_ascii().to_string(), str::to_owned)
    }
}

/// Writes as much of `bytes` as goes past the page cache, from the start of an empty file on, and gives how much that is: none
/// where the file system cannot. A pack is written once and not read soon; to copy it into the cache takes a twentieth of a
/// backup's CPU, and pushes out what the database has there.
fn write_direct(file: &File, bytes: &[u8]) -> io::Result<usize> {
    let flags = fcntl_getfl(file)?;
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let whole = bytes.len() - bytes.len() % DIRECT_ALIGN;
    let mut room = vec![0; whole.min(DIRECT_PIECE) + DIRECT_ALIGN];
    let start = room.as_ptr().align_offset(DIRECT_ALIGN).min(DIRECT_ALIGN);
    let mut done = 0;
    while done < whole {
        let n = (whole - done).min(DIRECT_PIECE);
        let piece = &mut room[start..start + n];
        piece.copy_from_slice(&bytes[done..done + n]);
        match (&*file).write(piece) {
            Ok(written) if written % DIRECT_ALIGN == 0 && written > 0 => done += written,
            // What a short write leaves out of step goes through the cache, as all does where the first is refused.
            Ok(written) => {
                done += written;
                break;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
            Err(e) => return Err(e),
        }
    }
    fcntl_setfl(file, flags)?;
    Ok(done)
}

/// Makes the root and every missing parent, and syncs the entry of each that it made.
fn make_root(root: &Path) -> io::Result<()> {
    if root.is_dir() {
        return Ok(());
    }
    let parent = match root.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    make_root(parent)?;
    match fs::create_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    File::open(parent)?.sync_all()
}
