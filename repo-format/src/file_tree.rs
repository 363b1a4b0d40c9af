//! File trees (SPEC "File trees"): a file, folder or link as a record, by its path.
//!
//! ```text
//! key  = 00 │ part │ 00 │ part …        of the root, 00 alone
//! body = columns, each a cell of time 0 or a reference
//! ```
//! What is of one machine alone (inode, device, times of access and change of status) is in no record: equal trees of two machines
//! are equal.

use crate::blob::BlobRef;
use crate::error::{FormatError, Result};
use crate::record::{BodyWriter, Entries, Entry, EntryKind, Traits};
use crate::reference::{Reference, is_reference};
use crate::wire::{Put, Reader};

/// Content of so many bytes or fewer stands in the record.
pub const CONTENT_INLINE_MAX: usize = 256;
/// Attributes, and holes, of so many bytes or fewer stand in the record; otherwise in a blob.
pub const ASIDE_INLINE_MAX: usize = 4 << 10;
/// The longest part of a path, in bytes.
pub const PART_MAX: usize = 255;
/// The longest path, in bytes: as deep as a tree of longest parts may be.
pub const PATH_MAX: usize = 64 << 10;
/// Columns that hold numbers of fixed length, which compress better when they are taken apart.
pub const NUMERIC: [u32; 3] = [MODE, OWNER, MODIFIED];

const MODE: u32 = 1;
const CONTENT: u32 = 2;
const OWNER: u32 = 3;
const USER: u32 = 4;
const GROUP: u32 = 5;
const MODIFIED: u32 = 6;
const TARGET: u32 = 7;
const DEVICE: u32 = 8;
const ATTRIBUTES: u32 = 9;
const SPARSE: u32 = 10;
const FIRST: u32 = 11;
const LACKS: u32 = 12;

/// The bits of a mode that say what it is of.
const KIND_BITS: u32 = 0o170_000;

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// Bytes.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device that is read and written in blocks.
    BlockDevice,
    /// A device of characters.
    CharDevice,
}

impl FileKind {
    /// By the bits of a mode. `None`: they say nothing that POSIX knows.
    pub fn of(mode: u32) -> Option<FileKind> {
        Some(match mode & KIND_BITS {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Folder,
            0o120_000 => FileKind::Link,
            0o010_000 => FileKind::Fifo,
            0o140_000 => FileKind::Socket,
            0o060_000 => FileKind::BlockDevice,
            0o020_000 => FileKind::CharDevice,
            _ => return None,
        })
    }

    /// Whether it is a device.
    pub fn is_device(self) -> bool {
        matches!(self, FileKind::BlockDevice | FileKind::CharDevice)
    }
}

/// What the bytes of something are: in the record, or in a blob where they are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes<'a> {
    /// These.
    Here(&'a [u8]),
    /// Those of a blob of more than one chunk, or of one.
    Blob(BlobRef),
    /// Those of one chunk of data.
    Chunk(BlobRef),
}

impl Bytes<'_> {
    /// How many bytes.
    pub fn length(&self) -> u64 {
        match self {
            Bytes::Here(bytes) => bytes.len() as u64,
            Bytes::Blob(blob) | Bytes::Chunk(blob) => blob.length,
        }
    }

    fn put(&self, column: u32, body: &mut BodyWriter<'_>) {
        let reference = match self {
            Bytes::Here(bytes) => return body.push(&cell(column, bytes)),
            Bytes::Blob(blob) => Reference::Blob(*blob),
            Bytes::Chunk(blob) => Reference::Chunk(*blob),
        };
        let mut value = Vec::new();
        reference.put(&mut value);
        body.push(&Entry { kind: EntryKind::Raw, ..cell(column, &value) });
    }
}

/// An extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attribute<'a> {
    /// Its name, with its namespace: `user.comment`.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

/// What is not there of a file or folder that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lacks {
    /// Its content, or what lies in it, could not be read: what the record and those below say stands as of an earlier snapshot, or is
    /// not known.
    pub unread: bool,
    /// Its content, or something that lies in it, was left out because the operator said so.
    pub left_out: bool,
}

/// A file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord<'a> {
    /// Kind and permissions, as `st_mode` has them.
    pub mode: u32,
    /// User and group, by number.
    pub owner: (u32, u32),
    /// The user's name, where the machine knew one.
    pub user: Option<&'a [u8]>,
    /// The group's name, where the machine knew one.
    pub group: Option<&'a [u8]>,
    /// When the content was last changed: seconds since 1970, and nanoseconds.
    pub modified: (i64, u32),
    /// The content of a file without its holes; `None` of all else, and of a file whose content is not known.
    pub content: Option<Bytes<'a>>,
    /// Where a symbolic link leads.
    pub target: Option<&'a [u8]>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// [`put_attributes`]; `None` where there are none.
    pub attributes: Option<Bytes<'a>>,
    /// [`put_extents`] of a file with holes.
    pub sparse: Option<Bytes<'a>>,
    /// Of a file with several names, the key of the first of them in this tree; the first has none.
    pub first: Option<&'a [u8]>,
    /// What is not there.
    pub lacks: Lacks,
}

fn cell(column: u32, value: &[u8]) -> Entry<'_> {
    Entry { column, kind: EntryKind::Cell, element: None, time: 0, ldt: 0, ttl: 0, value: Some(value) }
}

fn pair(a: u32, b: u32) -> Vec<u8> {
    let mut both = Vec::with_capacity(8);
    both.put_u32(a);
    both.put_u32(b);
    both
}

impl<'a> FileRecord<'a> {
    /// What it is of. `None` where the mode says nothing that is known.
    pub fn kind(&self) -> Option<FileKind> {
        FileKind::of(self.mode)
    }

    /// Appends the body.
    pub fn put(&self, out: &mut Vec<u8>) -> Traits {
        let mut body = BodyWriter::new(out);
        body.push(&cell(MODE, &self.mode.to_le_bytes()));
        self.content.iter().for_each(|content| content.put(CONTENT, &mut body));
        body.push(&cell(OWNER, &pair(self.owner.0, self.owner.1)));
        self.user.iter().for_each(|name| body.push(&cell(USER, name)));
        self.group.iter().for_each(|name| body.push(&cell(GROUP, name)));
        let mut modified = Vec::with_capacity(12);
        modified.put_i64(self.modified.0);
        modified.put_u32(self.modified.1);
        body.push(&cell(MODIFIED, &modified));
        self.target.iter().for_each(|target| body.push(&cell(TARGET, target)));
        self.device.iter().for_each(|(major, minor)| body.push(&cell(DEVICE, &pair(*major, *minor))));
        self.attributes.iter().for_each(|bytes| bytes.put(ATTRIBUTES, &mut body));
        self.sparse.iter().for_each(|bytes| bytes.put(SPARSE, &mut body));
        self.first.iter().for_each(|first| body.push(&cell(FIRST, first)));
        if self.lacks != Lacks::default() {
            body.push(&cell(LACKS, &[u8::from(self.lacks.unread) | u8::from(self.lacks.left_out) << 1]));
        }
        body.traits()
    }

    /// Reads a body.
    ///
    /// Errors: what no file tree says; `Unsupported` for a kind that is not known.
    pub fn parse(body: &'a [u8]) -> Result<FileRecord<'a>> {
        const BAD: FormatError = FormatError::Invalid("record of a file");
        let (mut mode, mut owner, mut modified) = (None, None, None);
        let mut file = FileRecord {
            mode: 0,
            owner: (0, 0),
            user: None,
            group: None,
            modified: (0, 0),
            content: None,
            target: None,
            device: None,
            attributes: None,
            sparse: None,
            first: None,
            lacks: Lacks::default(),
        };
        let mut last = 0;
        for entry in Entries::new(body) {
            let entry = entry?;
            let value = entry.value.ok_or(BAD)?;
            let plain = entry.kind == EntryKind::Cell && entry.element.is_none() && entry.time == 0 && !entry.expires();
            if entry.column <= last || !(plain || is_reference(entry.kind, entry.column) && entry.element.is_none()) {
                return Err(BAD);
            }
            last = entry.column;
            match (entry.column, plain) {
                (CONTENT, _) => file.content = Some(bytes(value, plain, CONTENT_INLINE_MAX)?),
                (ATTRIBUTES, _) => file.attributes = Some(bytes(value, plain, ASIDE_INLINE_MAX)?),
                (SPARSE, _) => file.sparse = Some(bytes(value, plain, ASIDE_INLINE_MAX)?),
                (_, false) => return Err(BAD),
                (MODE, true) => mode = Some(u32::from_le_bytes(value.try_into().map_err(|_| BAD)?)),
                (OWNER, true) => owner = Some(two(value)?),
                (USER, true) => file.user = Some(value),
                (GROUP, true) => file.group = Some(value),
                (MODIFIED, true) => {
                    let mut r = Reader::new(value, "time of a file");
                    modified = Some((r.i64()?, r.u32()?));
                    r.end()?;
                }
                (TARGET, true) => file.target = Some(value),
                (DEVICE, true) => file.device = Some(two(value)?),
                (FIRST, true) => file.first = Some(value),
                (LACKS, true) => match value {
                    [bits @ 1..=3] => file.lacks = Lacks { unread: bits & 1 != 0, left_out: bits & 2 != 0 },
                    _ => return Err(BAD),
                },
                (column, true) => return Err(FormatError::Unsupported(format!("column {column} of a file"))),
            }
        }
        let (Some(mode), Some(owner), Some(modified)) = (mode, owner, modified) else { return Err(BAD) };
        file = FileRecord { mode, owner, modified, ..file };
        if file.fits() { Ok(file) } else { Err(BAD) }
    }

    /// Whether it has what its kind has, and nothing else.
    fn fits(&self) -> bool {
        let Some(kind) = self.kind() else { return false };
        let is_file = kind == FileKind::File;
        (is_file || (self.content.is_none() && self.sparse.is_none()))
            && (self.sparse.is_none() || self.content.is_some())
            && (kind == FileKind::Link) == self.target.is_some()
            && kind.is_device() == self.device.is_some()
            && self.modified.1 < 1_000_000_000
            && self.first.is_none_or(|first| check_key(first).is_ok())
    }
}

fn two(value: &[u8]) -> Result<(u32, u32)> {
    let mut r = Reader::new(value, "numbers of a file");
    let both = (r.u32()?, r.u32()?);
    r.end()?;
    Ok(both)
}

fn bytes(value: &[u8], here: bool, most: usize) -> Result<Bytes<'_>> {
    if here {
        return if value.len() <= most { Ok(Bytes::Here(value)) } else { Err(FormatError::Invalid("bytes of a file")) };
    }
    match Reference::parse(value)? {
        Reference::Blob(blob) if blob.length > most as u64 => Ok(Bytes::Blob(blob)),
        Reference::Chunk(blob) if blob.length > most as u64 => Ok(Bytes::Chunk(blob)),
        _ => Err(FormatError::Invalid("bytes of a file")),
    }
}

/// The key of a path, whose parts are not empty and have neither `/` nor NUL.
pub fn key_of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        key.push(0);
        key.extend_from_slice(part);
    }
    if key.is_empty() {
        key.push(0);
    }
    key
}

/// The parts of a path, by its key.
///
/// Errors: parts that no path has: empty ones, `.` and `..`, one with `/` in it, and what is too long.
pub fn parts_of(key: &[u8]) -> Result<Vec<&[u8]>> {
    const BAD: FormatError = FormatError::Invalid("path of a file");
    if key == [0] {
        return Ok(Vec::new());
    }
    let rest = key.strip_prefix(&[0]).filter(|_| key.len() <= PATH_MAX).ok_or(BAD)?;
    let bad = |part: &&[u8]| {
        part.is_empty() || part.len() > PART_MAX || part.contains(&b'/') || matches!(*part, b"." | b"..")
    };
    let parts: Vec<&[u8]> = rest.split(|b| *b == 0).collect();
    if parts.iter().any(bad) { Err(BAD) } else { Ok(parts) }
}

fn check_key(key: &[u8]) -> Result<()> {
    parts_of(key).map(drop)
}

/// Appends attributes, which ascend by their names.
pub fn put_attributes(out: &mut Vec<u8>, attributes: &[Attribute<'_>]) {
    for attribute in attributes {
        out.put_string(attribute.name);
        out.put_string(attribute.value);
    }
}

/// Reads attributes. Errors: they do not ascend, or end early.
pub fn attributes(bytes: &[u8]) -> Result<Vec<Attribute<'_>>> {
    let mut r = Reader::new(bytes, "attributes of a file");
    let mut all: Vec<Attribute<'_>> = Vec::new();
    while !r.is_empty() {
        let next = Attribute { name: r.string()?, value: r.string()? };
        if next.name.is_empty() || next.name.contains(&0) || all.last().is_some_and(|last| last.name >= next.name) {
            return Err(FormatError::Invalid("attributes of a file"));
        }
        all.push(next);
    }
    Ok(all)
}

/// Appends where the bytes of a file with holes lie: the length of the whole, and pairs of the bytes of a hole and of the data behind
/// it. The last data may be followed by a hole.
pub fn put_extents(out: &mut Vec<u8>, length: u64, extents: &[(u64, u64)]) {
    out.put_varint(length);
    let mut end = 0;
    for (from, bytes) in extents {
        out.put_varint(from - end);
        out.put_varint(*bytes);
        end = from + bytes;
    }
}

/// Length of the whole, and the place and length of each piece of data, ascending.
///
/// Errors: pieces that touch, are empty or lie behind the end.
pub fn extents(bytes: &[u8]) -> Result<(u64, Vec<(u64, u64)>)> {
    const BAD: FormatError = FormatError::Invalid("holes of a file");
    let mut r = Reader::new(bytes, "holes of a file");
    let length = r.varint()?;
    let (mut all, mut end) = (Vec::new(), 0u64);
    while !r.is_empty() {
        let (hole, data) = (r.varint()?, r.varint()?);
        let from = end.checked_add(hole).ok_or(BAD)?;
        end = from.checked_add(data).filter(|end| *end <= length).ok_or(BAD)?;
        if data == 0 || (hole == 0 && !all.is_empty()) {
            return Err(BAD);
        }
        all.push((from, data));
    }
    Ok((length, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_of_a_walk_and_lead_back() {
        let paths: [&[&[u8]]; 6] = [&[], &[b"a"], &[b"a", b"\x01"], &[b"a", b"b"], &[b"a.txt"], &[b"\xff"]];
        let keys: Vec<Vec<u8>> = paths.iter().map(|parts| key_of(parts.iter().copied())).collect();
        assert!(keys.is_sorted_by(|a, b| a < b));
        for (key, parts) in keys.iter().zip(paths) {
            assert_eq!(parts_of(key).unwrap(), parts);
        }
        let long = [&[0][..], &[b'x'; 256]].concat();
        for bad in [&b""[..], b"a", b"\0a\0", b"\0\0", b"\0..", b"\0a\0.", b"\0a/b", &long] {
            assert!(parts_of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn holes_lead_back_and_others_are_refused() {
        for (length, all) in [(0, vec![]), (1 << 40, vec![]), (10, vec![(0, 1), (3, 4)]), (7, vec![(3, 4)])] {
            let mut bytes = Vec::new();
            put_extents(&mut bytes, length, &all);
            assert_eq!(extents(&bytes).unwrap(), (length, all));
        }
        for bad in [&[][..], &[5, 0, 6], &[5, 1, 0], &[5, 0, 1, 0, 1], &[5, 6, 1], &[5, 1]] {
            assert!(extents(bad).is_err(), "{bad:?}");
        }
    }
}
