//! The one integration-test binary: RocksDB is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod blob;
mod crash;
mod damage;
mod merge;
mod repo;
mod sim_disk;
mod stores;
mod tidy;
mod world;
