//! What lies at a path of a file tree as a tar archive (IEEE Std 1003.1-2001, "pax"): times to the nanosecond, long names, attributes.

use std::io::{self, Write};

use repo_format::file_tree::{FileKind, FileRecord, attributes};
use tar::{Builder, EntryType, Header};

use super::spread::spread;
use super::{nothing, range};
use crate::error::{Error, Kind, Result};
use crate::restore::tree::{Layout, aside, no_pattern};
use crate::run::{ChunkSource, Record, RecordBatch};
use crate::view::View;

/// Names and targets of so many bytes stand in a header.
const NAME_MAX: usize = 100;
/// Sizes and numbers up to this stand in a header: 11 and 7 digits of base 8.
const SIZE_MAX: u64 = (1 << 33) - 1;
const OWNER_MAX: u32 = (1 << 21) - 1;
const BLOCK: u64 = 512;

/// Writes an archive of what lies at `path`, under names that begin behind it. Holes are written as zeros, sockets left out. Gives how many
/// entries there are.
///
/// Errors: `Usage` where nothing is at the path; what reading gives; those of `to`.
pub fn archive(view: &View<'_>, path: &str, to: &mut dyn Write) -> Result<u64> {
    no_pattern(path)?;
    let selection = view.select(path)?;
    let (from, _) = range(view, path)?;
    let mut archive = Archive { chunks: view.chunks(), builder: Builder::new(to), base: from.len(), entries: 0 };
    let mut run = view.records(Some(&*selection))?;
    let mut batch = RecordBatch::new();
    let mut all = || -> Result<()> {
        while run.next_batch(&mut batch)? {
            batch.iter().try_for_each(|record| archive.add(&record))?;
        }
        Ok(())
    };
    if let Err(e) = all() {
        // Dropped, it would write the end of an archive; whoever reads this one must not take it for whole, so that what comes now is no
        // header.
        let _ = archive.builder.get_mut().write_all(&[b'!'; BLOCK as usize]);
        std::mem::forget(archive.builder);
        return Err(e);
    }
    if archive.entries == 0 {
        return Err(nothing(path));
    }
    archive.builder.finish().map_err(failed)?;
    Ok(archive.entries)
}

fn failed(e: io::Error) -> Error {
    Error::io("output", e)
}

struct Archive<'a> {
    chunks: &'a dyn ChunkSource,
    builder: Builder<&'a mut dyn Write>,
    /// Bytes of the keys before the names.
    base: usize,
    entries: u64,
}

impl Archive<'_> {
    /// The name of a key: the parts behind the base; of the base itself its last part, where it is no folder.
    fn name(&self, key: &[u8]) -> Vec<u8> {
        let behind = |key: &[u8]| key.iter().skip(1).map(|b| if *b == 0 { b'/' } else { *b }).collect::<Vec<u8>>();
        match key.get(self.base..) {
            Some([]) | None => {
                behind(key.get(key.iter().rposition(|b| *b == 0).unwrap_or_default()..).unwrap_or_default())
            }
            Some(rest) => behind(rest),
        }
    }

    fn add(&mut self, record: &Record<'_>) -> Result<()> {
        let file = FileRecord::parse(record.body)?;
        let Some(kind) = file.kind() else { return Ok(()) };
        let is_base = record.key.len() == self.base || record.key == [0];
        if kind == FileKind::Socket {
            return Ok(());
        }
        let mut name = match (is_base, kind) {
            (true, FileKind::Folder) => b".".to_vec(),
            _ => self.name(record.key),
        };
        if kind == FileKind::Folder {
            name.push(b'/');
        }
        // Its first name is in the archive, where it lies behind the base.
        let first = file
            .first
            .filter(|first| first.get(..self.base) == record.key.get(..self.base))
            .map(|first| self.name(first));
        let entry = match kind {
            FileKind::File if first.is_some() => EntryType::Link,
            FileKind::File | FileKind::Socket => EntryType::Regular,
            FileKind::Folder => EntryType::Directory,
            FileKind::Link => EntryType::Symlink,
            FileKind::Fifo => EntryType::Fifo,
            FileKind::BlockDevice => EntryType::Block,
            FileKind::CharDevice => EntryType::Char,
        };
        let content = file.content.filter(|_| entry == EntryType::Regular);
        if kind == FileKind::File && file.content.is_none() {
            let what = "was not read by the backup, or left out: an archive would have it empty";
            return Err(Error::new(Kind::Unsupported, String::from_utf8_lossy(&name), what)
                .hint("restore the folder in place of it, or a part of it"));
        }
        let size = content.map_or(Ok(0), |_| Layout::of(&file, self.chunks).map(|layout| layout.length))?;
        let target = first.or(file.target.map(<[u8]>::to_vec)).unwrap_or_default();
        self.extend(&file, &name, &target, size)?;
        let header = header(&file, entry, &name, &target, size).map_err(failed)?;
        let to = self.builder.get_mut();
        to.write_all(header.as_bytes()).map_err(failed)?;
        if let Some(content) = content {
            spread(&file, content, self.chunks, to)?;
            let rest = size.next_multiple_of(BLOCK) - size;
            to.write_all(&[0; BLOCK as usize][..rest as usize]).map_err(failed)?;
        }
        self.entries += 1;
        Ok(())
    }

    /// What a header has no room for.
    fn extend(&mut self, file: &FileRecord<'_>, name: &[u8], target: &[u8], size: u64) -> Result<()> {
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        let mut add = |key: &str, value: Vec<u8>| all.push((key.to_owned(), value));
        let (seconds, nanoseconds) = file.modified;
        // Before 1970 the fraction counts back from the second.
        let time = match (seconds, nanoseconds) {
            (s, 0) => s.to_string(),
            (s, n) if s < 0 => format!("-{}.{:09}", -(s + 1), 1_000_000_000 - n),
            (s, n) => format!("{s}.{n:09}"),
        };
        add("mtime", time.into_bytes());
        if name.len() > NAME_MAX {
            add("path", name.to_vec());
        }
        if target.len() > NAME_MAX {
            add("linkpath", target.to_vec());
        }
        if size > SIZE_MAX {
            add("size", size.to_string().into_bytes());
        }
        for (key, number) in [("uid", file.owner.0), ("gid", file.owner.1)] {
            if number > OWNER_MAX {
                add(key, number.to_string().into_bytes());
            }
        }
        for attribute in attributes(&aside(file.attributes, self.chunks)?)? {
            add(&format!("SCHILY.xattr.{}", String::from_utf8_lossy(attribute.name)), attribute.value.to_vec());
        }
        self.builder
            .append_pax_extensions(all.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
            .map_err(failed)
    }
}

fn header(file: &FileRecord<'_>, entry: EntryType, name: &[u8], target: &[u8], size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    let short = |bytes: &[u8]| bytes[..bytes.len().min(NAME_MAX)].to_vec();
    let old = header.as_old_mut();
    old.name[..short(name).len()].copy_from_slice(&short(name));
    old.linkname[..short(target).len()].copy_from_slice(&short(target));
    header.set_entry_type(entry);
    header.set_mode(file.mode & 0o7777);
    header.set_uid(u64::from(file.owner.0.min(OWNER_MAX)));
    header.set_gid(u64::from(file.owner.1.min(OWNER_MAX)));
    header.set_mtime(u64::try_from(file.modified.0).unwrap_or_default().min(SIZE_MAX));
    header.set_size(size.min(SIZE_MAX));
    if let Some((major, minor)) = file.device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    for (name, user) in [(file.user, true), (file.group, false)] {
        let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()).filter(|name| name.len() < 32) else {
            continue;
        };
        if user { header.set_username(name)? } else { header.set_groupname(name)? }
    }
    header.set_cksum();
    Ok(header)
}
