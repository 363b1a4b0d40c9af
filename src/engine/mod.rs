//! The seam between onefold and the databases: what an engine must say of captures, of what is stored of them, and of ways
//! to give it back. A new engine is one folder here and one line in [`all`].

pub mod all;
pub mod cassandra;
pub mod params;
pub mod posix;
mod rows;
mod schema;
mod source;
pub mod target;
pub mod text;

pub use all::ALL;
pub use params::{Form, Params};
pub use rows::{Column, Of, Row, RowSink, Rows, Show};
pub use schema::{KeyRange, KeyRanges, Schema, Selection, Shown, Wanted};
pub use source::{
    CaptureTime, Contents, Described, EVERYTHING, Earlier, Finding, Kept, Narrowed, Node, NodeParts, Open, Part, Shard,
    Source, Taking, TimeOf, Without, check_node_name,
};

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::watch::Watch;
use target::{Asked, Target};

/// What knows one database.
pub trait Engine: Sync {
    /// Its name in snapshots and on the command line, of lower-case letters.
    fn name(&self) -> &'static str;
    /// The database's own words for what has another name here.
    fn words(&self) -> Words {
        Words::default()
    }
    /// What a snapshot says of the shard `name` ([`Source::describe`]), understood.
    ///
    /// Errors: `Damaged` where this is no description of the engine's.
    fn schema(&self, name: &str, description: &serde_json::Value) -> Result<Arc<dyn Schema>>;
    /// What a file that was kept byte for byte belongs to, by its name in the snapshot; `None` where that is no shard.
    fn kept_of<'n>(&self, file: &'n str) -> Option<KeptOf<'n>>;
    /// The ways in: each is a `backup NAME`.
    fn sources(&self) -> &'static [Form];
    /// What is captured, by one of [`Engine::sources`], its name, and what was given for it. `before` is what earlier snapshots
    /// of the cluster say.
    ///
    /// Errors: captures that cannot be read, or do not belong together; names that nobody has.
    fn source(&self, form: &str, params: &Params, before: &Described<'_>, env: &Env<'_>) -> Result<Box<dyn Source>>;
    /// Whether its backups have names of their own where the operator gives none ([`Engine::job`]): it knows no clusters.
    fn names_jobs(&self) -> bool {
        false
    }
    /// What is backed up by one of [`Engine::sources`], in a few words: with the name of the machine, what the snapshots of the same
    /// are found by.
    ///
    /// Errors: those of [`Engine::source`].
    fn job(&self, _form: &str, _params: &Params) -> Result<Option<String>> {
        Ok(None)
    }
    /// The ways out: each is a `restore --to NAME`.
    fn targets(&self) -> &'static [Form] {
        &[]
    }
    /// Why a restore of everything to one of the targets does not write a shard, though it is there, and what to do to have it.
    fn leaves_out(&self, _shard: &str, _params: &Params) -> Option<&'static str> {
        None
    }
    /// The target that one of [`Engine::targets`], its name, is, by what was given for it.
    ///
    /// Errors: parameters that say nothing or do not fit what is asked; a place that cannot be asked.
    fn target<'a>(
        &self,
        form: &str,
        _params: &'a Params,
        _asked: &'a Asked<'a>,
        _env: &'a Env<'a>,
    ) -> Result<Box<dyn Target + 'a>> {
        Err(Error::new(Kind::Unsupported, format_args!("restore --to {form}"), "is no way out of this database"))
    }
}

/// A database's own words, as its people know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What a shard lies in, the first part of its name ([`split_name`]): a database; `None` where shards lie in nothing. `--in` is
    /// called so, too.
    pub outer: Option<&'static str>,
    /// Where a key lies among all keys ([`Schema::place`]).
    pub place: &'static str,
    /// A record that holds what all rows of a group have in common ([`Of::Shared`]).
    pub shared: &'static str,
}

impl Default for Words {
    fn default() -> Words {
        Words { outer: None, place: "place", shared: "shared values" }
    }
}

/// What an engine may use of the world around it.
pub struct Env<'a> {
    /// Counts work, and is asked whether to go on.
    pub watch: &'a Watch,
    /// The folder where what cannot be made again is remembered; `None` where there is none.
    pub state: Option<PathBuf>,
    /// The secret that a file holds: its first line.
    pub secret: &'a Secret,
    /// The name of this machine, or what the operator calls it.
    pub host: String,
    /// Opens standard input, or what a command writes.
    pub stream: &'a Streams,
}

/// Gives what a command with its arguments writes; without one, standard input.
pub type Streams = dyn Fn(&[OsString]) -> Result<Box<dyn Stream>> + Sync;

/// Bytes from outside.
pub trait Stream: Read + Send {
    /// After its end: whether that was all of it. Errors: the command that wrote it failed.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Gives the secret in a file, which is wiped after use.
pub type Secret = dyn Fn(&Path) -> Result<Zeroizing<String>> + Sync;

/// The form called `name` among those of `engines` that `forms` gives.
pub fn form<'e>(
    engines: &[&'e dyn Engine],
    forms: impl Fn(&'e dyn Engine) -> &'static [Form],
    name: &str,
) -> Option<(&'e dyn Engine, &'static Form)> {
    let of = |engine: &&'e dyn Engine| Some((*engine, forms(*engine).iter().find(|form| form.name == name)?));
    engines.iter().find_map(of)
}

/// Where a kept file belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOf<'n> {
    /// Name of the shard.
    pub shard: String,
    /// The database's id of it.
    pub id: &'n str,
    /// Name of the part that it is a file of, where parts are decoded and it is one's.
    pub part: Option<String>,
}

/// A shard's name, taken apart: what it lies in, and its own behind the first dot. A name without a dot lies in nothing.
pub fn split_name(shard: &str) -> (&str, &str) {
    shard.split_once('.').unwrap_or(("", shard))
}

/// The engine called `name` among `engines`: that of a snapshot.
///
/// Errors: `Unsupported` where it is none of them.
pub fn engine<'e>(engines: &[&'e dyn Engine], name: &str) -> Result<&'e dyn Engine> {
    engines.iter().copied().find(|engine| engine.name() == name).ok_or_else(|| {
        let known: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
        Error::new(Kind::Unsupported, format_args!("engine {name}"), "made the snapshot and is not known here")
            .hint(format_args!("take an onefold that has it; this one has {}", known.join(", ")))
    })
}
