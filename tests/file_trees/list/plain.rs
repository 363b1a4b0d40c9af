//! What there may be, each thing in an entry of its own.

use std::fs;
use std::path::Path;

use rustix::fs::{FileType, XattrFlags, lsetxattr};

use super::{Entry, KINDS, entry, one, said};
use crate::file_trees::grown::{Thing, What, acl, file, thing};
use crate::kill::noise;

/// All of it. What a file system takes at most is asked in the folder `asked`.
pub fn plain(asked: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    [modes, owners, times, names_of_one, names, targets, contents, folders, lists]
        .iter()
        .for_each(|part| part(&mut all));
    attributes(&mut all, asked);
    all
}

fn modes(all: &mut Vec<Entry>) {
    let modes = [
        0, 0o100, 0o200, 0o400, 0o007, 0o070, 0o111, 0o222, 0o444, 0o555, 0o644, 0o777, 0o1000, 0o1777, 0o2000, 0o2644,
        0o2755, 0o4000, 0o4644, 0o4755, 0o6755, 0o7000, 0o7777,
    ];
    for (name, kind) in KINDS.iter().filter(|(name, _)| *name != "link") {
        for mode in modes {
            all.push(entry(format!("{name} of mode {mode:04o}"), said(kind, |it| it.mode = mode)));
        }
    }
}

fn owners(all: &mut Vec<Entry>) {
    let most = u32::MAX - 1;
    let owners = [(0, 1), (1, 0), (12345, 54321), (65534, 65534), (1 << 16, 1 << 31), (most, most)];
    for (name, kind) in &KINDS {
        for owner in owners {
            let said = said(kind, |it| (it.owner, it.mode) = (owner, 0o6755));
            all.push(entry(format!("{name} of owner {}, group {}", owner.0, owner.1), said));
        }
    }
}

fn times(all: &mut Vec<Entry>) {
    let times = [
        (0, 0),
        (0, 1),
        (-1, 0),
        (-1, 999_999_999),
        (-(1 << 31), 0),
        (1_600_000_000, 999_999_999),
        ((1 << 31) - 1, 999_999_999),
        (1 << 31, 0),
        ((1 << 32) - 1, 999_999_999),
        (1 << 32, 1),
        (1 << 33, 500_000_000),
        // Few file systems have these.
        (-(1 << 31) - 1, 1),
        (1 << 34, 0),
    ];
    for (name, kind) in &KINDS {
        for time in times {
            all.push(entry(format!("{name} of time {}.{:09}", time.0, time.1), said(kind, |it| it.time = time)));
        }
    }
}

/// One, two and three names of each kind of file, in one folder and in several.
fn names_of_one(all: &mut Vec<Entry>) {
    for (kind_name, kind) in KINDS.iter().filter(|(name, _)| *name != "folder") {
        for (count, more) in [(1, &[][..]), (2, &["other"]), (2, &["a/other"]), (3, &["b", "z/other"])] {
            let mut things = one(kind, "it");
            things.iter_mut().for_each(|it| it.mode = 0o640);
            for other in more {
                things.extend(other.split_once('/').map(|(folder, _)| thing(folder, What::Folder)));
                things.push(thing(other, What::Name("it")));
            }
            let last = more.last().copied().unwrap_or("no other").replace('/', " in ");
            all.push(entry(format!("{kind_name} with {count} names, {last}"), things));
        }
    }
    let folders = |count: usize| (0..count).map(|n| thing(format!("it/{n}"), What::Folder));
    for count in [0, 1, 2, 100] {
        let things = [thing("it", What::Folder)].into_iter().chain(folders(count)).collect();
        all.push(entry(format!("folder with {count} folders"), things));
    }
}

fn names(all: &mut Vec<Entry>) {
    let long = [1, 2, 254, 255].map(|length| vec![b'n'; length]);
    let mut names: Vec<&[u8]> = long.iter().map(Vec::as_slice).collect();
    names.extend_from_slice(&[
        b"new\nline",
        b"\n",
        b"\r",
        b"\t",
        b"back\\slash",
        b"\\",
        b"\\n",
        b"\\xff",
        b"-",
        b"--",
        b"-rf",
        b"--delete",
        b" ",
        b" a",
        b"a ",
        b"*",
        b"?",
        b"[a-z]",
        b"{a,b}",
        b"!",
        b"#",
        b"~",
        b"$HOME",
        b"`id`",
        b"'",
        b"\"",
        b":",
        b"a:b",
        b"...",
        b"..a",
        b".hidden",
        b"\x01",
        b"\x7f",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"CON",
        b"%2f",
    ]);
    let two_bytes = "é".repeat(127);
    names.push(two_bytes.as_bytes());
    for (kind_name, kind) in &KINDS {
        for (n, name) in names.iter().enumerate() {
            let mut things = one(kind, "it");
            for it in &mut things {
                it.path = [name, &it.path["it".len()..]].concat();
            }
            let shown: String = name.escape_ascii().to_string().replace('/', "").chars().take(20).collect();
            all.push(entry(format!("{kind_name} of name {n}, {shown}"), things));
        }
    }
    // In which order they come is another by bytes, by keys and by paths.
    let order: [&[u8]; 8] = [b"a", b"a.b", b"a b", b"a-", b"a0", b"A", b"a\x01", b"a\xff"];
    let mut things: Vec<Thing> = order.iter().map(|name| thing(name, What::Folder)).collect();
    things.extend(order.iter().map(|name| file([name, &b"/in it"[..]].concat(), name)));
    all.push(entry("names that begin alike", things));
}

fn targets(all: &mut Vec<Entry>) {
    let long = b"abcdefg/".repeat(512);
    let targets: [(&str, &[u8]); 17] = [
        ("of one byte", b"x"),
        ("of 255 bytes", &long[..255]),
        ("of 1023 bytes", &long[..1023]),
        ("of 4095 bytes", &long[..4095]),
        ("to itself", b"it"),
        ("to itself, in a way", b"./it"),
        ("to where it lies", b"."),
        ("to above", b".."),
        ("to far above", b"../../../../../../../.."),
        ("through above", b"a/../b"),
        ("to the root", b"/"),
        ("from the root on", b"/etc/passwd"),
        ("to nothing", b"missing"),
        ("with slashes", b"//a//b//"),
        ("to a name that is no text", b"\xff\xfe"),
        ("to a name of two lines", b"a\nb"),
        ("to what looks like an option", b"-rf"),
    ];
    for (name, target) in targets {
        all.push(entry(format!("link {name}"), vec![thing("it", What::Link(target.to_vec()))]));
    }
    let link = |name: &str, target: &str| thing(name, What::Link(target.as_bytes().to_vec()));
    all.push(entry("links to each other", vec![link("it", "other"), link("other", "it")]));
    let folder = [thing("a", What::Folder), file("a/file", b"x")];
    all.push(entry(
        "link to a folder",
        folder.iter().cloned().chain([link("it", "a"), link("other", "a/file")]).collect(),
    ));
}

fn contents(all: &mut Vec<Entry>) {
    for length in [0, 1, 2, 255, 256, 257, 511, 4095, 4096, 4097, 65_535, 65_536, (1 << 20) + 1, 3 << 20] {
        all.push(entry(format!("file of {length} bytes"), vec![file("it", &noise(length as u32, length))]));
        let zeros = vec![0; length];
        all.push(entry(format!("file of {length} zeros"), vec![file("it", &zeros)]));
    }
    let k = 1 << 10;
    let sparse = [
        ("at the start", 256 * k, vec![(128 * k, 128 << 10)]),
        ("in the middle", 256 * k, vec![(0, 64 << 10), (192 * k, 64 << 10)]),
        ("at the end", 256 * k, vec![(0, 64 << 10)]),
        ("and nothing else", 256 * k, vec![]),
        ("of one byte", 1, vec![]),
        ("of a block", 4 * k, vec![]),
        ("of a block at the end", 8 * k, vec![(0, 4 << 10)]),
        ("of a block at the start", 8 * k, vec![(4 * k, 4 << 10)]),
        ("before one byte", (64 * k) + 1, vec![(64 * k, 1)]),
        ("behind one byte", 64 * k, vec![(0, 1)]),
        ("that ends within a block", 200_001, vec![(0, 10)]),
        ("many times", 200 * 64 * k, (0..200).map(|n| (n * 64 * k, 1 << 10)).collect()),
    ];
    for (name, length, pieces) in sparse {
        all.push(entry(format!("hole {name}"), vec![thing("it", What::Sparse(length, pieces))]));
    }
}

/// Files of which nobody reads all.
pub fn huge() -> Vec<Entry> {
    let sparse = [
        ("and nothing else", 1 << 40, vec![]),
        ("around data", 1 << 40, vec![(0, 4096), (1 << 33, 4096), ((1 << 40) - 1, 1)]),
        ("of two gigabytes", 1 << 31, vec![]),
        ("of more than four gigabytes", (1 << 32) + 1, vec![(1 << 32, 1)]),
    ];
    let entry =
        |(name, length, pieces)| entry(format!("huge hole {name}"), vec![thing("it", What::Sparse(length, pieces))]);
    sparse.into_iter().map(entry).collect()
}

fn folders(all: &mut Vec<Entry>) {
    for mode in [0, 0o111, 0o333, 0o500, 0o555, 0o1777, 0o2775, 0o3770] {
        let folder = |path: &str| Thing { mode, time: (5, 5), ..thing(path, What::Folder) };
        let things = vec![
            folder("it"),
            Thing { mode: 0o444, ..file("it/file", b"in it") },
            folder("it/folder"),
            file("it/folder/file", b"in it"),
            thing("it/link", What::Link(b"file".to_vec())),
            thing("it/name", What::Name("it/folder/file")),
        ];
        all.push(entry(format!("folders of mode {mode:04o} and what lies in them"), things));
    }
    let deep = |n: usize| Thing { time: (n as i64, 7), ..thing("d/".repeat(n).trim_end_matches('/'), What::Folder) };
    let mut things: Vec<Thing> = (1..=200).map(deep).collect();
    things.push(file(format!("{}file", "d/".repeat(200)), b"so deep"));
    all.push(entry("folders in folders", things));
    let mut many = vec![Thing { time: (3, 3), ..thing("it", What::Folder) }];
    many.extend((0..500).map(|n| file(format!("it/{n}"), b"")));
    all.push(entry("folder of many files", many));
    // What lies in it is of another owner and group than what it would be of by itself.
    let mut given = vec![Thing { owner: (7, 8), mode: 0o2777, ..thing("it", What::Folder) }];
    given.extend(KINDS.iter().flat_map(|(name, kind)| one(kind, &format!("it/{name}"))));
    all.push(entry("folder that gives its group", given));
}

fn lists(all: &mut Vec<Entry>) {
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    for (name, kind) in KINDS.iter().filter(|(name, _)| *name != "link") {
        for (what, mode) in [("", 0o770), (" and set-id", 0o6770)] {
            let list = vec![(access, acl(1000, 1001))];
            let things = said(kind, |it| (it.mode, it.attributes) = (mode, list));
            all.push(entry(format!("{name} with a list of access{what}"), things));
        }
    }
    for (what, lists, mode) in [
        ("default list", vec![default], 0o755),
        ("default list and set-group", vec![default], 0o2755),
        ("both lists", vec![access, default], 0o1770),
    ] {
        let mut things = vec![thing("it", What::Folder)];
        (things[0].mode, things[0].attributes) = (mode, lists.iter().map(|list| (*list, acl(3, 4))).collect());
        things.extend(KINDS.iter().flat_map(|(name, kind)| one(kind, &format!("it/{name}"))));
        all.push(entry(format!("folder with {what}, of which nothing in it has any"), things.clone()));
        // Made by a user, too, who makes no devices.
        things.retain(|thing| !matches!(thing.what, What::Device(..)));
        all.push(entry(format!("folder with {what}"), things));
    }
}

/// Bytes of the longest value of an attribute that is taken here.
fn largest(path: &Path, name: &str) -> usize {
    let takes = |length: usize| lsetxattr(path, name, &noise(1, length), XattrFlags::empty()).is_ok();
    let (mut most, mut step) = (0, 1 << 16);
    while step > 0 {
        if most + step <= 1 << 16 && takes(most + step) {
            most += step;
        }
        step /= 2;
    }
    most
}

fn attributes(all: &mut Vec<Entry>, asked: &Path) {
    let long: &str = format!("user.{}", "n".repeat(250)).leak();
    let many: Vec<(&str, Vec<u8>)> = (0..20).map(|n| (&*format!("user.{n}").leak(), vec![n])).collect();
    // cap_net_bind_service+ep, as the kernel writes it.
    let capability = vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (kind_name, kind) in &KINDS {
        let path = asked.join("it");
        let mut with = |name: &str, attributes: Vec<(&'static str, Vec<u8>)>| {
            let things = said(kind, |it| it.attributes = attributes);
            all.push(entry(format!("{kind_name} with {name}"), things));
        };
        with("a trusted attribute", vec![("trusted.of", b"root".to_vec())]);
        with("an empty trusted attribute", vec![("trusted.empty", Vec::new())]);
        with("a security attribute", vec![("security.onefold", b"x\0".to_vec())]);
        super::super::grown::try_grow(&path, &said(kind, |_| {}), &mut |_, _| {}).ok();
        if matches!(kind, What::File(_) | What::Folder) {
            with("an attribute", vec![("user.comment", b"of it".to_vec())]);
            with("an empty attribute", vec![("user.empty", Vec::new())]);
            with("an attribute of bytes", vec![("user.bytes", b"\0\xff\n=".to_vec())]);
            with("an attribute of the longest name", vec![(long, b"x".to_vec())]);
            with("an attribute of a name that is no ASCII", vec![("user.größe", b"x".to_vec())]);
            with("many attributes", many.clone());
            let most = largest(&path.join("it"), "user.large");
            with("the largest attribute", vec![("user.large", noise(2, most))]);
        }
        let most = largest(&path.join("it"), "trusted.large");
        with("the largest trusted attribute", vec![("trusted.large", noise(3, most))]);
        if let What::File(_) = kind {
            with("a capability", vec![("security.capability", capability.clone())]);
            let mut things = said(kind, |it| it.attributes = vec![("security.capability", capability.clone())]);
            (things[0].mode, things[0].owner) = (0o6755, (5, 6));
            all.push(entry("file with a capability and set-id, given away", things));
        }
        drop(fs::remove_dir_all(&path));
    }
    let null = What::Device(FileType::CharacterDevice, 0, 0);
    all.push(entry("device of no number", one(&null, "it")));
    for of in [FileType::CharacterDevice, FileType::BlockDevice] {
        for (major, minor) in [(0, 1), (1, 0), (255, 255), (256, 256), (4095, (1 << 20) - 1)] {
            let things = one(&What::Device(of, major, minor), "it");
            all.push(entry(format!("{of:?} {major}.{minor}"), things));
        }
    }
}
