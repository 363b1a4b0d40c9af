//! The nodes that are there, with their files frozen if they are to be; and the others, each with why it is left out.

use std::sync::Arc;
use std::time::Duration;

use super::taken::{self, Taken, Way};
use super::watching::Watching;
use super::{Frozen, NodeDir};
use crate::engine::params::NodeFolders;
use crate::engine::{Env, Params};
use crate::error::{Error, Result};
use crate::volume::{Bounds, Guard, places};

/// How full a node's disks may be where they are to hold a snapshot, in percent.
const DISK_MAX: u8 = 90;

/// See the module.
pub struct Reached {
    /// Those that are read; one at least.
    pub nodes: Vec<NodeDir>,
    /// Those that are left out, and why.
    pub away: Vec<(NodeDir, Error)>,
    /// What is let go of when all was read.
    pub taken: Option<Taken>,
    /// What looks after the nodes, by name.
    pub guards: Vec<(String, Arc<Guard>)>,
    /// And goes on looking while they are read.
    pub watching: Option<Watching>,
    /// What was seen of earlier runs.
    pub notes: Vec<String>,
}

/// Looks for the nodes that `params` name, and freezes their files as they say.
///
/// Errors: no node is there, or can be frozen; what makes no sense.
pub fn reach(params: &Params, env: &Env<'_>) -> Result<Reached> {
    let way = Way::of(params)?;
    let bounds = bounds(params, way.is_some());
    let (mut guards, mut given, mut spared) = (Vec::new(), Vec::new(), Vec::new());
    for node in params.nodes("node") {
        let guard = Guard::new(bounds);
        let node = named(node, &guard, params)?;
        match env.watch.left_out(&node.name) {
            Some(why) => spared.push((node, why)),
            None => {
                guards.push((node.name.clone(), guard));
                given.push(node);
            }
        }
    }
    let (nodes, away) = taken::reach(given);
    let away = spared.into_iter().chain(away).collect();
    let mut reached = Reached { nodes, away, taken: None, guards, watching: None, notes: Vec::new() };
    reached.look();
    if let Some(way) = way.filter(|_| !reached.nodes.is_empty()) {
        reached.freeze(&way, env)?;
    }
    if reached.taken.is_some() || bounds.disk.is_some() {
        reached.watching = Some(Watching::start(&reached.nodes, &reached.guards, reached.taken.as_ref()));
    }
    match reached.away.pop() {
        Some((node, e)) if reached.nodes.is_empty() => Err(e.within(format_args!("node {}", node.name))),
        last => {
            reached.away.extend(last);
            Ok(reached)
        }
    }
}

/// A disk that is nearly full gets no snapshot, unless the operator says so.
fn bounds(params: &Params, freezes: bool) -> Bounds {
    let number = |name: &str| params.number(name).and_then(|number| u64::try_from(number).ok());
    let disk = number("node-disk-max").and_then(|percent| u8::try_from(percent).ok());
    Bounds {
        read: number("limit-read").map(|kib| kib << 10),
        disk: disk.or(freezes.then_some(DISK_MAX)),
        latency: number("node-latency-max").map(Duration::from_millis),
    }
}

fn named(node: &NodeFolders, guard: &Arc<Guard>, params: &Params) -> Result<NodeDir> {
    let places =
        places(&node.dirs, taken::limit(params)).map(|all| all.into_iter().map(|place| guard.of(place)).collect());
    Ok(NodeDir {
        name: node.name.clone(),
        address: node.address.clone(),
        dirs: places.map_err(|e| e.within(format_args!("node {}", node.name)))?,
        tag: params.text("snapshot-tag").map(str::to_owned),
        frozen: params.has("before-node").then(|| Frozen { flushed: params.has("flushed") }),
    })
}

impl Reached {
    /// Leaves out the nodes that are in need already.
    fn look(&mut self) {
        let each = taken::at_once(&self.nodes, |node| {
            self.guards.iter().filter(|(name, _)| *name == node.name).try_for_each(|(_, guard)| guard.look(&node.dirs))
        });
        let (well, spared) = taken::apart(std::mem::take(&mut self.nodes), each);
        self.nodes = well;
        self.away.extend(spared);
    }

    /// Clears first what earlier runs left.
    fn freeze(&mut self, way: &Way, env: &Env<'_>) -> Result<()> {
        self.notes = taken::sweep(&self.nodes, way, env.state.as_deref())?;
        env.watch.check()?;
        let (taken, each) = Taken::take(&self.nodes, way, env)?;
        let (with, without) = taken::apart(std::mem::take(&mut self.nodes), each);
        self.away.extend(without);
        let tag = way.tags().then(|| taken.tag().to_owned());
        self.nodes = with.into_iter().map(|node| NodeDir { tag: tag.clone().or(node.tag), ..node }).collect();
        self.taken = Some(taken);
        Ok(())
    }
}
