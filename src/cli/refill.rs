//! `onefold refill-log`

use serde_json::json;

use super::args::Global;
use super::{Outcome, Output, access};
use crate::error::Result;
use crate::store::with_log;

/// Fills the log store that `--log-store` names from the mirror in the repository.
pub fn run(global: &Global, output: &Output) -> Result<Outcome> {
    let store = access::store(global)?;
    let entries = with_log::refill(&*store)?;
    let place = store.log_place().unwrap_or_default();
    let said = format!("filled {place} with {entries} entries of the log");
    let printed = match output.is_json() {
        true => output.object(&json!({ "message_type": "refilled", "log_store": place, "entries": entries })),
        false => output.line(&said),
    };
    output.told(printed, &said);
    Ok(Outcome::Fine)
}
