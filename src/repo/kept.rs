//! Sealed bytes that this machine keeps, so that a store far away is asked once: frames of metadata.
//!
//! Only what never changes is kept, by the name of its object: whether that object still counts, or is there at all, the store is
//! asked. Each file begins with a hash of its name and bytes, so that one that is damaged, or another's, is not there; what is read
//! is opened and verified like what the store gives. Files are replaced as a whole and never synced.
//!
//! Disk: [`KEPT_BYTES`], and what other processes add at the same time. Where it is more, what was not used for longest goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use repo_format::id::ObjectHash;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::cache::replace;
use crate::error::{Error, Result};
use crate::store::lock;

/// Bytes that are kept for one repository.
pub const KEPT_BYTES: u64 = 1 << 30;
/// Folders that the files are spread over.
const FOLDERS: u8 = 64;

/// Bytes before those of an object.
const PROOF: usize = 32;

/// See the module. Shared by threads.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    most: u64,
    held: Mutex<Held>,
}

/// What is known of the folder.
#[derive(Debug)]
enum Held {
    /// Nothing was put there yet.
    Unknown,
    /// So many bytes.
    Bytes(u64),
    /// It takes nothing: that was said, and is not tried again.
    Refused,
}

impl Kept {
    /// Below `dir`, which is made when something is first put there; at most `most` bytes.
    pub fn new(dir: PathBuf, most: u64) -> Kept {
        Kept { dir, most, held: Mutex::new(Held::Unknown) }
    }

    /// What was kept under a name. No proof against somebody who can write to the folder.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        let mut bytes = fs::read(&path).ok()?;
        let found = bytes.split_first_chunk().is_some_and(|(hash, bytes)| *hash == proof(name, bytes));
        bytes.drain(..PROOF.min(bytes.len()));
        if !found {
            return None;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        // Where that cannot be said, it counts as unused.
        let _ = utimensat(CWD, &path, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty());
        Some(bytes)
    }

    /// Keeps bytes. The first error is returned, and after it nothing more is kept.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Option<Error> {
        let mut held = lock(&self.held);
        match self.add(&mut held, name, bytes) {
            Ok(()) => None,
            Err(e) => {
                *held = Held::Refused;
                Some(e.within("the cache keeps nothing more, and work goes on without"))
            }
        }
    }

    fn add(&self, held: &mut Held, name: &str, bytes: &[u8]) -> Result<()> {
        let known = match held {
            Held::Refused => return Ok(()),
            Held::Bytes(known) => *known,
            Held::Unknown => files(&self.dir)?.iter().map(|file| file.bytes).sum(),
        };
        replace(&self.path(name), &[&proof(name, bytes), bytes].concat())?;
        let now = known + (PROOF + bytes.len()) as u64;
        *held = Held::Bytes(if now > self.most { self.make_room()? } else { now });
        Ok(())
    }

    /// Removes what was not used for longest, an eighth of what may be kept. Gives the bytes that are left.
    fn make_room(&self) -> Result<u64> {
        let mut files = files(&self.dir)?;
        files.sort_unstable_by_key(|file| file.used);
        let mut left: u64 = files.iter().map(|file| file.bytes).sum();
        for file in &files {
            if left <= self.most / 8 * 7 {
                break;
            }
            match fs::remove_file(&file.path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(file.path.display(), e)),
                // Another process may have removed it.
                _ => left -= file.bytes,
            }
        }
        Ok(left)
    }

    fn path(&self, name: &str) -> PathBuf {
        let hash = ObjectHash::of(name.as_bytes());
        self.dir.join(format!("{:02x}", hash.0[0] % FOLDERS)).join(hash.to_string())
    }
}

fn proof(name: &str, bytes: &[u8]) -> [u8; PROOF] {
    *blake3::Hasher::new().update(name.as_bytes()).update(&[0]).update(bytes).finalize().as_bytes()
}

struct KeptFile {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// What lies below the folder, in no order.
fn files(dir: &Path) -> Result<Vec<KeptFile>> {
    let mut found = Vec::new();
    for folder in entries(dir)? {
        for path in entries(&folder)? {
            // Another process may have removed it.
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            let used = about.modified().map_err(|e| Error::io(path.display(), e))?;
            found.push(KeptFile { path, bytes: about.len(), used });
        }
    }
    Ok(found)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |e| Error::io(dir.display(), e);
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path()).map_err(wrong)).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(wrong(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("kept"), 1320);
        assert_eq!(kept.get("a"), None);
        for name in 0..10 {
            assert!(kept.put(&name.to_string(), &[name; 100]).is_none());
            // Times of files may be as coarse as a clock's tick.
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        assert_eq!(kept.get("0"), Some(vec![0; 100]));
        assert!(kept.put("more", &[7; 60]).is_none());
        let left: Vec<u8> = (0..10).filter(|name| kept.get(&name.to_string()).is_some()).collect();
        assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9]);
        // Another process knows what lies there.
        let other = Kept::new(dir.path().join("kept"), 1320);
        for name in 10..30 {
            assert!(other.put(&name.to_string(), &[name; 100]).is_none());
        }
        let all: u64 = files(&dir.path().join("kept")).unwrap().iter().map(|file| file.bytes).sum();
        assert!((500..=1320).contains(&all), "{all}");
        // What lies in another's place is not there.
        fs::copy(kept.path("29"), kept.path("28")).unwrap();
        assert_eq!((kept.get("29").unwrap().len(), kept.get("28")), (100, None));
    }

    #[test]
    fn a_folder_that_takes_nothing_is_named_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        let kept = Kept::new(dir.path().join("file"), 1000);
        let said = kept.put("a", b"b").unwrap().to_string();
        assert!(said.contains("file") && said.contains("goes on without"), "{said}");
        assert!(kept.put("a", b"b").is_none() && kept.get("a").is_none());
    }
}
