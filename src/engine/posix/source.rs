//! Files and folders of this machine, as one shard of one node.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use repo_format::file_tree::NUMERIC;
use repo_format::leaf::Layout;
use serde_json::{Value, json};

use super::SHARD;
use super::before::Before;
use super::earlier::EarlierFiles;
use super::links::Links;
use super::memory::{Passed, Remembered, Remembering, ending};
use super::names::Names;
use super::problems::Problems;
use super::read::{Compared, FileReader};
use super::rules::{Rules, Wanted, paths};
use super::run::FilesRun;
use super::walk::Walker;
use crate::engine::{
    CaptureTime, Contents, Narrowed, Node, NodeParts, Params, Part, Shard, Source, Taking, TimeOf, Without,
};
use crate::error::{Error, Kind, Result};
use crate::merge::Owned;
use crate::repo::world;
use crate::run::{Run, ShardKind};
use crate::store::lock;
use crate::volume::Place;
use crate::watch::Watch;
use crate::whole::beside;

/// See the module.
pub struct Files {
    node: [Node; 1],
    shard: [Shard; 1],
    times: [CaptureTime; 1],
    narrowed: Narrowed,
    paths: Vec<PathBuf>,
    rules: Rules,
    compared: Compared,
    passed: Passed,
}

/// The one shard of a backup of files.
pub fn shard() -> Shard {
    Shard {
        name: SHARD.to_owned(),
        kind: ShardKind::Files,
        id: SHARD.to_owned(),
        layout: Layout { numeric: NUMERIC.to_vec(), ..Layout::default() },
        unread: Vec::new(),
        ring_known: true,
    }
}

/// This machine, captured now, and when that was; `place` is what is captured.
pub fn this_machine(host: &str, place: &Path) -> (Node, CaptureTime) {
    let seconds = world::now_ms() / 1000;
    let node = Node { name: host.to_owned(), captured: seconds, ..Node::default() };
    (node, CaptureTime { node: 0, place: Place::local(place.to_owned()), seconds, of: TimeOf::Manifest })
}

impl Files {
    /// As the parameters say.
    ///
    /// Errors: paths that are not there, patterns that are none.
    pub fn open(params: &Params, host: &str) -> Result<Files> {
        let paths = paths(params)?;
        let rules = Rules::of(params)?;
        let narrowed = Narrowed { excluded: rules.words.clone(), ..Narrowed::default() };
        let (without_changed, without_inode) = (params.has("ignore-ctime"), params.has("ignore-inode"));
        let compared = Compared { without_changed, without_inode };
        let (node, time) = this_machine(host, paths.first().map_or(Path::new("/"), PathBuf::as_path));
        let (node, shard, times) = ([node], [shard()], [time]);
        Ok(Files { node, shard, times, narrowed, paths, rules, compared, passed: Passed::default() })
    }

    /// What is known from before: of this very backup, of one that died, and of the last one.
    fn remembered<'a>(&self, contents: &Contents<'a>, watch: &Watch) -> Result<Vec<Before<'a>>> {
        let mut all = Vec::new();
        if let Some(path) = contents.memory {
            // A shard may be read twice in one backup, and what was stored the first time is not read again; nor what a backup stored
            // that died, as far as that shows: of what did not commit nothing is sure.
            let (new, pass) = (beside(path, "new"), beside(path, "pass"));
            if contents.remembers && fs::rename(&new, &pass).is_ok() {
                let is_ours = self.passed.began.load(Ordering::Relaxed);
                all.extend(Remembered::open(&pass).map(|files| Before::new(files, is_ours)));
            }
            self.passed.began.store(true, Ordering::Relaxed);
            if let Some(end) = ending(path)
                && contents.sink.stands_on(&end.snapshot)?
                && let Some(files) = Remembered::open(path)
            {
                watch.bytes_total.store(end.bytes, Ordering::Relaxed);
                all.push(Before::new(files, true));
                return Ok(all);
            }
        }
        if let Some((snapshot, run)) = contents.earlier.records()? {
            all.push(Before::new(EarlierFiles::new(run), contents.sink.stands_on(&snapshot)?));
        }
        Ok(all)
    }

    fn run<'a>(&'a self, taking: Taking<'a>) -> Result<FilesRun<'a>> {
        let lacking = || Error::new(Kind::Usage, "files", "cannot be read without a place for their contents");
        let contents = taking.contents.ok_or_else(lacking)?;
        let remembered = self.remembered(&contents, taking.watch)?;
        let remembering =
            contents.memory.filter(|_| contents.remembers).and_then(|path| Remembering::create(path).ok());
        let problems = Arc::new(Problems::new(taking.watch));
        let wanted = Wanted::of(&self.paths);
        let walker = Walker::new(wanted, &self.rules, remembered, contents.sink, problems.clone())?;
        let reader = FileReader {
            contents,
            watch: taking.watch,
            compared: self.compared,
            larger_than: self.rules.larger_than,
            names: Names::default(),
            problems,
        };
        let links = Links::new(contents.memory.and_then(Path::parent).map_or_else(std::env::temp_dir, Path::to_owned));
        Ok(FilesRun::new(walker, reader, remembering, links, &self.passed))
    }
}

impl Source for Files {
    fn nodes(&self) -> &[Node] {
        &self.node
    }

    fn shards(&self) -> &[Shard] {
        &self.shard
    }

    fn lists_all(&self) -> bool {
        true
    }

    fn bytes(&self, _: &Shard) -> u64 {
        self.passed.bytes.load(Ordering::Relaxed)
    }

    fn times(&self) -> &[CaptureTime] {
        &self.times
    }

    fn parts<'a>(&'a self, _: &Shard, without: &Without, taking: Taking<'a>) -> Result<Vec<NodeParts<'a>>> {
        if !without.is_empty() {
            return Err(Error::damaged("files", "hold something that no record can"));
        }
        let open = Box::new(move |_: &_| self.run(taking).map(|run| Box::new(run) as Box<dyn Run + 'a>));
        let part = Part { name: SHARD.to_owned(), files: Vec::new(), bytes: 0, rank: 0, from: Ok(Vec::new()), open };
        Ok(vec![NodeParts { node: 0, owned: Owned::All, parts: vec![part] }])
    }

    fn captured(&self, _: &Shard) -> Vec<bool> {
        vec![true]
    }

    fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    fn stands(&self, snapshot: &str) -> Result<()> {
        match &*lock(&self.passed.aside) {
            Some(aside) => aside.stands(snapshot),
            None => Ok(()),
        }
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<Value> {
        let paths: Vec<_> = self.paths.iter().map(|path| path.to_string_lossy()).collect();
        Ok(if shard.is_some() { json!({}) } else { json!({ "paths": paths }) })
    }
}
