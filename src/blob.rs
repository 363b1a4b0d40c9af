//! A large value or an opaque file, cut into chunks where its content says so, and put together again.

mod window;

use std::io::{Read, Write};

use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use repo_format::blob::{BLOB_FANOUT, BLOB_LEVEL_MAX, BlobList};
use repo_format::key::CutKey;
use repo_format::limits::{CUT_AVERAGE_RANGE, DATA_CHUNK_MAX};
use zeroize::Zeroizing;

pub use repo_format::blob::BlobRef;
pub use window::Window;

use crate::error::{Error, Kind, Result};
use crate::run::{ChunkId, ChunkKind, ChunkSink, ChunkSource, Reached};

/// Chunker 1 of SPEC: FastCDC with a secret table. Its minimum is half its mean, its maximum eight times the mean (and
/// at most [`DATA_CHUNK_MAX`]), its normalization level 2.
pub struct Chunker {
    gear: Zeroizing<Vec<u64>>,
    gear_shifted: Zeroizing<Vec<u64>>,
    masks: (u64, u64),
    average: usize,
}

impl Chunker {
    /// `average` is the mean length of a chunk in bytes, within [`CUT_AVERAGE_RANGE`].
    pub fn new(key: &CutKey, average: u32) -> Result<Chunker> {
        let (least, most) = CUT_AVERAGE_RANGE;
        if average < least || average > most || !average.is_power_of_two() {
            return Err(Error::new(Kind::Unsupported, "configuration", format!("mean chunk length {average}")));
        }
        let gear = key.gear();
        let gear_shifted = Zeroizing::new(gear.iter().map(|g| g << 1).collect());
        let average = average as usize;
        Ok(Chunker { gear, gear_shifted, masks: select_masks(average, Normalization::Level2), average })
    }

    /// Bytes that [`Chunker::cut`] wants to see, unless the input ends before.
    pub fn window(&self) -> usize {
        (8 * self.average).min(DATA_CHUNK_MAX)
    }

    /// Length of the first chunk of `bytes`.
    pub fn cut(&self, bytes: &[u8]) -> usize {
        let (small, large) = self.masks;
        cut_gear(
            bytes,
            self.average / 2,
            self.average,
            self.window(),
            small,
            large,
            small << 1,
            large << 1,
            &self.gear,
            &self.gear_shifted,
        )
        .1
    }
}

/// Pieces that the source is told of in advance.
const AHEAD: usize = 32;

/// Stores all of `input`, whose name in errors is `subject`. Holds 2 MiB at most.
pub fn write(input: &mut dyn Read, subject: &str, chunker: &Chunker, sink: &dyn ChunkSink) -> Result<BlobRef> {
    let mut lists = Lists { sink, levels: Vec::new() };
    cut(input, subject, chunker, &mut lists, &mut Window::default())?;
    lists.finish()
}

/// What became of bytes that were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// They are many, or none.
    Blob(BlobRef),
    /// They are one chunk of data, and nothing names it but this.
    Chunk(BlobRef),
}

/// As [`write()`], but without a list where there is only one chunk. `window` holds what of the input was read already.
pub fn store(
    input: &mut dyn Read,
    subject: &str,
    chunker: &Chunker,
    sink: &dyn ChunkSink,
    window: &mut Window,
) -> Result<Stored> {
    let mut lists = Lists { sink, levels: Vec::new() };
    cut(input, subject, chunker, &mut lists, window)?;
    match lists.levels.as_slice() {
        [pieces] if pieces.len() == 1 => Ok(Stored::Chunk(pieces[0])),
        _ => lists.finish().map(Stored::Blob),
    }
}

/// Cuts all of `input` into chunks, from what `window` holds on.
fn cut(
    input: &mut dyn Read,
    subject: &str,
    chunker: &Chunker,
    lists: &mut Lists<'_>,
    window: &mut Window,
) -> Result<()> {
    loop {
        if window.bytes().len() < chunker.window() {
            window.read(input, 2 * chunker.window()).map_err(|e| Error::io(subject, e))?;
        }
        let rest = window.bytes();
        if rest.is_empty() {
            return Ok(());
        }
        let length = chunker.cut(rest);
        let root = lists.sink.put(ChunkKind::Data, &rest[..length])?;
        lists.add(0, BlobRef { length: length as u64, root })?;
        window.skip(length);
    }
}

/// Stores bytes that are in memory.
pub fn write_bytes(bytes: &[u8], chunker: &Chunker, sink: &dyn ChunkSink) -> Result<BlobRef> {
    write(&mut &*bytes, "bytes in memory", chunker, sink)
}

/// The open list of each level.
struct Lists<'a> {
    sink: &'a dyn ChunkSink,
    levels: Vec<Vec<BlobRef>>,
}

impl Lists<'_> {
    fn add(&mut self, level: usize, entry: BlobRef) -> Result<()> {
        if level == self.levels.len() {
            self.levels.push(Vec::with_capacity(BLOB_FANOUT));
        }
        if self.levels[level].len() == BLOB_FANOUT {
            let full = self.close(level)?;
            self.add(level + 1, full)?;
        }
        self.levels[level].push(entry);
        Ok(())
    }

    fn close(&mut self, level: usize) -> Result<BlobRef> {
        let too_long = || Error::new(Kind::TooLarge, "blob", "longer than a blob can be");
        let entries = std::mem::take(&mut self.levels[level]);
        let level = u8::try_from(level).ok().filter(|l| *l <= BLOB_LEVEL_MAX).ok_or_else(too_long)?;
        let list = BlobList { level, entries };
        let length = list.length().ok_or_else(too_long)?;
        Ok(BlobRef { length, root: self.sink.put(ChunkKind::BlobList, &list.encode())? })
    }

    /// Closes every level; the highest one's list is the root.
    fn finish(mut self) -> Result<BlobRef> {
        if self.levels.is_empty() {
            self.levels.push(Vec::new());
        }
        let mut level = 0;
        loop {
            let closed = self.close(level)?;
            level += 1;
            if level == self.levels.len() {
                return Ok(closed);
            }
            self.add(level, closed)?;
        }
    }
}

/// Writes the whole blob to `output`, whose name in errors is `subject`. What was written before an error is a true
/// beginning of the blob.
pub fn read(blob: &BlobRef, source: &dyn ChunkSource, output: &mut dyn Write, subject: &str) -> Result<()> {
    visit(blob, source, &mut |bytes| output.write_all(bytes).map_err(|e| Error::io(subject, e)))
}

/// A blob of at most `limit` bytes, in memory.
pub fn read_bytes(blob: &BlobRef, source: &dyn ChunkSource, limit: u64) -> Result<Vec<u8>> {
    if blob.length > limit {
        return Err(Error::new(Kind::TooLarge, blob_name(&blob.root), format!("more than {limit} bytes")));
    }
    let mut bytes = Vec::new();
    visit(blob, source, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// Asks the source for the first pieces of a blob, which will be read soon.
///
/// Errors: those of reading its list.
pub fn ask(blob: &BlobRef, source: &dyn ChunkSource) -> Result<()> {
    let list = open_list(blob, None, source)?;
    let ids: Vec<ChunkId> = list.entries.iter().take(AHEAD).map(|entry| entry.root).collect();
    source.prefetch(&ids);
    Ok(())
}

/// Shows the pieces of a blob in order.
pub fn visit(blob: &BlobRef, source: &dyn ChunkSource, show: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    visit_list(blob, None, source, show)
}

/// Shows the chunks of data of a blob in order, by name and length, without reading them.
pub fn pieces(blob: &BlobRef, source: &dyn ChunkSource, show: &mut dyn FnMut(&BlobRef) -> Result<()>) -> Result<()> {
    pieces_of(blob, None, source, show)
}

fn pieces_of(
    blob: &BlobRef,
    level: Option<u8>,
    source: &dyn ChunkSource,
    show: &mut dyn FnMut(&BlobRef) -> Result<()>,
) -> Result<()> {
    let list = open_list(blob, level, source)?;
    match list.level.checked_sub(1) {
        None => list.entries.iter().try_for_each(show),
        Some(below) => list.entries.iter().try_for_each(|entry| pieces_of(entry, Some(below), source, show)),
    }
}

/// Shows the bytes of one chunk of data.
pub fn visit_chunk(chunk: &BlobRef, source: &dyn ChunkSource, show: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let bytes = source.get(ChunkKind::Data, &chunk.root)?;
    if bytes.len() as u64 != chunk.length {
        return Err(Error::damaged(blob_name(&chunk.root), "is a chunk of another length"));
    }
    show(&bytes)
}

/// Shows every chunk of a blob, lists and data, without reading the data. `visit` says whether to go on below a chunk.
/// `parent` is the leaf that refers to the blob, if one does.
///
/// Errors: those of `visit`.
pub fn reach(
    blob: &BlobRef,
    parent: Option<ChunkId>,
    source: &dyn ChunkSource,
    visit: &mut dyn FnMut(Reached) -> Result<bool>,
) -> Result<()> {
    reach_list(blob, (None, parent), source, visit)
}

fn open_list(blob: &BlobRef, level: Option<u8>, source: &dyn ChunkSource) -> Result<BlobList> {
    let bytes = source.get(ChunkKind::BlobList, &blob.root)?;
    let list = BlobList::parse(&bytes).map_err(|e| Error::from(e).within(blob_name(&blob.root)))?;
    if level.is_some_and(|level| level != list.level) || list.length() != Some(blob.length) {
        return Err(Error::damaged(blob_name(&blob.root), "does not fit what refers to it"));
    }
    Ok(list)
}

fn visit_list(
    blob: &BlobRef,
    level: Option<u8>,
    source: &dyn ChunkSource,
    show: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let list = open_list(blob, level, source)?;
    let Some(below) = list.level.checked_sub(1) else {
        let ids: Vec<ChunkId> = list.entries.iter().map(|e| e.root).collect();
        for (i, entry) in list.entries.iter().enumerate() {
            if i.is_multiple_of(AHEAD / 2) {
                source.prefetch(&ids[i..ids.len().min(i + AHEAD)]);
            }
            let bytes = source.get(ChunkKind::Data, &entry.root)?;
            if bytes.len() as u64 != entry.length {
                return Err(Error::damaged(blob_name(&blob.root), "names a piece of another length"));
            }
            show(&bytes)?;
        }
        return Ok(());
    };
    list.entries.iter().try_for_each(|entry| visit_list(entry, Some(below), source, show))
}

fn reach_list(
    blob: &BlobRef,
    (level, parent): (Option<u8>, Option<ChunkId>),
    source: &dyn ChunkSource,
    visit: &mut dyn FnMut(Reached) -> Result<bool>,
) -> Result<()> {
    if !visit(Reached::Chunk { kind: ChunkKind::BlobList, id: blob.root, parent, more: true })? {
        return Ok(());
    }
    let list = match open_list(blob, level, source) {
        Ok(list) => list,
        Err(e) => return visit(Reached::Broken(e)).map(drop),
    };
    let parent = Some(blob.root);
    for entry in &list.entries {
        match list.level.checked_sub(1) {
            None => visit(Reached::Chunk { kind: ChunkKind::Data, id: entry.root, parent, more: false }).map(drop)?,
            Some(below) => reach_list(entry, (Some(below), parent), source, visit)?,
        }
    }
    Ok(())
}

fn blob_name(root: &ChunkId) -> String {
    format!("blob {root}")
}
