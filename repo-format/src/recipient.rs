//! X25519 keys of credentials (SPEC "Recipients"): as text like `age` writes them, and what is sealed to one.

use crate::error::{FormatError, Result};
use crate::header;
use crate::key::context;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use std::fmt;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// What a public key begins with, as text.
const PUBLIC: &str = "age";
/// What a secret begins with, as text in lower case; it is written in upper case.
const SECRET: &str = "age-secret-key-";
/// Secrets in one file.
const IDENTITIES_MAX: usize = 64;

/// A public key: what is sealed to it, its [`Identity`] opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient(pub [u8; 32]);

impl Recipient {
    /// From `age1…`. Blanks around it do not matter.
    ///
    /// Errors: [`FormatError::Unsupported`] for other kinds of `age`'s recipients, which say their kind.
    pub fn from_text(text: &str) -> Result<Recipient> {
        let text = text.trim();
        if other_kind(text) {
            return Err(FormatError::Unsupported("recipient of another kind than age1… (X25519)".into()));
        }
        let bytes = parse(text, PUBLIC).ok_or(FormatError::Invalid("recipient"))?;
        // Nothing can be sealed to a key to which every secret gives the same.
        let some = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(*bytes));
        match text.bytes().any(|b| b.is_ascii_uppercase()) || !some.was_contributory() {
            true => Err(FormatError::Invalid("recipient")),
            false => Ok(Recipient(*bytes)),
        }
    }

    /// `age1…`
    pub fn to_text(&self) -> String {
        write(PUBLIC, &self.0)
    }
}

/// `age1NAME1…` is of a plugin or of a newer kind.
fn other_kind(text: &str) -> bool {
    let rest = text.strip_prefix("age1").unwrap_or("");
    text.starts_with("ssh-") || rest.contains('1')
}

/// A secret: opens what is sealed to its [`Recipient`].
#[derive(Clone)]
pub struct Identity(StaticSecret);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// From 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Identity {
        Identity(StaticSecret::from(bytes))
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its public key.
    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0).to_bytes())
    }

    /// `AGE-SECRET-KEY-1…`
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut lower = write(SECRET, self.0.as_bytes());
        let upper = Zeroizing::new(lower.to_ascii_uppercase());
        lower.zeroize();
        upper
    }

    /// The secrets in a file as `age-keygen` writes it: one a line, `AGE-SECRET-KEY-1…`; empty lines and those that begin with
    /// `#` do not matter.
    ///
    /// Errors: [`FormatError::Unsupported`] for secrets of other kinds and for a file that is itself encrypted;
    /// [`FormatError::Invalid`] where none is there, or a line is none.
    pub fn all_from_text(text: &str) -> Result<Vec<Identity>> {
        let mut all = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with("age-encryption.org/") || line.starts_with("-----BEGIN AGE ENCRYPTED FILE") {
                return Err(FormatError::Unsupported("file of identities that is itself encrypted".into()));
            }
            if line.starts_with("AGE-PLUGIN-") || line.starts_with("AGE-SECRET-KEY-PQ-") || line.contains("PRIVATE KEY")
            {
                return Err(FormatError::Unsupported(
                    "identity of another kind than AGE-SECRET-KEY-1… (X25519)".into(),
                ));
            }
            if all.len() == IDENTITIES_MAX {
                return Err(FormatError::TooLarge("file of identities"));
            }
            if line.bytes().any(|b| b.is_ascii_lowercase()) {
                return Err(FormatError::Invalid("identity"));
            }
            let bytes = parse(line, SECRET).ok_or(FormatError::Invalid("identity"))?;
            all.push(Identity::from_bytes(*bytes));
        }
        match all.is_empty() {
            true => Err(FormatError::Invalid("file of identities")),
            false => Ok(all),
        }
    }
}

/// The 32 bytes of a key in text; `None` where it is none. One key has one text, but for its case.
fn parse(text: &str, what: &str) -> Option<Zeroizing<[u8; 32]>> {
    let parsed = CheckedHrpstring::new::<Bech32>(text).ok()?;
    if parsed.hrp() != Hrp::parse(what).ok()? || parsed.byte_iter().len() != 32 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.iter_mut().zip(parsed.byte_iter()).for_each(|(to, byte)| *to = byte);
    // The last bits that no byte needs are zero.
    let mut again = write(what, &bytes);
    let same = again.eq_ignore_ascii_case(text);
    again.zeroize();
    same.then_some(bytes)
}

fn write(what: &str, bytes: &[u8; 32]) -> String {
    // Neither can fail: the texts are constant and short.
    Hrp::parse(what).ok().and_then(|hrp| bech32::encode_lower::<Bech32>(hrp, bytes).ok()).unwrap_or_default()
}

/// The key for one message to `to`, and the public half of `ephemeral`: 32 fresh random bytes, used for this and nothing else.
pub(crate) fn key_to(to: &Recipient, ephemeral: [u8; 32], purpose: &str) -> Result<(Zeroizing<[u8; 32]>, [u8; 32])> {
    let secret = StaticSecret::from(ephemeral);
    let public = PublicKey::from(&secret).to_bytes();
    let key = exchange(&secret, &to.0, &public, &to.0, purpose).ok_or(FormatError::Invalid("recipient"))?;
    Ok((key, public))
}

/// The same key, as the recipient finds it.
pub(crate) fn key_from(own: &Identity, ephemeral: &[u8; 32], purpose: &str) -> Result<Zeroizing<[u8; 32]>> {
    exchange(&own.0, ephemeral, ephemeral, &own.recipient().0, purpose).ok_or(FormatError::Invalid("ephemeral key"))
}

/// `None` for a public key to which every secret gives the same.
fn exchange(
    secret: &StaticSecret,
    with: &[u8; 32],
    ephemeral: &[u8; 32],
    to: &[u8; 32],
    purpose: &str,
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(&PublicKey::from(*with));
    if !shared.was_contributory() {
        return None;
    }
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(shared.as_bytes()).update(ephemeral).update(to);
    let key = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.zeroize();
    Some(key)
}

/// The secret of a new epoch, sealed to one credential.
///
/// ```text
/// grant = ephemeral public key 32 │ sealed content secret 32 │ tag 16
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// X25519 public key made for this grant alone.
    pub ephemeral: [u8; 32],
    /// The content secret, sealed, and its tag.
    pub sealed: [u8; 48],
}

impl Grant {
    /// Seals `secret` to `to`. `aad` says what it is for. `ephemeral` is 32 fresh random bytes, used for this and nothing else.
    pub(crate) fn seal(to: &Recipient, aad: &[u8], secret: &[u8; 32], ephemeral: [u8; 32]) -> Result<Grant> {
        let (key, ephemeral) = key_to(to, ephemeral, context::EPOCH_GRANT)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(48));
        sealed.extend_from_slice(secret);
        header::seal(&key, &[0; 24], aad, &mut sealed, 0)?;
        let sealed = sealed.as_slice().try_into().map_err(|_| FormatError::Invalid("grant"))?;
        Ok(Grant { ephemeral, sealed })
    }

    /// What it holds.
    pub(crate) fn open(&self, own: &Identity, aad: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let key = key_from(own, &self.ephemeral, context::EPOCH_GRANT)?;
        let mut plain = Zeroizing::new(self.sealed.to_vec());
        header::open(&key, &[0; 24], aad, &mut plain, "grant").map_err(|_| FormatError::WrongKey("grant"))?;
        Ok(Zeroizing::new(plain.as_slice().try_into().map_err(|_| FormatError::Invalid("grant"))?))
    }
}
