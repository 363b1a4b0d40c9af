//! `SCHEME://BUCKET[/PREFIX][?KEY=VALUE…]`, and its one spelling, by which a machine knows a repository again.

use std::ffi::OsStr;

use crate::error::{Error, Kind, Result};

/// How a provider's places are written.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What they begin with, `://` included.
    pub scheme: &'static str,
    /// What to write.
    pub help: &'static str,
    /// What may stand behind the question mark, in the order of the one spelling.
    pub keys: &'static [Key],
    /// Where credentials belong that somebody put into an address.
    pub secrets: &'static str,
}

/// What may be said behind the question mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The address of the server; none is the provider's.
    Endpoint,
    /// The provider's region. No part of the name: a bucket is in one.
    Region,
    /// The account that has the container.
    Account,
}

impl Key {
    fn word(self) -> &'static str {
        match self {
            Key::Endpoint => "endpoint",
            Key::Region => "region",
            Key::Account => "account",
        }
    }
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    scheme: &'static str,
    /// The bucket.
    pub bucket: String,
    /// Parts joined by single slashes; may be empty.
    pub prefix: String,
    /// See [`Key`].
    pub endpoint: Option<String>,
    /// See [`Key`].
    pub region: Option<String>,
    /// See [`Key`].
    pub account: Option<String>,
}

impl Place {
    /// Errors: [`Kind::Usage`], naming what makes no sense.
    pub fn parse(given: &OsStr, form: &Form) -> Result<Place> {
        // What stands behind the question mark may hold a password or a signature.
        let shown = given.to_string_lossy();
        let shown = shown.split_once('?').map_or(&*shown, |(path, _)| path);
        let wrong = |what: String| Error::new(Kind::Usage, shown, what).hint(form.help);
        let text = given.to_str().ok_or_else(|| wrong("is not UTF-8".to_string()))?;
        let scheme = form.scheme;
        let rest = text.strip_prefix(scheme).ok_or_else(|| wrong(format!("does not begin with {scheme}")))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if !is_bucket(bucket) {
            return Err(wrong(format!("{bucket:?} is no name of a bucket")));
        }
        let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(part) = parts.iter().find(|part| !is_part(part)) {
            return Err(wrong(format!("{part:?} in a prefix: letters, digits and - _ . = only")));
        }
        let (bucket, prefix) = (bucket.to_owned(), parts.join("/"));
        let mut place = Place { scheme, bucket, prefix, endpoint: None, region: None, account: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
            let unread = || wrong(format!("cannot read what is said of {word:?}"));
            let key = form.keys.iter().find(|key| key.word() == word).ok_or_else(unread)?;
            let value = match key {
                Key::Endpoint => endpoint(value, form)?,
                _ if is_part(value) => value.to_owned(),
                _ => return Err(unread()),
            };
            if place.of(*key).replace(value).is_some() {
                return Err(unread());
            }
        }
        Ok(place)
    }

    fn of(&mut self, key: Key) -> &mut Option<String> {
        match key {
            Key::Endpoint => &mut self.endpoint,
            Key::Region => &mut self.region,
            Key::Account => &mut self.account,
        }
    }

    /// The one spelling.
    pub fn name(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let said = [(Key::Account, &self.account), (Key::Endpoint, &self.endpoint)];
        let said = said.into_iter().filter_map(|(key, value)| Some(format!("{}={}", key.word(), value.as_ref()?)));
        let said = said.collect::<Vec<_>>().join("&");
        let mark = if said.is_empty() { "" } else { "?" };
        format!("{}{}{slash}{}{mark}{said}", self.scheme, self.bucket, self.prefix)
    }

    /// Before every name: nothing, or the prefix and a slash.
    pub fn root(&self) -> String {
        if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) }
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
    !part.is_empty()
        && ![".", ".."].contains(&part)
        && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c))
}

/// The one spelling of a server's address. Credentials in it are refused: places are printed.
pub fn endpoint(url: &str, form: &Form) -> Result<String> {
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
        return Err(wrong(&format!("has a user or a password in it: they belong in {}", form.secrets)));
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

    const S3: Form = Form {
        scheme: "s3://",
        help: "write s3://BUCKET/PREFIX",
        keys: &[Key::Endpoint, Key::Region],
        secrets: "AWS_SECRET_ACCESS_KEY",
    };
    const AZ: Form = Form { scheme: "az://", keys: &[Key::Account, Key::Endpoint], ..S3 };

    #[test]
    fn a_place_has_one_spelling() {
        let name = |text: &str| {
            let form = if text.starts_with("az") { AZ } else { S3 };
            Place::parse(text.as_ref(), &form).unwrap().name()
        };
        for (given, is) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket//a//b/", "s3://bucket/a/b"),
            ("s3://bucket/a?region=eu-west-1", "s3://bucket/a"),
            ("s3://bucket/?endpoint=HTTP://Host:80/", "s3://bucket?endpoint=http://host"),
            ("s3://bucket/a?region=x&endpoint=https://h:7070//", "s3://bucket/a?endpoint=https://h:7070"),
            ("az://bucket/a?endpoint=http://h/x&account=me", "az://bucket/a?account=me&endpoint=http://h/x"),
        ] {
            assert_eq!(name(given), is);
            assert_eq!(name(is), is, "and names itself");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_passwords_are_not_shown() {
        for (given, word) in [
            ("az://bucket", "s3://"),
            ("s3://", "bucket"),
            ("s3://a/b", "bucket"),
            ("s3://bucket/../x", "\"..\""),
            ("s3://bucket/a%20b", "a%20b"),
            ("s3://bucket?endpoint=host:7070", "http://"),
            ("s3://bucket?endpoint=ftp://host", "neither"),
            ("s3://bucket?endpoint=http://u:secret@host", "AWS_SECRET_ACCESS_KEY"),
            ("s3://bucket?endpont=http://host", "endpont"),
            ("s3://bucket?account=secret@", "account"),
            ("s3://bucket?region=a&region=b", "region"),
            ("s3://bucket?region=", "region"),
        ] {
            let e = Place::parse(given.as_ref(), &S3).unwrap_err();
            assert_eq!(e.kind(), Kind::Usage);
            assert!(e.to_string().contains(word) && !e.to_string().contains("secret@"), "{given}: {e}");
        }
    }
}
