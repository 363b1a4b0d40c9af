//! Learns by trying whether a store's conditional creates have exactly one winner.

use std::sync::Barrier;
use std::thread;

use super::Store;
use crate::error::{Error, Kind, Result};

/// Creators that race for each name.
const CREATORS: usize = 8;
/// Names raced for.
const ROUNDS: usize = 4;

/// What the race showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every race had one winner, and the object held its bytes.
    OneWinner,
    /// Several creators were told that they won, or an object changed: the log needs a sequencer, or one writer.
    SeveralWinners,
}

/// Races creators against one another for a few names under `prefix` (unique to this call), and removes the objects.
/// Any other failure of the store is an error: a store that cannot be written to is not judged.
pub fn race(store: &dyn Store, prefix: &str) -> Result<Verdict> {
    if store.several_win() {
        return Ok(Verdict::SeveralWinners);
    }
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("{prefix}-{round}")).collect();
    let verdicts: Result<Vec<Verdict>> = names.iter().map(|name| race_once(store, name)).collect();
    let deleted = store.delete_all(&names);
    let verdicts = verdicts?;
    deleted?;
    let several = verdicts.contains(&Verdict::SeveralWinners);
    Ok(if several { Verdict::SeveralWinners } else { Verdict::OneWinner })
}

fn race_once(store: &dyn Store, name: &str) -> Result<Verdict> {
    let start = Barrier::new(CREATORS);
    let answers: Vec<Result<()>> = thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS)
            .map(|i| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    store.create(name, content(i).into())
                })
            })
            .collect();
        let panicked = || Err(Error::new(Kind::Io, name, "a creator panicked"));
        creators.into_iter().map(|c| c.join().unwrap_or_else(|_| panicked())).collect()
    });
    let mut winners = Vec::new();
    for (i, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(()) => winners.push(i),
            Err(e) if e.kind() == Kind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    let found = store.read(name)?;
    match winners.as_slice() {
        [winner] if found == content(*winner) => Ok(Verdict::OneWinner),
        [] => Err(Error::new(Kind::Io, name, "somebody else writes to this store under our names")),
        _ => Ok(Verdict::SeveralWinners),
    }
}

/// Lengths differ too, so that a mix of two writers shows.
fn content(creator: usize) -> Vec<u8> {
    vec![creator as u8; 1000 + creator]
}
