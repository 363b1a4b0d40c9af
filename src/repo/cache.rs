//! What this machine remembers of a repository, so that opening it again takes four small requests.
//!
//! ```text
//! DIR/places/<hash of the place>   which repository is there, and which credential opened it
//! DIR/<repository>/config          the configuration
//! DIR/<repository>/state-<place>   the log's state at the last entry seen there, signed under a key derived from the
//!                                  index key; a copy of the repository elsewhere may be older
//! DIR/<repository>/sessions-<place>/<id>  locked while the process that opened the session lives
//! DIR/<repository>/sightings-<place>  what was seen missing or damaged there, see `sightings`
//! DIR/<repository>/verified-<place>  when its packs were last read and found whole, see `verified`
//! DIR/<repository>/pruned-<place>  the number of the last entry of the log when what nobody needs was taken away
//! DIR/<repository>/turn            how often a part of the packs was looked at
//! DIR/<repository>/kept/           frames of metadata, see `kept`; of packs named by hashes, so of no place
//! DIR/<repository>/index-<place>/  RocksDB, see `index_rocksdb`
//! ```
//! A copy of a repository has the same repository and, once both have gone on, may have sessions of the same names with
//! other packs. So whatever is remembered of a store is remembered by its place.
//!
//! No secret is kept here, and nothing here is believed without a signature. What does not verify is not there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use repo_format::config::Config;
use repo_format::credential::KeyRing;
use repo_format::id::{CredentialId, ObjectHash, RepoId, SessionId};
use repo_format::key::{RepoKeys, SignKey};
use repo_format::log_state::State;
use repo_format::names::Name;
use rustix::fs::{FlockOperation, flock};

use super::sightings::Sightings;
use super::verified::Verified;
use super::world;
use crate::error::{Error, Result};

/// BLAKE3 context of the key that signs the cached state. Not of the format: it never leaves this machine.
const STATE_KEY: &str = "onefold machine cache state key v1";

/// The cache of one machine, for all its repositories.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// The cache of one repository.
#[derive(Debug, Clone)]
pub struct RepoCache {
    dir: PathBuf,
    state: PathBuf,
    sightings: PathBuf,
    pruned: PathBuf,
    verified: PathBuf,
    sessions: PathBuf,
    index: PathBuf,
}

impl Cache {
    /// In `dir`, which is made when something is first put there.
    pub fn new(dir: &Path) -> Cache {
        Cache { dir: dir.to_path_buf() }
    }

    /// The repository and the credential that were last opened at a place.
    pub fn place(&self, place: &str) -> Option<(RepoId, CredentialId)> {
        let text = fs::read_to_string(self.place_path(place)).ok()?;
        let (repo, credential) = text.trim_end().split_once(' ')?;
        Some((RepoId::from_hex(repo).ok()?, CredentialId::from_hex(credential).ok()?))
    }

    /// Remembers what was opened at a place.
    pub fn set_place(&self, place: &str, repo: &RepoId, credential: &CredentialId) -> Result<()> {
        replace(&self.place_path(place), format!("{repo} {credential}\n").as_bytes())
    }

    /// The cache of one repository, opened at one place.
    pub fn repo(&self, repo: &RepoId, place: &str) -> RepoCache {
        let dir = self.dir.join(repo.to_string());
        let of_place = |what: &str| dir.join(format!("{what}-{:?}", ObjectHash::of(place.as_bytes())));
        let (sessions, index) = (of_place("sessions"), of_place("index"));
        let (sightings, verified) = (of_place("sightings"), of_place("verified"));
        let pruned = of_place("pruned");
        RepoCache { state: of_place("state"), sightings, pruned, verified, sessions, index, dir }
    }

    fn place_path(&self, place: &str) -> PathBuf {
        self.dir.join("places").join(ObjectHash::of(place.as_bytes()).to_string())
    }
}

impl RepoCache {
    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the index is.
    pub fn index_dir(&self) -> PathBuf {
        self.index.clone()
    }

    /// Where sealed bytes are kept.
    pub fn kept_dir(&self) -> PathBuf {
        self.dir.join("kept")
    }

    /// The number of the last entry of the log when what nobody needs was last taken away at this place.
    pub fn pruned(&self) -> Option<u64> {
        fs::read_to_string(&self.pruned).ok()?.trim_end().parse().ok()
    }

    /// Remembers it.
    pub fn set_pruned(&self, n: u64) -> Result<()> {
        replace(&self.pruned, format!("{n}\n").as_bytes())
    }

    /// What was seen missing or damaged at this place.
    pub fn sightings(&self) -> Sightings {
        fs::read(&self.sightings).map(|bytes| Sightings::decode(&bytes)).unwrap_or_default()
    }

    /// Remembers them.
    pub fn set_sightings(&self, sightings: &Sightings) -> Result<()> {
        replace(&self.sightings, &sightings.encode())
    }

    /// When the packs at this place were last found whole.
    pub fn verified(&self, now_ms: u64) -> Verified {
        fs::read(&self.verified).map(|bytes| Verified::decode(&bytes, now_ms)).unwrap_or_default()
    }

    /// Remembers it.
    pub fn set_verified(&self, verified: &Verified) -> Result<()> {
        replace(&self.verified, &verified.encode())
    }

    /// A number that is one more each time. Where it cannot be kept, the same part is looked at again.
    pub fn turn(&self) -> u64 {
        let path = self.dir.join("turn");
        let turn = fs::read_to_string(&path).ok().and_then(|text| text.trim_end().parse::<u64>().ok()).unwrap_or(0);
        let _ = replace(&path, format!("{}\n", turn.wrapping_add(1)).as_bytes());
        turn
    }

    /// The configuration and its object, if its signature is that of the administrator whom the ring names.
    pub fn config(&self, ring: &KeyRing) -> Option<(Vec<u8>, ObjectHash, Config)> {
        let bytes = fs::read(self.dir.join("config")).ok()?;
        let (hash, config) = Config::parse(&bytes).ok()?;
        (config.repo == ring.repo_id && config.admin == ring.admin).then_some((bytes, hash, config))
    }

    /// Remembers the configuration.
    pub fn set_config(&self, bytes: &[u8]) -> Result<()> {
        replace(&self.dir.join("config"), bytes)
    }

    /// The state, if it is whole and ours.
    pub fn state(&self, config: &Config, keys: &RepoKeys) -> Option<State> {
        let bytes = fs::read(&self.state).ok()?;
        let (n, object) = bytes.split_first_chunk::<8>()?;
        let name = Name::Checkpoint(u64::from_le_bytes(*n), ObjectHash::of(object));
        let own = state_key(keys).id();
        State::from_checkpoint(&name, object, config, Some(&own)).ok()
    }

    /// Remembers the state.
    pub fn set_state(&self, repo: &RepoId, keys: &RepoKeys, state: &State) -> Result<()> {
        let (_, object) = state.to_checkpoint(repo, &state_key(keys))?;
        let mut bytes = state.n().to_le_bytes().to_vec();
        bytes.extend_from_slice(&object);
        replace(&self.state, &bytes)
    }

    /// Says that this process works on a session, as long as the file lives.
    pub fn lock_session(&self, session: &SessionId) -> Result<File> {
        let path = self.session_path(session);
        let wrong = |e| Error::io(path.display(), e);
        fs::create_dir_all(&self.sessions).map_err(wrong)?;
        let file = File::create(&path).map_err(wrong)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| wrong(e.into()))?;
        Ok(file)
    }

    /// Whether the process that opened a session lives; `None` where that was not on this machine.
    pub fn is_alive(&self, session: &SessionId) -> Option<bool> {
        let file = File::open(self.session_path(session)).ok()?;
        Some(flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
    }

    /// Forgets a session that has ended.
    pub fn forget_session(&self, session: &SessionId) {
        // What stays is a small file of a session that nobody asks about any more.
        let _ = fs::remove_file(self.session_path(session));
    }

    fn session_path(&self, session: &SessionId) -> PathBuf {
        self.sessions.join(session.to_string())
    }
}

fn state_key(keys: &RepoKeys) -> SignKey {
    SignKey::from_bytes(&blake3::derive_key(STATE_KEY, keys.index.expose()))
}

/// Replaces a file as a whole. Not synced: what a crash tears does not verify and is made anew.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let wrong = |e| Error::io(path.display(), e);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(wrong)?;
    }
    let tmp = path.with_extension(format!("tmp{:016x}", u64::from_le_bytes(world::random()?)));
    fs::write(&tmp, bytes).and_then(|()| fs::rename(&tmp, path)).map_err(|e| {
        let _ = fs::remove_file(&tmp);
        wrong(e)
    })
}
