//! The keys that a credential seals (SPEC "Credentials"), and which sets they are.

use crate::error::{FormatError, Result};
use crate::id::{RepoId, WriterId};
use crate::key::{ChunkIdKey, ContentSecret, CutKey, FingerprintKey, IndexKey, RepoKeys, SignKey};
use crate::limits::EPOCHS_MAX;
use crate::wire::{Put, Reader};
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
