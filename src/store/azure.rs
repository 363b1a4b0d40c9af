//! A store in a container of Azure.
//!
//! An object is one `Put Blob` with `If-None-Match: *`, which exactly one of those who race is granted; its MD5, as the server says it, is
//! compared.

use std::env;
use std::ffi::OsStr;

use http::HeaderMap;
use object_store::ClientConfigKey;
use object_store::azure::{AzureConfigKey as Key, MicrosoftAzure, MicrosoftAzureBuilder};

use super::bucket::errors::{Asked, Verb};
use super::bucket::place::{self, Form, Place};
use super::bucket::wire::{Answer, Checksum, Listening};
use super::bucket::{Bucket, Provider, REQUEST, Variables, md5, once, settings};
use super::{exists, missing};
use crate::error::{self, Error, Kind, Result};

/// Objects in a container of Azure.
pub type Azure = Bucket<MicrosoftAzure>;

const FORM: Form = Form {
    scheme: "az://",
    help: "write az://CONTAINER/PREFIX?account=NAME; AZURE_STORAGE_ACCOUNT names the account, too",
    keys: &[place::Key::Account, place::Key::Endpoint],
    secrets: "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
};
const CREDENTIALS: &str = "set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID with AZURE_CLIENT_SECRET and \
                           AZURE_TENANT_ID, or give the machine an identity";

/// Whoever asks for a ticket does not say which version of storage is meant.
const LISTENING: Listening = Listening(|headers: &HeaderMap| headers.contains_key("x-ms-version"));

/// Whether `place` means a container of Azure.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(FORM.scheme.as_bytes())
}

/// What a role must hold.
fn permission(verb: Verb) -> &'static str {
    match verb {
        Verb::Put => "…/blobs/add/action or …/blobs/write",
        Verb::Get | Verb::List | Verb::Versions => "…/blobs/read",
        Verb::Delete => "…/blobs/delete",
    }
}

impl Provider for MicrosoftAzure {
    const CREDENTIALS: &'static str = CREDENTIALS;
    const DENIED: &'static str = "AuthorizationPermissionMismatch";
    const TELLS_MISSING: bool = true;
    const REMOVED_AT_ONCE: usize = 256;

    fn refused(asked: &Asked<'_>, answer: &Answer) -> Error {
        let said = answer.said();
        match (answer.status, answer.code.as_str()) {
            (_, "ContainerNotFound" | "ContainerBeingDeleted") => asked.no_bucket("container"),
            (404, "BlobNotFound") => missing(asked.name),
            (409, "BlobAlreadyExists") | (412, _) if asked.verb == Verb::Put => exists(asked.name),
            (416, _) => Error::damaged(asked.name, "ends before the range that was asked for"),
            (409, "BlobImmutableDueToPolicy") if asked.verb == Verb::Delete => {
                asked.never(said).hint("the container keeps objects for a time: what is to be removed goes later")
            }
            // Of a key that does not fit, and of a clock, the server says the same.
            (_, "AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation") => asked.never(said).hint(
                "the key or the signature does not fit the account or has ended, or this machine's clock is wrong (NTP): look at \
                 AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_SECRET",
            ),
            (_, "AccountIsDisabled" | "AuthorizationProtocolMismatch" | "PublicAccessNotPermitted") => asked.never(said),
            (401 | 403, _) => asked.never(said).hint(format_args!(
                "the credentials may not do this, or not from here: it takes {} on {} (docs/stores.md has roles); or AZURE_STORAGE_KEY \
                 or AZURE_STORAGE_SAS_TOKEN is not of this account",
                permission(asked.verb),
                asked.bucket
            )),
            (413, _) | (_, "RequestBodyTooLarge") => asked.error(Kind::TooLarge, said),
            (_, "InsufficientAccountQuota" | "AccountQuotaExceeded") => {
                asked.error(Kind::Full, said).hint("raise the quota; what was uploaded is used again")
            }
            // Bytes changed on the way.
            (400, "Md5Mismatch" | "InvalidMd5" | "Crc64Mismatch") => asked.error(Kind::Io, said),
            (408 | 425 | 429 | 500..=599, _) => asked.passes(answer),
            (404, _) => asked
                .error(Kind::Unsupported, said)
                .hint("it does not say that the object is missing: is the endpoint one of Azure's blob storage?"),
            _ => asked.never(said),
        }
    }

    /// The client signs its headers before they can be added to: the server is asked what it kept.
    fn checksum(bytes: &[u8]) -> Option<Checksum> {
        Some(Checksum { name: "content-md5", kind: "", sum: md5(bytes), is_sent: false })
    }
}

/// What `AZURE_*` says: as the client reads it, and as Azure's own programs do.
fn from_variables(variables: &Variables) -> MicrosoftAzureBuilder {
    let of = |name: &str| variables.get(OsStr::new(name)).and_then(|value| value.to_str()).filter(|v| !v.is_empty());
    let mut builder = MicrosoftAzureBuilder::new();
    let connection = of("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
    let parts = || connection.split(';').filter_map(|part| part.split_once('='));
    let part = |name: &str| parts().find(|(word, _)| *word == name).map(|(_, value)| value);
    for (key, value) in [
        (Key::AccountName, part("AccountName")),
        (Key::AccessKey, part("AccountKey")),
        (Key::SasKey, part("SharedAccessSignature")),
        (Key::Endpoint, part("BlobEndpoint")),
        (Key::AccountName, of("AZURE_STORAGE_ACCOUNT")),
        (Key::AccessKey, of("AZURE_STORAGE_KEY")),
    ] {
        builder = value.into_iter().fold(builder, |builder, value| builder.with_config(key, value));
    }
    settings::<Key>(variables, "AZURE_").fold(builder, |builder, (key, value)| builder.with_config(key, value))
}

impl Bucket<MicrosoftAzure> {
    /// Opens `az://CONTAINER[/PREFIX][?account=NAME][&endpoint=URL]`. The account and credentials come from `AZURE_*`, or from the
    /// machine's identity. Asks the server nothing yet.
    ///
    /// Errors: [`Kind::Usage`] where the place makes no sense, no account is named, or credentials cannot be read.
    pub fn open(place: &OsStr) -> Result<Azure> {
        Azure::with(place, &env::vars_os().collect())
    }

    /// The same, in another environment than this process's.
    pub fn with(place: &OsStr, variables: &Variables) -> Result<Azure> {
        let mut builder = from_variables(variables);
        let mut place = Place::parse(place, &FORM)?;
        let given = |key| builder.get_config_value(&key).filter(|value| !value.is_empty());
        place.account = place.account.take().or_else(|| given(Key::AccountName));
        if place.endpoint.is_none() {
            place.endpoint = given(Key::Endpoint).map(|url| place::endpoint(&url, &FORM)).transpose()?;
        }
        let nobody = || Error::new(Kind::Usage, place.name(), "no account is named").hint(FORM.help);
        let account = place.account.clone().ok_or_else(nobody)?;
        let plain = place.endpoint.as_ref().is_some_and(|url| url.starts_with("http:"));
        if let Some(endpoint) = &place.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let client = builder
            .with_account(account)
            .with_container_name(&place.bucket)
            .with_allow_http(plain)
            .with_config(Key::Client(ClientConfigKey::Timeout), REQUEST)
            .with_use_emulator(false)
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
    use crate::store::Store;

    #[test]
    fn every_refusal_has_a_name_and_advice() {
        use Verb::{Delete, Get, List, Put};
        let name = |verb, status, code: &str| {
            let asked = Asked { place: "az://b/p?account=me", bucket: "b", name: "packs/a", verb };
            MicrosoftAzure::refused(&asked, &Answer { status, code: code.into(), ..Answer::default() })
        };
        for (verb, status, code, kind, word) in [
            (Get, 404, "ContainerNotFound", Kind::NoRepository, "make the container"),
            (Put, 403, "AuthorizationPermissionMismatch", Kind::Io, "blobs/write"),
            (List, 403, "AuthorizationPermissionMismatch", Kind::Io, "blobs/read"),
            (Delete, 403, "AuthorizationPermissionMismatch", Kind::Io, "blobs/delete"),
            (Delete, 409, "BlobImmutableDueToPolicy", Kind::Io, "later"),
            (Get, 403, "AuthenticationFailed", Kind::Io, "AZURE_STORAGE_KEY"),
            (Get, 404, "", Kind::Unsupported, "endpoint"),
        ] {
            let e = name(verb, status, code);
            assert!(e.kind() == kind && e.advice().unwrap().contains(word), "{status} {code}: {e}");
            assert_eq!(e.subject(), "az://b/p/packs/a?account=me");
        }
        for (verb, status, code, kind) in [
            (Get, 404, "BlobNotFound", Kind::NotFound),
            (Put, 409, "BlobAlreadyExists", Kind::AlreadyExists),
            (Put, 412, "ConditionNotMet", Kind::AlreadyExists),
            (Get, 416, "InvalidRange", Kind::Damaged),
            (Put, 400, "Md5Mismatch", Kind::Io),
            (Put, 503, "ServerBusy", Kind::Io),
        ] {
            assert_eq!(name(verb, status, code).kind(), kind, "{status} {code}");
        }
    }

    /// The account is part of the name, however it was said, and no secret is.
    #[test]
    fn an_account_is_needed_and_no_secret_is_shown() {
        let with = |place: &str, variables: &[(&str, &str)]| {
            Azure::with(place.as_ref(), &variables.iter().map(|(n, v)| (n.into(), v.into())).collect())
        };
        let key = ("AZURE_STORAGE_KEY", "aHVzaC1odXNo");
        let e = with("az://box/p", &[key]).err().unwrap();
        assert!(e.kind() == Kind::Usage && e.to_string().contains("no account"), "{e}");
        let whole = "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=aHVzaC1odXNo;BlobEndpoint=http://h:1/me;";
        for (place, variables, is) in [
            ("az://box/p", &[key, ("AZURE_STORAGE_ACCOUNT", "me")][..], "az://box/p?account=me"),
            ("az://box/p", &[key, ("AZURE_STORAGE_ACCOUNT_NAME", "me")], "az://box/p?account=me"),
            ("az://box/p?account=me", &[key, ("AZURE_STORAGE_ACCOUNT", "other")], "az://box/p?account=me"),
            (
                "az://box/p",
                &[("AZURE_STORAGE_CONNECTION_STRING", whole)],
                "az://box/p?account=me&endpoint=http://h:1/me",
            ),
        ] {
            assert_eq!(with(place, variables).unwrap().place(), is);
        }
        let e = with("az://box/p?account=me", &[("AZURE_STORAGE_KEY", "hush-hush!")]).err().unwrap();
        assert!(e.kind() == Kind::Usage && !format!("{e} {e:?}").contains("hush"), "{e}");
    }
}
