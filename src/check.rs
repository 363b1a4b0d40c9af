//! Is everything there that the snapshots need? Objects are verified by the repository; here their trees are walked, and
//! every part of every snapshot (a table, a node's patch of one, a kept file) is told that reaches a chunk which cannot be read.

mod proofs;
pub mod ranges;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use repo_format::credential::Sets;

use crate::engine::{Engine, KeyRange};
use crate::error::{Error, Kind, Result};
use crate::repo::check::{CheckStats, Examined, Reads};
use crate::repo::{Reader, Repo};
use crate::run::{ChunkId, ChunkKind, Reached};
use crate::snapshot::Snapshot;
use crate::watch::Watch;
use proofs::Proofs;
use ranges::Keys;

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
    /// Of a table: where the keys lie of which something is lost; what lies elsewhere is whole. None known: anywhere.
    pub ranges: Vec<Keys>,
}

/// Objects that are named for one table.
const BLAMED: usize = 4;

/// Verifies the repository. `engines` explain its tables. Damage goes into `watch`; an error means that checking itself failed. Without *read* only
/// objects are verified, and none of their contents: reading packs is denied.
pub fn check(repo: &Repo, engines: &[&dyn Engine], options: Options, watch: &Watch) -> Result<Checked> {
    if options.reads != Reads::None {
        // Without it packs can be hashed, but nothing in them be opened: that is not what is asked for.
        repo.needs(Sets::READ)?;
    }
    let (examined, mut checked) = if repo.ring().read.is_empty() {
        let examined = repo.check(options.reads, watch)?;
        let checked = Checked { objects: examined.stats, ..Checked::default() };
        (examined, checked)
    } else {
        with_trees(repo, engines, options.reads, watch)?
    };
    match repo.declare(&examined, options.declare_lost) {
        Ok(said) => checked.declared = said,
        // Checking is reading: a store that cannot be written to is checked all the same.
        Err(e) => watch.problem(false, "log", format!("what is lost or found again could not be declared: {e}")),
    }
    Ok(checked)
}

/// Tables are read first, and the frames opened for them are not opened again for the packs.
fn with_trees(repo: &Repo, engines: &[&dyn Engine], reads: Reads, watch: &Watch) -> Result<(Examined, Checked)> {
    repo.refresh()?;
    let reader = repo.reader()?;
    let mut proofs = (reads == Reads::All).then(|| Proofs::new(&reader, engines, watch));
    if let Some(proofs) = &mut proofs {
        reader.remember_opened();
        proofs.read(repo)?;
    }
    let examined = repo.check_but(reads, &reader.take_opened(), watch)?;
    let mut checked = Checked { objects: examined.stats, ..Checked::default() };
    walk(repo, (&reader, proofs), &examined, watch, &mut checked)?;
    Ok((examined, checked))
}

/// Walks the trees of all snapshots, once it is known what of the objects is wrong.
pub fn trees(repo: &Repo, examined: &Examined, watch: &Watch) -> Result<Checked> {
    let mut checked = Checked { objects: examined.stats, ..Checked::default() };
    walk(repo, (&repo.reader()?, None), examined, watch, &mut checked)?;
    Ok(checked)
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
        let read = repo.snapshot(&info.id).and_then(|s| Ok((Snapshot::decode(&s.says)?, s.roots)));
        let harmed = match read {
            Ok((snapshot, roots)) => {
                same_roots(&id, &snapshot, roots, watch);
                let mut harmed = walk.snapshot(&id, &snapshot)?;
                if let Some(proofs) = &mut proofs {
                    proofs.snapshot(&id, &snapshot, &mut harmed)?;
                }
                harmed
            }
            Err(e) if is_damage(&e) => {
                watch.problem(true, format!("snapshot {id}"), &e);
                let objects = BTreeSet::from([format!("snapshot/{id}")]);
                vec![Harmed { snapshot: id, part: None, chunks: 0, objects, ranges: Vec::new() }]
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

/// Whoever prunes marks from the roots that the object names, and need not know its documents: so these name no others.
fn same_roots(id: &str, snapshot: &Snapshot, mut roots: Vec<(ChunkKind, ChunkId)>, watch: &Watch) {
    roots.sort_unstable();
    roots.dedup();
    // What is no id at all is told of the part that has it.
    if snapshot.roots().is_ok_and(|named| named != roots) {
        let message =
            "its documents name other chunks than it says: another program's prune may take away what they need";
        watch.problem(true, format!("snapshot {id}"), message);
    }
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
    /// Of a table: the keys that it speaks of.
    ranges: Vec<KeyRange>,
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
        other.ranges.iter().for_each(|range| ranges::join(&mut self.ranges, range.clone()));
    }
}

impl Walk<'_> {
    /// The parts of a snapshot that are not whole.
    fn snapshot(&mut self, id: &str, snapshot: &Snapshot) -> Result<Vec<Harmed>> {
        let mut parts: BTreeMap<String, Harm> = BTreeMap::new();
        // From the root to the chunk last shown.
        let mut path: Vec<ChunkId> = Vec::new();
        let (watch, reader) = (self.watch, self.reader);
        snapshot.reach_by_keys(reader, &mut |part, keys, reached| {
            watch.check()?;
            let (harm, goes_on) = self.look(part, reached, &mut path)?;
            if let Some(mut harm) = harm {
                if let (Some((from, to)), true) = (keys, harm.ranges.is_empty()) {
                    ranges::join(&mut harm.ranges, (from.to_vec(), to.to_vec()));
                }
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
            let ranges = harm.ranges.into_iter().map(Keys::new).collect();
            Harmed { snapshot: id.to_owned(), part: Some(part), chunks: harm.chunks, objects: harm.objects, ranges }
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
            ranges: Vec::new(),
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
        Ok(Harm { chunks, first: format!("{}: {}", e.subject(), e.message()), objects, ranges: Vec::new() })
    }
}

/// Whether something stored is not as it should be; other errors end the check.
fn is_damage(e: &Error) -> bool {
    matches!(e.kind(), Kind::Damaged | Kind::NotFound | Kind::Unsupported | Kind::TooLarge | Kind::Io)
}
