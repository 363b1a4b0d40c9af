//! Is everything there that the snapshots need? Objects are verified by the repository; here their trees are walked, and
//! every part of every snapshot (a table, a node's patch of one, a kept file) is told that reaches a chunk which cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use repo_format::credential::Sets;

use crate::error::{Error, Kind, Result};
use crate::repo::check::{CheckStats, Examined, Reads};
use crate::repo::{Reader, Repo};
use crate::run::{ChunkId, Reached};
use crate::snapshot::{self, Shard, Snapshot};
use crate::view;
use crate::watch::Watch;

/// How to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Which packs are read and opened, too; with all of them every table is read as a restore would.
    pub reads: Reads,
    /// Declares packs lost that are missing or damaged now, however many and since whenever.
    pub declare_lost: bool,
}

/// What was looked at, and what it came to.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Checked {
    /// Objects.
    #[serde(flatten)]
    pub objects: CheckStats,
    /// Snapshots whose trees were walked.
    pub trees_of: u64,
    /// Chunks that the snapshots reach, those that several share once for each shard.
    pub reached: u64,
    /// Snapshots that can be restored whole.
    pub whole: u64,
    /// What cannot.
    pub harmed: Vec<Harmed>,
    /// What was written into the log of packs that are lost or found again, or why nothing was.
    pub declared: Vec<String>,
}

/// A part of a snapshot that cannot be given back whole.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Harmed {
    /// The snapshot's id.
    pub snapshot: String,
    /// A table; `<table>: patch of node n2`, where it is no longer known how that node differs and the table itself is whole;
    /// `node n2: <path>`, a kept file; `patches of nodes` or `kept files`, some of which cannot be named any more.
    /// `None`: all of it, because the snapshot itself cannot be read.
    pub part: Option<String>,
    /// How many of its chunks cannot be read. There may be more below those. 0: all can, but what they give are other
    /// records than were backed up.
    pub chunks: u64,
    /// Objects that are to blame, up to [`BLAMED`].
    pub objects: BTreeSet<String>,
}

/// Objects that are named for one table.
const BLAMED: usize = 4;

/// Verifies the repository. Damage goes into `watch`; an error means that checking itself failed. Without *read* only
/// objects are verified, and none of their contents: reading packs is denied.
pub fn check(repo: &Repo, options: Options, watch: &Watch) -> Result<Checked> {
    if options.reads != Reads::None {
        // Without it packs can be hashed, but nothing in them be opened: that is not what is asked for.
        repo.needs(Sets::READ)?;
    }
    let (examined, mut checked) = if repo.ring().read.is_empty() {
        let examined = repo.check(options.reads, watch)?;
        let checked = Checked { objects: examined.stats, ..Checked::default() };
        (examined, checked)
    } else {
        with_trees(repo, options.reads, watch)?
    };
    match repo.declare(&examined, options.declare_lost) {
        Ok(said) => checked.declared = said,
        // Checking is reading: a store that cannot be written to is checked all the same.
        Err(e) => watch.problem(false, "log", format!("what is lost or found again could not be declared: {e}")),
    }
    Ok(checked)
}

/// Tables are read first, and the frames opened for them are not opened again for the packs.
fn with_trees(repo: &Repo, reads: Reads, watch: &Watch) -> Result<(Examined, Checked)> {
    repo.refresh()?;
    let reader = repo.reader()?;
    let mut proofs = (reads == Reads::All).then(|| Proofs { reader: &reader, watch, known: HashMap::new() });
    if let Some(proofs) = &mut proofs {
        reader.remember_opened();
        proofs.read(repo)?;
    }
    let examined = repo.check_but(reads, &reader.take_opened(), watch)?;
    let mut checked = Checked { objects: examined.stats, ..Checked::default() };
    walk(repo, (&reader, proofs), &examined, watch, &mut checked)?;
    Ok((examined, checked))
}

fn walk(
    repo: &Repo,
    (reader, mut proofs): (&Reader, Option<Proofs>),
    examined: &Examined,
    watch: &Watch,
    checked: &mut Checked,
) -> Result<()> {
    let mut walk = Walk { repo, examined, watch, reader, seen: HashSet::new(), harmed: HashMap::new(), reached: 0 };
    for info in repo.snapshots() {
        let id = info.id.to_string();
        let read = repo.snapshot(&info.id).and_then(|s| Snapshot::decode(&s.says));
        let harmed = match read {
            Ok(snapshot) => {
                let mut harmed = walk.snapshot(&id, &snapshot)?;
                if let Some(proofs) = &mut proofs {
                    proofs.snapshot(&id, &snapshot, &mut harmed)?;
                }
                harmed
            }
            Err(e) if is_damage(&e) => {
                watch.problem(true, format!("snapshot {id}"), &e);
                let objects = BTreeSet::from([format!("snapshot/{id}")]);
                vec![Harmed { snapshot: id, part: None, chunks: 0, objects }]
            }
            Err(e) => return Err(e),
        };
        checked.whole += u64::from(harmed.is_empty());
        checked.harmed.extend(harmed);
        checked.trees_of += 1;
    }
    checked.reached = walk.reached;
    Ok(())
}

struct Walk<'a> {
    repo: &'a Repo,
    examined: &'a Examined,
    watch: &'a Watch,
    reader: &'a Reader,
    /// Chunks with others under them that were walked already: snapshots share most of them. Leaves without blobs are not kept.
    seen: HashSet<ChunkId>,
    /// Those of `seen` that cannot be read, or under which chunks cannot.
    harmed: HashMap<ChunkId, Harm>,
    reached: u64,
}

/// What is wrong below a chunk, or with a part of a snapshot.
#[derive(Debug, Clone, Default)]
struct Harm {
    chunks: u64,
    objects: BTreeSet<String>,
    /// What was found first.
    first: String,
}

impl Harm {
    fn add(&mut self, other: &Harm) {
        self.chunks += other.chunks;
        for object in &other.objects {
            if self.objects.len() < BLAMED {
                self.objects.insert(object.clone());
            }
        }
        if self.first.is_empty() {
            self.first.clone_from(&other.first);
        }
    }
}

impl Walk<'_> {
    /// The parts of a snapshot that are not whole.
    fn snapshot(&mut self, id: &str, snapshot: &Snapshot) -> Result<Vec<Harmed>> {
        let mut parts: BTreeMap<String, Harm> = BTreeMap::new();
        // From the root to the chunk last shown.
        let mut path: Vec<ChunkId> = Vec::new();
        let (watch, reader) = (self.watch, self.reader);
        snapshot.reach(reader, &mut |part, reached| {
            watch.check()?;
            let (harm, goes_on) = self.look(part, reached, &mut path)?;
            if let Some(harm) = harm {
                for above in &path {
                    self.harmed.entry(*above).or_default().add(&harm);
                }
                parts.entry(part.to_owned()).or_default().add(&harm);
            }
            Ok(goes_on)
        })?;
        let harmed = parts.into_iter().map(|(part, harm)| {
            let others =
                if harm.chunks > 1 { format!(" (and {} more of its chunks)", harm.chunks - 1) } else { String::new() };
            watch.problem(true, format!("snapshot {id}: {part}"), format_args!("{}{others}", harm.first));
            Harmed { snapshot: id.to_owned(), part: Some(part), chunks: harm.chunks, objects: harm.objects }
        });
        Ok(harmed.collect())
    }

    /// What is wrong with what was reached, and whether to look below it. `path` then leads to it, and not to a chunk under
    /// which nothing hangs.
    fn look(&mut self, part: &str, reached: Reached, path: &mut Vec<ChunkId>) -> Result<(Option<Harm>, bool)> {
        let (id, parent, more) = match reached {
            Reached::Broken(e) if is_damage(&e) => return Ok((Some(self.broken(&e, path)?), false)),
            Reached::Broken(e) => return Err(e),
            Reached::Chunk { id, parent, more, .. } => (id, parent, more),
        };
        let above = path.iter().rposition(|above| Some(*above) == parent).map_or(0, |at| at + 1);
        path.truncate(above);
        if more && !self.seen.insert(id) {
            let harm = self.harmed.get(&id);
            // Below a harmed tree of the snapshot itself, the parts that are harmed have names of their own.
            if harm.is_none() || !Snapshot::is_own(part) {
                return Ok((harm.cloned(), false));
            }
        }
        self.reached += 1;
        let harm = self.repo.blame(&self.examined.unsound, &id)?.map(|object| Harm {
            chunks: 1,
            first: format!("chunk {id}: {object} is missing or damaged"),
            objects: BTreeSet::from([object]),
        });
        if more {
            path.push(id);
        }
        let whole = harm.is_none();
        Ok((harm, whole))
    }

    /// A chunk that should be there cannot be read, or is not what it should be.
    fn broken(&self, e: &Error, path: &[ChunkId]) -> Result<Harm> {
        let mut objects = BTreeSet::new();
        if let Some(id) = path.last() {
            objects.extend(self.reader.packs_of(id)?);
        }
        // Where no chunk is to blame, all can be read.
        let chunks = u64::from(!path.is_empty());
        Ok(Harm { chunks, first: format!("{}: {}", e.subject(), e.message()), objects })
    }
}

/// Tables read as a whole, to see whether they give the records that were backed up.
struct Proofs<'a> {
    reader: &'a Reader,
    watch: &'a Watch,
    /// By a shard's roots: the digest of what reading gave, or what is wrong. So a table that did not change is read once,
    /// however many snapshots have it.
    known: HashMap<String, Read>,
}

/// What reading a table gave, or what is wrong with it.
type Read = std::result::Result<Option<String>, String>;

/// Tables that are read at once.
const TABLES: usize = 4;

impl Proofs<'_> {
    /// Reads the tables of all snapshots that can be read, and tells nothing yet: first it must be known which objects are
    /// to blame.
    fn read(&mut self, repo: &Repo) -> Result<()> {
        for info in repo.snapshots() {
            match snapshot::read(repo, &info.id) {
                Ok(snapshot) => self.shards(&snapshot.shards)?,
                Err(e) if is_damage(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Adds the tables that give other records; those that are harmed already are not looked at.
    fn snapshot(&mut self, id: &str, snapshot: &Snapshot, harmed: &mut Vec<Harmed>) -> Result<()> {
        for shard in &snapshot.shards {
            if harmed.iter().any(|h| h.part.as_ref() == Some(&shard.name)) {
                continue;
            }
            let message = match self.shard(shard)? {
                Ok(Some(digest)) if *digest != shard.digest => view::DIFFERS.to_owned(),
                Ok(_) => continue,
                Err(message) => message.to_owned(),
            };
            self.watch.problem(true, format!("snapshot {id}: {}", shard.name), message);
            let (snapshot, part) = (id.to_owned(), Some(shard.name.clone()));
            harmed.push(Harmed { snapshot, part, chunks: 0, objects: BTreeSet::new() });
        }
        Ok(())
    }

    /// Reads those that are not known yet, some side by side.
    fn shards(&mut self, shards: &[Shard]) -> Result<()> {
        let mut new: BTreeMap<String, &Shard> = BTreeMap::new();
        for shard in shards {
            let roots = roots(shard);
            if !self.known.contains_key(&roots) {
                new.insert(roots, shard);
            }
        }
        let (next, read) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let new: Vec<(String, &Shard)> = new.into_iter().collect();
        let work = || {
            while let Some((roots, shard)) = new.get(next.fetch_add(1, Ordering::Relaxed)) {
                let digest = read_whole(shard, self.reader, self.watch);
                let failed = digest.is_err();
                read.lock().unwrap_or_else(PoisonError::into_inner).push((roots.clone(), digest));
                if failed {
                    next.store(new.len(), Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).clamp(1, TABLES).min(new.len());
        thread::scope(|scope| {
            for _ in 1..threads {
                // Where there is no thread to be had, this one reads all.
                let _ = thread::Builder::new().name("check table".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        for (roots, digest) in read.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.known.insert(roots, digest?);
        }
        Ok(())
    }

    /// What reading a shard gives.
    fn shard(&mut self, shard: &Shard) -> Result<std::result::Result<Option<&str>, &str>> {
        let roots = roots(shard);
        if !self.known.contains_key(&roots) {
            self.known.insert(roots.clone(), read_whole(shard, self.reader, self.watch)?);
        }
        Ok(match self.known.get(&roots) {
            Some(Ok(digest)) => Ok(digest.as_deref()),
            Some(Err(message)) => Err(message),
            None => Ok(None),
        })
    }
}

fn roots(shard: &Shard) -> String {
    let roots: Vec<&str> = shard.layers.iter().map(|tree| tree.id.as_str()).collect();
    roots.join(" ")
}

/// The digest of what reading a shard gives, or what is wrong with it.
fn read_whole(shard: &Shard, reader: &Reader, watch: &Watch) -> Result<Read> {
    match view::digest(shard, reader, watch) {
        Ok(digest) => Ok(Ok(digest)),
        Err(e) if is_damage(&e) => Ok(Err(format!("{}: {}", e.subject(), e.message()))),
        Err(e) => Err(e),
    }
}

/// Whether something stored is not as it should be; other errors end the check.
fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::TooLarge | Kind::Io)
}
