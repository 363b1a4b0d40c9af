//! What `onefold key` takes.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

/// The commands under `key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// List the credentials, and the writers that the log knows.
    List,
    /// Add a credential.
    Add(AddKey),
    /// Remove a credential or a writer.
    Remove {
        /// Beginning of its id, as `onefold key list` shows it.
        id: String,
    },
}

/// `key add`
#[derive(Debug, ClapArgs)]
pub struct AddKey {
    /// What it may do, joined by commas. Needs a credential that holds the same, and admin for write.
    #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',')]
    pub role: Vec<Role>,
    /// Make a key file here that opens it.
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
    /// File whose first line is the password that opens it [default: asked for on the terminal].
    #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
    pub new_password_file: Option<PathBuf>,
}

/// A role of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Back up, and open nothing.
    Write,
    /// Open everything.
    Read,
    /// List and remove writers.
    Admin,
}
