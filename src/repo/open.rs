//! Making a repository and opening one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};

use repo_format::FormatError;
use repo_format::config::Config;
use repo_format::credential::{Credential, KeyRing, Opened, PasswordCost, Unlock};
use repo_format::id::{CredentialId, ObjectHash, SessionId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Listed, Roles};
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind};
use repo_format::recipient::Identity;

use super::cache::Cache;
use super::fresh::{Like, first_lock, new_keys};
use super::kept::{KEPT_BYTES, Kept};
use super::log::{Log, Start};
use super::log_store::{self, NEEDS_LOG_STORE, SEVERAL};
use super::{Core, Repo, anew, keys, may_write, twice, world};
use crate::error::{Error, Kind, Result};
use crate::store::probe::{self, Verdict};
use crate::store::retry::Retry;
use crate::store::watched::Watched;
use crate::store::with_log::PROBE;
use crate::store::{Store, create_or_same, read_if_exists};

/// What is chosen when a repository is made.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// What the password's derivation costs.
    pub cost: PasswordCost,
    /// Sizes other than the format's defaults.
    pub sizes: Option<Sizes>,
    /// What it shares with another repository.
    pub like: Option<Like>,
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
        // With a log store both names lie in different stores, and either may be taken.
        for name in [Name::Config.to_string(), Name::Config.copy()] {
            if read_if_exists(&*store, &name)?.is_some() {
                return Err(there());
            }
        }
        if race(&*watched)? == Verdict::SeveralWinners {
            let at = store.log_place().unwrap_or(place);
            return Err(Error::new(Kind::Unsupported, at, SEVERAL).hint(NEEDS_LOG_STORE));
        }
        let (ring, config) = new_keys(store.log_place().is_some(), &options)?;
        let (by, identity) = first_lock(unlock, options.cost)?;
        let made = Credential::seal(&ring, by, world::random()?, &world::random()?)?;
        let id = made.id;
        let own = made.own.or(identity).ok_or_else(there)?;
        twice::create(&*store, &Name::Key(id), made.bytes)?;
        let admin = ring.admin_key.as_ref().ok_or_else(there)?;
        let bytes = config.encode(admin)?;
        // From here on there is a repository. Whoever creates the configuration first has made it.
        store.create(&Name::Config.to_string(), bytes.clone().into()).map_err(|e| match e.kind() {
            Kind::AlreadyExists => there(),
            _ => e,
        })?;
        let cache = cache.map(Cache::new);
        remember(cache.as_ref(), &place, &ring, &id, &bytes);
        let hash = ObjectHash::of(&bytes);
        finish(Parts { store, watched, credential: id, own, ring, config, hash, seen: None }, cache.as_ref())
    }

    /// Opens a repository. With a cache directory that knows it, that takes four small reads.
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
        let Unlocked { id, opened: Opened { ring, own }, bytes, hash, config } =
            unlock_any(&*store, unlock, cache.as_ref())?;
        remember(cache.as_ref(), &store.place(), &ring, &id, &bytes);
        let seen = cache.as_ref().and_then(|c| c.repo(&ring.repo_id, &store.place()).state(&config, &ring.repo));
        finish(Parts { store, watched, credential: id, own, ring, config, hash, seen }, cache.as_ref())
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
    let Ok(Some(found)) = keys::read(&**store, &id) else { return Ok(None) };
    let Ok(Opened { ring, own }) = found.value.open(unlock) else { return Ok(None) };
    let repo_cache = cache.repo(&repo, &store.place());
    let Some((_, hash, config)) = repo_cache.config(&ring) else { return Ok(None) };
    log_store::is_here(&**store, &config, &hash)?;
    mend(&**store, &ring, &Name::Key(id), &found);
    let Some(seen) = repo_cache.state(&config, &ring.repo) else { return Ok(None) };
    let (store, watched) = (store.clone(), watched.clone());
    finish(Parts { store, watched, credential: id, own, ring, config, hash, seen: Some(seen) }, Some(cache)).map(Some)
}

/// Without retries below, which would hide who won; so a race that was disturbed is run again, for other names.
fn race(store: &dyn Store) -> Result<Verdict> {
    let mut last = None;
    for _ in 0..4 {
        let tag = SessionId(world::random()?);
        match probe::race(store, &format!("{PROBE}/{tag}")) {
            Err(e) if e.kind() == Kind::Io => last = Some(e),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::new(Kind::Io, store.place(), "cannot be written to")))
}

/// There is no configuration: was there never one, or is it lost?
fn no_repository(store: &dyn Store) -> Result<Error> {
    let mut entries = 0;
    for folder in [ObjectKind::Log.word(), COPIES] {
        store.list(folder, &mut |name, _| {
            // A credential alone is what an interrupted `init` leaves.
            entries += u64::from(!matches!(Name::parse_copy(name), Ok(Name::Key(_))));
            Ok(())
        })?;
    }
    Ok(match entries {
        0 => Error::new(Kind::NoRepository, store.place(), "there is no repository here")
            .hint("`onefold init` makes one; or is the path wrong, or a disk not mounted?"),
        _ => Error::damaged(Name::Config, "is missing, and so is its second copy, though there is a log")
            .hint(LOST_CONFIG),
    })
}

const LOST_CONFIG: &str = "copy it from another copy of the store, or open the repository on a machine that has used it, or with a credential that holds \
     admin and read";

struct Parts {
    store: Arc<dyn Store>,
    watched: Arc<Watched<Arc<dyn Store>>>,
    /// What opened.
    credential: CredentialId,
    /// Its own secret.
    own: Identity,
    ring: KeyRing,
    config: Config,
    /// Of the configuration's object.
    hash: ObjectHash,
    /// What the cache knew of the log.
    seen: Option<State>,
}

fn finish(parts: Parts, cache: Option<&Cache>) -> Result<Repo> {
    let Parts { store, watched, credential, own: own_secret, ring, config, hash, seen } = parts;
    let known = seen.as_ref().map(State::n);
    let own = ring.writer.as_ref().map(SignKey::id);
    let start = Start { config: config.clone(), hash, own, mends: may_write(&ring) };
    let log = Log::open(store.clone(), start, seen)?;
    let cache = cache.map(|c| c.repo(&ring.repo_id, &store.place()));
    let kept = cache.as_ref().map(|cache| Kept::new(cache.kept_dir(), KEPT_BYTES));
    let core = Core {
        store,
        watched,
        credential,
        own: own_secret,
        ring,
        config,
        config_hash: hash,
        log,
        cache,
        kept,
        remembered: AtomicU64::new(known.unwrap_or(0)),
        index: RwLock::default(),
        content: Mutex::new(HashMap::new()),
    };
    core.list_first_writer()?;
    let state = core.log.state();
    if !core.ring.read.is_empty()
        && let Err(e) = core.secret(state.content().epoch)
    {
        // Who reads hears of it now, not when a disk has died.
        core.log.note(e.within("what is written now cannot be read"));
    }
    if known != Some(state.n()) {
        core.remember(&state);
    }
    Ok(Repo { core: Arc::new(core) })
}

impl Core {
    /// The first entry lists the first writer and the first credential; before it the configuration has its second copy. Where `init` was
    /// interrupted before, the administrator writes both now; but a log is never begun beside what an earlier one has told of.
    fn list_first_writer(&self) -> Result<()> {
        // Entries that cannot be read are not none.
        if self.log.state().n() > 0 || self.log.stopped().is_some() {
            return Ok(());
        }
        for kind in [ObjectKind::Snapshot, ObjectKind::Index, ObjectKind::Pack] {
            if let Some(name) = any_of(&*self.store, kind.word())? {
                // Somebody may have begun it, and written that, while we looked.
                if self.log.catch_up()?.n() > 0 {
                    return Ok(());
                }
                let message = format!("is lost under both its names with all its checkpoints, though {name} is there");
                self.log.stop(Error::damaged(ObjectKind::Log.word(), message).hint(LOST_LOG));
                return Ok(());
            }
        }
        let (Some(admin), Some(writer)) = (&self.ring.admin_key, &self.ring.writer) else { return Ok(()) };
        create_or_same(&*self.store, &Name::Config.copy(), self.config.encode(admin)?)?;
        let first = self.log.append(admin, &mut |state| {
            // Another process may have been faster.
            if state.n() > 0 {
                return Err(Error::new(Kind::AlreadyExists, "log", "has begun"));
            }
            let listed = Listed { sets: self.ring.sets(), public: self.own.recipient() };
            let credentials = vec![(self.credential, listed)];
            Ok(Body::Writers { writers: vec![(writer.id(), Roles::WRITE_VOUCH)], credentials })
        });
        match first {
            Err(e) if e.kind() == Kind::AlreadyExists => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Some object below a folder.
fn any_of(store: &dyn Store, folder: &str) -> Result<Option<String>> {
    let mut any = None;
    let listed = store.list(folder, &mut |name, _| {
        if Name::parse(name).is_err() {
            return Ok(());
        }
        any = Some(name.to_owned());
        // One is enough.
        Err(Error::new(Kind::Interrupted, name, "was found"))
    });
    match any {
        Some(name) => Ok(Some(name)),
        None => listed.map(|()| None),
    }
}

const LOST_LOG: &str = "put `log/` back from another copy of the store; or run `onefold recover`, with admin, on a machine that has used the repository: \
     its cache knows the log";

/// A credential that opened, and the configuration that it anchors.
struct Unlocked {
    id: CredentialId,
    opened: Opened,
    bytes: Vec<u8>,
    hash: ObjectHash,
    config: Config,
}

/// Tries every credential of the repository. Where the configuration is lost or damaged under both its names, this
/// machine's cache may know it, or a credential may hold what it was made of.
fn unlock_any(store: &dyn Store, unlock: Unlock<'_>, cache: Option<&Cache>) -> Result<Unlocked> {
    log_store::is_of_the_mirror(store)?;
    let stored = match twice::read(store, &Name::Config, Config::parse) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(no_repository(store)?),
        Err(e) if e.kind() == Kind::Unsupported => Err(e.hint(NEWER)),
        Err(e) if e.is_of_bytes() => Err(e.hint(LOST_CONFIG)),
        Err(e) => return Err(e),
    };
    let fits = |ring: &KeyRing| match &stored {
        Ok(found) => {
            let (hash, config) = &found.value;
            let ours = ring.repo_id == config.repo && ring.admin == config.admin;
            ours.then(|| (found.bytes.clone(), *hash, config.clone()))
        }
        Err(e) => {
            let remembered = cache.and_then(|c| c.repo(&ring.repo_id, &store.place()).config(ring));
            // What a newer program wrote is not lost.
            let is_lost = e.kind() != Kind::Unsupported;
            remembered.or_else(|| if is_lost { anew::configuration(store, ring) } else { None })
        }
    };
    let unlocked = try_all(store, unlock, &fits);
    if let Ok(Unlocked { config, hash, .. }) = &unlocked {
        // Before anything is written.
        log_store::is_here(store, config, hash)?;
    }
    match (unlocked, &stored) {
        (Ok(unlocked), Ok(found)) => {
            mend(store, &unlocked.opened.ring, &Name::Config, found);
            Ok(unlocked)
        }
        (Ok(unlocked), Err(_)) => {
            // Only where it is missing; under a name that is taken this changes nothing.
            if may_write(&unlocked.opened.ring) {
                let _ = twice::create(store, &Name::Config, unlocked.bytes.clone());
            }
            Ok(unlocked)
        }
        (Err(_), Err(lost)) => Err(lost.again()),
        (Err(e), Ok(_)) => Err(e),
    }
}

/// As long as this fails, the second copy serves.
fn mend<T>(store: &dyn Store, ring: &KeyRing, name: &Name, found: &twice::Found<T>) {
    if may_write(ring) {
        let _ = twice::mend(store, name, found);
    }
}

/// The configuration that belongs to a credential: its object, the hash of that, and what it says.
pub(super) type Anchored = (Vec<u8>, ObjectHash, Config);

fn try_all(store: &dyn Store, unlock: Unlock<'_>, fits: &dyn Fn(&KeyRing) -> Option<Anchored>) -> Result<Unlocked> {
    let ids = keys::ids(store)?;
    if ids.is_empty() {
        return Err(
            Error::damaged(store.place(), "holds no credential").hint("copy `key/` from another copy of the store")
        );
    }
    let mut worst: Option<Error> = None;
    for id in ids {
        let name = Name::Key(id);
        let found = match keys::read(store, &id) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(e) if e.kind() == Kind::Unsupported => {
                worst = Some(e.hint(NEWER));
                continue;
            }
            Err(e) if e.is_of_bytes() => {
                worst = Some(e);
                continue;
            }
            Err(e) => return Err(e),
        };
        match found.value.open(unlock) {
            Ok(opened) => {
                // Otherwise it is another repository's, or left by an interrupted `init`.
                if let Some((bytes, hash, config)) = fits(&opened.ring) {
                    mend(store, &opened.ring, &name, &found);
                    return Ok(Unlocked { id, opened, bytes, hash, config });
                }
            }
            Err(FormatError::WrongKey(_)) => {}
            Err(e) => worst = Some(Error::from(e).within(name)),
        }
    }
    let wrong = match unlock {
        Unlock::Password(_) | Unlock::KeyFile(_) => "wrong password or key file",
        Unlock::Identities(_) => "wrong identity",
    };
    let denied = || Error::new(Kind::Denied, store.place(), wrong).hint(WRONG_PASSWORD);
    Err(worst.unwrap_or_else(denied))
}

const WRONG_PASSWORD: &str = "no credential of this repository is opened by it; nothing was changed";
const NEWER: &str = "written by a newer version of onefold: use that or a later one";

/// Best effort: a full or read-only cache directory must not stop work.
fn remember(cache: Option<&Cache>, place: &str, ring: &KeyRing, id: &CredentialId, config: &[u8]) {
    if let Some(cache) = cache {
        let _ = cache.set_place(place, &ring.repo_id, id);
        let _ = cache.repo(&ring.repo_id, place).set_config(config);
    }
}
