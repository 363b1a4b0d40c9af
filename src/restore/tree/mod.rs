//! A file tree out again: into a folder of this machine, as it was.
//!
//! Records come in the order of a walk, each folder before what lies in it. A folder is made when something in it is, and set when
//! everything in it is done. A file is written beside, set, and renamed: so what has its own name is whole, and a restore that was killed
//! goes on where it is repeated. Nothing is written outside the folder, whatever names and links a snapshot holds (see [`place`]).

mod content;
mod folders;
mod metadata;
mod one;
mod place;
mod whole;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use repo_format::file_tree::{Bytes, FileKind, FileRecord, attributes, parts_of};
use rustix::fs::syncfs;

use crate::error::{Error, Result};
use crate::patterns::{Patterns, path_of};
use crate::run::{ChunkId, ChunkSource, Record, RecordBatch, Run};
use crate::watch::Watch;
pub use content::{Layout, aside, visit};
use folders::{Ascending, Level, Way};
pub use metadata::Unset;
use one::BESIDE;
use place::Place;
pub use whole::{Wanted, no_pattern, of_snapshot, trees};

/// Contents that are asked for ahead.
const AHEAD: usize = 256;

/// What becomes of files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Contents are compared, and what differs is written anew.
    #[default]
    Always,
    /// The same, but a file of the same size and time counts as the same.
    IfChanged,
    /// The same as always, but what was changed later than in the snapshot stays.
    IfNewer,
    /// Whatever is there stays.
    Never,
}

/// What is to be restored, and how.
#[derive(Clone)]
pub struct Request<'a> {
    /// The folder; it is made where there is none.
    pub out: &'a Path,
    /// What lies below this key becomes what lies in the folder; a file becomes a file in it. Empty: everything.
    pub from: &'a [u8],
    /// Only what these name, and what lies in it; where there is none, everything.
    pub include: Patterns,
    /// Not what these name.
    pub exclude: Patterns,
    /// What becomes of files that are there already.
    pub overwrite: Overwrite,
    /// What is there and is not in the snapshot is taken away.
    pub delete: bool,
    /// Nothing is written: what would be is counted.
    pub dry_run: bool,
    /// What was restored just now is compared, but for what came out of that with a problem: nothing is written.
    pub verifies: Option<&'a Done>,
    /// Counts bytes, and is asked whether to go on.
    pub watch: &'a Watch,
}

/// What a restore came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Done {
    /// Files, folders and links in the selection.
    pub entries: u64,
    /// Of these, the ones that were written or set.
    pub written: u64,
    /// Of these, the ones that were not there, or with other contents.
    pub rewritten: u64,
    /// Some contents are damaged in the repository.
    pub damaged: bool,
    /// Bytes of contents that were written.
    pub bytes: u64,
    /// Things that were taken away.
    pub removed: u64,
    /// What could not be set.
    pub unset: Unset,
    /// What is not there, each with its path: it was not read by the backup, or could not be made here.
    pub problems: Vec<(String, String)>,
    /// How many more there are, which are not said one by one.
    pub more: u64,
}

/// Problems that are said one by one.
const PROBLEMS_MAX: usize = 1000;

struct Restore<'a> {
    request: &'a Request<'a>,
    chunks: &'a dyn ChunkSource,
    levels: Vec<Level>,
    done: Done,
    /// Length of the keys that stand for the folder itself.
    base: usize,
    /// Files with several names of which the first is not restored: the first that is, by that one.
    instead: HashMap<Vec<u8>, Vec<u8>>,
    /// Files that are there under several names and stay: by device and number the first name that the snapshot has of them.
    met: HashMap<(u64, u64), Vec<u8>>,
}

/// Restores what `run` gives, a run of a file tree.
///
/// Errors: the folder cannot be written to; what reading gives. What only one file lacks is a problem in what is returned.
pub fn restore(run: &mut dyn Run, chunks: &dyn ChunkSource, request: &Request<'_>) -> Result<Done> {
    let failed = |e| Error::io(request.out.display(), e);
    let made = !request.out.exists();
    if made && !request.dry_run {
        fs::create_dir_all(request.out).map_err(failed)?;
    }
    let (root, is_ours) = match Place::at(request.out) {
        Ok(root) if made => {
            metadata::mark(&root);
            (Some(root), true)
        }
        Ok(root) => {
            let is_marked = metadata::is_marked(&root);
            (Some(root), is_marked)
        }
        Err(e) if request.dry_run && e.kind() == io::ErrorKind::NotFound => (None, true),
        Err(e) => return Err(failed(e)),
    };
    let base = if request.from == [0] { 0 } else { request.from.len() };
    let top = Level {
        key: request.from.get(..base).unwrap_or_default().to_vec(),
        body: None,
        is_ours,
        place: root,
        way: Way::Untried,
        names: Ascending::default(),
    };
    let (done, instead, met) = (Done::default(), HashMap::new(), HashMap::new());
    let mut restore = Restore { request, chunks, levels: vec![top], done, base, instead, met };
    let mut batch = RecordBatch::new();
    while run.next_batch(&mut batch)? {
        for (i, record) in batch.iter().enumerate() {
            if i.is_multiple_of(AHEAD / 2) {
                chunks.prefetch(&asked(&batch, i));
            }
            request.watch.check()?;
            restore.record(&record)?;
        }
    }
    while restore.levels.len() > 1 {
        restore.leave()?;
    }
    let top = restore.levels.pop();
    if let Some(top) = top {
        restore.close(&top)?;
        // What was renamed is whole after a loss of power, too.
        if let Some(place) = top.place.filter(|_| !request.dry_run) {
            metadata::unmark(&place);
            syncfs(place.as_fd()).map_err(|e| failed(e.into()))?;
        }
    }
    Ok(restore.done)
}

/// The first chunks of the contents that come next.
fn asked(batch: &RecordBatch, from: usize) -> Vec<ChunkId> {
    let records = (from..batch.len().min(from + AHEAD)).map(|i| batch.get(i));
    let content = |record: Record<'_>| match FileRecord::parse(record.body).ok()?.content? {
        Bytes::Chunk(chunk) => Some(chunk.root),
        Bytes::Blob(blob) => Some(blob.root),
        Bytes::Here(_) => None,
    };
    records.filter_map(content).collect()
}

impl Restore<'_> {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        let path = path_of(record.key);
        let shown = path.display().to_string();
        let named = |e: Error| e.within(&shown);
        let parts = parts_of(record.key).map_err(|e| named(e.into()))?;
        let file = FileRecord::parse(record.body).map_err(|e| named(e.into()))?;
        let is_folder = file.kind() == Some(FileKind::Folder);
        while self.levels.len() > 1 && !self.lies_in_last(record.key) {
            self.leave()?;
        }
        if record.key == self.request.from || record.key == [0] {
            if is_folder {
                return self.top(record.body).map_err(named);
            }
            self.base = record.key.len() - parts.last().map_or(0, |name| name.len() + 1);
        }
        let Some(name) = parts.last().copied() else { return Ok(()) };
        if parts.contains(&BESIDE) {
            self.problem(&shown, "has a name that restores use themselves: it is not restored");
            return Ok(());
        }
        let above = &record.key[..record.key.len() - name.len() - 1];
        if record.key != self.request.from && self.levels.last().is_none_or(|last| last.key != above) {
            self.done.damaged = true;
            self.problem(&shown, "lies in no folder of the snapshot: it is not restored");
            return Ok(());
        }
        if let Some(last) = self.levels.last_mut().filter(|_| self.request.delete) {
            last.names.push(name);
        }
        let meant = self.is_meant(&path, is_folder);
        if is_folder {
            let body = Some(record.body.to_vec());
            let (key, names) = (record.key.to_vec(), Ascending::default());
            self.levels.push(Level { key, body, is_ours: true, place: None, way: Way::Untried, names });
            if meant {
                self.done.entries += 1;
                let depth = self.levels.len();
                self.enter(depth).map_err(named)?;
                self.lacking(&file, &shown);
            }
            return Ok(());
        }
        if !meant {
            return Ok(());
        }
        self.done.entries += 1;
        self.lacking(&file, &shown);
        let depth = self.levels.len();
        self.enter(depth).map_err(named)?;
        let first = self.first_restored(record.key, file.first);
        self.one(record.key, &FileRecord { first: first.as_deref(), ..file }, &shown)
    }

    /// It is the folder itself, which is set only where it was made here, or was as it should be.
    fn top(&mut self, body: &[u8]) -> Result<()> {
        let file = FileRecord::parse(body)?;
        let said = aside(file.attributes, self.chunks)?;
        let attributes = attributes(&said)?;
        let Some(top) = self.levels.first_mut() else { return Ok(()) };
        if let Some(place) = &top.place {
            top.is_ours |= metadata::is_set(place, b"", &file, &attributes).unwrap_or_default();
        }
        top.body = Some(body.to_vec());
        Ok(())
    }

    /// The first of the names of a file that is restored, where that is another one than `key`.
    fn first_restored(&mut self, key: &[u8], first: Option<&[u8]>) -> Option<Vec<u8>> {
        let first = first?;
        let lies_here = first.get(..self.base) == key.get(..self.base) && first.get(self.base) == Some(&0);
        if lies_here && self.is_meant(&path_of(first), false) {
            return Some(first.to_vec());
        }
        let of = self.instead.entry(first.to_vec()).or_insert_with(|| key.to_vec());
        (of != key).then(|| of.clone())
    }

    fn is_meant(&self, path: &Path, is_folder: bool) -> bool {
        let Request { include, exclude, .. } = self.request;
        (include.is_empty() || include.cover(path, is_folder))
            && (exclude.is_empty() || !exclude.cover(path, is_folder))
    }

    fn lies_in_last(&self, key: &[u8]) -> bool {
        let lies_in = |level: &Level| key.strip_prefix(level.key.as_slice()).is_some_and(|rest| rest.starts_with(&[0]));
        self.levels.last().is_some_and(lies_in)
    }

    /// Says what the snapshot does not have of something.
    fn lacking(&mut self, file: &FileRecord<'_>, path: &str) {
        if file.lacks.unread {
            self.problem(path, "was not read by the backup: it is as an earlier snapshot had it, or without content");
        }
    }

    fn problem(&mut self, path: &str, what: impl std::fmt::Display) {
        if self.done.problems.len() < PROBLEMS_MAX {
            self.done.problems.push((path.to_owned(), what.to_string()));
        } else {
            self.done.more += 1;
        }
    }
}
