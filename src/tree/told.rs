//! What a merge tells of the nodes, written down where it runs, so that it can be put into patches elsewhere and later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use repo_format::patch::{Differing, LeafPatch, Other};
use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind};

use super::{Drift, UnownedCount};
use crate::error::Result;
use crate::merge::{Held, State, Unowned, Witness};
use crate::run::{Record, RecordBatch};

/// How the nodes differ from some merged records that follow one another.
#[derive(Default)]
pub struct Told {
    records: u32,
    pub(super) nodes: Vec<OfNode>,
    pub(super) unowned: UnownedCount,
}

/// How one node differs. Ordinals count the records from 0.
#[derive(Default)]
pub(super) struct OfNode {
    pub(super) differs: LeafPatch,
    /// Records as the node holds them.
    pub(super) held: RecordBatch,
    pub(super) drift: Drift,
}

impl Told {
    /// How many records they are.
    pub fn records(&self) -> usize {
        self.records as usize
    }

    fn of(nodes: usize) -> Told {
        Told { nodes: (0..nodes).map(|_| OfNode::default()).collect(), ..Told::default() }
    }
}

/// A witness that writes down what it is told. A merge holds on to its witness; what was written is taken away meanwhile.
pub struct Scribe {
    fingerprint: [u8; 32],
    keep_views: bool,
    nodes: usize,
    told: Mutex<Told>,
    /// Bytes of the records in it.
    bytes: AtomicUsize,
}

/// Bytes of records after which a scribe asks to be relieved.
const BYTES_MAX: usize = 1 << 20;

impl Scribe {
    /// Of `nodes` nodes. `fingerprint` is the key of the hashes of what differs; `keep_views`: what stale rows hold is kept, too.
    pub fn new(nodes: usize, fingerprint: [u8; 32], keep_views: bool) -> Scribe {
        Scribe { fingerprint, keep_views, nodes, told: Mutex::new(Told::of(nodes)), bytes: AtomicUsize::new(0) }
    }

    /// What was told since this was asked last: of the records that the merge gave meanwhile.
    pub fn take(&self) -> Told {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.store(0, Ordering::Relaxed);
        std::mem::replace(&mut told, Told::of(self.nodes))
    }

    fn keep(&self, node: &mut OfNode, record: &Record<'_>) {
        node.held.push(record);
        self.bytes.fetch_add(record.key.len() + record.body.len(), Ordering::Relaxed);
    }

    fn write(&self, line: impl FnOnce(&mut Told) -> Result<()>) -> Result<()> {
        line(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Witness for &Scribe {
    fn same(&mut self, records: usize) -> Result<()> {
        self.write(|told| {
            told.records += records as u32;
            Ok(())
        })
    }

    fn differs(&mut self, merged: &Record<'_>, nodes: &[Held<'_>]) -> Result<()> {
        self.write(|told| {
            let ordinal = told.records;
            told.records += 1;
            for (node, held) in told.nodes.iter_mut().zip(nodes) {
                node.differs(ordinal, merged, held, self)?;
            }
            Ok(())
        })
    }

    fn unowned(&mut self, what: Unowned) -> Result<()> {
        self.write(|told| {
            match what {
                Unowned::Row => told.unowned.rows += 1,
                Unowned::Deletion => told.unowned.deletions += 1,
            }
            Ok(())
        })
    }

    fn alone(&mut self, node: usize, record: &Record<'_>, owned: bool) -> Result<()> {
        self.write(|told| {
            let node = &mut told.nodes[node];
            let row = matches!(record.class, Class::Row | Class::Static);
            let counter = match (row, owned) {
                (false, _) => &mut node.drift.deletions,
                (true, true) => &mut node.drift.stale,
                (true, false) => &mut node.drift.extra,
            };
            *counter += 1;
            if self.keep_views || !owned {
                self.keep(node, record);
            }
            Ok(())
        })
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= BYTES_MAX
    }
}

impl OfNode {
    fn differs(&mut self, ordinal: u32, merged: &Record<'_>, held: &Held<'_>, scribe: &Scribe) -> Result<()> {
        let row = matches!(merged.class, Class::Row | Class::Static);
        let counter = match held.state {
            State::Same | State::Elsewhere => return Ok(()),
            _ if held.purgeable => &mut self.drift.purged,
            _ if !row => &mut self.drift.deletions,
            State::Missing => &mut self.drift.missing,
            State::Stale => &mut self.drift.stale,
            State::Extra => &mut self.drift.extra,
        };
        *counter += 1;
        match (held.state, held.record) {
            (State::Missing, _) => self.differs.missing.push(ordinal),
            (State::Extra, _) => self.differs.extra.push(ordinal),
            (_, Some(r)) => {
                let others = others(r.body, merged.body, &scribe.fingerprint)?;
                self.differs.stale.push(Differing { ordinal, others });
                if scribe.keep_views {
                    scribe.keep(self, &r);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What `body` holds that `merged` has not, by write time, with a keyed hash each.
fn others(body: &[u8], merged: &[u8], fingerprint: &[u8; 32]) -> Result<Vec<Other>> {
    let there: Vec<Entry<'_>> = Entries::new(merged).collect::<repo_format::Result<_>>()?;
    let mut times: Vec<(i64, Vec<Entry<'_>>)> = Vec::new();
    let mut at = 0;
    for entry in Entries::new(body) {
        let entry = entry?;
        while there.get(at).is_some_and(|t| t.order(&entry).is_lt()) {
            at += 1;
        }
        if there.get(at) == Some(&entry) || entry.kind == EntryKind::Raw {
            continue;
        }
        match times.iter_mut().find(|(time, _)| *time == entry.time) {
            Some((_, entries)) => entries.push(entry),
            None => times.push((entry.time, vec![entry])),
        }
    }
    let hash = |entries: &[Entry<'_>]| {
        let mut bytes = Vec::new();
        let mut writer = BodyWriter::new(&mut bytes);
        entries.iter().for_each(|e| writer.push(e));
        let [a, b, c, d, e, f, g, h, ..] = *blake3::keyed_hash(fingerprint, &bytes).as_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    };
    Ok(times.iter().map(|(time, entries)| Other { time: *time, hash: hash(entries) }).collect())
}
