//! Paths of file trees, and patterns of them, as .gitignore writes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, Kind, Result};

/// The path of a key of a file tree, or of what keys of a folder's files begin with.
pub fn path_of(key: &[u8]) -> PathBuf {
    let bytes: Vec<u8> = key.iter().map(|b| if *b == 0 { b'/' } else { *b }).collect();
    PathBuf::from(OsStr::from_bytes(if bytes.is_empty() { b"/" } else { &bytes }))
}

/// Some patterns; perhaps none.
#[derive(Debug, Clone)]
pub struct Patterns(Gitignore);

impl Patterns {
    /// Of lines, each with what it was given by.
    ///
    /// Errors: `Usage`, by the line that is no pattern.
    pub fn of<'l>(lines: impl IntoIterator<Item = (&'l str, &'l str)>) -> Result<Patterns> {
        let mut builder = GitignoreBuilder::new("/");
        for (from, line) in lines {
            let bad = |e| {
                Error::new(Kind::Usage, format_args!("{from}: {line}"), e).hint("write patterns as .gitignore does")
            };
            builder.add_line(None, line).map_err(bad)?;
        }
        builder.build().map(Patterns).map_err(|e| Error::new(Kind::Usage, "patterns", e))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they name an absolute path itself.
    pub fn name(&self, path: &Path, is_folder: bool) -> bool {
        self.0.matched(path, is_folder).is_ignore()
    }

    /// Whether they name an absolute path, or something that it lies in.
    pub fn cover(&self, path: &Path, is_folder: bool) -> bool {
        self.0.matched_path_or_any_parents(path, is_folder).is_ignore()
    }
}
