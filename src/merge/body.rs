//! Merging the bodies of records that share a key, under the deletions that cover them.

use repo_format::record::{BodyWriter, Entries, Entry, EntryKind, Traits};

use super::{Rule, Stands, Version};
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

    /// The entry that says it, of a column (0: of the record).
    pub(super) fn entry(self, column: u32) -> Entry<'static> {
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
        Ok::<Traits, std::convert::Infallible>(put_deletion(buffer, deletion))
    });
}

/// Appends the body that holds `deletion` alone, or nothing. Gives its traits.
pub fn put_deletion(out: &mut Vec<u8>, deletion: Option<Deletion>) -> Traits {
    let mut writer = BodyWriter::new(out);
    if let Some(d) = deletion {
        writer.push(&d.entry(0));
    }
    writer.traits()
}

/// A body, and the rank of the part that it comes from.
pub type Ranked<'e> = (u64, &'e [u8]);

/// A body, read up to its next entry.
struct Head<'e> {
    rank: u64,
    entry: Entry<'e>,
    rest: Entries<'e>,
}

/// What bodies came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Traits of the body that they came to.
    pub traits: Traits,
    /// The greatest of those whose entries stand.
    pub rank: u64,
}

/// Merges bodies by a rule; with a cut, also brings each cell to how it stands there.
pub struct BodyMerge<'a> {
    pub(super) rule: &'a dyn Rule,
    replaces: bool,
    cut: Option<u32>,
}

impl<'a> BodyMerge<'a> {
    pub fn new(rule: &'a dyn Rule, cut: Option<u32>) -> BodyMerge<'a> {
        BodyMerge { rule, replaces: rule.replaces(), cut }
    }

    /// Whether a body with these traits, covered by nothing, is already in normal form.
    #[inline]
    pub fn keeps(&self, traits: Traits) -> bool {
        self.cut.is_none() || !traits.has(Traits::EXPIRING)
    }

    /// Copies a record, its cells as they stand at the cut.
    pub fn normal(&self, r: &Record<'_>, out: &mut RecordBatch) -> Result<()> {
        out.push_with(r.key, r.group_len, r.class, |buffer| self.put_at_cut(r.body, buffer))
    }

    /// Appends a body, its cells as they stand at the cut. Gives its traits.
    fn put_at_cut(&self, body: &[u8], out: &mut Vec<u8>) -> Result<Traits> {
        let mut writer = BodyWriter::new(out);
        for entry in Entries::new(body) {
            writer.push(&self.at_cut(entry.map_err(Error::from)?));
        }
        Ok(writer.traits())
    }

    /// The entry as it stands at the cut.
    #[inline]
    fn at_cut<'e>(&self, e: Entry<'e>) -> Entry<'e> {
        match self.cut {
            Some(cut) if e.kind == EntryKind::Cell && e.expires() => self.rule.at_cut(e, cut),
            _ => e,
        }
    }

    /// Merges `bodies` under `shadow` into `out`. `None` when nothing is left to say; `out` is then as it was.
    pub fn merge(&self, bodies: &[Ranked<'_>], shadow: Option<Deletion>, out: &mut Vec<u8>) -> Result<Option<Merged>> {
        let newest = if self.replaces && bodies.len() > 1 { newest(bodies)? } else { None };
        let mut heads: Vec<Head<'_>> = Vec::with_capacity(bodies.len());
        for &(rank, body) in newest.as_ref().map_or(bodies, std::slice::from_ref) {
            let mut rest = Entries::new(body);
            heads.extend(rest.next_entry()?.map(|entry| Head { rank, entry, rest }));
        }
        let mut versions: Vec<Version<'_>> = Vec::with_capacity(heads.len());
        let start = out.len();
        let mut writer = BodyWriter::new(out);
        let mut covering = shadow;
        let mut in_column = (u32::MAX, covering);
        let (mut said, mut rank) = (false, 0);
        while let Some(least) = heads.iter().map(|h| h.entry).min_by(Entry::order) {
            versions.clear();
            self.take(&least, &mut heads, &mut versions)?;
            let first = &least;
            match first.kind {
                EntryKind::Deletion => {
                    let best = versions.iter().map(|v| (Deletion::of(&v.entry), v.rank)).max();
                    let standing = best.filter(|(d, _)| covering.is_none_or(|c| *d > c));
                    if let Some((d, its)) = standing {
                        writer.push(&d.entry(first.column));
                        (said, rank) = (true, rank.max(its));
                    }
                    let standing = standing.map(|(d, _)| d);
                    if first.column == 0 {
                        covering = covering.max(standing);
                    }
                    in_column = (first.column, covering.max(standing));
                }
                // How something was spelled says nothing by itself, and nothing covers it.
                EntryKind::Raw => {
                    self.standing(&versions, None, &mut writer)?;
                }
                EntryKind::Cell | EntryKind::Tombstone => {
                    let cover = if in_column.0 == first.column { in_column.1 } else { covering };
                    if let Some(its) = self.standing(&versions, cover, &mut writer)? {
                        (said, rank) = (true, rank.max(its));
                    }
                }
            }
        }
        let traits = writer.traits();
        if said {
            return Ok(Some(Merged { traits, rank }));
        }
        out.truncate(start);
        Ok(None)
    }

    /// Moves what stands at the path of `least` from the heads of the bodies to `versions`, as it is at the cut: before nodes
    /// are merged, because a replica answers a read with the tombstone that its expired cell has become, and a tombstone
    /// wins over a cell of the same time that lives on another replica.
    fn take<'e>(&self, least: &Entry<'e>, heads: &mut Vec<Head<'e>>, versions: &mut Vec<Version<'e>>) -> Result<()> {
        let mut i = 0;
        while let Some(head) = heads.get_mut(i) {
            if head.entry.order(least).is_ne() {
                i += 1;
                continue;
            }
            versions.push(Version { entry: self.at_cut(head.entry), rank: head.rank });
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

    /// Writes what stands among `versions` of one path, and gives its rank; `None` if all are covered.
    fn standing(
        &self,
        versions: &[Version<'_>],
        cover: Option<Deletion>,
        writer: &mut BodyWriter<'_>,
    ) -> Result<Option<u64>> {
        let mut uncovered = versions.iter().filter(|v| cover.is_none_or(|c| v.entry.time > c.time));
        let Some(first) = uncovered.next() else { return Ok(None) };
        let mut best = *first;
        let mut made: Option<Vec<u8>> = None;
        for next in uncovered {
            let value = made.as_deref().or(best.entry.value);
            let current = Version { entry: Entry { value, ..best.entry }, rank: best.rank };
            match self.rule.stands(&current, next)? {
                Stands::First => {}
                Stands::Second => (best, made) = (*next, None),
                Stands::Made(time, value) => {
                    (best.entry.time, best.rank) = (time, best.rank.max(next.rank));
                    made = Some(value);
                }
            }
        }
        writer.push(&Entry { value: made.as_deref().or(best.entry.value), ..best.entry });
        Ok(Some(best.rank))
    }
}

/// Gives the body that stands, where a later body replaces an earlier one whole.
fn newest<'e>(bodies: &[Ranked<'e>]) -> Result<Option<Ranked<'e>>> {
    let mut best: Option<(Option<i64>, u64, &[u8])> = None;
    for &(rank, body) in bodies {
        let mut time = None;
        for entry in Entries::new(body) {
            time = time.max(Some(entry.map_err(Error::from)?.time));
        }
        best = best.max(Some((time, rank, body)));
    }
    Ok(best.map(|(_, rank, body)| (rank, body)))
}

/// Appends a body with its cells as they stand at `cut` (seconds since 1970). Gives its traits.
pub fn at_cut(rule: &dyn Rule, body: &[u8], cut: u32, out: &mut Vec<u8>) -> Result<Traits> {
    BodyMerge::new(rule, Some(cut)).put_at_cut(body, out)
}

/// Appends what two bodies of one record come to, each as it stands. `None`, and nothing, where they say nothing.
pub fn merge_bodies(rule: &dyn Rule, bodies: [&[u8]; 2], out: &mut Vec<u8>) -> Result<Option<Traits>> {
    let merged = BodyMerge::new(rule, None).merge(&bodies.map(|body| (0, body)), None, out)?;
    Ok(merged.map(|merged| merged.traits))
}
