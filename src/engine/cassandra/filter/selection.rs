//! Conditions as a [`Selection`].

use super::Filter;
use crate::engine::cassandra::rows::{Layout, Rows};
use crate::engine::cassandra::schema::Table;
use crate::engine::{self, KeyRanges, Selection, Show, Wanted};
use crate::error::Result;
use crate::run::Run;

/// Conditions on the rows of a table, at a point in time.
pub struct Conditions {
    filter: Filter,
    layout: Layout,
    cut: u32,
}

impl Conditions {
    /// Parses `text`; values are judged at `cut`, seconds since 1970.
    pub fn parse(text: &str, table: &Table, layout: Layout, cut: u32) -> Result<Conditions> {
        Ok(Conditions { filter: Filter::parse(text, table, &layout)?, layout, cut })
    }
}

impl Selection for Conditions {
    fn reads(&self, wanted: Wanted) -> Result<KeyRanges> {
        if wanted == Wanted::Records {
            self.filter.names_records()?;
        }
        Ok(Box::new(self.filter.reads(wanted == Wanted::Rows)))
    }

    fn cut<'a>(&self, run: Box<dyn Run + 'a>, wanted: Wanted) -> Box<dyn Run + 'a> {
        match wanted {
            Wanted::Records => self.filter.records(run, &self.layout, self.cut),
            Wanted::Rows => self.filter.rows(run),
        }
    }

    fn rows(&self, show: Show) -> Result<Box<dyn engine::Rows>> {
        Ok(Box::new(Rows::new(self.layout.clone(), self.cut, show, Some(self.filter.predicate()))))
    }
}
