//! The request that tells a dead man's switch of a success.

#[cfg(feature = "ping")]
use crate::error;
use crate::error::{Error, Kind, Result};

/// The host of a URL: the rest of it is a secret of its owner.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn subject(url: &str) -> String {
    format!("ping to {}", host(url))
}

/// Whether `url` can be asked for.
///
/// Errors: `Usage`: it is no URL of HTTP; `Unsupported`: this build has no client.
pub fn check(url: &str) -> Result<()> {
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) || host(url).is_empty() {
        return Err(Error::new(Kind::Usage, "hooks.ping", "is no URL that begins with https:// or http://"));
    }
    if cfg!(not(feature = "ping")) {
        return Err(Error::new(Kind::Unsupported, "hooks.ping", "is not built in").hint("build with the feature ping"));
    }
    Ok(())
}

/// Asks for `url`, three times at most.
#[cfg(feature = "ping")]
pub fn send(url: &str) -> Result<()> {
    use std::time::Duration;
    const TRIES: u32 = 3;
    const PATIENCE: Duration = Duration::from_secs(10);

    let failed = |e: reqwest::Error| Error::new(Kind::Io, subject(url), error::chain(&e.without_url()));
    let client =
        reqwest::blocking::Client::builder().timeout(PATIENCE).user_agent("onefold").build().map_err(failed)?;
    let mut tried = 1;
    loop {
        match client.get(url).send().and_then(reqwest::blocking::Response::error_for_status) {
            Ok(_) => return Ok(()),
            Err(e) if tried == TRIES || e.status().is_some_and(|status| status.is_client_error()) => {
                return Err(failed(e));
            }
            Err(_) => std::thread::sleep(Duration::from_secs(u64::from(tried))),
        }
        tried += 1;
    }
}

/// Asks for `url`, which needs a client.
#[cfg(not(feature = "ping"))]
pub fn send(url: &str) -> Result<()> {
    Err(Error::new(Kind::Unsupported, subject(url), "is not built in").hint("build with the feature ping"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        for (url, shown) in [
            ("https://hc.example/0f0f-secret", "hc.example"),
            ("https://user:pw@hc.example:8443/x?y", "hc.example:8443"),
            ("http://hc.example", "hc.example"),
            ("hc.example/secret", "hc.example"),
        ] {
            assert_eq!(host(url), shown);
        }
        for url in ["", "hc.example", "ftp://hc.example/x", "https://", "https:///x", "https://user@/x"] {
            assert_eq!(check(url).unwrap_err().kind(), Kind::Usage, "{url}");
        }
    }
}
