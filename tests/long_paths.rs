//! Paths that are longer than calls take, and than a snapshot can say.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use repo_format::leaf::VALUE_INLINE_MAX;
use repo_format::limits::PATH_MAX;
use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, open, openat};

use crate::user::User;

const NAME: usize = 255;

/// Folders in each other, of the longest names there are; in one of them, a file with two names. Gives how many have a path that fits.
fn deep(top: &std::path::Path) -> usize {
    fs::create_dir(top).unwrap();
    let (name, flags, mode) = ("d".repeat(NAME), OFlags::RDONLY | OFlags::DIRECTORY, Mode::from(0o755));
    let mut folder: OwnedFd = open(top, flags, Mode::empty()).unwrap();
    let key = |level: usize| top.as_os_str().as_bytes().len() + level * (NAME + 1);
    for level in 1..=PATH_MAX / NAME + 2 {
        mkdirat(&folder, &*name, mode).unwrap();
        folder = openat(&folder, &*name, flags, Mode::empty()).unwrap();
        if level == VALUE_INLINE_MAX / NAME + 2 {
            let file = openat(&folder, "a", OFlags::CREATE | OFlags::WRONLY, mode).unwrap();
            fs::File::from(file).write_all(&[7; 1000]).unwrap();
            linkat(&folder, "a", &folder, "b", AtFlags::empty()).unwrap();
        }
    }
    (1..).take_while(|level| key(*level) <= PATH_MAX).count()
}

#[test]
fn what_no_snapshot_can_say_is_named_and_the_rest_is_restored() {
    let user = User::new();
    let top = user.path("deep");
    let fit = deep(&top);
    let top = top.to_str().unwrap();
    let ran = user.run(&["backup", "files", top]);
    assert_eq!(ran.code, Some(3));
    assert!(["deeper, or has a longer name", "a file of its own"].iter().all(|word| ran.err.contains(word)));
    let listed = user.run(&["ls", &format!("latest:{top}"), "--recursive", "--json"]).fine();
    // The folder, those in it, and both names of the file.
    assert_eq!(listed.lines().filter(|line| line.contains("\"path\"")).count(), 1 + fit + 2);
    let out = user.path("out");
    // What the backup could not say is told again.
    let ran = user.run(&["restore", "latest", "--to", "files", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.code, Some(3));
    let found = Command::new("find").arg(&out).args(["-name", "[dab]*", "-printf", "x"]).output().unwrap();
    assert!(found.status.success());
    // `deep` too begins with a d.
    assert!(found.stdout.len() >= 1 + fit + 2, "{}", found.stdout.len());
}
