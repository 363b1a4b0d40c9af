//! `onefold pin`, `unpin` and `tag`: the administrator's word on snapshots.

use std::collections::BTreeSet;

use serde_json::json;

use super::args::{Global, Pin, Tag, Unpin};
use super::{Outcome, Output, access};
use crate::error::Result;
use crate::forget::remarks;
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::short;

/// `onefold pin`
pub fn pin(global: &Global, args: &Pin, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let pinned = remarks::pin(&repo, &args.snapshots, args.reason.as_deref())?;
    done(&repo, &pinned, "pinned", output)
}

/// `onefold unpin`
pub fn unpin(global: &Global, args: &Unpin, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let unpinned = remarks::unpin(&repo, &args.snapshots)?;
    done(&repo, &unpinned, "unpinned", output)
}

/// `onefold tag`
pub fn tag(global: &Global, args: &Tag, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    for (info, labels) in remarks::label(&repo, &args.snapshots, &args.labels())? {
        told(&repo, &info, "tagged", Some(&labels), output)?;
    }
    access::notes(&repo, output);
    Ok(Outcome::Fine)
}

fn done(repo: &Repo, all: &[SnapshotInfo], verb: &str, output: &Output) -> Result<Outcome> {
    all.iter().try_for_each(|info| told(repo, info, verb, None, output))?;
    access::notes(repo, output);
    Ok(Outcome::Fine)
}

fn told(
    repo: &Repo,
    info: &SnapshotInfo,
    verb: &str,
    labels: Option<&BTreeSet<String>>,
    output: &Output,
) -> Result<()> {
    let remark = repo.remark(&info.id);
    if output.is_json() {
        return output.object(&json!({
            "message_type": verb, "id": info.id.to_string(), "pinned": remark.pinned, "reason": remark.reason,
            "tags": remark.labels,
        }));
    }
    let id = info.id.to_string();
    let says = match labels {
        Some(labels) if labels.is_empty() => "no labels".to_owned(),
        Some(labels) => labels.iter().map(String::as_str).collect::<Vec<_>>().join("  "),
        None => remark.reason,
    };
    output.line(format!("{verb}  {}  {says}", short(&id)).trim_end())
}
