//! `onefold dump`: what a file holds, or an archive, on standard output.

use std::io::{BufWriter, Write};

use super::access;
use super::args::{Dump, Global};
use super::ls::tree;
use super::output::of_pipe;
use super::show::{load, split};
use super::{Outcome, Output};
use crate::browse;
use crate::engine::{Engine, engine};
use crate::error::{Error, Kind, Result};

/// Writes it.
pub fn run(global: &Global, args: &Dump, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let (name, path) = split(&args.file);
    let path = path.ok_or_else(|| {
        Error::new(Kind::Usage, format_args!("dump {name}"), "names no file")
            .hint("write SNAPSHOT:/PATH, like latest:/etc/hosts")
    })?;
    let repo = access::open(global, output)?;
    let (_, snapshot) = load(&repo, name, &args.filter, output)?;
    let engine = engine(engines, &snapshot.engine)?;
    let reader = repo.reader()?;
    let view = tree(engine, &snapshot, &reader)?;
    let mut to = BufWriter::with_capacity(1 << 16, output.pipe());
    match args.archive {
        Some(_) => browse::archive(&view, path, &mut to).map_err(of_pipe)?,
        None => browse::content(&view, path, &mut to).map_err(of_pipe)?,
    };
    to.flush().map_err(|e| of_pipe(Error::io("output", e)))?;
    access::notes(&repo, output);
    Ok(Outcome::Fine)
}
