//! Reading ahead: a run that another thread fills.

use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::Result;
use crate::run::{BATCH_BYTES, RECORD_LARGE, RecordBatch, Run};

/// Bytes of batches in flight between all threads that read ahead of one reader and that reader, as long as each has
/// [`DEPTH_LEAST`] batches.
const IN_FLIGHT: usize = 8 << 20;
const DEPTH_LEAST: usize = 3;
/// From so many on, more save nothing.
const DEPTH_MOST: usize = 16;

/// How many batches each of `runs` threads is ahead of one reader: with few, threads wait for one another at each batch.
fn depth(runs: usize) -> usize {
    (IN_FLIGHT / BATCH_BYTES / runs.max(1)).clamp(DEPTH_LEAST, DEPTH_MOST)
}

struct Ahead {
    full: Receiver<Result<RecordBatch>>,
    empty: Sender<RecordBatch>,
    /// Says that a large batch was used and let go of.
    used: Sender<()>,
    large: bool,
}

/// A batch that one large record has swollen, or that says that one comes. The other thread waits until it was used, or as
/// many of them as there are batches in flight would lie in memory, for each node.
fn is_large(batch: &RecordBatch) -> bool {
    batch.bytes() > RECORD_LARGE || batch.coming().is_some()
}

/// Moves `run` to a thread of `scope`, which stays some batches ahead of the reader. `runs`: so many are moved for this reader.
pub fn ahead<'scope, 'env, R>(
    scope: &'scope Scope<'scope, 'env>,
    name: &str,
    runs: usize,
    mut run: R,
) -> Result<Box<dyn Run + 'scope>>
where
    R: Run + 'scope,
{
    let depth = depth(runs);
    let (full_in, full) = bounded(depth);
    let (empty, empty_out) = bounded::<RecordBatch>(depth + 1);
    let (used, used_out) = bounded::<()>(1);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, move || {
            loop {
                let mut batch = empty_out.try_recv().unwrap_or_default();
                let filled = match run.next_batch(&mut batch) {
                    Ok(true) => Ok(batch),
                    Ok(false) => return,
                    Err(e) => Err(e),
                };
                let (failed, large) = (filled.is_err(), filled.as_ref().is_ok_and(is_large));
                // A closed channel means the reader is gone: it has an error of its own to report.
                if full_in.send(filled).is_err() || failed || (large && used_out.recv().is_err()) {
                    return;
                }
            }
        })
        .map_err(|e| crate::Error::io("starting a thread", e))?;
    Ok(Box::new(Ahead { full, empty, used, large: false }))
}

impl Run for Ahead {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        if std::mem::take(&mut self.large) {
            out.clear();
            // Nobody waits for it only when the other thread has ended.
            let _ = self.used.send(());
        }
        match self.full.recv() {
            Ok(Ok(batch)) => {
                self.large = is_large(&batch);
                let used = std::mem::replace(out, batch);
                // Full only when the other thread has ended; then nobody needs it.
                let _ = self.empty.try_send(used);
                Ok(true)
            }
            Ok(Err(e)) => Err(e),
            // The writer has ended. A panic there is reported by the scope when it joins.
            Err(_) => {
                out.clear();
                Ok(false)
            }
        }
    }
}
