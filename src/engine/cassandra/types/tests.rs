use super::*;

fn address() -> UserType {
    let fields = vec![("street".into(), "text".into()), ("Zip".into(), "frozen<list<int>>".into())];
    UserType { name: "address".into(), fields }
}

#[test]
fn cql_round_trips() {
    let types = [address()];
    for text in [
        "ascii",
        "bigint",
        "blob",
        "boolean",
        "counter",
        "date",
        "decimal",
        "double",
        "duration",
        "float",
        "inet",
        "int",
        "smallint",
        "text",
        "time",
        "timestamp",
        "timeuuid",
        "tinyint",
        "uuid",
        "varint",
        "list<int>",
        "set<text>",
        "map<text, frozen<list<int>>>",
        "frozen<map<text, int>>",
        "frozen<tuple<int, frozen<address>>>",
        "address",
        "frozen<address>",
        "vector<float, 3>",
        "map<int, vector<frozen<list<int>>, 2>>",
    ] {
        let parsed = parse_cql(text, &types).unwrap();
        assert_eq!(parsed.to_string(), text);
    }
    // Ways of writing that mean the same.
    for (text, same) in [
        ("VARCHAR", "text"),
        ("tuple<int,list<int>>", "frozen<tuple<int, frozen<list<int>>>>"),
        ("frozen<frozen<set<int>>>", "frozen<set<int>>"),
        ("map<text, list<int>>", "map<text, frozen<list<int>>>"),
        ("ks.address", "address"),
        ("\"address\"", "address"),
        ("'org.apache.cassandra.db.marshal.UTF8Type'", "text"),
    ] {
        assert_eq!(parse_cql(text, &types).unwrap().to_string(), same, "{text}");
    }
}

#[test]
fn classes() {
    let m = |s: &str| s.replace('@', "org.apache.cassandra.db.marshal.");
    for (class, cql) in [
        ("@Int32Type", "int"),
        ("Int32Type", "int"),
        ("@MapType(@UTF8Type,@Int32Type)", "map<text, int>"),
        ("@FrozenType(@MapType(@UTF8Type,@ListType(@Int32Type)))", "frozen<map<text, frozen<list<int>>>>"),
        ("@VectorType(@FloatType , 3)", "vector<float, 3>"),
        ("@TupleType(@Int32Type,@UTF8Type)", "frozen<tuple<int, text>>"),
        ("@UserType(lab,61646472657373,737472656574:@UTF8Type,5a6970:@ListType(@Int32Type))", "address"),
        ("@FrozenType(@UserType(lab,61646472657373,737472656574:@UTF8Type))", "frozen<address>"),
        ("@CompositeType(@Int32Type,@UTF8Type)", "composite<int, text>"),
    ] {
        assert_eq!(parse_class(&m(class)).unwrap().to_string(), cql);
    }
    let (parsed, reversed) = parse_clustering_class(&m("@ReversedType(@TimestampType)")).unwrap();
    assert_eq!((parsed, reversed), (CqlType::Timestamp, true));
    let udt = parse_class(&m("@UserType(lab,61646472657373,737472656574:@UTF8Type,5a6970:@ListType(@Int32Type))"));
    assert_eq!(udt.unwrap(), parse_cql("address", &[address()]).unwrap());
}

#[test]
fn refusals_name_what_they_refuse() {
    for class in ["com.example.MyType", "com.example.MyType(BytesType)"] {
        let error = parse_class(class).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains(class.split('(').next().unwrap().rsplit('.').next().unwrap()));
    }
    for class in
        ["", "MapType(Int32Type)", "ListType(Int32Type", "Int32Type x", "UserType(a,zz)", "VectorType(Int32Type,x)"]
    {
        assert!(parse_class(class).is_err(), "{class}");
    }
    for cql in ["", "list<", "list<int", "map<int>", "nope", "vector<int, 0>", "vector<bigint, 4000000000>", "int int"]
    {
        assert!(parse_cql(cql, &[]).is_err(), "{cql}");
    }
    let deep = format!("{}int{}", "frozen<".repeat(30), ">".repeat(30));
    assert!(parse_cql(&deep, &[]).is_err());
    let deep = format!("{}Int32Type{}", "ListType(".repeat(100_000), ")".repeat(100_000));
    assert!(parse_class(&deep).is_err());
    // A type that holds itself, and one that doubles at each level.
    let own = UserType { name: "a".into(), fields: vec![("x".into(), "frozen<a>".into())] };
    assert!(parse_cql("a", &[own]).is_err());
    let double = |i: usize| UserType {
        name: format!("t{i}"),
        fields: vec![("x".into(), format!("t{}", i + 1)), ("y".into(), format!("t{}", i + 1))],
    };
    let types: Vec<_> = (0..40).map(double).collect();
    assert!(parse_cql("t0", &types).is_err());
}

#[test]
fn lengths_and_cells() {
    let t = |s: &str| parse_cql(s, &[address()]).unwrap();
    for (text, len) in [("int", Some(4)), ("date", None), ("smallint", None), ("vector<float, 3>", Some(12))] {
        assert_eq!(t(text).fixed_len(), len, "{text}");
    }
    assert!(t("map<int, text>").is_multi_cell() && !t("frozen<map<int, text>>").is_multi_cell());
    assert_eq!(t("address").path_type(), Some(&CqlType::SmallInt));
    assert_eq!(t("address").cell_type(&[0, 0]), Some(&CqlType::Text));
    assert_eq!(t("address").cell_type(&[0, 2]), None);
    assert_eq!(t("list<int>").path_type(), Some(&CqlType::TimeUuid));
}
