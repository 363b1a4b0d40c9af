//! Nights: what is there changes between backups, and every snapshot stays what was there then.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use serde_json::Value;

use super::{Said, Someone, differences, each, has, same, summary};
use crate::dice::{Dice, number};
use crate::kill::noise;
use crate::user::ran;

/// A file is trusted to show its changes when it was last changed so long ago.
const AGED: Duration = Duration::from_millis(3100);

/// Some name in the tree.
fn name(dice: &mut Dice, src: &Path) -> PathBuf {
    let mut path = src.to_owned();
    for _ in 0..=dice.below(2) {
        path.push(["a", "b", "c.txt", "d", "\u{e4}"][dice.below(5) as usize]);
    }
    path
}

fn remove(path: &Path) {
    match path.symlink_metadata() {
        Ok(of) if of.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Makes room for something of that name: what lies in the way goes.
fn room(path: &Path, src: &Path) {
    for above in path.ancestors().skip(1).take_while(|above| *above != src) {
        if above.symlink_metadata().is_ok_and(|of| !of.is_dir()) {
            fs::remove_file(above).unwrap();
        }
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    remove(path);
}

/// One change.
fn change(dice: &mut Dice, src: &Path) {
    let path = name(dice, src);
    let is_file = path.symlink_metadata().is_ok_and(|of| of.is_file());
    match dice.below(10) {
        0 | 1 => {
            room(&path, src);
            let seed = dice.below(1 << 20) as u32;
            fs::write(&path, noise(seed, [0, 5, 300, 70_000, 400_000][dice.below(5) as usize])).unwrap();
        }
        2 => remove(&path),
        3 => {
            let to = name(dice, src);
            if path.symlink_metadata().is_ok() && !to.starts_with(&path) && !path.starts_with(&to) {
                room(&to, src);
                // What lay in the way may have been what was to be moved.
                let _ = fs::rename(&path, &to);
            }
        }
        4 if is_file => {
            // In place, of the same length, and its time put back.
            let time = fs::metadata(&path).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes.iter_mut().for_each(|b| *b ^= 0x55);
            fs::write(&path, bytes).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(time.modified().unwrap()).unwrap();
        }
        5 if is_file => File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
        6 if path.symlink_metadata().is_ok_and(|of| !of.is_symlink()) => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700 | dice.below(0o100) as u32)).unwrap();
        }
        7 if is_file => {
            let to = name(dice, src);
            if !to.starts_with(&path) && !path.starts_with(&to) {
                room(&to, src);
                let _ = fs::hard_link(&path, &to);
            }
        }
        8 => {
            room(&path, src);
            symlink(format!("target {}", dice.below(3)), &path).unwrap();
        }
        9 => {
            room(&path, src);
            fs::create_dir(&path).unwrap();
        }
        _ => {}
    }
}

/// What is true of every path, but for what belongs to one machine.
fn said(src: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    each(src, &mut |path| {
        let of = path.symlink_metadata().unwrap();
        let content = match (of.is_file(), of.is_symlink()) {
            (true, _) => blake3::hash(&fs::read(path).unwrap()).to_string(),
            (_, true) => fs::read_link(path).unwrap().display().to_string(),
            _ => String::new(),
        };
        let said = format!("{:o} {}.{} {content}", of.mode(), of.mtime(), of.mtime_nsec());
        all.insert(path.to_owned(), said);
    });
    all
}

/// Paths that `diff` names, by what it says of them.
fn diff(someone: &Someone, before: &str, after: &str) -> BTreeMap<PathBuf, String> {
    let rows = someone.run(&["diff", before, after, "--json"]).objects();
    let rows = rows.iter().filter(|row| row["message_type"] == "row");
    let columns = |row: &Value| row["columns"].as_array().map(Vec::len);
    let one = |row: &Value| {
        let path = PathBuf::from(OsStr::from_bytes(row["key"]["path"].as_str().unwrap().as_bytes()));
        let is_other_name = row["what"] == "changed" && columns(row) == Some(1) && row["columns"][0] == "target";
        (path, if is_other_name { "name".to_owned() } else { row["what"].as_str().unwrap().to_owned() })
    };
    rows.map(one).collect()
}

/// Compares what `diff` says with what two states of the tree were.
fn diff_is_right(
    someone: &Someone,
    (before, then): (&str, &BTreeMap<PathBuf, String>),
    (after, now): (&str, &BTreeMap<PathBuf, String>),
) {
    let mut said = diff(someone, before, after);
    // Which of its names is the first may change of a file that does not.
    said.retain(|_, what| what != "name");
    let mut wanted = BTreeMap::new();
    for path in then.keys().chain(now.keys()) {
        let what = match (then.get(path), now.get(path)) {
            (None, _) => "added",
            (_, None) => "deleted",
            (one, other) if one != other => "changed",
            _ => continue,
        };
        wanted.insert(path.clone(), what.to_owned());
    }
    said.retain(|path, _| path.starts_with(someone.path("src")));
    assert_eq!(said, wanted);
}

fn copied(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// What becomes of what the machine remembers.
fn state(dice: &mut Dice, someone: &Someone) {
    let state = someone.path("state");
    match dice.below(4) {
        0 => drop(fs::remove_dir_all(&state)),
        1 if state.exists() => {
            for file in crate::user::files_below(&state) {
                let mut bytes = fs::read(&file).unwrap();
                let at = dice.below(bytes.len() as u64) as usize;
                match dice.below(3) {
                    0 => bytes.truncate(at),
                    1 => bytes.clear(),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 0xff),
                }
                fs::write(&file, bytes).unwrap();
            }
        }
        _ => {}
    }
}

#[test]
fn every_night_is_what_was_there() {
    if !has("rsync", "every_night_is_what_was_there") {
        return;
    }
    let first = number("ONEFOLD_FIRST", 1);
    for seed in first..first + number("ONEFOLD_NIGHTS", 30).div_ceil(10) {
        let mut dice = Dice(seed);
        let someone = Someone::new();
        let src = someone.path("src");
        fs::create_dir(&src).unwrap();
        someone.write("src/stays", b"there is always something");
        let mut before = BTreeMap::new();
        for night in 0..6 {
            (0..dice.below(12)).for_each(|_| change(&mut dice, &src));
            // So that some are trusted, and others are too young to be.
            if dice.one_in(2) {
                sleep(AGED);
            }
            state(&mut dice, &someone);
            copied(&src, &someone.path(&format!("model {night}")));
            let done = someone.backup(&src, &[]);
            assert_eq!(done.code, Some(0), "seed {seed}, night {night}: {done:?}");
            let ids = someone.user.snapshots();
            for (n, id) in ids.iter().enumerate() {
                let out = someone.path("out");
                let _ = fs::remove_dir_all(&out);
                assert_eq!(someone.restore(id, &src, &out, &["--verify"]).code, Some(0), "seed {seed}");
                let said = differences(&someone.path(&format!("model {n}")), &out);
                assert!(said.is_empty(), "seed {seed}, night {n} after {night}:\n{said}");
            }
            let now = said(&src);
            if night > 0 {
                diff_is_right(&someone, (&ids[night - 1], &before), (&ids[night], &now));
            }
            before = now;
        }
        someone.run(&["check", "--read-data"]).fine();
    }
}

/// Bytes that a backup read and gave to be stored.
fn read(done: &crate::user::Ran) -> u64 {
    assert_eq!(done.code, Some(0), "{done:?}");
    summary(done)["stored"]["bytes"].as_u64().unwrap()
}

#[test]
fn what_did_not_change_is_not_read() {
    const LARGE: u64 = 5 << 20;
    let someone = Someone::new();
    let path = someone.write("src/large", &noise(1, LARGE as usize));
    fs::hard_link(&path, someone.path("src/second name")).unwrap();
    someone.write("src/small", b"x");
    let src = someone.path("src");
    sleep(AGED);
    let again = |more: &[&str]| read(&someone.backup(&src, more));
    assert!(again(&[]) >= LARGE);
    // The folder in which all of this lies changes: that is a record.
    assert!(again(&[]) < 1000, "nothing changed");
    // Whatever shows a change makes it be read.
    let was = fs::metadata(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(again(&[]) >= LARGE, "the time of change of status");
    sleep(AGED);
    assert!(again(&[]) >= LARGE, "it was too young to be trusted");
    assert!(again(&[]) < 1000);
    // What belongs to one machine may be passed over.
    fs::set_permissions(&path, was.permissions()).unwrap();
    sleep(AGED);
    read(&someone.backup(&src, &[]));
    copied(&src, &someone.path("copy"));
    fs::rename(&src, someone.path("old")).unwrap();
    fs::rename(someone.path("copy"), &src).unwrap();
    sleep(AGED);
    assert!(again(&["--ignore-ctime", "--ignore-inode"]) < LARGE);
    someone.run(&["check"]).fine();
    // Owners are not of one machine.
    if super::is_root() {
        std::os::unix::fs::chown(&path, Some(7), None).unwrap();
        read(&someone.backup(&src, &["--ignore-ctime", "--ignore-inode"]));
        let out = someone.path("out");
        assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
        same(&src, &out);
    }
}

/// What a rule leaves out tonight is left out though it is remembered, and what no rule leaves out any more is there.
#[test]
fn rules_that_change_are_followed() {
    let someone = Someone::new();
    someone.write("src/large", &noise(1, 100_000));
    someone.write("src/small", b"x");
    let src = someone.path("src");
    sleep(AGED);
    for (night, rules) in
        [&[][..], &["--exclude-larger-than", "10K"], &[], &["--exclude", "large"], &[]].iter().enumerate()
    {
        assert_eq!(someone.backup(&src, rules).code, Some(0));
        let out = someone.path(&format!("out {night}"));
        assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
        assert_eq!(out.join("large").exists(), rules.is_empty(), "night {night}");
        assert!(out.join("small").exists());
    }
}

/// Files that come, go, grow and shrink while they are read: the backup says so and ends, and what stayed is right.
#[test]
fn what_changes_meanwhile_is_said() {
    let someone = Someone::new();
    for n in 0..200 {
        someone.write(&format!("src/{}/stays {n}", n % 5), &noise(n, 3000));
    }
    let (src, busy) = (someone.path("src"), AtomicBool::new(true));
    let stir = || {
        let mut dice = Dice(7);
        while busy.load(Ordering::Relaxed) {
            let path = src.join(format!("{}/moves {}", dice.below(5), dice.below(20)));
            match dice.below(4) {
                0 => drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path))),
                1 => drop(fs::create_dir(&path).and_then(|()| fs::write(path.join("in it"), b"x"))),
                2 => drop(fs::write(&path, noise(1, dice.below(300_000) as usize))),
                _ => drop(File::options().write(true).open(&path).and_then(|file| file.set_len(dice.below(100_000)))),
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(stir);
        for _ in 0..8 {
            let done = someone.backup(&src, &[]);
            let gap = done.objects().iter().any(|object| object["message_type"] != "summary");
            assert!(matches!((done.code, gap), (Some(0), false) | (Some(3 | 4), true)), "{done:?}");
        }
        busy.store(false, Ordering::Relaxed);
    });
    for (n, id) in someone.user.snapshots().iter().enumerate() {
        let out = someone.path(&format!("out {n}"));
        let done = someone.restore(id, &src, &out, &["--verify"]);
        // A folder that came while the walk went by is in the snapshot as one that was not read.
        assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
        for n in 0..200 {
            assert!(fs::read(out.join(format!("{}/stays {n}", n % 5))).unwrap() == noise(n, 3000));
        }
    }
    let done = someone.backup(&src, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(someone.restore("latest", &src, &someone.path("last"), &[]).code, Some(0));
    same(&src, &someone.path("last"));
}

/// What two machines have alike is one tree, and other rights do not change what is remembered of contents.
#[test]
fn equal_trees_of_two_hosts_are_one() {
    let someone = Someone::new();
    someone.write("src/file", &noise(1, 100_000));
    let src = someone.path("src");
    let first = someone.backup(&src, &["--host", "one"]);
    let again = someone.backup(&src, &["--host", "two"]);
    assert_eq!((first.code, again.code), (Some(0), Some(0)));
    assert_eq!(summary(&again)["stored"]["bytes_new"], 0, "{again:?}");
    let mut moved =
        ran(someone.command().args(["backup", "files", "--json", "--host", "three"]).arg(&src).arg("--whole"));
    assert_eq!(summary(&moved)["stored"]["bytes_new"], 0, "{moved:?}");
    moved.err.clear();
    moved.said(0, &[]);
}

/// Also of what is no file a time that is younger than the backup is not believed.
#[test]
fn a_young_link_is_read_again() {
    let someone = Someone::new();
    let (src, link) = (someone.path("src"), someone.path("src/link"));
    fs::create_dir(&src).unwrap();
    for target in ["a", "b"] {
        drop(fs::remove_file(&link));
        symlink(target, &link).unwrap();
        let time = rustix::fs::Timespec { tv_sec: 4_000_000_000, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, &link, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(someone.backup(&src, &["--ignore-ctime", "--ignore-inode"]).code, Some(0));
        let out = someone.path(target);
        assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
        assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new(target));
    }
}
