//! The bytes of a onefold repository and their meaning (SPEC.md), in the order of its sections.
//! No I/O, no clock, no randomness: nonces and times enter through arguments.

pub mod error;
pub mod id;
pub mod ints;
pub mod leaf;
pub mod murmur3;
pub mod patch;
pub mod record;
pub mod tree;
pub mod wire;

pub use error::{FormatError, Result};
