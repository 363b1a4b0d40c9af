//! A host, and a few connections with it: opened when they are needed, and anew when they break.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::address::Address;
use super::connection::Connection;
use crate::error::Result;
use crate::pace::Latency;

/// A machine that is reached over SSH.
pub struct Host {
    address: Address,
    /// Read by `ssh` in place of its own settings.
    settings: Option<PathBuf>,
    shown: String,
    /// Connections at once.
    most: usize,
    connections: Mutex<Connections>,
    latency: Arc<Latency>,
    changed: Condvar,
}

#[derive(Default)]
struct Connections {
    open: Vec<Arc<Connection>>,
    opening: usize,
}

impl Host {
    /// Connects with nobody yet. `shown` names it in errors. `ssh` reads the file that `ONEFOLD_SSH_CONFIG` names in place of
    /// its own settings, where that is set.
    pub fn new(address: Address, shown: String, most: usize) -> Host {
        let settings = env::var_os("ONEFOLD_SSH_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
        Host::with(address, shown, most, settings)
    }

    /// The same, with these settings.
    pub fn with(address: Address, shown: String, most: usize, settings: Option<PathBuf>) -> Host {
        let (connections, latency, changed) = Default::default();
        Host { address, settings, shown, most: most.max(1), connections, latency, changed }
    }

    /// How it is named.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// How long it works on the reads of all connections.
    pub fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn settings(&self) -> Option<&Path> {
        self.settings.as_deref()
    }

    /// A connection that nobody uses, or the least used one where no more may be opened.
    pub fn connection(&self) -> Result<Arc<Connection>> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            connections.open.retain(|connection| connection.is_alive());
            let more = connections.open.len() + connections.opening < self.most;
            // One is held here, one by each who uses it.
            match connections.open.iter().min_by_key(|connection| Arc::strong_count(connection)) {
                Some(least) if !more || Arc::strong_count(least) == 1 => return Ok(Arc::clone(least)),
                _ if more => break,
                _ => connections = self.changed.wait(connections).unwrap_or_else(PoisonError::into_inner),
            }
        }
        connections.opening += 1;
        drop(connections);
        let opened =
            Connection::open(&self.address, self.settings.as_deref(), &self.shown, &self.latency).map(Arc::new);
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.opening -= 1;
        if let Ok(opened) = &opened {
            connections.open.push(Arc::clone(opened));
        }
        self.changed.notify_all();
        opened
    }
}
