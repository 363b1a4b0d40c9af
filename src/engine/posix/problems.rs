//! What of the files of this machine is not in the snapshot, or not as it is.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::patterns::path_of;
use crate::watch::Watch;

/// Problems that are said one by one; of the others only how many there are. A snapshot has room for no more than some of what a disk
/// that cannot be read has.
const SAID_MAX: usize = 1000;

/// See the module.
pub struct Problems<'a> {
    watch: &'a Watch,
    all: AtomicUsize,
}

impl<'a> Problems<'a> {
    /// None yet; `watch` is told of them.
    pub fn new(watch: &'a Watch) -> Problems<'a> {
        Problems { watch, all: AtomicUsize::new(0) }
    }

    /// Of what is at `key`. `gap`: it went away or changed meanwhile; otherwise it cannot be read.
    pub fn add(&self, key: &[u8], gap: bool, what: &str) {
        if self.all.fetch_add(1, Ordering::Relaxed) < SAID_MAX {
            let path = path_of(key);
            if gap {
                self.watch.gap(path.display(), what);
            } else {
                self.watch.problem(false, path.display(), what);
            }
        }
    }

    /// Says how many were not said.
    pub fn finish(&self) {
        let more = self.all.load(Ordering::Relaxed).saturating_sub(SAID_MAX);
        if more > 0 {
            self.watch.problem(false, "files", format_args!("{more} more could not be read, or not as they should be"));
        }
    }
}
