//! What is done with files and folders, each by as few round trips as it takes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::answer::{Answer, Fault, Pending};
use super::connection::Connection;
use super::packet::{self, Attributes, Name, Request, status};
use super::statvfs::Counts;

/// Bytes of one file that are asked for and have not come yet, at most: 50 ms at 160 MB/s.
pub const AHEAD: u64 = 8 << 20;
/// Names of one folder, at most.
const NAMES_MAX: usize = 4_000_000;

/// An open file or folder. Dropped, it is closed, and nobody waits for that.
pub struct Handle {
    connection: Arc<Connection>,
    handle: Vec<u8>,
}

/// A piece of a file that was asked for.
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// How many bytes it has, unless the file ends before.
    pub length: u32,
    pending: Pending,
}

impl Handle {
    /// Opens a file to read it; a folder, too, which can only be synced then.
    pub fn open(connection: &Arc<Connection>, path: &[u8]) -> Answer<Handle> {
        Handle::by(connection, Request::open(path, packet::FOR_READING))
    }

    /// The same, and what is at the path: both are asked at once, so that the answer may be of another file that takes its place.
    pub fn open_and_look(connection: &Arc<Connection>, path: &[u8]) -> Answer<(Handle, Attributes)> {
        let opened = connection.ask(Request::open(path, packet::FOR_READING))?;
        let found = ask_behind(connection, path)?;
        let handle = Handle { connection: Arc::clone(connection), handle: opened.handle()? };
        Ok((handle, found.attributes()?))
    }

    /// Makes a file that must not be there, to write it.
    pub fn create(connection: &Arc<Connection>, path: &[u8]) -> Answer<Handle> {
        Handle::by(connection, Request::open(path, packet::NEW))
    }

    /// Opens a file to write it anew, whether or not it is there.
    pub fn overwrite(connection: &Arc<Connection>, path: &[u8]) -> Answer<Handle> {
        Handle::by(connection, Request::open(path, packet::AGAIN))
    }

    fn by(connection: &Arc<Connection>, request: Request) -> Answer<Handle> {
        let handle = connection.ask(request)?.handle()?;
        Ok(Handle { connection: Arc::clone(connection), handle })
    }

    /// The connection that it is of.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// What the file is.
    pub fn attributes(&self) -> Answer<Pending> {
        self.connection.ask(Request::fstat(&self.handle))
    }

    /// Asks for a piece from `offset` on, of as many bytes as one read may have, and no more than `most`.
    pub fn ask(&self, offset: u64, most: u64) -> Answer<Piece> {
        let length = u32::try_from(most).unwrap_or(u32::MAX).min(self.connection.read_piece());
        let pending = self.connection.ask(Request::read(&self.handle, offset, length))?;
        Ok(Piece { offset, length, pending })
    }

    /// Waits for a piece, and asks for what lacks of it: a server may answer with less. Shorter only where the file ends.
    pub fn wait(&self, piece: Piece) -> Answer<Vec<u8>> {
        let length = piece.length as usize;
        let mut bytes = piece.pending.data()?;
        while !bytes.is_empty() && bytes.len() < length {
            let at = bytes.len() as u64;
            let more = self.ask(piece.offset.saturating_add(at), length as u64 - at)?.pending.data()?;
            if more.is_empty() {
                break;
            }
            bytes.extend_from_slice(&more);
        }
        match bytes.len() > length {
            true => Err(Fault::Status { code: status::FAILURE, message: "more bytes than were asked for".into() }),
            false => Ok(bytes),
        }
    }

    /// Reads a range; less only where the file ends.
    pub fn read(&self, range: Range<u64>) -> Answer<Vec<u8>> {
        let (mut next, mut ahead, mut bytes) = (range.start, VecDeque::new(), Vec::new());
        let mut under_way = 0;
        loop {
            while next < range.end && under_way < AHEAD {
                let piece = self.ask(next, range.end - next)?;
                next += u64::from(piece.length);
                under_way += u64::from(piece.length);
                ahead.push_back(piece);
            }
            let Some(piece) = ahead.pop_front() else { return Ok(bytes) };
            let length = piece.length as usize;
            under_way -= length as u64;
            let got = self.wait(piece)?;
            bytes.extend_from_slice(&got);
            if got.len() < length {
                return Ok(bytes);
            }
        }
    }

    /// Writes all of a file, syncs and closes it. Gives the length that the server says it has then.
    pub fn write(mut self, bytes: &[u8]) -> Answer<u64> {
        let pieces = (0u64..).step_by(self.connection.write_piece()).zip(bytes.chunks(self.connection.write_piece()));
        let written: Vec<Pending> = pieces
            .map(|(offset, piece)| self.connection.ask(Request::write(&self.handle, offset, piece)))
            .collect::<Answer<_>>()?;
        let synced = self.connection.ask(Request::fsync(&self.handle))?;
        let found = self.attributes()?;
        let closed = self.connection.ask(Request::close(&std::mem::take(&mut self.handle)))?;
        written.into_iter().try_for_each(Pending::done)?;
        synced.done()?;
        let found = found.attributes()?;
        closed.done()?;
        found.size.ok_or_else(|| Fault::Status { code: status::UNSUPPORTED, message: "a file without a length".into() })
    }

    /// Writes a few bytes at the start.
    pub fn put(&self, bytes: &[u8]) -> Answer<()> {
        self.connection.ask(Request::write(&self.handle, 0, bytes))?.done()
    }

    /// Makes what is written, or what a folder lists, survive a loss of power.
    pub fn sync(&self) -> Answer<()> {
        self.connection.ask(Request::fsync(&self.handle))?.done()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.handle.is_empty() {
            let _ = self.connection.ask(Request::close(&self.handle));
        }
    }
}

/// What a folder holds, but for itself and the one above.
pub fn list(connection: &Arc<Connection>, folder: &[u8]) -> Answer<Vec<Name>> {
    let handle = Handle::by(connection, Request::opendir(folder))?;
    let ask = || connection.ask(Request::readdir(&handle.handle));
    // The next answer is under way while one is read.
    let (mut names, mut next) = (Vec::new(), ask()?);
    loop {
        let pending = std::mem::replace(&mut next, ask()?);
        let Some(more) = pending.names()? else { return Ok(names) };
        names.extend(more.into_iter().filter(|found| !matches!(&found.name[..], b"." | b"..")));
        if names.len() > NAMES_MAX {
            let message = format!("a folder of more than {NAMES_MAX} names");
            return Err(Fault::Status { code: status::FAILURE, message });
        }
    }
}

/// Bytes that the file system of a path has room for, and whether it is read-only.
pub fn room(connection: &Connection, path: &[u8]) -> Answer<(u64, bool)> {
    statvfs(connection, path).map(|counts| (counts.room(), counts.read_only))
}

/// What the file system of a path counts.
pub fn statvfs(connection: &Connection, path: &[u8]) -> Answer<Counts> {
    connection.ask(Request::statvfs(path))?.extended(Counts::parse)
}

/// What is at a path; of a link, the link, unless `behind` it is meant.
pub fn look(connection: &Connection, path: &[u8], behind: bool) -> Answer<Attributes> {
    match behind {
        true => ask_behind(connection, path)?.attributes(),
        false => connection.ask(Request::lstat(path))?.attributes(),
    }
}

/// Asks what is at a path, behind links.
pub fn ask_behind(connection: &Connection, path: &[u8]) -> Answer<Pending> {
    connection.ask(Request::stat(path))
}

/// Makes a folder.
pub fn make_folder(connection: &Connection, path: &[u8]) -> Answer<()> {
    connection.ask(Request::mkdir(path))?.done()
}

/// Gives a file one more name, which must not exist.
pub fn link(connection: &Connection, from: &[u8], to: &[u8]) -> Answer<()> {
    connection.ask(Request::hardlink(from, to))?.done()
}

/// Removes a file.
pub fn remove(connection: &Connection, path: &[u8]) -> Answer<()> {
    connection.ask(Request::remove(path))?.done()
}

/// The whole path of what is at a path, without links.
pub fn whole_path(connection: &Connection, path: &[u8]) -> Answer<Vec<u8>> {
    let names = connection.ask(Request::realpath(path))?.names()?.unwrap_or_default();
    let nothing = || Fault::Status { code: status::NO_SUCH_FILE, message: "no such path".into() };
    names.into_iter().next().map(|found| found.name).ok_or_else(nothing)
}
