//! Where captured files lie: a tree of folders and files, read and never written, on this machine or elsewhere.
//!
//! Engines know files by their [`Place`]s alone and open no paths of the machine, so that a capture may lie in a folder, behind
//! a connection or in an export. An answer may cost a round trip, so nothing is asked twice: a folder is listed once, what a
//! listing says of a file comes with it, and whether a file is there is found out by opening it.

mod gentle;
mod local;
mod pool;
mod remote;

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::pace::Latency;
use crate::ssh::{Patience, Ran};

pub use gentle::{Bounds, Guard};
pub use local::Local;
pub use pool::{OPEN_MAX, Pool, Pooled};
pub use remote::Remote;

/// A tree of folders and files. Paths have `/` between their names, which are any bytes. Calls block; links are followed.
///
/// Errors name the file as people write it: [`Volume::name`], then the path. `NotFound`: nothing is there; `Full`: no more files
/// can be open now; `Io`: all else that the system or the other side refuses.
pub trait Volume: Send + Sync {
    /// What stands before a path where it is shown, and tells this volume from any other: empty for this machine,
    /// `ssh://db1` for another.
    fn name(&self) -> &str;
    /// What a folder holds, in any order. What vanishes meanwhile is left out.
    fn list(&self, folder: &Path) -> Result<Vec<Entry>>;
    /// Opens a file.
    fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>>;
    /// What tells a folder from all others of the volume, by whatever path it was given.
    fn folder_id(&self, folder: &Path) -> Result<String>;
    /// Makes sure that its machine can be reached.
    fn reach(&self) -> Result<()> {
        Ok(())
    }
    /// Runs a program on its machine, as there programs are found, as long as `patience` lasts. It gets nothing to read.
    fn run(&self, words: &[&str], _patience: Patience<'_>) -> Result<Ran> {
        let what = words.first().copied().unwrap_or_default();
        Err(Error::new(Kind::Unsupported, self.name(), format_args!("{what} cannot be run there")))
    }
    /// How full the file system of a folder is, in percent.
    fn fill(&self, _folder: &Path) -> Result<u8> {
        Err(Error::new(Kind::Unsupported, self.name(), "does not say how full its disk is"))
    }
    /// How long its machine works on reads, where it is one that others read from, too; `None` where a read says that itself.
    fn latency(&self) -> Option<&Latency> {
        None
    }
    /// Whether its paths are those of this machine, so that files can be frozen by links.
    fn is_local(&self) -> bool {
        false
    }
}

/// A file that is open. It is closed when it is dropped.
pub trait OpenFile: Send + Sync {
    /// What it was when it was opened.
    fn identity(&self) -> Identity;
    /// Reads bytes from `offset` on. Gives their number, 0 at the end.
    ///
    /// Fails where the file is no longer what it was when it was opened ([`changed`]), as far as the volume can tell.
    fn read_at(&self, to: &mut [u8], offset: u64) -> Result<usize>;
}

/// A name in a folder.
#[derive(Debug)]
pub struct Entry {
    /// Its name, without the folder's.
    pub name: OsString,
    /// What is there.
    pub what: What,
}

/// What a name in a folder stands for.
#[derive(Debug)]
pub enum What {
    /// A folder, or a link to one.
    Folder,
    /// A file, or a link to one.
    File(Identity),
    /// A link to nothing.
    Dangling,
    /// What cannot be looked at, and why.
    Unseen(Error),
    /// A pipe, a socket, a device.
    Other,
}

/// What tells one file from another under the same name, as far as its volume knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Bytes.
    pub length: u64,
    /// When it was last written.
    pub modified: Option<SystemTime>,
    /// Device and inode; zeros where the volume has none.
    pub number: (u64, u64),
}

/// The error for a file that is no longer what it was.
pub fn changed(file: impl fmt::Display) -> Error {
    Error::new(Kind::Io, file, "was replaced or written to while it was read")
}

/// `None` in place of the error that nothing is there.
pub fn if_there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(e) if e.kind() == Kind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// A path in a volume; a file, a folder, or nothing may be there. It is shown as people write it.
#[derive(Clone)]
pub struct Place {
    volume: Arc<dyn Volume>,
    path: PathBuf,
}

/// The places of a node's folders, as an operator writes them: paths of this machine, and `ssh://[USER@]HOST[:PORT]/PATH`, after
/// which a path alone lies on the same machine.
///
/// A machine may be away for about as long as `patience`.
///
/// Errors: [`Kind::Usage`], where an address makes no sense.
pub fn places(given: &[PathBuf], patience: Duration) -> Result<Vec<Place>> {
    let mut machine: Option<Remote> = None;
    let mut places = Vec::new();
    for path in given {
        places.push(match (path.to_str().and_then(|path| path.strip_prefix("ssh://")), &machine) {
            (Some(rest), before) => {
                let (named, path) = Remote::parse(rest, patience)?;
                // One machine has few connections, however often it is named.
                let named = before.clone().filter(|before| before.name() == named.name()).unwrap_or(named);
                Place::new(Arc::new(machine.insert(named).clone()), path)
            }
            (None, Some(machine)) if path.is_absolute() => Place::new(Arc::new(machine.clone()), path),
            (None, _) => Place::local(path),
        });
    }
    Ok(places)
}

/// Runs its arguments. `nice` comes last, because it says by 127 that there is no such program.
const GENTLY: &str = r#"p=; ionice -c 3 true 2>/dev/null && p="ionice -c 3"; nice -n 19 true 2>/dev/null && p="$p nice -n 19"; exec $p "$@""#;

/// Bytes that a [`Place::reader`] reads at a time.
const READER_BYTES: usize = 256 << 10;

impl Place {
    /// The path `path` of `volume`.
    pub fn new(volume: Arc<dyn Volume>, path: impl Into<PathBuf>) -> Place {
        Place { volume, path: path.into() }
    }

    /// A path of this machine.
    pub fn local(path: impl Into<PathBuf>) -> Place {
        Place::new(Arc::new(Local), path)
    }

    /// The path within the volume.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another path of the same volume.
    pub fn at(&self, path: impl Into<PathBuf>) -> Place {
        Place { volume: Arc::clone(&self.volume), path: path.into() }
    }

    /// The path, where it is one of this machine.
    pub fn local_path(&self) -> Option<&Path> {
        self.volume.is_local().then_some(&self.path)
    }

    /// The last name of the path.
    pub fn file_name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// What lies below it by this name, or by several with `/`.
    pub fn join(&self, name: impl AsRef<Path>) -> Place {
        Place { volume: Arc::clone(&self.volume), path: self.path.join(name) }
    }

    /// See [`Volume::list`]. `Damaged` where a name would lead out of the folder: the other side may be anybody.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let entries = self.volume.list(&self.path)?;
        let leads_out = |name: &OsStr| matches!(name.as_bytes(), b"" | b"." | b"..") || name.as_bytes().contains(&b'/');
        match entries.iter().find(|entry| leads_out(&entry.name)) {
            Some(entry) => Err(Error::damaged(self, format_args!("lists {:?}, which no file is called", entry.name))),
            None => Ok(entries),
        }
    }

    /// See [`Volume::open`].
    pub fn open(&self) -> Result<Box<dyn OpenFile>> {
        self.volume.open(&self.path)
    }

    /// See [`Volume::reach`].
    pub fn reach(&self) -> Result<()> {
        self.volume.reach()
    }

    /// See [`Volume::run`]. It gets the least of the processor and of the disk, where there are `nice` and `ionice` and they may be used.
    pub fn run(&self, words: &[&str], patience: Patience<'_>) -> Result<Ran> {
        self.volume.run(&[&["sh", "-c", GENTLY, "sh"], words].concat(), patience)
    }

    /// The machine, as it is named before its paths; empty is this one.
    pub fn machine(&self) -> &str {
        self.volume.name()
    }

    /// Whether this and another place are one folder, by whatever path.
    pub fn is_same_folder(&self, other: &Place) -> Result<bool> {
        let same_volume = self.volume.name() == other.volume.name();
        Ok(same_volume && self.volume.folder_id(&self.path)? == self.volume.folder_id(&other.path)?)
    }

    /// All of a small file. `TooLarge` where it has more than `most` bytes.
    pub fn read(&self, most: u64) -> Result<Vec<u8>> {
        let file = self.open()?;
        let length = usize::try_from(file.identity().length).ok().filter(|length| *length as u64 <= most);
        let too_large = || Error::new(Kind::TooLarge, self, format_args!("is larger than {most} bytes"));
        let mut bytes = vec![0; length.ok_or_else(too_large)?];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], read as u64)? {
                0 => return Err(Error::new(Kind::Io, self, "ends before the length that it is said to have")),
                n => read += n,
            }
        }
        Ok(bytes)
    }

    /// The file from its start on, for whoever reads it once and forwards.
    pub fn reader(&self) -> Result<impl Read + use<>> {
        Ok(BufReader::with_capacity(READER_BYTES, Reader { file: self.open()?, at: 0 }))
    }
}

/// A file read forwards. Errors have the message alone: who reads says of what.
struct Reader {
    file: Box<dyn OpenFile>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(to, self.at).map_err(|e| io::Error::other(e.message().to_owned()))?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<P: Into<PathBuf>> From<P> for Place {
    /// A path of this machine.
    fn from(path: P) -> Place {
        Place::local(path)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.volume.name(), self.path.display())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Place) -> Ordering {
        (self.volume.name(), &self.path).cmp(&(other.volume.name(), &other.path))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Place) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Place {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists one name, whatever the folder.
    struct Lists(&'static str);

    impl Volume for Lists {
        fn name(&self) -> &str {
            "lists:"
        }

        fn list(&self, _: &Path) -> Result<Vec<Entry>> {
            Ok(vec![Entry { name: self.0.into(), what: What::Folder }])
        }

        fn open(&self, file: &Path) -> Result<Box<dyn OpenFile>> {
            Err(Error::new(Kind::NotFound, file.display(), "is not there"))
        }

        fn folder_id(&self, folder: &Path) -> Result<String> {
            Ok(folder.display().to_string())
        }
    }

    #[test]
    fn no_name_leads_out_of_its_folder() {
        let list = |name| Place::new(Arc::new(Lists(name)), "ks").list();
        assert_eq!(list("..table").unwrap().len(), 1);
        for name in ["", ".", "..", "../secret", "/etc", "a/b"] {
            let error = list(name).unwrap_err();
            assert!(error.kind() == Kind::Damaged && error.subject() == "lists:ks", "{error}");
        }
    }

    #[test]
    fn programs_run_gently_and_also_where_that_cannot_be() {
        let ten = Patience::of(std::time::Duration::from_secs(10));
        let run = |words: &[&str]| Place::local("/").run(words, ten).unwrap();
        assert_eq!(run(&["nice"]).out, "19\n");
        assert_eq!(run(&["printf", "%s|", "a b", "$x", ""]).out, "a b|$x||");
        assert_eq!((run(&["sh", "-c", "exit 7"]).code, run(&["/no/such/program"]).code), (Some(7), Some(127)));
        let bare = ["env", "PATH=/nowhere", "/bin/sh", "-c", GENTLY, "sh", "/bin/echo", "a  b"];
        assert_eq!(crate::ssh::here(&bare, ten).unwrap().out, "a  b\n");
    }

    #[test]
    fn one_path_on_two_volumes_is_two_places() {
        let there = Place::new(Arc::new(Lists("")), "ks");
        let here = Place::local("ks");
        assert!(here != there && here < there && !here.is_same_folder(&there).unwrap());
        assert!(
            there == Place::new(Arc::new(Lists("")), "ks") && there.join("t").is_same_folder(&there.join("t")).unwrap()
        );
        assert_eq!((here.to_string(), there.join("t/x").to_string()), ("ks".to_owned(), "lists:ks/t/x".to_owned()));
        assert_eq!((here.local_path(), there.local_path()), (Some(Path::new("ks")), None));
    }
}
