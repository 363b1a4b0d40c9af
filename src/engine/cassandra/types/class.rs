//! Names of classes, as headers of SSTables and `system_schema.dropped_columns` of old hold them (`TypeParser`).

use std::sync::Arc;

use super::{BUDGET, CqlType, MAX_DEPTH, Udt, vector};
use crate::engine::cassandra::lex::clip;
use crate::error::{Error, Kind, Result};

const PACKAGE: &str = "org.apache.cassandra.db.marshal.";

/// Parses the name of a class with its parameters; `ReversedType` is left away.
pub fn parse_class(text: &str) -> Result<CqlType> {
    parse_clustering_class(text).map(|(parsed, _)| parsed)
}

/// As [`parse_class`], and whether a `ReversedType` stood around it: clustering order DESC.
pub fn parse_clustering_class(text: &str) -> Result<(CqlType, bool)> {
    let mut parser = Parser { rest: text, budget: BUDGET };
    let parsed = parser.top().map_err(|e| e.within(format!("type {}", clip(text, 200))))?;
    Ok(parsed)
}

struct Parser<'a> {
    rest: &'a str,
    budget: usize,
}

impl<'a> Parser<'a> {
    fn top(&mut self) -> Result<(CqlType, bool)> {
        let whole = self.rest;
        let reversed = self.class_name() == "ReversedType" && self.eat('(');
        if !reversed {
            self.rest = whole;
        }
        let parsed = self.parse(MAX_DEPTH)?;
        if reversed {
            self.expect(')')?;
        }
        self.blank();
        if !self.rest.is_empty() {
            return Err(self.syntax("the end"));
        }
        Ok((parsed, reversed))
    }

    fn parse(&mut self, depth: usize) -> Result<CqlType> {
        if depth == 0 || self.budget == 0 {
            let message = format!("nested deeper than {MAX_DEPTH} or too large");
            return Err(Error::new(Kind::Unsupported, "class", message));
        }
        self.budget -= 1;
        let name = self.class_name();
        if let Some(custom) = self.custom(name)? {
            return Ok(custom);
        }
        if let Some(native) = native(name) {
            return Ok(native);
        }
        let parsed = match name {
            "FrozenType" => self.one(depth)?.freeze(),
            "ListType" => CqlType::List { element: self.one(depth)?.boxed(), frozen: false },
            "SetType" => CqlType::Set { element: self.one(depth)?.boxed(), frozen: false },
            "MapType" => match <[CqlType; 2]>::try_from(self.many(depth)?) {
                Ok([key, value]) => CqlType::Map { key: key.boxed(), value: value.boxed(), frozen: false },
                Err(_) => return Err(self.syntax("two parameters of MapType")),
            },
            "TupleType" => CqlType::Tuple(self.many(depth)?.into_iter().map(CqlType::freeze).collect()),
            "CompositeType" => CqlType::Composite(self.many(depth)?.into_iter().map(CqlType::freeze).collect()),
            "UserType" => self.user_type(depth)?,
            "VectorType" => {
                self.expect('(')?;
                let element = self.parse(depth - 1)?;
                self.eat(',');
                let dimension = self.identifier().parse().map_err(|_| self.syntax("a dimension"))?;
                self.expect(')')?;
                vector(element, dimension)?
            }
            "" => return Err(self.syntax("a class")),
            _ => return Err(Error::new(Kind::Unsupported, format!("class {}", clip(name, 200)), "not understood")),
        };
        Ok(parsed)
    }

    /// The classes that CQL has no name for, by the length that their values have (`valueLengthIfFixed`): without it nobody
    /// knows where a value ends. Parameters are taken as they stand.
    fn custom(&mut self, name: &str) -> Result<Option<CqlType>> {
        let fixed = match name {
            "LexicalUUIDType" => Some(16),
            "DynamicCompositeType" => None,
            _ => return Ok(None),
        };
        let mut class = format!("{PACKAGE}{name}");
        let mut open = 0usize;
        while open > 0 || self.rest.starts_with('(') {
            let Some(c) = self.rest.chars().next().filter(|c| *c != '\'') else { return Err(self.syntax("')'")) };
            self.rest = &self.rest[c.len_utf8()..];
            open = if c == '(' { open + 1 } else { open - usize::from(c == ')') };
            class.extend((c != ' ').then_some(c));
            if open == 0 {
                break;
            }
        }
        Ok(Some(CqlType::Custom { class: class.into(), fixed }))
    }

    fn one(&mut self, depth: usize) -> Result<CqlType> {
        self.expect('(')?;
        let parsed = self.parse(depth - 1)?;
        self.expect(')')?;
        Ok(parsed)
    }

    fn many(&mut self, depth: usize) -> Result<Vec<CqlType>> {
        self.expect('(')?;
        let mut parts = Vec::new();
        while !self.eat(')') {
            if !parts.is_empty() {
                self.expect(',')?;
            }
            parts.push(self.parse(depth - 1)?);
        }
        Ok(parts)
    }

    fn user_type(&mut self, depth: usize) -> Result<CqlType> {
        self.expect('(')?;
        self.identifier(); // the keyspace
        self.expect(',')?;
        let name = self.hex_name()?;
        let mut fields = Vec::new();
        while !self.eat(')') {
            self.expect(',')?;
            let field = self.hex_name()?;
            self.expect(':')?;
            fields.push((field, self.parse(depth - 1)?.freeze()));
        }
        Ok(CqlType::Udt { udt: Arc::new(Udt { name, fields }), frozen: false })
    }

    fn hex_name(&mut self) -> Result<String> {
        let hex = self.identifier();
        unhex(hex).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| self.syntax("a name in hex"))
    }

    /// An identifier without Cassandra's package; other packages stay, so that such classes are not understood.
    fn class_name(&mut self) -> &'a str {
        let name = self.identifier();
        name.strip_prefix(PACKAGE).unwrap_or(name)
    }

    fn identifier(&mut self) -> &'a str {
        self.blank();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_' | '&' | '$');
        let len = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(len);
        self.rest = rest;
        name
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n']);
    }

    fn eat(&mut self, symbol: char) -> bool {
        self.blank();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, symbol: char) -> Result<()> {
        if self.eat(symbol) { Ok(()) } else { Err(self.syntax(&format!("'{symbol}'"))) }
    }

    fn syntax(&self, wanted: &str) -> Error {
        Error::new(Kind::Unsupported, "class", format!("expected {wanted} at {:?}", clip(self.rest, 40)))
    }
}

fn native(name: &str) -> Option<CqlType> {
    Some(match name {
        "AsciiType" => CqlType::Ascii,
        "LongType" => CqlType::BigInt,
        "BytesType" => CqlType::Blob,
        "BooleanType" => CqlType::Boolean,
        "CounterColumnType" => CqlType::Counter,
        "SimpleDateType" => CqlType::Date,
        "DecimalType" => CqlType::Decimal,
        "DoubleType" => CqlType::Double,
        "DurationType" => CqlType::Duration,
        "EmptyType" => CqlType::Empty,
        "FloatType" => CqlType::Float,
        "InetAddressType" => CqlType::Inet,
        "Int32Type" => CqlType::Int,
        "ShortType" => CqlType::SmallInt,
        "UTF8Type" => CqlType::Text,
        "TimeType" => CqlType::Time,
        "TimestampType" => CqlType::Timestamp,
        "TimeUUIDType" | "LegacyTimeUUIDType" => CqlType::TimeUuid,
        "ByteType" => CqlType::TinyInt,
        "UUIDType" => CqlType::Uuid,
        "IntegerType" => CqlType::VarInt,
        _ => return None,
    })
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a hexadecimal text of even length.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
