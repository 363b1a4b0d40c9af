//! `swift://CONTAINER[/PREFIX]`, and its one spelling, by which a machine knows a repository again.

use std::ffi::OsStr;

use crate::error::{Error, Kind, Result};

const FORM: &str =
    "write swift://CONTAINER/PREFIX; where the server is and who asks is said by OS_* or ST_* (docs/stores.md)";

/// A place in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The container.
    pub container: String,
    /// Parts joined by single slashes; may be empty.
    pub prefix: String,
}

impl Place {
    /// Errors: [`Kind::Usage`], naming what makes no sense.
    pub fn parse(given: &OsStr) -> Result<Place> {
        let wrong = |what: String| Error::new(Kind::Usage, given.display(), what).hint(FORM);
        let text = given.to_str().ok_or_else(|| wrong("is not UTF-8".to_string()))?;
        let rest = text.strip_prefix("swift://").ok_or_else(|| wrong("does not begin with swift://".to_string()))?;
        let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if container.is_empty() || container.len() > 256 || !is_part(container) {
            return Err(wrong(format!("{container:?} is no name of a container: letters, digits and - _ . = only")));
        }
        let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        if let Some(part) = parts.iter().find(|part| !is_part(part)) {
            return Err(wrong(format!("{part:?} in a prefix: letters, digits and - _ . = only")));
        }
        Ok(Place { container: container.into(), prefix: parts.join("/") })
    }

    /// The one spelling.
    pub fn name(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("swift://{}{slash}{}", self.container, self.prefix)
    }
}

/// What stands in a URL as it is.
fn is_part(part: &str) -> bool {
    ![".", ".."].contains(&part) && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.=".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_spelling_and_what_makes_no_sense_is_named() {
        for (given, is) in
            [("swift://box", "swift://box"), ("swift://box//a//b/", "swift://box/a/b"), ("swift://b/", "swift://b")]
        {
            let name = Place::parse(given.as_ref()).unwrap().name();
            assert_eq!(name, is);
            assert_eq!(Place::parse(name.as_ref()).unwrap().name(), is);
        }
        for (given, word) in [
            ("swift://", "container"),
            ("swift:///a", "container"),
            ("swift://a b/c", "\"a b\""),
            ("swift://box/../x", "\"..\""),
            ("swift://box/a?b", "\"a?b\""),
            ("swift://box/a%20b", "a%20b"),
        ] {
            let e = Place::parse(given.as_ref()).unwrap_err();
            assert!(e.kind() == Kind::Usage && e.to_string().contains(word), "{given}: {e}");
        }
    }
}
