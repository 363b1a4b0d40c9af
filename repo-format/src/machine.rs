//! What a machine keeps for itself of what it wrote, sealed under its writer's key. Not of the format: it never leaves the machine.
//!
//! ```text
//! "onefold state" │ version u8 │ nonce 24 │ sealed …, tag 16
//! ```
//! Associated data: what stands before the nonce, the repository's id, and what the caller says it is.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::error::{FormatError, Result};
use crate::header::{self, Nonce};
use crate::id::RepoId;
use crate::key::SignKey;
use crate::wire::Reader;
use zeroize::Zeroizing;

const MAGIC: &[u8; 13] = b"onefold state";
const VERSION: u8 = 0;
/// The key that seals it, from the writer's secret.
const KEY: &str = "onefold machine state key v1";

fn key(writer: &SignKey) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(KEY, writer.expose()))
}

fn aad(repo: &RepoId, of: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &[VERSION], &repo.0, of].concat()
}

/// A fingerprint of a body, by a secret of this machine alone: SipHash-2-4 of 128 bits. Who may write rows, and does not know the secret,
/// finds no two bodies with one fingerprint.
pub fn print(secret: &[u8; 16], body: &[u8]) -> [u8; 16] {
    let mut hasher = SipHasher24::new_with_key(secret);
    hasher.write(body);
    let hash = hasher.finish128();
    u128::from(hash.h1).wrapping_shl(64).wrapping_add(u128::from(hash.h2)).to_le_bytes()
}

/// Seals `plain`. `of` says what it is, so that one file is not taken for another; the nonce must be fresh and random.
pub fn seal(writer: &SignKey, repo: &RepoId, of: &[u8], nonce: &Nonce, plain: &[u8]) -> Result<Vec<u8>> {
    let mut out = [MAGIC.as_slice(), &[VERSION], nonce].concat();
    let from = out.len();
    out.extend_from_slice(plain);
    header::seal(&key(writer), nonce, &aad(repo, of), &mut out, from)?;
    Ok(out)
}

/// What was sealed. [`FormatError::WrongKey`] where another writer sealed it, for another repository or purpose, or a byte is another.
pub fn open(writer: &SignKey, repo: &RepoId, of: &[u8], bytes: &[u8]) -> Result<Vec<u8>> {
    let mut r = Reader::new(bytes, "state");
    if r.array::<13>()? != *MAGIC {
        return Err(FormatError::Invalid("first bytes of the state"));
    }
    match r.u8()? {
        VERSION => {}
        newer => return Err(FormatError::Unsupported(format!("state version {newer}"))),
    }
    let nonce: Nonce = r.array()?;
    let mut plain = r.bytes(r.remaining())?.to_vec();
    header::open(&key(writer), &nonce, &aad(repo, of), &mut plain, "state").map_err(|e| match e {
        FormatError::Mismatch(_) => FormatError::WrongKey("state"),
        e => e,
    })?;
    Ok(plain)
}
