//! Into a live cluster over CQL: one table, a part of it, or a row.
//!
//! What is there is never hidden, overwritten or deleted unless the order says so; what was sent is remembered in a file
//! ([`state`]), so that a restore that was interrupted goes on when it is repeated. Statements carry their times, so one
//! that is sent twice changes nothing; appended elements of lists are asked for first.

mod source;
mod state;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use super::tables;
use crate::engine::cassandra::Cassandra;
use crate::engine::cassandra::client::{Client, Rate, Sent, Writing};
use crate::engine::cassandra::filter::Filter;
use crate::engine::cassandra::mutate::{Mutations, Times, Ttl};
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::statements::qualified;
use crate::engine::cassandra::schema::{Keyspace, Table};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::run::{ChunkSource, RecordBatch, Run};
use crate::snapshot::{Shard, Snapshot};
use crate::view::{Side, View};
use crate::watch::Watch;
use source::Source;
use state::{Before, Header, State};
use target::Target;

/// Rows of the target that are looked at to say how much of a restore would stay hidden.
const SHADOW_PROBES: usize = 500;
/// So many of them at once.
const AT_ONCE: usize = 50;

/// What may happen to what the target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It holds nothing, or the restore is refused.
    Empty,
    /// It is deleted as far as the selection names it, and the restored data take its place.
    Replace,
    /// Rows that are not restored stay. Those that are win by times of now, where the snapshot says anything of them.
    RewriteTimes,
}

/// What becomes of expiring cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// They end when they would have ended.
    Keep,
    /// They have as long to live as they had at the snapshot's cut.
    Shift,
    /// They do not end.
    Lift,
}

/// What is asked for of one table.
#[derive(Debug)]
pub struct Order<'a> {
    /// Id of the snapshot.
    pub snapshot: String,
    /// The table as captured.
    pub table: &'a Table,
    /// Its keyspace as captured.
    pub keyspace: &'a Keyspace,
    /// Keyspace and table that are written to.
    pub into: (&'a str, &'a str),
    /// Conditions as in CQL; without, everything.
    pub condition: Option<&'a str>,
    /// With what only nodes held that do not own it.
    pub unowned: bool,
    /// What may happen to what is there.
    pub mode: Mode,
    /// What becomes of expiring cells.
    pub expiry: Expiry,
    /// How the keyspace is, or is to be, replicated; as captured where it is there like that.
    pub replication: Option<BTreeMap<String, String>>,
    /// A limit of speed.
    pub rate: Option<Rate>,
    /// Statements in flight.
    pub concurrency: usize,
    /// Where to remember what was sent.
    pub state: PathBuf,
}

/// What a restore came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was sent, or would be.
    pub sent: Sent,
    /// Rows that an interrupted restore had sent before.
    pub rows_before: u64,
    /// An earlier restore had done everything.
    pub done_before: bool,
    /// What CQL cannot carry exactly, by name, with numbers.
    pub not_carried: BTreeMap<&'static str, u64>,
    /// What of the captured schema was not made.
    pub left_out: Vec<String>,
    /// Seconds that sending takes by reckoning; only of a dry run.
    pub seconds: Option<u64>,
}

/// What a dry run reckons that a cluster takes in a second, statements and bytes of values, where no rate is given: a cautious
/// guess for a few nodes.
const RECKONED: (u64, u64) = (5_000, 20_000_000);
/// So many SSTables that are missing are named.
const NAMED: usize = 3;

impl Order<'_> {
    /// What makes it this restore and no other.
    pub fn about(&self) -> serde_json::Value {
        json!({
            "snapshot": self.snapshot,
            "table": format!("{}.{}", self.table.keyspace, self.table.name),
            "into": format!("{}.{}", self.into.0, self.into.1),
            "where": self.condition,
            "unowned": self.unowned,
            "mode": format!("{:?}", self.mode),
            "expiry": format!("{:?}", self.expiry),
        })
    }

    /// Refuses what needs no cluster to be refused: counters, conditions that the table does not allow, and the deletion of
    /// what the snapshot cannot replace.
    pub fn check(&self, s: &Snapshot, shard: &Shard, chunks: &dyn ChunkSource) -> Result<()> {
        self.mutations(s, 0)?;
        let filter = self.filter()?;
        if self.mode != Mode::Replace {
            return Ok(());
        }
        if filter.is_some_and(|f| f.slices().is_none()) {
            let message = "names rows by more than their keys: what else is there cannot be told apart and deleted";
            return Err(Error::new(Kind::Usage, "--replace with --where", message)
                .hint("give conditions on the partition key and clustering alone, or --rewrite-times now"));
        }
        let missing = missing(s, shard, chunks);
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!("would delete what the snapshot cannot replace: {}", missing.join("; "));
        Err(Error::new(Kind::Usage, format!("--replace of table {}", self.name()), message)
            .hint("restore --into another table, or with --rewrite-times now, which deletes no rows"))
    }

    fn name(&self) -> String {
        qualified(self.into.0, self.into.1)
    }

    fn mutations(&self, s: &Snapshot, base: i64) -> Result<Mutations> {
        let ttl = match self.expiry {
            Expiry::Keep => Ttl::Keep,
            Expiry::Shift => Ttl::Shift { cut: s.cut.seconds },
            Expiry::Lift => Ttl::Lift,
        };
        let times = match self.mode {
            Mode::Empty => Times::Keep,
            // A whole table is truncated, which hides nothing.
            Mode::Replace if self.condition.is_none() => Times::Keep,
            Mode::Replace => Times::From(base),
            Mode::RewriteTimes => Times::Over(base),
        };
        Mutations::new(self.table, self.into.0, self.into.1, ttl, times)
    }

    fn filter(&self) -> Result<Option<Filter>> {
        let layout = Layout::of(self.table)?;
        self.condition.map(|text| Filter::parse(text, self.table, &layout)).transpose()
    }
}

/// What the snapshot does not hold of a table.
fn missing(s: &Snapshot, shard: &Shard, chunks: &dyn ChunkSource) -> Vec<String> {
    let mut missing = tables::unread(&Cassandra, s, &|name| name == shard.name, chunks);
    let more = missing.len().saturating_sub(NAMED);
    missing.truncate(NAMED);
    if more > 0 {
        missing.push(format!("and {more} more SSTables"));
    }
    missing.extend(shard.unread.iter().map(|node| format!("node {node} was not read")));
    if missing.is_empty() && !s.complete {
        missing.push("it is incomplete (`onefold show`)".to_string());
    }
    missing
}

/// A table of a snapshot on its way into a cluster.
pub struct Job<'a> {
    client: &'a Client,
    snapshot: &'a Snapshot,
    shard: &'a Shard,
    order: &'a Order<'a>,
    view: View<'a>,
    watch: &'a Watch,
}

impl<'a> Job<'a> {
    /// What `order` asks for, out of `shard`. `client` is connected to the target.
    pub fn new(
        client: &'a Client,
        snapshot: &'a Snapshot,
        shard: &'a Shard,
        order: &'a Order<'a>,
        chunks: &'a dyn ChunkSource,
        watch: &'a Watch,
    ) -> Result<Job<'a>> {
        let side = if order.unowned { Side::WithUnowned } else { Side::Reconciled };
        let view = View::open(&Cassandra, snapshot, shard, chunks)?.of(side);
        Ok(Job { client, snapshot, shard, order, view, watch })
    }

    /// Restores the table, or goes on with it.
    ///
    /// Errors, before anything is written: what [`Order::check`] refuses; a target that does not fit, or holds data without
    /// leave to touch them; a state file of another restore or cluster, or one that another process is at; a table that is
    /// not as an earlier run left it. Later: what nodes refuse, nodes that stay away, rows that do not show after they were
    /// written. What was sent is remembered in every case.
    pub fn run(&self) -> Result<Report> {
        let Job { client, order, .. } = *self;
        order.check(self.snapshot, self.shard, self.view.chunks())?;
        let _lock = state::lock(&order.state)?;
        let about = order.about();
        let before = state::read(&order.state, &about, client.cluster())?;
        let mut report = Report::default();
        let target = Target::ask(client, order)?;
        let mut header = match &before {
            Some(before) => {
                target.is_as_left(client, order, before)?;
                before.header.next_run()
            }
            None => {
                self.may_write(&target)?;
                Header::new(about, client.cluster(), target::base(order.mode, now_ms()), target.table.is_none())
            }
        };
        if let Some(before) = before.as_ref().filter(|b| b.done) {
            (report.rows_before, report.done_before) = (before.rows, true);
            return Ok(report);
        }
        if !header.created && order.mode != Mode::Replace {
            // Nothing is to be made ready.
            header.table = target.table.as_ref().map(|t| t.id.clone());
        }
        let behind = before.as_ref().and_then(Before::behind);
        let mut state = State::start(&order.state, &header, behind)?;
        let mut mutations = order.mutations(self.snapshot, header.base)?;
        if header.table.is_none() {
            if header.created {
                target.make(client, order, &mut report)?;
            }
            clear(client, order, &mut mutations, header.base, &target)?;
            header.table = client.table_id(order.into)?;
            state = State::start(&order.state, &header, None)?;
        }
        let state = Arc::new(state);
        let view = self.view.clone().watched(self.watch);
        let mut source = Source::new(self.records(&view)?, mutations, self.watch);
        if let Some((position, rows)) = behind {
            source.pass(position, client, order)?;
            report.rows_before = rows;
        }
        let writing = Writing {
            concurrency: order.concurrency,
            rate: order.rate,
            runs_before: header.runs_before,
            rows_before: report.rows_before,
        };
        report.sent = client.write(writing, state.clone(), &mut || source.next())?;
        report.not_carried = source.not_carried().clone();
        source.read_back(client, &order.name())?;
        if header.created {
            target.complete(client, order, &mut report)?;
        }
        state.finish(report.sent.rows)?;
        Ok(report)
    }

    /// Says what would be sent, after the same refusals; writes nothing.
    pub fn dry_run(&self) -> Result<Report> {
        let Job { client, order, .. } = *self;
        order.check(self.snapshot, self.shard, self.view.chunks())?;
        let mutations = order.mutations(self.snapshot, target::base(order.mode, now_ms()))?;
        let target = Target::ask(client, order)?;
        match state::read(&order.state, &order.about(), client.cluster())? {
            Some(before) => target.is_as_left(client, order, &before)?,
            None => self.may_write(&target)?,
        }
        let view = self.view.clone().watched(self.watch);
        let mut source = Source::new(self.records(&view)?, mutations, self.watch);
        let mut report = Report::default();
        while let Some(unit) = source.next()? {
            report.sent.rows += unit.rows;
            report.sent.statements += unit.mutations.len() as u64;
            report.sent.bytes += unit.mutations.iter().map(|m| m.bytes() as u64).sum::<u64>();
        }
        report.not_carried = source.not_carried().clone();
        let reckoned = (report.sent.statements / RECKONED.0).max(report.sent.bytes / RECKONED.1);
        let at_rate = order.rate.map_or(0, |rate| match rate {
            Rate::Rows(n) => report.sent.rows / n.max(1),
            Rate::Bytes(n) => report.sent.bytes / n.max(1),
        });
        report.seconds = Some(reckoned.max(at_rate) + 1);
        Ok(report)
    }

    /// The records that are asked for.
    fn records<'v>(&self, view: &'v View<'_>) -> Result<Box<dyn Run + 'v>> {
        let selection = self.order.condition.map(|text| view.select(text)).transpose()?;
        view.records(selection.as_deref())
    }

    /// Refuses where data are there that the order does not give leave to touch, with how much of the restore they would
    /// hide.
    fn may_write(&self, target: &Target) -> Result<()> {
        let Job { client, order, .. } = *self;
        if target.table.is_none() || order.mode != Mode::Empty || !client.holds_data(order.table, order.into)? {
            return Ok(());
        }
        let (hidden, seen, all) = hidden(client, &mut order.mutations(self.snapshot, 0)?, self.records(&self.view)?)?;
        let (at_least, so_far) = if all { ("", "") } else { ("at least ", " looked at so far") };
        let message = format!(
            "holds data: {at_least}{hidden} restored cells would stay hidden under newer ones, of {seen} rows{so_far}; \
             newer deletions do not show"
        );
        Err(Error::new(Kind::Usage, format!("table {}", order.name()), message).hint(
            "restore --into another table; or --replace what is there; or --rewrite-times now, so that what is restored wins",
        ))
    }
}

/// How many cells of the first rows are newer in the target; of how many rows; whether those were all.
fn hidden(client: &Client, mutations: &mut Mutations, mut run: Box<dyn Run + '_>) -> Result<(u64, u64, bool)> {
    let (mut probes, mut all, now) = (Vec::new(), true, state::now());
    let (mut batch, mut unused) = (RecordBatch::new(), Vec::new());
    while all && run.next_batch(&mut batch)? {
        for record in batch.iter() {
            mutations.push(&record, now, &mut unused)?;
            unused.clear();
            let Some(probe) = mutations.probe(&record, now)? else { continue };
            all = probes.len() < SHADOW_PROBES;
            if !all {
                break;
            }
            probes.push(probe);
        }
    }
    let mut hidden = 0;
    for some in probes.chunks(AT_ONCE) {
        let found = client.all_rows(some.iter().map(|probe| (probe.text.clone(), probe.keys.clone())))?;
        for (probe, found) in some.iter().zip(&found) {
            for row in &found.rows {
                let newer = |(there, ours): &(&Option<Vec<u8>>, &i64)| {
                    let there = there.as_deref().and_then(|v| v.first_chunk::<8>());
                    there.is_some_and(|there| i64::from_be_bytes(*there) > **ours)
                };
                hidden += row.iter().skip(1).zip(&probe.times).filter(newer).count() as u64;
            }
        }
    }
    Ok((hidden, probes.len() as u64, all))
}

/// Makes room for what replaces what is there: the whole table, or exactly what the conditions name.
fn clear(client: &Client, order: &Order<'_>, mutations: &mut Mutations, base: i64, target: &Target) -> Result<()> {
    if order.mode != Mode::Replace || target.table.is_none() {
        return Ok(());
    }
    let Some(filter) = order.filter()? else { return Target::truncate(client, order) };
    let mut deletions = Vec::new();
    for (from, to) in filter.slices().into_iter().flatten() {
        mutations.delete_slice(&from, &to, base.saturating_sub(1), &mut deletions)?;
        for deletion in deletions.drain(..) {
            client.send(&deletion)?;
        }
    }
    Ok(())
}
