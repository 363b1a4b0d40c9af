//! The bytes of a onefold repository and their meaning (SPEC.md), in the order of its sections.
//! No I/O, no clock, no randomness: nonces, keys and times enter through arguments.

pub mod error;
pub mod frame;
pub mod header;
pub mod id;
pub mod index;
pub mod key;
pub mod limits;
pub mod names;
pub mod pack;
pub mod record;
pub mod wire;

pub use error::{FormatError, Result};
