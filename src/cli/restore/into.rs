//! `restore --to FORM` of an engine: what its target says, as it comes.

use super::{Context, passed_over};
use crate::cli::Outcome;
use crate::cli::world;
use crate::error::Result;
use crate::restore::into::{From, into};

/// Writes, or says what would be written.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { repo, reader, engine, info, snapshot, form, dry_run, watch, output, .. } = context;
    let env = world::env(watch);
    let from = From { repo, reader, info, snapshot, engine };
    let done = into(from, &form.of, &form.params, dry_run, &env, &mut |report| output.report(report))?;
    passed_over(&done.refused, done.of, output)
}
