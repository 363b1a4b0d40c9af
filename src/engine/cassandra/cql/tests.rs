use proptest::prelude::*;

use super::*;

const SCHEMA: &str = r#"
/* what nodetool writes */
CREATE TYPE IF NOT EXISTS lab.geo (
    lat double,
    "Lon" frozen<map<text, int>>
);
CREATE TABLE IF NOT EXISTS lab."Quoted" (
    "Id" int,
    b text,
    "from" text,
    v vector<float, 3>,
    geo frozen<geo> static,
    masked text MASKED WITH system.mask_inner(1, null),
    again int,
    gone map<text, frozen<list<int>>>,
    PRIMARY KEY (("Id", b), "from", again)
) WITH ID = f200e9f0-e595-11f1-874d-bd381ba051f1
    AND CLUSTERING ORDER BY ("from" DESC, again ASC)
    AND caching = {'keys': 'ALL', 'and': 'NONE'}
    AND comment = 'it''s; -- AND gc_grace_seconds = 5'
    AND default_time_to_live = 60
    AND gc_grace_seconds = 7;
ALTER TABLE lab."Quoted" DROP v USING TIMESTAMP 1795256987036000;
ALTER TABLE lab."Quoted" ADD v vector<float, 4>;
ALTER TABLE lab."Quoted" DROP gone USING TIMESTAMP 5;
CREATE INDEX IF NOT EXISTS x ON lab."Quoted" (masked);
CREATE CUSTOM INDEX y ON lab."Quoted" (values("from")) USING 'a.b.Sai' WITH OPTIONS = {'mode': 'CONTAINS'};
"#;

#[test]
fn a_table_with_everything() {
    let found = parse(SCHEMA).unwrap();
    assert_eq!(found.types[0].0, "lab");
    assert_eq!(found.types[0].1.fields[1], ("Lon".into(), "frozen<map<text, int>>".into()));
    let table = found.into_table().unwrap();
    assert_eq!((table.keyspace.as_str(), table.name.as_str()), ("lab", "Quoted"));
    assert_eq!(table.id, "f200e9f0e59511f1874dbd381ba051f1");
    assert_eq!((table.gc_grace, table.default_ttl, table.counter, table.view), (7, 60, false, false));
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.number, c.role, c.position, c.descending, c.cql_type.as_str()))
        .collect();
    use ColumnRole::*;
    let want = [
        ("Id", 0, PartitionKey, 0, false, "int"),
        ("b", 0, PartitionKey, 1, false, "text"),
        ("from", 0, Clustering, 0, true, "text"),
        ("again", 0, Clustering, 1, false, "int"),
        ("geo", 1, Static, 0, false, "frozen<geo>"),
        ("gone", 2, Regular, 0, false, "map<text, frozen<list<int>>>"),
        ("masked", 3, Regular, 0, false, "text"),
        ("v", 4, Regular, 0, false, "vector<float, 4>"),
    ];
    assert_eq!(columns, want);
    assert_eq!(table.options.text("comment"), Some("it's; -- AND gc_grace_seconds = 5"));
    assert_eq!(table.options.map("caching").unwrap()["and"], "NONE");
    let indexes: Vec<_> = table.indexes.iter().map(|i| (i.name.as_str(), i.kind.as_str(), &i.options)).collect();
    let options = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    assert_eq!(indexes[0], ("x", "COMPOSITES", &options(&[("target", "masked")])));
    let y = options(&[("target", "values(\"from\")"), ("class_name", "a.b.Sai"), ("mode", "CONTAINS")]);
    assert_eq!(indexes[1], ("y", "CUSTOM", &y));
    assert_eq!((table.columns[5].gone, table.columns[5].dropped_at), (true, Some(5)));
    assert_eq!((table.columns[7].gone, table.columns[7].dropped_at), (false, Some(1_795_256_987_036_000)));
    assert_eq!(table.cql, SCHEMA.trim());
}

#[test]
fn other_forms() {
    let one = |text: &str| parse(text).unwrap().into_table().unwrap();
    let table = one("create table t (k int primary key, n counter)");
    assert!(table.counter && table.columns[0].role == ColumnRole::PartitionKey);
    let view = "CREATE MATERIALIZED VIEW IF NOT EXISTS lab.v AS SELECT * FROM lab.t WHERE a IS NOT NULL PRIMARY KEY (a) \
                WITH ID = f200e9f0-e595-11f1-874d-bd381ba051f1 AND gc_grace_seconds = 9;";
    let view = one(view);
    assert_eq!((view.view, view.gc_grace, view.id.len()), (true, 9, 32));
    assert_eq!(parse("CREATE FUNCTION f AS $$ a; CREATE TABLE $$; ").unwrap(), Definitions::default());
}

#[test]
fn what_is_not_a_schema() {
    for text in [
        "CREATE TABLE t (",
        "CREATE TABLE t (k int)",
        "CREATE TABLE t (k int, PRIMARY KEY (x))",
        "CREATE TABLE t (k list<int, PRIMARY KEY (k))",
        "CREATE TABLE t (k int PRIMARY KEY) WITH gc_grace_seconds = x",
        "ALTER TABLE t DROP c USING TIMESTAMP 5",
        "CREATE TYPE t (a)",
    ] {
        assert_eq!(parse(text).unwrap_err().kind(), Kind::Damaged, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_text_makes_it_panic(cut in 0..SCHEMA.len(), with in ".{0,4}", skip in 0..8_usize) {
        let text = format!("{}{with}{}", &SCHEMA[..cut], &SCHEMA[(cut + skip).min(SCHEMA.len())..]);
        let _ = parse(&text);
        let _ = parse(&with);
    }
}
