//! `Data.db` as a run of records, in bounded memory: one window over the plain bytes, one row in it at a time.
//!
//! ```text
//! file      = partitions, ordered by token and key
//! partition = key length u16 │ key │ deletion │ [static row] │ (row or marker)* │ flags with END_OF_PARTITION
//! deletion  = nb: ldt i32 │ time i64; oa: 0x80 for none, or time i64 │ ldt u32
//! marker    = flags u8 │ bound kind u8 │ components u16 │ components │ size vint │ previous size vint
//!           │ 1-2 × deletion as in `cells`
//! ```
//! Sources: `SSTableIdentityIterator`, `SSTableSimpleIterator`, `UnfilteredSerializer`, `ClusteringPrefix.Serializer`,
//! `DeletionTime.Serializer`, `DeletionTime.LegacySerializer`.

use std::sync::Arc;

use repo_format::record::Class;

use crate::error::{Error, Result};
use crate::run::{RECORD_LARGE, RECORD_MAX, RecordBatch, Run};

use super::cells::{self, Deletion};
use super::chunks::Source;
use super::cursor::{Cursor, Fault, Parsed};
use super::digest::{Remark, Seal, Sum};
use super::key::Key;
use super::layout::Layout;
use super::markers::{Markers, bound_kind};
use super::push::{push, repeat};
use super::rows::{self, RowDecoder};

/// Where the decoder stands in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Partition,
    Static,
    Rows,
    /// At the end, or after an error.
    Done,
}

/// The rows of one SSTable as records, in the order of the file, each as the file has it; but rows that stand twice in
/// their partition, one after the other, are merged.
pub struct SsTableRun {
    source: Box<dyn Source>,
    name: String,
    layout: Arc<Layout>,
    window: Vec<u8>,
    /// Position in the window.
    at: usize,
    /// Position of the window in the plain bytes of the file.
    origin: u64,
    state: State,
    key: Key,
    rows: RowDecoder,
    markers: Markers,
    seal: Seal,
    /// Whether a large row is told before it is read.
    announces: bool,
    /// Position of the row that was told last.
    announced: Option<u64>,
    /// Where it ends, in plain bytes; [`u64::MAX`]: with the file.
    until: u64,
    /// Rows that stood twice.
    repeated: u64,
    remarks: Vec<Remark>,
}

impl SsTableRun {
    /// Decodes what `source` gives, `name` in errors; `seal` is judged at its end.
    pub fn new(source: Box<dyn Source>, name: String, layout: Arc<Layout>, seal: Seal) -> SsTableRun {
        SsTableRun {
            source,
            name,
            layout,
            window: Vec::new(),
            at: 0,
            origin: 0,
            state: State::Partition,
            key: Key::default(),
            rows: RowDecoder::default(),
            markers: Markers::default(),
            seal,
            announces: false,
            announced: None,
            until: u64::MAX,
            repeated: 0,
            remarks: Vec::new(),
        }
    }

    /// The same, with batches that say that a [large row is coming](RecordBatch::coming), which is not read before.
    pub fn announcing(mut self) -> SsTableRun {
        self.announces = true;
        self
    }

    /// Decodes the partitions from plain byte `from` on and before `until`; without that, to the end of the file. One must begin
    /// at each of them, or reading fails. `None`: the file can only be read from its start.
    pub fn between(mut self, from: u64, until: Option<u64>) -> Result<Option<SsTableRun>> {
        let Some(start) = self.source.seek(from)? else { return Ok(None) };
        self.origin = start;
        self.until = until.unwrap_or(u64::MAX);
        let skipped = from.saturating_sub(start) as usize;
        if skipped > 0 && self.source.next_chunk(&mut self.window)? < skipped {
            return Err(self.error(Fault::Short));
        }
        self.at = skipped;
        Ok(Some(self))
    }

    /// Plain bytes of `Data.db` in all, where that is known.
    pub fn plain_length(&self) -> Option<u64> {
        self.source.plain_length()
    }

    /// What was read of `Data.db`, without a chunk that the partitions before it begin.
    pub fn sum(&self) -> Sum {
        self.source.sum()
    }

    /// Plain bytes of `Data.db` decoded so far.
    pub fn position(&self) -> u64 {
        self.origin + self.at as u64
    }

    /// What there is to say of the file, once all of it was read.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    fn error(&self, fault: Fault) -> Error {
        fault.at(format_args!("{} at plain byte {}", self.name, self.position()))
    }

    /// Gets another chunk into the window; `false` at the end of the file.
    fn refill(&mut self) -> Result<bool> {
        if self.at > 0 {
            let left = self.window.len() - self.at;
            self.window.copy_within(self.at.., 0);
            self.window.truncate(left);
            self.origin += self.at as u64;
            self.at = 0;
            let keep = 4 * self.source.window();
            if self.window.capacity() > 4 * keep && left < keep {
                self.window.shrink_to(keep);
            }
        }
        if self.window.len() > RECORD_MAX + (1 << 20) {
            return Err(self.error(Fault::TooLarge("size of a row")));
        }
        Ok(self.source.next_chunk(&mut self.window)? > 0)
    }

    fn fill(&mut self, out: &mut RecordBatch) -> Result<()> {
        while self.state != State::Done && (!out.is_full() || self.row_repeats()?) {
            match self.step(out) {
                Ok(()) => {}
                Err(Fault::Short) => {
                    if !self.refill()? {
                        let ended = self.state == State::Partition && self.at == self.window.len();
                        if !ended || self.until < u64::MAX {
                            return Err(self.error(Fault::Short));
                        }
                        self.end()?;
                    }
                }
                Err(fault) => return Err(self.error(fault)),
            }
        }
        Ok(())
    }

    /// All was read.
    fn end(&mut self) -> Result<()> {
        let judged = self.seal.judge(self.source.sum().crc()).map_err(|fault| self.error(fault))?;
        self.remarks.extend(judged);
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        self.state = State::Done;
        if self.repeated > 0 {
            let what = format!("{} rows stood twice in their partitions, and were merged", self.repeated);
            self.remarks.push(Remark::Note(what));
        }
    }

    /// Whether the last record comes once more: it must be in the batch still, to be merged with it.
    fn row_repeats(&mut self) -> Result<bool> {
        while self.state == State::Rows {
            let mut c = Cursor::new(&self.window[self.at..]);
            let layout = &*self.layout;
            let plain =
                c.u8().map(|flags| flags & (rows::HAS_EXTENSION | rows::IS_MARKER | rows::END_OF_PARTITION) == 0);
            let found = match plain {
                Ok(true) => self.key.row(&mut c, &layout.clustering).map(|_| ()).map(|()| self.key.is_last()),
                other => other,
            };
            match found {
                Err(Fault::Short) if self.refill()? => {}
                found => return Ok(found == Ok(true)),
            }
        }
        Ok(false)
    }

    /// Decodes one thing, and moves on only when all of it was in the window.
    #[inline]
    fn step(&mut self, out: &mut RecordBatch) -> Parsed<()> {
        match self.state {
            State::Rows => self.unfiltered(out),
            State::Partition => self.partition(out),
            State::Static => self.static_row(out),
            State::Done => Ok(()),
        }
    }

    fn partition(&mut self, out: &mut RecordBatch) -> Parsed<()> {
        if self.position() >= self.until {
            if self.position() > self.until {
                return Err(Fault::Bad(super::piece::PLACE));
            }
            self.finish();
            return Ok(());
        }
        let mut c = Cursor::new(&self.window[self.at..]);
        let raw = c.short_bytes()?;
        let deletion = Deletion::of_partition(&mut c, self.layout.version)?;
        self.key.start_group(raw)?;
        self.at += c.at();
        if let Some(deletion) = deletion {
            self.key.group_record();
            push(out, &mut self.key, Class::Group, |body| Ok(deletion.write(body)))?;
        }
        self.state = if self.layout.statics.list.is_empty() { State::Rows } else { State::Static };
        Ok(())
    }

    fn static_row(&mut self, out: &mut RecordBatch) -> Parsed<()> {
        let mut c = Cursor::new(&self.window[self.at..]);
        let flags = c.u8()?;
        if flags & (rows::HAS_EXTENSION | rows::IS_MARKER | rows::END_OF_PARTITION) != rows::HAS_EXTENSION {
            return Err(Fault::Bad("flags of a static row"));
        }
        if c.u8()? & rows::IS_STATIC == 0 {
            return Err(Fault::Bad("flags of a static row"));
        }
        self.key.static_record();
        let size = size(&mut c)?;
        if self.tells(size, out)? {
            return Ok(());
        }
        let mut c = Cursor::new(&self.window[self.at + 2..]);
        let body = sized(&mut c)?;
        let (decoder, layout) = (&mut self.rows, &self.layout);
        push(out, &mut self.key, Class::Static, |to| decoder.row(layout, flags, true, body, None, to))?;
        self.at += 2 + c.at();
        self.state = State::Rows;
        Ok(())
    }

    /// Whether the row of so many bytes that `key` names is large, and was not told before: then `out` says that it comes.
    fn tells(&mut self, size: usize, out: &mut RecordBatch) -> Parsed<bool> {
        let position = Some(self.position());
        // One that stands twice is merged with the first, which is in the batch.
        if !self.announces || size < RECORD_LARGE || self.announced == position || self.key.is_last() {
            return Ok(false);
        }
        self.markers.flush(&mut self.key, out)?;
        self.key.check_order()?;
        self.announced = position;
        out.set_coming(self.key.bytes());
        Ok(true)
    }

    #[inline]
    fn unfiltered(&mut self, out: &mut RecordBatch) -> Parsed<()> {
        let mut c = Cursor::new(&self.window[self.at..]);
        let flags = c.u8()?;
        if flags & (rows::HAS_EXTENSION | rows::IS_MARKER | rows::END_OF_PARTITION) != 0 {
            return self.rare(flags, out);
        }
        let layout = &*self.layout;
        let raw = self.key.row(&mut c, &layout.clustering)?.map(<[u8]>::to_vec);
        let size = size(&mut c)?;
        let told = c.at();
        if size >= RECORD_LARGE && self.tells(size, out)? {
            return Ok(());
        }
        let mut c = Cursor::new(&self.window[self.at..]);
        c.bytes(told)?;
        let (body, layout) = (body(&mut c, size)?, &*self.layout);
        if self.markers.change.is_some() {
            self.markers.flush(&mut self.key, out)?;
        }
        let decoder = &mut self.rows;
        let row = |to: &mut Vec<u8>| decoder.row(layout, flags, false, body, raw.as_deref(), to);
        match push(out, &mut self.key, Class::Row, row) {
            Err(_) if self.key.is_last() => {
                let decoder = &mut self.rows;
                let row = |to: &mut Vec<u8>| decoder.row(layout, flags, false, body, raw.as_deref(), to);
                repeat(out, &self.key, layout.counter, row)?;
                self.repeated += 1;
            }
            pushed => pushed?,
        }
        self.at += c.at();
        Ok(())
    }

    #[cold]
    fn rare(&mut self, flags: u8, out: &mut RecordBatch) -> Parsed<()> {
        let mut c = Cursor::new(&self.window[self.at + 1..]);
        if flags & rows::END_OF_PARTITION != 0 {
            self.markers.flush(&mut self.key, out)?;
            if self.markers.in_force.is_some() {
                return Err(Fault::Bad("end of a partition (a range deletion is open)"));
            }
            self.at += 1;
            self.state = State::Partition;
            return Ok(());
        }
        if flags & rows::HAS_EXTENSION != 0 {
            return match c.u8()? {
                extended if extended & rows::IS_SHADOWABLE != 0 => Err(Fault::Unsupported("a shadowable deletion")),
                _ => Err(Fault::Bad("flags of a row")),
            };
        }
        let (after, opens, closes) = bound_kind(c.u8()?)?;
        self.key.bound(&mut c, &self.layout.clustering, after)?;
        let mut body = Cursor::new(sized(&mut c)?);
        let closed = if closes { cells::deletion(&mut body, &self.layout)? } else { None };
        let opened = if opens { cells::deletion(&mut body, &self.layout)? } else { None };
        if body.remaining() != 0 {
            return Err(Fault::Bad("end of a range deletion's bound"));
        }
        self.markers.bound(closes.then_some(closed), opened, &mut self.key, out)?;
        self.at += 1 + c.at();
        Ok(())
    }
}

/// The part of a row or marker that its size covers, without the size of the one before it.
#[inline]
fn sized<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    let size = size(c)?;
    body(c, size)
}

#[inline]
fn size(c: &mut Cursor<'_>) -> Parsed<usize> {
    match c.length()? {
        size if size > RECORD_MAX => Err(Fault::TooLarge("size of a row")),
        size => Ok(size),
    }
}

#[inline]
fn body<'a>(c: &mut Cursor<'a>, size: usize) -> Parsed<&'a [u8]> {
    let mut body = Cursor::new(c.bytes(size)?);
    // All of it is there, so that running out of bytes from here on is damage.
    body.vint().map_err(|_| Fault::Bad("size of a row"))?;
    body.bytes(body.remaining())
}

impl Run for SsTableRun {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        match self.fill(out) {
            Ok(()) => Ok(!out.is_empty() || out.coming().is_some()),
            Err(error) => {
                self.state = State::Done;
                out.clear();
                Err(error)
            }
        }
    }
}
