//! A store in memory, for tests and for looking at a repository without touching it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Store, cut, exists, is_under, lock, missing};
use crate::error::Result;

/// Objects in a map.
#[derive(Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<String, Arc<[u8]>>>,
}

impl Memory {
    /// Empty.
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A store of its own with the same objects.
    pub fn fork(&self) -> Memory {
        Memory { objects: Mutex::new(lock(&self.objects).clone()) }
    }

    /// Copies every object of another store.
    pub fn copy_of(store: &dyn Store) -> Result<Memory> {
        let mut names = Vec::new();
        store.list("", &mut |name, _| {
            names.push(name.to_string());
            Ok(())
        })?;
        let memory = Memory::new();
        for name in names {
            memory.create(&name, store.read(&name)?.into())?;
        }
        Ok(memory)
    }

    /// The names of all objects, in order.
    pub fn names(&self) -> Vec<String> {
        lock(&self.objects).keys().cloned().collect()
    }

    /// Does what no store may do: replaces an object (or makes it). For tests of damage.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        lock(&self.objects).insert(name.to_string(), bytes.into());
    }

    fn get(&self, name: &str) -> Result<Arc<[u8]>> {
        lock(&self.objects).get(name).cloned().ok_or_else(|| missing(name))
    }
}

impl Store for Memory {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        use std::collections::btree_map::Entry;
        match lock(&self.objects).entry(name.to_string()) {
            Entry::Occupied(_) => Err(exists(name)),
            Entry::Vacant(place) => {
                place.insert((*bytes).into());
                Ok(())
            }
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.get(name)?.to_vec())
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        cut(name, &self.get(name)?, range)
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let objects = lock(&self.objects).clone();
        for (name, bytes) in objects {
            if is_under(&name, folder) {
                visit(&name, bytes.len() as u64)?;
            }
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> Result<()> {
        lock(&self.objects).remove(name).map(drop).ok_or_else(|| missing(name))
    }

    fn concurrency(&self) -> usize {
        4
    }

    fn place(&self) -> String {
        "memory".to_string()
    }
}
