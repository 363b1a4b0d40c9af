//! Tries again what may pass, and finds out what happened when a reply was lost.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use super::Store;
use crate::error::{Error, Kind, Result};

/// Pauses before the second, third and fourth attempt.
const PAUSES: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(200), Duration::from_millis(1000)];

/// Whether trying again makes sense: not where the operating system says that this will never be allowed.
fn may_pass(e: &Error) -> bool {
    use std::io::ErrorKind as E;
    let source = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    let never = [E::PermissionDenied, E::ReadOnlyFilesystem, E::NotADirectory, E::IsADirectory, E::InvalidInput];
    e.kind() == Kind::Io && !source.is_some_and(|s| never.contains(&s.kind()))
}

/// A store whose requests are tried again after [`Kind::Io`], at most four times in all.
pub struct Retry<S> {
    inner: S,
}

impl<S: Store> Retry<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Retry<S> {
        Retry { inner }
    }

    fn attempt<T>(&self, mut request: impl FnMut() -> Result<T>) -> Result<T> {
        for pause in PAUSES {
            match request() {
                Err(e) if may_pass(&e) => thread::sleep(pause),
                other => return other,
            }
        }
        request()
    }
}

impl<S: Store> Store for Retry<S> {
    fn create(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut unsure = false;
        self.attempt(|| match self.inner.create(name, bytes) {
            Err(e) if e.kind() == Kind::Io => {
                unsure = true;
                Err(e)
            }
            // Our own first attempt may have succeeded and its reply been lost. No two writers ever race with equal
            // bytes for an object that only one may own (every log entry carries its writer and a nonce).
            Err(e) if e.kind() == Kind::AlreadyExists && unsure => {
                if self.inner.read(name)? == bytes {
                    Ok(())
                } else {
                    Err(e)
                }
            }
            other => other,
        })
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.attempt(|| self.inner.read(name))
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.attempt(|| self.inner.read_range(name, range.clone()))
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        // Collected first: an attempt that failed half-way must not have shown its half.
        let found = self.attempt(|| {
            let mut found = Vec::new();
            self.inner.list(folder, &mut |name, len| {
                found.push((name.to_string(), len));
                Ok(())
            })?;
            Ok(found)
        })?;
        found.iter().try_for_each(|(name, len)| visit(name, *len))
    }

    fn delete(&self, name: &str) -> Result<()> {
        let mut unsure = false;
        self.attempt(|| match self.inner.delete(name) {
            Err(e) if e.kind() == Kind::Io => {
                unsure = true;
                Err(e)
            }
            Err(e) if e.kind() == Kind::NotFound && unsure => Ok(()),
            other => other,
        })
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn sweep(&self) -> Result<()> {
        self.inner.sweep()
    }
}
