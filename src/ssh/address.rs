//! `SCHEME://[USER@]HOST[:PORT]/PATH`: who is meant, and which folder there.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// Who is connected to: a host as `ssh` knows it, perhaps by a name that only `~/.ssh/config` explains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The user there; else who `ssh` says.
    pub user: Option<String>,
    /// Its name or address, without brackets.
    pub host: String,
    /// The port; else what `ssh` says.
    pub port: Option<u16>,
}

impl Address {
    /// Takes apart what follows `://`. The path has no slashes at its end; one that begins with `/~/` lies in the user's home,
    /// and is given without that: empty is the home itself.
    ///
    /// Errors: [`Kind::Usage`]. A password in the address is refused: places are printed.
    pub fn parse(scheme: &str, rest: &str) -> Result<(Address, String)> {
        let wrong = |what: String| {
            // What was given may hold a password.
            Error::new(Kind::Usage, format_args!("{scheme}://…"), what)
                .hint(format_args!("write {scheme}://[USER@]HOST[:PORT]/PATH"))
        };
        let (who, path) = rest.split_once('/').ok_or_else(|| wrong("has no path".into()))?;
        let (user, host) = who.rsplit_once('@').map_or((None, who), |(user, host)| (Some(user), host));
        let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(wrong(
                "has a password in it: ssh takes keys, from an agent or a file that ~/.ssh/config names".into(),
            ));
        }
        if let Some(user) = user.filter(|user| !is_word(user, "-._@+\\$")) {
            return Err(wrong(format!("{user:?} is no name of a user")));
        }
        if !is_word(host, if bracketed.is_some() { "-._:%" } else { "-._" }) {
            return Err(wrong(format!("{host:?} is no name of a host")));
        }
        let number = |port: &str| port.parse().ok().filter(|port: &u16| *port != 0);
        let port = match port {
            Some(port) => Some(number(port).ok_or_else(|| wrong(format!("{port:?} is no port")))?),
            None => None,
        };
        if path.chars().any(char::is_control) {
            return Err(wrong("has a control character in its path".into()));
        }
        let address = Address { user: user.map(str::to_owned), host: host.to_owned(), port };
        let path = path.trim_end_matches('/');
        match path.strip_prefix("~/").or_else(|| (path == "~").then_some("")) {
            Some(below) => Ok((address, below.trim_matches('/').to_owned())),
            None => Ok((address, format!("/{}", path.trim_start_matches('/')))),
        }
    }
}

/// Whether it is letters, digits and these, and cannot be taken for an option.
fn is_word(word: &str, others: &str) -> bool {
    !word.is_empty() && !word.starts_with('-') && word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for (text, user, host, port, path, shown) in [
            ("db1/srv/x", None, "db1", None, "/srv/x", "db1"),
            ("me@db1:2222//srv/x/", Some("me"), "db1", Some(2222), "/srv/x", "me@db1:2222"),
            ("a@b@db1/x", Some("a@b"), "db1", None, "/x", "a@b@db1"),
            ("[fe80::1%eth0]:22/~/x", None, "fe80::1%eth0", Some(22), "x", "[fe80::1%eth0]:22"),
            ("[::1]/~", None, "::1", None, "", "[::1]"),
            ("10.0.0.1/~/a b/", None, "10.0.0.1", None, "a b", "10.0.0.1"),
            ("h/", None, "h", None, "/", "h"),
        ] {
            let (address, found) = Address::parse("sftp", text).unwrap();
            let expected = Address { user: user.map(str::to_owned), host: host.into(), port };
            assert_eq!((&address, found.as_str(), address.to_string().as_str()), (&expected, path, shown), "{text}");
        }
    }

    #[test]
    fn what_ssh_could_misread_is_refused_and_no_password_is_shown() {
        for text in [
            "",
            "db1",
            "/x",
            "@/x",
            "me@/x",
            "-oProxyCommand=x/x",
            "-l@db1/x",
            "me:secret@db1/x",
            "db1:/x",
            "db1:0/x",
            "db1:99999/x",
            "db 1/x",
            "db1;x/x",
            "[::1/x",
            "[::1]22/x/\n",
            "a\nb@h/x",
            "h/a\0b",
            "$(x)/y",
            "::1/x",
        ] {
            let error = Address::parse("sftp", text).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text:?}");
            assert!(!error.to_string().contains("secret") && error.advice().is_some(), "{error}");
        }
    }
}
