//! Names of objects (SPEC "Names"): the only place that spells one.

use crate::error::{FormatError, Result};
use crate::id::{ChunkKind, CredentialId, ObjectHash, SessionId, SnapshotId};
use crate::wire::Reader;
use std::fmt;

/// What a pack holds. A listing tells it, so that a store may keep one class in a dearer, faster tier than the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PackClass {
    /// What leads to content and what a snapshot says of it: branches, lists of blobs, metadata leaves.
    Metadata = 1,
    /// What was backed up: leaves and pieces of blobs.
    Content = 2,
}

impl PackClass {
    /// Both, in the order of their numbers.
    pub const ALL: [PackClass; 2] = [PackClass::Metadata, PackClass::Content];

    /// Which packs hold chunks of this kind.
    pub fn of(kind: ChunkKind) -> PackClass {
        match kind {
            ChunkKind::Branch | ChunkKind::BlobList | ChunkKind::MetadataLeaf => PackClass::Metadata,
            ChunkKind::Leaf | ChunkKind::Data => PackClass::Content,
        }
    }

    /// The kind of the leaves that lie in its packs.
    pub fn leaf(self) -> ChunkKind {
        match self {
            PackClass::Metadata => ChunkKind::MetadataLeaf,
            PackClass::Content => ChunkKind::Leaf,
        }
    }

    /// From its number.
    pub fn from_u8(n: u8) -> Result<PackClass> {
        match n {
            1 => Ok(PackClass::Metadata),
            2 => Ok(PackClass::Content),
            _ => Err(FormatError::Unsupported(format!("class {n} of a pack"))),
        }
    }

    /// The folder of its packs, below that of all packs.
    pub fn word(self) -> &'static str {
        match self {
            PackClass::Metadata => "metadata",
            PackClass::Content => "content",
        }
    }
}

/// A pack: the session that wrote it, what it holds and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackName {
    /// Who wrote it.
    pub session: SessionId,
    /// What it holds.
    pub class: PackClass,
    /// BLAKE3 of the object.
    pub hash: ObjectHash,
}

impl PackName {
    /// Length in bytes where another object names it.
    pub const LEN: usize = SessionId::LEN + 1 + ObjectHash::LEN;

    /// As another object names it; such bytes sort as [`PackName`]s do.
    pub fn to_bytes(&self) -> [u8; PackName::LEN] {
        let mut out = [0; PackName::LEN];
        out[..SessionId::LEN].copy_from_slice(&self.session.0);
        out[SessionId::LEN] = self.class as u8;
        out[SessionId::LEN + 1..].copy_from_slice(&self.hash.0);
        out
    }

    /// The reverse of [`PackName::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<PackName> {
        let mut r = Reader::new(bytes, "name of a pack");
        let name = PackName::read(&mut r)?;
        r.end()?;
        Ok(name)
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<PackName> {
        let session = SessionId(r.array()?);
        let class = PackClass::from_u8(r.u8()?)?;
        Ok(PackName { session, class, hash: ObjectHash(r.array()?) })
    }
}

/// An index object: the session that wrote it and the hash of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexName {
    /// Who wrote it.
    pub session: SessionId,
    /// BLAKE3 of the object.
    pub hash: ObjectHash,
}

/// Kinds of objects; each has its own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ObjectKind {
    /// The configuration, of which there is one.
    Config = 1,
    /// Credentials.
    Key = 2,
    /// Log entries.
    Log = 3,
    /// States of the log.
    Checkpoint = 4,
    /// Snapshots.
    Snapshot = 5,
    /// Packs.
    Pack = 6,
    /// Index objects.
    Index = 7,
    /// Marks of trimming.
    Trim = 8,
}

impl ObjectKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [ObjectKind; 8] = [
        ObjectKind::Config,
        ObjectKind::Key,
        ObjectKind::Log,
        ObjectKind::Checkpoint,
        ObjectKind::Snapshot,
        ObjectKind::Pack,
        ObjectKind::Index,
        ObjectKind::Trim,
    ];

    /// The word its names start with; what follows is a slash, but for the configuration.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Config => "config",
            ObjectKind::Key => "key",
            ObjectKind::Log => "log",
            ObjectKind::Checkpoint => "checkpoint",
            ObjectKind::Snapshot => "snapshot",
            ObjectKind::Pack => "pack",
            ObjectKind::Index => "index",
            ObjectKind::Trim => "trim",
        }
    }

    /// Names of this kind begin so; listing by this prefix gives them all.
    pub fn prefix(self) -> &'static str {
        match self {
            ObjectKind::Config => "config",
            ObjectKind::Key => "key/",
            ObjectKind::Log => "log/",
            ObjectKind::Checkpoint => "checkpoint/",
            ObjectKind::Snapshot => "snapshot/",
            ObjectKind::Pack => "pack/",
            ObjectKind::Index => "index/",
            ObjectKind::Trim => "trim/",
        }
    }
}

/// The folder of second objects.
pub const COPIES: &str = "copy";

/// The name of any object but second ones. Prints and parses as it stands in the store; one name has one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// `config`
    Config,
    /// `key/<hash>`
    Key(CredentialId),
    /// `log/<n>`, 20 digits, so that names sort as numbers.
    Log(u64),
    /// `checkpoint/<n>-<hash>`: the state after entry n. Several may exist; see `checkpoint`.
    Checkpoint(u64, ObjectHash),
    /// `snapshot/<hash>`
    Snapshot(SnapshotId),
    /// `pack/<class>/<session>-<hash>`
    Pack(PackName),
    /// `index/<session>-<hash>`
    Index(IndexName),
    /// `trim/<n>`
    Trim(u64),
}

impl Name {
    /// The kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Name::Config => ObjectKind::Config,
            Name::Key(_) => ObjectKind::Key,
            Name::Log(_) => ObjectKind::Log,
            Name::Checkpoint(..) => ObjectKind::Checkpoint,
            Name::Snapshot(_) => ObjectKind::Snapshot,
            Name::Pack(_) => ObjectKind::Pack,
            Name::Index(_) => ObjectKind::Index,
            Name::Trim(_) => ObjectKind::Trim,
        }
    }

    /// The hash of the object's bytes that the name carries; `None` for `config`, log entries and marks of trimming.
    pub fn hash(&self) -> Option<ObjectHash> {
        match self {
            Name::Config | Name::Log(_) | Name::Trim(_) => None,
            Name::Key(id) => Some(ObjectHash(id.0)),
            Name::Checkpoint(_, hash) => Some(*hash),
            Name::Snapshot(id) => Some(ObjectHash(id.0)),
            Name::Pack(name) => Some(name.hash),
            Name::Index(name) => Some(name.hash),
        }
    }

    /// Whether `object` is what the name says. Names that carry no hash fit every object.
    pub fn verify(&self, object: &[u8]) -> Result<()> {
        match self.hash() {
            Some(hash) if hash != ObjectHash::of(object) => Err(FormatError::Mismatch("object's name")),
            _ => Ok(()),
        }
    }

    /// Whether a second object of the same bytes stands under [`Name::copy`]: all else hangs on this one, or nothing can
    /// make it again. (Of checkpoints the administrator's alone.)
    pub fn has_copy(&self) -> bool {
        !matches!(self, Name::Pack(_) | Name::Index(_))
    }

    /// Where the second object of the same bytes stands.
    pub fn copy(&self) -> String {
        format!("{COPIES}/{self}")
    }

    /// Parses the name of a second object, and gives that of the first.
    pub fn parse_copy(text: &str) -> Result<Name> {
        let bad = FormatError::Invalid("object name");
        let first = text.strip_prefix(COPIES).and_then(|rest| rest.strip_prefix('/')).ok_or(bad.clone())?;
        Name::parse(first).and_then(|name| if name.has_copy() { Ok(name) } else { Err(bad) })
    }

    /// Parses a name as it stands in the store.
    pub fn parse(text: &str) -> Result<Name> {
        if text == "config" {
            return Ok(Name::Config);
        }
        let bad = FormatError::Invalid("object name");
        let (word, rest) = text.split_once('/').ok_or(bad.clone())?;
        let two = || rest.split_once('-').ok_or(bad.clone());
        match word {
            "key" => CredentialId::from_hex(rest).map(Name::Key),
            "log" => number(rest).map(Name::Log),
            "trim" => number(rest).map(Name::Trim),
            "checkpoint" => {
                let (n, hash) = two()?;
                Ok(Name::Checkpoint(number(n)?, ObjectHash::from_hex(hash)?))
            }
            "snapshot" => SnapshotId::from_hex(rest).map(Name::Snapshot),
            "pack" => {
                let (word, rest) = rest.split_once('/').ok_or(bad.clone())?;
                let class = PackClass::ALL.into_iter().find(|class| class.word() == word).ok_or(bad.clone())?;
                let (session, hash) = rest.split_once('-').ok_or(bad)?;
                let (session, hash) = (SessionId::from_hex(session)?, ObjectHash::from_hex(hash)?);
                Ok(Name::Pack(PackName { session, class, hash }))
            }
            "index" => {
                let (session, hash) = two()?;
                let (session, hash) = (SessionId::from_hex(session)?, ObjectHash::from_hex(hash)?);
                Ok(Name::Index(IndexName { session, hash }))
            }
            _ => Err(bad),
        }
    }
}

/// Exactly 20 digits.
fn number(text: &str) -> Result<u64> {
    if text.len() != 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FormatError::Invalid("number in object name"));
    }
    text.parse().map_err(|_| FormatError::Invalid("number in object name"))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Config => f.write_str("config"),
            Name::Key(id) => write!(f, "key/{id}"),
            Name::Log(n) => write!(f, "log/{n:020}"),
            Name::Checkpoint(n, hash) => write!(f, "checkpoint/{n:020}-{hash}"),
            Name::Snapshot(id) => write!(f, "snapshot/{id}"),
            Name::Pack(name) => name.fmt(f),
            Name::Index(name) => name.fmt(f),
            Name::Trim(n) => write!(f, "trim/{n:020}"),
        }
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack/{}/{}-{}", self.class.word(), self.session, self.hash)
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index/{}-{}", self.session, self.hash)
    }
}
