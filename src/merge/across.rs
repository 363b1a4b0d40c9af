//! Provenance: which nodes answer for a key, and how each of them differs from the merged record.

use repo_format::record::Traits;

use super::body::{BodyMerge, Deletion};
use super::owned::{Owned, Owner};
use super::purge::Purge;
use super::unowned::{self, Beyond, Unowned};
use crate::error::Result;
use crate::run::{Record, RecordBatch};

/// How a node stands to a merged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It owns the key and holds the same bytes.
    Same,
    /// It owns the key and holds something older or less.
    Stale,
    /// It owns the key and holds nothing.
    Missing,
    /// It does not own the key and holds nothing.
    Elsewhere,
    /// It does not own the key and holds the same bytes all the same.
    Extra,
}

/// One node's part in a merged record.
#[derive(Debug, Clone, Copy)]
pub struct Held<'r> {
    /// How it stands to the merged record.
    pub state: State,
    /// What it holds where that differs (`Stale`), as it stands at the cut.
    pub record: Option<Record<'r>>,
    /// The difference is only what a node may purge: no drift.
    pub purgeable: bool,
}

/// Is told, record by record and in key order, how the nodes differ.
pub trait Witness: Send {
    /// Of the next `records` merged records all nodes own the keys, and hold exactly what is merged.
    fn same(&mut self, records: usize) -> Result<()>;
    /// `merged` and what each node has of it, by node.
    fn differs(&mut self, merged: &Record<'_>, nodes: &[Held<'_>]) -> Result<()>;
    /// Nodes that do not own the key hold what no owner does, and the merged view has not.
    fn unowned(&mut self, _what: Unowned) -> Result<()> {
        Ok(())
    }
    /// A node holds a record that the merged view does not have. If the node owns the key (`owned`), a deletion on another node
    /// covers the record. If it does not, no owner of the key holds the same record. For example, a row that moved away with its
    /// range long ago, and was deleted on its new owners since, is still on the old owner's disk.
    fn alone(&mut self, node: usize, record: &Record<'_>, owned: bool) -> Result<()>;
    /// Whether it holds so much that it should be looked after before it is told more: the merge ends its batch, which may be
    /// empty then.
    fn is_full(&self) -> bool {
        false
    }
}

/// What a merge across nodes needs besides the runs.
pub struct Across<'a> {
    owners: Vec<Owner>,
    everyone: bool,
    parted: bool,
    captured: u32,
    beyond: Beyond,
    witness: &'a mut dyn Witness,
}

impl<'a> Across<'a> {
    /// One `Owned` per run. What a node captured at `captured` (seconds since 1970; 0: never) may have dropped by the rule
    /// may be missing without that being drift.
    pub fn new(owned: Vec<Owned>, captured: u32, witness: &'a mut dyn Witness) -> Across<'a> {
        let owners: Vec<Owner> = owned.into_iter().map(Owner::new).collect();
        let parted = owners.iter().any(Owner::is_parted);
        Across { owners, everyone: true, parted, captured, beyond: Beyond::default(), witness }
    }

    /// Finds who owns the group that begins, which is that of `record`.
    pub(super) fn enter(&mut self, record: &Record<'_>) {
        self.beyond.enter();
        self.go_to(record.whose());
    }

    /// Finds who owns a record of the group that was entered, or of the empty one; `true` where that may be others than before.
    #[inline]
    pub(super) fn within(&mut self, record: &Record<'_>) -> bool {
        let asks = self.parted && record.group_len == 0;
        if asks {
            self.go_to(record.whose());
        }
        asks
    }

    fn go_to(&mut self, whose: &[u8]) {
        self.everyone = true;
        for owner in &mut self.owners {
            owner.go_to(whose);
            self.everyone &= owner.owns;
        }
    }

    /// Whether there may be keys that some node does not own.
    pub(super) fn is_parted(&self) -> bool {
        self.parted
    }

    #[inline]
    pub(super) fn owns(&self, node: usize) -> bool {
        self.owners[node].owns
    }

    /// Whether every node owns the group that we are in.
    #[inline]
    pub(super) fn all_own(&self) -> bool {
        self.everyone
    }

    /// Whether every node owns the group that we are in, and stands at this key.
    #[inline]
    pub(super) fn all_stand(&self, standing: &[usize]) -> bool {
        self.everyone && standing.len() == self.owners.len()
    }

    /// Tells the witness that all nodes hold exactly what was merged, of so many records.
    #[inline]
    pub(super) fn tell_same(&mut self, records: usize) -> Result<()> {
        self.witness.same(records)
    }

    /// See [`Witness::is_full`].
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.witness.is_full()
    }

    /// See [`Beyond::step`].
    pub(super) fn tell_open(
        &mut self,
        theirs: Option<Deletion>,
        view: Option<Deletion>,
        bodies: &BodyMerge<'_>,
    ) -> Result<()> {
        let purge = Purge::new(bodies.rule, self.captured);
        if self.beyond.step(theirs, view, purge) { self.witness.unowned(Unowned::Deletion) } else { Ok(()) }
    }

    /// Tells the witness about one key. `standing` are the nodes that hold a record at it, `record` gives each one's;
    /// `shadow` covers it in the view.
    pub(super) fn tell<'r>(
        &mut self,
        merged: Option<Record<'_>>,
        standing: &[usize],
        record: impl Fn(usize) -> Record<'r>,
        shadow: Option<Deletion>,
        bodies: &BodyMerge<'_>,
        scratch: &mut RecordBatch,
    ) -> Result<()> {
        if let Some(m) = &merged
            && self.all_stand(standing)
            && standing.iter().all(|i| record(*i).body == m.body)
        {
            return self.witness.same(1);
        }
        // In normal form, by node: most are so already, the others are made so in `scratch`.
        scratch.clear();
        let mut made = 0;
        for r in standing.iter().map(|i| record(*i)).filter(|r| !bodies.keeps(r.traits)) {
            bodies.normal(&r, scratch)?;
        }
        let mut found: Vec<Option<Record<'_>>> = vec![None; self.owners.len()];
        for &i in standing {
            let r = record(i);
            found[i] = Some(if bodies.keeps(r.traits) {
                r
            } else {
                made += 1;
                scratch.get(made - 1)
            });
        }
        let purge = Purge::new(bodies.rule, self.captured);
        if !self.everyone {
            let others = found.iter().zip(&self.owners).filter(|(_, owner)| !owner.owns);
            let others: Vec<Record<'_>> = others.filter_map(|(r, _)| *r).collect();
            if let Some(what) = unowned::adds(merged.as_ref(), &others, shadow, bodies, purge)? {
                self.witness.unowned(what)?;
            }
        }
        let Some(merged) = merged else {
            for (i, r) in found.iter().enumerate() {
                if let Some(r) = r {
                    self.witness.alone(i, r, self.owners[i].owns)?;
                }
            }
            return Ok(());
        };
        let mut nodes = Vec::with_capacity(self.owners.len());
        for (owner, r) in self.owners.iter().zip(&found) {
            nodes.push(held(&merged, owner.owns, *r, purge)?);
        }
        self.witness.differs(&merged, &nodes)?;
        for (i, r) in found.iter().enumerate() {
            if let (Some(r), State::Elsewhere) = (r, nodes[i].state) {
                self.witness.alone(i, r, false)?;
            }
        }
        Ok(())
    }
}

/// How one node stands to `merged`, given what it holds at that key. What may be dropped may be missing without that being
/// drift.
pub fn held<'r>(merged: &Record<'_>, owns: bool, record: Option<Record<'r>>, purge: Purge<'_>) -> Result<Held<'r>> {
    let same = record.is_some_and(|r| r.body == merged.body);
    let state = match (owns, record.is_some(), same) {
        (true, true, true) => State::Same,
        (true, true, false) => State::Stale,
        (true, false, _) => State::Missing,
        (false, _, true) => State::Extra,
        (false, _, false) => State::Elsewhere,
    };
    let deleted = merged.traits.has(Traits::DELETED) || merged.traits.has(Traits::EXPIRING) || merged.body.is_empty();
    let purgeable = match (state, record) {
        (State::Missing, _) => deleted && purge.body(merged.body, merged.class)?,
        (State::Stale, Some(r)) => (deleted || r.traits != Traits::default()) && purge.equal(r.body, merged.body)?,
        _ => false,
    };
    Ok(Held { state, record: if state == State::Stale { record } else { None }, purgeable })
}
