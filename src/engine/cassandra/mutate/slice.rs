//! Deletions of what lies between two places among the rows of a partition.
//!
//! CQL compares several columns as tuples of values, which is the order of rows only where all columns have one direction.
//! So a range is cut into pieces that each have some columns by `=` and the next between bounds.

use super::text::{Part, Texts};
use super::{Mutation, has_rows, some_value};
use crate::engine::cassandra::comparable::{self, Clustering, Position};
use crate::error::{Error, Result};

/// A place among rows: before or after all those that begin with some values.
struct Bound {
    values: Vec<Vec<u8>>,
    after: bool,
}

/// A bound on one column: its value, and whether rows that have it are meant, too.
type Side<'b> = Option<(&'b [u8], bool)>;

/// Appends the statements that delete what lies from one key to the other, up to `time`. `keys` are the partition's values.
pub(super) fn delete(
    clustering: &Clustering,
    texts: &Texts,
    keys: &[Vec<u8>],
    (from, to): (&[u8], &[u8]),
    time: i64,
    out: &mut Vec<Mutation>,
) -> Result<()> {
    if from >= to {
        return Err(Error::damaged("range deletion", "ends before it begins"));
    }
    let (from, to) = (bound(clustering, from)?, bound(clustering, to)?);
    let equal = from.values.iter().zip(&to.values).take_while(|(a, b)| a == b).count();
    let columns = clustering.columns();
    let mut piece = |prefix: &[Vec<u8>], low: Side<'_>, high: Side<'_>| {
        let mut all = keys.to_vec();
        all.extend_from_slice(prefix);
        let mut conditions = Vec::new();
        if let Some((_, descending)) = columns.get(prefix.len()) {
            let name = texts.clustering(prefix.len());
            for (side, up) in [(low, true), (high, false)] {
                let Some((value, with)) = side else { continue };
                let sign = if up != *descending { ">" } else { "<" };
                let text = format!("{name} {sign}{} ?", if with { "=" } else { "" });
                conditions.push(Part { text, values: vec![value.to_vec()] });
            }
        }
        out.push(texts.delete(&[], &conditions, time, &all, prefix.len()));
    };
    // What begins as the start does, from the innermost column to the one where start and end part.
    for depth in (equal + 1..from.values.len()).rev() {
        let innermost = depth + 1 == from.values.len();
        piece(&from.values[..depth], Some((&from.values[depth], innermost && !from.after)), None);
    }
    let low = from.values.get(equal).map(|v| (&v[..], equal + 1 == from.values.len() && !from.after));
    let high = to.values.get(equal).map(|v| (&v[..], equal + 1 == to.values.len() && to.after));
    match columns.first() {
        // Without a bound it would delete the partition, static columns and all.
        Some((t, _)) if equal == 0 && low.is_none() && high.is_none() && has_rows(clustering) => {
            let pivot = some_value(t);
            piece(&[], None, Some((&pivot, true)));
            piece(&[], Some((&pivot, false)), None);
        }
        _ => piece(&from.values[..equal], low, high),
    }
    for depth in equal + 1..to.values.len() {
        let innermost = depth + 1 == to.values.len();
        piece(&to.values[..depth], None, Some((&to.values[depth], innermost && to.after)));
    }
    Ok(())
}

fn bound(clustering: &Clustering, key: &[u8]) -> Result<Bound> {
    let parts = comparable::split(key)?;
    let after = match parts.position {
        Position::Before => false,
        Position::After => true,
        _ => return Err(Error::damaged("range deletion", "ends at a row")),
    };
    let values: Option<Vec<_>> = clustering.decode(parts.clustering)?.into_iter().collect();
    let values = values.ok_or_else(|| Error::damaged("range deletion", "a bound has a null in it"))?;
    Ok(Bound { values, after })
}
