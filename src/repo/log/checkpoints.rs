//! States of the log, stored, so that opening a repository reads few entries.

use repo_format::config::Config;
use repo_format::id::WriterId;
use repo_format::log_state::State;
use repo_format::names::{Name, ObjectKind};

use crate::error::{Kind, Result};
use crate::repo::twice;
use crate::store::Store;

/// The state in the newest checkpoint that we may believe and that is whole; with `least` in the oldest that is not before the entry of
/// this number. Others are passed over: they only save time.
pub(super) fn checkpoint(
    store: &dyn Store,
    config: &Config,
    own: Option<&WriterId>,
    least: Option<u64>,
) -> Result<Option<State>> {
    let mut names = Vec::new();
    twice::listed(store, ObjectKind::Checkpoint, &mut |name, _, _| {
        if let Name::Checkpoint(n, _) = name {
            names.push((n, name));
        }
    })?;
    names.sort_unstable();
    names.dedup();
    match least {
        Some(least) => names.retain(|(n, _)| *n >= least),
        None => names.reverse(),
    }
    for (_, name) in names {
        match twice::read(store, &name, |bytes| State::from_checkpoint(&name, bytes, config, own)) {
            Ok(Some(found)) => return Ok(Some(found.value)),
            Err(e) if e.kind() == Kind::Io => return Err(e),
            Ok(None) | Err(_) => {}
        }
    }
    Ok(None)
}
