//! Clusters of toyland by the throw of dice, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A document: its value; none where it is gone.
pub type Document = Option<String>;

/// Of a table of one node, by rank: what was written.
pub type Parts = Vec<(u64, BTreeMap<String, Document>)>;

pub struct Dice(pub u64);

impl Dice {
    pub fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Keys `k000` to `k299`, values that CSV and JSON must quote.
pub fn key(n: u64) -> String {
    format!("k{n:03}")
}

fn value(dice: &mut Dice) -> Document {
    let values = ["plain", "with \"quotes\"", "a,b", "ünïcode \\ \u{1F353}", "", "4"];
    let n = dice.throw(values.len() as u64 + 1) as usize;
    values.get(n).map(|value| format!("{value}{}", dice.throw(3)))
}

/// Three nodes, which own two thirds of all keys each.
pub struct Cluster {
    pub nodes: Vec<Parts>,
}

/// What a node answers for: every key has two owners, and node 1 answers for two intervals.
pub const OWNS: [&[(&str, &str)]; 3] = [&[("k", "k200")], &[("k", "k100"), ("k200", "-")], &[("k100", "-")]];

pub fn owns(node: usize, key: &str) -> bool {
    OWNS[node].iter().any(|(from, to)| *from <= key && (*to == "-" || key < *to))
}

impl Cluster {
    /// Writes reach each owner three times out of four, and now and then somebody else.
    pub fn throw(dice: &mut Dice) -> Cluster {
        let mut nodes: Vec<Parts> = vec![Vec::new(); 3];
        for rank in 1..8 {
            let mut parts: Vec<BTreeMap<String, Document>> = vec![BTreeMap::new(); 3];
            let mut written = BTreeSet::new();
            for _ in 0..dice.throw(120) {
                let (key, value) = (key(dice.throw(300)), value(dice));
                // At one rank a key is written once, by whomever.
                if !written.insert(key.clone()) {
                    continue;
                }
                for (node, part) in parts.iter_mut().enumerate() {
                    let reached = if owns(node, &key) { dice.throw(4) > 0 } else { dice.throw(30) == 0 };
                    if reached {
                        part.insert(key.clone(), value.clone());
                    }
                }
            }
            nodes.iter_mut().zip(parts).for_each(|(node, part)| node.push((rank, part)));
        }
        Cluster { nodes }
    }

    /// A node's archive.
    pub fn archive(&self, node: usize) -> String {
        let mut text = String::from("#toy captured 1700000000\n#table fruit\n");
        OWNS[node].iter().for_each(|(from, to)| writeln!(text, "#owns {from} {to}").unwrap());
        for (rank, part) in &self.nodes[node] {
            writeln!(text, "#part {rank}").unwrap();
            for (key, document) in part {
                match document {
                    Some(value) => writeln!(text, "{key}\t{value}").unwrap(),
                    None => writeln!(text, "{key}").unwrap(),
                }
            }
        }
        text
    }

    /// What a node would answer.
    pub fn held(&self, node: usize) -> BTreeMap<String, Document> {
        let ranked = self.nodes[node].iter().flat_map(|(rank, part)| part.iter().map(move |(k, d)| (k, (*rank, d))));
        newest(ranked)
    }

    /// What owners come to.
    pub fn view(&self) -> BTreeMap<String, Document> {
        let of = |(node, parts): (usize, &Parts)| -> Vec<(String, (u64, Document))> {
            let all = parts.iter().flat_map(|(rank, part)| part.iter().map(|(k, d)| (k.clone(), (*rank, d.clone()))));
            all.filter(|(key, _)| owns(node, key)).collect()
        };
        let all: Vec<(String, (u64, Document))> = self.nodes.iter().enumerate().flat_map(of).collect();
        newest(all.iter().map(|(key, (rank, document))| (key, (*rank, document))))
    }

    /// The view, and what nobody has who owns it.
    pub fn with_unowned(&self) -> BTreeMap<String, Document> {
        let mut all = BTreeMap::new();
        for node in 0..3 {
            let others = self.held(node).into_iter().filter(|(key, _)| !owns(node, key));
            for (key, document) in others {
                let best = all.entry(key).or_insert_with(|| document.clone());
                if is_greater(&document, best) {
                    *best = document;
                }
            }
        }
        all.extend(self.view());
        all
    }
}

/// By the bytes of a body: the kind of its cell comes first, then the length of its value.
fn is_greater(a: &Document, b: &Document) -> bool {
    let bytes = |d: &Document| d.as_ref().map(|value| (value.len(), value.clone()));
    match (a, b) {
        (None, Some(_)) => true,
        (Some(_), None) | (None, None) => false,
        _ => bytes(a) > bytes(b),
    }
}

fn newest<'d>(all: impl Iterator<Item = (&'d String, (u64, &'d Document))>) -> BTreeMap<String, Document> {
    let mut best: BTreeMap<String, (u64, Document)> = BTreeMap::new();
    for (key, (rank, document)) in all {
        let known = best.entry(key.clone()).or_insert_with(|| (rank, document.clone()));
        if rank > known.0 {
            *known = (rank, document.clone());
        }
    }
    best.into_iter().map(|(key, (_, document))| (key, document)).collect()
}
