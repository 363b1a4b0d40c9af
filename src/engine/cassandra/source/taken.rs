//! Snapshots that a backup takes on its nodes with `nodetool`, and clears when all was read.
//!
//! Each has a tag of its own, `onefold-` and 16 hex digits, which is written down on this machine before it is taken: in a file
//! named by it, locked as long as the run lives, or a command that it started. What a run left that was killed is known by its file, and cleared by the next
//! run over the same nodes. Nothing is ever cleared but by such a tag.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};

use super::NodeDir;
use crate::engine::Params;
use crate::error::{Error, Kind, Result};
use crate::repo::world::random;
use crate::whole;

/// How a tag of ours begins.
const TAG: &str = "onefold-";
/// Pauses after which clearing is tried again.
const PAUSES: [u64; 3] = [0, 1, 5];
/// Bytes of a file that names nodes, at most.
const FILE_MAX: u64 = 1 << 20;

/// `nodetool`, as the operator says that it is called.
#[derive(Debug, Clone)]
pub struct Nodetool {
    program: String,
    options: Vec<String>,
    /// The longest that a command may take.
    limit: Duration,
}

impl Nodetool {
    /// Errors: a password among the options, which whoever lists processes would see.
    pub fn of(params: &Params) -> Result<Nodetool> {
        let given = params.text("nodetool-options").unwrap_or_default();
        let options: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
        let is_password = |word: &str| {
            (word.starts_with("-pw") && !word.starts_with("-pwf"))
                || word == "--password"
                || word.starts_with("--password=")
        };
        if options.iter().any(|word| is_password(word)) {
            return Err(Error::new(
                Kind::Usage,
                "--nodetool-options",
                "holds a password, which every process there could see",
            )
            .hint("give -u NAME -pwf FILE: the file lies on the node, and only its user can read it"));
        }
        let program = params.text("nodetool").unwrap_or("nodetool").to_owned();
        Ok(Nodetool { program, options, limit: limit(params) })
    }

    /// Runs one of its commands on a node.
    fn run(&self, node: &NodeDir, command: &[&str]) -> Result<()> {
        let place = node.dirs.first().ok_or_else(|| Error::new(Kind::Usage, &node.name, "has no folder"))?;
        let option = |word: &String| match (word.contains("{address}"), &node.address) {
            (false, _) => Ok(word.clone()),
            (true, Some(address)) => Ok(word.replace("{address}", address)),
            (true, None) => {
                Err(Error::new(Kind::Usage, format_args!("node {}", node.name), "has no address for {address}")
                    .hint("give --node NAME@ADDRESS=…"))
            }
        };
        let options = self.options.iter().map(option).collect::<Result<Vec<String>>>()?;
        let words = [&self.program].into_iter().chain(&options).map(String::as_str).chain(command.iter().copied());
        let machine = if place.machine().is_empty() { String::new() } else { format!("{}: ", place.machine()) };
        let what = format!("node {}: {machine}{} {}", node.name, self.program, command.join(" "));
        let ran = place.run(&words.collect::<Vec<_>>(), self.limit).map_err(|e| e.said_of(&what))?;
        ran.well(&what).map(drop).map_err(|e| match e.message() {
            _ if e.kind() == Kind::Unsupported => e.hint("say where it is with --nodetool PATH"),
            said if ["redential", "assword", "username"].iter().any(|word| said.contains(word)) => {
                e.hint("--nodetool-options='-u NAME -pwf FILE': the file lies on the node")
            }
            _ => e,
        })
    }
}

/// How long a node may be away, and what a command on it may take.
pub fn limit(params: &Params) -> Duration {
    let seconds = params.number("node-timeout").and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(600))
}

/// Whether it is a tag of ours: nothing else is cleared.
fn is_tag(tag: &str) -> bool {
    tag.strip_prefix(TAG).is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// How a node is known again: its first folder, with its machine.
fn known_by(node: &NodeDir) -> String {
    node.dirs.first().map(ToString::to_string).unwrap_or_default()
}

/// Snapshots of one tag, on several nodes. Dropped, they are cleared as far as they can be.
pub struct Taken {
    /// Their tag.
    pub tag: String,
    nodetool: Nodetool,
    /// The nodes that may have one.
    held: Mutex<Vec<NodeDir>>,
    record: PathBuf,
    _alive: File,
}

impl Taken {
    /// Takes a snapshot on every node, on all at once. Gives how it went on each.
    ///
    /// Errors: what is to be cleared cannot be written down. Then none is taken.
    pub fn take(nodes: &[NodeDir], nodetool: &Nodetool, state: Option<&Path>) -> Result<(Taken, Vec<Result<()>>)> {
        let folder = folder(state)?;
        let tag = random::<8>()?.iter().fold(TAG.to_owned(), |tag, byte| format!("{tag}{byte:02x}"));
        let record = folder.join(&tag);
        let io = |e| Error::io(record.display(), e);
        let _alive = {
            let _alone = alone(&folder)?;
            let file = write(&record, &nodes.iter().map(known_by).collect::<Vec<_>>())?;
            file.lock().map_err(io)?;
            // What we start inherits it: should we be killed, a command that still goes on is not cleared after too soon.
            fcntl_setfd(&file, FdFlags::empty()).map_err(|e| io(e.into()))?;
            file
        };
        let taken = Taken { tag, nodetool: nodetool.clone(), held: Mutex::new(nodes.to_vec()), record, _alive };
        let each = at_once(nodes, |node| taken.nodetool.run(node, &["snapshot", "-t", &taken.tag]));
        // Whatever else went wrong, a part of one may be there.
        let no_program = |went: &Result<()>| went.as_ref().is_err_and(|e| e.kind() == Kind::Unsupported);
        let mut none = each.iter().map(no_program);
        taken.held.lock().unwrap_or_else(PoisonError::into_inner).retain(|_| !none.next().unwrap_or(false));
        Ok((taken, each))
    }

    /// Clears them. Gives what is left, and why.
    pub fn clear(&self) -> Vec<String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let each = at_once(&held, |node| clear(&self.nodetool, node, &self.tag));
        let mut left = Vec::new();
        let (_, stay) = apart(std::mem::take(&mut *held), each);
        for (node, e) in stay {
            left.push(format!("{e}: snapshot {} stays, and the next run clears it", self.tag));
            held.push(node);
        }
        if self.record.exists()
            && let Err(e) = keep(&self.record, &held.iter().map(known_by).collect::<Vec<_>>())
        {
            left.push(e.to_string());
        }
        left
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Clears what runs left that were killed, of these nodes, and says so.
pub fn sweep(nodes: &[NodeDir], nodetool: &Nodetool, state: Option<&Path>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (record, tag, _ours) in ended(&folder(state)?)? {
        let mut left = read(&record)?;
        for node in nodes {
            let Some(at) = left.iter().position(|known| *known == known_by(node)) else { continue };
            match clear(nodetool, node, &tag) {
                Ok(()) => {
                    left.remove(at);
                    notes.push(format!("node {}: snapshot {tag} of a run that was killed, cleared", node.name));
                }
                Err(e) => notes.push(format!("{e}: snapshot {tag} of a run that was killed stays")),
            }
        }
        keep(&record, &left)?;
    }
    Ok(notes)
}

/// What runs wrote down that live no more: the files, locked, and their tags.
fn ended(folder: &Path) -> Result<Vec<(PathBuf, String, File)>> {
    let _alone = alone(folder)?;
    let io = |e| Error::io(folder.display(), e);
    let mut ended = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let Some(tag) = name.to_str().filter(|tag| is_tag(tag)) else { continue };
        let record = folder.join(tag);
        let Ok(file) = File::open(&record) else { continue };
        match file.try_lock() {
            Ok(()) => ended.push((record, tag.to_owned(), file)),
            // Its run is at work.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => return Err(Error::io(record.display(), e)),
        }
    }
    Ok(ended)
}

/// Keeps others from writing down and from looking, so that whatever is seen is locked if its run lives.
fn alone(folder: &Path) -> Result<File> {
    let lock = File::open(folder).and_then(|file| file.lock().map(|()| file));
    lock.map_err(|e| Error::io(folder.display(), e))
}

fn clear(nodetool: &Nodetool, node: &NodeDir, tag: &str) -> Result<()> {
    if !is_tag(tag) {
        return Err(Error::new(Kind::Usage, tag, "is no tag of ours, and is not cleared"));
    }
    let mut pauses = PAUSES.iter();
    loop {
        match (nodetool.run(node, &["clearsnapshot", "-t", tag]), pauses.next()) {
            (Err(_), Some(pause)) => thread::sleep(Duration::from_secs(*pause)),
            (cleared, _) => return cleared,
        }
    }
}

/// Does something on all nodes at once.
fn at_once<T: Send>(nodes: &[NodeDir], each: impl Fn(&NodeDir) -> Result<T> + Sync) -> Vec<Result<T>> {
    let gone = || Err(Error::new(Kind::Io, "a thread", "ended"));
    thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| each(node))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gone())).collect()
    })
}

/// The nodes that can be reached, and why the others cannot.
pub fn reach(nodes: Vec<NodeDir>) -> (Vec<NodeDir>, Vec<(NodeDir, Error)>) {
    let each = at_once(&nodes, |node| node.dirs.iter().try_for_each(crate::volume::Place::reach));
    apart(nodes, each)
}

/// The nodes for which it went well, and the others.
pub fn apart(nodes: Vec<NodeDir>, each: Vec<Result<()>>) -> (Vec<NodeDir>, Vec<(NodeDir, Error)>) {
    let (mut well, mut away) = (Vec::new(), Vec::new());
    for (node, went) in nodes.into_iter().zip(each) {
        match went {
            Ok(()) => well.push(node),
            Err(e) => away.push((node, e)),
        }
    }
    (well, away)
}

/// Where is written down what is to be cleared.
fn folder(state: Option<&Path>) -> Result<PathBuf> {
    let none = || {
        Error::new(Kind::Usage, "--take-snapshot", "there is no folder to remember what is to be cleared")
            .hint("set XDG_STATE_HOME, or HOME")
    };
    let folder = state.ok_or_else(none)?.join("snapshots");
    fs::create_dir_all(&folder).map_err(|e| Error::io(folder.display(), e))?;
    Ok(folder)
}

/// Writes down what is left; nothing takes the file away.
fn keep(record: &Path, left: &[String]) -> Result<()> {
    match left {
        [] => fs::remove_file(record).map_err(|e| Error::io(record.display(), e)),
        left => write(record, left).map(drop),
    }
}

fn write(record: &Path, known: &[String]) -> Result<File> {
    let text = serde_json::to_vec(known).map_err(|e| Error::damaged(record.display(), e))?;
    whole::replace(record, &text).map_err(|e| Error::io(record.display(), e))
}

fn read(record: &Path) -> Result<Vec<String>> {
    let io = |e| Error::io(record.display(), e);
    if fs::metadata(record).map_err(io)?.len() > FILE_MAX {
        return Err(Error::damaged(record.display(), "is too large for a list of nodes"));
    }
    let hint = "it names nodes that may have a snapshot of this tag: clear it there by hand, then remove the file";
    serde_json::from_slice(&fs::read(record).map_err(io)?).map_err(|e| Error::damaged(record.display(), e).hint(hint))
}
