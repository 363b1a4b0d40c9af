//! The rows of all tables into a folder, a file each. `restore.json` there names the snapshot, the options and the files that are
//! done, so that the same command, repeated, goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rows;
use crate::engine::target::is_of_one_shard;
use crate::engine::text::TextForm;
use crate::engine::{Engine, Show, split_name};
use crate::error::{Error, Kind, Result};
use crate::restore::tables::of_table;
use crate::run::ChunkSource;
use crate::snapshot::{Shard, Snapshot};
use crate::view::{Side, View};
use crate::watch::Watch;
use crate::whole::arguments::{Arguments, NAME, State, lock, other, same};
use crate::whole::{replace, unused, write_then};

const VERSION: u32 = 0;
/// Bytes of a file's name that are left for it beside `.new`.
const NAME_MAX: usize = 251;

/// What is asked for.
pub struct Request<'a> {
    /// Id of the snapshot.
    pub snapshot: String,
    /// The snapshot's engine.
    pub engine: &'a dyn Engine,
    /// Whose rows.
    pub side: Side,
    /// What of them.
    pub show: Show,
    /// In which form.
    pub form: TextForm,
    /// Counts what is read.
    pub watch: &'a Watch,
}

/// What a restore of all tables came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Rows written now.
    pub rows: u64,
    /// Tables that an earlier run had done.
    pub kept: usize,
    /// Tables that cannot be written; nothing of them is there.
    pub refused: Vec<Error>,
}

/// What `restore.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Document {
    what: String,
    version: u32,
    state: State,
    arguments: Arguments,
    /// Files that are done, by table.
    tables: BTreeMap<String, Written>,
}

/// A file that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    rows: u64,
    bytes: u64,
}

/// Writes every table below `out`. What the same restore wrote there before is kept, and anything else left alone.
///
/// Errors: `Busy` where another process is at it; `AlreadyExists` where another restore is there, or a file that none of ours
/// wrote; what reading gives. What concerns one table alone is in [`Report::refused`].
pub fn all(s: &Snapshot, request: &Request<'_>, chunks: &dyn ChunkSource, out: &Path) -> Result<Report> {
    let mut folder = Folder::open(out, request)?;
    let extension = request.form.extension();
    let (mut report, mut missing) = (Report::default(), Vec::new());
    for shard in &s.shards {
        match path(out, shard, extension) {
            Err(e) => report.refused.push(e),
            Ok(path) if folder.holds(shard, &path)? => report.kept += 1,
            Ok(path) => missing.push((shard, path)),
        }
    }
    folder.document.state = State::Writing;
    for (shard, path) in missing {
        match folder.put(s, shard, &path, request, chunks) {
            Ok(written) => report.rows += written.rows,
            Err(e) if is_of_one_shard(&e) => report.refused.push(of_table(shard, e)),
            Err(e) => return Err(goes_on(e)),
        }
    }
    if report.refused.is_empty() {
        folder.document.state = State::Complete;
    }
    folder.write().map_err(goes_on)?;
    Ok(report)
}

fn goes_on(e: Error) -> Error {
    match e.kind() {
        Kind::Full => {
            e.hint("make room and repeat the command: tables that are done are kept, restore.json names them")
        }
        Kind::Interrupted => e.hint("repeat the command to go on: tables that are done are kept"),
        _ => e,
    }
}

/// `lab.users.json`; where that is longer than a name may be, `lab/users.json`.
fn path(out: &Path, shard: &Shard, extension: &str) -> Result<PathBuf> {
    let (outer, table) = split_name(&shard.name);
    let (whole, short) = (format!("{}.{extension}", shard.name), format!("{table}.{extension}"));
    let odd =
        shard.name.starts_with('.') || table.is_empty() || shard.name.contains(['/', '\0']) || outer.len() > NAME_MAX;
    if odd || short.len() > NAME_MAX {
        return Err(Error::new(
            Kind::Unsupported,
            format_args!("table {}", shard.name),
            "has a name that no file can have",
        ));
    }
    Ok(if whole.len() <= NAME_MAX { out.join(whole) } else { out.join(outer).join(short) })
}

/// The folder, held by us alone.
struct Folder {
    path: PathBuf,
    document: Document,
    _lock: File,
}

impl Folder {
    fn open(path: &Path, request: &Request<'_>) -> Result<Folder> {
        fs::create_dir_all(path).map_err(|e| Error::io(path.display(), e))?;
        let lock = lock(path)?;
        let show = request.show;
        let what = match request.form {
            TextForm::Json => "onefold restore --to json",
            TextForm::Csv => "onefold restore --to csv",
        };
        let node = match request.side {
            Side::Node(node) => Some(node),
            Side::Reconciled | Side::WithUnowned => None,
        };
        let arguments: Arguments = [
            ("snapshot", json!(request.snapshot)),
            ("node", json!(node)),
            ("unowned", json!(request.side == Side::WithUnowned)),
            ("writetime", json!(show.write_times)),
            ("ttl", json!(show.ttls)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let name = path.join(NAME);
        let document = match fs::read(&name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Document {
                what: what.to_owned(),
                version: VERSION,
                state: State::Writing,
                arguments,
                tables: BTreeMap::new(),
            },
            Err(e) => return Err(Error::io(name.display(), e)),
            Ok(bytes) => {
                let foreign = |e: serde_json::Error| {
                    Error::new(Kind::AlreadyExists, path.display(), format!("{NAME} is not one of ours: {e}"))
                        .hint("give --out a folder that is empty or not there yet")
                };
                let before: Document = serde_json::from_slice(&bytes).map_err(foreign)?;
                if before.what != what || before.version > VERSION {
                    return Err(other(path, &format!("it is {} (version {})", before.what, before.version)));
                }
                same(path, &before.arguments, &arguments)?;
                before
            }
        };
        Ok(Folder { path: path.to_path_buf(), document, _lock: lock })
    }

    /// Whether a table is done. A file that this restore did not write, or that is no longer as it was written, is refused.
    fn holds(&self, shard: &Shard, path: &Path) -> Result<bool> {
        let Some(done) = self.document.tables.get(&shard.name) else { return unused(path).map(|()| false) };
        match fs::metadata(path) {
            Ok(there) if there.is_file() && there.len() == done.bytes => Ok(true),
            Ok(_) => Err(Error::new(Kind::AlreadyExists, path.display(), "was changed since it was written")
                .hint("remove it, to have it written again, or give another --out")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io(path.display(), e)),
        }
    }

    /// Writes a table.
    fn put(
        &mut self,
        s: &Snapshot,
        shard: &Shard,
        path: &Path,
        request: &Request<'_>,
        chunks: &dyn ChunkSource,
    ) -> Result<Written> {
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            let made = fs::create_dir(folder).and_then(|()| File::open(&self.path)?.sync_all());
            made.map_err(|e| Error::io(folder.display(), e))?;
        }
        let fill = |to: &mut dyn Write| {
            let mut counted = Counted { to, bytes: 0 };
            let view = View::open(request.engine, s, shard, chunks)?.of(request.side).watched(request.watch);
            let rows = rows(&view, None, request.show, request.form, &mut counted)?;
            Ok(Written { rows, bytes: counted.bytes })
        };
        // Ours before it has its name: killed in between, the next run finds no file and writes it again.
        write_then(path, fill, |written| {
            self.document.tables.insert(shard.name.clone(), *written);
            self.write()
        })
    }

    fn write(&self) -> Result<()> {
        let path = self.path.join(NAME);
        let mut bytes = serde_json::to_vec_pretty(&self.document).map_err(|e| Error::damaged(NAME, e))?;
        bytes.push(b'\n');
        replace(&path, &bytes).map(drop).map_err(|e| Error::io(path.display(), e))
    }
}

/// Counts what is written.
struct Counted<'a> {
    to: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
