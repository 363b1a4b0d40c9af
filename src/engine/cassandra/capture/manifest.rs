//! `manifest.json`, which `nodetool snapshot` writes into every table's folder, also where the table is empty: the SSTables
//! that the snapshot holds. What it names and what is not there was lost on the way.
//! Sources: `TableSnapshot`, `SnapshotManifest` (4.1 and later), `ColumnFamilyStore.writeSnapshotManifest`.

use serde_json::Value;

use crate::error::Kind;
use crate::volume::Place;

/// The file's name.
pub const NAME: &str = "manifest.json";

/// Largest manifest that is read, bytes: that of a hundred thousand SSTables has about five million.
const MAX: u64 = 64 << 20;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it lies.
    pub place: Place,
    /// When the snapshot was taken, milliseconds since 1970; versions before 4.1 do not say.
    pub created: Option<i64>,
    /// Names of the `Data.db` files of the snapshot's SSTables, without those of secondary indexes; or what is wrong with it.
    pub files: Result<Vec<String>, String>,
}

impl Manifest {
    /// Reads the manifest at `place`.
    pub fn read(place: &Place) -> Manifest {
        let text = place.read(MAX).map_err(|e| match e.kind() {
            Kind::TooLarge => e.message().to_owned(),
            _ => format!("cannot be read: {}", e.message()),
        });
        let parsed =
            text.and_then(|text| serde_json::from_slice::<Value>(&text).map_err(|e| format!("is no JSON: {e}")));
        let created = |of: &Value| of.get("created_at")?.as_str()?.parse::<jiff::Timestamp>().ok();
        Manifest {
            place: place.clone(),
            created: parsed.as_ref().ok().and_then(created).map(jiff::Timestamp::as_millisecond),
            files: parsed.and_then(|of| names(&of).ok_or_else(|| "has no list `files` of names".to_string())),
        }
    }
}

/// The names in the list. Those of secondary indexes stand in a folder of their own: `.INDEX/nb-1-big-Data.db`.
fn names(manifest: &Value) -> Option<Vec<String>> {
    let all: Option<Vec<&str>> = manifest.get("files")?.as_array()?.iter().map(Value::as_str).collect();
    Some(all?.into_iter().filter(|name| !name.contains('/')).map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_manifest_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (path, place) = (folder.path().join(NAME), Place::local(folder.path()).join(NAME));
        assert!(Manifest::read(&place).files.unwrap_err().contains("cannot be read"));
        for (text, word) in [("", "no JSON"), ("{", "no JSON"), ("{}", "`files`"), (r#"{"files":[7]}"#, "`files`")] {
            std::fs::write(&path, text).unwrap();
            assert!(Manifest::read(&place).files.unwrap_err().contains(word), "{text}");
        }
        let text = r#"{"files":[".i/nb-1-big-Data.db","nb-2-big-Data.db"], "created_at":"2026-11-21T10:13:54.994Z"}"#;
        std::fs::write(&path, text).unwrap();
        let read = Manifest::read(&place);
        assert_eq!((read.files, read.created), (Ok(vec!["nb-2-big-Data.db".to_string()]), Some(1_795_256_034_994)));
    }
}
