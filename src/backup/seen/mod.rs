//! What this machine remembers of the records that it stored last: for each shard keys and fingerprints, so that a night finds what
//! changed without reading the store.
//!
//! ```text
//! DIR/seen/secret                                             what fingerprints are taken with: 16 bytes, drawn on this machine
//! DIR/seen/<repository>/<place>-<writer>/<cluster and shard>  of one shard: blocks, then what it is of (see `file`)
//! ```
//! A file is of one state of a shard, named by its digest and its trees: whatever else it may be of, it is passed over, and the view is
//! read in its place. So it need not be durable, nor be replaced with the commit.

pub mod entry;
mod file;

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use repo_format::id::RepoId;
use repo_format::key::SignKey;
use repo_format::machine;

use crate::backup::state::of_credential;
use crate::error::{Error, Result};
use crate::merge::Prints;
use crate::repo::{Repo, world};
use crate::snapshot::Shard;
use crate::whole::{beside, read};

pub use file::{Keys, Reading, Writing};

/// What fingerprints are taken with.
pub struct Printer([u8; 16]);

impl Prints for Printer {
    fn print(&self, body: &[u8]) -> [u8; 16] {
        machine::print(&self.0, body)
    }
}

/// What this machine remembers of one credential's backups in one repository.
#[derive(Clone)]
pub struct Seen {
    folder: PathBuf,
    printer: Arc<Printer>,
    key: SignKey,
    repo: RepoId,
}

/// What a file is of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Of {
    /// Digest of the records, hex.
    pub digest: String,
    /// Ids of the trees that hold them.
    pub trees: Vec<String>,
}

impl Of {
    /// Of a shard as a snapshot has it.
    pub fn shard(shard: &Shard) -> Of {
        Of { digest: shard.digest.clone(), trees: shard.layers.iter().map(|tree| tree.id.clone()).collect() }
    }
}

impl Seen {
    /// Of the credential that opened `repo`, below `dir`; `None` where it does not write.
    ///
    /// Errors: the secret cannot be read or written.
    pub fn of(repo: &Repo, dir: Option<&Path>) -> Result<Option<Seen>> {
        let (Some(dir), Some(key)) = (dir, repo.ring().writer.as_ref()) else { return Ok(None) };
        let dir = dir.join("seen");
        let folder = of_credential(repo, key, &dir);
        let failed = |e| Error::io(folder.display(), e);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let printer = Arc::new(Printer(secret(&dir.join("secret"))?));
        Ok(Some(Seen { folder, printer, key: key.clone(), repo: repo.ring().repo_id }))
    }

    fn path(&self, cluster: &str, shard: &str) -> PathBuf {
        self.folder.join(blake3::hash(format!("{}:{cluster}{shard}", cluster.len()).as_bytes()).to_hex().as_str())
    }

    /// Where an engine remembers what it read of a cluster.
    pub fn memory(&self, engine: &str, cluster: &str) -> PathBuf {
        self.folder.join(format!("{engine}-{}", blake3::hash(cluster.as_bytes()).to_hex()))
    }

    /// What is remembered of a shard. `None` where there is nothing.
    ///
    /// Errors: there is something, and it is not of that state of the shard, or not to be read.
    pub fn keys(&self, cluster: &str, shard: &str, of: &Of) -> Result<Option<Keys>> {
        let path = self.path(cluster, shard);
        if !path.exists() {
            return Ok(None);
        }
        Keys::find(self, path, of).map(Some)
    }

    /// Begins to remember a shard anew.
    pub fn write(&self, cluster: &str, shard: &str) -> Result<Writing> {
        Writing::create(self, beside(&self.path(cluster, shard), "new"))
    }

    /// What was written of a shard takes the place of what was remembered: the backup has committed.
    pub fn stands(&self, cluster: &str, shard: &str) -> Result<()> {
        let path = self.path(cluster, shard);
        match fs::rename(beside(&path, "new"), &path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path.display(), e)),
            _ => Ok(()),
        }
    }
}

/// The secret in a file, which is made where there is none.
fn secret(path: &Path) -> Result<[u8; 16]> {
    let failed = |e| Error::io(path.display(), e);
    let made = world::random::<16>()?;
    match File::options().create_new(true).write(true).mode(0o600).open(path) {
        Ok(mut file) => {
            file.write_all(&made).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(made)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let bytes = read(path, 16, "is too long for a secret")?;
            let hint = "remove it: what this machine remembers is then made anew";
            <[u8; 16]>::try_from(bytes.as_slice())
                .map_err(|_| Error::damaged(path.display(), "is no secret of 16 bytes").hint(hint))
        }
        Err(e) => Err(failed(e)),
    }
}
