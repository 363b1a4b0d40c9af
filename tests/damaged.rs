//! Through the whole program: an object of a repository is deleted, emptied, cut, or has a bit flipped. `check` names it, the next backup
//! completes and is right, and then nothing is damaged any more, for the source still had it all. `ONEFOLD_DAMAGED=n` draws more cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::dice::{Dice, number};
use crate::kill::{capture_in, small_repository};
use crate::user::{Ran, User, capture, expected, files_below, nodes, ran};

const CASES: u64 = 40;

#[derive(Debug, Clone, Copy)]
enum Harm {
    Deleted,
    Emptied,
    /// To so many bytes of a thousand.
    Cut(u64),
    /// The bit at this place, modulo the length.
    Flipped(u64),
}

impl Harm {
    fn drawn(dice: &mut Dice) -> Harm {
        match dice.below(6) {
            0 => Harm::Deleted,
            1 => Harm::Emptied,
            2 => Harm::Cut(dice.below(1000)),
            _ => Harm::Flipped(dice.below(1 << 31)),
        }
    }

    /// The file is another afterwards: what is linked to it stays.
    fn befalls(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let length = bytes.len() as u64;
        match self {
            Harm::Deleted => return,
            Harm::Emptied => bytes.clear(),
            Harm::Cut(part) => bytes.truncate((length * part / 1000) as usize),
            Harm::Flipped(at) => bytes[(at / 8 % length) as usize] ^= 1 << (at % 8),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// A repository with two snapshots, two credentials and a forgotten snapshot, kept beside; and what was forgotten.
fn whole(user: &User, dirs: &[PathBuf]) -> (PathBuf, String) {
    for exclude in [&["--exclude", "lab.orders"][..], &["--exclude", "lab.users"], &[]] {
        user.backup(dirs, exclude).fine();
    }
    let first = user.snapshots().remove(0);
    user.run(&["forget", &first]).fine();
    let key = user.path("other.key");
    user.run(&["key", "add", "--role", "write", "--new-key-file", key.to_str().unwrap()]).fine();
    let kept = user.path("whole");
    fs::rename(user.path("repo"), &kept).unwrap();
    (kept, first)
}

/// The repository as it was, in files that are the same ones.
fn put_back(user: &User, whole: &Path) {
    let repo = user.path("repo");
    for gone in [&repo, &user.path("cache")] {
        if gone.exists() {
            fs::remove_dir_all(gone).unwrap();
        }
    }
    for file in files_below(whole) {
        let to = repo.join(file.strip_prefix(whole).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::hard_link(&file, to).unwrap();
    }
}

/// How many snapshots a check calls whole: all of them where nothing is damaged.
#[track_caller]
fn restorable(checked: &Ran) -> u32 {
    let says =
        if checked.out.contains("no damage found") { " snapshots, " } else { " snapshots can be restored whole" };
    let line = checked.out.lines().find(|line| line.contains(says)).unwrap_or_else(|| panic!("{checked:?}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

fn one(user: &User, dirs: &[PathBuf], whole: &Path, object: &str, harm: Harm) {
    let context = format!("{object} {harm:?}");
    put_back(user, whole);
    let path = user.path("repo").join(object);
    let before = fs::read(&path).unwrap();
    harm.befalls(&path);
    let checked = user.run(&["check", "--read-data"]);
    // What is stored twice may have been written again from its second copy when the repository was opened.
    let mended = fs::read(&path).is_ok_and(|bytes| bytes == before);
    let is_named = format!("{}{}", checked.out, checked.err).contains(object);
    assert!(mended || is_named, "{context}: {checked:?}");
    let only_saves_time = object.contains("checkpoint/");
    let says_damage = checked.code == Some(5) || (checked.code == Some(0) && (mended || only_saves_time));
    assert!(says_damage, "{context}: {checked:?}");

    let backup = ran(user.command().args(["backup", "cassandra", "--cluster", "prod"]).args(nodes(dirs)));
    assert_eq!(backup.code, Some(0), "{context}: {backup:?}");
    assert_eq!(user.rows("latest", "lab.users"), expected(&capture("cassandra-5.0"), "users"), "{context}");
    let again = user.run(&["check", "--read-data"]);
    // What is stored twice may be damaged under one of its names all the same: `recover` is for that. And of earlier snapshots that is
    // lost which the source no longer has.
    assert!(matches!(again.code, Some(0 | 5)), "{context}: {again:?}");
    let newest = user.snapshots().pop().unwrap();
    let is_harmed = again.out.contains(&format!("snapshot {}: ", &newest[..10]));
    assert!(!is_harmed && restorable(&again) > restorable(&checked), "{context}: {checked:?}, then {again:?}");
}

#[test]
fn whatever_is_damaged_is_named_and_comes_back() {
    let cases = number("ONEFOLD_DAMAGED", CASES);
    // Many are drawn side by side, in a repository for each processor.
    let sides = if cases > CASES { thread::available_parallelism().map_or(1, |n| n.get() as u64) } else { 1 };
    thread::scope(|scope| {
        for side in 0..sides {
            scope.spawn(move || some(Dice(5 + side), cases.div_ceil(sides)));
        }
    });
}

/// So many cases.
fn some(mut dice: Dice, cases: u64) {
    let user = User::new();
    small_repository(&user);
    let dirs = capture_in(&user);
    let (whole, forgotten) = whole(&user, &dirs);
    let names = files_below(&whole);
    let names: Vec<&str> = names.iter().map(|file| file.strip_prefix(&whole).unwrap().to_str().unwrap()).collect();
    // Nobody misses what was forgotten.
    let names: Vec<&str> = names.into_iter().filter(|name| !name.contains(&forgotten)).collect();
    let folder = |name: &str| name.rsplit_once('/').map_or(name, |(folder, _)| folder).to_owned();
    // Each folder once, and then any object.
    let mut covered = BTreeSet::new();
    let firsts: Vec<&str> = names.iter().copied().filter(|name| covered.insert(folder(name))).collect();
    assert!(firsts.len() >= 10, "{covered:?}");
    for case in 0..cases {
        let drawn = names[dice.below(names.len() as u64) as usize];
        let object = firsts.get(case as usize).copied().unwrap_or(drawn);
        one(&user, &dirs, &whole, object, Harm::drawn(&mut dice));
    }
}
