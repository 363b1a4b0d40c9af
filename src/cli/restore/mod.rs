//! `onefold restore`: one file a form.

mod files;
mod json;

use std::sync::Arc;

use super::access;
use super::args::{Form, Global, Restore};
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::error::Result;
use crate::repo::Repo;
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// What every form works on.
struct Context<'a> {
    repo: &'a Repo,
    snapshot: &'a Snapshot,
    args: &'a Restore,
    watch: &'a Watch,
    output: &'a Output,
}

/// Gets data back.
pub fn run(global: &Global, args: &Restore, output: &Output) -> Result<Outcome> {
    let repo = access::open(global)?;
    let (_, snapshot) = load(&repo, &args.snapshot)?;
    let watch = Arc::new(Watch::new());
    let _progress = Progress::start(&watch, "restore", !global.quiet && args.out.is_some(), output)?;
    let context = Context { repo: &repo, snapshot: &snapshot, args, watch: &watch, output };
    match args.form {
        Form::Files => files::run(&context),
        Form::Json => json::run(&context),
    }
}
