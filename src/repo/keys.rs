//! Credentials and writers: who gets in, and who may add (SPEC "Credentials", "Log").
//!
//! A credential is an object of the store, a writer stands in the log. Which writer's key a credential holds is sealed: only
//! who adds the credential is told.

use std::collections::BTreeSet;

use repo_format::credential::{Credential, Lock, NewLock, Sets, Unlock};
use repo_format::id::{CredentialId, WriterId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Listed, Roles};
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind};
use repo_format::recipient::Recipient;

use super::{Core, Repo, twice, world};
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// A credential of the repository.
#[derive(Debug)]
pub struct CredentialInfo {
    /// Its id.
    pub id: CredentialId,
    /// What it says it holds and how it is locked; proven only by opening it. An error where its objects cannot be read.
    pub says: Result<(Sets, Lock)>,
    /// To whom it is locked, where that is a recipient.
    pub recipient: Option<Recipient>,
    /// Whether an administrator stands for it: such a one that holds *read* reads what is written after a rotation, too.
    pub listed: bool,
    /// Whether the repository was opened by it.
    pub own: bool,
}

/// A writer that the log lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterInfo {
    /// Its id.
    pub id: WriterId,
    /// What it may do.
    pub roles: Roles,
    /// How many of the snapshots on the list are its own.
    pub snapshots: usize,
    /// When the last of them was committed, in milliseconds since 1970, by its clock.
    pub last_ms: Option<u64>,
    /// Whether the repository was opened with its key.
    pub own: bool,
}

/// A credential just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub credential: CredentialId,
    /// The writer whose key it holds, where it holds *write*.
    pub writer: Option<WriterId>,
    /// Whether an administrator stands for it.
    pub listed: bool,
}

/// What [`Repo::remove_key`] took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// A credential: whoever has a copy of its object, and what opens it, still holds its keys.
    Credential(CredentialId),
    /// A writer: nothing that it signs from now on counts.
    Writer(WriterId),
}

/// Ids of all credentials, under whichever of their two names.
pub(super) fn ids(store: &dyn Store) -> Result<BTreeSet<CredentialId>> {
    let mut ids = BTreeSet::new();
    for folder in [ObjectKind::Key.word().to_owned(), format!("{COPIES}/{}", ObjectKind::Key.word())] {
        store.list(&folder, &mut |text, _| {
            if let Ok(Name::Key(id)) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                ids.insert(id);
            }
            Ok(())
        })?;
    }
    Ok(ids)
}

/// A credential, from whichever of its two objects is whole.
pub(super) fn read(store: &dyn Store, id: &CredentialId) -> Result<Option<twice::Found<Credential>>> {
    twice::read(store, &Name::Key(*id), |bytes| Credential::parse(id, bytes))
}

impl Repo {
    /// Fails where the credential does not hold all of `sets`; the error says what it holds and what is needed.
    pub fn needs(&self, sets: Sets) -> Result<()> {
        match self.ring().sets().has(sets) {
            true => Ok(()),
            false => Err(self.core.lacks(sets)),
        }
    }

    /// The credentials, by id: those in the store, and those that the log lists.
    pub fn credentials(&self) -> Result<Vec<CredentialInfo>> {
        let (store, state) = (&*self.core.store, self.state());
        let mut all = Vec::new();
        let mut known = ids(store)?;
        known.extend(state.credentials().keys());
        for id in known {
            let (listed, own) = (state.credentials().contains_key(&id), id == self.core.credential);
            let mut recipient = None;
            let says = match read(store, &id) {
                Ok(Some(found)) => {
                    let (sets, lock) = (found.value.sets(), found.value.lock());
                    recipient = (lock == Lock::Recipient).then(|| found.value.public());
                    Ok((sets, lock))
                }
                Ok(None) if listed => Err(Error::damaged(Name::Key(id), UNWRITTEN)
                    .hint("`onefold key remove` takes it off the list: a copy of it may be somewhere")),
                // Removed since the names were read.
                Ok(None) => continue,
                Err(e) if is_of_object(&e) => Err(e),
                Err(e) => return Err(e),
            };
            all.push(CredentialInfo { id, says, recipient, listed, own });
        }
        Ok(all)
    }

    /// The writers that the log lists, by id.
    pub fn writers(&self) -> Vec<WriterInfo> {
        let state = self.state();
        let own = self.ring().writer.as_ref().map(SignKey::id);
        let info = |(id, roles): (&WriterId, &Roles)| {
            let commits = || state.snapshots().values().filter(|commit| commit.writer == *id);
            let last_ms = commits().max_by_key(|commit| commit.n).map(|commit| commit.time_ms);
            WriterInfo { id: *id, roles: *roles, snapshots: commits().count(), last_ms, own: Some(*id) == own }
        };
        state.writers().iter().map(info).collect()
    }

    /// Makes a credential that holds `sets` and is opened by `by`. With *write* it gets a writer's key of its own, which needs *admin*.
    /// What else it is to hold, the credential that opened the repository holds. A holder of *admin* lists it in the log.
    ///
    /// Errors: [`Kind::Denied`] where that lacks a set; [`Kind::AlreadyExists`] where `by` opens a credential that is there;
    /// [`Kind::Busy`] where an epoch began meanwhile.
    pub fn add_key(&self, sets: Sets, by: NewLock<'_>) -> Result<Added> {
        if sets == Sets(0) {
            return Err(Error::new(Kind::Usage, "role", "a credential holds one at least"));
        }
        self.may_add(sets)?;
        self.check_new(by)?;
        let state = self.refresh()?;
        let mut ring = self.ring().restricted(sets);
        ring.writer = None;
        if sets.has(Sets::READ) {
            ring.read = self.core.secrets(&state);
        }
        let mut writers = Vec::new();
        if sets.has(Sets::WRITE) {
            let key = SignKey::from_bytes(&world::random()?);
            writers.push((key.id(), if sets.has(Sets::READ) { Roles::WRITE_VOUCH } else { Roles::WRITE }));
            ring.writer = Some(key);
        }
        let made = Credential::seal(&ring, by, world::random()?, &world::random()?)?;
        let listed = self.ring().admin_key.is_some();
        if listed {
            let credentials = vec![(made.id, Listed { sets, public: made.public })];
            let epoch = state.content().epoch;
            self.administer(&mut |state| {
                self.core.still_listed(state)?;
                if sets.has(Sets::READ) && state.content().epoch != epoch {
                    return Err(
                        Error::new(Kind::Busy, "new credential", "a new epoch began meanwhile").hint("add it again")
                    );
                }
                Ok(Body::Writers { writers: writers.clone(), credentials: credentials.clone() })
            })?;
        }
        twice::create(&*self.core.store, &Name::Key(made.id), made.bytes.clone()).map_err(|e| match listed {
            true => e.hint(format!(
                "the log lists it already: `onefold key remove {}` takes it off; then add it again",
                made.id
            )),
            false => e,
        })?;
        Ok(Added { credential: made.id, writer: ring.writer.as_ref().map(SignKey::id), listed })
    }

    /// Whether a credential of `sets` can be added with what this one holds.
    pub fn may_add(&self, sets: Sets) -> Result<()> {
        let given = Sets(sets.0 & Sets::READ.with(Sets::ADMIN).0);
        self.needs(if sets.has(Sets::WRITE) { given.with(Sets::ADMIN) } else { given })
    }

    /// What opens two credentials would open one or the other, and so give one set or the other.
    fn check_new(&self, by: NewLock<'_>) -> Result<()> {
        let store = &*self.core.store;
        let opens = |found: &Credential| match by {
            NewLock::Password(password, _) => found.open(Unlock::Password(password)).is_ok(),
            NewLock::KeyFile(file) => found.open(Unlock::KeyFile(file)).is_ok(),
            NewLock::Recipient(to) => found.lock() == Lock::Recipient && found.public() == to,
        };
        for id in ids(store)? {
            let opens = match read(store, &id) {
                Ok(Some(found)) => opens(&found.value),
                Ok(None) => false,
                Err(e) if is_of_object(&e) => false,
                Err(e) => return Err(e),
            };
            if opens {
                return Err(Error::new(
                    Kind::AlreadyExists,
                    Name::Key(id),
                    match by {
                        NewLock::Recipient(_) => "is of this recipient already",
                        _ => "is opened by the new password or key file",
                    },
                )
                .hint("take another: what opens two credentials would give now one's roles, now the other's"));
            }
        }
        Ok(())
    }

    /// Removes the credential or the writer whose id begins with `name`. Needs *admin*, and for a credential that holds *read*
    /// also that. Never what opened the repository: so a credential stays that can do all of it again.
    pub fn remove_key(&self, name: &str) -> Result<Removed> {
        self.needs(Sets::ADMIN)?;
        let credentials = self.credentials()?;
        let writers = self.writers();
        let fits = |id: &dyn std::fmt::Display| !name.is_empty() && id.to_string().starts_with(name);
        let mut credential = credentials.iter().filter(|c| fits(&c.id));
        let mut writer = writers.iter().filter(|w| fits(&w.id));
        match (credential.next(), writer.next(), credential.next().is_some() || writer.next().is_some()) {
            (Some(found), None, false) => self.remove_credential(found),
            (None, Some(found), false) => self.remove_writer(found),
            (None, None, _) => Err(none(name, "is the beginning of no credential's or writer's id")),
            _ => Err(none(name, "fits several credentials or writers: give more digits")),
        }
    }

    fn remove_credential(&self, found: &CredentialInfo) -> Result<Removed> {
        if found.own {
            return Err(stays(format!("credential {}", found.id)));
        }
        // One that cannot be read may hold *read*.
        if found.says.as_ref().map_or(true, |(sets, _)| sets.has(Sets::READ)) {
            self.needs(Sets::READ)?;
        }
        if found.listed {
            self.administer(&mut |state| {
                self.core.still_listed(state)?;
                let listed = state.credentials().contains_key(&found.id);
                let gone = listed.then_some((found.id, Listed::GONE));
                Ok(Body::Writers { writers: Vec::new(), credentials: gone.into_iter().collect() })
            })?;
        }
        let name = Name::Key(found.id);
        // The second copy first: of that alone, the next program to open with it would write the first again.
        for object in [name.copy(), name.to_string()] {
            match self.core.store.delete(&object) {
                Err(e) if e.kind() != Kind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(Removed::Credential(found.id))
    }

    fn remove_writer(&self, found: &WriterInfo) -> Result<Removed> {
        if found.own {
            return Err(stays(format!("writer {}", found.id)));
        }
        self.administer(&mut |state| {
            self.core.still_listed(state)?;
            Ok(Body::Writers { writers: vec![(found.id, Roles::NONE)], credentials: Vec::new() })
        })?;
        Ok(Removed::Writer(found.id))
    }
}

impl Core {
    /// Who was removed meanwhile changes nothing more, as far as this program is concerned.
    pub(super) fn still_listed(&self, state: &State) -> Result<()> {
        match state.credentials().contains_key(&self.credential) {
            true => Ok(()),
            false => Err(Error::new(
                Kind::Denied,
                Name::Key(self.credential),
                "opened this repository, and is no longer on the list of credentials: another administrator removed it",
            )
            .hint("ask who holds admin now")),
        }
    }
}

/// Whether the object is to blame: not a store that does not let us read it.
fn is_of_object(e: &Error) -> bool {
    e.is_of_bytes() && e.kind() != Kind::Denied
}

const UNWRITTEN: &str = "is on the list of credentials, and its object is missing";

fn none(name: &str, message: &str) -> Error {
    Error::new(Kind::NotFound, format!("key {name}"), message).hint("`onefold key list` lists what is there")
}

fn stays(subject: String) -> Error {
    Error::new(Kind::Denied, subject, "belongs to what opens the repository now: the last way in must not go")
        .hint("add another with `onefold key add --role write,read,admin`, open the repository with that, and remove this one")
}
