//! How a node's files are frozen, and let go of again: `nodetool`, or the operator's own commands.

use std::time::Duration;

use super::is_tag;
use crate::engine::Params;
use crate::engine::cassandra::source::NodeDir;
use crate::error::{Error, Kind, Result};
use crate::ssh::Patience;
use crate::volume::{Place, What, if_there};
use crate::watch::Watch;

/// How long what was asked for is waited for where the backup is to stop: given up it goes on on its node, and what it makes
/// there is found only by a later run. Where it ended, it is let go of at once.
const GRACE: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Debug, Clone)]
pub enum Way {
    /// A snapshot of the database's own.
    Nodetool(Nodetool),
    /// Whatever the operator's commands do.
    Commands(Commands),
}

impl Way {
    /// As the parameters say; `None` where nothing is to be frozen.
    ///
    /// Errors: those of [`Nodetool::of`].
    pub fn of(params: &Params) -> Result<Option<Way>> {
        if params.has("take-snapshot") {
            return Nodetool::of(params).map(Way::Nodetool).map(Some);
        }
        let given = |name: &str| params.text(name).map(str::to_owned);
        let (before, after) = (given("before-node"), given("after-node"));
        let cluster = given("cluster").unwrap_or_default();
        let commands = Commands { before, after, cluster, limit: limit(params) };
        let any = commands.before.is_some() || commands.after.is_some();
        Ok(any.then_some(Way::Commands(commands)))
    }

    /// Its name where it is written down.
    pub fn name(&self) -> &'static str {
        match self {
            Way::Nodetool(_) => "nodetool",
            Way::Commands(_) => "commands",
        }
    }

    /// The longest that a command may take.
    pub fn limit(&self) -> Duration {
        match self {
            Way::Nodetool(nodetool) => nodetool.limit,
            Way::Commands(commands) => commands.limit,
        }
    }

    /// Whether there is something to let go of.
    pub fn clears(&self) -> bool {
        matches!(self, Way::Nodetool(_) | Way::Commands(Commands { after: Some(_), .. }))
    }

    /// Whether what is to be read lies under the tag.
    pub fn tags(&self) -> bool {
        matches!(self, Way::Nodetool(_))
    }

    /// Freezes a node's files, unless the work is to stop.
    pub fn take(&self, node: &NodeDir, tag: &str, watch: &Watch) -> Result<()> {
        let goes_on = || watch.check();
        let patience = Patience { limit: self.limit(), goes_on: &goes_on, grace: GRACE };
        match self {
            Way::Nodetool(nodetool) => nodetool.run(node, &["snapshot", "-t", tag], patience),
            Way::Commands(commands) => commands.run(node, "before-node", &commands.before, tag, patience),
        }
    }

    /// Whether nothing at all was done where taking ended so.
    pub fn did_nothing(&self, e: &Error) -> bool {
        matches!(self, Way::Nodetool(_)) && e.kind() == Kind::Unsupported
    }

    /// Lets go of them, within `limit`. Nothing is cleared but by a tag of ours.
    pub fn clear(&self, node: &NodeDir, tag: &str, limit: Duration) -> Result<()> {
        if !is_tag(tag) {
            return Err(Error::new(Kind::Usage, tag, "is no tag of ours, and is not cleared"));
        }
        let patience = Patience::of(limit);
        match self {
            Way::Nodetool(nodetool) => nodetool.run(node, &["clearsnapshot", "-t", tag], patience),
            Way::Commands(commands) => commands.run(node, "after-node", &commands.after, tag, patience),
        }
    }

    /// Whether a snapshot of this tag is seen on the node; so, too, where it cannot be looked at. `None`: what commands froze has no
    /// sign.
    pub fn is_there(&self, node: &NodeDir, tag: &str) -> Option<bool> {
        match self {
            Way::Nodetool(_) => Some(node.dirs.iter().any(|root| has_snapshot(root, tag).unwrap_or(true))),
            Way::Commands(_) => None,
        }
    }
}

/// How long a node may be away, and what a command on it may take.
pub fn limit(params: &Params) -> Duration {
    let seconds = params.number("node-timeout").and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(600))
}

/// Whether a table's folder has a snapshot of this tag.
fn has_snapshot(root: &Place, tag: &str) -> Result<bool> {
    let folders = |place: &Place| -> Result<Vec<Place>> {
        let listed = if_there(place.list())?.unwrap_or_default();
        let folders = listed.into_iter().filter(|entry| matches!(entry.what, What::Folder));
        Ok(folders.map(|entry| place.join(entry.name)).collect())
    };
    for keyspace in folders(root)? {
        for table in folders(&keyspace)? {
            if if_there(table.join("snapshots").join(tag).list())?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Runs a program where a node's files lie; `said` names it in errors.
fn run(node: &NodeDir, words: &[&str], said: &str, patience: Patience<'_>) -> Result<()> {
    let place = node.dirs.first().ok_or_else(|| Error::new(Kind::Usage, &node.name, "has no folder"))?;
    let machine = if place.machine().is_empty() { String::new() } else { format!("{}: ", place.machine()) };
    let what = format!("node {}: {machine}{said}", node.name);
    place.run(words, patience).map_err(|e| e.said_of(&what))?.well(&what).map(drop)
}

/// `nodetool`, as the operator says that it is called.
#[derive(Debug, Clone)]
pub struct Nodetool {
    program: String,
    options: Vec<String>,
    limit: Duration,
}

impl Nodetool {
    /// Errors: a password among the options, which whoever lists processes would see.
    pub fn of(params: &Params) -> Result<Nodetool> {
        let given = params.text("nodetool-options").unwrap_or_default();
        let options: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
        let is_password = |word: &str| {
            (word.starts_with("-pw") && !word.starts_with("-pwf"))
                || word == "--password"
                || word.starts_with("--password=")
        };
        if options.iter().any(|word| is_password(word)) {
            return Err(Error::new(
                Kind::Usage,
                "--nodetool-options",
                "holds a password, which every process there could see",
            )
            .hint("give -u NAME -pwf FILE: the file lies on the node, and only its user can read it"));
        }
        let program = params.text("nodetool").unwrap_or("nodetool").to_owned();
        Ok(Nodetool { program, options, limit: limit(params) })
    }

    /// Runs one of its commands on a node.
    fn run(&self, node: &NodeDir, command: &[&str], patience: Patience<'_>) -> Result<()> {
        let option = |word: &String| match (word.contains("{address}"), &node.address) {
            (false, _) => Ok(word.clone()),
            (true, Some(address)) => Ok(word.replace("{address}", address)),
            (true, None) => {
                Err(Error::new(Kind::Usage, format_args!("node {}", node.name), "has no address for {address}")
                    .hint("give --node NAME@ADDRESS=…"))
            }
        };
        let options = self.options.iter().map(option).collect::<Result<Vec<String>>>()?;
        let words = [&self.program].into_iter().chain(&options).map(String::as_str).chain(command.iter().copied());
        let said = format!("{} {}", self.program, command.join(" "));
        run(node, &words.collect::<Vec<_>>(), &said, patience).map_err(|e| match e.message() {
            _ if e.kind() == Kind::Unsupported => e.hint("say where it is with --nodetool PATH"),
            said if ["redential", "assword", "username"].iter().any(|word| said.contains(word)) => {
                e.hint("--nodetool-options='-u NAME -pwf FILE': the file lies on the node")
            }
            _ => e,
        })
    }
}

/// Lines for a shell on the node.
#[derive(Debug, Clone)]
pub struct Commands {
    before: Option<String>,
    after: Option<String>,
    cluster: String,
    limit: Duration,
}

impl Commands {
    /// Runs one of them, which finds in its environment what it is run for.
    fn run(&self, node: &NodeDir, name: &str, line: &Option<String>, tag: &str, patience: Patience<'_>) -> Result<()> {
        let Some(line) = line else { return Ok(()) };
        let dirs: Vec<String> = node.dirs.iter().map(|dir| dir.path().display().to_string()).collect();
        let told = [
            ("HOOK", name),
            ("NODE", &node.name),
            ("ADDRESS", node.address.as_deref().unwrap_or_default()),
            ("CLUSTER", &self.cluster),
            ("TAG", tag),
            ("DIRS", &dirs.join(",")),
        ];
        let told = told.map(|(name, value)| format!("ONEFOLD_{name}={value}"));
        let words = ["env"].into_iter().chain(told.iter().map(String::as_str)).chain(["sh", "-c", line]);
        run(node, &words.collect::<Vec<_>>(), &format!("--{name}"), patience)
    }
}
