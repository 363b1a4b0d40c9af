//! `onefold repair`

use std::sync::Arc;

use serde_json::json;

use super::args::{Global, Repair};
use super::output::bytes;
use super::progress::Progress;
use super::{Outcome, Output, access, check};
use crate::check::ranges;
use crate::engine::Engine;
use crate::error::Result;
use crate::repair::{Options, Repaired, repair};
use crate::repo::repair::Mended;
use crate::watch::Watch;

/// Saves what can be saved; 5 if a snapshot cannot be given back whole all the same.
pub fn run(global: &Global, args: &Repair, engines: &[&dyn Engine], output: &Output) -> Result<Outcome> {
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let mut repaired = {
        let _progress = Progress::start(&watch, "repairing", !global.quiet, output)?;
        repair(&repo, Options { reads: args.reads(), dry_run: args.dry_run }, &watch)?
    };
    ranges::locate(&repo, engines, &mut repaired.checked.harmed)?;
    access::notes(&repo, output);
    check::problems(&watch.problems(), output)?;
    if output.is_json() {
        let Repaired { mended, checked } = &repaired;
        output.object(&json!({
            "message_type": "summary", "dry_run": args.dry_run, "repaired": mended, "harmed": checked.harmed,
            "snapshots": checked.trees_of, "whole": checked.whole, "declared": checked.declared,
        }))?;
    } else {
        report(&repaired, args.dry_run, output)?;
    }
    Ok(if repaired.checked.harmed.is_empty() { Outcome::Fine } else { Outcome::Damage })
}

fn report(repaired: &Repaired, dry_run: bool, output: &Output) -> Result<()> {
    let Repaired { mended, checked } = repaired;
    let would = if dry_run { "would be " } else { "" };
    if *mended == Mended::default() {
        output.line("nothing to be repaired")?;
    }
    if mended.packs_named + mended.indexes_replaced > 0 {
        output.line(&format!(
            "{} packs {would}named again, {} index objects {would}replaced",
            mended.packs_named, mended.indexes_replaced
        ))?;
    }
    if mended.packs_saved > 0 {
        output.line(&format!(
            "{} frames, {}, {would}saved out of {} damaged packs",
            mended.frames_saved,
            bytes(mended.bytes_saved),
            mended.packs_saved
        ))?;
    }
    if mended.packs_lost > 0 {
        let line = format!("{} packs {would}declared lost: every writer stores anew what they held", mended.packs_lost);
        output.line(&line)?;
    }
    checked.declared.iter().try_for_each(|said| output.line(said))?;
    check::harmed(checked, output)?;
    if checked.harmed.is_empty() {
        return output.line(&format!("all {} snapshots can be restored whole", checked.trees_of));
    }
    output.line(&format!("{} of {} snapshots can be restored whole", checked.whole, checked.trees_of))?;
    output.line(match dry_run {
        true => "so it is before the repair",
        false => "the next backup stores anew what its source still has; then check again",
    })
}
