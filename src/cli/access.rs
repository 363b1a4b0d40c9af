//! From arguments and environment to an open repository.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::args::Global;
use super::output::Output;
use super::secret::{self, Secret};
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::store::limited::{Limited, Limits};
use crate::store::with_log::WithLog;
use crate::store::{self, Store};

/// The store that `--repository` names, with the log in that of `--log-store`.
pub fn store(global: &Global) -> Result<Arc<dyn Store>> {
    let place = global.repository.as_deref().ok_or_else(|| {
        Error::new(Kind::Usage, "repository", "none was given").hint("use -r PLACE or set ONEFOLD_REPOSITORY")
    })?;
    let main = match global.as_of {
        Some(time) => store::open_as_of(place, time)?,
        None => store::open(place)?,
    };
    let store = match &global.log_store {
        Some(place) if global.as_of.is_some() => {
            return Err(Error::new(Kind::Usage, place.display(), "is a log store, which is not read as of a time")
                .hint("leave --as-of out, or read another copy of the repository"));
        }
        of_log => with_log(main, of_log.as_deref())?,
    };
    let bytes = |kib: Option<u32>| kib.map(|kib| u64::from(kib) << 10);
    let limits = Limits {
        upload: bytes(global.limit_upload),
        download: bytes(global.limit_download),
        requests: global.limit_requests.map(u64::from),
        patience: global.retry_for.map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
    };
    Ok(if limits.is_empty() { store } else { Arc::new(Limited::new(store, limits)) })
}

/// A store, with the log in another where its place is given.
pub fn with_log(main: Arc<dyn Store>, log: Option<&OsStr>) -> Result<Arc<dyn Store>> {
    Ok(match log {
        Some(place) => Arc::new(WithLog::new(main, store::open(place)?)?),
        None => main,
    })
}

/// The folder of the cache; `None` with `--no-cache` or where there is no home; and where what is read is older than what the
/// cache has seen.
pub fn cache_dir(global: &Global) -> Option<PathBuf> {
    if global.no_cache || global.as_of.is_some() {
        return None;
    }
    global.cache_dir.clone().or_else(|| standard("XDG_CACHE_HOME", ".cache"))
}

/// The folder of what is remembered and cannot be made again; `None` where there is no home.
pub fn state_dir() -> Option<PathBuf> {
    standard("XDG_STATE_HOME", ".local/state")
}

/// The user's folder of profiles; `None` where there is no home.
pub fn config_dir() -> Option<PathBuf> {
    standard("XDG_CONFIG_HOME", ".config")
}

/// Whether options or the environment say what opens the repository.
pub fn is_opened_by(global: &Global) -> bool {
    let files = [&global.key_file, &global.identity, &global.password_file];
    let commands = [&global.key_command, &global.password_command];
    files.iter().any(|file| file.is_some()) || commands.iter().any(|command| command.is_some()) || has_password()
}

/// Whether the environment holds the password itself.
pub fn has_password() -> bool {
    std::env::var_os("ONEFOLD_PASSWORD").is_some()
}

/// Our folder in a standard one, which a variable names or which lies in the home.
fn standard(variable: &str, in_home: &str) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    Some(named(variable).or_else(|| Some(named("HOME")?.join(in_home)))?.join("onefold"))
}

/// Opens the repository. What in its log cannot be read is said, and makes the exit code that of damage.
pub fn open(global: &Global, output: &Output) -> Result<Repo> {
    Ok(open_by(global, output)?.0)
}

/// The same, and what opened it.
pub fn open_by(global: &Global, output: &Output) -> Result<(Repo, Secret)> {
    let store = store(global)?;
    let secret = secret::of(global)?;
    let repo = Repo::open(store, secret.unlock(), cache_dir(global).as_deref())?;
    if let Some(stopped) = repo.stopped() {
        output.damage(&stopped);
    }
    notes(&repo, output);
    Ok((repo, secret))
}

/// Says what went wrong without stopping the work.
pub fn notes(repo: &Repo, output: &Output) {
    repo.take_notes().iter().for_each(|note| output.warn(note.subject(), note.message()));
}
