//! Why `ssh` ended, told from what it says, and what to do about it.

use std::fmt::Display;
use std::io;

use crate::error::{Error, Kind};

/// What waiting does not mend: as of a file that may not be read.
fn never(host: &str, what: impl Display) -> Error {
    Error::io(host, io::Error::new(io::ErrorKind::PermissionDenied, what.to_string()))
}

/// `ssh` could not be started.
pub fn not_started(host: &str, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound => Error::new(Kind::Unsupported, host, "there is no program `ssh` on this machine")
            .hint("install OpenSSH's client (Debian: openssh-client)"),
        _ => Error::io(host, e),
    }
}

/// The words of `ssh` that say why, the last of them first.
const MEANINGS: &[(&str, Meaning)] = &[
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", |host, _| {
        never(host, "its host key is another than the known one").hint(format_args!(
            "somebody may stand in between. If the host was set up anew: ssh-keygen -R {}, then connect once with ssh and \
             compare the key",
            bare(host)
        ))
    }),
    ("Host key verification failed", |host, _| {
        never(host, "its host key is not known on this machine")
            .hint(format_args!("connect once with `ssh {}` and compare the key, or add it to known_hosts", bare(host)))
    }),
    ("Permission denied", |host, said| {
        never(host, format_args!("it lets nobody in with these keys: {said}"))
            .hint("is the user right? ssh must get in without being asked: a key in an agent, or one that ~/.ssh/config names")
    }),
    ("Too many authentication failures", |host, said| {
        never(host, said).hint("name one key in ~/.ssh/config: IdentityFile, and IdentitiesOnly yes")
    }),
    ("Bad configuration option", |host, said| never(host, said).hint("mend the file of settings of ssh")),
    ("Bad owner or permissions", |host, said| never(host, said).hint("mend the file's owner or mode (chmod 600)")),
    ("Can't open user config file", |host, said| never(host, said).hint("ONEFOLD_SSH_CONFIG names it")),
    ("no matching ", |host, said| {
        never(host, said).hint("host and client share no method; ~/.ssh/config can allow one")
    }),
    ("subsystem request failed", |host, _| {
        Error::new(Kind::Unsupported, host, "it lets us in and offers no SFTP")
            .hint("in its sshd_config: Subsystem sftp internal-sftp")
    }),
    ("Could not resolve hostname", |host, said| {
        Error::new(Kind::Io, host, said).hint("is the host's name right? ~/.ssh/config may give it another")
    }),
];

type Meaning = fn(&str, &str) -> Error;

/// `ssh` ended, having said this on its standard error.
pub fn ended(host: &str, said: &str) -> Error {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (words, meaning) in MEANINGS {
        if let Some(line) = lines.iter().rev().find(|line| line.contains(words)) {
            return meaning(host, line);
        }
    }
    let last = lines.last().copied().unwrap_or("without a word");
    Error::new(Kind::Io, host, format_args!("the connection is lost: {last}"))
        .hint("is the host up, and does `ssh` reach it?")
}

/// The server answered what it should not.
pub fn nonsense(host: &str) -> Error {
    Error::new(Kind::Unsupported, host, "what comes from it is not SFTP").hint(format_args!(
        "a shell's start-up file there may print something: `ssh {} true` must print nothing",
        bare(host)
    ))
}

/// What `ssh` takes.
fn bare(host: &str) -> &str {
    host.split_once("://").map_or(host, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_is_understood() {
        let changed =
            "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@\nHost key verification failed.\n";
        for (said, word, passes) in [
            (changed, "another than the known", false),
            (
                "No ED25519 host key is known for db1\r\nHost key verification failed.\r\n",
                "not known on this machine",
                false,
            ),
            ("me@db1: Permission denied (publickey).", "(publickey)", false),
            ("/x: line 3: Bad configuration option: foo\n/x: terminating, 1 bad", "line 3", false),
            ("ssh: Could not resolve hostname db1: Name or service not known", "resolve", true),
            ("ssh: connect to host db1 port 22: Connection refused", "refused", true),
            ("Timeout, server db1 not responding.", "not responding", true),
            ("", "without a word", true),
        ] {
            let error = ended("ssh://me@db1", said);
            let source = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
            assert_eq!((error.kind(), source.is_none()), (Kind::Io, passes), "{error}");
            assert!(error.message().contains(word) && error.advice().is_some(), "{error}");
        }
        assert_eq!(ended("h", "subsystem request failed on channel 0").kind(), Kind::Unsupported);
        assert!(ended("ssh://me@db1", changed).advice().unwrap().contains("ssh-keygen -R me@db1"));
    }
}
