//! How a live cluster is reached: `restore --to cassandra`, and `--to sstables` with the ring of a live cluster.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// A live cluster.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of --to cassandra and --to sstables: a live cluster")]
pub struct Connect {
    /// Nodes to connect to, and no others: HOST or HOST:PORT, the port 9042 unless given.
    #[arg(long, value_name = "A,B…", value_delimiter = ',')]
    pub contact: Vec<String>,
    /// User of the cluster.
    #[arg(long, value_name = "NAME", requires_all = ["contact", "cql_password_file"])]
    pub cql_user: Option<String>,
    /// File whose first line is that user's password.
    #[arg(long, value_name = "FILE", requires = "cql_user")]
    pub cql_password_file: Option<PathBuf>,
    /// Use TLS: the nodes' certificates must be signed by one of these, in PEM, and name the address.
    #[arg(long, value_name = "FILE", requires = "contact")]
    pub cql_ca: Option<PathBuf>,
    /// Our certificate in PEM, where the nodes ask for one.
    #[arg(long, value_name = "FILE", requires_all = ["cql_ca", "cql_key"])]
    pub cql_cert: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cql_cert")]
    pub cql_key: Option<PathBuf>,
    /// The nodes' certificates need not name their addresses.
    #[arg(long, requires = "cql_ca")]
    pub cql_any_name: bool,
}
