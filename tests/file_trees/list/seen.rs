//! What the system says of a tree, compared with what it says of another, and with what was asked for.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::file_trees::grown::{Thing, What};
use crate::file_trees::{attributes, differences, each, holes};

/// What is said of one file, by the names of what that is.
type Said = Vec<(&'static str, String)>;

/// Where its data lie, and what they are. Of holes nothing is read.
fn data(path: &Path) -> (Vec<(u64, u64)>, String) {
    let (all, file) = (holes(path), File::open(path).unwrap());
    let mut hasher = blake3::Hasher::new();
    for (from, to) in &all {
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, *from).unwrap();
        hasher.update(&bytes);
    }
    (all, hasher.finalize().to_string())
}

fn said(path: &Path, first: &Path) -> Said {
    let of = path.symlink_metadata().unwrap();
    let mut all = vec![
        ("kind and mode", format!("{:o}", of.mode())),
        ("owner", format!("{}:{}", of.uid(), of.gid())),
        ("time", format!("{}.{:09}", of.mtime(), of.mtime_nsec())),
        ("count of names", of.nlink().to_string()),
        ("first name", format!("{first:?}")),
        ("device", of.rdev().to_string()),
        ("attributes", format!("{:?}", attributes(path))),
    ];
    if of.is_symlink() {
        all.push(("target", format!("{:?}", std::fs::read_link(path).unwrap())));
    }
    if of.is_file() {
        let (holes, bytes) = data(path);
        all.extend([("size", of.len().to_string()), ("data and holes", format!("{holes:?}")), ("content", bytes)]);
    }
    all
}

/// What is said of each path below a folder.
fn all_said(top: &Path) -> BTreeMap<PathBuf, Said> {
    let mut paths = Vec::new();
    each(top, &mut |path| paths.push(path.to_owned()));
    paths.sort();
    let mut firsts = HashMap::new();
    let mut of = |path: &PathBuf| {
        let stat = path.symlink_metadata().unwrap();
        let below = path.strip_prefix(top).unwrap().to_owned();
        let first = firsts.entry((stat.dev(), stat.ino())).or_insert_with(|| below.clone());
        (below, said(path, first))
    };
    paths.iter().map(&mut of).collect()
}

/// A path of a tree, the entry that it is of first.
fn named(path: &Path) -> String {
    let mut parts = path.components();
    let entry = parts.next().map_or(String::new(), |part| part.as_os_str().to_string_lossy().into_owned());
    format!("`{entry}` {:?}", parts.as_path())
}

/// How two trees differ, each time with the name of the entry. `rsync` is asked, too, unless it would read holes for ever.
pub fn different(like: &Path, out: &Path, asks_rsync: bool) -> Vec<String> {
    let (wanted, there) = (all_said(like), all_said(out));
    assert!(wanted.len() > 1, "nothing was compared");
    let mut all = Vec::new();
    for path in there.keys().filter(|path| !wanted.contains_key(*path)) {
        all.push(format!("{} should not be there", named(path)));
    }
    for (path, wanted) in &wanted {
        let Some(there) = there.get(path) else {
            all.push(format!("{} is missing", named(path)));
            continue;
        };
        for (what, wanted) in wanted {
            let is = there.iter().find(|(of, _)| of == what).map_or("nothing", |(_, is)| is);
            if is != wanted {
                let [wanted, is] = [wanted, is].map(|text| text.chars().take(200).collect::<String>());
                all.push(format!("{} has another {what}: {is} instead of {wanted}", named(path)));
            }
        }
    }
    if asks_rsync {
        // Eleven signs and a space, then the path.
        let entry = |line: &str| line.get(12..).and_then(|path| path.split('/').next()).unwrap_or_default().to_owned();
        all.extend(differences(like, out).lines().map(|line| format!("`{}` rsync: {line}", entry(line))));
    }
    all
}

/// Whether the file system kept what was asked of it. Errors: what it did not keep.
pub fn is_as_asked(at: &Path, things: &[Thing]) -> Result<(), String> {
    for thing in things.iter().filter(|thing| !matches!(thing.what, What::Name(_))) {
        let path = at.join(OsStr::from_bytes(&thing.path));
        let of = path.symlink_metadata().map_err(|e| e.to_string())?;
        let kept = |what: &str, is: bool| if is { Ok(()) } else { Err(format!("{what} is not kept")) };
        kept("the time", (of.mtime(), of.mtime_nsec()) == (thing.time.0, thing.time.1.into()))?;
        kept("the mode", of.is_symlink() || of.mode() & 0o7777 == thing.mode)?;
        kept("the owner", !super::is_root() || (of.uid(), of.gid()) == thing.owner)?;
        let there = attributes(&path);
        let is_there = |(name, value): &(&str, Vec<u8>)| there.contains(&(name.as_bytes().to_vec(), value.clone()));
        kept("an attribute", thing.attributes.iter().all(is_there))?;
        if let What::Sparse(length, pieces) = &thing.what {
            let data: u64 = holes(&path).iter().map(|(from, to)| to - from).sum();
            kept(
                "a hole",
                of.len() == *length && (data < *length || pieces.iter().map(|p| p.1 as u64).sum::<u64>() == *length),
            )?;
        }
    }
    Ok(())
}
