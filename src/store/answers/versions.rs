//! Listings of versions, as S3 answers them: what stood at a time.

use jiff::Timestamp;
use serde::Deserialize;

use crate::error::Result;

/// A page of a listing of versions.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Page {
    #[serde(rename = "Version")]
    versions: Vec<Listed>,
    #[serde(rename = "DeleteMarker")]
    markers: Vec<Listed>,
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
}

/// A version, or the marker of a removal, which has no size.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    version_id: Option<String>,
    last_modified: Timestamp,
    #[serde(default)]
    size: u64,
}

/// Where a listing goes on: after this version of this key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marker {
    /// The key; empty is the beginning.
    pub key: String,
    /// The version; empty is after all versions of the key.
    pub version: String,
}

/// The version of an object that stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `None` is what was written before the bucket kept versions.
    pub id: Option<String>,
    /// Bytes.
    pub len: u64,
}

/// Of each key's versions the one that stood at a time. A listing comes in the order of keys, page by page: of all that was seen only the
/// last key is remembered, with which the next page may go on.
#[derive(Debug)]
pub struct Standing {
    time: Timestamp,
    last: Option<Candidate>,
}

/// What is known of a key: its newest change up to the time, and what that was, if no removal.
#[derive(Debug)]
struct Candidate {
    key: String,
    found: Option<(Timestamp, Option<Version>)>,
}

/// A page.
///
/// Errors: in words, what is wrong with it.
pub fn parse(bytes: &[u8]) -> std::result::Result<Page, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    quick_xml::de::from_str(text).map_err(|e| e.to_string())
}

impl Candidate {
    fn see(&mut self, made: Timestamp, version: Option<Version>) {
        // Of an object and its removal at one moment the object counts: it is what somebody looks for.
        let newer = |(known, what): &(Timestamp, Option<Version>)| {
            made > *known || made == *known && what.is_none() && version.is_some()
        };
        if self.found.as_ref().is_none_or(newer) {
            self.found = Some((made, version));
        }
    }

    fn show(self, visit: &mut dyn FnMut(String, Version) -> Result<()>) -> Result<()> {
        match self.found {
            Some((_, Some(version))) => visit(self.key, version),
            _ => Ok(()),
        }
    }
}

impl Standing {
    /// Nothing seen yet.
    pub fn at(time: Timestamp) -> Standing {
        Standing { time, last: None }
    }

    /// Whether all of a key was seen: the listing is at one after it.
    pub fn is_past(&self, key: &str) -> bool {
        self.last.as_ref().is_some_and(|last| *last.key > *key)
    }

    /// Takes the page that was asked for `after`, and shows what stood of each key with which no later page can go on. Where the
    /// listing goes on, if it does.
    ///
    /// Errors: those of `visit`; and in words, where the server does not list in order, or does not come forward.
    pub fn take(
        &mut self,
        page: Page,
        after: &Marker,
        visit: &mut dyn FnMut(String, Version) -> Result<()>,
    ) -> Result<std::result::Result<Option<Marker>, &'static str>> {
        let next = match (page.is_truncated, page.next_key_marker) {
            (false, _) => None,
            (true, Some(key)) => {
                let next = Marker { key, version: page.next_version_id_marker.unwrap_or_default() };
                if next.key < after.key || next == *after || next.key.is_empty() {
                    return Ok(Err("does not come forward in its listing of versions"));
                }
                Some(next)
            }
            (true, None) => return Ok(Err("does not say where the listing of versions goes on")),
        };
        let version = |listed: &Listed| {
            let id = listed.version_id.clone().filter(|id| !id.is_empty());
            Some(Version { id, len: listed.size })
        };
        let versions = page.versions.into_iter().map(|listed| (version(&listed), listed));
        let mut all: Vec<_> = versions.chain(page.markers.into_iter().map(|listed| (None, listed))).collect();
        // Versions and removals come in two lists.
        all.sort_by(|(_, one), (_, two)| one.key.cmp(&two.key));
        for (version, listed) in all {
            let last = match self.last.take() {
                Some(last) if last.key > listed.key => return Ok(Err("does not list versions in the order of keys")),
                Some(last) if last.key == listed.key => last,
                other => {
                    other.map_or(Ok(()), |done| done.show(visit))?;
                    Candidate { key: listed.key, found: None }
                }
            };
            let last = self.last.insert(last);
            if listed.last_modified <= self.time {
                last.see(listed.last_modified, version);
            }
        }
        if next.is_none() {
            self.last.take().map_or(Ok(()), |last| last.show(visit))?;
        }
        Ok(Ok(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, id: &str, second: i64, size: u64) -> String {
        let made = Timestamp::from_second(second).unwrap();
        format!(
            "<Version><Key>{key}</Key><VersionId>{id}</VersionId><LastModified>{made}</LastModified><Size>{size}</Size></Version>"
        )
    }

    fn removal(key: &str, second: i64) -> String {
        let made = Timestamp::from_second(second).unwrap();
        format!(
            "<DeleteMarker><Key>{key}</Key><VersionId>m</VersionId><LastModified>{made}</LastModified></DeleteMarker>"
        )
    }

    fn page(entries: &[String], next: Option<(&str, &str)>) -> Page {
        let next = next.map_or(String::new(), |(key, id)| {
            format!(
                "<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>"
            )
        });
        let text =
            format!("<ListVersionsResult xmlns=\"x\"><Name>b</Name>{next}{}</ListVersionsResult>", entries.concat());
        parse(text.as_bytes()).unwrap()
    }

    /// What stood, of a listing in pages of `size` entries.
    fn stood(entries: &[(&str, String)], size: usize, second: i64) -> Vec<(String, String, u64)> {
        let mut standing = Standing::at(Timestamp::from_second(second).unwrap());
        let mut found = Vec::new();
        let mut after = Marker::default();
        let pages: Vec<&[(&str, String)]> = entries.chunks(size).collect();
        for (n, some) in pages.iter().enumerate() {
            let texts: Vec<String> = some.iter().map(|(_, text)| text.clone()).collect();
            let id = n.to_string();
            let next = (n + 1 < pages.len()).then(|| (some.last().unwrap().0, id.as_str()));
            let went = standing.take(page(&texts, next), &after, &mut |key, version| {
                found.push((key, version.id.unwrap(), version.len));
                Ok(())
            });
            after = went.unwrap().unwrap().unwrap_or_default();
        }
        found
    }

    #[test]
    fn what_stood_at_a_time_is_found_however_the_pages_end() {
        let entries = [
            ("p/a", removal("p/a", 30)),
            ("p/a", version("p/a", "2", 20, 7)),
            ("p/a", version("p/a", "1", 10, 5)),
            // Of one moment the object counts.
            ("p/b", removal("p/b", 30)),
            ("p/b", version("p/b", "null", 30, 1)),
            ("p/c", version("p/c", "9", 15, 3)),
        ];
        let of = |key: &str, id: &str, len| (key.to_string(), id.to_string(), len);
        for (second, expected) in [
            (9, vec![]),
            (10, vec![of("p/a", "1", 5)]),
            (19, vec![of("p/a", "1", 5), of("p/c", "9", 3)]),
            (20, vec![of("p/a", "2", 7), of("p/c", "9", 3)]),
            (30, vec![of("p/b", "null", 1), of("p/c", "9", 3)]),
        ] {
            for size in 1..=entries.len() {
                assert_eq!(stood(&entries, size, second), expected, "at {second}, by {size}");
            }
        }
    }

    #[test]
    fn listings_that_make_no_sense_are_refused() {
        let take = |standing: &mut Standing, page, after: &Marker| {
            standing.take(page, after, &mut |_, _| Ok(())).unwrap().err().unwrap_or_default()
        };
        let time = Timestamp::from_second(99).unwrap();
        let mut standing = Standing::at(time);
        let after = Marker { key: "p/b".into(), version: "1".into() };
        assert!(take(&mut standing, page(&[], Some(("p/b", "1"))), &after).contains("forward"));
        assert!(take(&mut standing, page(&[], Some(("p/a", "2"))), &after).contains("forward"));
        let b = version("p/b", "1", 1, 1);
        assert_eq!(take(&mut standing, page(&[b], Some(("p/b", "2"))), &after), "");
        assert!(take(&mut standing, page(&[version("p/a", "1", 1, 1)], None), &after).contains("order"));
        let lacks = parse(b"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>").unwrap();
        assert!(take(&mut standing, lacks, &after).contains("goes on"));
        for odd in ["", "<a", "<ListVersionsResult><Version></Version></ListVersionsResult>", "\u{0}"] {
            assert!(parse(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(parse(b"<ListVersionsResult>\xff</ListVersionsResult>").is_err());
    }
}
