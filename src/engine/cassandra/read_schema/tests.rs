use super::*;

fn column(name: &str, role: ColumnRole) -> Column {
    Column {
        name: name.into(),
        number: 0,
        role,
        position: 0,
        descending: false,
        cql_type: "int".into(),
        dropped_at: None,
        gone: false,
    }
}

fn numbers(columns: &[Column]) -> Vec<(&str, u32)> {
    columns.iter().map(|c| (c.name.as_str(), c.number)).collect()
}

#[test]
fn columns_are_numbered_by_name_and_keep_their_numbers() {
    use ColumnRole::{Clustering, PartitionKey, Regular, Static};
    let mut first =
        vec![column("z", Regular), column("pk", PartitionKey), column("B", Static), column("ck", Clustering)];
    number_columns(&mut first, None);
    assert_eq!(numbers(&first), [("pk", 0), ("ck", 0), ("B", 1), ("z", 2)]);
    let mut second = vec![column("a", Regular), column("z", Regular), column("pk", PartitionKey), column("B", Regular)];
    number_columns(&mut second, Some(&first));
    assert_eq!(numbers(&second), [("pk", 0), ("z", 2), ("B", 3), ("a", 4)]);
}

#[test]
fn a_column_added_again_is_one_column() {
    let mut columns = vec![column("a", ColumnRole::Regular)];
    let dropped = |role| Column { dropped_at: Some(7), gone: true, ..column("a", role) };
    drop_column(&mut columns, dropped(ColumnRole::Regular));
    assert_eq!((columns.len(), columns[0].dropped_at, columns[0].gone), (1, Some(7), false));
    drop_column(&mut columns, dropped(ColumnRole::Static));
    assert_eq!(columns.len(), 2);
}
