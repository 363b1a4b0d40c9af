//! Where the objects of a repository live: a folder, here or on another machine, a bucket, or a container.
//!
//! An object is a named, immutable sequence of bytes. Names are slash-separated paths of `[a-z0-9.-]`, spelled by
//! `repo_format::names` alone; the part before the first slash is the object's folder. Policies (retries, counting,
//! faults) are wrappers around a store; providers stay plain.

pub mod answers;
#[cfg(feature = "azure")]
pub mod azure;
#[cfg(feature = "bucket")]
pub mod bucket;
pub mod disk;
pub mod faulty;
pub mod fetched;
pub mod folder;
#[cfg(feature = "gcs")]
pub mod gcs;
#[cfg(any(feature = "bucket", feature = "swift"))]
mod http;
pub mod limited;
pub mod memory;
pub mod probe;
pub mod rehearsed;
pub mod retry;
#[cfg(feature = "s3")]
pub mod s3;
pub mod sftp;
#[cfg(feature = "swift")]
pub mod swift;
pub mod watched;
pub mod with_log;

use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Kind, Result};

/// The largest object a store must take, in bytes. Packs, index objects and all others stay below it.
pub const OBJECT_MAX: u64 = repo_format::limits::OBJECT_MAX as u64;

/// Write-once objects, atomically visible, read after write; blocking, shared by threads.
///
/// What an implementer owes:
///
/// * **Write once.** `create` never changes an object that exists. Of any number of racing creators of one name, in
///   any processes on any machines, exactly one is told `Ok`, and the object holds that one's bytes. `init` tests this
///   with [`probe::race`]; where it is not so, the log lies in another store ([`with_log`]).
/// * **All or nothing.** Nobody ever sees part of an object, not after a crash either.
/// * **Durable.** Once `create` or `delete` has returned `Ok`, it survives a loss of power. What `list` has shown
///   survives one too.
/// * **Read after write.** Whoever starts `read`, `read_range` or `list` after a `create` returned sees the object.
/// * **Honest errors.** A missing object is [`Kind::NotFound`]; an existing one [`Kind::AlreadyExists`], which is an
///   answer rather than an accident; no space [`Kind::Full`]; what may pass if tried again [`Kind::Io`]. After an
///   `Io` error nobody knows whether the request was carried out; [`retry::Retry`] finds out.
/// * **Bounded.** Objects up to [`OBJECT_MAX`] are taken; larger ones need not be.
///
/// No rename, no append, no partial write: whatever has conditional create can be a store.
pub trait Store: Send + Sync {
    /// Writes a new object, whole. The bytes are shared, not copied: whoever tries again, or sends them, clones the handle.
    fn create(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// Reads an object, whole.
    fn read(&self, name: &str) -> Result<Vec<u8>>;

    /// Reads exactly `range` (bytes) of an object; [`Kind::Damaged`] when the object ends before the range does.
    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>>;

    /// Shows every object whose name lies under `folder` (its name up to some slash, without it), with its length in
    /// bytes, in no order. A folder that does not exist holds nothing.
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()>;

    /// Shows of what [`Store::list`] shows only those objects whose names come after `after`, compared bytewise. A store that can asks
    /// for no others.
    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.list(folder, &mut |name, size| if name > after { visit(name, size) } else { Ok(()) })
    }

    /// Shows objects whose names lie under `folder`, each with the date that the store itself gives it: when it was written there,
    /// milliseconds since 1970, by the store's clock. Objects of which it knows none are left out, all of them in a store without dates.
    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.under().map_or(Ok(()), |under| under.dates(folder, visit))
    }

    /// Removes an object.
    fn delete(&self, name: &str) -> Result<()>;

    /// Removes objects, in as few requests as the store can; that one is missing is fine. After an error some may be gone.
    fn delete_all(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| gone(self.delete(name)))
    }

    /// How many requests at once make sense. A hint, not a limit.
    fn concurrency(&self) -> usize;

    /// The place, as the user gave it; for messages.
    fn place(&self) -> String;

    /// The store that this one wraps: of what follows it says what the wrapper does not say otherwise. None: it wraps none.
    fn under(&self) -> Option<&dyn Store> {
        None
    }

    /// How long it makes sense to try again what may pass. What a folder's disk says seldom passes; a server comes back.
    fn patience(&self) -> Duration {
        self.under().map_or(Duration::from_secs(1), |under| under.patience())
    }

    /// Removes what crashed writers left behind and nobody can see. Never anything that a live writer works on.
    fn sweep(&self) -> Result<()> {
        self.under().map_or(Ok(()), |under| under.sweep())
    }

    /// Whether it is known beforehand that several of racing creators may win. No race has to show it then, which would do so by
    /// chance only.
    fn several_win(&self) -> bool {
        self.under().is_some_and(|under| under.several_win())
    }

    /// Whether what is written goes nowhere ([`rehearsed`]): a machine must not remember it.
    fn rehearses(&self) -> bool {
        self.under().is_some_and(|under| under.rehearses())
    }

    /// The place of the log store, where the log does not lie in here ([`with_log`]).
    fn log_place(&self) -> Option<String> {
        self.under().and_then(|under| under.log_place())
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        (**self).create(name, bytes)
    }
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        (**self).read(name)
    }
    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        (**self).read_range(name, range)
    }
    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        (**self).list(folder, visit)
    }
    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        (**self).list_after(folder, after, visit)
    }
    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        (**self).dates(folder, visit)
    }
    fn delete(&self, name: &str) -> Result<()> {
        (**self).delete(name)
    }
    fn delete_all(&self, names: &[String]) -> Result<()> {
        (**self).delete_all(names)
    }
    fn concurrency(&self) -> usize {
        (**self).concurrency()
    }
    fn place(&self) -> String {
        (**self).place()
    }
    fn patience(&self) -> Duration {
        (**self).patience()
    }
    fn sweep(&self) -> Result<()> {
        (**self).sweep()
    }
    fn several_win(&self) -> bool {
        (**self).several_win()
    }
    fn rehearses(&self) -> bool {
        (**self).rehearses()
    }
    fn log_place(&self) -> Option<String> {
        (**self).log_place()
    }
}

/// Opens the store that `place` names: a bucket (`s3://…`, of Google `gs://…`), a container (of Azure `az://…`, of Swift `swift://…`), a folder
/// of another machine (`sftp://…`), or one of this, given by its path.
pub fn open(place: impl AsRef<OsStr>) -> Result<Arc<dyn Store>> {
    let place = place.as_ref();
    #[cfg(feature = "s3")]
    if s3::is_place(place) {
        return Ok(Arc::new(s3::S3::open(place)?));
    }
    #[cfg(feature = "gcs")]
    if gcs::is_place(place) {
        return Ok(Arc::new(gcs::Gcs::open(place)?));
    }
    #[cfg(feature = "azure")]
    if azure::is_place(place) {
        return Ok(Arc::new(azure::Azure::open(place)?));
    }
    #[cfg(feature = "swift")]
    if swift::is_place(place) {
        return Ok(Arc::new(swift::Swift::open(place)?));
    }
    if sftp::is_place(place) {
        return Ok(Arc::new(sftp::open(place)?));
    }
    is_path(place)?;
    // The whole path: it is by its place that a machine knows a repository again.
    let path = std::path::absolute(place).map_err(|e| Error::io(place.display(), e))?;
    Ok(Arc::new(folder::Folder::new(disk::RealDisk::new(path))))
}

/// The store that `place` names as it was at `time`; nothing is written there. Only a bucket that keeps versions knows.
///
/// Errors: [`Kind::Unsupported`] for what is no bucket.
pub fn open_as_of(place: impl AsRef<OsStr>, time: jiff::Timestamp) -> Result<Arc<dyn Store>> {
    let place = place.as_ref();
    #[cfg(feature = "s3")]
    if s3::is_place(place) {
        return Ok(Arc::new(s3::S3::open_as_of(place, time)?));
    }
    let what = format_args!("cannot be read as it was at {time}: only buckets keep versions");
    Err(Error::new(Kind::Unsupported, place.display(), what).hint("leave --as-of out"))
}

/// Refuses what other programs take for a place elsewhere (`s3:…`, `me@host:/…`, `host:/…`, `scheme://…`), and a `~` that no
/// shell expanded, unless a folder is called so: a folder of that name, made here, would pass for a copy far away.
pub fn is_path(place: &OsStr) -> Result<()> {
    let bytes = place.as_encoded_bytes();
    let there = || Path::new(place).is_dir();
    if bytes.first() == Some(&b'~') && !there() {
        let name = place.display();
        return Err(Error::new(
            Kind::Unsupported,
            &name,
            "is no folder: the shell expands ~ only at the beginning of a word, unquoted",
        )
        .hint(format_args!("write the home folder out, or ./{name} for a folder called so")));
    }
    let first = bytes.split(|b| *b == b'/').next().unwrap_or_default();
    let Some(colon) = first.iter().position(|b| *b == b':') else { return Ok(()) };
    let scheme = bytes.get(colon..).is_some_and(|rest| rest.starts_with(b"://"));
    if scheme || !there() {
        let (name, kind) = (place.display(), String::from_utf8_lossy(first.get(..colon).unwrap_or_default()));
        return Err(Error::new(Kind::Unsupported, &name, format_args!("no place is written {kind}:"))
            .hint(format_args!(
                "give the path of a folder, sftp://[USER@]HOST/PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or \
                 swift://CONTAINER/PREFIX; ./{name} or an absolute path for a folder that is called so"
            )));
    }
    Ok(())
}

/// Reads an object that may be missing.
pub fn read_if_exists(store: &dyn Store, name: &str) -> Result<Option<Vec<u8>>> {
    match store.read(name) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Creates an object whose name is a hash of its content, or which is the same whoever writes it: that it exists
/// already is as good as having written it.
pub fn create_or_same(store: &dyn Store, name: &str, bytes: impl Into<Bytes>) -> Result<()> {
    let bytes = bytes.into();
    match store.create(name, bytes.clone()) {
        Err(e) if e.kind() == Kind::AlreadyExists => {
            if store.read(name)? == bytes {
                return Ok(());
            }
            Err(Error::damaged(name, "exists with other contents"))
        }
        other => other,
    }
}

/// Locks a mutex whose holders leave the value whole even when they panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A delete whose object is gone is done: an earlier try may have been carried out.
pub(crate) fn gone(deleted: Result<()>) -> Result<()> {
    match deleted {
        Err(e) if e.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether an object's name lies under `folder`; all do under none.
pub(crate) fn is_under(name: &str, folder: &str) -> bool {
    folder.is_empty() || name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

pub(crate) fn missing(name: &str) -> Error {
    Error::new(Kind::NotFound, name, "there is no such object")
}

pub(crate) fn exists(name: &str) -> Error {
    Error::new(Kind::AlreadyExists, name, "exists already")
}

/// Cuts a range out of a whole object, as `read_range` must answer it.
pub(crate) fn cut(name: &str, bytes: &[u8], range: Range<u64>) -> Result<Vec<u8>> {
    usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok())
        .and_then(|(start, end)| bytes.get(start..end))
        .map(<[u8]>::to_vec)
        .ok_or_else(|| short(name, &range))
}

pub(crate) fn short(name: &str, range: &Range<u64>) -> Error {
    Error::damaged(name, format!("ends before byte {}", range.end))
}
