//! The ways in and out, with their parameters.

use super::source::reached;
use super::source::{self, ENGINE};
use super::whose::is_of_everything;
use crate::engine::params::{Group, Param, Takes};
use crate::engine::target::OUT;
use crate::engine::{Described, Env, Form, Narrowed, Params, Source};
use crate::error::{Error, Kind, Result};

/// The ways in.
pub const SOURCES: &[Form] =
    &[Form { name: ENGINE, help: "Apache Cassandra 3.0 to 5.0", groups: &[&CAPTURE, &TAKE, &SPARE], lacking: None }];

const CAPTURE: Group = Group {
    heading: None,
    params: &[
        Param::new(
            "node",
            Takes::Node,
            "NAME[@ADDRESS]=DIR[,DIR…]",
            "A node: its name, its address in the ring, and the folder that holds KEYSPACE/TABLE-ID/ folders; several folders, \
             with commas, where a node has several data directories. `ssh://[USER@]HOST[:PORT]/DIR[,DIR…]` lies on another machine",
        )
        .many()
        .required(),
        Param::new(
            "snapshot-tag",
            Takes::Word,
            "TAG",
            "Read KEYSPACE/TABLE-ID/snapshots/TAG/, as `nodetool snapshot -t TAG` leaves it, and `backups/` that came after it",
        ),
        Param::new(
            "node-timeout",
            Takes::Number(1, 86_400),
            "SECONDS",
            "How long a node on another machine may be away, and what a command on a node may take [default: 600]",
        ),
        Param::new(
            "keyspace",
            Takes::Text,
            "KEYSPACE",
            "Only this keyspace; may be given several times. What is left out is neither expected nor counted, and `show` says so",
        )
        .many(),
        Param::new(
            "exclude",
            Takes::Text,
            "KEYSPACE[.TABLE]",
            "Without this keyspace or table; may be given several times",
        )
        .many(),
        Param::new(
            "data-center",
            Takes::Text,
            "NAME",
            "Expect the nodes of this data center only. Keyspaces that have no replicas in it are left out",
        ),
        Param::new(
            "source-ring",
            Takes::Path,
            "FILE",
            "Output of `nodetool ring`, where the capture does not hold the system tables",
        ),
    ],
};

const TAKE: Group = Group {
    heading: Some("Snapshots that the backup takes"),
    params: &[
        Param::flag(
            "take-snapshot",
            "Take a snapshot on every node, where its files lie, with `nodetool snapshot`; clear it when all was read, whatever \
             happens. The folders are the data directories",
        )
        .without(&["snapshot-tag"]),
        Param::new("nodetool", Takes::Word, "PROGRAM", "`nodetool` on the nodes [default: nodetool]").with(&["take-snapshot"]),
        Param::new(
            "nodetool-options",
            Takes::Text,
            "OPTIONS",
            "What it needs to reach its node, with blanks between: `--nodetool-options='-p 7199 -u NAME -pwf FILE'`, the file on the \
             node. {address} stands for the node's ADDRESS",
        )
        .with(&["take-snapshot"]),
        Param::new(
            "before-node",
            Takes::Word,
            "COMMAND",
            "In place of nodetool: a line for `sh -c`, run on every node where its files lie, before they are read, such as one that              makes a snapshot of their file system or volume and mounts it at the node's DIR. A node on which it fails is left out",
        )
        .without(&["take-snapshot"]),
        Param::new(
            "after-node",
            Takes::Word,
            "COMMAND",
            "The same, run when all was read, whatever happens, also where --before-node failed; and by the next run, where one was              killed",
        )
        .without(&["take-snapshot"]),
        Param::flag(
            "flushed",
            "--before-node has the node write out what is only in memory (`nodetool flush`) before it freezes its files: nothing is              missing in a data directory then",
        )
        .with(&["before-node"]),
    ],
};

const SPARE: Group = Group {
    heading: Some("What the nodes are spared"),
    params: &[
        Param::new("limit-read", Takes::Number(1, 1 << 32), "KIB", "Read at most so many KiB a second of each node"),
        Param::new(
            "node-disk-max",
            Takes::Number(1, 100),
            "PERCENT",
            "A node whose disk is fuller gets no snapshot; one whose disk fills so far while it is held is cleared at once. It is left              out. 100 looks at no disk [default: 90 with --take-snapshot, --before-node or --after-node, else 100]",
        ),
        Param::new(
            "node-latency-max",
            Takes::Number(1, 600_000),
            "MILLISECONDS",
            "A node that takes longer for its reads, for the middle one of the last 63, is cleared and left out [default: no bound]",
        ),
    ],
};

/// Captured nodes, as the parameters of [`SOURCES`] say. A node on another machine that cannot be reached, or on which no snapshot
/// can be taken, is left out and named, as long as another is there.
pub fn source(params: &Params, before: &Described<'_>, env: &Env<'_>) -> Result<Box<dyn Source>> {
    let reached = reached::reach(params, env)?;
    let narrowed = Narrowed {
        only: params.list("keyspace"),
        excluded: params.list("exclude"),
        data_center: params.text("data-center").map(str::to_owned),
        absent: Vec::new(),
    };
    let source = source::CapturedNodes::open_reached(reached, params.path("source-ring"), before, narrowed, env.watch)?;
    Ok(Box::new(source))
}

/// The ways out.
pub const TARGETS: &[Form] = &[
    Form {
        name: SSTABLES,
        help: "SSTables for the nodes of another cluster, or of the same",
        groups: &[&OUT, &INTO, &CONNECT, &FILES],
        lacking: None,
    },
    Form {
        name: LIVE,
        help: "Rows into a live cluster, over CQL",
        groups: &[&INTO, &CONNECT, &WRITES],
        lacking: if cfg!(feature = "cql") { None } else { Some("build with the feature cql") },
    },
];
/// The form of `into_sstables`.
pub const SSTABLES: &str = "sstables";
/// The form of `into_cql`.
pub const LIVE: &str = "cassandra";

const INTO: Group = Group {
    heading: Some("Options of --to sstables and --to cassandra"),
    params: &[
        Param::new("into", Takes::Text, "KEYSPACE.TABLE", "Put the table there, in place of where it was").with(&["table"]),
        Param::flag(
            "with-roles",
            "Write roles and grants (`system_auth`), too, where everything is restored; other tables of Cassandra's own only \
             with --table",
        )
        .without(&["table"]),
        Param::new(
            "replication",
            Takes::Text,
            "OPTIONS",
            "How the target replicates what is restored, where not as captured: \
             `{'class': 'NetworkTopologyStrategy', 'dc1': 3}`",
        ),
    ],
};

const CONNECT: Group = Group {
    heading: Some("Options of --to sstables and --to cassandra: a live cluster"),
    params: &[
        Param::new(
            "contact",
            Takes::List,
            "A,B…",
            "Nodes to connect to, and no others: HOST or HOST:PORT, the port 9042 unless given",
        ),
        Param::new("cql-user", Takes::Text, "NAME", "User of the cluster").with(&["contact", "cql-password-file"]),
        Param::new("cql-password-file", Takes::Path, "FILE", "File whose first line is that user's password")
            .with(&["cql-user"]),
        Param::new(
            "cql-ca",
            Takes::Path,
            "FILE",
            "Use TLS: the nodes' certificates must be signed by one of these, in PEM, and name the address",
        )
        .with(&["contact"]),
        Param::new("cql-cert", Takes::Path, "FILE", "Our certificate in PEM, where the nodes ask for one")
            .with(&["cql-ca", "cql-key"]),
        Param::new("cql-key", Takes::Path, "FILE", "Its key, in PEM").with(&["cql-cert"]),
        Param::flag("cql-any-name", "The nodes' certificates need not name their addresses").with(&["cql-ca"]),
    ],
};

const FILES: Group = Group {
    heading: Some("Options of --to sstables"),
    params: &[
        Param::new(
            "ring",
            Takes::Path,
            "FILE",
            "The target's ring: output of `nodetool ring` or `nodetool describering KEYSPACE`, or JSON (`onefold show --json` \
             prints one). With --contact it is read from the live cluster",
        )
        .without(&["contact"]),
        Param::new(
            "layout",
            Takes::Choice(&[
                (
                    "nodes",
                    "One folder for each node of the ring, with exactly what it holds: for `nodetool import`, or to copy there",
                ),
                ("once", "Each row once: for `sstableloader`, which finds the nodes by itself"),
            ]),
            "LAYOUT",
            "Which folders are written [default: nodes]",
        ),
        Param::new(
            "sstable-version",
            Takes::Choice(&[
                ("nb", "Cassandra 4.0 and later"),
                ("oa", "Cassandra 5.0 with `storage_compatibility_mode: NONE` or `UPGRADING`"),
            ]),
            "VERSION",
            "Version of the files [default: oa where the captured ones were, else nb]",
        ),
        Param::new(
            "late-times",
            Takes::Choice(&[
                ("refuse", "Leave out the tables that have such, naming the row, and fail after the others"),
                ("cap", "Bring them forward to 2038, and say how many"),
            ]),
            "WHAT",
            "Deletion and expiry times after 2038, which nb cannot hold [default: refuse]",
        ),
    ],
};

const WRITES: Group = Group {
    heading: Some("Options of --to cassandra"),
    params: &[
        Param::flag(
            "replace",
            "Delete what the target holds of what is restored (all of the table without --where), then write",
        )
        .without(&["rewrite-times"]),
        Param::new(
            "rewrite-times",
            Takes::Choice(&[("now", "The time of the restore, in their order within each row")]),
            "now",
            "Write with times of now, so that restored rows win over those that are there. Other rows stay: deletions are written \
             only within restored rows, the others are counted",
        ),
        Param::new(
            "expiry",
            Takes::Choice(&[
                ("keep", "They end when they would have ended"),
                ("shift", "They have as long to live as they had when the snapshot was taken"),
                ("lift", "They do not end"),
            ]),
            "WHEN",
            "Cells that expire [default: keep]",
        ),
        Param::new("rate", Takes::Text, "ROWS|BYTES", "At most so much a second: 5000 (rows), 10MB (bytes of values)"),
        Param::new(
            "concurrency",
            Takes::Number(1, 1024),
            "N",
            "Statements in flight [default: 32]; never more than a 500th of the rows that are done, or 32, so that little is sent \
             twice when an interrupted restore goes on",
        ),
        Param::new(
            "consistency",
            Takes::Choice(&[
                ("one", "One"),
                ("local-quorum", "A majority in the data centre of the contacts"),
                ("quorum", "A majority"),
                ("all", "All"),
            ]),
            "LEVEL",
            "Replicas that must have each write [default: local-quorum]",
        ),
        Param::new(
            "state",
            Takes::Path,
            "FILE",
            "Where to remember what was sent, so that a repeated restore goes on; without --table a folder [default: in \
             $XDG_STATE_HOME/onefold/restores, or ~/.local/state/onefold/restores]",
        ),
    ],
};

/// Why a restore of everything does not write a table, and what to do to have it.
pub fn leaves_out(table: &str, params: &Params) -> Option<&'static str> {
    (!is_of_everything(table, params.has("with-roles")))
        .then_some("a table of Cassandra's own; name it with --table (roles and grants: --with-roles) if you want it")
}

/// The keyspace and table of `--into`, plain or in the quotes of CQL; `None` where it was not given.
pub fn into(params: &Params) -> Result<Option<(&str, &str)>> {
    let Some(name) = params.text("into") else { return Ok(None) };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let parts = name.split_once('.').map(|(keyspace, table)| (bare(keyspace), bare(table)));
    parts.filter(|(keyspace, table)| plain(keyspace) && plain(table)).map(Some).ok_or_else(|| {
        Error::new(Kind::Usage, format_args!("--into {name}"), "is no name of a table")
            .hint("give KEYSPACE.TABLE, of letters, digits and _")
    })
}

/// A name without the quotes of CQL, if it has them.
fn bare(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}
