//! Merging the bodies of records that share a key, under the deletions that cover them.

use repo_format::record::{BodyWriter, Class, Entries, Entry, EntryKind, Traits};

use super::{Rule, Stands};
use crate::error::{Error, Result};
use crate::run::{Record, RecordBatch};

/// A deletion: covers versions up to `time`; made at `ldt` (seconds since 1970). The greater one supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deletion {
    /// Version up to which everything is gone.
    pub time: i64,
    /// When it was made, seconds since 1970.
    pub ldt: u32,
}

impl Deletion {
    fn of(e: &Entry<'_>) -> Deletion {
        Deletion { time: e.time, ldt: e.ldt }
    }

    fn entry(self, column: u32) -> Entry<'static> {
        let (time, ldt) = (self.time, self.ldt);
        Entry { column, kind: EntryKind::Deletion, element: None, time, ldt, ttl: 0, value: None }
    }
}

/// The deletion that a group's record or a marker holds.
pub fn deletion(body: &[u8]) -> Result<Option<Deletion>> {
    Ok(Entries::new(body).next_entry()?.map(|e| Deletion::of(&e)))
}

/// Adds a record at the key of `like` that holds `deletion` alone.
pub fn push_deletion(out: &mut RecordBatch, like: &Record<'_>, deletion: Option<Deletion>) {
    let Ok(()) = out.push_with(like.key, like.group_len, like.class, |buffer| {
        let mut writer = BodyWriter::new(buffer);
        if let Some(d) = deletion {
            writer.push(&d.entry(0));
        }
        Ok::<Traits, std::convert::Infallible>(writer.traits())
    });
}

/// A body, read up to its next entry.
struct Head<'e> {
    entry: Entry<'e>,
    rest: Entries<'e>,
}

/// Merges bodies by a rule; with a cut, also brings expired cells to the form of tombstones.
pub struct BodyMerge<'a> {
    rule: &'a dyn Rule,
    cut: Option<u32>,
}

impl<'a> BodyMerge<'a> {
    pub fn new(rule: &'a dyn Rule, cut: Option<u32>) -> BodyMerge<'a> {
        BodyMerge { rule, cut }
    }

    /// Whether a body with these traits, covered by nothing, is already in normal form.
    #[inline]
    pub fn keeps(&self, traits: Traits) -> bool {
        self.cut.is_none() || !traits.has(Traits::EXPIRING)
    }

    /// Copies a record, its expired cells as tombstones.
    pub fn normal(&self, r: &Record<'_>, out: &mut RecordBatch) -> Result<()> {
        out.push_with(r.key, r.group_len, r.class, |buffer| {
            let mut writer = BodyWriter::new(buffer);
            for entry in Entries::new(r.body) {
                let entry = entry.map_err(Error::from)?;
                writer.push(&self.at_cut(entry));
            }
            Ok(writer.traits())
        })
    }

    /// The entry as it stands at the cut. Liveness keeps its form: no database rewrites it.
    fn at_cut<'e>(&self, e: Entry<'e>) -> Entry<'e> {
        let (Some(cut), EntryKind::Cell, true) = (self.cut, e.kind, e.column != 0 && e.expires()) else { return e };
        match self.rule.expired(&e, cut) {
            Some(d) => Entry { kind: EntryKind::Tombstone, time: d.time, ldt: d.ldt, ttl: 0, value: None, ..e },
            None => e,
        }
    }

    /// Merges `bodies` under `shadow` into `out`. `None` when nothing is left to say; `out` is then as it was.
    pub fn merge(&self, bodies: &[&[u8]], shadow: Option<Deletion>, out: &mut Vec<u8>) -> Result<Option<Traits>> {
        let mut heads: Vec<Head<'_>> = Vec::with_capacity(bodies.len());
        for body in bodies {
            let mut rest = Entries::new(body);
            heads.extend(rest.next_entry()?.map(|entry| Head { entry, rest }));
        }
        let mut versions: Vec<Entry<'_>> = Vec::with_capacity(heads.len());
        let start = out.len();
        let mut writer = BodyWriter::new(out);
        let mut covering = shadow;
        let mut in_column = (u32::MAX, covering);
        let mut said = false;
        while let Some(least) = heads.iter().map(|h| h.entry).min_by(Entry::order) {
            versions.clear();
            self.take(&least, &mut heads, &mut versions)?;
            let first = &least;
            match first.kind {
                EntryKind::Deletion => {
                    let best = versions.iter().map(Deletion::of).max();
                    let standing = best.filter(|d| covering.is_none_or(|c| *d > c));
                    if let Some(d) = standing {
                        writer.push(&d.entry(first.column));
                        said = true;
                    }
                    if first.column == 0 {
                        covering = covering.max(standing);
                    }
                    in_column = (first.column, covering.max(standing));
                }
                EntryKind::Raw => {
                    if let Some(greatest) = versions.iter().max_by_key(|e| e.value) {
                        writer.push(greatest);
                    }
                }
                EntryKind::Cell | EntryKind::Tombstone => {
                    let cover = if in_column.0 == first.column { in_column.1 } else { covering };
                    said |= self.cells(&versions, cover, &mut writer)?;
                }
            }
        }
        let traits = writer.traits();
        if said {
            return Ok(Some(traits));
        }
        out.truncate(start);
        Ok(None)
    }

    /// Moves what stands at the path of `least` from the heads of the bodies to `versions`, as it is at the cut: before nodes
    /// are merged, because a replica answers a read with the tombstone that its expired cell has become, and a tombstone
    /// wins over a cell of the same time that lives on another replica.
    fn take<'e>(&self, least: &Entry<'e>, heads: &mut Vec<Head<'e>>, versions: &mut Vec<Entry<'e>>) -> Result<()> {
        let mut i = 0;
        while let Some(head) = heads.get_mut(i) {
            if head.entry.order(least).is_ne() {
                i += 1;
                continue;
            }
            versions.push(self.at_cut(head.entry));
            match head.rest.next_entry()? {
                Some(next) => {
                    head.entry = next;
                    i += 1;
                }
                None => drop(heads.swap_remove(i)),
            }
        }
        Ok(())
    }

    /// Writes the cell that stands among `versions` of one path; `false` if all are covered.
    fn cells(&self, versions: &[Entry<'_>], cover: Option<Deletion>, writer: &mut BodyWriter<'_>) -> Result<bool> {
        let mut uncovered = versions.iter().filter(|e| cover.is_none_or(|c| e.time > c.time));
        let Some(first) = uncovered.next() else { return Ok(false) };
        let mut best = *first;
        let mut made: Option<Vec<u8>> = None;
        for next in uncovered {
            let current = Entry { value: made.as_deref().or(best.value), ..best };
            match self.rule.cell(&current, next)? {
                Stands::First => {}
                Stands::Second => (best, made) = (*next, None),
                Stands::Made(time, value) => {
                    best.time = time;
                    made = Some(value);
                }
            }
        }
        writer.push(&Entry { value: made.as_deref().or(best.value), ..best });
        Ok(true)
    }
}

/// Appends what two bodies of one record come to, each as it stands. `None`, and nothing, where they say nothing.
pub fn merge_bodies(rule: &dyn Rule, bodies: [&[u8]; 2], out: &mut Vec<u8>) -> Result<Option<Traits>> {
    BodyMerge::new(rule, None).merge(&bodies, None, out)
}

/// Whether everything `body` says is a deletion or tombstone made before `before`, so that a node may have purged it.
pub fn purgeable(body: &[u8], class: Class, before: u32) -> Result<bool> {
    if class == Class::Marker && body.is_empty() {
        return Ok(true);
    }
    for entry in Entries::new(body) {
        let entry = entry.map_err(Error::from)?;
        if !may_purge(&entry, before) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn may_purge(e: &Entry<'_>, before: u32) -> bool {
    match e.kind {
        EntryKind::Deletion | EntryKind::Tombstone => e.ldt < before,
        EntryKind::Raw => true,
        EntryKind::Cell => e.expires() && e.ldt < before,
    }
}

/// Whether two bodies differ only in what a node may have purged.
pub fn equal_but_purgeable(a: &[u8], b: &[u8], before: u32) -> Result<bool> {
    let rest = |body: &[u8]| -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len());
        let mut writer = BodyWriter::new(&mut out);
        for entry in Entries::new(body) {
            let entry = entry.map_err(Error::from)?;
            if !may_purge(&entry, before) {
                writer.push(&entry);
            }
        }
        Ok(out)
    };
    Ok(rest(a)? == rest(b)?)
}
