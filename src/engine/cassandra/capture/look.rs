//! What a folder of a capture holds: folders, files, and what is there by name only.

use std::ffi::OsStr;
use std::time::UNIX_EPOCH;

use crate::error::Result;
use crate::volume::{Identity, Place, What};

/// What a folder holds, each kind in order of names.
#[derive(Debug, Default)]
pub struct Looked {
    /// Folders: name (see [`escaped`]) and place.
    pub folders: Vec<(String, Place)>,
    /// Files: name (see [`escaped`]), place, and what the listing says.
    pub files: Vec<(String, Place, Identity)>,
    /// What has a name here and cannot be looked at: the place, and why.
    pub holes: Vec<Hole>,
}

/// A place in a capture that should hold something and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The place.
    pub place: Place,
    /// What is wrong with it.
    pub what: String,
}

/// Lists `folder`. Files that vanish meanwhile are not listed; a link to nothing is a hole, and so is what the system does not
/// let us see. `NotFound` or `Io`, naming the folder, where it cannot be listed at all.
pub fn look(folder: &Place) -> Result<Looked> {
    let mut looked = Looked::default();
    for entry in folder.list()? {
        let (name, place) = (escaped(&entry.name), folder.join(&entry.name));
        match entry.what {
            What::Folder => looked.folders.push((name, place)),
            What::File(identity) => looked.files.push((name, place, identity)),
            What::Dangling => {
                let what = "is a symbolic link to nothing: is the disk mounted that it points to?".to_string();
                looked.holes.push(Hole { place, what });
            }
            What::Unseen(e) => looked.holes.push(Hole { place, what: format!("cannot be read: {}", e.message()) }),
            What::Other => {}
        }
    }
    looked.folders.sort();
    looked.files.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    looked.holes.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(looked)
}

/// The folders in `folder`, by name.
pub fn folders(folder: &Place) -> Result<Vec<(String, Place)>> {
    Ok(look(folder)?.folders)
}

/// When a file was last written, milliseconds since 1970; `None` where that is not known, or before.
pub fn modified_ms(file: &Identity) -> Option<i64> {
    let since = file.modified?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
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
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_links_and_what_cannot_be_seen() {
        let root = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"a\xff-Data.db");
        fs::write(root.path().join(odd), "x").unwrap();
        fs::create_dir(root.path().join("folder")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("folder", root.path().join("link")).unwrap();
        let looked = look(&Place::local(root.path())).unwrap();
        assert_eq!(looked.folders.iter().map(|f| f.0.as_str()).collect::<Vec<_>>(), ["folder", "link"]);
        assert_eq!((looked.files[0].0.as_str(), looked.files[0].1.read(1).unwrap()), ("a%FF-Data.db", vec![b'x']));
        assert!(looked.holes.len() == 1 && looked.holes[0].place.path().ends_with("dangling"), "{looked:?}");
    }
}
