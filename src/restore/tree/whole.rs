//! The file trees of a snapshot, or what lies at a path of them, into a folder.

use std::path::Path;

use super::{Done, Overwrite, Request, restore};
use crate::engine::{self, Engine};
use crate::error::{Error, Kind, Result};
use crate::patterns::Patterns;
use crate::run::{ChunkSource, Run, ShardKind};
use crate::snapshot::{Shard, Snapshot};
use crate::view::View;
use crate::watch::Watch;

/// What is wanted of a snapshot's files.
pub struct Wanted<'a> {
    /// What lies at this path becomes what lies in the folder; `None`: everything.
    pub path: Option<&'a str>,
    /// The folder.
    pub out: &'a Path,
    /// Only what these name.
    pub include: Patterns,
    /// Not what these name.
    pub exclude: Patterns,
    /// What becomes of files that are there already.
    pub overwrite: Overwrite,
    /// What is not in the snapshot is taken away.
    pub delete: bool,
    /// Everything is compared once more when all is done.
    pub verify: bool,
    /// Nothing is written.
    pub dry_run: bool,
}

/// The file trees of a snapshot.
pub fn trees(snapshot: &Snapshot) -> impl Iterator<Item = &Shard> {
    snapshot.shards.iter().filter(|shard| shard.kind == ShardKind::Files)
}

/// Refuses a pattern where one path is meant: of a folder that a pattern names, what lies in it is not named.
pub fn no_pattern(path: &str) -> Result<()> {
    match path.contains(['*', '?', '[']) {
        true => Err(Error::new(Kind::Usage, format_args!("path {path}"), "is a pattern, where one path is needed")
            .hint("name the folder, and give `restore` the pattern by --include; a sign in a name is written \\x2a, \\x3f, \\x5b")),
        false => Ok(()),
    }
}

/// Restores what is `wanted`.
///
/// Errors: the snapshot has no such path; those of [`restore`]; `Damaged` where what was written reads otherwise.
pub fn of_snapshot(
    engine: &dyn Engine,
    snapshot: &Snapshot,
    chunks: &dyn ChunkSource,
    wanted: &Wanted<'_>,
    watch: &Watch,
) -> Result<Done> {
    if let Some(path) = wanted.path {
        no_pattern(path)?;
    }
    let mut sum = Done::default();
    for shard in trees(snapshot) {
        let view = View::open(engine, snapshot, shard, chunks)?;
        let selection = wanted.path.map(|path| view.select(path)).transpose()?;
        let range = selection.as_ref().map(|selection| selection.reads(engine::Wanted::Records)).transpose()?;
        let from = range.and_then(|mut ranges| ranges.next()).unwrap_or_default().0;
        let request = Request {
            out: wanted.out,
            from: &from,
            include: wanted.include.clone(),
            exclude: wanted.exclude.clone(),
            overwrite: wanted.overwrite,
            delete: wanted.delete,
            dry_run: wanted.dry_run,
            verifies: None,
            watch,
        };
        let mut done = restore(&mut *view.records(selection.as_deref())?, chunks, &request)?;
        if wanted.verify && !wanted.dry_run {
            let records = &mut *view.records(selection.as_deref())?;
            verify(records, chunks, &request, &mut done)?;
        }
        sum = done;
    }
    match wanted.path {
        Some(path) if sum.entries == 0 => Err(Error::new(
            Kind::Usage,
            format_args!("path {path}"),
            "is not in the snapshot, or nothing in it is meant",
        )
        .hint("`onefold ls SNAPSHOT:/` lists what there is")),
        _ => Ok(sum),
    }
}

/// Compares what was restored just now with what it was restored from: `done` came of it.
fn verify(run: &mut dyn Run, chunks: &dyn ChunkSource, request: &Request<'_>, done: &mut Done) -> Result<()> {
    if done.more > 0 {
        let what = "nothing was compared: which of so many problems are known already cannot be told";
        done.problems.push((request.out.display().to_string(), what.to_owned()));
        return Ok(());
    }
    // Whatever has the right size and time is read now.
    let overwrite = match request.overwrite {
        Overwrite::IfChanged => Overwrite::Always,
        other => other,
    };
    let again = Request { dry_run: true, delete: false, overwrite, verifies: Some(done), ..request.clone() };
    let Done { rewritten, damaged, problems, more, .. } = restore(run, chunks, &again)?;
    if rewritten > 0 {
        let what = format!("{rewritten} files read otherwise than they were written");
        return Err(Error::damaged(request.out.display(), what).hint("look at the disk that was restored to"));
    }
    // What cannot be read to be compared is said, too.
    done.damaged |= damaged;
    done.more += more;
    let is_new = |of: &String| !done.problems.iter().any(|(known, _)| known == of);
    let new: Vec<_> = problems.into_iter().filter(|(of, _)| is_new(of)).collect();
    done.problems.extend(new);
    Ok(())
}
