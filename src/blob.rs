//! Large values and opaque files.

use repo_format::record::Traits;

use crate::error::{Error, Kind, Result};
use crate::run::{ChunkSink, ChunkSource};

/// Stores a body beside its leaf; gives the body that stands for it there.
pub fn external_body(_sink: &dyn ChunkSink, _body: &[u8]) -> Result<Vec<u8>> {
    Err(Error::new(Kind::TooLarge, "record", "large"))
}

/// Replaces the body from `start` on, which stands for one stored beside its leaf, by that one.
pub fn internal_body(_chunks: &dyn ChunkSource, _out: &mut Vec<u8>, _start: usize) -> Result<Traits> {
    Err(Error::new(Kind::TooLarge, "record", "large"))
}
