//! The one integration-test binary: RocksDB is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod blob;
mod caches;
mod capture_shapes;
mod cassandra_dump;
mod cassandra_mutate;
mod cassandra_read;
mod cassandra_rows;
mod cassandra_schema;
mod cassandra_write;
mod cli;
mod clocks;
mod crash;
mod csv;
mod damage;
mod drift;
mod expected;
mod faces;
mod flow;
mod foreign;
mod fuzz;
mod heal;
mod holes;
mod kill;
mod large_values;
mod left_links;
mod many_files;
mod measure;
mod merge;
mod previous;
mod proof;
mod repo;
#[cfg(feature = "cql")]
mod restore_cql;
mod restore_rows;
mod restore_sstables;
mod select;
mod sim_disk;
mod sstable_faults;
mod stores;
mod tidy;
mod twice;
mod user;
mod world;
