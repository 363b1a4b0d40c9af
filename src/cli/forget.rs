//! `onefold forget`

use std::collections::BTreeSet;

use serde_json::json;

use super::access;
use super::args::{Age, Forget, Global, Prune};
use super::output::time;
use super::profile::Profile;
use super::{Outcome, Output, prune};
use crate::error::{Error, Kind, Result};
use crate::forget::{self, Judged};
use crate::repo::{Repo, SnapshotInfo};
use crate::snapshot::short;

/// Takes snapshots off the list, and says why the others stay.
pub fn run(global: &Global, args: &Forget, profile: &Profile, output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let forgotten: Vec<SnapshotInfo> = if args.snapshots.is_empty() {
        by_policy(&repo, args, profile, output)?
    } else {
        if !args.keep.policy(Age(0)).is_empty() {
            let message = "is named beside a policy: either those are forgotten that are named, or those that a policy does not keep";
            return Err(Error::new(Kind::Usage, format_args!("snapshot {}", args.snapshots[0]), message));
        }
        let named = forget::named(&repo, &args.snapshots, &args.filter.of(), args.unsafe_allow_remove_all)?;
        named.iter().try_for_each(|info| {
            told(info, &json!({ "cluster": null, "group": null, "tags": null, "pinned": false }), &[], "named", output)
        })?;
        named
    };
    if args.simulate {
        return Ok(Outcome::Fine);
    }
    if !args.dry_run && !forgotten.is_empty() {
        repo.forget(&forgotten.iter().map(|info| info.id).collect::<BTreeSet<_>>())?;
    }
    let (count, left) = (forgotten.len(), repo.snapshots().len());
    if output.is_json() {
        let summary = json!({ "message_type": "summary", "forgotten": count, "dry_run": args.dry_run });
        output.object(&summary)?;
    } else {
        let (verb, left) = match args.dry_run {
            true => ("would be forgotten", left - count),
            false => ("forgotten", left),
        };
        output.line(&format!("{count} snapshots {verb}, {left} left"))?;
        if !args.prune && !args.dry_run && count > 0 {
            output.line("what only they need is taken away by `onefold prune`")?;
        }
    }
    match args.prune {
        true if args.dry_run => {
            let forgotten = forgotten.iter().map(|info| info.id).collect();
            prune::rehearse(&repo, &forgotten, &Prune::default(), global, output)
        }
        true => prune::with(&repo, &Prune::default(), global, output),
        false => Ok(Outcome::Fine),
    }
}

fn by_policy(repo: &Repo, args: &Forget, profile: &Profile, output: &Output) -> Result<Vec<SnapshotInfo>> {
    let mut options = args.options();
    if options.policy.is_empty()
        && let Some(policy) = profile.forget()?
    {
        options = args.over(policy).options();
    }
    let judgement = forget::judge(repo, &options)?;
    for (info, e) in &judgement.unreadable {
        output.damage(&e.again().within(format_args!("snapshot {}, which stays", info.id)));
    }
    if args.simulate {
        for line in forget::simulate(&judgement, &options.policy) {
            match output.is_json() {
                true => output.object(&json!({
                    "message_type": "simulation", "group": line.group, "every_hours": line.every_hours,
                    "kept": line.ages_days.len(), "ages_days": line.ages_days,
                }))?,
                false => output.line(&line.to_string())?,
            }
        }
        return Ok(Vec::new());
    }
    for judged in &judgement.judged {
        let Judged { info, says, remark, group, reasons, .. } = judged;
        let of = json!({ "cluster": says.cluster, "group": group, "tags": says.tags, "pinned": remark.pinned });
        told(info, &of, reasons, "no rule keeps it", output)?;
    }
    let gone = judgement.judged.iter().filter(|judged| judged.reasons.is_empty());
    Ok(gone.map(|judged| judged.info).collect())
}

/// `goes`: why it does, where there is no reason why it stays.
fn told(info: &SnapshotInfo, of: &serde_json::Value, reasons: &[String], goes: &str, output: &Output) -> Result<()> {
    let verdict = if reasons.is_empty() { "forget" } else { "keep" };
    if output.is_json() {
        return output.object(&json!({
            "message_type": "verdict", "id": info.id.to_string(), "time": info.time_ms / 1000, "cluster": of["cluster"],
            "group": of["group"], "tags": of["tags"], "pinned": of["pinned"], "verdict": verdict, "reasons": reasons,
        }));
    }
    let id = info.id.to_string();
    let group = of["group"].as_str().map(|group| format!("  {group}")).unwrap_or_default();
    let tags = of["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str());
    let tags: String = tags.map(|tag| format!("  #{tag}")).collect();
    let why = if reasons.is_empty() { goes.to_owned() } else { reasons.join("; ") };
    output.line(&format!("{verdict:6}  {}  {}{group}{tags}  {why}", short(&id), time(info.time_ms / 1000)))
}
