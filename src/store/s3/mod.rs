//! A store in a bucket: S3, and what speaks like it.
//!
//! An object is one `PutObject` with `If-None-Match: *`, signed over its SHA-256, which the server verifies and, where it
//! keeps checksums, says again.

mod errors;
mod profile;
pub mod versions;

use std::env;
use std::ffi::OsStr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey as Key, Checksum, S3ConditionalPut};

use self::profile::Profile;
use self::versions::AsOf;
pub use super::bucket::Variables;
use super::bucket::errors::Asked;
use super::bucket::place::{self, Form, Place};
use super::bucket::wire::{self, Answer, Listening};
use super::bucket::{Bucket, Provider, REQUEST, once, settings};
use crate::error::{self, Error, Kind, Result};

/// Objects in a bucket of Amazon, or of a server that speaks like it.
pub type S3 = Bucket<AmazonS3>;

const FORM: Form = Form {
    scheme: "s3://",
    help: "write s3://BUCKET/PREFIX, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT for a server of one's own",
    keys: &[place::Key::Endpoint, place::Key::Region],
    secrets: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
};

/// What asks for credentials is signed otherwise, or not at all.
const LISTENING: Listening = Listening(|headers: &HeaderMap| {
    headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
});

impl Provider for AmazonS3 {
    const CREDENTIALS: &'static str = errors::CREDENTIALS;
    const DENIED: &'static str = "AccessDenied";
    /// `DeleteObject` says the same of what is there and of what is not.
    const TELLS_MISSING: bool = false;
    const REMOVED_AT_ONCE: usize = 1000;

    fn refused(asked: &Asked<'_>, answer: &Answer) -> Error {
        errors::refused(asked, answer)
    }

    fn checksum(_: &[u8]) -> Option<wire::Checksum> {
        None
    }
}

/// What `AWS_*` says.
fn from_variables(variables: &Variables) -> AmazonS3Builder {
    settings::<Key>(variables, "AWS_")
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
}

/// Whether `place` means a bucket.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(b"s3://")
}

impl Bucket<AmazonS3> {
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
        let mut place = Place::parse(place, &FORM)?;
        if place.endpoint.is_none() {
            let of = |key| builder.get_config_value(&key);
            let given = of(Key::S3Endpoint).or_else(|| of(Key::Endpoint)).or_else(|| profile.endpoint.clone());
            place.endpoint = given.filter(|e| !e.is_empty()).map(|e| place::endpoint(&e, &FORM)).transpose()?;
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
        let client = builder
            .with_bucket_name(&place.bucket)
            .with_region(&region)
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_unsigned_payload(false)
            .with_skip_signature(false)
            .with_retry(once())
            .with_http_connector(LISTENING)
            .build()
            .map_err(|e| Error::new(Kind::Usage, place.name(), error::chain(&e)).hint(errors::SETTINGS))?;
        Ok((Bucket::of(client, &place)?, url, region))
    }
}
