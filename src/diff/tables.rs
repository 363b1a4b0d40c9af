//! What two snapshots say of one shard, before any row is read: whether they have it, how its columns differ, what was not read.

use super::spell::Columns;
use crate::engine::{Column, Of};
use crate::error::Result;
use crate::snapshot::{Shard, Snapshot};
use crate::view::View;

/// What a snapshot has of a shard.
#[derive(Debug, Clone, Copy)]
pub enum Held<'s> {
    /// Its records, of some node at least.
    Backed(&'s Shard),
    /// Nothing: what it held then, nobody knows.
    Not(Why),
}

/// Why a snapshot has nothing of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The operator left it out by name.
    Excluded,
    /// It is in the schema, and of no node a capture had it.
    NotCaptured,
    /// It is not in the snapshot.
    Absent,
}

impl Why {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Why::Excluded => "left out by name",
            Why::NotCaptured => "no node's capture had it",
            Why::Absent => "the snapshot does not know it",
        }
    }
}

impl<'s> Held<'s> {
    /// What `s` has of the shard called `name`.
    pub fn of(s: &'s Snapshot, name: &str) -> Held<'s> {
        match s.shard(name) {
            Ok(shard) if shard.not_captured.len() < s.nodes.len() => Held::Backed(shard),
            Ok(shard) if s.narrowed.leaves_out(&shard.name) => Held::Not(Why::Excluded),
            Ok(_) => Held::Not(Why::NotCaptured),
            Err(_) if s.narrowed.leaves_out(&name.replace('"', "")) => Held::Not(Why::Excluded),
            Err(_) => Held::Not(Why::Absent),
        }
    }

    /// The shard, where it has its records.
    pub fn shard(self) -> Option<&'s Shard> {
        match self {
            Held::Backed(shard) => Some(shard),
            Held::Not(_) => None,
        }
    }

    /// Why it has none.
    pub fn why(self) -> Option<Why> {
        match self {
            Held::Backed(_) => None,
            Held::Not(why) => Some(why),
        }
    }
}

/// What of a shard was not read, though it may hold rows: of these nobody knows. Of a complete snapshot nothing.
pub fn not_read(s: &Snapshot, shard: &Shard) -> Vec<String> {
    let mut all = Vec::new();
    if s.complete {
        return all;
    }
    if !shard.unread.is_empty() {
        all.push(format!("{} own parts of it and were not read", shard.unread.join(", ")));
    }
    let names = shard.not_captured.iter().filter_map(|node| Some(s.nodes.get(*node)?.name.as_str()));
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        all.push(format!("no capture of {} had it", names.join(", ")));
    }
    if !shard.ring_known {
        all.push("which node owns what was not known".to_owned());
    }
    let problems = s.problems.iter().filter(|problem| problem.subject.contains(&shard.name)).count();
    if problems > 0 {
        all.push(format!("{problems} problems of the snapshot name it"));
    }
    all
}

/// What is to be known of a shard that both snapshots have before its rows are compared.
///
/// Errors: a type that is not known.
pub fn notes(before: &View<'_>, after: &View<'_>) -> Result<Vec<String>> {
    let (one, other) = (before.shard(), after.shard());
    let mut notes = Vec::new();
    if one.id != other.id {
        notes.push(format!("was made anew between the two: it was {}, it is {}", one.id, other.id));
    }
    let (key, now) = (before.schema().key()?, after.schema().key()?);
    if key != now {
        notes.push(format!("its key was {key}, it is {now}: rows of the one are none of the other"));
    } else {
        columns(&Columns::of(before)?, &Columns::of(after)?, &mut notes);
    }
    Ok(notes)
}

/// Columns that one side alone has, and those whose type is another.
fn columns(before: &Columns, after: &Columns, notes: &mut Vec<String>) {
    let values = |columns: &Columns| -> Vec<Column> {
        columns.all.iter().filter(|c| matches!(c.of, Of::Shared | Of::Own)).cloned().collect()
    };
    let (before, after) = (values(before), values(after));
    let find = |all: &[Column], name: &str| all.iter().find(|column| column.name == name).cloned();
    for column in &before {
        let (name, kind) = (&column.name, &column.kind);
        match find(&after, name) {
            None => notes.push(format!("column {name} {kind} was dropped: its values are not compared")),
            Some(now) if now.kind != *kind => {
                notes.push(format!("column {name} was {kind}, it is {}: its values are compared as text", now.kind));
            }
            Some(_) => {}
        }
    }
    for column in after.iter().filter(|column| find(&before, &column.name).is_none()) {
        notes.push(format!("column {} {} was added", column.name, column.kind));
    }
}
