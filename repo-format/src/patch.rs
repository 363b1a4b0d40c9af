//! How one node differs from one leaf of the reconciled view (SPEC "Patches").
//!
//! Ordinals count the records of the leaf from 0. Values are not here: what a node holds and the view has not is kept,
//! where it is kept, in a tree of its own.
//!
//! ```text
//! patch     = version u8 (0) │ ordinals missing │ ordinals extra │ differing stale
//! ordinals  = count varint │ ints gaps
//! differing = ordinals │ ints counts │ ints times │ times × hash u64
//! ```

use crate::error::{FormatError, Result};
use crate::ints::{Ints, put_ints};
use crate::leaf::RECORDS_MAX;
use crate::wire::{Put, Reader, unzigzag, zigzag};

const VERSION: u8 = 0;

/// What a node holds differently: cells that share a write time, and a keyed hash of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Version of the cells.
    pub time: i64,
    /// First eight bytes of the keyed BLAKE3 of their entries in canonical form.
    pub hash: u64,
}

/// A record that a node holds differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// Ordinal of the record.
    pub ordinal: u32,
    /// What the node holds that the view has not; empty if it merely lacks something.
    pub others: Vec<Other>,
}

/// A node's part in one leaf. Empty where it agrees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeafPatch {
    /// Ordinals of records that the node should hold and does not.
    pub missing: Vec<u32>,
    /// Records that it should hold and holds differently.
    pub stale: Vec<Differing>,
    /// Ordinals of records outside its ranges that it holds all the same.
    pub extra: Vec<u32>,
}

impl LeafPatch {
    /// Whether the node agrees with the leaf.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.stale.is_empty() && self.extra.is_empty()
    }

    /// Appends the patch.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_ordinals(out, self.missing.iter().copied());
        put_ordinals(out, self.extra.iter().copied());
        put_differing(out, &self.stale);
    }

    /// Reads a patch.
    pub fn read(bytes: &[u8]) -> Result<LeafPatch> {
        let mut r = Reader::new(bytes, "patch");
        let version = r.u8()?;
        if version != VERSION {
            return Err(FormatError::Unsupported(format!("patch version {version}")));
        }
        let missing = read_ordinals(&mut r)?;
        let extra = read_ordinals(&mut r)?;
        let stale = read_differing(&mut r)?;
        r.end()?;
        // A record is in one of the lists at most.
        bounded((missing.len() + extra.len() + stale.len()) as u64, RECORDS_MAX)?;
        Ok(LeafPatch { missing, stale, extra })
    }
}

fn put_ordinals(out: &mut Vec<u8>, ordinals: impl Iterator<Item = u32>) {
    let mut last = 0;
    let gaps: Vec<u64> = ordinals
        .map(|o| {
            let gap = o - last;
            last = o;
            u64::from(gap)
        })
        .collect();
    out.put_varint(gaps.len() as u64);
    put_ints(out, &gaps, &mut Vec::new());
}

fn read_ordinals(r: &mut Reader<'_>) -> Result<Vec<u32>> {
    let n = bounded(r.varint()?, RECORDS_MAX)?;
    let mut gaps = Ints::read(r, n)?;
    let mut ordinals = Vec::with_capacity(n);
    let mut at = 0u64;
    for i in 0..n {
        let gap = gaps.next_int()?;
        at = at.saturating_add(gap);
        if at >= RECORDS_MAX as u64 || (i > 0 && gap == 0) {
            return Err(FormatError::Invalid("ordinal"));
        }
        ordinals.push(at as u32);
    }
    Ok(ordinals)
}

fn put_differing(out: &mut Vec<u8>, records: &[Differing]) {
    put_ordinals(out, records.iter().map(|d| d.ordinal));
    let counts: Vec<u64> = records.iter().map(|d| d.others.len() as u64).collect();
    put_ints(out, &counts, &mut Vec::new());
    let others = || records.iter().flat_map(|d| &d.others);
    let times: Vec<u64> = others().map(|o| zigzag(o.time)).collect();
    put_ints(out, &times, &mut Vec::new());
    others().for_each(|o| out.put_u64(o.hash));
}

fn read_differing(r: &mut Reader<'_>) -> Result<Vec<Differing>> {
    let ordinals = read_ordinals(r)?;
    let mut counts = Ints::read(r, ordinals.len())?;
    let mut again = counts;
    let total = ordinals.iter().try_fold(0u64, |sum, _| again.next_int().map(|n| sum.saturating_add(n)))?;
    let total = bounded(total, r.remaining() / 8)?;
    let mut times = Ints::read(r, total)?;
    let mut out = Vec::with_capacity(ordinals.len());
    for ordinal in ordinals {
        let others = (0..counts.next_int()?)
            .map(|_| Ok(Other { time: unzigzag(times.next_int()?), hash: r.u64()? }))
            .collect::<Result<_>>()?;
        out.push(Differing { ordinal, others });
    }
    Ok(out)
}

/// A list names each record of a leaf at most once.
fn bounded(n: u64, most: usize) -> Result<usize> {
    if n > most as u64 {
        return Err(FormatError::TooLarge("patch"));
    }
    Ok(n as usize)
}
