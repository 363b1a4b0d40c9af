//! Where in `Data.db` the partitions from a token on begin, as `Summary.db` and `Index.db` say (laid out as in
//! `write::index`). They have no checksums: what they say is a hint, which whoever reads the rows must prove
//! ([`piece`](super::piece)).
//!
//! A look-up takes two small reads for each halving of the summary, and the entries of `Index.db` between two samples, some
//! kilobytes. Neither file is ever held, however large it is.
//! Sources: `IndexSummary.IndexSummarySerializer`, `IndexSummary.binarySearch`, `RowIndexEntry`, `BigTableReader.getRowIndexEntry`.

use repo_format::murmur3;

use super::cursor::{Cursor, Fault, Parsed};
use crate::error::{Error, Result};
use crate::volume::Pooled;

/// The longest partition key, bytes.
const KEY_MAX: usize = u16::MAX as usize;
/// Bytes of a summary before the list of its samples.
const HEAD: u64 = 24;
/// Bytes that the head of an entry of `Index.db` takes at most: key, position, and size of what follows.
const ENTRY_MAX: usize = 2 + KEY_MAX + 9 + 9;
/// Bytes of `Index.db` that are read at a time.
const WINDOW: usize = 8 << 10;

/// A file of which any bytes can be read.
pub trait Bytes {
    /// Its name, for errors.
    fn name(&self) -> String;
    /// Bytes in all.
    fn length(&self) -> u64;
    /// As many bytes from `offset` on as fit and are there.
    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize>;
}

impl Bytes for Pooled {
    fn name(&self) -> String {
        self.place().to_string()
    }

    fn length(&self) -> u64 {
        Pooled::length(self)
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        Pooled::read_at(self, to, offset)
    }
}

/// Plain position in `Data.db` of the first partition whose token is `token` or more; `None` where all are less. It depends on
/// the bytes of the two files and on the token alone, so that two pieces that meet there agree. Damaged: a file is not what it
/// should be, as far as that was seen.
pub fn find(summary: &dyn Bytes, index: &dyn Bytes, token: i64) -> Result<Option<u64>> {
    let summary = Summary::open(summary)?;
    // The first sample that is not before the token; partitions of the same token may stand before it.
    let (mut low, mut high) = (0, summary.samples);
    while low < high {
        let middle = low + (high - low) / 2;
        if summary.sample(middle)?.0 < token { low = middle + 1 } else { high = middle }
    }
    let from = if low == 0 { 0 } else { summary.sample(low - 1)?.1 };
    let to = if low == summary.samples { index.length() } else { summary.sample(low)?.1 };
    scan(index, from, to, token)
}

/// `Summary.db`: keys of some partitions, and where `Index.db` has them.
struct Summary<'a> {
    file: &'a dyn Bytes,
    samples: u64,
    /// Bytes of the samples and of the list of them.
    bytes: u64,
}

impl Summary<'_> {
    fn open(file: &dyn Bytes) -> Result<Summary<'_>> {
        let head = read(file, 0, HEAD as usize)?;
        let parse = |c: &mut Cursor<'_>| {
            c.u32()?;
            let samples = u64::from(c.u32()?);
            let bytes = u64::try_from(c.i64()?).map_err(|_| Fault::Bad("length of the samples"))?;
            // Each takes its place in the list and one in the index, at least.
            let room = file.length().saturating_sub(HEAD);
            if bytes > room || samples > bytes / 12 {
                return Err(Fault::Bad("number of samples"));
            }
            Ok((samples, bytes))
        };
        let (samples, bytes) = parse(&mut Cursor::new(&head)).map_err(|fault| fault_in(file, 0, fault))?;
        Ok(Summary { file, samples, bytes })
    }

    /// Token of the `i`-th sample, and its place in `Index.db`.
    fn sample(&self, i: u64) -> Result<(i64, u64)> {
        let at = HEAD + 4 * i;
        let is_last = i + 1 == self.samples;
        let list = read(self.file, at, if is_last { 4 } else { 8 })?;
        let number = |four: Option<&[u8; 4]>| four.map_or(self.bytes, |four| u64::from(u32::from_le_bytes(*four)));
        let start = number(list.first_chunk());
        let end = number(list.get(4..).and_then(|rest| rest.first_chunk()));
        let length = end.checked_sub(start).filter(|n| end <= self.bytes && start >= 4 * self.samples && *n >= 8);
        let length = length.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= KEY_MAX + 8);
        let length = length.ok_or_else(|| fault_in(self.file, at, Fault::Bad("place of a sample")))?;
        let sample = read(self.file, HEAD + start, length)?;
        match sample.split_last_chunk::<8>() {
            Some((key, place)) => Ok((murmur3::token(key), u64::from_le_bytes(*place))),
            None => Err(fault_in(self.file, HEAD + start, Fault::Short)),
        }
    }
}

/// Looks through the entries of `Index.db` from `from` to the one at `to`, where a sample says that the token is reached.
fn scan(index: &dyn Bytes, from: u64, to: u64, token: i64) -> Result<Option<u64>> {
    let (mut window, mut origin, mut at) = (Vec::new(), from, from);
    loop {
        if at > to || to > index.length() {
            return Err(fault_in(index, at, Fault::Bad("place that Summary.db gives")));
        }
        if at == index.length() {
            return Ok(None);
        }
        let seen = usize::try_from(at - origin).ok().and_then(|n| window.get(n..)).unwrap_or_default();
        let found = match entry(seen) {
            Err(Fault::Short) => {
                origin = at;
                let left = usize::try_from(index.length() - at).unwrap_or(usize::MAX);
                let wanted = if seen.len() < WINDOW { WINDOW } else { ENTRY_MAX };
                window = read(index, at, wanted.min(left))?;
                match entry(&window) {
                    // An entry that the window cuts off; a second look takes all that an entry can have.
                    Err(Fault::Short) if wanted == WINDOW && left > WINDOW => continue,
                    found => found,
                }
            }
            found => found,
        };
        let found = found.map_err(|fault| fault_in(index, at, fault))?;
        if found.token >= token {
            return Ok(Some(found.position));
        }
        if at == to {
            return Err(fault_in(index, at, Fault::Bad("key, or the one in Summary.db: it")));
        }
        at = at.saturating_add(found.length);
    }
}

/// What `Index.db` has of a partition.
struct Entry {
    token: i64,
    /// In the plain bytes of `Data.db`.
    position: u64,
    /// Bytes of the entry, its index of rows included.
    length: u64,
}

fn entry(bytes: &[u8]) -> Parsed<Entry> {
    let mut c = Cursor::new(bytes);
    let key = c.short_bytes()?;
    let (position, rows) = (c.vint()?, c.vint()?);
    Ok(Entry { token: murmur3::token(key), position, length: rows.saturating_add(c.at() as u64) })
}

/// Exactly `n` bytes.
fn read(file: &dyn Bytes, at: u64, n: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    let mut done = 0;
    while done < n {
        match file.read_at(&mut bytes[done..], at.saturating_add(done as u64))? {
            0 => return Err(fault_in(file, at, Fault::Short)),
            read => done += read,
        }
    }
    Ok(bytes)
}

fn fault_in(file: &dyn Bytes, at: u64, fault: Fault) -> Error {
    fault.at(format_args!("{} at byte {at}", file.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Held(Vec<u8>);

    impl Bytes for Held {
        fn name(&self) -> String {
            "held".to_string()
        }

        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
            let from = self.0.get(offset as usize..).unwrap_or_default();
            let n = from.len().min(to.len());
            to[..n].copy_from_slice(&from[..n]);
            Ok(n)
        }
    }

    /// An entry of `Index.db` whose key has `length` bytes.
    fn entry_of(length: u16, position: u8) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.resize(2 + usize::from(length), 7);
        bytes.extend([position, 0]);
        bytes
    }

    #[test]
    fn an_index_cut_anywhere_is_found_out() {
        let (first, second) = (entry_of(20_000, 5), entry_of(u16::MAX, 9));
        let least = [&first, &second].map(|entry| murmur3::token(&entry[2..entry.len() - 2]));
        let whole = [first.clone(), second].concat();
        // With the first token beyond every key, all entries are read.
        let past = least.into_iter().max().expect("two").checked_add(1).expect("not the last token");
        let wide = [WINDOW, first.len(), first.len() + WINDOW, first.len() + ENTRY_MAX, whole.len()];
        for length in wide.into_iter().flat_map(|n| n.saturating_sub(2)..n + 3).filter(|n| *n <= whole.len()) {
            let index = Held(whole[..length].to_vec());
            let found = scan(&index, 0, length as u64, past);
            match length == first.len() || length == whole.len() {
                true => assert_eq!(found.expect("whole entries"), None),
                false => assert!(found.is_err(), "{length} bytes of {}: {found:?}", whole.len()),
            }
        }
    }
}
