//! Where the log of a repository lies: in its store, or in a log store, which must be this repository's (SPEC "Log store").

use repo_format::config::Config;
use repo_format::id::ObjectHash;
use repo_format::names::Name;

use crate::error::{Error, Kind, Result};
use crate::store::{Store, read_if_exists};

/// The log must be looked for where it is: elsewhere none is found, and another would be begun.
pub(super) fn is_here(store: &dyn Store, config: &Config, hash: &ObjectHash) -> Result<()> {
    let wrong = |place: String, what: &str| Error::new(Kind::Usage, place, what);
    match (config.log_store, store.log_place()) {
        (false, None) => Ok(()),
        (true, None) => Err(wrong(store.place(), "the log of this repository lies in a store of its own")
            .hint("say where it is: --log-store PLACE, or ONEFOLD_LOG_STORE, or log-store in the profile")),
        (false, Some(place)) => Err(wrong(place, "was given for the log, but this repository has its log in itself")
            .hint("leave --log-store out")),
        (true, Some(place)) => match read_if_exists(store, &Name::Config.to_string())? {
            Some(bytes) if ObjectHash::of(&bytes) == *hash => Ok(()),
            Some(bytes) => Err(match Config::parse(&bytes) {
                Ok(_) => anothers(place),
                Err(e) => Error::from(e).within(Name::Config).within(place).hint(DAMAGED_LOG_STORE),
            }),
            None => Err(wrong(place, "holds no log of this repository").hint(LOST_LOG_STORE)),
        },
    }
}

/// A log store whose configuration is another than its mirror is named before anybody is told that the password is wrong.
pub(super) fn is_of_the_mirror(store: &dyn Store) -> Result<()> {
    let Some(place) = store.log_place() else { return Ok(()) };
    let read =
        |name: String| read_if_exists(store, &name).map(|bytes| bytes.filter(|bytes| Config::parse(bytes).is_ok()));
    match (read(Name::Config.to_string())?, read(Name::Config.copy())?) {
        (Some(first), Some(second)) if first != second => Err(anothers(place)),
        _ => Ok(()),
    }
}

fn anothers(place: String) -> Error {
    Error::new(Kind::Usage, place, "is the log store of another repository")
        .hint("look at --log-store: with another log than its own this repository would come apart")
}

/// Why a store cannot hold a log.
pub(super) const SEVERAL: &str =
    "of several creators of one object more than one wins here: nothing orders the entries of the log";
/// What to do then.
pub(super) const NEEDS_LOG_STORE: &str = "keep the log in a store with a single winner: --log-store PLACE (a folder, sftp:// or \
                                          s3://; never the database that is backed up)";
const LOST_LOG_STORE: &str =
    "is it another place, or not mounted? Only if it is lost: give an empty one and run `onefold refill-log`";
const DAMAGED_LOG_STORE: &str =
    "if this is the log store of this repository: remove that object, then run `onefold refill-log`";
