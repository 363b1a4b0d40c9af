//! Objects that are read side by side: a store far away is waited for once and not once for each.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use super::{Store, lock};
use crate::error::Result;

/// Objects that are read at once, at most, whatever the store says. As many may lie in memory.
pub const AT_ONCE: usize = 16;

/// What a store answered, until it is asked for.
#[derive(Debug, Default)]
pub struct Fetched(HashMap<String, Result<Vec<u8>>>);

impl Fetched {
    /// Reads small objects, [`AT_ONCE`] at a time.
    pub fn of(store: &dyn Store, names: impl IntoIterator<Item = String>) -> Fetched {
        let names: Vec<String> = names.into_iter().collect();
        let threads = store.concurrency().clamp(1, AT_ONCE).min(names.len());
        let (left, found) = (Mutex::new(names), Mutex::new(HashMap::new()));
        let work = || {
            while let Some(name) = { lock(&left).pop() } {
                let read = store.read(&name);
                lock(&found).insert(name, read);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where there is no thread to be had, this one reads all.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        Fetched(found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Whether the object was read and not yet asked for.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What the store answered; what it was not asked yet, or was asked for already, is read now.
    pub fn read(&mut self, store: &dyn Store, name: &str) -> Result<Vec<u8>> {
        self.0.remove(name).unwrap_or_else(|| store.read(name))
    }
}

/// Reads objects, `at_once` at a time, and shows each, in order. As many lie in memory.
///
/// Errors: those of `visit`.
pub fn each<T>(
    store: &dyn Store,
    at_once: usize,
    items: &[T],
    name: impl Fn(&T) -> String,
    mut visit: impl FnMut(&T, Result<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    for window in items.chunks(at_once.max(1)) {
        let mut fetched = Fetched::of(store, window.iter().map(&name));
        window.iter().try_for_each(|item| visit(item, fetched.read(store, &name(item))))?;
    }
    Ok(())
}
