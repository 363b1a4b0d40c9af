//! What the commands take that look at several snapshots: `diff`, `history`, `find`.

use clap::Args as ClapArgs;

use super::Filter;

/// `diff`
#[derive(Debug, ClapArgs)]
pub struct Diff {
    /// The first snapshot: the beginning of an id, or `latest`.
    #[arg(value_name = "BEFORE")]
    pub before: String,
    /// The second.
    #[arg(value_name = "AFTER", default_value = "latest")]
    pub after: String,
    /// One table only, or those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables in this only: in `lab` lies `lab.users`.
    #[arg(long = "in", value_name = "NAME")]
    pub outer: Option<String>,
    /// Only rows that these conditions name in one of the two, in the language of the database: "id = 42". Of one table.
    #[arg(long = "where", value_name = "CONDITIONS", requires = "table")]
    pub conditions: Option<String>,
    /// Only how many rows differ, by table.
    #[arg(long)]
    pub counts: bool,
    /// Which is the latest.
    #[command(flatten)]
    pub filter: Filter,
}

/// `history`
#[derive(Debug, ClapArgs)]
pub struct History {
    /// The table; of file trees a path behind a snapshot of them: `latest:/etc/hosts`.
    #[arg(value_name = "TABLE|SNAPSHOT:/PATH")]
    pub table: String,
    /// Which rows, in the language of the database: "id = 42".
    #[arg(long = "where", value_name = "CONDITIONS")]
    pub conditions: Option<String>,
    /// Over which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}

/// `find`
#[derive(Debug, ClapArgs)]
pub struct Find {
    /// The key in one word: what names a group of rows, or one row. Texts without quotes; of several values, with `:` between them.
    #[arg(value_name = "KEY", allow_hyphen_values = true)]
    pub key: String,
    /// One table only, or those that fit: `*` stands for anything, `?` for one character.
    #[arg(long, value_name = "TABLE|PATTERN")]
    pub table: Option<String>,
    /// The tables in this only: in `lab` lies `lab.users`.
    #[arg(long = "in", value_name = "NAME")]
    pub outer: Option<String>,
    /// In this snapshot only: the beginning of an id, or `latest`.
    #[arg(long, value_name = "SNAPSHOT")]
    pub snapshot: Option<String>,
    /// In which snapshots.
    #[command(flatten)]
    pub filter: Filter,
}
