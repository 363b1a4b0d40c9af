//! A store whose changes are written down, and, in a rehearsal, kept in memory in place of being carried out: a dry run is the work
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Store, cut, is_under, lock};
use crate::error::{Kind, Result};

/// See the module. Memory of a rehearsal: all that it creates.
pub struct Rehearsed {
    inner: Arc<dyn Store>,
    rehearses: bool,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    /// With their bytes in a rehearsal, without otherwise.
    created: BTreeMap<String, Vec<u8>>,
    deleted: BTreeSet<String>,
}

impl Rehearsed {
    /// Carries changes out unless `rehearses`.
    pub fn new(inner: Arc<dyn Store>, rehearses: bool) -> Rehearsed {
        Rehearsed { inner, rehearses, changes: Mutex::default() }
    }

    /// The objects that were created, or would have been.
    pub fn created(&self) -> Vec<String> {
        lock(&self.changes).created.keys().cloned().collect()
    }

    /// What a rehearsal says of an object: its bytes, or that there is none; `None`: the store says.
    fn rehearsed(&self, name: &str) -> Option<Result<Vec<u8>>> {
        let changes = lock(&self.changes);
        if !self.rehearses {
            return None;
        }
        match changes.created.get(name) {
            Some(bytes) => Some(Ok(bytes.clone())),
            None if changes.deleted.contains(name) => Some(Err(super::missing(name))),
            None => None,
        }
    }
}

impl Store for Rehearsed {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        if !self.rehearses {
            self.inner.create(name, bytes)?;
            lock(&self.changes).created.insert(name.to_owned(), Vec::new());
            return Ok(());
        }
        match self.read(name) {
            Ok(_) => return Err(super::exists(name)),
            Err(e) if e.kind() == Kind::NotFound => {}
            Err(e) => return Err(e),
        }
        lock(&self.changes).created.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.rehearsed(name).unwrap_or_else(|| self.inner.read(name))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        match self.rehearsed(name) {
            Some(bytes) => cut(name, &bytes?, range),
            None => self.inner.read_range(name, range),
        }
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let (created, deleted) = match lock(&self.changes) {
            changes if self.rehearses => (changes.created.clone(), changes.deleted.clone()),
            _ => Default::default(),
        };
        self.inner.list(folder, &mut |name, length| match created.contains_key(name) || deleted.contains(name) {
            true => Ok(()),
            false => visit(name, length),
        })?;
        let under = created.iter().filter(|(name, _)| is_under(name, folder));
        under.map(|(name, bytes)| (name, bytes.len() as u64)).try_for_each(|(name, length)| visit(name, length))
    }

    fn delete(&self, name: &str) -> Result<()> {
        if !self.rehearses {
            return self.inner.delete(name);
        }
        self.read(name)?;
        let mut changes = lock(&self.changes);
        changes.created.remove(name);
        changes.deleted.insert(name.to_owned());
        Ok(())
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn rehearses(&self) -> bool {
        self.rehearses
    }

    fn under(&self) -> Option<&dyn Store> {
        Some(&*self.inner)
    }

    fn sweep(&self) -> Result<()> {
        if self.rehearses { Ok(()) } else { self.inner.sweep() }
    }
}
