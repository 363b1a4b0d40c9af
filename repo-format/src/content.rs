//! Content keys (SPEC "Session keys"): the repository's, by epoch, and each session's, wrapped to the last of them.

use crate::error::{FormatError, Result};
use crate::header;
use crate::id::{CredentialId, RepoId, SessionId};
use crate::key::{ContentKey, context};
use crate::recipient::{Grant, Identity, Recipient, key_from, key_to};
use crate::wire::{Put, Reader};
use std::fmt;
use zeroize::Zeroizing;

/// The repository's X25519 public key of one epoch: session keys are wrapped to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentPublic {
    /// Which one; the first is 1.
    pub epoch: u32,
    /// The X25519 public key.
    pub key: [u8; 32],
}

/// The X25519 secret of one epoch: it opens the session keys that were wrapped to it.
#[derive(Clone)]
pub struct ContentSecret {
    epoch: u32,
    secret: Identity,
}

impl fmt::Debug for ContentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentSecret(epoch {})", self.epoch)
    }
}

impl ContentSecret {
    /// From 32 random bytes.
    pub fn from_bytes(epoch: u32, secret: [u8; 32]) -> ContentSecret {
        ContentSecret { epoch, secret: Identity::from_bytes(secret) }
    }

    /// Which one.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> ContentPublic {
        ContentPublic { epoch: self.epoch, key: self.secret.recipient().0 }
    }

    /// This secret for the credential whose public key is `to`. `ephemeral` is 32 fresh random bytes, used for this and nothing
    /// else.
    pub fn grant(
        &self,
        to: &Recipient,
        repo: &RepoId,
        credential: &CredentialId,
        ephemeral: [u8; 32],
    ) -> Result<Grant> {
        Grant::seal(to, &grant_aad(repo, credential, self.epoch), self.expose(), ephemeral)
    }

    /// The secret that belongs to `public`, from what was granted to a credential whose own secret is `own`.
    pub fn from_grant(
        grant: &Grant,
        own: &Identity,
        repo: &RepoId,
        credential: &CredentialId,
        public: &ContentPublic,
    ) -> Result<ContentSecret> {
        let secret = grant.open(own, &grant_aad(repo, credential, public.epoch))?;
        let secret = ContentSecret::from_bytes(public.epoch, *secret);
        if secret.public() != *public {
            return Err(FormatError::Mismatch("granted content secret"));
        }
        Ok(secret)
    }
}

fn grant_aad(repo: &RepoId, credential: &CredentialId, epoch: u32) -> Vec<u8> {
    let mut aad = [repo.0, credential.0].concat();
    aad.put_u32(epoch);
    aad
}

/// A session's content key, wrapped to the repository's content key (SPEC "Session keys").
///
/// ```text
/// epoch u32 │ ephemeral public key 32 │ sealed content key 32 │ tag 16
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// Epoch of the key it is wrapped to.
    pub epoch: u32,
    /// X25519 public key made for this wrapping alone.
    pub ephemeral: [u8; 32],
    /// The content key, sealed, and its tag.
    pub sealed: [u8; 48],
}

impl WrappedKey {
    /// Encoded length.
    pub const LEN: usize = 84;

    /// Wraps `key`. `ephemeral` is 32 fresh random bytes, used for this and nothing else.
    pub fn wrap(
        to: &ContentPublic,
        repo: &RepoId,
        session: &SessionId,
        key: &ContentKey,
        ephemeral: [u8; 32],
    ) -> Result<WrappedKey> {
        let exchanged = key_to(&Recipient(to.key), ephemeral, context::SESSION_WRAP);
        let (wrap, ephemeral) = exchanged.map_err(|_| FormatError::Invalid("content public key"))?;
        let mut sealed = Vec::with_capacity(48);
        sealed.extend_from_slice(key.expose());
        header::seal(&wrap, &[0; 24], &wrap_aad(repo, session, to.epoch), &mut sealed, 0)?;
        let sealed = sealed.try_into().map_err(|_| FormatError::Invalid("wrapped session key"))?;
        Ok(WrappedKey { epoch: to.epoch, ephemeral, sealed })
    }

    /// The content key. [`FormatError::WrongKey`] where no secret of its epoch is given.
    pub fn unwrap(&self, secrets: &[ContentSecret], repo: &RepoId, session: &SessionId) -> Result<ContentKey> {
        let own = secrets.iter().find(|s| s.epoch == self.epoch);
        let own = own.ok_or(FormatError::WrongKey("session key of another epoch"))?;
        let wrap = key_from(&own.secret, &self.ephemeral, context::SESSION_WRAP)
            .map_err(|_| FormatError::Invalid("ephemeral key of a session"))?;
        let mut plain = Zeroizing::new(self.sealed.to_vec());
        header::open(&wrap, &[0; 24], &wrap_aad(repo, session, self.epoch), &mut plain, "wrapped session key")?;
        let bytes = plain.as_slice().try_into().map_err(|_| FormatError::Invalid("wrapped session key"))?;
        Ok(ContentKey::from_bytes(bytes))
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32(self.epoch);
        out.extend_from_slice(&self.ephemeral);
        out.extend_from_slice(&self.sealed);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<WrappedKey> {
        Ok(WrappedKey { epoch: r.u32()?, ephemeral: r.array()?, sealed: r.array()? })
    }
}

/// A session's content key as its writer holds it: what it seals with, and what it writes beside what it sealed.
#[derive(Debug, Clone)]
pub struct SessionKey {
    /// The session.
    pub session: SessionId,
    /// The key.
    pub content: ContentKey,
    /// The same, wrapped: for holders of *read*.
    pub wrapped: WrappedKey,
}

impl SessionKey {
    /// Wraps `content`, fresh and random, for `session`. `ephemeral` is 32 more such bytes, used for this and nothing else.
    pub fn new(
        to: &ContentPublic,
        repo: &RepoId,
        session: SessionId,
        content: ContentKey,
        ephemeral: [u8; 32],
    ) -> Result<SessionKey> {
        let wrapped = WrappedKey::wrap(to, repo, &session, &content, ephemeral)?;
        Ok(SessionKey { session, content, wrapped })
    }
}

fn wrap_aad(repo: &RepoId, session: &SessionId, epoch: u32) -> Vec<u8> {
    let mut aad = repo.0.to_vec();
    aad.extend_from_slice(&session.0);
    aad.put_u32(epoch);
    aad
}
