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
use crate::engine::cassandra::schema::fits::{misfits, other_replication};
use crate::engine::cassandra::schema::{Keyspace, Table};
use crate::engine::cassandra::source::ClusterDescription;
use crate::engine::cassandra::sstable::Version;
use crate::engine::cassandra::sstable::write::LateTimes;
use crate::engine::cassandra::whose::is_of_everything;
use crate::engine::split_name;
use crate::error::{Error, Kind, Result};
use crate::restore::tables::{self, is_of_one_table, of_table};
use crate::snapshot::{Shard, Snapshot};
use crate::watch::Watch;

/// Folder of the layout that holds each row once.
pub const ONCE: &str = "once";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Id of the snapshot.
    pub snapshot: String,
    /// The nodes to write for. `None`: each row once.
    pub ring: Option<&'a TargetRing>,
    /// How the target replicates, where not as captured.
    pub replication: Option<Replication>,
    /// What a live target has of the keyspaces that are restored into, by name; nothing where it was not asked.
    pub there: BTreeMap<String, Schema>,
    /// One table, `keyspace.table`; all but Cassandra's own, for `None`.
    pub table: Option<&'a str>,
    /// Roles and grants, too, where no table is named.
    pub with_roles: bool,
    /// Keyspace and table that it goes into, where not its own.
    pub into: Option<(&'a str, &'a str)>,
    /// Conditions as in CQL.
    pub condition: Option<&'a str>,
    /// With what only nodes held that do not own it.
    pub unowned: bool,
    /// Version of the files.
    pub version: Version,
    /// For times that the version cannot hold.
    pub late_times: LateTimes,
}

/// One table, planned.
pub struct TablePlan<'s> {
    /// As stored.
    pub shard: &'s Shard,
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

/// All tables that are asked for.
pub struct Plans<'s> {
    /// Those that can be written.
    pub tables: Vec<TablePlan<'s>>,
    /// Why others cannot be.
    pub refused: Vec<Error>,
}

/// The version of SSTables that the captured cluster wrote: `oa` where any was, else `nb`.
pub fn version(s: &Snapshot) -> Result<Version> {
    // `da` is the same rows under another index.
    let newer = ClusterDescription::read(&s.description)?.sstable_versions.iter().any(|v| v == "oa" || v == "da");
    Ok(if newer { Version::Oa } else { Version::Nb })
}

/// Plans every table that is asked for. Memory: a few bytes for every token of the ring and replication that occurs, whatever the
/// number of tables.
///
/// Errors: rings and replications that do not fit, by the name of the keyspace; tables that are not there; conditions that the table
/// does not allow; a `describering`, which is of one keyspace, for several. What cannot be written of one table alone of several is
/// in [`Plans::refused`].
pub fn plan<'s>(s: &'s Snapshot, request: &Request<'_>, watch: &Watch) -> Result<Plans<'s>> {
    let shards = tables::chosen(s, request.table, &|name| is_of_everything(name, request.with_roles))?;
    one_keyspace(&shards, request)?;
    let folders = match request.ring {
        Some(ring) => ring.members().iter().map(|m| folder_name(&m.address)).collect::<Result<Vec<_>>>()?,
        None => vec![ONCE.to_owned()],
    };
    let cluster = ClusterDescription::read(&s.description)?;
    let mut planner = Planner { s, request, cluster, folders: folders.into(), placed: BTreeMap::new() };
    let mut plans = Plans { tables: Vec::new(), refused: Vec::new() };
    for shard in &shards {
        watch.check()?;
        match planner.table(shard) {
            Ok(plan) => plans.tables.push(plan),
            Err(e) if shards.len() > 1 && is_of_one_table(&e) => plans.refused.push(of_table(shard, e)),
            Err(e) => return Err(e),
        }
    }
    Ok(plans)
}

/// The tables that are asked for under the names that they go to; `table` and `into` as in [`Request`]. Those that cannot be read are not
/// among them: [`plan`] says so.
pub fn tables(s: &Snapshot, table: Option<&str>, with_roles: bool, into: Option<(&str, &str)>) -> Result<Vec<Table>> {
    let chosen = tables::chosen(s, table, &|name| is_of_everything(name, with_roles))?;
    let known = chosen.into_iter().filter_map(|shard| Table::read(&shard.description, &shard.name).ok());
    Ok(known.map(|table| rename(table, into)).collect())
}

fn rename(mut table: Table, into: Option<(&str, &str)>) -> Table {
    if let Some((keyspace, name)) = into {
        (table.keyspace, table.name) = (keyspace.to_owned(), name.to_owned());
    }
    table
}

struct Planner<'a, 's> {
    s: &'s Snapshot,
    request: &'a Request<'a>,
    cluster: ClusterDescription,
    folders: Arc<[String]>,
    /// Who holds what, by replication.
    placed: BTreeMap<Replication, Arc<Placed>>,
}

impl<'s> Planner<'_, 's> {
    fn table(&mut self, shard: &'s Shard) -> Result<TablePlan<'s>> {
        let request = self.request;
        let captured = Table::read(&shard.description, &shard.name)?;
        let within = |e: Error| e.within(format_args!("table {}", shard.name));
        let known = self.cluster.keyspaces.iter().find(|k| k.name == captured.keyspace).cloned();
        let table = rename(captured.clone(), request.into);
        let there = fits(&captured, &table, request)?;
        let replication = request.replication.as_ref().or(there).or_else(|| known.as_ref().map(|k| &k.replication));
        let cut = table.options.map("compaction").map(Cut::parse).transpose().map_err(within)?.unwrap_or(Cut::Size);
        // Refused now, not after hours.
        options(&table, request.version, request.late_times, 0)?;
        if let Some(condition) = request.condition {
            Filter::parse(condition, &captured, &Layout::of(&captured)?)?.names_records()?;
        }
        let size = one_copy(self.s, shard, &self.cluster, &captured.keyspace)?;
        let (plan, replication) = match (request.ring, replication) {
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
        Ok(TablePlan { shard, captured, table, keyspace, replication, plan, folders: Arc::clone(&self.folders) })
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
fn fits<'r>(captured: &Table, table: &Table, request: &'r Request<'_>) -> Result<Option<&'r Replication>> {
    let Some(there) = request.there.get(&table.keyspace) else { return Ok(None) };
    if let Some(other) = there.tables.iter().find(|t| t.name == table.name) {
        let misfits = misfits(captured, other)?;
        if !misfits.is_empty() {
            let subject = format!("table {}.{} of the target", table.keyspace, table.name);
            return Err(Error::new(Kind::Usage, subject, misfits.join("; "))
                .hint("make the table fit, or restore it alone, with --table, --into another name"));
        }
    }
    let replication = there.keyspace(&table.keyspace).map(|k| &k.replication);
    let spelled_out = |r: &Replication| request.ring.map_or_else(|| r.clone(), |ring| ring.spelled_out(r));
    let wanted = request.replication.as_ref().map(spelled_out);
    if let Some(differs) = replication.zip(wanted).and_then(|(there, wanted)| other_replication(there, &wanted)) {
        return Err(Error::new(Kind::Usage, format!("keyspace {} of the target", table.keyspace), differs)
            .hint("leave --replication out: the live cluster says it; or ALTER KEYSPACE there first"));
    }
    Ok(replication)
}

/// The output of `describering` tells the ranges of one keyspace.
fn one_keyspace(shards: &[&Shard], request: &Request<'_>) -> Result<()> {
    if !request.ring.is_some_and(TargetRing::is_of_one_keyspace) {
        return Ok(());
    }
    let mut keyspaces: Vec<&str> = shards.iter().map(|t| split_name(&t.name).0).collect();
    keyspaces.dedup();
    if keyspaces.len() > 1 && request.into.is_none() {
        let what = format!("tells the ranges of one keyspace, but {} are restored", keyspaces.join(", "));
        return Err(Error::new(Kind::Usage, "nodetool describering", what)
            .hint("give the output of `nodetool ring`, or restore one table with --table"));
    }
    Ok(())
}

/// About how large the table is once. What was captured holds it as often as it was replicated.
fn one_copy(s: &Snapshot, shard: &Shard, cluster: &ClusterDescription, keyspace: &str) -> Result<Size> {
    let share = |range: &TokenRange| (range.end as f64 - range.start as f64) / 2f64.powi(64);
    let of_node = |ranges: &Option<Vec<TokenRange>>| ranges.as_ref().map_or(1.0, |r| r.iter().map(share).sum());
    let copies: f64 = match cluster.owned.get(keyspace) {
        Some(nodes) => nodes.iter().map(of_node).sum(),
        None => s.nodes.len() as f64,
    };
    let records = shard.layers.iter().map(|tree| Ok(tree.root()?.records)).sum::<Result<u64>>()?;
    Ok(Size { records, bytes: (shard.bytes_read as f64 / copies.max(1.0)) as u64 })
}

/// Tables of Cassandra's own that a restore of everything leaves out.
pub fn left_out<'s>(s: &'s Snapshot, request: &Request<'_>) -> Vec<&'s str> {
    let is_out = |t: &&Shard| !is_of_everything(&t.name, request.with_roles) && t.rows > 0;
    let own = s.shards.iter().filter(|t| request.table.is_none() && is_out(t));
    own.map(|t| t.name.as_str()).collect()
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
