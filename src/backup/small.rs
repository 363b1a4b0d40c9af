//! Small shards, each folded by one of several threads before its turn has come: of a thousand tables most hold next to nothing,
//! and to start threads for the nodes of each would take longer than to read them.
//!
//! What is said of shards, and what is kept of their files, is said and kept in their order, by whoever asks for them here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Scope};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::fold::{Attempt, Common, Outcome};
use crate::engine::{Shard, Without};
use crate::error::{Error, Result};

/// A shard of fewer bytes is small.
const SMALL: u64 = 4 << 20;
/// Small shards that are folded at the same time, at most.
const THREADS_MAX: usize = 16;

/// Small shards that are being folded, by their places among all.
pub struct Early(HashMap<usize, Receiver<Result<Outcome>>>);

impl Early {
    /// Starts folding those of `shards` that are small.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        common: Common<'env>,
        shards: &'env [Shard],
        next: &'env AtomicUsize,
    ) -> Result<Early> {
        let small: Vec<usize> = (0..shards.len()).filter(|i| common.source.bytes(&shards[*i]) < SMALL).collect();
        if small.len() < 2 || common.target.cores < 2 {
            return Ok(Early(HashMap::new()));
        }
        let (to, from): (Vec<_>, Vec<_>) = small.iter().map(|_| bounded(1)).unzip();
        for number in 0..common.target.cores.min(THREADS_MAX).min(small.len()) {
            let (small, to) = (small.clone(), to.clone());
            let builder = thread::Builder::new().name(format!("shard {number}"));
            let work = move || fold_each(common, shards, &small, &to, next);
            builder.spawn_scoped(scope, work).map_err(|e| Error::io("starting a thread", e))?;
        }
        Ok(Early(small.into_iter().zip(from).collect()))
    }

    /// What the first attempt to fold a shard came to, if it was made; waits for its end.
    pub fn take(&mut self, shard: usize) -> Result<Option<Outcome>> {
        let Some(from) = self.0.remove(&shard) else { return Ok(None) };
        from.recv().map_err(|_| Error::damaged("thread of a shard", "has ended before its work"))?.map(Some)
    }
}

/// Folds the next of the small shards until none is left, or nobody waits for them any more.
fn fold_each(
    common: Common<'_>,
    shards: &[Shard],
    small: &[usize],
    to: &[Sender<Result<Outcome>>],
    next: &AtomicUsize,
) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let (Some(shard), Some(to)) = (small.get(at).and_then(|i| shards.get(*i)), to.get(at)) else { return };
        if to.send(fold(common, shard)).is_err() {
            return;
        }
    }
}

fn fold(common: Common<'_>, shard: &Shard) -> Result<Outcome> {
    common.watch.check()?;
    let schema = common.engine.schema(&shard.name, &common.source.describe(Some(shard))?)?;
    Attempt { common, schema: &*schema, shard, alone: true }.run(&Without::new())
}
