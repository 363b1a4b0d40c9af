//! Checkpoints (SPEC "Checkpoints"): the state after an entry, so that opening a repository reads few entries.
//! Believed only from the administrator, and by a writer from itself.
//!
//! ```text
//! header │ signer 32 │ n u64 │ hash of n 32 │ unix ms u64 │ writers │ sessions │ snapshots │ remarks │ held
//!        │ indexes │ condemned │ lost │ basis u64 │ withdrawn u64 │ content keys │ credentials │ grants
//!        │ signature 64
//! ```

use crate::config::Config;
use crate::error::{FormatError, Result};
use crate::header;
use crate::id::{CredentialId, ObjectHash, RepoId, SessionId, SnapshotId, WriterId};
use crate::key::{SIGNATURE_LEN, SignKey, Signed};
use crate::limits::{CHECKPOINT_EVERY, CHECKPOINT_MAX};
use crate::log::Roles;
use crate::log_lists::{put_grant, put_index, put_listed, put_pack, read_grant, read_index, read_listed, read_pack};
use crate::log_state::{Committed, IndexState, Session, State};
use crate::names::{Name, ObjectKind, PackName};
use crate::remark::Sealed;
use crate::wire::{Put, Reader};
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// Whether a checkpoint is due after the last entry.
    pub fn checkpoint_due(&self) -> bool {
        self.n > 0 && self.n.is_multiple_of(CHECKPOINT_EVERY)
    }

    /// The state as an object and its name. [`FormatError::TooLarge`] where the repository has outgrown checkpoints.
    pub fn to_checkpoint(&self, repo: &RepoId, key: &SignKey) -> Result<(Name, Vec<u8>)> {
        let mut out = Vec::new();
        header::put(&mut out, ObjectKind::Checkpoint);
        out.extend_from_slice(&key.id().0);
        out.put_u64(self.n);
        out.extend_from_slice(&self.head.0);
        out.put_u64(self.time_ms);
        put_all(&mut out, self.writers.iter(), |out, (id, roles)| {
            out.extend_from_slice(&id.0);
            out.push(roles.0);
        });
        put_all(&mut out, self.sessions.iter(), |out, (id, session)| put_session(out, id, session));
        put_all(&mut out, self.snapshots.iter(), |out, (id, s)| {
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&s.session.0);
            out.extend_from_slice(&s.writer.0);
            out.put_u64(s.n);
            out.put_u64(s.time_ms);
            out.push(u8::from(s.vouched));
        });
        put_all(&mut out, self.remarks.iter(), |out, (id, remark)| {
            out.extend_from_slice(&id.0);
            remark.put(out);
        });
        put_all(&mut out, self.held.iter(), |out, id| out.extend_from_slice(&id.0));
        put_all(&mut out, self.indexes.iter(), |out, (name, state)| {
            put_index(out, name);
            out.extend_from_slice(&state.writer.0);
            out.push(u8::from(state.vouched));
        });
        put_all(&mut out, self.condemned.iter(), |out, (name, n)| {
            put_pack(out, name);
            out.put_u64(*n);
        });
        put_all(&mut out, self.lost.iter(), |out, (name, frames)| {
            put_pack(out, name);
            put_all(out, frames.iter(), |out, at| out.put_u32(*at));
        });
        out.put_u64(self.basis);
        out.put_u64(self.withdrawn);
        put_all(&mut out, self.content.iter(), |out, (epoch, key)| {
            out.put_u32(*epoch);
            out.extend_from_slice(key);
        });
        put_all(&mut out, self.credentials.iter(), |out, (id, listed)| put_listed(out, &(*id, *listed)));
        put_all(&mut out, self.grants.iter(), |out, ((epoch, id), grant)| {
            out.put_u32(*epoch);
            out.extend_from_slice(&id.0);
            put_grant(out, grant);
        });
        let signature = key.sign(Signed::Checkpoint, repo, &out);
        out.extend_from_slice(&signature);
        if out.len() > CHECKPOINT_MAX {
            return Err(FormatError::TooLarge("checkpoint"));
        }
        Ok((Name::Checkpoint(self.n, ObjectHash::of(&out)), out))
    }

    /// The state in a checkpoint. Refused ([`FormatError::WrongKey`]) unless the administrator signed it, or `own` did.
    /// It says nothing of what came later: read on from entry n+1, whose chain must fit.
    pub fn from_checkpoint(name: &Name, bytes: &[u8], config: &Config, own: Option<&WriterId>) -> Result<State> {
        let (repo, admin) = (&config.repo, &config.admin);
        if bytes.len() > CHECKPOINT_MAX {
            return Err(FormatError::TooLarge("checkpoint"));
        }
        name.verify(bytes)?;
        let Some((signed, signature)) = bytes.split_last_chunk::<SIGNATURE_LEN>() else {
            return Err(FormatError::Truncated("checkpoint"));
        };
        let mut r = Reader::new(signed, "checkpoint");
        header::read(&mut r, ObjectKind::Checkpoint)?;
        let signer = WriterId(r.array()?);
        if signer != *admin && Some(&signer) != own {
            return Err(FormatError::WrongKey("checkpoint"));
        }
        signer.verify(Signed::Checkpoint, repo, signed, signature)?;
        let (n, head, time_ms) = (r.u64()?, ObjectHash(r.array()?), r.u64()?);
        if !matches!(name, Name::Checkpoint(number, _) if *number == n) {
            return Err(FormatError::Mismatch("checkpoint's name"));
        }
        let state = State {
            admin: *admin,
            atomic: config.create_atomic,
            n,
            head,
            time_ms,
            writers: read_all(&mut r, 33, |r| Ok((WriterId(r.array()?), Roles(r.u8()?))))?,
            sessions: read_all(&mut r, 58, read_session)?,
            snapshots: read_all(&mut r, 97, |r| Ok((SnapshotId(r.array()?), read_committed(r)?)))?,
            remarks: read_all(&mut r, 58, |r| Ok((SnapshotId(r.array()?), read_remark(r)?)))?,
            held: read_set(&mut r, 32, |r| Ok(SnapshotId(r.array()?)))?,
            indexes: read_all(&mut r, 81, |r| {
                let name = read_index(r)?;
                Ok((name, IndexState { writer: WriterId(r.array()?), vouched: read_bool(r)? }))
            })?,
            condemned: read_all(&mut r, PackName::LEN + 8, |r| Ok((read_pack(r)?, r.u64()?)))?,
            lost: read_all(&mut r, PackName::LEN + 1, |r| Ok((read_pack(r)?, read_set(r, 4, |r| r.u32())?)))?,
            basis: r.u64()?,
            withdrawn: r.u64()?,
            content: read_all(&mut r, 36, |r| Ok((r.u32()?, r.array()?)))?,
            credentials: read_all(&mut r, 65, read_listed)?,
            grants: read_all(&mut r, 116, |r| Ok(((r.u32()?, CredentialId(r.array()?)), read_grant(r)?)))?,
        };
        r.end()?;
        Ok(state)
    }
}

fn put_all<T>(out: &mut Vec<u8>, items: impl ExactSizeIterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.put_varint(items.len() as u64);
    items.for_each(|item| put(out, item));
}

fn put_session(out: &mut Vec<u8>, id: &SessionId, session: &Session) {
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&session.writer.0);
    out.put_u64(session.time_ms);
    put_all(out, session.bases.iter(), |out, id| out.extend_from_slice(&id.0));
    put_all(out, session.adopted.iter(), |out, id| out.extend_from_slice(&id.0));
}

fn read_session(r: &mut Reader<'_>) -> Result<(SessionId, Session)> {
    let id = SessionId(r.array()?);
    let (writer, time_ms) = (WriterId(r.array()?), r.u64()?);
    let bases = read_vec(r, 32, |r| Ok(SnapshotId(r.array()?)))?;
    let adopted = read_vec(r, 16, |r| Ok(SessionId(r.array()?)))?;
    Ok((id, Session { writer, time_ms, bases, adopted }))
}

fn read_committed(r: &mut Reader<'_>) -> Result<Committed> {
    let (session, writer) = (SessionId(r.array()?), WriterId(r.array()?));
    Ok(Committed { session, writer, n: r.u64()?, time_ms: r.u64()?, vouched: read_bool(r)? })
}

/// One that says nothing is not in the state.
fn read_remark(r: &mut Reader<'_>) -> Result<Sealed> {
    match Sealed::read(r)? {
        sealed if sealed == Sealed::NONE => Err(FormatError::Invalid("checkpoint")),
        sealed => Ok(sealed),
    }
}

fn read_bool(r: &mut Reader<'_>) -> Result<bool> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Invalid("checkpoint")),
    }
}

/// Items ascend strictly, so that one state has one encoding.
fn read_vec<T: Ord>(r: &mut Reader<'_>, each: usize, read: impl Fn(&mut Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    let items = (0..r.count(each)?).map(|_| read(r)).collect::<Result<Vec<T>>>()?;
    if items.windows(2).any(|w| w[0] >= w[1]) {
        return Err(FormatError::Invalid("order of a checkpoint"));
    }
    Ok(items)
}

fn read_set<T: Ord>(
    r: &mut Reader<'_>,
    each: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<BTreeSet<T>> {
    Ok(read_vec(r, each, read)?.into_iter().collect())
}

fn read_all<K: Ord, V>(
    r: &mut Reader<'_>,
    each: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<(K, V)>,
) -> Result<BTreeMap<K, V>> {
    let mut items = BTreeMap::new();
    for _ in 0..r.count(each)? {
        let (key, value) = read(r)?;
        if items.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(FormatError::Invalid("order of a checkpoint"));
        }
        items.insert(key, value);
    }
    Ok(items)
}
