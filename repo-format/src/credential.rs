//! Credentials (SPEC "Credentials"): a set of keys, wrapped by a password or a key file.
//!
//! ```text
//! header │ lock u8 │ sets u8 │ parameters string │ nonce 24 │ sealed string
//! sealed = repository 32 │ admin public 32 │ count varint │ count × (purpose u8 │ secret string)
//! ```

use crate::error::{FormatError, Result};
use crate::header::{self, NONCE_LEN, Nonce};
use crate::id::{CredentialId, RepoId, WriterId};
use crate::key::{ChunkIdKey, ContentSecret, CutKey, FingerprintKey, IndexKey, RepoKeys, SignKey, context};
use crate::keyfile::KeyFile;
use crate::limits::{
    ARGON_LANES, ARGON_LANES_RANGE, ARGON_MEMORY_KIB, ARGON_MEMORY_KIB_RANGE, ARGON_PASSES, ARGON_PASSES_RANGE,
    CREDENTIAL_MAX, EPOCHS_MAX,
};
use crate::names::ObjectKind;
use crate::wire::{Put, Reader};
use argon2::{Algorithm, Argon2, Params, Version};
use std::fmt;
use zeroize::Zeroizing;

/// Which key sets a ring or a credential holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sets(pub u8);

impl Sets {
    /// The repository keys and a writer's own key.
    pub const WRITE: Sets = Sets(1);
    /// The repository keys and the content secrets.
    pub const READ: Sets = Sets(2);
    /// The repository keys and the administrator's key.
    pub const ADMIN: Sets = Sets(4);
    /// Everything.
    pub const ALL: Sets = Sets(7);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Sets) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Sets) -> Sets {
        Sets(self.0 | other.0)
    }
}

impl fmt::Display for Sets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(Sets::WRITE, "write"), (Sets::READ, "read"), (Sets::ADMIN, "admin")];
        let held: Vec<&str> = words.iter().filter(|(s, _)| self.has(*s)).map(|(_, w)| *w).collect();
        f.write_str(&held.join("+"))
    }
}

/// The keys a process holds.
#[derive(Debug, Clone)]
pub struct KeyRing {
    /// The repository they belong to.
    pub repo_id: RepoId,
    /// The administrator's public key: the configuration must be signed by it.
    pub admin: WriterId,
    /// What every set holds.
    pub repo: RepoKeys,
    /// *write*: the writer's own key.
    pub writer: Option<SignKey>,
    /// *read*: the content secrets, by epoch. Empty without *read*.
    pub read: Vec<ContentSecret>,
    /// *admin*: the administrator's key.
    pub admin_key: Option<SignKey>,
}

impl KeyRing {
    /// Which sets it holds.
    pub fn sets(&self) -> Sets {
        let mut sets = Sets(0);
        if self.writer.is_some() {
            sets = sets.with(Sets::WRITE);
        }
        if !self.read.is_empty() {
            sets = sets.with(Sets::READ);
        }
        if self.admin_key.is_some() {
            sets = sets.with(Sets::ADMIN);
        }
        sets
    }

    /// What a credential entitled to `sets` may hold of it.
    #[must_use]
    pub fn restricted(&self, sets: Sets) -> KeyRing {
        let mut ring = self.clone();
        if !sets.has(Sets::WRITE) {
            ring.writer = None;
        }
        if !sets.has(Sets::READ) {
            ring.read.clear();
        }
        if !sets.has(Sets::ADMIN) {
            ring.admin_key = None;
        }
        ring
    }

    pub(crate) fn put(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(1024 + 64 * self.read.len()));
        out.extend_from_slice(&self.repo_id.0);
        out.extend_from_slice(&self.admin.0);
        let single = usize::from(self.writer.is_some()) + usize::from(self.admin_key.is_some());
        out.put_varint((4 + single + self.read.len()) as u64);
        let mut secret = |purpose: u8, secret: &[u8]| {
            out.push(purpose);
            out.put_string(secret);
        };
        secret(1, self.repo.chunk_id.expose());
        secret(2, self.repo.cut.expose());
        secret(3, self.repo.fingerprint.expose());
        secret(4, self.repo.index.expose());
        if let Some(key) = &self.writer {
            secret(5, key.expose());
        }
        for key in &self.read {
            let mut both = Zeroizing::new([0; 36]);
            both[..4].copy_from_slice(&key.epoch().to_le_bytes());
            both[4..].copy_from_slice(key.expose());
            secret(6, &both[..]);
        }
        if let Some(key) = &self.admin_key {
            secret(7, key.expose());
        }
        out
    }

    pub(crate) fn parse(plain: &[u8]) -> Result<KeyRing> {
        let mut r = Reader::new(plain, "credential");
        let (repo_id, admin) = (RepoId(r.array()?), WriterId(r.array()?));
        let count = r.count(2)?;
        let mut repo: [Option<Zeroizing<[u8; 32]>>; 4] = [const { None }; 4];
        let (mut writer, mut read, mut admin_key) = (None, Vec::new(), None);
        for _ in 0..count {
            let purpose = r.u8()?;
            let mut secret = Reader::new(r.string()?, "secret in a credential");
            match purpose {
                1..=4 => repo[usize::from(purpose) - 1] = Some(Zeroizing::new(secret.array()?)),
                5 => writer = Some(SignKey::from_bytes(&Zeroizing::new(secret.array()?))),
                6 if read.len() >= EPOCHS_MAX => return Err(FormatError::TooLarge("credential")),
                6 => read.push(ContentSecret::from_bytes(secret.u32()?, secret.array()?)),
                7 => admin_key = Some(SignKey::from_bytes(&Zeroizing::new(secret.array()?))),
                _ => return Err(FormatError::Unsupported(format!("secret of purpose {purpose}"))),
            }
            secret.end()?;
        }
        r.end()?;
        let [Some(chunk_id), Some(cut), Some(fingerprint), Some(index)] = repo else {
            return Err(FormatError::Invalid("secrets in a credential"));
        };
        let repo = RepoKeys {
            chunk_id: ChunkIdKey::from_bytes(*chunk_id),
            cut: CutKey::from_bytes(*cut),
            fingerprint: FingerprintKey::from_bytes(*fingerprint),
            index: IndexKey::from_bytes(*index),
        };
        Ok(KeyRing { repo_id, admin, repo, writer, read, admin_key })
    }
}

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
}

/// How a credential is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// By a password, through Argon2id of this cost.
    Password(PasswordCost),
    /// By a key file.
    KeyFile,
    /// In a way that this program does not know; other credentials may still serve.
    Unknown(u8),
}

const LOCK_PASSWORD: u8 = 1;
const LOCK_KEY_FILE: u8 = 2;

/// A credential object, not yet opened.
#[derive(Debug, Clone)]
pub struct Credential {
    lock: Lock,
    sets: Sets,
    salt: [u8; 32],
    aad: Vec<u8>,
    nonce: Nonce,
    sealed: Vec<u8>,
}

impl Credential {
    /// Wraps `ring`. `salt` and `nonce` must be fresh and random; `cost` matters for passwords only.
    pub fn seal(
        ring: &KeyRing,
        unlock: Unlock<'_>,
        cost: PasswordCost,
        salt: &[u8; 32],
        nonce: &Nonce,
    ) -> Result<(CredentialId, Vec<u8>)> {
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Key);
        let mut parameters = Vec::new();
        let lock = match unlock {
            Unlock::Password(_) => {
                parameters.put_u32(cost.memory_kib);
                parameters.put_u32(cost.passes);
                parameters.put_u32(cost.lanes);
                Lock::Password(cost)
            }
            Unlock::KeyFile(_) => Lock::KeyFile,
        };
        parameters.extend_from_slice(salt);
        out.push(if lock == Lock::KeyFile { LOCK_KEY_FILE } else { LOCK_PASSWORD });
        out.push(ring.sets().0);
        out.put_string(&parameters);
        let key = unlock_key(lock, unlock, salt)?;
        let mut sealed = ring.put();
        header::seal(&key, nonce, &out, &mut sealed, 0)?;
        out.extend_from_slice(nonce);
        out.put_string(&sealed);
        if out.len() > CREDENTIAL_MAX {
            return Err(FormatError::TooLarge("credential"));
        }
        Ok((CredentialId(*blake3::hash(&out).as_bytes()), out))
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
        let mut salt = [0; 32];
        let lock = match kind {
            LOCK_PASSWORD => {
                let p = &mut parameters;
                let cost = PasswordCost { memory_kib: p.u32()?, passes: p.u32()?, lanes: p.u32()? };
                cost.check()?;
                Lock::Password(cost)
            }
            LOCK_KEY_FILE => Lock::KeyFile,
            other => Lock::Unknown(other),
        };
        if !matches!(lock, Lock::Unknown(_)) {
            salt = parameters.array()?;
            parameters.end()?;
        }
        Ok(Credential { lock, sets, salt, aad, nonce, sealed })
    }

    /// How it is locked.
    pub fn lock(&self) -> Lock {
        self.lock
    }

    /// Which sets it says it holds; proven only by opening it.
    pub fn sets(&self) -> Sets {
        self.sets
    }

    /// Opens it. [`FormatError::WrongKey`] where password or key file are not this credential's;
    /// [`FormatError::Unsupported`] where its lock is of an unknown kind. A password takes a part of a second and
    /// [`PasswordCost::memory_kib`] of memory.
    pub fn open(&self, unlock: Unlock<'_>) -> Result<KeyRing> {
        if let Lock::Unknown(kind) = self.lock {
            return Err(FormatError::Unsupported(format!("credential lock {kind}")));
        }
        let key = unlock_key(self.lock, unlock, &self.salt)?;
        let mut plain = Zeroizing::new(self.sealed.clone());
        header::open(&key, &self.nonce, &self.aad, &mut plain, "credential")
            .map_err(|_| FormatError::WrongKey("credential"))?;
        let ring = KeyRing::parse(&plain)?;
        if ring.sets() != self.sets {
            return Err(FormatError::Mismatch("key sets of a credential"));
        }
        Ok(ring)
    }
}

fn unlock_key(lock: Lock, unlock: Unlock<'_>, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>> {
    let mut derived = Zeroizing::new([0; 32]);
    let context = match (lock, unlock) {
        (Lock::Password(cost), Unlock::Password(password)) => {
            cost.check()?;
            let bad = |_| FormatError::Invalid("cost of a password");
            let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(bad)?;
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon.hash_password_into(password, salt, &mut derived[..]).map_err(bad)?;
            context::CREDENTIAL_PASSWORD
        }
        (Lock::KeyFile, Unlock::KeyFile(file)) => {
            derived.copy_from_slice(blake3::keyed_hash(file.expose(), salt).as_bytes());
            context::CREDENTIAL_KEYFILE
        }
        _ => return Err(FormatError::WrongKey("credential")),
    };
    Ok(Zeroizing::new(blake3::derive_key(context, &derived[..])))
}
