//! The statements of one row, or of the static columns of a partition.

use std::collections::{BTreeMap, BTreeSet};

use repo_format::record::{Class, Entries, Entry, EntryKind};

use super::text::Part;
use super::{Append, DELETIONS, LEFT_OUT, Mutation, Mutations, STATEMENT_BYTES, Times, Ttl};
use crate::engine::cassandra::comparable::encode_component;
use crate::engine::cassandra::rule::EXPIRED_LIVENESS_TTL;
use crate::engine::cassandra::schema::ColumnRole;
use crate::engine::cassandra::types::{CqlType, quote_name};
use crate::engine::cassandra::value::{damaged, put_part};
use crate::error::{Error, Result};
use crate::run::Record;

/// Parts of one DELETE. A statement has 65,535 values at most; each number of parts is a prepared statement of its own.
const PARTS_MAX: usize = 500;

/// Write time, and when it ends (0: never).
type When = (i64, u32);

/// What of a row is written at one time with one end.
#[derive(Default)]
struct Cells<'e> {
    liveness: bool,
    simple: Vec<(usize, &'e [u8])>,
    /// Of collections and types: place, path, value.
    elements: Vec<(usize, &'e [u8], &'e [u8])>,
}

/// Of a list: path, when, value.
type Elements<'e> = Vec<(&'e [u8], When, &'e [u8])>;

/// A row sorted out.
#[derive(Default)]
struct Sorted<'e> {
    deletion: Option<i64>,
    /// How many deletions, of whatever in it, were captured.
    deletions: u64,
    deletes: BTreeMap<i64, Vec<Part>>,
    cells: BTreeMap<When, Cells<'e>>,
    lists: BTreeMap<usize, Elements<'e>>,
}

impl Mutations {
    pub(super) fn row(&mut self, record: &Record<'_>, now: u32, out: &mut Vec<Mutation>) -> Result<()> {
        let entries = Entries::new(record.body).collect::<repo_format::Result<Vec<_>>>()?;
        let mut keys = self.keys.clone();
        if record.class == Class::Row {
            let Some(clustering) = self.clustering(record, &entries)? else {
                self.count("rows with a null in their clustering", 1);
                return Ok(());
            };
            keys.extend(clustering);
        }
        let times = self.ranks(&entries);
        let mut sorted = Sorted::default();
        for entry in &entries {
            let time = times.of(entry.time);
            self.sort(entry, time, now, &mut sorted)?;
        }
        let over = matches!(self.times, Times::Over(_));
        if over && sorted.cells.is_empty() && sorted.lists.is_empty() {
            self.count(LEFT_OUT, sorted.deletions);
            return Ok(());
        }
        self.count(DELETIONS, sorted.deletions);
        let clustering = keys.len() - self.keys.len();
        if let Some(base) = times.base {
            if over && (self.deleted || self.open.is_some()) {
                self.delete_around(record.class, base, &mut sorted);
            }
            for place in sorted.lists.keys() {
                sorted.deletes.entry(base).or_default().push(self.whole(*place));
            }
        }
        if let Some(time) = sorted.deletion {
            out.push(self.texts.delete(&[], &[], time, &keys, clustering));
        }
        for (time, parts) in &sorted.deletes {
            let mut rest = &parts[..];
            while !rest.is_empty() {
                let count = fitting(rest.iter().map(Part::bytes)).min(PARTS_MAX);
                let (now, later) = rest.split_at(count);
                out.push(self.texts.delete(now, &[], *time, &keys, clustering));
                rest = later;
            }
        }
        for (when, cells) in &sorted.cells {
            self.cells(*when, cells, &keys, out)?;
        }
        for (place, elements) in sorted.lists {
            self.list(place, elements, &keys, out)?;
        }
        Ok(())
    }

    /// A deletion around the row or the static columns becomes one of theirs.
    fn delete_around(&self, class: Class, time: i64, sorted: &mut Sorted<'_>) {
        if class == Class::Row {
            sorted.deletion.get_or_insert(time);
            return;
        }
        let statics = self.layout.columns().enumerate().filter(|(_, (c, _))| c.role == ColumnRole::Static);
        let parts = statics.map(|(place, _)| place).filter(|place| !sorted.lists.contains_key(place));
        sorted.deletes.entry(time).or_default().extend(parts.map(|place| self.whole(place)));
    }

    /// A column, to be deleted.
    fn whole(&self, place: usize) -> Part {
        Part { text: self.texts.column(place).to_string(), values: Vec::new() }
    }

    /// Puts an entry where it belongs.
    fn sort<'e>(&mut self, entry: &Entry<'e>, time: i64, now: u32, sorted: &mut Sorted<'e>) -> Result<()> {
        let end = self.end(entry, now);
        if entry.column == 0 {
            match entry.kind {
                EntryKind::Deletion => {
                    sorted.deletions += 1;
                    sorted.deletion = Some(time);
                }
                EntryKind::Cell => match end.filter(|_| entry.ttl != EXPIRED_LIVENESS_TTL) {
                    Some(end) => sorted.cells.entry((time, end)).or_default().liveness = true,
                    None => self.count("expired row liveness", 1),
                },
                EntryKind::Raw | EntryKind::Tombstone => {}
            }
            return Ok(());
        }
        let place = self.places.get(entry.column as usize).copied().flatten();
        let known = place.and_then(|place| Some((place, self.layout.column(place)?)));
        let Some((place, (_, t))) = known.filter(|(_, (c, _))| c.dropped_at.is_none_or(|dropped| entry.time > dropped))
        else {
            self.count("cells of dropped columns", 1);
            return Ok(());
        };
        let list = matches!(t, CqlType::List { frozen: false, .. });
        let path = entry.element.unwrap_or_default();
        match (entry.kind, end) {
            (EntryKind::Deletion, _) => {
                sorted.deletes.entry(time).or_default().push(self.whole(place));
                sorted.deletions += 1;
            }
            (EntryKind::Raw, _) => {}
            (EntryKind::Cell, Some(end)) if list => {
                let value = entry.value.unwrap_or_default();
                sorted.lists.entry(place).or_default().push((path, (time, end), value));
            }
            (EntryKind::Cell, Some(end)) => {
                let cells = sorted.cells.entry((time, end)).or_default();
                let value = entry.value.unwrap_or_default();
                match t.is_multi_cell() {
                    true => cells.elements.push((place, path, value)),
                    false => cells.simple.push((place, value)),
                }
            }
            // A tombstone, or a cell that has become one since the cut.
            _ if list => self.count("deleted elements of lists", 1),
            (kind, _) => {
                let part = self.deleted(place, path)?;
                sorted.deletes.entry(time).or_default().push(part);
                match kind {
                    EntryKind::Cell => self.count("cells expired since the snapshot", 1),
                    _ => sorted.deletions += 1,
                }
            }
        }
        Ok(())
    }

    /// When an entry ends: 0 never; `None` where it has ended.
    fn end(&mut self, entry: &Entry<'_>, now: u32) -> Option<u32> {
        if entry.ttl == 0 || self.ttl == Ttl::Lift {
            return Some(0);
        }
        let end = match self.ttl {
            // What had ended at the cut stays so.
            Ttl::Shift { cut } if entry.ldt > cut => entry.ldt.saturating_add(now.saturating_sub(cut)),
            _ => entry.ldt,
        };
        if end <= now {
            return None;
        }
        self.count("expiring cells, whose TTL is the time left", 1);
        Some(end)
    }

    /// A deleted cell: a column, an element, a field.
    fn deleted(&self, place: usize, path: &[u8]) -> Result<Part> {
        let name = self.texts.column(place);
        let t = self.layout.column(place).map(|(_, t)| t);
        Ok(match t {
            Some(CqlType::Udt { frozen: false, .. }) => {
                Part { text: format!("{name}.{}", self.field(place, path)?), values: Vec::new() }
            }
            Some(t) if t.is_multi_cell() => Part { text: format!("{name}[?]"), values: vec![path.to_vec()] },
            _ => self.whole(place),
        })
    }

    fn field(&self, place: usize, path: &[u8]) -> Result<String> {
        let unknown = || damaged(format!("field {path:02x?} of a type"));
        let Some((_, CqlType::Udt { udt, .. })) = self.layout.column(place) else { return Err(unknown()) };
        let number = <[u8; 2]>::try_from(path).map_err(|_| unknown())?;
        let field = udt.fields.get(usize::from(u16::from_be_bytes(number))).ok_or_else(unknown)?;
        Ok(quote_name(&field.0))
    }

    /// The statements of what has one time and one end.
    fn cells(&self, when: When, cells: &Cells<'_>, keys: &[Vec<u8>], out: &mut Vec<Mutation>) -> Result<()> {
        let mut parts: Vec<Part> = Vec::new();
        if cells.liveness {
            let first = fitting(cells.simple.iter().map(|(_, v)| v.len())).min(cells.simple.len());
            let (mut now, mut later) = cells.simple.split_at(first);
            out.push(self.texts.insert(now, when, keys));
            while !later.is_empty() {
                (now, later) = later.split_at(fitting(later.iter().map(|(_, v)| v.len())));
                out.push(self.texts.insert(now, when, keys));
            }
        } else {
            let set = |place: &usize| format!("{} = ?", self.texts.column(*place));
            parts.extend(cells.simple.iter().map(|(p, value)| Part { text: set(p), values: vec![value.to_vec()] }));
        }
        let mut rest = &cells.elements[..];
        while let Some((place, path, value)) = rest.first() {
            let name = self.texts.column(*place);
            if let Some((_, CqlType::Udt { .. })) = self.layout.column(*place) {
                let text = format!("{name}.{} = ?", self.field(*place, path)?);
                parts.push(Part { text, values: vec![value.to_vec()] });
                rest = &rest[1..];
                continue;
            }
            let same = rest.iter().take_while(|(p, _, _)| p == place).count();
            let count = fitting(rest[..same].iter().map(|(_, path, value)| path.len() + value.len()));
            let (now, later) = rest.split_at(count);
            parts.push(Part { text: format!("{name} = {name} + ?"), values: vec![self.collection(*place, now)] });
            rest = later;
        }
        while !parts.is_empty() {
            let mut columns = BTreeSet::new();
            // One statement sets a column once.
            let once = parts.iter().take_while(|p| columns.insert(p.text.as_str())).count();
            let count = fitting(parts.iter().take(once).map(Part::bytes));
            let later = parts.split_off(count);
            out.push(self.texts.update(&parts, when, keys));
            parts = later;
        }
        Ok(())
    }

    /// Elements of a set or map as one value.
    fn collection(&self, place: usize, elements: &[(usize, &[u8], &[u8])]) -> Vec<u8> {
        let map = matches!(self.layout.column(place), Some((_, CqlType::Map { .. })));
        let mut value = (elements.len() as u32).to_be_bytes().to_vec();
        for (_, path, of) in elements {
            put_part(&mut value, Some(path));
            if map {
                put_part(&mut value, Some(of));
            }
        }
        value
    }

    /// A list: its elements in order, appended run after run of those with one time and end.
    fn list(&mut self, place: usize, elements: Elements<'_>, keys: &[Vec<u8>], out: &mut Vec<Mutation>) -> Result<()> {
        self.count("elements of lists, whose places are new", elements.len() as u64);
        let mut ordered = Vec::with_capacity(elements.len());
        for (path, when, value) in elements {
            let mut order = Vec::new();
            encode_component(&mut order, &CqlType::TimeUuid, false, Some(path)).map_err(|e: Error| e.within("list"))?;
            ordered.push((order, when, value));
        }
        ordered.sort();
        let name = self.texts.column(place).to_string();
        let mut rest = &ordered[..];
        let mut before = 0;
        while let Some((_, when, _)) = rest.first() {
            let same = rest.iter().take_while(|(_, w, _)| w == when).count();
            let count = fitting(rest[..same].iter().map(|(_, _, value)| value.len()));
            let mut value = (count as u32).to_be_bytes().to_vec();
            rest[..count].iter().for_each(|(_, _, element)| put_part(&mut value, Some(element)));
            let part = Part { text: format!("{name} = {name} + ?"), values: vec![value] };
            let mut mutation = self.texts.update(&[part], *when, keys);
            let read = self.texts.read(place, keys.len());
            mutation.append = Some(Append { read, keys: keys.to_vec(), before, count });
            out.push(mutation);
            before += count;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// How the times of a row are moved.
    fn ranks(&self, entries: &[Entry<'_>]) -> Ranks {
        let Some(base) = self.times.base() else { return Ranks { base: None, times: Vec::new() } };
        let times: BTreeSet<i64> = entries.iter().filter(|e| e.kind != EntryKind::Raw).map(|e| e.time).collect();
        Ranks { base: Some(base.saturating_add(2)), times: times.into_iter().collect() }
    }
}

/// New times of a row: the old ones in their order, after the base.
struct Ranks {
    base: Option<i64>,
    times: Vec<i64>,
}

impl Ranks {
    fn of(&self, time: i64) -> i64 {
        match self.base {
            None => time,
            Some(base) => base.saturating_add(1 + self.times.partition_point(|t| *t < time) as i64),
        }
    }
}

/// How many of these sizes go into one statement, one at least.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        bytes += size;
        bytes <= STATEMENT_BYTES
    };
    sizes.take_while(fits).count().max(1)
}
