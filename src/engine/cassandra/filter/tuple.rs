//! `(c, d) > (1, 2)`: several clustering columns compared as one, as CQL does it: by value, the first that differs decides, whatever
//! the order of the rows (`MultiColumnRelation`).

use std::cmp::Ordering;

use super::scope::{products, slice};
use super::{Condition, KeyRange, Operator, Value, comparison, unknown, value};
use crate::engine::cassandra::comparable::Clustering;
use crate::engine::cassandra::lex::Lexer;
use crate::engine::cassandra::rows::Layout;
use crate::engine::cassandra::schema::Table;
use crate::engine::cassandra::types::CqlType;
use crate::error::{Error, Kind, Result};

/// A condition on neighbouring clustering columns.
#[derive(Debug, Clone)]
pub struct Tuple {
    /// The first column, in the [`Layout`].
    first: usize,
    types: Vec<CqlType>,
    operator: Operator,
    /// One, or any number for `IN`; each a value for every column.
    values: Vec<Vec<Value>>,
}

impl Tuple {
    /// Parses one, where that is next.
    pub(super) fn parse(lexer: &mut Lexer<'_>, table: &Table, layout: &Layout) -> Result<Option<Tuple>> {
        if !lexer.eat("(")? {
            return Ok(None);
        }
        let mut names = vec![lexer.name()?];
        while lexer.eat(",")? {
            names.push(lexer.name()?);
        }
        lexer.expect(")")?;
        let place = |name: &String| layout.position(name).ok_or_else(|| unknown(name, table, layout));
        let places: Vec<usize> = names.iter().map(place).collect::<Result<_>>()?;
        let first = places.first().copied().unwrap_or_default();
        let clustering = layout.partition_keys()..layout.partition_keys() + layout.clustering().columns().len();
        if !places.iter().enumerate().all(|(i, place)| *place == first + i && clustering.contains(place)) {
            let names: Vec<&str> = layout.columns().map(|(c, _)| c.name.as_str()).collect();
            let clustering = names.get(clustering).unwrap_or_default().join(", ");
            return Err(lexer.error("in parentheses stand clustering columns, neighbours in their order").hint(
                if clustering.is_empty() { "this table has none".to_owned() } else { format!("they are {clustering}") },
            ));
        }
        let types: Vec<CqlType> = places.iter().filter_map(|p| layout.column(*p)).map(|(_, t)| t.clone()).collect();
        let one = |lexer: &mut Lexer<'_>| -> Result<Vec<Value>> {
            let mut values = Vec::with_capacity(names.len());
            lexer.expect("(")?;
            for (name, t) in names.iter().zip(&types) {
                if !values.is_empty() {
                    lexer.expect(",")?;
                }
                values.push(value(lexer, name, t)?);
            }
            lexer.expect(")")?;
            Ok(values)
        };
        let mut values = Vec::new();
        let operator = if lexer.eat_word("in")? {
            lexer.expect("(")?;
            values.push(one(lexer)?);
            while lexer.eat(",")? {
                values.push(one(lexer)?);
            }
            lexer.expect(")")?;
            Operator::In
        } else {
            let Some(operator) = comparison(lexer)? else {
                return Err(lexer.error("after columns in parentheses one of =, <, <=, >, >= and IN is expected"));
            };
            if operator != Operator::In && types.contains(&CqlType::Duration) {
                return Err(Error::new(Kind::Usage, "condition", "durations have no order: only = and IN"));
            }
            values.push(one(lexer)?);
            operator
        };
        Ok(Some(Tuple { first, types, operator, values }))
    }

    /// Whether a row satisfies it.
    pub(super) fn holds(&self, row: &[Option<&[u8]>]) -> Result<bool> {
        let mut ordered = Vec::with_capacity(self.types.len());
        for (i, t) in self.types.iter().enumerate() {
            let Some(value) = row.get(self.first + i).copied().flatten() else { return Ok(false) };
            ordered.push(super::ordered(t, value)?);
        }
        let compare = |values: &Vec<Value>| {
            let each = ordered.iter().zip(values).map(|(ours, v)| ours[..].cmp(&v.ordered));
            each.fold(Ordering::Equal, Ordering::then)
        };
        Ok(self.values.iter().any(|values| self.operator.allows(compare(values))))
    }

    /// The slices that it names, of partitions whose rows satisfy `conditions` on the columns before it; in no order.
    /// `None` where these are not given.
    pub(super) fn slices(
        &self,
        conditions: &[Condition],
        clustering: &Clustering,
        start: usize,
    ) -> Result<Option<Vec<KeyRange>>> {
        let Some(prefixes) = products(conditions, start..self.first) else { return Ok(None) };
        let mut slices = Vec::new();
        for prefix in &prefixes {
            for values in &self.values {
                let prefix: Vec<Option<&[u8]>> = prefix.iter().map(|v| Some(&v.raw[..])).collect();
                let equal = |n: usize| {
                    [&prefix[..], &values[..n].iter().map(|v| Some(&v.raw[..])).collect::<Vec<_>>()].concat()
                };
                if self.operator == Operator::In {
                    slices.push(slice(&equal(values.len()), [].iter(), clustering)?);
                    continue;
                }
                // Equal up to some column, which decides; the last may be equal, too, where the whole may.
                for (n, (value, t)) in values.iter().zip(&self.types).enumerate() {
                    let operator = match self.operator {
                        whole if n + 1 == values.len() => whole,
                        Operator::Less | Operator::LessOrEqual => Operator::Less,
                        _ => Operator::Greater,
                    };
                    let place = self.first + n;
                    let decides = Condition { place, t: t.clone(), operator, values: vec![value.clone()] };
                    slices.push(slice(&equal(n), [decides].iter(), clustering)?);
                }
            }
        }
        Ok(Some(slices))
    }
}
