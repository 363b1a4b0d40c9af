//! What every object starts with (SPEC "Object header"), and the box that seals all but frames.
//!
//! ```text
//! "onefold" 7 │ kind u8 │ version u8 │ count of features varint │ count × name string
//! ```

use crate::error::{FormatError, Result};
use crate::limits::{FEATURE_NAME_MAX, FEATURES_MAX, VERSION};
use crate::names::ObjectKind;
use crate::wire::{Put, Reader};
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, Key, KeyInit, Tag, XChaCha20Poly1305, XNonce};

/// First bytes of every object.
pub const MAGIC: &[u8; 7] = b"onefold";

/// Must-understand features that this program knows, of any unit. None yet.
pub const KNOWN_FEATURES: [&str; 0] = [];

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
/// Bytes of a nonce.
pub const NONCE_LEN: usize = 24;
/// A nonce: drawn at random for each use, never used twice under a key.
pub type Nonce = [u8; NONCE_LEN];

/// Appends the header of an object without features.
pub(crate) fn put(out: &mut Vec<u8>, kind: ObjectKind) {
    out.extend_from_slice(MAGIC);
    out.push(kind as u8);
    out.push(VERSION);
    out.put_varint(0);
}

/// Reads a header; refuses another kind, a newer version, an unknown feature.
pub(crate) fn read(r: &mut Reader<'_>, kind: ObjectKind) -> Result<()> {
    if r.array::<7>()? != *MAGIC {
        return Err(FormatError::Invalid("first bytes of the object"));
    }
    if r.u8()? != kind as u8 {
        return Err(FormatError::Invalid("kind of the object"));
    }
    let version = r.u8()?;
    if version > VERSION {
        return Err(FormatError::Unsupported(format!("{} version {version}", kind.word())));
    }
    read_features(r, kind.word())
}

/// Reads a list of must-understand features and refuses the first unknown one by its name.
fn read_features(r: &mut Reader<'_>, unit: &str) -> Result<()> {
    let count = r.count(1)?;
    if count > FEATURES_MAX {
        return Err(FormatError::TooLarge("list of features"));
    }
    for _ in 0..count {
        let name = r.text()?;
        if name.len() > FEATURE_NAME_MAX {
            return Err(FormatError::TooLarge("name of a feature"));
        }
        if !KNOWN_FEATURES.contains(&name) {
            return Err(FormatError::Unsupported(format!("{unit} feature {name:?}")));
        }
    }
    Ok(())
}

/// Encrypts `buffer[from..]` in place and appends the tag.
pub(crate) fn seal(key: &[u8; 32], nonce: &Nonce, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<()> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    let text = buffer.get_mut(from..).ok_or(FormatError::Invalid("start of the sealed part"))?;
    let tag = cipher
        .encrypt_inout_detached(&XNonce::from(*nonce), aad, text.into())
        .map_err(|_| FormatError::TooLarge("sealed part"))?;
    buffer.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts `buffer`, whose last bytes are the tag, in place and drops the tag.
pub(crate) fn open(key: &[u8; 32], nonce: &Nonce, aad: &[u8], buffer: &mut Vec<u8>, what: &'static str) -> Result<()> {
    let Some((text, tag)) = buffer.split_last_chunk_mut::<TAG_LEN>() else {
        return Err(FormatError::Truncated(what));
    };
    let tag = Tag::from(*tag);
    decrypt(key, nonce, aad, text.into(), &tag, what)?;
    buffer.truncate(buffer.len() - TAG_LEN);
    Ok(())
}

/// Decrypts `sealed`, whose last bytes are the tag, into the start of `memory`, which grows if need be, and shows it there.
pub(crate) fn open_into<'m>(
    key: &[u8; 32],
    nonce: &Nonce,
    aad: &[u8],
    sealed: &[u8],
    memory: &'m mut Vec<u8>,
    what: &'static str,
) -> Result<&'m [u8]> {
    let Some((text, tag)) = sealed.split_last_chunk::<TAG_LEN>() else {
        return Err(FormatError::Truncated(what));
    };
    if memory.len() < text.len() {
        memory.resize(text.len(), 0);
    }
    let opened = &mut memory[..text.len()];
    let both = InOutBuf::new(text, opened).map_err(|_| FormatError::Truncated(what))?;
    decrypt(key, nonce, aad, both, &Tag::from(*tag), what)?;
    Ok(&memory[..text.len()])
}

fn decrypt(
    key: &[u8; 32],
    nonce: &Nonce,
    aad: &[u8],
    text: InOutBuf<'_, '_, u8>,
    tag: &Tag,
    what: &'static str,
) -> Result<()> {
    let cipher = XChaCha20Poly1305::new(&Key::from(*key));
    cipher.decrypt_inout_detached(&XNonce::from(*nonce), aad, text, tag).map_err(|_| FormatError::Mismatch(what))
}
