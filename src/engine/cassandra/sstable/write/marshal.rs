//! Types as Cassandra's classes write them (`AbstractType.toString`), the reverse of `types::parse_class`.

use std::fmt::Write;

use crate::engine::cassandra::types::CqlType;

const PACKAGE: &str = "org.apache.cassandra.db.marshal.";

/// The class of a column's type; user-defined types are those of `keyspace`.
pub fn class(t: &CqlType, keyspace: &str) -> String {
    let mut out = String::new();
    write_class(&mut out, t, keyspace, false);
    out
}

/// The class of a clustering column's type.
pub fn clustering_class(t: &CqlType, descending: bool, keyspace: &str) -> String {
    let class = class(t, keyspace);
    if descending { format!("{PACKAGE}ReversedType({class})") } else { class }
}

/// `within_frozen`: something around it is frozen already, which is said once.
fn write_class(out: &mut String, t: &CqlType, keyspace: &str, within_frozen: bool) {
    use CqlType::{Composite, List, Map, Set, Tuple, Udt, Vector};
    let says_frozen =
        !within_frozen && !t.is_multi_cell() && matches!(t, List { .. } | Set { .. } | Map { .. } | Udt { .. });
    if says_frozen {
        out.push_str(PACKAGE);
        out.push_str("FrozenType(");
    }
    let inside = within_frozen || !t.is_multi_cell();
    out.push_str(PACKAGE);
    out.push_str(name(t));
    match t {
        List { element, .. } | Set { element, .. } => write_list(out, &[element], keyspace, inside),
        Map { key, value, .. } => write_list(out, &[key, value], keyspace, inside),
        Tuple(parts) => write_list(out, &parts.iter().collect::<Vec<_>>(), keyspace, true),
        Composite(parts) => write_list(out, &parts.iter().collect::<Vec<_>>(), keyspace, false),
        Vector { element, dimension } => {
            out.push('(');
            write_class(out, element, keyspace, within_frozen);
            let _ = write!(out, " , {dimension})");
        }
        Udt { udt, .. } => {
            let _ = write!(out, "({keyspace},{}", hex(&udt.name));
            for (field, t) in &udt.fields {
                let _ = write!(out, ",{}:", hex(field));
                write_class(out, t, keyspace, inside);
            }
            out.push(')');
        }
        _ => {}
    }
    if says_frozen {
        out.push(')');
    }
}

fn write_list(out: &mut String, types: &[&CqlType], keyspace: &str, within_frozen: bool) {
    out.push('(');
    for (i, t) in types.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        write_class(out, t, keyspace, within_frozen);
    }
    out.push(')');
}

fn hex(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn name(t: &CqlType) -> &str {
    match t {
        CqlType::Ascii => "AsciiType",
        CqlType::BigInt => "LongType",
        CqlType::Blob => "BytesType",
        CqlType::Boolean => "BooleanType",
        CqlType::Counter => "CounterColumnType",
        CqlType::Date => "SimpleDateType",
        CqlType::Decimal => "DecimalType",
        CqlType::Double => "DoubleType",
        CqlType::Duration => "DurationType",
        CqlType::Empty => "EmptyType",
        CqlType::Float => "FloatType",
        CqlType::Inet => "InetAddressType",
        CqlType::Int => "Int32Type",
        CqlType::SmallInt => "ShortType",
        CqlType::Text => "UTF8Type",
        CqlType::Time => "TimeType",
        CqlType::Timestamp => "TimestampType",
        CqlType::TimeUuid => "TimeUUIDType",
        CqlType::TinyInt => "ByteType",
        CqlType::Uuid => "UUIDType",
        CqlType::VarInt => "IntegerType",
        CqlType::List { .. } => "ListType",
        CqlType::Set { .. } => "SetType",
        CqlType::Map { .. } => "MapType",
        CqlType::Tuple(_) => "TupleType",
        CqlType::Udt { .. } => "UserType",
        CqlType::Vector { .. } => "VectorType",
        CqlType::Composite(_) => "CompositeType",
        CqlType::Custom { class, .. } => class.strip_prefix(PACKAGE).unwrap_or(class),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cassandra::types::parse_clustering_class;

    #[test]
    fn classes_are_those_that_cassandra_wrote_and_read_back() {
        let p = PACKAGE;
        for (class, descending) in [
            (format!("{p}MapType({p}UTF8Type,{p}FrozenType({p}SetType({p}ListType({p}Int32Type))))"), false),
            (
                format!(
                    "{p}FrozenType({p}UserType(ks,7531,61:{p}ListType({p}Int32Type),62:{p}TupleType({p}UTF8Type,{p}SetType({p}LongType))))"
                ),
                false,
            ),
            (format!("{p}ReversedType({p}TupleType({p}LongType,{p}UserType(ks,75,61:{p}ByteType)))"), true),
            (format!("{p}VectorType({p}FloatType , 3)"), false),
            (format!("{p}CompositeType({p}LexicalUUIDType,{p}Int32Type)"), false),
            (format!("{p}DynamicCompositeType(a=>{p}BytesType,b=>{p}CompositeType({p}UTF8Type))"), false),
            (format!("{p}CompositeType({p}UTF8Type,{p}FrozenType({p}ListType({p}Int32Type)))"), false),
        ] {
            let (t, reversed) = parse_clustering_class(&class).unwrap();
            assert_eq!(reversed, descending);
            assert_eq!(clustering_class(&t, descending, "ks"), class);
        }
    }
}
