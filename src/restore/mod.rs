//! A snapshot out again: rows and kept files by files of their own, and whatever forms its engine has.

mod files;
pub mod forms;
pub mod into;
pub mod rows;
pub mod tables;
pub mod tree;

pub use files::files;
pub use rows::rows;
