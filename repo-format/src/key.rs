//! Keys (SPEC "Keys"): what each is for, how one is derived, and what it computes.
//! Everything secret is wiped when dropped and prints as nothing.

use crate::error::{FormatError, Result};
use crate::id::{ChunkId, ChunkKind, RepoId, WriterId};
use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

pub use crate::content::{ContentPublic, ContentSecret, SessionKey, WrappedKey};

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
    /// The key that seals a credential, from the X25519 exchange with its recipient.
    pub const CREDENTIAL_RECIPIENT: &str = "onefold v0 credential recipient";
    /// The X25519 secret of a credential itself, from what opens it.
    pub const CREDENTIAL_OWN: &str = "onefold v0 credential own key";
    /// The key that seals the secret of an epoch to one credential, from the X25519 exchange.
    pub const EPOCH_GRANT: &str = "onefold v0 epoch grant";
    /// The hash of a frame's list of chunks.
    pub const FRAME_LIST: &str = "onefold v0 frame list";

    /// All of them.
    pub const ALL: [&str; 14] = [
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
        CREDENTIAL_RECIPIENT,
        CREDENTIAL_OWN,
        EPOCH_GRANT,
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

    /// The secret of the breaks of trees: the first 16 bytes of [`CutKey::tree`].
    pub fn tree_secret(&self) -> [u8; 16] {
        let mut secret = [0; 16];
        secret.copy_from_slice(&self.tree()[..16]);
        secret
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
    /// A mark of trimming.
    Trim = 8,
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
