//! The live cluster that is restored to, or whose ring is read: how it is reached.

use super::client::{Access, Client, Level, Tls};
use crate::engine::{Env, Params};
use crate::error::Result;

/// Connects as `params` (those of `forms::CONNECT`) say; reads and writes at `level`.
pub fn client(params: &Params, level: Level, env: &Env<'_>) -> Result<Client> {
    let login = match (params.text("cql-user"), params.path("cql-password-file")) {
        (Some(user), Some(path)) => Some((user.to_owned(), (env.secret)(path)?)),
        _ => None,
    };
    let path = |name: &str| params.path(name).map(ToOwned::to_owned);
    let tls = path("cql-ca").map(|authority| Tls {
        authority,
        identity: path("cql-cert").zip(path("cql-key")),
        any_name: params.has("cql-any-name"),
    });
    Client::connect(&Access { contacts: params.list("contact"), login, tls, level })
}
