//! A file that is there whole, or not at all; and a folder that says whether it is ([`arguments`]).

pub mod arguments;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Fails where something is at `path` already.
pub fn unused(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::new(Kind::AlreadyExists, path.display(), "is there already")
            .hint("give a path where nothing is yet, or remove what is there")),
        Err(_) => Ok(()),
    }
}

/// A file of `most` bytes at most; `too_long` says what is wrong with a longer one.
pub fn read(path: &Path, most: u64, too_long: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|e| Error::io(path.display(), e))?;
    if bytes.len() as u64 > most {
        return Err(Error::new(Kind::TooLarge, path.display(), too_long));
    }
    Ok(bytes)
}

/// The same of text.
pub fn read_text(path: &Path, most: u64, too_long: &str) -> Result<String> {
    let text = String::from_utf8(read(path, most, too_long)?);
    text.map_err(|e| Error::io(path.display(), io::Error::new(io::ErrorKind::InvalidData, e.utf8_error())))
}

/// The longest name of a file, in bytes.
const NAME_MAX: usize = 255;

/// `PATH.extension`, where the name may have a dot of its own; of a name that this makes too long, its hash.
pub fn beside(path: &Path, extension: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if name.len() + 1 + extension.len() > NAME_MAX {
        return path.with_file_name(format!(".{}.{extension}", blake3::hash(name).to_hex()));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Puts `bytes` in place of whatever is at `path`, durably; gives the file, open for more.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let file = put_aside(path, bytes)?;
    take_place(path)?;
    Ok(file)
}

/// Writes `bytes`, for this user alone, where [`take_place`] finds them; durably, whatever was there before.
pub fn put_aside(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let options = File::options().create(true).truncate(true).write(true).mode(0o600).open(beside(path, "new"));
    let mut file = options?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// What was put aside takes the place of whatever is at `path`, durably.
pub fn take_place(path: &Path) -> io::Result<()> {
    name(&beside(path, "new"), path)
}

/// Gives what was written and synced its own name, durably.
fn name(new: &Path, path: &Path) -> io::Result<()> {
    fs::rename(new, path)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Writes a new file: under another name (`PATH.new`, which a restore that was killed may leave and the next one
/// overwrites), then synced, then under its own. Where that fails nothing is left.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    write_then(path, write, |()| Ok(()))
}

/// As [`write_whole`]; `then` is called with what `write` gave when everything is on the disk and has not its own name yet.
pub fn write_then<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
    then: impl FnOnce(&T) -> Result<()>,
) -> Result<T> {
    unused(path)?;
    let new = beside(path, "new");
    let failed = |e| Error::io(path.display(), e);
    let fill = || {
        let mut to = BufWriter::with_capacity(1 << 16, File::create(&new).map_err(failed)?);
        let written = write(&mut to)?;
        to.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
        then(&written)?;
        name(&new, path).map_err(failed).map(|()| written)
    };
    fill().map_err(|e| {
        // The error that is told is the one that matters.
        let _ = fs::remove_file(&new);
        match e.kind() {
            Kind::Full => e.within(path.display()).hint("make room and repeat the command; nothing was left behind"),
            Kind::Interrupted => e.hint("nothing was left behind; repeat the command to begin again"),
            _ => e,
        }
    })
}
