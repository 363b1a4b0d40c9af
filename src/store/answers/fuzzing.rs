//! Bodies of the fuzz targets of what servers of stores answer.

use jiff::Timestamp;

use super::swift;
use super::versions::{Marker, Standing, parse};

/// Pages of a listing of versions, parted by zeros. Keys are shown in order and once, and the listing comes forward.
pub fn versions(bytes: &[u8]) {
    let mut standing = Standing::at(Timestamp::UNIX_EPOCH);
    let (mut after, mut shown) = (Marker::default(), None::<String>);
    for page in bytes.split(|byte| *byte == 0) {
        let Ok(page) = parse(page) else { return };
        let went = standing.take(page, &after, &mut |key, _| {
            assert!(shown.as_ref().is_none_or(|before| *before < key));
            shown = Some(key);
            Ok(())
        });
        match went {
            Ok(Ok(Some(next))) => {
                assert!(next.key >= after.key && next != after);
                after = next;
            }
            _ => return,
        }
    }
}

/// A page of a container's listing, below a prefix in the first line and after a marker in the second.
pub fn listing(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (prefix, marker) = (String::from_utf8_lossy(line()).into_owned(), String::from_utf8_lossy(line()).into_owned());
    let rest = line();
    if let Ok(page) = swift::listing(rest, &prefix, &marker) {
        assert!(page.iter().all(|found| found.name.starts_with(&prefix) && found.name > marker));
        assert!(page.is_sorted_by(|one, two| one.name < two.name));
    }
    let _ = swift::removed(rest);
}

/// Keystone's answer with a catalog.
pub fn catalog(bytes: &[u8]) {
    for region in [None, Some("one")] {
        if let Some(found) = swift::endpoint(bytes, "public", region) {
            assert!(found.len() <= bytes.len());
        }
    }
}
