//! Files that a path or a pattern names.

use repo_format::file_tree::FileKind;

use super::rows::{Each, parsed};
use super::text::below;
use crate::engine::{KeyRange, KeyRanges, Rows, Selection, Show, Wanted};
use crate::error::Result;
use crate::patterns::{Patterns, path_of};
use crate::run::{RecordBatch, Run};

/// What `conditions` name: a path, with what lies below it, or a pattern as .gitignore writes it, without.
///
/// Errors: `Usage` where it is neither.
pub fn select(conditions: &str) -> Result<Box<dyn Selection>> {
    if !conditions.contains(['*', '?', '[']) {
        return Ok(Box::new(Below(below(conditions)?)));
    }
    let patterns = Patterns::of([("pattern", conditions)])?;
    // Everything lies below what stands before the first part with a sign in it; a pattern without / may lie anywhere.
    let at = conditions.find(['*', '?', '[']).unwrap_or_default();
    let folder = conditions[..at].rfind('/').map_or("/", |slash| &conditions[..slash.max(1)]);
    let range = if conditions.starts_with('/') { below(folder)? } else { (Vec::new(), Vec::new()) };
    Ok(Box::new(Fitting { range, patterns }))
}

/// What lies at a path, and below it.
struct Below(KeyRange);

impl Selection for Below {
    fn reads(&self, _: Wanted) -> Result<KeyRanges> {
        Ok(Box::new(std::iter::once(self.0.clone())))
    }

    fn cut<'a>(&self, run: Box<dyn Run + 'a>, _: Wanted) -> Box<dyn Run + 'a> {
        run
    }

    fn rows(&self, _: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Each))
    }
}

/// What patterns name, as .gitignore writes them. A sign in a name is written as its byte: `\x2a`.
struct Fitting {
    range: KeyRange,
    patterns: Patterns,
}

impl Selection for Fitting {
    fn reads(&self, _: Wanted) -> Result<KeyRanges> {
        Ok(Box::new(std::iter::once(self.range.clone())))
    }

    fn cut<'a>(&self, run: Box<dyn Run + 'a>, _: Wanted) -> Box<dyn Run + 'a> {
        Box::new(Cut { run, patterns: self.patterns.clone(), batch: RecordBatch::new() })
    }

    fn rows(&self, _: Show) -> Result<Box<dyn Rows>> {
        Ok(Box::new(Each))
    }
}

/// The records of a run that patterns name.
struct Cut<'a> {
    run: Box<dyn Run + 'a>,
    patterns: Patterns,
    batch: RecordBatch,
}

impl Run for Cut<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        while out.is_empty() {
            if !self.run.next_batch(&mut self.batch)? {
                return Ok(false);
            }
            for record in self.batch.iter() {
                let is_folder = parsed(&record)?.kind() == Some(FileKind::Folder);
                if self.patterns.name(&path_of(record.key), is_folder) {
                    out.push(&record);
                }
            }
        }
        Ok(true)
    }
}
