//! The program, with one more way in: a tree of more files than anybody has, for measuring memory (`tools/memory trees`). Its records are
//! as those of real files, written and read by what writes and reads those; only the walk over the disk is not there.
//!
//!     many_files backup generated --entries 10000000 [--in-each 1000] [--changed 1000]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use onefold::engine::params::{Group, Param, Takes};
use onefold::engine::posix::{Posix, shard, this_machine};
use onefold::engine::{
    CaptureTime, Described, Engine, Env, Form, KeptOf, Narrowed, Node, NodeParts, Params, Part, Schema, Shard, Source,
    Taking, Without, Words,
};
use onefold::error::Result;
use onefold::merge::Owned;
use onefold::run::{RecordBatch, Run};
use repo_format::file_tree::{Bytes, FileRecord, key_of};
use repo_format::record::Class;
use serde_json::{Value, json};

const GENERATED: Group = Group {
    heading: None,
    params: &[
        Param::new("entries", Takes::Number(1, 1 << 40), "N", "So many files").required(),
        Param::new("in-each", Takes::Number(1, 1 << 40), "N", "So many of them in each folder").or("1000"),
        Param::new("changed", Takes::Number(1, 1 << 40), "N", "Each Nth has another content"),
    ],
};

/// The engine of files, which reads none.
struct Many;

impl Engine for Many {
    fn name(&self) -> &'static str {
        Posix.name()
    }

    fn words(&self) -> Words {
        Posix.words()
    }

    fn schema(&self, name: &str, description: &Value) -> Result<Arc<dyn Schema>> {
        Posix.schema(name, description)
    }

    fn kept_of<'n>(&self, file: &'n str) -> Option<KeptOf<'n>> {
        Posix.kept_of(file)
    }

    fn sources(&self) -> &'static [Form] {
        &[Form { name: "generated", help: "Files that are not there", groups: &[&GENERATED], lacking: None }]
    }

    fn names_jobs(&self) -> bool {
        true
    }

    fn source(&self, _: &str, params: &Params, _: &Described<'_>, env: &Env<'_>) -> Result<Box<dyn Source>> {
        let number = |name: &str| params.number(name).and_then(|n| u64::try_from(n).ok());
        let (node, time) = this_machine(&env.host, Path::new("/generated"));
        Ok(Box::new(Generated {
            entries: number("entries").unwrap_or_default(),
            in_each: number("in-each").unwrap_or(1000),
            changed: number("changed"),
            node: [node],
            shard: [shard()],
            times: [time],
            narrowed: Narrowed::default(),
        }))
    }
}

struct Generated {
    entries: u64,
    in_each: u64,
    changed: Option<u64>,
    node: [Node; 1],
    shard: [Shard; 1],
    times: [CaptureTime; 1],
    narrowed: Narrowed,
}

/// What comes next: the root, the folder of all, or the file of this number, before which its folder may come.
#[derive(Clone, Copy)]
enum Next {
    Root,
    Top,
    Folder(u64),
    File(u64),
}

struct Entries<'a> {
    of: &'a Generated,
    next: Next,
}

impl Entries<'_> {
    fn push(&self, key: &[u8], content: Option<&str>, out: &mut RecordBatch) -> Result<()> {
        let record = FileRecord {
            mode: if content.is_some() { 0o100_644 } else { 0o040_755 },
            owner: (1000, 1000),
            user: Some(b"somebody"),
            group: Some(b"everybody"),
            // Times of a tree that grew lie apart.
            modified: (1_700_000_000 + key.iter().map(|b| i64::from(*b)).sum::<i64>(), 123_456_789),
            content: content.map(|text| Bytes::Here(text.as_bytes())),
            ..FileRecord::default()
        };
        out.push_with(key, 0, Class::Row, |to| Ok(record.put(to)))
    }
}

impl Run for Entries<'_> {
    fn next_batch(&mut self, out: &mut RecordBatch) -> Result<bool> {
        out.clear();
        let Generated { entries, in_each, changed, .. } = *self.of;
        while !out.is_full() {
            self.next = match self.next {
                Next::Root => {
                    self.push(&key_of([]), None, out)?;
                    Next::Top
                }
                Next::Top => {
                    self.push(&key_of([&b"generated"[..]]), None, out)?;
                    Next::Folder(0)
                }
                Next::File(n) | Next::Folder(n) if n == entries => break,
                Next::Folder(n) => {
                    let folder = format!("folder{:09}", n / in_each);
                    self.push(&key_of([&b"generated"[..], folder.as_bytes()]), None, out)?;
                    Next::File(n)
                }
                Next::File(n) => {
                    let (folder, name) = (format!("folder{:09}", n / in_each), format!("file-{n:012}.txt"));
                    let is_changed = changed.is_some_and(|each| n % each == 0);
                    let content = format!("what the file of number {n} holds{}", if is_changed { " now" } else { "" });
                    let key = key_of([&b"generated"[..], folder.as_bytes(), name.as_bytes()]);
                    self.push(&key, Some(&content), out)?;
                    if (n + 1) % in_each == 0 { Next::Folder(n + 1) } else { Next::File(n + 1) }
                }
            };
        }
        Ok(!out.is_empty())
    }
}

impl Source for Generated {
    fn nodes(&self) -> &[Node] {
        &self.node
    }

    fn shards(&self) -> &[Shard] {
        &self.shard
    }

    fn lists_all(&self) -> bool {
        true
    }

    fn bytes(&self, _: &Shard) -> u64 {
        0
    }

    fn times(&self) -> &[CaptureTime] {
        &self.times
    }

    fn parts<'a>(&'a self, _: &Shard, _: &Without, _: Taking<'a>) -> Result<Vec<NodeParts<'a>>> {
        let open = Box::new(move |_: &_| Ok(Box::new(Entries { of: self, next: Next::Root }) as Box<dyn Run + 'a>));
        let part = Part { name: "files".to_owned(), files: Vec::new(), bytes: 0, rank: 0, from: Ok(Vec::new()), open };
        Ok(vec![NodeParts { node: 0, owned: Owned::All, parts: vec![part] }])
    }

    fn captured(&self, _: &Shard) -> Vec<bool> {
        vec![true]
    }

    fn narrowed(&self) -> &Narrowed {
        &self.narrowed
    }

    fn describe(&self, shard: Option<&Shard>) -> Result<Value> {
        Ok(if shard.is_some() { json!({}) } else { json!({ "paths": ["/generated"] }) })
    }
}

fn main() -> ExitCode {
    onefold::cli::main(&[&Many])
}
