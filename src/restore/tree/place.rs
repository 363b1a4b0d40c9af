//! A folder that is restored into, open. Whatever a snapshot says, everything happens in it: names are single parts of paths, and no link
//! is followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Stat, fchmod, fstat, linkat, mkdirat, open, openat, readlinkat, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// While it is written into.
const OWN: Mode = Mode::RWXU;

/// See the module.
pub struct Place(OwnedFd);

impl Place {
    /// A folder, by a path of the operator's.
    pub fn at(path: &Path) -> io::Result<Place> {
        Ok(Place(open(path, FLAGS, Mode::empty())?))
    }

    /// A folder in it.
    pub fn enter(&self, name: &[u8]) -> io::Result<Place> {
        Ok(Place(openat(&self.0, name, FLAGS | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// A folder in it, which is made where there is none, and may be written to meanwhile.
    pub fn make(&self, name: &[u8]) -> io::Result<Place> {
        match mkdirat(&self.0, name, OWN) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let place = match self.enter(name) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                // Whoever restored it before took the right from himself.
                rustix::fs::chmodat(&self.0, name, OWN, AtFlags::empty())?;
                self.enter(name)?
            }
            entered => entered?,
        };
        let mode = place.stat(b"")?.st_mode;
        if mode & OWN.bits() != OWN.bits() {
            // Who may not set it may perhaps write all the same.
            let _ = fchmod(&place.0, Mode::from_raw_mode(mode) | OWN);
        }
        Ok(place)
    }

    /// What the system says of what is called `name` in it, of a link itself; of the folder where the name is empty. `None`: nothing is
    /// there.
    pub fn look(&self, name: &[u8]) -> io::Result<Option<Stat>> {
        match self.stat(name) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        Ok(if name.is_empty() { fstat(&self.0)? } else { statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)? })
    }

    /// Where a link in it leads.
    pub fn target(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// A new file in it.
    pub fn create(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?)
    }

    /// A file that is there, to be read.
    pub fn open(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(openat(&self.0, name, flags, Mode::empty())?)
    }

    /// A file that is there, to be written to.
    pub fn open_to_write(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(openat(&self.0, name, flags, Mode::empty())?)
    }

    /// Gives something in it another name, in place of what has that.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    /// A symbolic link in it.
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Another name for a file in `of`.
    pub fn link(&self, of: &Place, file: &[u8], name: &[u8]) -> io::Result<()> {
        Ok(linkat(&of.0, file, &self.0, name, AtFlags::empty())?)
    }

    /// A device, pipe or socket in it.
    pub fn node(&self, name: &[u8], of: FileType, device: (u32, u32)) -> io::Result<()> {
        let device = rustix::fs::makedev(device.0, device.1);
        Ok(rustix::fs::mknodat(&self.0, name, of, Mode::RUSR | Mode::WUSR, device)?)
    }

    /// Takes away what is called `name` in it, with all that lies in it.
    pub fn remove(&self, name: &[u8]) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => return Ok(done?),
        }
        let inner = self.make(name)?;
        for one in inner.names(|_| true)? {
            inner.remove(&one)?;
        }
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// Names of what lies in it, of those that are `meant`.
    pub fn names(&self, meant: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        let fd = openat(&self.0, ".", FLAGS, Mode::empty())?;
        let mut buffer = Vec::with_capacity(64 << 10);
        let mut list = RawDir::new(&fd, buffer.spare_capacity_mut());
        while let Some(entry) = list.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && meant(name) {
                all.push(name.to_vec());
            }
        }
        Ok(all)
    }

    /// A path to what is called `name` in it, for calls that take nothing else.
    pub fn path(&self, name: &[u8]) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(OsStr::from_bytes(name))
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
