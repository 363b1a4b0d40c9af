//! Who asks: a ticket, which the server gives for a user's password and takes for some hours, and where the account is.

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::blocking::Client;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::super::answers::swift;
use super::super::lock;
use super::answers::{Asked, Verb};
use crate::error::{Error, Kind, Result};

/// An environment.
pub type Variables = HashMap<OsString, OsString>;

/// Longest answer with a catalog, bytes.
const CATALOG_MAX: u64 = 4 << 20;
const SETTINGS: &str = "set ST_AUTH, ST_USER and ST_KEY; or OS_AUTH_URL with OS_USERNAME, OS_PASSWORD, OS_USER_DOMAIN_NAME, \
                        OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME, or with OS_APPLICATION_CREDENTIAL_ID and _SECRET";

/// A ticket, and where it is good. Never shown.
pub struct Session {
    /// Sent with each request.
    pub ticket: HeaderValue,
    /// The account: containers lie below it.
    pub account: String,
}

/// How a ticket is asked for.
enum Login {
    /// Version 1, as of tempauth.
    V1 { user: HeaderValue, key: HeaderValue },
    /// Keystone's version 3; the body of the request, and which endpoint of the catalog is meant.
    V3 { body: Zeroizing<String>, interface: String, region: Option<String> },
}

/// Gives tickets, and renews them.
pub struct Auth {
    /// Where tickets are asked for.
    url: String,
    login: Login,
    /// The account, where the environment says it.
    account: Option<String>,
    session: Mutex<Option<Arc<Session>>>,
}

/// Variables that are text and not empty.
struct Given<'a>(&'a Variables);

impl Given<'_> {
    fn maybe(&self, name: &str) -> Option<&str> {
        self.0.get(&OsString::from(name)).and_then(|value| value.to_str()).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<&str> {
        self.maybe(name).ok_or_else(|| Error::new(Kind::Usage, name, "is not set").hint(SETTINGS))
    }

    /// `{PREFIX}_ID`, or `{PREFIX}_NAME`, as Keystone names things.
    fn id_or_name(&self, prefix: &str) -> Option<Value> {
        let id = self.maybe(&format!("{prefix}_ID")).map(|id| json!({ "id": id }));
        id.or_else(|| self.maybe(&format!("{prefix}_NAME")).map(|name| json!({ "name": name })))
    }

    /// A thing that has an id, or a name within a domain.
    fn of_domain(&self, id: &str, name: &str, domain: &str) -> Result<Map<String, Value>> {
        let mut of = Map::new();
        match self.maybe(id) {
            Some(id) => drop(of.insert("id".into(), id.into())),
            None => {
                of.insert("name".into(), self.needed(name)?.into());
                let own = self.id_or_name(domain).or_else(|| self.id_or_name("OS_DEFAULT_DOMAIN"));
                of.insert("domain".into(), own.unwrap_or_else(|| json!({ "id": "default" })));
            }
        }
        Ok(of)
    }

    /// The body of Keystone's request.
    fn identity(&self) -> Result<Zeroizing<String>> {
        let of_application = ["OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME"];
        let auth = if of_application.iter().any(|name| self.maybe(name).is_some()) {
            let mut credential = Map::new();
            credential.insert("secret".into(), self.needed("OS_APPLICATION_CREDENTIAL_SECRET")?.into());
            match self.maybe("OS_APPLICATION_CREDENTIAL_ID") {
                Some(id) => drop(credential.insert("id".into(), id.into())),
                None => {
                    credential.insert("name".into(), self.needed("OS_APPLICATION_CREDENTIAL_NAME")?.into());
                    let user = self.of_domain("OS_USER_ID", "OS_USERNAME", "OS_USER_DOMAIN")?;
                    credential.insert("user".into(), user.into());
                }
            }
            // Its project is its own.
            json!({ "identity": { "methods": ["application_credential"], "application_credential": credential } })
        } else {
            let mut user = self.of_domain("OS_USER_ID", "OS_USERNAME", "OS_USER_DOMAIN")?;
            user.insert("password".into(), self.needed("OS_PASSWORD")?.into());
            let project = self.of_domain("OS_PROJECT_ID", "OS_PROJECT_NAME", "OS_PROJECT_DOMAIN")?;
            json!({
                "identity": { "methods": ["password"], "password": { "user": user } },
                "scope": { "project": project },
            })
        };
        Ok(Zeroizing::new(json!({ "auth": auth }).to_string()))
    }
}

/// What may stand in a header, and is not shown.
fn secret(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| Error::new(Kind::Usage, name, "has a character that no header may"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address without credentials: addresses are printed.
fn address(name: &str, given: &str) -> Result<String> {
    let wrong = |what: &str| Error::new(Kind::Usage, name, what).hint("give https://HOST:PORT/PATH, or http://…");
    let url = Url::parse(given).map_err(|_| wrong("is no URL"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong("does not begin with https://HOST or http://HOST"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user or a password in it: they belong in variables of their own"));
    }
    Ok(given.trim_end_matches('/').to_owned())
}

impl Auth {
    /// As `ST_*` says, or else `OS_*`. Asks the server nothing yet.
    ///
    /// Errors: [`Kind::Usage`], naming the variable that lacks or makes no sense.
    pub fn of(variables: &Variables) -> Result<Auth> {
        let given = Given(variables);
        let account = given.maybe("OS_STORAGE_URL").map(|url| address("OS_STORAGE_URL", url)).transpose()?;
        let session = Mutex::default();
        if let Some(url) = given.maybe("ST_AUTH") {
            let user = secret("ST_USER", given.needed("ST_USER")?)?;
            let key = secret("ST_KEY", given.needed("ST_KEY")?)?;
            return Ok(Auth { url: address("ST_AUTH", url)?, login: Login::V1 { user, key }, account, session });
        }
        let url = address("OS_AUTH_URL", given.needed("OS_AUTH_URL")?)?;
        if url.ends_with("/v2.0") {
            return Err(Error::new(Kind::Unsupported, "OS_AUTH_URL", "is of Keystone's version 2")
                .hint("version 3 is needed: https://HOST:5000/v3"));
        }
        let version = if url.ends_with("/v3") { "" } else { "/v3" };
        let interface = given.maybe("OS_INTERFACE").or_else(|| given.maybe("OS_ENDPOINT_TYPE")).unwrap_or("public");
        let login = Login::V3 {
            body: given.identity()?,
            // Old spellings end so.
            interface: interface.trim_end_matches("URL").to_owned(),
            region: given.maybe("OS_REGION_NAME").map(str::to_owned),
        };
        Ok(Auth { url: format!("{url}{version}/auth/tokens"), login, account, session })
    }

    /// A ticket: the one that is there, unless it is `refused`; then a new one. Others wait meanwhile.
    pub fn session(&self, client: &Client, refused: Option<&Arc<Session>>) -> Result<Arc<Session>> {
        let mut there = lock(&self.session);
        if let Some(session) = there.as_ref()
            && refused.is_none_or(|refused| !Arc::ptr_eq(refused, session))
        {
            return Ok(session.clone());
        }
        let session = Arc::new(self.ask(client)?);
        *there = Some(session.clone());
        Ok(session)
    }

    fn ask(&self, client: &Client) -> Result<Session> {
        let asked = Asked { place: &self.url, name: "", verb: Verb::Ticket };
        let request = match &self.login {
            Login::V1 { user, key } => {
                client.get(&self.url).header("X-Auth-User", user.clone()).header("X-Auth-Key", key.clone())
            }
            Login::V3 { body, .. } => {
                client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body.as_bytes().to_vec())
            }
        };
        let response = request.send().map_err(|e| asked.unreached(e))?;
        if !response.status().is_success() {
            return Err(asked.refused(response));
        }
        let headers = response.headers().clone();
        let found = match &self.login {
            Login::V1 { .. } => text(&headers, "X-Storage-Url").map(str::to_owned),
            Login::V3 { interface, region, .. } => {
                let answer = asked.body(response, CATALOG_MAX)?;
                swift::endpoint(&answer, interface, region.as_deref())
            }
        };
        let name = if matches!(self.login, Login::V1 { .. }) { "X-Auth-Token" } else { "X-Subject-Token" };
        let no_ticket =
            || asked.never("the answer lets nobody in").hint("is this the address of Swift's or Keystone's?");
        let ticket = secret("ticket", text(&headers, name).ok_or_else(no_ticket)?)?;
        let none = || {
            asked
                .never("the catalog names no object store for this project")
                .hint("look at OS_REGION_NAME and OS_INTERFACE, or say where it is by OS_STORAGE_URL")
        };
        let account = self.account.clone().or(found).ok_or_else(none)?;
        Ok(Session { ticket, account: address("storage URL", &account)? })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(of: &[(&str, &str)]) -> Variables {
        of.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn a_password_is_asked_for_in_keystones_words() {
        let of = [
            ("OS_USERNAME", "me"),
            ("OS_PASSWORD", "se\"cret"),
            ("OS_PROJECT_NAME", "backups"),
            ("OS_USER_DOMAIN_NAME", "people"),
        ];
        let body: Value = serde_json::from_str(&Given(&variables(&of)).identity().unwrap()).unwrap();
        assert_eq!(
            body,
            json!({ "auth": {
                "identity": { "methods": ["password"], "password": { "user":
                    { "name": "me", "domain": { "name": "people" }, "password": "se\"cret" } } },
                "scope": { "project": { "name": "backups", "domain": { "id": "default" } } },
            } })
        );
        let of = [("OS_APPLICATION_CREDENTIAL_ID", "1a"), ("OS_APPLICATION_CREDENTIAL_SECRET", "s")];
        let body: Value = serde_json::from_str(&Given(&variables(&of)).identity().unwrap()).unwrap();
        let credential = json!({ "id": "1a", "secret": "s" });
        assert_eq!(body["auth"]["identity"]["application_credential"], credential);
        assert!(body["auth"].get("scope").is_none());
    }

    #[test]
    fn what_lacks_is_named_and_secrets_are_not() {
        for (of, word) in [
            (&[][..], "OS_AUTH_URL"),
            (&[("ST_AUTH", "http://h/auth/v1.0")], "ST_USER"),
            (&[("ST_AUTH", "http://h/auth/v1.0"), ("ST_USER", "a:b")], "ST_KEY"),
            (&[("ST_AUTH", "http://u:secret@h/auth"), ("ST_USER", "a:b"), ("ST_KEY", "k")], "ST_AUTH"),
            (&[("ST_AUTH", "h/auth"), ("ST_USER", "a:b"), ("ST_KEY", "k")], "ST_AUTH"),
            (&[("ST_AUTH", "http://h/auth"), ("ST_USER", "a:b"), ("ST_KEY", "secret\n")], "ST_KEY"),
            (&[("OS_AUTH_URL", "http://h:5000"), ("OS_USERNAME", "me")], "OS_PASSWORD"),
            (&[("OS_AUTH_URL", "http://h:5000/v2.0")], "version 3"),
        ] {
            let e = Auth::of(&variables(of)).err().unwrap();
            assert!(e.to_string().contains(word) && !e.to_string().contains("secret@"), "{of:?}: {e}");
            assert!(!e.to_string().contains("secret\n"), "{e}");
        }
    }
}
