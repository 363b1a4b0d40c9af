//! `manifest.json`, which `nodetool snapshot` writes into every table's folder, also where the table is empty: the SSTables
//! that the snapshot holds. What it names and what is not there was lost on the way.
//! Sources: `TableSnapshot`, `SnapshotManifest` (4.1 and later), `ColumnFamilyStore.writeSnapshotManifest`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The file's name.
pub const NAME: &str = "manifest.json";

/// Largest manifest that is read, bytes: that of a hundred thousand SSTables has about five million.
const MAX: u64 = 64 << 20;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it lies.
    pub path: PathBuf,
    /// When the snapshot was taken, milliseconds since 1970; versions before 4.1 do not say.
    pub created: Option<i64>,
    /// Names of the `Data.db` files of the snapshot's SSTables, without those of secondary indexes; or what is wrong with it.
    pub files: Result<Vec<String>, String>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    pub fn read(path: &Path) -> Manifest {
        let text = match fs::metadata(path) {
            Ok(found) if found.len() > MAX => Err(format!("is larger than {MAX} bytes")),
            _ => fs::read(path).map_err(|e| format!("cannot be read: {e}")),
        };
        let parsed =
            text.and_then(|text| serde_json::from_slice::<Value>(&text).map_err(|e| format!("is no JSON: {e}")));
        let created = |of: &Value| of.get("created_at")?.as_str()?.parse::<jiff::Timestamp>().ok();
        Manifest {
            path: path.to_path_buf(),
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
        let path = folder.path().join(NAME);
        assert!(Manifest::read(&path).files.unwrap_err().contains("cannot be read"));
        for (text, word) in [("", "no JSON"), ("{", "no JSON"), ("{}", "`files`"), (r#"{"files":[7]}"#, "`files`")] {
            fs::write(&path, text).unwrap();
            assert!(Manifest::read(&path).files.unwrap_err().contains(word), "{text}");
        }
        let text = r#"{"files":[".i/nb-1-big-Data.db","nb-2-big-Data.db"], "created_at":"2026-11-21T10:13:54.994Z"}"#;
        fs::write(&path, text).unwrap();
        let read = Manifest::read(&path);
        assert_eq!((read.files, read.created), (Ok(vec!["nb-2-big-Data.db".to_string()]), Some(1_795_256_034_994)));
    }
}
