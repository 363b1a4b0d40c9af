//! onefold: backup for replicated databases. Three replicas in, one reconciled copy stored.
//!
//! ```text
//! backup    node files ─decode→ runs ─merge→ run ─break→ tree ─seal→ chunks ─pack→ packs ─→ store
//! restore   store ─→ packs ─open→ chunks ─walk→ runs ─merge→ run ─encode→ files, or the database's own protocol
//! ```

pub mod backup;
pub mod blob;
pub mod browse;
pub mod check;
pub mod cli;
pub mod diff;
pub mod drift;
pub mod engine;
pub mod error;
pub mod find;
pub mod forget;
pub mod history;
pub mod maintain;
pub mod merge;
pub mod pace;
pub mod patterns;
pub mod prices;
pub mod prune;
pub mod repair;
pub mod repo;
pub mod report;
pub mod restore;
pub mod run;
pub mod snapshot;
pub mod ssh;
pub mod stats;
pub mod status;
pub mod store;
pub mod tree;
pub mod view;
pub mod volume;
pub mod watch;
pub mod whole;

pub use error::{Error, Kind, Result};
