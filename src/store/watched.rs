//! Counts requests and bytes, and keeps a record of them if asked to.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::{Store, lock};
use crate::error::Result;

/// What was asked of a store so far. Bytes are those of objects, not of protocols.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Requests {
    /// `create` requests, whatever their answer.
    pub creates: u64,
    /// Bytes given to `create`.
    pub bytes_created: u64,
    /// `read` requests, whatever their answer.
    pub reads: u64,
    /// `read_range` requests, whatever their answer.
    pub range_reads: u64,
    /// Bytes that `read` and `read_range` answered.
    pub bytes_read: u64,
    /// `list` requests.
    pub lists: u64,
    /// `delete` and `delete_all` requests.
    pub deletes: u64,
    /// Requests that waited for one another, in the longest chain: what a far away store costs, in round trips.
    pub rounds: u64,
}

/// One request, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `create` of so many bytes.
    Create(String, usize),
    /// `read`.
    Read(String),
    /// `read_range`.
    ReadRange(String, Range<u64>),
    /// `list`.
    List(String),
    /// `delete`, or one of the names of a `delete_all`.
    Delete(String),
}

/// A store that counts.
pub struct Watched<S> {
    inner: S,
    counters: [AtomicU64; 8],
    recording: AtomicBool,
    record: Mutex<Vec<Request>>,
}

const CREATES: usize = 0;
const BYTES_CREATED: usize = 1;
const READS: usize = 2;
const RANGE_READS: usize = 3;
const BYTES_READ: usize = 4;
const LISTS: usize = 5;
const DELETES: usize = 6;
const ROUNDS: usize = 7;

impl<S: Store> Watched<S> {
    /// Wraps a store; nothing counted yet, nothing recorded.
    pub fn new(inner: S) -> Watched<S> {
        Watched { inner, counters: Default::default(), recording: AtomicBool::new(false), record: Mutex::default() }
    }

    /// The counts so far.
    pub fn requests(&self) -> Requests {
        let get = |i: usize| self.counters[i].load(Ordering::Relaxed);
        Requests {
            creates: get(CREATES),
            bytes_created: get(BYTES_CREATED),
            reads: get(READS),
            range_reads: get(RANGE_READS),
            bytes_read: get(BYTES_READ),
            lists: get(LISTS),
            deletes: get(DELETES),
            rounds: get(ROUNDS),
        }
    }

    /// From now on every request is remembered.
    pub fn record(&self) {
        self.recording.store(true, Ordering::Relaxed);
    }

    /// The requests remembered since the last call.
    pub fn take_record(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.record))
    }

    fn count(&self, counter: usize, n: u64) {
        self.counters[counter].fetch_add(n, Ordering::Relaxed);
    }

    /// Waits for a request. One that begins after another has ended may have waited for it.
    fn ask<T>(&self, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = self.counters[ROUNDS].load(Ordering::Relaxed);
        let answer = request();
        self.counters[ROUNDS].fetch_max(begun + 1, Ordering::Relaxed);
        answer
    }

    fn note(&self, request: impl FnOnce() -> Request) {
        if self.recording.load(Ordering::Relaxed) {
            lock(&self.record).push(request());
        }
    }
}

impl<S: Store> Store for Watched<S> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.count(CREATES, 1);
        self.count(BYTES_CREATED, bytes.len() as u64);
        self.note(|| Request::Create(name.to_string(), bytes.len()));
        self.ask(|| self.inner.create(name, bytes))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.count(READS, 1);
        self.note(|| Request::Read(name.to_string()));
        let bytes = self.ask(|| self.inner.read(name))?;
        self.count(BYTES_READ, bytes.len() as u64);
        Ok(bytes)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.count(RANGE_READS, 1);
        self.note(|| Request::ReadRange(name.to_string(), range.clone()));
        let bytes = self.ask(|| self.inner.read_range(name, range))?;
        self.count(BYTES_READ, bytes.len() as u64);
        Ok(bytes)
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.count(LISTS, 1);
        self.note(|| Request::List(folder.to_string()));
        self.ask(|| self.inner.list(folder, visit))
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.count(LISTS, 1);
        self.note(|| Request::List(folder.to_string()));
        self.ask(|| self.inner.list_after(folder, after, visit))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.count(DELETES, 1);
        self.note(|| Request::Delete(name.to_string()));
        self.ask(|| self.inner.delete(name))
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        self.count(DELETES, 1);
        names.iter().for_each(|name| self.note(|| Request::Delete(name.clone())));
        self.ask(|| self.inner.delete_all(names))
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn under(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }
}
