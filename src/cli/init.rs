//! `onefold init`

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use repo_format::keyfile::KeyFile;
use serde_json::json;

use super::args::{Global, Init};
use super::secret::{self, Secret};
use super::{Outcome, Output, access};
use crate::error::{Error, Kind, Result};
use crate::repo::{InitOptions, Like, Repo, world};
use crate::store;

/// Makes a repository.
pub fn run(global: &Global, args: &Init, output: &Output) -> Result<Outcome> {
    let store = access::store(global)?;
    let like = like(global, args)?;
    let secret = match &args.new_key_file {
        Some(path) => Secret::KeyFile(new_key_file(path)?),
        None => secret::of(global)?,
    };
    let cache = access::cache_dir(global);
    let options = InitOptions { like, ..InitOptions::default() };
    let repo = Repo::init(store, secret.unlock(), cache.as_deref(), options).inspect_err(|e| {
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
        output.note("Without what opens it nothing in it can be read: keep that in a second place (`onefold key export --paper`).");
    }
    output.told(printed, &made);
    Ok(Outcome::Fine)
}

/// What is shared with the repository that the new one is to be like.
fn like(global: &Global, args: &Init) -> Result<Option<Like>> {
    let Some(place) = &args.like else { return Ok(None) };
    let secret = match secret::of_other(args)? {
        Some(secret) => secret,
        None => secret::of(global)?,
    };
    let other = access::with_log(store::open(place)?, args.like_log_store.as_deref())?;
    let other =
        Repo::open(other, secret.unlock(), access::cache_dir(global).as_deref()).map_err(|e| e.within("--like"))?;
    Ok(Some(Like::of(&other)))
}

/// Makes a key file that only this user may read.
pub fn new_key_file(path: &Path) -> Result<KeyFile> {
    let key = KeyFile::from_bytes(world::random()?);
    new_secret_file(path, &key.to_text())?;
    Ok(key)
}

/// Makes a file, which is not there yet, that only this user may read.
pub fn new_secret_file(path: &Path, text: &str) -> Result<()> {
    let failed = |e| Error::io(path.display(), e);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
