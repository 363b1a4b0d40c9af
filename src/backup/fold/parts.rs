//! The parts of nodes as runs: opened when they are reached, and noted where they cannot be decoded.

use std::sync::{Mutex, PoisonError};

use crate::engine::{KeyRange, NodeParts, Part};
use crate::error::{Error, Kind, Result};
use crate::merge::{Merge, Rule, Waiting};
use crate::run::{RecordBatch, Run};
use crate::volume::Place;

/// A part that cannot be decoded, and why.
pub struct Refused {
    pub node: usize,
    pub name: String,
    pub files: Vec<Place>,
    pub error: Error,
}

/// The parts that failed.
pub type Failed = Mutex<Vec<Refused>>;

/// Which part a run is of, and where its failure is noted.
struct Guard<'a> {
    node: usize,
    name: &'a str,
    files: &'a [Place],
    failed: &'a Failed,
}

impl Guard<'_> {
    /// Notes the part as refused if that is what the error says of it, and passes the error on.
    fn note(&self, error: Error) -> Error {
        if !condemns(error.kind()) {
            return error;
        }
        let passed_on = Error::new(error.kind(), error.subject(), error.message());
        let (name, files) = (self.name.to_owned(), self.files.to_vec());
        let refused = Refused { node: self.node, name, files, error };
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(refused);
        passed_on
    }
}

struct Guarded<'a> {
    run: Box<dyn Run + 'a>,
    guard: Guard<'a>,
    /// The last key.
    last: Vec<u8>,
}

impl Run for Guarded<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        let more = self.run.next_batch(out).and_then(|more| {
            self.look(out)?;
            Ok(more)
        });
        more.map_err(|error| self.guard.note(error))
    }
}

impl Guarded<'_> {
    /// What is out of order here would be stored, and read by nobody.
    fn look(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut last: Option<&[u8]> = Some(&self.last).filter(|last| !last.is_empty()).map(Vec::as_slice);
        for record in batch.iter() {
            if last.is_some_and(|last| last >= record.key) {
                return Err(Error::damaged(self.guard.name, "gives keys that do not ascend"));
            }
            last = Some(record.key);
        }
        if let Some(last) = batch.last_key() {
            self.last.clear();
            self.last.extend_from_slice(last);
        }
        Ok(())
    }
}

/// Whether an error while reading a part says that it cannot be decoded, so that it is kept byte for byte. What the system
/// refuses (a file that is gone, a bad disk, too many open files) says nothing of the rows: it ends the backup.
pub fn condemns(kind: Kind) -> bool {
    matches!(kind, Kind::Damaged | Kind::Unsupported | Kind::TooLarge)
}

/// One node's parts, merged, as far as their keys lie in `range`.
pub fn node_run<'b, 'p: 'b>(
    node: &'b NodeParts<'p>,
    range: &'b KeyRange,
    rule: &'b dyn Rule,
    failed: &'b Failed,
) -> Merge<'b> {
    let at = node.node;
    let reaches = |part: &&'b Part<'p>| range.1.is_empty() || part.from.as_ref().is_ok_and(|from| *from < range.1);
    let wait = |part: &'b Part<'p>| -> Waiting<'b> {
        let from = part.from.as_ref().map_or_else(|_| Vec::new(), |from| from.max(&range.0).clone());
        Waiting::new(from, Box::new(move || guarded(at, part, range, failed))).ranked(part.rank)
    };
    Merge::of_waiting(node.parts.iter().filter(reaches).map(wait).collect(), rule)
}

/// Opens a part. What fails then and later is noted.
pub fn guarded<'b, 'p: 'b>(
    node: usize,
    part: &'b Part<'p>,
    range: &KeyRange,
    failed: &'b Failed,
) -> Result<Box<dyn Run + 'b>> {
    let guard = Guard { node, name: &part.name, files: &part.files, failed };
    match (part.open)(range) {
        Ok(run) => Ok(Box::new(Guarded { run, guard, last: Vec::new() })),
        Err(error) => Err(guard.note(error)),
    }
}

/// Parts that may be decoded, and those of which it is known already that they cannot be.
pub fn split(nodes: Vec<NodeParts<'_>>) -> Result<(Vec<NodeParts<'_>>, Vec<Refused>)> {
    let (mut sound, mut refused) = (Vec::new(), Vec::new());
    for node in nodes {
        let mut parts = Vec::new();
        for part in node.parts {
            match part.from {
                Ok(_) => parts.push(part),
                Err(error) if condemns(error.kind()) => {
                    refused.push(Refused { node: node.node, name: part.name, files: part.files, error });
                }
                Err(error) => return Err(error),
            }
        }
        sound.push(NodeParts { parts, ..node });
    }
    Ok((sound, refused))
}
