//! Packs on their way to the store: a pool of threads as wide as the store likes it, so that sealing never waits for one request.
//!
//! Memory: a pack for each thread, twice where the store's client wants its own, and one that waits: 176 MiB at most. Over a line
//! that is slower than the backup all of them fill.

use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use repo_format::pack::PackBuilder;

use crate::error::{Error, Kind, Result};
use crate::store::lock;

/// Packs on their way at once, at most, whatever the store says.
const THREADS_MAX: usize = 5;

/// Threads that upload packs.
pub struct Uploads {
    queue: Mutex<Option<Sender<PackBuilder>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Uploads {
    /// Starts `threads` threads, each of which calls `work` with what it is given until nothing more comes.
    pub fn start<W>(threads: usize, work: W) -> Result<Uploads>
    where
        W: Fn(&Receiver<PackBuilder>) + Clone + Send + 'static,
    {
        let (queue, packs) = bounded(1);
        let mut all = Vec::new();
        for number in 0..threads.clamp(1, THREADS_MAX) {
            let (packs, work) = (packs.clone(), work.clone());
            let builder = thread::Builder::new().name(format!("upload {number}"));
            all.push(builder.spawn(move || work(&packs)).map_err(|e| Error::io("uploading thread", e))?);
        }
        Ok(Uploads { queue: Mutex::new(Some(queue)), threads: Mutex::new(all) })
    }

    /// Gives a pack away; waits while one waits already.
    pub fn push(&self, pack: PackBuilder) -> Result<()> {
        let gone = || Error::new(Kind::Io, "uploading threads", "have ended");
        let queue = lock(&self.queue).clone().ok_or_else(gone)?;
        queue.send(pack).map_err(|_| gone())
    }

    /// Waits until all that was given away is uploaded, or failed. Fails where a thread panicked.
    pub fn join(&self) -> Result<()> {
        lock(&self.queue).take();
        let mut panicked = false;
        for thread in lock(&self.threads).drain(..) {
            panicked |= thread.join().is_err();
        }
        if panicked { Err(Error::new(Kind::Io, "uploading thread", "panicked")) } else { Ok(()) }
    }
}
