//! A store in a folder of another machine, over SFTP.
//!
//! It is a [`Folder`] whose disk is there: an object is written to `tmp/`, synced (`fsync@openssh.com`), its length compared,
//! linked to its name without replacing anything (`hardlink@openssh.com`), and then the folder is synced: OpenSSH opens one for
//! reading and syncs what is open. A server that cannot do these is refused by name. Connections that break are opened anew.

use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::disk::{Disk, Entry};
use super::folder::Folder;
use crate::error::{Error, Kind, Result};
use crate::ssh::files::{self, Handle};
use crate::ssh::{Address, Connection, Fault, Host, status};

const SCHEME: &str = "sftp";
/// What a server must know.
const NEEDED: [&str; 2] = ["fsync@openssh.com", "hardlink@openssh.com"];
/// Connections at once. A server works on one request of each at a time, and a sync takes long.
const CONNECTIONS: usize = 4;
/// How long what may pass is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
/// A temporary file that nobody has written to for so many seconds has no writer: one waits 300 at most for each of the few
/// answers that follow the last write. Where one slept that long all the same, its link finds nothing and it writes anew.
const ABANDONED: u32 = 3600;
/// Bytes of an object that are asked for together with its length.
const FIRST: u64 = 128 << 10;

/// Whether `place` means such a store.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(b"sftp://")
}

/// A folder elsewhere.
pub struct Remote {
    host: Host,
    /// Its path there; where it has no slash before it, from the user's home on.
    root: String,
    place: String,
    /// What time it is there, in seconds: asked once.
    now: OnceLock<u32>,
}

/// Opens `sftp://[USER@]HOST[:PORT]/PATH`. Connects with nobody yet.
///
/// Errors: [`Kind::Usage`] where the place makes no sense.
pub fn open(place: &OsStr) -> Result<Folder<Remote>> {
    let (address, root) = parse(place)?;
    let shown = format!("{SCHEME}://{address}");
    Ok(Folder::new(Remote::new(Host::new(address, shown, CONNECTIONS), root)))
}

/// The same, with settings of `ssh` in a file.
pub fn with(place: &OsStr, settings: PathBuf) -> Result<Folder<Remote>> {
    let (address, root) = parse(place)?;
    let shown = format!("{SCHEME}://{address}");
    Ok(Folder::new(Remote::new(Host::with(address, shown, CONNECTIONS, Some(settings)), root)))
}

fn parse(place: &OsStr) -> Result<(Address, String)> {
    let form = "write sftp://[USER@]HOST[:PORT]/PATH, or …/~/PATH for one from the user's home on";
    let text = place.to_str().and_then(|text| text.strip_prefix("sftp://"));
    let rest = text.ok_or_else(|| Error::new(Kind::Usage, place.display(), "is not UTF-8").hint(form))?;
    let (address, root) = Address::parse(SCHEME, rest)?;
    let parts: Vec<&str> = root.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| [".", ".."].contains(part)) {
        return Err(Error::new(Kind::Usage, place.display(), "names no folder of its own").hint(form));
    }
    let slash = if root.starts_with('/') { "/" } else { "" };
    Ok((address, format!("{slash}{}", parts.join("/"))))
}

impl Remote {
    fn new(host: Host, root: String) -> Remote {
        let slash = if root.starts_with('/') { "" } else { "/~/" };
        let place = format!("{}{slash}{root}", host.shown());
        Remote { host, root, place, now: OnceLock::new() }
    }

    fn path(&self, path: &str) -> Vec<u8> {
        if path.is_empty() { self.root.clone().into() } else { format!("{}/{path}", self.root).into() }
    }

    fn shown(&self, path: &str) -> String {
        if path.is_empty() { self.place.clone() } else { format!("{}/{path}", self.place) }
    }

    fn connection(&self) -> io::Result<Arc<Connection>> {
        let connection = self.host.connection().map_err(wrapped)?;
        if let Some(lacking) = NEEDED.iter().find(|needed| !connection.knows(needed)) {
            let what = format_args!("its SFTP does not know {lacking}, without which nothing can be written whole");
            return Err(wrapped(Error::new(Kind::Unsupported, self.host.shown(), what).hint("OpenSSH's server does")));
        }
        Ok(connection)
    }

    fn failed(&self, path: &str, fault: Fault) -> io::Error {
        wrapped(fault.of(self.shown(path)))
    }

    /// OpenSSH says *failure* of a full disk, of one that is read-only, and of all else that has no number.
    fn not_written(&self, connection: &Connection, path: &str, fault: Fault, length: usize) -> io::Error {
        if fault.is(status::FAILURE) {
            let kind = match files::room(connection, &self.path("")) {
                Ok((_, true)) => Some((io::ErrorKind::ReadOnlyFilesystem, "the file system there is read-only")),
                Ok((room, false)) if room <= length as u64 => {
                    Some((io::ErrorKind::StorageFull, "the file system there is full"))
                }
                _ => None,
            };
            if let Some((kind, what)) = kind {
                return io::Error::new(kind, what);
            }
        }
        self.failed(path, fault)
    }

    /// Makes one folder; that it exists is fine. Gives whether it was made.
    fn make(&self, connection: &Connection, path: &[u8], shown: &str) -> io::Result<bool> {
        match files::make_folder(connection, path) {
            Ok(()) => Ok(true),
            Err(fault @ Fault::Lost(_)) => Err(self.failed(shown, fault)),
            Err(fault) => match files::look(connection, path, true) {
                Ok(found) if found.is_folder() => Ok(false),
                _ => Err(self.not_written(connection, shown, fault, 0)),
            },
        }
    }

    /// Makes the root and what lacks above it, and syncs the folder above each that it made.
    fn make_root(&self, connection: &Arc<Connection>) -> io::Result<()> {
        if files::look(connection, &self.path(""), true).is_ok_and(|found| found.is_folder()) {
            return Ok(());
        }
        for (at, _) in self.root.char_indices().skip(1).filter(|(_, c)| *c == '/').chain([(self.root.len(), '/')]) {
            let (path, above) = (&self.root[..at], self.root[..at].rfind('/'));
            let above = match above {
                Some(0) => "/",
                Some(end) => &self.root[..end],
                None => ".",
            };
            if self.make(connection, path.as_bytes(), "")? {
                sync(connection, above.as_bytes()).map_err(|fault| self.failed("", fault))?;
            }
        }
        Ok(())
    }
}

/// An error that keeps what it says and what to do on its way through one of the system's.
fn wrapped(error: Error) -> io::Error {
    let source = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind);
    let kind = match error.kind() {
        Kind::NotFound => io::ErrorKind::NotFound,
        Kind::AlreadyExists => io::ErrorKind::AlreadyExists,
        Kind::Full => io::ErrorKind::StorageFull,
        _ => source.unwrap_or(io::ErrorKind::Other),
    };
    io::Error::new(kind, error)
}

fn sync(connection: &Arc<Connection>, folder: &[u8]) -> std::result::Result<(), Fault> {
    Handle::open(connection, folder)?.sync()
}

impl Disk for Remote {
    fn make_dir(&self, path: &str) -> io::Result<()> {
        let connection = self.connection()?;
        match path {
            "" => self.make_root(&connection),
            path => self.make(&connection, &self.path(path), path).map(drop),
        }
    }

    fn write_new(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let connection = self.connection()?;
        let written = Handle::create(&connection, &self.path(path)).and_then(|file| file.write(bytes));
        match written {
            Ok(length) if length == bytes.len() as u64 => Ok(()),
            Ok(length) => {
                let what = format!("{} bytes were written, and the server holds {length}", bytes.len());
                Err(wrapped(Error::new(Kind::Io, self.shown(path), what)))
            }
            Err(fault) => Err(self.not_written(&connection, path, fault, bytes.len())),
        }
    }

    fn publish(&self, from: &str, to: &str) -> io::Result<()> {
        let connection = self.connection()?;
        let target = self.path(to);
        match files::link(&connection, &self.path(from), &target) {
            Ok(()) => {
                // It has its name; what stays of the other is swept one day.
                let _ = files::remove(&connection, &self.path(from));
                Ok(())
            }
            // The server does not say whether the name was there.
            Err(fault) if fault.is(status::FAILURE) => match files::look(&connection, &target, false) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => Err(self.not_written(&connection, to, fault, 0)),
            },
            Err(fault) => Err(self.failed(to, fault)),
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let connection = self.connection()?;
        sync(&connection, &self.path(path)).map_err(|fault| match fault.is(status::NO_SUCH_FILE) {
            false if matches!(fault, Fault::Status { .. }) => wrapped(
                Error::new(Kind::Unsupported, self.shown(path), fault.of("sync of a folder").message())
                    .hint("without it nothing is safe from a loss of power; OpenSSH's server on Linux syncs folders"),
            ),
            _ => self.failed(path, fault),
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let connection = self.connection()?;
        files::remove(&connection, &self.path(path)).map_err(|fault| self.failed(path, fault))
    }

    fn read(&self, path: &str, range: Option<Range<u64>>) -> io::Result<Vec<u8>> {
        let connection = self.connection()?;
        let failed = |fault| self.failed(path, fault);
        let file = Handle::open(&connection, &self.path(path)).map_err(failed)?;
        let length = file.attributes().map_err(failed)?;
        let first = range.clone().unwrap_or(0..FIRST);
        let most = first.start.saturating_add(super::OBJECT_MAX);
        let mut bytes = file.read(first.start..first.end.min(most)).map_err(failed)?;
        let length = length.attributes().map_err(failed)?.size.unwrap_or(0);
        let end = match range {
            Some(range) if range.end > length || range.start > range.end => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(range) => range.end,
            None if length > super::OBJECT_MAX => {
                let what = format!("is larger than {} bytes", super::OBJECT_MAX);
                return Err(wrapped(Error::new(Kind::TooLarge, self.shown(path), what)));
            }
            None => length,
        };
        let so_far = first.start + bytes.len() as u64;
        if so_far < end {
            bytes.extend_from_slice(&file.read(so_far..end).map_err(failed)?);
        }
        match first.start + bytes.len() as u64 == end {
            true => Ok(bytes),
            false => {
                Err(wrapped(Error::new(Kind::Io, self.shown(path), "ends before the length that it is said to have")))
            }
        }
    }

    fn entries(&self, path: &str) -> io::Result<Vec<Entry>> {
        let connection = self.connection()?;
        let found = files::list(&connection, &self.path(path)).map_err(|fault| self.failed(path, fault))?;
        // Names that are not UTF-8 are none of ours.
        let named = found.into_iter().filter_map(|found| Some((String::from_utf8(found.name).ok()?, found.attributes)));
        let entry = |(name, found): (String, crate::ssh::Attributes)| Entry {
            name,
            is_dir: found.is_folder(),
            len: found.size.unwrap_or(0),
            modified_ms: found.modified.map(|seconds| u64::from(seconds) * 1000),
        };
        Ok(named.map(entry).collect())
    }

    fn is_abandoned(&self, path: &str) -> io::Result<bool> {
        let connection = self.connection()?;
        let failed = |fault| self.failed(path, fault);
        let modified = files::look(&connection, &self.path(path), false).map_err(failed)?.modified;
        let now = match self.now.get() {
            Some(now) => *now,
            // What a file says that was written just now.
            None => {
                let probe = self.path("tmp/now");
                let file = Handle::overwrite(&connection, &probe).map_err(failed)?;
                file.put(b"?").map_err(failed)?;
                let now = file.attributes().and_then(|found| found.attributes()).map_err(failed)?.modified.unwrap_or(0);
                let _ = files::remove(&connection, &probe);
                *self.now.get_or_init(|| now)
            }
        };
        Ok(modified.is_some_and(|modified| now.saturating_sub(modified) > ABANDONED))
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn concurrency(&self) -> usize {
        2 * CONNECTIONS
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn one_place_is_spelled_one_way() {
        for (given, place) in [
            ("sftp://db1/srv/x", "sftp://db1/srv/x"),
            ("sftp://me@db1:22//srv//x/", "sftp://me@db1:22/srv/x"),
            ("sftp://db1/~/x/", "sftp://db1/~/x"),
        ] {
            assert_eq!(open(OsStr::new(given)).unwrap().place(), place);
        }
        for given in ["sftp://db1", "sftp://db1/", "sftp://db1/~", "sftp://db1/a/../b", "sftp://-x/a", "sftp:///a"] {
            assert_eq!(open(OsStr::new(given)).err().unwrap().kind(), Kind::Usage, "{given}");
        }
    }
}
