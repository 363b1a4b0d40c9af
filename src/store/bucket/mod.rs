//! A store in a bucket, whoever provides it. What providers do each in their own way, they say as [`Provider`]s.
//!
//! The client is async: a private runtime drives it, calls block. It tries nothing again, but for a create beside which the server
//! says that another is under way; [`super::retry::Retry`] decides about all else.

pub mod errors;
pub mod place;
pub mod wire;

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::Future;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use self::errors::{Asked, Verb, named};
use self::place::Place;
use self::wire::{Answer, Checksum};
use super::{Store, short};
use crate::error::{Error, Kind, Result};

/// What a request may take in all: an object of 16 MiB at 0.2 MB/s.
pub const REQUEST: &str = "90 seconds";
/// How long what may pass is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
/// Threads that drive connections. Callers hash and sign in their own.
const DRIVERS: usize = 2;
/// How often a create is asked for while others create the same name.
const CONFLICTS: u32 = 10;
/// Objects that are shown at a time; a page of a listing has as many.
const PAGE: usize = 1000;
/// Requests under way at once.
const WIDTH: usize = 16;

/// An environment.
pub type Variables = HashMap<OsString, OsString>;

/// What a provider does in its own way.
pub trait Provider: ObjectStore {
    /// What to do where there are no credentials.
    const CREDENTIALS: &'static str;
    /// The provider's word for what may not be done.
    const DENIED: &'static str;
    /// Whether a delete says that there is no such object.
    const TELLS_MISSING: bool;
    /// Objects that can be removed by one request; 1 where there is none for several.
    const REMOVED_AT_ONCE: usize;

    /// What an answer that is no success means.
    fn refused(asked: &Asked<'_>, answer: &Answer) -> Error;

    /// What shows that the server has what was sent; `None` where the client sees to it.
    fn checksum(bytes: &[u8]) -> Option<Checksum>;
}

/// Objects in a bucket below a prefix.
pub struct Bucket<P> {
    pub(super) client: P,
    pub(super) runtime: Runtime,
    pub(super) place: String,
    pub(super) bucket: String,
    /// Before every name: nothing, or the prefix and a slash.
    pub(super) root: String,
}

/// The settings among `variables` whose names begin with `prefix`. What is no setting of buckets is for other programs.
pub fn settings<'v, K: FromStr>(variables: &'v Variables, prefix: &'v str) -> impl Iterator<Item = (K, &'v str)> {
    let text = variables.iter().filter_map(|(name, value)| name.to_str().zip(value.to_str()));
    let ours = text.filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty());
    ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

/// That the client tries nothing again.
pub fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

/// The MD5 of some bytes, as headers say it.
#[cfg(any(feature = "gcs", feature = "azure"))]
pub fn md5(bytes: &[u8]) -> String {
    use base64::Engine;
    use md5::{Digest, Md5};

    base64::engine::general_purpose::STANDARD.encode(Md5::digest(bytes))
}

impl<P: Provider> Bucket<P> {
    /// A bucket that `client` reaches. Asks the server nothing yet.
    pub(super) fn of(client: P, place: &Place) -> Result<Bucket<P>> {
        let runtime = Builder::new_multi_thread().worker_threads(DRIVERS).thread_name("bucket").enable_all().build();
        let runtime = runtime.map_err(|e| Error::io(place.name(), e))?;
        Ok(Bucket { client, runtime, place: place.name(), bucket: place.bucket.clone(), root: place.root() })
    }

    fn path(&self, name: &str) -> Result<Path> {
        let whole = format!("{}{name}", self.root);
        Path::parse(whole.trim_end_matches('/')).map_err(|e| Error::new(Kind::Usage, name, e))
    }

    /// A request of this store.
    pub(super) fn asked<'a>(&'a self, verb: Verb, name: &'a str) -> Asked<'a> {
        Asked { place: &self.place, bucket: &self.bucket, name, verb }
    }

    /// Waits for a request, and names what went wrong.
    fn ask<T>(&self, verb: Verb, name: &str, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        self.runtime.block_on(self.answered(verb, name, request))
    }

    async fn answered<T>(
        &self,
        verb: Verb,
        name: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        let (result, heard) = wire::listen(request).await;
        match result {
            Ok(value) => heard.kept_what_was_sent(name).map(|()| value),
            Err(e) => Err(named::<P>(&self.asked(verb, name), &e, &heard)),
        }
    }

    /// The object's length, in bytes. By a `GetObject` of which nothing is read: to `HeadObject` a server refuses without a
    /// word, and 404 alone does not say that the object is missing.
    fn length(&self, name: &str) -> Result<u64> {
        let path = self.path(name)?;
        self.ask(Verb::Get, name, self.client.get_opts(&path, GetOptions::default())).map(|got| got.meta.size)
    }

    /// An object, or a part of it; that which is current, or a version.
    pub(super) fn get(&self, name: &str, range: Option<Range<u64>>, version: Option<String>) -> Result<Vec<u8>> {
        let path = self.path(name)?;
        let options = GetOptions { range: range.clone().map(GetRange::Bounded), version, ..GetOptions::default() };
        let (answered, bytes) = self.ask(Verb::Get, name, async {
            let got = self.client.get_opts(&path, options).await?;
            Ok((got.range.clone(), got.bytes().await?))
        })?;
        match range {
            Some(range) if answered.end < range.end => Err(short(name, &range)),
            _ if bytes.len() as u64 == answered.end.saturating_sub(answered.start) => Ok(bytes.into()),
            _ => Err(Error::new(Kind::Io, name, format_args!("the answer ended after {} bytes", bytes.len()))),
        }
    }

    fn listed(
        &self,
        folder: &str,
        after: Option<&str>,
        visit: &mut dyn FnMut(&str, &ObjectMeta) -> Result<()>,
    ) -> Result<()> {
        let path = self.path(folder)?;
        let below = Some(&path).filter(|p| !p.as_ref().is_empty());
        let mut pages = match after {
            None => self.client.list(below),
            Some(after) => self.client.list_with_offset(below, &self.path(after)?),
        }
        .ready_chunks(PAGE);
        loop {
            // Shown outside the runtime: whoever looks may ask the store for more.
            let page = self.ask(Verb::List, folder, async {
                pages.next().await.map(|page| page.into_iter().collect::<object_store::Result<Vec<_>>>()).transpose()
            })?;
            let Some(page) = page else { return Ok(()) };
            page.iter().try_for_each(|found| self.visit(found, visit))?;
        }
    }

    fn visit(&self, found: &ObjectMeta, visit: &mut dyn FnMut(&str, &ObjectMeta) -> Result<()>) -> Result<()> {
        let key = found.location.as_ref();
        let name = key.strip_prefix(&self.root).ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                &self.place,
                format_args!("the server lists {key:?}, which was not asked for"),
            )
        })?;
        visit(name, found)
    }

    /// One request for several objects. What is missing counts as removed.
    fn remove_at_once(&self, paths: Vec<Path>, first: &str) -> Result<()> {
        self.ask(Verb::Delete, first, async {
            let paths = futures_util::stream::iter(paths.into_iter().map(Ok)).boxed();
            let gone =
                |removed: &object_store::Result<Path>| matches!(removed, Err(object_store::Error::NotFound { .. }));
            let removed = self.client.delete_stream(paths).filter(|removed| std::future::ready(!gone(removed)));
            removed.try_for_each(|_| async { Ok(()) }).await
        })
    }

    /// A request for each object, some at once.
    fn remove_each(&self, paths: Vec<Path>, names: &[String]) -> Result<()> {
        let requests = names.iter().zip(&paths).map(|(name, path)| async move {
            super::gone(self.answered(Verb::Delete, name, self.client.delete(path)).await)
        });
        let removed = futures_util::stream::iter(requests).buffer_unordered(WIDTH);
        self.runtime.block_on(removed.try_for_each(|()| async { Ok(()) }))
    }
}

impl<P: Provider> Store for Bucket<P> {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(name)?;
        let mut options = PutOptions::from(PutMode::Create);
        if let Some(sum) = P::checksum(&bytes) {
            options.extensions.insert(sum);
        }
        let payload = PutPayload::from(bytes);
        let mut conflicts = 0;
        loop {
            let put = self.client.put_opts(&path, payload.clone(), options.clone());
            match self.ask(Verb::Put, name, put) {
                // Nothing was done, and nobody has won yet.
                Err(e) if e.kind() == Kind::Busy && conflicts < CONFLICTS => {
                    conflicts += 1;
                    std::thread::sleep(Duration::from_millis(20) * conflicts);
                }
                Err(e) if e.kind() == Kind::Busy => return Err(e.of_kind(Kind::Io)),
                other => return other.map(drop),
            }
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.get(name, None, None)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start < range.end {
            return self.get(name, Some(range), None);
        }
        // HTTP has no empty ranges.
        if self.length(name)? < range.end { Err(short(name, &range)) } else { Ok(Vec::new()) }
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(folder, None, &mut |name, found| visit(name, found.size))
    }

    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        // Before 1970 there were no buckets: such a date is none.
        let date = |found: &ObjectMeta| u64::try_from(found.last_modified.timestamp_millis()).ok();
        self.listed(folder, None, &mut |name, found| date(found).map_or(Ok(()), |date| visit(name, date)))
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        // Servers that take no notice of where to begin show all.
        let later = &mut |name: &str, found: &ObjectMeta| if name > after { visit(name, found.size) } else { Ok(()) };
        self.listed(folder, Some(after), later)
    }

    fn delete(&self, name: &str) -> Result<()> {
        if !P::TELLS_MISSING {
            self.length(name)?;
        }
        let path = self.path(name)?;
        self.ask(Verb::Delete, name, self.client.delete(&path))
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        let paths = names.iter().map(|name| self.path(name)).collect::<Result<Vec<Path>>>()?;
        if P::REMOVED_AT_ONCE == 1 {
            return self.remove_each(paths, names);
        }
        // One after another: a server works on each object of a request by itself, and a request has its time.
        let mut parts = names.chunks(P::REMOVED_AT_ONCE).zip(paths.chunks(P::REMOVED_AT_ONCE));
        parts.try_for_each(|(names, paths)| {
            self.remove_at_once(paths.to_vec(), names.first().map_or("", String::as_str))
        })
    }

    fn concurrency(&self) -> usize {
        WIDTH
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
