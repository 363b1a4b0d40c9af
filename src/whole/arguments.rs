//! What makes two restores into one folder the same, and that only one of them is at it.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Kind, Result};

/// The document in a folder that says what a restore wrote there and how far it is.
pub const NAME: &str = "restore.json";

/// Everything that decides what is written, by name.
pub type Arguments = BTreeMap<String, Value>;

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not done: do not use what is there.
    Writing,
    /// Everything is there.
    Complete,
}

/// Holds the folder for this process; `Busy` where another one does.
pub fn lock(folder: &Path) -> Result<File> {
    let failed = |e| Error::io(folder.display(), e);
    let lock = File::open(folder).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Kind::Busy, folder.display(), "another restore is writing there"))
        }
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

/// Fails by the name of what differs, unless what is asked for `now` is the restore that was `before`.
pub fn same(folder: &Path, before: &Arguments, now: &Arguments) -> Result<()> {
    let brief = |values: &Arguments, name: &String| {
        let text = values.get(name).filter(|v| !v.is_null()).map(Value::to_string);
        let text = text.unwrap_or_else(|| "none".to_owned());
        if text.chars().count() > 80 { "another".to_owned() } else { text }
    };
    match before.keys().chain(now.keys()).find(|name| before.get(*name) != now.get(*name)) {
        None => Ok(()),
        Some(name) => Err(other(folder, &format!("its {name} is {}, not {}", brief(before, name), brief(now, name)))),
    }
}

/// The folder holds another restore.
pub fn other(folder: &Path, what: &str) -> Error {
    Error::new(Kind::AlreadyExists, folder.display(), format!("holds a restore with other arguments: {what}"))
        .hint("repeat that restore with its own arguments, or give another --out")
}
