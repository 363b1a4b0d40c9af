//! Every rule of SPEC "Rules": what it forbids is void, and what is void changes nothing but the chain.
#![allow(clippy::unwrap_used)]

mod support;

use repo_format::config::Config;
use repo_format::credential::Sets;
use repo_format::id::{CredentialId, ObjectHash, SessionId, SnapshotId, WriterId};
use repo_format::key::ContentPublic;
use repo_format::log::{Body, Entry, Listed, LostFrames, Roles};
use repo_format::log_rules::Outcome;
use repo_format::log_state::State;
use repo_format::names::{IndexName, PackName};
use repo_format::recipient::{Grant, Recipient};
use repo_format::remark::{Remark, Sealed};
use std::collections::BTreeMap;
use support::{admin, config, config_object, pack_name, wrapped};

const WRITER: WriterId = WriterId([1; 32]);
const OTHER: WriterId = WriterId([2; 32]);
const VOUCHER: WriterId = WriterId([3; 32]);

fn s(n: u8) -> SessionId {
    SessionId([n; 16])
}

fn snap(n: u8) -> SnapshotId {
    SnapshotId([n; 32])
}

fn index(session: u8, n: u8) -> IndexName {
    IndexName { session: s(session), hash: ObjectHash([n; 32]) }
}

/// Sessions are named by the entry that opens them; here each has a label, and stands as `s(label)` in bodies.
struct Log(State, BTreeMap<u8, SessionId>);

impl Log {
    fn new() -> Log {
        let mut log = Log(State::new(ObjectHash::of(&config_object()), &config()), BTreeMap::new());
        let writers = vec![(WRITER, Roles::WRITE), (OTHER, Roles::WRITE), (VOUCHER, Roles::WRITE_VOUCH)];
        log.ok(admin().id(), Body::Writers { writers, credentials: vec![] });
        log
    }

    fn write(&mut self, writer: WriterId, mut body: Body) -> Outcome {
        let n = self.0.n() + 1;
        let opened = match &body {
            Body::Open { session, .. } => Some(session.0[0]).filter(|label| !self.1.contains_key(label)),
            _ => None,
        };
        if let Some(label) = opened {
            self.1.insert(label, SessionId::new(n, &writer));
        }
        self.translate(writer, &mut body);
        let entry = Entry { n, previous: self.0.head(), writer, time_ms: n, body };
        let outcome = self.0.apply(ObjectHash([n as u8; 32]), &entry).unwrap();
        if let Some(label) = opened.filter(|_| outcome != Outcome::Applied) {
            self.1.remove(&label);
        }
        outcome
    }

    /// The session of a label; of one that was never opened, a later one of this writer.
    fn named(&self, writer: WriterId, session: SessionId) -> SessionId {
        let label = session.0[0];
        match session == s(label) {
            true => self.1.get(&label).copied().unwrap_or(SessionId::new(1000 + u64::from(label), &writer)),
            false => session,
        }
    }

    fn translate(&self, writer: WriterId, body: &mut Body) {
        let name = |session: &mut SessionId| *session = self.named(writer, *session);
        match body {
            Body::Open { session, adopts, .. } => [session].into_iter().chain(adopts).for_each(name),
            Body::Commit { session, indexes, replaces, .. } => {
                name(session);
                indexes.iter_mut().chain(replaces).for_each(|i| name(&mut i.session));
            }
            Body::Fence { session } => name(session),
            Body::Vouch { indexes, .. } => indexes.iter_mut().for_each(|i| name(&mut i.session)),
            Body::Condemn { packs, .. } | Body::Retire { packs } | Body::Found { packs } => {
                packs.iter_mut().for_each(|p| name(&mut p.session));
            }
            Body::Lost { lost } => lost.iter_mut().for_each(|l| name(&mut l.pack.session)),
            Body::Forget { .. } | Body::Writers { .. } | Body::Epoch { .. } | Body::Remark { .. } => {}
        }
    }

    fn index(&self, label: u8, n: u8) -> IndexName {
        IndexName { session: self.1.get(&label).copied().unwrap_or(s(label)), hash: ObjectHash([n; 32]) }
    }

    fn usable(&self, label: u8, hash: u8, frame: u32) -> bool {
        self.0.usable(&PackName { session: self.1[&label], ..pack_name(label, hash) }, frame)
    }

    fn ok(&mut self, writer: WriterId, body: Body) {
        assert_eq!(self.write(writer, body.clone()), Outcome::Applied, "{body:?}");
    }

    fn void(&mut self, writer: WriterId, body: Body, why: &str) {
        let before = self.0.clone();
        let outcome = self.write(writer, body.clone());
        assert!(matches!(outcome, Outcome::Void(w) if w.contains(why)), "{body:?}: {outcome:?}, not {why:?}");
        assert_eq!(self.0.n(), before.n() + 1);
        let same = (self.0.writers(), self.0.open_sessions(), self.0.snapshots(), self.0.indexes(), self.0.condemned())
            == (before.writers(), before.open_sessions(), before.snapshots(), before.indexes(), before.condemned());
        assert!(
            same && self.0.lost() == before.lost() && self.0.basis() == before.basis(),
            "{body:?} changed the state"
        );
    }

    fn open(&mut self, writer: WriterId, n: u8) {
        self.ok(writer, open(n, None, vec![]));
    }

    fn commit(&mut self, writer: WriterId, n: u8) {
        self.ok(writer, commit(n, Some(n), vec![index(n, n)], vec![]));
    }

    fn condemn(&mut self, packs: Vec<PackName>) {
        let computed = self.0.n();
        self.ok(admin().id(), Body::Condemn { computed, packs });
    }
}

fn open(n: u8, adopts: Option<u8>, bases: Vec<SnapshotId>) -> Body {
    Body::Open { session: s(n), key: wrapped(&s(n)), adopts: adopts.map(s), bases }
}

fn commit(n: u8, snapshot: Option<u8>, indexes: Vec<IndexName>, replaces: Vec<IndexName>) -> Body {
    Body::Commit { session: s(n), snapshot: snapshot.map(snap), indexes, replaces }
}

fn lost(pack: PackName) -> Body {
    Body::Lost { lost: vec![LostFrames { pack, frames: vec![] }] }
}

fn vouch(indexes: Vec<IndexName>, snapshots: Vec<SnapshotId>) -> Body {
    Body::Vouch { indexes, snapshots }
}

#[test]
fn only_the_administrator_takes_away() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    log.open(OTHER, 2);
    let bodies = [
        Body::Forget { snapshots: vec![snap(1)] },
        Body::Condemn { computed: log.0.n(), packs: vec![pack_name(1, 1)] },
        Body::Fence { session: s(2) },
        Body::Writers { writers: vec![(OTHER, Roles::NONE)], credentials: vec![] },
        Body::Retire { packs: vec![] },
        Body::Remark { remarks: vec![] },
        Body::Epoch { content: ContentPublic { epoch: 2, key: [9; 32] }, grants: vec![] },
    ];
    for body in bodies {
        log.void(VOUCHER, body, "administrator");
    }
    log.void(WRITER, vouch(vec![index(1, 1)], vec![]), "vouch");
    log.void(WriterId([9; 32]), open(7, None, vec![]), "listed");
}

#[test]
fn sessions_belong_to_their_writer_and_end_once() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.void(WRITER, open(1, None, vec![]), "not named");
    log.void(
        WRITER,
        Body::Open { session: SessionId::new(9, &WRITER), key: wrapped(&s(1)), adopts: None, bases: vec![] },
        "not named",
    );
    let n = log.0.n() + 1;
    log.void(
        WRITER,
        Body::Open { session: SessionId::new(n, &OTHER), key: wrapped(&s(1)), adopts: None, bases: vec![] },
        "not named",
    );
    log.void(OTHER, commit(1, None, vec![], vec![]), "another writer");
    log.void(WRITER, commit(9, None, vec![], vec![]), "not open");
    log.void(WRITER, commit(1, None, vec![index(2, 1)], vec![]), "another session");
    log.commit(WRITER, 1);
    log.void(WRITER, commit(1, None, vec![], vec![]), "not open");
    log.void(admin().id(), Body::Fence { session: s(1) }, "not open");
    log.open(WRITER, 2);
    log.void(WRITER, commit(2, Some(1), vec![], vec![]), "snapshot is not new");
    log.ok(admin().id(), Body::Fence { session: s(2) });
    log.void(WRITER, commit(2, Some(2), vec![], vec![]), "not open");
    log.open(OTHER, 3);
    log.ok(admin().id(), Body::Writers { writers: vec![(OTHER, Roles::NONE)], credentials: vec![] });
    log.void(OTHER, commit(3, Some(3), vec![], vec![]), "listed");
}

#[test]
fn adoption_hands_over_packs_and_index_objects() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.void(OTHER, open(2, Some(1), vec![]), "another writer");
    log.void(WRITER, open(2, Some(9), vec![]), "not open");
    log.ok(WRITER, open(2, Some(1), vec![]));
    log.void(WRITER, commit(1, Some(1), vec![], vec![]), "not open");
    log.void(WRITER, open(3, Some(1), vec![]), "not open");
    log.ok(WRITER, open(3, Some(2), vec![]));
    let [one, two, three] = [1, 2, 3].map(|label| log.1[&label]);
    assert_eq!(log.0.open_sessions()[&three].adopted, [one, two]);
    assert_eq!(log.0.open_sessions().keys().collect::<Vec<_>>(), [&three], "ended ones are not remembered");
    assert!([one, two, three].iter().all(|id| log.0.spared(id) && id.is_of(&WRITER) && !id.is_of(&OTHER)));
    let computed = log.0.n();
    for n in [1, 2, 3, 99] {
        log.void(admin().id(), Body::Condemn { computed, packs: vec![pack_name(n, 1)] }, "open or unknown");
    }
    log.ok(WRITER, commit(3, Some(3), vec![index(1, 1), index(2, 2), index(3, 3)], vec![]));
    log.condemn(vec![pack_name(1, 1), pack_name(2, 1)]);
    // Of a session that never was, though others opened later, nobody works on anything.
    log.condemn(vec![PackName { session: SessionId::new(2, &OTHER), ..pack_name(2, 1) }]);
}

#[test]
fn a_condemn_has_seen_the_last_commit_condemn_and_loss() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    let before = log.0.n();
    log.commit(WRITER, 1);
    let body = |computed| Body::Condemn { computed, packs: vec![pack_name(1, 1)] };
    log.void(admin().id(), body(before), "older state");
    log.void(admin().id(), body(u64::MAX), "older state");
    log.open(OTHER, 2);
    log.ok(admin().id(), body(before + 1));
    assert!(!log.usable(1, 1, 0) && log.usable(1, 2, 0));
    log.void(admin().id(), body(before + 1), "older state");
    let damaged = vec![LostFrames { pack: pack_name(1, 2), frames: vec![27] }];
    let before = log.0.n();
    log.ok(WRITER, Body::Lost { lost: damaged });
    assert!(!log.usable(1, 2, 27) && log.usable(1, 2, 4122));
    log.void(admin().id(), body(before), "older state");
    assert_eq!(log.0.withdrawn(), before + 1);
    log.ok(WRITER, lost(pack_name(1, 2)));
    assert!(!log.usable(1, 2, 4122));
}

/// A loss stops deduplication and a find allows it again: of one's own packs every writer says so, of others' only who
/// may vouch.
#[test]
fn losses_and_finds_are_of_own_packs_or_by_who_may_vouch() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    let pack = pack_name(1, 1);
    let found = Body::Found { packs: vec![pack] };
    for stranger in [OTHER, WriterId([9; 32])] {
        log.void(stranger, lost(pack), "writer");
        log.void(stranger, found.clone(), "writer");
    }
    let never = PackName { session: SessionId::new(77, &WRITER), ..pack_name(77, 1) };
    log.void(OTHER, lost(never), "another writer");
    for (loses, finds) in [(WRITER, WRITER), (VOUCHER, WRITER), (WRITER, VOUCHER), (admin().id(), admin().id())] {
        log.ok(loses, lost(pack));
        assert!(!log.usable(1, 1, 27));
        log.void(OTHER, found.clone(), "another writer");
        assert!(!log.usable(1, 1, 27));
        let withdrawn = log.0.withdrawn();
        log.ok(finds, found.clone());
        assert!(log.usable(1, 1, 27) && log.0.lost().is_empty());
        assert_eq!(log.0.withdrawn(), withdrawn, "a find takes nothing away");
    }
    // One item that is not allowed makes the whole entry void.
    log.open(OTHER, 2);
    let mixed = [pack_name(1, 1), pack_name(2, 1)].map(|pack| LostFrames { pack, frames: vec![] });
    log.void(OTHER, Body::Lost { lost: mixed.to_vec() }, "another writer");
    log.ok(OTHER, lost(pack_name(2, 1)));
}

#[test]
fn a_snapshot_is_vouched_by_its_writer_or_by_an_entry() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    log.open(VOUCHER, 2);
    log.commit(VOUCHER, 2);
    let both = |log: &Log| [1, 2].map(|n| log.0.is_vouched(&snap(n)));
    assert_eq!(both(&log), [false, true]);
    assert_eq!([1, 2, 3].map(|n| log.0.writer_of(&snap(n))), [Some(WRITER), Some(VOUCHER), None]);
    // Of its index objects alone that says nothing of the snapshot.
    log.ok(VOUCHER, vouch(vec![index(1, 1)], vec![]));
    assert_eq!(both(&log), [false, true]);
    log.void(VOUCHER, vouch(vec![], vec![snap(9)]), "no such snapshot");
    log.void(WRITER, vouch(vec![], vec![snap(1)]), "vouch");
    log.ok(VOUCHER, vouch(vec![], vec![snap(1)]));
    assert_eq!(both(&log), [true, true]);
    // What a writer may do later changes nothing about what it did.
    log.ok(admin().id(), Body::Writers { writers: vec![(VOUCHER, Roles::NONE)], credentials: vec![] });
    assert_eq!(both(&log), [true, true]);
}

#[test]
fn a_store_that_does_not_order_creates_has_one_writer() {
    let config = Config { create_atomic: false, ..config() };
    let mut log = Log(State::new(ObjectHash([0; 32]), &config), BTreeMap::new());
    let writers = |writers: &[(WriterId, Roles)]| Body::Writers { writers: writers.to_vec(), credentials: vec![] };
    log.void(admin().id(), writers(&[(WRITER, Roles::WRITE), (OTHER, Roles::WRITE)]), "several writers");
    log.ok(admin().id(), writers(&[(WRITER, Roles::WRITE_VOUCH)]));
    log.void(admin().id(), writers(&[(OTHER, Roles::VOUCH)]), "several writers");
    log.ok(admin().id(), writers(&[(WRITER, Roles::WRITE)]));
    log.ok(admin().id(), writers(&[(WRITER, Roles::NONE), (OTHER, Roles::WRITE)]));
    assert_eq!(log.0.writers().keys().collect::<Vec<_>>(), [&OTHER]);
}

#[test]
fn a_pack_is_retired_when_no_older_session_is_open() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    log.open(OTHER, 2);
    log.condemn(vec![pack_name(1, 1)]);
    log.open(WRITER, 3);
    let retire = Body::Retire { packs: vec![pack_name(1, 1)] };
    log.void(admin().id(), retire.clone(), "older session");
    log.ok(OTHER, commit(2, None, vec![], vec![]));
    log.ok(admin().id(), retire.clone());
    assert!(log.0.condemned().is_empty());
    log.void(admin().id(), retire, "not condemned");
}

#[test]
fn forgotten_bases_are_held_until_their_sessions_end() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    log.void(WRITER, open(2, None, vec![snap(9)]), "base");
    log.ok(WRITER, open(2, None, vec![snap(1)]));
    log.ok(admin().id(), Body::Forget { snapshots: vec![snap(1)] });
    assert!(log.0.snapshots().is_empty() && log.0.held().contains(&snap(1)));
    log.void(admin().id(), Body::Forget { snapshots: vec![snap(1)] }, "no such snapshot");
    log.void(OTHER, open(3, None, vec![snap(1)]), "base");
    log.ok(admin().id(), Body::Fence { session: s(2) });
    assert!(log.0.held().is_empty());
}

#[test]
fn what_is_pinned_is_not_forgotten() {
    let mut log = Log::new();
    let key = support::ring().repo.index;
    let sealed = |n, pinned| {
        Remark { pinned, reason: "why".to_owned(), labels: None }.seal(&snap(n), &support::repo(), &key, [n; 24])
    };
    let remark = |n, sealed: Sealed| Body::Remark { remarks: vec![(snap(n), sealed)] };
    for n in [1, 2] {
        log.open(WRITER, n);
        log.commit(WRITER, n);
    }
    log.void(admin().id(), remark(3, sealed(3, true).unwrap()), "no such snapshot");
    log.ok(admin().id(), remark(1, sealed(1, true).unwrap()));
    log.ok(admin().id(), remark(2, sealed(2, false).unwrap()));
    assert!(log.0.is_pinned(&snap(1)) && !log.0.is_pinned(&snap(2)) && log.0.remarks().len() == 2);
    // Nor are those that are named beside it.
    log.void(admin().id(), Body::Forget { snapshots: vec![snap(1), snap(2)] }, "pinned");
    log.ok(admin().id(), Body::Forget { snapshots: vec![snap(2)] });
    assert!(!log.0.remarks().contains_key(&snap(2)), "what was said of it goes with it");
    log.ok(admin().id(), remark(1, Sealed::NONE));
    assert!(log.0.remarks().is_empty());
    log.ok(admin().id(), Body::Forget { snapshots: vec![snap(1)] });
}

#[test]
fn trust_is_for_own_and_vouched_index_objects() {
    let mut log = Log::new();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    log.open(VOUCHER, 2);
    log.commit(VOUCHER, 2);
    let trusts = |log: &Log, writer, (label, n)| log.0.trusts(&writer, &log.index(label, n));
    assert!(trusts(&log, WRITER, (1, 1)) && !trusts(&log, OTHER, (1, 1)));
    assert!(trusts(&log, OTHER, (2, 2)) && !trusts(&log, OTHER, (9, 9)));
    log.open(OTHER, 3);
    log.void(OTHER, commit(3, None, vec![], vec![index(1, 1)]), "another writer");
    log.void(OTHER, commit(3, None, vec![], vec![index(9, 9)]), "no standing");
    log.void(VOUCHER, vouch(vec![index(9, 9)], vec![]), "no such index");
    log.ok(VOUCHER, vouch(vec![index(1, 1)], vec![]));
    assert!(trusts(&log, OTHER, (1, 1)));
    log.open(VOUCHER, 4);
    log.ok(VOUCHER, commit(4, None, vec![index(4, 4)], vec![index(1, 1), index(2, 2)]));
    assert_eq!(log.0.indexes().keys().collect::<Vec<_>>(), [&log.index(4, 4)]);
}

/// What has ended leaves nothing behind: neither sessions nor losses taken back nor packs retired.
#[test]
fn the_state_grows_with_what_stands_alone() {
    let mut log = Log::new();
    let size = |log: &Log| log.0.to_checkpoint(&support::repo(), &admin()).unwrap().1.len();
    log.open(WRITER, 1);
    log.commit(WRITER, 1);
    let before = size(&log);
    for n in 2..=250 {
        log.ok(WRITER, open(n, None, vec![snap(1)]));
        match n % 3 {
            0 => log.ok(WRITER, commit(n, None, vec![], vec![])),
            1 => log.ok(admin().id(), Body::Fence { session: s(n) }),
            _ => {
                log.ok(WRITER, open(251, Some(n), vec![]));
                log.ok(WRITER, commit(251, Some(n), vec![index(251, n)], vec![]));
                log.ok(admin().id(), Body::Forget { snapshots: vec![snap(n)] });
                log.open(VOUCHER, 252);
                log.ok(VOUCHER, commit(252, None, vec![], vec![index(251, n)]));
                log.ok(WRITER, lost(pack_name(251, n)));
                log.condemn(vec![pack_name(251, n)]);
                log.ok(admin().id(), Body::Retire { packs: vec![pack_name(251, n)] });
                log.1.retain(|label, _| *label < 251);
            }
        }
    }
    assert_eq!(size(&log), before);
}

#[test]
fn epochs_follow_one_another() {
    let mut log = Log::new();
    let epoch = |epoch| Body::Epoch { content: ContentPublic { epoch, key: [9; 32] }, grants: vec![] };
    log.void(admin().id(), epoch(3), "next epoch");
    log.ok(admin().id(), epoch(2));
    assert_eq!(log.0.content().epoch, 2);
    log.void(WRITER, open(1, None, vec![]), "another epoch");
}

/// A credential that the administrator lists.
fn one(n: u8, sets: Sets) -> (CredentialId, Listed) {
    (CredentialId([n; 32]), Listed { sets, public: Recipient([n; 32]) })
}

fn listing(credentials: Vec<(CredentialId, Listed)>) -> Body {
    Body::Writers { writers: vec![], credentials }
}

fn gone(n: u8) -> (CredentialId, Listed) {
    (CredentialId([n; 32]), Listed::GONE)
}

#[test]
fn an_epoch_is_granted_to_those_that_read_and_to_nobody_else() {
    let mut log = Log::new();
    let epoch = |epoch, to: &[u8]| Body::Epoch {
        content: ContentPublic { epoch, key: [9; 32] },
        grants: to.iter().map(|n| (CredentialId([*n; 32]), Grant { ephemeral: [*n; 32], sealed: [7; 48] })).collect(),
    };
    let all = vec![one(1, Sets::ALL), one(2, Sets::READ), one(3, Sets::ADMIN), one(4, Sets::WRITE.with(Sets::READ))];
    log.void(WRITER, listing(all.clone()), "only the administrator");
    log.ok(admin().id(), listing(all));
    for to in [&[][..], &[1, 2], &[1, 2, 4, 5], &[1, 2, 3, 4]] {
        log.void(admin().id(), epoch(2, to), "than the credentials that read");
    }
    log.void(WRITER, epoch(2, &[1, 2, 4]), "only the administrator");
    log.ok(admin().id(), epoch(2, &[1, 2, 4]));
    assert_eq!(log.0.grant(2, &CredentialId([4; 32])).unwrap().ephemeral, [4; 32]);
    // What was granted leaves with the credential, and a computed grant that no longer fits is void.
    log.ok(admin().id(), listing(vec![gone(4)]));
    assert_eq!(log.0.grant(2, &CredentialId([4; 32])), None);
    log.void(admin().id(), epoch(3, &[1, 2, 4]), "than the credentials that read");
    log.ok(admin().id(), epoch(3, &[1, 2]));
    assert_eq!(log.0.content_of(3).unwrap().key, [9; 32]);
    let (name, object) = log.0.to_checkpoint(&config().repo, &admin()).unwrap();
    assert_eq!(State::from_checkpoint(&name, &object, &config(), None).unwrap(), log.0);
}

#[test]
fn two_administrators_that_remove_one_another_do_not_both_succeed() {
    let mut log = Log::new();
    log.ok(admin().id(), listing(vec![one(1, Sets::ADMIN.with(Sets::READ)), one(2, Sets::ALL)]));
    log.void(admin().id(), listing(vec![gone(3)]), "no such credential");
    log.void(admin().id(), listing(vec![one(2, Sets::READ)]), "listed already");
    log.void(admin().id(), listing(vec![gone(1), gone(2)]), "last credential");
    log.ok(admin().id(), listing(vec![gone(2)]));
    log.void(admin().id(), listing(vec![gone(1)]), "last credential");
    // One that only reads may go while another reads; the last that reads stays, as does the last that administers.
    log.ok(admin().id(), listing(vec![one(3, Sets::ADMIN), one(4, Sets::READ)]));
    log.ok(admin().id(), listing(vec![gone(1)]));
    log.void(admin().id(), listing(vec![gone(4)]), "last credential");
    log.void(admin().id(), listing(vec![gone(3)]), "last credential");
    log.ok(admin().id(), listing(vec![gone(3), one(5, Sets::ALL)]));
}

#[test]
fn the_chain_must_fit() {
    let mut log = Log::new();
    let before = log.0.clone();
    let body = Body::Lost { lost: vec![] };
    let entry = |n, previous| Entry { n, previous, writer: WRITER, time_ms: 0, body: body.clone() };
    assert!(log.0.apply(ObjectHash([0; 32]), &entry(3, before.head())).is_err());
    assert!(log.0.apply(ObjectHash([0; 32]), &entry(2, ObjectHash([7; 32]))).is_err());
    assert_eq!(log.0, before);
}
