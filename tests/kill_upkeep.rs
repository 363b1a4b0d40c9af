//! Real kills: `prune`, `forget`, `maintain` and `repair` are killed 200 times at random moments. After each the repository opens and what
//! is to stay reads back; the next run that is let run completes; and in the end nothing is left that nobody needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use onefold::prune::{Options, prune};
use onefold::repo::prune::Limits;
use onefold::repo::{Repo, world};
use onefold::watch::Watch;
use repo_format::credential::Unlock;
use repo_format::id::SnapshotId;
use repo_format::keyfile::KeyFile;

use crate::dice::Dice;
use crate::every_state::nothing_is_left;
use crate::kill::{capture_in, leftovers, noise, place, reads_back, small_repository};
use crate::user::{User, files_below, nodes, ran, table_dir};

/// In each of the two tests.
const KILLS: u32 = 100;
/// Every so many runs, one is let run.
const ROUND: u32 = 8;
/// Bytes of a file that each backup has anew.
const NEW: usize = 1 << 20;
const MONTH_MS: i64 = 31 * 86_400_000;

/// A repository of one machine, and what the new file held in each snapshot that is to stay.
struct Site {
    user: User,
    key: KeyFile,
    dirs: Vec<PathBuf>,
    kept: BTreeMap<String, u32>,
    content: u32,
}

impl Site {
    fn new() -> Site {
        let user = User::new();
        let key = small_repository(&user);
        let dirs = capture_in(&user);
        Site { user, key, dirs, kept: BTreeMap::new(), content: 0 }
    }

    fn open(&self) -> Repo {
        Repo::open(place(&self.user), Unlock::KeyFile(&self.key), None).unwrap()
    }

    fn backup(&mut self) {
        self.content += 1;
        let new = table_dir(&self.dirs[0], "lab", "users").join("new");
        fs::write(new, noise(self.content, NEW)).unwrap();
        let mut command = self.user.command();
        let done = ran(command.args(["backup", "cassandra", "--cluster", "prod"]).args(nodes(&self.dirs)));
        assert_eq!(done.code, Some(0), "{done:?}");
        let id = self.open().find_snapshot("latest").unwrap().id.to_string();
        assert_eq!(self.kept.insert(id, self.content), None);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.user.command();
        command.args(args);
        command
    }

    /// One of the snapshots is to stay no longer: the oldest.
    fn let_go(&mut self) -> String {
        while self.kept.len() < 4 {
            (0..6).for_each(|_| self.backup());
        }
        let oldest = self.open().snapshots().into_iter().find(|info| self.kept.contains_key(&info.id.to_string()));
        let id = oldest.unwrap().id.to_string();
        self.kept.remove(&id);
        id
    }

    fn looks_right(&self, some: u32, context: &str) {
        let repo = self.open();
        let found: Vec<String> = repo.snapshots().iter().map(|info| info.id.to_string()).collect();
        assert!(self.kept.keys().all(|id| found.contains(id)), "{context}: a snapshot is gone");
        let (id, content) = self.kept.iter().nth(some as usize % self.kept.len()).unwrap();
        reads_back(&repo, id, *content, NEW);
    }

    /// A month later: all that is left is what the kept ones need.
    fn end(&self) {
        self.user.run(&["check", "--read-data"]).fine();
        world::shift(MONTH_MS);
        let cache = self.user.path("cache");
        let repo = Repo::open(place(&self.user), Unlock::KeyFile(&self.key), Some(&cache)).unwrap();
        let going = repo.snapshots().into_iter().map(|info| info.id);
        let going = going.filter(|id: &SnapshotId| !self.kept.contains_key(&id.to_string()));
        repo.forget(&going.collect()).unwrap();
        let all = Options { grace_ms: 0, limits: Limits { unused: 0.0, moved: u64::MAX }, dry_run: false };
        for _ in 0..3 {
            prune(&repo, &all, &Watch::new()).unwrap();
        }
        nothing_is_left(&repo, "a month after the last kill");
        world::shift(0);
        let repo = self.open();
        self.kept.iter().for_each(|(id, content)| reads_back(&repo, id, *content, NEW));
        self.user.run(&["check", "--read-data"]).fine();
        leftovers(&self.user.path("repo"));
    }
}

/// Runs commands that `next` gives, by the number of the run, kills most of them, and looks each time.
fn killed(site: &mut Site, next: &mut dyn FnMut(&mut Site, u32) -> Vec<String>) {
    let (mut killed, mut dice) = (0, Dice(7));
    let mut usual: BTreeMap<String, Duration> = BTreeMap::new();
    for run in 0.. {
        assert!(run < 4 * KILLS, "only {killed} of {run} were still at work");
        let args = next(site, run);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let context = format!("run {run}, {args:?}, {killed} kills");
        let well = args[0].to_owned();
        match usual.get(&well) {
            Some(usual) if run % ROUND != 0 => {
                let moment = usual.mul_f64(dice.below(1 << 24) as f64 / f64::from(1 << 24));
                let mut running = site.command(&args).spawn().unwrap();
                sleep(moment);
                running.kill().unwrap();
                killed += u32::from(running.wait().unwrap().code().is_none());
            }
            _ => {
                let started = Instant::now();
                let done = ran(&mut site.command(&args));
                assert_eq!(done.code, Some(0), "{context}: {done:?}");
                usual.insert(well, started.elapsed());
            }
        }
        if args[0] == "repair" {
            // What it had begun to mend can be read only once it is mended.
            let done = ran(&mut site.command(&args));
            assert_eq!(done.code, Some(0), "{context}: the next run: {done:?}");
        }
        site.looks_right(run, &context);
        if killed >= KILLS {
            break;
        }
    }
    site.end();
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_hundred_kills_of_prune_and_forget() {
    killed(&mut Site::new(), &mut |site, run| {
        let id = site.let_go();
        match run % 3 {
            0 => words(&format!("forget {id} --prune")),
            _ => {
                site.open().forget(&[site.open().find_snapshot(&id).unwrap().id].into()).unwrap();
                words("prune --grace 0s --max-unused 0%")
            }
        }
    });
}

#[test]
fn a_hundred_kills_of_maintain_and_repair() {
    killed(&mut Site::new(), &mut |site, run| {
        let id = site.let_go();
        site.open().forget(&[site.open().find_snapshot(&id).unwrap().id].into()).unwrap();
        match run % 3 {
            0 => {
                // What an index object says is in the packs, too.
                let indexes = files_below(&site.user.path("repo/index"));
                fs::remove_file(&indexes[run as usize % indexes.len()]).unwrap();
                words("repair --read-data")
            }
            _ => words("maintain --grace 0s --read-data-subset 20%"),
        }
    });
}
