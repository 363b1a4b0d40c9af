//! Two snapshots between which a table's columns changed: said, and rows compared by name.

use onefold::diff::{self, Change, Counts, Of, Report, Request, Sink, Table, What};
use onefold::engine::ALL;
use onefold::repo::Repo;
use onefold::snapshot::Snapshot;
use onefold::watch::Watch;
use onefold::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::cassandra_rows::{SHOW, captures};
use crate::flow::{new_repo, nodes, rows, source, store};
use crate::repo::memory;

const TABLE: &str = "lab.collections";

/// What is said, and what became of each row.
#[derive(Default)]
struct Heard {
    notes: Vec<String>,
    rows: Vec<(What, String, Vec<String>)>,
}

impl Sink for Heard {
    fn table(&mut self, table: &Table<'_>) -> Result<()> {
        self.notes.extend(table.notes.iter().cloned());
        Ok(())
    }

    fn row(&mut self, _: &str, change: &Change<'_>) -> Result<()> {
        let columns = change.columns.iter().map(|differs| differs.column.name.clone()).collect();
        self.rows.push((change.what, change.shown().unwrap().key(), columns));
        Ok(())
    }

    fn counted(&mut self, _: &str, counts: &Counts) -> Result<()> {
        assert_eq!(counts.all(), self.rows.len() as u64);
        Ok(())
    }
}

fn compared(repo: &Repo, before: &Snapshot, after: &Snapshot, conditions: Option<&str>) -> (Result<Report>, Heard) {
    let (watch, mut heard) = (Watch::new(), Heard::default());
    let request = Request {
        engine: ALL[0],
        before: Of { id: "aaaaaaaaaaaa", snapshot: before },
        after: Of { id: "bbbbbbbbbbbb", snapshot: after },
        outer: None,
        table: Some(TABLE),
        conditions,
        watch: &watch,
    };
    let report = diff::diff(&request, &repo.reader().unwrap(), &mut heard);
    (report, heard)
}

/// The same snapshot with the table described otherwise.
fn described(s: &Snapshot, change: impl Fn(&mut Value)) -> Snapshot {
    let mut s = s.clone();
    let shard = s.shards.iter_mut().find(|shard| shard.name == TABLE).unwrap();
    change(&mut shard.description);
    s
}

fn column<'d>(description: &'d mut Value, name: &str) -> &'d mut Value {
    description["columns"].as_array_mut().unwrap().iter_mut().find(|column| column["name"] == name).unwrap()
}

#[test]
fn another_schema_is_said_and_rows_are_compared_by_name() {
    let root = &captures()[1];
    let repo = new_repo(&memory());
    let two = nodes(root, [0, 1, 2])[..2].to_vec();
    let (before, _) = store(&repo, &source(&two), false).unwrap();
    let (after, _) = store(&repo, &source(&nodes(root, [0, 1, 2])), false).unwrap();
    let (report, plain) = compared(&repo, &before, &after, None);
    assert_eq!(report.unwrap().compared, 1);
    let of = |columns: &str| plain.rows.iter().filter(|(_, _, of)| of.join(" ") == columns).count();
    assert!(plain.notes.is_empty() && of("m") > 0 && of("u") > 0, "{:?}", plain.rows);

    // `m` is dropped: rows that differ in it alone do so no longer; one that had nothing else is none any more.
    let dropped = described(&after, |d| column(d, "m")["gone"] = true.into());
    let (_, heard) = compared(&repo, &before, &dropped, None);
    assert!(heard.notes.iter().any(|note| note.contains("column m map<text, text> was dropped")), "{:?}", heard.notes);
    let changed = |rows: &[(What, String, Vec<String>)]| rows.iter().filter(|row| row.0 == What::Changed).count();
    assert_eq!(changed(&heard.rows), changed(&plain.rows) - of("m"), "{:?}", heard.rows);
    assert!(heard.rows.iter().all(|(_, _, of)| !of.contains(&"m".to_owned())));
    // `m` is added: every row whose record differs and that has a value there has a new one.
    let lacking = described(&before, |d| column(d, "m")["gone"] = true.into());
    let (_, heard) = compared(&repo, &lacking, &after, None);
    assert!(heard.notes == ["column m map<text, text> was added"], "{:?}", heard.notes);
    let in_both = |rows: &[(What, String, Vec<String>)]| {
        plain.rows.iter().all(|(_, key, _)| rows.iter().any(|row| row.1 == *key))
    };
    assert!(in_both(&heard.rows), "{:?}", heard.rows);
    let is_new = |row: &&(What, String, Vec<String>)| row.0 == What::Added || row.2.contains(&"m".to_owned());
    assert!(heard.rows.iter().filter(is_new).count() >= of("m"), "{:?}", heard.rows);
    // Conditions that one side does not know name rows of the other alone.
    let (report, heard) = compared(&repo, &lacking, &after, Some("id >= 0"));
    assert!(report.is_ok() && in_both(&heard.rows), "{:?}", heard.rows);
    let renamed = described(&before, |d| column(d, "id")["name"] = "key".into());
    let (report, heard) = compared(&repo, &renamed, &after, Some("id = 20"));
    assert!(report.is_ok(), "{report:?}");
    let said = heard.notes.iter().any(|note| note.contains("snapshot aaaaaaaaaa: the conditions name no row"));
    assert!(
        said && heard.notes.iter().any(|note| note.contains("its key was ((key int)), it is ((id int))")),
        "{:?}",
        heard.notes
    );
    assert_eq!(heard.rows, [(What::Added, "{\"id\": 20}".to_owned(), vec![])]);
    let (report, _) = compared(&repo, &before, &after, Some("nope = 1"));
    assert_eq!(report.unwrap_err().kind(), Kind::Usage);

    // Where keys are made otherwise, no row of the one is one of the other.
    let (report, heard) = compared(&repo, &renamed, &after, None);
    let rows = |s: &Snapshot| rows(&repo, s, s.shard(TABLE).unwrap(), None, SHOW).len() as u64;
    let count = |wanted| heard.rows.iter().filter(|(what, ..)| *what == wanted).count() as u64;
    assert_eq!(
        (count(What::Deleted), count(What::Added)),
        (rows(&before), rows(&after)),
        "{:?}",
        report.unwrap().counts
    );
    // Another type, and a table made anew.
    let typed = described(&before, |d| column(d, "m")["cql_type"] = json!("frozen<map<text, text>>"));
    let (_, heard) = compared(&repo, &typed, &after, None);
    let note = "column m was frozen<map<text, text>>, it is map<text, text>: its values are compared as text";
    assert!(heard.notes.iter().any(|said| said == note), "{:?}", heard.notes);
    let mut anew = after.clone();
    anew.shards.iter_mut().find(|shard| shard.name == TABLE).unwrap().id = "0000".into();
    let (_, heard) = compared(&repo, &before, &anew, None);
    assert!(
        heard.notes[0].starts_with("was made anew between the two") && heard.rows == plain.rows,
        "{:?}",
        heard.notes
    );
    // Numbers of columns are the snapshots' own affair; a value that is not of its type is named by row and column.
    let broken = described(&after, |d| column(d, "m")["cql_type"] = json!("int"));
    let (report, _) = compared(&repo, &before, &broken, None);
    let e: Error = report.unwrap_err();
    assert!(e.kind() == Kind::Unsupported && e.to_string().contains("id") && e.to_string().contains("column m"), "{e}");
}
