//! Apache Cassandra: captured SSTables in, records out.
//!
//! Keys (SPEC "Cassandra keys"):
//! ```text
//! key      = group │ 0x00                        the partition's deletion      (Class::Group)
//!          = group │ 0x01                        the static row                (Class::Static)
//!          = group │ 0x02 │ clustering │ 0x38    a row                         (Class::Row)
//!          = group │ 0x02 │ prefix │ 0x20, 0x60  before, after all rows of prefix (Class::Marker)
//! group    = token (i64, sign bit flipped, big-endian) │ partition key, 00 as 00 FF │ 00 00
//! clustering, prefix = each component as 0x40 and its byte-comparable form (OSS50), DESC inverted
//! ```
//! The partition key is the raw serialised key as in the SSTable (composite keys with their lengths).
//! A table without clustering columns has rows `group │ 0x02 │ 0x38`.

pub mod capture;
#[cfg(feature = "cql")]
pub mod client;
pub mod comparable;
#[cfg(feature = "cql")]
mod connect;
pub mod cql;
pub mod filter;
mod forms;
pub mod fuzzing;
#[cfg(feature = "cql")]
mod into_cql;
mod into_sstables;
pub mod json;
mod lex;
pub mod mutate;
pub mod placing;
pub mod read_schema;
pub mod ring;
pub mod rows;
pub mod rule;
pub mod schema;
mod shown;
pub mod source;
pub mod sstable;
mod table;
pub mod text;
pub mod types;
mod value;
pub mod whose;

pub use table::Cassandra;
