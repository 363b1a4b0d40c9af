//! How far a restore is, in a file: what it is about, then a line for each checkpoint.
//!
//! ```text
//! {"onefold":"restore","version":0,"about":{…},"base":…,"created":…,"window":…}
//! ready 0 CRC32                the target is made, or emptied: sending begins
//! POSITION ROWS CRC32          hex key of the last record that is acknowledged with all before it; rows so far
//! done ROWS CRC32
//! ```
//! Lines are appended and synced. The last line may be torn: what it said is sent again.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::engine::cassandra::client::Checkpoint;
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;

/// The largest state file that is read, bytes.
const FILE_MAX: u64 = 1 << 30;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    onefold: String,
    version: u32,
    /// The arguments that make it this restore and no other.
    pub(super) about: serde_json::Value,
    /// Time that write times are moved to, microseconds since 1970, where they are.
    pub(super) base: i64,
    /// The table was made by this restore.
    pub(super) created: bool,
    /// Units that may be ahead of the last checkpoint.
    pub(super) window: u64,
}

impl Header {
    pub(super) fn new(about: serde_json::Value, base: i64, created: bool, window: u64) -> Header {
        Header { onefold: "restore".to_string(), version: 0, about, base, created, window }
    }
}

/// What a state file says.
pub(super) struct Before {
    pub(super) header: Header,
    /// The target was made ready.
    pub(super) ready: bool,
    /// The last position that is safe.
    pub(super) position: Option<Vec<u8>>,
    pub(super) rows: u64,
    /// All was written, and what comes after it.
    pub(super) done: bool,
}

/// An open state file.
pub(super) struct State {
    path: PathBuf,
    file: Mutex<File>,
    /// Rows of the runs before this one.
    rows: u64,
}

/// Reads a state file; `None` where there is none. Errors: a file that is something else, or about another restore.
pub(super) fn read(path: &Path, about: &serde_json::Value) -> Result<Option<Before>> {
    let io = |e| Error::io(path.display(), e);
    let bytes = match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
        Ok(m) if m.len() > FILE_MAX => return Err(Error::damaged(path.display(), "is too large for a state file")),
        Ok(_) => fs::read(path).map_err(io)?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n');
    // A header that was not written whole: nothing was sent yet.
    let Some(first) = lines.next().filter(|line| line.ends_with('\n')) else { return Ok(None) };
    let header: Header = serde_json::from_str(first)
        .map_err(|e| Error::damaged(path.display(), e).hint("give another --state, or remove the file"))?;
    if header.version > 0 {
        return Err(Error::new(Kind::Unsupported, path.display(), "was written by a newer onefold"));
    }
    if header.about != *about {
        let message = format!("is about another restore: {}", header.about);
        return Err(
            Error::new(Kind::Usage, path.display(), message).hint("give another --state, or the same arguments")
        );
    }
    let mut before = Before { header, ready: false, position: None, rows: 0, done: false };
    for line in lines {
        let Some((what, rows)) = line.strip_suffix('\n').and_then(parse) else { break };
        before.rows = rows;
        before.ready = true;
        match what {
            "ready" => {}
            "done" => before.done = true,
            hex => before.position = unhex(hex),
        }
    }
    Ok(Some(before))
}

fn parse(line: &str) -> Option<(&str, u64)> {
    let (body, crc) = line.rsplit_once(' ')?;
    let (what, rows) = body.split_once(' ')?;
    let sound = u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(body.as_bytes());
    sound.then_some((what, rows.parse().ok()?))
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    crate::engine::cassandra::types::unhex(hex)
}

impl State {
    /// Writes a new file, with `before` as its first checkpoint: what a resumed restore has behind it.
    pub(super) fn start(path: &Path, header: &Header, before: Option<(&[u8], u64)>) -> Result<State> {
        let io = |e| Error::io(path.display(), e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let made = path.with_extension("new");
        let mut text = serde_json::to_string(header).map_err(|e| Error::damaged("state", e))?;
        text.push('\n');
        if let Some((position, rows)) = before {
            text.push_str(&line(&hex(position), rows));
        }
        let mut file = File::create(&made).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&made, path).map_err(io)?;
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            File::open(folder).and_then(|f| f.sync_all()).map_err(io)?;
        }
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        Ok(State { path: path.to_path_buf(), file: Mutex::new(file), rows: before.map_or(0, |b| b.1) })
    }

    /// Notes that the target is ready; where a position is noted it has been.
    pub(super) fn ready(&self, before: Option<(&[u8], u64)>) -> Result<()> {
        if before.is_none() { self.append(&line("ready", 0)) } else { Ok(()) }
    }

    /// Notes that all is done; `rows` of this run.
    pub(super) fn finish(&self, rows: u64) -> Result<()> {
        self.append(&line("done", self.rows + rows))
    }

    fn append(&self, text: &str) -> Result<()> {
        let io = |e| Error::io(self.path.display(), e);
        let mut file = self.file.lock().map_err(|_| Error::new(Kind::Io, self.path.display(), "its lock is broken"))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(io)
    }
}

impl Checkpoint for State {
    fn save(&self, position: &[u8], rows: u64) -> Result<()> {
        self.append(&line(&hex(position), self.rows + rows))
    }

    fn now(&self) -> u32 {
        now()
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u32 {
    u32::try_from(now_ms() / 1000).unwrap_or(u32::MAX)
}

fn line(what: &str, rows: u64) -> String {
    let body = format!("{what} {rows}");
    format!("{body} {:08x}\n", crc32fast::hash(body.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_sent_again_and_another_restore_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        let about = serde_json::json!({"table": "a.b"});
        assert!(read(&path, &about).unwrap().is_none());
        let header = Header::new(about.clone(), 7, true, 64);
        let state = State::start(&path, &header, Some((b"\x01", 5))).unwrap();
        state.save(b"\x01\xff", 10).unwrap();
        let whole = fs::read(&path).unwrap();
        state.save(b"\x02", 12).unwrap();
        let longer = fs::read(&path).unwrap();
        for cut in whole.len()..longer.len() {
            fs::write(&path, &longer[..cut]).unwrap();
            let before = read(&path, &about).unwrap().unwrap();
            assert_eq!((before.position.as_deref(), before.rows, before.done), (Some(&b"\x01\xff"[..]), 15, false));
        }
        fs::write(&path, &longer).unwrap();
        state.finish(20).unwrap();
        let before = read(&path, &about).unwrap().unwrap();
        assert_eq!((before.header, before.rows, before.done), (header, 25, true));
        let refused = read(&path, &serde_json::json!({"table": "c"})).err().unwrap();
        assert!(refused.to_string().contains("another restore"), "{refused}");
        fs::write(&path, "{}\n").unwrap();
        assert!(read(&path, &about).is_err());
    }
}
