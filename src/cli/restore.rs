//! `onefold restore`

use std::sync::Arc;

use serde_json::json;

use super::access;
use super::args::{Form, Global, Restore};
use super::output::bytes;
use super::progress::Progress;
use super::show::load;
use super::{Outcome, Output};
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::restore;
use crate::snapshot::Snapshot;
use crate::watch::Watch;

/// Gets data back.
pub fn run(global: &Global, args: &Restore, output: &Output) -> Result<Outcome> {
    let repo = access::open(global)?;
    let (_, snapshot) = load(&repo, &args.snapshot)?;
    let watch = Arc::new(Watch::new());
    let _progress = Progress::start(&watch, "restore", !global.quiet && args.out.is_some(), output)?;
    match args.form {
        Form::Files => files(&repo, &snapshot, args, &watch, output),
        Form::Json => Err(Error::new(Kind::Unsupported, "json", "later")),
    }
}

fn files(repo: &Repo, s: &Snapshot, args: &Restore, watch: &Watch, output: &Output) -> Result<Outcome> {
    let node = args.node.as_deref().map(|n| s.node(n)).transpose()?;
    let total: u64 = restore::kept_files(s, node).map(|f| f.length).sum();
    watch.bytes_total.store(total, std::sync::atomic::Ordering::Relaxed);
    let count = match &args.out {
        _ if args.dry_run => restore::kept_files(s, node).count() as u64,
        Some(out) => restore::files(s, node, &repo.reader()?, out, watch)?,
        None => {
            return Err(Error::new(Kind::Usage, "restore --to files", "needs a folder").hint("give --out DIR"));
        }
    };
    if output.is_json() {
        output
            .object(&json!({ "message_type": "summary", "files": count, "bytes": total, "dry_run": args.dry_run }))?;
    } else {
        let done = if args.dry_run { "would be written" } else { "written" };
        output.line(&format!("{count} files, {} {done}", bytes(total)))?;
    }
    Ok(Outcome::Fine)
}
