//! Replica placement: which nodes hold which token ranges of a keyspace.
//! Sources: `AbstractReplicationStrategy` and its four kinds, `TokenMetadata.calculatePendingRanges`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::{Error, Kind, Result};

use super::{MemberState, Ring, TokenRange};

/// Replicas of every range of the ring, for one keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    members: usize,
    /// In order of tokens, without gaps; a range that wraps around is two.
    natural: Vec<(TokenRange, Vec<usize>)>,
    /// The same as it will be when joining nodes have joined and leaving ones have left. Empty when nothing changes.
    pending: Vec<(TokenRange, Vec<usize>)>,
}

/// By data center: replicas left to choose, and repeated racks left to accept.
type Centers<'a> = HashMap<&'a str, (usize, usize)>;

enum Strategy {
    /// Each node holds everything: `EverywhereStrategy`, and `LocalStrategy`, where it is each node's own.
    Everywhere,
    Simple(usize),
    /// Replicas by data center.
    Topology(BTreeMap<String, usize>),
}

impl Ring {
    /// Places a keyspace with these replication options: `class` (with or without package) and the strategy's own.
    /// Unsupported: other strategies and transient replication, by name.
    pub fn placement(&self, replication: &BTreeMap<String, String>) -> Result<Placement> {
        let strategy = strategy(replication)?;
        let changes = self.members.iter().any(|m| matches!(m.state, MemberState::Joining | MemberState::Leaving));
        let pending = if changes { self.place(&strategy, MemberState::Leaving) } else { Vec::new() };
        Ok(Placement { members: self.members.len(), natural: self.place(&strategy, MemberState::Joining), pending })
    }

    /// Why a keyspace with these replication options does not fit this ring, where it does not: a data center that is to have
    /// replicas and has no node, or ranges that no node is to have. `center`: only that data center matters. Errors: those of
    /// [`Ring::placement`].
    pub fn misfit(&self, replication: &BTreeMap<String, String>, center: Option<&str>) -> Result<Option<String>> {
        if let Strategy::Topology(counts) = strategy(replication)? {
            let has: BTreeSet<&str> = self.members.iter().map(|m| m.data_center.as_str()).collect();
            let lacks = |(name, count): &(&String, &usize)| {
                **count > 0 && !has.contains(name.as_str()) && center.is_none_or(|center| center == *name)
            };
            if let Some((center, _)) = counts.iter().find(lacks) {
                let has: Vec<&str> = has.into_iter().collect();
                let what = format!("is to have replicas in data center {center}, which the ring lacks");
                return Ok(Some(format!("{what}; it has {}", has.join(", "))));
            }
        }
        let unowned = self.placement(replication)?.natural.iter().any(|(_, nodes)| nodes.is_empty());
        Ok(unowned.then(|| "has ranges that no node of the ring is to hold".to_string()))
    }

    /// Whether a keyspace's replicas are counted data center by data center.
    pub fn is_by_data_center(replication: &BTreeMap<String, String>) -> bool {
        matches!(strategy(replication), Ok(Strategy::Topology(_)))
    }

    /// Without the nodes in state `without`.
    fn place(&self, strategy: &Strategy, without: MemberState) -> Vec<(TokenRange, Vec<usize>)> {
        let counts = |index: &usize| self.members[*index].state != without;
        let nodes: Vec<usize> = (0..self.members.len()).filter(counts).collect();
        let mut tokens: Vec<(i64, usize)> =
            nodes.iter().flat_map(|node| self.members[*node].tokens.iter().map(|token| (*token, *node))).collect();
        tokens.sort_unstable();
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Vec::new() };
        if let Strategy::Everywhere = strategy {
            return vec![(TokenRange::ALL, nodes)];
        }
        let centers = self.centers(strategy, &nodes);
        let around = self.replicas(strategy, &centers, &tokens, 0);
        let mut placed = vec![(TokenRange { start: i64::MIN, end: first.0 }, around.clone())];
        for (i, pair) in tokens.windows(2).enumerate() {
            let range = TokenRange { start: pair[0].0, end: pair[1].0 };
            placed.push((range, self.replicas(strategy, &centers, &tokens, i + 1)));
        }
        placed.push((TokenRange { start: last.0, end: i64::MAX }, around));
        placed.retain(|(range, _)| range.start < range.end);
        placed
    }

    /// Replicas of the range that ends at the token with index `at`, in the order in which they were chosen.
    fn replicas(&self, strategy: &Strategy, centers: &Centers<'_>, tokens: &[(i64, usize)], at: usize) -> Vec<usize> {
        let walk = tokens[at..].iter().chain(&tokens[..at]).map(|(_, node)| *node);
        match strategy {
            // No range is looked at for it.
            Strategy::Everywhere => Vec::new(),
            Strategy::Simple(count) => {
                let mut chosen = Vec::new();
                for node in walk {
                    if chosen.len() == *count {
                        break;
                    }
                    if !chosen.contains(&node) {
                        chosen.push(node);
                    }
                }
                chosen
            }
            Strategy::Topology(_) => self.by_topology(centers.clone(), walk),
        }
    }

    /// What is to be chosen in each data center, whatever the range.
    fn centers(&self, strategy: &Strategy, nodes: &[usize]) -> Centers<'_> {
        let mut centers = Centers::new();
        let Strategy::Topology(counts) = strategy else { return centers };
        for (center, count) in counts {
            let inside = || nodes.iter().map(|node| &self.members[*node]).filter(|m| m.data_center == *center);
            let Some(first) = inside().next() else { continue };
            let racks: BTreeSet<&str> = inside().map(|m| m.rack.as_str()).collect();
            let left = (*count).min(inside().count());
            if left > 0 {
                centers.insert(&first.data_center, (left, count.saturating_sub(racks.len())));
            }
        }
        centers
    }

    /// A new rack where there is one, and so many repeated racks as the data center has too few.
    fn by_topology(&self, mut centers: Centers<'_>, walk: impl Iterator<Item = usize>) -> Vec<usize> {
        let mut racks: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut chosen = Vec::new();
        for node in walk {
            if centers.is_empty() {
                break;
            }
            let member = &self.members[node];
            let center = member.data_center.as_str();
            let Some((left, repeats)) = centers.get_mut(center) else { continue };
            if chosen.contains(&node) {
                continue;
            }
            if !racks.insert((center, &member.rack)) {
                if *repeats == 0 {
                    continue;
                }
                *repeats -= 1;
            }
            chosen.push(node);
            *left -= 1;
            if *left == 0 {
                centers.remove(center);
            }
        }
        chosen
    }
}

fn strategy(replication: &BTreeMap<String, String>) -> Result<Strategy> {
    let class = replication.get("class").map(String::as_str).unwrap_or_default();
    let refuse = |what: &str| Error::new(Kind::Unsupported, format_args!("replication strategy {class}"), what);
    let count = |text: &str| {
        let refused =
            if text.contains('/') { "transient replication is not supported" } else { "no number of replicas" };
        text.parse::<usize>().map_err(|_| refuse(refused))
    };
    match class.rsplit('.').next().unwrap_or_default() {
        "LocalStrategy" | "EverywhereStrategy" => Ok(Strategy::Everywhere),
        "SimpleStrategy" => {
            let text = replication.get("replication_factor").ok_or_else(|| refuse("has no replication_factor"))?;
            Ok(Strategy::Simple(count(text)?))
        }
        "NetworkTopologyStrategy" => {
            let centers = replication.iter().filter(|(option, _)| *option != "class");
            centers
                .map(|(center, text)| Ok((center.clone(), count(text)?)))
                .collect::<Result<_>>()
                .map(Strategy::Topology)
        }
        _ => Err(refuse("is not known")),
    }
}

impl Placement {
    /// [`Placement::natural`], to keep.
    pub fn into_natural(self) -> Vec<(TokenRange, Vec<usize>)> {
        self.natural
    }

    /// Every range with its natural replicas (indexes of [`Ring::members`], the first chosen first), in order of tokens
    /// and without gaps.
    pub fn natural(&self) -> &[(TokenRange, Vec<usize>)] {
        &self.natural
    }

    /// The ranges that `node` holds, or gets while the ring changes: what it has of them counts. Ascending, and joined
    /// where they touch.
    pub fn owned(&self, node: usize) -> Vec<TokenRange> {
        let all = self.natural.iter().chain(&self.pending);
        let mut ranges: Vec<TokenRange> =
            all.filter(|(_, nodes)| nodes.contains(&node)).map(|(range, _)| *range).collect();
        ranges.sort_unstable();
        let mut joined: Vec<TokenRange> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        joined
    }

    /// Whether every node holds everything.
    pub fn is_everywhere(&self) -> bool {
        (0..self.members).all(|node| self.owned(node) == [TokenRange::ALL])
    }
}
