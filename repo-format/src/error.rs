//! The closed list of ways in which bytes can be wrong.

use std::fmt;

/// Why bytes were refused. The text says which structure and field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes end before the structure does.
    Truncated(&'static str),
    /// A field holds what no writer writes.
    Invalid(&'static str),
    /// A hash, checksum, tag or signature does not match.
    Mismatch(&'static str),
    /// A version or must-understand feature this program does not know.
    Unsupported(String),
    /// A length or count passes its limit.
    TooLarge(&'static str),
    /// The key does not open this.
    WrongKey(&'static str),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Truncated(what) => write!(f, "{what} ends too early"),
            FormatError::Invalid(what) => write!(f, "{what} is not valid"),
            FormatError::Mismatch(what) => write!(f, "{what} does not match its contents"),
            FormatError::Unsupported(what) => write!(f, "{what} is not supported by this version"),
            FormatError::TooLarge(what) => write!(f, "{what} passes its limit"),
            FormatError::WrongKey(what) => write!(f, "{what} is not opened by this key"),
        }
    }
}

impl std::error::Error for FormatError {}

/// The result of every parser here.
pub type Result<T> = std::result::Result<T, FormatError>;
