//! The cipher: XChaCha20-Poly1305, as draft-irtf-cfrg-xchacha-03 makes it of HChaCha20 and ChaCha20-Poly1305 (RFC 8439).
//!
//! The first sixteen bytes of a nonce and the key give a key of its own by HChaCha20; the last eight, behind four zeros, are the nonce under
//! that one.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce as ShortNonce, UnboundKey};
use chacha20::R20;
use chacha20::hchacha;
use zeroize::Zeroizing;

use crate::error::{FormatError, Result};
use crate::header::{NONCE_LEN, Nonce, TAG_LEN};

/// Bytes of a nonce that make a key.
const LONG: usize = 16;

/// Key and nonce under which bytes are sealed.
fn derived(key: &[u8; 32], nonce: &Nonce, what: &'static str) -> Result<(LessSafeKey, ShortNonce)> {
    let (long, short) = nonce.split_at(LONG);
    let wrong = || FormatError::Invalid(what);
    let long: [u8; LONG] = long.try_into().map_err(|_| wrong())?;
    let subkey = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), &long.into())));
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*subkey).map_err(|_| wrong())?;
    let mut rest = [0; NONCE_LEN - LONG + 4];
    rest[4..].copy_from_slice(short);
    Ok((LessSafeKey::new(key), ShortNonce::assume_unique_for_key(rest)))
}

/// Encrypts `buffer[from..]` in place and appends the tag.
pub(crate) fn seal(key: &[u8; 32], nonce: &Nonce, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<()> {
    let (cipher, nonce) = derived(key, nonce, "key")?;
    let text = buffer.get_mut(from..).ok_or(FormatError::Invalid("start of the sealed part"))?;
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
        .map_err(|_| FormatError::TooLarge("sealed part"))?;
    buffer.extend_from_slice(tag.as_ref());
    Ok(())
}

/// Decrypts `buffer`, whose last bytes are the tag, in place and drops the tag.
pub(crate) fn open(key: &[u8; 32], nonce: &Nonce, aad: &[u8], buffer: &mut Vec<u8>, what: &'static str) -> Result<()> {
    if buffer.len() < TAG_LEN {
        return Err(FormatError::Truncated(what));
    }
    let (cipher, nonce) = derived(key, nonce, what)?;
    let length = cipher.open_in_place(nonce, Aad::from(aad), buffer).map_err(|_| FormatError::Mismatch(what))?.len();
    buffer.truncate(length);
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
    let (cipher, nonce) = derived(key, nonce, what)?;
    cipher.open_separate_gather(nonce, Aad::from(aad), text, tag, opened).map_err(|_| FormatError::Mismatch(what))?;
    Ok(&memory[..text.len()])
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Another implementation seals the same bytes, and what either sealed both open; changed, neither does.
        #[test]
        fn is_what_another_implementation_is(
            key: [u8; 32], nonce: [u8; 24], aad: Vec<u8>, text: Vec<u8>, changed: proptest::sample::Index,
        ) {
            let theirs = XChaCha20Poly1305::new(&key.into());
            let theirs = theirs.encrypt(&XNonce::from(nonce), Payload { msg: &text, aad: &aad }).unwrap();
            let mut ours = text.clone();
            seal(&key, &nonce, &aad, &mut ours, 0).unwrap();
            prop_assert_eq!(&ours, &theirs);
            let mut memory = Vec::new();
            prop_assert_eq!(open_into(&key, &nonce, &aad, &ours, &mut memory, "test").unwrap(), &text[..]);
            let mut damaged = ours.clone();
            let at = changed.index(damaged.len());
            damaged[at] ^= 1;
            prop_assert_eq!(open_into(&key, &nonce, &aad, &damaged, &mut memory, "test"), Err(FormatError::Mismatch("test")));
            open(&key, &nonce, &aad, &mut ours, "test").unwrap();
            prop_assert_eq!(ours, text);
            prop_assert_eq!(open(&key, &nonce, &aad, &mut damaged, "test"), Err(FormatError::Mismatch("test")));
        }
    }
}
