//! Simulation of several writers, two pruners, forgets, fences, crashes, pauses of any length, wrong clocks and a stolen
//! key over the log (SPEC "Protocol"): no committed snapshot ever loses a chunk. And the proof that it would notice:
//! with any one rule off, it finds a loss. `ONEFOLD_SEEDS=n` runs more.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sim;

use repo_format::id::WriterId;
use repo_format::log::Roles;
use repo_format::log_rules::Rules;
use sim::pruner::Pruner;
use sim::writer::{Writer, stolen_key_step};
use sim::{Protocol, Rng, STOLEN, World};
use std::collections::BTreeMap;

const WRITERS: usize = 3;
const STEPS: u64 = 700;
/// Within so many seeds every rule must be missed.
const SEEDS_TO_NOTICE: u64 = 3000;

fn id(n: u8) -> WriterId {
    WriterId([n; 32])
}

/// One history. Returns the loss, if there was one, and how often each kind of entry was written.
fn run(protocol: Protocol, seed: u64) -> (Option<String>, BTreeMap<&'static str, u64>) {
    let mut rng = Rng(seed ^ 0x5eed);
    let mut listed: Vec<(WriterId, Roles)> = (0..WRITERS as u8).map(|n| (id(n), Roles::WRITE)).collect();
    listed.extend([(id(10), Roles::WRITE_VOUCH), (id(11), Roles::WRITE_VOUCH), (STOLEN, Roles::WRITE)]);
    let mut world = World::new(protocol, seed, &listed);
    // Clocks are wrong by up to as long as the run.
    let mut clock = || rng.below(2 * STEPS) as i64 - STEPS as i64;
    let mut writers: Vec<Writer> = Vec::new();
    let mut pruners: Vec<Pruner> = (10..12).map(|n| Pruner::new(id(n), clock())).collect();
    for n in 0..WRITERS as u8 {
        let data = world.rng.chunks(8);
        writers.push(Writer::new(&world, id(n), clock(), data));
    }
    let mut asleep = [0u64; WRITERS + 8];
    for _ in 0..STEPS {
        world.time += 1;
        let actor = world.rng.below(writers.len() as u64 + 3) as usize;
        if asleep[actor.min(asleep.len() - 1)] > world.time {
            continue;
        }
        if world.rng.one_in(25) {
            // A pause; mostly short, sometimes longer than any grace.
            let length = if world.rng.one_in(2) { 300 } else { 30 };
            asleep[actor.min(asleep.len() - 1)] = world.time + world.rng.below(length);
            if actor < writers.len() && !writers[actor].is_idle() && writers.len() < WRITERS + 4 && world.rng.one_in(2)
            {
                // Thought dead: a second process starts for the same writer.
                let mut second = writers[actor].clone();
                second.crash(&world);
                writers.push(second);
            }
            continue;
        }
        match actor.checked_sub(writers.len()) {
            None if world.rng.one_in(60) => writers[actor].crash(&world),
            None => writers[actor].step(&mut world),
            Some(2) => {
                if world.rng.one_in(4) {
                    stolen_key_step(&mut world);
                } else if world.rng.one_in(12) {
                    world.lose_a_pack(id(10));
                }
            }
            Some(pruner) if world.rng.one_in(60) => pruners[pruner].crash(),
            Some(pruner) => pruners[pruner].step(&mut world),
        }
        if world.loss.is_some() {
            return (world.loss, world.counts);
        }
    }
    // At the end every condemned pack is deleted: nobody may have relied on one.
    let condemned: Vec<_> = world.head().condemned().keys().copied().collect();
    condemned.iter().for_each(|pack| {
        world.packs.remove(pack);
    });
    world.verify();
    (world.loss, world.counts)
}

fn seeds() -> u64 {
    std::env::var("ONEFOLD_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000)
}

#[test]
fn no_committed_snapshot_ever_loses_a_chunk() {
    let mut total: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..seeds() {
        let (loss, counts) = run(Protocol::FULL, seed);
        assert_eq!(loss, None, "seed {seed}");
        counts.into_iter().for_each(|(kind, n)| *total.entry(kind).or_default() += n);
    }
    // Histories in which nothing happens prove nothing.
    let busy = [
        "open",
        "adopt",
        "commit",
        "commit without snapshot",
        "replace",
        "forget",
        "condemn",
        "fence",
        "lost",
        "found",
        "pack gone",
        "vouch",
        "retire",
        "deleted",
        "replaced from condemned",
        "void",
    ];
    for kind in busy {
        let n = total.get(kind).copied().unwrap_or(0);
        assert!(n >= seeds() / 20, "{kind}: only {n} in {} histories; {total:?}", seeds());
    }
}

#[test]
fn grace_is_for_readers_not_for_safety() {
    for seed in 0..seeds() / 4 {
        let (loss, _) = run(Protocol { grace: 0, ..Protocol::FULL }, seed);
        assert_eq!(loss, None, "seed {seed}");
    }
}

/// With this rule off a loss must show within [`SEEDS_TO_NOTICE`] seeds.
fn noticed(rule: &str, protocol: Protocol) {
    let found = (0..SEEDS_TO_NOTICE).find(|seed| run(protocol, *seed).0.is_some());
    assert!(found.is_some(), "without the rule \"{rule}\" nothing is lost: the simulation does not test it");
}

macro_rules! each_rule_is_needed {
    ($($name:ident: $rule:literal, $change:expr;)*) => {
        $(#[test]
        fn $name() {
            let mut protocol = Protocol::FULL;
            let change: fn(&mut Protocol) = $change;
            change(&mut protocol);
            noticed($rule, protocol);
        })*

        /// How soon each is noticed: `cargo test --release -- --ignored --nocapture seeds_to_notice`.
        #[test]
        #[ignore = "prints a table"]
        #[allow(clippy::print_stdout)]
        fn seeds_to_notice() {
            let rules: Vec<(&str, fn(&mut Protocol))> = vec![$(($rule, $change)),*];
            for (rule, change) in rules {
                let mut protocol = Protocol::FULL;
                change(&mut protocol);
                let lost = (0..2000).filter(|seed| run(protocol, *seed).0.is_some()).count();
                println!("{lost:5} of 2000 lose data without: {rule}");
            }
        }
    };
}

each_rule_is_needed! {
    without_void_commits: "a commit after a fence is void",
        |p| (p.state.only_open_commit, p.adopts) = (false, false);
    without_sparing_sessions: "a condemn spares the packs of open sessions",
        |p| p.state.condemn_spares_open_sessions = false;
    without_last_state: "a condemn is computed from the last state", |p| p.state.condemn_sees_last_state = false;
    without_waiting: "a pack is retired when no older session is open", |p| p.state.retire_waits = false;
    without_adoption: "an adopted session cannot commit",
        |p| (p.state.only_open_commit, p.fences) = (false, false);
    without_holding: "a forgotten base is held while a session builds on it", |p| p.state.forget_holds_bases = false;
    without_bound_losses: "others' packs are lost only by who may vouch",
        |p| p.state.losses_of_own_packs = false;
    without_bound_finds: "others' packs are found only by who may vouch", |p| p.state.finds_of_own_packs = false;
    without_reading: "one has read all before n", |p| p.reads_all_before = false;
    without_replacing: "a commit replaces what it reuses from condemned packs", |p| p.commit_replaces_condemned = false;
    without_order: "packs, index objects, commit", |p| p.writes_in_order = false;
    without_trust: "one deduplicates against own and vouched chunks", |p| p.trusts_own_and_vouched = false;
    without_counting_trusted: "a pruner counts places that the snapshot's writer trusts",
        |p| p.prune_counts_trusted = false;
    without_marking_held: "a pruner marks from the bases of open sessions", |p| p.prune_marks_held = false;
    without_coverage: "replacing index objects cover what is not condemned", |p| p.merge_keeps_coverage = false;
    without_uncovered: "only uncovered packs are retired", |p| p.retires_uncovered = false;
    without_exclusion: "a conditional create has one winner", |p| p.create_is_exclusive = false;
    without_marks: "the number of an entry that was trimmed stays taken", |p| p.looks_for_marks = false;
    without_condemning: "packs are condemned before they are deleted", |p| p.deletes_condemned_only = false;
}

#[test]
fn all_rules_are_on_by_default() {
    let Rules {
        only_open_commit: true,
        condemn_spares_open_sessions: true,
        condemn_sees_last_state: true,
        retire_waits: true,
        forget_holds_bases: true,
        losses_of_own_packs: true,
        finds_of_own_packs: true,
    } = Rules::ALL
    else {
        panic!("a rule is off");
    };
}
