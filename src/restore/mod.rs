//! A snapshot out again, one file a form.

mod files;
mod rows;
pub mod select;

pub use files::{files, kept_files};
pub use rows::{copy_from, csv, json};
pub use select::Selection;
