//! Files and folders of this machine in the order of their keys: each folder before what lies in it, names by their bytes.

use std::io;
use std::sync::Arc;

use repo_format::file_tree::Lacks;
use repo_format::limits::{PART_MAX, PATH_MAX};
use repo_format::reference::{Reference, references};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::before::Before;
use super::folder::{Folder, Names};
use super::memory::Known;
use super::problems::Problems;
use super::rules::{Rules, Wanted};
use crate::error::{Error, Kind, Result};
use crate::patterns::path_of;
use crate::run::ChunkSink;

/// The next thing of a walk.
pub enum Step {
    /// Something that is there.
    Item(Item),
    /// Something of which only what is remembered can be had: it lies in a folder that cannot be read.
    Unread(Known),
}

/// Something that is there.
#[derive(Clone)]
pub struct Item {
    /// The folder in which it lies, or that it is.
    pub folder: Arc<Folder>,
    /// Its name in it; empty where it is the folder.
    pub name: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// What is remembered of it.
    pub known: Option<Known>,
    /// What of it is left aside.
    pub lacks: Lacks,
}

/// A folder that is being walked.
struct Level {
    folder: Arc<Folder>,
    names: Names,
    /// What is meant in it; `None`: everything.
    wanted: Option<Wanted>,
    /// Its file system, where only one is meant.
    device: Option<u64>,
}

/// See the module.
pub struct Walker<'a> {
    rules: &'a Rules,
    problems: Arc<Problems<'a>>,
    sink: &'a dyn ChunkSink,
    remembered: Vec<Before<'a>>,
    stack: Vec<Level>,
    /// What comes before the next name.
    first: Option<Item>,
    /// The folder whose remembered files are to be given.
    unread: Option<Vec<u8>>,
}

impl<'a> Walker<'a> {
    /// Of what is `wanted`. Of the `remembered` the first one that knows a file is believed, once `sink` has what it refers to.
    ///
    /// Errors: the root cannot be read.
    pub fn new(
        wanted: Wanted,
        rules: &'a Rules,
        remembered: Vec<Before<'a>>,
        sink: &'a dyn ChunkSink,
        problems: Arc<Problems<'a>>,
    ) -> Result<Walker<'a>> {
        let mut walker = Walker { rules, problems, sink, remembered, stack: Vec::new(), first: None, unread: None };
        let root = Folder::root().map_err(|e| Error::io("/", e))?;
        let wanted = if wanted.all { None } else { Some(wanted) };
        walker.enter(root, vec![0], wanted, None).map_err(|e| Error::io("/", e))?;
        Ok(walker)
    }

    /// Begins a folder, which is open. What is remembered of it is for the caller to say.
    fn enter(&mut self, folder: Folder, key: Vec<u8>, wanted: Option<Wanted>, device: Option<u64>) -> io::Result<()> {
        let own = if self.rules.one_file_system { Some(folder.stat(b"")?.st_dev) } else { None };
        let elsewhere = device.is_some() && device != own;
        let mut names = match &wanted {
            Some(wanted) => Names::of(wanted.below.keys().map(Vec::as_slice)),
            None => folder.names()?,
        };
        let left_out = match &wanted {
            // On the way to what is meant, whatever else there is is not.
            Some(_) => true,
            None if elsewhere => !names.retain(|_, _| false),
            None => !self.rules.apply(&folder, &mut names),
        };
        let room = PATH_MAX.saturating_sub(folder.prefix.len() + 1).min(PART_MAX);
        let unread = !names.retain(|name, _| name.len() <= room);
        if unread {
            let what = "something in it is deeper, or has a longer name, than a snapshot can say: it is not there";
            self.problems.add(&key, false, what);
        }
        let lacks = Lacks { unread, left_out };
        let folder = Arc::new(folder);
        self.first = Some(Item { folder: folder.clone(), name: Vec::new(), key, known: None, lacks });
        let device = if wanted.is_none() { own } else { None };
        self.stack.push(Level { folder, names, wanted, device });
        Ok(())
    }

    fn known(&mut self, key: &[u8]) -> Result<Option<Known>> {
        let mut found = None;
        for remembered in &mut self.remembered {
            // All go on, so that all stand where the walk does.
            let known = remembered.find(key);
            if let (None, Some(known)) = (&found, known)
                && (remembered.is_sure() || is_stored(&known, self.sink)?)
            {
                found = Some(known);
            }
        }
        Ok(found)
    }

    /// What is remembered next of what lies below a folder.
    fn below(&mut self, prefix: &[u8]) -> Result<Option<Known>> {
        loop {
            let keys = self.remembered.iter_mut().filter_map(|one| one.next_below(prefix));
            let Some(key) = keys.min().map(<[u8]>::to_vec) else { return Ok(None) };
            if let Some(known) = self.known(&key)? {
                return Ok(Some(known));
            }
        }
    }

    /// The next step; `None` at the end.
    ///
    /// Errors: the system lacks what a walk takes, such as descriptors.
    pub fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(first) = self.first.take() {
                return Ok(Some(Step::Item(first)));
            }
            if let Some(prefix) = &self.unread {
                let prefix = prefix.clone();
                match self.below(&prefix)? {
                    Some(known) => return Ok(Some(Step::Unread(known))),
                    None => self.unread = None,
                }
            }
            let Some(level) = self.stack.last_mut() else { return Ok(None) };
            let Some((name, of)) = level.names.next() else {
                self.stack.pop();
                continue;
            };
            let name = name.to_vec();
            let (folder, device) = (level.folder.clone(), level.device);
            let wanted = level.wanted.as_mut().map(|wanted| wanted.below.remove(&name).unwrap_or_default());
            let wanted = wanted.filter(|wanted| !wanted.all);
            let key = [&folder.prefix[..], &[0], &name].concat();
            let known = self.known(&key)?;
            if !self.is_folder(&folder, &name, of) {
                return Ok(Some(Step::Item(Item { folder, name, key, known, lacks: Lacks::default() })));
            }
            let is_passed = wanted.is_some();
            let entered = if is_passed { folder.pass(&name, key.clone()) } else { folder.enter(&name, key.clone()) };
            match entered.and_then(|inner| self.enter(inner, key.clone(), wanted, device)) {
                Ok(()) => self.first.iter_mut().for_each(|first| first.known.clone_from(&known)),
                Err(e) => self.refused(Item { folder, name, key, known, lacks: Lacks::default() }, e)?,
            }
        }
    }

    /// Some file systems do not say in a listing what is a folder.
    fn is_folder(&self, folder: &Folder, name: &[u8], of: FileType) -> bool {
        let asked = || folder.stat(name).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        of == FileType::Directory || (of == FileType::Unknown && asked())
    }

    /// A folder cannot be entered: it is gone, is none any more, or may not be read.
    fn refused(&mut self, item: Item, e: io::Error) -> Result<()> {
        // Whatever is there now is looked at once more when it is read.
        let is_other =
            [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(|e| Some(e.raw_os_error())).contains(&e.raw_os_error());
        let e = Error::io(path_of(&item.key).display(), e);
        if e.kind() == Kind::Full {
            return Err(e);
        }
        let unread = !is_other;
        if unread {
            let what = format!("cannot be read: {}; what the last backup had of it stands", e.message());
            self.problems.add(&item.key, false, &what);
            self.unread = Some([&item.key[..], &[0]].concat());
        }
        self.first = Some(Item { lacks: Lacks { unread, left_out: false }, ..item });
        Ok(())
    }
}

/// Whether each content that a record refers to is stored, as far as that shows: of a content of several chunks only its list does.
fn is_stored(known: &Known, sink: &dyn ChunkSink) -> Result<bool> {
    for reference in references(&known.body) {
        match reference? {
            (_, Reference::Chunk(chunk)) if sink.relies_on(&chunk.root)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
