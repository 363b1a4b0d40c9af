//! What opens a repository, and what a new credential is opened by: from options, the environment, files, commands, the terminal.
//! Secrets are wiped after use and never printed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use repo_format::FormatError;
use repo_format::credential::{NewLock, PasswordCost, Unlock};
use repo_format::keyfile::KeyFile;
use repo_format::paper;
use repo_format::recipient::{Identity, Recipient};
use zeroize::Zeroizing;

use super::args::{AddKey, Global, Init};
use super::command;
use super::init::new_key_file;
use crate::error::{Error, Kind, Result};

/// What opens a repository.
pub enum Secret {
    /// A password.
    Password(Zeroizing<String>),
    /// A key file.
    KeyFile(KeyFile),
    /// Identities of age.
    Identities(Vec<Identity>),
}

impl Secret {
    /// As the format wants it.
    pub fn unlock(&self) -> Unlock<'_> {
        match self {
            Secret::Password(password) => Unlock::Password(password.as_bytes()),
            Secret::KeyFile(file) => Unlock::KeyFile(file),
            Secret::Identities(all) => Unlock::Identities(all),
        }
    }
}

/// What a new credential is opened by.
pub enum New {
    /// A password.
    Password(Zeroizing<String>),
    /// A key file.
    KeyFile(KeyFile),
    /// The secret of a public key.
    Recipient(Recipient),
}

impl New {
    /// As `key add` says; asked for on the terminal where it says nothing.
    pub fn of(args: &AddKey) -> Result<New> {
        Ok(if let Some(path) = &args.new_key_file {
            New::KeyFile(new_key_file(path)?)
        } else if let Some(command) = &args.new_key_command {
            match of_command(command, "new key command")? {
                Secret::KeyFile(file) => New::KeyFile(file),
                _ => {
                    return Err(Error::new(Kind::Denied, "new key command", "printed no key file")
                        .hint("for a key of age give its public half: --recipient age1…"));
                }
            }
        } else if let Some(text) = &args.recipient {
            New::Recipient(Recipient::from_text(text).map_err(|e| not_taken("--recipient", &e, PUBLIC))?)
        } else if let Some(path) = &args.new_password_file {
            New::Password(password_in(path)?)
        } else {
            New::Password(new_password()?)
        })
    }

    /// As the format wants it.
    pub fn lock(&self) -> NewLock<'_> {
        match self {
            New::Password(password) => NewLock::Password(password.as_bytes(), PasswordCost::default()),
            New::KeyFile(file) => NewLock::KeyFile(file),
            New::Recipient(to) => NewLock::Recipient(*to),
        }
    }
}

const PUBLIC: &str = "it is the line `public key: age1…` that `age-keygen` prints";

/// What opens the repository that a new one is to be like; `None` where nothing is said of it.
pub fn of_other(args: &Init) -> Result<Option<Secret>> {
    Ok(if let Some(path) = args.like_key_file.as_ref().or(args.like_identity.as_ref()) {
        Some(of_text(&read(path)?, &path.display().to_string())?)
    } else if let Some(command) = &args.like_key_command {
        Some(of_command(command, "key command of the other repository")?)
    } else if let Some(path) = &args.like_password_file {
        Some(Secret::Password(password_in(path)?))
    } else {
        None
    })
}

/// What opens the repository that is meant.
pub fn of(global: &Global) -> Result<Secret> {
    if let Some(path) = &global.key_file {
        return of_text(&read(path)?, &path.display().to_string());
    }
    if let Some(path) = &global.identity {
        return of_text(&read(path)?, &path.display().to_string());
    }
    if let Some(command) = &global.key_command {
        return of_command(command, "key command");
    }
    let password = if let Some(path) = &global.password_file {
        password_in(path)?
    } else if let Some(command) = &global.password_command {
        first_line(&command::output(command, "password command")?, "password command")?
    } else if let Some(password) = std::env::var_os("ONEFOLD_PASSWORD") {
        first_line(&Zeroizing::new(password.into_vec()), "ONEFOLD_PASSWORD")?
    } else {
        let prompted = rpassword::prompt_password("password of the repository: ");
        let typed = prompted.map(Zeroizing::new).map_err(|_| {
            Error::new(Kind::Denied, "password", "none was given").hint(
                "set ONEFOLD_PASSWORD, ONEFOLD_PASSWORD_FILE or ONEFOLD_PASSWORD_COMMAND, or give --key-file, --identity or \
                 --key-command",
            )
        })?;
        first_line(typed.as_bytes(), "password")?
    };
    Ok(Secret::Password(password))
}

/// What a command prints: a key file, or identities.
fn of_command(command: &OsStr, what: &'static str) -> Result<Secret> {
    of_text(&command::output(command, what)?, what)
}

/// A key file, one typed from paper, or identities: their first lines tell which. Errors never hold what was read.
pub fn of_text(bytes: &[u8], subject: &str) -> Result<Secret> {
    let none = || {
        Error::new(Kind::Denied, subject, "is no key file").hint(
            "`onefold init --new-key-file` makes one; one of age begins with AGE-SECRET-KEY-1, one from paper with its title",
        )
    };
    let text = std::str::from_utf8(without_mark(bytes)).map_err(|_| none())?;
    if paper::is_meant(text) {
        return KeyFile::from_text(text).map(Secret::KeyFile).map_err(|e| match e {
            FormatError::Mismatch(_) => {
                let faults = paper::faults(text).join("; ");
                Error::new(Kind::Denied, subject, faults)
                    .hint("compare these lines with the paper, and type them again")
            }
            e => not_taken(subject, &e, "use a newer version of onefold"),
        });
    }
    if text.trim_start().starts_with("onefold key file") {
        return KeyFile::from_text(text).map(Secret::KeyFile).map_err(|e| match e {
            FormatError::Mismatch(_) => Error::new(Kind::Denied, subject, "does not fit its check, the third line")
                .hint("a digit is wrong: take it from another copy"),
            FormatError::Unsupported(_) => not_taken(subject, &e, "use a newer version of onefold"),
            _ => none(),
        });
    }
    match Identity::all_from_text(text) {
        Ok(all) => Ok(Secret::Identities(all)),
        Err(e @ FormatError::Unsupported(_)) => {
            Err(not_taken(subject, &e, "decrypted by a command it can be given by --key-command 'age -d FILE'"))
        }
        Err(_) => Err(none()),
    }
}

fn not_taken(subject: &str, e: &FormatError, hint: &str) -> Error {
    Error::new(Kind::Denied, subject, e).hint(hint)
}

/// A password for a new credential, typed twice on the terminal.
fn new_password() -> Result<Zeroizing<String>> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|_| {
            Error::new(Kind::Denied, "new password", "none was given")
                .hint("give --new-password-file, --new-key-file, --new-key-command or --recipient, or use a terminal")
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
