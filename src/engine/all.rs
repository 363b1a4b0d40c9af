//! The registry: every engine that this build knows. A new one is a folder beside this file and a line here.

use super::Engine;

/// Every engine.
pub const ALL: &[&dyn Engine] = &[&super::cassandra::Cassandra, &super::posix::Posix];
