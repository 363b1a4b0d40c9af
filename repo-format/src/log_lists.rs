//! The lists in log entries and checkpoints, and their items.

use crate::credential::Sets;
use crate::error::{FormatError, Result};
use crate::id::{CredentialId, ObjectHash, SessionId};
use crate::limits::LOG_LIST_MAX;
use crate::log::{Listed, LostFrames};
use crate::names::{IndexName, PackName};
use crate::recipient::{Grant, Recipient};
use crate::wire::{Put, Reader};

/// Fails where items do not ascend strictly: one list has one encoding.
pub(crate) fn sorted<T: Ord>(mut items: impl Iterator<Item = T>) -> Result<()> {
    let Some(mut last) = items.next() else { return Ok(()) };
    for item in items {
        if last >= item {
            return Err(FormatError::Invalid("order of a list in the log"));
        }
        last = item;
    }
    Ok(())
}

pub(crate) fn put_list<T: Ord>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) -> Result<()> {
    sorted(items.iter())?;
    put_list_unsorted(out, items, put)
}

pub(crate) fn put_list_unsorted<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) -> Result<()> {
    if items.len() > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    out.put_varint(items.len() as u64);
    items.iter().for_each(|item| put(out, item));
    Ok(())
}

pub(crate) fn put_listed(out: &mut Vec<u8>, (id, listed): &(CredentialId, Listed)) {
    out.extend_from_slice(&id.0);
    out.push(listed.sets.0);
    out.extend_from_slice(&listed.public.0);
}

pub(crate) fn read_listed(r: &mut Reader<'_>) -> Result<(CredentialId, Listed)> {
    let id = CredentialId(r.array()?);
    let listed = Listed { sets: Sets(r.u8()?), public: Recipient(r.array()?) };
    match listed.sets.0 {
        0 if listed != Listed::GONE => Err(FormatError::Invalid("credential that is removed")),
        sets if sets > Sets::ALL.0 => Err(FormatError::Unsupported(format!("key sets {sets}"))),
        _ => Ok((id, listed)),
    }
}

pub(crate) fn put_grant(out: &mut Vec<u8>, grant: &Grant) {
    out.extend_from_slice(&grant.ephemeral);
    out.extend_from_slice(&grant.sealed);
}

pub(crate) fn read_grant(r: &mut Reader<'_>) -> Result<Grant> {
    Ok(Grant { ephemeral: r.array()?, sealed: r.array()? })
}

/// Items that ascend strictly by their first field.
pub(crate) fn read_named<K: Ord + Copy, V>(
    r: &mut Reader<'_>,
    each: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<(K, V)>,
) -> Result<Vec<(K, V)>> {
    let count = r.count(each)?;
    if count > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    let items = (0..count).map(|_| read(r)).collect::<Result<Vec<_>>>()?;
    sorted(items.iter().map(|item| item.0))?;
    Ok(items)
}

pub(crate) fn read_list<T: Ord>(
    r: &mut Reader<'_>,
    each: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = r.count(each)?;
    if count > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    let items = (0..count).map(|_| read(r)).collect::<Result<Vec<T>>>()?;
    sorted(items.iter())?;
    Ok(items)
}

pub(crate) fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    out.extend_from_slice(bytes.unwrap_or(&[]));
}

pub(crate) fn read_option<const N: usize>(r: &mut Reader<'_>) -> Result<Option<[u8; N]>> {
    match r.u8()? {
        0 => Ok(None),
        1 => r.array().map(Some),
        _ => Err(FormatError::Invalid("log entry")),
    }
}

pub(crate) fn put_pack(out: &mut Vec<u8>, name: &PackName) {
    out.extend_from_slice(&name.to_bytes());
}

pub(crate) fn read_pack(r: &mut Reader<'_>) -> Result<PackName> {
    PackName::read(r)
}

pub(crate) fn put_index(out: &mut Vec<u8>, name: &IndexName) {
    out.extend_from_slice(&name.session.0);
    out.extend_from_slice(&name.hash.0);
}

pub(crate) fn read_index(r: &mut Reader<'_>) -> Result<IndexName> {
    Ok(IndexName { session: SessionId(r.array()?), hash: ObjectHash(r.array()?) })
}

pub(crate) fn put_lost(out: &mut Vec<u8>, lost: &[LostFrames]) -> Result<()> {
    out.push(6);
    sorted(lost.iter().map(|l| l.pack))?;
    if lost.iter().map(|l| l.frames.len() + 1).sum::<usize>() > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    out.put_varint(lost.len() as u64);
    for item in lost {
        put_pack(out, &item.pack);
        put_list(out, &item.frames, |out, at| out.put_u32(*at))?;
    }
    Ok(())
}

pub(crate) fn read_lost(r: &mut Reader<'_>) -> Result<Vec<LostFrames>> {
    let count = r.count(PackName::LEN + 1)?;
    if count > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    let mut lost = Vec::with_capacity(count);
    for _ in 0..count {
        lost.push(LostFrames { pack: read_pack(r)?, frames: read_list(r, 4, |r| r.u32())? });
    }
    if lost.iter().map(|l| l.frames.len() + 1).sum::<usize>() > LOG_LIST_MAX {
        return Err(FormatError::TooLarge("list in the log"));
    }
    sorted(lost.iter().map(|l| l.pack))?;
    Ok(lost)
}
