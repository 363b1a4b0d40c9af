//! Bodies of fuzz targets, one for each parser of this folder; SSTables have theirs in `sstable::fuzzing`. None may
//! panic, hang or allocate more than a small multiple of its input, whatever the bytes.

use std::sync::{Arc, OnceLock};

use repo_format::record::{Class, Traits};

use super::comparable::{self, Clustering, Cursor, decode_component, encode_component};
use super::filter::Filter;
use super::mutate::{Mutations, Times, Ttl};
use super::placing::ring::parse_replication;
use super::placing::{By, Parts, Placed, TargetRing};
use super::read_schema::fuzzing::system_rows;
use super::ring::Ring;
use super::rows::{Layout, Rows, columns};
use super::schema::Table;
use super::shown;
use super::types::{CqlType, parse_class, parse_cql};
use super::{cql, json};
use crate::engine::text::{TextForm, TextRows};
use crate::engine::{RowSink, Rows as _, Show};
use crate::run::Record;

const TABLE: &str = "CREATE TYPE ks.u (a int, \"B\" text, c frozen<list<decimal>>);
    CREATE TABLE ks.t (a int, b text, c int, d decimal, s text static, sm map<uuid, text> static, l list<int>,
    st set<varint>, m map<frozen<u>, frozen<tuple<int, double>>>, u u, fu frozen<u>, v vector<float, 2>,
    vv vector<text, 2>, dur duration, ts timestamp, dt date, tm time, ip inet, f float, n boolean, bi bigint,
    si smallint, ti tinyint, tu timeuuid, ac ascii, bl blob, PRIMARY KEY ((a, b), c, d))
    WITH CLUSTERING ORDER BY (c DESC, d ASC)";

/// A table with a column of every type, and the types.
struct Known {
    table: Table,
    layout: Layout,
    types: Vec<CqlType>,
}

/// `None` only if the text above did not parse.
fn known() -> Option<&'static Known> {
    static KNOWN: OnceLock<Option<Known>> = OnceLock::new();
    let build = || {
        let table = cql::parse(TABLE).ok()?.into_table().ok()?;
        let layout = Layout::of(&table).ok()?;
        let types = layout.columns().map(|(_, t)| t.clone().freeze()).chain([CqlType::Counter]).collect();
        Some(Known { table, layout, types })
    };
    KNOWN.get_or_init(build).as_ref()
}

fn pick(which: u8) -> Option<&'static CqlType> {
    let types = &known()?.types;
    types.get(usize::from(which) % types.len())
}

fn with_text(bytes: &[u8], body: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        body(text);
    }
}

/// Names of classes.
pub fn fuzz_class(bytes: &[u8]) {
    with_text(bytes, |text| drop(parse_class(text)));
}

/// Types in CQL. What is read and written again is the same type.
pub fn fuzz_cql_type(bytes: &[u8]) {
    let Some(Known { table, .. }) = known() else { return };
    with_text(bytes, |text| {
        if let Ok(parsed) = parse_cql(text, &table.types) {
            let again = parse_cql(&parsed.to_string(), &table.types);
            assert!(again.is_ok_and(|a| a == parsed) || text.contains('\''));
        }
    });
}

/// A component of a key, and a value to be one; the first byte picks the type, the second the order.
pub fn fuzz_component(bytes: &[u8]) {
    let [which, descending, bytes @ ..] = bytes else { return };
    let descending = descending % 2 == 1;
    let Some(t) = pick(*which) else { return };
    let _ = decode_component(&mut Cursor::new(bytes), t, descending);
    let mut encoded = Vec::new();
    if encode_component(&mut encoded, t, descending, Some(bytes)).is_ok() {
        let back = decode_component(&mut Cursor::new(&encoded), t, descending);
        let mut again = Vec::new();
        let back = back.map(|value| encode_component(&mut again, t, descending, value.as_deref()));
        assert!(matches!(back, Ok(Ok(()))) && again == encoded);
    }
}

/// Whole keys and raw clusterings.
pub fn fuzz_key(bytes: &[u8]) {
    let _ = comparable::raw_parts(bytes);
    let Ok(clustering) = Clustering::new(vec![(CqlType::Text, true), (CqlType::Decimal, false)]) else { return };
    if let Ok(parts) = comparable::split(bytes) {
        let _ = clustering.decode(parts.clustering);
    }
}

/// A value to print; the first byte picks the type. What is printed is JSON.
pub fn fuzz_json(bytes: &[u8]) {
    let [which, bytes @ ..] = bytes else { return };
    let Some(t) = pick(*which) else { return };
    let mut out = String::new();
    if json::write_value(&mut out, t, bytes).is_ok() {
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok());
    }
}

/// Conditions.
pub fn fuzz_where(bytes: &[u8]) {
    let Some(Known { table, layout, .. }) = known() else { return };
    with_text(bytes, |text| drop(Filter::parse(text, table, layout)));
}

/// `schema.cql`.
pub fn fuzz_schema(bytes: &[u8]) {
    with_text(bytes, |text| drop(cql::parse(text)));
}

/// The body of a record to make a row and statements of; the first byte picks its class.
pub fn fuzz_row(bytes: &[u8]) {
    let [class, body @ ..] = bytes else { return };
    let Some(Known { layout, table, .. }) = known() else { return };
    let mut key = Vec::new();
    let group_len = comparable::put_group(&mut key, &[0, 4, 0, 0, 0, 1, 0, 0, 1, b'x', 0]);
    let class = if class % 2 == 0 { Class::Row } else { Class::Static };
    match class {
        Class::Row => drop(layout.clustering().row(&mut key, &[Some(&[0, 0, 0, 1]), None])),
        _ => comparable::put_static(&mut key),
    }
    let record = Record { key: &key, group_len, class, traits: Traits::default(), body };
    for form in [TextForm::Json, TextForm::Csv] {
        let show = Show { write_times: true, ttls: true };
        let mut out = Vec::new();
        let mut text = TextRows::new(form, &mut out);
        let mut rows = Rows::new(layout.clone(), 1000, show, None);
        if text.begin(&columns(layout, show)).and_then(|()| rows.push(&record, &mut text)).is_ok() {
            let _ = rows.finish(&mut text).and_then(|()| text.pass_on());
        }
    }
    for times in [Times::Keep, Times::From(1_000)] {
        let mutations = Mutations::new(table, "ks", "t", Ttl::Keep, times);
        let _ = mutations.and_then(|mut m| m.push(&record, 1000, &mut Vec::new()));
    }
    let _ = shown::show(layout.clone(), &record, 1000);
}

/// Rows of system tables, and the ring of a node that they tell of.
pub fn fuzz_system_rows(bytes: &[u8]) {
    if let Some(node) = system_rows(bytes) {
        let _ = Ring::of(&node);
    }
}

/// The output of `nodetool ring`, and who holds what by it. Every token is held by as many nodes as asked for.
pub fn fuzz_ring(bytes: &[u8]) {
    with_text(bytes, |text| {
        let Ok(ring) = Ring::parse(text, "ring") else { return };
        let members = ring.members();
        assert!(members.iter().all(|m| !m.tokens.is_empty()));
        let _ = ring.find(text.lines().last().unwrap_or_default());
        let option = |name: &str, value: &str| (name.to_string(), value.to_string());
        let simple = [option("class", "SimpleStrategy"), option("replication_factor", "2")];
        let by_center = members.iter().take(3).map(|m| option(&m.data_center, "2"));
        let by_center = by_center.chain([option("class", "NetworkTopologyStrategy")]);
        for replication in [simple.into_iter().collect(), by_center.collect()] {
            let Ok(placement) = ring.placement(&replication) else { continue };
            let natural = placement.natural();
            assert!(
                natural
                    .iter()
                    .all(|(range, nodes)| range.start < range.end && nodes.iter().all(|n| *n < members.len()))
            );
            let _ = (placement.is_everywhere(), placement.owned(0));
        }
    });
}

/// The ring of a target in any of its forms. What is accepted covers every token, and each falls into one part.
pub fn fuzz_target_ring(bytes: &[u8]) {
    with_text(bytes, |text| {
        let Ok(ring) = TargetRing::parse(text, "ring") else { return };
        for replication in
            ["{'class': 'SimpleStrategy', 'replication_factor': 1}", "{'class': 'NetworkTopologyStrategy', 'dc1': 2}"]
        {
            let Ok(replication) = parse_replication(replication) else { return };
            let Ok(placed) = ring.place("ks", &replication) else { continue };
            let shared = Arc::new(Placed::of(placed.clone()));
            let mut parts = Vec::new();
            for (range, nodes) in &placed {
                assert!(range.start < range.end && nodes.iter().all(|n| *n < ring.members().len()));
                for by in [By::Sets, By::Stretches, By::Nodes] {
                    Parts::new(&shared, by).of(range.end, &mut parts);
                    assert!(!parts.is_empty());
                }
            }
        }
    });
}

/// Replication options.
pub fn fuzz_replication(bytes: &[u8]) {
    with_text(bytes, |text| drop(parse_replication(text)));
}

/// Counter contexts.
pub fn fuzz_counter(bytes: &[u8]) {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    let _ = (super::rule::total(bytes), super::rule::has_local_shards(bytes), super::rule::merge_contexts(a, b));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0x40), Just(0xff), 0x20..0x7f_u8, any::<u8>()], 0..60)) {
            for body in [fuzz_class, fuzz_cql_type, fuzz_component, fuzz_key, fuzz_json, fuzz_where, fuzz_schema, fuzz_row, fuzz_counter, fuzz_ring, fuzz_target_ring, fuzz_replication] {
                body(&bytes);
            }
        }

        #[test]
        fn type_names(text in "(frozen<|list<|map<|set<|tuple<|vector<|int|text|u|,|>|>|3| |\"B\"){0,12}") {
            fuzz_cql_type(text.as_bytes());
        }

        #[test]
        fn values_of_parts(which: u8, parts in proptest::collection::vec((0..3_usize, any::<[u8; 4]>()), 0..5)) {
            let mut bytes = vec![which, which / 64];
            bytes.extend((parts.len() as u32).to_be_bytes());
            for (len, part) in parts {
                bytes.extend((len as u32 * 2).to_be_bytes());
                bytes.extend(&part[..]);
                bytes.truncate(bytes.len() - 4 + (len * 2).min(4));
            }
            fuzz_component(&bytes);
            bytes.remove(1);
            fuzz_json(&bytes);
        }
    }
}
