//! File trees (SPEC "File trees"): a file, folder or link as a record, by its path.
//!
//! ```text
//! key        = 00 │ part of the path │ 00 │ part …; of the root 00 alone
//! body       = columns, each a cell of time 0 or a reference
//! attributes = attribute │ attribute …
//! attribute  = name string │ value string
//! holes      = length of the whole varint │ piece │ piece …
//! piece      = bytes of the hole before it varint │ bytes of data varint
//! ```
//! What is of one machine alone (inode, device, times of access and change of status) is in no record: equal trees of two machines
//! are equal.

mod aside;

pub use aside::{Attribute, attributes, extents, put_attributes, put_extents};

use crate::blob::BlobRef;
use crate::error::{FormatError, Result};
use crate::leaf::{BODY_INLINE_MAX, VALUE_INLINE_MAX};
use crate::limits::{
    ASIDE_INLINE_MAX, ASIDE_MAX, CONTENT_INLINE_MAX, DATA_CHUNK_MAX, PART_MAX, PATH_MAX, TARGET_MAX, USER_NAME_MAX,
};
use crate::record::{BodyWriter, Entries, Entry, EntryKind, SAME_TIME, Traits};
use crate::reference::Reference;
use crate::wire::{Put, Reader};

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

const RAW_HEAD: u8 = EntryKind::Raw as u8;
/// Of the first cell, which says the time of all.
const CELL_HEAD: u8 = EntryKind::Cell as u8;

// A record has references, so nothing of it may lie as a blob beside its leaf.
const _: () = assert!(ASIDE_INLINE_MAX <= VALUE_INLINE_MAX && TARGET_MAX <= VALUE_INLINE_MAX);
const _: () = assert!(USER_NAME_MAX <= VALUE_INLINE_MAX);
const _: () = assert!(
    CONTENT_INLINE_MAX + 2 * USER_NAME_MAX + TARGET_MAX + 2 * ASIDE_INLINE_MAX + VALUE_INLINE_MAX + 256
        <= BODY_INLINE_MAX
);

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

    /// Whether they stand where so many belong that stand here up to `here` bytes, and are `most` at most.
    fn fits(&self, here: usize, most: u64) -> bool {
        let length = self.length();
        match self {
            Bytes::Here(bytes) => bytes.len() <= here,
            Bytes::Chunk(_) => length > here as u64 && length <= most.min(DATA_CHUNK_MAX as u64),
            Bytes::Blob(_) => length > here as u64 && length <= most,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Of a file with several names, the key of the first of them in this tree; the first has none, and neither has one whose first is
    /// longer than a value may be that stands in a leaf.
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
        let (mut cell_head, mut last) = (CELL_HEAD, 0);
        let mut file = FileRecord::default();
        let mut entries = Entries::new(body);
        while let Some(head) = entries.head() {
            let Some(entry) = entries.next_entry()? else { break };
            let value = entry.value.ok_or(BAD)?;
            let plain = head == cell_head;
            if entry.column <= last || entry.time != 0 || !(plain || head == RAW_HEAD) {
                return Err(BAD);
            }
            last = entry.column;
            if plain {
                cell_head = CELL_HEAD | SAME_TIME;
            }
            match (entry.column, plain) {
                (CONTENT, _) => file.content = Some(bytes(value, plain)?),
                (ATTRIBUTES, _) => file.attributes = Some(bytes(value, plain)?),
                (SPARSE, _) => file.sparse = Some(bytes(value, plain)?),
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

    /// Whether it has what its kind has, and nothing else, each in the place where it belongs. Such a record lies whole in its leaf.
    pub fn fits(&self) -> bool {
        let Some(kind) = self.kind() else { return false };
        let is_file = kind == FileKind::File;
        let name_fits = |name: &[u8]| (1..=USER_NAME_MAX).contains(&name.len());
        let aside_fits = |bytes: Bytes<'_>| bytes.length() > 0 && bytes.fits(ASIDE_INLINE_MAX, ASIDE_MAX as u64);
        (is_file || (self.content.is_none() && self.sparse.is_none()))
            && (self.sparse.is_none() || self.content.is_some())
            && self.content.is_none_or(|content| content.fits(CONTENT_INLINE_MAX, u64::MAX))
            && [self.attributes, self.sparse].into_iter().flatten().all(aside_fits)
            && [self.user, self.group].into_iter().flatten().all(name_fits)
            && (kind == FileKind::Link) == self.target.is_some()
            && self.target.is_none_or(|target| target.len() <= TARGET_MAX)
            && kind.is_device() == self.device.is_some()
            && self.modified.1 < 1_000_000_000
            && self.first.is_none_or(|first| kind != FileKind::Folder && is_first(first))
    }
}

fn two(value: &[u8]) -> Result<(u32, u32)> {
    let mut r = Reader::new(value, "numbers of a file");
    let both = (r.u32()?, r.u32()?);
    r.end()?;
    Ok(both)
}

fn bytes(value: &[u8], here: bool) -> Result<Bytes<'_>> {
    if here {
        return Ok(Bytes::Here(value));
    }
    match Reference::parse(value)? {
        Reference::Blob(blob) => Ok(Bytes::Blob(blob)),
        Reference::Chunk(blob) => Ok(Bytes::Chunk(blob)),
        Reference::Tree(_) => Err(FormatError::Invalid("bytes of a file")),
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

/// Whether a record can say that this is the key of the first name of its file.
pub fn is_first(key: &[u8]) -> bool {
    key.len() <= VALUE_INLINE_MAX && parts_of(key).is_ok_and(|parts| !parts.is_empty())
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
        let long = [&[0][..], &[b'x'; PART_MAX]].concat();
        assert_eq!(parts_of(&long).unwrap(), [&long[1..]]);
        let too_long = [&long[..], b"x"].concat();
        let deep = b"\0a".repeat(PATH_MAX / 2);
        assert_eq!(parts_of(&deep).unwrap().len(), PATH_MAX / 2);
        let too_deep = [&deep[..], b"x"].concat();
        for bad in [&b""[..], b"a", b"\0a\0", b"\0\0", b"\0..", b"\0a\0.", b"\0a/b", &too_long, &too_deep] {
            assert!(parts_of(bad).is_err(), "{bad:?}");
        }
    }
}
