//! From arguments and environment to an open repository. Secrets are wiped after use and never printed.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use zeroize::Zeroizing;

use super::args::Global;
use crate::error::{Error, Kind, Result};
use crate::repo::Repo;
use crate::store::{self, Store};

/// What opens a repository.
pub enum Secret {
    /// A password.
    Password(Zeroizing<String>),
    /// A key file.
    KeyFile(KeyFile),
}

impl Secret {
    /// As the format wants it.
    pub fn unlock(&self) -> Unlock<'_> {
        match self {
            Secret::Password(password) => Unlock::Password(password.as_bytes()),
            Secret::KeyFile(file) => Unlock::KeyFile(file),
        }
    }
}

/// The store that `--repository` names.
pub fn store(global: &Global) -> Result<Arc<dyn Store>> {
    let place = global.repository.as_deref().ok_or_else(|| {
        Error::new(Kind::Usage, "repository", "none was given").hint("use -r PLACE or set ONEFOLD_REPOSITORY")
    })?;
    store::open(place)
}

/// The folder of the cache; `None` with `--no-cache` or where there is no home.
pub fn cache_dir(global: &Global) -> Option<PathBuf> {
    if global.no_cache {
        return None;
    }
    global.cache_dir.clone().or_else(|| standard("XDG_CACHE_HOME", ".cache"))
}

/// The folder of what is remembered and cannot be made again; `None` where there is no home.
#[cfg(feature = "cql")]
pub fn state_dir() -> Option<PathBuf> {
    standard("XDG_STATE_HOME", ".local/state")
}

/// Our folder in a standard one, which a variable names or which lies in the home.
fn standard(variable: &str, in_home: &str) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    Some(named(variable).or_else(|| Some(named("HOME")?.join(in_home)))?.join("onefold"))
}

/// The password or key file, from options, the environment, or the terminal.
pub fn secret(global: &Global) -> Result<Secret> {
    if let Some(path) = &global.key_file {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?);
        let file = KeyFile::from_text(&text).map_err(|_| {
            Error::new(Kind::Denied, path.display(), "is no key file").hint("`onefold init --new-key-file` makes one")
        })?;
        return Ok(Secret::KeyFile(file));
    }
    if let Some(path) = &global.password_file {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?);
        return first_line(&text, &path.display().to_string());
    }
    if let Some(command) = &global.password_command {
        return from_command(command);
    }
    if let Ok(password) = std::env::var("ONEFOLD_PASSWORD") {
        return first_line(&Zeroizing::new(password), "ONEFOLD_PASSWORD");
    }
    let prompted = rpassword::prompt_password("password of the repository: ");
    let typed = prompted.map(Zeroizing::new).map_err(|_| {
        Error::new(Kind::Denied, "password", "none was given")
            .hint("set ONEFOLD_PASSWORD, ONEFOLD_PASSWORD_FILE or ONEFOLD_PASSWORD_COMMAND, or give --key-file")
    })?;
    first_line(&typed, "password")
}

fn first_line(text: &str, subject: &str) -> Result<Secret> {
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Error::new(Kind::Denied, subject, "holds no password"));
    }
    Ok(Secret::Password(Zeroizing::new(line.to_owned())))
}

fn from_command(command: &str) -> Result<Secret> {
    let run = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = run.map_err(|e| Error::io("password command", e))?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(Error::new(Kind::Denied, "password command", format!("ended with {}", output.status)));
    }
    let text =
        std::str::from_utf8(&text).map_err(|_| Error::new(Kind::Denied, "password command", "printed no UTF-8"))?;
    first_line(text, "password command")
}

/// Opens the repository.
pub fn open(global: &Global) -> Result<Repo> {
    let store = store(global)?;
    Repo::open(store, secret(global)?.unlock(), cache_dir(global).as_deref())
}
