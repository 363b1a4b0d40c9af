//! Counter contexts (`CounterContext`), all integers big-endian:
//! ```text
//! header  = n i16 │ n × i16     one for each shard that is not remote: its index, for global ones less 32768
//! shard   = id 16 bytes │ clock i64 │ count i64       ascending by id
//! ```

use std::cmp::Ordering;

use super::Survivor;
use crate::error::{Error, Result};

const SHARD: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Remote,
    Local,
    Global,
}

#[derive(Debug, Clone, Copy)]
struct Shard {
    id: [u8; 16],
    clock: i64,
    count: i64,
    form: Form,
}

struct Shards<'a> {
    header: &'a [u8],
    body: &'a [u8],
    index: u16,
}

impl<'a> Shards<'a> {
    fn new(context: &'a [u8]) -> Result<Shards<'a>> {
        let bad = || Error::damaged("counter", format!("a context of {} bytes does not fit its header", context.len()));
        let (n, rest) = context.split_first_chunk::<2>().ok_or_else(bad)?;
        // Negative: marked so that whoever receives the context turns its local shards into remote ones.
        let n = usize::from(i16::from_be_bytes(*n).unsigned_abs());
        let (header, body) = rest.split_at_checked(2 * n).ok_or_else(bad)?;
        let fits = body.len() % SHARD == 0 && n <= body.len() / SHARD && body.len() / SHARD <= 1 << 15;
        if fits { Ok(Shards { header, body, index: 0 }) } else { Err(bad()) }
    }
}

impl Iterator for Shards<'_> {
    type Item = Shard;
    fn next(&mut self) -> Option<Shard> {
        let (shard, rest) = self.body.split_first_chunk::<SHARD>()?;
        self.body = rest;
        let form = match self.header.split_first_chunk::<2>() {
            Some((element, _)) if u16::from_be_bytes(*element) == self.index => Form::Local,
            Some((element, _)) if u16::from_be_bytes(*element) == self.index | 1 << 15 => Form::Global,
            _ => Form::Remote,
        };
        if form != Form::Remote {
            self.header = &self.header[2..];
        }
        self.index += 1;
        let i64_at = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&shard[at..at + 8]);
            i64::from_be_bytes(bytes)
        };
        let mut id = [0; 16];
        id.copy_from_slice(&shard[..16]);
        Some(Shard { id, clock: i64_at(16), count: i64_at(24), form })
    }
}

/// What a reader sees: the sum of all shards (`CounterContext.total`).
pub fn total(context: &[u8]) -> Result<i64> {
    Ok(Shards::new(context)?.fold(0, |sum: i64, shard| sum.wrapping_add(shard.count)))
}

/// Whether a shard from before 2.1 is in it. Merging two of them adds them up, so that merging twice counts twice:
/// such a table is kept byte for byte.
pub fn has_local_shards(context: &[u8]) -> Result<bool> {
    Ok(Shards::new(context)?.any(|shard| shard.form == Form::Local))
}

/// The shards of both, one for each id; one of the contexts as it is where the other adds nothing
/// (`CounterContext.merge`). The time of a merged one is left to the caller.
pub fn merge_contexts(a: &[u8], b: &[u8]) -> Result<Survivor> {
    let (mut left, mut right) = (Shards::new(a)?.peekable(), Shards::new(b)?.peekable());
    let (mut a_has_all, mut b_has_all) = (true, true);
    let mut merged = Vec::new();
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(l), Some(r)) => l.id.cmp(&r.id),
        };
        let l = if order != Ordering::Greater { left.next() } else { None };
        let r = if order != Ordering::Less { right.next() } else { None };
        match (l, r) {
            (Some(l), Some(r)) => {
                let (shard, a_holds, b_holds) = resolve(l, r);
                a_has_all &= a_holds;
                b_has_all &= b_holds;
                merged.push(shard);
            }
            (Some(shard), None) => {
                b_has_all = false;
                merged.push(shard);
            }
            (None, Some(shard)) => {
                a_has_all = false;
                merged.push(shard);
            }
            (None, None) => break,
        }
    }
    if a_has_all {
        return Ok(Survivor::First);
    }
    if b_has_all {
        return Ok(Survivor::Second);
    }
    if merged.len() > 1 << 15 {
        return Err(Error::damaged("counter", format!("{} shards", merged.len())));
    }
    Ok(Survivor::Merged { time: i64::MIN, context: write(&merged) })
}

/// The shard that stays, and whether the first and the second side hold it. Global over local over remote; two global
/// or remote ones by clock, then count; two local ones are added up (`CounterContext.compare`).
fn resolve(l: Shard, r: Shard) -> (Shard, bool, bool) {
    let order = match (l.form, r.form) {
        (Form::Local, Form::Local) => {
            let sum = Shard { clock: l.clock.wrapping_add(r.clock), count: l.count.wrapping_add(r.count), ..l };
            return (sum, false, false);
        }
        // Negative clocks, reset by hand long ago, count as greater than any other. Cassandra prefers a clock of 0 over
        // a positive one on the right and not on the left; there is no such clock, and a rule must not know sides.
        (Form::Remote, Form::Remote) => {
            let rank = |s: &Shard| (s.clock < 0, s.clock.unsigned_abs(), s.count);
            rank(&l).cmp(&rank(&r))
        }
        _ => l.form.cmp(&r.form).then(l.clock.cmp(&r.clock)).then(l.count.cmp(&r.count)),
    };
    match order {
        Ordering::Greater => (l, true, false),
        Ordering::Equal => (l, true, true),
        Ordering::Less => (r, false, true),
    }
}

fn write(shards: &[Shard]) -> Vec<u8> {
    let marked: Vec<u16> = (0_u16..)
        .zip(shards)
        .filter(|(_, s)| s.form != Form::Remote)
        .map(|(i, s)| if s.form == Form::Global { i | 1 << 15 } else { i })
        .collect();
    let mut out = Vec::with_capacity(2 + 2 * marked.len() + SHARD * shards.len());
    out.extend_from_slice(&(marked.len() as u16).to_be_bytes());
    marked.iter().for_each(|m| out.extend_from_slice(&m.to_be_bytes()));
    for shard in shards {
        out.extend_from_slice(&shard.id);
        out.extend_from_slice(&shard.clock.to_be_bytes());
        out.extend_from_slice(&shard.count.to_be_bytes());
    }
    out
}
