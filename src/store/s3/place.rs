//! `s3://BUCKET[/PREFIX][?endpoint=URL][&region=NAME]`, and its one spelling, by which a machine knows a repository again.

use std::ffi::OsStr;

use crate::error::{Error, Kind, Result};

const FORM: &str =
    "write s3://BUCKET/PREFIX, or s3://BUCKET/PREFIX?endpoint=https://HOST:PORT for a server of one's own";

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// Parts joined by single slashes; may be empty.
    pub prefix: String,
    /// Where the server is; none is Amazon's.
    pub endpoint: Option<String>,
    /// Amazon's region. No part of the name: a bucket is in one.
    pub region: Option<String>,
}

impl Place {
    /// Errors: [`Kind::Usage`], naming what makes no sense.
    pub fn parse(given: &OsStr) -> Result<Place> {
        let wrong = |what: String| Error::new(Kind::Usage, given.display(), what).hint(FORM);
        let text = given.to_str().ok_or_else(|| wrong("is not UTF-8".to_string()))?;
        let rest = text.strip_prefix("s3://").ok_or_else(|| wrong("does not begin with s3://".to_string()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if !is_bucket(bucket) {
            return Err(wrong(format!("{bucket:?} is no name of a bucket")));
        }
        let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(part) = parts.iter().find(|part| !is_part(part)) {
            return Err(wrong(format!("{part:?} in a prefix: letters, digits and - _ . = only")));
        }
        let mut place = Place { bucket: bucket.into(), prefix: parts.join("/"), endpoint: None, region: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("endpoint", url)) if place.endpoint.is_none() => place.endpoint = Some(endpoint(url)?),
                Some(("region", name)) if place.region.is_none() && is_part(name) => place.region = Some(name.into()),
                _ => return Err(wrong(format!("cannot read {pair:?}"))),
            }
        }
        Ok(place)
    }

    /// The one spelling.
    pub fn name(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let endpoint = self.endpoint.iter().map(|url| format!("?endpoint={url}")).collect::<String>();
        format!("s3://{}{slash}{}{endpoint}", self.bucket, self.prefix)
    }
}

/// Letters, digits, hyphens and dots; 3 to 63 of them.
fn is_bucket(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    (3..=63).contains(&name.len())
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

fn is_part(part: &str) -> bool {
    ![".", ".."].contains(&part) && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c))
}

/// The one spelling of a server's address. Credentials in it are refused: places are printed.
pub fn endpoint(url: &str) -> Result<String> {
    let wrong = |what: &str| {
        // What was given may hold a password.
        Error::new(Kind::Usage, "endpoint", what).hint("give https://HOST or https://HOST:PORT, or http://…")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("has no http:// or https:// before it"))?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(wrong("is neither http:// nor https://"));
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Err(wrong(
            "has a user or a password in it: they belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    let host = host.to_ascii_lowercase();
    let port = if scheme == "http" { ":80" } else { ":443" };
    let host = host.strip_suffix(port).unwrap_or(&host);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]/".contains(c);
    if host.is_empty() || !host.chars().chain(path.chars()).all(plain) {
        return Err(wrong("is no address of a server"));
    }
    Ok(format!("{scheme}://{host}/{path}").trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let name = |text: &str| Place::parse(text.as_ref()).unwrap().name();
        for (given, is) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket//a//b/", "s3://bucket/a/b"),
            ("s3://bucket/a?region=eu-west-1", "s3://bucket/a"),
            ("s3://bucket/?endpoint=HTTP://Host:80/", "s3://bucket?endpoint=http://host"),
            ("s3://bucket/a?region=x&endpoint=https://h:7070//", "s3://bucket/a?endpoint=https://h:7070"),
        ] {
            assert_eq!(name(given), is);
            assert_eq!(name(is), is, "and names itself");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_passwords_are_not_shown() {
        for (given, word) in [
            ("s3://", "bucket"),
            ("s3://a/b", "bucket"),
            ("s3://bucket/../x", "\"..\""),
            ("s3://bucket/a%20b", "a%20b"),
            ("s3://bucket?endpoint=host:7070", "http://"),
            ("s3://bucket?endpoint=ftp://host", "neither"),
            ("s3://bucket?endpoint=http://u:secret@host", "AWS_SECRET_ACCESS_KEY"),
            ("s3://bucket?endpont=http://host", "endpont"),
            ("s3://bucket?region=a&region=b", "region=b"),
        ] {
            let e = Place::parse(given.as_ref()).unwrap_err();
            assert_eq!(e.kind(), Kind::Usage);
            assert!(e.to_string().contains(word) && !e.to_string().contains("secret@"), "{given}: {e}");
        }
    }
}
