//! A bucket that keeps versions, read as it was at a time: what was overwritten or deleted since is there.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::HOST;
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse};
use serde::Deserialize;

use super::super::bucket::errors::{Verb, named};
use super::super::bucket::{REQUEST, wire};
use super::super::{Store, is_under, missing};
use super::{LISTENING, S3};
use crate::error::{self, Error, Kind, Result};

/// Longest page of a listing, bytes: a thousand versions.
const PAGE_MAX: usize = 8 << 20;

/// See the module. Reads by version; writes nothing. In memory lies what one listing shows: some 200 bytes an object.
pub struct AsOf {
    store: S3,
    time: Timestamp,
    client: HttpClient,
    /// Where the bucket is asked for.
    url: String,
    region: String,
    objects: OnceLock<HashMap<String, Version>>,
}

/// The version of an object that was there.
struct Version {
    /// `None` is what was written before the bucket kept versions.
    id: Option<String>,
    len: u64,
}

/// A page of a listing of versions.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    #[serde(rename = "Version")]
    versions: Vec<Listed>,
    #[serde(rename = "DeleteMarker")]
    markers: Vec<Listed>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
}

/// A version, or the marker of a removal, which has no size.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    version_id: Option<String>,
    last_modified: Timestamp,
    #[serde(default)]
    size: u64,
}

/// Of each key's versions the one that stood at `time`: when it was made, and what it was, if no removal.
#[derive(Default)]
struct Standing(HashMap<String, (Timestamp, Option<Version>)>);

impl Standing {
    fn add(&mut self, page: Page, time: Timestamp) {
        let version = |listed: &Listed| {
            let id = listed.version_id.clone().filter(|id| !id.is_empty());
            Some(Version { id, len: listed.size })
        };
        // Of an object and its removal at one moment the object counts: it is what somebody looks for.
        let versions = page.versions.into_iter().map(|listed| (version(&listed), listed));
        for (found, listed) in versions.chain(page.markers.into_iter().map(|listed| (None, listed))) {
            let (made, removal) = (listed.last_modified, found.is_none());
            let newer = |known: &(Timestamp, Option<Version>)| {
                made > known.0 || made == known.0 && known.1.is_none() && !removal
            };
            if made <= time && self.0.get(&listed.key).is_none_or(newer) {
                self.0.insert(listed.key, (made, found));
            }
        }
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
        Ok(AsOf { store, time, client, url, region, objects: OnceLock::new() })
    }

    fn objects(&self) -> Result<&HashMap<String, Version>> {
        if let Some(objects) = self.objects.get() {
            return Ok(objects);
        }
        let mut standing = Standing::default();
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let page = self.page(&key, &id)?;
            let next = page.is_truncated.then(|| (page.next_key_marker.clone(), page.next_version_id_marker.clone()));
            standing.add(page, self.time);
            match next {
                None => break,
                Some((Some(next), next_id)) if next > key || next == key && next_id.as_deref() != Some(&id) => {
                    (key, id) = (next, next_id.unwrap_or_default());
                }
                Some(_) => return Err(self.odd("does not say where the listing of versions goes on")),
            }
        }
        let there = standing.0.into_iter().filter_map(|(key, (_, version))| {
            let name = key.strip_prefix(&self.store.root)?;
            Some((name.to_owned(), version?))
        });
        Ok(self.objects.get_or_init(|| there.collect()))
    }

    fn odd(&self, what: &str) -> Error {
        Error::new(Kind::Unsupported, self.place(), what).hint("does the server list versions?")
    }

    /// What follows a version in the listing.
    fn page(&self, key: &str, id: &str) -> Result<Page> {
        let (result, heard) = self.store.runtime.block_on(wire::listen(self.ask(key, id)));
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
        let text = String::from_utf8_lossy(&bytes);
        quick_xml::de::from_str(&text).map_err(|e| self.odd(&format!("answers with no listing of versions: {e}")))
    }

    async fn ask(&self, key: &str, id: &str) -> object_store::Result<HttpResponse> {
        let wrong =
            |e: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "S3", source: e };
        let marker = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("&{name}={}", encoded(value)),
        };
        let query = format!(
            "prefix={}&versions={}{}",
            encoded(&self.store.root),
            marker("key-marker", key),
            marker("version-id-marker", id)
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

    fn version(&self, name: &str) -> Result<&Version> {
        self.objects()?.get(name).ok_or_else(|| missing(name))
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
        self.store.get(name, None, self.version(name)?.id.clone())
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let Version { id, len } = self.version(name)?;
        if range.end > *len {
            return Err(super::super::short(name, &range));
        }
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        self.store.get(name, Some(range), id.clone())
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.objects()?
            .iter()
            .filter(|(name, _)| is_under(name, folder))
            .try_for_each(|(name, found)| visit(name, found.len))
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
    fn what_stood_at_a_time_is_found() {
        let text = "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><Name>b</Name><IsTruncated>true</IsTruncated>\
            <NextKeyMarker>p/a</NextKeyMarker><NextVersionIdMarker>3</NextVersionIdMarker>\
            <DeleteMarker><Key>p/a</Key><VersionId>3</VersionId><LastModified>2026-01-03T00:00:00Z</LastModified></DeleteMarker>\
            <Version><Key>p/a</Key><VersionId>2</VersionId><LastModified>2026-01-02T00:00:00.500Z</LastModified><Size>7</Size></Version>\
            <Version><Key>p/b</Key><VersionId>null</VersionId><LastModified>2026-01-03T00:00:00Z</LastModified><Size>1</Size></Version>\
            <DeleteMarker><Key>p/b</Key><VersionId>9</VersionId><LastModified>2026-01-03T00:00:00Z</LastModified></DeleteMarker>\
            <Version><Key>p/a</Key><VersionId>1</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified><Size>5</Size></Version>\
            </ListVersionsResult>";
        let at = |time: &str| {
            let mut standing = Standing::default();
            let page: Page = quick_xml::de::from_str(text).unwrap();
            assert!(page.is_truncated && page.next_version_id_marker.as_deref() == Some("3"));
            standing.add(page, time.parse().unwrap());
            let version =
                |key: &str| standing.0.get(key).and_then(|(_, v)| v.as_ref()).map(|v| (v.id.clone().unwrap(), v.len));
            (version("p/a"), version("p/b"))
        };
        assert_eq!(at("2025-12-31T00:00:00Z"), (None, None));
        assert_eq!(at("2026-01-01T00:00:00Z"), (Some(("1".into(), 5)), None));
        assert_eq!(at("2026-01-02T00:00:00Z"), (Some(("1".into(), 5)), None));
        assert_eq!(at("2026-01-02T00:00:01Z"), (Some(("2".into(), 7)), None));
        assert_eq!(at("2026-01-03T00:00:00Z"), (None, Some(("null".into(), 1))), "of one moment the object counts");
        for odd in ["", "<a", "<ListVersionsResult><Version></Version></ListVersionsResult>"] {
            assert!(quick_xml::de::from_str::<Page>(odd).is_err(), "{odd}");
        }
        assert_eq!(encoded("a/b=c d"), "a%2Fb%3Dc%20d");
    }
}
