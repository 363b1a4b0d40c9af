//! The ring that data are to be restored to, and who holds which ranges of a keyspace there.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::cassandra::lex::{Lexer, Token};
use crate::engine::cassandra::ring::{Held, Member, MemberState, Ring, describering};
use crate::error::{Error, Kind, Result};

/// Replication options as `system_schema` keeps them: `class`, and the strategy's own.
pub type Replication = BTreeMap<String, String>;

/// The nodes of the target, with their tokens or with the ranges of one keyspace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TargetRing {
    members: Vec<Member>,
    /// In order of tokens; as `describering` lists them, else `None`.
    listed: Option<Vec<Held>>,
}

impl TargetRing {
    /// Parses whichever of the three forms `text` has; `subject` names it in errors, which are of kind `Usage`.
    pub fn parse(text: &str, subject: &str) -> Result<TargetRing> {
        let ring = if text.trim_start().starts_with(['{', '[']) {
            TargetRing::of(&Ring::parse_json(text, subject)?)
        } else if text.contains(describering::MARK) {
            let wrong = |what: String| Error::new(Kind::Usage, subject, what).hint(DESCRIBERING);
            let (members, mut listed) = describering::parse(text).map_err(wrong)?;
            listed.sort_by_key(|(range, _)| *range);
            covers(&listed).map_err(wrong)?;
            TargetRing { members, listed: Some(listed) }
        } else {
            TargetRing::of(&Ring::parse(text, subject)?)
        };
        ring.settled(subject)?;
        Ok(ring)
    }

    /// Of nodes with their tokens.
    pub fn of(ring: &Ring) -> TargetRing {
        TargetRing { members: ring.members().to_vec(), listed: None }
    }

    /// The nodes, in order of address.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether it holds for one keyspace only, because it came from `nodetool describering`.
    pub fn is_of_one_keyspace(&self) -> bool {
        self.listed.is_some()
    }

    /// A ring in motion is refused: `nodetool import` refuses a directory for one token that the node does not own.
    fn settled(&self, subject: &str) -> Result<()> {
        let moving = self.members.iter().find(|m| m.state != MemberState::Normal);
        if let Some(member) = moving {
            let what = format!("node {} is {:?}", member.address, member.state).to_lowercase();
            return Err(Error::new(Kind::Usage, subject, what)
                .hint("wait until every node is Normal in `nodetool ring`, then take its output again"));
        }
        Ok(())
    }

    /// The replication with `replication_factor` of `NetworkTopologyStrategy` spelled out for every data center, as
    /// Cassandra does when it creates a keyspace (`NetworkTopologyStrategy.prepareOptions`).
    pub fn spelled_out(&self, replication: &Replication) -> Replication {
        let mut options = replication.clone();
        if class_of(replication) == "NetworkTopologyStrategy"
            && let Some(count) = options.remove("replication_factor")
        {
            for center in self.centers() {
                options.entry(center.to_owned()).or_insert_with(|| count.clone());
            }
        }
        options
    }

    /// Data centers with fewer nodes than the replication asks for: Cassandra takes what there is.
    pub fn short_of_nodes(&self, replication: &Replication) -> Vec<String> {
        let mut short = Vec::new();
        for (name, count) in self.spelled_out(replication) {
            let inside = |m: &&Member| name == "replication_factor" || m.data_center == name;
            let nodes = self.members.iter().filter(inside).count();
            if count.parse::<usize>().is_ok_and(|count| count > nodes) {
                let place = if name == "replication_factor" { "the ring" } else { name.as_str() };
                short.push(format!("{place} has {nodes} nodes for {count} replicas"));
            }
        }
        short
    }

    fn centers(&self) -> BTreeSet<&str> {
        self.members.iter().map(|m| m.data_center.as_str()).collect()
    }

    /// Every range with the nodes (places among [`TargetRing::members`]) that hold it, in order of tokens, without gaps and each with a
    /// node. `replication` is that of `keyspace` on the target.
    ///
    /// Errors: a strategy that is not known, transient replication, a data center that the ring lacks, ranges without
    /// a replica, ranges (`describering`) that are not those of this replication.
    pub fn place(&self, keyspace: &str, replication: &Replication) -> Result<Vec<Held>> {
        let options = self.spelled_out(replication);
        let refuse =
            |what: String| Error::new(Kind::Usage, format_args!("keyspace {keyspace}"), what).hint(GIVE_REPLICATION);
        if let Some((name, count)) = options.iter().find(|(name, count)| *name != "class" && count.contains('/')) {
            let what = format!("{name} is {count}: transient replication is not supported");
            return Err(refuse(what));
        }
        let class = class_of(&options);
        if class == "LocalStrategy" {
            return Err(refuse("is replicated by LocalStrategy: it is each node's own".to_owned()));
        }
        if class == "NetworkTopologyStrategy" {
            let centers = self.centers();
            let wanted = options.iter().filter(|(name, count)| *name != "class" && *count != "0");
            if let Some((lacking, _)) = wanted.into_iter().find(|(name, _)| !centers.contains(name.as_str())) {
                let has: Vec<&str> = centers.into_iter().collect();
                let what = format!("is to have replicas in data center {lacking}, which the ring lacks");
                return Err(refuse(format!("{what}; it has {}", has.join(", "))));
            }
        }
        let ring = Ring::with(self.members.clone());
        let within = |e: Error| e.within(format_args!("keyspace {keyspace}")).hint(GIVE_REPLICATION);
        let placed = match &self.listed {
            Some(listed) => {
                self.agrees(listed, &options).map_err(refuse)?;
                listed.clone()
            }
            None => ring.placement(&options).map_err(within)?.into_natural(),
        };
        covers(&placed).map_err(refuse)?;
        Ok(placed)
    }

    /// Whether every listed range has as many replicas in every data center as the replication says.
    fn agrees(&self, listed: &[Held], options: &Replication) -> std::result::Result<(), String> {
        // Counts alone: where they agree, the cluster's own choice of nodes is the truth.
        let class = class_of(options);
        let number = |text: &String| text.parse::<usize>().map_err(|_| format!("`{text}` is no number of replicas"));
        for (range, nodes) in listed {
            let place = format!("({}, {}]", range.start, range.end);
            let check = |of: &str, has: usize, wants: usize, there: usize| match has == wants.min(there) {
                true => Ok(()),
                false => Err(format!("range {place} has {has} replicas{of}, but the replication says {wants}")),
            };
            match class {
                "SimpleStrategy" => {
                    let wants = options.get("replication_factor").map(number).transpose()?.unwrap_or(0);
                    check("", nodes.len(), wants, self.members.len())?;
                }
                "NetworkTopologyStrategy" => {
                    for center in self.centers() {
                        let of = |m: &&usize| self.members[**m].data_center == center;
                        let there = self.members.iter().filter(|m| m.data_center == center).count();
                        let wants = options.get(center).map(number).transpose()?.unwrap_or(0);
                        check(&format!(" in {center}"), nodes.iter().filter(of).count(), wants, there)?;
                    }
                }
                "EverywhereStrategy" => check("", nodes.len(), self.members.len(), self.members.len())?,
                other => return Err(format!("replication strategy {other} is not known")),
            }
        }
        Ok(())
    }
}

const DESCRIBERING: &str = "give the whole output of `nodetool describering KEYSPACE`, or that of `nodetool ring`";
const GIVE_REPLICATION: &str = "say how the target replicates it: \
    --replication \"{'class': 'NetworkTopologyStrategy', 'DATA CENTER': 3}\"";

fn class_of(options: &Replication) -> &str {
    options.get("class").and_then(|c| c.rsplit('.').next()).unwrap_or_default()
}

/// Whether ascending ranges hold every token once, each with a replica.
fn covers(placed: &[Held]) -> std::result::Result<(), String> {
    let mut end = i64::MIN;
    for (range, nodes) in placed {
        match range.start.cmp(&end) {
            std::cmp::Ordering::Greater => return Err(format!("tokens ({end}, {}] are not in the ring", range.start)),
            std::cmp::Ordering::Less => return Err(format!("tokens ({}, {end}] stand there twice", range.start)),
            std::cmp::Ordering::Equal => end = range.end,
        }
        if nodes.is_empty() {
            return Err(format!("tokens ({}, {}] have no replica", range.start, range.end));
        }
    }
    if end != i64::MAX {
        return Err(format!("tokens ({end}, {}] are not in the ring", i64::MAX));
    }
    Ok(())
}

/// Parses replication options written as in CQL: `{'class': 'SimpleStrategy', 'replication_factor': 3}`.
pub fn parse_replication(text: &str) -> Result<Replication> {
    let mut lexer = Lexer::new(text, "--replication", Kind::Usage)?;
    let mut options = Replication::new();
    lexer.expect("{")?;
    loop {
        let Some(Token::Text(name)) = lexer.next()? else { return Err(lexer.unexpected("an option in 'quotes'")) };
        lexer.expect(":")?;
        let value = match lexer.next()? {
            Some(Token::Text(value)) => value,
            Some(Token::Number(number)) => number.to_owned(),
            _ => return Err(lexer.unexpected("a value")),
        };
        options.insert(name, value);
        if !lexer.eat(",")? {
            break;
        }
    }
    lexer.expect("}")?;
    if lexer.peek().is_some() {
        return Err(lexer.unexpected("the end"));
    }
    if !options.contains_key("class") {
        return Err(lexer.error("names no 'class'"));
    }
    Ok(options)
}
