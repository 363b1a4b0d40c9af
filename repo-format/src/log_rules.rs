//! How entries change the state (SPEC "Rules"): a pure fold. An entry that a rule forbids is void: it keeps its place in
//! the chain and changes nothing, so that no writer can break the repository for the others.

use crate::credential::Sets;
use crate::error::{FormatError, Result};
use crate::id::{CredentialId, ObjectHash, SessionId, SnapshotId, WriterId};
use crate::key::ContentPublic;
use crate::limits::{ADOPTED_MAX, EPOCHS_MAX};
use crate::log::{Body, Entry, Listed, LostFrames, Roles};
use crate::log_state::{Committed, IndexState, Session, State};
use crate::names::{IndexName, PackName};
use crate::recipient::Grant;
use crate::remark::Sealed;
use std::collections::BTreeSet;

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed the state.
    Applied,
    /// A rule forbids it; it changed nothing. The text says which.
    Void(&'static str),
}

/// Rules that the simulation switches off one by one to show that it notices. Always [`Rules::ALL`] elsewhere.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub only_open_commit: bool,
    pub condemn_spares_open_sessions: bool,
    pub condemn_sees_last_state: bool,
    pub retire_waits: bool,
    pub forget_holds_bases: bool,
    pub losses_of_own_packs: bool,
    pub finds_of_own_packs: bool,
}

impl Rules {
    /// All on.
    pub const ALL: Rules = Rules {
        only_open_commit: true,
        condemn_spares_open_sessions: true,
        condemn_sees_last_state: true,
        retire_waits: true,
        forget_holds_bases: true,
        losses_of_own_packs: true,
        finds_of_own_packs: true,
    };
}

type Verdict = std::result::Result<(), &'static str>;

impl State {
    /// Adds entry n+1. Fails, changing nothing, where number or chain do not fit. `hash` is that of the entry's object.
    pub fn apply(&mut self, hash: ObjectHash, entry: &Entry) -> Result<Outcome> {
        self.apply_with(hash, entry, Rules::ALL)
    }

    /// Whether this can be entry n+1: number and chain.
    pub fn expects(&self, entry: &Entry) -> Result<()> {
        if Some(entry.n) != self.n.checked_add(1) {
            return Err(FormatError::Mismatch("number of a log entry"));
        }
        if entry.previous != self.head {
            return Err(FormatError::Mismatch("chain of the log"));
        }
        Ok(())
    }

    /// [`State::apply`] under some of the rules.
    #[doc(hidden)]
    pub fn apply_with(&mut self, hash: ObjectHash, entry: &Entry, rules: Rules) -> Result<Outcome> {
        self.expects(entry)?;
        let verdict = self.judge(entry, rules);
        (self.n, self.head, self.time_ms) = (entry.n, hash, entry.time_ms);
        match verdict {
            Ok(()) => {
                self.change(entry, rules);
                Ok(Outcome::Applied)
            }
            Err(why) => Ok(Outcome::Void(why)),
        }
    }

    /// Whether the rules allow the entry now.
    fn judge(&self, entry: &Entry, rules: Rules) -> Verdict {
        let writer = &entry.writer;
        let roles = self.roles(writer);
        let admin = || check(*writer == self.admin, "only the administrator may do this");
        let writes = || check(roles.has(Roles::WRITE), "not a listed writer");
        match &entry.body {
            Body::Open { session, key, adopts, bases } => {
                writes()?;
                check(key.epoch == self.content().epoch, "session key of another epoch")?;
                let named = *session == SessionId::new(entry.n, writer);
                check(named, "session is not named by this entry's number and writer")?;
                check(bases.iter().all(|b| self.snapshots.contains_key(b)), "base is not a snapshot")?;
                adopts.map_or(Ok(()), |old| self.judge_adoption(writer, &old))
            }
            Body::Commit { session, snapshot, indexes, replaces } => {
                writes()?;
                check(session.is_of(writer), "session of another writer")?;
                let own = self.sessions.get(session);
                let ended = !rules.only_open_commit && session.opened() <= self.n;
                check(own.is_some() || ended, "session is not open")?;
                let adopted = own.map_or(&[][..], |own| &own.adopted);
                let mine = |i: &IndexName| i.session == *session || adopted.contains(&i.session);
                check(indexes.iter().all(mine), "index object of another session")?;
                let known = |s: &SnapshotId| self.snapshots.contains_key(s) || self.held.contains(s);
                check(!snapshot.is_some_and(|s| known(&s)), "snapshot is not new")?;
                replaces.iter().try_for_each(|i| self.judge_replaced(writer, i))
            }
            Body::Forget { snapshots } => {
                admin()?;
                self.judge_listed(snapshots.iter())?;
                check(!snapshots.iter().any(|s| self.is_pinned(s)), "snapshot is pinned")
            }
            Body::Condemn { computed, packs } => {
                admin()?;
                let fresh = (self.basis..=self.n).contains(computed) || !rules.condemn_sees_last_state;
                check(fresh, "computed from an older state")?;
                let spared = |p: &PackName| rules.condemn_spares_open_sessions && self.spared(&p.session);
                check(!packs.iter().any(spared), "pack of an open or unknown session")
            }
            Body::Fence { session } => {
                admin()?;
                check(self.sessions.contains_key(session), "session is not open")
            }
            Body::Lost { lost } => self.judge_losses(writer, lost, rules),
            Body::Vouch { indexes, snapshots } => {
                check(self.may_vouch(writer), "may not vouch")?;
                check(indexes.iter().all(|i| self.indexes.contains_key(i)), "no such index object")?;
                self.judge_listed(snapshots.iter())
            }
            Body::Writers { writers, credentials } => {
                admin()?;
                check(self.atomic || self.writers_after(writers) <= 1, "the store does not order several writers")?;
                self.judge_credentials(credentials)
            }
            Body::Retire { packs } => {
                admin()?;
                check(self.may_retire(packs, rules), "pack is not condemned, or an older session is open")
            }
            Body::Epoch { content, grants } => {
                admin()?;
                self.judge_epoch(content, grants)
            }
            Body::Found { packs } => self.judge_finds(writer, packs, rules),
            Body::Remark { remarks } => {
                admin()?;
                self.judge_listed(remarks.iter().map(|(s, _)| s))
            }
        }
    }

    fn judge_listed<'a>(&self, mut snapshots: impl Iterator<Item = &'a SnapshotId>) -> Verdict {
        check(snapshots.all(|s| self.snapshots.contains_key(s)), "no such snapshot")
    }

    fn judge_losses(&self, writer: &WriterId, lost: &[LostFrames], rules: Rules) -> Verdict {
        lost.iter().try_for_each(|l| self.judge_loss(writer, &l.pack, rules.losses_of_own_packs))
    }

    fn judge_finds(&self, writer: &WriterId, packs: &[PackName], rules: Rules) -> Verdict {
        packs.iter().try_for_each(|p| self.judge_loss(writer, p, rules.finds_of_own_packs))
    }

    /// Whether every session that is open has read that these packs are condemned.
    fn may_retire(&self, packs: &[PackName], rules: Rules) -> bool {
        let oldest = self.sessions.first_key_value().map_or(u64::MAX, |(id, _)| id.opened());
        let seen = |at: &u64| *at < oldest || !rules.retire_waits;
        packs.iter().all(|pack| self.condemned.get(pack).is_some_and(seen))
    }

    fn may_vouch(&self, writer: &WriterId) -> bool {
        self.roles(writer).has(Roles::VOUCH) || *writer == self.admin
    }

    /// Who says that a pack is lost, or found again: any writer of its own, of others' who may vouch. Otherwise one
    /// stolen key could make all others store everything anew, or rely on what is gone.
    fn judge_loss(&self, writer: &WriterId, pack: &PackName, bound: bool) -> Verdict {
        let listed = self.roles(writer) != Roles::NONE || *writer == self.admin;
        check(listed, "not a listed writer")?;
        check(pack.session.is_of(writer) || self.may_vouch(writer) || !bound, "pack of another writer")
    }

    /// How many writers there would be.
    fn writers_after(&self, changes: &[(WriterId, Roles)]) -> usize {
        let kept = self.writers.keys().filter(|id| !changes.iter().any(|(changed, _)| changed == *id)).count();
        kept + changes.iter().filter(|(_, roles)| *roles != Roles::NONE).count()
    }

    /// Nobody on the list who reads is left out, and nobody else gets in.
    fn judge_epoch(&self, content: &ContentPublic, grants: &[(CredentialId, Grant)]) -> Verdict {
        let next = self.content().epoch.checked_add(1);
        check(Some(content.epoch) == next && self.content.len() < EPOCHS_MAX, "not the next epoch")?;
        let granted = grants.iter().map(|(id, _)| id);
        check(granted.eq(self.readers().map(|(id, _)| id)), "granted to others than the credentials that read")
    }

    /// Somebody stays who administers, and somebody who reads: so two administrators that remove one another do not both succeed.
    fn judge_credentials(&self, changes: &[(CredentialId, Listed)]) -> Verdict {
        for (id, listed) in changes {
            let known = self.credentials.contains_key(id);
            check(known || *listed != Listed::GONE, "no such credential is listed")?;
            check(!known || *listed == Listed::GONE, "credential is listed already")?;
        }
        let changed = |id: &CredentialId| changes.iter().any(|(changed, _)| changed == id);
        for set in [Sets::ADMIN, Sets::READ] {
            let has = |listed: &Listed| listed.sets.has(set);
            let before = self.credentials.values().any(has);
            let kept = self.credentials.iter().any(|(id, listed)| has(listed) && !changed(id));
            check(!before || kept || changes.iter().any(|(_, listed)| has(listed)), "last credential of its kind")?;
        }
        Ok(())
    }

    /// One may replace one's own index objects; a holder of *read* those of others too.
    fn judge_replaced(&self, writer: &WriterId, index: &IndexName) -> Verdict {
        let state = self.indexes.get(index).ok_or("replaces no standing index object")?;
        let may = state.writer == *writer || self.roles(writer).has(Roles::VOUCH);
        check(may, "replaces an index object of another writer")
    }

    fn judge_adoption(&self, writer: &WriterId, old: &SessionId) -> Verdict {
        check(old.is_of(writer), "adopts a session of another writer")?;
        let old = self.sessions.get(old).ok_or("adopts a session that is not open")?;
        check(old.adopted.len() < ADOPTED_MAX, "adopts too many sessions")
    }

    /// Carries out what [`State::judge`] allowed.
    fn change(&mut self, entry: &Entry, rules: Rules) {
        match &entry.body {
            Body::Open { session, adopts, bases, .. } => self.open(entry, *session, *adopts, bases),
            Body::Commit { session, snapshot, indexes, replaces } => {
                self.basis = entry.n;
                replaces.iter().for_each(|i| {
                    self.indexes.remove(i);
                });
                let vouched = self.roles(&entry.writer).has(Roles::VOUCH);
                let state = IndexState { writer: entry.writer, vouched };
                self.indexes.extend(indexes.iter().map(|i| (*i, state)));
                let (writer, n, time_ms) = (entry.writer, entry.n, entry.time_ms);
                let committed = Committed { session: *session, writer, n, time_ms, vouched };
                self.snapshots.extend(snapshot.iter().map(|s| (*s, committed)));
                self.end(session);
            }
            Body::Forget { snapshots } => {
                for id in snapshots {
                    self.snapshots.remove(id);
                    self.remarks.remove(id);
                    if rules.forget_holds_bases {
                        self.held.insert(*id);
                    }
                }
                self.drop_unheld();
            }
            Body::Condemn { packs, .. } => {
                (self.basis, self.withdrawn) = (entry.n, entry.n);
                for pack in packs {
                    self.condemned.entry(*pack).or_insert(entry.n);
                }
            }
            Body::Fence { session } => self.end(session),
            Body::Lost { lost } => {
                (self.basis, self.withdrawn) = (entry.n, entry.n);
                lost.iter().for_each(|l| self.lose(l));
            }
            Body::Vouch { indexes, snapshots } => {
                for index in indexes {
                    if let Some(state) = self.indexes.get_mut(index) {
                        state.vouched = true;
                    }
                }
                for snapshot in snapshots {
                    if let Some(state) = self.snapshots.get_mut(snapshot) {
                        state.vouched = true;
                    }
                }
            }
            Body::Writers { writers, credentials } => {
                for (id, roles) in writers {
                    match *roles {
                        Roles::NONE => self.writers.remove(id),
                        roles => self.writers.insert(*id, roles),
                    };
                }
                credentials.iter().for_each(|(id, listed)| self.list(id, *listed));
            }
            Body::Retire { packs } => {
                for pack in packs {
                    self.condemned.remove(pack);
                    self.lost.remove(pack);
                }
            }
            Body::Epoch { content, grants } => self.begin(content, grants),
            Body::Found { packs } => packs.iter().for_each(|pack| drop(self.lost.remove(pack))),
            Body::Remark { remarks } => remarks.iter().for_each(|(id, remark)| self.remark(id, remark)),
        }
    }

    fn open(&mut self, e: &Entry, id: SessionId, adopts: Option<SessionId>, bases: &[SnapshotId]) {
        let mut adopted = Vec::new();
        if let Some(old) = adopts {
            if let Some(session) = self.sessions.get(&old) {
                adopted.clone_from(&session.adopted);
            }
            adopted.push(old);
            adopted.sort_unstable();
        }
        self.sessions.insert(id, Session { writer: e.writer, time_ms: e.time_ms, bases: bases.to_vec(), adopted });
        if let Some(old) = adopts {
            self.end(&old);
        }
    }

    /// One that has ended leaves the state: its name says whose its packs are, and keys lie with what they open.
    fn end(&mut self, session: &SessionId) {
        self.sessions.remove(session);
        self.drop_unheld();
    }

    fn begin(&mut self, content: &ContentPublic, grants: &[(CredentialId, Grant)]) {
        self.content.insert(content.epoch, content.key);
        self.grants.extend(grants.iter().map(|(id, grant)| ((content.epoch, *id), *grant)));
    }

    fn remark(&mut self, id: &SnapshotId, remark: &Sealed) {
        match *remark == Sealed::NONE {
            true => self.remarks.remove(id),
            false => self.remarks.insert(*id, remark.clone()),
        };
    }

    /// What was granted to a credential leaves with it.
    fn list(&mut self, id: &CredentialId, listed: Listed) {
        if listed == Listed::GONE {
            self.credentials.remove(id);
            self.grants.retain(|(_, to), _| to != id);
        } else {
            self.credentials.insert(*id, listed);
        }
    }

    /// Lets go of forgotten snapshots that no open session builds on.
    fn drop_unheld(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let bases: BTreeSet<SnapshotId> = self.sessions.values().flat_map(|s| s.bases.iter().copied()).collect();
        self.held.retain(|id| bases.contains(id));
    }

    fn lose(&mut self, lost: &LostFrames) {
        let whole = lost.frames.is_empty();
        match self.lost.get_mut(&lost.pack) {
            Some(frames) if whole => frames.clear(),
            Some(frames) if frames.is_empty() => {}
            Some(frames) => frames.extend(&lost.frames),
            None => {
                self.lost.insert(lost.pack, lost.frames.iter().copied().collect());
            }
        }
    }
}

fn check(holds: bool, otherwise: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise) }
}
