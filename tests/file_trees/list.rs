//! What `pjdfstest` goes through, as a list of small trees: each kind of file with each thing that may be said of it. They are backed up,
//! restored, restored over such that differ in one thing, and backed up again after that thing changed. Which entry differs is said.

mod pairs;
mod plain;
mod seen;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::grown::{Thing, What, thing, try_grow};
use super::{NOBODY, Someone, has, is_root, left_out, left_over, summary};
use crate::user::ran;
use pairs::pairs;
use plain::{huge, plain};
use seen::different;

/// A small tree, by the name of what is asked with it.
pub struct Entry {
    pub name: String,
    pub things: Vec<Thing>,
}

/// Two small trees that differ in one thing.
pub struct Pair {
    pub name: String,
    pub before: Vec<Thing>,
    pub after: Vec<Thing>,
}

pub fn entry(name: impl Into<String>, things: Vec<Thing>) -> Entry {
    Entry { name: name.into(), things }
}

pub fn pair(name: impl Into<String>, before: Vec<Thing>, after: Vec<Thing>) -> Pair {
    Pair { name: name.into(), before, after }
}

/// Every kind of file, and what it is called here.
pub const KINDS: [(&str, What); 7] = [
    ("file", What::File(Vec::new())),
    ("folder", What::Folder),
    ("fifo", What::Fifo),
    ("block device", What::Device(rustix::fs::FileType::BlockDevice, 7, 3)),
    ("character device", What::Device(rustix::fs::FileType::CharacterDevice, 1, 3)),
    ("socket", What::Socket),
    ("link", What::Link(Vec::new())),
];

/// One of a kind. A file and a folder are not empty.
pub fn one(kind: &What, path: &str) -> Vec<Thing> {
    match kind {
        What::File(_) => vec![thing(path, What::File(b"content".to_vec()))],
        What::Link(_) => vec![thing(path, What::Link(b"nowhere".to_vec()))],
        What::Folder => vec![thing(path, What::Folder), thing(format!("{path}/in it"), What::File(b"in it".to_vec()))],
        _ => vec![thing(path, kind.clone())],
    }
}

/// The same, of which something is said that `say` says.
pub fn said(kind: &What, say: impl FnOnce(&mut Thing)) -> Vec<Thing> {
    let mut all = one(kind, "it");
    if let Some(it) = all.first_mut() {
        say(it);
    }
    all
}

/// Whether an ordinary user may make these things and read them.
fn a_user_may(things: &[Thing]) -> bool {
    things.iter().all(|thing| {
        let may_read = match thing.what {
            What::Folder => thing.mode & 0o500 == 0o500,
            What::Device(..) => false,
            _ => thing.mode & 0o400 != 0,
        };
        let may_say = |name: &str| name.starts_with("user.") || name.starts_with("system.");
        may_read && thing.owner == (0, 0) && thing.attributes.iter().all(|(name, _)| may_say(name))
    })
}

/// Makes trees of the same name side by side, each below its own of `tops`; none of them where the file system does not do one. Gives why.
fn try_all(tops: &[PathBuf], name: &str, trees: &[&[Thing]]) -> Option<String> {
    let mut why = None;
    for (top, things) in tops.iter().zip(trees) {
        let mut refused = Vec::new();
        let at = top.join(name);
        let mut note = |name: &str, e: io::Error| refused.push(format!("{name}: {e}"));
        let made = try_grow(&at, things, &mut note).map_err(|e| e.to_string());
        let made = made.and_then(|()| seen::is_as_asked(&at, things));
        let refused = refused.into_iter().next();
        why = why.or(made.err()).or(refused);
    }
    if why.is_some() {
        tops.iter().map(|top| top.join(name)).filter(|at| at.exists()).for_each(|at| fs::remove_dir_all(at).unwrap());
    }
    why
}

/// Where trees of one name are made, that name, and the trees.
type Growing<'t> = (&'t [PathBuf], String, Vec<Vec<Thing>>);

/// Someone with the trees of the list, and how many they are.
struct Listed {
    someone: Someone,
    count: usize,
}

impl Listed {
    /// Grows what the file system does; that is most of it.
    fn new(test: &str, someone: Someone, is_ordinary: bool) -> Listed {
        let tops = ["list", "huge", "before", "after"].map(|name| someone.path("src").join(name));
        tops.iter().for_each(|top| fs::create_dir_all(top).unwrap());
        let asked = someone.path("asked");
        fs::create_dir(&asked).unwrap();
        let mut all: Vec<Growing<'_>> = Vec::new();
        all.extend(plain(&asked).into_iter().map(|entry| (&tops[..1], entry.name, vec![entry.things])));
        all.extend(huge().into_iter().map(|entry| (&tops[1..2], entry.name, vec![entry.things])));
        all.extend(pairs().into_iter().map(|pair| (&tops[2..], pair.name, vec![pair.before, pair.after])));
        if is_ordinary {
            all.retain(|(_, _, trees)| trees.iter().all(|things| a_user_may(things)));
            all.iter_mut().flat_map(|(_, _, trees)| trees).flatten().for_each(|thing| thing.owner = (NOBODY, NOBODY));
        }
        let (mut out, mut count) = (Vec::new(), 0);
        for (tops, name, trees) in &all {
            let trees: Vec<&[Thing]> = trees.iter().map(Vec::as_slice).collect();
            match try_all(tops, name, &trees) {
                None => count += 1,
                Some(why) => out.push(format!("`{name}` ({why})")),
            }
        }
        if !out.is_empty() {
            left_out(test, &format!("the file system does not do {} of {}: {}", out.len(), all.len(), out.join(", ")));
        }
        assert!(count * 4 > all.len() * 3, "only {count} of {} entries could be made", all.len());
        let owner = if is_ordinary { NOBODY } else { 0 };
        for top in tops.iter().chain([&someone.path("src")]) {
            let folder = Thing { owner: (owner, owner), ..thing("", What::Folder) };
            super::grown::set(&folder, top, &mut |_, _| {}).unwrap();
        }
        Listed { someone, count }
    }

    fn src(&self, top: &str) -> PathBuf {
        self.someone.path("src").join(top)
    }

    fn backup(&self) {
        let done = self.someone.backup(&self.someone.path("src"), &[]);
        assert_eq!((done.code, &*done.err), (Some(0), ""), "{done:?}");
    }

    /// Restores what lies in `from` into `out`. Gives how much was written.
    fn restore(&self, from: &str, out: &Path, more: &[&str]) -> u64 {
        let done = self.someone.restore("latest", &self.src(from), out, more);
        assert_eq!((done.code, &*done.err), (Some(0), ""), "{done:?}");
        assert!(left_over(out).is_empty());
        summary(&done)["written"].as_u64().unwrap()
    }

    /// All trees are equal to those below `out`, but for entries that `stay`.
    #[track_caller]
    fn are_equal(&self, what: &str, trees: &[(&str, &Path)], stay: &[&str]) {
        let mut all: Vec<String> =
            trees.iter().flat_map(|(top, out)| different(&self.src(top), out, *top != "huge")).collect();
        all.retain(|one| !stay.iter().any(|entry| one.starts_with(&format!("`{entry}`"))));
        let first: Vec<&str> = all.iter().take(60).map(String::as_str).collect();
        assert!(all.is_empty(), "{what}: {} differences in {} entries:\n{}", all.len(), self.count, first.join("\n"));
    }
}

/// Entries of which nothing but the content differs: whoever believes size and time leaves them.
const BELIEVED: [&str; 3] = ["a byte of the content", "a hole elsewhere", "a hole filled with other than zeros"];
/// Some file systems make holes of zeros by themselves: so a hole stays where zeros are restored.
const HOLES: [&str; 1] = ["a hole filled with zeros"];

/// There and back; over what differs; once more by what is remembered.
fn go_through(listed: &Listed) {
    listed.backup();
    let out = listed.someone.path("out");
    let at = ["list", "huge", "before", "after"].map(|top| out.join(top));
    let all = [("list", &*at[0]), ("huge", &*at[1]), ("before", &*at[2]), ("after", &*at[3])];
    listed.restore("", &out, &["--verify"]);
    listed.are_equal("restored", &all, &[]);
    assert_eq!(listed.restore("", &out, &["--delete"]), 0, "what is equal was written");

    let (before, after) = (&*at[2], &*at[3]);
    listed.restore("before", after, &["--delete", "--verify"]);
    listed.are_equal("over what will be", &[("before", after)], &[]);
    listed.restore("after", after, &["--delete"]);
    listed.are_equal("over what was", &[("after", after)], &HOLES);
    let stay = [&BELIEVED[..], &HOLES].concat();
    for (from, to) in [("before", after), ("after", before)] {
        listed.restore(from, to, &["--delete", "--overwrite", "if-changed"]);
        listed.are_equal("over what differs, by size and time", &[(from, to)], &stay);
    }

    // Where they lie, what differs changes, and nothing else.
    let slash = |top: &str| format!("{}/", listed.src(top).display());
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAX", "--numeric-ids", "--checksum", "--modify-window=-1", "--delete", "--force"]);
    let done = ran(rsync.args([slash("after"), slash("before")]));
    assert_eq!(done.code, Some(0), "{done:?}");
    listed.backup();
    let night = listed.someone.path("night");
    listed.restore("before", &night, &[]);
    listed.are_equal("the second night", &[("before", &night)], &[]);
}

#[test]
fn the_list_comes_back_as_root() {
    let test = "the_list_comes_back_as_root";
    if !is_root() {
        return left_out(test, "only root makes devices and gives files away");
    }
    if has("rsync", test) {
        go_through(&Listed::new(test, Someone::new(), false));
    }
}

#[test]
fn the_list_comes_back_as_an_ordinary_user() {
    let test = "the_list_comes_back_as_an_ordinary_user";
    if let Some(someone) = Someone::ordinary(test).filter(|_| has("rsync", test)) {
        go_through(&Listed::new(test, someone, true));
    }
}
