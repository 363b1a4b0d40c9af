//! Backups and restores of files that are killed at random moments, and repeated. `ONEFOLD_KILLS` says how often.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Someone, differences, has, left_over, same, summary};
use crate::dice::{Dice, number};
use crate::kill::{noise, small_repository};
use crate::user::ran;

fn kills() -> u64 {
    number("ONEFOLD_KILLS", 20)
}

/// A tree that takes a while.
fn grown(someone: &Someone) {
    for n in 0..300 {
        someone.write(&format!("src/{}/{}/file {n}", n % 3, n % 7), &noise(n, (n as usize * 997) % 30_000));
    }
    for n in 0..6 {
        someone.write(&format!("src/large {n}"), &noise(1000 + n, 1 << 20));
        fs::hard_link(someone.path(&format!("src/large {n}")), someone.path(&format!("src/0/name {n}"))).unwrap();
    }
    fs::set_permissions(someone.path("src/1"), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
}

/// Lets a program run, or kills it at some moment of what it usually takes. Gives whether it was killed.
fn killed(command: &mut Command, usual: Duration, dice: &mut Dice) -> bool {
    let mut running = command.spawn().unwrap();
    sleep(usual.mul_f64(dice.below(1000) as f64 / 1000.0));
    running.kill().unwrap();
    running.wait().unwrap().code().is_none()
}

#[test]
fn restores_that_are_killed_go_on() {
    if !has("rsync", "restores_that_are_killed_go_on") {
        return;
    }
    let someone = Someone::new();
    grown(&someone);
    let src = someone.path("src");
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let started = Instant::now();
    assert_eq!(someone.restore("latest", &src, &someone.path("out"), &[]).code, Some(0));
    let usual = started.elapsed();
    same(&src, &someone.path("out"));
    let marks = rustix::fs::setxattr(&src, "user.any", b"", rustix::fs::XattrFlags::empty()).is_ok();
    if marks {
        rustix::fs::removexattr(&src, "user.any").unwrap();
    }
    let (mut dice, mut done, mut tries) = (Dice(3), 0, 0);
    while done < kills() {
        let out = someone.path("killed");
        let _ = ran(Command::new("rm").arg("-rf").arg(&out));
        let from = format!("latest:{}", src.display());
        // Several in a row, over what the others left.
        for _ in 0..=dice.below(3) {
            let mut restore = someone.command();
            restore.args(["restore", &from, "--target"]).arg(&out);
            done += u64::from(killed(&mut restore, usual, &mut dice));
            tries += 1;
            whole(&src, &out);
        }
        assert!(tries < 10 * kills() + 20, "only {done} of {tries} were still at work");
        let last = someone.restore("latest", &src, &out, &["--delete"]);
        assert_eq!(last.code, Some(0), "{last:?}");
        assert!(left_over(&out).is_empty(), "{:?}", left_over(&out));
        let said = differences(&src, &out);
        // Without attributes nothing tells that a killed restore made the folder itself, and that it may be set.
        assert!(said.lines().all(|line| !marks && line.starts_with(".d") && line.ends_with(" ./")), "{said}");
    }
}

/// What has its own name is whole.
fn whole(src: &Path, out: &Path) {
    if !out.exists() {
        return;
    }
    super::each(out, &mut |path| {
        let name = path.strip_prefix(out).unwrap();
        if path.is_file() && !path.ends_with(".onefold-restore.new") {
            assert!(fs::read(path).unwrap() == fs::read(src.join(name)).unwrap(), "{}", name.display());
        }
    });
}

#[test]
fn backups_that_are_killed_go_on() {
    if !has("rsync", "backups_that_are_killed_go_on") {
        return;
    }
    let someone = Someone::new();
    small_repository(&someone.user);
    grown(&someone);
    let src = someone.path("src");
    let started = Instant::now();
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let mut usual = started.elapsed();
    let (mut dice, mut done, mut tries, mut adopted) = (Dice(5), 0, 0, 0);
    let mut acknowledged = someone.user.snapshots();
    while done < kills() {
        for _ in 0..=dice.below(3) {
            someone.write(&format!("src/new {}", tries % 2), &noise(tries, 6 << 20));
            let mut backup = someone.command();
            backup.args(["backup", "files"]).arg(&src);
            done += u64::from(killed(&mut backup, usual, &mut dice));
            tries += 1;
        }
        assert!(u64::from(tries) < 10 * kills() + 20, "only {done} of {tries} were still at work");
        let started = Instant::now();
        let last = someone.backup(&src, &[]);
        // Not the first one, which stored everything.
        usual = usual.min(started.elapsed() * 2);
        assert_eq!(last.code, Some(0), "{last:?}");
        adopted += summary(&last)["stored"]["index_objects_adopted"].as_u64().unwrap();
        let there = someone.user.snapshots();
        assert!(acknowledged.iter().all(|id| there.contains(id)), "what was acknowledged is lost");
        acknowledged = there;
        let out = someone.path("out");
        let restored = someone.restore("latest", &src, &out, &["--delete"]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        let said = differences(&src, &out);
        assert!(said.lines().all(|line| line.starts_with(".d") && line.ends_with(" ./")), "{said}");
    }
    // Few kills may all come before anything was uploaded.
    assert!(adopted > 0 || kills() < 100, "what a killed backup uploaded is used again");
    someone.run(&["check", "--read-data"]).fine();
}
