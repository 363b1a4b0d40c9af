//! Remarks (SPEC "Remarks"): the administrator's word on a snapshot. That it is pinned is plain; why, and its labels, are sealed.
//!
//! ```text
//! remark = pinned u8 │ nonce 24 │ sealed string
//! sealed = reason string │ 0, or 1 and list of label string │ zeros, tag 16
//! ```

use std::collections::BTreeSet;

use crate::error::{FormatError, Result};
use crate::header::{self, Nonce, TAG_LEN};
use crate::id::{RepoId, SnapshotId};
use crate::key::IndexKey;
use crate::limits::REMARK_MAX;
use crate::wire::{Put, Reader};

/// What is sealed is a multiple of it, so that its length tells little.
pub const REMARK_PADDING: usize = 64;

/// A remark, as the log and checkpoints hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// A pinned snapshot is not forgotten.
    pub pinned: bool,
    /// Of what is sealed.
    pub nonce: Nonce,
    /// The rest of a [`Remark`], and the tag; empty: there is no remark.
    pub bytes: Vec<u8>,
}

impl Sealed {
    /// Takes a remark back.
    pub const NONE: Sealed = Sealed { pinned: false, nonce: [0; 24], bytes: Vec::new() };

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.pinned));
        out.extend_from_slice(&self.nonce);
        out.put_string(&self.bytes);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Sealed> {
        let pinned = read_flag(r)?;
        let sealed = Sealed { pinned, nonce: r.array()?, bytes: r.string()?.to_vec() };
        if sealed.bytes.is_empty() {
            return if sealed == Sealed::NONE { Ok(sealed) } else { Err(FormatError::Invalid("remark")) };
        }
        match sealed.bytes.len().checked_sub(TAG_LEN) {
            Some(length) if length > REMARK_MAX => Err(FormatError::TooLarge("remark")),
            Some(length) if length > 0 && length.is_multiple_of(REMARK_PADDING) => Ok(sealed),
            _ => Err(FormatError::Invalid("length of a remark")),
        }
    }
}

/// What the administrator says of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remark {
    /// A pinned snapshot is not forgotten.
    pub pinned: bool,
    /// Why; empty where nobody said.
    pub reason: String,
    /// Labels in place of those that the backup was given; `None`: those stand.
    pub labels: Option<BTreeSet<String>>,
}

impl Remark {
    /// Seals it. The nonce must be fresh and random.
    pub fn seal(&self, of: &SnapshotId, repo: &RepoId, key: &IndexKey, nonce: Nonce) -> Result<Sealed> {
        if *self == Remark::default() {
            return Ok(Sealed::NONE);
        }
        let mut bytes = self.to_plain()?;
        header::seal(key.expose(), &nonce, &aad(repo, of), &mut bytes, 0)?;
        Ok(Sealed { pinned: self.pinned, nonce, bytes })
    }

    /// Opens it.
    pub fn open(sealed: &Sealed, of: &SnapshotId, repo: &RepoId, key: &IndexKey) -> Result<Remark> {
        if sealed.bytes.is_empty() {
            return Ok(Remark::default());
        }
        let mut plain = sealed.bytes.clone();
        header::open(key.expose(), &sealed.nonce, &aad(repo, of), &mut plain, "remark")?;
        Ok(Remark { pinned: sealed.pinned, ..Remark::of_plain(&plain)? })
    }

    fn to_plain(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        out.put_string(self.reason.as_bytes());
        out.push(u8::from(self.labels.is_some()));
        if let Some(labels) = &self.labels {
            out.put_varint(labels.len() as u64);
            labels.iter().for_each(|label| out.put_string(label.as_bytes()));
        }
        out.resize(out.len().next_multiple_of(REMARK_PADDING), 0);
        if out.len() > REMARK_MAX {
            return Err(FormatError::TooLarge("remark"));
        }
        Ok(out)
    }

    /// What is sealed: reason and labels, of one that is not pinned.
    pub(crate) fn of_plain(plain: &[u8]) -> Result<Remark> {
        let mut r = Reader::new(plain, "remark");
        let reason = r.text()?.to_owned();
        let mut labels: Option<BTreeSet<String>> = None;
        if read_flag(&mut r)? {
            let count = r.count(1)?;
            let all = labels.insert(BTreeSet::new());
            for _ in 0..count {
                let label = r.text()?;
                if all.last().is_some_and(|last| last.as_str() >= label) {
                    return Err(FormatError::Invalid("order of labels"));
                }
                all.insert(label.to_owned());
            }
        }
        let rest = r.bytes(r.remaining())?;
        if rest.len() >= REMARK_PADDING || rest.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Invalid("padding of a remark"));
        }
        Ok(Remark { pinned: false, reason, labels })
    }
}

fn aad(repo: &RepoId, of: &SnapshotId) -> [u8; 64] {
    let mut aad = [0; 64];
    aad[..32].copy_from_slice(&repo.0);
    aad[32..].copy_from_slice(&of.0);
    aad
}

fn read_flag(r: &mut Reader<'_>) -> Result<bool> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Invalid("remark")),
    }
}
