//! Identifiers. Each names one kind of thing, so that none is taken for another.

use std::fmt;

/// Defines a 32-byte identifier that prints as hex.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

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
    /// Name of a chunk: keyed BLAKE3 of its kind and plaintext.
    ChunkId
);

/// What a chunk holds. The kind goes into its id, so a chunk of one kind never answers for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkKind {
    /// Records of a tree.
    Leaf = 1,
    /// Children of a tree.
    Branch = 2,
    /// A piece of a file or a large value, cut by FastCDC.
    Data = 3,
    /// The list of the pieces of a blob.
    BlobList = 4,
}
