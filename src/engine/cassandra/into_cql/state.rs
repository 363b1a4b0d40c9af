//! How far a restore is, in a file: what it is about, then a line for each checkpoint.
//!
//! ```text
//! {"onefold":"restore","version":0,"about":{…},"cluster":{…},"table":…,"base":…,"created":…,"runs":…}
//! POSITION ROWS CRC32          hex key of the last record that is acknowledged with all before it; rows so far
//! done ROWS CRC32
//! ```
//! Lines are appended and synced. The last line may be torn: what it said is sent again. A file that has grown is made
//! anew with its last line. `FILE.lock` beside it is held by the one restore that is at it.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::engine::cassandra::client::{Checkpoint, Cluster};
use crate::engine::cassandra::types::{hex, unhex};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::whole::{beside, replace};

/// A file that is longer is made anew, bytes.
const GROWN: usize = 1 << 20;
/// The largest state file that is read, bytes: a grown one and one line.
const FILE_MAX: u64 = 16 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    onefold: String,
    version: u32,
    /// The arguments that make it this restore and no other.
    about: serde_json::Value,
    /// The cluster that is restored into.
    cluster: Cluster,
    /// Id of the table that is restored into, once it is made, or emptied: sending begins.
    pub(super) table: Option<String>,
    /// Time that write times are moved to, microseconds since 1970, where they are.
    pub(super) base: i64,
    /// The table was made by this restore.
    pub(super) created: bool,
    /// Runs that were begun before this one, and interrupted.
    pub(super) runs_before: u64,
}

impl Header {
    pub(super) fn new(about: serde_json::Value, cluster: &Cluster, base: i64, created: bool) -> Header {
        let (onefold, cluster) = ("restore".to_string(), cluster.clone());
        Header { onefold, version: 0, about, cluster, table: None, base, created, runs_before: 0 }
    }

    /// That of the run after an interrupted one.
    pub(super) fn next_run(&self) -> Header {
        Header { runs_before: self.runs_before + 1, ..self.clone() }
    }

    /// Errors: another restore, another cluster.
    fn fits(&self, path: &Path, about: &serde_json::Value, cluster: &Cluster) -> Result<()> {
        if self.version > 0 {
            return Err(Error::new(Kind::Unsupported, path.display(), "was written by a newer onefold"));
        }
        let refused = |message: String, hint| Err(Error::new(Kind::Usage, path.display(), message).hint(hint));
        if self.about != *about {
            let message = format!("is about another restore: {}", self.about);
            return refused(message, "give another --state, or the same arguments");
        }
        if !self.cluster.is(cluster) {
            let brief = |c: &Cluster| {
                let hosts: Vec<&str> = c.hosts.iter().take(3).map(String::as_str).collect();
                format!("{:?} with nodes such as {}", c.name, hosts.join(", "))
            };
            let message = format!("is about another cluster: {}, not {}", brief(&self.cluster), brief(cluster));
            return refused(message, "give --contact of that cluster, or another --state for this one");
        }
        Ok(())
    }
}

/// What a state file says.
pub(super) struct Before {
    pub(super) header: Header,
    /// The last position that is safe.
    pub(super) position: Option<Vec<u8>>,
    pub(super) rows: u64,
    /// All was written, and what comes after it.
    pub(super) done: bool,
}

impl Before {
    /// The last position that is safe, and the rows up to it.
    pub(super) fn behind(&self) -> Option<(&[u8], u64)> {
        Some((self.position.as_deref()?, self.rows))
    }
}

/// Keeps other restores away from a state as long as it lives.
pub(super) struct Lock {
    _file: File,
}

/// Errors: `Busy` where another process holds it.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder.display(), e))?;
    }
    let beside = beside(path, "lock");
    let file = File::create(&beside).map_err(|e| Error::io(beside.display(), e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::Error(e)) => Err(Error::io(beside.display(), e)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(Kind::Busy, path.display(), "another restore is going on by it")
                .hint("wait until it has ended; this one then goes on where it was"))
        }
    }
}

/// Reads a state file; `None` where there is none. Errors: a file that is something else, or about another restore, or
/// another cluster.
pub(super) fn read(path: &Path, about: &serde_json::Value, cluster: &Cluster) -> Result<Option<Before>> {
    let io = |e| Error::io(path.display(), e);
    let bytes = match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
        Ok(m) if m.len() > FILE_MAX => return Err(Error::damaged(path.display(), "is too large for a state file")),
        Ok(_) => fs::read(path).map_err(io)?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.split_inclusive('\n');
    // A file is put in place whole, but for one that is empty: nothing was sent yet.
    let Some(first) = lines.next() else { return Ok(None) };
    let header: Header = serde_json::from_str(first)
        .map_err(|e| Error::damaged(path.display(), e).hint("give another --state, or remove the file"))?;
    header.fits(path, about, cluster)?;
    let mut before = Before { header, position: None, rows: 0, done: false };
    for line in lines {
        let Some((what, rows)) = line.strip_suffix('\n').and_then(parse) else { break };
        before.rows = rows;
        match what {
            "done" => before.done = true,
            key => before.position = unhex(key),
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

/// A state that is written.
pub(super) struct State {
    path: PathBuf,
    header: String,
    /// The file, and its length.
    file: Mutex<(File, usize)>,
    /// Rows of the runs before this one.
    rows: u64,
}

impl State {
    /// Writes a new file, with `behind` as its first checkpoint: what a resumed restore has behind it.
    pub(super) fn start(path: &Path, header: &Header, behind: Option<(&[u8], u64)>) -> Result<State> {
        let mut header = serde_json::to_string(header).map_err(|e| Error::damaged("state", e))?;
        header.push('\n');
        let first = behind.map_or_else(String::new, |(position, rows)| line(&hex(position), rows));
        let file = Mutex::new(put(path, &header, &first)?);
        Ok(State { path: path.to_path_buf(), header, file, rows: behind.map_or(0, |b| b.1) })
    }

    /// Notes that all is done; `rows` of this run.
    pub(super) fn finish(&self, rows: u64) -> Result<()> {
        self.append(&line("done", self.rows + rows))
    }

    fn append(&self, line: &str) -> Result<()> {
        let io = |e| Error::io(self.path.display(), e);
        let mut held = self.file.lock().map_err(|_| Error::new(Kind::Io, self.path.display(), "its lock is broken"))?;
        if held.1 > GROWN {
            *held = put(&self.path, &self.header, line)?;
            return Ok(());
        }
        held.0.write_all(line.as_bytes()).and_then(|()| held.0.sync_data()).map_err(io)?;
        held.1 += line.len();
        Ok(())
    }
}

/// Puts a file in place, whole or not at all; gives it, open for more, with its length.
fn put(path: &Path, header: &str, line: &str) -> Result<(File, usize)> {
    let text = [header, line].concat();
    let file = replace(path, text.as_bytes()).map_err(|e| Error::io(path.display(), e))?;
    Ok((file, text.len()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, hosts: &[&str]) -> Cluster {
        Cluster { name: name.to_string(), hosts: hosts.iter().map(|h| h.to_string()).collect() }
    }

    #[test]
    fn a_torn_line_is_sent_again_and_another_restore_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state");
        let (about, prod) = (serde_json::json!({"table": "a.b"}), cluster("prod", &["1", "2"]));
        let read = |about: &serde_json::Value, cluster: &Cluster| read(&path, about, cluster);
        assert!(read(&about, &prod).unwrap().is_none());
        let _lock = lock(&path).unwrap();
        let header = Header::new(about.clone(), &prod, 7, true);
        let state = State::start(&path, &header, Some((b"\x01", 5))).unwrap();
        state.save(b"\x01\xff", 10).unwrap();
        let whole = fs::read(&path).unwrap();
        state.save(b"\x02", 12).unwrap();
        let longer = fs::read(&path).unwrap();
        for cut in whole.len()..longer.len() {
            fs::write(&path, &longer[..cut]).unwrap();
            let before = read(&about, &prod).unwrap().unwrap();
            assert_eq!((before.behind(), before.done), (Some((&b"\x01\xff"[..], 15)), false));
        }
        let state = State::start(&path, &header, Some((b"\x02", 17))).unwrap();
        state.finish(8).unwrap();
        let before = read(&about, &prod).unwrap().unwrap();
        assert_eq!((before.header, before.rows, before.done), (header, 25, true));
        let refused = |about: &serde_json::Value, cluster: &Cluster| read(about, cluster).err().unwrap().to_string();
        assert!(refused(&serde_json::json!({"table": "c"}), &prod).contains("another restore"));
        assert!(read(&about, &cluster("prod", &["2", "3"])).is_ok(), "a node was replaced");
        for other in [cluster("prod", &["8", "9"]), cluster("staging", &["1", "2"])] {
            let message = refused(&about, &other);
            assert!(message.contains("another cluster") && message.contains("prod"), "{message}");
        }
        fs::write(&path, "{}\n").unwrap();
        assert!(read(&about, &prod).is_err());
    }

    #[test]
    fn two_at_once_are_refused_and_tables_of_one_folder_are_not_two() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| lock(&folder.path().join(name));
        let held = of("ks.a").unwrap();
        assert_eq!(of("ks.a").err().unwrap().kind(), Kind::Busy);
        assert!(of("ks.b").is_ok());
        drop(held);
        assert!(of("ks.a").is_ok());
    }

    #[test]
    fn a_file_that_grows_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (about, prod) = (serde_json::json!({}), cluster("prod", &["1"]));
        let state = State::start(&path, &Header::new(about.clone(), &prod, 7, true), None).unwrap();
        let key = vec![7; 60_000];
        for rows in 1..=20 {
            state.save(&key, rows).unwrap();
            let before = read(&path, &about, &prod).unwrap().unwrap();
            assert_eq!(before.behind(), Some((&key[..], rows)));
            assert!(fs::metadata(&path).unwrap().len() < GROWN as u64 + 130_000);
        }
    }
}
