//! Marks of trimming (SPEC "Trimming"): entries of the log before a number may be gone. They stand as long as the repository, so
//! that a number whose entry is gone stays taken.
//!
//! ```text
//! header │ n u64 │ signature 64
//! ```

use crate::config::Config;
use crate::error::{FormatError, Result};
use crate::header;
use crate::id::RepoId;
use crate::key::{SIGNATURE_LEN, SignKey, Signed};
use crate::limits::TRIM_EVERY;
use crate::names::{Name, ObjectKind};
use crate::wire::{Put, Reader};

/// The mark that stands where entry `n` may be gone.
pub fn mark_of(n: u64) -> Name {
    Name::Trim((n / TRIM_EVERY).saturating_add(1).saturating_mul(TRIM_EVERY))
}

/// The mark that entries before `n` may be gone, and its name; `n` is a multiple of [`TRIM_EVERY`].
pub fn encode(n: u64, repo: &RepoId, key: &SignKey) -> Result<(Name, Vec<u8>)> {
    check(n)?;
    let mut out = Vec::new();
    header::put(&mut out, ObjectKind::Trim);
    out.put_u64(n);
    let signature = key.sign(Signed::Trim, repo, &out);
    out.extend_from_slice(&signature);
    Ok((Name::Trim(n), out))
}

/// Whether this is the mark of that number, by the administrator.
pub fn verify(n: u64, bytes: &[u8], config: &Config) -> Result<()> {
    let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
        return Err(FormatError::Truncated("mark of trimming"));
    };
    let mut r = Reader::new(signed, "mark of trimming");
    header::read(&mut r, ObjectKind::Trim)?;
    if r.u64()? != n {
        return Err(FormatError::Mismatch("number of a mark of trimming"));
    }
    r.end()?;
    check(n)?;
    config.admin.verify(Signed::Trim, &config.repo, signed, signature)
}

fn check(n: u64) -> Result<()> {
    match n > 0 && n.is_multiple_of(TRIM_EVERY) {
        true => Ok(()),
        false => Err(FormatError::Invalid("number of a mark of trimming")),
    }
}
