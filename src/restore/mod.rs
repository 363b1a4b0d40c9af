//! A snapshot out again, one file a form.

#[cfg(feature = "cql")]
pub mod cassandra;
mod files;
mod json;
pub mod select;
pub mod sstables;

pub use files::{files, kept_files};
pub use json::json;
pub use select::Selection;
pub use sstables::sstables;
