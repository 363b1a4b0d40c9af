//! Histories of nights out of seeds: a cluster of three nodes is written to, compacted, captured whole and in parts, backed up by machines
//! that remember and forget, while snapshots are forgotten, pruned and harmed. Whatever is left reads as a plain model says.

mod cluster;
mod oracle;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onefold::backup::{self, Done};
use onefold::check::{self, Checked};
use onefold::engine::params::{Param, Params};
use onefold::engine::{ALL, Env};
use onefold::prune;
use onefold::repo::Repo;
use onefold::repo::check::Reads;
use onefold::repo::prune::Limits;
use onefold::snapshot::{self, Snapshot};
use onefold::store::Store;
use onefold::watch::Watch;
use repo_format::credential::{NewLock, Sets, Unlock};
use repo_format::id::SnapshotId;
use repo_format::keyfile::KeyFile;
use repo_format::log::Body;

use crate::dice::{Dice, number};
use crate::repo::{init, memory, open};
use crate::user::files_below;
use cluster::{Cluster, NODES, Trouble};
use oracle::{Expected, expect};
use schema::{Named, Stage, TABLES};

/// Who backs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// Holds every role.
    First,
    /// The same on another machine.
    Second,
    /// Holds *write* alone.
    Writer,
}

/// A snapshot that is there.
struct Night {
    id: SnapshotId,
    by: Machine,
    vouched: bool,
    cut: u32,
    /// `None`: it was left out by name.
    tables: Vec<Option<Expected>>,
    /// Of each table, whether six layers lie above its base.
    deep: Vec<bool>,
}

impl Night {
    /// Whether who reads may stand on its table.
    fn is_known(&self, table: usize) -> bool {
        (self.by != Machine::Writer || self.vouched) && self.tables[table].is_some()
    }
}

struct History {
    dir: PathBuf,
    cluster: Cluster,
    store: Arc<dyn Store>,
    nights: Vec<Night>,
    /// Little changes, night after night, so that layer comes upon layer.
    quiet: bool,
    /// A pack is lost: some things may be, too.
    lossy: bool,
    /// What was done, for who reads of a failure.
    done: Vec<String>,
    /// How often what happened that histories are for.
    counts: BTreeMap<&'static str, u64>,
}

/// One in fifty histories has each, and one at least.
const BUSY: [&str; 6] = ["a layer", "six layers", "layers taken in", "a stand-in", "stored anew", "state passed over"];
/// Is rarer: of hundreds of histories one in fifty has it.
const RARE: &str = "lost and named";

fn writer_key() -> KeyFile {
    KeyFile::from_bytes([11; 32])
}

impl History {
    fn new(dir: &Path, seed: u64) -> History {
        let store = memory();
        let repo = init(&store, None);
        repo.add_key(Sets::WRITE, NewLock::KeyFile(&writer_key())).unwrap();
        let (dir, cluster) = (dir.to_owned(), Cluster::new(dir, seed));
        let (nights, done, counts) = (Vec::new(), Vec::new(), BTreeMap::new());
        let quiet = seed.is_multiple_of(3);
        History { dir, cluster, store, nights, quiet, lossy: false, done, counts }
    }

    fn count(&mut self, what: &'static str, times: bool) {
        *self.counts.entry(what).or_default() += u64::from(times);
    }

    fn dice(&mut self) -> &mut Dice {
        &mut self.cluster.dice
    }

    fn repo(&self, machine: Machine) -> Repo {
        match machine {
            Machine::Writer => Repo::open(self.store.clone(), Unlock::KeyFile(&writer_key()), None).unwrap(),
            _ => open(&self.store, None).unwrap(),
        }
    }

    fn state(&self, machine: Machine) -> PathBuf {
        self.dir.join(format!("state-{machine:?}"))
    }

    fn run(&mut self) {
        self.cluster.fill();
        let nights = self.dice().below(10) + if self.quiet { 10 } else { 3 };
        for night in 0..nights {
            match night {
                0 => {}
                _ if self.quiet => self.quiet_day(),
                _ => self.between(),
            }
            self.night();
        }
        self.check();
    }

    /// What happens between two nights of which each changes little.
    fn quiet_day(&mut self) {
        self.cluster.clock += self.dice().below(20) as u32;
        self.cluster.day(2);
        if self.dice().one_in(3) {
            self.harm_state();
        }
        if self.dice().one_in(4) {
            self.forget();
        }
    }

    /// What happens between two nights.
    fn between(&mut self) {
        let step = match self.dice().below(16) {
            0 => -(self.dice().below(60) as i64),
            1 => 0,
            2 => 400,
            _ => self.dice().below(60) as i64,
        };
        self.cluster.clock = (i64::from(self.cluster.clock) + step) as u32;
        if self.dice().one_in(14) {
            self.cluster.stage = match self.cluster.stage {
                Stage::Narrow => Stage::Wide,
                _ => Stage::Dropped,
            };
            self.done.push(format!("{:?}", self.cluster.stage));
        }
        if !self.dice().one_in(8) {
            let statements = if self.dice().one_in(12) { 120 } else { 12 };
            self.cluster.day(statements);
        }
        for (node, table) in (0..NODES).flat_map(|node| [(node, 0), (node, 1)]) {
            if self.dice().one_in(4) {
                self.cluster.compact(node, table);
            }
        }
        if self.dice().one_in(6) {
            let table = self.dice().below(2) as usize;
            self.cluster.repair(table);
        }
        if self.dice().one_in(4) {
            self.forget();
        }
        if self.dice().one_in(10) {
            self.lose();
        }
        if self.dice().one_in(3) {
            self.harm_state();
        }
        if self.dice().one_in(5) {
            self.vouch();
        }
    }

    fn trouble(&mut self) -> Trouble {
        let mut trouble = Trouble::default();
        match self.dice().below(9) {
            0 | 1 => trouble.away = vec![self.dice().below(NODES as u64) as usize],
            2 if self.dice().one_in(2) => {
                let there = self.dice().below(NODES as u64) as usize;
                trouble.away = (0..NODES).filter(|node| *node != there).collect();
            }
            3 => {
                let (node, table) = (self.dice().below(NODES as u64) as usize, self.dice().below(2) as usize);
                let files = self.cluster.files[node][table].len() as u64;
                trouble.damaged = (files > 0).then(|| (node, table, self.dice().below(files) as usize));
            }
            _ => {}
        }
        trouble
    }

    fn night(&mut self) {
        let machine = match self.dice().below(8) {
            _ if self.quiet => Machine::First,
            0 | 1 => Machine::Writer,
            2 => Machine::Second,
            _ => Machine::First,
        };
        let trouble = self.trouble();
        let (whole, node_views) = (self.dice().one_in(12) && !self.quiet, self.dice().one_in(2));
        let excluded = if self.dice().one_in(12) { Some(self.dice().below(2) as usize) } else { None };
        self.cluster.capture(&trouble);
        let cut = self.cluster.clock;
        self.done.push(format!(
            "night at {cut} by {machine:?}, whole {whole}, views {node_views}, without {excluded:?}, {trouble:?}"
        ));
        let done = self.back_up(
            machine,
            &trouble,
            &serde_json::json!({
                "whole": whole,
                "keep-node-views": node_views,
                "exclude": excluded.map(|table| TABLES[table].keyspace).into_iter().collect::<Vec<_>>(),
            }),
        );
        self.cluster.mend(&trouble);
        let s = &done.snapshot;
        assert_eq!(s.cut.seconds, cut);
        let mut tables = Vec::new();
        for (table, of) in TABLES.iter().enumerate() {
            let there = excluded != Some(table);
            assert_eq!(s.shard(&of.full()).is_ok(), there);
            tables.push(there.then(|| self.expected(table, s, machine, &trouble, whole)));
        }
        let id = &done.stored.as_ref().unwrap().0;
        let id = self.repo(Machine::First).find_snapshot(id).unwrap().id;
        let is_deep = |of: &Named| s.shard(&of.full()).is_ok_and(|shard| shard.layers.len() == 7);
        let deep = TABLES.iter().map(is_deep).collect();
        self.nights.push(Night { id, by: machine, vouched: false, cut, tables, deep });
    }

    /// What a table of tonight's snapshot must give, which says itself whether it stands on one before.
    fn expected(&mut self, table: usize, s: &Snapshot, machine: Machine, trouble: &Trouble, whole: bool) -> Expected {
        let (name, cut) = (TABLES[table].full(), self.cluster.clock);
        let damaged = trouble.damaged.is_some_and(|(_, damaged, _)| damaged == table);
        let incomplete = damaged || !trouble.away.is_empty();
        assert!(!incomplete || !s.complete);
        let of_table = |note: &&String| note.contains(&format!("table {name}"));
        let said = |what: &str| s.notes.iter().filter(of_table).filter(|note| note.contains(what)).cloned().collect();
        let (anew, passed): (Vec<String>, Vec<String>) = (said("is stored anew"), said("what this machine remembers"));
        // Who only writes learns nothing of what was forgotten meanwhile, and what it stood on with that.
        let forgotten = machine == Machine::Writer;
        let causes = [
            "its cut is before",
            "columns or types",
            "can be relied on",
            "does not remember it",
            "an owner was not read",
            "as many layers as may be",
        ];
        let causes = &causes[..if forgotten { 6 } else { 2 }];
        assert!(self.lossy || anew.iter().all(|note| causes.iter().any(|why| note.contains(why))), "{anew:?}");
        // Who only writes reads nothing that could stand in.
        let reads = machine != Machine::Writer && incomplete && !whole;
        let before = self.nights.iter().rfind(|night| night.is_known(table)).filter(|_| reads);
        let back = before.is_some_and(|before| before.cut > cut);
        assert!(!back || !anew.is_empty(), "its cut is before that of the snapshot which it stands on");
        let before = before
            .filter(|_| anew.is_empty())
            .and_then(|night| night.tables[table].as_ref())
            .map(|table| &table.writes);
        let expected = expect(&self.cluster, table, trouble, cut, before);
        let stands_in = before.is_some();
        let layers: Vec<u64> = s.shard(&name).unwrap().layers.iter().map(|layer| layer.records).collect();
        self.count("a stand-in", stands_in);
        self.count("a layer", layers.len() > 1);
        self.count("six layers", layers.len() == 7);
        self.count("layers taken in", self.nights.last().is_some_and(|night| night.deep[table]) && layers.len() == 2);
        self.count("stored anew", !anew.is_empty());
        self.count("state passed over", !passed.is_empty());
        self.done.push(format!("  {name}: {layers:?} {anew:?} {passed:?}"));
        expected
    }

    fn back_up(&self, machine: Machine, trouble: &Trouble, more: &serde_json::Value) -> Done {
        let engine = ALL[0];
        let form = engine.sources().iter().find(|form| form.name == "cassandra").unwrap();
        let takes: Vec<&Param> = form.params().chain(backup::TAKES.params).collect();
        let given = (0..NODES).filter(|node| !trouble.away.contains(node));
        let node = |n: usize| format!("n{}@127.0.0.{}={}", n + 1, n + 1, self.cluster.node(n).display());
        let mut said = serde_json::json!({
            "cluster": "prod", "node": given.map(node).collect::<Vec<_>>(), "source-ring": self.dir.join("ring.txt"),
        });
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let params = Params::from_json(&takes, said.to_string().as_bytes()).unwrap();
        let watch = Arc::new(Watch::new());
        let env = Env {
            watch: &watch,
            state: Some(self.state(machine)),
            secret: &|_| unreachable!(),
            host: String::new(),
            stream: &|_| unreachable!(),
        };
        backup::run(&self.repo(machine), engine, form, &params, &env).unwrap()
    }

    fn forget(&mut self) {
        let all = self.nights.len() as u64;
        let wanted = 1 + self.dice().below(4);
        let mut forgotten = BTreeSet::new();
        for _ in 0..wanted.min(all) {
            let at = self.dice().below(all) as usize;
            forgotten.insert(self.nights[at].id);
        }
        self.done.push(format!("forgotten: {}", forgotten.len()));
        let repo = self.repo(Machine::First);
        repo.forget(&forgotten).unwrap();
        self.nights.retain(|night| !forgotten.contains(&night.id));
        if self.dice().one_in(2) {
            self.prune(&repo);
        }
    }

    fn prune(&mut self, repo: &Repo) {
        let limits = Limits::default();
        for _ in 0..2 {
            let options = prune::Options { grace_ms: 0, limits, dry_run: false };
            match prune::prune(repo, &options, &Watch::new()) {
                Ok(_) => self.done.push("pruned".to_owned()),
                // What is lost is no ground to delete on.
                Err(e) if self.lossy && oracle::is_loss(&e) => self.done.push(format!("not pruned: {e}")),
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// A pack is gone, which is found out at once, or by whom it may concern.
    fn lose(&mut self) {
        let mut packs = Vec::new();
        self.store
            .list("pack/", &mut |name, _| {
                packs.push(name.to_string());
                Ok(())
            })
            .unwrap();
        let Some(pack) = packs.get(self.dice().below(packs.len() as u64) as usize) else { return };
        self.store.delete(pack).unwrap();
        self.lossy = true;
        let declared = self.dice().one_in(2);
        self.done.push(format!("lost {pack}, declared {declared}"));
        if declared {
            self.verified(true);
        }
    }

    fn verified(&self, declare_lost: bool) -> (Checked, Vec<String>) {
        let watch = Watch::new();
        let options = check::Options { reads: Reads::All, declare_lost };
        let checked = check::check(&self.repo(Machine::First), ALL, options, &watch).unwrap();
        (checked, watch.problems().iter().map(|p| format!("{}: {}", p.subject, p.message)).collect())
    }

    /// What machines remember is lost, harmed, put back, or another's.
    fn harm_state(&mut self) {
        let machine = [Machine::First, Machine::Second, Machine::Writer][self.dice().below(3) as usize];
        let (state, kept) = (self.state(machine), self.dir.join("state-kept"));
        if !state.exists() {
            return;
        }
        let how = self.dice().below(6);
        self.done.push(format!("state of {machine:?}: {how}"));
        match how {
            0 => fs::remove_dir_all(&state).unwrap(),
            1 => copy(&state, &kept),
            2 if kept.exists() => copy(&kept, &state),
            3 => copy(&self.state(Machine::First), &state),
            _ => {
                for path in files_below(&state) {
                    let mut bytes = fs::read(&path).unwrap();
                    let at = self.dice().below(bytes.len() as u64) as usize;
                    match self.dice().below(4) {
                        // One of 16 bytes is the secret: another one, and nothing looks as it did.
                        0 if !bytes.is_empty() => bytes[at] ^= 0x10,
                        1 if bytes.len() != 16 => bytes.truncate(at),
                        _ => continue,
                    }
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
    }

    /// An administrator vouches for what the machine that only writes has stored.
    fn vouch(&mut self) {
        let repo = self.repo(Machine::First);
        let indexes: Vec<_> = repo.state().indexes().keys().copied().collect();
        let snapshots: BTreeSet<SnapshotId> = self.nights.iter().map(|night| night.id).collect();
        let snapshots: Vec<SnapshotId> = snapshots.into_iter().collect();
        repo.administer(&mut |_| Ok(Body::Vouch { indexes: indexes.clone(), snapshots: snapshots.clone() })).unwrap();
        self.nights.iter_mut().for_each(|night| night.vouched = true);
        self.done.push("vouched".to_owned());
    }

    /// Every snapshot that is there reads as the model says; what does not is told by a check, and was lost.
    fn check(&mut self) {
        let (checked, problems) = self.verified(false);
        assert!(self.lossy || problems.is_empty() && checked.harmed.is_empty(), "{problems:?} {:?}", checked.harmed);
        let repo = self.repo(Machine::First);
        let reader = repo.reader().unwrap();
        for night in &self.nights {
            let id = night.id.to_string();
            let harmed = |part: &str| {
                let is_of =
                    |of: &Option<String>| of.as_ref().is_none_or(|of| of.starts_with(part) || of == "patches of nodes");
                checked.harmed.iter().any(|harmed| harmed.snapshot == id && is_of(&harmed.part))
            };
            let s = snapshot::read(&repo, &night.id).unwrap();
            for (table, of) in TABLES.iter().enumerate() {
                let Some(wanted) = &night.tables[table] else { continue };
                let done = oracle::check(&s, table, &reader, wanted, &mut self.cluster.dice);
                let harmed = harmed(&of.full());
                match done {
                    Ok(()) => {}
                    Err(e) if harmed && oracle::is_loss(&e) => *self.counts.entry("lost and named").or_default() += 1,
                    Err(e) => panic!("{id}: {e}; harmed: {harmed}"),
                }
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from == to || !from.exists() {
        return;
    }
    let _ = fs::remove_dir_all(to);
    for file in files_below(from) {
        let path = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(&file, path).unwrap();
    }
}

#[test]
fn any_nights_read_as_the_model_says() {
    let (first, histories) = (number("ONEFOLD_FIRST", 0), number("ONEFOLD_NIGHTS", 30));
    let mut total: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in first..first + histories {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::new(dir.path(), seed);
        let ran = catch_unwind(AssertUnwindSafe(|| history.run()));
        ran.unwrap_or_else(|_| panic!("in history {seed}:\n{}", history.done.join("\n")));
        history.counts.iter().for_each(|(what, n)| *total.entry(what).or_default() += u64::from(*n > 0));
    }
    // Histories in which nothing happens prove nothing.
    for what in BUSY.into_iter().filter(|_| histories >= 30).chain(Some(RARE).filter(|_| histories >= 100)) {
        let n = total.get(what).copied().unwrap_or(0);
        assert!(n >= (histories / 50).max(1), "{what}: only in {n} of {histories} histories; {total:?}");
    }
}
