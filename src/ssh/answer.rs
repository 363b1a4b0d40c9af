//! What a request comes to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::connection::Shared;
use super::packet::{self, Attributes, Name, Reply, status};
use crate::error::{Error, Kind};

/// How long a request may go unanswered. A host that is gone is noticed sooner, by `ServerAlive…`.
const ANSWER: Duration = Duration::from_secs(300);

/// Why a request was not carried out.
#[derive(Debug)]
pub enum Fault {
    /// The server said so.
    Status {
        /// One of [`status`].
        code: u32,
        /// In its words.
        message: String,
    },
    /// The connection is no more. Nobody knows what became of the request.
    Lost(Error),
}

impl Fault {
    /// Whether the server said just this.
    pub fn is(&self, status: u32) -> bool {
        matches!(self, Fault::Status { code, .. } if *code == status)
    }

    /// The error for a file or a folder.
    pub fn of(self, subject: impl std::fmt::Display) -> Error {
        let (code, message) = match self {
            Fault::Lost(e) => return e.said_of(subject),
            Fault::Status { code, message } => (code, message),
        };
        let kind = match code {
            status::NO_SUCH_FILE => io::ErrorKind::NotFound,
            status::PERMISSION_DENIED => io::ErrorKind::PermissionDenied,
            status::UNSUPPORTED => io::ErrorKind::Unsupported,
            status::EOF => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::Other,
        };
        let said = if message.is_empty() { format!("status {code}") } else { message };
        Error::io(subject, io::Error::new(kind, format!("the server answers: {said}")))
    }
}

/// What a request gives.
pub type Answer<T> = std::result::Result<T, Fault>;

/// A request that was sent.
pub struct Pending {
    shared: Arc<Shared>,
    reply: Receiver<Reply>,
}

impl Pending {
    pub(super) fn new(shared: Arc<Shared>, reply: Receiver<Reply>) -> Pending {
        Pending { shared, reply }
    }

    fn wait(self) -> Answer<Reply> {
        match self.reply.recv_timeout(ANSWER) {
            Ok(Reply::Status { code, message }) if code != status::OK => Err(Fault::Status { code, message }),
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Lost(self.shared.lost())),
            Err(RecvTimeoutError::Timeout) => {
                self.shared.end();
                let what = format_args!("no answer came for {} seconds", ANSWER.as_secs());
                Err(Fault::Lost(Error::new(Kind::Io, &self.shared.shown, what)))
            }
        }
    }

    fn wait_for<T>(self, wanted: impl FnOnce(Reply) -> Option<T>) -> Answer<T> {
        let shared = Arc::clone(&self.shared);
        wanted(self.wait()?).ok_or_else(|| {
            shared.nonsense.store(true, Ordering::Relaxed);
            shared.end();
            Fault::Lost(shared.lost())
        })
    }

    /// Waits until it is done.
    pub fn done(self) -> Answer<()> {
        self.wait_for(|reply| matches!(reply, Reply::Status { .. }).then_some(()))
    }

    /// Waits for what was opened.
    pub fn handle(self) -> Answer<Vec<u8>> {
        self.wait_for(|reply| if let Reply::Handle(handle) = reply { Some(handle) } else { None })
    }

    /// Waits for bytes; none at the end of the file.
    pub fn data(self) -> Answer<Vec<u8>> {
        match self.wait_for(|reply| if let Reply::Data(data) = reply { Some(data) } else { None }) {
            Err(fault) if fault.is(status::EOF) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Waits for names; `None` after the last.
    pub fn names(self) -> Answer<Option<Vec<Name>>> {
        match self.wait_for(|reply| if let Reply::Names(names) = reply { Some(names) } else { None }) {
            Err(fault) if fault.is(status::EOF) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Waits for what is there.
    pub fn attributes(self) -> Answer<Attributes> {
        self.wait_for(|reply| if let Reply::Attributes(found) = reply { Some(found) } else { None })
    }

    /// Waits for an extension's answer.
    pub fn extended<T>(self, parse: impl FnOnce(&[u8]) -> packet::Parsed<T>) -> Answer<T> {
        self.wait_for(|reply| if let Reply::Extended(bytes) = reply { parse(&bytes).ok() } else { None })
    }
}
