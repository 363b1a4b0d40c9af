//! Files and folders of this machine, and streams. A file tree is a run as any other: a record is a path, what is true of it on every
//! machine, and where its content is.
//!
//! ```text
//! walk ─ names in order, what is remembered of each → read ─ look, compare, read what changed → run ─ records in order
//! rules ─ what is meant, what is left out             content ─ holes, data                      before (memory, earlier) ─ what was there
//! links ─ files of several names
//! schema ─ rows for people                            stream ─ one file that is none
//! select, text ─ paths and patterns as people write them
//! ```

mod attributes;
mod before;
mod content;
mod earlier;
mod folder;
pub mod fuzzing;
mod links;
mod memory;
mod names;
mod problems;
mod read;
mod rows;
mod rules;
mod run;
mod schema;
mod select;
mod source;
mod stands;
mod stream;
mod text;
mod walk;

use std::sync::Arc;

use serde_json::Value;
pub use source::{shard, this_machine};

use super::params::{Group, Param, Takes};
use super::{Described, Engine, Env, Form, KeptOf, Params, Schema, Source, Words};
use crate::error::Result;

const NAME: &str = "posix";
const FILES: &str = "files";
/// The one shard of a snapshot.
const SHARD: &str = "files";
const STREAM: &str = "stream";
/// Paths of so many bytes in all are named one by one in what a job is called.
const JOB_MAX: usize = 200;

/// The engine.
pub struct Posix;

const TREE: Group = Group {
    heading: None,
    params: &[
        Param::new("path", Takes::Path, "PATH", "Files and folders to back up, with all that lies in them")
            .many()
            .positional(),
        Param::new(
            "exclude",
            Takes::Word,
            "PATTERN",
            "Leave out what fits, as .gitignore writes patterns; as often as wanted",
        )
        .many(),
        Param::new("exclude-file", Takes::Path, "FILE", "The same, from a file with a pattern on each line").many(),
        Param::flag("exclude-caches", "Leave out what lies beside a CACHEDIR.TAG"),
        Param::new("exclude-if-present", Takes::Word, "NAME", "Leave out what lies in a folder that holds such a file")
            .many(),
        Param::new(
            "exclude-larger-than",
            Takes::Bytes,
            "SIZE",
            "Leave out the content of larger files: bytes, or 10K, 10M, 10G, 10T",
        ),
        Param::flag("one-file-system", "Leave out other file systems that are mounted below"),
        Param::new("files-from0", Takes::Path, "FILE", "Further paths from a file, with a NUL behind each").many(),
        Param::flag("ignore-ctime", "A file is the same though its time of change of status differs"),
        Param::flag("ignore-inode", "A file is the same though its number or file system differs"),
    ],
};

const STREAMED: Group = Group {
    heading: None,
    params: &[
        Param::new("name", Takes::Word, "NAME", "What the stream is called in the snapshot: db.sql").required(),
        Param::new("command", Takes::Path, "COMMAND", "What writes it, after --; without, standard input")
            .many()
            .trailing(),
    ],
};

impl Engine for Posix {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> Words {
        Words { outer: None, place: "path", shared: "shared values" }
    }

    fn schema(&self, _: &str, _: &Value) -> Result<Arc<dyn Schema>> {
        Ok(Arc::new(schema::FileTree))
    }

    fn kept_of<'n>(&self, _: &'n str) -> Option<KeptOf<'n>> {
        None
    }

    fn sources(&self) -> &'static [Form] {
        const SOURCES: &[Form] = &[
            Form { name: FILES, help: "Files and folders of this machine", groups: &[&TREE], lacking: None },
            Form {
                name: STREAM,
                help: "Standard input, or what a command writes",
                groups: &[&STREAMED],
                lacking: None,
            },
        ];
        SOURCES
    }

    fn names_jobs(&self) -> bool {
        true
    }

    fn job(&self, form: &str, params: &Params) -> Result<Option<String>> {
        let what = match form {
            STREAM => params.text("name").unwrap_or_default().to_owned(),
            _ => {
                let paths = rules::paths(params)?;
                let all = paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(",");
                match all.len() <= JOB_MAX {
                    true => all,
                    // Other paths are another job, however alike they begin.
                    false => {
                        let some: String = all.chars().take(JOB_MAX / 2).collect();
                        format!("{some}… ({} paths, {})", paths.len(), &blake3::hash(all.as_bytes()).to_hex()[..16])
                    }
                }
            }
        };
        Ok(Some(what))
    }

    fn source(&self, form: &str, params: &Params, _: &Described<'_>, env: &Env<'_>) -> Result<Box<dyn Source>> {
        let host = params.text("host").unwrap_or(&env.host).to_owned();
        Ok(match form {
            STREAM => Box::new(stream::OneStream::open(params, &host, env)?),
            _ => Box::new(source::Files::open(params, &host)?),
        })
    }
}
