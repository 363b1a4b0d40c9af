//! What a machine that only writes keeps of its last backups, for it cannot read them in the store: names, columns, sizes of leaves,
//! roots and counts of each shard, and where the log was. Sealed under the writer's key, so that only this credential opens it.
//!
//! ```text
//! DIR/backup/<repository>/<place>-<writer>        the state
//! DIR/backup/<repository>/<place>-<writer>.new    that of a backup which is about to commit; renamed once the log has the entry
//! DIR/backup/<repository>/<place>-<writer>.lock   held while one of them is read or replaced
//! ```
//! A backup does without: its state is then said to be lost, and nothing is compared.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use repo_format::id::{ObjectHash, SessionId, WriterId};
use repo_format::key::SignKey;
use repo_format::machine;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, world};
use crate::snapshot::{Shard, Snapshot};
use crate::whole::{beside, put_aside, take_place};

/// A state is no longer than this, bytes: twice what a snapshot can say.
const LENGTH_MAX: u64 = 64 << 20;
/// After so many backups without it a shard is forgotten, as in the store no older snapshots are looked at.
const ABSENT_MAX: u32 = 64;

/// Says of the sealed bytes what they are.
const OF: &[u8] = b"backup";

/// Everything in a state. Backups of several clusters by one credential share it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The session that committed last.
    last: String,
    /// Number and hash of the log's last entry before that.
    head: (u64, String),
    /// By engine and name.
    clusters: Vec<Cluster>,
}

/// What is kept of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    engine: String,
    cluster: String,
    /// The last backup.
    pub newest: Night,
    /// The last complete one, and the names of its shards by the database's id.
    pub complete: Option<(Night, BTreeMap<String, String>)>,
    /// By the database's id.
    pub shards: BTreeMap<String, KeptShard>,
}

/// A backup, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Night {
    /// The session that committed it.
    session: String,
    /// Its first capture of a node, seconds since 1970.
    pub since: u64,
    /// Its cut, seconds since 1970.
    pub cut: u32,
    /// Whether nothing was missing in it.
    pub complete: bool,
}

/// A shard as the newest complete backup has it, or the newest one where none is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptShard {
    /// Which backup.
    pub of: Night,
    /// What it says of the shard.
    pub shard: Shard,
    /// Backups since that did not have the shard.
    absent: u32,
}

impl Night {
    /// The snapshot that it made; where that was forgotten since, the session.
    pub fn id(&self, repo: &Repo) -> String {
        let state = repo.state();
        let made = state.snapshots().iter().find(|(_, committed)| committed.session.to_string() == self.session);
        made.map_or_else(
            || format!("of session {}, which was forgotten since,", self.session),
            |(id, _)| id.to_string(),
        )
    }
}

impl Cluster {
    fn take(&mut self, night: &Night, snapshot: &Snapshot) {
        for kept in self.shards.values_mut() {
            kept.absent += 1;
        }
        for shard in &snapshot.shards {
            let known = self.shards.get_mut(&shard.id);
            match known {
                // The complete one stays what is compared with.
                Some(known) if known.of.complete && !night.complete => known.absent = 0,
                _ => {
                    let kept = KeptShard { of: night.clone(), shard: shard.clone(), absent: 0 };
                    self.shards.insert(shard.id.clone(), kept);
                }
            }
        }
        self.shards.retain(|_, kept| kept.absent <= ABSENT_MAX);
        if night.complete {
            let names = snapshot.shards.iter().map(|shard| (shard.id.clone(), shard.name.clone())).collect();
            self.complete = Some((night.clone(), names));
        }
        self.newest = night.clone();
    }
}

/// What was found where the state lies.
#[derive(Debug)]
pub struct Found {
    /// What is kept of the cluster, as far as it can be relied on.
    pub cluster: Option<Cluster>,
    /// Why there is none, or what is odd about it.
    pub note: Option<String>,
}

/// Where the state of one credential in one repository lies.
pub struct State<'r> {
    repo: &'r Repo,
    key: &'r SignKey,
    path: PathBuf,
}

/// Where below `dir` what a machine keeps of one credential's backups in one repository lies.
pub fn of_credential(repo: &Repo, key: &SignKey, dir: &Path) -> PathBuf {
    let place = ObjectHash::of(repo.store().place().as_bytes());
    let writer = key.id().to_string();
    let name = format!("{place:?}-{}", writer.get(..16).unwrap_or(&writer));
    dir.join(repo.ring().repo_id.to_string()).join(name)
}

/// A state that was written aside. Dropped without [`Aside::stands`] it waits for the next backup, which sees in the log whether
/// this one committed.
pub struct Aside<'s> {
    path: &'s Path,
    _lock: File,
}

impl<'r> State<'r> {
    /// That of the credential that opened `repo`, below `dir`. `None` where it reads, and needs none, or does not write.
    pub fn of(repo: &'r Repo, dir: Option<&Path>) -> Option<State<'r>> {
        let key = repo.ring().writer.as_ref().filter(|_| repo.ring().read.is_empty())?;
        Some(State { repo, key, path: of_credential(repo, key, &dir?.join("backup")) })
    }

    /// What is kept of a cluster.
    pub fn read(&self, engine: &str, cluster: &str) -> Result<Found> {
        if !self.path.parent().is_some_and(Path::exists) {
            return Ok(Found::none(format!("is not there: {}", self.path.display())));
        }
        let _lock = self.lock()?;
        self.settle()?;
        let kept = match self.open(&self.path) {
            Ok(Some(kept)) => kept,
            Ok(None) => return Ok(Found::none(format!("is not there: {}", self.path.display()))),
            Err(e) => return Ok(Found::none(format!("cannot be used: {}: {}", e.subject(), e.message()))),
        };
        if let Some(odd) = self.is_of_another_history(&kept)? {
            return Ok(Found::none(odd));
        }
        let older = self.older(&kept);
        let of = kept.clusters.into_iter().find(|kept| kept.engine == engine && kept.cluster == cluster);
        let note = older.map(|id| match &of {
            Some(_) => format!(
                "this machine's state of earlier backups does not know of snapshot {id} of this credential, so an older one is \
                 compared with: does another machine use this credential, or was the state put back? {}",
                self.path.display()
            ),
            None => format!("does not know of snapshot {id} of this credential: {}", self.path.display()),
        });
        Ok(Found { cluster: of, note })
    }

    /// Writes aside what the state will be once `session` has committed `snapshot`.
    pub fn write_aside(&self, session: &SessionId, snapshot: &Snapshot) -> Result<Aside<'_>> {
        let failed = |e| Error::io(self.path.display(), e);
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let lock = self.lock()?;
        self.settle()?;
        // One that cannot be used is replaced.
        let mut kept = self.open(&self.path).ok().flatten().unwrap_or_default();
        let state = self.repo.state();
        kept.last = session.to_string();
        kept.head = (state.n(), state.head().to_string());
        let night = Night {
            session: session.to_string(),
            since: snapshot.window.0,
            cut: snapshot.cut.seconds,
            complete: snapshot.complete,
        };
        let of = kept.clusters.iter_mut().find(|c| c.engine == snapshot.engine && c.cluster == snapshot.cluster);
        match of {
            Some(cluster) => cluster.take(&night, snapshot),
            None => {
                let mut cluster = Cluster {
                    engine: snapshot.engine.clone(),
                    cluster: snapshot.cluster.clone(),
                    newest: night.clone(),
                    complete: None,
                    shards: BTreeMap::new(),
                };
                cluster.take(&night, snapshot);
                kept.clusters.push(cluster);
            }
        }
        let plain = serde_json::to_vec(&kept).map_err(|e| Error::damaged("state", e))?;
        let bytes = machine::seal(self.key, &self.repo.ring().repo_id, OF, &world::random()?, &plain)?;
        if bytes.len() as u64 > LENGTH_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                self.path.display(),
                format!("would be longer than {LENGTH_MAX} bytes"),
            ));
        }
        put_aside(&self.path, &bytes).map_err(failed)?;
        Ok(Aside { path: &self.path, _lock: lock })
    }

    /// Waits for others that are at it.
    fn lock(&self) -> Result<File> {
        let path = beside(&self.path, "lock");
        let failed = |e| Error::io(path.display(), e);
        let options = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = options.map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// A backup that wrote its state aside and died: where the log has its commit, the state takes its place. The caller holds the lock.
    fn settle(&self) -> Result<()> {
        let new = beside(&self.path, "new");
        let failed = |e| Error::io(new.display(), e);
        let committed = match self.open(&new) {
            Ok(None) => return Ok(()),
            Ok(Some(kept)) => self.own_sessions().contains(&kept.last),
            // Torn by a loss of power.
            Err(_) => false,
        };
        match committed {
            true => take_place(&self.path).map_err(failed),
            false => fs::remove_file(&new).map_err(failed),
        }
    }

    /// The sessions of this credential whose snapshots are on the list.
    fn own_sessions(&self) -> Vec<String> {
        let (state, own) = (self.repo.state(), self.key.id());
        let own = state.snapshots().values().filter(|committed| committed.writer == own);
        own.map(|committed| committed.session.to_string()).collect()
    }

    /// `None` where there is no file. Errors: it is too long, changed, of another credential, repository or version.
    fn open(&self, path: &Path) -> Result<Option<Kept>> {
        let failed = |e| Error::io(path.display(), e);
        let file = match File::open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(LENGTH_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        let damaged = |what: &str| Error::damaged(path.display(), what);
        if bytes.len() as u64 > LENGTH_MAX {
            return Err(damaged("is too long for a state"));
        }
        let plain = machine::open(self.key, &self.repo.ring().repo_id, OF, &bytes)
            .map_err(|e| damaged(&format!("was changed, or is of another credential or version: {e}")))?;
        serde_json::from_slice(&plain).map(Some).map_err(|e| damaged(&format!("is not understood: {e}")))
    }

    /// The log that the state knows is not this one, or is not that far.
    fn is_of_another_history(&self, kept: &Kept) -> Result<Option<String>> {
        let (n, hash) = (kept.head.0, &kept.head.1);
        let known = self.repo.state().n();
        let is = if n > known { Some(false) } else { self.repo.is_entry(n, hash)? };
        Ok((is == Some(false)).then(|| {
            format!(
                "is of another history of the log, which had entry {n} as {}: was the repository put back, or copied? {}",
                hash.get(..12).unwrap_or(hash),
                self.path.display()
            )
        }))
    }

    /// The last snapshot of this credential, where a later session made it than the last that the state knows.
    fn older(&self, kept: &Kept) -> Option<String> {
        let own: WriterId = self.key.id();
        let state = self.repo.state();
        let newest = state.snapshots().iter().filter(|(_, committed)| committed.writer == own);
        let (id, committed) = newest.max_by_key(|(_, committed)| committed.n)?;
        let last = SessionId::from_hex(&kept.last).ok();
        let later = last.is_none_or(|last| committed.session.opened() > last.opened());
        later.then(|| id.to_string())
    }
}

impl Found {
    fn none(why: String) -> Found {
        Found { cluster: None, note: Some(why) }
    }
}

impl Aside<'_> {
    /// The backup has committed.
    pub fn stands(self) -> Result<()> {
        take_place(self.path).map_err(|e| Error::io(self.path.display(), e))
    }
}
