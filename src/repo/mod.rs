//! The repository: chunks into packs, packs into a store, and out again; the log that orders it all.

pub mod index;
pub mod index_memory;
#[cfg(feature = "rocksdb")]
pub mod index_rocksdb;
pub mod packer;
mod random;
