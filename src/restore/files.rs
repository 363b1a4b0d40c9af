//! Kept files, as they were.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path};

use crate::blob;
use crate::error::{Error, Kind, Result};
use crate::run::ChunkSource;
use crate::snapshot::Snapshot;
use crate::watch::Watch;

use crate::whole::write_whole;

/// Writes kept files below `out`, each in a folder of its node's name. Nothing that is there is overwritten; what an
/// interrupted restore wrote is compared and kept.
pub fn files(s: &Snapshot, node: Option<usize>, chunks: &dyn ChunkSource, out: &Path, watch: &Watch) -> Result<u64> {
    let mut count = 0;
    for file in s.files(node, chunks)? {
        watch.check()?;
        let file = file?;
        let of = s.nodes.get(file.node).map_or("unknown", |n| n.name.as_str());
        let path = out.join(safe(of)?).join(safe(&file.name)?);
        let subject = path.display().to_string();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(&subject, e))?;
        }
        match File::open(&path) {
            Ok(there) => {
                let mut same = Same { there: BufReader::new(there), differs: false };
                blob::read(&file.content, chunks, &mut same, &subject)?;
                if same.differs || !same.ended().map_err(|e| Error::io(&subject, e))? {
                    return Err(Error::new(Kind::AlreadyExists, subject, "is there with other contents")
                        .hint("restore into an empty folder"));
                }
            }
            Err(_) => write_whole(&path, |to| blob::read(&file.content, chunks, to, &subject))?,
        }
        watch.advance(file.content.length);
        count += 1;
    }
    Ok(count)
}

/// Compares what is written to it with a file.
struct Same {
    there: BufReader<File>,
    differs: bool,
}

impl Same {
    fn ended(&mut self) -> io::Result<bool> {
        Ok(self.there.fill_buf()?.is_empty())
    }
}

impl Write for Same {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        self.differs |= match self.there.read_exact(&mut there) {
            Ok(()) => there != bytes,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => true,
            Err(e) => return Err(e),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A path that stays below the folder it is joined to.
fn safe(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    if path.components().all(|c| matches!(c, Component::Normal(_))) && !name.is_empty() {
        return Ok(path);
    }
    Err(Error::new(Kind::Damaged, format!("file {name}"), "would lie outside the folder"))
}
