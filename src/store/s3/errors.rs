//! What a server's refusal means, and what to do about it.

use super::super::bucket::errors::{Asked, Verb};
use super::super::bucket::wire::Answer;
use super::super::{exists, missing};
use crate::error::{Error, Kind};

/// What to look at when settings do not fit.
pub const SETTINGS: &str = "look at AWS_REGION, AWS_ENDPOINT_URL and the profile";
/// What to do where there are no credentials.
pub const CREDENTIALS: &str =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role";

/// What a policy calls it.
fn permission(verb: Verb) -> &'static str {
    match verb {
        Verb::Put => "s3:PutObject",
        Verb::Get => "s3:GetObject",
        Verb::List => "s3:ListBucket",
        Verb::Versions => "s3:ListBucketVersions",
        Verb::Delete => "s3:DeleteObject",
    }
}

/// An answer that is no success.
pub fn refused(asked: &Asked<'_>, answer: &Answer) -> Error {
    let said = answer.said();
    match (answer.status, answer.code.as_str()) {
        (_, "NoSuchBucket") => asked.no_bucket("bucket"),
        (404, "NoSuchKey") => missing(asked.name),
        (412, _) if asked.verb == Verb::Put => exists(asked.name),
        // Another create of this name is under way; nothing was done.
        (409, _) if asked.verb == Verb::Put => asked.error(Kind::Busy, said),
        (416, _) => Error::damaged(asked.name, "ends before the range that was asked for"),
        (501, _) if asked.verb == Verb::Put => asked
            .error(Kind::Unsupported, said)
            .hint("a repository needs conditional creates (If-None-Match), which this server does not know"),
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "QuotaExceededException") => {
            asked.error(Kind::Full, said).hint("make room or raise the quota; what was uploaded is used again")
        }
        (413, _) | (_, "EntityTooLarge") => asked.error(Kind::TooLarge, said),
        (301 | 302 | 307 | 308, _) | (_, "PermanentRedirect" | "AuthorizationHeaderMalformed") => elsewhere(asked, answer, &said),
        (400, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") | (403, "ExpiredToken" | "InvalidToken") => {
            asked.never(said).hint("the session's credentials have ended: get new ones, then run the command again")
        }
        (_, "RequestTimeTooSkewed") => {
            asked.never(said).hint("this machine's clock or the server's is wrong: set it (NTP), then run the command again")
        }
        (_, "InvalidAccessKeyId" | "XAdminUserNotFound") => asked.never(said).hint("the server does not know the access key; look at AWS_ACCESS_KEY_ID or the profile"),
        (_, "SignatureDoesNotMatch") => {
            asked.never(said).hint("the secret key does not belong to the access key; look at AWS_SECRET_ACCESS_KEY or the profile")
        }
        (401 | 403, "AccessDenied" | "") => asked.never(said).hint(format_args!(
            "the credentials may not do this: it takes {} on {}; without s3:ListBucket a missing object looks the same (docs/stores.md has policies)",
            permission(asked.verb),
            asked.bucket
        )),
        (401 | 403, _) => asked.never(said).hint(CREDENTIALS),
        // Bytes changed on the way, or the server gave up waiting for them.
        (400, "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "RequestTimeout" | "IncompleteBody") => {
            asked.error(Kind::Io, said)
        }
        (408 | 425 | 429 | 500..=599, _) => asked.passes(answer),
        (404, _) => asked.error(Kind::Unsupported, said).hint("it does not say that the object is missing: is the endpoint one of S3?"),
        _ => asked.never(said),
    }
}

/// The bucket is in another region, or another server has it.
fn elsewhere(asked: &Asked<'_>, answer: &Answer, said: &str) -> Error {
    let error = asked.never(said);
    match &answer.region {
        Some(region) => error.hint(format_args!(
            "the bucket is in {region}: set AWS_REGION={region}, or add region={region} to the place"
        )),
        None => error.hint("the bucket is in another region: set AWS_REGION, or the endpoint"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(verb: Verb, status: u16, code: &str) -> Error {
        let asked = Asked { place: "s3://b/p?endpoint=http://h", bucket: "b", name: "packs/a", verb };
        let region = (code == "PermanentRedirect").then(|| "eu-west-1".to_string());
        let wait = (status == 503).then_some(Duration::from_secs(7));
        refused(&asked, &Answer { status, code: code.into(), region, wait, ..Answer::default() })
    }

    #[test]
    fn every_refusal_has_a_name_and_advice() {
        use Verb::{Delete, Get, List, Put};
        for (verb, status, code, kind, word) in [
            (Get, 404, "NoSuchBucket", Kind::NoRepository, "make the bucket"),
            (Put, 501, "NotImplemented", Kind::Unsupported, "If-None-Match"),
            (Put, 507, "", Kind::Full, "room"),
            (Get, 403, "AccessDenied", Kind::Io, "s3:GetObject"),
            (Put, 403, "AccessDenied", Kind::Io, "s3:PutObject"),
            (List, 403, "AccessDenied", Kind::Io, "s3:ListBucket"),
            (Delete, 403, "AccessDenied", Kind::Io, "s3:DeleteObject"),
            (Get, 400, "ExpiredToken", Kind::Io, "get new ones"),
            (Get, 403, "RequestTimeTooSkewed", Kind::Io, "clock"),
            (Get, 301, "PermanentRedirect", Kind::Io, "AWS_REGION=eu-west-1"),
            (Get, 403, "InvalidAccessKeyId", Kind::Io, "AWS_ACCESS_KEY_ID"),
            (Get, 403, "SignatureDoesNotMatch", Kind::Io, "AWS_SECRET_ACCESS_KEY"),
            (Get, 404, "", Kind::Unsupported, "endpoint"),
        ] {
            let e = name(verb, status, code);
            assert_eq!(e.kind(), kind, "{status} {code}");
            assert!(e.advice().unwrap().contains(word), "{status} {code}: {e}");
            assert!(e.subject() == "s3://b/p/packs/a?endpoint=http://h", "{e}");
        }
        for (verb, status, code, kind) in [
            (Get, 404, "NoSuchKey", Kind::NotFound),
            (Put, 412, "PreconditionFailed", Kind::AlreadyExists),
            (Put, 409, "ConditionalRequestConflict", Kind::Busy),
            (Get, 416, "InvalidRange", Kind::Damaged),
            (Put, 413, "EntityTooLarge", Kind::TooLarge),
            (Put, 400, "BadDigest", Kind::Io),
            (Get, 500, "InternalError", Kind::Io),
        ] {
            assert_eq!(name(verb, status, code).kind(), kind, "{status} {code}");
        }
        assert_eq!(name(Get, 503, "SlowDown").wait(), Some(Duration::from_secs(7)));
    }
}
