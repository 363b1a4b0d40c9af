//! A tree with everything in it, there and back.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags, XattrFlags, lsetxattr, mkdirat, openat};

use super::grown::{grow, things};
use super::{Said, Someone, each, has, holes, is_root, left_out, left_over, same, summary};
use crate::kill::noise;
use crate::user::ran;

/// There, back, and once more over what is there by then.
fn there_and_back(someone: &Someone, src: &Path) {
    let done = someone.backup(src, &[]);
    assert_eq!((done.code, &*done.err), (Some(0), ""), "{done:?}");
    let out = someone.path("out");
    let restored = someone.restore("latest", src, &out, &["--verify"]);
    assert_eq!((restored.code, &*restored.err), (Some(0), ""), "{restored:?}");
    same(src, &out);
    assert!(left_over(&out).is_empty());

    let numbers = inodes(&out);
    for overwrite in ["always", "if-changed", "if-newer", "never"] {
        let again = someone.restore("latest", src, &out, &["--overwrite", overwrite, "--delete"]);
        assert_eq!(again.code, Some(0), "{again:?}");
        let summary = summary(&again);
        assert_eq!((&summary["written"], &summary["removed"]), (&0.into(), &0.into()), "{overwrite}: {summary}");
        assert!(numbers == inodes(&out), "{overwrite} wrote something anew");
    }
    same(src, &out);
}

/// Numbers of all there is, and of what is no folder when anything about it was changed.
fn inodes(out: &Path) -> Vec<(PathBuf, u64, String)> {
    let mut all = Vec::new();
    each(out, &mut |path| {
        let of = path.symlink_metadata().unwrap();
        let changed = if of.is_dir() { String::new() } else { format!("{}.{}", of.ctime(), of.ctime_nsec()) };
        all.push((path.to_owned(), of.ino(), changed));
    });
    all
}

#[test]
fn everything_comes_back_as_root() {
    let test = "everything_comes_back_as_root";
    if !is_root() {
        return left_out(test, "only root makes devices and gives files away");
    }
    if has("rsync", test) {
        let someone = Someone::new();
        grow(&someone.path("src"), &things(false));
        there_and_back(&someone, &someone.path("src"));
    }
}

#[test]
fn everything_comes_back_as_an_ordinary_user() {
    let test = "everything_comes_back_as_an_ordinary_user";
    if let Some(someone) = Someone::ordinary(test).filter(|_| has("rsync", test)) {
        grow(&someone.path("src"), &things(true));
        there_and_back(&someone, &someone.path("src"));
    }
}

/// What lies at a path of a snapshot of more, with names elsewhere.
#[test]
fn a_part_of_a_snapshot_comes_back() {
    if !has("rsync", "a_part_of_a_snapshot_comes_back") {
        return;
    }
    let someone = Someone::new();
    let src = someone.path("src");
    let first = someone.write("src/a/first", b"several names");
    fs::create_dir_all(src.join("b/c")).unwrap();
    for name in ["b/second", "b/c/third", "b/fourth"] {
        fs::hard_link(&first, src.join(name)).unwrap();
    }
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    for round in 0..2 {
        let out = someone.path("out");
        let done = someone.restore("latest", &src.join("b"), &out, &["--verify"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        same(&src.join("b"), &out);
        assert!(round == 0 || summary(&done)["written"] == 0, "{done:?}");
    }
    // The same where the first one is left out of the backup, and of the restore.
    assert_eq!(someone.backup(&src, &["--exclude", "first"]).code, Some(0));
    let out = someone.path("excluded");
    assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
    same(&src.join("b"), &out.join("b"));
    let out = someone.path("not restored");
    let before = someone.user.snapshots().remove(0);
    assert_eq!(someone.restore(&before, &src, &out, &["--exclude", "first"]).code, Some(0));
    same(&src.join("b"), &out.join("b"));
    let done = someone.restore(&before, &src, &out, &["--exclude", "first", "--verify"]);
    assert_eq!((done.code, &summary(&done)["written"]), (Some(0), &0.into()), "{done:?}");
    // A single file becomes a file in the folder.
    let out = someone.path("single");
    assert_eq!(someone.restore(&before, &src.join("b/c/third"), &out, &[]).code, Some(0));
    assert_eq!(fs::read(out.join("third")).unwrap(), b"several names");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

/// 1 TB, nearly all of it holes, which nobody reads.
#[test]
fn a_terabyte_of_holes_comes_back() {
    let someone = Someone::new();
    let path = someone.write("src/huge", b"");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(1 << 40).unwrap();
    for at in [0, 1 << 30, (1 << 40) - 4096] {
        file.write_all_at(&noise(1, 4096), at).unwrap();
    }
    let out = someone.path("out");
    assert_eq!(someone.backup(&someone.path("src"), &[]).code, Some(0));
    for _ in 0..2 {
        assert_eq!(someone.restore("latest", &someone.path("src"), &out, &["--verify"]).code, Some(0));
        let there = File::open(out.join("huge")).unwrap();
        assert_eq!((there.metadata().unwrap().len(), holes(&out.join("huge"))), (1 << 40, holes(&path)));
        for at in [0, 1 << 30, (1 << 40) - 4096] {
            let mut bytes = vec![0; 4096];
            there.read_exact_at(&mut bytes, at).unwrap();
            assert!(bytes == noise(1, 4096), "at {at}");
        }
    }
}

/// Holes of a file whose attributes fill blocks of their own.
#[test]
fn attributes_hide_no_hole() {
    let someone = Someone::new();
    let path = someone.write("src/holes", b"");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(8192).unwrap();
    file.write_all_at(&[1; 4096], 4096).unwrap();
    if let Err(e) = lsetxattr(&path, "user.large", &noise(2, 3000), XattrFlags::empty()) {
        return left_out("attributes_hide_no_hole", &format!("the file system takes no attributes: {e}"));
    }
    assert_eq!(someone.backup(&someone.path("src"), &[]).code, Some(0));
    assert_eq!(someone.restore("latest", &someone.path("src"), &someone.path("out"), &[]).code, Some(0));
    assert_eq!(holes(&someone.path("out/holes")), holes(&path));
}

/// Makes so many folders, one in the other, without a path to them, and a file in the last.
fn nested(at: &Path, name: &str, depth: usize) {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    fs::create_dir(at).unwrap();
    let mut folder = rustix::fs::open(at, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&folder, name, Mode::from_raw_mode(0o755)).unwrap();
        folder = openat(&folder, name, flags, Mode::empty()).unwrap();
    }
    let file = openat(&folder, "last", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(&file, b"so deep").unwrap();
}

/// What `find` says of all below a folder, and what the files hold.
fn found(at: &Path) -> String {
    let print = "%y %m %U %G %T@ %s %P\\n";
    let mut listed = Command::new("find");
    let listed = ran(listed.current_dir(at).args([
        ".",
        "-type",
        "d",
        "-printf",
        "d %m %U %G %T@ %P\\n",
        "-o",
        "-printf",
        print,
    ]));
    let mut read = Command::new("find");
    let read = ran(read.current_dir(at).args([".", "-type", "f", "-execdir", "cat", "{}", ";"]));
    assert!(listed.err.is_empty() && read.err.is_empty() && read.out.contains("so deep"), "{listed:?} {read:?}");
    listed.out + &read.out
}

#[test]
fn paths_longer_than_the_system_takes_come_back() {
    let someone = Someone::new();
    for (name, part, depth) in [("long", "y".repeat(255), 40), ("deep", "d".to_owned(), 3000)] {
        let (src, out) = (someone.path(name), someone.path(&format!("{name} out")));
        nested(&src, &part, depth);
        let done = someone.backup(&src, &[]);
        assert_eq!(done.code, Some(0), "{name}: {done:?}");
        let done = someone.restore("latest", &src, &out, &["--verify"]);
        assert_eq!(done.code, Some(0), "{name}: {done:?}");
        assert!(found(&src) == found(&out), "{name}");
        let again = someone.restore("latest", &src, &out, &["--delete"]);
        assert_eq!(summary(&again)["written"], 0, "{name}: {again:?}");
        // It goes as it came.
        fs::remove_dir_all(src.join(&part)).unwrap();
        fs::write(src.join("other"), b"").unwrap();
        assert_eq!(someone.backup(&src, &[]).code, Some(0));
        let done = someone.restore("latest", &src, &out, &["--delete"]);
        assert_eq!((done.code, &summary(&done)["removed"]), (Some(0), &1.into()), "{name}: {done:?}");
        assert!(!out.join(&part).exists(), "{name}");
    }
}

/// What is deeper than any record's key is said by name, and everything else is there.
#[test]
fn what_lies_deeper_than_a_snapshot_can_say_is_named() {
    let someone = Someone::new();
    let src = someone.path("src");
    nested(&src, &"y".repeat(255), 260);
    someone.write("src/zzz", b"behind it");
    let done = someone.backup(&src, &[]);
    done.said(3, &["yyy", "deep"]);
    let out = someone.path("out");
    let done = someone.restore("latest", &src, &out, &[]);
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    assert_eq!(fs::read(out.join("zzz")).unwrap(), b"behind it");
}

/// Names that are no text are found by what `ls` shows of them.
#[test]
fn odd_names_are_listed_and_found() {
    let someone = Someone::new();
    let odd: [&[u8]; 6] = [b"\xff\xfe", b"new\nline", b"back\\slash", b"a:", b"\\x41", b"...."];
    for name in odd {
        let path = someone.path("src").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    assert_eq!(someone.backup(&someone.path("src"), &[]).code, Some(0));
    let what = format!("latest:{}", someone.path("src").display());
    let listed = someone.run(&["ls", &what, "--json", "--recursive"]);
    let files: Vec<String> = listed
        .objects()
        .iter()
        .filter(|row| row["kind"] == "file")
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(files.len(), odd.len(), "{listed:?}");
    let mut held: Vec<Vec<u8>> = Vec::new();
    for path in files {
        let mut dump = someone.command();
        dump.args(["dump", &format!("latest:{path}")]).stdout(std::process::Stdio::piped());
        held.push(dump.output().unwrap().stdout);
        assert_eq!(someone.restore("latest", Path::new(&path), &someone.path("out"), &[]).code, Some(0), "{path}");
    }
    held.sort();
    let mut wanted: Vec<Vec<u8>> = odd.map(<[u8]>::to_vec).into();
    wanted.sort();
    assert_eq!(held, wanted);
    let mut there: Vec<Vec<u8>> = fs::read_dir(someone.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().to_vec())
        .collect();
    there.sort();
    assert_eq!(there, wanted);
}
