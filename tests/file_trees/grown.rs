//! A tree with everything in it that a file system of POSIX knows.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, chmod, lsetxattr, makedev, mknodat, utimensat,
};

use super::NOBODY;
use crate::kill::noise;

/// What there may be.
#[derive(Clone)]
pub enum What {
    Folder,
    File(Vec<u8>),
    /// So long, with data here: place and length.
    Sparse(u64, Vec<(u64, usize)>),
    Link(Vec<u8>),
    /// Another name of that.
    Name(&'static str),
    Fifo,
    Socket,
    Device(FileType, u32, u32),
}

/// One thing of the tree.
#[derive(Clone)]
pub struct Thing {
    pub path: Vec<u8>,
    pub what: What,
    pub mode: u32,
    pub owner: (u32, u32),
    pub time: (i64, u32),
    pub attributes: Vec<(&'static str, Vec<u8>)>,
}

pub fn thing(path: impl AsRef<[u8]>, what: What) -> Thing {
    let mode = if matches!(what, What::Folder) { 0o755 } else { 0o644 };
    Thing { path: path.as_ref().to_vec(), what, mode, owner: (0, 0), time: (1_600_000_000, 7), attributes: Vec::new() }
}

pub fn file(path: impl AsRef<[u8]>, bytes: &[u8]) -> Thing {
    thing(path, What::File(bytes.to_vec()))
}

/// An access control list as the kernel takes it: owner, a user, a group, mask, others.
pub fn acl(user: u32, group: u32) -> Vec<u8> {
    const NONE: u32 = u32::MAX;
    let mut bytes = 2u32.to_le_bytes().to_vec();
    let entries = [(1u16, 7u16, NONE), (2, 5, user), (4, 5, NONE), (8, 6, group), (16, 7, NONE), (32, 0, NONE)];
    for (tag, may, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&may.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Modes, owners and times.
fn said(all: &mut Vec<Thing>) {
    all.push(thing("modes", What::Folder));
    all.extend((0..0o10000).map(|mode| Thing { mode, ..file(format!("modes/{mode:04o}"), b"") }));
    all.push(thing("folders", What::Folder));
    for mode in (0..0o10000).step_by(0o111).chain([0o1777, 0o4755, 0o500]) {
        all.push(Thing { mode, ..thing(format!("folders/{mode:04o}"), What::Folder) });
        all.push(file(format!("folders/{mode:04o}/in it"), b"read-only, or not"));
    }
    all.push(thing("owners", What::Folder));
    for owner in [(0, 1), (1, 0), (65534, 65534), (4_000_000_000, 3_999_999_999), (12345, 54321)] {
        let (uid, gid) = owner;
        all.push(Thing { owner, mode: 0o6755, ..file(format!("owners/{uid}-{gid}"), b"whose") });
        all.push(Thing { owner, ..thing(format!("owners/link {uid}"), What::Link(b"nowhere".to_vec())) });
    }
    all.push(Thing { time: (-5, 5), ..thing("times", What::Folder) });
    for time in [(-1, 999_999_999), (-(1 << 31), 0), (0, 0), (1, 1), (1 << 33, 5), (15_032_385_535, 999_999_999)] {
        let (seconds, nanoseconds) = time;
        all.push(Thing { time, ..file(format!("times/{seconds}.{nanoseconds}"), b"when") });
        all.push(Thing { time, ..thing(format!("times/folder {seconds}"), What::Folder) });
        all.push(Thing { time, ..thing(format!("times/link {seconds}"), What::Link(b"x".to_vec())) });
        all.push(Thing { time, ..thing(format!("times/fifo {seconds}"), What::Fifo) });
    }
}

/// Contents, with and without holes.
fn contents(all: &mut Vec<Thing>) {
    all.push(thing("contents", What::Folder));
    let lengths = [0, 1, 255, 256, 257, 4095, 4096, 4097, 64 << 10, (1 << 20) + 1, 5 << 20];
    all.extend((0..).zip(lengths).map(|(n, length)| file(format!("contents/{length}"), &noise(n, length))));
    all.push(file("contents/zeros", &[0; 100_000]));
    let k = 1 << 10;
    let sparse = [
        ("start", 200 * k, vec![(128 * k, 72 << 10)]),
        ("middle", 200 * k, vec![(0, 4096), (196 * k, 4096)]),
        ("end", 200 * k, vec![(0, 5000)]),
        ("all", 10 * k * k, vec![]),
        ("small", 9000, vec![(8192, 10)]),
        ("byte at the end", (50 * k) + 1, vec![(50 * k, 1)]),
        ("many", 400 * 64 * k, (0..400).map(|n| (n * 64 * k, 100)).collect()),
        ("so many", 3000 * 64 * k, (0..3000).map(|n| (n * 64 * k, 100)).collect()),
    ];
    for (name, length, pieces) in sparse {
        all.push(thing(format!("contents/hole {name}"), What::Sparse(length, pieces)));
    }
}

/// Names that are no text, and names that look like something else.
fn names(all: &mut Vec<Thing>) {
    all.push(thing("names", What::Folder));
    let long = "x".repeat(255);
    let odd: [&[u8]; 17] = [
        b"\xff\xfe",
        b"new\nline",
        b"back\\slash",
        b"-leading",
        b"--delete",
        b" ",
        b"*",
        b"[a]?",
        b"!not",
        b"#comment",
        b"\x01",
        b"a:",
        b"\\x41",
        b"...",
        b"~",
        "größe\u{85}".as_bytes(),
        long.as_bytes(),
    ];
    for name in odd {
        let path = [b"names/", name].concat();
        all.push(file(&path, name));
    }
    for name in odd {
        let path = [b"names/in ", &name[..name.len().min(250)]].concat();
        all.push(thing(&path, What::Folder));
        all.push(file([&path, &b"/"[..], name].concat(), name));
    }
    all.push(file("names.txt", b"stands behind the folder by its key, before what lies in it by its path"));
    all.push(file("names!", b"and this"));
}

/// Links, further names, pipes, sockets and devices.
fn kinds(all: &mut Vec<Thing>) {
    all.push(thing("links", What::Folder));
    let targets: [&[u8]; 5] = [b"nowhere", b"../contents", b"/", b"..", b"not \xff text\n"];
    for (n, target) in targets.into_iter().enumerate() {
        all.push(thing(format!("links/{n}"), What::Link(target.to_vec())));
    }
    all.push(thing("links/long", What::Link(b"abcdefg/".repeat(512)[..4095].to_vec())));
    all.push(thing("z", What::Folder));
    for name in ["a name", "links/b name", "z/c name", "z/d name"] {
        all.push(thing(name, if name == "a name" { What::File(noise(9, 3000)) } else { What::Name("a name") }));
    }
    all.push(thing("links/hole", What::Name("contents/hole middle")));
    all.push(thing("links/empty", What::Name("contents/0")));
    all.push(thing("links/link", What::Name("links/long")));
    all.push(thing("kinds", What::Folder));
    all.push(Thing { mode: 0o620, ..thing("kinds/fifo", What::Fifo) });
    all.push(thing("kinds/fifo too", What::Name("kinds/fifo")));
    all.push(Thing { mode: 0o755, ..thing("kinds/socket", What::Socket) });
    all.push(thing("kinds/null", What::Device(FileType::CharacterDevice, 1, 3)));
    all.push(Thing { mode: 0o660, ..thing("kinds/loop", What::Device(FileType::BlockDevice, 7, 1)) });
    all.push(thing("kinds/large", What::Device(FileType::CharacterDevice, 4000, 1_000_000)));
    all.push(thing("kinds/empty folder", What::Folder));
}

/// Extended attributes and access control lists.
fn attributes(all: &mut Vec<Thing>) {
    all.push(thing("attributes", What::Folder));
    let with = |attributes, thing| Thing { attributes, ..thing };
    let user = |name, value: &[u8]| vec![(name, value.to_vec())];
    all.push(with(user("user.comment", b"of a file"), file("attributes/file", b"x")));
    all.push(with(user("user.empty", b""), file("attributes/empty", b"")));
    all.push(with(user("user.bytes", b"\0\xff\n"), thing("attributes/folder", What::Folder)));
    let read_only = with(user("user.comment", b"nobody writes"), file("attributes/read-only", b"x"));
    all.push(Thing { mode: 0o444, ..read_only });
    let read_only = with(user("user.comment", b"nobody writes"), thing("attributes/read-only folder", What::Folder));
    all.push(Thing { mode: 0o555, ..read_only });
    all.push(with(vec![("trusted.of", b"root".to_vec())], file("attributes/trusted", b"x")));
    all.push(with(vec![("trusted.of", b"root".to_vec())], thing("attributes/link", What::Link(b"file".to_vec()))));
    // cap_net_bind_service+ep, as the kernel writes it.
    let capability = [0x01, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let capable = with(vec![("security.capability", capability.to_vec())], file("attributes/capable", b"#!/bin/sh\n"));
    all.push(Thing { mode: 0o755, ..capable });
    // More than stands in a record; less than a block, which is all that ext4 has for them.
    all.push(with(user("user.large", &noise(5, 3900)), file("attributes/large", b"x")));
    let two = vec![("user.large", noise(6, 2000)), ("user.larger", noise(7, 1900))];
    all.push(with(two, thing("attributes/large folder", What::Folder)));
    let list = |name| vec![(name, acl(1000, 1001))];
    all.push(with(list("system.posix_acl_access"), Thing { mode: 0o770, ..file("attributes/list", b"x") }));
    let both = vec![("system.posix_acl_access", acl(1, 2)), ("system.posix_acl_default", acl(3, 4))];
    all.push(with(both, Thing { mode: 0o770, ..thing("attributes/lists", What::Folder) }));
    all.push(Thing { mode: 0o600, ..file("attributes/lists/plain", b"did not inherit") });
    all.push(thing("attributes/lists/folder", What::Folder));
}

/// All of it; for an ordinary user what he may make and read.
pub fn things(ordinary: bool) -> Vec<Thing> {
    let mut all = Vec::new();
    [said, contents, names, kinds, attributes].into_iter().for_each(|part| part(&mut all));
    if ordinary {
        all.retain(|thing| !matches!(thing.what, What::Device(..)));
        for thing in &mut all {
            thing.owner = (NOBODY, NOBODY);
            thing.mode |= if matches!(thing.what, What::Folder) { 0o500 } else { 0o400 };
            thing.attributes.retain(|(name, _)| name.starts_with("user.") || name.starts_with("system."));
        }
    }
    all
}

fn make(at: &Path, thing: &Thing, path: &Path) -> io::Result<()> {
    let node = |of, device| Ok(mknodat(CWD, path, of, Mode::RUSR, device)?);
    match &thing.what {
        What::Folder => fs::create_dir(path),
        What::File(bytes) => fs::write(path, bytes),
        What::Sparse(length, pieces) => {
            let file = File::create(path)?;
            file.set_len(*length)?;
            let mut pieces = (0..).zip(pieces);
            pieces.try_for_each(|(n, (at, length))| file.write_all_at(&noise(n, *length), *at))
        }
        What::Link(target) => std::os::unix::fs::symlink(OsStr::from_bytes(target), path),
        What::Name(of) => fs::hard_link(at.join(of), path),
        What::Fifo => node(FileType::Fifo, 0),
        What::Socket => node(FileType::Socket, 0),
        What::Device(of, major, minor) => node(*of, makedev(*major, *minor)),
    }
}

/// Says all that is to be said of it; of an attribute that is not taken `refused` is told.
pub fn set(thing: &Thing, path: &Path, refused: &mut dyn FnMut(&str, io::Error)) -> io::Result<()> {
    if super::is_root() {
        lchown(path, Some(thing.owner.0), Some(thing.owner.1))?;
    }
    for (name, value) in &thing.attributes {
        if let Err(e) = lsetxattr(path, *name, value, XattrFlags::empty()) {
            refused(name, e.into());
        }
    }
    if !matches!(thing.what, What::Link(_)) {
        chmod(path, Mode::from_raw_mode(thing.mode))?;
    }
    let time = |(tv_sec, tv_nsec): (i64, u32)| Timespec { tv_sec, tv_nsec: tv_nsec.into() };
    let times = Timestamps { last_access: time((1, 1)), last_modification: time(thing.time) };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Makes it all in a new folder. Errors: what the file system does not do; of an attribute that is not taken `refused` is told.
pub fn try_grow(at: &Path, all: &[Thing], refused: &mut dyn FnMut(&str, io::Error)) -> io::Result<()> {
    fs::create_dir(at)?;
    let paths: Vec<PathBuf> = all.iter().map(|thing| at.join(OsStr::from_bytes(&thing.path))).collect();
    all.iter().zip(&paths).try_for_each(|(thing, path)| make(at, thing, path))?;
    // What lies in a folder changes its time, and perhaps nobody may enter it any more.
    let is_own = |(thing, _): &(&Thing, &PathBuf)| !matches!(thing.what, What::Name(_));
    all.iter().zip(&paths).filter(is_own).rev().try_for_each(|(thing, path)| set(thing, path, refused))?;
    let owner = all.first().map_or((0, 0), |thing| thing.owner);
    set(&Thing { owner, ..thing("", What::Folder) }, at, refused)
}

/// Makes it all in a new folder, but for attributes that the file system does not take.
pub fn grow(at: &Path, all: &[Thing]) {
    let mut refused = |name: &str, e: io::Error| {
        super::left_out(&format!("attribute {name}"), &format!("the file system does not take it: {e}"));
    };
    try_grow(at, all, &mut refused).unwrap();
}
