//! The values of one row, put together from its records.

use repo_format::record::{Class, Entries, Entry, EntryKind};

use super::assemble::{Element, assemble};
use super::{Layout, is_key};
use crate::engine::cassandra::comparable;
use crate::engine::cassandra::rule::is_live;
use crate::engine::cassandra::schema::{Column, ColumnRole};
use crate::engine::cassandra::types::CqlType;
use crate::error::Result;
use crate::run::Record;

/// Write time and seconds left of one cell.
pub(super) type Times = (i64, Option<u32>);

/// A column of the row in the making.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) value: Option<Vec<u8>>,
    /// One for each element of a column of several cells; `None` for a field that is null.
    pub(super) times: Vec<Option<Times>>,
}

impl Slot {
    fn clear(&mut self) {
        self.value = None;
        self.times.clear();
    }

    fn set(&mut self, value: &[u8]) {
        self.value = Some(value.to_vec());
    }
}

/// What is live of one row: its partition's key and static columns, and its own.
pub struct Row {
    pub(super) layout: Layout,
    now: u32,
    /// Place in the layout by column number; none for dropped columns.
    places: Vec<Option<usize>>,
    /// By place in the layout.
    slots: Vec<Slot>,
    group: Vec<u8>,
}

impl Row {
    /// None yet; values will be judged at `now` (seconds since 1970).
    pub fn new(layout: Layout, now: u32) -> Row {
        let last = layout.columns.iter().map(|(c, _)| c.number as usize).max().unwrap_or(0);
        let mut places = vec![None; last + 1];
        for (place, (column, _)) in layout.columns.iter().enumerate().filter(|(_, (c, _))| !is_key(c.role)) {
            places[column.number as usize] = Some(place);
        }
        let slots = layout.columns.iter().map(|_| Slot::default()).collect();
        Row { layout, now, places, slots, group: Vec::new() }
    }

    /// Raw values by place in the layout; of collections and types of several cells as one cell would hold them.
    pub fn values(&self) -> Vec<Option<&[u8]>> {
        self.slots.iter().map(|s| s.value.as_deref()).collect()
    }

    /// Columns with what is in them, in the order of the layout.
    pub(super) fn columns(&self) -> impl Iterator<Item = (&(Column, CqlType), &Slot)> {
        self.layout.columns.iter().zip(&self.slots)
    }

    /// A column with what is in it, by its place in the layout.
    pub(super) fn column(&self, place: usize) -> Option<(&(Column, CqlType), &Slot)> {
        Some((self.layout.columns.get(place)?, self.slots.get(place)?))
    }

    /// Whether the record is of the partition begun last.
    pub fn is_in_partition(&self, record: &Record<'_>) -> bool {
        record.group() == self.group
    }

    /// Begins the record's partition: of it nothing is known but the key.
    pub fn begin(&mut self, record: &Record<'_>) -> Result<()> {
        self.group.clear();
        self.group.extend_from_slice(record.group());
        self.slots.iter_mut().for_each(Slot::clear);
        let key = comparable::partition_key(record.group())?;
        for (slot, part) in self.slots.iter_mut().zip(self.layout.split_partition_key(&key)?) {
            slot.set(part);
        }
        Ok(())
    }

    /// Stands at a record, whatever it is: of its partition and place nothing is known but the key.
    pub fn stand(&mut self, record: &Record<'_>) -> Result<()> {
        self.begin(record)?;
        match record.class {
            Class::Row | Class::Marker => self.set_clustering(record),
            Class::Static | Class::Group => Ok(()),
        }
    }

    /// The name of a column by its number; empty where it was dropped.
    pub fn name_of(&self, number: u32) -> &str {
        let place = self.places.get(number as usize).copied().flatten();
        place.map_or("", |place| &self.layout.columns[place].0.name)
    }

    /// Forgets the row, not its partition's static columns.
    pub(super) fn clear_row(&mut self) {
        self.clear(ColumnRole::Clustering);
        self.clear(ColumnRole::Regular);
    }

    fn clear(&mut self, role: ColumnRole) {
        for (slot, (column, _)) in self.slots.iter_mut().zip(&self.layout.columns) {
            if column.role == role {
                slot.clear();
            }
        }
    }

    /// Takes a row or static row of the partition; whether anything in it is live, its own liveness included.
    pub fn fill(&mut self, record: &Record<'_>) -> Result<bool> {
        if record.class == Class::Row {
            self.clear_row();
            self.set_clustering(record)?;
        }
        let mut live = false;
        let mut elements: Vec<Element<'_>> = Vec::new();
        let mut current = None;
        for entry in Entries::new(record.body) {
            let entry = entry?;
            if !is_live(&entry, self.now) {
                continue;
            }
            if entry.column == 0 {
                live = true;
                continue;
            }
            let Some(place) = self.places.get(entry.column as usize).copied().flatten() else { continue };
            let (column, t) = &self.layout.columns[place];
            if column.dropped_at.is_some_and(|dropped| entry.time <= dropped) {
                continue;
            }
            live = true;
            let times = (entry.time, entry.expires().then(|| entry.ldt - self.now));
            if t.is_multi_cell() {
                if current != Some(place) {
                    self.assemble(current, &mut elements)?;
                    current = Some(place);
                }
                elements.push(element(&entry, times));
            } else {
                let slot = &mut self.slots[place];
                slot.set(entry.value.unwrap_or_default());
                slot.times.push(Some(times));
            }
        }
        self.assemble(current, &mut elements)?;
        Ok(live)
    }

    fn assemble(&mut self, place: Option<usize>, elements: &mut Vec<Element<'_>>) -> Result<()> {
        let Some(place) = place else { return Ok(()) };
        let (column, t) = &self.layout.columns[place];
        let slot = &mut self.slots[place];
        let value = assemble(t, elements, &mut slot.times).map_err(|e| e.within(format!("column {}", column.name)))?;
        slot.value = Some(value);
        elements.clear();
        Ok(())
    }

    fn set_clustering(&mut self, record: &Record<'_>) -> Result<()> {
        let first = self.layout.keys;
        if let Some(raw) = raw_clustering(record.body)? {
            let parts = comparable::raw_parts(raw)?;
            for (slot, part) in self.slots[first..].iter_mut().zip(&parts) {
                slot.value = part.map(<[u8]>::to_vec);
            }
            return Ok(());
        }
        let parts = self.layout.clustering.decode(comparable::split(record.key)?.clustering)?;
        for (slot, part) in self.slots[first..].iter_mut().zip(parts) {
            slot.value = part;
        }
        Ok(())
    }
}

/// The clustering kept beside the key, in column 0 behind a deletion of the row.
fn raw_clustering(body: &[u8]) -> Result<Option<&[u8]>> {
    for entry in Entries::new(body) {
        let entry = entry?;
        match entry.kind {
            _ if entry.column > 0 => break,
            EntryKind::Raw => return Ok(entry.value),
            _ => {}
        }
    }
    Ok(None)
}

fn element<'e>(entry: &Entry<'e>, times: Times) -> Element<'e> {
    Element { path: entry.element.unwrap_or_default(), value: entry.value.unwrap_or_default(), times }
}
