//! Records to rows: what an engine makes of records, and what takes the rows.

use crate::error::Result;
use crate::run::Record;

/// What rows have besides their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Show {
    /// When each value was written.
    pub write_times: bool,
    /// How many seconds each value has left.
    pub ttls: bool,
}

/// One thing that every row has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name as a string of JSON, quotes around it, as the database itself writes it.
    pub json: String,
    /// What it is of the row.
    pub of: Of,
    /// The database's word for what its values are; of one that is no value, what the database would call its own.
    pub kind: String,
}

/// What a column is of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// A part of what tells the row from all others.
    Key,
    /// A value that all rows of a group have in common: of their record of [`repo_format::record::Class::Static`].
    Shared,
    /// A value of the row's own.
    Own,
    /// When the value of the column at this place was written.
    Written(usize),
    /// How many seconds the value of the column at this place has left.
    Left(usize),
}

/// Makes rows of records, which come merged and in the order of their keys.
pub trait Rows {
    /// Takes the next record, and gives the rows that it completes. Errors name its key.
    fn push(&mut self, record: &Record<'_>, to: &mut dyn RowSink) -> Result<()>;
    /// The records have ended: gives what is left.
    fn finish(&mut self, to: &mut dyn RowSink) -> Result<()>;
}

/// A row.
pub trait Row {
    /// Appends the value of the column at `place` in [`super::Schema::columns`] as JSON; `false`, and nothing, where it has none.
    fn json(&self, place: usize, out: &mut String) -> Result<bool>;
    /// The same as text, as the database's tools read it.
    fn text(&self, place: usize, out: &mut String) -> Result<bool>;
}

/// Takes rows.
pub trait RowSink {
    /// What the rows will have; told once, before the first.
    fn begin(&mut self, columns: &[Column]) -> Result<()>;
    /// Takes a row.
    fn row(&mut self, row: &dyn Row) -> Result<()>;
    /// Now and then, and at the end: what was taken may be passed on.
    fn pass_on(&mut self) -> Result<()> {
        Ok(())
    }
}
