//! From arguments and environment to an open repository. Secrets are wiped after use and never printed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use repo_format::credential::Unlock;
use repo_format::keyfile::KeyFile;
use zeroize::Zeroizing;

use super::args::Global;
use super::output::Output;
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
pub fn state_dir() -> Option<PathBuf> {
    standard("XDG_STATE_HOME", ".local/state")
}

/// The user's folder of profiles; `None` where there is no home.
pub fn config_dir() -> Option<PathBuf> {
    standard("XDG_CONFIG_HOME", ".config")
}

/// Whether options or the environment say what opens the repository.
pub fn is_opened_by(global: &Global) -> bool {
    global.key_file.is_some() || global.password_file.is_some() || global.password_command.is_some() || has_password()
}

/// Whether the environment holds the password itself.
pub fn has_password() -> bool {
    std::env::var_os("ONEFOLD_PASSWORD").is_some()
}

/// Our folder in a standard one, which a variable names or which lies in the home.
fn standard(variable: &str, in_home: &str) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    Some(named(variable).or_else(|| Some(named("HOME")?.join(in_home)))?.join("onefold"))
}

/// The password or key file, from options, the environment, or the terminal.
pub fn secret(global: &Global) -> Result<Secret> {
    if let Some(path) = &global.key_file {
        let bytes = read(path)?;
        let none = || {
            Error::new(Kind::Denied, path.display(), "is no key file").hint("`onefold init --new-key-file` makes one")
        };
        let text = std::str::from_utf8(without_mark(&bytes)).map_err(|_| none())?;
        return Ok(Secret::KeyFile(KeyFile::from_text(text).map_err(|_| none())?));
    }
    let password = if let Some(path) = &global.password_file {
        password_in(path)?
    } else if let Some(command) = &global.password_command {
        from_command(command)?
    } else if let Some(password) = std::env::var_os("ONEFOLD_PASSWORD") {
        first_line(&Zeroizing::new(password.into_vec()), "ONEFOLD_PASSWORD")?
    } else {
        let prompted = rpassword::prompt_password("password of the repository: ");
        let typed = prompted.map(Zeroizing::new).map_err(|_| {
            Error::new(Kind::Denied, "password", "none was given")
                .hint("set ONEFOLD_PASSWORD, ONEFOLD_PASSWORD_FILE or ONEFOLD_PASSWORD_COMMAND, or give --key-file")
        })?;
        first_line(typed.as_bytes(), "password")?
    };
    Ok(Secret::Password(password))
}

/// A password for a new credential, typed twice on the terminal.
pub fn new_password() -> Result<Zeroizing<String>> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| {
            Error::new(Kind::Denied, "new password", "none was given")
                .hint("give --new-password-file or --new-key-file, or use a terminal")
        })
    };
    let typed = first_line(ask("new password: ")?.as_bytes(), "new password")?;
    match *typed == *ask("the same again: ")? {
        true => Ok(typed),
        false => Err(Error::new(Kind::Denied, "new password", "was typed differently the second time")),
    }
}

/// The password that a file holds: its first line.
pub fn password_in(path: &Path) -> Result<Zeroizing<String>> {
    first_line(&read(path)?, &path.display().to_string())
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    fs::read(path).map(Zeroizing::new).map_err(|e| Error::io(path.display(), e))
}

/// Editors put a byte order mark before what they save as UTF-8: it is no part of the text, and nobody sees it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn first_line(bytes: &[u8], subject: &str) -> Result<Zeroizing<String>> {
    let line = without_mark(bytes).split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| {
        Error::new(Kind::Denied, subject, "is not UTF-8, which passwords are").hint("write it anew as UTF-8")
    })?;
    if line.is_empty() {
        return Err(Error::new(Kind::Denied, subject, "holds no password"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn from_command(command: &OsStr) -> Result<Zeroizing<String>> {
    let run = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = run.map_err(|e| Error::io("password command", e))?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(Error::new(Kind::Denied, "password command", format!("ended with {}", output.status)));
    }
    first_line(&text, "password command")
}

/// Opens the repository. What in its log cannot be read is said, and makes the exit code that of damage.
pub fn open(global: &Global, output: &Output) -> Result<Repo> {
    let store = store(global)?;
    let repo = Repo::open(store, secret(global)?.unlock(), cache_dir(global).as_deref())?;
    if let Some(stopped) = repo.stopped() {
        output.damage(&stopped);
    }
    notes(&repo, output);
    Ok(repo)
}

/// Says what went wrong without stopping the work.
pub fn notes(repo: &Repo, output: &Output) {
    repo.take_notes().iter().for_each(|note| output.warn(note.subject(), note.message()));
}
