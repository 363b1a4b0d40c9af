//! The toy engine: a database of the tests, whose records have neither groups nor versions and whose parts are no files. All that
//! it is lies in this folder; one line makes a program that knows it (`tests/toyland/main.rs`).

mod archive;
mod schema;
pub mod source;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use onefold::engine::params::{Group, Param, Takes};
use onefold::engine::target::{Asked, OUT, Target};
use onefold::engine::{Described, Engine, Env, Form, KeptOf, Params, Schema, Source};
use onefold::{Error, Result};
use serde_json::Value;

use archive::Interval;
use source::Toyland;

const NAME: &str = "toy";

/// The engine.
pub struct Toy;

/// What a snapshot says of all tables together: by table and node, the keys that the node answers for.
#[derive(serde::Serialize, serde::Deserialize)]
struct Cluster {
    owns: BTreeMap<String, Vec<Vec<Interval>>>,
}

const CAPTURE: Group = Group {
    heading: None,
    params: &[Param::new("node", Takes::Node, "NAME=ARCHIVE", "A node, and its archive").many().required()],
};

impl Engine for Toy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schema(&self, name: &str, description: &Value) -> Result<Arc<dyn Schema>> {
        match description.as_str() {
            Some(table) if table == name => Ok(Arc::new(schema::Table(name.to_owned()))),
            _ => Err(Error::damaged(format!("description of {name}"), "is that of no toy")),
        }
    }

    fn kept_of<'n>(&self, file: &'n str) -> Option<KeptOf<'n>> {
        // The folder is `NAME-ID/`, and both are the table's name.
        let (folder, archive) = file.split_once('/')?;
        let id = folder.get(..folder.len() / 2).filter(|id| folder == format!("{id}-{id}"))?;
        Some(KeptOf { shard: id.to_owned(), id, part: Some(archive.to_owned()) })
    }

    fn sources(&self) -> &'static [Form] {
        const SOURCES: &[Form] =
            &[Form { name: NAME, help: "A database of the tests", groups: &[&CAPTURE], lacking: None }];
        SOURCES
    }

    fn source(&self, _: &str, params: &Params, _: &Described<'_>, _: &Env<'_>) -> Result<Box<dyn Source>> {
        Ok(Box::new(Toyland::open(params.nodes("node"))?))
    }

    fn targets(&self) -> &'static [Form] {
        const TARGETS: &[Form] = &[Form { name: NAME, help: "An archive of one node", groups: &[&OUT], lacking: None }];
        TARGETS
    }

    fn target<'a>(&self, _: &str, _: &'a Params, asked: &'a Asked<'a>, _: &'a Env<'a>) -> Result<Box<dyn Target + 'a>> {
        Ok(Box::new(target::Into::new(asked)?))
    }
}
