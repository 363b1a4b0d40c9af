//! The bytes of a onefold repository and their meaning (SPEC.md).
//! No I/O, no clock, no randomness: nonces, keys and times enter through arguments.
//!
//! ```text
//! names ─ what objects are called          key, recipient, credential ─ who may do what
//! config ─ what is fixed                   log, log_rules, log_state, checkpoint ─ what happened, in order
//! frame ⊂ pack ─ sealed chunks             index ─ where chunks lie
//! snapshot ─ the root of one backup        record ⊂ leaf ⊂ tree, patch, blob ─ what chunks hold
//! reference ⊂ record                       run_digest ─ what proves a run
//! file_tree ─ records of files
//! ```

pub mod error;
pub mod limits;
pub mod wire;

mod cipher;
pub mod header;
pub mod id;
pub mod names;

pub mod config;
mod content;
pub mod credential;
pub mod key;
pub mod keyfile;
pub mod machine;
pub mod paper;
pub mod recipient;
mod ring;

pub mod checkpoint;
pub mod log;
mod log_lists;
pub mod log_rules;
pub mod log_state;
pub mod remark;
pub mod trim;

pub mod frame;
pub mod index;
pub mod pack;
pub mod snapshot;

pub mod blob;
pub mod file_tree;
pub mod ints;
pub mod leaf;
pub mod murmur3;
pub mod patch;
pub mod record;
pub mod reference;
pub mod run_digest;
pub mod tree;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

pub use error::{FormatError, Result};
