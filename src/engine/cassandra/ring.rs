//! Who should hold what: the ring, replica placement, and the token ranges of each node.
//!
//! The ring comes from the output of `nodetool ring` or from the captured `system` tables; `Statistics.db` says nothing
//! about it, because streamed files keep the sender's id.

pub mod describering;
mod placement;

use std::collections::BTreeSet;
use std::net::IpAddr;

use repo_format::murmur3;

use crate::error::{Error, Kind, Result};

use super::read_schema::{Node, Peer};

pub use placement::Placement;

/// Tokens greater than `start` and not greater than `end`; `start < end`. No key has the least `i64` for its token, so
/// `(i64::MIN, i64::MAX)` is all of them; but a node may have it (calculators of tokens begin there): its range ends where
/// all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TokenRange {
    /// Exclusive.
    pub start: i64,
    /// Inclusive.
    pub end: i64,
}

impl TokenRange {
    /// Every token.
    pub const ALL: TokenRange = TokenRange { start: i64::MIN, end: i64::MAX };

    /// Whether the range holds `token`.
    pub fn contains(&self, token: i64) -> bool {
        self.start < token && token <= self.end
    }

    /// The same in key space: from a key on (inclusive), up to a key (exclusive) or to the end.
    pub fn keys(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let after = |token: i64| token.checked_add(1).map(|token| murmur3::token_bytes(token).to_vec());
        (after(self.start).unwrap_or_else(|| vec![0xff; 9]), after(self.end))
    }
}

/// A range and its replicas: places among the nodes, the first chosen first.
pub type Held = (TokenRange, Vec<usize>);

/// What a node of the ring is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Holds its ranges.
    #[default]
    Normal,
    /// Is getting its first data; writes reach it already.
    Joining,
    /// Is giving its ranges away; still holds them.
    Leaving,
    /// Changes its tokens; still holds the old ones.
    Moving,
}

/// A node of the ring.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Member {
    /// As the source writes it: an IP address or a host name, with a port where it tells nodes apart.
    pub address: String,
    /// 32 hex digits, where the source knows it.
    #[serde(default)]
    pub host_id: Option<String>,
    /// Data center.
    pub data_center: String,
    /// Rack.
    pub rack: String,
    /// What it is doing.
    #[serde(default)]
    pub state: MemberState,
    /// Ascending.
    pub tokens: Vec<i64>,
}

/// All nodes of a cluster with their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Ring {
    members: Vec<Member>,
}

const JSON_REMEDY: &str =
    "each of `members` needs its `address`, `data_center`, `rack` and `tokens`, a list of numbers that no other has";
const REMEDY: &str = "give the whole output of `nodetool ring`, with or without a keyspace";

impl Ring {
    /// Parses the output of `nodetool ring`; `subject` names the file in errors.
    pub fn parse(text: &str, subject: &str) -> Result<Ring> {
        let wrong = |what: String| Error::new(Kind::Usage, subject, what).hint(REMEDY);
        let mut ring = Ring::default();
        // Of each data center that is told: its greatest token, until a line has it.
        let mut centers: Vec<(String, Option<i64>)> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.trim().strip_prefix("Datacenter:") {
                centers.push((name.trim().to_string(), None));
            } else if let Some((data_center, greatest)) = centers.last_mut() {
                match parse_row(line) {
                    Some(row) => {
                        greatest.take_if(|token| *token == row.token);
                        ring.add(data_center, row);
                    }
                    // Above the rows of a data center with more than one token stands the greatest of them.
                    None => *greatest = line.trim().parse().ok().or(*greatest),
                }
            }
        }
        if let Some((data_center, Some(token))) = centers.iter().find(|(_, greatest)| greatest.is_some()) {
            let what = format!("is cut short: data center {data_center} has a token {token}, and no node has it");
            return Err(wrong(what));
        }
        ring.checked().map_err(wrong)
    }

    /// Parses the JSON form, which is also how a snapshot tells its ring (`onefold show --json`):
    /// `{"members": [{"address": "10.0.0.1", "data_center": "dc1", "rack": "r1", "tokens": [-5, 7]}, …]}`.
    pub fn parse_json(text: &str, subject: &str) -> Result<Ring> {
        if text.trim_start().starts_with('[') {
            let what = "is a list in JSON, not an object with the list `members`";
            return Err(Error::new(Kind::Usage, subject, what).hint(JSON_REMEDY));
        }
        let ring: Ring = serde_json::from_str(text)
            .map_err(|e| Error::new(Kind::Usage, subject, format_args!("is no ring in JSON: {e}")).hint(JSON_REMEDY))?;
        ring.checked().map_err(|what| Error::new(Kind::Usage, subject, what).hint(JSON_REMEDY))
    }

    /// From what a captured node knows of itself and its peers. Peers without tokens are no members.
    pub fn of(node: &Node) -> Result<Ring> {
        let ports: BTreeSet<_> = node.peers.iter().map(|peer| peer.address).chain([node.this.address]).collect();
        let shared = ports.len() <= node.peers.len();
        let peers = node.peers.iter().chain([&node.this]).filter(|peer| !peer.tokens.is_empty());
        let ring = Ring { members: peers.map(|peer| member(peer, shared)).collect() };
        ring.checked().map_err(|what| Error::damaged("system.local and system.peers_v2", what))
    }

    /// Of nodes that were checked before.
    pub(super) fn with(members: Vec<Member>) -> Ring {
        Ring { members }
    }

    /// The nodes, in order of address.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The index among [`Ring::members`] of the node with this address (with or without port) or host id (with or
    /// without dashes). `None` where there is none or more than one.
    pub fn find(&self, name: &str) -> Option<usize> {
        let id = name.replace('-', "").to_ascii_lowercase();
        let exact = |m: &Member| same_address(&m.address, name) || m.host_id.as_deref() == Some(id.as_str());
        let loose = |m: &Member| same_address(without_port(&m.address), without_port(name));
        self.only(exact).or_else(|| self.only(loose))
    }

    /// Whether every node of `other` is here, with its tokens.
    pub fn has_members_of(&self, other: &Ring) -> bool {
        other.members.iter().all(|of| self.members.iter().any(|m| m.address == of.address && m.tokens == of.tokens))
    }

    fn only(&self, fits: impl Fn(&Member) -> bool) -> Option<usize> {
        let mut found = self.members.iter().enumerate().filter(|(_, member)| fits(member));
        let first = found.next()?.0;
        found.next().is_none().then_some(first)
    }

    fn add(&mut self, data_center: &str, row: Row<'_>) {
        let known = self.members.iter_mut().find(|m| m.address == row.address && m.data_center == data_center);
        match known {
            Some(member) => member.tokens.push(row.token),
            None => self.members.push(Member {
                address: row.address.to_string(),
                host_id: None,
                data_center: data_center.to_string(),
                rack: row.rack,
                state: row.state,
                tokens: vec![row.token],
            }),
        }
    }

    fn checked(mut self) -> std::result::Result<Ring, String> {
        if self.members.is_empty() {
            return Err("holds no node with a token".to_string());
        }
        self.members.sort_by(|a, b| a.address.cmp(&b.address));
        if let Some(two) = self.members.windows(2).find(|two| two[0].address == two[1].address) {
            return Err(format!("node {} stands there twice", two[0].address));
        }
        if let Some(idle) = self.members.iter().find(|m| m.tokens.is_empty()) {
            return Err(format!("node {} has no token", idle.address));
        }
        let mut seen = BTreeSet::new();
        for member in &mut self.members {
            member.tokens.sort_unstable();
            if let Some(twice) = member.tokens.iter().find(|token| !seen.insert(**token)) {
                return Err(format!("token {twice} stands there twice"));
            }
        }
        Ok(self)
    }
}

fn member(peer: &Peer, with_port: bool) -> Member {
    let address = match (peer.address, peer.port.filter(|_| with_port)) {
        (Some(IpAddr::V6(ip)), Some(port)) => format!("[{ip}]:{port}"),
        (Some(ip), Some(port)) => format!("{ip}:{port}"),
        (Some(ip), None) => ip.to_string(),
        (None, _) => String::new(),
    };
    Member {
        address,
        host_id: peer.host_id.clone(),
        data_center: peer.data_center.clone(),
        rack: peer.rack.clone(),
        state: MemberState::Normal,
        tokens: peer.tokens.clone(),
    }
}

struct Row<'a> {
    address: &'a str,
    rack: String,
    state: MemberState,
    token: i64,
}

/// `address rack status state load owns token`. The load has one word or two, a rack may have several. `None` for
/// headings and warnings.
fn parse_row(line: &str) -> Option<Row<'_>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (token, words) = words.split_last()?;
    let token = token.parse().ok()?;
    let is_state = |word: &&str| matches!(*word, "Normal" | "Joining" | "Leaving" | "Moving");
    let at = words.iter().rposition(is_state).filter(|at| *at >= 2)?;
    if !matches!(words[at - 1], "Up" | "Down" | "?") {
        return None;
    }
    let state = match words[at] {
        "Joining" => MemberState::Joining,
        "Leaving" => MemberState::Leaving,
        "Moving" => MemberState::Moving,
        _ => MemberState::Normal,
    };
    Some(Row { address: words[0], rack: words[1..at - 1].join(" "), state, token })
}

fn same_address(a: &str, b: &str) -> bool {
    let ip = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    a == b || ip(a).is_some_and(|a| Some(a) == ip(b))
}

fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && (host.ends_with(']') || !host.contains(':')) => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests;
