//! States of the log, stored, so that opening a repository reads few entries.

use repo_format::config::Config;
use repo_format::id::WriterId;
use repo_format::log_state::State;
use repo_format::names::{COPIES, Name, ObjectKind};

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
    listed(store, ObjectKind::Checkpoint, &mut |name, _| {
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

/// Shows every object of a kind that is listed under either of its names, and that name.
pub(super) fn listed(store: &dyn Store, kind: ObjectKind, visit: &mut dyn FnMut(Name, &str)) -> Result<()> {
    for folder in [kind.word().to_string(), format!("{COPIES}/{}", kind.word())] {
        store.list(&folder, &mut |text, _| {
            if let Ok(name) = Name::parse(text).or_else(|_| Name::parse_copy(text)) {
                visit(name, text);
            }
            Ok(())
        })?;
    }
    Ok(())
}
