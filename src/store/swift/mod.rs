//! A store in a container of OpenStack Swift.
//!
//! An object is one `PUT` with `If-None-Match: *` and its MD5, which every server that keeps it verifies and the answer says again.
//! Of racing creators of one name several may win, and the last one's bytes stay: no log can lie here alone
//! ([`super::with_log`]). A ticket that ended is renewed once a request; [`super::retry::Retry`] decides about all else.

mod answers;
mod auth;
mod place;

use std::env;
use std::ffi::OsStr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use reqwest::{StatusCode, Url, redirect};

use self::answers::{Asked, Verb};
use self::auth::Auth;
use self::place::Place;
use super::answers::swift;
use super::{OBJECT_MAX, Store, gone, short};
use crate::error::{self, Error, Kind, Result};

pub use self::auth::Variables;

/// What a request may take in all: an object of 16 MiB at 0.2 MB/s.
const REQUEST: Duration = Duration::from_secs(90);
/// How long what may pass is tried again.
const PATIENCE: Duration = Duration::from_secs(300);
/// Objects that are asked for at a time when listing.
const PAGE: usize = 1000;
/// Longest page, bytes: a name has 1024 at most.
const PAGE_MAX: u64 = 8 << 20;
/// Objects that are removed by one request, which the server works on one after another.
const REMOVED_AT_ONCE: usize = 500;
/// Longest answer to that, bytes.
const REMOVED_MAX: u64 = 8 << 20;

/// Objects in a container below a prefix.
pub struct Swift {
    client: Client,
    auth: Auth,
    place: String,
    container: String,
    /// Before every name: nothing, or the prefix and a slash.
    root: String,
}

/// Whether `place` means a container.
pub fn is_place(place: &OsStr) -> bool {
    place.as_encoded_bytes().starts_with(b"swift:")
}

impl Swift {
    /// Opens `swift://CONTAINER[/PREFIX]`. Where the server is and who asks comes from `ST_*` (version 1, as of tempauth), else from
    /// `OS_*` (Keystone 3). Asks the server nothing yet.
    ///
    /// Errors: [`Kind::Usage`] where the place makes no sense, or a variable.
    pub fn open(place: &OsStr) -> Result<Swift> {
        Swift::with(place, &env::vars_os().collect())
    }

    /// The same, in another environment than this process's.
    pub fn with(place: &OsStr, variables: &Variables) -> Result<Swift> {
        let place = Place::parse(place)?;
        let auth = Auth::of(variables).map_err(|e| e.within(place.name()))?;
        // A ticket goes to nobody whom the address does not name.
        let client = Client::builder().timeout(REQUEST).user_agent("onefold").redirect(redirect::Policy::none());
        let client = client.build().map_err(|e| Error::new(Kind::Io, place.name(), error::chain(&e)))?;
        let root = if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
        Ok(Swift { client, auth, place: place.name(), container: place.container, root })
    }

    fn asked<'a>(&'a self, verb: Verb, name: &'a str) -> Asked<'a> {
        Asked { place: &self.place, name, verb }
    }

    /// Sends what `request` makes of the account's address, with a ticket; an answer that is no success is an error.
    fn ask(&self, asked: Asked<'_>, request: impl Fn(&Client, &str) -> RequestBuilder) -> Result<Response> {
        let mut session = self.auth.session(&self.client, None)?;
        let mut renewed = false;
        loop {
            let request = request(&self.client, &session.account).header("X-Auth-Token", session.ticket.clone());
            let response = request.send().map_err(|e| asked.unreached(e))?;
            match response.status() {
                StatusCode::UNAUTHORIZED if !renewed => {
                    session = self.auth.session(&self.client, Some(&session))?;
                    renewed = true;
                }
                status if status.is_success() => return Ok(response),
                _ => return Err(asked.refused(response)),
            }
        }
    }

    fn path(&self, account: &str, name: &str) -> String {
        format!("{account}/{}/{}{name}", self.container, self.root)
    }

    fn length(&self, name: &str) -> Result<u64> {
        let asked = self.asked(Verb::Get, name);
        let response = self.ask(asked, |client, account| client.head(self.path(account, name)))?;
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.ok_or_else(|| asked.error(Kind::Unsupported, "the server does not say how long it is"))
    }

    /// A page of objects whose names begin with `prefix`, after `marker`.
    fn page(&self, folder: &str, prefix: &str, marker: &str) -> Result<Vec<swift::Listed>> {
        let asked = self.asked(Verb::List, folder);
        let limit = PAGE.to_string();
        let response = self.ask(asked, |client, account| {
            let query = [("format", "json"), ("limit", &limit), ("prefix", prefix), ("marker", marker)];
            let url = format!("{account}/{}", self.container);
            match Url::parse_with_params(&url, query) {
                Ok(url) => client.get(url),
                // The client says what is wrong with it.
                Err(_) => client.get(url),
            }
        })?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let bytes = asked.body(response, PAGE_MAX)?;
        swift::listing(&bytes, prefix, marker).map_err(|e| asked.error(Kind::Unsupported, e))
    }

    fn listed(&self, folder: &str, visit: &mut dyn FnMut(&str, &swift::Listed) -> Result<()>) -> Result<()> {
        let slash = if folder.is_empty() { "" } else { "/" };
        let prefix = format!("{}{folder}{slash}", self.root);
        let mut marker = String::new();
        loop {
            // Until nothing comes: a server's pages may be shorter than what was asked for.
            let page = self.page(folder, &prefix, &marker)?;
            let Some(last) = page.last() else { return Ok(()) };
            page.iter().try_for_each(|found| visit(&found.name[self.root.len()..], found))?;
            marker.clone_from(&last.name);
        }
    }

    /// Removes some objects by one request; `false` where they are to be asked for one by one: the server knows no such request, or
    /// took no ticket in it.
    fn remove_at_once(&self, names: &[String]) -> Result<bool> {
        let first = names.first().map_or("", String::as_str);
        let asked = self.asked(Verb::Delete, first);
        let lines: String = names.iter().map(|name| format!("{}/{}{name}\n", self.container, self.root)).collect();
        let answered = self.ask(asked, |client, account| {
            let request = client.post(format!("{account}?bulk-delete")).header(CONTENT_TYPE, "text/plain");
            request.header(ACCEPT, "application/json").body(lines.clone())
        });
        let response = match answered {
            Ok(response) if response.status() == StatusCode::OK => response,
            // Without it this changes what an account says of itself (nothing, here), which not everybody may.
            Ok(_) => return Ok(false),
            Err(e) if e.kind() == Kind::NotFound || std::error::Error::source(&e).is_some() => return Ok(false),
            Err(e) => return Err(e),
        };
        let Some(removed) = swift::removed(&asked.body(response, REMOVED_MAX)?) else {
            return Ok(false);
        };
        let refused = removed.errors.first().map(|(path, status)| (path.as_str(), status.as_str()));
        let refused = refused.or((!removed.status.starts_with("200")).then_some((first, removed.status.as_str())));
        match refused {
            // Each object has an answer of its own, and none shows that the ticket has ended: whoever asks for one object sees
            // it, and has a new one.
            Some((_, status)) if status.starts_with("401") => Ok(false),
            Some((path, status)) => {
                let code = status.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0);
                let name = path.rsplit_once(&self.root).map_or(path, |(_, name)| name);
                Err(self.asked(Verb::Delete, if self.root.is_empty() { path } else { name }).of_status(code, status))
            }
            None => Ok(true),
        }
    }
}

impl Store for Swift {
    fn create(&self, name: &str, bytes: Bytes) -> Result<()> {
        let asked = self.asked(Verb::Put, name);
        let sum: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let response = self.ask(asked, |client, account| {
            let put = client.put(self.path(account, name)).header(IF_NONE_MATCH, "*").header(ETAG, &sum);
            put.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone())
        })?;
        let kept = response.headers().get(ETAG).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match response.status() {
            StatusCode::CREATED if kept.trim_matches('"') == sum => Ok(()),
            StatusCode::CREATED => {
                Err(asked.error(Kind::Io, "the server kept other bytes than were sent: its MD5 differs"))
            }
            // What is there has a later time than this request.
            status => Err(asked.error(Kind::Io, format_args!("the server answers {status}: nothing was created"))),
        }
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let asked = self.asked(Verb::Get, name);
        asked.body(self.ask(asked, |client, account| client.get(self.path(account, name)))?, OBJECT_MAX)
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start >= range.end {
            // HTTP has no empty ranges.
            return if self.length(name)? < range.end { Err(short(name, &range)) } else { Ok(Vec::new()) };
        }
        let asked = self.asked(Verb::Get, name);
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        let response =
            self.ask(asked, |client, account| client.get(self.path(account, name)).header(RANGE, &wanted))?;
        let given = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (from, to) = (format!("bytes {}-", range.start), format!("bytes {}-{}/", range.start, range.end - 1));
        match response.status() {
            StatusCode::PARTIAL_CONTENT if given.starts_with(&to) => asked.body(response, range.end - range.start),
            StatusCode::PARTIAL_CONTENT if given.starts_with(&from) => Err(short(name, &range)),
            status => Err(asked.error(Kind::Io, format_args!("the answer {status} is no part of it, but {given:?}"))),
        }
    }

    fn list(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(folder, &mut |name, found| visit(name, found.bytes))
    }

    fn dates(&self, folder: &str, visit: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        self.listed(folder, &mut |name, found| found.date().map_or(Ok(()), |date| visit(name, date)))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.ask(self.asked(Verb::Delete, name), |client, account| client.delete(self.path(account, name))).map(drop)
    }

    fn delete_all(&self, names: &[String]) -> Result<()> {
        for some in names.chunks(REMOVED_AT_ONCE) {
            if !self.remove_at_once(some)? {
                some.iter().try_for_each(|name| gone(self.delete(name)))?;
            }
        }
        Ok(())
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

    fn several_win(&self) -> bool {
        true
    }
}
