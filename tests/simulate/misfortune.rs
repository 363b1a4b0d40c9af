//! Objects that are lost or damaged while everybody is at work, and what a repair makes of it.

use onefold::repo::check::Reads;
use onefold::repo::{Repo, WriteOptions};
use onefold::run::ChunkSink;
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::index::Index;
use repo_format::names::Name;
use repo_format::pack::open_pack;
use repo_format::snapshot::Says;

use super::stage::Process;
use super::{PARTS, Plain, STEPS, part};
use crate::dice::Dice;

/// Up to two objects of a history: packs that vanish or have a byte flipped, index objects that vanish.
pub fn act(process: &Process, dice: &mut Dice) {
    for _ in 0..dice.below(3) {
        process.sleep_until(dice.below(STEPS));
        let is_enough = process.stage.model.lock().unwrap().struck.len() >= 2;
        if !is_enough && strike(process, dice).is_ok() {
            process.count("struck");
        }
    }
    process.sleep_until(STEPS);
}

fn strike(process: &Process, dice: &mut Dice) -> Result<()> {
    let repo = process.open()?;
    let folder = if dice.one_in(2) { "index" } else { "pack" };
    let mut names = Vec::new();
    repo.store().list(folder, &mut |name, _| {
        names.push(name.to_owned());
        Ok(())
    })?;
    names.sort_unstable();
    let at = dice.below(names.len() as u64) as usize;
    let Some(name) = names.get(at) else { return Ok(()) };
    let (flips, place) = (dice.one_in(2), dice.below(1 << 20) as usize);
    process.happens(name, |store| {
        let mut bytes = store.read(name)?;
        let mut model = process.stage.model.lock().unwrap();
        model.struck.insert(name.to_owned());
        let ring = repo.ring();
        match Name::parse(name) {
            Ok(Name::Pack(pack)) => {
                let frames = open_pack(&pack, &bytes, &ring.repo.index)?;
                model.harmed.extend(frames.iter().flat_map(|frame| &frame.chunks).map(|chunk| chunk.id));
            }
            Ok(Name::Index(index)) => {
                let index = Index::open(&index, &bytes, &ring.repo_id, &ring.repo.index)?;
                model.unnamed.extend(index.iter().map(|entry| entry.id));
                model.nameless.extend(index.head().packs.iter().map(|(pack, _)| *pack));
            }
            _ => {}
        }
        store.delete(name)?;
        if flips && folder == "pack" {
            let length = bytes.len();
            bytes[place % length] ^= 1;
            store.create(name, bytes.into())?;
        }
        Ok(())
    })
}

/// What `onefold repair --read-data` does.
pub fn mend(repo: &Repo, watch: &Watch) -> Result<()> {
    let examined = repo.check(Reads::All, watch)?;
    repo.mend(&examined, false, watch)?;
    repo.declare(&examined, false).map(drop)
}

/// The next backup of whoever has all the data.
pub fn back_up_all(repo: &Repo) -> Result<()> {
    let writer = repo.writer(WriteOptions { threads: 1, ..WriteOptions::default() })?;
    let all: Plain = (0..PARTS).flat_map(part).collect();
    let roots = all.iter().map(|(kind, plain)| Ok((*kind, writer.put(*kind, plain)?))).collect::<Result<_>>()?;
    writer.commit(roots, Says { body: b"{}".to_vec(), ..Says::default() }).map(drop)
}

/// Runs it again where it finds itself busy: a session of somebody who is gone had not ended.
pub fn again(work: &dyn Fn() -> Result<()>) {
    match work() {
        Err(e) if e.kind() == Kind::Busy => work().unwrap(),
        other => other.unwrap(),
    }
}
