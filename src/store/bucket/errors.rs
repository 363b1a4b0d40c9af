//! What went wrong with a request, by name: what all providers have in common.

use std::fmt::Display;
use std::io;

use super::super::{http, missing};
use super::Provider;
use super::wire::{Answer, Heard};
use crate::error::{Error, Kind, chain};

/// A request's verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// An object is written.
    Put,
    /// An object is read.
    Get,
    /// Objects are listed.
    List,
    /// Versions of objects are listed.
    Versions,
    /// Objects are removed.
    Delete,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The store's place.
    pub place: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// The object, or the folder.
    pub name: &'a str,
    /// With which verb.
    pub verb: Verb,
}

impl Asked<'_> {
    /// An error of this request.
    pub fn error(&self, kind: Kind, what: impl Display) -> Error {
        let (path, query) =
            self.place.split_once('?').map_or((self.place, String::new()), |(p, q)| (p, format!("?{q}")));
        let slash = if self.name.is_empty() { "" } else { "/" };
        Error::new(kind, format_args!("{path}{slash}{}{query}", self.name), what)
    }

    /// What waiting does not mend: as of a file that may not be read.
    pub fn never(&self, what: impl Display) -> Error {
        let text = what.to_string();
        let subject = self.error(Kind::Io, "");
        Error::io(subject.subject(), io::Error::new(io::ErrorKind::PermissionDenied, text))
    }

    /// What may pass, and when to ask again, if the server says so.
    pub fn passes(&self, answer: &Answer) -> Error {
        let error = self.error(Kind::Io, answer.said());
        match answer.wait {
            Some(wait) => error.after(wait),
            None => error,
        }
    }

    /// There is no bucket of that name.
    pub fn no_bucket(&self, what: &str) -> Error {
        let said = format!("there is no {what} {}", self.bucket);
        self.error(Kind::NoRepository, said).hint(format_args!("make the {what} first; or is the endpoint another?"))
    }
}

impl Answer {
    /// In words.
    pub fn said(&self) -> String {
        let Answer { status, code, message, .. } = self;
        match (code.as_str(), message.as_str()) {
            ("", _) => format!("the server answers {status}"),
            (code, "") => format!("the server answers {status} {code}"),
            (code, message) => format!("the server answers {status} {code}: {message}"),
        }
    }
}

/// A failed request, by name.
pub fn named<P: Provider>(asked: &Asked<'_>, error: &object_store::Error, heard: &Heard) -> Error {
    match (&heard.answer, &heard.broken) {
        // One of several was asked for, and answered within an answer.
        (Some(answer), _) if answer.status < 300 && matches!(error, object_store::Error::NotFound { .. }) => {
            missing(asked.name)
        }
        // The answer began well; what came of it did not. Of several objects each has an answer of its own.
        (Some(answer), _) if answer.status < 300 => {
            let said = chain(error);
            match asked.verb == Verb::Delete && said.contains(P::DENIED) {
                true => P::refused(asked, &Answer { status: 403, code: P::DENIED.to_owned(), ..Answer::default() }),
                false => asked.error(Kind::Io, said),
            }
        }
        (Some(answer), _) => P::refused(asked, answer),
        (None, Some(broken)) => unreached(asked, broken),
        (None, None) => asked.never(format_args!("there are no credentials: {}", chain(error))).hint(P::CREDENTIALS),
    }
}

/// No answer came.
fn unreached(asked: &Asked<'_>, broken: &str) -> Error {
    if let Some(hint) = http::never_passes(broken) {
        return asked.never(broken).hint(hint);
    }
    asked.error(Kind::Io, broken).hint("is the endpoint right, and the server up?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_is_not_waited_for() {
        let asked = Asked { place: "s3://b", bucket: "b", name: "", verb: Verb::Get };
        for (broken, word) in [
            ("error sending request: received corrupt message of type InvalidContentType", "http://"),
            ("client error (Connect): invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ] {
            let e = unreached(&asked, broken);
            assert!(e.advice().unwrap().contains(word), "{e}");
            assert!(std::error::Error::source(&e).is_some(), "never tried again");
        }
    }
}
