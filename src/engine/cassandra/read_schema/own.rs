//! What the `schema.cql` say that lie with the tables: the whole schema, where `system_schema` was not captured; otherwise
//! the types of each table as they were when it was captured itself, which may be later.

use std::collections::BTreeMap;

use super::{Schema, details};
use crate::engine::cassandra::capture::Capture;
use crate::engine::cassandra::cql;
use crate::engine::cassandra::schema::{Table, UserType, take_type};
use crate::error::{Kind, Result};

/// Largest `schema.cql` that is read, bytes.
const CQL_MAX: u64 = 4 << 20;

/// The texts by table id.
pub fn texts(capture: &Capture) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for table in &capture.tables {
        let Some(place) = &table.schema_cql else { continue };
        match place.read(CQL_MAX) {
            Err(e) if e.kind() == Kind::TooLarge => {}
            read => drop(found.insert(table.id.clone(), String::from_utf8_lossy(&read?).into_owned())),
        }
    }
    Ok(found)
}

/// The tables that the captured `schema.cql` define; of tables with one name only those whose folder was captured. Each has
/// the types of its own file. A file may leave out a type that its table uses: that one is taken from the other files of
/// the keyspace, with the most fields that any gives it. A file that cannot be read is its own table's trouble alone.
pub fn schema(capture: &Capture) -> Result<Option<Schema>> {
    let mut schema = Schema::default();
    let mut types: BTreeMap<String, Vec<UserType>> = BTreeMap::new();
    for (id, text) in texts(capture)? {
        let found = match cql::parse(&text) {
            Ok(found) => found,
            Err(e) => {
                schema.misread.insert(id, e.to_string());
                continue;
            }
        };
        for (keyspace, t) in &found.types {
            // Of two that contradict each other the first stands: both are other tables'.
            take_type(types.entry(keyspace.clone()).or_default(), t);
        }
        match found.tables.into_iter().find(|table| table.id == id) {
            Some(table) => schema.tables.push(table),
            None => drop(schema.misread.insert(id, "it does not define the table of that id".to_string())),
        }
    }
    for table in &mut schema.tables {
        for t in types.get(&table.keyspace).into_iter().flatten() {
            if !table.types.iter().any(|own| own.name == t.name) {
                table.types.push(t.clone());
            }
        }
        details::in_order(&mut table.types);
    }
    schema.tables.sort_by(|a, b| (&a.keyspace, &a.name, &a.id).cmp(&(&b.keyspace, &b.name, &b.id)));
    Ok((!schema.tables.is_empty() || !schema.misread.is_empty()).then_some(schema))
}

/// Gives each table the fields that its own file knows beyond those of `system_schema`, which was captured before them.
pub fn take_newer_types(tables: &mut [Table], texts: &BTreeMap<String, String>) {
    for table in tables {
        let Some(Ok(own)) = texts.get(&table.id).map(|text| cql::parse(text)) else { continue };
        let before = table.types.clone();
        for (_, t) in own.types.iter().filter(|(keyspace, _)| *keyspace == table.keyspace) {
            take_type(&mut table.types, t);
        }
        if table.types != before {
            details::in_order(&mut table.types);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn table(id: char, cql: &str) -> (String, String) {
        let id = id.to_string().repeat(32);
        let dashed = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
        (id, cql.replace("= ID", &format!("= {dashed}")))
    }

    fn capture(files: &[(String, String)]) -> (tempfile::TempDir, Capture) {
        let root = tempfile::tempdir().unwrap();
        for (id, text) in files {
            let folder = root.path().join("ks").join(format!("t-{id}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("schema.cql"), text).unwrap();
        }
        let capture = crate::engine::cassandra::capture::open(root.path(), None).unwrap().0;
        (root, capture)
    }

    const EARLY: &str = "CREATE TYPE ks.u (a int);\nCREATE TABLE ks.early (k int PRIMARY KEY, v u) WITH ID = ID;";
    const LATE: &str = "CREATE TYPE ks.u (a int, b text);\nCREATE TABLE ks.late (k int PRIMARY KEY, v u) WITH ID = ID;";
    const BARE: &str = "CREATE TABLE ks.bare (k int PRIMARY KEY, v u) WITH ID = ID;";

    #[test]
    fn every_table_has_the_types_of_its_own_file() {
        for (early, late, bare) in [('a', 'b', 'c'), ('c', 'b', 'a'), ('b', 'a', 'c')] {
            let (_root, capture) = capture(&[table(early, EARLY), table(late, LATE), table(bare, BARE)]);
            let schema = schema(&capture).unwrap().unwrap();
            let fields = |name: &str| {
                let table = schema.tables.iter().find(|t| t.name == name).unwrap();
                assert_eq!(table.types.len(), 1);
                table.types[0].fields.len()
            };
            assert_eq!((fields("early"), fields("late"), fields("bare")), (1, 2, 2));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_its_own_tables_trouble() {
        let cut = &EARLY[..EARLY.len() - 30];
        for bad in ["CREATE TABLE ks.x (k", "", "DROP TABLE ks.x;", cut, "CREATE TABLE ks.x (k int PRIMARY KEY);"] {
            let (_root, capture) = capture(&[table('a', bad), table('b', LATE)]);
            let schema = schema(&capture).unwrap().unwrap();
            assert_eq!(schema.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["late"], "{bad}");
            assert!(schema.misread.contains_key(&"a".repeat(32)), "{bad}");
        }
    }

    #[test]
    fn a_file_made_after_system_schema_knows_more_fields() {
        let of = |fields: &[&str]| UserType {
            name: "u".into(),
            fields: fields.iter().map(|f| (f.to_string(), "int".to_string())).collect(),
        };
        for (captured, text, then) in [
            (of(&["a"]), "CREATE TYPE ks.u (a int, b int);", of(&["a", "b"])),
            (of(&["a", "b", "c"]), "CREATE TYPE ks.u (a int, b int);", of(&["a", "b", "c"])),
            (of(&["x"]), "CREATE TYPE ks.u (a int, b int);", of(&["x"])),
            (of(&["a"]), "CREATE TYPE other.u (a int, b int);", of(&["a"])),
            (of(&["a"]), "CREATE TYPE ks.u (a", of(&["a"])),
        ] {
            let mut tables =
                [Table { keyspace: "ks".into(), id: "1".into(), types: vec![captured], ..Table::default() }];
            take_newer_types(&mut tables, &[("1".to_string(), text.to_string())].into());
            assert_eq!(tables[0].types, [then], "{text}");
        }
    }
}
