//! One node given for two: a replica that is none, and the real one left out.

use std::collections::BTreeMap;

use super::{Captured, NodeDir};
use crate::engine::cassandra::capture::CapturedSsTable;
use crate::engine::cassandra::read_schema::Node;
use crate::engine::cassandra::sstable::Component;
use crate::engine::cassandra::whose::is_local;
use crate::error::{Error, Kind, Result};
use crate::volume::Place;

const TWICE: &str = "one node was given twice, or a copy of it: leave one out";

/// As the operator says it, else as the capture does.
fn address(dir: &NodeDir, node: &Option<Node>) -> Option<String> {
    dir.address.clone().or_else(|| node.as_ref()?.this.address.map(|a| a.to_string()))
}

fn host_id(node: &Option<Node>) -> Option<&str> {
    node.as_ref()?.this.host_id.as_deref()
}

/// Refuses nodes that cannot be two nodes of one cluster: by name, host id, address, folder, and by their SSTables. Gives
/// what is odd and cannot be refused: nodes that prove to be two, and hold the same files.
pub fn check(dirs: &[NodeDir], known: &[Option<Node>], captured: &[Captured]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let all: Vec<_> = dirs.iter().zip(known).zip(captured).collect();
    for (i, ((dir, node), c)) in all.iter().enumerate() {
        for ((other_dir, other), other_c) in all.iter().take(i) {
            let both =
                |what: String| Error::new(Kind::Usage, format!("nodes {} and {}", other_dir.name, dir.name), what);
            if dir.name == other_dir.name {
                return Err(both("have the same name".into()).hint("give every --node a name of its own"));
            }
            let host_ids = (host_id(other), host_id(node));
            let both_known = host_ids.0.is_some() && host_ids.1.is_some();
            if address(other_dir, other).is_some_and(|a| Some(a) == address(dir, node)) && !both_known {
                let what = format!("have the same address {}", address(dir, node).unwrap_or_default());
                return Err(both(what).hint(format_args!("{TWICE}, or mend the address")));
            }
            if let (Some(a), Some(b)) = (other, node)
                && a.cluster_name != b.cluster_name
            {
                let what = format!("are of different clusters: {} and {}", a.cluster_name, b.cluster_name);
                return Err(both(what).hint("back each cluster up by itself"));
            }
            if both_known && host_ids.0 == host_ids.1 {
                let what = format!("have the same host id {}", host_ids.1.unwrap_or_default());
                return Err(both(what).hint(TWICE));
            }
            if let Some(folder) = same_folder(other_dir, dir)? {
                return Err(both(format!("have the same folder {folder}")).hint(TWICE));
            }
            if same_sstables(other_c, c) {
                let what = "hold the same SSTables, file by file";
                if !both_known {
                    return Err(both(what.into()).hint(TWICE));
                }
                let (a, b) = (&other_dir.name, &dir.name);
                problems.push(format!("nodes {a} and {b}: {what}: was one's data copied into the other's folder?"));
            }
        }
    }
    Ok(problems)
}

/// A folder that both were given, by whatever path.
fn same_folder<'d>(a: &NodeDir, b: &'d NodeDir) -> Result<Option<&'d Place>> {
    for dir in &b.dirs {
        for other in &a.dirs {
            if dir.is_same_folder(other)? {
                return Ok(Some(dir));
            }
        }
    }
    Ok(None)
}

/// Whether two captures hold the same SSTables, one at least: by table, name, and length and digest of `Data.db`. Replicas
/// write their files by themselves, so that equal names hold different bytes; tables that are empty on both prove nothing.
fn same_sstables(a: &Captured, b: &Captured) -> bool {
    let (a, b) = (sstables(a), sstables(b));
    let lengths = |of: &BTreeMap<_, &CapturedSsTable>| of.values().map(|s| data_length(s)).collect::<Vec<_>>();
    !a.is_empty()
        && a.keys().eq(b.keys())
        && lengths(&a) == lengths(&b)
        && a.values().zip(b.values()).all(|(a, b)| digest(a) == digest(b))
}

/// The SSTables of all tables but the node's own, by table and name.
fn sstables(c: &Captured) -> BTreeMap<(&str, &str, String), &CapturedSsTable> {
    let tables = c.capture.tables.iter().filter(|t| !is_local(&t.keyspace));
    tables
        .flat_map(|t| t.sstables.iter().map(|s| ((t.keyspace.as_str(), t.id.as_str(), s.descriptor.to_string()), s)))
        .collect()
}

fn data_length(s: &CapturedSsTable) -> Option<u64> {
    s.files.iter().find(|(component, _)| *component == Component::Data).map(|(_, file)| file.length)
}

/// The checksum that is written beside `Data.db`.
fn digest(s: &CapturedSsTable) -> Option<Vec<u8>> {
    let (_, file) = s.files.iter().find(|(component, _)| *component == Component::Digest)?;
    file.place.read(64).ok()
}
