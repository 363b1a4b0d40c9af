//! Looks after nodes while their files are held: whether a disk fills, and who is let go of is cleared at once.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::NodeDir;
use super::taken::{Clearer, Taken};
use crate::volume::Guard;

/// Pauses between two looks at a node.
const EVERY: Duration = Duration::from_secs(1);

/// The nodes that are looked after, until it is dropped. Nobody waits for its threads: one may be asking a machine that is away.
pub struct Watching {
    /// Nothing is sent: they end with it.
    _each: Vec<Sender<()>>,
}

impl Watching {
    /// Starts with the guards of nodes.
    pub fn start(nodes: &[NodeDir], guards: &[(String, Arc<Guard>)], taken: Option<&Taken>) -> Watching {
        let clearer = taken.map(Taken::clearer);
        let guard_of = |node: &NodeDir| guards.iter().find(|(name, _)| *name == node.name).map(|(_, guard)| guard);
        let each =
            nodes.iter().filter_map(|node| Some(watch(node.clone(), Arc::clone(guard_of(node)?), clearer.clone())));
        Watching { _each: each.collect() }
    }
}

fn watch(node: NodeDir, guard: Arc<Guard>, clearer: Option<Clearer>) -> Sender<()> {
    let (end, ended) = channel();
    thread::spawn(move || {
        while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
            // A disk that cannot be looked at now may be the next time; who reads on notices a machine that is away.
            let _ = guard.look(&node.dirs);
            if guard.check().is_err() {
                clearer.iter().for_each(|clearer| clearer.clear(&node.name));
                return;
            }
        }
    });
    end
}
