//! What a folder of a capture holds: folders, files, and what is there by name only.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::error::{Error, Result};

/// What a listing needs to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Bytes.
    pub length: u64,
    /// Milliseconds since 1970.
    pub modified: i64,
    /// Tells a file that was replaced under its name.
    pub inode: u64,
}

/// What a folder holds, each kind in order of names.
#[derive(Debug, Default)]
pub struct Looked {
    /// Folders: name (see [`escaped`]) and path.
    pub folders: Vec<(String, PathBuf)>,
    /// Files: name (see [`escaped`]), path, and what a listing needs.
    pub files: Vec<(String, PathBuf, Entry)>,
    /// What has a name here and cannot be looked at: the path, and why.
    pub holes: Vec<Hole>,
}

/// A place in a capture that should hold something and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The place.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// Lists `path`. Files that vanish meanwhile are not listed; a link to nothing is a hole, and so is what the system does not
/// let us see. `NotFound` or `Io`, naming the folder, where it cannot be listed at all.
pub fn look(path: &Path) -> Result<Looked> {
    let failed = |e| Error::io(path.display(), e);
    let mut looked = Looked::default();
    for entry in fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = escaped(path.file_name().unwrap_or_default());
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => looked.folders.push((name, path)),
            Ok(found) if found.is_file() => {
                let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                let modified = modified.map_or(0, |since| since.as_millis() as i64);
                looked.files.push((name, path, Entry { length: found.len(), modified, inode: found.ino() }));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(&path).is_ok() {
                    let what = "is a symbolic link to nothing: is the disk mounted that it points to?".to_string();
                    looked.holes.push(Hole { path, what });
                }
            }
            Err(e) => looked.holes.push(Hole { path, what: format!("cannot be read: {e}") }),
        }
    }
    looked.folders.sort();
    looked.files.sort_by(|a, b| a.0.cmp(&b.0));
    looked.holes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(looked)
}

/// The folders in `path`, by name.
pub fn folders(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    Ok(look(path)?.folders)
}

/// A name as text: bytes that are not UTF-8 as `%` and two hex digits, so that names stay apart and can be kept.
pub fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_links_and_what_cannot_be_seen() {
        let root = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"a\xff-Data.db");
        fs::write(root.path().join(odd), "x").unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("folder", root.path().join("link")).unwrap();
        let looked = look(root.path()).unwrap();
        assert_eq!(looked.folders.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["folder", "link"]);
        assert_eq!((looked.files[0].0.as_str(), fs::read(&looked.files[0].1).unwrap()), ("a%FF-Data.db", vec![b'x']));
        assert!(looked.holes.len() == 1 && looked.holes[0].path.ends_with("dangling"), "{looked:?}");
    }
}
