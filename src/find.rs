//! A key over tables and snapshots: where it is, and where it cannot be.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::diff::{Change, Held, Side, What, Why, compare};
use crate::engine::{Engine, engine};
use crate::error::{Error, Kind, Result};
use crate::repo::{Repo, SnapshotInfo};
use crate::run::ChunkSource;
use crate::snapshot::{Filter, Shard, Snapshot, Tree, read_each};
use crate::view::View;
use crate::watch::Watch;

/// What is asked for.
pub struct Request<'a> {
    /// All that are known.
    pub engines: &'a [&'a dyn Engine],
    /// Which snapshots, of those that are given.
    pub filter: &'a Filter,
    /// Only what lies in this, and is called so or fits this pattern ([`Snapshot::fitting`]).
    pub outer: Option<&'a str>,
    /// See there.
    pub table: Option<&'a str>,
    /// The key in one word.
    pub key: &'a str,
    /// Is asked whether to go on.
    pub watch: &'a Watch,
}

/// A snapshot that was looked at.
#[derive(Debug, Clone)]
pub struct At {
    /// Which.
    pub info: SnapshotInfo,
    /// The cluster, as the operator names it.
    pub cluster: String,
    /// Whether it is complete.
    pub complete: bool,
}

/// What a snapshot has under the key in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum There {
    /// So many rows, none perhaps, and the newest of their write times where the database has them.
    Rows {
        /// How many.
        rows: u64,
        /// The newest write time.
        written: Option<i64>,
        /// What is there is not what was in the last snapshot that has the table.
        changed: bool,
    },
    /// Nothing of the table was backed up.
    NotBackedUp(Why),
    /// It cannot be read.
    Unread(String),
}

/// What was found in one table of a cluster.
#[derive(Debug)]
pub struct Found {
    /// The cluster.
    pub cluster: String,
    /// The table.
    pub table: String,
    /// Conditions that name the rows, for other commands; of the newest snapshot that takes the key.
    pub conditions: Option<String>,
    /// Why the table takes no such key, where it does not in any snapshot.
    pub refused: Option<String>,
    /// By place in [`Report::snapshots`], ascending: those that take the key or do not have the table.
    pub there: Vec<(usize, There)>,
    last: Option<Last>,
}

/// The table as it was looked at last.
#[derive(Debug)]
struct Last {
    layers: Vec<Tree>,
    description: Value,
    rows: u64,
    written: Option<i64>,
    /// All that is said of the rows.
    said: blake3::Hash,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The snapshots, oldest first.
    pub snapshots: Vec<At>,
    /// By cluster and table.
    pub found: Vec<Found>,
    /// Snapshots that cannot be read, and tables of them.
    pub unreadable: Vec<Error>,
}

/// Looks for a key in the snapshots `infos`. Of a table that is as it was in the snapshot before nothing is read again.
///
/// Errors: `Usage` where no snapshot has such a table; what reading gives, but for what is damaged, which is in the report.
pub fn find(repo: &Repo, infos: &[SnapshotInfo], request: &Request<'_>, chunks: &dyn ChunkSource) -> Result<Report> {
    let mut report = Report::default();
    let mut found: BTreeMap<(String, String), Found> = BTreeMap::new();
    let mut unknown = None;
    let mut at = infos.iter();
    read_each(repo, infos, &mut |read| {
        request.watch.check()?;
        let Some(info) = at.next() else { return Ok(()) };
        let s = match read {
            Ok(s) if request.filter.fits(&s) => s,
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == Kind::Denied => return Err(e),
            Err(e) => {
                report.unreadable.push(e.within(format_args!("snapshot {}", info.id)));
                return Ok(());
            }
        };
        let place = report.snapshots.len();
        report.snapshots.push(At { info: *info, cluster: s.cluster.clone(), complete: s.complete });
        let shards = match s.fitting(request.outer, request.table) {
            Ok(shards) => shards,
            Err(e) => {
                unknown = Some(e);
                Vec::new()
            }
        };
        for shard in &shards {
            let key = (s.cluster.clone(), shard.name.clone());
            let of = found.entry(key).or_insert_with_key(|(cluster, table)| Found::none(cluster, table));
            if let Err(e) = of.look(request, place, &s, shard, chunks) {
                match e.kind() {
                    Kind::Damaged | Kind::Unsupported | Kind::TooLarge => {
                        of.there.push((place, There::Unread(e.message().to_owned())));
                        report.unreadable.push(e.within(format_args!("snapshot {}", info.id)));
                    }
                    _ => return Err(e.within(format_args!("snapshot {}", info.id))),
                }
            }
        }
        let lacks = |of: &&mut Found| of.cluster == s.cluster && !shards.iter().any(|shard| shard.name == of.table);
        for of in found.values_mut().filter(lacks) {
            if let Held::Not(why) = Held::of(&s, &of.table) {
                of.there.push((place, There::NotBackedUp(why)));
            }
        }
        Ok(())
    })?;
    match unknown.filter(|_| found.is_empty()) {
        Some(e) => Err(e),
        None => {
            report.found = found.into_values().collect();
            Ok(report)
        }
    }
}

impl Found {
    fn none(cluster: &str, table: &str) -> Found {
        let (cluster, table) = (cluster.to_owned(), table.to_owned());
        Found { cluster, table, conditions: None, refused: None, there: Vec::new(), last: None }
    }

    /// Looks for the key in one snapshot.
    fn look(
        &mut self,
        request: &Request<'_>,
        place: usize,
        s: &Snapshot,
        shard: &Shard,
        chunks: &dyn ChunkSource,
    ) -> Result<()> {
        if let Held::Not(why) = Held::of(s, &shard.name) {
            self.there.push((place, There::NotBackedUp(why)));
            return Ok(());
        }
        let view = View::open(engine(request.engines, &s.engine)?, s, shard, chunks)?;
        let conditions = match view.schema().conditions_of_key(request.key) {
            Ok(conditions) => conditions,
            Err(e) if e.kind() == Kind::Usage => {
                let advice = e.advice().map(|advice| format!(" ({advice})")).unwrap_or_default();
                self.refused = Some(format!("{}: {}{advice}", e.subject(), e.message()));
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let is_as_before = |last: &&Last| {
            last.layers == shard.layers && last.description == shard.description && shard.layers.len() < 2
        };
        let there = match self.last.as_ref().filter(is_as_before) {
            Some(last) => There::Rows { rows: last.rows, written: last.written, changed: false },
            None => self.read(&view, &conditions, request.watch)?,
        };
        self.conditions = Some(conditions);
        self.there.push((place, there));
        Ok(())
    }

    fn read(&mut self, view: &View<'_>, conditions: &str, watch: &Watch) -> Result<There> {
        let selection = view.select(conditions)?;
        let (mut rows, mut written, mut said) = (0, None, blake3::Hasher::new());
        let side = Side { view, selection: Some(&*selection) };
        compare(None, Some(side), watch, &mut |change: &Change<'_>| {
            if let (What::Added, Some(row)) = (change.what, &change.after) {
                rows += 1;
                written = written.max(newest(&row.times()));
                for text in [row.key(), row.values(), row.times()] {
                    said.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
                }
            }
            Ok(())
        })?;
        let (shard, said) = (view.shard(), said.finalize());
        let changed = self.last.as_ref().is_none_or(|last| last.said != said);
        let (layers, description) = (shard.layers.clone(), shard.description.clone());
        self.last = Some(Last { layers, description, rows, written, said });
        Ok(There::Rows { rows, written, changed })
    }

    /// Whether the key is in any snapshot.
    pub fn is_there(&self) -> bool {
        self.there.iter().any(|(_, there)| matches!(there, There::Rows { rows: 1.., .. }))
    }

    /// Why the table takes no such key: in no snapshot does it.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref().filter(|_| self.conditions.is_none())
    }
}

/// The newest of the write times of a row: an object whose values are numbers, or lists of numbers.
fn newest(times: &str) -> Option<i64> {
    fn of(value: &Value) -> Option<i64> {
        match value {
            Value::Number(n) => n.as_i64(),
            Value::Array(all) => all.iter().filter_map(of).max(),
            Value::Object(all) => all.values().filter_map(of).max(),
            _ => None,
        }
    }
    of(&serde_json::from_str(times).ok()?)
}
