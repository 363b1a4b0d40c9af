//! `onefold init`

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use repo_format::keyfile::KeyFile;
use serde_json::json;

use super::access::{self, Secret};
use super::args::{Global, Init};
use super::{Outcome, Output};
use crate::error::{Error, Kind, Result};
use crate::repo::{InitOptions, Repo, world};

/// Makes a repository.
pub fn run(global: &Global, args: &Init, output: &Output) -> Result<Outcome> {
    let store = access::store(global)?;
    let secret = match &args.new_key_file {
        Some(path) => Secret::KeyFile(new_key_file(path)?),
        None => access::secret(global)?,
    };
    let cache = access::cache_dir(global);
    let repo = Repo::init(store, secret.unlock(), cache.as_deref(), InitOptions::default()).inspect_err(|e| {
        // Where there is a repository already, the new key opens nothing. Otherwise it may: it stays.
        if let (Kind::AlreadyExists, Some(path)) = (e.kind(), &args.new_key_file) {
            let _ = fs::remove_file(path);
        }
    })?;
    let place = repo.store().place();
    let id = repo.ring().repo_id.to_string();
    let made = format!("made repository {id} at {place}");
    let printed = match output.is_json() {
        true => output.object(&json!({ "message_type": "initialized", "id": id, "repository": place })),
        false => output.line(&made),
    };
    if !output.is_json() {
        output.note("Without its password or key file nothing in it can be read: keep it in a second place.");
    }
    output.told(printed, &made);
    Ok(Outcome::Fine)
}

/// Makes a key file that only this user may read.
pub fn new_key_file(path: &Path) -> Result<KeyFile> {
    let key = KeyFile::from_bytes(world::random()?);
    let failed = |e| Error::io(path.display(), e);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key.to_text().as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(key)
}
