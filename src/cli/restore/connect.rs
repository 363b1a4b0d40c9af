//! The live cluster that is restored to, or whose ring is read.

use std::fs;

use zeroize::Zeroizing;

use crate::cli::args::Connect;
use crate::engine::cassandra::client::{Access, Client, Level, Tls};
use crate::error::{Error, Result};

/// Connects; reads and writes at `level`.
pub fn client(of: &Connect, level: Level) -> Result<Client> {
    let login = match (&of.cql_user, &of.cql_password_file) {
        (Some(user), Some(path)) => {
            let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| Error::io(path.display(), e))?);
            let line = text.lines().next().unwrap_or_default();
            Some((user.clone(), Zeroizing::new(line.to_string())))
        }
        _ => None,
    };
    let tls = of.cql_ca.clone().map(|authority| Tls {
        authority,
        identity: of.cql_cert.clone().zip(of.cql_key.clone()),
        any_name: of.cql_any_name,
    });
    Client::connect(&Access { contacts: of.contact.clone(), login, tls, level })
}
