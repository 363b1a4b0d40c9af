//! A snapshot out again, one file a form.

mod arguments;
#[cfg(feature = "cql")]
pub mod cassandra;
mod files;
pub mod rows;
pub mod sstables;
pub mod tables;
pub mod whole;

pub use files::files;
pub use rows::rows;
pub use sstables::sstables;
