//! What a user may do wrong, and what files may be like that are backed up: an error that names it, and nothing lost.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::process::Stdio;

use super::{Said, Someone, is_root, left_out, same, summary};
use crate::kill::noise;
use crate::user::ran;

#[test]
fn what_is_not_there_is_named() {
    let someone = Someone::new();
    let there = someone.write("src/file", b"x");
    let missing = someone.path("src/missing");
    someone.backup(&missing, &[]).said(1, &["src/missing", "nothing is there"]);
    ran(someone.command().args(["backup", "files"]).arg(&there).arg(&missing)).failed(1, &["src/missing"]);
    ran(someone.command().args(["backup", "files"])).failed(1, &["no path"]);
    assert!(someone.user.snapshots().is_empty(), "a snapshot without a path that was named");
    assert_eq!(someone.backup(&someone.path("src"), &[]).code, Some(0));

    let src = someone.path("src").display().to_string();
    for command in ["ls", "dump"] {
        for path in ["/missing", "/src", &format!("{src}/fil"), &format!("{src}/file/in it"), &format!("{src}/../src")]
        {
            someone.run(&[command, &format!("latest:{path}")]).failed(1, &["path"]);
        }
    }
    someone.run(&["dump", &format!("latest:{src}")]).failed(1, &[&src, "folder"]);
    someone.run(&["dump", "latest"]).failed(1, &["names no file"]);
    someone.run(&["dump", "latest:file"]).failed(1, &["latest:file"]);
    let out = someone.path("out");
    someone.restore("latest", &missing, &out, &[]).said(1, &["src/missing"]);
    someone.restore("latest", &someone.path("src"), &out, &["--include", "nothing"]).said(1, &["src"]);
    someone.run(&["restore", &format!("latest:{src}")]).failed(1, &["--target"]);
    // Of a folder that a pattern names, what lies in it is not named.
    let pattern = format!("latest:{src}/*");
    let to = out.to_str().unwrap();
    someone.run(&["restore", &pattern, "--target", to, "--delete"]).failed(1, &["pattern", "--include"]);
    someone.run(&["dump", &pattern, "--archive", "tar"]).failed(1, &["pattern"]);
    ran(someone.command().args(["restore", "latest", "--target"]).arg(&there)).failed(1, &["src/file"]);
    ran(someone.command().args(["restore", "latest", "--target"]).arg(there.join("below"))).failed(1, &["src/file"]);
    assert_eq!(fs::read(&there).unwrap(), b"x");
}

#[test]
fn patterns_that_are_none_are_named() {
    let someone = Someone::new();
    someone.write("src/file", b"x");
    let src = someone.path("src");
    let list = someone.write("patterns", b"# fine\n*.tmp\n\na{b\n");
    for bad in ["a{b", "[z-a]"] {
        someone.backup(&src, &["--exclude", bad]).said(1, &[bad]);
    }
    someone.backup(&src, &["--exclude-file", list.to_str().unwrap()]).said(1, &["patterns", "a{b"]);
    someone.backup(&src, &["--exclude-file", "/missing/list"]).said(1, &["/missing/list"]);
    someone.backup(&src, &["--exclude-larger-than", "much"]).said(1, &["much"]);
    assert!(someone.user.snapshots().is_empty());
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    for option in ["--include", "--exclude"] {
        someone.restore("latest", &src, &someone.path("out"), &[option, "a{b"]).said(1, &["a{b"]);
    }
    someone.restore("latest", &src, &someone.path("out"), &["--overwrite", "perhaps"]).said(1, &["perhaps"]);
    assert!(!someone.path("out").exists());
}

/// Paths in odd forms mean the same.
#[test]
fn paths_are_those_from_the_root_on() {
    let someone = Someone::new();
    someone.write("src/folder/file", b"x");
    let src = someone.path("src");
    symlink("src", someone.path("link")).unwrap();
    let listed = |args: &[&str]| {
        let mut backup = someone.command();
        let done = ran(backup.current_dir(&src).args(["backup", "files"]).args(args));
        assert_eq!(done.code, Some(0), "{args:?} {done:?}");
        let listed = someone.run(&["ls", "latest:/", "--json", "--recursive"]);
        let paths: Vec<String> = listed.objects().iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
        paths
    };
    let plain = listed(&[src.to_str().unwrap()]);
    assert!(plain.iter().any(|path| path.ends_with("/src/folder/file")), "{plain:?}");
    let link = someone.path("link").display().to_string();
    for args in [
        &["."][..],
        &["folder/.."],
        &["../src/"],
        &["folder/../../src"],
        &[".", "folder", "folder/file"],
        &[&format!("{link}/")],
    ] {
        assert_eq!(listed(args), plain, "{args:?}");
    }
    // A link that is named is itself meant.
    assert!(listed(&[&link]).iter().any(|path| path.ends_with("/link")));
    // From a list.
    let list = someone.write("list", b"folder\0./folder/file\0");
    assert_eq!(listed(&["--files-from0", list.to_str().unwrap()]), plain);
}

/// A snapshot has room for a thousand folders that may not be read, not for all that a disk may have.
#[test]
fn of_many_folders_that_may_not_be_read_some_are_said() {
    let Some(someone) = Someone::ordinary("of_many_folders_that_may_not_be_read_some_are_said") else { return };
    someone.write("src/open", b"x");
    let src = someone.path("src");
    let closed: Vec<_> = (0..1200).map(|n| src.join(format!("closed {n}"))).collect();
    closed.iter().for_each(|folder| fs::DirBuilder::new().mode(0o000).create(folder).unwrap());
    let done = someone.backup(&src, &[]);
    done.said(3, &["closed", "200 more could not be read"]);
    let problems = done.objects().iter().filter(|object| object["message_type"] == "error").count();
    assert_eq!(problems, 1001);
    assert!(someone.run(&["ls", &format!("latest:{}/closed 7", src.display())]).fine().contains("not read"));
    closed.iter().for_each(|folder| fs::remove_dir(folder).unwrap());
}

#[test]
fn what_may_not_be_read_is_said_and_stands() {
    let Some(someone) = Someone::ordinary("what_may_not_be_read_is_said_and_stands") else { return };
    let file = someone.write("src/closed file", b"as it was read");
    let below = someone.write("src/closed folder/deep/file", b"as it was read");
    // So many that nearly all of the tree is otherwise when they cannot be read.
    for n in 0..100 {
        someone.write(&format!("src/closed folder/{}/{n}", n % 3), b"x");
    }
    someone.write("src/open", b"x");
    let (src, folder) = (someone.path("src"), someone.path("src/closed folder"));
    let close = |mode| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode | (mode >> 2))).unwrap();
    };
    let large = noise(3, 3 << 20);
    someone.write("src/closed folder/large", &large);
    // From the start.
    close(0);
    someone.backup(&src, &[]).said(3, &["closed file", "closed folder"]);
    let listed = someone.run(&["ls", &format!("latest:{}", src.display())]).fine();
    assert!(listed.contains("not read") && listed.contains("open"), "{listed}");
    let out = someone.path("first");
    someone.restore("latest", &src, &out, &[]).said(3, &["closed file", "closed folder"]);
    assert!(!out.join("closed file").exists() && out.join("open").exists());
    let dump = format!("latest:{}", file.display());
    someone.run(&["dump", &dump]).failed(1, &["closed file", "not read"]);
    // An archive that lacks something is none to whoever reads it.
    let folder_of = format!("latest:{}", src.display());
    let mut dump_all = someone.command();
    dump_all.args(["dump", &folder_of, "--archive", "tar"]).stdout(Stdio::piped());
    let archive = dump_all.output().unwrap();
    assert!(!archive.status.success() && archive.stdout.ends_with(&[b'!'; 512]), "{archive:?}");
    // After they were read once, as often as one likes.
    close(0o644);
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    close(0);
    for night in 0..5 {
        // Also where the machine remembers nothing of it: then the last snapshot says what there was.
        if night > 2 {
            fs::remove_dir_all(someone.path("state")).unwrap();
        }
        let done = someone.backup(&src, &[]);
        done.said(3, &["closed file", "closed folder", "stands"]);
        let out = someone.path(&format!("night {night}"));
        someone.restore("latest", &src, &out, &[]).said(3, &["closed file", "closed folder"]);
        assert_eq!(fs::read(out.join("closed file")).unwrap(), b"as it was read", "{night}");
        fs::set_permissions(out.join("closed folder"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fs::read(out.join("closed folder/deep/file")).unwrap(), b"as it was read", "{night}");
        assert!(fs::read(out.join("closed folder/large")).unwrap() == large, "{night}");
        assert_eq!(someone.run(&["dump", &dump]).fine(), "as it was read");
    }
    // And when it can be read again, it is as it is.
    close(0o644);
    fs::write(&below, b"as it is now").unwrap();
    let done = someone.backup(&src, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let out = someone.path("last");
    assert_eq!(someone.restore("latest", &src, &out, &[]).code, Some(0));
    same(&src, &out);
}

/// On the way to what is meant lie folders that may be passed, and not listed.
#[test]
fn folders_on_the_way_need_not_be_listed() {
    let Some(someone) = Someone::ordinary("folders_on_the_way_need_not_be_listed") else { return };
    someone.write("home/me/file", b"mine");
    someone.write("home/other/file", b"not mine");
    let home = someone.path("home");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o111)).unwrap();
    let done = someone.backup(&home.join("me"), &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    let out = someone.path("out");
    assert_eq!(someone.restore("latest", &home.join("me"), &out, &[]).code, Some(0));
    same(&home.join("me"), &out);
    let listed = someone.run(&["ls", &format!("latest:{}", home.display()), "--recursive"]).fine();
    assert!(listed.contains("home/me/file") && !listed.contains("other"), "{listed}");
}

/// What is left out by each of the rules.
#[test]
fn what_is_left_out_is_not_there_and_the_rest_is() {
    let someone = Someone::new();
    let cache = b"Signature: 8a477f597d28d172789f06886806bc55\n";
    for name in
        ["a.tmp", "keep.tmp", "b", "sub/a.tmp", "sub/b", "sub/deep/c", "marked/.nobackup", "marked/x", "not cache/x"]
    {
        someone.write(&format!("src/{name}"), name.as_bytes());
    }
    someone.write("src/cache/CACHEDIR.TAG", cache);
    someone.write("src/cache/x", b"x");
    someone.write("src/not cache/CACHEDIR.TAG", b"not that");
    someone.write("src/large", &vec![7; 5000]);
    let src = someone.path("src");
    let has = |args: &[&str], gone: &[&str]| {
        let done = someone.backup(&src, args);
        assert_eq!(done.code, Some(0), "{args:?} {done:?}");
        let out = tempfile::tempdir().unwrap();
        assert_eq!(someone.restore("latest", &src, &out.path().join("out"), &[]).code, Some(0));
        let mut missing = Vec::new();
        super::each(&src, &mut |path| {
            let name = path.strip_prefix(&src).unwrap();
            if path.is_file() && !out.path().join("out").join(name).exists() {
                missing.push(name.display().to_string());
            }
        });
        missing.sort();
        assert_eq!(missing, gone, "{args:?}");
    };
    has(&[], &[]);
    has(&["--exclude", "*.tmp"], &["a.tmp", "keep.tmp", "sub/a.tmp"]);
    has(&["--exclude", "*.tmp", "--exclude", "!keep.tmp"], &["a.tmp", "sub/a.tmp"]);
    has(&["--exclude", "sub/"], &["sub/a.tmp", "sub/b", "sub/deep/c"]);
    has(&["--exclude", &format!("{}/b", src.display())], &["b"]);
    has(&["--exclude", "**/deep"], &["sub/deep/c"]);
    has(&["--exclude-caches"], &["cache/x"]);
    has(&["--exclude-if-present", ".nobackup"], &["marked/.nobackup", "marked/x"]);
    has(&["--exclude-larger-than", "4K"], &["large"]);
    has(&[], &[]);
}

/// Of an unread file a machine that lost its memory knows nothing; what others have stays.
#[test]
fn another_file_system_is_left_out() {
    let test = "another_file_system_is_left_out";
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return left_out(test, "there is no /dev/shm") };
    if !is_root() {
        return left_out(test, "only root mounts");
    }
    let someone = Someone::new();
    someone.write("src/here", b"x");
    someone.write("src/mounted/under", b"x");
    fs::write(memory.path().join("there"), b"x").unwrap();
    let mounted = someone.path("src/mounted");
    let mount = |args: &[&std::path::Path]| std::process::Command::new("mount").arg("--bind").args(args).status();
    if !mount(&[memory.path(), &mounted]).is_ok_and(|done| done.success()) {
        return left_out(test, "nothing can be mounted");
    }
    let src = someone.path("src");
    let (one, both) = (someone.backup(&src, &["--one-file-system"]), someone.backup(&src, &[]));
    assert!(std::process::Command::new("umount").arg(&mounted).status().unwrap().success());
    assert_eq!((one.code, both.code), (Some(0), Some(0)), "{one:?} {both:?}");
    let ids = someone.user.snapshots();
    for (id, there) in ids.iter().zip([false, true]) {
        let out = someone.path(id);
        let done = someone.restore(id, &src, &out, &[]);
        assert_eq!(summary(&done)["problems"], 0);
        assert_eq!(out.join("mounted/there").exists(), there);
        assert!(out.join("mounted").is_dir() && out.join("here").exists());
    }
}
