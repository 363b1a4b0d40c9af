//! What a server's answer means, and what to do about it.

use std::fmt::Display;
use std::io::{self, Read};
use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::header::RETRY_AFTER;

use super::super::{exists, http, missing};
use crate::error::{Error, Kind, Result, chain};

/// Of a refusal's text so many bytes are read, and so many characters are said.
const WORDS_MAX: u64 = 64 << 10;
const SAID_MAX: usize = 300;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// An object is written.
    Put,
    /// An object is read.
    Get,
    /// The container is listed.
    List,
    /// Objects are removed.
    Delete,
    /// A ticket.
    Ticket,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The store's place, or where tickets are given.
    pub place: &'a str,
    /// The object, or the folder.
    pub name: &'a str,
    /// What for.
    pub verb: Verb,
}

impl Asked<'_> {
    /// An error of this request.
    pub fn error(&self, kind: Kind, what: impl Display) -> Error {
        let slash = if self.name.is_empty() { "" } else { "/" };
        Error::new(kind, format_args!("{}{slash}{}", self.place, self.name), what)
    }

    /// What waiting does not mend: as of a file that may not be read.
    pub fn never(&self, what: impl Display) -> Error {
        let text = what.to_string();
        Error::io(self.error(Kind::Io, "").subject(), io::Error::new(io::ErrorKind::PermissionDenied, text))
    }

    /// No answer came.
    pub fn unreached(&self, e: reqwest::Error) -> Error {
        let broken = chain(&e.without_url());
        match http::never_passes(&broken) {
            Some(hint) => self.never(broken).hint(hint),
            None => self.error(Kind::Io, broken).hint("is the address right, and the server up?"),
        }
    }

    /// The whole body, which is `most` bytes at most.
    pub fn body(&self, response: Response, most: u64) -> Result<Vec<u8>> {
        let length = response.content_length();
        let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(most) as usize);
        response.take(most + 1).read_to_end(&mut bytes).map_err(|e| self.error(Kind::Io, chain(&e)))?;
        match bytes.len() as u64 {
            len if len > most => {
                Err(self.error(Kind::TooLarge, format_args!("the answer is longer than {most} bytes")))
            }
            len if length.is_some_and(|length| length != len) => {
                Err(self.error(Kind::Io, format_args!("the answer ended after {len} bytes")))
            }
            _ => Ok(bytes),
        }
    }

    /// An answer that is no success.
    pub fn refused(&self, response: Response) -> Error {
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
        let mut words = Vec::new();
        let _ = response.take(WORDS_MAX).read_to_end(&mut words);
        let error = self.of_status(status, &plain(&String::from_utf8_lossy(&words)));
        match wait {
            Some(seconds) if error.kind() == Kind::Io => error.after(Duration::from_secs(seconds)),
            _ => error,
        }
    }

    /// The same of a status and the server's words.
    pub fn of_status(&self, status: u16, words: &str) -> Error {
        let colon = if words.is_empty() { "" } else { ": " };
        let said = format!("the server answers {status}{colon}{words}");
        match (status, self.verb) {
            (401, Verb::Ticket) => self.never(said).hint(
                "look at OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and the domains, or at ST_USER and ST_KEY: this user, with \
                 this password, is not let in",
            ),
            // A proxy that does not reach its cache says so, too: that passes.
            (401, _) => self
                .error(Kind::Io, said)
                .hint("asked for anew it is refused, too: has the user a role in the project, and do proxy and cache work?"),
            (403, Verb::Put | Verb::Delete) => self.never(said).hint("the user may not write to this container"),
            (403, _) => self.never(said).hint("the user may not read this container"),
            (404, Verb::Get | Verb::Delete) => missing(self.name),
            (404, Verb::Put | Verb::List) => self
                .error(Kind::NoRepository, "there is no such container")
                .hint("make the container first (`swift post NAME`); or is it another project's?"),
            (412, Verb::Put) => exists(self.name),
            (416, Verb::Get) => Error::damaged(self.name, "ends before the range that was asked for"),
            // A quota is told by its words alone.
            (413, Verb::Put) if words.to_ascii_lowercase().contains("quota") => {
                self.error(Kind::Full, said).hint("make room or raise the quota; what was uploaded is used again")
            }
            (413, Verb::Put) => self.error(Kind::TooLarge, said),
            // 422: other bytes came than were sent. 498 is Swift's own word for too many requests.
            (408 | 422 | 425 | 429 | 498 | 500..=599, _) => self.error(Kind::Io, said),
            (300..=399 | 404 | 405, _) => {
                self.never(said).hint("is the address one of Swift, or of Keystone's version 3?")
            }
            _ => self.never(said),
        }
    }
}

/// What a page of HTML says, on one line and not endless.
fn plain(words: &str) -> String {
    let mut inside = false;
    let text: String = words
        .chars()
        .map(|c| match c {
            '<' => {
                inside = true;
                ' '
            }
            '>' => {
                inside = false;
                ' '
            }
            _ if inside || c.is_control() => ' ',
            c => c,
        })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_name_and_advice() {
        let name =
            |verb, status, words: &str| Asked { place: "swift://box/p", name: "pack/a", verb }.of_status(status, words);
        for (verb, status, words, kind, advice) in [
            (Verb::Put, 404, "", Kind::NoRepository, "make the container"),
            (Verb::List, 404, "", Kind::NoRepository, "make the container"),
            (Verb::Put, 413, "Upload exceeds quota.", Kind::Full, "quota"),
            (Verb::Put, 403, "", Kind::Io, "may not write"),
            (Verb::Get, 403, "", Kind::Io, "may not read"),
            (Verb::Ticket, 401, "", Kind::Io, "OS_PASSWORD"),
            (Verb::Get, 401, "", Kind::Io, "role"),
            (Verb::Ticket, 404, "", Kind::Io, "Keystone"),
            (Verb::Get, 302, "", Kind::Io, "address"),
        ] {
            let e = name(verb, status, words);
            assert!(e.kind() == kind && e.advice().unwrap().contains(advice), "{verb:?} {status}: {e}");
            assert!(e.subject() == "swift://box/p/pack/a", "{e}");
        }
        for (verb, status, kind) in [
            (Verb::Get, 404, Kind::NotFound),
            (Verb::Delete, 404, Kind::NotFound),
            (Verb::Put, 412, Kind::AlreadyExists),
            (Verb::Get, 416, Kind::Damaged),
            (Verb::Put, 413, Kind::TooLarge),
            (Verb::Put, 422, Kind::Io),
            (Verb::Get, 503, Kind::Io),
            (Verb::Get, 498, Kind::Io),
        ] {
            assert_eq!(name(verb, status, "").kind(), kind, "{verb:?} {status}");
        }
        let tried_again = |e: &Error| std::error::Error::source(e).is_none();
        assert!(tried_again(&name(Verb::Put, 422, "")) && !tried_again(&name(Verb::Put, 403, "")));
    }

    #[test]
    fn a_page_is_one_line() {
        assert_eq!(plain("<html><h1>Forbidden</h1><p>Access was\ndenied.</p></html>"), "Forbidden Access was denied.");
        assert_eq!(plain(&"x".repeat(9999)).len(), SAID_MAX);
        assert_eq!(plain("<"), "");
    }
}
