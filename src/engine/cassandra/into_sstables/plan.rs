//! What a restore to SSTables will write: which tables, for which nodes, in which parts, and about how much.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::cassandra::filter::Filter;
use crate::engine::cassandra::placing::folders::options;
use crate::engine::cassandra::placing::ring::Replication;
use crate::engine::cassandra::placing::{Cut, Placed, Plan, Size, TargetRing};
use crate::engine::cassandra::read_schema::Schema;
use crate::engine::cassandra::ring::TokenRange;
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::fits::{check_fits, other_replication};
use crate::engine::cassandra::schema::{Keyspace, Table};
use crate::engine::cassandra::source::ClusterDescription;
use crate::engine::cassandra::sstable::Version;
use crate::engine::cassandra::sstable::write::LateTimes;
use crate::engine::split_name;
use crate::engine::target::{Asked, Stored, is_of_one_shard};
use crate::error::{Error, Kind, Result};
use crate::watch::Watch;

/// Folder of the layout that holds each row once.
pub const ONCE: &str = "once";

/// What is asked for besides what every target is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The nodes to write for. `None`: each row once.
    pub ring: Option<TargetRing>,
    /// How the target replicates, where not as captured.
    pub replication: Option<Replication>,
    /// What a live target has of the keyspaces that are restored into, by name; nothing where it was not asked.
    pub there: BTreeMap<String, Schema>,
    /// Keyspace and table that it goes into, where not its own.
    pub into: Option<(String, String)>,
    /// Version of the files.
    pub version: Version,
    /// For times that the version cannot hold.
    pub late_times: LateTimes,
}

/// One table, planned.
pub struct TablePlan<'s> {
    /// As stored.
    pub stored: &'s Stored<'s>,
    /// As captured.
    pub captured: Table,
    /// The same under the name that it goes to.
    pub table: Table,
    /// Its keyspace as captured.
    pub keyspace: Keyspace,
    /// How the target replicates it.
    pub replication: Replication,
    /// Parts, cut and level.
    pub plan: Plan,
    /// Folder of each node, by its place in the ring: the same for all tables.
    pub folders: Arc<[String]>,
}

impl TablePlan<'_> {
    /// `keyspace.table` as it goes to the target.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table.keyspace, self.table.name)
    }
}

/// The version of SSTables that the captured cluster wrote: `oa` where any was, else `nb`.
pub fn version(asked: &Asked<'_>) -> Result<Version> {
    // `da` is the same rows under another index.
    let newer = ClusterDescription::read(asked.description)?.sstable_versions.iter().any(|v| v == "oa" || v == "da");
    Ok(if newer { Version::Oa } else { Version::Nb })
}

/// Plans every table that is asked for; one of several that cannot be written has the error instead. Memory: a few bytes for every
/// token of the ring and replication that occurs, whatever the number of tables.
///
/// Errors: rings and replications that do not fit, by the name of the keyspace; conditions that the table does not allow; a
/// `describering`, which is of one keyspace, for several.
pub fn plan<'s>(asked: &'s Asked<'s>, request: &Request, watch: &Watch) -> Result<Vec<Result<TablePlan<'s>>>> {
    one_keyspace(asked, request)?;
    let folders = match &request.ring {
        Some(ring) => ring.members().iter().map(|m| folder_name(&m.address)).collect::<Result<Vec<_>>>()?,
        None => vec![ONCE.to_owned()],
    };
    let cluster = ClusterDescription::read(asked.description)?;
    let mut planner = Planner { asked, request, cluster, folders: folders.into(), placed: BTreeMap::new() };
    let mut plans = Vec::new();
    for stored in &asked.shards {
        watch.check()?;
        match planner.table(stored) {
            Err(e) if asked.shards.len() == 1 || !is_of_one_shard(&e) => return Err(e),
            plan => plans.push(plan),
        }
    }
    Ok(plans)
}

/// The tables that are asked for under the names that they go to. Those that cannot be read are not among them: [`plan`] says so.
#[cfg(feature = "cql")]
pub fn tables(asked: &Asked<'_>, into: Option<&(String, String)>) -> Vec<Table> {
    let known = asked.shards.iter().filter_map(|stored| Table::read(stored.description, stored.name).ok());
    known.map(|table| rename(table, into)).collect()
}

fn rename(mut table: Table, into: Option<&(String, String)>) -> Table {
    if let Some(into) = into {
        (table.keyspace, table.name) = into.clone();
    }
    table
}

struct Planner<'a, 's> {
    asked: &'s Asked<'s>,
    request: &'a Request,
    cluster: ClusterDescription,
    folders: Arc<[String]>,
    /// Who holds what, by replication.
    placed: BTreeMap<Replication, Arc<Placed>>,
}

impl<'s> Planner<'_, 's> {
    fn table(&mut self, stored: &'s Stored<'s>) -> Result<TablePlan<'s>> {
        let request = self.request;
        let captured = Table::read(stored.description, stored.name)?;
        stored.check()?;
        let within = |e: Error| e.within(format_args!("table {}", stored.name));
        let known = self.cluster.keyspaces.iter().find(|k| k.name == captured.keyspace).cloned();
        let table = rename(captured.clone(), request.into.as_ref());
        let there = fits(&captured, &table, request)?;
        let replication = request.replication.as_ref().or(there).or_else(|| known.as_ref().map(|k| &k.replication));
        let cut = table.options.map("compaction").map(Cut::parse).transpose().map_err(within)?.unwrap_or(Cut::Size);
        // Refused now, not after hours.
        options(&table, request.version, request.late_times, 0)?;
        if let Some(condition) = self.asked.condition {
            Filter::parse(condition, &captured, &Layout::of(&captured)?)?.names_records()?;
        }
        let size = one_copy(self.asked, stored, &self.cluster, &captured.keyspace);
        let (plan, replication) = match (&request.ring, replication) {
            (None, replication) => (Plan::once(cut, size), replication.cloned().unwrap_or_default()),
            (Some(ring), Some(replication)) => {
                let replication = ring.spelled_out(replication);
                (Plan::for_nodes(&self.place(ring, &table.keyspace, &replication)?, cut, size), replication)
            }
            (Some(_), None) => {
                let what = "how it was replicated was not captured";
                return Err(Error::new(Kind::Usage, format_args!("keyspace {}", captured.keyspace), what)
                    .hint("say how the target replicates it: --replication \"{'class': …}\""));
            }
        };
        let keyspace = known.unwrap_or_else(|| Keyspace::unknown(&captured.keyspace));
        Ok(TablePlan { stored, captured, table, keyspace, replication, plan, folders: Arc::clone(&self.folders) })
    }

    fn place(&mut self, ring: &TargetRing, keyspace: &str, replication: &Replication) -> Result<Arc<Placed>> {
        if let Some(known) = self.placed.get(replication) {
            return Ok(Arc::clone(known));
        }
        let placed = Arc::new(Placed::of(ring.place(keyspace, replication)?));
        self.placed.insert(replication.clone(), Arc::clone(&placed));
        Ok(placed)
    }
}

/// Refuses a table that does not fit what a live target has; how that replicates the keyspace.
fn fits<'r>(captured: &Table, table: &Table, request: &'r Request) -> Result<Option<&'r Replication>> {
    let Some(there) = request.there.get(&table.keyspace) else { return Ok(None) };
    if let Some(other) = there.tables.iter().find(|t| t.name == table.name) {
        check_fits(captured, other)?;
    }
    let replication = there.keyspace(&table.keyspace).map(|k| &k.replication);
    let spelled_out = |r: &Replication| request.ring.as_ref().map_or_else(|| r.clone(), |ring| ring.spelled_out(r));
    let wanted = request.replication.as_ref().map(spelled_out);
    if let Some(differs) = replication.zip(wanted).and_then(|(there, wanted)| other_replication(there, &wanted)) {
        return Err(Error::new(Kind::Usage, format!("keyspace {} of the target", table.keyspace), differs)
            .hint("leave --replication out: the live cluster says it; or ALTER KEYSPACE there first"));
    }
    Ok(replication)
}

/// The output of `describering` tells the ranges of one keyspace.
fn one_keyspace(asked: &Asked<'_>, request: &Request) -> Result<()> {
    if !request.ring.as_ref().is_some_and(TargetRing::is_of_one_keyspace) {
        return Ok(());
    }
    let mut keyspaces: Vec<&str> = asked.shards.iter().map(|stored| split_name(stored.name).0).collect();
    keyspaces.dedup();
    if keyspaces.len() > 1 && request.into.is_none() {
        let what = format!("tells the ranges of one keyspace, but {} are restored", keyspaces.join(", "));
        return Err(Error::new(Kind::Usage, "nodetool describering", what)
            .hint("give the output of `nodetool ring`, or restore one table with --table"));
    }
    Ok(())
}

/// About how large the table is once. What was captured holds it as often as it was replicated.
fn one_copy(asked: &Asked<'_>, stored: &Stored<'_>, cluster: &ClusterDescription, keyspace: &str) -> Size {
    let share = |range: &TokenRange| (range.end as f64 - range.start as f64) / 2f64.powi(64);
    let of_node = |ranges: &Option<Vec<TokenRange>>| ranges.as_ref().map_or(1.0, |r| r.iter().map(share).sum());
    let copies: f64 = match cluster.owners(keyspace) {
        Some(nodes) => nodes.iter().map(of_node).sum(),
        None => asked.nodes.len() as f64,
    };
    Size { records: stored.records, bytes: (stored.bytes as f64 / copies.max(1.0)) as u64 }
}

/// An address as the name of a folder.
fn folder_name(address: &str) -> Result<String> {
    let taken = [ONCE, "restore.json", "schema-1.cql", "schema-2.cql"].contains(&address);
    if address.is_empty() || address.starts_with('.') || address.contains(['/', '\\', '\0']) || taken {
        return Err(Error::new(
            Kind::Usage,
            format_args!("node `{address}`"),
            "has an address that no folder can have",
        )
        .hint("give every node of the ring its IP address or host name"));
    }
    Ok(address.to_owned())
}
