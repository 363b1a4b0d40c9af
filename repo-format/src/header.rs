//! What every object starts with (SPEC "Object header").
//!
//! ```text
//! "onefold" 7 │ kind u8 │ version u8 │ count of features varint │ count × name string
//! ```

use crate::error::{FormatError, Result};
use crate::limits::{FEATURE_NAME_MAX, FEATURES_MAX, VERSION};
use crate::names::ObjectKind;
use crate::wire::{Put, Reader};

pub(crate) use crate::cipher::{open, open_into, seal};

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
