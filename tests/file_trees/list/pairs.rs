//! Trees that differ in one thing: what a restore has to mend, and what a backup has to notice.

use rustix::fs::FileType;

use super::{KINDS, Pair, one, pair, said};
use crate::file_trees::grown::{Thing, What, acl, file, thing};
use crate::kill::noise;

/// All of them.
pub fn pairs() -> Vec<Pair> {
    let mut all = Vec::new();
    for (name, kind) in &KINDS {
        of_kind(&mut all, name, kind);
        if *name != "folder" {
            names_of(&mut all, name, kind);
        }
        for (other_name, other) in KINDS.iter().filter(|(other, _)| other != name) {
            all.push(pair(format!("{name} becomes {other_name}"), one(kind, "it"), one(other, "it")));
        }
    }
    [contents, folders, others].iter().for_each(|part| part(&mut all));
    all
}

/// What is said of any kind.
fn of_kind(all: &mut Vec<Pair>, name: &str, kind: &What) {
    let mut both = |what: &str, before: &dyn Fn(&mut Thing), after: &dyn Fn(&mut Thing)| {
        all.push(pair(format!("{name}, {what}"), said(kind, before), said(kind, after)));
    };
    if !matches!(kind, What::Link(_)) {
        for (what, before, after) in [
            ("writable", 0o555, 0o755),
            ("nobody's", 0o000, 0o777),
            ("set-user", 0o755, 0o4755),
            ("set-group", 0o755, 0o2755),
            ("sticky", 0o755, 0o1755),
            ("all bits", 0o600, 0o7777),
        ] {
            both(what, &|it| it.mode = before, &|it| it.mode = after);
        }
        let list = |it: &mut Thing, list| (it.mode, it.attributes) = (0o770, list);
        let access = "system.posix_acl_access";
        both("list of access", &|it| it.mode = 0o770, &|it| list(it, vec![(access, acl(1, 2))]));
        both("other list of access", &|it| list(it, vec![(access, acl(1, 2))]), &|it| {
            list(it, vec![(access, acl(1, 3))])
        });
    }
    both("another owner", &|it| it.mode = 0o6755, &|it| (it.mode, it.owner) = (0o6755, (5, 0)));
    both("another group", &|it| it.mode = 0o6755, &|it| (it.mode, it.owner) = (0o6755, (0, 5)));
    both("another second", &|it| it.time = (1_600_000_000, 0), &|it| it.time = (1_600_000_001, 0));
    both("another nanosecond", &|it| it.time = (0, 999_999_998), &|it| it.time = (0, 999_999_999));
    both("before 1970", &|it| it.time = (-1, 999_999_999), &|it| it.time = (0, 999_999_999));
    let names: &[(&str, &str)] = match kind {
        What::File(_) | What::Folder => &[("user.of", "user.on"), ("trusted.of", "trusted.on")],
        _ => &[("trusted.of", "trusted.on")],
    };
    for &(of, on) in names {
        let set =
            |name: &'static str, value: &'static [u8]| move |it: &mut Thing| it.attributes.push((name, value.to_vec()));
        both(&format!("attribute {of}"), &|_| {}, &set(of, b"x"));
        both(&format!("empty attribute {of}"), &|_| {}, &set(of, b""));
        both(&format!("attribute {of} of another value"), &set(of, b"x"), &set(of, b"y"));
        both(&format!("attribute {of} of a longer value"), &set(of, b"x"), &set(of, b"xx"));
        both(&format!("attribute {of} of another name"), &set(of, b"x"), &set(on, b"x"));
    }
}

/// Which names are one file.
fn names_of(all: &mut Vec<Pair>, name: &str, kind: &What) {
    let alone = |path: &str| one(kind, path).remove(0);
    let too = |path: &str| thing(path, What::Name("a"));
    let mut add = |what: &str, before: Vec<Thing>, after| all.push(pair(format!("{name}, {what}"), before, after));
    add("one of two names", vec![alone("a"), alone("b")], vec![alone("a"), too("b")]);
    add("two names and a third", vec![alone("a"), too("b"), alone("c")], vec![alone("a"), too("b"), too("c")]);
    add("one more name", vec![alone("a")], vec![alone("a"), too("b")]);
    let of_c = thing("d", What::Name("c"));
    let two_and_two = vec![alone("a"), too("b"), alone("c"), of_c];
    let crosswise = vec![alone("a"), alone("b"), too("c"), thing("d", What::Name("b"))];
    add("two and two names, crosswise", two_and_two, crosswise);
    let later = Thing { time: (1_700_000_000, 8), ..alone("b") };
    add("two of different times", vec![alone("a"), too("b")], vec![alone("a"), later]);
}

fn contents(all: &mut Vec<Pair>) {
    let bytes = noise(1, 100_000);
    let other = [&bytes[..50_000], &[!bytes[50_000]], &bytes[50_001..]].concat();
    let mut add = |name: &str, before: &[u8], after: &[u8]| {
        all.push(pair(name, vec![file("it", before)], vec![file("it", after)]));
    };
    add("a byte of the content", &bytes, &other);
    add("a longer content", &bytes[..99_999], &bytes);
    add("a content and none", b"", &bytes);
    add("few bytes and many", b"few", &bytes);
    let k = 1 << 10;
    let sparse = |pieces: &[(u64, usize)]| vec![thing("it", What::Sparse(256 * k, pieces.to_vec()))];
    let whole = vec![file("it", &[noise(0, 64 << 10), vec![0; 192 << 10]].concat())];
    all.push(pair("a hole filled with zeros", sparse(&[(0, 64 << 10)]), whole));
    all.push(pair("a hole elsewhere", sparse(&[(0, 64 << 10)]), sparse(&[(128 * k, 64 << 10)])));
    all.push(pair(
        "a hole filled with other than zeros",
        sparse(&[(0, 64 << 10)]),
        vec![file("it", &noise(0, 256 << 10))],
    ));
    let longer = vec![thing("it", What::Sparse(512 * k, vec![(0, 64 << 10)]))];
    all.push(pair("a longer hole", sparse(&[(0, 64 << 10)]), longer));
}

fn folders(all: &mut Vec<Pair>) {
    let folder = |mode| Thing { mode, time: (5, 5), ..thing("it", What::Folder) };
    for (name, mode) in [("folder", 0o755), ("read-only folder", 0o555), ("folder of mode 0000", 0o000)] {
        let with = |files: &[&str]| {
            let mut all = vec![folder(mode)];
            all.extend(files.iter().map(|file| thing(format!("it/{file}"), What::File(b"x".to_vec()))));
            all
        };
        all.push(pair(format!("{name} with one more"), with(&["a"]), with(&["a", "b"])));
        all.push(pair(format!("{name} with another name"), with(&["a"]), with(&["A"])));
        all.push(pair(format!("{name} with none"), with(&["a", "b"]), with(&[])));
        let mut changed = with(&["a"]);
        changed[1].what = What::File(b"y".to_vec());
        changed[1].time = (7, 7);
        all.push(pair(format!("{name} with something changed"), with(&["a"]), changed));
    }
    let (access, default) = ("system.posix_acl_access", "system.posix_acl_default");
    let with = |lists: &[&'static str], user| {
        let attributes = lists.iter().map(|list| (*list, acl(user, 4))).collect();
        vec![Thing { attributes, ..folder(0o770) }, file("it/in it", b"has none")]
    };
    all.push(pair("default list", with(&[], 3), with(&[default], 3)));
    all.push(pair("other default list", with(&[default], 3), with(&[default], 5)));
    all.push(pair("default list and list of access", with(&[default], 3), with(&[access], 3)));
}

fn others(all: &mut Vec<Pair>) {
    let link = |target: &[u8]| vec![thing("it", What::Link(target.to_vec()))];
    all.push(pair("another target", link(b"a"), link(b"b")));
    all.push(pair("a longer target", link(b"a"), link(&[b'a'; 1000])));
    for of in [FileType::CharacterDevice, FileType::BlockDevice] {
        let device = |major, minor| one(&What::Device(of, major, minor), "it");
        all.push(pair(format!("{of:?} of another minor number"), device(1, 3), device(1, 5)));
        all.push(pair(format!("{of:?} of another major number"), device(1, 3), device(5, 3)));
    }
    let capability = |which| {
        let value = vec![1, 0, 0, 2, 0, which, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        vec![Thing { mode: 0o755, attributes: vec![("security.capability", value)], ..file("it", b"x") }]
    };
    all.push(pair("a capability", vec![Thing { mode: 0o755, ..file("it", b"x") }], capability(4)));
    all.push(pair("another capability", capability(4), capability(8)));
    // Of a capability and of set-id whoever gives a file away takes both.
    let mut given = capability(4);
    (given[0].mode, given[0].owner) = (0o6755, (5, 5));
    let mut kept = capability(4);
    kept[0].mode = 0o6755;
    all.push(pair("the owner of a file with a capability", kept, given));
}
