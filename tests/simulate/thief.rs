//! Whoever stole a writer's key: writes whatever the log accepts of that writer, and says of others' packs what is not so.

use std::collections::BTreeSet;

use onefold::{Kind, Result};
use repo_format::id::{SessionId, SnapshotId};
use repo_format::index::IndexBuilder;
use repo_format::key::{ContentKey, SessionKey};
use repo_format::log::{Body, Entry};
use repo_format::names::{IndexName, Name, PackName};
use repo_format::pack::{PackFrame, open_pack};
use repo_format::snapshot::{Says, Snapshot};

use super::part;
use super::stage::Process;
use crate::dice::Dice;
use onefold::repo::{Repo, world};

/// Signs an entry and puts it under the log's next number, whatever the rules say of it.
fn force(repo: &Repo, body: &mut dyn FnMut(u64) -> Result<Body>) -> Result<()> {
    let key = repo.ring().writer.clone().unwrap();
    let state = repo.refresh()?;
    let (n, previous) = (state.n() + 1, state.head());
    let entry = Entry { n, previous, writer: key.id(), time_ms: world::now_ms(), body: body(n)? };
    let (_, bytes) = entry.encode(&repo.ring().repo_id, &key)?;
    let name = Name::Log(n);
    repo.store().create(&name.to_string(), bytes.clone().into())?;
    repo.store().create(&name.copy(), bytes.clone().into())
}

/// Every pack that the store has.
pub fn packs(repo: &Repo) -> Result<Vec<PackName>> {
    let mut packs = Vec::new();
    repo.store().list("pack", &mut |name, _| {
        packs.extend(match Name::parse(name) {
            Ok(Name::Pack(pack)) => Some(pack),
            _ => None,
        });
        Ok(())
    })?;
    packs.sort_unstable();
    Ok(packs)
}

pub fn act(process: &Process, dice: &mut Dice) {
    match steal(process, dice) {
        Ok(()) => process.count("stolen"),
        Err(e) if matches!(e.kind(), Kind::AlreadyExists | Kind::NotFound | Kind::Damaged) => process.count("beaten"),
        Err(e) => process.allow("the thief", &e),
    }
}

/// Opens a session.
pub fn open(repo: &Repo) -> Result<SessionKey> {
    let key = repo.ring().writer.clone().unwrap();
    let mut made: Option<SessionKey> = None;
    force(repo, &mut |n| {
        let content = ContentKey::from_bytes(world::random()?);
        let session = SessionId::new(n, &key.id());
        let state = repo.state();
        let of = SessionKey::new(&state.content(), &repo.ring().repo_id, session, content, world::random()?)?;
        let wrapped = of.wrapped;
        made = Some(of);
        Ok(Body::Open { session, key: wrapped, adopts: None, bases: Vec::new() })
    })?;
    Ok(made.unwrap())
}

/// An index object that says of packs whatever `lies` makes of what they list.
pub fn say(
    repo: &Repo,
    session: SessionId,
    packs: &[PackName],
    lies: &mut dyn FnMut(&mut Vec<PackFrame>),
) -> Result<IndexName> {
    let (ring, mut builder) = (repo.ring(), IndexBuilder::new());
    for pack in packs {
        let bytes = repo.store().read(&pack.to_string())?;
        let mut frames = open_pack(pack, &bytes, &ring.repo.index)?;
        lies(&mut frames);
        builder.add(*pack, bytes.len() as u32, &frames)?;
    }
    let nonces = [world::random()?, world::random()?];
    let key = ring.writer.clone().unwrap();
    let (name, bytes) = builder.finish(session, &ring.repo_id, &ring.repo.index, &nonces, &key)?;
    repo.store().create(&Name::Index(name).to_string(), bytes.into())?;
    Ok(name)
}

/// Commits the session with these index objects, in place of others.
pub fn commit(
    repo: &Repo,
    session: SessionId,
    snapshot: Option<SnapshotId>,
    indexes: &[IndexName],
    replaces: &[IndexName],
) -> Result<()> {
    force(repo, &mut |_| Ok(Body::Commit { session, snapshot, indexes: indexes.to_vec(), replaces: replaces.to_vec() }))
}

/// Has the frames of a pack hold what those of another do.
fn exchange(frames: &mut [PackFrame], others: Vec<PackFrame>) {
    for (frame, other) in frames.iter_mut().zip(others) {
        frame.chunks = other.chunks;
    }
}

fn steal(process: &Process, dice: &mut Dice) -> Result<()> {
    let repo = process.open()?;
    let key = repo.ring().writer.clone().unwrap();
    let session = open(&repo)?;
    let packs = packs(&repo)?;
    let mut indexes = Vec::new();
    if !packs.is_empty() {
        // An index object by which chunks lie in frames of other packs than they do; or one that tells the truth, and not all of it.
        // He likes packs that nobody else names any more.
        let nameless: Vec<PackName> = {
            let model = process.stage.model.lock().unwrap();
            packs.iter().copied().filter(|pack| model.nameless.contains(pack)).collect()
        };
        let pick = |dice: &mut Dice| {
            let from = if !nameless.is_empty() && dice.one_in(2) { &nameless } else { &packs };
            from[dice.below(from.len() as u64) as usize]
        };
        let said: BTreeSet<PackName> = (0..1 + dice.below(3)).map(|_| pick(dice)).collect();
        let of = pick(dice);
        let others = open_pack(&of, &repo.store().read(&of.to_string())?, &repo.ring().repo.index)?;
        let said: Vec<PackName> = said.into_iter().collect();
        indexes.push(say(&repo, session.session, &said, &mut |frames| match dice.one_in(2) {
            true => frames.truncate(1),
            false => exchange(frames, others.clone()),
        })?);
    }
    // A snapshot of chunks that he never stored, which others may have.
    let ids = &repo.ring().repo.chunk_id;
    let roots = part(dice.below(24)).into_iter().map(|(kind, plain)| (kind, ids.id(kind, &plain)));
    let says = Says { body: b"{}".to_vec(), ..Says::default() };
    let snapshot = Snapshot { session: session.session, writer: key.id(), roots: roots.collect(), says };
    let (id, bytes) = snapshot.seal(&repo.ring().repo_id, &session, &world::random()?, &key)?;
    repo.store().create(&Name::Snapshot(id).to_string(), bytes.clone().into())?;
    repo.store().create(&Name::Snapshot(id).copy(), bytes.clone().into())?;
    // Others' index objects are not his to replace.
    let state = repo.refresh()?;
    let replaces: Vec<IndexName> = state.indexes().keys().copied().filter(|_| dice.one_in(3)).take(4).collect();
    let replaces = if dice.one_in(2) { replaces } else { Vec::new() };
    commit(&repo, session.session, Some(id), &indexes, &replaces)
}
