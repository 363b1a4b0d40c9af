//! Packs on their way to the store: a pool of threads as wide as the store likes it, so that sealing never waits for one request.
//!
//! Memory: [`BYTES_MAX`] of packs that wait or are under way, which the store's client shares and does not copy. Over a line that
//! is slower than the backup it fills, and only then does whoever gives another wait.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use crate::error::{Error, Kind, Result};
use crate::store::lock;

/// Packs on their way at once, at most, whatever the store says.
const THREADS_MAX: usize = 16;
/// Bytes given away and not yet uploaded: nine packs of content, and metadata beside them.
pub const BYTES_MAX: usize = 160 << 20;

/// Threads that upload what they are given.
pub struct Uploads<T> {
    queue: Mutex<Option<Sender<(T, Held)>>>,
    room: Arc<Room>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How many bytes may still be given away.
struct Room {
    free: Mutex<usize>,
    more: Condvar,
}

/// Bytes that are taken until this goes, however that comes.
struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.room.free) += self.bytes;
        self.room.more.notify_all();
    }
}

impl Room {
    /// Waits until there is room. What is larger than all of it goes alone.
    fn hold(self: &Arc<Room>, bytes: usize) -> Held {
        let bytes = bytes.min(BYTES_MAX);
        let full = |free: &mut usize| *free < bytes;
        let mut free = self.more.wait_while(lock(&self.free), full).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Held { room: self.clone(), bytes }
    }
}

impl<T: Send + 'static> Uploads<T> {
    /// Starts `threads` threads, each of which calls `work` with one thing after another until nothing more comes.
    pub fn start<W>(threads: usize, work: W) -> Result<Uploads<T>>
    where
        W: Fn(T) + Clone + Send + 'static,
    {
        // What waits is bounded by its bytes.
        let (queue, things) = unbounded::<(T, Held)>();
        let room = Arc::new(Room { free: Mutex::new(BYTES_MAX), more: Condvar::new() });
        let mut all = Vec::new();
        for number in 0..threads.clamp(1, THREADS_MAX) {
            let (things, work) = (things.clone(), work.clone());
            let run = move || things.iter().for_each(|(thing, _held)| work(thing));
            let builder = thread::Builder::new().name(format!("upload {number}"));
            all.push(builder.spawn(run).map_err(|e| Error::io("uploading thread", e))?);
        }
        Ok(Uploads { queue: Mutex::new(Some(queue)), room, threads: Mutex::new(all) })
    }

    /// Gives something of so many bytes away; waits while too much is on its way.
    pub fn push(&self, thing: T, bytes: usize) -> Result<()> {
        let gone = || Error::new(Kind::Io, "uploading threads", "have ended");
        let queue = lock(&self.queue).clone().ok_or_else(gone)?;
        queue.send((thing, self.room.hold(bytes))).map_err(|_| gone())
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// As many at once as were asked for: each waits until all are there.
    #[test]
    fn the_pool_is_as_wide_as_the_store_likes() {
        for width in [1, 2, THREADS_MAX] {
            let meeting = Arc::new(Barrier::new(width));
            let done = Arc::new(AtomicUsize::new(0));
            let (there, count) = (meeting, done.clone());
            let uploads = Uploads::start(width, move |_: u8| {
                there.wait();
                count.fetch_add(1, Ordering::Relaxed);
            })
            .unwrap();
            (0..3 * width).for_each(|_| uploads.push(7, 1 << 20).unwrap());
            uploads.join().unwrap();
            assert_eq!(done.load(Ordering::Relaxed), 3 * width);
        }
    }

    /// What waits counts with what is under way, and what is larger than all room goes alone.
    #[test]
    fn bytes_on_their_way_are_bounded() {
        let (on_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (under_way, seen) = (on_way.clone(), most.clone());
        let uploads = Uploads::start(4, move |bytes: usize| {
            thread::sleep(Duration::from_millis(1));
            seen.fetch_max(under_way.load(Ordering::SeqCst), Ordering::SeqCst);
            under_way.fetch_sub(bytes, Ordering::SeqCst);
        })
        .unwrap();
        for n in 0..200 {
            let bytes = (n % 7 + 1) << 20;
            // What waits for room is counted, too.
            on_way.fetch_add(bytes, Ordering::SeqCst);
            uploads.push(bytes, bytes).unwrap();
        }
        let too_much = 2 * BYTES_MAX;
        on_way.fetch_add(too_much, Ordering::SeqCst);
        let before = most.swap(0, Ordering::SeqCst);
        uploads.push(too_much, too_much).unwrap();
        uploads.join().unwrap();
        assert!(before > BYTES_MAX / 2 && before <= BYTES_MAX + (7 << 20), "{before}");
        assert!(most.load(Ordering::SeqCst) >= too_much);
    }

    /// A thread that panics gives its room back, so nobody waits for ever, and the end says so.
    #[test]
    fn a_panic_is_said_and_holds_nobody_up() {
        let uploads = Uploads::start(2, |thing: u8| assert_ne!(thing, 0)).unwrap();
        uploads.push(0, BYTES_MAX).unwrap();
        uploads.push(1, BYTES_MAX).unwrap();
        uploads.push(2, BYTES_MAX).unwrap();
        let e = uploads.join().unwrap_err();
        assert!(e.to_string().contains("panicked"), "{e}");
    }
}
