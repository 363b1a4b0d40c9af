//! Where in a table something is lost.

use serde_json::Value;

use super::Harmed;
use crate::engine::{Engine, KeyRange, engine};
use crate::error::Result;
use crate::repo::Repo;
use crate::snapshot::{self, hex};

/// Ranges that are told apart in one table; further ones are joined with the last.
const MOST: usize = 16;

/// Keys from one to before another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Keys {
    /// The first; empty: the table's first. Hex in what is serialized.
    #[serde(serialize_with = "as_hex")]
    pub from: Vec<u8>,
    /// The first behind them; empty: there is none.
    #[serde(serialize_with = "as_hex")]
    pub to: Vec<u8>,
    /// Where the first lies, as the database says it ([`crate::engine::Schema::place`]); null where that is not known.
    pub first: Value,
    /// Where they end.
    pub last: Value,
}

impl Keys {
    pub(super) fn new((from, to): KeyRange) -> Keys {
        Keys { from, to, first: Value::Null, last: Value::Null }
    }
}

fn as_hex<S: serde::Serializer>(key: &[u8], to: S) -> std::result::Result<S::Ok, S::Error> {
    to.serialize_str(&hex(key))
}

/// Adds a range to ranges that ascend and do not touch.
pub(super) fn join(ranges: &mut Vec<KeyRange>, range: KeyRange) {
    ranges.push(range);
    ranges.sort_unstable();
    let mut joined: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if end.is_empty() => {}
            Some((_, end)) if *end >= from => {
                if to.is_empty() || to > *end {
                    *end = to;
                }
            }
            _ => joined.push((from, to)),
        }
    }
    while joined.len() > MOST {
        let last = joined.pop();
        if let (Some((_, to)), Some(before)) = (last, joined.last_mut()) {
            before.1 = to;
        }
    }
    *ranges = joined;
}

/// Says of all ranges where they lie. What cannot be said, because the snapshot cannot be read or its engine is not known, stays
/// as it is.
///
/// Errors: the store cannot be read.
pub fn locate(repo: &Repo, engines: &[&dyn Engine], harmed: &mut [Harmed]) -> Result<()> {
    for parts in harmed.chunk_by_mut(|a, b| a.snapshot == b.snapshot) {
        let Some(name) = parts.first().filter(|part| part.part.is_some()).map(|part| part.snapshot.clone()) else {
            continue;
        };
        let snapshot = match snapshot::read(repo, &repo.find_snapshot(&name)?.id) {
            Ok(snapshot) => snapshot,
            Err(e) if super::is_damage(&e) => continue,
            Err(e) => return Err(e),
        };
        let Ok(engine) = engine(engines, &snapshot.engine) else { continue };
        for part in parts {
            let shard = snapshot.shards.iter().find(|shard| Some(&shard.name) == part.part.as_ref());
            let Some(Ok(schema)) = shard.map(|shard| engine.schema(&shard.name, &shard.description)) else { continue };
            let place = |key: &[u8], none: u64| {
                let share = if key.is_empty() { Ok(none) } else { schema.share(key) };
                share.map_or(Value::Null, |share| schema.place(share))
            };
            for keys in &mut part.ranges {
                (keys.first, keys.last) = (place(&keys.from, 0), place(&keys.to, u64::MAX));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(ranges: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        ranges.iter().for_each(|(from, to)| join(&mut all, (from.as_bytes().to_vec(), to.as_bytes().to_vec())));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        all.into_iter().map(|(from, to)| (text(from), text(to))).collect()
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        assert_eq!(joined(&[("c", "d"), ("a", "b")]), of(&[("a", "b"), ("c", "d")]));
        assert_eq!(joined(&[("c", "d"), ("a", "c")]), of(&[("a", "d")]));
        assert_eq!(joined(&[("a", "f"), ("b", "c"), ("", "a")]), of(&[("", "f")]));
        assert_eq!(joined(&[("k", ""), ("p", "q"), ("m", "")]), of(&[("k", "")]));
        let many: Vec<(String, String)> = (0..40).map(|n| (format!("{n:02}a"), format!("{n:02}b"))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (&a[..], &b[..])).collect();
        let few = joined(&many);
        assert_eq!((few.len(), &few[0].0[..], &few[MOST - 1].1[..]), (MOST, "00a", "39b"));
    }
}
