//! `--where "id = 42 AND ck >= 5"`: conditions in the manner of CQL, to ranges of keys and a predicate on rows.

mod literal;
mod temporal;

use std::cmp::Ordering;

use super::comparable::{self, encode_component};
use super::lex::{Lexer, Token};
use super::rows::{Layout, Predicate};
use super::rule;
use super::schema::Table;
use super::types::CqlType;
use crate::error::{Error, Kind, Result};

/// Keys from the first (inclusive) to the second (exclusive); an empty second is the end of the table.
pub type KeyRange = (Vec<u8>, Vec<u8>);

/// What `IN` and `=` on keys may multiply to before the table is read whole.
const RANGES_MAX: usize = 10_000;

/// Conditions on the rows of one table, all of which must hold.
#[derive(Debug, Clone)]
pub struct Filter {
    conditions: Vec<Condition>,
    ranges: Vec<KeyRange>,
}

#[derive(Debug, Clone)]
struct Condition {
    /// In the [`Layout`].
    place: usize,
    t: CqlType,
    operator: Operator,
    /// One, or any number for `IN`.
    values: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Value {
    raw: Vec<u8>,
    /// What orders it among values of its type.
    ordered: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Parses `text` as conditions on `table`.
    pub fn parse(text: &str, table: &Table, layout: &Layout) -> Result<Filter> {
        let mut lexer = Lexer::new(text, "condition", Kind::Usage)?;
        let mut conditions = Vec::new();
        while lexer.peek().is_some() {
            if !conditions.is_empty() {
                lexer.expect_word("and")?;
            }
            conditions.push(condition(&mut lexer, table, layout)?);
        }
        let ranges = ranges(&conditions, layout)?;
        Ok(Filter { conditions, ranges })
    }

    /// Where in the table the rows that may satisfy the conditions are, ascending and disjoint; with the records that
    /// the rows cannot be read without: the partition's deletion and its static row.
    pub fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }

    /// Whether a row satisfies the conditions; null satisfies none. Those on keys are tested again: ranges hold more.
    pub fn predicate(&self) -> Predicate<'static> {
        let conditions = self.conditions.clone();
        Box::new(move |values| {
            for condition in &conditions {
                if !condition.holds(values.get(condition.place).copied().flatten())? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

impl Condition {
    fn holds(&self, value: Option<&[u8]>) -> Result<bool> {
        let Some(value) = value else { return Ok(false) };
        let ordered = match self.t {
            CqlType::Counter => ordered(&CqlType::BigInt, &rule::total(value)?.to_be_bytes())?,
            _ => ordered(&self.t, value)?,
        };
        Ok(self.values.iter().any(|v| self.operator.allows(ordered.cmp(&v.ordered))))
    }
}

impl Operator {
    fn allows(self, order: Ordering) -> bool {
        match self {
            Operator::In => order.is_eq(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn ordered(t: &CqlType, value: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len() + 2);
    encode_component(&mut out, t, false, Some(value))?;
    Ok(out)
}

fn condition(lexer: &mut Lexer<'_>, table: &Table, layout: &Layout) -> Result<Condition> {
    let name = lexer.name()?;
    let Some(place) = layout.position(&name) else { return Err(unknown(&name, table, layout)) };
    let t = layout.columns().nth(place).map_or(CqlType::Empty, |(_, t)| t.clone());
    let operator = match lexer.next()? {
        Some(Token::Symbol("=")) => None,
        Some(Token::Symbol("<")) => Some(Operator::Less),
        Some(Token::Symbol("<=")) => Some(Operator::LessOrEqual),
        Some(Token::Symbol(">")) => Some(Operator::Greater),
        Some(Token::Symbol(">=")) => Some(Operator::GreaterOrEqual),
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("in") => {
            lexer.expect("(")?;
            let mut values = vec![value(lexer, &name, &t)?];
            while lexer.eat(",")? {
                values.push(value(lexer, &name, &t)?);
            }
            lexer.expect(")")?;
            return Ok(Condition { place, t, operator: Operator::In, values });
        }
        _ => return Err(lexer.error(format!("after column {name} one of =, <, <=, >, >= and IN is expected"))),
    };
    if operator.is_some() && t == CqlType::Duration {
        return Err(Error::new(Kind::Usage, format!("column {name}"), "durations have no order: only = and IN"));
    }
    let values = vec![value(lexer, &name, &t)?];
    Ok(Condition { place, t, operator: operator.unwrap_or(Operator::In), values })
}

fn unknown(name: &str, table: &Table, layout: &Layout) -> Error {
    let names: Vec<_> = layout.columns().map(|(c, _)| c.name.as_str()).collect();
    let table = format!("{}.{}", table.keyspace, table.name);
    Error::new(Kind::Usage, format!("table {table}"), format!("there is no column {name:?}"))
        .hint(format!("its columns are {}", names.join(", ")))
}

fn value(lexer: &mut Lexer<'_>, name: &str, t: &CqlType) -> Result<Value> {
    let token = lexer.next()?;
    let t = if t.is_counter() { &CqlType::BigInt } else { t };
    let Some(raw) = token.as_ref().and_then(|token| literal::parse(t, token)) else {
        let given = match &token {
            Some(Token::Text(text)) => format!("'{text}'"),
            Some(Token::Number(text) | Token::Uuid(text) | Token::Word(text)) => text.to_string(),
            Some(other) => format!("{other:?}"),
            None => "nothing".to_string(),
        };
        let hint = literal::hint(t);
        return Err(
            Error::new(Kind::Usage, format!("column {name}"), format!("{given} is no value of type {t}")).hint(hint)
        );
    };
    let ordered = ordered(t, &raw)?;
    Ok(Value { raw, ordered })
}

/// The whole table, unless every column of the partition key is given.
fn ranges(conditions: &[Condition], layout: &Layout) -> Result<Vec<KeyRange>> {
    let whole = vec![(Vec::new(), Vec::new())];
    let keys = layout.partition_keys();
    let Some(partitions) = products(conditions, 0..keys) else { return Ok(whole) };
    let depth = (keys..keys + layout.clustering().columns().len())
        .take_while(|place| given(conditions, *place).is_some())
        .count();
    let Some(prefixes) = products(conditions, keys..keys + depth) else { return Ok(whole) };
    if partitions.len().saturating_mul(prefixes.len()) > RANGES_MAX {
        return Ok(whole);
    }
    let narrowed = conditions.iter().any(|c| c.place >= keys && c.place < keys + layout.clustering().columns().len());
    let mut ranges = Vec::new();
    for partition in &partitions {
        let mut group = Vec::new();
        comparable::put_group(&mut group, &composite(partition));
        let bound = |prefix: &[Option<&[u8]>], after| -> Result<Vec<u8>> {
            let mut key = group.clone();
            layout.clustering().bound(&mut key, prefix, after)?;
            Ok(key)
        };
        let (rows, end) = (bound(&[], false)?, bound(&[], true)?);
        let mut head = group.clone();
        comparable::put_group_record(&mut head);
        if !narrowed {
            ranges.push((head, end));
            continue;
        }
        ranges.push((head, rows));
        for prefix in &prefixes {
            let prefix: Vec<_> = prefix.iter().map(|v| Some(&v.raw[..])).collect();
            let (low, high) = bounds(conditions, layout, &prefix)?;
            let (low, high) = (bound(&low.0, low.1)?, bound(&high.0, high.1)?);
            if low < high {
                ranges.push((low, high));
            }
        }
    }
    ranges.sort();
    ranges.dedup();
    Ok(ranges)
}

/// Values and whether the place is after the rows that begin with them.
type Bound<'v> = (Vec<Option<&'v [u8]>>, bool);

/// From where to where rows of `prefix` may satisfy the conditions on the next clustering column.
fn bounds<'v>(
    conditions: &'v [Condition],
    layout: &Layout,
    prefix: &[Option<&'v [u8]>],
) -> Result<(Bound<'v>, Bound<'v>)> {
    let (mut low, mut high) = ((prefix.to_vec(), false), (prefix.to_vec(), true));
    let Some((_, descending)) = layout.clustering().columns().get(prefix.len()) else { return Ok((low, high)) };
    for condition in conditions.iter().filter(|c| c.place == layout.partition_keys() + prefix.len()) {
        let Some(value) = condition.values.first() else { continue };
        let mut place = prefix.to_vec();
        place.push(Some(&value.raw));
        // In key order: DESC turns both direction and side around.
        let (from_below, after) = match condition.operator {
            Operator::Greater => (true, true),
            Operator::GreaterOrEqual => (true, false),
            Operator::Less => (false, false),
            Operator::LessOrEqual => (false, true),
            Operator::In => continue,
        };
        if from_below != *descending {
            low = (place, after != *descending);
        } else {
            high = (place, after != *descending);
        }
    }
    Ok((low, high))
}

/// The values that a column is said to have, by the first condition that says so.
fn given(conditions: &[Condition], place: usize) -> Option<&[Value]> {
    conditions.iter().find(|c| c.place == place && c.operator == Operator::In).map(|c| &c.values[..])
}

/// All combinations of the values given for each of some columns; `None` where one is not given, or there are too many.
fn products(conditions: &[Condition], places: std::ops::Range<usize>) -> Option<Vec<Vec<&Value>>> {
    let mut all = vec![Vec::new()];
    for place in places {
        let values = given(conditions, place)?;
        if all.len().saturating_mul(values.len()) > RANGES_MAX {
            return None;
        }
        all = all.iter().flat_map(|head| values.iter().map(move |v| [&head[..], &[v]].concat())).collect();
    }
    Some(all)
}

/// A partition key as SSTables hold it (`CompositeType.build`).
fn composite(values: &[&Value]) -> Vec<u8> {
    if let [value] = values {
        return value.raw.clone();
    }
    let mut key = Vec::new();
    for value in values {
        key.extend_from_slice(&(value.raw.len() as u16).to_be_bytes());
        key.extend_from_slice(&value.raw);
        key.push(0);
    }
    key
}

#[cfg(test)]
mod tests;
