//! A store that is asked for no more than so much a second: bytes up, bytes down, requests; or is waited for longer than it asks.
//!
//! Whatever is asked for goes at once, whole, and is owed: what comes next waits until the debt is paid. So over any time the limit
//! holds but for one object, of 16 MiB at most, and over a slow line a pack is still one request. An idle time saves up nothing
//! but a quarter of a second.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::retry::Time;
use crate::error::Result;
use crate::pace::{Clock, Pace};

/// How much a second, and how long what may pass is tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of objects written.
    pub upload: Option<u64>,
    /// Bytes of objects read.
    pub download: Option<u64>,
    /// Requests of any kind; a listing counts as one.
    pub requests: Option<u64>,
    /// In place of the store's own [`patience`](Store::patience).
    pub patience: Option<Duration>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// See the module.
pub struct Limited<S> {
    inner: S,
    time: Box<dyn Time>,
    upload: Option<Pace>,
    download: Option<Pace>,
    requests: Option<Pace>,
    patience: Option<Duration>,
}

impl<S: Store> Limited<S> {
    /// Wraps a store.
    pub fn new(inner: S, limits: Limits) -> Limited<S> {
        Limited::with(inner, limits, Box::new(Clock::default()))
    }

    /// The same, in a time of one's own.
    pub fn with(inner: S, limits: Limits, time: Box<dyn Time>) -> Limited<S> {
        let Limits { upload, download, requests, patience } = limits;
        let [upload, download, requests] = [upload, download, requests].map(|limit: Option<u64>| limit.map(Pace::new));
        Limited { inner, time, upload, download, requests, patience }
    }

    /// Waits until a request may go that moves so many bytes.
    fn wait(&self, bytes: Option<(&Option<Pace>, u64)>) {
        let now = self.time.now();
        let request = self.requests.as_ref().map(|paid| paid.owe(1, now));
        let bytes = bytes.and_then(|(paid, bytes)| paid.as_ref().map(|paid| paid.owe(bytes, now)));
        let wait = request.max(bytes).unwrap_or_default();
        if !wait.is_zero() {
            self.time.sleep(wait);
        }
    }
}

impl<S: Store> Store for Limited<S> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.wait(Some((&self.upload, bytes.len() as u64)));
        self.inner.create(name, bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.wait(Some((&self.download, 0)));
        let bytes = self.inner.read(name)?;
        // How long it is was not known before.
        if let Some(paid) = &self.download {
            paid.owe(bytes.len() as u64, self.time.now());
        }
        Ok(bytes)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.wait(Some((&self.download, range.end.saturating_sub(range.start))));
        self.inner.read_range(name, range)
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.wait(None);
        self.inner.list(folder, visit)
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.wait(None);
        self.inner.list_after(folder, after, visit)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.wait(None);
        self.inner.delete(name)
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        self.wait(None);
        self.inner.delete_all(names)
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or_else(|| self.inner.patience())
    }

    fn under(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }
}
