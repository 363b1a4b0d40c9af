//! The live cluster that is restored to, or whose ring is read.

use crate::cli::access::password_in;
use crate::cli::args::Connect;
use crate::engine::cassandra::client::{Access, Client, Level, Tls};
use crate::error::Result;

/// Connects; reads and writes at `level`.
pub fn client(of: &Connect, level: Level) -> Result<Client> {
    let login = match (&of.cql_user, &of.cql_password_file) {
        (Some(user), Some(path)) => Some((user.clone(), password_in(path)?)),
        _ => None,
    };
    let tls = of.cql_ca.clone().map(|authority| Tls {
        authority,
        identity: of.cql_cert.clone().zip(of.cql_key.clone()),
        any_name: of.cql_any_name,
    });
    Client::connect(&Access { contacts: of.contact.clone(), login, tls, level })
}
