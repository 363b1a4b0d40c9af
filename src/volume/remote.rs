//! Files of another machine, over SFTP.
//!
//! Who reads a file forwards is read ahead for: pieces are asked for before they are wanted, of all files of the volume together
//! [`AHEAD_MAX`] bytes at most. A connection that breaks is opened anew, and the file is read on where it is still what it was.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use super::{Entry, Identity, OpenFile, Volume, What, changed};
use crate::error::{Error, Kind, Result};
use crate::pace::{Clock, Latency};
use crate::ssh::files::{self, Handle, Piece};
use crate::ssh::{Address, Answer, Attributes, Connection, Fault, Host, Patience, Pending, Ran};

/// Bytes that were asked for and not read yet, of all files of a volume.
const AHEAD_MAX: u64 = 4 << 20;
/// Of one file.
const AHEAD_OF_ONE: u64 = 2 << 20;
/// Bytes that are asked for at once, at least, where a file is read forwards.
const PIECE_LEAST: u64 = 32 << 10;
/// Connections with a machine. A database is at work there.
const CONNECTIONS: usize = 2;
/// Pauses before what was lost is asked for anew: they double from the first to the longest.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(20);

/// A machine's files. Copies share its connections.
#[derive(Clone)]
pub struct Remote(Arc<Machine>);

struct Machine {
    host: Host,
    /// How long it may be away.
    patience: Duration,
    /// It was away for longer: until it answers again it is waited for no more.
    given_up: AtomicBool,
    /// Bytes ahead.
    ahead: AtomicU64,
}

impl Machine {
    /// Asks until there is an answer, unless it is away for too long.
    fn ask<T>(&self, mut ask: impl FnMut() -> Answer<T>) -> Answer<T> {
        let (mut pause, mut away) = (Duration::ZERO, None);
        loop {
            match ask() {
                Err(Fault::Lost(e)) if passes(&e) => {
                    // An attempt may take long, too.
                    let since = away.get_or_insert_with(Clock::default);
                    if since.now() > self.patience || self.given_up.load(Ordering::Relaxed) {
                        self.given_up.store(true, Ordering::Relaxed);
                        return Err(Fault::Lost(e));
                    }
                    thread::sleep(pause);
                    pause = (2 * pause).clamp(FIRST, LONGEST);
                }
                answer => {
                    self.given_up.store(false, Ordering::Relaxed);
                    return answer;
                }
            }
        }
    }
}

impl Remote {
    /// Takes `[USER@]HOST[:PORT]/PATH` apart, what follows `ssh://`: the machine, and the path there. Connects with nobody yet.
    /// A connection that breaks is opened anew for about as long as `patience`.
    pub fn parse(rest: &str, patience: Duration) -> Result<(Remote, PathBuf)> {
        let (address, path) = Remote::address(rest)?;
        let shown = format!("ssh://{address}");
        Ok((Remote::of(Host::new(address, shown, CONNECTIONS), patience), path))
    }

    /// The same, with settings of `ssh` in a file.
    pub fn with(rest: &str, patience: Duration, settings: PathBuf) -> Result<(Remote, PathBuf)> {
        let (address, path) = Remote::address(rest)?;
        let shown = format!("ssh://{address}");
        Ok((Remote::of(Host::with(address, shown, CONNECTIONS, Some(settings)), patience), path))
    }

    fn address(rest: &str) -> Result<(Address, PathBuf)> {
        let (address, path) = Address::parse("ssh", rest)?;
        if !path.starts_with('/') {
            return Err(Error::new(Kind::Usage, format_args!("ssh://{rest}"), "is no path from / on"));
        }
        Ok((address, path.into()))
    }

    fn of(host: Host, patience: Duration) -> Remote {
        Remote(Arc::new(Machine { host, patience, given_up: AtomicBool::new(false), ahead: AtomicU64::new(0) }))
    }

    /// Asks until there is an answer, over connections that may break.
    fn ask<T>(&self, path: &Path, ask: impl Fn(&Arc<Connection>) -> Answer<T>) -> Result<T> {
        let answer = self.0.ask(|| ask(&self.0.host.connection().map_err(Fault::Lost)?));
        answer.map_err(|fault| fault.of(self.shown(path)))
    }

    fn shown(&self, path: &Path) -> String {
        format!("{}{}", self.0.host.shown(), path.display())
    }
}

/// Whether the machine may be there again later.
fn passes(e: &Error) -> bool {
    e.kind() == Kind::Io && std::error::Error::source(e).is_none()
}

impl Volume for Remote {
    fn name(&self) -> &str {
        self.0.host.shown()
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        let found = self.ask(folder, |connection| {
            let names = files::list(connection, bytes(folder))?;
            // What a link leads to is asked for all links at once.
            let behind = |found: &crate::ssh::Name| match found.attributes.is_link() {
                true => files::ask_behind(connection, bytes(&folder.join(os(&found.name)))).map(Some),
                false => Ok(None),
            };
            let behind = names.iter().map(behind).collect::<Answer<Vec<Option<Pending>>>>()?;
            let seen = names.into_iter().zip(behind).map(|(found, behind)| match behind.map(Pending::attributes) {
                None => Ok((found.name, Ok(found.attributes))),
                Some(Err(lost @ Fault::Lost(_))) => Err(lost),
                Some(answer) => Ok((found.name, answer)),
            });
            seen.collect::<Answer<Vec<_>>>()
        })?;
        let entry = |(name, found): (Vec<u8>, Answer<Attributes>)| {
            let name = OsString::from_vec(name);
            let what = match found {
                Ok(found) if found.is_folder() => What::Folder,
                Ok(found) if found.is_file() => What::File(identity(&found)),
                Ok(_) => What::Other,
                Err(fault) => match fault.of(self.shown(&folder.join(&name))) {
                    e if e.kind() == Kind::NotFound => What::Dangling,
                    e => What::Unseen(e),
                },
            };
            Entry { name, what }
        };
        Ok(found.into_iter().map(entry).collect())
    }

    fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>> {
        let (handle, identity) = self.ask(file, |connection| open(connection, file))?;
        let identity = identity.ok_or_else(|| Error::new(Kind::Io, self.shown(file), "is no file"))?;
        let reading = Reading { handle: Some(handle), ..Reading::default() };
        Ok(Box::new(RemoteFile { volume: self.clone(), path: file.into(), identity, reading: Mutex::new(reading) }))
    }

    fn folder_id(&self, folder: &Path) -> Result<String> {
        let path = self.ask(folder, |connection| files::whole_path(connection, bytes(folder)))?;
        Ok(path.escape_ascii().to_string())
    }

    fn reach(&self) -> Result<()> {
        self.0.host.connection().map(drop)
    }

    fn run(&self, words: &[&str], patience: Patience<'_>) -> Result<Ran> {
        self.0.host.run(words, patience)
    }

    fn fill(&self, folder: &Path) -> Result<u8> {
        let connection = self.0.host.connection()?;
        if !connection.knows("statvfs@openssh.com") {
            let what = "does not say how full its disk is: its SFTP server lacks statvfs@openssh.com";
            return Err(
                Error::new(Kind::Unsupported, self.name(), what).hint("--node-disk-max 100 goes on without knowing")
            );
        }
        let counts = files::statvfs(&connection, bytes(folder)).map_err(|fault| fault.of(self.shown(folder)))?;
        Ok(counts.full())
    }

    fn latency(&self) -> Option<&Latency> {
        Some(self.0.host.latency())
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn os(name: &[u8]) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name)
}

/// SFTP knows times in seconds, and no number of a file.
fn identity(found: &Attributes) -> Identity {
    let modified = found.modified.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.into()));
    Identity { length: found.size.unwrap_or(0), modified, number: (0, 0) }
}

/// Opens a file, and says what it is; `None` where it is none.
fn open(connection: &Arc<Connection>, file: &Path) -> Answer<(Handle, Option<Identity>)> {
    // Every piece that is read is asked for its file's identity again.
    let (handle, found) = Handle::open_and_look(connection, bytes(file))?;
    Ok((handle, found.is_file().then(|| identity(&found))))
}

struct RemoteFile {
    volume: Remote,
    path: PathBuf,
    identity: Identity,
    reading: Mutex<Reading>,
}

/// How far a file was read.
#[derive(Default)]
struct Reading {
    /// `None` after the connection broke.
    handle: Option<Handle>,
    /// Asked for, one after another, each with the question what the file is by then.
    pieces: VecDeque<(Piece, Pending)>,
    /// Where a read forwards goes on.
    next: u64,
    /// Bytes ahead that it has earned by being read forwards.
    window: u64,
    /// Bytes that came, from `taken` on not read yet; they end where the pieces begin.
    held: Vec<u8>,
    taken: usize,
}

impl RemoteFile {
    /// Lets go of all that was asked for.
    fn forget(&self, reading: &mut Reading) {
        let ahead: u64 = reading.pieces.drain(..).map(|(piece, _)| u64::from(piece.length)).sum();
        self.volume.0.ahead.fetch_sub(ahead + reading.held.len() as u64, Ordering::Relaxed);
        (reading.held, reading.taken, reading.window) = (Vec::new(), 0, 0);
    }

    /// Asks for `wanted` bytes from `from` on, and for what may be read ahead of them.
    fn ask(&self, reading: &mut Reading, from: u64, wanted: u64) -> Answer<()> {
        let Some(handle) = &reading.handle else { return Ok(()) };
        let mut at = from + reading.pieces.iter().map(|(piece, _)| u64::from(piece.length)).sum::<u64>();
        let (must, may) = (from + wanted, from + wanted + reading.window);
        while at < self.identity.length && at < may {
            let ahead = &self.volume.0.ahead;
            // Who reads on in small steps will want what follows, too.
            let piece = if reading.window > 0 { wanted.max(PIECE_LEAST) } else { wanted };
            let piece = piece.min(self.identity.length - at);
            if at >= must && ahead.load(Ordering::Relaxed) + piece > AHEAD_MAX {
                break;
            }
            let (piece, found) = (handle.ask(at, piece)?, handle.attributes()?);
            ahead.fetch_add(u64::from(piece.length), Ordering::Relaxed);
            at += u64::from(piece.length);
            reading.pieces.push_back((piece, found));
        }
        Ok(())
    }

    /// Bytes at `offset`, as many as fit and came together; `None` where the file is another by now.
    fn step(&self, reading: &mut Reading, to: &mut [u8], offset: u64) -> Answer<Option<usize>> {
        if reading.handle.is_none() {
            let connection = self.volume.0.host.connection().map_err(Fault::Lost)?;
            let (handle, identity) = open(&connection, &self.path)?;
            if identity != Some(self.identity) {
                return Ok(None);
            }
            reading.handle = Some(handle);
        }
        if offset == reading.next && offset > 0 {
            reading.window = (2 * reading.window).clamp(to.len() as u64, AHEAD_OF_ONE);
        } else if offset != reading.next {
            self.forget(reading);
        }
        reading.next = offset;
        if reading.taken == reading.held.len() {
            self.volume.0.ahead.fetch_sub(reading.held.len() as u64, Ordering::Relaxed);
            (reading.held, reading.taken) = (Vec::new(), 0);
            self.ask(reading, offset, to.len() as u64)?;
            let (Some(handle), Some((piece, found))) = (&reading.handle, reading.pieces.pop_front()) else {
                return Ok(Some(0));
            };
            let length = u64::from(piece.length);
            let came = handle.wait(piece).and_then(|bytes| Ok((bytes, identity(&found.attributes()?))));
            match came {
                Ok((bytes, found)) if found == self.identity && bytes.len() as u64 == length => reading.held = bytes,
                other => {
                    self.volume.0.ahead.fetch_sub(length, Ordering::Relaxed);
                    return other.map(|_| None);
                }
            }
        }
        let rest = &reading.held[reading.taken..];
        let n = rest.len().min(to.len());
        to[..n].copy_from_slice(&rest[..n]);
        reading.taken += n;
        reading.next += n as u64;
        Ok(Some(n))
    }
}

impl OpenFile for RemoteFile {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        if to.is_empty() || offset >= self.identity.length {
            return Ok(0);
        }
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = self.volume.0.ask(|| {
            let answer = self.step(&mut reading, to, offset);
            if matches!(answer, Err(Fault::Lost(_))) {
                self.forget(&mut reading);
                reading.handle = None;
            }
            answer
        });
        let shown = self.volume.shown(&self.path);
        answer.map_err(|fault| fault.of(&shown))?.ok_or_else(|| changed(shown))
    }
}

impl Drop for RemoteFile {
    fn drop(&mut self) {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut reading);
    }
}
