//! The files that a backup reads SSTables from: a stated number open at once ([`Pool`]), however many SSTables there are.
//! Memory is shared out likewise: the more SSTables are read at once, the less each reads at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::run::{BATCH_BYTES, RecordBatch};
use crate::volume::Pool;

/// Bytes of read buffers of all SSTables that are read at once, as long as [`READ_LEAST`] for each is less.
pub const BUFFERS: usize = 48 << 20;
/// Bytes read from `Data.db` at a time where few are read at once.
pub const READ_BUFFER: usize = 256 << 10;
/// Bytes read from `Data.db` at a time where many are read at once.
pub const READ_LEAST: usize = 16 << 10;
/// Bytes of records at which a batch is full where many SSTables are read at once.
const BATCH_LEAST: usize = 8 << 10;

/// Files of which some are open, and how many SSTables are being read.
pub struct Files {
    /// What opens them.
    pub pool: Arc<Pool>,
    buffers: usize,
    least: usize,
    readers: AtomicUsize,
}

impl Files {
    /// For all SSTables of a backup.
    pub fn shared() -> Arc<Files> {
        Files::new(Pool::of_process(), BUFFERS, READ_LEAST)
    }

    /// For one SSTable read alone, `buffer` bytes at a time.
    pub fn alone(buffer: usize) -> Arc<Files> {
        Files::new(Pool::new(2), buffer, buffer.min(READ_BUFFER))
    }

    fn new(pool: Arc<Pool>, buffers: usize, least: usize) -> Arc<Files> {
        Arc::new(Files { pool, buffers, least, readers: AtomicUsize::new(0) })
    }

    /// Counts one more SSTable as being read until the result is dropped.
    pub fn reading(self: &Arc<Files>) -> Reading {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reading { files: Arc::clone(self), limit: BATCH_LEAST / 2 }
    }

    fn share(&self, of: usize) -> usize {
        of / self.readers.load(Ordering::Relaxed).max(1)
    }

    /// Bytes that each SSTable reads at a time now.
    pub fn window(&self) -> usize {
        self.share(self.buffers).clamp(self.least, READ_BUFFER.max(self.least))
    }
}

/// An SSTable that counts as being read.
pub struct Reading {
    files: Arc<Files>,
    /// Bytes that its last batch might have.
    limit: usize,
}

impl Reading {
    /// Makes `batch` as large as each SSTable that is read now may fill; the first ones less, since more may be opened soon.
    pub fn limit(&mut self, batch: &mut RecordBatch) {
        let share = self.files.share(self.files.buffers / 2).clamp(BATCH_LEAST, BATCH_BYTES);
        self.limit = share.min(2 * self.limit);
        batch.set_limit(self.limit);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.files.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_are_read_the_less_each_takes() {
        let files = Files::shared();
        let mut reading: Vec<Reading> = Vec::new();
        for (readers, window, batch) in
            [(1, READ_BUFFER, BATCH_BYTES), (768, 64 << 10, 32 << 10), (9999, READ_LEAST, BATCH_LEAST)]
        {
            reading.resize_with(readers, || files.reading());
            assert_eq!(files.window(), window);
            let mut full = RecordBatch::new();
            let limits: Vec<usize> = (0..6)
                .map(|_| {
                    reading[0].limit(&mut full);
                    full.limit()
                })
                .collect();
            assert!(limits[5] == batch && limits.windows(2).all(|two| two[1] <= 2 * two[0]), "{limits:?}");
        }
    }
}
