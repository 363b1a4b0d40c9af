//! Freezing a live data directory: every file that counts is hard-linked into a private folder on the same file system,
//! so that compactions may delete it meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Kind, Result};
use crate::volume::{Identity, Place, if_there};

use super::look::{folders, look};
use super::txn::LOG_MAX;
use super::{Notes, REMEDY, table_folder, txn};

/// So often is a directory listed before we give up on two listings that agree.
const ATTEMPTS: usize = 20;

/// Locked in each folder of links as long as the run lives that made it: so the next one knows whose may be removed.
const LOCK: &str = "onefold.lock";

/// A folder of hard links, removed when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    path: PathBuf,
    _alive: File,
}

impl Frozen {
    /// The folder, laid out as the data directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

const REMOVED: &str = "links that a run left which was killed, removed";
const STUCK: &str =
    "links that a run left which was killed, and which cannot be removed: they keep deleted files on the disk";
const ALIVE: &str = "links of another run, perhaps still at work";

/// Removes the folders of links that earlier runs, killed, left beside `root` (or in `beside`), and says so in `notes`: they keep
/// deleted files on the disk. Those of a run that lives are left alone.
pub fn sweep(root: &Path, beside: Option<&Path>, notes: &mut Notes) -> Result<()> {
    let (parent, prefix) = place(root, beside)?;
    for (folder, place) in folders(&Place::local(parent)).unwrap_or_default() {
        let Some(rest) = folder.strip_prefix(&prefix) else { continue };
        let process = rest.split_once('-').map(|(process, _)| process).unwrap_or_default();
        let path = place.path();
        let why = match File::open(path.join(LOCK)) {
            Ok(lock) if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() => ALIVE,
            // Without a lock: just being made, or made by an older version.
            Err(_) if Path::new("/proc").join(process).exists() || process.is_empty() => ALIVE,
            _ if fs::remove_dir_all(path).is_ok() => REMOVED,
            _ => STUCK,
        };
        notes.entry(why).or_default().push(place);
    }
    Ok(())
}

/// The folder in which links to the files of `root` are made, and how the names of their folders begin.
fn place(root: &Path, beside: Option<&Path>) -> Result<(PathBuf, String)> {
    let root = fs::canonicalize(root).map_err(|e| Error::io(root.display(), e).hint(REMEDY))?;
    let parent = beside.or(root.parent()).unwrap_or(&root).to_path_buf();
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    Ok((parent, format!(".{name}.onefold-")))
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Left behind it costs disk space, until the next run (see `sweep`).
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Paths below the data directory, and which file is there.
type Listing = BTreeMap<PathBuf, Identity>;

/// Links the files of `roots`, the data directories of one node, into new folders, one for each, in `beside` or in the
/// folder that holds it. All are frozen as one, because a compaction may move rows between them. Empty where a file
/// system is read-only, so that nothing can change.
pub fn freeze(roots: &[&Path], beside: Option<&Path>) -> Result<Vec<Frozen>> {
    let mut frozen = Vec::new();
    for root in roots {
        let Some(folder) = make_folder(root, beside)? else { return Ok(Vec::new()) };
        frozen.push(folder);
    }
    let list = || roots.iter().map(|root| listing(root)).collect::<Result<Vec<_>>>();
    let mut linked = vec![Listing::new(); roots.len()];
    for _ in 0..ATTEMPTS {
        let before = list()?;
        let mut complete = true;
        for (((root, folder), wanted), linked) in roots.iter().zip(&frozen).zip(&before).zip(&mut linked) {
            complete &= link_all(root, &folder.path, wanted, linked)?;
        }
        let after = list()?;
        let agree = before.iter().zip(&after).all(|(before, after)| before.keys().eq(after.keys()));
        if complete && agree && linked.iter().zip(&before).all(|(linked, before)| same_files(linked, before)) {
            for (root, folder) in roots.iter().zip(&frozen) {
                empty_folders(root, &folder.path)?;
            }
            return Ok(frozen);
        }
    }
    let subject = roots.first().map(|root| root.display().to_string()).unwrap_or_default();
    let message = format_args!("keeps changing: {ATTEMPTS} times two listings did not agree");
    Err(Error::new(Kind::Busy, subject, message)
        .hint("take a snapshot with nodetool and give it with --snapshot-tag, or its copy"))
}

fn same_files(a: &Listing, b: &Listing) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.number == b.1.number)
}

fn make_folder(root: &Path, beside: Option<&Path>) -> Result<Option<Frozen>> {
    let (parent, prefix) = place(root, beside)?;
    for n in 0..1000 {
        let path = parent.join(format!("{prefix}{}-{n}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return locked(path).map(Some),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) if e.kind() == ErrorKind::ReadOnlyFilesystem => return Ok(None),
            Err(e) => {
                let hint = "a live data directory is frozen by hard links in a folder beside it, on the same file \
                            system: make that folder writable, or give the copy of a snapshot";
                return Err(Error::io(path.display(), e).hint(hint));
            }
        }
    }
    Err(Error::new(Kind::Busy, parent.display(), "has a thousand folders of earlier runs").hint("delete them"))
}

/// Marks a new folder of links as one of a run that lives.
fn locked(path: PathBuf) -> Result<Frozen> {
    let lock = path.join(LOCK);
    let locked = File::create(&lock).and_then(|file| {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    });
    match locked {
        Ok(file) => Ok(Frozen { path, _alive: file }),
        Err(e) => {
            // Nothing is in it yet.
            let _ = fs::remove_dir_all(&path);
            Err(Error::io(lock.display(), e))
        }
    }
}

/// All files that count in all tables.
fn listing(root: &Path) -> Result<Listing> {
    let mut listing = Listing::new();
    for (keyspace, place) in folders(&Place::local(root))? {
        for (folder, place) in vanishing(folders(&place))? {
            if table_folder(&folder).is_none() {
                continue;
            }
            let found = vanishing(look(&place))?.files;
            let mut excluded = Vec::new();
            for (_, log, _) in found.iter().filter(|(name, ..)| txn::is_log(name)) {
                excluded.extend(txn::excluded(&String::from_utf8_lossy(&read_log(log.path())?)));
            }
            for (name, place, identity) in found {
                if !txn::is_log(&name) && !excluded.iter().any(|prefix| name.starts_with(prefix.as_str())) {
                    // As the disk spells it, which need not be UTF-8.
                    let file = place.file_name();
                    listing.insert(Path::new(&keyspace).join(&folder).join(file), identity);
                }
            }
        }
    }
    Ok(listing)
}

/// A transaction log as far as it is written by now; nothing, where it is gone by now.
fn read_log(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(LOG_MAX + 1).read_to_end(&mut text)) {
        Ok(_) if text.len() as u64 > LOG_MAX => {
            Err(Error::new(Kind::TooLarge, path.display(), format_args!("is larger than {LOG_MAX} bytes")))
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path.display(), e)),
        _ => Ok(text),
    }
}

/// A folder that is dropped meanwhile is empty.
pub fn vanishing<T: Default>(found: Result<T>) -> Result<T> {
    Ok(if_there(found)?.unwrap_or_default())
}

/// Makes the folders of tables that have no files: that they are there says that the tables are empty.
fn empty_folders(root: &Path, frozen: &Path) -> Result<()> {
    for (keyspace, place) in folders(&Place::local(root))? {
        for (folder, _) in vanishing(folders(&place))?.iter().filter(|(folder, _)| table_folder(folder).is_some()) {
            let folder = frozen.join(&keyspace).join(folder);
            fs::create_dir_all(&folder).map_err(|e| Error::io(folder.display(), e))?;
        }
    }
    Ok(())
}

/// Makes `linked` what `wanted` is. False when a file vanished meanwhile.
fn link_all(root: &Path, frozen: &Path, wanted: &Listing, linked: &mut Listing) -> Result<bool> {
    let stale = |path: &PathBuf, entry: &mut Identity| wanted.get(path).is_none_or(|now| now.number != entry.number);
    for (path, _) in linked.extract_if(.., stale) {
        fs::remove_file(frozen.join(&path)).map_err(|e| Error::io(frozen.join(&path).display(), e))?;
    }
    let mut complete = true;
    for (path, entry) in wanted {
        if linked.contains_key(path) {
            continue;
        }
        let target = frozen.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder.display(), e))?;
        }
        match fs::hard_link(root.join(path), &target) {
            Ok(()) => linked.insert(path.clone(), *entry),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                complete = false;
                continue;
            }
            Err(e) => {
                let hint = "files can only be frozen where hard links to them can be made: on the same file system, \
                            by the user who runs the database; or give the copy of a snapshot";
                return Err(Error::io(root.join(path).display(), e).hint(hint));
            }
        };
    }
    Ok(complete)
}
