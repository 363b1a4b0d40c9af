//! Nodes whose files a backup freezes, with `nodetool` or the operator's commands, and lets go of when all was read.
//!
//! Each time has a tag of its own, `onefold-` and 16 hex digits, which is written down on this machine before it is used
//! ([`record`]). What a run left that was killed is known by its file, and cleared by the next run over the same nodes. Nothing is
//! ever cleared but by such a tag.
//!
//! A command that was given up, or whose run was killed, may go on on its node and make a snapshot after it was cleared. So its node
//! stays written down until that can be no more, and until a look after that found nothing.

mod record;
mod way;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::NodeDir;
use crate::engine::Env;
use crate::error::{Error, Kind, Result};
use crate::repo::world::{now_ms, random};
use record::{Kept, Owed, Record, Records};

pub use way::{Way, limit};

/// How a tag of ours begins.
const TAG: &str = "onefold-";
/// Pauses after which clearing is tried again.
const PAUSES: [u64; 3] = [0, 1, 5];
/// How long clearing may take where the backup is to stop: what stays is written down, and the next run clears it.
const BRIEF: Duration = Duration::from_secs(20);

/// Whether it is a tag of ours: nothing else is cleared.
fn is_tag(tag: &str) -> bool {
    tag.strip_prefix(TAG).is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// How a node is known again: its first folder, with its machine.
fn known_by(node: &NodeDir) -> String {
    node.dirs.first().map(ToString::to_string).unwrap_or_default()
}

/// What is frozen under one tag, on several nodes. Dropped, it is let go of as far as it can be.
pub struct Taken(Arc<Tagged>);

/// Lets go of single nodes, as long as there is something to let go of.
#[derive(Clone)]
pub struct Clearer(Weak<Tagged>);

struct Tagged {
    tag: String,
    way: Way,
    /// The backup is to stop.
    stops: AtomicBool,
    held: Mutex<Held>,
    record: Kept,
}

/// Nodes, each with until when its command may go on, where nobody knows that it ended.
#[derive(Default)]
struct Held {
    /// To be cleared.
    nodes: Vec<(NodeDir, Option<u64>)>,
    /// Cleared, and what was asked for may still come.
    may_come: Vec<Owed>,
}

fn owed((node, comes_until): &(NodeDir, Option<u64>)) -> Owed {
    Owed { node: known_by(node), comes_until: *comes_until }
}

impl Taken {
    /// Freezes every node, all at once. Gives how it went on each.
    ///
    /// Errors: what is to be cleared cannot be written down; then nothing is done. The work is to stop.
    pub fn take(nodes: &[NodeDir], way: &Way, env: &Env<'_>) -> Result<(Taken, Vec<Result<()>>)> {
        let tag = random::<8>()?.iter().fold(TAG.to_owned(), |tag, byte| format!("{tag}{byte:02x}"));
        // It is given up after its time, and may take as long again.
        let until = now_ms().saturating_add(u64::try_from(2 * way.limit().as_millis()).unwrap_or(u64::MAX));
        let all: Vec<_> = nodes.iter().filter(|_| way.clears()).map(|node| (node.clone(), Some(until))).collect();
        let written = Record { way: way.name().to_owned(), owed: all.iter().map(owed).collect() };
        let record = Records::of(env.state.as_deref())?.begin(&tag, &written)?;
        let held = Mutex::new(Held { nodes: all, may_come: Vec::new() });
        let taken = Taken(Arc::new(Tagged { tag, way: way.clone(), stops: AtomicBool::new(false), held, record }));
        let each = at_once(nodes, |node| way.take(node, taken.tag(), env.watch));
        let mut went = each.iter();
        // Whatever else went wrong, a part of one may be there.
        taken.0.held().nodes.retain_mut(|(_, comes_until)| match went.next() {
            Some(Ok(())) => {
                *comes_until = None;
                true
            }
            Some(Err(e)) => !way.did_nothing(e),
            None => true,
        });
        env.watch.check().inspect_err(|_| taken.0.stops.store(true, Ordering::Relaxed))?;
        Ok((taken, each))
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.0.tag
    }

    /// For whoever looks after the nodes meanwhile.
    pub fn clearer(&self) -> Clearer {
        Clearer(Arc::downgrade(&self.0))
    }

    /// Clears them, all that are left. Gives what stays, and why.
    pub fn clear(&self) -> Vec<String> {
        self.0.clear()
    }
}

impl Clearer {
    /// Clears one node's. What stays is tried again with the others.
    pub fn clear(&self, node: &str) {
        if let Some(tagged) = self.0.upgrade() {
            tagged.clear_of(&mut tagged.held(), |name| name == node);
        }
    }
}

impl Tagged {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) -> Vec<String> {
        let mut held = self.held();
        let mut left = self.clear_of(&mut held, |_| true);
        let owed = held.may_come.iter().cloned().chain(held.nodes.iter().map(owed)).collect();
        if let Err(e) = self.record.keep(&Record { way: self.way.name().to_owned(), owed }) {
            left.push(e.to_string());
        }
        left
    }

    /// Clears those of some nodes. Gives what is left, and why.
    fn clear_of(&self, held: &mut Held, which: impl Fn(&str) -> bool) -> Vec<String> {
        let nodes: Vec<_> = held.nodes.extract_if(.., |(node, _)| which(&node.name)).collect();
        let (pauses, limit) = match self.stops.load(Ordering::Relaxed) {
            true => (&PAUSES[..0], BRIEF.min(self.way.limit())),
            false => (&PAUSES[..], self.way.limit()),
        };
        let each = at_once(&nodes, |(node, _)| clear(&self.way, node, &self.tag, pauses, limit));
        let mut left = Vec::new();
        for (one, cleared) in nodes.into_iter().zip(each) {
            match cleared {
                Err(e) => {
                    left.push(format!("{e}: snapshot {} stays, and the next run clears it", self.tag));
                    held.nodes.push(one);
                }
                Ok(()) if one.1.is_some() => {
                    let what = "was given up and may still come: the next runs look for it";
                    left.push(format!("node {}: snapshot {} {what}", one.0.name, self.tag));
                    held.may_come.push(owed(&one));
                }
                Ok(()) => {}
            }
        }
        left
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Clears what runs left that were killed, of these nodes, and says so.
pub fn sweep(nodes: &[NodeDir], way: &Way, state: Option<&Path>) -> Result<Vec<String>> {
    let (mut notes, mut failed) = (Vec::new(), BTreeSet::new());
    for (tag, kept) in Records::of(state)?.ended()? {
        let mut record = kept.read()?;
        let owing = |node: &&NodeDir| record.owed.iter().any(|owed| owed.node == known_by(node));
        let owing: Vec<&NodeDir> = nodes.iter().filter(owing).collect();
        if record.way != way.name() {
            let stays = |node: &&NodeDir| {
                format!("node {}: what a run left that froze it with {}, tag {tag}, stays", node.name, record.way)
            };
            notes.extend(owing.iter().map(stays));
            continue;
        }
        let owing: Vec<&NodeDir> = owing.into_iter().filter(|node| !failed.contains(&node.name)).collect();
        let looked = now_ms();
        let comes = |node: &NodeDir| {
            let may_come = |owed: &Owed| owed.comes_until.is_some_and(|until| looked < until);
            record.owed.iter().any(|owed| owed.node == known_by(node) && may_come(owed))
        };
        let each = at_once(&owing, |node| match way.is_there(node, &tag) {
            // It is looked for again.
            Some(false) if comes(node) => Ok(false),
            found => clear(way, node, &tag, &[], way.limit()).map(|()| found == Some(true)),
        });
        for (node, cleared) in owing.into_iter().zip(each) {
            match cleared {
                Ok(found) => {
                    let is_over = |until: Option<u64>| until.is_none_or(|until| !found && looked >= until);
                    record.owed.retain(|owed| owed.node != known_by(node) || !is_over(owed.comes_until));
                    if found {
                        notes.push(format!("node {}: snapshot {tag} of a run that was killed, cleared", node.name));
                    }
                }
                Err(e) => {
                    notes.push(format!("{e}: snapshot {tag} of a run that was killed stays"));
                    failed.insert(node.name.clone());
                }
            }
        }
        kept.keep(&record)?;
    }
    Ok(notes)
}

/// Clears, and tries again after each of the pauses.
fn clear(way: &Way, node: &NodeDir, tag: &str, pauses: &[u64], limit: Duration) -> Result<()> {
    let mut pauses = pauses.iter();
    loop {
        match (way.clear(node, tag, limit), pauses.next()) {
            (Err(_), Some(pause)) => thread::sleep(Duration::from_secs(*pause)),
            (cleared, _) => return cleared,
        }
    }
}

/// Does something on all nodes at once.
pub fn at_once<N: Sync, T: Send>(nodes: &[N], each: impl Fn(&N) -> Result<T> + Sync) -> Vec<Result<T>> {
    let gone = || Err(Error::new(Kind::Io, "a thread", "ended"));
    thread::scope(|scope| {
        let threads: Vec<_> = nodes.iter().map(|node| scope.spawn(|| each(node))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gone())).collect()
    })
}

/// The nodes that can be reached, and why the others cannot.
pub fn reach(nodes: Vec<NodeDir>) -> (Vec<NodeDir>, Vec<(NodeDir, Error)>) {
    let each = at_once(&nodes, |node| node.dirs.iter().try_for_each(crate::volume::Place::reach));
    apart(nodes, each)
}

/// The nodes for which it went well, and the others.
pub fn apart(nodes: Vec<NodeDir>, each: Vec<Result<()>>) -> (Vec<NodeDir>, Vec<(NodeDir, Error)>) {
    let (mut well, mut away) = (Vec::new(), Vec::new());
    for (node, went) in nodes.into_iter().zip(each) {
        match went {
            Ok(()) => well.push(node),
            Err(e) => away.push((node, e)),
        }
    }
    (well, away)
}
