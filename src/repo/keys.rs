//! Credentials and writers: who gets in, and who may add (SPEC "Credentials", "Log").
//!
//! A credential is an object of the store, a writer stands in the log. Which writer's key a credential holds is sealed: only
//! who adds the credential is told.

use std::collections::BTreeSet;

use repo_format::credential::{Credential, Lock, PasswordCost, Sets, Unlock};
use repo_format::id::{CredentialId, WriterId};
use repo_format::key::SignKey;
use repo_format::log::{Body, Roles};
use repo_format::names::{COPIES, Name, ObjectKind};

use super::{Repo, twice, world};
use crate::error::{Error, Kind, Result};
use crate::store::Store;

/// A credential of the repository.
#[derive(Debug)]
pub struct CredentialInfo {
    /// Its id.
    pub id: CredentialId,
    /// What it says it holds and how it is locked; proven only by opening it. An error where its objects cannot be read.
    pub says: Result<(Sets, Lock)>,
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
    for folder in [ObjectKind::Key.word(), COPIES] {
        store.list(folder, &mut |text, _| {
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

    /// The credentials, by id.
    pub fn credentials(&self) -> Result<Vec<CredentialInfo>> {
        let store = &*self.core.store;
        let mut all = Vec::new();
        for id in ids(store)? {
            let says = match read(store, &id) {
                Ok(Some(found)) => Ok((found.value.sets(), found.value.lock())),
                // Removed since it was listed.
                Ok(None) => continue,
                Err(e) if is_of_object(&e) => Err(e),
                Err(e) => return Err(e),
            };
            all.push(CredentialInfo { id, says, own: id == self.core.credential });
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

    /// Makes a credential that holds `sets` and is opened by `unlock`. With *write* it gets a writer's key of its own, which is
    /// listed first: that needs *admin*. What else it is to hold, the credential that opened the repository holds.
    ///
    /// Errors: [`Kind::Denied`] where that lacks a set; [`Kind::AlreadyExists`] where `unlock` opens a credential that is
    /// there.
    pub fn add_key(&self, sets: Sets, unlock: Unlock<'_>, cost: PasswordCost) -> Result<Added> {
        if sets == Sets(0) {
            return Err(Error::new(Kind::Usage, "role", "a credential holds one at least"));
        }
        self.may_add(sets)?;
        self.check_new(unlock)?;
        let mut ring = self.ring().restricted(sets);
        ring.writer = None;
        if sets.has(Sets::WRITE) {
            let key = SignKey::from_bytes(&world::random()?);
            let roles = if sets.has(Sets::READ) { Roles::WRITE_VOUCH } else { Roles::WRITE };
            self.administer(&mut |_| Ok(Body::Writers { writers: vec![(key.id(), roles)] }))?;
            ring.writer = Some(key);
        }
        let (credential, bytes) = Credential::seal(&ring, unlock, cost, &world::random()?, &world::random()?)?;
        twice::create(&*self.core.store, &Name::Key(credential), &bytes)?;
        Ok(Added { credential, writer: ring.writer.as_ref().map(SignKey::id) })
    }

    /// Whether a credential of `sets` can be added with what this one holds.
    pub fn may_add(&self, sets: Sets) -> Result<()> {
        let given = Sets(sets.0 & Sets::READ.with(Sets::ADMIN).0);
        self.needs(if sets.has(Sets::WRITE) { given.with(Sets::ADMIN) } else { given })
    }

    /// What opens two credentials would open one or the other, and so give one set or the other.
    fn check_new(&self, unlock: Unlock<'_>) -> Result<()> {
        let store = &*self.core.store;
        for id in ids(store)? {
            let opens = match read(store, &id) {
                Ok(Some(found)) => found.value.open(unlock).is_ok(),
                Ok(None) => false,
                Err(e) if is_of_object(&e) => false,
                Err(e) => return Err(e),
            };
            if opens {
                return Err(Error::new(
                    Kind::AlreadyExists,
                    Name::Key(id),
                    "is opened by the new password or key file",
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
        self.administer(&mut |_| Ok(Body::Writers { writers: vec![(found.id, Roles::NONE)] }))?;
        Ok(Removed::Writer(found.id))
    }
}

/// Whether the object is to blame: not a store that does not let us read it.
fn is_of_object(e: &Error) -> bool {
    e.is_of_bytes() && e.kind() != Kind::Denied
}

fn none(name: &str, message: &str) -> Error {
    Error::new(Kind::NotFound, format!("key {name}"), message).hint("`onefold key list` lists what is there")
}

fn stays(subject: String) -> Error {
    Error::new(Kind::Denied, subject, "belongs to what opens the repository now: the last way in must not go")
        .hint("add another with `onefold key add --role write,read,admin`, open the repository with that, and remove this one")
}
