//! What of the files of this machine is meant: paths, and what is left out below them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::folder::{Folder, Names};
use crate::engine::Params;
use crate::error::{Error, Kind, Result};
use crate::patterns::{Patterns, path_of};
use crate::whole;

/// A file of patterns, or of paths, is no longer than this.
const LIST_MAX: u64 = 64 << 20;
/// What marks a folder of a cache, and how it begins (the Cache Directory Tagging Specification).
const TAG: &[u8] = b"CACHEDIR.TAG";
const TAG_BEGINS: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The paths that are meant, part by part.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Everything in it.
    pub all: bool,
    /// Otherwise these.
    pub below: BTreeMap<Vec<u8>, Wanted>,
}

impl Wanted {
    /// Of absolute paths. What lies below another of them is meant with that one.
    pub fn of(paths: &[PathBuf]) -> Wanted {
        let mut root = Wanted::default();
        for path in paths {
            let mut at = &mut root;
            for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
                at = at.below.entry(part.as_os_str().as_bytes().to_vec()).or_default();
            }
            at.all = true;
        }
        root
    }
}

/// What is left out.
pub struct Rules {
    patterns: Option<Patterns>,
    if_present: Vec<Vec<u8>>,
    caches: bool,
    /// Folders of other file systems are.
    pub one_file_system: bool,
    /// Contents of more bytes are.
    pub larger_than: Option<u64>,
    /// All of that in words, as it was given.
    pub words: Vec<String>,
}

impl Rules {
    /// As the parameters say.
    ///
    /// Errors: `Usage` for a pattern that is none; a file of patterns that cannot be read.
    pub fn of(params: &Params) -> Result<Rules> {
        let mut lines: Vec<(String, String)> =
            params.texts("exclude").map(|line| ("--exclude".to_owned(), line.to_owned())).collect();
        for path in params.paths("exclude-file") {
            let text = whole::read_text(path, LIST_MAX, "is too long for a file of patterns")?;
            lines.extend(text.lines().map(|line| (format!("--exclude-file {}", path.display()), line.to_owned())));
        }
        let patterns = Patterns::of(lines.iter().map(|(from, line)| (from.as_str(), line.as_str())))?;
        let is_pattern = |line: &&(String, String)| !line.1.trim().is_empty() && !line.1.starts_with('#');
        let mut words: Vec<String> = lines.iter().filter(is_pattern).map(|(_, line)| line.clone()).collect();
        let if_present = params.list("exclude-if-present");
        words.extend(if_present.iter().map(|name| format!("folders with {name}")));
        let (caches, one_file_system) = (params.has("exclude-caches"), params.has("one-file-system"));
        words.extend(caches.then(|| "folders of caches".to_owned()));
        words.extend(one_file_system.then(|| "other file systems".to_owned()));
        let larger_than = params.number("exclude-larger-than").and_then(|bytes| u64::try_from(bytes).ok());
        words.extend(larger_than.map(|bytes| format!("files of more than {bytes} bytes")));
        Ok(Rules {
            patterns: (!patterns.is_empty()).then_some(patterns),
            if_present: if_present.into_iter().map(String::into_bytes).collect(),
            caches,
            one_file_system,
            larger_than,
            words,
        })
    }

    /// Takes from the names in `folder` what is left out. Gives whether all stayed.
    pub fn apply(&self, folder: &Folder, names: &mut Names) -> bool {
        if self.if_present.iter().any(|name| names.has(name)) {
            return names.retain(|_, _| false);
        }
        if self.caches && names.has(TAG) && is_tag(folder) {
            return names.retain(|name, _| name == TAG);
        }
        let Some(patterns) = &self.patterns else { return true };
        let mut path = path_of(&folder.prefix);
        names.retain(|name, is_folder| {
            path.push(OsStr::from_bytes(name));
            let leaves_out = patterns.name(&path, is_folder);
            path.pop();
            !leaves_out
        })
    }
}

fn is_tag(folder: &Folder) -> bool {
    let mut begins = [0; TAG_BEGINS.len()];
    let read = |fd: OwnedFd| rustix::io::pread(fd.as_fd(), &mut begins, 0).ok();
    folder.open(TAG).ok().and_then(read) == Some(TAG_BEGINS.len()) && begins == TAG_BEGINS
}

/// The paths that were given, absolute, without `.` and `..`, ascending, each once.
///
/// Errors: `Usage` where none was given, and for one that is not there.
pub fn paths(params: &Params) -> Result<Vec<PathBuf>> {
    let mut given: Vec<PathBuf> = params.paths("path").map(Path::to_owned).collect();
    for list in params.paths("files-from0") {
        let bytes = whole::read(list, LIST_MAX, "is too long for a list of paths")?;
        given.extend(bytes.split(|b| *b == 0).filter(|p| !p.is_empty()).map(|p| PathBuf::from(OsStr::from_bytes(p))));
    }
    let mut all = given.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    all.sort();
    all.dedup();
    if all.is_empty() {
        return Err(Error::new(Kind::Usage, "backup files", "no path was given").hint("name files or folders"));
    }
    Ok(all)
}

/// The path from the root on. The last part may be a link, and is then meant itself, unless a `/` stands behind it; what leads to it is
/// followed.
fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |e: std::io::Error| {
        let e = Error::io(path.display(), e);
        if e.kind() == Kind::NotFound {
            e.of_kind(Kind::Usage).hint("nothing is there: look for a wrong name, or for what is not mounted")
        } else {
            e
        }
    };
    let is_plain = |path: &Path| {
        let ends_with_name = matches!(path.components().next_back(), Some(Component::Normal(_)));
        ends_with_name && !path.as_os_str().as_bytes().ends_with(b"/")
    };
    let found = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if is_plain(path) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            parent.canonicalize().map_err(failed)?.join(name)
        }
        _ => path.canonicalize().map_err(failed)?,
    };
    found.symlink_metadata().map_err(failed)?;
    Ok(found)
}
