//! Files of this machine as a run: a walk goes ahead, files of a stretch of it are looked at and read side by side, and their records
//! come in the order of the walk.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use rayon::prelude::*;
use repo_format::file_tree::{FileKind, FileRecord, is_first};
use repo_format::record::{Class, check};

use super::links::{Links, Number};
use super::memory::{Known, Passed, Remembering};
use super::read::{FileReader, Looked, local};
use super::stands::unread;
use super::walk::{Step, Walker};
use crate::error::{Error, Result};
use crate::run::{RecordBatch, Run};
use crate::store::lock;

/// Steps of a stretch.
const STRETCH: usize = 2048;
/// Bytes of keys and of what is remembered that a stretch ends at.
const STRETCH_BYTES: usize = 4 << 20;

/// See the module.
pub struct FilesRun<'a> {
    walker: Walker<'a>,
    reader: FileReader<'a>,
    next: Vec<Step>,
    ready: VecDeque<Known>,
    links: Links,
    remembering: Option<Remembering>,
    /// Is told at the end what came of it.
    passed: &'a Passed,
    began: bool,
}

impl<'a> FilesRun<'a> {
    /// Of what `walker` finds; `links` holds nothing yet.
    pub fn new(
        walker: Walker<'a>,
        reader: FileReader<'a>,
        remembering: Option<Remembering>,
        links: Links,
        passed: &'a Passed,
    ) -> FilesRun<'a> {
        let (next, ready) = (Vec::new(), VecDeque::new());
        FilesRun { walker, reader, next, ready, links, remembering, passed, began: false }
    }

    /// Reads the stretch that was walked while the next one is walked.
    fn advance(&mut self) -> Result<bool> {
        if !self.began {
            self.next = stretch(&mut self.walker)?;
            self.began = true;
        }
        let steps = std::mem::take(&mut self.next);
        if steps.is_empty() {
            return Ok(false);
        }
        let (reader, walker, links) = (&self.reader, &mut self.walker, &self.links);
        let (read, next) = rayon::join(|| read(reader, &steps, links), || stretch(walker));
        let read = read?;
        self.next = next?;
        for ((step, looked), known) in steps.into_iter().zip(read.looked).zip(read.known) {
            let Some(known) = self.linked(step, looked, known)? else { continue };
            // What is remembered is no part of the backup: without it the next one reads everything.
            if self.remembering.as_mut().is_some_and(|remembering| remembering.add(&known).is_err()) {
                self.remembering = None;
            }
            self.ready.push_back(known);
        }
        Ok(true)
    }

    /// Of a file with several names all but the first say which that is, and have its record.
    fn linked(&mut self, step: Step, looked: Looked, known: Option<Known>) -> Result<Option<Known>> {
        let Some((of, names)) = several(&looked) else { return Ok(known) };
        let Step::Item(item) = step else { return Ok(known) };
        let now = match &looked {
            Looked::There(stat) => Some(local(stat)),
            Looked::Gone | Looked::Unseen => None,
        };
        let Some(first) = self.links.next(of, now.as_ref())? else {
            // Of its first name nothing came: it was taken away meanwhile.
            let known = match (known, &looked) {
                (None, Looked::There(stat)) => self.reader.read(&item, stat)?,
                (known, _) => known,
            };
            if let Some(known) = &known {
                self.links.add(of, known, names.saturating_sub(1))?;
            }
            return Ok(known);
        };
        let mut body = Vec::new();
        let record = FileRecord::parse(&first.body)?;
        let key = Some(first.key.as_slice()).filter(|key| is_first(key));
        if key.is_none() {
            let what = "has a longer first name than a record can say, and is stored as a file of its own";
            self.reader.problems.add(&item.key, false, what);
        }
        FileRecord { first: key, ..record }.put(&mut body);
        Ok(Some(Known { key: item.key, body, local: first.local, young: first.young }))
    }

    fn finish(&mut self) -> Result<()> {
        self.reader.problems.finish();
        let bytes = self.reader.watch.bytes_done.load(Ordering::Relaxed);
        self.passed.bytes.store(bytes, Ordering::Relaxed);
        if let Some(remembering) = self.remembering.take() {
            *lock(&self.passed.aside) = remembering.finish(bytes).ok();
        }
        Ok(())
    }
}

impl Run for FilesRun<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while self.ready.is_empty() {
            self.reader.watch.check()?;
            if !self.advance()? {
                self.finish()?;
                return Ok(false);
            }
        }
        while let Some(known) = self.ready.front().filter(|_| !out.is_full()) {
            out.push_with(&known.key, 0, Class::Row, |to| {
                to.extend_from_slice(&known.body);
                check(&known.body).map_err(Error::from)
            })?;
            self.ready.pop_front();
        }
        Ok(true)
    }
}

/// The next steps of a walk; none at its end.
fn stretch(walker: &mut Walker<'_>) -> Result<Vec<Step>> {
    let (mut steps, mut bytes) = (Vec::new(), 0);
    while steps.len() < STRETCH && bytes < STRETCH_BYTES {
        let Some(step) = walker.next()? else { break };
        bytes += match &step {
            Step::Item(item) => item.key.len() + item.known.as_ref().map_or(0, |known| known.body.len()),
            Step::Unread(known) => known.key.len() + known.body.len(),
        };
        steps.push(step);
    }
    Ok(steps)
}

/// What came of a stretch, step by step.
struct Stretch {
    looked: Vec<Looked>,
    known: Vec<Option<Known>>,
}

/// Looks at all, and reads what changed; of a file with several names one.
fn read(reader: &FileReader<'_>, steps: &[Step], links: &Links) -> Result<Stretch> {
    let look = |step: &Step| match step {
        Step::Item(item) => reader.look(item),
        Step::Unread(_) => Ok(Looked::Gone),
    };
    let looked = steps.par_iter().with_min_len(16).map(look).collect::<Result<Vec<Looked>>>()?;
    let mut met: HashSet<Number> = HashSet::new();
    let is_first: Vec<bool> =
        looked.iter().map(|looked| several(looked).is_none_or(|(of, _)| !links.holds(of) && met.insert(of))).collect();
    let one = |((step, looked), is_first): ((&Step, &Looked), &bool)| match (step, looked) {
        (Step::Unread(known), _) => Ok(unread(known.clone())),
        (Step::Item(item), Looked::There(stat)) if *is_first => reader.read(item, stat),
        (Step::Item(item), Looked::Unseen) => Ok(item.known.clone().and_then(unread)),
        _ => Ok(None),
    };
    let known = steps.par_iter().zip(&looked).zip(&is_first).map(one).collect::<Result<Vec<_>>>()?;
    Ok(Stretch { looked, known })
}

/// Which file it is, and how many names it has, where it has several.
fn several(looked: &Looked) -> Option<(Number, u64)> {
    let Looked::There(stat) = looked else { return None };
    let of = local(stat);
    let names = u64::from(stat.st_nlink as u32);
    (names > 1 && FileKind::of(stat.st_mode) != Some(FileKind::Folder)).then_some(((of.device, of.inode), names))
}
