//! A store in a bucket: S3, and what speaks like it.
//!
//! An object is one `PutObject` with `If-None-Match: *`, signed over its SHA-256, which the server verifies and, where it
//! keeps checksums, says again. The client is async: a private runtime drives it, calls block. It tries nothing again, but
//! for 409 on a create, by which S3 says that another create of that name is under way; [`super::retry::Retry`] decides
//! about all else.

mod errors;
mod place;
mod profile;
pub mod versions;
mod wire;

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key, Checksum, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    ClientConfigKey, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};
use tokio::runtime::{Builder, Runtime};

use self::errors::{Asked, Verb};
use self::place::Place;
use self::profile::Profile;
use self::versions::AsOf;
use self::wire::Listening;
use super::{Store, short};
use crate::error::{self, Error, Kind, Result};

/// What a request may take in all: an object of 16 MiB at 0.2 MB/s.
const REQUEST: &str = "90 seconds";
/// How long what may pass is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
/// Threads that drive connections. Callers hash and sign in their own.
const DRIVERS: usize = 2;
/// How often a create is asked for while others create the same name.
const CONFLICTS: u32 = 10;
/// Objects that are shown at a time; a page of a listing has as many.
const PAGE: usize = 1000;

/// Objects in a bucket below a prefix.
pub struct S3 {
    client: AmazonS3,
    runtime: Runtime,
    place: String,
    bucket: String,
    /// Before every name: nothing, or the prefix and a slash.
    root: String,
}

/// An environment.
pub type Variables = HashMap<OsString, OsString>;

/// What `AWS_*` says.
fn from_variables(variables: &Variables) -> AmazonS3Builder {
    let text = variables.iter().filter_map(|(name, value)| name.to_str().zip(value.to_str()));
    let ours = text.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
    // What is no setting of buckets is for other programs.
    let known = ours.filter_map(|(name, value)| name.to_ascii_lowercase().parse::<Key>().ok().map(|key| (key, value)));
    known.fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

/// Whether `place` means a bucket.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(b"s3://")
}

impl S3 {
    /// Opens `s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME]`. Credentials, and what the place does not say, come from
    /// `AWS_*`, then from the profile; without either from the machine's role. Asks the server nothing yet.
    ///
    /// Errors: [`Kind::Usage`] where the place makes no sense, or a profile.
    pub fn open(place: &OsStr) -> Result<S3> {
        S3::with(place, &env::vars_os().collect())
    }

    /// The same, in another environment than this process's.
    pub fn with(place: &OsStr, variables: &Variables) -> Result<S3> {
        Ok(S3::at(place, variables)?.0)
    }

    /// A bucket that keeps versions, as it was at `time`.
    pub fn open_as_of(place: &OsStr, time: Timestamp) -> Result<AsOf> {
        S3::as_of(place, &env::vars_os().collect(), time)
    }

    /// The same, in another environment.
    pub fn as_of(place: &OsStr, variables: &Variables, time: Timestamp) -> Result<AsOf> {
        let (store, url, region) = S3::at(place, variables)?;
        AsOf::new(store, url, region, time)
    }

    /// The store, where its bucket is asked for, and the region that requests are signed for.
    fn at(place: &OsStr, variables: &Variables) -> Result<(S3, String, String)> {
        let mut builder = from_variables(variables);
        let profile = Profile::load(variables)?;
        let mut place = Place::parse(place)?;
        if place.endpoint.is_none() {
            let of = |key| builder.get_config_value(&key);
            let given = of(Key::S3Endpoint).or_else(|| of(Key::Endpoint)).or_else(|| profile.endpoint.clone());
            place.endpoint = given.filter(|e| !e.is_empty()).map(|e| place::endpoint(&e)).transpose()?;
        }
        let region = place.region.clone().or_else(|| builder.get_config_value(&Key::Region)).or(profile.region.clone());
        builder = profile.credentials(builder);
        if let Some(endpoint) = &place.endpoint {
            builder = builder.with_config(Key::S3Endpoint, endpoint).with_allow_http(endpoint.starts_with("http:"));
        }
        let region = region.unwrap_or_else(|| "us-east-1".to_string());
        let hosted = builder.get_config_value(&Key::VirtualHostedStyleRequest).is_some_and(|v| v == "true");
        let url = match (&place.endpoint, hosted) {
            (Some(endpoint), true) => endpoint.clone(),
            (Some(endpoint), false) => format!("{endpoint}/{}", place.bucket),
            (None, _) => format!("https://s3.{region}.amazonaws.com/{}", place.bucket),
        };
        let retries = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let client = builder
            .with_bucket_name(&place.bucket)
            .with_region(&region)
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_unsigned_payload(false)
            .with_skip_signature(false)
            .with_retry(retries)
            .with_http_connector(Listening)
            .build()
            .map_err(|e| Error::new(Kind::Usage, place.name(), error::chain(&e)).hint(errors::SETTINGS))?;
        let runtime = Builder::new_multi_thread().worker_threads(DRIVERS).thread_name("s3").enable_all().build();
        let runtime = runtime.map_err(|e| Error::io(place.name(), e))?;
        let root = if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
        Ok((S3 { client, runtime, place: place.name(), bucket: place.bucket, root }, url, region))
    }

    fn path(&self, name: &str) -> Result<Path> {
        let whole = format!("{}{name}", self.root);
        Path::parse(whole.trim_end_matches('/')).map_err(|e| Error::new(Kind::Usage, name, e))
    }

    /// Waits for a request, and names what went wrong.
    fn ask<T>(&self, verb: Verb, name: &str, request: impl Future<Output = object_store::Result<T>>) -> Result<T> {
        let (result, heard) = self.runtime.block_on(wire::listen(request));
        let asked = Asked { place: &self.place, bucket: &self.bucket, name, verb };
        match result {
            Ok(value) => heard.kept_what_was_sent(name).map(|()| value),
            Err(e) => Err(errors::named(&asked, &e, &heard)),
        }
    }

    /// The object's length, in bytes. By a `GetObject` of which nothing is read: to `HeadObject` a server refuses without a
    /// word, and 404 alone does not say that the object is missing.
    fn length(&self, name: &str) -> Result<u64> {
        let path = self.path(name)?;
        self.ask(Verb::Get, name, self.client.get_opts(&path, GetOptions::default())).map(|got| got.meta.size)
    }

    /// An object, or a part of it; that which is current, or a version.
    fn get(&self, name: &str, range: Option<Range<u64>>, version: Option<String>) -> Result<Vec<u8>> {
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
}

impl Store for S3 {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(name)?;
        let payload = PutPayload::from(bytes);
        let mut conflicts = 0;
        loop {
            let put = self.client.put_opts(&path, payload.clone(), PutMode::Create.into());
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
        // `DeleteObject` says the same of what is there and of what is not.
        self.length(name)?;
        let path = self.path(name)?;
        self.ask(Verb::Delete, name, self.client.delete(&path))
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        let paths = names.iter().map(|name| self.path(name)).collect::<Result<Vec<Path>>>()?;
        let first = names.first().map_or("", String::as_str);
        self.ask(Verb::Delete, first, async {
            let paths = futures_util::stream::iter(paths.into_iter().map(Ok)).boxed();
            // A request for each thousand. What is missing counts as removed.
            self.client.delete_stream(paths).try_for_each(|_| async { Ok(()) }).await
        })
    }

    fn concurrency(&self) -> usize {
        16
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
