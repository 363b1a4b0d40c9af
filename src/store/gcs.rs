//! A store in a bucket of Google.
//!
//! An object is one `PUT` with `x-goog-if-generation-match: 0`, which exactly one of those who race is granted, and with its MD5, which
//! the server verifies.

use std::env;
use std::ffi::OsStr;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use object_store::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey as Key};

use super::bucket::errors::{Asked, Verb};
use super::bucket::place::{self, Form, Place};
use super::bucket::wire::{Answer, Checksum, Listening};
use super::bucket::{Bucket, Provider, REQUEST, Variables, md5, once, settings};
use super::{exists, missing};
use crate::error::{self, Error, Kind, Result};

/// Objects in a bucket of Google.
pub type Gcs = Bucket<GoogleCloudStorage>;

const FORM: Form = Form {
    scheme: "gs://",
    help: "write gs://BUCKET/PREFIX",
    keys: &[place::Key::Endpoint],
    secrets: "a file that GOOGLE_APPLICATION_CREDENTIALS names",
};
const CREDENTIALS: &str = "name a file by GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or give \
                           the machine a service account";

/// Whoever asks for a ticket has none yet.
const LISTENING: Listening = Listening(|headers: &HeaderMap| headers.contains_key(AUTHORIZATION));

/// Whether `place` means a bucket of Google.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(FORM.scheme.as_bytes())
}

/// What a role must hold.
fn permission(verb: Verb) -> &'static str {
    match verb {
        Verb::Put => "storage.objects.create",
        Verb::Get => "storage.objects.get",
        Verb::List | Verb::Versions => "storage.objects.list",
        Verb::Delete => "storage.objects.delete",
    }
}

impl Provider for GoogleCloudStorage {
    const CREDENTIALS: &'static str = CREDENTIALS;
    const DENIED: &'static str = "AccessDenied";
    const TELLS_MISSING: bool = true;
    const REMOVED_AT_ONCE: usize = 1;

    fn refused(asked: &Asked<'_>, answer: &Answer) -> Error {
        let said = answer.said();
        match (answer.status, answer.code.as_str()) {
            (_, "NoSuchBucket") => asked.no_bucket("bucket"),
            (404, "NoSuchKey") => missing(asked.name),
            (412, _) if asked.verb == Verb::Put => exists(asked.name),
            (416, _) => Error::damaged(asked.name, "ends before the range that was asked for"),
            (401, _) => asked.never(said).hint(CREDENTIALS),
            (403, "RetentionPolicyNotMet" | "ObjectUnderActiveHold") if asked.verb == Verb::Delete => {
                asked.never(said).hint("the bucket keeps objects for a time: what is to be removed goes later")
            }
            (403, "AccountProblem" | "UserProjectMissing" | "UserProjectAccountProblem") => {
                asked.never(said).hint("look at the project's billing")
            }
            (403, "QuotaExceeded") => {
                asked.error(Kind::Full, said).hint("raise the quota; what was uploaded is used again")
            }
            (403, _) => asked.never(said).hint(format_args!(
                "the credentials may not do this: it takes {} on {}; without storage.objects.list a missing object looks the same \
                 (docs/stores.md has roles)",
                permission(asked.verb),
                asked.bucket
            )),
            (413, _) | (_, "EntityTooLarge") => asked.error(Kind::TooLarge, said),
            // Bytes changed on the way, or the server gave up waiting for them.
            (400, "BadDigest" | "InvalidDigest" | "RequestTimeout" | "IncompleteBody") => asked.error(Kind::Io, said),
            (408 | 409 | 425 | 429 | 500..=599, _) => asked.passes(answer),
            (404, _) => asked
                .error(Kind::Unsupported, said)
                .hint("it does not say that the object is missing: is the endpoint one of Google's XML API?"),
            _ => asked.never(said),
        }
    }

    fn checksum(bytes: &[u8]) -> Option<Checksum> {
        Some(Checksum { name: "x-goog-hash", kind: "md5=", sum: md5(bytes), is_sent: true })
    }
}

impl Bucket<GoogleCloudStorage> {
    /// Opens `gs://BUCKET[/PREFIX][?endpoint=URL]`. Credentials come from `GOOGLE_*`, from what `gcloud` has left in the user's home,
    /// or from the machine's service account. Asks the server nothing yet.
    ///
    /// Errors: [`Kind::Usage`] where the place makes no sense, or credentials cannot be read.
    pub fn open(place: &OsStr) -> Result<Gcs> {
        Gcs::with(place, &env::vars_os().collect())
    }

    /// The same, in another environment than this process's, but for what `gcloud` has left.
    pub fn with(place: &OsStr, variables: &Variables) -> Result<Gcs> {
        let mut builder = settings::<Key>(variables, "GOOGLE_")
            .fold(GoogleCloudStorageBuilder::new(), |builder, (key, value)| builder.with_config(key, value));
        let mut place = Place::parse(place, &FORM)?;
        if place.endpoint.is_none() {
            let given = builder.get_config_value(&Key::BaseUrl);
            place.endpoint = given.map(|url| place::endpoint(&url, &FORM)).transpose()?;
        }
        let plain = place.endpoint.as_ref().is_some_and(|url| url.starts_with("http:"));
        if let Some(endpoint) = &place.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        let client = builder
            .with_bucket_name(&place.bucket)
            .with_config(Key::Client(ClientConfigKey::AllowHttp), plain.to_string())
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST)
            .with_skip_signature(false)
            .with_retry(once())
            .with_http_connector(LISTENING)
            .build()
            .map_err(|e| Error::new(Kind::Usage, place.name(), error::chain(&e)).hint(CREDENTIALS))?;
        Bucket::of(client, &place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_name_and_advice() {
        use Verb::{Delete, Get, List, Put};
        let name = |verb, status, code: &str| {
            let asked = Asked { place: "gs://b/p", bucket: "b", name: "packs/a", verb };
            GoogleCloudStorage::refused(&asked, &Answer { status, code: code.into(), ..Answer::default() })
        };
        for (verb, status, code, kind, word) in [
            (Get, 404, "NoSuchBucket", Kind::NoRepository, "make the bucket"),
            (Get, 403, "AccessDenied", Kind::Io, "storage.objects.get"),
            (Put, 403, "AccessDenied", Kind::Io, "storage.objects.create"),
            (List, 403, "AccessDenied", Kind::Io, "storage.objects.list"),
            (Delete, 403, "AccessDenied", Kind::Io, "storage.objects.delete"),
            (Delete, 403, "RetentionPolicyNotMet", Kind::Io, "later"),
            (Get, 401, "AuthenticationRequired", Kind::Io, "GOOGLE_APPLICATION_CREDENTIALS"),
            (Put, 403, "AccountProblem", Kind::Io, "billing"),
            (Get, 404, "", Kind::Unsupported, "XML"),
        ] {
            let e = name(verb, status, code);
            assert!(e.kind() == kind && e.advice().unwrap().contains(word), "{status} {code}: {e}");
            assert_eq!(e.subject(), "gs://b/p/packs/a");
        }
        for (verb, status, code, kind) in [
            (Get, 404, "NoSuchKey", Kind::NotFound),
            (Delete, 404, "NoSuchKey", Kind::NotFound),
            (Put, 412, "PreconditionFailed", Kind::AlreadyExists),
            (Get, 416, "InvalidRange", Kind::Damaged),
            (Put, 400, "BadDigest", Kind::Io),
            (Put, 429, "SlowDown", Kind::Io),
        ] {
            assert_eq!(name(verb, status, code).kind(), kind, "{status} {code}");
        }
    }

    #[test]
    fn credentials_that_cannot_be_read_are_named_and_not_shown() {
        let with = |name: &str, value: &str| {
            Gcs::with("gs://bucket".as_ref(), &[(name.into(), value.into())].into()).err().unwrap()
        };
        let e = with("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json");
        assert!(e.kind() == Kind::Usage && e.to_string().contains("/nowhere/key.json"), "{e}");
        let e = with("GOOGLE_SERVICE_ACCOUNT_KEY", "{\"private_key\": \"hush-hush\"}");
        assert!(e.kind() == Kind::Usage && !format!("{e} {e:?}").contains("hush-hush"), "{e}");
    }
}
