//! Tries again what may pass, and finds out what happened when a reply was lost. An answer that is not what the object's name
//! says, or not as long as was asked for, is asked for once more.
//!
//! Pauses double from 20 ms to 30 s, each between a half and the whole of that, so that machines that failed together do not
//! come back together; a server that names a time (Retry-After) is left alone for that long. It ends after the store's
//! [`patience`](Store::patience), counted from the first failure; before the store has answered anything, after
//! [`AT_FIRST`], since a wrong address is more likely then than a server that is away.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use repo_format::names::Name;

use super::Store;
use crate::error::{Error, Kind, Result};
use crate::pace::Clock;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(30);
/// How long a store that never answered is tried.
const AT_FIRST: Duration = Duration::from_secs(1);

/// Whether trying again makes sense: not where the operating system says that this will never be allowed.
fn may_pass(e: &Error) -> bool {
    use std::io::ErrorKind as E;
    let source = std::error::Error::source(e).and_then(|s| s.downcast_ref::<std::io::Error>());
    let never = [E::PermissionDenied, E::ReadOnlyFilesystem, E::NotADirectory, E::IsADirectory, E::InvalidInput];
    e.kind() == Kind::Io && !source.is_some_and(|s| never.contains(&s.kind()))
}

/// Whether an object has another hash than its name says.
fn is_other(name: &str, bytes: &[u8]) -> bool {
    let name = Name::parse(name).or_else(|_| Name::parse_copy(name));
    name.is_ok_and(|name| name.verify(bytes).is_err())
}

/// What time it is, and how to let it pass.
pub trait Time: Send + Sync {
    /// Since some moment.
    fn now(&self) -> Duration;
    /// Returns so much later.
    fn sleep(&self, pause: Duration);
}

/// As it passes.
impl Time for Clock {
    fn now(&self) -> Duration {
        Clock::now(self)
    }

    fn sleep(&self, pause: Duration) {
        thread::sleep(pause);
    }
}

/// A store whose requests are tried again after [`Kind::Io`].
pub struct Retry<S> {
    inner: S,
    time: Box<dyn Time>,
    /// Whether the store has ever answered.
    answered: AtomicBool,
    /// Drawn from in turn for pauses, by [`Retry::jitter`].
    drawn: AtomicU64,
}

impl<S: Store> Retry<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Retry<S> {
        #[allow(clippy::disallowed_methods)] // only spreads pauses; `repo::world` lies above
        let seed = getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Retry::with(inner, Box::new(Clock::default()), seed)
    }

    /// The same, in a time of one's own, and with pauses that `seed` decides.
    pub fn with(inner: S, time: Box<dyn Time>, seed: u64) -> Retry<S> {
        Retry { inner, time, answered: AtomicBool::new(false), drawn: AtomicU64::new(seed) }
    }

    /// Between a half and the whole of `pause`.
    fn jitter(&self, pause: Duration) -> Duration {
        // SplitMix64: spreads well, and needs no more than a number.
        let mut z = self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        pause / 2 + (pause / 2).mul_f64((z >> 40) as f64 / (1u64 << 24) as f64)
    }

    fn attempt<T>(&self, mut request: impl FnMut() -> Result<T>) -> Result<T> {
        let (mut pause, mut until) = (FIRST, None);
        loop {
            let error = match request() {
                Err(e) if may_pass(&e) => e,
                other => {
                    self.answered.store(true, Ordering::Relaxed);
                    return other;
                }
            };
            let patience = if self.answered.load(Ordering::Relaxed) {
                self.inner.patience()
            } else {
                AT_FIRST.min(self.inner.patience())
            };
            let until = *until.get_or_insert_with(|| self.time.now() + patience);
            let wait = self.jitter(pause).max(error.wait().unwrap_or_default());
            if self.time.now() + wait > until {
                return Err(error);
            }
            self.time.sleep(wait);
            pause = (pause * 2).min(LONGEST);
        }
    }
}

/// Shows each object of a listing.
type Visit<'a> = &'a mut dyn FnMut(&str, u64) -> Result<()>;

impl<S: Store> Retry<S> {
    /// Collected first: an attempt that failed half-way must not have shown its half.
    fn listed(&self, list: &mut dyn FnMut(Visit<'_>) -> Result<()>, visit: Visit<'_>) -> Result<()> {
        let found = self.attempt(|| {
            let mut found = Vec::new();
            list(&mut |name, len| {
                found.push((name.to_string(), len));
                Ok(())
            })?;
            Ok(found)
        })?;
        found.iter().try_for_each(|(name, len)| visit(name, *len))
    }
}

impl<S: Store> Store for Retry<S> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        let mut unsure = false;
        self.attempt(|| match self.inner.create(name, bytes.clone()) {
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
        let bytes = self.attempt(|| self.inner.read(name))?;
        // Perhaps only the answer was wrong. What is wrong twice is so in the store, and is for those to judge who asked.
        if is_other(name, &bytes) { self.attempt(|| self.inner.read(name)) } else { Ok(bytes) }
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let wanted = range.end.saturating_sub(range.start);
        self.attempt(|| match self.inner.read_range(name, range.clone()) {
            Ok(bytes) if bytes.len() as u64 != wanted => {
                Err(Error::new(Kind::Io, name, format_args!("{} bytes came in place of {wanted}", bytes.len())))
            }
            other => other,
        })
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(&mut |each| self.inner.list(folder, each), visit)
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(&mut |each| self.inner.list_after(folder, after, each), visit)
    }

    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(&mut |each| self.inner.dates(folder, each), visit)
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

    fn delete_all(&self, names: &[String]) -> Result<()> {
        self.attempt(|| self.inner.delete_all(names))
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
