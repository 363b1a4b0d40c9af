//! The file system of this machine.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::{Entry, Identity, OpenFile, Volume, What, changed};
use crate::error::{Error, Result};
use crate::ssh::{Counts, Patience, Ran, here};

/// The volume whose paths are those of this machine, absolute or from the current folder on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Local;

impl Volume for Local {
    fn name(&self) -> &str {
        ""
    }

    fn list(&self, folder: &Path) -> Result<Vec<Entry>> {
        let failed = |e| Error::io(folder.display(), e);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(what) = what(&entry.path()) {
                entries.push(Entry { name: entry.file_name(), what });
            }
        }
        Ok(entries)
    }

    fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>> {
        let failed = |e| Error::io(file.display(), e);
        let opened = File::open(file).map_err(failed)?;
        let identity = identity(&opened.metadata().map_err(failed)?);
        Ok(Box::new(LocalFile { file: opened, path: file.to_path_buf(), identity }))
    }

    fn folder_id(&self, folder: &Path) -> Result<String> {
        let found = fs::metadata(folder).map_err(|e| Error::io(folder.display(), e))?;
        Ok(format!("{} {}", found.dev(), found.ino()))
    }

    fn run(&self, words: &[&str], patience: Patience<'_>) -> Result<Ran> {
        here(words, patience)
    }

    fn fill(&self, folder: &Path) -> Result<u8> {
        let found = rustix::fs::statvfs(folder).map_err(|e| Error::io(folder.display(), e.into()))?;
        let counts = Counts {
            block: found.f_frsize,
            blocks: found.f_blocks,
            free: found.f_bfree,
            available: found.f_bavail,
            files: found.f_files,
            files_available: found.f_favail,
            read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        };
        Ok(counts.full())
    }

    fn is_local(&self) -> bool {
        true
    }
}

/// What is at a path that a folder listed; `None` where it is gone.
fn what(path: &Path) -> Option<What> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Some(What::Folder),
        Ok(found) if found.is_file() => Some(What::File(identity(&found))),
        Ok(_) => Some(What::Other),
        Err(e) if e.kind() == ErrorKind::NotFound => fs::symlink_metadata(path).ok().map(|_| What::Dangling),
        Err(e) => Some(What::Unseen(Error::io(path.display(), e))),
    }
}

fn identity(found: &Metadata) -> Identity {
    Identity { length: found.len(), modified: found.modified().ok(), number: (found.dev(), found.ino()) }
}

struct LocalFile {
    file: File,
    path: PathBuf,
    identity: Identity,
}

impl LocalFile {
    fn failed(&self, e: io::Error) -> Error {
        Error::io(self.path.display(), e)
    }
}

impl OpenFile for LocalFile {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize> {
        if identity(&self.file.metadata().map_err(|e| self.failed(e))?) != self.identity {
            return Err(changed(self.path.display()));
        }
        loop {
            match self.file.read_at(to, offset) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|e| self.failed(e)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;
    use crate::error::Kind;

    #[test]
    fn small_files_are_read_whole_and_large_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::local(folder.path()).join("file");
        assert_eq!(place.read(9).unwrap_err().kind(), Kind::NotFound);
        fs::write(place.path(), "123456789").unwrap();
        assert_eq!(place.read(9).unwrap(), b"123456789");
        let error = place.read(8).unwrap_err();
        assert!(error.kind() == Kind::TooLarge && error.subject().ends_with("/file"), "{error}");
        assert_eq!(Place::local(folder.path()).read(1 << 20).unwrap_err().kind(), Kind::Io, "a folder is no file");
        assert_eq!(place.list().unwrap_err().kind(), Kind::Io, "a file is no folder");
        let mut text = String::new();
        io::Read::read_to_string(&mut place.reader().unwrap(), &mut text).unwrap();
        assert_eq!(text, "123456789");
    }

    #[test]
    fn a_file_that_changes_while_it_is_open_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::local(folder.path()).join("file");
        fs::write(place.path(), "before").unwrap();
        let file = place.open().unwrap();
        assert_eq!(file.read_at(&mut [0; 8], 0).unwrap(), 6);
        assert_eq!(file.read_at(&mut [0; 8], 6).unwrap(), 0);
        fs::write(place.path(), "longer than before").unwrap();
        let error = file.read_at(&mut [0; 8], 0).unwrap_err();
        assert!(error.kind() == Kind::Io && error.message().contains("written to"), "{error}");
    }

    #[test]
    fn one_folder_by_two_paths() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        let place = |name: &str| Place::local(folder.path()).join(name);
        assert!(place("a").is_same_folder(&place("link")).unwrap());
        assert!(!place("a").is_same_folder(&place("b")).unwrap());
        assert_eq!(place("a").is_same_folder(&place("c")).unwrap_err().kind(), Kind::NotFound);
    }
}
