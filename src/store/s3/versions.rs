//! A bucket that keeps versions, read as it was at a time: what was overwritten or deleted since is there.
//!
//! Memory: a page of a listing, and [`KEEPS`] objects of which it is known what stood, 100 to 200 bytes each: 26 MiB at most. A listing
//! of fewer is asked for once, and answers all; of more, each object that is not remembered is looked up by a request of its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::HOST;
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse};

use super::super::answers::versions::{Marker, Page, Standing, Version, parse};
use super::super::bucket::errors::{Verb, named};
use super::super::bucket::{REQUEST, wire};
use super::super::{Store, lock, missing};
use super::{LISTENING, S3};
use crate::error::{self, Error, Kind, Result};

/// Longest page of a listing, bytes: a thousand versions.
const PAGE_MAX: usize = 8 << 20;
/// Objects of which it is remembered what stood.
const KEEPS: usize = 1 << 17;
/// Versions that are asked for at a time.
const AT_ONCE: usize = 1000;
/// The same where one object is meant.
const OF_ONE: usize = 8;

/// See the module. Reads by version; writes nothing.
pub struct AsOf {
    store: S3,
    time: Timestamp,
    client: HttpClient,
    /// Where the bucket is asked for.
    url: String,
    region: String,
    keeps: usize,
    known: Mutex<Known>,
}

/// What stood, by name.
#[derive(Default)]
enum Known {
    /// Nothing was asked for yet.
    #[default]
    Nothing,
    /// All that there was.
    Whole(HashMap<String, Version>),
    /// What was asked for last, and what before; `None` is nothing.
    Part { newer: HashMap<String, Option<Version>>, older: HashMap<String, Option<Version>> },
}

impl Known {
    /// What stood, if that is known.
    fn get(&mut self, name: &str, keeps: usize) -> Option<Option<Version>> {
        match self {
            Known::Nothing => None,
            Known::Whole(all) => Some(all.get(name).cloned()),
            Known::Part { newer, older } => {
                if let Some(found) = newer.get(name) {
                    return Some(found.clone());
                }
                let (name, found) = older.remove_entry(name)?;
                self.keep(name, found.clone(), keeps);
                Some(found)
            }
        }
    }

    /// What was asked for longest ago goes, half of all at a time.
    fn keep(&mut self, name: String, version: Option<Version>, keeps: usize) {
        if let Known::Part { newer, older } = self {
            if newer.len() >= (keeps / 2).max(1) {
                *older = std::mem::take(newer);
            }
            newer.insert(name, version);
        }
    }
}

/// A listing on its way: what stood of names that begin with `prefix`, in order.
struct Walk<'a> {
    of: &'a AsOf,
    prefix: &'a str,
    at_once: usize,
    standing: Standing,
    /// Where it goes on, if it does.
    next: Option<Marker>,
}

impl Walk<'_> {
    /// What the next page shows; `None` at the end.
    fn page(&mut self) -> Result<Option<Vec<(String, Version)>>> {
        let Some(after) = self.next.take() else { return Ok(None) };
        let page = self.of.page(self.prefix, &after, self.at_once)?;
        let mut shown = Vec::new();
        let next = self.standing.take(page, &after, &mut |key, version| {
            let name = key.strip_prefix(&self.of.store.root).filter(|name| name.starts_with(self.prefix));
            let name = name.ok_or_else(|| self.of.odd(&format!("lists {key:?}, which was not asked for")))?;
            shown.push((name.to_owned(), version));
            Ok(())
        })?;
        self.next = next.map_err(|what| self.of.odd(what))?;
        Ok(Some(shown))
    }
}

impl AsOf {
    /// `store`, whose bucket is at `url`, as it was at `time`. Asks the server nothing yet.
    pub(super) fn new(store: S3, url: String, region: String, time: Timestamp) -> Result<AsOf> {
        let options = ClientOptions::new()
            .with_allow_http(url.starts_with("http:"))
            .with_config(object_store::ClientConfigKey::Timeout, REQUEST);
        let client = LISTENING.connect(&options);
        let client = client.map_err(|e| Error::new(Kind::Io, store.place(), error::chain(&e)))?;
        Ok(AsOf { store, time, client, url, region, keeps: KEEPS, known: Mutex::default() })
    }

    /// Remembers no more than so many objects.
    pub fn keeping(self, keeps: usize) -> AsOf {
        AsOf { keeps, ..self }
    }

    /// What stood of names that begin with `prefix` and come after `after`, asking for so many versions at a time.
    fn walk<'a>(&'a self, prefix: &'a str, after: &str, at_once: usize) -> Walk<'a> {
        let key = if after.is_empty() { String::new() } else { format!("{}{after}", self.store.root) };
        let next = Some(Marker { key, version: String::new() });
        Walk { of: self, prefix, at_once, standing: Standing::at(self.time), next }
    }

    /// What stood under a name.
    fn version(&self, name: &str) -> Result<Version> {
        let mut known = lock(&self.known);
        if let Known::Nothing = *known {
            *known = self.begin()?;
        }
        if let Some(found) = known.get(name, self.keeps) {
            return found.ok_or_else(|| missing(name));
        }
        drop(known);
        let found = self.look_up(name)?;
        lock(&self.known).keep(name.to_owned(), found.clone(), self.keeps);
        found.ok_or_else(|| missing(name))
    }

    /// The listing, or as much of its beginning as is remembered. Others wait meanwhile.
    fn begin(&self) -> Result<Known> {
        let (mut walk, mut all) = (self.walk("", "", AT_ONCE), HashMap::new());
        while let Some(page) = walk.page()? {
            all.extend(page);
            if all.len() > self.keeps {
                let older = all.into_iter().map(|(name, version)| (name, Some(version))).collect();
                return Ok(Known::Part { newer: HashMap::new(), older });
            }
        }
        Ok(Known::Whole(all))
    }

    /// Asks for one name.
    fn look_up(&self, name: &str) -> Result<Option<Version>> {
        let mut walk = self.walk(name, "", OF_ONE);
        while let Some(page) = walk.page()? {
            // A name comes before those that begin with it.
            if let Some((first, version)) = page.into_iter().next() {
                return Ok((first == name).then_some(version));
            }
            if walk.standing.is_past(&format!("{}{name}", self.store.root)) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Shows what stood in a folder, from what is remembered or else page by page.
    fn listed(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut known = lock(&self.known);
        if let Known::Nothing = *known {
            *known = self.begin()?;
        }
        if let Known::Whole(all) = &*known {
            let there = all.iter().filter(|(name, _)| name.starts_with(&prefix) && name.as_str() > after);
            // Whoever looks may ask for more.
            let there: Vec<_> = there.map(|(name, version)| (name.clone(), version.len)).collect();
            drop(known);
            return there.iter().try_for_each(|(name, len)| visit(name, *len));
        }
        drop(known);
        let mut walk = self.walk(&prefix, after, AT_ONCE);
        while let Some(page) = walk.page()? {
            // A server may show again what it was to go on after.
            let mut fresh = page.iter().filter(|(name, _)| name.as_str() > after);
            fresh.try_for_each(|(name, version)| visit(name, version.len))?;
        }
        Ok(())
    }

    fn odd(&self, what: &str) -> Error {
        Error::new(Kind::Unsupported, self.place(), what).hint("does the server list versions?")
    }

    /// What follows a version in the listing.
    fn page(&self, prefix: &str, after: &Marker, at_once: usize) -> Result<Page> {
        let (result, heard) = self.store.runtime.block_on(wire::listen(self.ask(prefix, after, at_once)));
        let asked = self.store.asked(Verb::Versions, "");
        let response = match result {
            Ok(response) if response.status().is_success() => response,
            Ok(response) => {
                let status = object_store::Error::Generic { store: "S3", source: response.status().to_string().into() };
                return Err(named::<AmazonS3>(&asked, &status, &heard));
            }
            Err(e) => return Err(named::<AmazonS3>(&asked, &e, &heard)),
        };
        let body = http_body_util::Limited::new(response.into_body(), PAGE_MAX);
        let bytes = self.store.runtime.block_on(http_body_util::BodyExt::collect(body));
        let bytes = bytes.map_err(|e| Error::new(Kind::Io, self.place(), e))?.to_bytes();
        parse(&bytes).map_err(|e| self.odd(&format!("answers with no listing of versions: {e}")))
    }

    async fn ask(&self, prefix: &str, after: &Marker, at_once: usize) -> object_store::Result<HttpResponse> {
        let wrong =
            |e: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source: e };
        let marker = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("&{name}={}", encoded(value)),
        };
        let query = format!(
            "max-keys={at_once}&prefix={}&versions={}{}",
            encoded(&format!("{}{prefix}", self.store.root)),
            marker("key-marker", &after.key),
            marker("version-id-marker", &after.version)
        );
        let uri = format!("{}?{query}", self.url);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = uri.parse().map_err(|e| wrong(Box::new(e)))?;
        let credentials = self.store.client.credentials().get_credential().await?;
        AwsAuthorizer::new(&credentials, "s3", &self.region).try_authorize(&mut request, None)?;
        request.headers_mut().remove(HOST);
        self.client.execute(request).await.map_err(|e| wrong(Box::new(e)))
    }

    fn refused(&self, name: &str) -> Error {
        Error::new(
            Kind::Unsupported,
            self.place(),
            format_args!("is read as it was at {}, and not written to", self.time),
        )
        .within(name)
        .hint("leave --as-of out")
    }
}

/// A value in a query: names of objects and ids of versions.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    value.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Store for AsOf {
    fn create(&self, name: &str, _: Bytes) -> Result<()> {
        Err(self.refused(name))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        self.store.get(name, None, self.version(name)?.id)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let Version { id, len } = self.version(name)?;
        if range.end > len {
            return Err(super::super::short(name, &range));
        }
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        self.store.get(name, Some(range), id)
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(folder, "", visit)
    }

    fn list_after(&self, folder: &str, after: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(folder, after, visit)
    }

    fn delete(&self, name: &str) -> Result<()> {
        Err(self.refused(name))
    }

    fn concurrency(&self) -> usize {
        self.store.concurrency()
    }

    fn place(&self) -> String {
        self.store.place()
    }

    fn patience(&self) -> Duration {
        self.store.patience()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_longest_ago_goes() {
        let version = |len| Version { id: None, len };
        let older = (0..4).map(|n| (n.to_string(), Some(version(n)))).collect();
        let mut known = Known::Part { newer: HashMap::new(), older };
        assert_eq!(known.get("0", 4), Some(Some(version(0))));
        known.keep("x".into(), None, 4);
        assert_eq!(known.get("x", 4), Some(None), "that there is nothing is known, too");
        known.keep("y".into(), Some(version(9)), 4);
        for (name, found) in [("1", None), ("3", None), ("0", Some(Some(version(0)))), ("y", Some(Some(version(9))))] {
            assert_eq!(known.get(name, 4), found, "{name}");
        }
        let mut whole = Known::Whole([("a".to_string(), version(1))].into());
        assert_eq!((whole.get("a", 1), whole.get("b", 1)), (Some(Some(version(1))), Some(None)));
        assert_eq!(encoded("a/b=c d"), "a%2Fb%3Dc%20d");
    }
}
