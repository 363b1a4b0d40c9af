//! `restore --to files`: file trees, and what was kept byte for byte.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::Context;
use crate::cli::Outcome;
use crate::cli::output::bytes;
use crate::error::{Error, Kind, Result};
use crate::patterns::Patterns;
use crate::restore::tree::{Overwrite, Unset, Wanted, of_snapshot};
use crate::restore::{self, forms};

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
    let count = match params.path("out").or(params.path(forms::TARGET)) {
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

/// Writes the file trees of a snapshot, or what lies at a path of them.
pub fn trees(context: &Context<'_>) -> Result<Outcome> {
    let &Context { reader, engine, snapshot, path, dry_run, watch, output, .. } = context;
    let params = context.params();
    let out = params.path(forms::TARGET).or(params.path("out"));
    let out = out.ok_or_else(|| Error::new(Kind::Usage, "restore", "needs a folder").hint("give --target DIR"))?;
    let patterns = |name: &str| Patterns::of(params.texts(name).map(|line| ("pattern", line)));
    let overwrite = match params.text("overwrite") {
        Some("if-changed") => Overwrite::IfChanged,
        Some("if-newer") => Overwrite::IfNewer,
        Some("never") => Overwrite::Never,
        _ => Overwrite::Always,
    };
    let (include, exclude) = (patterns("include")?, patterns("exclude")?);
    let (delete, verify) = (params.has("delete"), params.has("verify"));
    let wanted = Wanted { path, out, include, exclude, overwrite, delete, verify, dry_run };
    watch.bytes_total.store(snapshot.bytes_read, Ordering::Relaxed);
    let done = of_snapshot(engine, snapshot, reader, &wanted, watch)?;
    for (path, what) in &done.problems {
        output.warn(path, what);
    }
    if done.more > 0 {
        output.warn("files", &format!("{} more are not as they were, or not there", done.more));
    }
    let Unset { owners, attributes, links } = done.unset;
    if owners > 0 {
        output.warn("owners", &format!("{owners} could not be set: only root gives files away"));
    }
    if attributes > 0 {
        output.warn("attributes", &format!("{attributes} could not be set here"));
    }
    if links > 0 {
        output.warn("hard links", &format!("{links} could not be made: such a name has a file of its own here"));
    }
    if output.is_json() {
        output.object(&json!({
            "message_type": "summary", "entries": done.entries, "written": done.written, "bytes": done.bytes,
            "removed": done.removed, "owners_unset": owners, "attributes_unset": attributes,
            "links_unset": links, "problems": done.problems.len() as u64 + done.more, "dry_run": dry_run, "requests": context.repo.requests(),
        }))?;
    } else {
        let verb = if dry_run { "would be written" } else { "written" };
        let removed = if done.removed > 0 { format!(", {} taken away", done.removed) } else { String::new() };
        output.line(&format!(
            "{} files and folders, {} {verb} ({}){removed}",
            done.entries,
            done.written,
            bytes(done.bytes)
        ))?;
    }
    Ok(match done.problems.is_empty() {
        true => Outcome::Fine,
        false if done.damaged => Outcome::Damage,
        false => Outcome::SourceUnread,
    })
}
