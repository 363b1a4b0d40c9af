//! `onefold plan`

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::{self, Global, Plan};
use super::backup::{outcome, seen};
use super::output::bytes;
use super::progress::Progress;
use super::show::unread;
use super::{Outcome, Output, access, world};
use crate::backup::{self, Planned};
use crate::error::Result;
use crate::prices::{Cost, Prices};
use crate::store::watched::Requests;
use crate::watch::Watch;

/// Says what a backup would read, store, ask for, take and cost.
pub fn run(global: &Global, args: &Plan, form: &args::Chosen<'_>, output: &Output) -> Result<Outcome> {
    let prices = args.prices.as_deref().map(Prices::read).transpose()?;
    let repo = access::open(global, output)?;
    let watch = Arc::new(Watch::new());
    let progress = Progress::start(&watch, "plan", !global.quiet, output)?;
    let env = world::env(&watch);
    let begun = Instant::now();
    let planned = backup::plan(&repo, form.engine, form.form, &form.params, &env)?;
    let read = begun.elapsed().as_secs_f64();
    drop(progress);
    access::notes(&repo, output);
    let rate = args.upload_rate.or(global.limit_upload).map(|kib| u64::from(kib) << 10);
    let upload = rate.map(|rate| planned.requests.bytes_created as f64 / rate as f64);
    let cost = prices.as_ref().map(|prices| (prices.cost(&planned.requests), prices.currency.as_str()));
    report(&planned, Time { read, upload }, cost, output)?;
    Ok(outcome(&planned.snapshot))
}

/// Seconds.
struct Time {
    /// To read the nodes, to merge, compress and seal: as it was now.
    read: f64,
    /// To upload at the rate that was given.
    upload: Option<f64>,
}

fn report(planned: &Planned, time: Time, cost: Option<(Cost, &str)>, output: &Output) -> Result<()> {
    let Planned { snapshot: s, stats, requests } = planned;
    let Requests { creates, reads, range_reads, lists, bytes_created: added, .. } = *requests;
    if output.is_json() {
        for problem in &s.problems {
            output
                .object(&json!({ "message_type": "error", "subject": problem.subject, "message": problem.message }))?;
        }
        return output.object(&json!({
            "message_type": "summary", "complete": s.complete, "not_read": unread(s), "nodes": s.nodes.len(), "tables": s.shards.len(),
            "rows": s.shards.iter().map(|t| t.rows).sum::<u64>(), "bytes_read": s.bytes_read, "would_store": stats,
            "requests": requests, "seconds_read": time.read, "seconds_upload": time.upload,
            "cost": cost.map(|(cost, _)| cost), "currency": cost.map(|(_, currency)| currency),
        }));
    }
    seen(s, output)?;
    output.line(&format!(
        "would add {} in {creates} objects, {} of it new plaintext",
        bytes(added),
        bytes(stats.bytes_new)
    ))?;
    output.line(&format!("requests: {creates} writes, {} reads, {lists} listings", reads + range_reads))?;
    let upload = time.upload.map(|seconds| format!("; {seconds:.0} s to upload meanwhile"));
    let upload = upload.unwrap_or_else(|| "; to upload, as --upload-rate would tell".to_owned());
    output.line(&format!("time: {:.0} s to read and seal{upload}", time.read))?;
    if let Some((Cost { once, month }, currency)) = cost {
        output.line(&format!("cost: {once:.4} {currency} once, {month:.4} {currency} each month that it is kept"))?;
    }
    Ok(())
}
