//! Captured nodes of toyland.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use onefold::engine::params::NodeFolders;
use onefold::engine::{self, CaptureTime, Narrowed, Node, NodeParts, Shard, Source, Taking, TimeOf, Without};
use onefold::merge::Owned;
use onefold::run::ShardKind;
use onefold::volume::Place;
use onefold::{Error, Kind, Result};
use repo_format::leaf::Layout;
use serde_json::Value;

use super::archive::{Archive, Interval, Lines};
use super::schema::owned;
use super::{Cluster, NAME};

/// The archives of some nodes.
pub struct Toyland {
    nodes: Vec<Node>,
    places: Vec<Place>,
    archives: Vec<Archive>,
    shards: Vec<Shard>,
    times: Vec<CaptureTime>,
    narrowed: Narrowed,
}

impl Toyland {
    /// One archive for each node.
    pub fn open<'n>(nodes: impl Iterator<Item = &'n NodeFolders>) -> Result<Toyland> {
        let mut all = Toyland {
            nodes: Vec::new(),
            places: Vec::new(),
            archives: Vec::new(),
            shards: Vec::new(),
            times: Vec::new(),
            narrowed: Narrowed::default(),
        };
        for folders in nodes {
            engine::check_node_name(&folders.name)?;
            let subject = format!("node {}", folders.name);
            if all.nodes.iter().any(|node| node.name == folders.name) {
                return Err(Error::new(Kind::Usage, subject, "is given twice"));
            }
            let [path] = folders.dirs.as_slice() else {
                return Err(Error::new(Kind::Usage, subject, "has one archive"));
            };
            all.add(&folders.name, path.into())?;
        }
        let tables: BTreeSet<&String> = all.archives.iter().flat_map(|archive| archive.tables.keys()).collect();
        all.shards = tables.into_iter().map(|name| shard(name)).collect();
        Ok(all)
    }

    fn add(&mut self, name: &str, place: Place) -> Result<()> {
        let archive = Archive::read(&place)?;
        let (node, seconds) = (self.nodes.len(), archive.captured);
        self.times.push(CaptureTime { node, place: place.clone(), seconds, of: TimeOf::Manifest });
        self.nodes.push(Node {
            name: name.to_owned(),
            address: None,
            host_id: None,
            data_center: None,
            rack: None,
            version: None,
            captured: seconds,
        });
        self.places.push(place);
        self.archives.push(archive);
        Ok(())
    }

    fn owns(&self, table: &str) -> Vec<Vec<Interval>> {
        let of = |archive: &Archive| archive.tables.get(table).map(|table| table.owns.clone()).unwrap_or_default();
        self.archives.iter().map(of).collect()
    }
}

fn shard(name: &str) -> Shard {
    Shard {
        name: name.to_owned(),
        kind: ShardKind::Records,
        id: name.to_owned(),
        layout: Layout::default(),
        unread: Vec::new(),
        ring_known: true,
    }
}

impl Source for Toyland {
    fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn shards(&self) -> &[Shard] {
        &self.shards
    }

    fn bytes(&self, shard: &Shard) -> u64 {
        let tables = self.archives.iter().filter_map(|archive| archive.tables.get(&shard.name));
        tables.flat_map(|table| &table.parts).map(bytes).sum()
    }

    fn times(&self) -> &[CaptureTime] {
        &self.times
    }

    fn parts<'a>(&'a self, shard: &Shard, without: &Without, taking: Taking<'a>) -> Result<Vec<NodeParts<'a>>> {
        let watch = taking.watch;
        let mut nodes = Vec::new();
        for (node, archive) in self.archives.iter().enumerate() {
            let table = archive.tables.get(&shard.name);
            let mut parts = Vec::new();
            for part in table.iter().flat_map(|table| &table.parts) {
                let name = format!("part {} at line {}", part.rank, part.line);
                if without.contains(&(node, name.clone())) {
                    continue;
                }
                let called = name.clone();
                let (bytes, first) = (bytes(part), part.lines.first().and_then(|line| line.split('\t').next()));
                parts.push(engine::Part {
                    name,
                    files: vec![self.places[node].clone()],
                    bytes,
                    rank: part.rank,
                    from: Ok(first.unwrap_or_default().as_bytes().to_vec()),
                    open: Box::new(move |range| {
                        // The range with the last key stands for all.
                        let told = if range.1.is_empty() { bytes } else { 0 };
                        watch.bytes_done.fetch_add(told, Ordering::Relaxed);
                        Ok(Box::new(Lines { part, name: called.clone(), range: range.clone(), at: 0 }))
                    }),
                });
            }
            let owned = table.map_or(Owned::Ranges(Vec::new()), |table| owned(&table.owns));
            nodes.push(NodeParts { node, owned, parts });
        }
        Ok(nodes)
    }

    fn bounds(&self, shard: &Shard, _: &Without, pieces: usize) -> Result<Vec<Vec<u8>>> {
        let tables = self.archives.iter().filter_map(|archive| archive.tables.get(&shard.name));
        let lines = tables.flat_map(|table| &table.parts).flat_map(|part| &part.lines);
        let keys: BTreeSet<&str> = lines.filter_map(|line| line.split('\t').next()).filter(|key| *key >= "!").collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let bounds: BTreeSet<&str> = (1..pieces).filter_map(|n| keys.get(n * keys.len() / pieces).copied()).collect();
        Ok(bounds.into_iter().map(|key| key.as_bytes().to_vec()).collect())
    }

    fn captured(&self, shard: &Shard) -> Vec<bool> {
        self.archives.iter().map(|archive| archive.tables.contains_key(&shard.name)).collect()
    }

    fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    fn notes(&self) -> &[String] {
        &[]
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<Value> {
        let described = match shard {
            Some(shard) => serde_json::to_value(&shard.name),
            None => {
                let owns = |shard: &Shard| (shard.name.clone(), self.owns(&shard.name));
                serde_json::to_value(Cluster { owns: self.shards.iter().map(owns).collect::<BTreeMap<_, _>>() })
            }
        };
        described.map_err(|e| Error::damaged(NAME, e.to_string()))
    }
}

fn bytes(part: &super::archive::Part) -> u64 {
    part.lines.iter().map(|line| line.len() as u64 + 1).sum()
}
