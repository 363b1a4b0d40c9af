//! Looking into the file trees of a snapshot: what lies in a folder, and what a file holds.

mod archive;
mod spread;

use std::io::Write;

use repo_format::file_tree::{FileKind, FileRecord, parts_of};

use crate::engine::target::unwritable;
use crate::engine::{RowSink, Selection, Show, Wanted};
use crate::error::{Error, Kind, Result};
use crate::restore::tree::no_pattern;
use crate::run::{Record, RecordBatch};
use crate::view::View;
use spread::spread;

pub use archive::archive;

/// So many records that lie deeper than what is listed are passed over; behind more the next is looked up.
const PASSED_MAX: usize = 2048;

/// Gives a row for what lies at `path` of a file tree, and for what lies in it: in the folder itself, or, where `all` is asked for, at
/// any depth; for a pattern, one for all that it names. Gives how many there were.
///
/// Errors: `Usage` where nothing is at the path; what reading gives; those of `to`.
pub fn list(view: &View<'_>, path: &str, all: bool, to: &mut dyn RowSink) -> Result<u64> {
    let schema = view.schema();
    to.begin(&schema.columns(Show::default()).map_err(unwritable)?)?;
    if path.contains(['*', '?', '[']) {
        return fitting(view, path, to);
    }
    let mut rows = schema.rows(view.snapshot().cut.seconds, Show::default())?;
    let (mut from, end) = range(view, path)?;
    let depth = if from.is_empty() { 1 } else { parts_of(&from)?.len() + 1 };
    let mut count = 0;
    'ranges: loop {
        let mut run = view.ranges(Box::new(std::iter::once((from.clone(), end.clone()))))?;
        let (mut batch, mut passed) = (RecordBatch::new(), 0);
        while run.next_batch(&mut batch)? {
            for record in batch.iter() {
                let parts = parts_of(record.key)?;
                if !all && parts.len() > depth {
                    passed += 1;
                    if passed > PASSED_MAX {
                        // Behind everything in that folder.
                        let folder = parts[..depth].iter().map(|part| part.len() + 1).sum();
                        from = [&record.key[..folder], &[1]].concat();
                        continue 'ranges;
                    }
                    continue;
                }
                passed = 0;
                count += 1;
                rows.push(&record, to).map_err(unwritable)?;
            }
            to.pass_on()?;
        }
        break;
    }
    rows.finish(to).map_err(unwritable)?;
    to.pass_on()?;
    if count == 0 { Err(nothing(path)) } else { Ok(count) }
}

/// What a pattern names, wherever it lies.
fn fitting(view: &View<'_>, pattern: &str, to: &mut dyn RowSink) -> Result<u64> {
    let selection = view.select(pattern)?;
    let mut rows = selection.rows(Show::default())?;
    let mut run = view.records(Some(&*selection))?;
    let (mut batch, mut count) = (RecordBatch::new(), 0);
    while run.next_batch(&mut batch)? {
        count += batch.len() as u64;
        batch.iter().try_for_each(|record| rows.push(&record, to)).map_err(unwritable)?;
        to.pass_on()?;
    }
    rows.finish(to).map_err(unwritable)?;
    to.pass_on()?;
    if count == 0 { Err(nothing(pattern)) } else { Ok(count) }
}

fn nothing(path: &str) -> Error {
    Error::new(Kind::Usage, format_args!("path {path}"), "is not in the snapshot")
        .hint("`onefold ls SNAPSHOT:/` lists what there is; paths begin at the root")
}

fn range(view: &View<'_>, path: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    Ok(view.select(path)?.reads(Wanted::Records)?.next().unwrap_or_default())
}

/// Writes the content of the file at `path`, holes as zeros. Gives how many bytes.
///
/// Errors: `Usage` where no file is at the path, or what the backup had of it is nothing; what reading gives.
pub fn content(view: &View<'_>, path: &str, to: &mut dyn Write) -> Result<u64> {
    no_pattern(path)?;
    let selection = view.select(path)?;
    let (key, _) = range(view, path)?;
    let mut found = None;
    first(view, &*selection, &mut |record| {
        if record.key == key {
            found = Some(record.body.to_vec());
        }
    })?;
    let body = found.ok_or_else(|| nothing(path))?;
    let file = FileRecord::parse(&body)?;
    let Some(content) = file.content else {
        let what = match file.kind() {
            Some(FileKind::File) => "was not read by the backup, or left out",
            Some(FileKind::Folder) => "is a folder",
            _ => "is no file, and has no content",
        };
        return Err(Error::new(Kind::Usage, format_args!("path {path}"), what)
            .hint("`onefold ls` lists folders, `onefold restore` restores them"));
    };
    spread(&file, content, view.chunks(), to)
}

fn first(view: &View<'_>, selection: &dyn Selection, look: &mut dyn FnMut(&Record<'_>)) -> Result<()> {
    let mut run = view.ranges(selection.reads(Wanted::Records)?)?;
    let mut batch = RecordBatch::new();
    if run.next_batch(&mut batch)? && !batch.is_empty() {
        look(&batch.get(0));
    }
    Ok(())
}
