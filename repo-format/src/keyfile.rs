//! Key files (SPEC "Key files"): a secret that opens a credential, as text that a person can print and type.

use crate::error::{FormatError, Result};
use crate::id::ObjectHash;
use crate::paper;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A key file: 32 random bytes, kept as text.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile([u8; 32]);

/// First line of a key file.
pub const KEY_FILE_TITLE: &str = "onefold key file, version 0";

impl KeyFile {
    /// From 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> KeyFile {
        KeyFile(bytes)
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Three lines: title, 64 hex digits, 8 hex digits of their hash.
    pub fn to_text(&self) -> Zeroizing<String> {
        let hex = ObjectHash(self.0).to_string();
        let text = format!("{KEY_FILE_TITLE}\n{hex}\n{}\n", KeyFile::sum(&hex));
        let mut hex = hex;
        hex.zeroize();
        Zeroizing::new(text)
    }

    /// From its text, or from what was typed from [paper]; blanks at the ends of lines do not matter.
    pub fn from_text(text: &str) -> Result<KeyFile> {
        if paper::is_meant(text) {
            return paper::from_text(text);
        }
        let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        match lines.next() {
            Some(KEY_FILE_TITLE) => {}
            Some(title) if title.starts_with("onefold key file") => {
                return Err(FormatError::Unsupported("key file of another version".into()));
            }
            _ => return Err(FormatError::Invalid("key file")),
        }
        let (hex, sum) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let bytes = ObjectHash::from_hex(hex).map_err(|_| FormatError::Invalid("key file"))?;
        if sum != KeyFile::sum(hex) {
            return Err(FormatError::Mismatch("key file"));
        }
        Ok(KeyFile(bytes.0))
    }

    fn sum(hex: &str) -> String {
        blake3::hash(hex.as_bytes()).to_hex().chars().take(8).collect()
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}
