//! Kept files, as they were.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Component, Path};

use crate::blob;
use crate::error::{Error, Kind, Result};
use crate::run::ChunkSource;
use crate::snapshot::{self, Snapshot};
use crate::watch::Watch;

/// The files kept of one node, or of all.
pub fn kept_files(s: &Snapshot, node: Option<usize>) -> impl Iterator<Item = &snapshot::File> {
    s.files.iter().filter(move |f| node.is_none_or(|n| n == f.node))
}

/// Writes kept files below `out`, each in a folder of its node's name. Nothing that is there is overwritten.
pub fn files(s: &Snapshot, node: Option<usize>, chunks: &dyn ChunkSource, out: &Path, watch: &Watch) -> Result<u64> {
    let mut count = 0;
    for file in kept_files(s, node) {
        watch.check()?;
        let of = s.nodes.get(file.node).map_or("unknown", |n| n.name.as_str());
        let path = out.join(safe(of)?).join(safe(&file.name)?);
        let failed = |e| Error::io(path.display(), e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let created = File::create_new(&path).map_err(|e| failed(e).hint("restore into an empty folder"))?;
        let mut to = BufWriter::new(created);
        blob::read(&file.blob()?, chunks, &mut to, &path.display().to_string())?;
        to.flush().map_err(failed)?;
        to.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
        watch.advance(file.length);
        count += 1;
    }
    Ok(count)
}

/// A path that stays below the folder it is joined to.
fn safe(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    if path.components().all(|c| matches!(c, Component::Normal(_))) && !name.is_empty() {
        return Ok(path);
    }
    Err(Error::new(Kind::Damaged, format!("file {name}"), "would lie outside the folder"))
}
