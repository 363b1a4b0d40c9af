//! Restores onto file systems that keep less than that of the backup.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::grown::{Thing, What, acl, thing, try_grow};
use super::{Someone, has, is_root, left_out, summary};

/// Where times are kept by the second, names of one file are one all the same.
#[test]
fn names_are_one_file_where_times_are_coarse() {
    let test = "names_are_one_file_where_times_are_coarse";
    if !is_root() || !has("mkfs.ext4", test) {
        return left_out(test, "only root mounts");
    }
    let someone = Someone::new();
    let first = someone.write("src/a", b"several names");
    let (src, image, mounted) = (someone.path("src"), someone.path("image"), someone.path("mounted"));
    fs::hard_link(&first, src.join("b")).unwrap();
    std::os::unix::fs::symlink("nowhere", src.join("link")).unwrap();
    fs::hard_link(src.join("link"), src.join("other link")).unwrap();
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    File::create(&image).unwrap().set_len(16 << 20).unwrap();
    fs::create_dir(&mounted).unwrap();
    let ran = |program: &str, args: &[&Path]| {
        Command::new(program).args(args).output().is_ok_and(|done| done.status.success())
    };
    // Room for more than seconds is in larger inodes.
    let made =
        ran("mkfs.ext4", &["-q", "-F", "-I", "128"].map(Path::new).into_iter().chain([&*image]).collect::<Vec<_>>());
    if !made || !ran("mount", &[Path::new("-o"), Path::new("loop"), &image, &mounted]) {
        return left_out(test, "nothing can be mounted");
    }
    let out = mounted.join("out");
    let done = [0, 1].map(|_| someone.restore("latest", &src, &out, &["--verify"]).code);
    let numbers =
        ["a", "b", "link", "other link"].map(|name| out.join(name).symlink_metadata().map(|of| of.ino()).ok());
    assert!(ran("umount", &[&mounted]));
    assert_eq!(done, [Some(0); 2]);
    assert!(numbers[0].is_some() && numbers[2].is_some());
    assert_eq!((numbers[0], numbers[2]), (numbers[1], numbers[3]));
}

/// Without its list of access a file gives its group no more than with it.
#[test]
fn without_a_list_nobody_may_more() {
    let test = "without_a_list_nobody_may_more";
    let someone = Someone::new();
    let (src, out) = (someone.path("src"), someone.path("out"));
    let list = |path: &str, what| Thing {
        mode: 0o770,
        // The group may read and enter, the mask is for writing, too.
        attributes: vec![("system.posix_acl_access", acl(1000, 1001))],
        ..thing(path, what)
    };
    let things = [list("folder", What::Folder), list("pipe", What::Fifo), list("file", What::File(Vec::new()))];
    let mut refused = false;
    try_grow(&src, &things, &mut |_, _| refused = true).unwrap();
    fs::create_dir(&out).unwrap();
    let mounts = |program: &str, args: &[&str]| {
        Command::new(program).args(args).arg(&out).status().is_ok_and(|done| done.success())
    };
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    if refused || !is_root() || !mounts("mount", &["-t", "ramfs", "none"]) {
        return left_out(test, "there are no lists, or nothing can be mounted");
    }
    let done = someone.restore("latest", &src, &out, &[]);
    let modes =
        ["folder", "pipe", "file"].map(|name| out.join(name).symlink_metadata().map(|of| of.mode() & 0o7777).ok());
    assert!(mounts("umount", &[]));
    assert_eq!(modes, [Some(0o750); 3], "{done:?}");
    assert_eq!(summary(&done)["attributes_unset"], 3);
}
