//! The home of randomness: nonces, keys and names come from the operating system.

use crate::error::{Error, Kind, Result};

/// So many random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::new(Kind::Io, "operating system's randomness", e))?;
    Ok(bytes)
}
