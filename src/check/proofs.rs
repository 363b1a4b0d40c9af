//! Tables are read as a restore would, to see whether they give the records that were backed up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Harmed, is_damage};
use crate::engine::{Engine, engine};
use crate::error::Result;
use crate::repo::{Reader, Repo};
use crate::snapshot::{self, Shard, Snapshot};
use crate::view::{self, View};
use crate::watch::Watch;

/// Tables read as a whole, to see whether they give the records that were backed up.
pub(super) struct Proofs<'a> {
    reader: &'a Reader,
    engines: &'a [&'a dyn Engine],
    watch: &'a Watch,
    /// By a shard's roots, and the time that it is brought to: the digest of what reading gave, or what is wrong. So a table that did not change is read once,
    /// however many snapshots have it.
    known: HashMap<String, Read>,
}

/// What reading a table gave, or what is wrong with it.
type Read = std::result::Result<Option<String>, String>;

/// Tables that are read at once.
const TABLES: usize = 4;

impl<'a> Proofs<'a> {
    pub fn new(reader: &'a Reader, engines: &'a [&'a dyn Engine], watch: &'a Watch) -> Proofs<'a> {
        Proofs { reader, engines, watch, known: HashMap::new() }
    }

    /// Reads the tables of all snapshots that can be read, and tells nothing yet: first it must be known which objects are
    /// to blame.
    pub fn read(&mut self, repo: &Repo) -> Result<()> {
        for info in repo.snapshots() {
            match snapshot::read(repo, &info.id) {
                Ok(snapshot) => self.shards(&snapshot)?,
                Err(e) if is_damage(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Adds the tables that give other records; those that are harmed already are not looked at.
    pub fn snapshot(&mut self, id: &str, snapshot: &Snapshot, harmed: &mut Vec<Harmed>) -> Result<()> {
        for shard in &snapshot.shards {
            if harmed.iter().any(|h| h.part.as_ref() == Some(&shard.name)) {
                continue;
            }
            let message = match self.shard(snapshot, shard)? {
                Ok(Some(digest)) if *digest != shard.digest => view::DIFFERS.to_owned(),
                Ok(_) => continue,
                Err(message) => message.to_owned(),
            };
            self.watch.problem(true, format!("snapshot {id}: {}", shard.name), message);
            let (snapshot, part) = (id.to_owned(), Some(shard.name.clone()));
            harmed.push(Harmed { snapshot, part, chunks: 0, objects: BTreeSet::new(), ranges: Vec::new() });
        }
        Ok(())
    }

    /// Reads those that are not known yet, some side by side.
    fn shards(&mut self, snapshot: &Snapshot) -> Result<()> {
        let mut new: BTreeMap<String, &Shard> = BTreeMap::new();
        for shard in &snapshot.shards {
            let roots = roots(snapshot, shard);
            if !self.known.contains_key(&roots) {
                new.insert(roots, shard);
            }
        }
        let (next, read) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let new: Vec<(String, &Shard)> = new.into_iter().collect();
        let work = || {
            while let Some((roots, shard)) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                let digest = self.read_whole(snapshot, shard);
                let failed = digest.is_err();
                read.lock().unwrap_or_else(PoisonError::into_inner).push((roots.clone(), digest));
                if failed {
                    next.store(new.len(), Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).clamp(1, TABLES).min(new.len());
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where there is no thread to be had, this one reads all.
                let _ = thread::Builder::new().name("check table".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        for (roots, digest) in read.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.known.insert(roots, digest?);
        }
        Ok(())
    }

    /// What reading a shard gives.
    fn shard(&mut self, snapshot: &Snapshot, shard: &Shard) -> Result<std::result::Result<Option<&str>, &str>> {
        let roots = roots(snapshot, shard);
        if !self.known.contains_key(&roots) {
            self.known.insert(roots.clone(), self.read_whole(snapshot, shard)?);
        }
        Ok(match self.known.get(&roots) {
            Some(Ok(digest)) => Ok(digest.as_deref()),
            Some(Err(message)) => Err(message),
            None => Ok(None),
        })
    }

    /// The digest of what reading a shard gives, or what is wrong with it.
    fn read_whole(&self, snapshot: &Snapshot, shard: &Shard) -> Result<Read> {
        let read = || {
            let engine = engine(self.engines, &snapshot.engine)?;
            View::open(engine, snapshot, shard, self.reader)?.digest(self.watch)
        };
        match read() {
            Ok(digest) => Ok(Ok(digest)),
            Err(e) if is_damage(&e) => Ok(Err(format!("{}: {}", e.subject(), e.message()))),
            Err(e) => Err(e),
        }
    }
}

/// What decides what reading a shard gives: its trees, and the time that it is brought to.
fn roots(snapshot: &Snapshot, shard: &Shard) -> String {
    let roots: Vec<&str> = shard.layers.iter().map(|tree| tree.id.as_str()).collect();
    let cut = snapshot.settles_at().map_or_else(String::new, |cut| format!(" {cut} {}", shard.description));
    format!("{}{cut}", roots.join(" "))
}
