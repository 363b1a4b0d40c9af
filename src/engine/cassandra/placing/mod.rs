//! Records to the nodes of another cluster: who gets which ranges, and in which files.
//!
//! ```text
//! ring       what `nodetool ring`, `nodetool describering` or JSON says of the target
//! parts      token ranges by the nodes that hold them: what several nodes hold alike is written once
//! cut        which file of a part a record belongs to, by the table's compaction: windows, levels, sizes
//! windows    the windows that there are, no more than files can be had for
//! plan       parts and cut, chosen for a table of some size by what they cost
//! files      the files being written, a bounded number at once
//! folders    files in the folders of nodes, one writing linked into all that hold it
//! ```

pub mod cut;
pub mod files;
pub mod folders;
pub mod parts;
pub mod plan;
pub mod ring;
pub mod windows;

pub use cut::Cut;
pub use files::{FileSink, Files, Place, Progress, Writing};
pub use parts::{By, Parts, Placed};
pub use plan::{Plan, Size};
pub use ring::TargetRing;
pub use windows::Windows;

#[cfg(test)]
mod tests;
