//! `--where "id = 42 AND ck >= 5"`: conditions in the manner of CQL, to ranges of keys and a predicate on rows.
//!
//! Conditions on the whole partition key become look-ups, those on a prefix of the clustering and a range behind it slices, `(c, d) > (1, 2)` too;
//! `token(id) > 5` is a range of partitions. What is left is tested: on a part of the partition key per partition, on
//! anything else row by row.

mod key;
mod literal;
mod matching;
mod scope;
mod selection;
mod sliced;
mod temporal;
mod tuple;

use std::cmp::Ordering;
use std::sync::Arc;

use repo_format::murmur3;

use super::comparable::encode_component;
use super::lex::{Lexer, Token};
use super::rows::{Layout, Predicate};
use super::rule;
use super::schema::{ColumnRole, Table};
use super::types::CqlType;
use crate::engine::KeyRange;
use crate::error::{Error, Kind, Result};
use crate::run::Run;
pub use key::of_key;
use matching::Matching;
use scope::{PRODUCTS_MAX, Scope, composite};
pub use selection::Conditions;
use sliced::Sliced;
use tuple::Tuple;

/// Conditions on the rows of one table, all of which must hold.
#[derive(Debug, Clone)]
pub struct Filter {
    conditions: Vec<Condition>,
    tuples: Vec<Tuple>,
    /// From the first to the last.
    tokens: (i64, i64),
    /// Columns of the partition key.
    keys: usize,
    /// Some condition that rows are tested for is on a static column.
    on_statics: bool,
    scope: Arc<Scope>,
}

/// Ranges of keys to be read, ascending and disjoint.
#[derive(Debug, Clone)]
pub struct Reads {
    scope: Arc<Scope>,
    part: Part,
    next: usize,
}

/// What of the partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The slices that conditions name; where they name none, all of it.
    Slices,
    /// These and the static row.
    SlicesAndStatic,
}

impl Iterator for Reads {
    type Item = KeyRange;
    fn next(&mut self) -> Option<KeyRange> {
        self.next += 1;
        self.scope.read(self.next - 1, self.part)
    }
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
        let (mut conditions, mut tuples) = (Vec::new(), Vec::new());
        let mut tokens = (i64::MIN, i64::MAX);
        let mut first = true;
        while lexer.peek().is_some() {
            if !std::mem::take(&mut first) {
                lexer.expect_word("and")?;
            }
            if let Some((from, to)) = token_range(&mut lexer, layout)? {
                tokens = (tokens.0.max(from), tokens.1.min(to));
            } else if let Some(tuple) = Tuple::parse(&mut lexer, table, layout)? {
                tuples.push(tuple);
            } else {
                conditions.push(condition(&mut lexer, table, layout)?);
            }
        }
        if first {
            return Err(
                Error::new(Kind::Usage, "condition", "is empty").hint("leave --where out to have the whole table")
            );
        }
        let scope = Arc::new(Scope::of(&conditions, &tuples, tokens, layout)?);
        let is_static =
            |c: &Condition| layout.columns().nth(c.place).is_some_and(|(c, _)| c.role == ColumnRole::Static);
        let on_statics = scope.of_rows.iter().any(is_static);
        Ok(Filter { conditions, tuples, tokens, keys: layout.partition_keys(), on_statics, scope })
    }

    /// Where in the table the rows that may satisfy the conditions are; with the static rows of their partitions where
    /// `statics` or where conditions are on static columns.
    pub fn reads(&self, statics: bool) -> Reads {
        let part = if statics || self.on_statics { Part::SlicesAndStatic } else { Part::Slices };
        Reads { scope: Arc::clone(&self.scope), part, next: 0 }
    }

    /// The rows that conditions on clustering columns name, of a run over [`Filter::reads`]; deletions as far as they reach into
    /// the slices named. Static rows where `statics`.
    fn sliced<'a>(&self, run: Box<dyn Run + 'a>, statics: bool) -> Box<dyn Run + 'a> {
        match self.scope.slices {
            Some(_) => Box::new(Sliced::new(run, Arc::clone(&self.scope), statics, self.looks_up())),
            None => run,
        }
    }

    /// What a restore of the rows named writes, of a run over [`Filter::reads`].
    ///
    /// - Conditions on the partition key alone: partitions with all that is in them.
    /// - Conditions on clustering columns that name slices: the rows of the slices, and every deletion as far as it reaches
    ///   into them, but no static row: it belongs to rows outside, too.
    /// - Conditions on anything else: the rows that satisfy them at `now`, none of the deletions around them; static rows
    ///   that satisfy them by themselves.
    pub fn records<'a>(&self, run: Box<dyn Run + 'a>, layout: &Layout, now: u32) -> Box<dyn Run + 'a> {
        let run = self.sliced(run, self.on_statics);
        if self.scope.of_partitions.is_empty() && self.scope.of_rows.is_empty() {
            return run;
        }
        Box::new(Matching::new(run, Arc::clone(&self.scope), layout.clone(), now))
    }

    /// What reading the rows named needs: as [`Filter::records`], but with the static columns that belong to a row, and
    /// more rows than are named; [`Filter::predicate`] tells.
    pub fn rows<'a>(&self, run: Box<dyn Run + 'a>) -> Box<dyn Run + 'a> {
        self.sliced(run, true)
    }

    /// Whether [`Filter::records`] can be had. It cannot where lists of `IN` multiply to more slices than are kept: tested row by row
    /// instead, the rows would be the same, but the deletions in the slices would be missing.
    pub fn names_records(&self) -> Result<()> {
        match self.scope.too_many {
            false => Ok(()),
            true => Err(Error::new(
                Kind::Usage,
                "condition",
                format!("its lists multiply to more than {PRODUCTS_MAX} slices of rows"),
            )
            .hint("give shorter lists, in several restores")),
        }
    }

    /// Exactly what the conditions name, slice by slice; `None` where that is not said by keys alone.
    pub fn slices(&self) -> Option<Reads> {
        (self.looks_up() && self.scope.of_rows.is_empty()).then(|| self.reads(false))
    }

    /// Whether the rows are looked up. If not, the table (or a range of its tokens) is gone through.
    pub fn looks_up(&self) -> bool {
        self.scope.looks_up()
    }

    /// Whether a row satisfies the conditions; null satisfies none. Those on keys are tested again: ranges hold more.
    pub fn predicate(&self) -> Predicate<'static> {
        let (conditions, tuples) = (self.conditions.clone(), self.tuples.clone());
        let ((first, last), keys) = (self.tokens, self.keys);
        Box::new(move |values| {
            if (first, last) != (i64::MIN, i64::MAX) {
                let key: Vec<&[u8]> = values.iter().take(keys).map(|v| v.unwrap_or_default()).collect();
                if !(first..=last).contains(&murmur3::token(&composite(&key))) {
                    return Ok(false);
                }
            }
            for tuple in &tuples {
                if !tuple.holds(values)? {
                    return Ok(false);
                }
            }
            all_hold(&conditions, values)
        })
    }
}

fn all_hold(conditions: &[Condition], values: &[Option<&[u8]>]) -> Result<bool> {
    for condition in conditions {
        if !condition.holds(values.get(condition.place).copied().flatten())? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Condition {
    fn holds(&self, value: Option<&[u8]>) -> Result<bool> {
        let Some(value) = value else { return Ok(false) };
        let ordered = match self.t {
            CqlType::Counter => ordered(&CqlType::BigInt, &rule::total(value)?.to_be_bytes())?,
            _ => ordered(&self.t, value)?,
        };
        Ok(self.allows(&ordered))
    }

    fn allows(&self, ordered: &[u8]) -> bool {
        self.values.iter().any(|v| self.operator.allows(ordered.cmp(&v.ordered[..])))
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
    if lexer.eat_word("in")? {
        lexer.expect("(")?;
        let mut values = vec![value(lexer, &name, &t)?];
        while lexer.eat(",")? {
            values.push(value(lexer, &name, &t)?);
        }
        lexer.expect(")")?;
        return Ok(Condition { place, t, operator: Operator::In, values });
    }
    let Some(operator) = comparison(lexer)? else {
        return Err(lexer.error(format!("after column {name} one of =, <, <=, >, >= and IN is expected")));
    };
    if operator != Operator::In && t == CqlType::Duration {
        return Err(Error::new(Kind::Usage, format!("column {name}"), "durations have no order: only = and IN"));
    }
    let values = vec![value(lexer, &name, &t)?];
    Ok(Condition { place, t, operator, values })
}

/// `=`, which is [`Operator::In`] of one value, or a comparison.
fn comparison(lexer: &mut Lexer<'_>) -> Result<Option<Operator>> {
    let operator = match lexer.peek() {
        Some(Token::Symbol("=")) => Operator::In,
        Some(Token::Symbol("<")) => Operator::Less,
        Some(Token::Symbol("<=")) => Operator::LessOrEqual,
        Some(Token::Symbol(">")) => Operator::Greater,
        Some(Token::Symbol(">=")) => Operator::GreaterOrEqual,
        _ => return Ok(None),
    };
    lexer.next()?;
    Ok(Some(operator))
}

/// `token(a, b) > N`, where that is next: the first and last token it allows.
fn token_range(lexer: &mut Lexer<'_>, layout: &Layout) -> Result<Option<(i64, i64)>> {
    let mut ahead = lexer.clone();
    if !ahead.eat_word("token")? || !ahead.eat("(")? {
        return Ok(None);
    }
    let keys: Vec<&str> = layout.columns().take(layout.partition_keys()).map(|(c, _)| c.name.as_str()).collect();
    for (i, key) in keys.iter().enumerate() {
        if i > 0 {
            ahead.expect(",")?;
        }
        if ahead.name()? != *key {
            return Err(ahead.error(format!("token() takes the whole partition key: token({})", keys.join(", "))));
        }
    }
    ahead.expect(")")?;
    let Some(operator) = comparison(&mut ahead)? else {
        return Err(ahead.error("after token(…) one of =, <, <=, > and >= is expected"));
    };
    let number = match ahead.next()? {
        Some(Token::Number(n)) => n.parse::<i64>().ok(),
        _ => None,
    };
    let Some(n) = number else { return Err(ahead.error("a token is a whole number of 64 bits")) };
    *lexer = ahead;
    Ok(Some(match operator {
        Operator::In => (n, n),
        Operator::Less => n.checked_sub(1).map_or((i64::MAX, i64::MIN), |last| (i64::MIN, last)),
        Operator::LessOrEqual => (i64::MIN, n),
        Operator::Greater => n.checked_add(1).map_or((i64::MAX, i64::MIN), |first| (first, i64::MAX)),
        Operator::GreaterOrEqual => (n, i64::MAX),
    }))
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
        let given = token.as_ref().map_or("nothing".to_owned(), Token::to_string);
        let hint = literal::hint(t);
        return Err(
            Error::new(Kind::Usage, format!("column {name}"), format!("{given} is no value of type {t}")).hint(hint)
        );
    };
    let ordered = ordered(t, &raw)?;
    Ok(Value { raw, ordered })
}

#[cfg(test)]
mod tests;
