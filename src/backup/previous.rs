//! What earlier snapshots of the cluster say, shard by shard: shapes to keep, and what to compare with.
//!
//! For each shard the newest complete snapshot counts that has the shard; if there is none, the newest other one. Only snapshots of
//! this writer count, and those that are vouched for: a stolen key must not shape what others write. A snapshot that cannot be
//! read is passed over and named; it ends no backup. Who only writes has the machine's [`State`] in their place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::state::{Found, Night, State};
use repo_format::id::SnapshotId;

use crate::error::{Error, Result};
use crate::repo::{Reader, Repo, SnapshotInfo};
use crate::snapshot::{self, Shard, Snapshot};

/// So many snapshots of the cluster are read at most, newest first. A shard that none of them has counts as new.
const READ_AT_MOST: usize = 64;

/// Who only writes, and has no state of the nights before, learns nothing of them.
fn unread(why: &str) -> String {
    format!(
        "earlier snapshots were not read, for the credential does not hold the read role, and this machine's state of them {why}: \
         nothing says whether tables fell to nothing since; a table that grew much, or whose columns changed, may be stored anew"
    )
}

/// An earlier snapshot, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Of {
    /// Its id.
    pub id: String,
    /// Its first capture of a node, seconds since 1970.
    pub since: u64,
    /// Its cut, seconds since 1970.
    pub cut: u32,
    /// Whether nothing was missing in it.
    pub complete: bool,
}

/// The newest complete snapshot of the cluster.
#[derive(Debug, Clone)]
pub struct Complete {
    /// Which one.
    pub of: Arc<Of>,
    /// Names of its shards by the database's id.
    pub shards: BTreeMap<String, String>,
}

/// A shard as an earlier snapshot has it.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Which snapshot.
    pub of: Arc<Of>,
    /// What it says of the shard.
    pub shard: Arc<Shard>,
}

/// The earlier snapshots of one cluster and engine, read as far as they are asked for.
pub struct Previous<'r> {
    repo: &'r Repo,
    engine: &'static str,
    cluster: String,
    read: Mutex<Read>,
    /// What their trees are read from.
    reader: OnceLock<Reader>,
}

/// What was read so far.
#[derive(Default)]
struct Read {
    /// Not looked at yet, newest last.
    ahead: Vec<SnapshotInfo>,
    /// Snapshots of the cluster that were read.
    count: usize,
    newest: Option<Arc<Of>>,
    complete: Option<Arc<Complete>>,
    /// By the database's id: of the newest complete snapshot that has it, else of the newest.
    shards: BTreeMap<String, Earlier>,
    /// The same of the newest snapshot.
    newest_shards: BTreeMap<String, Earlier>,
    passed_over: Vec<String>,
}

impl<'r> Previous<'r> {
    /// Those of `cluster` in `repo`. Who cannot read takes them from the state that this machine has, if it has one.
    pub fn of(repo: &'r Repo, engine: &'static str, cluster: &str, state: Option<&State<'_>>) -> Previous<'r> {
        let mut ahead = repo.snapshots();
        let log = repo.state();
        let own = repo.ring().writer.as_ref().map(|key| key.id());
        ahead.retain(|info| {
            log.snapshots().get(&info.id).is_some_and(|committed| committed.vouched || Some(committed.writer) == own)
        });
        let mut read = Read { ahead, ..Read::default() };
        if repo.ring().read.is_empty() {
            read.remember(repo, engine, cluster, state);
        }
        Previous { repo, engine, cluster: cluster.to_owned(), read: Mutex::new(read), reader: OnceLock::new() }
    }

    /// The snapshots that a backup most likely stands on: what lies under them is not condemned while its session is open.
    pub fn bases(&self) -> Vec<SnapshotId> {
        let mut ids: Vec<String> = self.newest().iter().map(|of| of.id.clone()).collect();
        ids.extend(self.complete().map(|complete| complete.of.id.clone()));
        if !self.can_read() {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            ids.extend(read.shards.values().map(|earlier| earlier.of.id.clone()));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| Some(self.repo.find_snapshot(&id).ok()?.id)).collect()
    }

    /// Whether their trees can be read.
    pub fn can_read(&self) -> bool {
        !self.repo.ring().read.is_empty()
    }

    /// The newest snapshot of the cluster.
    pub fn newest(&self) -> Option<Arc<Of>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        while read.newest.is_none() && self.read_on(&mut read) {}
        read.newest.clone()
    }

    /// The newest complete one.
    pub fn complete(&self) -> Option<Arc<Complete>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        while read.complete.is_none() && self.read_on(&mut read) {}
        read.complete.clone()
    }

    /// What their trees are read from.
    pub fn chunks(&self) -> Result<&Reader> {
        if self.reader.get().is_none() {
            // Who comes second finds it set, and takes the first one's.
            let _ = self.reader.set(self.repo.reader()?);
        }
        self.reader.get().ok_or_else(|| Error::damaged("reader", "was made and is gone"))
    }

    /// The shard with the database's id `id`, of the newest snapshot that has it.
    pub fn newest_shard(&self, id: &str) -> Option<Earlier> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        while !read.newest_shards.contains_key(id) && self.read_on(&mut read) {}
        read.newest_shards.get(id).cloned()
    }

    /// The shard with the database's id `id`: of the newest complete snapshot that has it, else of the newest.
    pub fn shard(&self, id: &str) -> Option<Earlier> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        while read.shards.get(id).is_none_or(|found| !found.of.complete) && self.read_on(&mut read) {}
        read.shards.get(id).cloned()
    }

    /// Which snapshots could not be read, and why.
    pub fn passed_over(&self) -> Vec<String> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).passed_over.clone()
    }

    /// Reads one more snapshot; `false` if there is none.
    fn read_on(&self, read: &mut Read) -> bool {
        if read.count == READ_AT_MOST {
            return false;
        }
        let Some(info) = read.ahead.pop() else { return false };
        match snapshot::read(self.repo, &info.id) {
            Ok(s) if s.engine == self.engine && s.cluster == self.cluster => read.take(&info, s),
            Ok(_) => {}
            Err(e) => {
                let (subject, message) = (e.subject(), e.message());
                read.passed_over.push(format!("an earlier snapshot was passed over: {subject}: {message}"));
            }
        }
        true
    }
}

impl Read {
    /// What the machine's state says in place of the snapshots.
    fn remember(&mut self, repo: &Repo, engine: &str, cluster: &str, state: Option<&State<'_>>) {
        let any = !std::mem::take(&mut self.ahead).is_empty();
        let found = match state.map(|state| state.read(engine, cluster)) {
            Some(Ok(found)) => found,
            Some(Err(e)) => Found { cluster: None, note: Some(format!("cannot be read: {e}")) },
            None => Found { cluster: None, note: Some("has no place: set XDG_STATE_HOME".to_owned()) },
        };
        let Some(kept) = found.cluster else {
            self.passed_over.extend(found.note.filter(|_| any).map(|why| unread(&why)));
            return;
        };
        self.passed_over.extend(found.note);
        let of = |night: &Night| {
            let Night { since, cut, complete, .. } = *night;
            Arc::new(Of { id: night.id(repo), since, cut, complete })
        };
        self.newest = Some(of(&kept.newest));
        self.complete = kept.complete.map(|(night, shards)| Arc::new(Complete { of: of(&night), shards }));
        let shards = kept.shards.into_iter();
        self.shards =
            shards.map(|(id, kept)| (id, Earlier { of: of(&kept.of), shard: Arc::new(kept.shard) })).collect();
        self.newest_shards = self.shards.clone();
    }

    fn take(&mut self, info: &SnapshotInfo, s: Snapshot) {
        self.count += 1;
        let of = Arc::new(Of { id: info.id.to_string(), since: s.window.0, cut: s.cut.seconds, complete: s.complete });
        if self.complete.is_none() && s.complete {
            let shards = s.shards.iter().map(|shard| (shard.id.clone(), shard.name.clone())).collect();
            self.complete = Some(Arc::new(Complete { of: of.clone(), shards }));
        }
        for shard in s.shards {
            let earlier = Earlier { of: of.clone(), shard: Arc::new(shard) };
            let shard = &earlier.shard;
            self.newest_shards.entry(shard.id.clone()).or_insert_with(|| earlier.clone());
            if self.shards.get(&shard.id).is_none_or(|known| !known.of.complete && of.complete) {
                self.shards.insert(shard.id.clone(), earlier);
            }
        }
        self.newest.get_or_insert(of);
    }
}
