//! The types of columns, as CQL and as Cassandra's classes (`org.apache.cassandra.db.marshal`) write them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lex::{Lexer, Token, clip};
use crate::error::{Error, Kind, Result};

mod class;
mod names;
mod user;

pub(crate) use class::{hex, unhex};
pub use class::{parse_class, parse_clustering_class};
use names::NAMES;
pub use names::quote_name;
pub use user::UserType;

/// Types nest at most this deep; deeper ones are refused.
pub const MAX_DEPTH: usize = 24;

/// A type. Whatever is nested in another type is frozen, as Cassandra stores it, even where CQL leaves the word out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CqlType {
    /// `AsciiType`
    Ascii,
    /// `LongType`
    BigInt,
    /// `BytesType`
    Blob,
    /// `BooleanType`
    Boolean,
    /// `CounterColumnType`
    Counter,
    /// `SimpleDateType`
    Date,
    /// `DecimalType`
    Decimal,
    /// `DoubleType`
    Double,
    /// `DurationType`
    Duration,
    /// `EmptyType`: the value column of tables that once were `COMPACT STORAGE`.
    Empty,
    /// `FloatType`
    Float,
    /// `InetAddressType`
    Inet,
    /// `Int32Type`
    Int,
    /// `ShortType`
    SmallInt,
    /// `UTF8Type`
    Text,
    /// `TimeType`
    Time,
    /// `TimestampType`
    Timestamp,
    /// `TimeUUIDType`
    TimeUuid,
    /// `ByteType`
    TinyInt,
    /// `UUIDType`
    Uuid,
    /// `IntegerType`
    VarInt,
    /// `ListType`
    List {
        /// Of the elements.
        element: Box<CqlType>,
        /// One cell.
        frozen: bool,
    },
    /// `SetType`
    Set {
        /// Of the elements.
        element: Box<CqlType>,
        /// One cell.
        frozen: bool,
    },
    /// `MapType`
    Map {
        /// Of the keys.
        key: Box<CqlType>,
        /// Of the values.
        value: Box<CqlType>,
        /// One cell.
        frozen: bool,
    },
    /// `TupleType`; always one cell.
    Tuple(Vec<CqlType>),
    /// `UserType`
    Udt {
        /// Name and fields.
        udt: Arc<Udt>,
        /// One cell.
        frozen: bool,
    },
    /// `VectorType`; always one cell.
    Vector {
        /// Of the elements.
        element: Box<CqlType>,
        /// How many.
        dimension: u32,
    },
    /// `CompositeType`: a partition key of several columns, in headers of SSTables. Not in CQL.
    Composite(Vec<CqlType>),
    /// A class of Cassandra's that CQL has no name for: its values are bytes, and nothing here knows their order.
    Custom {
        /// Its name with parameters.
        class: Arc<str>,
        /// The length of every value, where it has one.
        fixed: Option<usize>,
    },
}

/// A user-defined type with the types of its fields resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Udt {
    /// Name in its keyspace.
    pub name: String,
    /// Names and types, in order.
    pub fields: Vec<(String, CqlType)>,
}

impl CqlType {
    /// The length of every value, where the type has one (`AbstractType.valueLengthIfFixed`). SSTables leave it out.
    /// Note that `date`, `time`, `smallint` and `tinyint` do not count as fixed, and that a value may still be empty.
    pub fn fixed_len(&self) -> Option<usize> {
        match self {
            CqlType::Empty => Some(0),
            CqlType::Boolean => Some(1),
            CqlType::Float | CqlType::Int => Some(4),
            CqlType::BigInt | CqlType::Double | CqlType::Timestamp => Some(8),
            CqlType::TimeUuid | CqlType::Uuid => Some(16),
            CqlType::Custom { fixed, .. } => *fixed,
            CqlType::Vector { element, dimension } => element.fixed_len()?.checked_mul(*dimension as usize),
            _ => None,
        }
    }

    /// Whether each element or field is a cell of its own (`AbstractType.isMultiCell`).
    pub fn is_multi_cell(&self) -> bool {
        match self {
            CqlType::List { frozen, .. }
            | CqlType::Set { frozen, .. }
            | CqlType::Map { frozen, .. }
            | CqlType::Udt { frozen, .. } => !frozen,
            _ => false,
        }
    }

    /// Whether cells hold counter contexts.
    pub fn is_counter(&self) -> bool {
        *self == CqlType::Counter
    }

    /// The type of the path of a multi-cell column's cells: what tells elements apart and orders them.
    pub fn path_type(&self) -> Option<&CqlType> {
        match self {
            CqlType::List { frozen: false, .. } => Some(&CqlType::TimeUuid),
            CqlType::Set { element, frozen: false } => Some(element),
            CqlType::Map { key, frozen: false, .. } => Some(key),
            CqlType::Udt { frozen: false, .. } => Some(&CqlType::SmallInt),
            _ => None,
        }
    }

    /// The type of one cell's value. `path` tells the field of a UDT; a field that there is not has none.
    pub fn cell_type(&self, path: &[u8]) -> Option<&CqlType> {
        match self {
            CqlType::List { element, frozen: false } => Some(element),
            CqlType::Set { frozen: false, .. } => Some(&CqlType::Empty),
            CqlType::Map { value, frozen: false, .. } => Some(value),
            CqlType::Udt { udt, frozen: false } => {
                let position = u16::from_be_bytes(path.try_into().ok()?);
                udt.fields.get(usize::from(position)).map(|(_, t)| t)
            }
            _ => Some(self),
        }
    }

    /// The same type as one cell.
    #[must_use]
    pub fn freeze(mut self) -> CqlType {
        if let CqlType::List { frozen, .. }
        | CqlType::Set { frozen, .. }
        | CqlType::Map { frozen, .. }
        | CqlType::Udt { frozen, .. } = &mut self
        {
            *frozen = true;
        }
        self
    }

    /// The types directly inside.
    pub fn parts(&self) -> Vec<&CqlType> {
        match self {
            CqlType::List { element, .. } | CqlType::Set { element, .. } | CqlType::Vector { element, .. } => {
                vec![element]
            }
            CqlType::Map { key, value, .. } => vec![key, value],
            CqlType::Tuple(parts) | CqlType::Composite(parts) => parts.iter().collect(),
            CqlType::Udt { udt, .. } => udt.fields.iter().map(|(_, t)| t).collect(),
            _ => Vec::new(),
        }
    }

    /// Adds the names of all user-defined types in it.
    pub fn user_types(&self, names: &mut BTreeSet<String>) {
        if let CqlType::Udt { udt, .. } = self {
            names.insert(udt.name.clone());
        }
        self.parts().into_iter().for_each(|part| part.user_types(names));
    }

    fn boxed(self) -> Box<CqlType> {
        Box::new(self.freeze())
    }

    fn frozen(&self) -> bool {
        match self {
            CqlType::Tuple(_) => true,
            CqlType::List { frozen, .. }
            | CqlType::Set { frozen, .. }
            | CqlType::Map { frozen, .. }
            | CqlType::Udt { frozen, .. } => *frozen,
            _ => false,
        }
    }
}

/// Parses a type in CQL syntax; names that are no type of CQL are looked up in `types`.
pub fn parse_cql(text: &str, types: &[UserType]) -> Result<CqlType> {
    let mut budget = BUDGET;
    parse_cql_within(text, types, MAX_DEPTH, &mut budget)
}

/// Parts a type may have in all, user-defined types expanded.
const BUDGET: usize = 10_000;

fn parse_cql_within(text: &str, types: &[UserType], depth: usize, budget: &mut usize) -> Result<CqlType> {
    let in_type = |e: Error| e.within(format!("type {}", clip(text, 80)));
    let mut lexer = Lexer::new(text, "type", Kind::Unsupported).map_err(in_type)?;
    let parsed = cql_type(&mut lexer, types, depth, budget).map_err(in_type)?;
    match lexer.peek() {
        None => Ok(parsed),
        Some(_) => Err(in_type(lexer.unexpected("the end"))),
    }
}

fn cql_type(lexer: &mut Lexer<'_>, types: &[UserType], depth: usize, budget: &mut usize) -> Result<CqlType> {
    if depth == 0 || *budget == 0 {
        return Err(Error::new(Kind::Unsupported, "type", format!("nested deeper than {MAX_DEPTH} or too large")));
    }
    *budget -= 1;
    if let Some(Token::Text(class)) = lexer.peek() {
        let (parsed, _) = parse_clustering_class(class)?;
        lexer.next()?;
        return Ok(parsed);
    }
    let quoted = matches!(lexer.peek(), Some(Token::Quoted(_)));
    let name = lexer.name()?;
    if lexer.eat(".")? {
        let name = lexer.name()?;
        return user_type(&name, types, depth, budget);
    }
    if !quoted && lexer.eat("<")? {
        let parsed = parameters(&name, lexer, types, depth, budget)?;
        lexer.expect(">")?;
        return Ok(parsed);
    }
    match NAMES.iter().find(|(n, _)| !quoted && *n == name) {
        Some((_, native)) => Ok(native.clone()),
        None => user_type(&name, types, depth, budget),
    }
}

fn parameters(
    name: &str,
    lexer: &mut Lexer<'_>,
    types: &[UserType],
    depth: usize,
    budget: &mut usize,
) -> Result<CqlType> {
    let first = cql_type(lexer, types, depth - 1, budget)?;
    let parsed = match name {
        "frozen" => first.freeze(),
        "list" => CqlType::List { element: first.boxed(), frozen: false },
        "set" => CqlType::Set { element: first.boxed(), frozen: false },
        "map" => {
            lexer.expect(",")?;
            let value = cql_type(lexer, types, depth - 1, budget)?.boxed();
            CqlType::Map { key: first.boxed(), value, frozen: false }
        }
        "tuple" => {
            let mut parts = vec![first.freeze()];
            while lexer.eat(",")? {
                parts.push(cql_type(lexer, types, depth - 1, budget)?.freeze());
            }
            CqlType::Tuple(parts)
        }
        "vector" => {
            lexer.expect(",")?;
            let dimension = match lexer.peek() {
                Some(Token::Number(n)) => n.parse().ok(),
                _ => None,
            };
            let Some(dimension) = dimension else { return Err(lexer.unexpected("a dimension")) };
            lexer.next()?;
            vector(first, dimension)?
        }
        _ => return Err(Error::new(Kind::Unsupported, format!("type {}", clip(name, 80)), "not known")),
    };
    Ok(parsed)
}

fn vector(element: CqlType, dimension: u32) -> Result<CqlType> {
    let made = CqlType::Vector { element: element.boxed(), dimension };
    let CqlType::Vector { element, .. } = &made else { return Ok(made) };
    let bytes = element.fixed_len().unwrap_or(1) as u64 * u64::from(dimension);
    if dimension == 0 || bytes > i32::MAX as u64 {
        return Err(Error::new(Kind::Unsupported, "type vector", format!("a dimension of {dimension}")));
    }
    Ok(made)
}

fn user_type(name: &str, types: &[UserType], depth: usize, budget: &mut usize) -> Result<CqlType> {
    let Some(found) = types.iter().find(|t| t.name == name) else {
        return Err(Error::new(Kind::Unsupported, format!("type {}", clip(name, 80)), "not known")
            .hint("it is no type of CQL, and the captured schema defines no such type"));
    };
    let mut fields = Vec::with_capacity(found.fields.len());
    for (field, text) in &found.fields {
        fields.push((field.clone(), parse_cql_within(text, types, depth - 1, budget)?.freeze()));
    }
    Ok(CqlType::Udt { udt: Arc::new(Udt { name: name.to_string(), fields }), frozen: false })
}

#[cfg(test)]
mod tests;
