//! What went wrong, in a form a program can branch on and a person can act on.

use std::fmt;
use std::time::Duration;

/// The process has no descriptor left.
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
/// The machine has none.
const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();

/// What a caller can do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command or its arguments make no sense for this repository or capture.
    Usage,
    /// There is no repository at this place.
    NoRepository,
    /// A named thing (object, snapshot, table, column) does not exist.
    NotFound,
    /// An object of that name already exists; an answer rather than an accident.
    AlreadyExists,
    /// Another process holds what we need.
    Busy,
    /// No credential opens the repository, or the credential lacks the key set that the work needs.
    Denied,
    /// Bytes are not what their hash, checksum or signature says, or do not parse.
    Damaged,
    /// Newer version, unknown feature, compressor or type: refused by name, never guessed at.
    Unsupported,
    /// A stated limit would be passed.
    TooLarge,
    /// No space left.
    Full,
    /// The operating system or a store said no.
    Io,
    /// The user or a signal stopped us.
    Interrupted,
}

/// An error names its subject (object, file, place), says what is wrong, and what to do about it.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    subject: String,
    message: String,
    hint: Option<String>,
    wait: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `subject` names the object and the place, `message` what is wrong with it.
    pub fn new(kind: Kind, subject: impl fmt::Display, message: impl fmt::Display) -> Error {
        Error(Box::new(Inner {
            kind,
            subject: subject.to_string(),
            message: message.to_string(),
            hint: None,
            wait: None,
            source: None,
        }))
    }

    /// An operating-system failure on `subject`. No room left, on the disk or within a limit, is one kind.
    pub fn io(subject: impl fmt::Display, source: std::io::Error) -> Error {
        use std::io::ErrorKind as E;
        let out_of_files = [Some(EMFILE), Some(ENFILE)].contains(&source.raw_os_error());
        let kind = match source.kind() {
            _ if out_of_files => Kind::Full,
            E::StorageFull | E::QuotaExceeded | E::FileTooLarge => Kind::Full,
            E::NotFound => Kind::NotFound,
            E::AlreadyExists => Kind::AlreadyExists,
            _ => Kind::Io,
        };
        let mut error = Error::new(kind, subject, &source);
        if out_of_files {
            error = error.hint("more files are open than this process may open: raise the limit (`ulimit -n`)");
        }
        error.0.source = Some(Box::new(source));
        error
    }

    /// Damaged bytes in `subject`.
    pub fn damaged(subject: impl fmt::Display, message: impl fmt::Display) -> Error {
        Error::new(Kind::Damaged, subject, message)
    }

    /// What the user can do about it: a command to run, an option to give.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Error {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// Not to be tried again before so long, says whoever refused.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Error {
        self.0.wait = Some(wait);
        self
    }

    /// The same, as something else that a caller can do something about.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Error {
        self.0.kind = kind;
        self
    }

    /// Says in which larger thing the subject lies: `pack 12ab: frame at 4096` and so on outwards.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Error {
        self.0.subject = format!("{outer}: {}", self.0.subject);
        self
    }

    /// The same, of what lies in the subject: a file of a host.
    #[must_use]
    pub fn said_of(mut self, subject: impl fmt::Display) -> Error {
        self.0.subject = subject.to_string();
        self
    }

    /// The same error once more, for everybody who asks.
    #[must_use]
    pub fn again(&self) -> Error {
        let copy = Error::new(self.kind(), self.subject(), self.message());
        match self.advice() {
            Some(hint) => copy.hint(hint),
            None => copy,
        }
    }

    /// Whether bytes that were read are to blame, not the reading.
    pub fn is_of_bytes(&self) -> bool {
        matches!(self.kind(), Kind::Damaged | Kind::Unsupported | Kind::TooLarge | Kind::Denied)
    }

    /// What a caller can do something about.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The object and the place.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What is wrong, without subject and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// For how long whoever refused wants to be left alone.
    pub fn wait(&self) -> Option<Duration> {
        self.0.wait
    }

    /// What to do about it, if we know.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// An error with all that caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = source.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.subject, self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

impl From<repo_format::FormatError> for Error {
    fn from(e: repo_format::FormatError) -> Error {
        use repo_format::FormatError as F;
        let kind = match e {
            F::Unsupported(_) => Kind::Unsupported,
            F::TooLarge(_) => Kind::TooLarge,
            F::WrongKey(_) => Kind::Denied,
            _ => Kind::Damaged,
        };
        Error::new(kind, "repository format", e)
    }
}
