//! A folder of this machine, open, and what lies in it. Everything in it is asked for below its descriptor: so no path is too long, and
//! no folder above is another one meanwhile.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, open, openat, readlinkat, statat};
use rustix::io::Errno;

/// Bytes of names that the system gives at a time.
const LIST_BUFFER: usize = 64 << 10;

/// See the module.
pub struct Folder {
    fd: OwnedFd,
    /// Its key (`repo_format::file_tree`); of the root nothing, so that keys of what lies in it begin with it.
    pub prefix: Vec<u8>,
}

impl Folder {
    /// The root of all; only to be passed where it may not be listed.
    pub fn root() -> io::Result<Folder> {
        let opened = open("/", FLAGS, Mode::empty());
        let passed = opened.or_else(|e| if e == Errno::ACCESS { open("/", PASSED, Mode::empty()) } else { Err(e) });
        Ok(Folder { fd: passed?, prefix: Vec::new() })
    }

    /// A folder in it. No link is followed.
    pub fn enter(&self, name: &[u8], prefix: Vec<u8>) -> io::Result<Folder> {
        Ok(Folder { fd: openat(&self.fd, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?, prefix })
    }

    /// A folder in it that is only passed: it need not be one that may be listed.
    pub fn pass(&self, name: &[u8], prefix: Vec<u8>) -> io::Result<Folder> {
        match openat(&self.fd, name, FLAGS | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::ACCESS) => Ok(Folder { fd: openat(&self.fd, name, PASSED, Mode::empty())?, prefix }),
            opened => Ok(Folder { fd: opened?, prefix }),
        }
    }

    /// Opens a file in it, which no link leads to, without waiting for whoever writes to it.
    pub fn open(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(openat(&self.fd, name, flags, Mode::empty())?)
    }

    /// What the system says of what is called `name` in it, of a link itself; of the folder where the name is empty.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(if name.is_empty() { fstat(&self.fd)? } else { statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)? })
    }

    /// Where a link in it leads.
    pub fn link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.fd, name, Vec::new())?.into_bytes())
    }

    /// A path to what is called `name` in it, for calls that take nothing else.
    pub fn path(&self, name: &[u8]) -> PathBuf {
        let folder = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        if name.is_empty() { folder } else { folder.join(OsStr::from_bytes(name)) }
    }

    /// What lies in it.
    pub fn names(&self) -> io::Result<Names> {
        let mut names = Names::default();
        let mut buffer = Vec::with_capacity(LIST_BUFFER);
        let mut list = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = list.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && !names.push(name, entry.file_type()) {
                return Err(io::Error::other("holds more names than can be held in memory"));
            }
        }
        names.sort();
        Ok(names)
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const PASSED: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Names in a folder, ascending by their bytes, of which some were given already.
#[derive(Default)]
pub struct Names {
    bytes: Vec<u8>,
    all: Vec<Name>,
    at: usize,
}

#[derive(Clone, Copy)]
struct Name {
    start: u32,
    length: u16,
    of: FileType,
}

impl Names {
    /// These, which ascend; what each is of has to be asked.
    pub fn of<'n>(names: impl Iterator<Item = &'n [u8]>) -> Names {
        let mut all = Names::default();
        for name in names {
            all.push(name, FileType::Unknown);
        }
        all
    }

    /// Gives whether there was room. Names have 255 bytes at most; some file systems have longer ones, none as long as 64 KiB.
    fn push(&mut self, name: &[u8], of: FileType) -> bool {
        let (Ok(start), Ok(length)) = (u32::try_from(self.bytes.len()), u16::try_from(name.len())) else {
            return false;
        };
        self.bytes.extend_from_slice(name);
        self.all.push(Name { start, length, of });
        true
    }

    fn get(&self, name: Name) -> &[u8] {
        let start = name.start as usize;
        self.bytes.get(start..start + usize::from(name.length)).unwrap_or_default()
    }

    fn sort(&mut self) {
        let mut all = std::mem::take(&mut self.all);
        all.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        self.all = all;
    }

    /// Whether one is called so.
    pub fn has(&self, name: &[u8]) -> bool {
        self.all.binary_search_by(|one| self.get(*one).cmp(name)).is_ok()
    }

    /// Keeps those that `wanted` says, which is told of each whether it is a folder. Gives whether all stayed.
    pub fn retain(&mut self, mut wanted: impl FnMut(&[u8], bool) -> bool) -> bool {
        let mut all = std::mem::take(&mut self.all);
        let before = all.len();
        all.retain(|one| wanted(self.get(*one), one.of == FileType::Directory));
        self.all = all;
        before == self.all.len()
    }

    /// The next one, and what it is of, as far as the listing says it.
    pub fn next(&mut self) -> Option<(&[u8], FileType)> {
        let next = self.all.get(self.at).copied()?;
        self.at += 1;
        Some((self.get(next), next.of))
    }
}
