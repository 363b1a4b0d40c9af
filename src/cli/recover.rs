//! `onefold recover`

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::args::{Global, Recover};
use super::progress::Progress;
use super::{Outcome, Output, access, check, secret};
use crate::error::Result;
use crate::repo::Repo;
use crate::snapshot::short;
use crate::store::rehearsed::Rehearsed;
use crate::watch::Watch;

/// Brings back what is lost under one of its two names; 5 if something is lost under both.
pub fn run(global: &Global, args: &Recover, output: &Output) -> Result<Outcome> {
    let store = Arc::new(Rehearsed::new(access::store(global)?, args.dry_run));
    let secret = secret::of(global)?;
    let repo = Repo::open(store.clone(), secret.unlock(), access::cache_dir(global).as_deref())?;
    let watch = Arc::new(Watch::new());
    let unlisted = {
        let _progress = Progress::start(&watch, "recovering", !global.quiet, output)?;
        repo.recover(args.log_ends_here, &watch)?
    };
    access::notes(&repo, output);
    let (written, problems) = (store.created(), watch.problems());
    check::problems(&problems, output)?;
    let damaged = problems.iter().filter(|p| p.damage).count();
    if output.is_json() {
        output.object(&json!({
            "message_type": "summary", "dry_run": args.dry_run, "written": written, "problems": damaged, "unlisted": unlisted,
            "snapshots": repo.snapshots().len(),
        }))?;
    } else {
        let would = if args.dry_run { "would be " } else { "" };
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &written {
            *kinds.entry(name.rsplit_once('/').map_or(&name[..], |(folder, _)| folder)).or_default() += 1;
        }
        for (kind, count) in kinds {
            output.line(&format!("{kind}: {count} {would}written again"))?;
        }
        for one in &unlisted {
            let id = short(&one.id);
            output.line(&format!(
                "snapshot {id} is whole, but whether it counts is lost with the log: its session was opened by entry {}",
                one.opened
            ))?;
        }
        output.line(&match damaged {
            0 => format!("all is there twice; {} snapshots are listed", repo.snapshots().len()),
            _ => format!(
                "what is named above is lost here: copy it from another copy of the store; {} snapshots are listed",
                repo.snapshots().len()
            ),
        })?;
    }
    Ok(if damaged == 0 { Outcome::Fine } else { Outcome::Damage })
}
