//! `restore --to files`: what was kept byte for byte.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::Context;
use crate::cli::Outcome;
use crate::cli::output::bytes;
use crate::error::{Error, Kind, Result};
use crate::restore;

/// Writes the kept files.
pub fn run(context: &Context<'_>) -> Result<Outcome> {
    let &Context { reader, snapshot: s, dry_run, watch, output, .. } = context;
    let params = context.params();
    let node = params.text("node").map(|n| s.node(n)).transpose()?;
    let (mut total, mut count) = (0, 0);
    for file in s.files(node, reader)? {
        (total, count) = (total + file?.content.length, count + 1);
    }
    watch.bytes_total.store(total, Ordering::Relaxed);
    let count = match params.path("out") {
        _ if dry_run => count,
        Some(out) => restore::files(s, node, reader, out, watch)?,
        None => {
            return Err(Error::new(Kind::Usage, "restore --to files", "needs a folder").hint("give --out DIR"));
        }
    };
    if output.is_json() {
        output.object(&json!({ "message_type": "summary", "files": count, "bytes": total, "dry_run": dry_run }))?;
    } else {
        let done = if dry_run { "would be written" } else { "written" };
        output.line(&format!("{count} files, {} {done}", bytes(total)))?;
    }
    Ok(Outcome::Fine)
}
