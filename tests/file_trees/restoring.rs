//! Restores into folders that hold something already.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Said, Someone, each, has, left_over, same, summary};
use crate::kill::noise;

/// Names below a folder, and what the files hold.
fn held(at: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    each(at, &mut |path| {
        let of = path.symlink_metadata().unwrap();
        let bytes = match (of.is_file(), of.is_symlink()) {
            (true, _) => fs::read(path).unwrap(),
            (_, true) => fs::read_link(path).unwrap().into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        all.push((path.strip_prefix(at).unwrap().to_owned(), bytes));
    });
    all.sort();
    all
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

const THEN: u64 = 1_600_000_000;

/// A backed-up folder of files from back then.
fn backed_up(someone: &Someone) -> PathBuf {
    for name in ["same", "changed", "older", "newer", "sub/gone", "sub/kept", "new", "was a folder", "folder/in it"] {
        let path = someone.write(&format!("src/{name}"), format!("as it was: {name}").as_bytes());
        set_time(&path, THEN);
    }
    let src = someone.path("src");
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    src
}

/// A folder in which much is otherwise than it was.
fn changed(someone: &Someone, name: &str) -> PathBuf {
    let out = someone.path(name);
    let put = |file: &str, bytes: &str, time: u64| {
        let path = someone.write(&format!("{name}/{file}"), bytes.as_bytes());
        set_time(&path, time);
    };
    put("same", "as it was: same", THEN);
    // Of the same length and time.
    put("changed", "as it WAS: changed", THEN);
    put("older", "from before", THEN - 5);
    put("newer", "from afterwards", THEN + 5);
    put("sub/kept", "as it was: kept", THEN);
    put("sub/extra", "is in no snapshot", THEN);
    put("extra/deep/er", "is in no snapshot", THEN);
    out
}

#[test]
fn what_is_there_is_overwritten_as_it_was_asked() {
    let someone = Someone::new();
    let src = backed_up(&someone);
    let was = |name: &str| format!("as it was: {name}").into_bytes();
    let cases = [
        ("always", was("changed"), was("older"), was("newer")),
        ("if-changed", b"as it WAS: changed".to_vec(), was("older"), was("newer")),
        ("if-newer", was("changed"), was("older"), b"from afterwards".to_vec()),
        ("never", b"as it WAS: changed".to_vec(), b"from before".to_vec(), b"from afterwards".to_vec()),
    ];
    for (overwrite, changed_one, older, newer) in cases {
        let out = changed(&someone, overwrite);
        let same_one = fs::metadata(out.join("same")).unwrap().ino();
        let before = held(&out);
        let tried = someone.restore("latest", &src, &out, &["--overwrite", overwrite, "--dry-run", "--delete"]);
        assert_eq!((tried.code, held(&out) == before), (Some(0), true), "{tried:?}");
        let done = someone.restore("latest", &src, &out, &["--overwrite", overwrite]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let read = |name: &str| fs::read(out.join(name)).unwrap();
        assert_eq!((read("changed"), read("older"), read("newer")), (changed_one, older, newer), "{overwrite}");
        assert_eq!(read("new"), was("new"));
        assert_eq!(read("sub/extra"), b"is in no snapshot");
        assert_eq!(fs::metadata(out.join("same")).unwrap().ino(), same_one, "{overwrite}");
        // A dry run says what is done.
        let (tried, done) = (summary(&tried), summary(&done));
        assert_eq!((&tried["written"], &tried["bytes"]), (&done["written"], &done["bytes"]), "{overwrite}");
        assert_eq!((&tried["removed"], &done["removed"]), (&2.into(), &0.into()), "{overwrite}");
    }
}

/// Other kinds of things lie in the way.
#[test]
fn what_lies_in_the_way_is_replaced_or_stays() {
    let someone = Someone::new();
    let src = backed_up(&someone);
    let in_the_way = |name: &str| {
        someone.write(&format!("{name}/was a folder/file"), b"in a folder");
        let file = someone.write(&format!("{name}/folder"), b"a file");
        set_time(&file, 4_000_000_000);
        someone.path(name)
    };
    // Nothing is taken away with all that lies in it unless that is asked for.
    let out = in_the_way("one");
    someone.restore("latest", &src, &out, &[]).said(3, &["was a folder", "--delete"]);
    assert_eq!(fs::read(out.join("was a folder/file")).unwrap(), b"in a folder");
    assert_eq!(fs::read(out.join("new")).unwrap(), b"as it was: new");
    let done = someone.restore("latest", &src, &out, &["--delete"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(held(&src), held(&out));
    // What stays is named, and everything else is restored.
    for overwrite in ["never", "if-newer"] {
        let out = in_the_way(overwrite);
        let done = someone.restore("latest", &src, &out, &["--overwrite", overwrite]);
        done.said(3, &["/folder"]);
        assert_eq!(fs::read(out.join("folder")).unwrap(), b"a file", "{overwrite}");
        assert_eq!(fs::read(out.join("new")).unwrap(), b"as it was: new", "{overwrite}");
        assert_eq!(fs::read(out.join("sub/gone")).unwrap(), b"as it was: sub/gone", "{overwrite}");
    }
}

#[test]
fn what_is_in_no_snapshot_is_taken_away_where_that_is_asked_for() {
    let someone = Someone::new();
    let src = backed_up(&someone);
    let out = changed(&someone, "out");
    let done = someone.restore("latest", &src, &out, &["--delete"]);
    assert_eq!((done.code, &summary(&done)["removed"]), (Some(0), &2.into()), "{done:?}");
    assert_eq!(held(&src), held(&out));
    // What is not meant is not looked at.
    let out = changed(&someone, "part");
    someone.write("part/sub/local.log", b"stays");
    let beside = format!("{}/extra", src.display());
    let done = someone.restore("latest", &src, &out, &["--delete", "--exclude", "*.log", "--exclude", &beside]);
    assert_eq!((done.code, &summary(&done)["removed"]), (Some(0), &1.into()), "{done:?}");
    assert!(out.join("sub/local.log").exists() && out.join("extra/deep/er").exists());
    assert!(!out.join("sub/extra").exists());
    let out = changed(&someone, "included");
    let done = someone.restore("latest", &src, &out, &["--delete", "--include", "sub"]);
    assert_eq!((done.code, &summary(&done)["removed"]), (Some(0), &1.into()), "{done:?}");
    assert!(out.join("extra/deep/er").exists() && !out.join("sub/extra").exists());
    assert!(!out.join("new").exists() && out.join("sub/gone").exists());
}

/// Nothing is known of what lay beside the paths of a backup, nor of what it left out.
#[test]
fn what_the_backup_did_not_see_is_not_taken_away() {
    let someone = Someone::new();
    someone.write("src/wanted/file", b"x");
    someone.write("src/beside/file", b"x");
    someone.write("src/wanted/sub/file", b"x");
    someone.write("src/wanted/sub/file.tmp", b"x");
    someone.write("src/wanted/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    someone.write("src/wanted/cache/large", b"x");
    let src = someone.path("src");
    let wanted = src.join("wanted");
    assert_eq!(someone.backup(&wanted, &["--exclude", "*.tmp", "--exclude-caches"]).code, Some(0));
    for file in ["src/new beside", "src/beside/new", "src/wanted/sub/new.tmp", "src/wanted/cache/new", "elsewhere"] {
        someone.write(file, b"x");
    }
    someone.write("src/wanted/new", b"goes");
    let before = held(&src);
    // As if the machine itself were restored: `/` is the target, in a folder that stands for it.
    let root = someone.path("root");
    let there = root.join(src.strip_prefix("/").unwrap());
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    fs::rename(&src, &there).unwrap();
    fs::write(root.join("other"), b"of another place").unwrap();
    let done = someone.command().args(["restore", "latest", "--delete", "--target"]).arg(&root).status().unwrap();
    assert_eq!(done.code(), Some(0));
    assert_eq!(fs::read(root.join("other")).unwrap(), b"of another place");
    let after = held(&there);
    let gone: Vec<_> =
        before.iter().filter(|one| !after.contains(one)).map(|one| one.0.display().to_string()).collect();
    assert_eq!(gone, ["wanted/new"]);
}

/// A folder that could not be read: what lies in it now may be what lay in it then.
#[test]
fn what_could_not_be_read_is_not_taken_away() {
    let Some(someone) = Someone::ordinary("what_could_not_be_read_is_not_taken_away") else { return };
    let file = someone.write("src/closed/file", b"x");
    someone.write("src/closed/sub/file", b"x");
    someone.write("src/open", b"x");
    let src = someone.path("src");
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let closed = file.parent().unwrap();
    fs::set_permissions(closed, fs::Permissions::from_mode(0o000)).unwrap();
    someone.backup(&src, &[]).said(3, &["closed"]);
    fs::set_permissions(closed, fs::Permissions::from_mode(0o755)).unwrap();
    someone.write("src/closed/new", b"x");
    someone.write("src/closed/sub/new", b"x");
    someone.write("src/new", b"x");
    let done = someone.restore("latest", &src, &src, &["--delete"]);
    done.said(3, &["closed", "not read"]);
    assert_eq!(summary(&done)["removed"], 1, "{done:?}");
    assert!(src.join("closed/new").exists() && src.join("closed/sub/new").exists() && !src.join("new").exists());
    assert!(src.join("closed/sub/file").exists() && src.join("closed/file").exists());
}

#[test]
fn a_changed_byte_is_noticed_and_mended() {
    if !has("rsync", "a_changed_byte_is_noticed_and_mended") {
        return;
    }
    let someone = Someone::new();
    let path = someone.write("src/large", &noise(1, 3 << 20));
    let holes = someone.write("src/holes", b"");
    let sparse = File::options().write(true).open(&holes).unwrap();
    sparse.set_len(1 << 20).unwrap();
    sparse.write_all_at(&noise(2, 4096), 512 << 10).unwrap();
    someone.write("src/few", b"bytes");
    [&path, &holes].into_iter().for_each(|path| set_time(path, THEN));
    let (src, out) = (someone.path("src"), someone.path("out"));
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
    for (name, at) in [("large", 0), ("large", (3 << 20) - 1), ("holes", 7), ("holes", 513 << 10), ("few", 2)] {
        let path = out.join(name);
        let (file, time) = (File::options().read(true).write(true).open(&path).unwrap(), fs::metadata(&path).unwrap());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        file.set_modified(time.modified().unwrap()).unwrap();
        drop(file);
        // Size and time are as they were: only whoever reads it notices.
        let quick = ["--overwrite", "if-changed", "--verify"];
        someone.restore("latest", &src, &out, &quick).said(5, &["read otherwise"]);
        let done = someone.restore("latest", &src, &out, &["--verify"]);
        assert_eq!((done.code, &summary(&done)["written"]), (Some(0), &1.into()), "{name} {at}: {done:?}");
        same(&src, &out);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let someone = Someone::new();
    let src = backed_up(&someone);
    let done = someone.restore("latest", &src, &someone.path("not there"), &["--dry-run", "--verify"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!someone.path("not there").exists());
    // 9 files, the folders `sub` and `folder`.
    assert_eq!((&summary(&done)["entries"], &summary(&done)["written"]), (&11.into(), &11.into()), "{done:?}");
    let real = someone.restore("latest", &src, &someone.path("there"), &[]);
    assert_eq!(summary(&real)["bytes"], summary(&done)["bytes"]);
    // Of a backup, too.
    let before = someone.user.stored();
    someone.write("src/new", b"other bytes");
    let done = someone.backup(&src, &["--dry-run"]);
    assert_eq!((done.code, someone.user.stored()), (Some(0), before), "{done:?}");
    assert_eq!(someone.user.snapshots().len(), 1);
}

/// What lies in the way of a name that restores use themselves.
#[test]
fn a_name_that_restores_use_is_not_lost_silently() {
    let someone = Someone::new();
    for name in [".onefold-restore.new", "a", "z", "folder/.onefold-restore.new/file", "folder/z"] {
        someone.write(&format!("src/{name}"), name.as_bytes());
    }
    let (src, out) = (someone.path("src"), someone.path("out"));
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let done = someone.restore("latest", &src, &out, &[]);
    let is_whole = held(&src) == held(&out);
    assert!(is_whole || (done.code == Some(3) && done.err.contains(".onefold-restore.new")), "{done:?}");
    assert_eq!(fs::read(out.join("z")).unwrap(), b"z");
    assert_eq!(fs::read(out.join("folder/z")).unwrap(), b"folder/z");
}

/// Attributes that do not fit where they are restored to are said; everything else is restored.
#[test]
fn attributes_that_do_not_fit_are_counted() {
    let test = "attributes_that_do_not_fit_are_counted";
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return super::left_out(test, "there is no /dev/shm") };
    let someone = Someone::new();
    let src = memory.path().join("src");
    fs::create_dir_all(src.join("folder")).unwrap();
    for name in ["file", "folder", "folder/file"] {
        let path = src.join(name);
        if !path.exists() {
            fs::write(&path, name).unwrap();
        }
        if let Err(e) = rustix::fs::lsetxattr(&path, "user.large", &noise(1, 60_000), rustix::fs::XattrFlags::empty()) {
            return super::left_out(test, &format!("/dev/shm takes no large attributes: {e}"));
        }
    }
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let there = memory.path().join("out");
    assert_eq!(someone.restore("latest", &src, &there, &["--verify"]).code, Some(0));
    same(&src, &there);
    let out = someone.path("out");
    let done = someone.restore("latest", &src, &out, &[]);
    assert_eq!(fs::read(out.join("folder/file")).unwrap(), b"folder/file");
    assert!(
        super::attributes(&out.join("file")).len() + summary(&done)["attributes_unset"].as_u64().unwrap() as usize > 0
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(left_over(&out).is_empty());
}

/// What root backed up, an ordinary user restores as far as he may, and is told what not.
#[test]
fn a_user_restores_what_root_backed_up() {
    let test = "a_user_restores_what_root_backed_up";
    let Some(someone) = Someone::ordinary(test).filter(|_| super::is_root()) else {
        return super::left_out(test, "only root makes what only root may make");
    };
    super::grown::grow(&someone.path("src"), &super::grown::things(false));
    let src = someone.path("src");
    let mut backup = someone.user.command();
    backup.args(["backup", "files"]).arg(&src);
    assert_eq!(crate::user::ran(&mut backup).code, Some(0));
    super::each(&someone.path("repo"), &mut |path| std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap());
    let _ = fs::remove_dir_all(someone.path("cache"));
    let _ = fs::remove_dir_all(someone.path("state"));
    let out = someone.path("out");
    let done = someone.restore("latest", &src, &out, &[]);
    done.said(3, &["only root makes devices", "only root gives files away", "attributes"]);
    let count = |at: &Path| {
        let mut count = 0;
        each(at, &mut |path| count += u32::from(path.symlink_metadata().unwrap().len() < u64::MAX));
        count
    };
    assert_eq!(count(&out) + 3, count(&src), "all but three devices");
    assert_eq!(fs::read(out.join("attributes/trusted")).unwrap(), b"x");
    // He may do it again, and it is no damage that he is who he is.
    let again = someone.restore("latest", &src, &out, &["--verify"]);
    assert_eq!(again.code, Some(3), "{}", again.err);
    assert!(left_over(&out).is_empty());
}

/// Only root gives a file away, but its owner may put it into a group that he is of.
#[test]
fn a_user_gives_files_to_his_groups() {
    const HIS: u32 = 4242;
    const OTHERS: u32 = 4243;
    let test = "a_user_gives_files_to_his_groups";
    let Some(someone) = Someone::ordinary(test).filter(|_| super::is_root()) else {
        return super::left_out(test, "only root makes what belongs to several");
    };
    let src = someone.path("src");
    for (name, group) in [("his", HIS), ("others", OTHERS)] {
        let file = someone.write(&format!("src/{name}"), name.as_bytes());
        std::os::unix::fs::lchown(file, Some(65534), Some(group)).unwrap();
    }
    std::os::unix::fs::symlink("his", src.join("link")).unwrap();
    std::os::unix::fs::lchown(src.join("link"), Some(0), Some(HIS)).unwrap();
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let what = format!("latest:{}", src.to_str().unwrap());
    let out = someone.path("out");
    let groups = || ["his", "others", "link"].map(|name| out.join(name).symlink_metadata().unwrap().gid());
    let restore = |more: &[&str]| {
        let mut command = someone.command_in(&["--groups", "4242"], env!("CARGO_BIN_EXE_onefold"));
        crate::user::ran(command.args(["restore", "--json", &what, "--target"]).arg(&out).args(more))
    };
    restore(&[]).said(0, &["2 could not be set: only root gives files away"]);
    assert_eq!(groups(), [HIS, 65534, HIS]);
    // What can be given is, where it is there already; what cannot is no reason to set it again.
    std::os::unix::fs::lchown(out.join("his"), Some(65534), Some(65534)).unwrap();
    assert_eq!(summary(&restore(&[]))["written"], 1);
    assert_eq!(groups(), [HIS, 65534, HIS]);
}

/// Unmounts what was mounted here.
struct Unmounted(PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// No link leads from one mount into another: such a name has a file of its own, which is said, and is no damage.
#[test]
fn hard_links_that_cannot_be_made_are_said() {
    let test = "hard_links_that_cannot_be_made_are_said";
    if !super::is_root() {
        return super::left_out(test, "only root mounts");
    }
    let someone = Someone::new();
    let first = someone.write("src/a", &noise(1, 100_000));
    someone.write("src/sub/other", b"other");
    fs::hard_link(&first, someone.path("src/sub/b")).unwrap();
    fs::hard_link(&first, someone.path("src/c")).unwrap();
    let (src, out) = (someone.path("src"), someone.path("out"));
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    fs::create_dir_all(out.join("sub")).unwrap();
    let mount = std::process::Command::new("mount").arg("--bind").args([out.join("sub"), out.join("sub")]).status();
    if !mount.is_ok_and(|done| done.success()) {
        return super::left_out(test, "nothing can be mounted");
    }
    let mounted = Unmounted(out.join("sub"));
    for _ in 0..2 {
        let done = someone.restore("latest", &src, &out, &["--verify"]);
        assert_eq!((done.code, &summary(&done)["links_unset"]), (Some(0), &1.into()), "{done:?}");
        done.said(0, &["hard links"]);
        assert_eq!(fs::read(out.join("sub/b")).unwrap(), noise(1, 100_000));
        assert_eq!(fs::metadata(out.join("c")).unwrap().ino(), fs::metadata(out.join("a")).unwrap().ino());
    }
    drop(mounted);
    let done = someone.restore("latest", &src, &out, &["--verify"]);
    assert_eq!((done.code, &summary(&done)["links_unset"]), (Some(0), &0.into()), "{done:?}");
    assert_eq!(fs::metadata(out.join("sub/b")).unwrap().ino(), fs::metadata(out.join("a")).unwrap().ino());
}

/// A file in the folder may have other names elsewhere, planted there or not: nothing changes under those.
#[test]
fn what_has_names_elsewhere_is_made_anew() {
    let someone = Someone::new();
    let (file, link) = (someone.write("src/file", b"the same"), someone.path("src/link"));
    std::os::unix::fs::symlink("file", &link).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4755)).unwrap();
    let (src, out) = (someone.path("src"), someone.path("out"));
    assert_eq!(someone.backup(&src, &["--comment", "before the move"]).code, Some(0));
    assert_eq!(someone.user.show()["comment"], "before the move");
    assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
    let elsewhere = [someone.path("elsewhere"), someone.path("link elsewhere")];
    fs::hard_link(out.join("file"), &elsewhere[0]).unwrap();
    fs::hard_link(out.join("link"), &elsewhere[1]).unwrap();
    fs::set_permissions(&elsewhere[0], fs::Permissions::from_mode(0o600)).unwrap();
    rustix::fs::utimensat(
        rustix::fs::CWD,
        &elsewhere[1],
        &rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
            last_modification: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
        },
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    let said = |path: &Path| {
        let of = path.symlink_metadata().unwrap();
        (of.mode(), of.mtime(), of.ctime_nsec(), of.ino())
    };
    let before = elsewhere.each_ref().map(|path| said(path));
    for more in [&["--verify"][..], &["--overwrite", "if-changed"]] {
        assert_eq!(someone.restore("latest", &src, &out, more).code, Some(0));
        assert_eq!(fs::metadata(out.join("file")).unwrap().mode() & 0o7777, 0o4755);
        let after = elsewhere.each_ref().map(|path| said(path));
        // Losing a name is a change of status.
        let but_status =
            |all: &[(u32, i64, i64, u64); 2]| all.map(|(mode, modified, _, number)| (mode, modified, number));
        assert_eq!(but_status(&after), but_status(&before));
    }
}

/// What a user may not set is no damage, of a file with several names either.
#[test]
fn what_cannot_be_set_of_a_file_with_several_names_is_no_damage() {
    let test = "what_cannot_be_set_of_a_file_with_several_names_is_no_damage";
    let Some(someone) = Someone::ordinary(test) else { return };
    let file = someone.write("src/file", b"some bytes");
    if let Err(e) = rustix::fs::lsetxattr(&file, "trusted.one", b"value", rustix::fs::XattrFlags::empty()) {
        return super::left_out(test, &format!("only root sets such attributes: {e}"));
    }
    fs::hard_link(&file, someone.path("src/name")).unwrap();
    let (src, out) = (someone.path("src"), someone.path("out"));
    // As root, who reads it.
    let backup = ["backup", "files", src.to_str().unwrap()];
    crate::user::ran(someone.user.command().env("ONEFOLD_KEY_FILE", someone.path("key")).args(backup)).fine();
    for path in someone.user.dir.path().read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let owner = format!("{0}:{0}", super::NOBODY);
        crate::user::ran(std::process::Command::new("chown").args(["-R", &owner]).arg(path)).fine();
    }
    for _ in 0..2 {
        let done = someone.restore("latest", &src, &out, &["--verify"]);
        assert_eq!((done.code, &summary(&done)["attributes_unset"]), (Some(0), &1.into()), "{done:?}");
        assert_eq!(fs::metadata(out.join("file")).unwrap().nlink(), 2);
    }
}
