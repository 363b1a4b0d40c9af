//! The forms in which data come back: those that every database has, and those of the engines.

use crate::engine::params::{Group, Param, Takes};
use crate::engine::target::OUT;
use crate::engine::{Engine, Form, Params};
use crate::error::{Error, Kind, Result};

/// One row a line.
pub const JSON: &str = "json";
/// Rows under a line of names.
pub const CSV: &str = "csv";
/// What was kept byte for byte.
pub const FILES: &str = "files";

/// The forms that every database has.
pub const FORMS: &[Form] = &[
    Form {
        name: JSON,
        help: "One row a line, values as the database prints them",
        groups: &[&MEANT, &NODE, &OUT, &SHOWN],
        lacking: None,
    },
    Form {
        name: CSV,
        help: "RFC 4180 under a line of names, values as the database's tools read them",
        groups: &[&MEANT, &NODE, &OUT, &SHOWN],
        lacking: None,
    },
    Form {
        name: FILES,
        help: "File trees, and of databases the files that were kept byte for byte",
        groups: &[&NODE, &OUT, &TREES],
        lacking: None,
    },
];

/// What every form takes that gives back rows.
pub const MEANT: Group = Group {
    heading: None,
    params: &[
        Param::new("table", Takes::Text, "TABLE", "One table only, named as `onefold ls` does (not with files)"),
        Param::new(
            "where",
            Takes::Text,
            "CONDITION",
            "Rows that fulfil this only, in the database's own language: `id = 42 AND day >= '2024-01-01'` (not with files)",
        )
        .with(&["table"]),
        Param::flag(
            "include-unowned",
            "With what only nodes held that do not own it, merged by the database's rule (not with files)",
        )
        .without(&["node"]),
    ],
};

const NODE: Group = Group {
    heading: None,
    params: &[Param::new(
        "node",
        Takes::Text,
        "NAME",
        "What this node alone held: its own view (json and csv; needs --keep-node-views at the backup), or its files (files)",
    )],
};

/// Where a file tree goes; the same as `--out`, and says that files are meant.
pub const TARGET: &str = "target";

const TREES: Group = Group {
    heading: Some("Options of --to files, for file trees"),
    params: &[
        Param::new(TARGET, Takes::Path, "DIR", "Folder to write to: --to files --out DIR").without(&["out"]),
        Param::new(
            "include",
            Takes::Word,
            "PATTERN",
            "Only what fits, as .gitignore writes patterns; as often as wanted",
        )
        .many(),
        Param::new("exclude", Takes::Word, "PATTERN", "Not what fits; as often as wanted").many(),
        Param::new(
            "overwrite",
            Takes::Choice(&[
                ("always", "Contents are compared, and what differs is written anew"),
                ("if-changed", "The same, but a file of the same size and time counts as the same"),
                ("if-newer", "As always, but what was changed later than in the snapshot stays"),
                ("never", "What is there stays"),
            ]),
            "WHEN",
            "What becomes of files that are there [default: always]",
        ),
        Param::flag("delete", "Take away what is there and is not in the snapshot, unless the snapshot does not know"),
        Param::flag("verify", "Compare everything with the snapshot once more when it is written"),
    ],
};

const SHOWN: Group = Group {
    heading: Some("Options of --to json and --to csv"),
    params: &[
        Param::flag("writetime", "Add write times"),
        Param::flag("ttl", "Add the seconds left to live at the snapshot's cut"),
    ],
};

/// A form, and whose it is; `None`: every database's.
#[derive(Clone, Copy)]
pub struct FormOf<'e> {
    /// The form.
    pub form: &'static Form,
    /// The engine.
    pub engine: Option<&'e dyn Engine>,
}

impl FormOf<'_> {
    /// What it takes.
    pub fn groups(&self) -> impl Iterator<Item = &'static Group> {
        let of_rows = self.engine.map(|_| &MEANT);
        of_rows.into_iter().chain(self.form.groups.iter().copied())
    }

    fn takes(&self, name: &str) -> bool {
        self.groups().any(|group| group.params.iter().any(|param| param.name == name))
    }
}

/// All forms, with those of `engines`.
pub fn all<'e>(engines: &[&'e dyn Engine]) -> Vec<FormOf<'e>> {
    let ours = FORMS.iter().map(|form| FormOf { form, engine: None });
    let theirs = |engine: &&'e dyn Engine| {
        let engine = *engine;
        engine.targets().iter().map(move |form| FormOf { form, engine: Some(engine) })
    };
    ours.chain(engines.iter().flat_map(theirs)).collect()
}

/// Refuses a parameter of another form than `of`: it is a mistake, and not passed over.
pub fn fits(all: &[FormOf<'_>], of: &FormOf<'_>, params: &Params) -> Result<()> {
    let Some(name) = params.names().find(|name| !of.takes(name)) else { return Ok(()) };
    let forms: Vec<&str> = all.iter().filter(|form| form.takes(name)).map(|form| form.form.name).collect();
    let subject = format_args!("restore --to {}", of.form.name);
    Err(Error::new(Kind::Usage, subject, format_args!("has no option --{name}"))
        .hint(format_args!("--{name} belongs to --to {}", forms.join(", --to "))))
}
