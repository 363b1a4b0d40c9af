//! Records of a view as rows, one by one: what each says, and whether conditions name it.

use std::iter;

use repo_format::record::Class;

use crate::engine::target::unwritable;
use crate::engine::{Column, Of, Row, RowSink, Rows, Selection, Show};
use crate::error::{Kind, Result};
use crate::run::{Record, RecordBatch};
use crate::view::View;

/// What the rows of a view have, in order, and where it is said when each value was written.
pub struct Columns {
    /// All of them.
    pub all: Vec<Column>,
    /// By place: that of the column that says when the value here was written.
    written: Vec<Option<usize>>,
    show: Show,
}

impl Columns {
    /// With write times, where the database has them.
    ///
    /// Errors: a type that is not known.
    pub fn of(view: &View<'_>) -> Result<Columns> {
        let with_times = Show { write_times: true, ttls: false };
        let (all, show) = match view.schema().columns(with_times) {
            Ok(all) => (all, with_times),
            Err(e) if e.kind() == Kind::Unsupported => {
                (view.schema().columns(Show::default()).map_err(unwritable)?, Show::default())
            }
            Err(e) => return Err(unwritable(e)),
        };
        let mut written = vec![None; all.len()];
        for (at, column) in all.iter().enumerate() {
            if let Of::Written(place) = column.of
                && let Some(slot) = written.get_mut(place)
            {
                *slot = Some(at);
            }
        }
        Ok(Columns { all, written, show })
    }

    /// The place of the value called `name`.
    pub fn value(&self, name: &str) -> Option<usize> {
        let is_value = |c: &Column| matches!(c.of, Of::Key | Of::Shared | Of::Own) && c.name == name;
        self.all.iter().position(is_value)
    }
}

/// A row as one view has it: of a group's shared values those alone.
pub struct Version<'c> {
    columns: &'c Columns,
    /// By place.
    texts: Vec<Option<String>>,
    shared: bool,
    /// Conditions name it.
    pub(super) picked: bool,
}

impl<'c> Version<'c> {
    /// Whether these are the values that all rows of a group have in common.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The columns of its own, with their places.
    pub(super) fn columns(&self) -> impl Iterator<Item = (usize, &'c Column)> {
        let of = if self.shared { Of::Shared } else { Of::Own };
        self.columns.all.iter().enumerate().filter(move |(_, column)| column.of == of)
    }

    /// The value at a place, as JSON.
    pub fn value(&self, place: usize) -> Option<&str> {
        self.texts.get(place)?.as_deref()
    }

    /// When the value at a place was written, as JSON.
    pub fn written(&self, place: usize) -> Option<&str> {
        self.value(self.columns.written.get(place).copied().flatten()?)
    }

    /// Whether the database says when values were written.
    pub fn has_times(&self) -> bool {
        self.columns.show.write_times
    }

    /// Its key, an object of JSON.
    pub fn key(&self) -> String {
        let keys = self.columns.all.iter().enumerate().filter(|(_, column)| column.of == Of::Key);
        object(keys.filter_map(|(place, column)| Some((column, self.value(place)?))))
    }

    /// The values of its own, an object of JSON without nulls.
    pub fn values(&self) -> String {
        object(self.columns().filter_map(|(place, column)| Some((column, self.value(place)?))))
    }

    /// When each value was written, an object of JSON.
    pub fn times(&self) -> String {
        object(self.columns().filter_map(|(place, column)| Some((column, self.written(place)?))))
    }
}

fn object<'t>(parts: impl Iterator<Item = (&'t Column, &'t str)>) -> String {
    let mut text = String::from("{");
    for (column, value) in parts {
        text.push_str(if text.len() > 1 { ", " } else { "" });
        text.push_str(&column.json);
        text.push_str(": ");
        text.push_str(value);
    }
    text.push('}');
    text
}

/// Makes versions of records, which come in the order of their keys.
pub struct Speller<'v> {
    view: &'v View<'v>,
    columns: &'v Columns,
    rows: Box<dyn Rows>,
    /// Makes rows of those alone that conditions name.
    named: Option<Box<dyn Rows>>,
    /// Shared values that did not come are looked up: conditions may be on them.
    looks_up: bool,
    group: Option<Vec<u8>>,
}

impl<'v> Speller<'v> {
    /// `whole`: all records of a group come, its shared values too.
    pub fn new(
        view: &'v View<'v>,
        columns: &'v Columns,
        selection: Option<&dyn Selection>,
        whole: bool,
    ) -> Result<Speller<'v>> {
        let rows = view.schema().rows(view.snapshot().cut.seconds, columns.show).map_err(unwritable)?;
        let named = selection.map(|s| s.rows(Show::default())).transpose().map_err(unwritable)?;
        let looks_up = named.is_some() && !whole && columns.all.iter().any(|column| column.of == Of::Shared);
        Ok(Speller { view, columns, rows, named, looks_up, group: None })
    }

    /// What a record gives a reader; `None`: nothing, as a deletion does, or what has ended.
    pub fn spell(&mut self, record: &Record<'_>) -> Result<Option<Version<'v>>> {
        if !record.is_row() {
            return Ok(None);
        }
        if record.group_len > 0 && self.group.as_deref() != Some(record.group()) {
            self.begin(record)?;
        }
        let mut taken = Taken { columns: self.columns.all.len(), texts: None };
        give(&mut *self.rows, record, &mut taken)?;
        let mut is_named = Given(false);
        if let Some(named) = &mut self.named {
            give(&mut **named, record, &mut is_named)?;
        }
        let (columns, shared, picked) = (self.columns, record.class == Class::Static, is_named.0);
        Ok(taken.texts.map(|texts| Version { columns, texts, shared, picked }))
    }

    /// Begins the record's group. What its rows have in common goes before it to where conditions are tested.
    fn begin(&mut self, record: &Record<'_>) -> Result<()> {
        self.group = Some(record.group().to_vec());
        for rows in iter::once(&mut self.rows).chain(&mut self.named) {
            rows.finish(&mut Given(false)).map_err(unwritable)?;
        }
        if self.looks_up
            && record.class == Class::Row
            && let Some(named) = &mut self.named
        {
            let before = (record.group().to_vec(), record.key.to_vec());
            let mut run = self.view.ranges(Box::new(iter::once(before)))?;
            let mut batch = RecordBatch::new();
            // They lie before all rows.
            while run.next_batch(&mut batch)? {
                if let Some(first) = batch.iter().find(Record::is_row) {
                    if first.class == Class::Static {
                        named.push(&first, &mut Given(false)).map_err(unwritable)?;
                    }
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Gives the row of one record alone. A group's shared values are a row only at the end; where there are no groups every record is.
fn give(rows: &mut dyn Rows, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()> {
    rows.push(record, to).map_err(unwritable)?;
    if record.class == Class::Static || record.group_len == 0 {
        rows.finish(to).map_err(unwritable)?;
    }
    Ok(())
}

/// Takes a row as texts of JSON.
struct Taken {
    columns: usize,
    texts: Option<Vec<Option<String>>>,
}

impl RowSink for Taken {
    fn begin(&mut self, _: &[Column]) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, row: &dyn Row) -> Result<()> {
        let text = |place| {
            let mut text = String::new();
            Ok(row.json(place, &mut text)?.then_some(text).filter(|text| text != "null"))
        };
        self.texts = Some((0..self.columns).map(text).collect::<Result<_>>()?);
        Ok(())
    }
}

/// Notices that there is a row.
struct Given(bool);

impl RowSink for Given {
    fn begin(&mut self, _: &[Column]) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, _: &dyn Row) -> Result<()> {
        self.0 = true;
        Ok(())
    }
}
