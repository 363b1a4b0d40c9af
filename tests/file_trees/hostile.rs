//! Snapshots and targets that mean harm: nothing is written outside, and what is wrong is named.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use onefold::blob::BlobRef;
use onefold::patterns::Patterns;
use onefold::restore::tree::{Done, Overwrite, Request, restore};
use onefold::run::{ChunkKind, ChunkSink};
use onefold::watch::Watch;
use onefold::{Kind, Result};
use repo_format::file_tree::{Attribute, Bytes, FileRecord, key_of, put_attributes, put_extents};
use repo_format::record::Class;

use super::{Said, Someone, each, left_over};
use crate::world::{Chunks, Plain, run_of};

fn record<'a>(mode: u32) -> FileRecord<'a> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    FileRecord {
        mode,
        owner,
        modified: (1_600_000_000, 0),
        content: (mode & 0o170_000 == 0o100_000).then_some(Bytes::Here(b"hostile")),
        ..FileRecord::default()
    }
}

fn plain(key: &[u8], file: &FileRecord<'_>) -> Plain {
    let mut body = Vec::new();
    file.put(&mut body);
    Plain { key: key.to_vec(), group_len: 0, class: Class::Row, body }
}

fn key(path: &str) -> Vec<u8> {
    key_of(path.split('/').filter(|part| !part.is_empty()).map(str::as_bytes))
}

fn folder(path: &str) -> Plain {
    plain(&key(path), &record(0o040_755))
}

fn file(path: &str) -> Plain {
    plain(&key(path), &record(0o100_644))
}

/// A place with a target in it, and something beside that nobody may touch.
struct Scene {
    dir: tempfile::TempDir,
    chunks: Chunks,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), b"untouched").unwrap();
        Scene { dir, chunks: Chunks::default() }
    }

    fn restore(&self, records: Vec<Plain>, delete: bool) -> Result<Done> {
        let out = self.dir.path().join("out");
        let none = || Patterns::of([]).unwrap();
        let watch = Watch::default();
        let request = Request {
            out: &out,
            from: &[],
            include: none(),
            exclude: none(),
            overwrite: Overwrite::Always,
            delete,
            dry_run: false,
            verifies: None,
            watch: &watch,
        };
        restore(&mut *run_of(records), &self.chunks, &request)
    }

    /// Nothing but the target changed.
    #[track_caller]
    fn is_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert!(names == ["out", "outside"] || names == ["outside"], "{names:?}");
        let outside = self.dir.path().join("outside");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        let secret = outside.join("secret");
        assert_eq!(fs::read(&secret).unwrap(), b"untouched");
        assert_eq!(fs::metadata(&secret).unwrap().nlink(), 1, "it got another name");
        assert!(
            self.dir.path().join("out").symlink_metadata().is_err()
                || left_over(&self.dir.path().join("out")).is_empty()
        );
    }
}

/// Keys that no path has end a restore by name.
#[test]
fn keys_that_are_no_path_are_refused() {
    let keys: [&[u8]; 9] = [
        b"\0..\0outside\0secret",
        b"\0a\0..\0..\0outside\0x",
        b"\0../outside/secret",
        b"\0a/../../outside/x",
        b"\0.",
        b"\0a\0",
        b"\0\0a",
        b"a",
        b"",
    ];
    for bad in keys {
        let scene = Scene::new();
        let mut records = vec![plain(bad, &record(0o100_644))];
        if bad.starts_with(b"\0a\0") {
            records.insert(0, folder("/a"));
        }
        let e = scene.restore(records, false).unwrap_err();
        assert!(e.kind() == Kind::Damaged || e.kind() == Kind::Unsupported, "{bad:?}: {e}");
        assert!(e.to_string().contains("path of a file"), "{bad:?}: {e}");
        scene.is_untouched();
    }
}

/// Records that lie in nothing, or in what is no folder, are not put somewhere else.
#[test]
fn what_lies_in_no_folder_is_named() {
    let link = FileRecord { target: Some(b"../outside"), ..record(0o120_777) };
    let cases = [
        vec![folder("/"), file("/missing/secret")],
        vec![folder("/"), file("/a"), file("/a/secret")],
        vec![folder("/"), plain(&key("/a"), &link), file("/a/secret")],
        vec![folder("/"), folder("/a"), file("/a/b/c/secret")],
        vec![folder("/"), plain(&key("/a"), &link), folder("/a/b"), file("/a/b/secret")],
    ];
    for records in cases {
        let scene = Scene::new();
        let last = onefold::patterns::path_of(&records.last().unwrap().key).display().to_string();
        let done = scene.restore(records, false).unwrap();
        assert!(done.damaged && done.problems.iter().any(|(path, _)| *path == last), "{done:?}");
        let mut there = Vec::new();
        each(&scene.dir.path().join("out"), &mut |path| {
            there.extend(path.ends_with("secret").then(|| path.to_owned()))
        });
        assert!(there.is_empty(), "{there:?}");
        scene.is_untouched();
    }
}

/// A link that a snapshot holds, or that lies in the target, leads nowhere.
#[test]
fn links_are_not_followed() {
    for delete in [false, true] {
        let scene = Scene::new();
        let (out, outside) = (scene.dir.path().join("out"), scene.dir.path().join("outside"));
        fs::create_dir(&out).unwrap();
        symlink("../outside", out.join("etc")).unwrap();
        symlink("../outside/secret", out.join("file")).unwrap();
        symlink(&outside, out.join("extra")).unwrap();
        symlink("../outside/new", out.join(".onefold-restore.new")).unwrap();
        symlink("../outside", out.join("fifo")).unwrap();
        let fifo = plain(&key("/fifo"), &record(0o010_600));
        let records = vec![folder("/"), folder("/etc"), file("/etc/secret"), fifo, file("/file")];
        let done = scene.restore(records, delete).unwrap();
        assert!(done.problems.is_empty(), "{done:?}");
        scene.is_untouched();
        assert!(!out.join("etc").is_symlink() && !out.join("file").is_symlink() && !out.join("fifo").is_symlink());
        assert_eq!(fs::read(out.join("etc/secret")).unwrap(), b"hostile");
        assert_eq!(out.join("extra").is_symlink(), !delete);
    }
}

/// The same through the whole program.
#[test]
fn a_target_full_of_links_is_restored_into() {
    let someone = Someone::new();
    for name in ["etc/passwd", "etc/sub/file", "home", "link/in it"] {
        someone.write(&format!("src/{name}"), name.as_bytes());
    }
    let src = someone.path("src");
    assert_eq!(someone.backup(&src, &[]).code, Some(0));
    let (out, outside) = (someone.path("out"), someone.path("outside"));
    for more in [&[][..], &["--delete"], &["--overwrite", "if-changed"], &["--overwrite", "if-newer"]] {
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out).unwrap();
        someone.write("outside/passwd", b"untouched");
        symlink(&outside, out.join("etc")).unwrap();
        symlink(outside.join("passwd"), out.join("home")).unwrap();
        symlink(&out, out.join("link")).unwrap();
        let done = someone.restore("latest", &src, &out, more);
        // A link that is newer than what is restored may stay, and is named.
        let stays = more.contains(&"if-newer");
        done.said(if stays { 3 } else { 0 }, if stays { &["src/etc", "src/link"] } else { &[] });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{more:?}");
        assert_eq!(fs::read(outside.join("passwd")).unwrap(), b"untouched", "{more:?}");
        assert!(stays || fs::read(out.join("etc/sub/file")).unwrap() == b"etc/sub/file");
    }
}

/// Other names of what is not there, of folders, of links, of themselves, and of what lies outside.
#[test]
fn names_of_other_files_lead_nowhere_else() {
    let scene = Scene::new();
    let out = scene.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    symlink("../outside", out.join("way")).unwrap();
    symlink("../outside/secret", out.join("planted")).unwrap();
    let of = |first: &str, path: &str| {
        let first = key(first);
        plain(&key(path), &FileRecord { first: Some(&first), ..record(0o100_644) })
    };
    let records = vec![
        folder("/"),
        of("/b", "/a"),
        of("/a", "/b"),
        of("/c", "/c"),
        folder("/d"),
        of("/d", "/e"),
        of("/missing/file", "/f"),
        of("/planted", "/g"),
        of("/way/secret", "/h"),
        of("/missing/file", "/i"),
    ];
    let done = scene.restore(records, false).unwrap();
    assert!(!done.damaged, "{done:?}");
    for name in ["a", "b", "c", "e", "f", "g", "h", "i"] {
        let of = out.join(name).symlink_metadata().unwrap();
        assert!(of.is_file(), "{name}");
        assert_eq!(fs::read(out.join(name)).unwrap(), b"hostile", "{name}");
    }
    scene.is_untouched();
    // Keys of first names that are none are no record at all.
    for first in [&b"\0..\0outside\0secret"[..], b"\0a/../../outside/secret", b"x", b"\0"] {
        let bad = FileRecord { first: Some(first), ..record(0o100_644) };
        let done = Scene::new().restore(vec![folder("/"), plain(&key("/x"), &bad)], false);
        assert!(done.is_err() || first == b"\0", "{first:?}");
    }
}

/// Bodies that say what no file is.
#[test]
fn records_that_do_not_fit_are_refused() {
    let plain_file = record(0o100_644);
    let link = FileRecord { target: Some(b"x"), ..record(0o120_777) };
    let bad = [
        record(0),
        record(0o170_000),
        FileRecord { target: None, ..link.clone() },
        FileRecord { target: Some(b"x"), ..plain_file.clone() },
        FileRecord { device: Some((1, 3)), ..plain_file.clone() },
        record(0o020_600),
        FileRecord { content: Some(Bytes::Here(b"x")), ..record(0o040_755) },
        FileRecord { content: Some(Bytes::Here(&[0; 257])), ..plain_file.clone() },
        FileRecord { sparse: Some(Bytes::Here(b"\x05")), content: None, ..plain_file.clone() },
        FileRecord { modified: (0, 1_000_000_000), ..plain_file.clone() },
    ];
    for (n, file) in bad.iter().enumerate() {
        let scene = Scene::new();
        let e = scene.restore(vec![folder("/"), plain(&key("/bad"), file)], false).unwrap_err();
        assert!(e.to_string().contains("/bad"), "{n}: {e}");
        scene.is_untouched();
    }
}

/// Contents, holes and attributes that do not fit, and absurd sizes: of one file alone, which is named and not there.
#[test]
fn contents_that_do_not_fit_are_named() {
    let scene = Scene::new();
    let put = |bytes: &[u8]| scene.chunks.put(ChunkKind::Data, bytes).unwrap();
    let extents = |length, pieces: &[(u64, u64)]| {
        let mut bytes = Vec::new();
        put_extents(&mut bytes, length, pieces);
        bytes
    };
    let chunk = put(&[7; 1000]);
    let (wrong, huge, most) =
        (extents(100, &[(0, 50)]), extents(u64::MAX, &[(0, 7)]), extents(1 << 62, &[(1 << 61, 7)]));
    let sparse = |bytes| FileRecord { sparse: Some(Bytes::Here(bytes)), ..record(0o100_644) };
    let content = |bytes| FileRecord { content: Some(bytes), ..record(0o100_644) };
    let reference = |length, root| BlobRef { length, root };
    let mut twice = Vec::new();
    put_attributes(&mut twice, &[Attribute { name: b"user.b", value: b"" }, Attribute { name: b"user.a", value: b"" }]);
    let cases = [
        ("other holes", sparse(&wrong)),
        ("huge", sparse(&huge)),
        ("behind the end", sparse(&most)),
        ("no holes", sparse(b"")),
        ("torn holes", sparse(b"\x64\x01")),
        ("short", content(Bytes::Chunk(reference(2000, chunk)))),
        ("absurd", content(Bytes::Chunk(reference(u64::MAX, chunk)))),
        ("a list that is none", content(Bytes::Blob(reference(1000, chunk)))),
        ("attributes", FileRecord { attributes: Some(Bytes::Here(&twice)), ..record(0o100_644) }),
        (
            "attributes elsewhere",
            FileRecord { attributes: Some(Bytes::Blob(reference(1 << 60, chunk))), ..record(0o100_644) },
        ),
    ];
    for (name, file) in &cases {
        let path = format!("/folder/{name}");
        let records = vec![folder("/"), folder("/folder"), plain(&key(&path), file), self::file("/folder/z")];
        let out = scene.dir.path().join("out");
        match scene.restore(records.clone(), true) {
            Ok(done) => {
                assert!(done.problems.iter().any(|(of, _)| *of == path), "{name}: {done:?}");
                assert_eq!(fs::read(out.join("folder/z")).unwrap(), b"hostile", "{name}");
            }
            Err(e) => assert!(e.to_string().contains(&path), "{name}: {e}"),
        }
        assert!(!out.join("folder").join(name).exists(), "{name}");
        scene.is_untouched();
        // Over what is there it is the same, and that stays.
        fs::create_dir_all(out.join("folder")).unwrap();
        fs::write(out.join("folder").join(name), b"here").unwrap();
        let _ = scene.restore(records, true);
        assert_eq!(fs::read(out.join("folder").join(name)).unwrap(), b"here", "{name}");
        scene.is_untouched();
    }
}

/// The target itself may be a link of the operator's: that one is followed, and no other.
#[test]
fn the_target_may_be_a_link() {
    let scene = Scene::new();
    fs::create_dir(scene.dir.path().join("outside/real")).unwrap();
    symlink("outside/real", scene.dir.path().join("out")).unwrap();
    scene.restore(vec![folder("/"), file("/x")], true).unwrap();
    let real = scene.dir.path().join("outside/real");
    assert_eq!(fs::read(real.join("x")).unwrap(), b"hostile");
    assert!(Path::new(&scene.dir.path().join("out")).is_symlink());
}
