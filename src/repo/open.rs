//! Making a repository and opening one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::credential::{Credential, KeyRing, PasswordCost, Unlock};
use repo_format::id::{CredentialId, ObjectHash, RepoId, SessionId};
use repo_format::key::{ContentSecret, RepoKeys, SignKey};
use repo_format::log::{Body, Roles};
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind};
use zeroize::Zeroizing;

use super::cache::Cache;
use super::log::Log;
use super::{Core, Repo, world};
use crate::error::{Error, Kind, Result};
use crate::store::probe::{self, Verdict};
use crate::store::retry::Retry;
use crate::store::watched::Watched;
use crate::store::{Store, read_if_exists};

/// What is chosen when a repository is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct InitOptions {
    /// What the password's derivation costs.
    pub cost: PasswordCost,
    /// Sizes other than the format's defaults.
    pub sizes: Option<Sizes>,
}

/// Sizes fixed for the life of a repository, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Mean length of a data chunk.
    pub cut_average: u32,
    /// Plaintext at which a frame is closed.
    pub frame_target: u32,
    /// Size at which a pack is closed.
    pub pack_target: u32,
}

/// The store with retries, and what counts its requests.
type Stores = (Arc<dyn Store>, Arc<Watched<Arc<dyn Store>>>);

fn wrap(store: Arc<dyn Store>) -> Stores {
    let watched = Arc::new(Watched::new(store));
    (Arc::new(Retry::new(watched.clone())), watched)
}

impl Repo {
    /// Makes a repository in an empty store, with one credential that holds every key set.
    ///
    /// Errors: [`Kind::AlreadyExists`] where there is one; what the store says.
    pub fn init(store: Arc<dyn Store>, unlock: Unlock<'_>, cache: Option<&Path>, options: InitOptions) -> Result<Repo> {
        let (store, watched) = wrap(store);
        let place = store.place();
        let there = || Error::new(Kind::AlreadyExists, &place, "there is a repository here already");
        if read_if_exists(&*store, &Name::Config.to_string())?.is_some() {
            return Err(there());
        }
        let atomic = race(&*watched)? == Verdict::OneWinner;
        let (ring, config) = new_keys(atomic, options.sizes)?;
        let (salt, nonce) = (world::random()?, world::random()?);
        let (id, credential) = Credential::seal(&ring, unlock, options.cost, &salt, &nonce)?;
        store.create(&Name::Key(id).to_string(), &credential)?;
        let admin = ring.admin_key.as_ref().ok_or_else(there)?;
        let bytes = config.encode(admin)?;
        // From here on there is a repository. Whoever creates the configuration first has made it.
        store.create(&Name::Config.to_string(), &bytes).map_err(|e| match e.kind() {
            Kind::AlreadyExists => there(),
            _ => e,
        })?;
        let config_hash = ObjectHash::of(&bytes);
        let cache = cache.map(Cache::new);
        remember(cache.as_ref(), &place, &ring, &id, &bytes);
        let log = Log::read(store.clone(), ring.repo_id, config_hash, &config, None)?;
        finish(Parts { store, watched, ring, config, config_hash, log, seen: None }, cache.as_ref())
    }

    /// Opens a repository. With a cache directory that knows it, that takes three small reads.
    ///
    /// Errors: [`Kind::NoRepository`]; [`Kind::Denied`] where nothing there is opened by `unlock`;
    /// [`Kind::Unsupported`] for a newer version; [`Kind::Damaged`].
    pub fn open(store: Arc<dyn Store>, unlock: Unlock<'_>, cache: Option<&Path>) -> Result<Repo> {
        let (store, watched) = wrap(store);
        let cache = cache.map(Cache::new);
        let known = cache.as_ref().map(|cache| open_known(&store, &watched, unlock, cache));
        if let Some(repo) = known.transpose()?.flatten() {
            return Ok(repo);
        }
        let name = Name::Config.to_string();
        let Some(bytes) = read_if_exists(&*store, &name)? else { return Err(no_repository(&*store)?) };
        let (config_hash, config) = Config::parse(&bytes).map_err(|e| newer(e, &name))?;
        let (id, ring) = unlock_any(&*store, unlock, &config)?;
        remember(cache.as_ref(), &store.place(), &ring, &id, &bytes);
        let own = ring.writer.as_ref().map(SignKey::id);
        let seen = cache.as_ref().and_then(|c| c.repo(&ring.repo_id, &store.place()).state(&config, &ring.repo));
        let n = seen.as_ref().map(State::n);
        let log = match seen {
            Some(seen) => Log::resume(store.clone(), ring.repo_id, seen)?,
            None => Log::read(store.clone(), ring.repo_id, config_hash, &config, own)?,
        };
        finish(Parts { store, watched, ring, config, config_hash, log, seen: n }, cache.as_ref())
    }
}

/// Opens by what the cache remembers of this place. `None` where that no longer fits, and the long way must be taken.
fn open_known(
    store: &Arc<dyn Store>,
    watched: &Arc<Watched<Arc<dyn Store>>>,
    unlock: Unlock<'_>,
    cache: &Cache,
) -> Result<Option<Repo>> {
    let Some((repo, id)) = cache.place(&store.place()) else { return Ok(None) };
    // Read from the store each time: a credential that was removed opens nothing any more.
    let Some(bytes) = read_if_exists(&**store, &Name::Key(id).to_string())? else { return Ok(None) };
    let Ok(ring) = Credential::parse(&id, &bytes).and_then(|c| c.open(unlock)) else { return Ok(None) };
    let repo_cache = cache.repo(&repo, &store.place());
    let Some((config_hash, config)) = repo_cache.config(&ring) else { return Ok(None) };
    let Some(state) = repo_cache.state(&config, &ring.repo) else { return Ok(None) };
    let seen = Some(state.n());
    let log = Log::resume(store.clone(), ring.repo_id, state)?;
    let (store, watched) = (store.clone(), watched.clone());
    finish(Parts { store, watched, ring, config, config_hash, log, seen }, Some(cache)).map(Some)
}

/// Without retries below, which would hide who won; so a race that was disturbed is run again, for other names.
fn race(store: &dyn Store) -> Result<Verdict> {
    let mut last = None;
    for _ in 0..4 {
        let tag = SessionId(world::random()?);
        match probe::race(store, &format!("probe/{tag}")) {
            Err(e) if e.kind() == Kind::Io => last = Some(e),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::new(Kind::Io, store.place(), "cannot be written to")))
}

/// There is no configuration: was there never one, or is it lost?
fn no_repository(store: &dyn Store) -> Result<Error> {
    let mut entries = 0;
    store.list(ObjectKind::Log.word(), &mut |_, _| {
        entries += 1;
        Ok(())
    })?;
    Ok(match entries {
        0 => Error::new(Kind::NoRepository, store.place(), "there is no repository here")
            .hint("`onefold init` makes one; or is the path wrong, or a disk not mounted?"),
        _ => Error::damaged(Name::Config, "is missing, though there is a log")
            .hint("copy it from another copy of the store, or from the cache directory of a machine that used it"),
    })
}

struct Parts {
    store: Arc<dyn Store>,
    watched: Arc<Watched<Arc<dyn Store>>>,
    ring: KeyRing,
    config: Config,
    config_hash: ObjectHash,
    log: Log,
    /// The last entry that the cache knew.
    seen: Option<u64>,
}

fn finish(parts: Parts, cache: Option<&Cache>) -> Result<Repo> {
    let Parts { store, watched, ring, config, config_hash, log, seen } = parts;
    let cache = cache.map(|c| c.repo(&ring.repo_id, &store.place()));
    let core = Core {
        store,
        watched,
        ring,
        config,
        config_hash,
        log,
        cache,
        index: RwLock::default(),
        content: Mutex::new(HashMap::new()),
    };
    core.list_first_writer()?;
    let state = core.log.state();
    if seen != Some(state.n()) {
        core.remember(&state);
    }
    Ok(Repo { core: Arc::new(core) })
}

impl Core {
    /// The first entry lists the first writer. Where `init` was interrupted before it, the administrator writes it now.
    fn list_first_writer(&self) -> Result<()> {
        if self.log.state().n() > 0 {
            return Ok(());
        }
        let (Some(admin), Some(writer)) = (&self.ring.admin_key, &self.ring.writer) else { return Ok(()) };
        let first = self.log.append(admin, &mut |state| {
            // Another process may have been faster.
            if state.n() > 0 {
                return Err(Error::new(Kind::AlreadyExists, "log", "has begun"));
            }
            Ok(Body::Writers { writers: vec![(writer.id(), Roles::WRITE_VOUCH)] })
        });
        match first {
            Err(e) if e.kind() == Kind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }
}

fn new_keys(atomic: bool, sizes: Option<Sizes>) -> Result<(KeyRing, Config)> {
    let secret = Zeroizing::new(world::random::<32>()?);
    let content = ContentSecret::from_bytes(1, world::random()?);
    let admin = SignKey::from_bytes(&world::random()?);
    let writer = SignKey::from_bytes(&world::random()?);
    let repo_id = RepoId(world::random()?);
    let mut config = Config::new(repo_id, content.public(), admin.id(), atomic);
    if let Some(sizes) = sizes {
        config.cut_average = sizes.cut_average;
        config.frame_target = sizes.frame_target;
        config.pack_target = sizes.pack_target;
    }
    let ring = KeyRing {
        repo_id,
        admin: admin.id(),
        repo: RepoKeys::derive(&secret),
        writer: Some(writer),
        read: vec![content],
        admin_key: Some(admin),
    };
    Ok((ring, config))
}

/// Tries every credential of the repository.
fn unlock_any(store: &dyn Store, unlock: Unlock<'_>, config: &Config) -> Result<(CredentialId, KeyRing)> {
    let mut ids = Vec::new();
    store.list(ObjectKind::Key.word(), &mut |name, _| {
        if let Ok(Name::Key(id)) = Name::parse(name) {
            ids.push(id);
        }
        Ok(())
    })?;
    if ids.is_empty() {
        return Err(
            Error::damaged(store.place(), "holds no credential").hint("copy `key/` from another copy of the store")
        );
    }
    let mut worst: Option<Error> = None;
    for id in ids {
        let name = Name::Key(id).to_string();
        let Some(bytes) = read_if_exists(store, &name)? else { continue };
        match Credential::parse(&id, &bytes).and_then(|c| c.open(unlock)) {
            // Another repository's, or left by an interrupted `init`.
            Ok(ring) if ring.repo_id != config.repo || ring.admin != config.admin => {}
            Ok(ring) => return Ok((id, ring)),
            Err(FormatError::WrongKey(_)) => {}
            Err(e) => worst = Some(newer(e, &name)),
        }
    }
    let denied = || Error::new(Kind::Denied, store.place(), "wrong password or key file").hint(WRONG_PASSWORD);
    Err(worst.unwrap_or_else(denied))
}

const WRONG_PASSWORD: &str = "no credential of this repository is opened by it; nothing was changed";

fn newer(e: FormatError, name: &str) -> Error {
    let hint = matches!(e, FormatError::Unsupported(_));
    let error = Error::from(e).within(name);
    if hint { error.hint("written by a newer version of onefold: use that or a later one") } else { error }
}

/// Best effort: a full or read-only cache directory must not stop work.
fn remember(cache: Option<&Cache>, place: &str, ring: &KeyRing, id: &CredentialId, config: &[u8]) {
    if let Some(cache) = cache {
        let _ = cache.set_place(place, &ring.repo_id, id);
        let _ = cache.repo(&ring.repo_id, place).set_config(config);
    }
}
