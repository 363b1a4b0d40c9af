//! Identifiers. Each names one kind of thing, so that none is taken for another.

use crate::error::{FormatError, Result};
use std::fmt;

/// Defines an identifier of so many bytes that prints as hex.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Bytes in one.
            pub const LEN: usize = $len;

            /// From lower-case hex, as it prints.
            pub fn from_hex(text: &str) -> Result<$name> {
                let mut bytes = [0; $len];
                unhex(text, &mut bytes).map(|()| $name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().take(6).try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    };
}

id_type!(
    /// Name of a chunk: keyed BLAKE3 of its plaintext and kind.
    ChunkId, 32
);
id_type!(
    /// A repository: random, fixed at its creation.
    RepoId, 32
);
id_type!(
    /// A session: the number of the entry that opens it, and the first bytes of its writer's key. So no two are alike,
    /// and whose a pack is, and how old, shows in its name. Packs and index objects carry it in theirs.
    SessionId, 16
);
id_type!(
    /// A writer: its Ed25519 public key. The administrator's public key has the same form.
    WriterId, 32
);
id_type!(
    /// A snapshot: BLAKE3 of its object.
    SnapshotId, 32
);
id_type!(
    /// A credential object: BLAKE3 of its bytes.
    CredentialId, 32
);
id_type!(
    /// Plain BLAKE3 of an object, readable by anyone who has the object.
    ObjectHash, 32
);

impl SessionId {
    /// The session that entry `n` by `writer` opens.
    pub fn new(n: u64, writer: &WriterId) -> SessionId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id[8..].copy_from_slice(&writer.0[..8]);
        SessionId(id)
    }

    /// Number of the entry that opens it.
    pub fn opened(&self) -> u64 {
        self.0[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// Whether it is this writer's.
    pub fn is_of(&self, writer: &WriterId) -> bool {
        self.0[8..] == writer.0[..8]
    }
}

impl ObjectHash {
    /// Of a whole object.
    pub fn of(object: &[u8]) -> ObjectHash {
        ObjectHash(*blake3::hash(object).as_bytes())
    }
}

/// Lower-case hex only, so that a name has one spelling.
fn unhex(text: &str, out: &mut [u8]) -> Result<()> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(FormatError::Invalid("hex digit")),
    };
    if text.len() != 2 * out.len() {
        return Err(FormatError::Invalid("length of hex"));
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

/// What a chunk holds. The kind goes into its id, so a chunk of one kind never answers for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkKind {
    /// Records of a tree that was backed up.
    Leaf = 1,
    /// Children of a tree.
    Branch = 2,
    /// A piece of a file or a large value, cut by FastCDC.
    Data = 3,
    /// The list of the pieces of a blob.
    BlobList = 4,
    /// Records of a tree in which a snapshot says something itself: patches of nodes, kept files.
    MetadataLeaf = 5,
}

impl ChunkKind {
    /// All, in the order of their numbers.
    pub const ALL: [ChunkKind; 5] =
        [ChunkKind::Leaf, ChunkKind::Branch, ChunkKind::Data, ChunkKind::BlobList, ChunkKind::MetadataLeaf];

    /// From its number.
    pub fn from_u8(n: u8) -> Result<ChunkKind> {
        match n {
            1 => Ok(ChunkKind::Leaf),
            2 => Ok(ChunkKind::Branch),
            3 => Ok(ChunkKind::Data),
            4 => Ok(ChunkKind::BlobList),
            5 => Ok(ChunkKind::MetadataLeaf),
            _ => Err(FormatError::Unsupported(format!("chunk kind {n}"))),
        }
    }
}
