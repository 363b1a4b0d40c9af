//! Conditions on keys to places in the table: which partitions, and which slices of their rows.

use std::ops::Range;

use repo_format::murmur3::token_bytes;

use super::{Condition, Operator, Part, Tuple, Value};
use crate::engine::KeyRange;
use crate::engine::cassandra::comparable::{self, Clustering};
use crate::engine::cassandra::rows::Layout;
use crate::error::{Error, Kind, Result};

/// What `IN` and `=` may multiply to, partitions and prefixes of clusterings each, before rows are tested one by one.
pub(super) const PRODUCTS_MAX: usize = 10_000;

/// Where the rows are that conditions may hold for, and what is left to be tested there.
#[derive(Debug)]
pub struct Scope {
    /// What the keys of the partitions begin with, ascending; `None` where not every column of the partition key is given.
    partitions: Option<Vec<Vec<u8>>>,
    /// From the first to the last token.
    tokens: (i64, i64),
    /// Of the rows of each partition, behind what its keys begin with: ascending and disjoint. `None` is all of it.
    pub(super) slices: Option<Vec<KeyRange>>,
    /// On partition keys that `partitions` does not settle: they hold for a partition as a whole.
    pub(super) of_partitions: Vec<Condition>,
    /// The slices would be too many: their conditions are among `of_rows`.
    pub(super) too_many: bool,
    /// Not settled by `slices`: they hold row by row.
    pub(super) of_rows: Vec<Condition>,
}

impl Scope {
    /// Of conditions that must all hold, on partitions with tokens from the first to the second.
    pub(super) fn of(conditions: &[Condition], tuples: &[Tuple], tokens: (i64, i64), layout: &Layout) -> Result<Scope> {
        let keys = 0..layout.partition_keys();
        let clustering = keys.end..keys.end + layout.clustering().columns().len();
        let mut rest: Vec<&Condition> = conditions.iter().collect();
        let partitions = products(conditions, keys.clone()).map(|keys| groups(&keys, tokens));
        if partitions.is_some() {
            rest.retain(|c| !keys.contains(&c.place));
        }
        let given = |place: &usize| values(conditions, *place).is_some();
        let depth = clustering.clone().take_while(given).count();
        let narrowed = clustering.start..clustering.end.min(clustering.start + depth + 1);
        let (mut slices, mut too_many) = (None, false);
        if conditions.iter().any(|c| narrowed.contains(&c.place)) {
            match products(conditions, clustering.start..clustering.start + depth) {
                Some(prefixes) => {
                    slices = Some(merged_slices(&prefixes, conditions, narrowed.start + depth, layout.clustering())?);
                    rest.retain(|c| !narrowed.contains(&c.place));
                }
                None => too_many = true,
            }
        }
        for tuple in tuples {
            let named = tuple.slices(conditions, layout.clustering(), clustering.start)?.ok_or_else(|| {
                let what = "stands behind clustering columns that are not given, or by too long lists";
                Error::new(Kind::Usage, "a condition in parentheses", what)
                    .hint("give each column before it by = or IN")
            })?;
            let named = merged(named);
            slices = Some(match slices {
                None => named,
                Some(slices) => common(&slices, &named),
            });
        }
        let (of_partitions, of_rows) = rest.into_iter().cloned().partition(|c| keys.contains(&c.place));
        Ok(Scope { partitions, tokens, slices, too_many, of_partitions, of_rows })
    }

    /// Whether the rows are looked up, partition by partition; otherwise partitions are gone through.
    pub(super) fn looks_up(&self) -> bool {
        self.partitions.is_some()
    }

    /// The `n`-th range of keys to be read, ascending.
    pub(super) fn read(&self, n: usize, part: Part) -> Option<KeyRange> {
        let Some(partitions) = &self.partitions else {
            let (first, last) = self.tokens;
            let end = last.checked_add(1).map_or(Vec::new(), |after| token_bytes(after).to_vec());
            return (n == 0 && first <= last).then(|| (token_bytes(first).to_vec(), end));
        };
        let slices = self.slices.as_deref();
        let heads = usize::from(part == Part::SlicesAndStatic && slices.is_some_and(|s| !s.is_empty()));
        let each = slices.map_or(1, |s| s.len() + heads);
        let group = partitions.get(n.checked_div(each)?)?;
        let within = |from: &[u8], to: &[u8]| Some(([group, from].concat(), [group, to].concat()));
        match (slices, n % each) {
            (None, _) => within(&comparable::GROUP_FIRST, &comparable::GROUP_END),
            (Some(_), 0) if heads == 1 => within(&comparable::GROUP_FIRST, &comparable::ROWS_FIRST),
            (Some(slices), i) => slices.get(i - heads).and_then(|(from, to)| within(from, to)),
        }
    }
}

/// What the keys of partitions begin with: those with tokens from the first to the second.
fn groups(keys: &[Vec<&Value>], (first, last): (i64, i64)) -> Vec<Vec<u8>> {
    let mut groups: Vec<Vec<u8>> = Vec::with_capacity(keys.len());
    for key in keys {
        let parts: Vec<&[u8]> = key.iter().map(|v| &v.raw[..]).collect();
        let mut group = Vec::new();
        comparable::put_group(&mut group, &composite(&parts));
        groups.push(group);
    }
    groups.retain(|group| (&token_bytes(first)[..]..=&token_bytes(last)[..]).contains(&&group[..8]));
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// A partition key as SSTables hold it (`CompositeType.build`).
pub(super) fn composite(values: &[&[u8]]) -> Vec<u8> {
    if let [value] = values {
        return value.to_vec();
    }
    let mut key = Vec::new();
    for value in values {
        key.extend_from_slice(&(value.len() as u16).to_be_bytes());
        key.extend_from_slice(value);
        key.push(0);
    }
    key
}

/// The slices of rows that begin with one of `prefixes` and satisfy the conditions on the column at `next`; what touches is one.
fn merged_slices(
    prefixes: &[Vec<&Value>],
    conditions: &[Condition],
    next: usize,
    clustering: &Clustering,
) -> Result<Vec<KeyRange>> {
    let mut slices = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        let prefix: Vec<_> = prefix.iter().map(|v| Some(&v.raw[..])).collect();
        let (from, to) = slice(&prefix, conditions.iter().filter(|c| c.place == next), clustering)?;
        slices.push((from, to));
    }
    Ok(merged(slices))
}

/// Ascending; what touches is one.
fn merged(mut slices: Vec<KeyRange>) -> Vec<KeyRange> {
    slices.retain(|(from, to)| from < to);
    slices.sort_unstable();
    let mut merged: Vec<KeyRange> = Vec::with_capacity(slices.len());
    for (from, to) in slices {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = to.max(std::mem::take(&mut last.1)),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// What lies in slices of both: each ascending and disjoint, and so is the result.
fn common(one: &[KeyRange], other: &[KeyRange]) -> Vec<KeyRange> {
    let (mut i, mut j, mut both) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        let (from, to) = (a.0.clone().max(b.0.clone()), a.1.clone().min(b.1.clone()));
        if a.1 <= b.1 {
            i += 1
        } else {
            j += 1
        }
        if from < to {
            both.push((from, to));
        }
    }
    both
}

/// From where to where rows of `prefix` satisfy conditions on the next clustering column: all of them together.
pub(super) fn slice<'c>(
    prefix: &[Option<&[u8]>],
    conditions: impl Iterator<Item = &'c Condition>,
    clustering: &Clustering,
) -> Result<KeyRange> {
    let bound = |prefix: &[Option<&[u8]>], after: bool| -> Result<Vec<u8>> {
        let mut key = Vec::new();
        clustering.bound(&mut key, prefix, after)?;
        Ok(key)
    };
    let (mut from, mut to) = (bound(prefix, false)?, bound(prefix, true)?);
    let Some((_, descending)) = clustering.columns().get(prefix.len()) else { return Ok((from, to)) };
    for condition in conditions {
        let Some(value) = condition.values.first() else { continue };
        // In key order: DESC turns both direction and side around.
        let (from_below, after) = match condition.operator {
            Operator::Greater => (true, true),
            Operator::GreaterOrEqual => (true, false),
            Operator::Less => (false, false),
            Operator::LessOrEqual => (false, true),
            Operator::In => continue,
        };
        let key = bound(&[prefix, &[Some(&value.raw)]].concat(), after != *descending)?;
        if from_below != *descending {
            from = from.max(key);
        } else {
            to = to.min(key);
        }
    }
    Ok((from, to))
}

/// The values that a column is said to have and that all conditions on it allow; `None` where none says so.
fn values(conditions: &[Condition], place: usize) -> Option<Vec<&Value>> {
    let here = || conditions.iter().filter(|c| c.place == place);
    let said = here().find(|c| c.operator == Operator::In)?;
    Some(said.values.iter().filter(|v| here().all(|c| c.allows(&v.ordered))).collect())
}

/// All combinations of the values given for each of some columns; `None` where one is not given, or there are too many.
pub(super) fn products(conditions: &[Condition], places: Range<usize>) -> Option<Vec<Vec<&Value>>> {
    let mut all = vec![Vec::new()];
    for place in places {
        let values = values(conditions, place)?;
        if all.len().saturating_mul(values.len()) > PRODUCTS_MAX {
            return None;
        }
        all = all.iter().flat_map(|head| values.iter().map(move |v| [&head[..], &[*v]].concat())).collect();
    }
    Some(all)
}
