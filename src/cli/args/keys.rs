//! What `onefold key` takes.

use std::ffi::OsString;
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
    /// Begin a new epoch: who was removed reads nothing of what is written from now on.
    Rotate {
        /// Say what it would do; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Print what opens the repository, to be kept.
    Export(ExportKey),
}

/// `key export`
#[derive(Debug, ClapArgs)]
pub struct ExportKey {
    /// As lines that a person can type back, each with a check of its own: the key file that the repository was opened with.
    #[arg(long, required = true)]
    pub paper: bool,
    /// Make a file here in place of printing.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `key add`
#[derive(Debug, ClapArgs)]
pub struct AddKey {
    /// What it may do, joined by commas. Needs a credential that holds the same, and admin for write.
    #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',')]
    pub role: Vec<Role>,
    /// Make a key file here that opens it.
    #[arg(long, value_name = "FILE", group = "opened_by")]
    pub new_key_file: Option<PathBuf>,
    /// File whose first line is the password that opens it [default: asked for on the terminal].
    #[arg(long, value_name = "FILE", group = "opened_by")]
    pub new_password_file: Option<PathBuf>,
    /// Command that prints the key file that opens it, which is made before: a hook for a key service. It is split into words at
    /// blanks (quotes and \ as in a shell) and run without a shell.
    #[arg(long, value_name = "COMMAND", group = "opened_by")]
    pub new_key_command: Option<OsString>,
    /// The secret of this public key of age (age1…) opens it: that need not be here.
    #[arg(long, value_name = "AGE1…", group = "opened_by")]
    pub recipient: Option<String>,
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
