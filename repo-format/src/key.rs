//! Keys (SPEC "Keys"): what each is for, how one is derived, and what it computes.
//! Everything secret is wiped when dropped and prints as nothing.

use crate::error::{FormatError, Result};
use crate::header;
use crate::id::{ChunkId, ChunkKind, RepoId, SessionId, WriterId};
use crate::wire::{Put, Reader};
use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use std::fmt;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// BLAKE3 `derive_key` contexts, listed in SPEC "Derivation contexts". Each is used for one purpose only.
pub mod context {
    /// The chunk id key, from the repository secret.
    pub const CHUNK_ID: &str = "onefold v0 chunk id key";
    /// The cut key, from the repository secret.
    pub const CUT: &str = "onefold v0 cut key";
    /// The fingerprint key, from the repository secret.
    pub const FINGERPRINT: &str = "onefold v0 fingerprint key";
    /// The index key, from the repository secret.
    pub const INDEX: &str = "onefold v0 index key";
    /// The table of the chunker, from the cut key.
    pub const GEAR: &str = "onefold v0 gear table";
    /// The key of the tree's breaks, from the cut key.
    pub const TREE_CUT: &str = "onefold v0 tree cut key";
    /// The key of the digests of runs, from the fingerprint key.
    pub const RUN_DIGEST: &str = "onefold v0 run digest key";
    /// The key that wraps a session's content key, from the X25519 exchange.
    pub const SESSION_WRAP: &str = "onefold v0 session key wrap";
    /// The key that seals a credential, from what Argon2id gave.
    pub const CREDENTIAL_PASSWORD: &str = "onefold v0 credential password";
    /// The key that seals a credential, from a key file.
    pub const CREDENTIAL_KEYFILE: &str = "onefold v0 credential key file";
    /// The hash of a frame's list of chunks.
    pub const FRAME_LIST: &str = "onefold v0 frame list";

    /// All of them.
    pub const ALL: [&str; 11] = [
        CHUNK_ID,
        CUT,
        FINGERPRINT,
        INDEX,
        GEAR,
        TREE_CUT,
        RUN_DIGEST,
        SESSION_WRAP,
        CREDENTIAL_PASSWORD,
        CREDENTIAL_KEYFILE,
        FRAME_LIST,
    ];
}

/// Defines 32 secret bytes for one purpose.
macro_rules! secret_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From its bytes.
            pub fn from_bytes(bytes: [u8; 32]) -> $name {
                $name(bytes)
            }

            /// The secret itself.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret_type!(
    /// Names chunks.
    ChunkIdKey
);
secret_type!(
    /// Decides where data is cut into chunks and where trees break.
    CutKey
);
secret_type!(
    /// Computes fingerprints of records.
    FingerprintKey
);
secret_type!(
    /// Computes the digests of runs.
    RunDigestKey
);
secret_type!(
    /// Seals the lists of packs and index objects.
    IndexKey
);
secret_type!(
    /// Seals the frames and the snapshot of one session: random, kept only wrapped.
    ContentKey
);

impl ChunkIdKey {
    /// The id of a chunk: keyed BLAKE3 of the plaintext and one byte of kind.
    pub fn id(&self, kind: ChunkKind, plain: &[u8]) -> ChunkId {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(plain).update(&[kind as u8]);
        ChunkId(*hasher.finalize().as_bytes())
    }
}

impl CutKey {
    /// The table of chunker 1: 256 random words.
    pub fn gear(&self) -> Zeroizing<Vec<u64>> {
        let mut bytes = Zeroizing::new([0u8; 256 * 8]);
        blake3::Hasher::new_derive_key(context::GEAR).update(&self.0).finalize_xof().fill(&mut bytes[..]);
        let word = |b: &[u8]| b.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b));
        Zeroizing::new(bytes.chunks_exact(8).map(word).collect())
    }

    /// The key under which trees decide where they break; its first 16 bytes serve where a short key is wanted.
    pub fn tree(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context::TREE_CUT, &self.0))
    }
}

impl FingerprintKey {
    /// The fingerprint of a record: the first 8 bytes of keyed BLAKE3, little-endian.
    pub fn fingerprint(&self, record: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.0, record);
        hash.as_bytes().iter().take(8).rev().fold(0, |w, b| w << 8 | u64::from(*b))
    }

    /// The key of the digests of runs.
    pub fn run_digest(&self) -> RunDigestKey {
        RunDigestKey(blake3::derive_key(context::RUN_DIGEST, &self.0))
    }
}

/// The four keys that live as long as the repository. Every key set holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoKeys {
    /// Names chunks.
    pub chunk_id: ChunkIdKey,
    /// Decides where data is cut into chunks and where trees break.
    pub cut: CutKey,
    /// Computes fingerprints of records.
    pub fingerprint: FingerprintKey,
    /// Seals the lists of packs and index objects.
    pub index: IndexKey,
}

impl RepoKeys {
    /// From the repository secret: 32 random bytes drawn at its creation and kept nowhere.
    pub fn derive(secret: &[u8; 32]) -> RepoKeys {
        RepoKeys {
            chunk_id: ChunkIdKey(blake3::derive_key(context::CHUNK_ID, secret)),
            cut: CutKey(blake3::derive_key(context::CUT, secret)),
            fingerprint: FingerprintKey(blake3::derive_key(context::FINGERPRINT, secret)),
            index: IndexKey(blake3::derive_key(context::INDEX, secret)),
        }
    }
}

/// An Ed25519 signature.
pub type Signature = [u8; 64];
/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// What is signed. Its number is the first byte under the signature, so that none stands for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Signed {
    /// The configuration.
    Config = 1,
    /// A log entry.
    LogEntry = 3,
    /// A checkpoint.
    Checkpoint = 4,
    /// A snapshot.
    Snapshot = 5,
    /// An index object.
    Index = 7,
}

/// An Ed25519 secret key, of a writer or of the administrator.
#[derive(Clone, PartialEq, Eq)]
pub struct SignKey(SigningKey);

impl SignKey {
    /// From 32 random bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> SignKey {
        SignKey(SigningKey::from_bytes(secret))
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public key.
    pub fn id(&self) -> WriterId {
        WriterId(self.0.verifying_key().to_bytes())
    }

    /// Signs: one byte of kind, the repository, BLAKE3 of the bytes.
    pub fn sign(&self, what: Signed, repo: &RepoId, bytes: &[u8]) -> Signature {
        self.0.sign(&signed_message(what, repo, bytes)).to_bytes()
    }
}

impl fmt::Debug for SignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignKey({:?})", self.id())
    }
}

fn signed_message(what: Signed, repo: &RepoId, bytes: &[u8]) -> [u8; 65] {
    let mut message = [0; 65];
    message[0] = what as u8;
    message[1..33].copy_from_slice(&repo.0);
    message[33..].copy_from_slice(blake3::hash(bytes).as_bytes());
    message
}

impl WriterId {
    /// Checks a signature.
    pub fn verify(&self, what: Signed, repo: &RepoId, bytes: &[u8], signature: &Signature) -> Result<()> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| FormatError::Invalid("public key"))?;
        key.verify_strict(&signed_message(what, repo, bytes), &DalekSignature::from_bytes(signature))
            .map_err(|_| FormatError::Mismatch("signature"))
    }
}

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
    secret: StaticSecret,
}

impl fmt::Debug for ContentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentSecret(epoch {})", self.epoch)
    }
}

impl ContentSecret {
    /// From 32 random bytes.
    pub fn from_bytes(epoch: u32, secret: [u8; 32]) -> ContentSecret {
        ContentSecret { epoch, secret: StaticSecret::from(secret) }
    }

    /// Which one.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; 32] {
        self.secret.as_bytes()
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> ContentPublic {
        ContentPublic { epoch: self.epoch, key: PublicKey::from(&self.secret).to_bytes() }
    }
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
        let secret = StaticSecret::from(ephemeral);
        let ephemeral = PublicKey::from(&secret).to_bytes();
        let shared = secret.diffie_hellman(&PublicKey::from(to.key));
        if !shared.was_contributory() {
            return Err(FormatError::Invalid("content public key"));
        }
        let wrap = wrap_key(shared.as_bytes(), &ephemeral, &to.key);
        let mut sealed = Vec::with_capacity(48);
        sealed.extend_from_slice(&key.0);
        header::seal(&wrap, &[0; 24], &wrap_aad(repo, session, to.epoch), &mut sealed, 0)?;
        let sealed = sealed.try_into().map_err(|_| FormatError::Invalid("wrapped session key"))?;
        Ok(WrappedKey { epoch: to.epoch, ephemeral, sealed })
    }

    /// The content key. [`FormatError::WrongKey`] where no secret of its epoch is given.
    pub fn unwrap(&self, secrets: &[ContentSecret], repo: &RepoId, session: &SessionId) -> Result<ContentKey> {
        let own = secrets.iter().find(|s| s.epoch == self.epoch);
        let own = own.ok_or(FormatError::WrongKey("session key of another epoch"))?;
        let shared = own.secret.diffie_hellman(&PublicKey::from(self.ephemeral));
        if !shared.was_contributory() {
            return Err(FormatError::Invalid("ephemeral key of a session"));
        }
        let wrap = wrap_key(shared.as_bytes(), &self.ephemeral, &own.public().key);
        let mut plain = Zeroizing::new(self.sealed.to_vec());
        header::open(&wrap, &[0; 24], &wrap_aad(repo, session, self.epoch), &mut plain, "wrapped session key")?;
        let bytes = plain.as_slice().try_into().map_err(|_| FormatError::Invalid("wrapped session key"))?;
        Ok(ContentKey(bytes))
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

fn wrap_key(shared: &[u8; 32], ephemeral: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context::SESSION_WRAP);
    hasher.update(shared).update(ephemeral).update(public);
    let key = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.zeroize();
    key
}

fn wrap_aad(repo: &RepoId, session: &SessionId, epoch: u32) -> Vec<u8> {
    let mut aad = repo.0.to_vec();
    aad.extend_from_slice(&session.0);
    aad.put_u32(epoch);
    aad
}
