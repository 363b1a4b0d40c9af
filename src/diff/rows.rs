//! The rows of one shard in two views, or in one and none: which were added, changed, deleted.

use std::iter;

use super::spell::{Columns, Speller, Version};
use crate::engine::{Column, KeyRanges, Selection, Wanted};
use crate::error::Result;
use crate::run::Record;
use crate::view::{View, differences};
use crate::watch::Watch;

/// One side of a comparison.
#[derive(Clone, Copy)]
pub struct Side<'v> {
    /// The shard, as a snapshot has it.
    pub view: &'v View<'v>,
    /// Conditions, where there are any. A row counts where those of one side name it.
    pub selection: Option<&'v dyn Selection>,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was not there before.
    Added,
    /// Some value is another.
    Changed,
    /// The same values were written again, at other times.
    Rewritten,
    /// It is not there after.
    Deleted,
}

impl What {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            What::Added => "added",
            What::Changed => "changed",
            What::Rewritten => "rewritten",
            What::Deleted => "deleted",
        }
    }
}

/// A row that differs. Values that all rows of a group have in common stand in a row of their own.
pub struct Change<'c> {
    /// What became of it.
    pub what: What,
    /// As it was.
    pub before: Option<Version<'c>>,
    /// As it is.
    pub after: Option<Version<'c>>,
    /// Which columns are others: where the row is in both, those that the second has.
    pub columns: Vec<Differs<'c>>,
}

/// A column of a row that differs.
#[derive(Debug, Clone, Copy)]
pub struct Differs<'c> {
    /// As the second side has it.
    pub column: &'c Column,
    /// Its place there.
    pub after: usize,
    /// Its place on the first side, where it has such a column.
    pub before: Option<usize>,
}

impl Change<'_> {
    /// The side that is there: the second, if it is.
    pub fn shown(&self) -> Option<&Version<'_>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

/// How many rows differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Not there before.
    pub added: u64,
    /// Some value is another.
    pub changed: u64,
    /// The same values, written at other times.
    pub rewritten: u64,
    /// Not there after.
    pub deleted: u64,
}

impl Counts {
    /// Counts a row.
    pub fn count(&mut self, what: What) {
        *match what {
            What::Added => &mut self.added,
            What::Changed => &mut self.changed,
            What::Rewritten => &mut self.rewritten,
            What::Deleted => &mut self.deleted,
        } += 1;
    }

    /// Adds those of another shard.
    pub fn add(&mut self, other: &Counts) {
        self.added += other.added;
        self.changed += other.changed;
        self.rewritten += other.rewritten;
        self.deleted += other.deleted;
    }

    /// Rows that differ in any way.
    pub fn all(&self) -> u64 {
        self.added + self.changed + self.rewritten + self.deleted
    }
}

/// Shows the rows that differ, in the order of their keys, and counts them. Columns are compared by name: those that the second side
/// lacks are not. Where keys are made in different ways every row of the first side is deleted, and every one of the second added.
///
/// Errors: a value that cannot be spelled, by key and column; what reading gives; those of `each`.
pub fn compare(
    before: Option<Side<'_>>,
    after: Option<Side<'_>>,
    watch: &Watch,
    each: &mut dyn FnMut(&Change<'_>) -> Result<()>,
) -> Result<Counts> {
    if let (Some(one), Some(other)) = (before, after)
        && one.view.schema().key()? != other.view.schema().key()?
    {
        // A side whose conditions say nothing has no row that they name.
        let is_asked = one.selection.is_some() || other.selection.is_some();
        let mut counts = Counts::default();
        for (side, alone) in [(one, (before, None)), (other, (None, after))] {
            if side.selection.is_some() || !is_asked {
                counts.add(&compare(alone.0, alone.1, watch, each)?);
            }
        }
        return Ok(counts);
    }
    let columns = |side: Option<Side<'_>>| side.map(|side| Columns::of(side.view)).transpose();
    let (before_columns, after_columns) = (columns(before)?, columns(after)?);
    let whole = before.is_none() || after.is_none();
    let mut of_before = speller(before, before_columns.as_ref(), whole)?;
    let mut of_after = speller(after, after_columns.as_ref(), whole)?;
    let selection = after.iter().chain(&before).find_map(|side| side.selection);
    let ranges: KeyRanges = match selection {
        Some(selection) => selection.reads(Wanted::Rows)?,
        None => Box::new(iter::once((Vec::new(), Vec::new()))),
    };
    let names = Names::of(before_columns.as_ref(), after_columns.as_ref());
    let mut counts = Counts::default();
    let (one, other) = (before.map(|side| side.view), after.map(|side| side.view));
    differences(one, other, ranges, watch, &mut |before, after| {
        let (before, after) = (spell(&mut of_before, before)?, spell(&mut of_after, after)?);
        let is_named = |side: &Option<Version<'_>>| side.as_ref().is_some_and(|version| version.picked);
        if selection.is_some() && !is_named(&before) && !is_named(&after) {
            return Ok(());
        }
        if let Some(change) = names.change(before, after) {
            counts.count(change.what);
            each(&change)?;
        }
        Ok(())
    })?;
    Ok(counts)
}

fn speller<'v>(side: Option<Side<'v>>, columns: Option<&'v Columns>, whole: bool) -> Result<Option<Speller<'v>>> {
    match (side, columns) {
        (Some(side), Some(columns)) => Speller::new(side.view, columns, side.selection, whole).map(Some),
        _ => Ok(None),
    }
}

fn spell<'v>(by: &mut Option<Speller<'v>>, record: Option<Record<'_>>) -> Result<Option<Version<'v>>> {
    match (by, record) {
        (Some(by), Some(record)) => by.spell(&record),
        _ => Ok(None),
    }
}

/// Which column of the first side is which of the second.
struct Names {
    /// By place on the second.
    before: Vec<Option<usize>>,
}

impl Names {
    fn of(before: Option<&Columns>, after: Option<&Columns>) -> Names {
        let all = after.map_or(&[][..], |after| &after.all);
        let place = |column: &Column| before.and_then(|before| before.value(&column.name));
        Names { before: all.iter().map(place).collect() }
    }

    /// What became of a row, if anything.
    fn change<'c>(&self, before: Option<Version<'c>>, after: Option<Version<'c>>) -> Option<Change<'c>> {
        let (what, columns) = match (&before, &after) {
            (None, None) => return None,
            (None, Some(_)) => (What::Added, Vec::new()),
            (Some(_), None) => (What::Deleted, Vec::new()),
            (Some(one), Some(other)) => self.differ(one, other)?,
        };
        Some(Change { what, before, after, columns })
    }

    fn differ<'c>(&self, one: &Version<'c>, other: &Version<'c>) -> Option<(What, Vec<Differs<'c>>)> {
        let (mut changed, mut rewritten) = (Vec::new(), Vec::new());
        for (after, column) in other.columns() {
            let before = self.before.get(after).copied().flatten();
            let of = |said: for<'t> fn(&'t Version<'c>, usize) -> Option<&'t str>| {
                (before.and_then(|place| said(one, place)), said(other, after))
            };
            let differs = Differs { column, after, before };
            let (value, time) = (of(Version::value), of(Version::written));
            if value.0 != value.1 {
                changed.push(differs);
            } else if time.0 != time.1 && one.has_times() && other.has_times() {
                rewritten.push(differs);
            }
        }
        match (changed.is_empty(), rewritten.is_empty()) {
            (false, _) => Some((What::Changed, changed)),
            (true, false) => Some((What::Rewritten, rewritten)),
            (true, true) => None,
        }
    }
}
