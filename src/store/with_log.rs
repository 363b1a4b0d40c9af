//! A store whose log lies in another one: for stores whose creates can have several winners.
//!
//! What exactly one creator may win lies in the log store, under its first name: the entries of the log, marks of its
//! trimming, the configuration, and what `init` races for. All else lies in the main store, and with it the second copy of
//! each of these (SPEC "Second copies"): that is the mirror. A log store that is lost is filled again from it ([`refill`]).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use repo_format::config::Config;
use repo_format::names::{COPIES, Name, ObjectKind};

use super::{Store, create_or_same, read_if_exists};
use crate::error::{Error, Kind, Result};

/// Objects of races, below this folder.
pub const PROBE: &str = "probe";

/// See the module.
pub struct WithLog {
    main: Arc<dyn Store>,
    log: Arc<dyn Store>,
}

/// Whether of a name's creators exactly one may win.
fn is_won(name: &str) -> bool {
    let folder = name.split('/').next();
    [ObjectKind::Config.word(), ObjectKind::Log.word(), ObjectKind::Trim.word(), PROBE].map(Some).contains(&folder)
}

impl WithLog {
    /// Errors: [`Kind::Usage`] where both are one place.
    pub fn new(main: Arc<dyn Store>, log: Arc<dyn Store>) -> Result<WithLog> {
        if main.place() == log.place() {
            return Err(Error::new(
                Kind::Usage,
                log.place(),
                "is the repository itself, and no other store for its log",
            ));
        }
        Ok(WithLog { main, log })
    }

    fn of(&self, name: &str) -> &dyn Store {
        if is_won(name) { &*self.log } else { &*self.main }
    }
}

impl Store for WithLog {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.of(name).create(name, bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.of(name).read(name)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.of(name).read_range(name, range)
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        if !folder.is_empty() {
            return self.of(folder).list(folder, visit);
        }
        self.log.list("", &mut |name, len| if is_won(name) { visit(name, len) } else { Ok(()) })?;
        self.main.list("", &mut |name, len| if is_won(name) { Ok(()) } else { visit(name, len) })
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        match folder {
            "" => self.list(folder, &mut |name, len| if name > after { visit(name, len) } else { Ok(()) }),
            folder => self.of(folder).list_after(folder, after, visit),
        }
    }

    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.of(folder).dates(folder, visit)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.of(name).delete(name)
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        for (store, won) in [(&self.log, true), (&self.main, false)] {
            let names: Vec<String> = names.iter().filter(|name| is_won(name) == won).cloned().collect();
            if !names.is_empty() {
                store.delete_all(&names)?;
            }
        }
        Ok(())
    }

    fn concurrency(&self) -> usize {
        self.main.concurrency()
    }

    fn place(&self) -> String {
        self.main.place()
    }

    fn patience(&self) -> Duration {
        self.main.patience().max(self.log.patience())
    }

    fn sweep(&self) -> Result<()> {
        self.log.sweep()?;
        self.main.sweep()
    }

    fn several_win(&self) -> bool {
        self.log.several_win()
    }

    fn log_place(&self) -> Option<String> {
        Some(self.log.place())
    }
}

/// Fills an empty log store from the mirror; an interrupted filling is gone on with. Returns how many entries it has now.
///
/// An entry that had not come to the mirror before the log store was lost is lost: where another machine has seen it, that
/// machine says so. Nothing may go on with the log store before.
///
/// Errors: [`Kind::AlreadyExists`] where it holds a log; [`Kind::NoRepository`], [`Kind::Usage`] where there is none that has
/// a log store.
pub fn refill(store: &dyn Store) -> Result<u64> {
    let place = store.log_place();
    let place =
        place.ok_or_else(|| Error::new(Kind::Usage, "log store", "none was given").hint("use --log-store PLACE"))?;
    let config = Name::Config;
    if read_if_exists(store, &config.to_string())?.is_some() {
        return Err(Error::new(Kind::AlreadyExists, place, "holds a log already: only an empty log store is filled"));
    }
    let none = || Error::new(Kind::NoRepository, store.place(), "there is no repository here");
    let bytes = read_if_exists(store, &config.copy())?.ok_or_else(none)?;
    let (_, parsed) = Config::parse(&bytes).map_err(|e| Error::from(e).within(config.copy()))?;
    if !parsed.log_store {
        return Err(Error::new(Kind::Usage, store.place(), "has its log in itself, and needs no log store"));
    }
    let mut names = Vec::new();
    // Marks of trimming before entries: who finds an entry must find what it means that others are gone.
    for kind in [ObjectKind::Trim, ObjectKind::Log] {
        store.list(&format!("{COPIES}/{}", kind.word()), &mut |name, _| {
            names.extend(Name::parse_copy(name));
            Ok(())
        })?;
    }
    for name in &names {
        create_or_same(store, &name.to_string(), store.read(&name.copy())?)?;
    }
    // Last: from here on it is this repository's log store.
    create_or_same(store, &config.to_string(), bytes)?;
    Ok(names.iter().filter(|name| matches!(name, Name::Log(_))).count() as u64)
}
