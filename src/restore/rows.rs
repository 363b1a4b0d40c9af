//! Rows as text: JSON the way the database prints them, CSV the way its tools read them.

mod all;

use std::io::Write;

use crate::engine::text::{TextForm, TextRows};
use crate::engine::{Selection, Show};
use crate::error::Result;
use crate::view::View;

pub use all::{Report, Request, all};

/// Writes a shard's rows, those of a selection or all, to `out`. Gives their number.
///
/// Errors: those of [`View::rows`]; what writing gives.
pub fn rows(
    view: &View<'_>,
    selection: Option<&dyn Selection>,
    show: Show,
    form: TextForm,
    out: &mut dyn Write,
) -> Result<u64> {
    let mut text = TextRows::new(form, out);
    view.rows(selection, show, &mut text)?;
    Ok(text.count())
}
