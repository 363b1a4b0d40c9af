//! Credentials (SPEC "Credentials"): a set of keys, wrapped by a password, a key file or to a recipient.
//!
//! ```text
//! header │ lock u8 │ sets u8 │ parameters string │ nonce 24 │ sealed string
//! sealed = repository 32 │ admin public 32 │ count varint │ count × (purpose u8 │ secret string)
//! ```

use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce};
use crate::id::CredentialId;
use crate::key::context;
use crate::keyfile::KeyFile;
use crate::limits::{
    ARGON_LANES, ARGON_LANES_RANGE, ARGON_MEMORY_KIB, ARGON_MEMORY_KIB_RANGE, ARGON_PASSES, ARGON_PASSES_RANGE,
    CREDENTIAL_MAX,
};
use crate::names::ObjectKind;
use crate::recipient::{Identity, Recipient, key_from, key_to};
use crate::wire::{Put, Reader};
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

pub use crate::ring::{KeyRing, Sets};

/// What Argon2id is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordCost {
    fn default() -> PasswordCost {
        PasswordCost { memory_kib: ARGON_MEMORY_KIB, passes: ARGON_PASSES, lanes: ARGON_LANES }
    }
}

impl PasswordCost {
    fn check(&self) -> Result<()> {
        let bounds = [
            (self.memory_kib, ARGON_MEMORY_KIB_RANGE),
            (self.passes, ARGON_PASSES_RANGE),
            (self.lanes, ARGON_LANES_RANGE),
        ];
        match bounds.iter().all(|(value, range)| (range.0..=range.1).contains(value)) {
            true => Ok(()),
            false => Err(FormatError::TooLarge("cost of a password")),
        }
    }
}

/// What opens a credential.
#[derive(Clone, Copy)]
pub enum Unlock<'a> {
    /// A password, as typed, without its line end.
    Password(&'a [u8]),
    /// A key file.
    KeyFile(&'a KeyFile),
    /// X25519 secrets, of which one may fit.
    Identities(&'a [Identity]),
}

/// What a new credential will be opened by.
#[derive(Clone, Copy)]
pub enum NewLock<'a> {
    /// A password, through Argon2id of this cost.
    Password(&'a [u8], PasswordCost),
    /// A key file.
    KeyFile(&'a KeyFile),
    /// The secret of this public key, which need not be at hand.
    Recipient(Recipient),
}

/// How a credential is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// By a password, through Argon2id of this cost.
    Password(PasswordCost),
    /// By a key file.
    KeyFile,
    /// To a public key.
    Recipient,
    /// In a way that this program does not know; other credentials may still serve.
    Unknown(u8),
}

impl Lock {
    fn number(self) -> u8 {
        match self {
            Lock::Password(_) => 1,
            Lock::KeyFile => 2,
            Lock::Recipient => 3,
            Lock::Unknown(n) => n,
        }
    }
}

/// A credential object, not yet opened.
#[derive(Debug, Clone)]
pub struct Credential {
    lock: Lock,
    sets: Sets,
    /// The salt, or the ephemeral public key.
    fresh: [u8; 32],
    public: Recipient,
    aad: Vec<u8>,
    nonce: Nonce,
    sealed: Vec<u8>,
}

/// A credential just made.
#[derive(Debug)]
pub struct Made {
    /// Its id.
    pub id: CredentialId,
    /// Its object.
    pub bytes: Vec<u8>,
    /// Its public key, to which secrets of later epochs are granted.
    pub public: Recipient,
    /// The secret of that, which whoever makes a credential for a recipient does not have.
    pub own: Option<Identity>,
}

/// A credential, opened.
#[derive(Debug)]
pub struct Opened {
    /// The keys that it holds.
    pub ring: KeyRing,
    /// Its own secret: opens what was granted to it since.
    pub own: Identity,
}

impl Credential {
    /// Wraps `ring`. `fresh` and `nonce` must be random, and used for this and nothing else.
    pub fn seal(ring: &KeyRing, by: NewLock<'_>, fresh: [u8; 32], nonce: &Nonce) -> Result<Made> {
        let mut parameters = Vec::new();
        let (lock, fresh, keys, own) = match by {
            NewLock::Password(password, cost) => {
                parameters.put_u32(cost.memory_kib);
                parameters.put_u32(cost.passes);
                parameters.put_u32(cost.lanes);
                let keys = of_password(password, cost, &fresh)?;
                (Lock::Password(cost), fresh, keys.seal, Some(keys.own))
            }
            NewLock::KeyFile(file) => {
                let keys = of_key_file(file, &fresh);
                (Lock::KeyFile, fresh, keys.seal, Some(keys.own))
            }
            NewLock::Recipient(to) => {
                let (key, ephemeral) = key_to(&to, fresh, context::CREDENTIAL_RECIPIENT)?;
                (Lock::Recipient, ephemeral, key, None)
            }
        };
        let public = match (by, &own) {
            (NewLock::Recipient(to), _) => to,
            (_, Some(own)) => own.recipient(),
            (_, None) => return Err(FormatError::Invalid("lock of a credential")),
        };
        parameters.extend_from_slice(&fresh);
        parameters.extend_from_slice(&public.0);
        let mut bytes = Vec::new();
        header::put(&mut bytes, ObjectKind::Key);
        bytes.push(lock.number());
        bytes.push(ring.sets().0);
        bytes.put_string(&parameters);
        let mut sealed = ring.put();
        header::seal(&keys, nonce, &bytes, &mut sealed, 0)?;
        bytes.extend_from_slice(nonce);
        bytes.put_string(&sealed);
        if bytes.len() > CREDENTIAL_MAX {
            return Err(FormatError::TooLarge("credential"));
        }
        Ok(Made { id: CredentialId(*blake3::hash(&bytes).as_bytes()), bytes, public, own })
    }

    /// Parses an object and checks it against its id. A lock of an unknown kind is no error here.
    pub fn parse(id: &CredentialId, bytes: &[u8]) -> Result<Credential> {
        if bytes.len() > CREDENTIAL_MAX {
            return Err(FormatError::TooLarge("credential"));
        }
        if blake3::hash(bytes).as_bytes() != &id.0 {
            return Err(FormatError::Mismatch("credential's name"));
        }
        let mut r = Reader::new(bytes, "credential");
        header::read(&mut r, ObjectKind::Key)?;
        let (kind, sets) = (r.u8()?, Sets(r.u8()?));
        let mut parameters = Reader::new(r.string()?, "parameters of a credential");
        let aad = bytes[..bytes.len() - r.remaining()].to_vec();
        let nonce = r.array::<NONCE_LEN>()?;
        let sealed = r.string()?.to_vec();
        r.end()?;
        let lock = match kind {
            1 => {
                let p = &mut parameters;
                let cost = PasswordCost { memory_kib: p.u32()?, passes: p.u32()?, lanes: p.u32()? };
                cost.check()?;
                Lock::Password(cost)
            }
            2 => Lock::KeyFile,
            3 => Lock::Recipient,
            other => Lock::Unknown(other),
        };
        let (mut fresh, mut public) = ([0; 32], Recipient([0; 32]));
        if !matches!(lock, Lock::Unknown(_)) {
            (fresh, public) = (parameters.array()?, Recipient(parameters.array()?));
            parameters.end()?;
        }
        Ok(Credential { lock, sets, fresh, public, aad, nonce, sealed })
    }

    /// How it is locked.
    pub fn lock(&self) -> Lock {
        self.lock
    }

    /// Which sets it says it holds; proven only by opening it.
    pub fn sets(&self) -> Sets {
        self.sets
    }

    /// Its public key, as it says.
    pub fn public(&self) -> Recipient {
        self.public
    }

    /// Opens it. [`FormatError::WrongKey`] where `unlock` is not what it was made with, or is damaged in its sealed part.
    pub fn open(&self, unlock: Unlock<'_>) -> Result<Opened> {
        let wrong = || FormatError::WrongKey("credential");
        let Keys { seal, own } = match (self.lock, unlock) {
            (Lock::Unknown(kind), _) => return Err(FormatError::Unsupported(format!("credential lock {kind}"))),
            (Lock::Password(cost), Unlock::Password(password)) => of_password(password, cost, &self.fresh)?,
            (Lock::KeyFile, Unlock::KeyFile(file)) => of_key_file(file, &self.fresh),
            (Lock::Recipient, Unlock::Identities(all)) => {
                let own = all.iter().find(|own| own.recipient() == self.public).ok_or_else(wrong)?;
                let seal = key_from(own, &self.fresh, context::CREDENTIAL_RECIPIENT)?;
                Keys { seal, own: own.clone() }
            }
            _ => return Err(wrong()),
        };
        let mut plain = Zeroizing::new(self.sealed.clone());
        header::open(&seal, &self.nonce, &self.aad, &mut plain, "credential").map_err(|_| wrong())?;
        let ring = KeyRing::parse(&plain)?;
        if ring.sets() != self.sets {
            return Err(FormatError::Mismatch("key sets of a credential"));
        }
        if own.recipient() != self.public {
            return Err(FormatError::Mismatch("public key of a credential"));
        }
        Ok(Opened { ring, own })
    }
}

/// What follows from a password or a key file: the key that seals the credential, and the credential's own X25519 secret.
struct Keys {
    seal: Zeroizing<[u8; 32]>,
    own: Identity,
}

fn of_password(password: &[u8], cost: PasswordCost, salt: &[u8; 32]) -> Result<Keys> {
    cost.check()?;
    let bad = |_| FormatError::Invalid("cost of a password");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(bad)?;
    let mut derived = Zeroizing::new([0; 32]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(password, salt, &mut derived[..]).map_err(bad)?;
    Ok(keys_of(&derived, context::CREDENTIAL_PASSWORD))
}

fn of_key_file(file: &KeyFile, salt: &[u8; 32]) -> Keys {
    let derived = Zeroizing::new(*blake3::keyed_hash(file.expose(), salt).as_bytes());
    keys_of(&derived, context::CREDENTIAL_KEYFILE)
}

fn keys_of(derived: &[u8; 32], purpose: &str) -> Keys {
    let seal = Zeroizing::new(blake3::derive_key(purpose, derived));
    Keys { seal, own: Identity::from_bytes(blake3::derive_key(context::CREDENTIAL_OWN, derived)) }
}
