//! Whether the header of an SSTable is that of the table which the schema describes.
//!
//! Records hold values as the file has them, and are read by the types of the schema. So those must be the header's, or
//! types that read the same bytes: what `ALTER TABLE … TYPE` allowed before 3.11, tuples and user-defined types that have
//! grown since, names of fields that changed. Clusterings are stricter: the key must come out the same as well.
//! Of a column that was dropped, nothing is ever read, and its type does not count.
//! Sources: `AbstractType.isValueCompatibleWith` and `isCompatibleWith` of each type, `TupleType`, `UserType`.

use std::fmt;

use crate::engine::cassandra::schema::{self, ColumnRole, Table};
use crate::engine::cassandra::types::{CqlType, Udt, parse_class, parse_clustering_class, parse_cql};
use crate::error::{Error, Kind, Result};

use super::stats::Header;

/// What the schema says of a table, for one header of the file `file`.
pub struct Agreed<'a> {
    table: &'a Table,
    file: &'a str,
}

impl<'a> Agreed<'a> {
    /// Of `table` and the file `file`.
    pub fn new(table: &'a Table, file: &'a str) -> Agreed<'a> {
        Agreed { table, file }
    }

    /// Compares the partition key and the clustering columns, which a header holds without names. Gives the types of the
    /// latter as the header has them, each with whether its order is DESC.
    pub fn keys(&self, header: &Header) -> Result<Vec<(CqlType, bool)>> {
        let within = |e: Error| e.within(self.file);
        let key = parse_class(&header.key).map_err(within)?;
        let columns = self.of_role(ColumnRole::PartitionKey);
        match (key, columns.as_slice()) {
            (key, &[only]) => self.same(only, &key, reads)?,
            (CqlType::Composite(parts), columns) if parts.len() == columns.len() => {
                columns.iter().zip(&parts).try_for_each(|(column, part)| self.same(column, part, reads))?;
            }
            (key, columns) => {
                let what = format_args!("the header has a partition key of {key}, the schema one of {}", columns.len());
                return Err(self.unfit(what));
            }
        }
        let held: Vec<_> = header
            .clustering
            .iter()
            .map(|class| parse_clustering_class(class))
            .collect::<Result<_>>()
            .map_err(within)?;
        let columns = self.of_role(ColumnRole::Clustering);
        if columns.len() != held.len() {
            let what = format_args!("has {} clustering columns, the schema {}", held.len(), columns.len());
            return Err(self.unfit(what));
        }
        for (column, (held, descending)) in columns.iter().zip(&held) {
            self.same(column, held, orders)?;
            if column.descending != *descending {
                let order = |descending| if descending { "DESC" } else { "ASC" };
                let (there, said) = (order(*descending), order(column.descending));
                return Err(self.differs(&column.name, there, said));
            }
        }
        Ok(held)
    }

    /// Finds the static or regular column that the header calls `name` and holds as `held`, and compares the two.
    pub fn column(&self, name: &str, role: ColumnRole, held: &CqlType) -> Result<&'a schema::Column> {
        let Some(column) = self.named(name, role) else {
            let what = format_args!("column {name} is neither in the captured schema nor among its dropped columns");
            return Err(self.unfit(what));
        };
        // Before 4.0 nothing says of a dropped column whether it was static.
        if column.role != role && column.dropped_at.is_none() {
            let kind = |role| if role == ColumnRole::Static { "static" } else { "a regular column" };
            return Err(self.differs(name, kind(role), kind(column.role)));
        }
        if !column.gone {
            self.same(column, held, reads)?;
        }
        Ok(column)
    }

    /// The column of that name; where there are two, dropped and added again, that of the role.
    pub fn named(&self, name: &str, role: ColumnRole) -> Option<&'a schema::Column> {
        let named = || self.table.columns.iter().filter(|c| c.number != 0 && c.name == name);
        named().find(|c| c.role == role).or_else(|| named().next())
    }

    /// The file, for errors.
    pub fn file(&self) -> &'a str {
        self.file
    }

    fn of_role(&self, role: ColumnRole) -> Vec<&'a schema::Column> {
        let mut found: Vec<_> = self.table.columns.iter().filter(|c| c.role == role).collect();
        found.sort_by_key(|c| c.position);
        found
    }

    /// Whether `fits` says so of the type in the schema and the one in the header; in keys all is frozen.
    fn same(&self, column: &schema::Column, held: &CqlType, fits: fn(&CqlType, &CqlType) -> bool) -> Result<()> {
        let said = parse_cql(&column.cql_type, &self.table.types).map_err(|e| e.within(self.file))?;
        let is_key = column.number == 0;
        let (said, held) = if is_key { (said.freeze(), held.clone().freeze()) } else { (said, held.clone()) };
        if fits(&said, &held) {
            return Ok(());
        }
        match grown(&said, &held) {
            Some((said, held)) => Err(self.grown(&column.name, said, held)),
            None => Err(self.differs(&column.name, held, said)),
        }
    }

    fn grown(&self, column: &str, said: &Udt, held: &Udt) -> Error {
        let (n, m) = (held.fields.len(), said.fields.len());
        let what = format_args!(
            "column {column} of {}.{}: type {} has {n} fields in the file's header and {m} in the schema",
            self.table.keyspace, self.table.name, held.name
        );
        self.unfit(what).hint("the schema is older than the file: capture both at once")
    }

    fn differs(&self, column: &str, there: impl fmt::Display, said: impl fmt::Display) -> Error {
        let (keyspace, name) = (&self.table.keyspace, &self.table.name);
        self.unfit(format_args!(
            "column {column} of {keyspace}.{name} is {there} in the file's header and {said} in the schema"
        ))
    }

    fn unfit(&self, what: impl fmt::Display) -> Error {
        Error::new(Kind::Unsupported, self.file, what)
    }
}

/// Whether the type `said` reads every value of the type `held`.
fn reads(said: &CqlType, held: &CqlType) -> bool {
    use CqlType::{Ascii, BigInt, Blob, Date, Int, Text, Time, TimeUuid, Timestamp, Uuid, VarInt};
    match (said, held) {
        (Blob, held) => !held.is_multi_cell() && !held.is_counter(),
        (Text, Ascii) | (Uuid, TimeUuid) | (Date, Int) | (Time | Timestamp, BigInt) | (BigInt, Timestamp) => true,
        (VarInt, Int | BigInt | Timestamp) => true,
        _ => within(said, held, reads),
    }
}

/// Whether clusterings of the type `held` make the same keys as those of the type `said`.
fn orders(said: &CqlType, held: &CqlType) -> bool {
    use CqlType::{Ascii, Blob, Text};
    matches!((said, held), (Blob, Text | Ascii) | (Text, Ascii)) || within(said, held, orders)
}

/// Whether the two are of one kind and the types in them fit; names do not count.
fn within(said: &CqlType, held: &CqlType, fits: fn(&CqlType, &CqlType) -> bool) -> bool {
    use CqlType::{Composite, List, Map, Set, Tuple, Udt, Vector};
    if said.is_multi_cell() != held.is_multi_cell() {
        return false;
    }
    let (outer, inner) = (said.parts(), held.parts());
    let all = || outer.iter().zip(&inner).all(|(said, held)| fits(said, held));
    match (said, held) {
        (List { .. }, List { .. }) | (Set { .. }, Set { .. }) | (Map { .. }, Map { .. }) => all(),
        (Tuple(_), Tuple(_)) | (Udt { .. }, Udt { .. }) => inner.len() <= outer.len() && all(),
        (Composite(_), Composite(_)) => inner.len() == outer.len() && all(),
        (Vector { dimension: n, .. }, Vector { dimension: m, .. }) => {
            n == m && all() && outer[0].fixed_len() == inner[0].fixed_len()
        }
        _ => said == held,
    }
}

/// The user-defined type that has more fields in `held` than in `said`, where that is what tells them apart.
fn grown<'t>(said: &'t CqlType, held: &'t CqlType) -> Option<(&'t Udt, &'t Udt)> {
    if let (CqlType::Udt { udt: a, .. }, CqlType::Udt { udt: b, .. }) = (said, held)
        && b.fields.len() > a.fields.len()
    {
        return Some((a, b));
    }
    said.parts().into_iter().zip(held.parts()).find_map(|(said, held)| grown(said, held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cassandra::schema::UserType;

    fn cql(text: &str) -> CqlType {
        let field = |name: &str, t: &str| (name.to_string(), t.to_string());
        let short = UserType { name: "short".into(), fields: vec![field("a", "int")] };
        let long = UserType { name: "long".into(), fields: vec![field("x", "int"), field("y", "text")] };
        parse_cql(text, &[short, long]).unwrap()
    }

    #[test]
    fn types_read_what_cassandra_lets_them_read() {
        // Said by the schema, held by the file.
        for (said, held) in [
            ("int", "int"),
            ("blob", "int"),
            ("blob", "frozen<list<int>>"),
            ("text", "ascii"),
            ("uuid", "timeuuid"),
            ("varint", "bigint"),
            ("varint", "int"),
            ("bigint", "timestamp"),
            ("map<text, varint>", "map<ascii, int>"),
            ("frozen<long>", "frozen<short>"),
            ("long", "short"),
            ("list<frozen<long>>", "list<frozen<short>>"),
            ("tuple<int, text>", "tuple<int>"),
            ("vector<float, 3>", "vector<float, 3>"),
        ] {
            assert!(reads(&cql(said), &cql(held)), "{said} {held}");
        }
        for (said, held) in [
            ("bigint", "int"),
            ("int", "varint"),
            ("int", "blob"),
            ("ascii", "text"),
            ("timeuuid", "uuid"),
            ("list<int>", "int"),
            ("blob", "list<int>"),
            ("list<int>", "frozen<list<int>>"),
            ("set<int>", "list<int>"),
            ("frozen<short>", "frozen<long>"),
            ("tuple<int>", "tuple<int, text>"),
            ("vector<float, 3>", "vector<float, 2>"),
            ("counter", "bigint"),
            ("blob", "counter"),
        ] {
            assert!(!reads(&cql(said), &cql(held)), "{said} {held}");
        }
        for (said, held, same) in [
            ("text", "ascii", true),
            ("blob", "text", true),
            ("varint", "int", false),
            ("uuid", "timeuuid", false),
            ("frozen<long>", "frozen<short>", true),
        ] {
            assert_eq!(orders(&cql(said), &cql(held)), same, "{said} {held}");
        }
        let (said, held) = (cql("list<frozen<short>>"), cql("list<frozen<long>>"));
        assert_eq!(grown(&said, &held).map(|(a, b)| (a.name.as_str(), b.name.as_str())), Some(("short", "long")));
    }
}
