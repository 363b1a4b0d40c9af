//! One table on its way into a live cluster.
//!
//! What is there is never hidden, overwritten or deleted unless the order says so; what was sent is remembered in a file
//! ([`super::state`]), so that a restore that was interrupted goes on when it is repeated. Statements carry their times, so one
//! that is sent twice changes nothing; appended elements of lists are asked for first.

use std::sync::Arc;

use super::order::{Done, Mode, Order};
use super::source::Source;
use super::state::{self, Before, Header, State};
use super::target::{self, Target};
use crate::engine::cassandra::client::{Client, Rate, Writing};
use crate::engine::cassandra::mutate::Mutations;
use crate::engine::target::{Asked, Stored};
use crate::error::{Error, Kind, Result};
use crate::repo::world::now_ms;
use crate::run::{RecordBatch, Run};
use crate::watch::Watch;

/// Rows of the target that are looked at to say how much of a restore would stay hidden.
const SHADOW_PROBES: usize = 500;
/// So many of them at once.
const AT_ONCE: usize = 50;
/// What a dry run reckons that a cluster takes in a second, statements and bytes of values, where no rate is given: a cautious
/// guess for a few nodes.
const RECKONED: (u64, u64) = (5_000, 20_000_000);

/// A table of a snapshot on its way into a cluster.
pub struct Job<'a> {
    client: &'a Client,
    asked: &'a Asked<'a>,
    stored: &'a Stored<'a>,
    order: &'a Order<'a>,
    watch: &'a Watch,
}

impl<'a> Job<'a> {
    /// What `order` asks for, out of `stored`. `client` is connected to the target.
    pub fn new(
        client: &'a Client,
        asked: &'a Asked<'a>,
        stored: &'a Stored<'a>,
        order: &'a Order<'a>,
        watch: &'a Watch,
    ) -> Job<'a> {
        Job { client, asked, stored, order, watch }
    }

    /// Restores the table, or goes on with it.
    ///
    /// Errors, before anything is written: what [`Order::check`] refuses; a target that does not fit, or holds data without
    /// leave to touch them; a state file of another restore or cluster, or one that another process is at; a table that is
    /// not as an earlier run left it. Later: what nodes refuse, nodes that stay away, rows that do not show after they were
    /// written. What was sent is remembered in every case.
    pub fn run(&self) -> Result<Done> {
        let Job { client, order, .. } = *self;
        order.check(self.asked, self.stored)?;
        let _lock = state::lock(&order.state)?;
        let about = order.about();
        let before = state::read(&order.state, &about, client.cluster())?;
        let mut report = Done::default();
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
        let mut mutations = order.mutations(self.asked.cut, header.base)?;
        if header.table.is_none() {
            if header.created {
                target.make(client, order, &mut report)?;
            }
            clear(client, order, &mut mutations, header.base, &target)?;
            header.table = client.table_id(order.into)?;
            state = State::start(&order.state, &header, None)?;
        }
        let state = Arc::new(state);
        let mut source = self.source(mutations)?;
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
    pub fn dry_run(&self) -> Result<Done> {
        let Job { client, order, .. } = *self;
        order.check(self.asked, self.stored)?;
        let mutations = order.mutations(self.asked.cut, target::base(order.mode, now_ms()))?;
        let target = Target::ask(client, order)?;
        match state::read(&order.state, &order.about(), client.cluster())? {
            Some(before) => target.is_as_left(client, order, &before)?,
            None => self.may_write(&target)?,
        }
        let mut source = self.source(mutations)?;
        let mut report = Done::default();
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

    fn source(&self, mutations: Mutations) -> Result<Source<'_>> {
        Ok(Source::new(self.stored.read(true)?, mutations, self.watch))
    }

    /// Refuses where data are there that the order does not give leave to touch, with how much of the restore they would
    /// hide.
    fn may_write(&self, target: &Target) -> Result<()> {
        let Job { client, order, .. } = *self;
        if target.table.is_none() || order.mode != Mode::Empty || !client.holds_data(order.table, order.into)? {
            return Ok(());
        }
        let (hidden, seen, all) = hidden(client, &mut order.mutations(self.asked.cut, 0)?, self.stored.read(false)?)?;
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
